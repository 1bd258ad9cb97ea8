package report

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/verifierd/verifierd/pkg/parity"
	"github.com/verifierd/verifierd/pkg/relation"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (run with -update to accept):\n--- got\n%s\n--- want\n%s", path, got, want)
	}
}

var started = time.Date(2026, 3, 14, 9, 26, 53, 589_000_000, time.FixedZone("CET", 3600))

func name(schema, table string) relation.Name { return relation.Name{Schema: schema, Name: table} }

func val(s string) *string { return &s }

func servers() [2]parity.SideInfo {
	return [2]parity.SideInfo{
		{Version: "15.18", Database: "shop", LSN: "0/16B3748", SnapshotAt: started.Add(40 * time.Millisecond)},
		{Version: "18.1", Database: "shop", LSN: "0/5A1C2D0", SnapshotAt: started.Add(41 * time.Millisecond), Standby: true},
	}
}

const root = "b1946ac92492d2347c6235b4d2611184b1946ac92492d2347c6235b4d2611184"

func matchedTable(n relation.Name, rows int64, took time.Duration) parity.Table {
	side := parity.TableSide{Rows: rows, Root: root, Read: true, ReadRows: rows}
	return parity.Table{
		Name: n, TargetName: n, Verdict: parity.Match, Complete: true, Reason: "both sides hold the same rows",
		Key: []string{"id"}, Side: [2]parity.TableSide{side, side},
		Divergences: parity.Counts{Explained: true}, Duration: took,
	}
}

func matchedPass() *parity.Pass {
	return &parity.Pass{
		Verdict: parity.Match, Complete: true, Reason: "all 3 tables hold the same rows on both sides",
		StartedAt: started, FinishedAt: started.Add(2900 * time.Millisecond),
		SeedFingerprint: "9f3a77c1", Server: servers(),
		Tables: []parity.Table{
			matchedTable(name("public", "items"), 3_000_000, 2100*time.Millisecond),
			matchedTable(name("public", "orders"), 1_000_000, 812*time.Millisecond),
			matchedTable(name("public", "refunds"), 0, 3*time.Millisecond),
		},
		NotChecked: []string{"large objects", "sequences", "orphans"},
	}
}

// divergedPass has one of everything.
func divergedPass() *parity.Pass {
	p := matchedPass()
	p.Verdict, p.Complete = parity.Diverged, false
	p.Reason = "public.orders: 1,204 rows differ; public.events could not be read to its end"
	p.Tables = append(p.Tables,
		parity.Table{
			Name: name("public", "orders_2026"), TargetName: name("archive", "orders"),
			Verdict: parity.Diverged, Complete: true, Reason: "1,204 rows differ", Key: []string{"region", "id"},
			Side: [2]parity.TableSide{
				{Rows: 1_000_000, Root: root, Read: true, ReadRows: 1_000_000},
				{Rows: 999_998, Root: strings.Repeat("0", 64), Read: true, ReadRows: 999_998},
			},
			Divergences: parity.Counts{Missing: 3, Extra: 1, Mismatched: 1200, Healed: 2, Explained: true, Truncated: true},
			Rows: []parity.Divergence{
				{
					Kind:    parity.Mismatched,
					Key:     []parity.NamedValue{{Column: "region", Value: val("eu-west")}, {Column: "id", Value: val("123456")}},
					Columns: []string{"b", "Total"},
					Values: [2][]parity.NamedValue{
						{{Column: "b", Value: val("hello")}, {Column: "Total", Value: val("10.00")}},
						{{Column: "b", Value: nil}, {Column: "Total", Value: val("it's 10")}},
					},
				},
				{
					Kind: parity.Missing,
					Key:  []parity.NamedValue{{Column: "region", Value: val("東京")}, {Column: "id", Value: val("7")}},
					Values: [2][]parity.NamedValue{{
						{Column: "region", Value: val("東京")}, {Column: "id", Value: val("7")},
						{Column: "b", Value: val("two\nlines \x1b[31mred")}, {Column: "c", Value: val("<b>&amp;")},
					}},
				},
				{
					Kind: parity.Extra,
					Key:  []parity.NamedValue{{Column: "region", Value: val("")}, {Column: "id", Value: val("NULL")}},
					Values: [2][]parity.NamedValue{1: {
						{Column: "region", Value: val("")}, {Column: "id", Value: val("NULL")}, {Column: "b", Value: nil},
						{Column: "c", Value: val(strings.Repeat("long ", 100))},
					}},
				},
			},
			Notes:    []string{"column d is compared as numeric on both sides"},
			Duration: 4700 * time.Millisecond,
		},
		parity.Table{
			Name: name("public", "audit"), TargetName: name("public", "audit"),
			Verdict: parity.Diverged, Complete: false, Reason: "the rows that were found do not explain the difference",
			Side: [2]parity.TableSide{
				{Rows: 12, Root: root, Read: true, ReadRows: 12}, {Rows: 13, Root: root, Read: true, ReadRows: 13},
			},
			Divergences: parity.Counts{Extra: 2, Volatile: 1},
			Rows: []parity.Divergence{{
				Kind: parity.Extra, RowHash: "00112233445566778899aabbccddeeff", Location: "public.audit (0,5)", Count: [2]int64{1, 3},
				Values: [2][]parity.NamedValue{1: {{Column: "what", Value: val("login")}}},
			}},
			Duration: 90 * time.Second,
		},
		parity.Table{
			Name: name("public", "events"), TargetName: name("public", "events"),
			Reason:   "read chunk public.events [4096, 8192) on the target: connection reset by peer\nDETAIL: gone",
			Key:      []string{"id"},
			Side:     [2]parity.TableSide{{Rows: 5000, Root: root, Read: true, ReadRows: 5000}, {ReadRows: 1234}},
			Duration: 2*time.Hour + 5*time.Minute,
		},
	)
	p.Schema = []parity.SchemaDifference{
		{Table: name("public", "orders"), Object: "index orders_created_idx", Kind: "missing", Severity: parity.Drifts,
			Source: "CREATE INDEX orders_created_idx ON public.orders USING btree (created_at)", Hint: "create it on the target"},
		{Table: name("public", "orders"), Object: "column d", Kind: "changed", Severity: parity.Breaks,
			Source: "numeric(12,2)", Target: "numeric(12,4)", Hint: "give a cast for each side"},
	}
	p.Notes = []string{"Both sides have the same system identifier: one is a clone of the other."}
	p.Skipped = []string{"public.spatial_ref_sys: owned by extension postgis", "public.v: a view, compared only when named"}
	return p
}

// hostilePass has text in it that no terminal, XML or page may see as it is.
func hostilePass() *parity.Pass {
	const evil = "a\x1b[31m\r\nb\u202e\x00\xff<script>alert(1)</script>&'\"]]>"
	n := name(evil, evil+"東京")
	p := matchedPass()
	p.Verdict, p.Complete, p.Reason = parity.Diverged, false, evil
	p.SeedFingerprint = evil
	for i := range p.Server {
		p.Server[i].Version, p.Server[i].Database, p.Server[i].LSN = evil, evil, evil
	}
	row := []parity.NamedValue{{Column: evil, Value: val(evil)}}
	p.Tables = []parity.Table{{
		Name: n, TargetName: name(evil, "t"), Verdict: parity.Diverged, Reason: evil, Key: []string{evil},
		Side:        [2]parity.TableSide{{Rows: 1, Root: evil, Read: true}, {Rows: 1, Root: evil, Read: true}},
		Divergences: parity.Counts{Mismatched: 1, Extra: 1},
		Rows: []parity.Divergence{
			{Kind: parity.Mismatched, Key: row, Columns: []string{evil}, Values: [2][]parity.NamedValue{row, row}},
			{Kind: parity.Extra, RowHash: evil, Location: evil, Values: [2][]parity.NamedValue{1: row}},
		},
		Notes: []string{evil},
	}}
	p.Schema = []parity.SchemaDifference{
		{Table: n, Object: evil, Kind: evil, Severity: parity.Breaks, Source: evil, Target: evil, Hint: evil},
	}
	p.Notes, p.Skipped, p.NotChecked = []string{evil}, []string{evil}, []string{evil}
	return p
}

func render(t *testing.T, f Format, p *parity.Pass, opts Options) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, f, p, opts); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var extensions = map[Format]string{Table: "txt", JSON: "json", NDJSON: "ndjson", JUnit: "xml", HTML: "html"}

func TestGolden(t *testing.T) {
	incomplete := matchedPass()
	incomplete.Verdict, incomplete.Complete, incomplete.Tables = parity.Incomplete, false, nil
	incomplete.Reason = "connect to the target: connection refused"
	incomplete.Server[relation.Target] = parity.SideInfo{}
	healed := matchedPass()
	healed.Tables[1].Divergences.Healed = 12
	for _, c := range []struct {
		name string
		pass *parity.Pass
		opts Options
	}{
		{"match", matchedPass(), Options{}},
		{"healed", healed, Options{Width: 80}},
		{"diverged", divergedPass(), Options{Width: 100}},
		{"full", divergedPass(), Options{Width: 72, Values: parity.ValuesFull, Colour: true}},
		{"none", divergedPass(), Options{Values: parity.ValuesNone}},
		{"incomplete", incomplete, Options{}},
		{"hostile", hostilePass(), Options{Values: parity.ValuesFull}},
	} {
		c.opts.ToolVersion = "1.2.3"
		for _, f := range Formats() {
			t.Run(c.name+"/"+f, func(t *testing.T) {
				golden(t, c.name+"."+extensions[Format(f)], render(t, Format(f), c.pass, c.opts))
			})
		}
	}
}
