package daemon

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/verifierd/verifierd/internal/pglocal/pgtest"
	"github.com/verifierd/verifierd/pkg/parity"
	"github.com/verifierd/verifierd/pkg/relation"
)

// small sends small tables down the ways of large ones: many chunks and
// leaves, and temporary files for what differs.
var small = tuning{chunkBytes: 8192, leafRows: 8, memoryRows: 32, memoryBytes: 256}

// pairOf returns two new databases on servers of different versions.
func pairOf(t *testing.T) [2]string {
	t.Helper()
	source, target := pgtest.Pair(t)
	return [2]string{source, target}
}

// execBoth runs the same SQL on both sides.
func execBoth(t *testing.T, dsn [2]string, sql ...string) {
	t.Helper()
	for _, d := range dsn {
		pgtest.Exec(t, d, sql...)
	}
}

// options returns what tests commonly ask for: every divergent row is named.
// Patterns select the tables; none: all.
func options(t *testing.T, dsn [2]string, patterns ...string) Options {
	t.Helper()
	o := Options{DSN: dsn, Workers: 2, MaxDivergences: 1000}
	for _, s := range patterns {
		o.Tables = append(o.Tables, pattern(t, s))
	}
	return o
}

func pattern(t *testing.T, s string) relation.Pattern {
	t.Helper()
	p, err := relation.ParsePattern(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// check verifies, and checks what holds for every outcome.
func check(t *testing.T, o Options) *parity.Pass {
	t.Helper()
	p := Verify(context.Background(), o)
	for i := range p.Tables {
		checkTable(t, &p.Tables[i])
	}
	if p.Reason == "" {
		t.Error("the pass gives no reason")
	}
	if p.Verdict == parity.Match && (!p.Complete || len(p.Tables) == 0) {
		t.Errorf("a match that is complete: %t, of %d tables", p.Complete, len(p.Tables))
	}
	return p
}

func checkTable(t *testing.T, table *parity.Table) {
	t.Helper()
	n := &table.Divergences
	read := table.Side[0].Read && table.Side[1].Read
	if table.Reason == "" {
		t.Errorf("%s: no reason", table.Name)
	}
	if table.Verdict == parity.Match && (!read || !table.Complete || n.Confirmed() > 0) {
		t.Errorf("%s: a match of %+v, complete: %t", table.Name, table.Side, table.Complete)
	}
	// Nobody writes: the sides' roots tell whether rows differ.
	if read && (table.Side[0].Root == table.Side[1].Root) != (n.Confirmed()+n.Volatile == 0) {
		t.Errorf("%s: roots %s and %s with %+v", table.Name, table.Side[0].Root, table.Side[1].Root, *n)
	}
	if read && !n.Explained {
		t.Errorf("%s: divergences %+v are not explained", table.Name, *n)
	}
	if rows := int64(len(table.Rows)); len(table.Key) > 0 && !n.Truncated && rows != n.Confirmed() {
		t.Errorf("%s: %d rows named, %d confirmed", table.Name, rows, n.Confirmed())
	}
}

// transcript is a pass as text, without what changes from run to run.
func transcript(p *parity.Pass) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s%s: %s\n", p.Verdict, unlessComplete(p.Complete || p.Verdict == parity.Incomplete), p.Reason)
	for i := range p.Tables {
		describeTable(&b, &p.Tables[i])
	}
	for _, d := range p.Schema {
		if strings.HasPrefix(d.Object, "extension ") && d.Severity == parity.Cosmetic {
			continue // its version comes with the server's
		}
		table := ""
		if d.Table.Name != "" {
			table = d.Table.String() + " "
		}
		fmt.Fprintf(&b, "schema: %s%s %s (%s)", table, d.Object, d.Kind, d.Severity)
		if d.Source != d.Table.String() || d.Target != "" { // the table itself
			fmt.Fprintf(&b, ": %q -> %q", d.Source, d.Target)
		}
		if d.Hint != "" {
			fmt.Fprintf(&b, "; %s", d.Hint)
		}
		b.WriteByte('\n')
	}
	for _, s := range p.Skipped {
		fmt.Fprintf(&b, "skipped: %s\n", s)
	}
	for _, s := range p.Notes {
		fmt.Fprintf(&b, "note: %s\n", s)
	}
	return b.String()
}

func unlessComplete(complete bool) string {
	if complete {
		return ""
	}
	return ", not complete"
}

func describeTable(b *strings.Builder, t *parity.Table) {
	name := t.Name.String()
	if t.TargetName != t.Name {
		name += " = " + t.TargetName.String()
	}
	fmt.Fprintf(b, "%s %s%s: %s\n", name, t.Verdict, unlessComplete(t.Complete || t.Verdict == parity.Incomplete), t.Reason)
	if t.Side[0].Read && t.Side[1].Read {
		key := "keyless"
		if len(t.Key) > 0 {
			key = "key " + strings.Join(t.Key, ", ")
		}
		fmt.Fprintf(b, "  %d rows | %d rows, %s\n", t.Side[0].Rows, t.Side[1].Rows, key)
	}
	if t.Divergences.Truncated {
		b.WriteString("  not all rows are named\n")
	}
	for i := range t.Rows {
		describeRow(b, &t.Rows[i])
	}
	for _, u := range t.Unverified {
		fmt.Fprintf(b, "  unverified: %s\n", u)
	}
	for _, n := range t.Notes {
		fmt.Fprintf(b, "  note: %s\n", n)
	}
}

func describeRow(b *strings.Builder, d *parity.Divergence) {
	fmt.Fprintf(b, "  %s", d.Kind)
	for _, k := range d.Key {
		fmt.Fprintf(b, " %s", namedValue(k))
	}
	if d.Count != [2]int64{} {
		fmt.Fprintf(b, " %d | %d copies", d.Count[0], d.Count[1])
	}
	for _, c := range d.Columns {
		fmt.Fprintf(b, " [%s]", c)
	}
	for side, values := range d.Values {
		for _, v := range values {
			fmt.Fprintf(b, " %s.%s", relation.Side(side), namedValue(v))
		}
	}
	b.WriteByte('\n')
}

func namedValue(v parity.NamedValue) string {
	if v.Value == nil {
		return v.Column + "=NULL"
	}
	if s := fmt.Sprintf("%q", *v.Value); *v.Value == "" || s != `"`+*v.Value+`"` || strings.ContainsAny(s, " =") {
		return v.Column + "=" + s
	}
	return v.Column + "=" + *v.Value
}

// sortedTranscript is transcript with keyless rows, which come in the order of
// their random hashes, in the order of their text.
func sortedTranscript(p *parity.Pass) string {
	for i := range p.Tables {
		t := &p.Tables[i]
		if len(t.Key) > 0 {
			continue
		}
		slices.SortStableFunc(t.Rows, func(a, c parity.Divergence) int {
			var x, y strings.Builder
			describeRow(&x, &a)
			describeRow(&y, &c)
			return strings.Compare(x.String(), y.String())
		})
	}
	return transcript(p)
}

// expect compares a transcript with what is wanted, leaving out indentation
// and empty lines.
func expect(t *testing.T, p *parity.Pass, want string) {
	t.Helper()
	if got := sortedTranscript(p); outdent(got) != outdent(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func outdent(s string) string {
	var lines []string
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

// withSeed runs a pass with a given seed: roots of two passes compare then.
func withSeed(t *testing.T, o Options, seed uint64) *parity.Pass {
	t.Helper()
	ctx := context.Background()
	db, err := connect(ctx, o, seed)
	if err != nil {
		t.Fatal(err)
	}
	defer db.close()
	selected, err := db.choose(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	return parity.Run(ctx, db.config(o, selected, seed))
}

// chunksOf says how a table would be read on one side.
func chunksOf(t *testing.T, o Options, side relation.Side, name relation.Name) []relation.Chunk {
	t.Helper()
	ctx := context.Background()
	db, err := connect(ctx, o, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer db.close()
	r, err := db.opener(side)(ctx, []relation.Name{name})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	table, err := r.Table(name)
	if err != nil {
		t.Fatal(err)
	}
	chunks, err := r.Chunks(ctx, table)
	if err != nil {
		t.Fatal(err)
	}
	return chunks
}
