package report

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/verifierd/verifierd/internal/report/text"
	"github.com/verifierd/verifierd/pkg/parity"
	"github.com/verifierd/verifierd/pkg/relation"
)

// WriteBaseline says what is in a baseline, as table or json.
func WriteBaseline(w io.Writer, f Format, b *parity.Baseline, opts Options) error {
	switch f {
	case Table:
		return writeBaselineTable(w, b, opts)
	case JSON:
		return writeJSON(w, newBaselineDocument(b))
	case NDJSON, JUnit, HTML:
		return fmt.Errorf("a baseline has no %s form: want %s or %s", f, Table, JSON)
	}
	_, err := ParseFormat(string(f))
	return err
}

type baselineDocument struct {
	APIVersion       string            `json:"api_version"`
	ToolVersion      string            `json:"tool_version"`
	Signature        string            `json:"signature"`
	StartedAt        timestamp         `json:"started_at"`
	FinishedAt       timestamp         `json:"finished_at"`
	HashMode         string            `json:"hash_mode"`
	SeedFingerprint  string            `json:"seed_fingerprint"`
	Server           documentSide      `json:"server"`
	SystemIdentifier string            `json:"system_identifier"`
	Timeline         int               `json:"timeline"`
	Settings         map[string]string `json:"settings"`
	Selected         []string          `json:"selected"`
	Excluded         []string          `json:"excluded"`
	LargeObjects     bool              `json:"large_objects"`
	Rows             int64             `json:"rows"`
	Tables           []baselineTable   `json:"tables"`
	Skipped          []string          `json:"skipped"`
}

type baselineTable struct {
	Table   string   `json:"table"`
	Kind    string   `json:"kind"`
	Rows    uint64   `json:"rows"`
	Leaves  int      `json:"leaves"`
	Ranges  int      `json:"ranges"`
	Root    string   `json:"root"`
	Key     []string `json:"key"`
	Columns []string `json:"columns"`
}

func newBaselineDocument(b *parity.Baseline) *baselineDocument {
	d := &baselineDocument{
		APIVersion: apiVersion, ToolVersion: b.ToolVersion, Signature: b.Seal, StartedAt: timestamp(b.StartedAt), FinishedAt: timestamp(b.FinishedAt),
		HashMode: b.HashMode, SeedFingerprint: b.SeedFingerprint,
		Server:           documentSide{Version: b.Server.Version, Database: b.Server.Database, LSN: b.Moment.LSNText, Standby: b.Server.Standby, SnapshotAt: timestamp(b.Moment.TakenAt)},
		SystemIdentifier: b.Server.SystemIdentifier, Timeline: b.Server.Timeline, Settings: make(map[string]string),
		Selected: list(b.Tables), Excluded: list(b.Exclude), LargeObjects: b.LargeObjects, Rows: b.Rows(), Skipped: list(b.Skipped),
	}
	for _, s := range b.Server.Settings {
		d.Settings[s.Name] = s.Value
	}
	for i := range b.Contents {
		t := &b.Contents[i]
		row := baselineTable{
			Table: t.Name().String(), Kind: t.Definition.Kind.String(), Rows: t.Tree.Total().Count, Leaves: t.Layout.Leaves(), Ranges: t.Layout.Ranges(),
			Root: t.Tree.Root().String(), Key: []string{}, Columns: []string{},
		}
		for _, k := range t.Form.KeyFields() {
			row.Key = append(row.Key, k.Name[relation.Source])
		}
		for j := range t.Form.Fields {
			row.Columns = append(row.Columns, t.Form.Fields[j].Name[relation.Source])
		}
		d.Tables = append(d.Tables, row)
	}
	return d
}

func writeBaselineTable(w io.Writer, b *parity.Baseline, opts Options) error {
	t := &terminal{colour: text.Palette(opts.Colour), width: opts.Width}
	side := parity.SideInfo{Version: b.Server.Version, Database: b.Server.Database, LSN: b.Moment.LSNText, Standby: b.Server.Standby, SnapshotAt: b.Moment.TakenAt}
	t.paragraph("Database   ", server(side))
	t.paragraph("Server     ", fmt.Sprintf("system identifier %s, timeline %d", text.Prose(b.Server.SystemIdentifier), b.Server.Timeline))
	var settings []string
	for _, s := range b.Server.Settings {
		if s.Value != "" {
			settings = append(settings, text.Prose(s.Name)+" "+text.Prose(s.Value))
		}
	}
	t.paragraph("Settings   ", strings.Join(settings, ", "))
	t.paragraph("Captured   ", fmt.Sprintf("by verifierd %s, hashed as %s, seed fingerprint %s", text.Prose(b.ToolVersion), text.Prose(b.HashMode), text.Prose(b.SeedFingerprint)))
	t.paragraph("Signature  ", text.Prose(b.Seal))
	selected := "all tables that users made"
	if len(b.Tables) > 0 {
		selected = "what matches " + text.Prose(strings.Join(b.Tables, ", "))
	}
	if len(b.Exclude) > 0 {
		selected += ", without " + text.Prose(strings.Join(b.Exclude, ", "))
	}
	t.paragraph("Selected   ", selected)
	c := t.colour
	lines := [][]cell{{{"TABLE", false, c.Dim}, {"ROWS", true, c.Dim}, {"LEAVES", true, c.Dim}, {"ROOT", false, c.Dim}, {"KEY", false, c.Dim}}}
	for i := range b.Contents {
		table := &b.Contents[i]
		var key []string
		for _, k := range table.Form.KeyFields() {
			key = append(key, text.Ident(k.Name[relation.Source]))
		}
		if len(key) == 0 {
			key = []string{"keyless"}
		}
		lines = append(lines, []cell{
			{text.Name(table.Name()), false, plain},
			{text.Count(int64(table.Tree.Total().Count)), true, plain},
			{text.Count(int64(table.Layout.Leaves())), true, plain},
			{table.Tree.Root().String(), false, c.Dim},
			{strings.Join(key, ", "), false, plain},
		})
	}
	t.line("")
	t.columns(lines, func(i int) {
		if i > 0 {
			for _, s := range b.Contents[i-1].Unverified() {
				t.paragraph("    ", "Not in it, by policy: "+text.Prose(s)+".")
			}
		}
	})
	skipped := slices.Clone(b.Skipped)
	if b.LargeObjects {
		skipped = append(skipped, "large objects, of which there were some")
	}
	t.sentences("Not in it", skipped)
	t.line("")
	t.paragraph("", fmt.Sprintf("%s in %s.", text.Plural(b.Rows(), "row", "rows"), text.Plural(int64(len(b.Contents)), "table", "tables")))
	_, err := w.Write(t.Bytes())
	return err
}
