package merkle

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"sort"
)

// MaxLeaves is the largest number of leaves that a [Layout] may have.
const MaxLeaves = 1 << 16

// A Layout assigns rows to leaves. A leaf is a bucket of two coordinates: a
// range of the key space, and the top bits of a hash of the key, the spread.
// Ranges keep rows of neighbouring keys together where keys can be put in
// order; bits split what ranges cannot.
//
//	prefix:      … < b0      b0 ≤ … < b1      b1 ≤ …
//	range:          0             1               2
//	bits:           0             2               1
//	leaves:         0        1   2   3   4      5   6
//
// Prefixes are byte strings that sort as the keys do. A Layout does not
// change, and may be used by many goroutines at once; each may have its own
// [Cursor].
type Layout struct {
	bounds [][]byte
	heads  []uint64 // Head of each bound: what a search touches first
	splits []split  // one for each range
	leaves int

	// table narrows a search down to a few bounds. It divides the span of the
	// heads into slots of equal width 1<<shift, from heads[0] on; table[s] is
	// the number of bounds whose heads lie before slot s. A bound's number
	// fits 16 bits since there are fewer bounds than leaves.
	table []uint16
	shift uint8
}

// A split says which leaves a range has: 1<<(64-shift) of them, from first on.
type split struct {
	first uint32
	shift uint8
}

func (s split) leaf(spread uint64) int {
	return int(s.first) + int(spread>>s.shift)
}

// Head returns the first eight bytes of prefix as a big-endian integer, with
// zeros for those that are not there. Where two heads differ they order their
// prefixes; where they are equal the prefixes must be compared.
func Head(prefix []byte) uint64 {
	n := len(prefix)
	switch {
	case n >= 8:
		return binary.BigEndian.Uint64(prefix)
	case n >= 4: // two loads, which overlap
		return uint64(binary.BigEndian.Uint32(prefix))<<32 |
			uint64(binary.BigEndian.Uint32(prefix[n-4:]))<<(64-8*n)
	}
	var head uint64
	for i, b := range prefix {
		head |= uint64(b) << (56 - 8*i)
	}
	return head
}

// Separator returns the shortest beginning of bound that sorts above below,
// which sorts below bound: as a boundary it does what bound does.
func Separator(below, bound []byte) []byte {
	n := 0
	for n < len(below) && n < len(bound) && below[n] == bound[n] {
		n++
	}
	return bound[:min(n+1, len(bound))]
}

// NewLayout returns the layout whose range i holds the prefixes from
// bounds[i-1] up to, but not including, bounds[i]; the first and the last
// range are open. Range i is split into 1<<bits[i] leaves, so that len(bits)
// must be len(bounds)+1. Bounds must be strictly ascending and not empty.
// Without bounds there is one range.
func NewLayout(bounds [][]byte, bits []uint8) (*Layout, error) {
	if len(bits) != len(bounds)+1 {
		return nil, fmt.Errorf("new layout: %d bounds make %d ranges, bits given for %d", len(bounds), len(bounds)+1, len(bits))
	}
	l := &Layout{
		bounds: make([][]byte, len(bounds)),
		heads:  make([]uint64, len(bounds)),
		splits: make([]split, len(bits)),
	}
	for i, b := range bounds {
		if len(b) == 0 {
			return nil, fmt.Errorf("new layout: bound %d is empty", i)
		}
		if i > 0 && bytes.Compare(bounds[i-1], b) >= 0 {
			return nil, fmt.Errorf("new layout: bound %d is not above its predecessor", i)
		}
		l.bounds[i] = bytes.Clone(b)
		l.heads[i] = Head(b)
	}
	for i, n := range bits {
		// Checked at each step: the sum cannot overflow.
		if n > 16 || l.leaves+1<<n > MaxLeaves {
			return nil, fmt.Errorf("new layout: more than %d leaves", MaxLeaves)
		}
		l.splits[i] = split{first: uint32(l.leaves), shift: 64 - n}
		l.leaves += 1 << n
	}
	l.index()
	return l, nil
}

// index builds the table of four to eight slots for each bound. Where bounds
// crowd into few slots, lookups fall back to binary search within a slot.
func (l *Layout) index() {
	if len(l.heads) == 0 {
		return
	}
	span := l.heads[len(l.heads)-1] - l.heads[0]
	want := bits.Len(uint(4 * len(l.heads)))
	l.shift = uint8(max(0, bits.Len64(span)-want))
	slots := int(span>>l.shift) + 1
	l.table = make([]uint16, slots+1)
	n := 0
	for s := range slots {
		for n < len(l.heads) && (l.heads[n]-l.heads[0])>>l.shift < uint64(s) {
			n++
		}
		l.table[s] = uint16(n)
	}
	l.table[slots] = uint16(len(l.heads))
}

// Leaves returns the number of leaves.
func (l *Layout) Leaves() int { return l.leaves }

// Ranges returns the number of key ranges.
func (l *Layout) Ranges() int { return len(l.splits) }

// Spreads reports whether any range is split by hash bits. Otherwise the
// spread does not matter and need not be computed.
func (l *Layout) Spreads() bool { return l.leaves > len(l.splits) }

// Leaf returns the leaf of a row, given its whole key prefix, the prefix's
// [Head], and the spread, a hash of the row's key. The prefix may be nil if
// there is one range.
func (l *Layout) Leaf(head uint64, prefix []byte, spread uint64) int {
	return l.splits[l.search(head, prefix)].leaf(spread)
}

// search returns the range of prefix: the number of bounds not above it.
func (l *Layout) search(head uint64, prefix []byte) int {
	if len(l.heads) == 0 || head < l.heads[0] {
		return 0
	}
	slot := (head - l.heads[0]) >> l.shift
	if slot >= uint64(len(l.table)-1) {
		return len(l.heads)
	}
	i, j := int(l.table[slot]), int(l.table[slot+1])
	for j-i > 8 {
		m := int(uint(i+j) / 2)
		if l.reached(m, head, prefix) {
			i = m + 1
		} else {
			j = m
		}
	}
	for i < j && l.reached(i, head, prefix) {
		i++
	}
	return i
}

// reached reports whether prefix is at bound i or above it.
func (l *Layout) reached(i int, head uint64, prefix []byte) bool {
	return l.heads[i] < head || l.heads[i] == head && bytes.Compare(l.bounds[i], prefix) <= 0
}

// Range returns the range to which a leaf belongs.
func (l *Layout) Range(leaf int) int {
	return sort.Search(len(l.splits), func(i int) bool { return int(l.splits[i].first) > leaf }) - 1
}

// RangeLeaves returns the leaves [from, to) of range i.
func (l *Layout) RangeLeaves(i int) (from, to int) {
	s := l.splits[i]
	return int(s.first), s.leaf(math.MaxUint64) + 1
}

// Bounds returns the prefixes lo ≤ … < hi of range i. A nil bound is open.
// The slices must not be changed.
func (l *Layout) Bounds(i int) (lo, hi []byte) {
	if i > 0 {
		lo = l.bounds[i-1]
	}
	if i < len(l.bounds) {
		hi = l.bounds[i]
	}
	return lo, hi
}

// Cursor returns a new cursor on l.
func (l *Layout) Cursor() Cursor {
	c := Cursor{layout: l}
	c.enter(0)
	return c
}

// A Cursor finds leaves as [Layout.Leaf] does, and remembers the range that it
// found last. In a table whose physical order follows its key that saves
// nearly every search. It belongs to one goroutine.
type Cursor struct {
	layout *Layout
	rng    int
	split  split  // of rng
	lo, hi uint64 // heads strictly between these are in rng for certain
}

// Leaf returns the leaf of a row: see [Layout.Leaf].
func (c *Cursor) Leaf(head uint64, prefix []byte, spread uint64) int {
	if head <= c.lo || head >= c.hi {
		c.seek(head, prefix)
	}
	return c.split.leaf(spread)
}

// seek moves to the range of prefix, unless prefix only shares its head with
// one of the bounds of the present range: composite keys that begin alike do.
func (c *Cursor) seek(head uint64, prefix []byte) {
	l := c.layout
	above := c.rng == 0 || l.reached(c.rng-1, head, prefix)
	below := c.rng == len(l.bounds) || !l.reached(c.rng, head, prefix)
	if !above || !below {
		c.enter(l.search(head, prefix))
	}
}

func (c *Cursor) enter(rng int) {
	l := c.layout
	c.rng, c.split, c.lo, c.hi = rng, l.splits[rng], 0, math.MaxUint64
	if rng > 0 {
		c.lo = l.heads[rng-1]
	}
	if rng < len(l.heads) {
		c.hi = l.heads[rng]
	}
}
