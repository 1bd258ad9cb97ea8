package relation

import "time"

// LSN is a position in a server's write-ahead log, in bytes.
type LSN uint64

// Moment says when, in a server's own terms, a snapshot was taken.
type Moment struct {
	TakenAt time.Time
	LSN     LSN
	LSNText string
	// Visible is the text of pg_current_snapshot: equal texts on one primary
	// see equal data.
	Visible string
	// Writing says that transactions with an id were under way.
	Writing bool
}

// Replication is what a side tells about replication into or out of it.
type Replication struct {
	// Unknown says that the role may not see what follows.
	Unknown bool
	// Subscriptions of this database, on the receiving side.
	Subscriptions []Subscription
	// Slots are the logical slots of this server and how far each is confirmed.
	Slots map[string]LSN
	// Replay is how far a standby is; nil on a primary.
	Replay *Replay
}

// Replay is how far a standby has followed its primary.
type Replay struct {
	Paused    bool
	Receiving bool // a process receives the primary's log
	Received  LSN
	Replayed  LSN
}

// Subscription is a logical subscription of a database.
type Subscription struct {
	Name, Slot string
	Enabled    bool
	Synced     bool // every table finished its initial copy
}

// Row is a row that was read again by its key, with what a report shows of it.
// Its slices are valid only during the call that delivers it.
type Row struct {
	Key      []byte    // canonical key bytes; nil for a keyless table
	Columns  []uint64  // a hash of each field, to say which differ
	KeyText  []*string // the key columns in text form
	Values   []*string // every field in text form, when asked for
	Location string    // where the row is now: member and ctid
}

// LockBudget compares the locks that a pass takes on a server with what the
// server can spare.
type LockBudget struct {
	Needed, Available int64
}

// Rate is how fast rows arrived.
type Rate struct {
	BytesPerSecond float64
	RowsPerSecond  float64
}

// Sample is what a look at a few of a table's rows tells of its key space.
type Sample struct {
	Bounds []Bound // keys spread over the rows, in no order
	// Correlated says that the rows lie about in the key's order, so that
	// reading a range of keys reads neighbouring blocks.
	Correlated bool
}
