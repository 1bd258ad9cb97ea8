package report

import (
	"bytes"
	"encoding/json"
	"io"
	"time"

	"github.com/verifierd/verifierd/pkg/parity"
	"github.com/verifierd/verifierd/pkg/relation"
)

const apiVersion = "v1"

// document is the JSON report. Its fields are a contract with other programs:
// they are added, never renamed, and lists are never null.
type document struct {
	documentHead
	Tables      []documentTable     `json:"tables"`
	Schema      []documentSchema    `json:"schema"`
	ForeignKeys []documentReference `json:"foreign_keys"`
	documentTail
}

// documentHead is what a reader wants first.
type documentHead struct {
	APIVersion      string             `json:"api_version"`
	ToolVersion     string             `json:"tool_version,omitempty"`
	Verdict         parity.Verdict     `json:"verdict"`
	Complete        bool               `json:"complete"`
	CountsOnly      bool               `json:"counts_only"` // rows were counted, and not compared
	Reason          string             `json:"reason"`
	StartedAt       timestamp          `json:"started_at"`
	FinishedAt      timestamp          `json:"finished_at"`
	SeedFingerprint string             `json:"seed_fingerprint"`
	Values          parity.ValuePolicy `json:"values"`
	Source          documentSide       `json:"source"`
	Target          documentSide       `json:"target"`
	Summary         summary            `json:"summary"`
}

// documentTail is what a pass says of the whole. Sequences are empty as long as
// NotChecked names them.
type documentTail struct {
	Orphans    []documentOrphans    `json:"orphans"`
	Sequences  []documentSequence   `json:"sequences"`
	Corruption []documentCorruption `json:"corruption"`
	NotChecked []string             `json:"not_checked"`
	Warnings   []string             `json:"warnings"`
	Notes      []string             `json:"notes"`
	Skipped    []string             `json:"skipped"`
}

type documentSide struct {
	Version    string    `json:"version"`
	Database   string    `json:"database"`
	LSN        string    `json:"lsn"`
	Standby    bool      `json:"standby"`
	SnapshotAt timestamp `json:"snapshot_at"`
	// Baseline is there if the side is one.
	Baseline *documentBaseline `json:"baseline,omitempty"`
}

type documentBaseline struct {
	ToolVersion      string `json:"tool_version"`
	SystemIdentifier string `json:"system_identifier"`
	Signature        string `json:"signature"`
}

type documentTable struct {
	Table       string            `json:"table"`
	TargetTable string            `json:"target_table"`
	Verdict     parity.Verdict    `json:"verdict"`
	Complete    bool              `json:"complete"`
	Reason      string            `json:"reason"`
	Key         []string          `json:"key"`
	Uncompared  []string          `json:"uncompared"` // columns
	Unverified  []string          `json:"unverified"` // what the policy leaves out
	Source      documentTableSide `json:"source"`
	Target      documentTableSide `json:"target"`
	Divergences documentCounts    `json:"divergences"`
	Notes       []string          `json:"notes"`
	Duration    float64           `json:"duration_seconds"`
	Rows        []documentRow     `json:"rows,omitzero"`
	Leaves      *documentLeaves   `json:"leaves,omitempty"`
}

// documentLeaves is how a table compares with a baseline.
type documentLeaves struct {
	Total     int             `json:"total"`
	Divergent int             `json:"divergent"`
	Truncated bool            `json:"truncated"`
	Ranges    []documentRange `json:"ranges"`
}

// documentRange is a run of divergent leaves. From and To are absent where the
// range is open, or where keys are withheld.
type documentRange struct {
	First      int    `json:"first"`
	Last       int    `json:"last"`
	From       object `json:"from,omitempty"`
	To         object `json:"to,omitempty"`
	Part       int    `json:"part"`
	Parts      int    `json:"parts"`
	SourceRows int64  `json:"source_rows"`
	TargetRows int64  `json:"target_rows"`
}

type documentTableSide struct {
	Rows     int64  `json:"rows"`
	Root     string `json:"root"`
	Read     bool   `json:"read"`
	Counted  bool   `json:"counted"`
	ReadRows int64  `json:"read_rows"`
}

type documentCounts struct {
	Missing    int64 `json:"missing"`
	Extra      int64 `json:"extra"`
	Mismatched int64 `json:"mismatched"`
	Healed     int64 `json:"healed"`
	Volatile   int64 `json:"volatile"`
	Explained  bool  `json:"explained"`
	Truncated  bool  `json:"truncated"`
}

// documentRow is a divergence with no more in it than the policy lets through.
type documentRow struct {
	Kind       parity.Kind `json:"kind"`
	Key        object      `json:"key,omitempty"`
	Columns    []string    `json:"columns"`
	RowHash    string      `json:"row_hash,omitempty"`
	Location   string      `json:"location,omitempty"`
	SourceRows *int64      `json:"source_rows,omitempty"`
	TargetRows *int64      `json:"target_rows,omitempty"`
	Source     object      `json:"source,omitempty"`
	Target     object      `json:"target,omitempty"`
}

type documentSchema struct {
	Table    string          `json:"table"`
	Object   string          `json:"object"`
	Kind     string          `json:"kind"`
	Severity parity.Severity `json:"severity"`
	Source   string          `json:"source"`
	Target   string          `json:"target"`
	Hint     string          `json:"hint,omitempty"`
}

type documentSequence struct {
	Sequence string         `json:"sequence"`
	Target   string         `json:"target_sequence"`
	Source   *int64         `json:"source"` // the last value handed out
	Reached  *int64         `json:"target"`
	Verdict  parity.Verdict `json:"verdict"`
	Skipped  bool           `json:"skipped"`
	Warning  bool           `json:"warning"`
	Reason   string         `json:"reason"`
	Table    string         `json:"table"` // with the column that holds what it will hand out again
	Column   string         `json:"column"`
	Value    *int64         `json:"column_value"`
	Mend     string         `json:"mend"`
}

type documentCorruption struct {
	Side    string `json:"side"`
	Table   string `json:"table"`
	Object  string `json:"object"`
	Problem string `json:"problem"`
}

// summary counts what a pass established, so that a reader of the first lines
// knows its extent.
type summary struct {
	Tables      int   `json:"tables"`
	Match       int   `json:"match"`
	Diverged    int   `json:"diverged"`
	Incomplete  int   `json:"incomplete"`
	Empty       int   `json:"empty"` // tables of which no row was compared
	SourceRows  int64 `json:"source_rows"`
	TargetRows  int64 `json:"target_rows"`
	Missing     int64 `json:"missing"`
	Extra       int64 `json:"extra"`
	Mismatched  int64 `json:"mismatched"`
	Healed      int64 `json:"healed"`
	Volatile    int64 `json:"volatile"`
	SchemaBreak int   `json:"schema_breaks"`
	SchemaDrift int   `json:"schema_drifts"`
	Sequences   int   `json:"sequences"`        // compared
	Behind      int   `json:"sequences_behind"` // of which are behind
	Orphans     int64 `json:"orphans"`          // that only the target has
}

func (s *summary) divergent() int64 { return s.Missing + s.Extra + s.Mismatched }

func summarize(p *parity.Pass) summary {
	s := summary{Tables: len(p.Tables)}
	for i := range p.Tables {
		t := &p.Tables[i]
		switch t.Verdict {
		case parity.Match:
			s.Match++
		case parity.Diverged:
			s.Diverged++
		default:
			s.Incomplete++
		}
		if t.Empty() {
			s.Empty++
		}
		s.SourceRows += t.Side[relation.Source].Rows
		s.TargetRows += t.Side[relation.Target].Rows
		s.Missing += t.Divergences.Missing
		s.Extra += t.Divergences.Extra
		s.Mismatched += t.Divergences.Mismatched
		s.Healed += t.Divergences.Healed
		s.Volatile += t.Divergences.Volatile
	}
	for i := range p.Sequences {
		switch {
		case p.Sequences[i].Verdict == parity.Diverged:
			s.Behind++
			fallthrough
		case p.Sequences[i].Verdict == parity.Match && !p.Sequences[i].Skipped:
			s.Sequences++
		}
	}
	for i := range p.References {
		s.Orphans += p.References[i].New
	}
	for i := range p.Schema {
		switch p.Schema[i].Severity {
		case parity.Breaks:
			s.SchemaBreak++
		case parity.Drifts:
			s.SchemaDrift++
		}
	}
	return s
}

func newDocument(p *parity.Pass, opts Options) *document {
	d := &document{
		documentHead: newHead(p, opts),
		Tables:       make([]documentTable, len(p.Tables)),
		Schema:       make([]documentSchema, len(p.Schema)),
		ForeignKeys:  newReferences(p),
		documentTail: newTail(p, policy(opts)),
	}
	for i := range p.Tables {
		d.Tables[i] = newTable(&p.Tables[i], d.Values)
	}
	for i := range p.Schema {
		d.Schema[i] = newSchema(&p.Schema[i])
	}
	return d
}

func newHead(p *parity.Pass, opts Options) documentHead {
	return documentHead{
		APIVersion:      apiVersion,
		ToolVersion:     opts.ToolVersion,
		Verdict:         p.Verdict,
		Complete:        p.Complete,
		CountsOnly:      p.CountsOnly,
		Reason:          p.Reason,
		StartedAt:       timestamp(p.StartedAt),
		FinishedAt:      timestamp(p.FinishedAt),
		SeedFingerprint: p.SeedFingerprint,
		Values:          policy(opts),
		Source:          newSide(p.Server[relation.Source]),
		Target:          newSide(p.Server[relation.Target]),
		Summary:         summarize(p),
	}
}

func newTail(p *parity.Pass, values parity.ValuePolicy) documentTail {
	return documentTail{
		Orphans:    newOrphans(p, values),
		Sequences:  newSequences(p),
		Corruption: newCorruption(p),
		NotChecked: list(p.NotChecked),
		Warnings:   list(p.Warnings),
		Notes:      list(p.Notes),
		Skipped:    list(p.Skipped),
	}
}

func newSequences(p *parity.Pass) []documentSequence {
	list := make([]documentSequence, len(p.Sequences))
	for i := range p.Sequences {
		s := &p.Sequences[i]
		list[i] = documentSequence{
			Sequence: s.Name.String(), Target: s.TargetName.String(), Source: s.Last[relation.Source], Reached: s.Last[relation.Target],
			Verdict: s.Verdict, Skipped: s.Skipped, Warning: s.Warning, Reason: s.Reason, Table: tableText(s.Column.Table), Column: s.Column.Column, Value: s.Value, Mend: s.Mend,
		}
	}
	return list
}

func newCorruption(p *parity.Pass) []documentCorruption {
	list := make([]documentCorruption, len(p.Corruption))
	for i, d := range p.Corruption {
		list[i] = documentCorruption{d.Side.String(), d.Table.String(), d.Object, d.Problem}
	}
	return list
}

// tableText is a table's name; "" for what belongs to none.
func tableText(n relation.Name) string {
	if n == (relation.Name{}) {
		return ""
	}
	return n.String()
}

func newSide(s parity.SideInfo) documentSide {
	d := documentSide{Version: s.Version, Database: s.Database, LSN: s.LSN, Standby: s.Standby, SnapshotAt: timestamp(s.SnapshotAt)}
	if b := s.Baseline; b != nil {
		d.Baseline = &documentBaseline{b.ToolVersion, b.SystemIdentifier, b.Seal}
	}
	return d
}

// newTable renders a table with its rows.
func newTable(t *parity.Table, values parity.ValuePolicy) documentTable {
	d := newTableHead(t, values)
	d.Rows = make([]documentRow, len(t.Rows))
	for i := range t.Rows {
		d.Rows[i] = newRow(&t.Rows[i], values)
	}
	return d
}

// newTableHead renders a table without its rows.
func newTableHead(t *parity.Table, values parity.ValuePolicy) documentTable {
	c := &t.Divergences
	return documentTable{
		Leaves:      newLeaves(t, values),
		Table:       t.Name.String(),
		TargetTable: t.TargetName.String(),
		Verdict:     t.Verdict,
		Complete:    t.Complete,
		Reason:      t.Reason,
		Key:         list(t.Key),
		Uncompared:  list(t.Uncompared),
		Unverified:  list(t.Unverified),
		Source:      documentTableSide(t.Side[relation.Source]),
		Target:      documentTableSide(t.Side[relation.Target]),
		Divergences: documentCounts{c.Missing, c.Extra, c.Mismatched, c.Healed, c.Volatile, c.Explained, c.Truncated},
		Notes:       list(t.Notes),
		Duration:    seconds(t.Duration),
	}
}

func newLeaves(t *parity.Table, values parity.ValuePolicy) *documentLeaves {
	if t.Leaves.Total == 0 {
		return nil
	}
	d := &documentLeaves{t.Leaves.Total, t.Leaves.Divergent, t.Leaves.Truncated, make([]documentRange, len(t.Ranges))}
	for i := range t.Ranges {
		d.Ranges[i] = newRange(&t.Ranges[i], values)
	}
	return d
}

// newRange lets the keys of a range through where rows' keys may be shown.
func newRange(r *parity.LeafRange, values parity.ValuePolicy) documentRange {
	d := documentRange{
		First: r.First, Last: r.Last, Part: r.Part, Parts: r.Parts, SourceRows: r.Rows[relation.Source], TargetRows: r.Rows[relation.Target],
	}
	if values != parity.ValuesNone {
		d.From, d.To = object(r.From), object(r.To)
	}
	return d
}

func newSchema(d *parity.SchemaDifference) documentSchema {
	return documentSchema{tableText(d.Table), d.Object, d.Kind, d.Severity, d.Source, d.Target, d.Hint}
}

// policy returns the policy in force: keys by default, and none for one that
// is not known.
func policy(opts Options) parity.ValuePolicy {
	switch opts.Values {
	case "":
		return parity.ValuesKeys
	case parity.ValuesKeys, parity.ValuesFull:
		return opts.Values
	}
	return parity.ValuesNone
}

// newRow lets through of a divergence what the policy allows. A row's hash and
// place tell rows apart as a key does, so they go with the keys.
func newRow(d *parity.Divergence, values parity.ValuePolicy) documentRow {
	r := documentRow{Kind: d.Kind, Columns: list(d.Columns)}
	if values == parity.ValuesNone {
		return r
	}
	r.Key = object(d.Key)
	if d.RowHash != "" && len(d.Key) == 0 {
		r.RowHash, r.Location = d.RowHash, d.Location
		r.SourceRows, r.TargetRows = &d.Count[relation.Source], &d.Count[relation.Target]
	}
	if values == parity.ValuesFull {
		r.Source = object(d.Values[relation.Source])
		r.Target = object(d.Values[relation.Target])
	}
	return r
}

// object is a JSON object that keeps the order of its columns.
type object []parity.NamedValue

func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, c := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := encode(&b, c.Column); err != nil {
			return nil, err
		}
		b.WriteByte(':')
		if err := encode(&b, c.Value); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// timestamp is a time in RFC 3339, in UTC, to the millisecond; the zero time
// is null.
type timestamp time.Time

func (t timestamp) String() string {
	return time.Time(t).UTC().Format("2006-01-02T15:04:05.000Z07:00")
}

func (t timestamp) MarshalJSON() ([]byte, error) {
	if time.Time(t).IsZero() {
		return []byte("null"), nil
	}
	return []byte(`"` + t.String() + `"`), nil
}

func seconds(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }

// list makes a list that is never null.
func list(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// encode writes a value as JSON, leaving <, > and & as they are: reports are
// read by people too.
func encode(b *bytes.Buffer, v any) error {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	b.Truncate(b.Len() - 1) // the newline
	return nil
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
