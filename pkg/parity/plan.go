package parity

import (
	"time"

	"github.com/verifierd/verifierd/pkg/relation"
)

// Plan says what a pass would read, and what would stand in its way.
type Plan struct {
	Server [2]SideInfo
	Tables []PlannedTable
	Locks  [2]LockBudget
	// Sample is the read rate measured for a moment; zero when nothing could
	// be sampled.
	Sample [2]Rate
	// Expected is the time that the pass would take at the sampled rate;
	// zero when unknown.
	Expected time.Duration
	// Problems would make the pass incomplete; each names what mends it.
	Problems []string
	// Notes are what a DBA should know before the pass: what it evicts,
	// what a standby or an old version limits.
	Notes   []string
	Skipped []string
}

// PlannedTable is a table as a pass would read it.
type PlannedTable struct {
	Name, TargetName relation.Name
	Kind             relation.Kind
	Key              []string // empty: keyless
	Leaves           int
	Compare          string // how leaves are formed, for people
	Side             [2]PlannedSide
	Problems         []string
	Notes            []string
}

// PlannedSide is one side of a planned table.
type PlannedSide struct {
	Members int
	Rows    int64 // estimated; -1 when unknown
	Bytes   int64 // main forks, on disk
	Chunks  int
	Reading string // how it is chunked, for people: "block ranges of 32 MiB"
}

// LockBudget compares the locks a pass takes with what the server can hold.
type LockBudget struct {
	Needed, Available int64
}

// Rate is a sampled read rate.
type Rate struct {
	BytesPerSecond float64
	RowsPerSecond  float64
}
