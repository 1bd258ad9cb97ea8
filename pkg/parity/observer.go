package parity

import (
	"time"

	"github.com/verifierd/verifierd/pkg/relation"
)

// Observer is told what a pass does while it does it. Its methods are called
// from many goroutines at once and must return quickly.
type Observer interface {
	// PassStarted is called once, when the tables are known.
	PassStarted(info PassStart)
	// TableStarted is called before a table's first row is read.
	TableStarted(table TableStart)
	// RowsRead adds to the rows and bytes read of a table on one side.
	RowsRead(table relation.Name, side relation.Side, rows, bytes int64)
	// TableStage says what happens to a table now, for people: "comparing",
	// "finding rows", "reading again in 3s".
	TableStage(table relation.Name, stage string)
	// Diverged is called for every confirmed divergence if Config.AllRows, else
	// at least for those that the outcome holds.
	Diverged(table relation.Name, d *Divergence)
	// SchemaDiffers is called for every difference in definition.
	SchemaDiffers(d *SchemaDifference)
	// TableFinished is called with a table's outcome.
	TableFinished(table *Table)
	// ReferenceStarted is called before a foreign key's orphans are looked for.
	ReferenceStarted(reference *ReferenceCheck)
	// ReferenceFinished is called with a foreign key's outcome.
	ReferenceFinished(reference *ReferenceCheck)
}

// PassStart describes a pass at its beginning.
type PassStart struct {
	StartedAt time.Time
	Server    [2]SideInfo
	Tables    int
	Rows      int64 // estimated, both sides; -1 when largely a guess
	Bytes     int64 // on disk, both sides
	Reading   Reading
}

// Reading says which sides a pass reads.
type Reading uint8

// The sides that a pass may read.
const (
	ReadingBoth   Reading = iota
	ReadingSource         // to keep it as a baseline
	ReadingTarget         // to compare it with a baseline
)

// TableStart describes a table before it is read.
type TableStart struct {
	Name relation.Name
	Rows [2]int64 // estimated; -1 when unknown: the table was never analyzed
}

// NoObserver ignores everything. Embed it to implement a part of Observer.
type NoObserver struct{}

// PassStarted does nothing.
func (NoObserver) PassStarted(PassStart) {}

// TableStarted does nothing.
func (NoObserver) TableStarted(TableStart) {}

// RowsRead does nothing.
func (NoObserver) RowsRead(relation.Name, relation.Side, int64, int64) {}

// TableStage does nothing.
func (NoObserver) TableStage(relation.Name, string) {}

// Diverged does nothing.
func (NoObserver) Diverged(relation.Name, *Divergence) {}

// SchemaDiffers does nothing.
func (NoObserver) SchemaDiffers(*SchemaDifference) {}

// TableFinished does nothing.
func (NoObserver) TableFinished(*Table) {}

// ReferenceStarted does nothing.
func (NoObserver) ReferenceStarted(*ReferenceCheck) {}

// ReferenceFinished does nothing.
func (NoObserver) ReferenceFinished(*ReferenceCheck) {}

var _ Observer = NoObserver{}
