package report

import (
	"bytes"
	"cmp"
	_ "embed" // for the page
	"html/template"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/verifierd/verifierd/internal/report/text"
	"github.com/verifierd/verifierd/pkg/parity"
	"github.com/verifierd/verifierd/pkg/relation"
)

//go:embed report.html.tmpl
var pageText string

var pageTemplate = template.Must(template.New("report").Funcs(template.FuncMap{
	"count": func(n int64) string { return text.Count(n) },
}).Parse(pageText))

// page is what the HTML template renders. All text in it is already fit for
// people; the template escapes it.
type page struct {
	Title, Headline, Class string
	Reason, Proven         string
	Cards                  []card
	Sides                  []pageSide
	Tables                 []pageTable
	Details                []pageTable // the tables of which there is more to say
	Keys, Values           bool
	ByLeaves               bool
	Schema                 []pageSchema
	Sequences              []pageSequence
	Damage                 []string
	References             []pageReference
	Warnings               []string
	Notes, Skipped         []string
	NotChecked             []string
	Facts                  []card
}

type card struct{ Label, Value, Class string }

type pageSide struct{ Name, Database, Version, Role, LSN, SnapshotAt string }

type pageTable struct {
	Anchor, Name               string
	SourceRows, TargetRows     string
	Missing, Extra, Mismatched pageCount
	Leaves                     string
	Divergent                  pageCount // leaves
	Time, Verdict, Class       string
	Reason, Identity           string
	SourceRoot, TargetRoot     string
	Rows                       []row
	More                       string
	Asides                     []string
}

type pageCount struct{ Text, Class string }

type pageSequence struct{ Name, Source, Target, State, Class, Reason, Mend string }

type pageSchema struct {
	Table, Object, Kind, Severity, Class string
	Source, Target, Hint                 string
}

// writeHTML renders a pass as one page that needs nothing else: the verdict
// first, then tables in trouble before the others.
func writeHTML(w io.Writer, p *parity.Pass, opts Options) error {
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, newPage(p, opts)); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}

func newPage(p *parity.Pass, opts Options) *page {
	values := policy(opts)
	d := &page{
		Headline:   headline(p),
		Class:      p.Verdict.String(),
		Reason:     text.Prose(p.Reason),
		Proven:     proven(p),
		Cards:      pageCards(p),
		Keys:       values != parity.ValuesNone,
		ByLeaves:   p.ByLeaves(),
		Values:     values == parity.ValuesFull,
		Warnings:   proses(p.Warnings),
		Notes:      proses(p.Notes),
		Skipped:    proses(p.Skipped),
		NotChecked: proses(p.NotChecked),
		Facts:      pageFacts(p, opts),
	}
	source, target := p.Server[relation.Source], p.Server[relation.Target]
	d.Title = "verifierd: " + strings.ToLower(d.Headline) + ", " + text.Prose(source.Database) + " → " + text.Prose(target.Database)
	for _, side := range relation.Sides {
		d.Sides = append(d.Sides, newPageSide(side, p.Server[side]))
	}
	order := make([]*parity.Table, len(p.Tables))
	for i := range p.Tables {
		order[i] = &p.Tables[i]
	}
	slices.SortStableFunc(order, func(a, b *parity.Table) int { return cmp.Compare(rank(b.Verdict), rank(a.Verdict)) })
	for i, t := range order {
		table := newPageTable(t, values)
		if t.Verdict != parity.Match || !t.Complete || len(table.Asides) > 0 {
			table.Anchor = "t" + text.Count(int64(i+1))
			d.Details = append(d.Details, table)
		}
		d.Tables = append(d.Tables, table)
	}
	for i := range p.Sequences {
		if s := &p.Sequences[i]; s.Verdict != parity.Match || s.Skipped {
			d.Sequences = append(d.Sequences, newPageSequence(s))
		}
	}
	for _, c := range p.Corruption {
		d.Damage = append(d.Damage, text.Prose(c.Object+" of the "+c.Side.String()+": "+c.Problem))
	}
	differences := slices.Clone(p.Schema)
	slices.SortStableFunc(differences, func(a, b parity.SchemaDifference) int {
		return cmp.Compare(severityRank(a.Severity), severityRank(b.Severity))
	})
	for i := range differences {
		d.Schema = append(d.Schema, newPageSchema(&differences[i]))
	}
	d.References = newPageReferences(p, values)
	return d
}

func pageCards(p *parity.Pass) []card {
	s := summarize(p)
	bad := func(n int64, class string) string {
		if n > 0 {
			return class
		}
		return ""
	}
	divergent := card{"Divergent rows", count(s.divergent(), p.Complete), bad(s.divergent(), "diverged")}
	if p.ByLeaves() {
		n := int64(0)
		for i := range p.Tables {
			n += int64(p.Tables[i].Leaves.Divergent)
		}
		divergent = card{"Divergent leaves", count(n, p.Complete), bad(n, "diverged")}
	}
	return []card{
		{"Tables", text.Count(int64(s.Tables)), ""},
		{"Source rows", text.Count(s.SourceRows), ""},
		{"Target rows", text.Count(s.TargetRows), ""},
		divergent,
		{"Tables diverged", text.Count(int64(s.Diverged)), bad(int64(s.Diverged), "diverged")},
		{"Tables incomplete", text.Count(int64(s.Incomplete)), bad(int64(s.Incomplete), "incomplete")},
		{"Schema breaks", text.Count(int64(s.SchemaBreak)), bad(int64(s.SchemaBreak), "diverged")},
		{"New orphans", text.Count(s.Orphans), bad(s.Orphans, "diverged")},
		{"Duration", text.Duration(p.FinishedAt.Sub(p.StartedAt)), ""},
	}
}

func pageFacts(p *parity.Pass, opts Options) []card {
	facts := []card{
		{Label: "Started", Value: pageTime(timestamp(p.StartedAt))},
		{Label: "Finished", Value: pageTime(timestamp(p.FinishedAt))},
		{Label: "Hash seed (fingerprint)", Value: text.Prose(p.SeedFingerprint)},
		{Label: "Rows shown", Value: map[parity.ValuePolicy]string{
			parity.ValuesNone: "kinds and columns only",
			parity.ValuesKeys: "keys, no values",
			parity.ValuesFull: "keys and values",
		}[policy(opts)]},
		{Label: "verifierd", Value: text.Prose(opts.ToolVersion)},
	}
	return slices.DeleteFunc(facts, func(c card) bool { return c.Value == "" })
}

func pageTime(t timestamp) string {
	if t == (timestamp{}) {
		return ""
	}
	return t.String()
}

func newPageSide(side relation.Side, s parity.SideInfo) pageSide {
	role := "primary"
	if s.Standby {
		role = "standby"
	}
	if s.Baseline != nil {
		role = "baseline, " + text.Prose(s.Baseline.Seal)
	}
	name := side.String()
	return pageSide{
		Name:       strings.ToUpper(name[:1]) + name[1:],
		Database:   text.Prose(s.Database),
		Version:    text.Prose(s.Version),
		Role:       role,
		LSN:        text.Prose(s.LSN),
		SnapshotAt: pageTime(timestamp(s.SnapshotAt)),
	}
}

func newPageTable(t *parity.Table, values parity.ValuePolicy) pageTable {
	number := func(n int64) pageCount {
		class := "zero"
		if n > 0 {
			class = "diverged"
		}
		return pageCount{count(n, counted(t)), class}
	}
	d := &t.Divergences
	return pageTable{
		Name:       tableName(t.Name, t.TargetName),
		SourceRows: rowsRead(t.Side[relation.Source]),
		TargetRows: rowsRead(t.Side[relation.Target]),
		Missing:    number(d.Missing),
		Extra:      number(d.Extra),
		Mismatched: number(d.Mismatched),
		Leaves:     text.Count(int64(t.Leaves.Total)),
		Divergent:  number(int64(t.Leaves.Divergent)),
		Time:       text.Duration(t.Duration),
		Verdict:    tableVerdict(t),
		Class:      t.Verdict.String(),
		Reason:     text.Prose(t.Reason),
		Identity:   identity(t),
		SourceRoot: text.Prose(t.Side[relation.Source].Root),
		TargetRoot: text.Prose(t.Side[relation.Target].Root),
		Rows:       tableRows(t, values),
		More:       more(t),
		Asides:     asides(t),
	}
}

// identity says what tells a table's rows apart, once a side was read.
func identity(t *parity.Table) string {
	switch {
	case len(t.Key) > 0:
		key := make([]string, len(t.Key))
		for i, c := range t.Key {
			key[i] = text.Ident(c)
		}
		return "Key (" + strings.Join(key, ", ") + ")"
	case t.Side[relation.Source].Read || t.Side[relation.Target].Read:
		return "Keyless: rows are told apart by their hash"
	}
	return ""
}

func newPageSequence(s *parity.Sequence) pageSequence {
	last := func(n *int64) string {
		if n == nil {
			return "–"
		}
		return strconv.FormatInt(*n, 10)
	}
	state, class := "behind", "diverged"
	switch {
	case s.Skipped:
		state, class = "skipped", ""
	case s.Verdict == parity.Incomplete:
		state, class = "unknown", "incomplete"
	}
	return pageSequence{
		Name: tableName(s.Name, s.TargetName), Source: last(s.Last[relation.Source]), Target: last(s.Last[relation.Target]),
		State: state, Class: class, Reason: text.Prose(s.Reason), Mend: text.Prose(s.Mend),
	}
}

func newPageSchema(d *parity.SchemaDifference) pageSchema {
	class := map[parity.Severity]string{parity.Breaks: "diverged", parity.Drifts: "incomplete"}[d.Severity]
	return pageSchema{
		Table: schemaTable(d), Object: text.Prose(d.Object), Kind: text.Prose(d.Kind),
		Severity: string(d.Severity), Class: class,
		Source: text.Block(d.Source), Target: text.Block(d.Target), Hint: text.Prose(d.Hint),
	}
}

func proses(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = text.Prose(s)
	}
	return out
}
