package parity

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/verifierd/verifierd/pkg/merkle"
	"github.com/verifierd/verifierd/pkg/relation"
)

// Baseline is what is kept of a database at one snapshot, to compare with when
// the rows themselves are gone.
type Baseline struct {
	ToolVersion string
	// StartedAt is what now() means in the tables' policies.
	StartedAt, FinishedAt time.Time
	Server                relation.Server
	Moment                relation.Moment
	// HashMode names how rows become hashes, and Seed is that of the hashes.
	// Whoever knows the seed can make rows that collide.
	HashMode        string
	Seed            uint64
	SeedFingerprint string
	// Tables and Exclude are the patterns that selected the tables. None: all
	// that users made.
	Tables, Exclude []string
	// LargeObjects says that there were some; they are not in the baseline.
	LargeObjects bool
	Skipped      []string
	// Seal says who signed it, and whether that was checked. It is not a part
	// of what is kept.
	Seal     string
	Contents []BaselineTable // by name
	// Schema are the definitions of the tables and what belongs to them, and of
	// all else if all tables were selected. Sequences are in the state of some
	// moment after the snapshot; there are none from a standby.
	Schema    []relation.Object
	Sequences []relation.Sequence
	// Furthest are the furthest values, at the snapshot, of the columns that the
	// sequences feed; nil: the column was empty. What could not be read is not
	// in it.
	Furthest map[relation.Fed]*int64
}

// BaselineTable is a table of a baseline.
type BaselineTable struct {
	// Definition is the table's. It has no members: how it was stored does not
	// matter.
	Definition relation.Table
	// Policy says how the table is compared, and Expressions what the database
	// made of each expression in it.
	Policy      Policy
	Expressions map[string]relation.Expression
	// Form is what was hashed, the same on both sides.
	Form   relation.Form
	Layout *merkle.Layout
	Tree   *merkle.Tree
}

// Name is the table's.
func (t *BaselineTable) Name() relation.Name { return t.Definition.Name }

// Unverified says what the policy leaves out of the baseline, a sentence each.
func (t *BaselineTable) Unverified() []string {
	r := rules{Policy: t.Policy, cast: make(map[string][2]relation.Expression)}
	for column, cast := range t.Policy.Cast {
		if e, ok := t.Expressions[cast[relation.Source]]; ok {
			r.cast[column] = [2]relation.Expression{e}
		}
	}
	r.where[relation.Source] = t.Form.Where[relation.Source]
	return r.unverified()
}

// Table returns the table of that name, or nil.
func (b *Baseline) Table(name relation.Name) *BaselineTable {
	for i := range b.Contents {
		if b.Contents[i].Name() == name {
			return &b.Contents[i]
		}
	}
	return nil
}

// Covers reports whether a table of that name would be in the baseline, had there
// been one: of others it tells nothing.
func (b *Baseline) Covers(name relation.Name) bool {
	matches := func(patterns []string) bool {
		return slices.ContainsFunc(patterns, func(text string) bool {
			p, err := relation.ParsePattern(text)
			return err == nil && p.Match(name) // the capture has parsed it
		})
	}
	skipped := slices.ContainsFunc(b.Skipped, func(s string) bool { return strings.HasPrefix(s, name.String()+": ") })
	return !skipped && !matches(b.Exclude) && (len(b.Tables) == 0 || matches(b.Tables))
}

// Rows is the number of rows of all tables.
func (b *Baseline) Rows() int64 {
	var n int64
	for i := range b.Contents {
		n += int64(b.Contents[i].Tree.Total().Count)
	}
	return n
}

// storedReader takes a baseline's part in a comparison until rows are read,
// which it has none of: what is not here would be a mistake of the caller's.
type storedReader struct {
	Reader
	baseline *Baseline
}

func (r storedReader) Server() *relation.Server { return &r.baseline.Server }

func (r storedReader) Moment() relation.Moment { return r.baseline.Moment }

func (r storedReader) Table(name relation.Name) (*relation.Table, error) {
	if t := r.baseline.Table(name); t != nil {
		return &t.Definition, nil
	}
	if !r.baseline.Covers(name) {
		return nil, fmt.Errorf("one of the two baselines was captured without %s, and does not tell whether there was one", name)
	}
	return nil, relation.ErrNoTable
}

func (r storedReader) Expression(_ context.Context, t *relation.Table, sql string, _ time.Time) (relation.Expression, error) {
	if e, known := r.baseline.Table(t.Name).Expressions[sql]; known {
		return e, nil
	}
	return relation.Expression{}, fmt.Errorf("the baseline does not hold what the expression %s gives", sql)
}

func (r storedReader) Schema(context.Context, relation.SchemaScope) ([]relation.Object, error) {
	return r.baseline.Schema, nil
}

func (r storedReader) Sequences(context.Context, relation.SchemaScope) ([]relation.Sequence, error) {
	return r.baseline.Sequences, nil
}

func (r storedReader) Furthest(_ context.Context, table relation.Name, column string, _ bool) (*int64, error) {
	value, known := r.baseline.Furthest[relation.Fed{Table: table, Column: column}]
	if !known {
		return nil, errors.New("the baseline does not hold its furthest value")
	}
	return value, nil
}

func (r storedReader) Close() {}

// matchesForm says why rows that a side of a planned form sends cannot be
// compared with those hashed in the baseline; empty if they can.
func (t *BaselineTable) matchesForm(planned *relation.Form, side relation.Side) (why string) {
	const cannot = "its rows cannot be compared with those of the baseline, of which there are hashes only: "
	form := &t.Form
	for i := range form.Fields {
		then := &form.Fields[i]
		name := then.Name[relation.Source]
		at := slices.IndexFunc(planned.Fields, func(f relation.Field) bool { return f.Name[side] == name })
		if at < 0 {
			return cannot + fmt.Sprintf("column %s is in them and cannot be read now", relation.QuoteIdent(name))
		}
		now := &planned.Fields[at]
		same := sameType(then.Type[relation.Source], now.Type[side]) && then.Cast[relation.Source] == now.Cast[side] &&
			then.SQL[relation.Source] == now.SQL[side] && then.Value == now.Value && then.Reorder == now.Reorder
		if !same || at != i {
			return cannot + fmt.Sprintf("column %s would be hashed otherwise now, since its type, its place or the database's encoding changed", relation.QuoteIdent(name))
		}
	}
	if len(planned.Fields) != len(form.Fields) || planned.Where[side] != form.Where[relation.Source] {
		return cannot + "other columns or rows would be hashed now"
	}
	return ""
}

// LeafCounts says in how many of its leaves a table differs from a baseline.
type LeafCounts struct {
	Total, Divergent int
	Truncated        bool // the outcome does not name all of them
}

// LeafRange is a run of neighbouring leaves in which a table differs from a
// baseline.
type LeafRange struct {
	First, Last int // leaves
	// From and To bound the keys of their rows: From ≤ key < To, by the
	// leading key columns. Empty: open, or not to be shown.
	From, To []NamedValue
	// Part is which one of Parts it is, by the hash of the key, or of the row
	// if there is no key. Parts is 1 where it is all of the range.
	Part, Parts int
	Rows        [2]int64
}

// ranges puts divergent leaves, which are ascending, into runs, at most limit;
// dropped says whether there are more.
func ranges(t *BaselineTable, leaves []int, counts func(leaf int) [2]int64, limit int, keys bool) (list []LeafRange, dropped bool) {
	for _, leaf := range leaves {
		i := t.Layout.Range(leaf)
		from, to := t.Layout.RangeLeaves(i)
		lo, hi := t.Layout.Bounds(i)
		r := LeafRange{First: leaf, Last: leaf, Part: leaf - from, Parts: to - from, Rows: counts(leaf)}
		if keys {
			r.From, r.To = boundValues(&t.Form, lo), boundValues(&t.Form, hi)
		}
		if n := len(list); n > 0 && r.Parts == 1 && list[n-1].Parts == 1 && list[n-1].Last == leaf-1 {
			last := &list[n-1]
			last.Last, last.To = leaf, r.To
			last.Rows[0], last.Rows[1] = last.Rows[0]+r.Rows[0], last.Rows[1]+r.Rows[1]
			continue
		}
		if len(list) == limit {
			return list, true
		}
		list = append(list, r)
	}
	return list, false
}

// boundValues returns a boundary as the key columns that it has, nil if it is
// open.
func boundValues(form *relation.Form, prefix []byte) []NamedValue {
	if prefix == nil {
		return nil
	}
	texts, _ := prefixText(form, prefix)
	values := make([]NamedValue, len(texts))
	for i := range texts {
		values[i] = NamedValue{Column: form.KeyFields()[i].Name[relation.Source], Value: &texts[i]}
	}
	return values
}

// describeLeafCounts says it for people.
func describeLeafCounts(n LeafCounts, rows [2]int64) string {
	text := fmt.Sprintf("rows differ in %s of %s", count(int64(n.Divergent)), plural(int64(n.Total), "leaf"))
	if n.Total != 1 {
		text = strings.TrimSuffix(text, "leafs") + "leaves"
	}
	return text + fmt.Sprintf(" (%s then, %s now)", countRows(rows[0]), count(rows[1]))
}
