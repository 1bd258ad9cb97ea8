package parity

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"sync"

	"github.com/verifierd/verifierd/pkg/merkle"
	"github.com/verifierd/verifierd/pkg/relation"
)

// difference is what one key has on one side and not on the other. A key may
// stand for several rows, where only the other side holds it unique.
type difference struct {
	key []byte // canonical; a keyless row's hash
	// surplus holds, for each side, the rows that it has more often.
	surplus [2][]run
	// total counts all such rows of a keyless table on each side.
	total [2]int64
	// changed says that the source's row was not the same in all readings.
	changed bool
	// suspect says that it differed when the target had had its chance.
	suspect bool
	// version tells the versions of the source's rows apart: a row that is
	// changed and changed back is stored elsewhere. 0: not known.
	version uint64
}

// run is a row hash with how often it occurs.
type run struct {
	hash  merkle.Hash
	count int64
}

func (d *difference) empty() bool { return len(d.surplus[0]) == 0 && len(d.surplus[1]) == 0 }

func surplusRows(runs []run) int64 {
	var n int64
	for _, r := range runs {
		n += r.count
	}
	return n
}

// kinds says how many rows are missing, extra and mismatched. Under a key,
// rows pair up; without one there is nothing to pair them by.
func (d *difference) kinds(keyless bool) (missing, extra, mismatched int64) {
	missing, extra = surplusRows(d.surplus[relation.Source]), surplusRows(d.surplus[relation.Target])
	if !keyless {
		mismatched = min(missing, extra)
	}
	return missing - mismatched, extra - mismatched, mismatched
}

// account takes the difference out of what remains to be explained.
func (d *difference) account(rest *merkle.Digest) {
	for _, r := range d.surplus[relation.Source] {
		rest.Subtract(times(r))
	}
	for _, r := range d.surplus[relation.Target] {
		rest.Merge(times(r))
	}
}

// times is the digest of a row that occurs so often.
func times(r run) merkle.Digest {
	var sum merkle.Digest
	power := merkle.Digest{Count: 1, Sum: r.hash}
	for n := r.count; n > 0; n >>= 1 {
		if n&1 == 1 {
			sum.Merge(power)
		}
		power.Merge(power)
	}
	return sum
}

const (
	flagChanged = 1 << iota
	flagSuspect
)

// appendTo encodes the difference for a spool.
func (d *difference) appendTo(dst []byte) []byte {
	flag := byte(0)
	if d.changed {
		flag |= flagChanged
	}
	if d.suspect {
		flag |= flagSuspect
	}
	dst = append(dst, flag)
	dst = binary.AppendUvarint(dst, d.version)
	dst = binary.AppendUvarint(dst, uint64(len(d.key)))
	dst = append(dst, d.key...)
	for side := range d.surplus {
		dst = binary.AppendUvarint(dst, uint64(d.total[side]))
		dst = binary.AppendUvarint(dst, uint64(len(d.surplus[side])))
		for _, r := range d.surplus[side] {
			dst = r.hash.AppendBytes(dst)
			dst = binary.AppendUvarint(dst, uint64(r.count))
		}
	}
	return dst
}

var errRecord = errors.New("temporary file: malformed record")

// decodeDifference reads what appendTo wrote. It copies everything out.
func decodeDifference(b []byte) (*difference, error) {
	if len(b) < 1 {
		return nil, errRecord
	}
	d := &difference{changed: b[0]&flagChanged != 0, suspect: b[0]&flagSuspect != 0}
	b = b[1:]
	short := false
	number := func() uint64 {
		n, w := binary.Uvarint(b)
		if w <= 0 {
			short = true
			return 0
		}
		b = b[w:]
		return n
	}
	d.version = number()
	n := number()
	if n > uint64(len(b)) {
		return nil, errRecord
	}
	d.key, b = bytes.Clone(b[:n]), b[n:]
	for side := range d.surplus {
		d.total[side] = int64(number())
		runs := number()
		if runs > uint64(len(b))/merkle.HashSize {
			return nil, errRecord
		}
		for range runs {
			if len(b) < merkle.HashSize {
				return nil, errRecord
			}
			r := run{hash: merkle.HashFromBytes([merkle.HashSize]byte(b[:merkle.HashSize]))}
			b = b[merkle.HashSize:]
			r.count = int64(number())
			d.surplus[side] = append(d.surplus[side], r)
		}
	}
	if short || len(b) != 0 {
		return nil, errRecord
	}
	return d, nil
}

// entry is a row that was read on one side.
type entry struct {
	key  []byte // canonical
	hash merkle.Hash
	side relation.Side
}

// joiner gathers rows of both sides under the same keys, and finds where they
// differ. Its memory is used again and again.
type joiner struct {
	sides [2]gathered
	table []uint32 // see cancel
	left  []uint32
}

// gathered are one side's rows, their keys in blocks of memory.
type gathered struct {
	entries []entry
	blocks  [][]byte // of which the first few are in use
	used    int
}

const keyBlock = 64 << 10

var joiners = sync.Pool{New: func() any { return new(joiner) }}

func (j *joiner) release() {
	for side := range j.sides {
		g := &j.sides[side]
		clear(g.entries)
		g.entries, g.used = g.entries[:0], 0
	}
	joiners.Put(j)
}

// add takes a row, which it copies. Each side has one goroutine at a time.
func (j *joiner) add(side relation.Side, key []byte, hash merkle.Hash) {
	g := &j.sides[side]
	if len(key) > keyBlock {
		g.entries = append(g.entries, entry{bytes.Clone(key), hash, side})
		return
	}
	if g.used == 0 || cap(g.blocks[g.used-1])-len(g.blocks[g.used-1]) < len(key) {
		if g.used == len(g.blocks) {
			g.blocks = append(g.blocks, make([]byte, 0, keyBlock))
		}
		g.blocks[g.used] = g.blocks[g.used][:0]
		g.used++
	}
	block := &g.blocks[g.used-1]
	at := len(*block)
	*block = append(*block, key...)
	g.entries = append(g.entries, entry{(*block)[at:len(*block):len(*block)], hash, side})
}

// join calls f with the difference of each key, where there is one. The
// difference is valid during the call.
func (j *joiner) join(f func(*difference) error) error {
	entries := j.cancel()
	slices.SortFunc(entries, func(a, b entry) int {
		return cmp.Or(bytes.Compare(a.key, b.key), a.hash.Compare(b.hash))
	})
	var d difference
	flush := func() error {
		if d.empty() {
			return nil
		}
		return f(&d)
	}
	for i := 0; i < len(entries); {
		first := &entries[i]
		if i == 0 || !bytes.Equal(first.key, entries[i-1].key) {
			if err := flush(); err != nil {
				return err
			}
			d = difference{key: first.key}
		}
		var count [2]int64
		for ; i < len(entries) && entries[i].hash == first.hash && bytes.Equal(entries[i].key, first.key); i++ {
			count[entries[i].side]++
		}
		if n := count[0] - count[1]; n > 0 {
			d.surplus[relation.Source] = append(d.surplus[relation.Source], run{first.hash, n})
		} else if n < 0 {
			d.surplus[relation.Target] = append(d.surplus[relation.Target], run{first.hash, -n})
		}
	}
	return flush()
}

// cancel removes the rows that both sides have, which are nearly all of them:
// only the rest is worth sorting. It returns the rest.
func (j *joiner) cancel() []entry {
	source, target := j.sides[relation.Source].entries, j.sides[relation.Target].entries
	// An open-addressed table of the source's rows: positions, from 1. Hashes
	// are even, so that their bits serve as they are.
	size := 1 << bits.Len(uint(2*len(source)))
	mask := uint64(size - 1)
	j.table = slices.Grow(j.table[:0], size)[:size]
	clear(j.table)
	// left counts, for the first of some identical rows, those not cancelled.
	j.left = slices.Grow(j.left[:0], len(source))[:len(source)]
	clear(j.left)
	for i := range source {
		at := j.slot(&source[i], mask)
		if j.table[at] == 0 {
			j.table[at] = uint32(i + 1)
		}
		j.left[j.table[at]-1]++
	}
	rest := target[:0]
	for i := range target {
		if first := j.table[j.slot(&target[i], mask)]; first > 0 && j.left[first-1] > 0 {
			j.left[first-1]--
			continue
		}
		rest = append(rest, target[i])
	}
	for i := range source {
		for range j.left[i] {
			rest = append(rest, source[i])
		}
	}
	j.sides[relation.Target].entries = rest
	return rest
}

// slot returns where in the table a row like e stands, or would.
func (j *joiner) slot(e *entry, mask uint64) uint64 {
	source := j.sides[relation.Source].entries
	at := e.hash.Lo & mask
	for j.table[at] != 0 {
		if s := &source[j.table[at]-1]; s.hash == e.hash && bytes.Equal(s.key, e.key) {
			break
		}
		at = (at + 1) & mask
	}
	return at
}

// differencesOf groups what a sketch decoded by key.
func differencesOf(entries []merkle.Entry) ([]*difference, error) {
	byKey := make(map[string]*difference, len(entries))
	for _, e := range entries {
		key := e.Key
		if len(key) == 0 {
			key = e.Hash.AppendBytes(nil)
		}
		d := byKey[string(key)]
		if d == nil {
			d = &difference{key: key}
			byKey[string(key)] = d
		}
		side, count := relation.Source, e.Count
		if count < 0 {
			side, count = relation.Target, -count
		}
		d.surplus[side] = append(d.surplus[side], run{e.Hash, count})
	}
	list := make([]*difference, 0, len(byKey))
	for _, d := range byKey {
		list = append(list, d)
	}
	slices.SortFunc(list, func(a, b *difference) int { return bytes.Compare(a.key, b.key) })
	for _, d := range list {
		for side := range d.surplus {
			sortRuns(d.surplus[side])
		}
		if len(d.key) == 0 {
			return nil, fmt.Errorf("a decoded row has no key")
		}
	}
	return list, nil
}

func sortRuns(runs []run) {
	slices.SortFunc(runs, func(a, b run) int { return a.hash.Compare(b.hash) })
}
