package parity

import (
	"time"

	"github.com/verifierd/verifierd/pkg/relation"
)

// Verdict is what a pass, or the comparison of one table, established.
// The zero value is Incomplete: nothing is a match until it was shown to be.
type Verdict uint8

// The verdicts, in no order of merit; Pass and Table say how they combine.
const (
	Incomplete Verdict = iota
	Match
	Diverged
)

func (v Verdict) String() string {
	switch v {
	case Match:
		return "match"
	case Diverged:
		return "diverged"
	}
	return "incomplete"
}

// MarshalText gives the verdict as reports show it.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// Kind is the kind of a divergence, said of the target.
type Kind uint8

// The kinds of divergence.
const (
	Missing    Kind = iota // the source has the row, the target lacks it
	Extra                  // the target has a row that the source lacks
	Mismatched             // both have the key, with other values
)

func (k Kind) String() string {
	switch k {
	case Missing:
		return "missing"
	case Extra:
		return "extra"
	}
	return "mismatched"
}

// MarshalText gives the kind as reports show it.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Pass is the outcome of one comparison of a set of tables.
type Pass struct {
	Verdict    Verdict
	Complete   bool   // whether everything selected was established
	Reason     string // why the verdict is what it is, in one sentence
	StartedAt  time.Time
	FinishedAt time.Time
	// SeedFingerprint identifies the seed of the row hashes without revealing it.
	SeedFingerprint string
	// PerTable says that each table was read at snapshots of its own, which
	// are later than those in Server: tables are not consistent with each other.
	PerTable   bool
	CountsOnly bool // rows were counted, and not compared
	Server     [2]SideInfo
	Tables     []Table
	Schema     []SchemaDifference
	References []ReferenceCheck // foreign keys, and what the configuration declares
	Sequences  []Sequence
	Corruption []Corruption
	// Definitions is how many definitions of the source were compared, beyond
	// those that reading rows needs.
	Definitions int
	Effects     Effects  // what each kind of finding did to the verdict
	Warnings    []string // what was found that the verdict does not count, but somebody should look at
	Notes       []string // what a reader should know beside the verdict
	Skipped     []string // tables left out, each with the reason
	NotChecked  []string // names of the kinds of objects that this pass says nothing about
}

// SideInfo identifies one side at the moment of its snapshot.
type SideInfo struct {
	Version    string
	Database   string
	LSN        string
	Standby    bool
	SnapshotAt time.Time
	// Baseline is set for a side that is a baseline rather than a database.
	Baseline *BaselineInfo
}

// BaselineInfo says of a baseline what a reader of a comparison wants to know.
type BaselineInfo struct {
	ToolVersion      string
	SystemIdentifier string
	Seal             string // who signed it, and whether that was checked
}

// ByLeaves reports whether a side of the pass is a baseline: its rows are gone,
// and leaves are what can be named.
func (p *Pass) ByLeaves() bool { return p.Server[0].Baseline != nil }

// Table is the outcome of comparing one table.
type Table struct {
	Name       relation.Name // on the source
	TargetName relation.Name
	Verdict    Verdict
	Complete   bool
	Reason     string   // never empty
	Key        []string // empty: keyless
	Uncompared []string // columns of the source that have nothing to be compared with
	// Unverified says what the table's policy leaves out of the comparison, a
	// sentence each. It does not make the table incomplete.
	Unverified []string
	// Filtered says that the policy's conditions pick the rows to compare.
	Filtered    bool
	Side        [2]TableSide
	Divergences Counts
	// Rows holds the confirmed divergences, at most as many as asked for;
	// Divergences.Truncated says whether there are more.
	Rows []Divergence
	// Leaves says how many leaves differ from a baseline, whose rows cannot be
	// named, and Ranges which: at most as many as asked for.
	Leaves   LeafCounts
	Ranges   []LeafRange
	Notes    []string
	Duration time.Duration
}

// FilteredOut reports whether no row of either side fulfils the policy's
// conditions: they may be wrong, and nothing was compared.
func (t *Table) FilteredOut() bool { return t.Filtered && t.Empty() }

// Empty reports whether both sides were read, or counted, and had no row to
// compare.
func (t *Table) Empty() bool {
	for _, s := range t.Side {
		if !s.Read && !s.Counted || s.Rows > 0 {
			return false
		}
	}
	return true
}

// TableSide is what was read of a table on one side.
type TableSide struct {
	Rows int64  // at the pass's snapshot
	Root string // hex of the tree's root; empty when the table was not read
	Read bool   // whether the table was read wholly
	// Counted says that Rows was counted, and nothing read.
	Counted bool
	// ReadRows counts the rows that arrived, also those of an unfinished read.
	ReadRows int64
}

// Counts are exact numbers of divergences.
type Counts struct {
	Missing, Extra, Mismatched int64 // confirmed by a second reading
	Healed                     int64 // differed at the pass's snapshots, and no longer
	Volatile                   int64 // kept changing, or the target had no chance to catch up
	// Explained says that the divergences found account for the whole
	// difference between the two sides' digests: there are no others.
	Explained bool
	Truncated bool // Rows does not hold all of them
}

// Confirmed is the number of confirmed divergences.
func (c *Counts) Confirmed() int64 { return c.Missing + c.Extra + c.Mismatched }

// Divergence is one confirmed difference.
type Divergence struct {
	Kind Kind
	// Key holds the key columns in key order, in PostgreSQL's text form.
	// Empty for a keyless table.
	Key []NamedValue
	// Columns names the columns that differ, for a mismatched row.
	Columns []string
	// RowHash (hex) and Location (a current "partition ctid" to look at)
	// stand in for the key of a keyless table's row.
	RowHash  string
	Location string
	// Count is how many such rows of a keyless table the sides hold.
	Count [2]int64
	// Values holds the row's values on each side, when the report may show
	// them: the differing columns of a mismatched row, the same ones on both
	// sides, and all columns of another one.
	Values [2][]NamedValue
}

// NamedValue is a column and its value in PostgreSQL's text form.
type NamedValue struct {
	Column string
	Value  *string // nil: NULL
}

// Severity is how much a schema difference matters.
type Severity string

// The severities of schema differences.
const (
	Breaks   Severity = "breaks"   // the target cannot be a faithful copy; makes a pass diverged
	Drifts   Severity = "drifts"   // reported, warns
	Cosmetic Severity = "cosmetic" // reported
)

// SchemaDifference is a difference in definition rather than in rows.
type SchemaDifference struct {
	Table    relation.Name
	Object   string // kind and name, as in "column d"; "table" for the table itself
	Kind     string // missing, extra, changed
	Severity Severity
	Source   string // the definition on the source, empty if absent
	Target   string
	Hint     string // what would mend or compare it
}

// ValuePolicy says what of the rows a report may show.
type ValuePolicy string

// The value policies.
const (
	ValuesNone ValuePolicy = "none" // neither keys nor values
	ValuesKeys ValuePolicy = "keys" // keys only; the default
	ValuesFull ValuePolicy = "full" // keys and values
)
