package parity

import (
	"context"
	"errors"
	"hash/maphash"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/verifierd/verifierd/pkg/merkle"
	"github.com/verifierd/verifierd/pkg/relation"
)

const (
	// maxParts bounds the temporary files, and so the rows, of one scan.
	maxParts = 128
	// maxRangedMembers is up to how many members a key range is read through
	// their indexes; with more, each range would cost as many queries.
	maxRangedMembers = 16
)

// pair is a table on both sides, each at one snapshot.
type pair struct {
	reader [2]Reader
	table  [2]*relation.Table
}

// close gives the snapshots back.
func (p *pair) close() {
	for side, reader := range p.reader {
		if reader != nil {
			reader.Close()
			p.reader[side] = nil
		}
	}
}

// each runs f for both sides at once.
func (p *pair) each(ctx context.Context, f func(context.Context, relation.Side) error) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, side := range relation.Sides {
		g.Go(func() error { return f(ctx, side) })
	}
	return g.Wait()
}

// finder finds the differing rows of two tables in the leaves that differ.
type finder struct {
	*pair
	form    *relation.Form
	plan    *leafPlan
	workers int
	spill   spillConfig
	// rows counts, for each leaf, the rows of both sides.
	rows func(leaf int) uint64
}

type spillConfig struct {
	limit int    // bytes in memory before a temporary file is used
	rows  uint64 // of both sides together, compared in memory at a time
	dir   string
}

// find calls f, from one goroutine at a time, with every difference in the
// given leaves, which are ascending.
func (f *finder) find(ctx context.Context, leaves []int, each func(*difference) error) error {
	var mu sync.Mutex
	serial := func(d *difference) error {
		mu.Lock()
		defer mu.Unlock()
		return each(d)
	}
	if f.byRange(leaves) {
		return f.findInRanges(ctx, leaves, serial)
	}
	return f.findByScan(ctx, leaves, serial)
}

// byRange decides whether the leaves are read as key ranges through the index,
// or in another scan. An index is the quicker way to few rows; to many only
// where they lie about in the index's order.
func (f *finder) byRange(leaves []int) bool {
	if f.plan.Spreads() || f.plan.Ranges() < 2 {
		return false
	}
	for _, side := range relation.Sides {
		if !f.form.Ranged[side] || len(f.table[side].Members) > maxRangedMembers {
			return false
		}
	}
	for _, leaf := range leaves {
		if f.rows(leaf) > 2*f.spill.rows {
			return false // would not fit memory; happens when the sample misled
		}
	}
	few := len(leaves)*10 < f.plan.Leaves()
	return few || f.plan.correlated[0] && f.plan.correlated[1]
}

// leafGroup is a run of neighbouring ranges that is read at once.
type leafGroup struct {
	first, last int // leaves
	rows        uint64
}

func (f *finder) groups(leaves []int) []leafGroup {
	var groups []leafGroup
	for _, leaf := range leaves {
		rows := f.rows(leaf)
		if n := len(groups); n > 0 && groups[n-1].last == leaf-1 && groups[n-1].rows+rows <= f.spill.rows {
			groups[n-1].last = leaf
			groups[n-1].rows += rows
			continue
		}
		groups = append(groups, leafGroup{leaf, leaf, rows})
	}
	return groups
}

func (f *finder) findInRanges(ctx context.Context, leaves []int, each func(*difference) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(f.workers)
	for _, group := range f.groups(leaves) {
		g.Go(func() error {
			var lo, hi *relation.Bound
			if group.first > 0 {
				lo = &f.plan.bounds[group.first-1]
			}
			if group.last < len(f.plan.bounds) {
				hi = &f.plan.bounds[group.last]
			}
			j := joiners.Get().(*joiner)
			defer j.release()
			err := f.each(ctx, func(ctx context.Context, side relation.Side) error {
				return f.reader[side].CollectRange(ctx, f.table[side], f.form, lo, hi, int64(group.rows/2), func(key []byte, hash merkle.Hash) error {
					j.add(side, key, hash)
					return nil
				})
			})
			if err != nil {
				return err
			}
			return j.join(each)
		})
	}
	return g.Wait()
}

// findByScan reads both tables once more, or more often if very many rows are
// to be compared.
func (f *finder) findByScan(ctx context.Context, leaves []int, each func(*difference) error) error {
	for len(leaves) > 0 {
		n, err := f.scanFor(ctx, leaves, each)
		if err != nil {
			return err
		}
		leaves = leaves[n:]
	}
	return nil
}

// scanFor reads both tables and compares the rows of as many of the leaves as
// one scan may spill; it returns how many. Rows are dealt out to parts that
// each fit memory: the leaves' counts, which the first scan established, say
// how many there will be. A leaf too large for one part is dealt out to several
// by its rows' keys.
func (f *finder) scanFor(ctx context.Context, leaves []int, each func(*difference) error) (done int, err error) {
	wanted := make([]bool, f.plan.Leaves())
	dealt := make([]deal, f.plan.Leaves())
	parts, rows := 1, uint64(0)
	for _, leaf := range leaves {
		n := f.rows(leaf)
		share := uint64(1) // parts that the leaf needs for itself
		if n > f.spill.rows {
			share = min((n+f.spill.rows-1)/f.spill.rows, maxParts)
		}
		if rows > 0 && rows+n > f.spill.rows {
			if uint64(parts)+share > maxParts {
				break
			}
			parts, rows = parts+1, 0
		}
		wanted[leaf], dealt[leaf] = true, deal{first: uint8(parts - 1), share: uint8(share)}
		parts += int(share) - 1
		rows += n
		done++
	}
	seed := maphash.MakeSeed()
	spools := make([]*spool, parts)
	for i := range spools {
		spools[i] = newSpool(f.spill.limit/parts, f.spill.dir)
		defer spools[i].close()
	}
	err = f.each(ctx, func(ctx context.Context, side relation.Side) error {
		return f.reader[side].Collect(ctx, f.table[side], f.form, f.plan.Layout, wanted, func(leaf int, key []byte, hash merkle.Hash) error {
			var buf [96]byte
			record := append(buf[:0], byte(side))
			record = hash.AppendBytes(record)
			d := dealt[leaf]
			part := int(d.first)
			if d.share > 1 {
				by := key
				if len(by) == 0 {
					by = record[1:] // the row's hash
				}
				part += int(maphash.Bytes(seed, by) % uint64(d.share))
			}
			return spools[part].append(append(record, key...))
		})
	})
	if err != nil {
		return 0, err
	}
	for _, s := range spools {
		if err := f.joinSpool(s, each); err != nil {
			return 0, err
		}
		s.close()
	}
	return done, ctx.Err()
}

// deal says to which parts a leaf's rows go.
type deal struct{ first, share uint8 }

func (f *finder) joinSpool(s *spool, each func(*difference) error) error {
	if len(f.form.Key) == 0 {
		return joinKeyless(s, each)
	}
	j := joiners.Get().(*joiner)
	defer j.release()
	err := s.each(func(record []byte) error {
		side, hash, key, err := decodeEntry(record)
		if err == nil {
			j.add(side, key, hash)
		}
		return err
	})
	if err != nil {
		return err
	}
	return j.join(each)
}

func decodeEntry(record []byte) (side relation.Side, hash merkle.Hash, key []byte, err error) {
	if len(record) < 1+merkle.HashSize || record[0] > byte(relation.Target) {
		return 0, merkle.Hash{}, nil, errRecord
	}
	hash = merkle.HashFromBytes([merkle.HashSize]byte(record[1 : 1+merkle.HashSize]))
	return relation.Side(record[0]), hash, record[1+merkle.HashSize:], nil
}

// joinKeyless counts rows by their hash: a keyless table may hold the same row
// so often that its copies would not fit memory.
func joinKeyless(s *spool, each func(*difference) error) error {
	counts := make(map[merkle.Hash]*[2]int64)
	err := s.each(func(record []byte) error {
		side, hash, _, err := decodeEntry(record)
		if err != nil {
			return err
		}
		c := counts[hash]
		if c == nil {
			c = new([2]int64)
			counts[hash] = c
		}
		c[side]++
		return nil
	})
	if err != nil {
		return err
	}
	for hash, c := range counts {
		d := difference{key: hash.AppendBytes(nil), total: *c}
		if n := c[0] - c[1]; n > 0 {
			d.surplus[relation.Source] = []run{{hash, n}}
		} else if n < 0 {
			d.surplus[relation.Target] = []run{{hash, -n}}
		} else {
			continue
		}
		if err := each(&d); err != nil {
			return err
		}
	}
	return nil
}

const (
	// sketchCells is how many cells a sub-table of a sketch has: three times as
	// many hold the differences of half as many rows with some certainty.
	sketchCells = 512
	// sketchLeaves is how many leaves share a sketch where rows lie about in
	// the key's order: it can then hold the differences of one row in a hundred.
	sketchLeaves = 12
	// sketchBytes bounds what the sketches of one side of a table take, and
	// sketchBudget what those of all tables do that are read at once.
	sketchBytes  = 8 << 20
	sketchBudget = 3 * sketchBytes
)

// sketchSize chooses the sketches for a form. They find divergent rows without
// another look at the others. Where an index finds these anyway, sketches pay
// only as long as they stay in the processor's cache.
func sketchSize(form *relation.Form, plan *leafPlan, tables [2]*relation.Table) merkle.SketchSize {
	size := merkle.SketchSize{Cells: sketchCells}
	for _, k := range form.KeyFields() {
		size.KeyBytes += 4 + keyWidth(k.Type[relation.Source].Underlying())
	}
	f := finder{pair: &pair{table: tables}, form: form, plan: plan}
	if !f.byRange(nil) {
		return size
	}
	if !plan.correlated[0] || !plan.correlated[1] {
		return merkle.SketchSize{}
	}
	size.Leaves = sketchLeaves
	if n := size.Bytes(plan.Leaves()); n > sketchBytes {
		size.Leaves = int(sketchLeaves*n/sketchBytes) + 1
	}
	return size
}

// keyWidth is how long a type's values in a key are, or are expected to be at
// most.
func keyWidth(t *relation.Type) int {
	switch {
	case t.Builtin("int2", "bool", "char"):
		return 2
	case t.Builtin("int4", "date", "float4"):
		return 4
	case t.Builtin("int8", "timestamp", "timestamptz", "time", "float8", "money", "macaddr"):
		return 8
	case t.Builtin("uuid", "interval", "timetz"):
		return 16
	}
	return 44
}

var errUnexplained = errors.New("the rows found do not account for the whole difference")
