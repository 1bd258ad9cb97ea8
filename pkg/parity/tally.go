package parity

import (
	"encoding/binary"
	"hash/maphash"
	"maps"
	"slices"
)

// tally counts equal rows of three lists: what was read on either side, and
// what waits to be settled. It deals them out to parts by their hash, so that
// few of them are in memory at a time, however many there are.
type tally struct {
	spill  spillConfig
	seed   maphash.Seed
	depth  int
	parts  [tallyParts]*spool
	counts [3]int64
}

const (
	tallyParts = 16
	// maxTallyDepth bounds how often a part is dealt out again. Rows that are in
	// one part even then are equal, and take the memory of one.
	maxTallyDepth = 8
)

// pendingList is the third list of a tally, after the sides.
const pendingList = 2

// tallied is a row with how often it is in each list.
type tallied struct {
	key     string // canonical
	count   [3]int64
	suspect bool      // of those that wait: they were found at the end of the window
	text    []*string // the row's columns in text form
}

func newTally(spill spillConfig) *tally {
	t := &tally{spill: spill, seed: maphash.MakeSeed()}
	for i := range t.parts {
		t.parts[i] = newSpool(spill.limit/tallyParts, spill.dir)
	}
	return t
}

// add counts a row. It may be called from two goroutines at once, with one list
// each.
func (t *tally) add(list int, key []byte, count int64, suspect bool, text []*string) error {
	t.counts[list] += count
	flag := byte(list)
	if suspect {
		flag |= 1 << 2
	}
	record := append(make([]byte, 0, 2*len(key)+16), flag)
	record = binary.AppendUvarint(record, uint64(count))
	record = binary.AppendUvarint(record, uint64(len(key)))
	record = append(record, key...)
	for _, s := range text {
		if s == nil {
			record = append(record, 0)
			continue
		}
		record = binary.AppendUvarint(record, uint64(len(*s))+1)
		record = append(record, *s...)
	}
	return t.deal(key, record)
}

func (t *tally) deal(key, record []byte) error {
	hash := maphash.Bytes(t.seed, key) >> (4 * t.depth)
	return t.parts[hash%tallyParts].append(record)
}

// each calls f with every row, in no order that matters.
func (t *tally) each(f func(*tallied) error) error {
	for _, part := range t.parts {
		if err := t.eachOf(part, f); err != nil {
			return err
		}
		part.close()
	}
	return nil
}

func (t *tally) eachOf(part *spool, f func(*tallied) error) error {
	if uint64(part.count) > t.spill.rows && t.depth < maxTallyDepth {
		finer := newTally(t.spill)
		defer finer.close()
		finer.seed, finer.depth = t.seed, t.depth+1
		err := part.each(func(record []byte) error {
			row, err := decodeTallied(record)
			if err != nil {
				return err
			}
			return finer.deal([]byte(row.key), record)
		})
		if err != nil {
			return err
		}
		return finer.each(f)
	}
	rows := make(map[string]*tallied)
	err := part.each(func(record []byte) error {
		row, err := decodeTallied(record)
		if err != nil {
			return err
		}
		all := rows[row.key]
		if all == nil {
			rows[row.key] = row
			return nil
		}
		for list, n := range row.count {
			all.count[list] += n
		}
		all.suspect = all.suspect || row.suspect
		if len(all.text) == 0 {
			all.text = row.text
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(rows)) {
		if err := f(rows[key]); err != nil {
			return err
		}
	}
	return nil
}

// decodeTallied reads what add wrote. It copies everything out.
func decodeTallied(b []byte) (*tallied, error) {
	short := len(b) == 0
	number := func() uint64 {
		n, w := binary.Uvarint(b)
		if w <= 0 {
			short = true
			return 0
		}
		b = b[w:]
		return n
	}
	take := func(n uint64) string {
		if n > uint64(len(b)) {
			short = true
			return ""
		}
		s := string(b[:n])
		b = b[n:]
		return s
	}
	if short || b[0]&3 > pendingList {
		return nil, errRecord
	}
	row := &tallied{suspect: b[0]&(1<<2) != 0}
	list := b[0] & 3
	b = b[1:]
	row.count[list] = int64(number())
	row.key = take(number())
	for len(b) > 0 && !short {
		n := number()
		if n == 0 {
			row.text = append(row.text, nil)
			continue
		}
		s := take(n - 1)
		row.text = append(row.text, &s)
	}
	if short {
		return nil, errRecord
	}
	return row, nil
}

// close gives memory and files back.
func (t *tally) close() {
	for _, part := range t.parts {
		part.close()
	}
}
