package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/verifierd/verifierd/pkg/parity"
	"github.com/verifierd/verifierd/pkg/relation"
)

// contract is the JSON report as it is documented, fields added since
// included. Decoding is strict, so a renamed field fails.
type contract struct {
	APIVersion      string           `json:"api_version"`
	ToolVersion     string           `json:"tool_version"`
	Verdict         string           `json:"verdict"`
	Complete        bool             `json:"complete"`
	CountsOnly      bool             `json:"counts_only"`
	Reason          string           `json:"reason"`
	StartedAt       string           `json:"started_at"`
	FinishedAt      string           `json:"finished_at"`
	SeedFingerprint string           `json:"seed_fingerprint"`
	Values          string           `json:"values"`
	Source          contractSide     `json:"source"`
	Target          contractSide     `json:"target"`
	Summary         map[string]int64 `json:"summary"`
	Tables          []struct {
		Table       string            `json:"table"`
		TargetTable string            `json:"target_table"`
		Verdict     string            `json:"verdict"`
		Complete    bool              `json:"complete"`
		Reason      string            `json:"reason"`
		Key         []string          `json:"key"`
		Uncompared  []string          `json:"uncompared"`
		Unverified  []string          `json:"unverified"`
		Source      contractTableSide `json:"source"`
		Target      contractTableSide `json:"target"`
		Divergences struct {
			Missing    int64 `json:"missing"`
			Extra      int64 `json:"extra"`
			Mismatched int64 `json:"mismatched"`
			Healed     int64 `json:"healed"`
			Volatile   int64 `json:"volatile"`
			Explained  bool  `json:"explained"`
			Truncated  bool  `json:"truncated"`
		} `json:"divergences"`
		Rows []struct {
			Kind       string             `json:"kind"`
			Key        map[string]string  `json:"key"`
			Columns    []string           `json:"columns"`
			RowHash    string             `json:"row_hash"`
			Location   string             `json:"location"`
			SourceRows *int64             `json:"source_rows"`
			TargetRows *int64             `json:"target_rows"`
			Source     map[string]*string `json:"source"`
			Target     map[string]*string `json:"target"`
		} `json:"rows"`
		Notes    []string `json:"notes"`
		Duration float64  `json:"duration_seconds"`
	} `json:"tables"`
	Orphans []struct {
		Side       string               `json:"side"`
		Table      string               `json:"table"`
		Constraint string               `json:"constraint"`
		Columns    []string             `json:"columns"`
		References string               `json:"references"`
		Rows       int64                `json:"rows"`
		New        int64                `json:"new"`
		Shared     int64                `json:"shared"`
		Sample     []map[string]*string `json:"sample"`
		Keys       []map[string]*string `json:"keys"`
	} `json:"orphans"`
	ForeignKeys []struct {
		Constraint string           `json:"constraint"`
		Declared   bool             `json:"declared"`
		Verdict    string           `json:"verdict"`
		Complete   bool             `json:"complete"`
		Reason     string           `json:"reason"`
		New        int64            `json:"new"`
		Shared     int64            `json:"shared"`
		Healed     int64            `json:"healed"`
		Volatile   int64            `json:"volatile"`
		Source     contractReferrer `json:"source"`
		Target     contractReferrer `json:"target"`
		Duration   float64          `json:"duration_seconds"`
	} `json:"foreign_keys"`
	Schema []struct {
		Table    string `json:"table"`
		Object   string `json:"object"`
		Kind     string `json:"kind"`
		Severity string `json:"severity"`
		Source   string `json:"source"`
		Target   string `json:"target"`
		Hint     string `json:"hint"`
	} `json:"schema"`
	Sequences []struct {
		Sequence string `json:"sequence"`
		Target   string `json:"target_sequence"`
		Source   *int64 `json:"source"`
		Reached  *int64 `json:"target"`
		Verdict  string `json:"verdict"`
		Skipped  bool   `json:"skipped"`
		Warning  bool   `json:"warning"`
		Reason   string `json:"reason"`
		Table    string `json:"table"`
		Column   string `json:"column"`
		Value    *int64 `json:"column_value"`
		Mend     string `json:"mend"`
	} `json:"sequences"`
	Corruption []struct {
		Side    string `json:"side"`
		Table   string `json:"table"`
		Object  string `json:"object"`
		Problem string `json:"problem"`
	} `json:"corruption"`
	NotChecked []string `json:"not_checked"`
	Warnings   []string `json:"warnings"`
	Notes      []string `json:"notes"`
	Skipped    []string `json:"skipped"`
}

type contractSide struct {
	Version    string  `json:"version"`
	Database   string  `json:"database"`
	LSN        string  `json:"lsn"`
	Standby    bool    `json:"standby"`
	SnapshotAt *string `json:"snapshot_at"`
}

type contractReferrer struct {
	Table      string   `json:"table"`
	Columns    []string `json:"columns"`
	References string   `json:"references"`
	Referenced []string `json:"referenced"`
	Declares   bool     `json:"declares"`
	Validated  bool     `json:"validated"`
	Enforced   bool     `json:"enforced"`
	Checked    string   `json:"checked"`
	Orphans    int64    `json:"orphans"`
}

type contractTableSide struct {
	Rows     int64  `json:"rows"`
	Root     string `json:"root"`
	Read     bool   `json:"read"`
	Counted  bool   `json:"counted"`
	ReadRows int64  `json:"read_rows"`
}

func TestJSONContract(t *testing.T) {
	var got contract
	d := json.NewDecoder(bytes.NewReader(render(t, JSON, divergedPass(), Options{Values: parity.ValuesFull})))
	d.DisallowUnknownFields()
	if err := d.Decode(&got); err != nil {
		t.Fatal(err)
	}
	if got.APIVersion != "v1" || got.Verdict != "diverged" || got.StartedAt != "2026-03-14T08:26:53.589Z" {
		t.Errorf("api_version %q, verdict %q, started_at %q", got.APIVersion, got.Verdict, got.StartedAt)
	}
	if o := got.Orphans[0]; o.Side != "target" || o.Table != "public.items" || o.Constraint != "items_order_fk" || o.References != "public.orders" ||
		o.Rows != 3 || fmt.Sprint(o.Columns) != "[order_id]" || *o.Sample[0]["order_id"] != "17" || *o.Keys[0]["id"] != "6" {
		t.Errorf("orphans %+v", o)
	}
	table := got.Tables[3]
	row := table.Rows[0]
	if table.Table != "public.orders_2026" || table.TargetTable != "archive.orders" || row.Kind != "mismatched" ||
		row.Key["id"] != "123456" || fmt.Sprint(row.Columns) != "[b Total]" || *row.Source["b"] != "hello" || row.Target["b"] != nil {
		t.Errorf("table %s, row %+v", table.Table, row)
	}
	if s := got.Schema[2]; s.Object != "column d" || s.Severity != "breaks" || s.Source != "numeric(12,2)" || s.Target != "numeric(12,4)" {
		t.Errorf("schema %+v", s)
	}
}

// TestJSONSequences: the values are numbers, and what is not known is null.
func TestJSONSequences(t *testing.T) {
	var got contract
	d := json.NewDecoder(bytes.NewReader(render(t, JSON, divergedPass(), Options{})))
	d.DisallowUnknownFields()
	if err := d.Decode(&got); err != nil {
		t.Fatal(err)
	}
	s := got.Sequences[1]
	if s.Sequence != "public.orders_id_seq" || *s.Source != 1000 || *s.Reached != 900 || s.Verdict != "diverged" || s.Mend == "" {
		t.Errorf("%+v", s)
	}
	if got.Sequences[2].Source != nil || !got.Sequences[2].Skipped || got.Schema[len(got.Schema)-1].Table != "" {
		t.Errorf("%+v, %+v", got.Sequences[2], got.Schema[len(got.Schema)-1])
	}
}

// TestJSONHasEveryField: what is documented is there, however little a pass
// established, and a list is never null.
func TestJSONHasEveryField(t *testing.T) {
	p := &parity.Pass{Tables: make([]parity.Table, 1)}
	p.Tables[0].Rows = make([]parity.Divergence, 1)
	var got map[string]any
	if err := json.Unmarshal(render(t, JSON, p, Options{}), &got); err != nil {
		t.Fatal(err)
	}
	table := got["tables"].([]any)[0].(map[string]any)
	for _, c := range []struct {
		object map[string]any
		fields string
	}{
		{got, "api_version verdict complete reason started_at finished_at seed_fingerprint source target tables orphans schema sequences corruption not_checked notes skipped"},
		{got["source"].(map[string]any), "version database lsn"},
		{table, "table target_table verdict complete reason source target divergences rows key notes duration_seconds"},
		{table["source"].(map[string]any), "rows root"},
		{table["divergences"].(map[string]any), "missing extra mismatched healed volatile explained truncated"},
		{table["rows"].([]any)[0].(map[string]any), "kind columns"},
	} {
		for _, f := range strings.Fields(c.fields) {
			if _, ok := c.object[f]; !ok {
				t.Errorf("no %s in %v", f, c.object)
			}
		}
	}
	for _, list := range []any{
		got["orphans"], got["schema"], got["sequences"], got["corruption"], got["not_checked"], got["notes"], got["skipped"],
		table["rows"], table["key"], table["notes"],
	} {
		if list == nil {
			t.Errorf("a list is null in %v", got)
		}
	}
	if got["verdict"] != "incomplete" || got["started_at"] != nil {
		t.Errorf("verdict %v, started_at %v", got["verdict"], got["started_at"])
	}
}

func TestStream(t *testing.T) {
	var b bytes.Buffer
	s := NewStream(&b, Options{Values: parity.ValuesNone})
	p := divergedPass()
	s.PassStarted(parity.PassStart{StartedAt: started, Server: p.Server, Tables: len(p.Tables), Rows: -1, Bytes: 10})
	s.TableStarted(parity.TableStart{Name: p.Tables[0].Name, Rows: [2]int64{5, -1}})
	s.SchemaDiffers(&p.Schema[0])
	var wg sync.WaitGroup
	const each = 200
	for range 8 {
		wg.Go(func() {
			for range each {
				s.Diverged(p.Tables[3].Name, &p.Tables[3].Rows[0])
				s.RowsRead(p.Tables[3].Name, relation.Source, 1, 1)
			}
		})
	}
	wg.Wait()
	s.TableFinished(&p.Tables[0])
	if err := s.Finish(p); err != nil {
		t.Fatal(err)
	}
	events := make(map[string]int)
	var last map[string]any
	for line := range strings.Lines(b.String()) {
		last = nil
		if err := json.Unmarshal([]byte(line), &last); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		if at, _ := last["at"].(string); !strings.HasSuffix(at, "Z") {
			t.Errorf("at %q", at)
		}
		events[last["event"].(string)]++
	}
	want := map[string]int{
		"pass_started": 1, "table_started": 1, "schema": len(p.Schema), "divergence": 8 * each,
		"table_finished": len(p.Tables), "foreign_key": len(p.References), "pass_finished": 1,
	}
	if fmt.Sprint(events) != fmt.Sprint(want) {
		t.Errorf("events %v, want %v", events, want)
	}
	if last["event"] != "pass_finished" || last["verdict"] != "diverged" || last["complete"] != false || last["reason"] != p.Reason {
		t.Errorf("last line %v", last)
	}
}

// flaky fails every write after the first.
type flaky struct{ writes int }

var errFull = errors.New("disk full")

func (f *flaky) Write(p []byte) (int, error) {
	if f.writes++; f.writes > 1 {
		return 0, errFull
	}
	return len(p), nil
}

func TestStreamKeepsFirstError(t *testing.T) {
	f := new(flaky)
	s := NewStream(f, Options{})
	for range 5 {
		s.PassStarted(parity.PassStart{})
	}
	if err := s.Finish(matchedPass()); !errors.Is(err, errFull) {
		t.Errorf("Finish: %v", err)
	}
	if f.writes != 2 {
		t.Errorf("%d writes: one after an error tears the stream", f.writes)
	}
	if err := NewStream(new(flaky), Options{}).Finish(nil); err == nil {
		t.Error("Finish without a pass succeeds")
	}
}
