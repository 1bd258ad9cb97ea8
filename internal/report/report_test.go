package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/verifierd/verifierd/internal/report/text"
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
	p.Reason = "public.orders_2026: 1,204 divergent rows (3 missing, 1 extra, 1,200 mismatched); not complete: public.events could not be read"
	p.Tables = append(p.Tables,
		parity.Table{
			Name: name("public", "orders_2026"), TargetName: name("archive", "orders"),
			Verdict: parity.Diverged, Complete: true, Reason: "1,204 divergent rows (3 missing, 1 extra, 1,200 mismatched)", Key: []string{"region", "id"},
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
						{Column: "region", Value: val("東京")},
						{Column: "id", Value: val("7")},
						{Column: "b", Value: val("two\nlines \x1b[31mred")},
						{Column: "c", Value: val("<b>&amp;")},
					}},
				},
				{
					Kind: parity.Extra,
					Key:  []parity.NamedValue{{Column: "region", Value: val("")}, {Column: "id", Value: val("NULL")}},
					Values: [2][]parity.NamedValue{1: {
						{Column: "region", Value: val("")},
						{Column: "id", Value: val("NULL")},
						{Column: "b", Value: nil},
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
	p.Tables = append(p.Tables, parity.Table{
		Name: name("public", "gone"), TargetName: name("public", "gone"),
		Verdict: parity.Diverged, Complete: true, Reason: "table is missing",
	})
	p.Schema = []parity.SchemaDifference{
		{Table: name("public", "gone"), Object: "table", Kind: "missing", Severity: parity.Breaks},
		{
			Table: name("public", "orders"), Object: "index orders_created_idx", Kind: "missing", Severity: parity.Drifts,
			Source: "CREATE INDEX orders_created_idx ON public.orders USING btree (created_at)", Hint: "create it on the target",
		},
		{
			Table: name("public", "orders"), Object: "column d", Kind: "changed", Severity: parity.Breaks,
			Source: "numeric(12,2)", Target: "numeric(12,4)", Hint: "give a cast for each side",
		},
		{Object: "function public.total(integer)", Kind: "missing", Severity: parity.Drifts, Source: "returns integer, language sql"},
	}
	last := func(n int64) *int64 { return &n }
	p.Sequences = []parity.Sequence{
		{Name: name("public", "items_id_seq"), TargetName: name("public", "items_id_seq"), Verdict: parity.Match, Reason: "not behind", Last: [2]*int64{last(5), last(7)}},
		{
			Name: name("public", "orders_id_seq"), TargetName: name("archive", "orders_id_seq"), Verdict: parity.Diverged, Last: [2]*int64{last(1000), last(900)},
			Reason: "it hands out 901 next, and the source handed out 1000; column \"id\" of archive.orders holds 1200, and it hands out 901 next",
			Column: relation.Fed{Table: name("archive", "orders"), Column: "id"}, Value: last(1200), Mend: "SELECT pg_catalog.setval('\"archive\".\"orders_id_seq\"', 1200, true);",
		},
		{Name: name("public", "turns"), TargetName: name("public", "turns"), Verdict: parity.Match, Skipped: true, Reason: "it cycles"},
		{Name: name("public", "locked"), TargetName: name("public", "locked"), Reason: "the role may not read it on the source"},
	}
	p.Corruption = []parity.Corruption{{Side: relation.Target, Table: name("public", "items"), Object: "index public.items_pkey", Problem: "item order invariant violated for index \"items_pkey\""}}
	p.References = references()
	p.Notes = []string{"Both sides have the same system identifier: one is a clone of the other."}
	p.Skipped = []string{"public.spatial_ref_sys: owned by extension postgis", "public.v: a view, compared only when named"}
	return p
}

// references has one foreign key of each kind: without orphans, with new and
// shared ones, with shared ones alone, and one that could not be checked.
func references() []parity.ReferenceCheck {
	key := func(table, constraint, column, to string) [2]relation.ForeignKey {
		k := relation.ForeignKey{
			Name: constraint, Table: name("public", table), Columns: []string{column}, References: name("public", to), Referenced: []string{"id"},
			Validated: true, Enforced: true,
		}
		return [2]relation.ForeignKey{k, k}
	}
	orphan := func(id, refers string) parity.Orphan {
		return parity.Orphan{
			Key: []parity.NamedValue{{Column: "id", Value: val(id)}}, Refers: []parity.NamedValue{{Column: "order_id", Value: val(refers)}},
		}
	}
	both := [2]bool{true, true}
	declared := key("audit", "public.audit(order_id) -> public.orders(id)", "order_id", "orders")
	declared[0].Declared, declared[1].Declared = true, true
	return []parity.ReferenceCheck{
		{
			ForeignKey: key("items", "items_product_fk", "product_id", "products"), Declares: both, Way: [2]parity.Way{parity.AntiJoin, parity.ByDigest},
			Verdict: parity.Match, Complete: true, Reason: "no orphans", Duration: 1200 * time.Millisecond,
		},
		{
			ForeignKey: key("items", "items_order_fk", "order_id", "orders"), Declares: both, Way: [2]parity.Way{parity.AntiJoin, parity.AntiJoin},
			Orphans: [2]int64{1, 3}, New: 2, Shared: 1, Healed: 1, Verdict: parity.Diverged, Complete: true,
			Reason: "2 orphans that the source does not have; 1 orphan that the source has, too; 1 orphan only at the pass's snapshots",
			Sample: [2][]parity.Orphan{{orphan("5", "16")}, {orphan("6", "17"), orphan("7", "18")}},
		},
		{
			ForeignKey: declared, Declares: both, Way: [2]parity.Way{parity.AntiJoin, parity.AntiJoin},
			Orphans: [2]int64{1200, 1200}, Shared: 1200, Verdict: parity.Match, Complete: true, Reason: "1,200 orphans that the source has, too",
			Sample: [2][]parity.Orphan{{orphan("1", "90")}, {orphan("1", "90")}},
		},
		{
			ForeignKey: key("events", "events_user_fk", "user_id", "users"), Declares: [2]bool{true, false},
			Reason: "no privilege to read public.users on the target; GRANT SELECT ON TABLE public.users TO verifier",
		},
	}
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
	k := relation.ForeignKey{Name: evil, Table: n, Columns: []string{evil}, References: n, Referenced: []string{evil}}
	p.References = []parity.ReferenceCheck{{
		ForeignKey: [2]relation.ForeignKey{k, k}, New: 1, Verdict: parity.Diverged, Complete: true, Reason: evil,
		Sample: [2][]parity.Orphan{1: {{Key: row, Refers: row}}},
	}}
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
		{"unreached", &parity.Pass{Reason: "connect to the source: connection refused", StartedAt: started, FinishedAt: started.Add(time.Second)}, Options{}},
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

func plan() *parity.Plan {
	side := parity.PlannedSide{Members: 1, Rows: 1_000_000, Bytes: 89 << 20, Chunks: 3, Reading: "block ranges"}
	never := parity.PlannedSide{Members: 4, Rows: 9_000_000, Guessed: true, Bytes: 12 << 30, Chunks: 400, Reading: `ranges of "id"`}
	p := &parity.Plan{
		Server: servers(),
		Tables: []parity.PlannedTable{
			{
				Name: name("public", "orders"), TargetName: name("public", "orders"), Kind: relation.Ordinary, Key: []string{"id"},
				Leaves: 244, Compare: "key ranges", Side: [2]parity.PlannedSide{side, side},
			},
			{
				Name: name("public", "events\x1b[2J"), TargetName: name("archive", "events"), Kind: relation.Partitioned,
				Leaves: 65536, Compare: "hashes of whole rows", Side: [2]parity.PlannedSide{side, never},
				Problems: []string{"no SELECT privilege on the target: GRANT SELECT ON archive.events TO verifier"},
				Notes:    []string{"no key: rows cannot be named"},
			},
			{
				Name: name("public", "secret"), TargetName: name("public", "secret"), Kind: relation.Ordinary,
				Side:     [2]parity.PlannedSide{{Rows: -1}, {Rows: -1}},
				Problems: []string{"no privilege to read public.secret on the source: GRANT SELECT ON TABLE public.secret TO verifier"},
			},
		},
		Guessed: true,
		Schema: []parity.SchemaDifference{
			{Table: name("public", "new"), Object: "table", Kind: "extra", Severity: parity.Drifts, Target: "public.new"},
		},
		References: []parity.PlannedReference{
			{Name: "items_order_fk", ForeignKey: references()[1].ForeignKey[0]},
			{Name: "events_user_fk", ForeignKey: references()[3].ForeignKey[0], Problems: []string{"no privilege to read public.users on the target"}},
		},
		Expected: 192 * time.Second,
		Problems: []string{"the target is a standby without hot_standby_feedback"},
		Notes:    []string{"block ranges evict the server's cache"},
		Skipped:  []string{"public.v: a view"},
	}
	p.Locks[0].Needed, p.Locks[0].Available = 2, 6400
	p.Locks[1].Needed, p.Locks[1].Available = 5, 6400
	p.Sample[0].BytesPerSecond, p.Sample[0].RowsPerSecond = 150e6, 1.7e6
	return p
}

func TestPlan(t *testing.T) {
	for _, f := range []Format{Table, JSON} {
		var b bytes.Buffer
		if err := WritePlan(&b, f, plan(), Options{Width: 110, ToolVersion: "1.2.3"}); err != nil {
			t.Fatal(err)
		}
		golden(t, "plan."+extensions[f], b.Bytes())
	}
	for _, f := range []Format{NDJSON, JUnit, HTML, "x"} {
		if err := WritePlan(&bytes.Buffer{}, f, plan(), Options{}); err == nil {
			t.Errorf("a plan has a %s form", f)
		}
	}
	if err := WritePlan(&bytes.Buffer{}, Table, &parity.Plan{}, Options{}); err != nil {
		t.Error(err)
	}
}

// TestHostile: what a database holds can neither act on a terminal or a page
// nor break a document.
func TestHostile(t *testing.T) {
	for _, f := range Formats() {
		out := render(t, Format(f), hostilePass(), Options{Values: parity.ValuesFull, ToolVersion: "1"})
		if !utf8.Valid(out) {
			t.Errorf("%s: invalid UTF-8", f)
		}
		for _, r := range string(out) {
			if r != '\n' && !unicode.IsPrint(r) && Format(f) != JSON && Format(f) != NDJSON || r == '\x1b' {
				t.Errorf("%s: %q comes through", f, r)
				break
			}
		}
	}
	page := string(render(t, HTML, hostilePass(), Options{Values: parity.ValuesFull}))
	for _, s := range []string{"<script", "http:", "https:", "src=", "url(", "ZgotmplZ"} {
		if strings.Contains(page, s) {
			t.Errorf("html: %s in the page", s)
		}
	}
}

// TestXML decodes JUnit reports as a CI server would.
func TestXML(t *testing.T) {
	type result struct {
		Message string `xml:"message,attr"`
		Body    string `xml:",chardata"`
	}
	type suites struct {
		Suites []struct {
			Tests    int `xml:"tests,attr"`
			Failures int `xml:"failures,attr"`
			Errors   int `xml:"errors,attr"`
			Cases    []struct {
				Class   string  `xml:"classname,attr"`
				Name    string  `xml:"name,attr"`
				Failure *result `xml:"failure"`
				Error   *result `xml:"error"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	outOfTables := matchedPass()
	outOfTables.Tables, outOfTables.Verdict, outOfTables.Complete = nil, parity.Incomplete, false
	for _, c := range []struct {
		name             string
		pass             *parity.Pass
		failures, errors int
	}{
		{"match", matchedPass(), 0, 0},
		{"diverged", divergedPass(), 9, 3},
		{"no table", outOfTables, 0, 1},
		{"hostile", hostilePass(), 4, 0},
		{"zero", &parity.Pass{}, 0, 1},
	} {
		var got suites
		if err := xml.Unmarshal(render(t, JUnit, c.pass, Options{Values: parity.ValuesFull}), &got); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		s := got.Suites[0]
		failures, errs := 0, 0
		for _, k := range s.Cases {
			if k.Failure != nil {
				failures++
			}
			if k.Error != nil {
				errs++
			}
		}
		if failures != c.failures || errs != c.errors || s.Failures != failures || s.Errors != errs || s.Tests != len(s.Cases) {
			t.Errorf("%s: %d failures, %d errors (attributes %d, %d, %d tests), want %d, %d",
				c.name, failures, errs, s.Failures, s.Errors, s.Tests, c.failures, c.errors)
		}
	}
}

// TestValuePolicy: what the policy withholds is in no format.
func TestValuePolicy(t *testing.T) {
	const key, value, hash, place = "s3cretkey", "s3cretvalue", "5ec2e7", "s3cretplace"
	p := matchedPass()
	p.Verdict = parity.Diverged
	p.Tables[0].Verdict = parity.Diverged
	values := []parity.NamedValue{{Column: "b", Value: val(value)}}
	for _, k := range []parity.Kind{parity.Missing, parity.Extra, parity.Mismatched} {
		p.Tables[0].Rows = append(p.Tables[0].Rows,
			parity.Divergence{
				Kind: k, Key: []parity.NamedValue{{Column: "id", Value: val(key)}}, Columns: []string{"b"},
				RowHash: hash, Location: place, Values: [2][]parity.NamedValue{values, values},
			},
			parity.Divergence{
				Kind: k, RowHash: hash, Location: place, Count: [2]int64{987654, 0},
				Values: [2][]parity.NamedValue{values, values},
			})
	}
	for policy, hidden := range map[parity.ValuePolicy][]string{
		parity.ValuesNone: {key, value, hash, place, "987654", "987,654"},
		"unheard-of":      {key, value, hash, place, "987654", "987,654"},
		parity.ValuesKeys: {value},
		"":                {value},
	} {
		for _, f := range Formats() {
			out := string(render(t, Format(f), p, Options{Values: policy}))
			for _, s := range hidden {
				if strings.Contains(out, s) {
					t.Errorf("values %q, %s: %q is shown", policy, f, s)
				}
			}
		}
	}
	for policy, shown := range map[parity.ValuePolicy][]string{
		"":                {key, hash, place},
		parity.ValuesFull: {key, hash, place, value},
	} {
		for _, f := range Formats() {
			out := string(render(t, Format(f), p, Options{Values: policy}))
			for _, s := range shown {
				if !strings.Contains(out, s) {
					t.Errorf("values %q, %s: %q is not shown", policy, f, s)
				}
			}
		}
	}
}

// TestColumnsAlign: verdicts stand beneath each other on a terminal, also
// beside names in wide characters.
func TestColumnsAlign(t *testing.T) {
	p := matchedPass()
	p.Tables[1].Name.Name, p.Tables[1].TargetName.Name = "注文", "注文"
	at := -1
	for line := range strings.Lines(string(render(t, Table, p, Options{}))) {
		i := strings.Index(line, "match")
		if i < 0 || strings.Contains(line, "MATCH") {
			continue
		}
		column := text.Width(line[:i])
		if at >= 0 && column != at {
			t.Errorf("%q: verdict in column %d, above in %d", line, column, at)
		}
		at = column
	}
	if at < 0 {
		t.Error("no verdict found")
	}
}

// TestLastLine: the verdict and its reason end the table format.
func TestLastLine(t *testing.T) {
	for _, c := range []struct {
		pass *parity.Pass
		want string
	}{
		{matchedPass(), "MATCH: all 3 tables"},
		{divergedPass(), "DIVERGED, NOT COMPLETE: public.orders"},
		{&parity.Pass{Reason: "no table is selected"}, "INCOMPLETE: no table is selected"},
	} {
		lines := strings.Split(strings.TrimSpace(string(render(t, Table, c.pass, Options{}))), "\n")
		if last := lines[len(lines)-1]; !strings.HasPrefix(last, c.want) {
			t.Errorf("last line %q, want %q", last, c.want)
		}
	}
}

func TestFormats(t *testing.T) {
	for _, f := range Formats() {
		if got, err := ParseFormat(f); err != nil || string(got) != f {
			t.Errorf("ParseFormat(%q) = %q, %v", f, got, err)
		}
		if err := Write(&bytes.Buffer{}, Format(f), nil, Options{}); err == nil {
			t.Errorf("%s: no pass is written", f)
		}
		if err := Write(&flaky{writes: 1}, Format(f), matchedPass(), Options{}); !errors.Is(err, errFull) {
			t.Errorf("%s: write error %v", f, err)
		}
	}
	for _, s := range []string{"", "yaml", "JSON"} {
		_, err := ParseFormat(s)
		if err == nil || !strings.Contains(err.Error(), "table, json, ndjson, junit, html") {
			t.Errorf("ParseFormat(%q): %v", s, err)
		}
		if err := Write(&bytes.Buffer{}, Format(s), matchedPass(), Options{}); err == nil {
			t.Errorf("Write as %q succeeds", s)
		}
	}
}

func TestExitCode(t *testing.T) {
	for v, want := range map[parity.Verdict]int{parity.Match: 0, parity.Diverged: 1, parity.Incomplete: 2, 99: 2} {
		if got := ExitCode(v); got != want {
			t.Errorf("ExitCode(%v) = %d, want %d", v, got, want)
		}
	}
}

// TestPlanConclusion: a plan says why it does not know the time, what it did
// not read, and once what several tables have in common.
func TestPlanConclusion(t *testing.T) {
	const schema = "no privilege on schema s of the source: GRANT USAGE ON SCHEMA s TO verifier"
	p := &parity.Plan{Server: servers(), Unknown: "no table can be read"}
	for _, n := range []string{"a", "b"} {
		p.Tables = append(p.Tables, parity.PlannedTable{Name: name("s", n), TargetName: name("s", n), Problems: []string{schema}})
	}
	var b bytes.Buffer
	if err := WritePlan(&b, Table, p, Options{}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"PROBLEMS: 1 problem would make a pass over 2 tables incomplete.", "unknown: no table can be read. Nothing was read.", "problem: as above",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the plan lacks %q:\n%s", want, b.String())
		}
	}
	if strings.Count(b.String(), schema) != 1 {
		t.Errorf("the problem is not said once:\n%s", b.String())
	}
	b.Reset()
	if err := WritePlan(&b, JSON, p, Options{}); err != nil {
		t.Fatal(err)
	}
	if strings.Count(b.String(), schema) != 2 || !strings.Contains(b.String(), `"expected_unknown_reason": "no table can be read"`) {
		t.Errorf("the document lacks a problem or the reason:\n%s", b.String())
	}
}

// TestJUnitEffects: a case fails if what it is about failed the pass, and not
// because of its severity.
func TestJUnitEffects(t *testing.T) {
	breaks := parity.SchemaDifference{Table: name("public", "t"), Object: "column d", Kind: "missing", Severity: parity.Breaks}
	drifts := parity.SchemaDifference{Table: name("public", "t"), Object: "index i", Kind: "missing", Severity: parity.Drifts}
	for want, effects := range map[string]parity.Effects{
		"column d": {},
		"index i":  {SchemaBreaks: parity.Warn, SchemaDrift: parity.Fail},
		"":         {SchemaBreaks: parity.Ignore},
	} {
		pass := &parity.Pass{Verdict: parity.Match, Complete: true, Effects: effects, Schema: []parity.SchemaDifference{breaks, drifts}}
		var got struct {
			Cases []struct {
				Name    string  `xml:"name,attr"`
				Failure *string `xml:"failure"`
			} `xml:"testsuite>testcase"`
		}
		if err := xml.Unmarshal(render(t, JUnit, pass, Options{}), &got); err != nil {
			t.Fatal(err)
		}
		failed := ""
		for _, c := range got.Cases {
			if c.Failure != nil {
				failed += strings.TrimPrefix(c.Name, "t: ")
			}
		}
		if failed != want {
			t.Errorf("%+v: %q fails, want %q", effects, failed, want)
		}
	}
}
