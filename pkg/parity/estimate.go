package parity

import "github.com/verifierd/verifierd/pkg/relation"

// estimate says how many rows a table has before it is read, as well as can be
// told. Statistics may be old or absent; the size on disk is not.
func estimate(t *relation.Table) int64 {
	rows, _ := estimateRows(t)
	return rows
}

// estimateRows is estimate, and how many of the rows are no more than a guess
// from the size, since their member was never analyzed.
func estimateRows(t *relation.Table) (rows, guessed int64) {
	for i := range t.Members {
		m := &t.Members[i]
		switch {
		case m.Kind == relation.View:
			guessed++ // it has neither size nor statistics
		case m.Rows > 0 && m.AnalyzedBlocks > 0 && m.Blocks > 0:
			rows += int64(float64(m.Rows) / float64(m.AnalyzedBlocks) * float64(m.Blocks))
		case m.Rows > 0:
			rows += m.Rows
		default:
			guess := m.Bytes / int64(28+12*len(t.Columns))
			rows, guessed = rows+guess, guessed+guess
		}
	}
	return rows, guessed
}

// mostlyKnown reports whether so small a part of an estimate is guessed that
// shares of the whole are worth showing.
func mostlyKnown(rows, guessed int64) bool { return guessed*10 <= rows }

// expectedRows are the estimates of both sides; -1 for one that is a guess.
func expectedRows(tables [2]*relation.Table) [2]int64 {
	var expected [2]int64
	for side, t := range tables {
		rows, guessed := estimateRows(t)
		if expected[side] = rows; !mostlyKnown(rows, guessed) {
			expected[side] = -1
		}
	}
	return expected
}

// expectedRows are the estimates of what is read of both sides: statistics do
// not say how many rows fulfil a policy's condition.
func (c *comparison) expectedRows() [2]int64 {
	expected := expectedRows(c.at.table)
	for side, where := range c.rules.where {
		if where != "" {
			expected[side] = -1
		}
	}
	return expected
}

// expectation adds up what a pass is going to read.
type expectation struct {
	rows, guessed, bytes int64
}

// add adds a table. A side whose rows are a guess is taken to be like the
// other, which is what the pass is there to prove.
func (e *expectation) add(tables [2]*relation.Table) {
	expected := expectedRows(tables)
	for side, t := range tables {
		e.bytes += t.Bytes()
		switch other := expected[1-side]; {
		case expected[side] >= 0:
			e.rows += expected[side]
		case other >= 0:
			e.rows += other
		default:
			guess := estimate(t)
			e.rows, e.guessed = e.rows+guess, e.guessed+max(1, guess)
		}
	}
}

// guess adds a table of which a condition picks rows: nobody knows how many.
func (e *expectation) guess(tables [2]*relation.Table) {
	for _, t := range tables {
		rows := estimate(t)
		e.rows, e.guessed, e.bytes = e.rows+rows, e.guessed+rows, e.bytes+t.Bytes()
	}
}

// total returns the rows expected, -1 when they are a guess.
func (e *expectation) total() int64 {
	if !mostlyKnown(e.rows, e.guessed) {
		return -1
	}
	return e.rows
}
