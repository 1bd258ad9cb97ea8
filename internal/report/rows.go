package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/verifierd/verifierd/internal/report/text"
	"github.com/verifierd/verifierd/pkg/parity"
	"github.com/verifierd/verifierd/pkg/relation"
)

// valueLimit is how many characters of a value people are shown; programs get
// all of it.
const valueLimit = 120

// row is a divergence as people read it.
type row struct {
	Kind    string
	Key     string   // "id=7", or what stands in for a key; empty: withheld
	Columns string   // the columns that differ, or empty
	Same    int64    // how many rows look like this one, when keys are withheld
	Values  []string // all values of a row that only one side has: "b=x"
	Changed []change
}

// change is a column's value on both sides.
type change struct{ Column, Source, Target string }

// tableRows renders a table's divergences for people. Where keys are withheld,
// rows that look alike become one.
func tableRows(t *parity.Table, values parity.ValuePolicy) []row {
	var rows []row
	seen := make(map[[2]string]int)
	for i := range t.Rows {
		r := newPeopleRow(newRow(&t.Rows[i], values))
		if values == parity.ValuesNone {
			look := [2]string{r.Kind, r.Columns}
			if at, ok := seen[look]; ok {
				rows[at].Same++
				continue
			}
			seen[look] = len(rows)
		}
		rows = append(rows, r)
	}
	for i := range t.Ranges {
		d := newRange(&t.Ranges[i], values)
		rows = append(rows, row{Kind: leavesName(&d), Key: rangeText(t, &d), Same: 1})
	}
	return rows
}

func leavesName(d *documentRange) string {
	if d.First == d.Last {
		return "leaf " + text.Count(int64(d.First))
	}
	return "leaves " + text.Count(int64(d.First)) + "–" + text.Count(int64(d.Last))
}

// rangeText says which rows are in a run of leaves, and how many.
func rangeText(t *parity.Table, d *documentRange) string {
	var where []string
	if from := strings.Join(pairs(d.From, valueLimit), ", "); from != "" {
		where = append(where, "from "+from)
	}
	if to := strings.Join(pairs(d.To, valueLimit), ", "); to != "" {
		where = append(where, "below "+to)
	}
	if d.Parts > 1 {
		of := "the key"
		if len(t.Key) == 0 {
			of = "the row"
		}
		where = append(where, fmt.Sprintf("part %s of %s by the hash of %s", text.Count(int64(d.Part)), text.Count(int64(d.Parts)), of))
	}
	if len(where) == 0 && t.Leaves.Total == 1 {
		where = append(where, "the whole table")
	}
	rows := text.Plural(d.SourceRows, "row", "rows") + " then, " + text.Count(d.TargetRows) + " now"
	return strings.Join(append(where, rows), ", ")
}

func newPeopleRow(d documentRow) row {
	r := row{Kind: d.Kind.String(), Key: strings.Join(pairs(d.Key, 0), ", "), Same: 1}
	if d.RowHash != "" {
		r.Key = keyless(&d)
	}
	columns := make([]string, len(d.Columns))
	for i, c := range d.Columns {
		columns[i] = text.Ident(c)
	}
	r.Columns = strings.Join(columns, ", ")
	switch {
	case d.Kind == parity.Mismatched:
		r.Changed = changes(d.Source, d.Target)
	case len(d.Source) > 0:
		r.Values = pairs(d.Source.without(d.Key), valueLimit)
	default:
		r.Values = pairs(d.Target.without(d.Key), valueLimit)
	}
	return r
}

// keyless describes a row without a key: its hash, how many of it each side
// holds, and where one is now.
func keyless(d *documentRow) string {
	s := fmt.Sprintf("row hash %s: %s on the source, %s on the target",
		text.Prose(d.RowHash), text.Count(*d.SourceRows), text.Count(*d.TargetRows))
	if d.Location != "" {
		s += ", now at " + text.Prose(d.Location)
	}
	return s
}

// changes pairs both sides' values of the columns that differ; they come in the
// same order.
func changes(source, target object) []change {
	var out []change
	for i := range min(len(source), len(target)) {
		out = append(out, change{
			Column: text.Ident(source[i].Column),
			Source: text.Value(source[i].Value, valueLimit),
			Target: text.Value(target[i].Value, valueLimit),
		})
	}
	return out
}

func pairs(o object, limit int) []string {
	parts := make([]string, len(o))
	for i, c := range o {
		parts[i] = text.Ident(c.Column) + "=" + text.Value(c.Value, limit)
	}
	return parts
}

// without leaves out the columns of key, which are shown already.
func (o object) without(key object) object {
	return slices.DeleteFunc(slices.Clone(o), func(c parity.NamedValue) bool {
		return slices.ContainsFunc(key, func(k parity.NamedValue) bool { return k.Column == c.Column })
	})
}

// more says how many divergent rows the pass does not hold, or is empty.
func more(t *parity.Table) string {
	if t.Leaves.Truncated {
		return "… and other leaves"
	}
	if !t.Divergences.Truncated {
		return ""
	}
	held := int64(0)
	for i := range t.Rows {
		d := &t.Rows[i]
		held++
		if n := d.Count[relation.Source] - d.Count[relation.Target]; len(d.Key) == 0 && n != 0 {
			held += max(n, -n) - 1
		}
	}
	if left := t.Divergences.Confirmed() - held; left > 0 {
		return fmt.Sprintf("… and %s more", text.Count(left))
	}
	return "… and more"
}

// counts says how many rows of a table differ, and how.
func counts(c *parity.Counts) string {
	var kinds []string
	for _, k := range []struct {
		n    int64
		kind parity.Kind
	}{{c.Missing, parity.Missing}, {c.Extra, parity.Extra}, {c.Mismatched, parity.Mismatched}} {
		if k.n > 0 {
			kinds = append(kinds, text.Count(k.n)+" "+k.kind.String())
		}
	}
	return text.Plural(c.Confirmed(), "divergent row", "divergent rows") + ": " + strings.Join(kinds, ", ")
}

// asides are what else there is to say of a table's comparison: for each, a
// sentence.
func asides(t *parity.Table) []string {
	var out []string
	c := &t.Divergences
	if c.Confirmed() > 0 {
		switch {
		case c.Explained && len(t.Uncompared) > 0:
			out = append(out, "The divergences account for the whole difference between the columns that both sides have; "+
				text.Plural(int64(len(t.Uncompared)), "column was", "columns were")+" not compared.")
		case c.Explained:
			out = append(out, "The divergences account for the whole difference between the two sides: there are no others.")
		default:
			out = append(out, "The divergences do not account for the whole difference between the two sides: there may be others.")
		}
	}
	for _, s := range t.Unverified {
		out = append(out, "Not verified, by policy: "+text.Prose(s)+".")
	}
	if c.Healed > 0 {
		out = append(out, text.Plural(c.Healed, "row", "rows")+
			" differed at the snapshots and no longer did when read again (healed): not identical at one snapshot.")
	}
	for _, side := range relation.Sides {
		if s := &t.Side[side]; !s.Read && s.ReadRows > 0 {
			out = append(out, fmt.Sprintf("The %s was not read to its end; %s had arrived.",
				side, text.Plural(s.ReadRows, "row", "rows")))
		}
	}
	for _, n := range t.Notes {
		out = append(out, text.Prose(n))
	}
	return out
}

// tableName names a table, with its name on the target where that differs.
func tableName(source, target relation.Name) string {
	if target == source || target == (relation.Name{}) {
		return text.Name(source)
	}
	return text.Name(source) + " → " + text.Name(target)
}

// counted reports whether a table's numbers of divergences are exact: it was
// compared, and wholly.
func counted(t *parity.Table) bool {
	return t.Complete && t.Side[relation.Source].Read && t.Side[relation.Target].Read
}

// count renders a number of divergences: exact, or a lower bound.
func count(n int64, exact bool) string {
	switch {
	case exact:
		return text.Count(n)
	case n > 0:
		return "≥" + text.Count(n)
	}
	return "?"
}

// rowsRead renders the number of rows of one side.
func rowsRead(s parity.TableSide) string {
	if !s.Read && !s.Counted {
		return "–"
	}
	return text.Count(s.Rows)
}

// tableVerdict renders a table's verdict: what is empty on both sides matches,
// and says so.
func tableVerdict(t *parity.Table) string {
	s := t.Verdict.String()
	switch {
	case t.Verdict == parity.Match && t.FilteredOut():
		return s + " (no row)"
	case t.Verdict == parity.Match && t.Empty():
		return s + " (empty)"
	case t.Verdict == parity.Diverged && !t.Complete:
		return s + " (incomplete)"
	}
	return s
}

// proven says in one sentence what a pass established about rows.
func proven(p *parity.Pass) string {
	s := summarize(p)
	if p.CountsOnly {
		return fmt.Sprintf("Rows were counted, not compared: both sides have as many in %s of %s.",
			text.Count(int64(s.Match)), text.Plural(int64(s.Tables), "table", "tables"))
	}
	read := func(side relation.Side) bool {
		for i := range p.Tables {
			if !p.Tables[i].Side[side].Read {
				return false
			}
		}
		return true
	}
	filteredOut := 0
	for i := range p.Tables {
		if p.Tables[i].FilteredOut() {
			filteredOut++
		}
	}
	var b strings.Builder
	switch {
	case s.Tables == 0 && p.Definitions > 0:
		return "No row was read: definitions alone were compared."
	case s.Tables == 0:
		return "No table was compared."
	case s.divergent() > 0:
		if !p.Complete {
			b.WriteString("At least ")
		}
		fmt.Fprintf(&b, "%s in %s of %s.", counts(&parity.Counts{Missing: s.Missing, Extra: s.Extra, Mismatched: s.Mismatched}),
			text.Count(int64(withDivergences(p))), text.Plural(int64(s.Tables), "table", "tables"))
	case s.Match < s.Tables:
		fmt.Fprintf(&b, "%s of %s tables match.", text.Count(int64(s.Match)), text.Count(int64(s.Tables)))
	case s.Empty == s.Tables && filteredOut > 0:
		b.WriteString("There was no row to compare.")
	case s.Empty == s.Tables:
		b.WriteString("Every table is empty on both sides: there was no row to compare.")
	case s.Healed > 0:
		fmt.Fprintf(&b, "%s in %s, the same on both sides, but not at one snapshot: %s healed.",
			text.Plural(s.SourceRows, "row", "rows"), text.Plural(int64(s.Tables), "table", "tables"), text.Plural(s.Healed, "row", "rows"))
	case p.PerTable:
		fmt.Fprintf(&b, "%s in %s, identical, each table at snapshots of its own.",
			text.Plural(s.SourceRows, "row", "rows"), text.Plural(int64(s.Tables), "table", "tables"))
	default:
		fmt.Fprintf(&b, "%s in %s, identical at the snapshots%s.",
			text.Plural(s.SourceRows, "row", "rows"), text.Plural(int64(s.Tables), "table", "tables"), positions(p))
	}
	if n := s.Empty - filteredOut; n > 0 && s.Empty < s.Tables {
		verb := "are"
		if n == 1 {
			verb = "is"
		}
		fmt.Fprintf(&b, " %s %s empty on both sides.", text.Plural(int64(n), "table", "tables"), verb)
	}
	if filteredOut > 0 {
		fmt.Fprintf(&b, " No row fulfils the condition of %s.", text.Plural(int64(filteredOut), "table", "tables"))
	}
	if s.Volatile > 0 {
		fmt.Fprintf(&b, " %s differed and could not be settled.", text.Plural(s.Volatile, "row", "rows"))
	}
	if !read(relation.Source) || !read(relation.Target) {
		b.WriteString(" Not every table was read to its end.")
	}
	return b.String()
}

func withDivergences(p *parity.Pass) int {
	n := 0
	for i := range p.Tables {
		if p.Tables[i].Divergences.Confirmed() > 0 {
			n++
		}
	}
	return n
}

func positions(p *parity.Pass) string {
	s, t := p.Server[relation.Source].LSN, p.Server[relation.Target].LSN
	if s == "" || t == "" {
		return ""
	}
	return fmt.Sprintf(" (source at %s, target at %s)", text.Prose(s), text.Prose(t))
}

// headline is the verdict in capitals; a divergence that was found does not
// hide that something was not established.
func headline(p *parity.Pass) string {
	s := strings.ToUpper(p.Verdict.String())
	if p.Verdict == parity.Diverged && !p.Complete {
		s += ", NOT COMPLETE"
	}
	return s
}

// server describes one side.
func server(s parity.SideInfo) string {
	parts := []string{text.Ident(s.Database)}
	if s.Baseline != nil {
		parts[0] = "baseline of " + parts[0]
	}
	if s.Database == "" {
		parts[0] = "not read"
	}
	if s.Version != "" {
		parts = append(parts, "PostgreSQL "+text.Prose(s.Version))
	}
	if s.Standby {
		parts = append(parts, "standby")
	}
	if s.LSN != "" {
		parts = append(parts, "LSN "+text.Prose(s.LSN))
	}
	if !s.SnapshotAt.IsZero() {
		parts = append(parts, "snapshot at "+timestamp(s.SnapshotAt).String())
	}
	if b := s.Baseline; b != nil && b.Seal != "" {
		parts = append(parts, text.Prose(b.Seal))
	}
	return strings.Join(parts, ", ")
}

// rank orders tables so that what needs attention comes last.
func rank(v parity.Verdict) int {
	switch v {
	case parity.Match:
		return 0
	case parity.Diverged:
		return 2
	}
	return 1
}

func severityRank(s parity.Severity) int {
	switch s {
	case parity.Breaks:
		return 0
	case parity.Drifts:
		return 1
	}
	return 2
}
