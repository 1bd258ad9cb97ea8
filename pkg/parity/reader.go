// Package parity compares tables of two databases: it finds every row in which
// they differ, proves that there are no others, reads those rows again before
// it accuses anyone, and says what was established.
//
// It reads through the interfaces of this file and knows no SQL.
package parity

import (
	"context"
	"time"

	"github.com/verifierd/verifierd/pkg/merkle"
	"github.com/verifierd/verifierd/pkg/relation"
)

// Reader reads one side at one snapshot. Its methods may be called from many
// goroutines at once. *snapshot.Snapshot is one.
type Reader interface {
	Server() *relation.Server
	Moment() relation.Moment

	// Table returns a table's definition at the snapshot. The error is
	// relation.ErrNoTable if there is none, or says why it cannot be read;
	// with the latter the definition may come along.
	Table(name relation.Name) (*relation.Table, error)

	// Expression checks an SQL expression over a row of the table, and says of
	// which type it is. now() in it becomes the time given.
	Expression(ctx context.Context, t *relation.Table, sql string, now time.Time) (relation.Expression, error)

	// Chunks says how the table is going to be read.
	Chunks(ctx context.Context, t *relation.Table) ([]relation.Chunk, error)

	// Locks compares the locks that reading takes with what the server can
	// spare.
	Locks() relation.LockBudget

	// Rate reads a part of the table for about so long and says how fast rows
	// arrived.
	Rate(ctx context.Context, t *relation.Table, form *relation.Form, atMost time.Duration) (relation.Rate, error)

	// Sample looks at up to about limit keys, spread over the table's rows.
	Sample(ctx context.Context, t *relation.Table, form *relation.Form, limit int) (relation.Sample, error)

	// Scan reads the table wholly and returns the digests of its leaves, and a
	// sketches of the given size. Progress is called from many goroutines.
	Scan(ctx context.Context, t *relation.Table, form *relation.Form, layout *merkle.Layout, sketch merkle.SketchSize,
		progress func(rows, bytes int64)) ([]merkle.Digest, *merkle.Sketches, error)

	// Collect reads the table wholly and emits the rows in the wanted leaves,
	// from many goroutines at once.
	Collect(ctx context.Context, t *relation.Table, form *relation.Form, layout *merkle.Layout, wanted []bool,
		emit func(leaf int, key []byte, hash merkle.Hash) error) error

	// CollectRange emits the rows whose ordered key columns lie in [lo, hi),
	// through an index; nil is open. About so many rows are expected.
	CollectRange(ctx context.Context, t *relation.Table, form *relation.Form, lo, hi *relation.Bound, rows int64,
		emit func(key []byte, hash merkle.Hash) error) error

	// Lookup emits the rows that have one of the keys, through an index, and
	// perhaps rows with other keys that the server takes for equal.
	Lookup(ctx context.Context, t *relation.Table, form *relation.Form, keys [][]byte, values bool,
		emit func(hash merkle.Hash, row *relation.Row) error) error

	// Find reads the table wholly and emits the rows that wanted picks. Both
	// functions are called from one goroutine at a time.
	Find(ctx context.Context, t *relation.Table, form *relation.Form, values bool,
		wanted func(key []byte, hash merkle.Hash) bool, emit func(hash merkle.Hash, row *relation.Row) error) error

	// Count counts the rows of the table that fulfil a condition; "": all.
	Count(ctx context.Context, t *relation.Table, where string) (int64, error)

	// ForeignKeys lists the foreign keys of the named tables and their members.
	ForeignKeys(ctx context.Context, names []relation.Name) ([]relation.ForeignKey, error)

	// Reference says how the side compares the columns of a foreign key, which
	// it need not have itself.
	Reference(ctx context.Context, key *relation.ForeignKey) (*relation.Reference, error)

	// Orphans emits the rows that refer to no row, among those of the form, from
	// one goroutine.
	Orphans(ctx context.Context, ref *relation.Reference, form *relation.Form, emit func(row *relation.Row) error) error

	// OrphansAmong is Orphans among the rows that have one of the keys, and those
	// that refer to one of the parents, through indexes. Keys are those of
	// childForm and parentForm.
	OrphansAmong(ctx context.Context, ref *relation.Reference, form, childForm, parentForm *relation.Form, keys, parents [][]byte,
		emit func(row *relation.Row) error) error

	// Unchanged reports an error if the table was truncated, rewritten or
	// dropped since the snapshot.
	Unchanged(ctx context.Context, t *relation.Table) error

	// Replication tells what the side knows of logical replication now, not
	// at the snapshot.
	Replication(ctx context.Context) (relation.Replication, error)

	// LargeObjects reports whether the database holds large objects.
	LargeObjects(ctx context.Context) (bool, error)

	// Schema returns the definitions in the scope.
	Schema(ctx context.Context, scope relation.SchemaScope) ([]relation.Object, error)

	// Sequences returns the sequences in the scope, with their state as it is
	// now, not at the snapshot. On a standby it has none.
	Sequences(ctx context.Context, scope relation.SchemaScope) ([]relation.Sequence, error)

	// Furthest returns the largest number in a column, or the least; nil: there
	// is none.
	Furthest(ctx context.Context, table relation.Name, column string, least bool) (*int64, error)

	// Physical looks for damage in the table's files and indexes.
	Physical(ctx context.Context, t *relation.Table) (relation.Physical, error)

	// InvalidIndexes lists the named tables' indexes that are not valid.
	InvalidIndexes(ctx context.Context, names []relation.Name) ([]relation.InvalidIndex, error)

	Close()
}

// Opener takes a snapshot of one side in which the named tables can be read.
type Opener func(ctx context.Context, tables []relation.Name) (Reader, error)
