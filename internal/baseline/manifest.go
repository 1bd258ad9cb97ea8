package baseline

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/verifierd/verifierd/pkg/parity"
	"github.com/verifierd/verifierd/pkg/relation"
	"github.com/verifierd/verifierd/pkg/rowhash"
)

// manifest is what a baseline says in words. Its fields are a part of the
// format: another field, or another meaning of one, takes another Version.
type manifest struct {
	ToolVersion  string             `json:"tool_version"`
	StartedAt    time.Time          `json:"started_at"`
	FinishedAt   time.Time          `json:"finished_at"`
	HashMode     string             `json:"hash_mode"`
	Seed         string             `json:"seed"` // 16 hexadecimal digits
	Selected     []string           `json:"selected,omitempty"`
	Excluded     []string           `json:"excluded,omitempty"`
	LargeObjects bool               `json:"large_objects,omitempty"`
	Skipped      []string           `json:"skipped,omitempty"`
	Server       manifestServer     `json:"server"`
	Snapshot     manifestSnapshot   `json:"snapshot"`
	Tables       []manifestTable    `json:"tables"`
	Schema       []manifestObject   `json:"schema,omitempty"`
	Sequences    []manifestSequence `json:"sequences,omitempty"`
}

type manifestServer struct {
	Version          string             `json:"version"`
	Number           int                `json:"version_number"`
	Database         string             `json:"database"`
	DatabaseOID      uint32             `json:"database_oid"`
	SystemIdentifier string             `json:"system_identifier"`
	Timeline         int                `json:"timeline"`
	Standby          bool               `json:"standby,omitempty"`
	Encoding         string             `json:"encoding"`
	LCMonetary       string             `json:"lc_monetary"`
	Locale           string             `json:"locale,omitempty"`
	Settings         []manifestProperty `json:"settings"`
}

type manifestProperty struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// manifestObject is a definition beside those of the tables' columns and keys.
type manifestObject struct {
	TableSchema string             `json:"table_schema,omitempty"`
	Table       string             `json:"table,omitempty"`
	Kind        string             `json:"kind"`
	Name        string             `json:"name,omitempty"`
	Properties  []manifestProperty `json:"properties,omitempty"`
}

type manifestSequence struct {
	Schema     string        `json:"schema"`
	Name       string        `json:"name"`
	Type       string        `json:"type"`
	Start      int64         `json:"start"`
	Min        int64         `json:"min"`
	Max        int64         `json:"max"`
	Increment  int64         `json:"increment"`
	Cache      int64         `json:"cache"`
	Cycle      bool          `json:"cycle,omitempty"`
	Last       *int64        `json:"last"` // the last value handed out; null: none was
	Next       *int64        `json:"next"` // what comes first, where none was handed out
	Unreadable bool          `json:"unreadable,omitempty"`
	Feeds      []manifestFed `json:"feeds,omitempty"`
}

type manifestFed struct {
	Schema string `json:"schema"`
	Table  string `json:"table"`
	Column string `json:"column"`
	// Read says that the column's furthest value could be read, and Furthest
	// what it was; null: the column was empty.
	Read     bool   `json:"read"`
	Furthest *int64 `json:"furthest"`
}

type manifestSnapshot struct {
	TakenAt time.Time    `json:"taken_at"`
	LSN     relation.LSN `json:"lsn"`
	LSNText string       `json:"lsn_text"`
	Visible string       `json:"visible"`
}

type manifestTable struct {
	Schema      string                        `json:"schema"`
	Name        string                        `json:"name"`
	Kind        string                        `json:"kind"` // as pg_class.relkind has it
	Columns     []manifestColumn              `json:"columns"`
	Keys        []manifestKey                 `json:"keys,omitempty"`
	Policy      manifestPolicy                `json:"policy,omitzero"`
	Expressions map[string]manifestExpression `json:"expressions,omitempty"`
	Fields      []manifestField               `json:"fields"`
	Where       string                        `json:"where,omitempty"`
	Key         []int                         `json:"key,omitempty"` // of fields
	Ordered     int                           `json:"ordered,omitempty"`
	Leaves      int                           `json:"leaves"`
	Rows        uint64                        `json:"rows"`
	Root        string                        `json:"root"`
}

type manifestColumn struct {
	Name       string        `json:"name"`
	Number     int16         `json:"number"`
	Type       *manifestType `json:"type"`
	Definition string        `json:"definition"`
	NotNull    bool          `json:"not_null,omitempty"`
	Generated  bool          `json:"generated,omitempty"`
	Identity   bool          `json:"identity,omitempty"`
}

type manifestType struct {
	Schema       string          `json:"schema"`
	Name         string          `json:"name"`
	Kind         string          `json:"kind"`
	Elem         *manifestType   `json:"elem,omitempty"`
	Attributes   []*manifestType `json:"attributes,omitempty"`
	BinaryOutput bool            `json:"binary_output,omitempty"`
	Collation    bool            `json:"collation,omitempty"`
	Base         string          `json:"base,omitempty"`
}

type manifestKey struct {
	Columns []string `json:"columns"`
	Index   string   `json:"index"`
	Primary bool     `json:"primary,omitempty"`
}

type manifestPolicy struct {
	Exclude []string          `json:"exclude,omitempty"`
	Value   []string          `json:"value,omitempty"`
	Cast    map[string]string `json:"cast,omitempty"`
	Where   string            `json:"where,omitempty"`
	Key     []string          `json:"key,omitempty"`
}

type manifestExpression struct {
	SQL         string        `json:"sql"`
	Type        *manifestType `json:"type"`
	Definition  string        `json:"definition"`
	ByCollation bool          `json:"by_collation,omitempty"`
	ByEncoding  bool          `json:"by_encoding,omitempty"`
}

// manifestField is a column as it was hashed.
type manifestField struct {
	Name    string        `json:"name"`
	Type    *manifestType `json:"type"` // as it was sent
	SQL     string        `json:"sql,omitempty"`
	Cast    string        `json:"cast,omitempty"`
	Value   bool          `json:"value,omitempty"`
	Reorder bool          `json:"reorder,omitempty"`
}

func newManifest(b *parity.Baseline) *manifest {
	s := &b.Server
	m := &manifest{
		ToolVersion: b.ToolVersion, StartedAt: b.StartedAt.UTC(), FinishedAt: b.FinishedAt.UTC(), HashMode: b.HashMode,
		Seed: fmt.Sprintf("%016x", b.Seed), Selected: b.Tables, Excluded: b.Exclude, LargeObjects: b.LargeObjects, Skipped: b.Skipped,
		Server: manifestServer{
			s.Version, s.Number, s.Database, s.DatabaseOID, s.SystemIdentifier, s.Timeline, s.Standby, s.Encoding, s.LCMonetary,
			s.Locale, properties(s.Settings),
		},
		Snapshot: manifestSnapshot{b.Moment.TakenAt.UTC(), b.Moment.LSN, b.Moment.LSNText, b.Moment.Visible},
	}
	for i := range b.Contents {
		m.Tables = append(m.Tables, newManifestTable(&b.Contents[i]))
	}
	for i := range b.Schema {
		o := &b.Schema[i]
		m.Schema = append(m.Schema, manifestObject{o.Table.Schema, o.Table.Name, o.Kind, o.Name, properties(o.Properties)})
	}
	for i := range b.Sequences {
		m.Sequences = append(m.Sequences, newManifestSequence(&b.Sequences[i], b.Furthest))
	}
	return m
}

func newManifestSequence(s *relation.Sequence, furthest map[relation.Fed]*int64) manifestSequence {
	m := manifestSequence{
		s.Name.Schema, s.Name.Name, s.Type, s.Start, s.Min, s.Max, s.Increment, s.Cache, s.Cycle, s.Last, s.Next, s.Unreadable, nil,
	}
	for _, f := range s.Feeds {
		value, read := furthest[f]
		m.Feeds = append(m.Feeds, manifestFed{f.Table.Schema, f.Table.Name, f.Column, read, value})
	}
	return m
}

func (m *manifestSequence) sequence() relation.Sequence {
	s := relation.Sequence{
		Name: relation.Name{Schema: m.Schema, Name: m.Name}, Type: m.Type, Start: m.Start, Min: m.Min, Max: m.Max, Increment: m.Increment,
		Cache: m.Cache, Cycle: m.Cycle, Last: m.Last, Next: m.Next, Unreadable: m.Unreadable,
	}
	for _, f := range m.Feeds {
		s.Feeds = append(s.Feeds, relation.Fed{Table: relation.Name{Schema: f.Schema, Name: f.Table}, Column: f.Column})
	}
	return s
}

func properties(list []relation.Property) []manifestProperty {
	var out []manifestProperty
	for _, p := range list {
		out = append(out, manifestProperty(p))
	}
	return out
}

func newManifestTable(t *parity.BaselineTable) manifestTable {
	d, f, p := &t.Definition, &t.Form, &t.Policy
	m := manifestTable{
		Schema: d.Name.Schema, Name: d.Name.Name, Kind: string(rune(d.Kind)),
		Policy: manifestPolicy{Exclude: p.Exclude, Value: p.Value, Where: p.Where[relation.Source], Key: p.Key},
		Where:  f.Where[relation.Source], Key: f.Key, Ordered: f.Ordered,
		Leaves: t.Layout.Leaves(), Rows: t.Tree.Total().Count, Root: t.Tree.Root().String(),
	}
	for i := range d.Columns {
		c := &d.Columns[i]
		m.Columns = append(m.Columns, manifestColumn{c.Name, c.Number, newManifestType(c.Type), c.Definition, c.NotNull, c.Generated, c.Identity})
	}
	for _, k := range d.Keys {
		m.Keys = append(m.Keys, manifestKey(k))
	}
	for column, cast := range p.Cast {
		if m.Policy.Cast == nil {
			m.Policy.Cast = make(map[string]string)
		}
		m.Policy.Cast[column] = cast[relation.Source]
	}
	for sql, e := range t.Expressions {
		if m.Expressions == nil {
			m.Expressions = make(map[string]manifestExpression)
		}
		m.Expressions[sql] = manifestExpression{e.SQL, newManifestType(e.Type), e.Definition, e.ByCollation, e.ByEncoding}
	}
	for i := range f.Fields {
		x := &f.Fields[i]
		m.Fields = append(m.Fields, manifestField{
			x.Name[relation.Source], newManifestType(x.Type[relation.Source]), x.SQL[relation.Source], x.Cast[relation.Source], x.Value, x.Reorder,
		})
	}
	return m
}

func newManifestType(t *relation.Type) *manifestType {
	if t == nil {
		return nil
	}
	m := &manifestType{
		Schema: t.Schema, Name: t.Name, Kind: string(rune(t.Kind)), Elem: newManifestType(t.Elem),
		BinaryOutput: t.BinaryOutput, Collation: t.Collation, Base: t.BaseDefinition,
	}
	for _, a := range t.Attributes {
		m.Attributes = append(m.Attributes, newManifestType(a))
	}
	return m
}

// baseline returns what the manifest describes, without layouts and trees.
func (m *manifest) baseline() (*parity.Baseline, error) {
	seed, err := strconv.ParseUint(m.Seed, 16, 64)
	if err != nil || seed == 0 || len(m.Seed) != 16 {
		return nil, errors.New("its seed is malformed")
	}
	s := &m.Server
	b := &parity.Baseline{
		ToolVersion: m.ToolVersion, StartedAt: m.StartedAt, FinishedAt: m.FinishedAt, HashMode: m.HashMode, Seed: seed,
		SeedFingerprint: rowhash.Fingerprint(seed), Tables: m.Selected, Exclude: m.Excluded, LargeObjects: m.LargeObjects, Skipped: m.Skipped,
		Server: relation.Server{
			Version: s.Version, Number: s.Number, Database: s.Database, DatabaseOID: s.DatabaseOID, SystemIdentifier: s.SystemIdentifier,
			Timeline: s.Timeline, Standby: s.Standby, Encoding: s.Encoding, LCMonetary: s.LCMonetary, Locale: s.Locale,
		},
		Moment: relation.Moment{TakenAt: m.Snapshot.TakenAt, LSN: m.Snapshot.LSN, LSNText: m.Snapshot.LSNText, Visible: m.Snapshot.Visible},
	}
	for _, p := range s.Settings {
		b.Server.Settings = append(b.Server.Settings, relation.Property(p))
	}
	if len(m.Tables) == 0 {
		return nil, errors.New("it holds no table")
	}
	for i := range m.Tables {
		t, err := m.Tables[i].table()
		if err != nil {
			return nil, fmt.Errorf("table %s: %w", relation.Name{Schema: m.Tables[i].Schema, Name: m.Tables[i].Name}, err)
		}
		b.Contents = append(b.Contents, *t)
	}
	for i := range m.Schema {
		o := &m.Schema[i]
		object := relation.Object{Table: relation.Name{Schema: o.TableSchema, Name: o.Table}, Kind: o.Kind, Name: o.Name}
		for _, p := range o.Properties {
			object.Properties = append(object.Properties, relation.Property(p))
		}
		b.Schema = append(b.Schema, object)
	}
	b.Furthest = make(map[relation.Fed]*int64)
	for i := range m.Sequences {
		s := m.Sequences[i].sequence()
		b.Sequences = append(b.Sequences, s)
		for j, f := range m.Sequences[i].Feeds {
			if f.Read {
				b.Furthest[s.Feeds[j]] = f.Furthest
			}
		}
	}
	return b, nil
}

func (m *manifestTable) table() (*parity.BaselineTable, error) {
	kind, err := oneByte(m.Kind)
	if err != nil {
		return nil, err
	}
	name := relation.Name{Schema: m.Schema, Name: m.Name}
	t := &parity.BaselineTable{
		Definition: relation.Table{Name: name, Kind: relation.Kind(kind)},
		Policy:     parity.Policy{Exclude: m.Policy.Exclude, Value: m.Policy.Value, Where: both(m.Policy.Where), Key: m.Policy.Key},
		Form:       relation.Form{Table: [2]relation.Name{name, name}, Where: both(m.Where), Key: m.Key, Ordered: m.Ordered},
	}
	for i := range m.Columns {
		c := &m.Columns[i]
		typ, err := c.Type.typ(0)
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", relation.QuoteIdent(c.Name), err)
		}
		t.Definition.Columns = append(t.Definition.Columns, relation.Column{
			Name: c.Name, Number: c.Number, Type: typ, Definition: c.Definition, NotNull: c.NotNull, Generated: c.Generated, Identity: c.Identity,
		})
	}
	for _, k := range m.Keys {
		t.Definition.Keys = append(t.Definition.Keys, relation.Key(k))
	}
	for _, column := range slices.Sorted(maps.Keys(m.Policy.Cast)) {
		if t.Policy.Cast == nil {
			t.Policy.Cast = make(map[string][2]string)
		}
		t.Policy.Cast[column] = both(m.Policy.Cast[column])
	}
	for sql, e := range m.Expressions {
		typ, err := e.Type.typ(0)
		if err != nil {
			return nil, fmt.Errorf("an expression: %w", err)
		}
		if t.Expressions == nil {
			t.Expressions = make(map[string]relation.Expression)
		}
		t.Expressions[sql] = relation.Expression{SQL: e.SQL, Type: typ, Definition: e.Definition, ByCollation: e.ByCollation, ByEncoding: e.ByEncoding}
	}
	for _, f := range m.Fields {
		typ, err := f.Type.typ(0)
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", relation.QuoteIdent(f.Name), err)
		}
		t.Form.Fields = append(t.Form.Fields, relation.Field{
			Name: both(f.Name), Type: [2]*relation.Type{typ, typ}, SQL: both(f.SQL), Cast: both(f.Cast), Value: f.Value, Reorder: f.Reorder,
		})
	}
	return t, checkKey(&t.Form)
}

func both(s string) [2]string { return [2]string{s, s} }

// checkKey makes sure that the key is of the form's columns, and that those said
// to have an order do.
func checkKey(f *relation.Form) error {
	for i, k := range f.Key {
		if k < 0 || k >= len(f.Fields) || slices.Contains(f.Key[:i], k) {
			return errors.New("its key is not of its columns")
		}
	}
	if f.Ordered < 0 || f.Ordered > len(f.Key) {
		return errors.New("more columns of its key have an order than there are")
	}
	for i, k := range f.KeyFields()[:f.Ordered] {
		order := k.Type[relation.Source].Sorts()
		if order == relation.Unsorted || order == relation.SortsVarying && i < f.Ordered-1 {
			return errors.New("a column of its key does not sort as it says")
		}
	}
	return nil
}

// maxDepth bounds how deep a type may be made of others.
const maxDepth = 64

// typ returns the type, or an error if a part is missing without which it is
// none.
func (m *manifestType) typ(depth int) (*relation.Type, error) {
	if m == nil || depth > maxDepth {
		return nil, errors.New("its type is missing, or made of too many")
	}
	kind, err := oneByte(m.Kind)
	if err != nil {
		return nil, err
	}
	t := &relation.Type{
		Schema: m.Schema, Name: m.Name, Kind: relation.TypeKind(kind), BinaryOutput: m.BinaryOutput, Collation: m.Collation, BaseDefinition: m.Base,
	}
	if m.Elem != nil {
		if t.Elem, err = m.Elem.typ(depth + 1); err != nil {
			return nil, err
		}
	}
	for _, a := range m.Attributes {
		attribute, err := a.typ(depth + 1)
		if err != nil {
			return nil, err
		}
		t.Attributes = append(t.Attributes, attribute)
	}
	switch t.Kind {
	case relation.Array, relation.Domain, relation.Range:
		if t.Elem == nil {
			return nil, fmt.Errorf("type %s is made of nothing", t.Name)
		}
	case relation.Multirange:
		if t.Elem == nil || t.Elem.Elem == nil {
			return nil, fmt.Errorf("type %s is made of nothing", t.Name)
		}
	}
	return t, nil
}

func oneByte(s string) (byte, error) {
	if len(s) != 1 {
		return 0, fmt.Errorf("kind %q: want one letter", s)
	}
	return s[0], nil
}
