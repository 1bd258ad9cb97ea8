package merkle

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/zeebo/xxh3"
)

// A row of a test; its hash is determined by its key and version.
type testRow struct {
	key     string
	version byte
}

func (r testRow) hash() Hash {
	return Hash(xxh3.Hash128(append([]byte(r.key), r.version)))
}

// surplus is the definition of what a sketch holds: how many more of each row
// there are than were taken out.
type surplus map[testRow]int64

func (s surplus) add(r testRow, n int64) {
	if s[r] += n; s[r] == 0 {
		delete(s, r)
	}
}

// decoded turns entries back into a surplus, looking up rows by hash.
func decoded(t testing.TB, entries []Entry, universe map[Hash]testRow, keyless bool) surplus {
	t.Helper()
	s := surplus{}
	for _, e := range entries {
		r, ok := universe[e.Hash]
		if !ok {
			t.Fatalf("decoded %v, which no row has", e.Hash)
		}
		if !keyless && string(e.Key) != r.key || keyless && len(e.Key) > 0 {
			t.Fatalf("decoded key %x, the row's is %x", e.Key, r.key)
		}
		if e.Count == 0 || s[r] != 0 {
			t.Fatalf("decoded %v %d times, after %d", e.Hash, e.Count, s[r])
		}
		s.add(r, e.Count)
	}
	return s
}

// sketchPair fills a source's and a target's sketch.
type sketchPair struct {
	source, target *Sketch
	keyless        bool
	want           surplus
	universe       map[Hash]testRow
}

func newSketchPair(cells, keyBytes int) *sketchPair {
	return &sketchPair{
		source:   NewSketch(cells, keyBytes),
		target:   NewSketch(cells, keyBytes),
		keyless:  keyBytes == 0,
		want:     surplus{},
		universe: map[Hash]testRow{},
	}
}

func (p *sketchPair) add(r testRow, side *Sketch) {
	n := int64(1)
	if side == p.target {
		n = -1
	}
	p.want.add(r, n)
	p.universe[r.hash()] = r
	if p.keyless {
		side.Add(r.hash(), nil)
	} else {
		side.Add(r.hash(), []byte(r.key))
	}
}

// diff subtracts the target and decodes.
func (p *sketchPair) diff(t testing.TB) (got surplus, ok bool) {
	t.Helper()
	if err := p.source.Subtract(p.target); err != nil {
		t.Fatal(err)
	}
	before := bytes.Clone(sketchBytes(p.source))
	entries, ok := p.source.Decode()
	if !bytes.Equal(before, sketchBytes(p.source)) {
		t.Fatal("Decode changed the sketch")
	}
	return decoded(t, entries, p.universe, p.keyless), ok
}

func sketchBytes(s *Sketch) (b []byte) {
	for _, w := range s.cells {
		b = binary.BigEndian.AppendUint64(b, w)
	}
	return b
}

func randKey(r *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return string(b)
}

func TestSketchDiff(t *testing.T) {
	r := newRand(12)
	for _, keyBytes := range []int{0, 1, 7, 8, 12, 16, 17, 48} {
		for _, differing := range []int{0, 1, 10, 300} {
			p := newSketchPair(512, keyBytes)
			randRow := func(version byte) testRow {
				if keyBytes == 0 {
					return testRow{randKey(r, 16), version}
				}
				return testRow{randKey(r, r.IntN(keyBytes+1)), version}
			}
			var both []testRow
			for range 2000 {
				both = append(both, randRow(0))
			}
			for _, row := range both {
				p.add(row, p.source)
			}
			for _, i := range r.Perm(len(both)) {
				p.add(both[i], p.target)
			}
			// Versions make rows of one key differ, so none is there twice.
			for i := range differing {
				row := testRow{randRow(0).key, byte(1 + i%200)}
				if p.universe[row.hash()] == row {
					continue
				}
				switch i % 3 {
				case 0:
					p.add(row, p.source)
				case 1:
					p.add(row, p.target)
				default: // mismatched
					p.add(row, p.source)
					p.add(testRow{row.key, row.version + 50}, p.target)
				}
			}
			got, ok := p.diff(t)
			if !ok || !maps.Equal(got, p.want) {
				t.Errorf("key of %d bytes, %d differing: ok %v, %d rows instead of %d", keyBytes, differing, ok, len(got), len(p.want))
			}
		}
	}
}

// Beyond its capacity a sketch says so, and what it decoded is true.
func TestSketchTooMany(t *testing.T) {
	r := newRand(13)
	for _, keyBytes := range []int{0, 8} {
		p := newSketchPair(64, keyBytes)
		for range 1000 {
			p.add(testRow{randKey(r, 8), 0}, p.source)
		}
		got, ok := p.diff(t)
		if ok {
			t.Error("1000 rows decoded from 192 cells")
		}
		for row, n := range got {
			if p.want[row] != n {
				t.Errorf("row %v decoded %d times instead of %d", row, n, p.want[row])
			}
		}
	}
}

func TestSketchCopies(t *testing.T) {
	r := newRand(14)
	for copies := int64(-300); copies <= 300; copies++ {
		p := newSketchPair(8, 0)
		row, other := testRow{randKey(r, 16), 0}, testRow{randKey(r, 16), 0}
		for range max(copies, -copies) {
			if copies > 0 {
				p.add(row, p.source)
			} else {
				p.add(row, p.target)
			}
		}
		got, ok := p.diff(t)
		if solvable := copies%(2<<maxTwos) != 0 || copies == 0; ok != solvable || ok && !maps.Equal(got, p.want) {
			t.Fatalf("%d copies: ok %v, decoded %v", copies, ok, got)
		}
		// Several kinds of copies must not be taken for one.
		p = newSketchPair(1, 0)
		p.add(row, p.source)
		p.add(row, p.source)
		p.add(other, p.source)
		if _, ok := p.diff(t); ok {
			t.Fatal("two rows decoded from one cell")
		}
	}
}

// Copies of a row in a table with a key are not decoded; nor are they decoded
// wrongly.
func TestSketchCopiesWithKey(t *testing.T) {
	p := newSketchPair(8, 8)
	row := testRow{"duplicat", 0}
	p.add(row, p.source)
	p.add(row, p.source)
	if got, ok := p.diff(t); ok || len(got) > 0 {
		t.Errorf("ok %v, decoded %v", ok, got)
	}
}

func TestSketchOverflow(t *testing.T) {
	for _, keyBytes := range []int{0, 3, 8} {
		s := NewSketch(8, keyBytes)
		s.Add(Hash{1, 2}, make([]byte, keyBytes))
		if s.Overflowed() {
			t.Fatalf("overflow with a key of %d bytes", keyBytes)
		}
		long := NewSketch(8, keyBytes)
		long.Add(Hash{3, 4}, make([]byte, keyBytes+1))
		if !long.Overflowed() {
			t.Fatalf("no overflow with a key of %d bytes for %d", keyBytes+1, keyBytes)
		}
		if err := s.Subtract(long); err != nil {
			t.Fatal(err)
		}
		if entries, ok := s.Decode(); ok || len(entries) > 0 || !s.Overflowed() {
			t.Fatalf("overflow was lost: decoded %v, %v", entries, ok)
		}
		s.Reset()
		if entries, ok := s.Decode(); !ok || len(entries) > 0 || s.Overflowed() {
			t.Fatalf("after Reset: decoded %v, %v", entries, ok)
		}
	}
}

func TestSketchMerge(t *testing.T) {
	r := newRand(15)
	whole := NewSketch(64, 20)
	parts := []*Sketch{NewSketch(64, 20), NewSketch(64, 20), NewSketch(64, 20)}
	for range 1000 {
		row := testRow{randKey(r, r.IntN(21)), 0}
		whole.Add(row.hash(), []byte(row.key))
		parts[r.IntN(3)].Add(row.hash(), []byte(row.key))
	}
	sum := NewSketch(64, 20)
	for _, p := range parts {
		if err := sum.Merge(p); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(sketchBytes(sum), sketchBytes(whole)) {
		t.Error("merged parts differ from the whole")
	}
	for _, other := range []*Sketch{NewSketch(32, 20), NewSketch(64, 21), NewSketch(64, 0)} {
		if err := sum.Merge(other); !errors.Is(err, ErrShape) {
			t.Errorf("Merge of another shape: %v", err)
		}
		if err := sum.Subtract(other); !errors.Is(err, ErrShape) {
			t.Errorf("Subtract of another shape: %v", err)
		}
	}
}

// A single changed bit anywhere in the cells is noticed.
func TestSketchTamper(t *testing.T) {
	for _, keyBytes := range []int{0, 12} {
		s := NewSketch(4, keyBytes)
		row := testRow{"a key"[:min(5, keyBytes)], 0}
		s.Add(row.hash(), []byte(row.key))
		if _, ok := s.Decode(); !ok {
			t.Fatal("one row was not decoded")
		}
		for i := range s.cells {
			for bit := range 64 {
				s.cells[i] ^= 1 << bit
				if _, ok := s.Decode(); ok {
					t.Errorf("bit %d of word %d changed, and still decoded", bit, i)
				}
				s.cells[i] ^= 1 << bit
			}
		}
	}
}

// A key that was changed in all three cells alike adds up, and would pass for
// the row's if the check word did not bind it to the hash.
func TestSketchBindsKey(t *testing.T) {
	s := NewSketch(4, 8)
	row := testRow{"the key!", 0}
	s.Add(row.hash(), []byte(row.key))
	for i := 0; i < len(s.cells); i += s.stride {
		s.cells[i+cellKey] += s.cells[i+cellCount]
	}
	if entries, ok := s.Decode(); ok || len(entries) > 0 {
		t.Errorf("decoded a wrong key: %q", entries[0].Key)
	}
}

func TestSketchSize(t *testing.T) {
	for _, c := range []struct{ cells, keyBytes, bytes int }{
		{512, 12, 3 * 512 * 56},
		{500, 16, 3 * 512 * 56},
		{512, 17, 3 * 512 * 64},
		{1, 0, 3 * 56},
		{0, -1, 3 * 56},
	} {
		if got := NewSketch(c.cells, c.keyBytes).Bytes(); got != c.bytes {
			t.Errorf("NewSketch(%d, %d) takes %d bytes, want %d", c.cells, c.keyBytes, got, c.bytes)
		}
	}
}

func TestSketchAddAllocates(t *testing.T) {
	s := NewSketch(512, 48)
	key := make([]byte, 30)
	if n := testing.AllocsPerRun(100, func() { s.Add(Hash{1, 2}, key) }); n != 0 {
		t.Errorf("Add allocates %v times", n)
	}
}

// FuzzSketch reads rows for the source and the target from data. What is
// decoded as complete must be the difference exactly.
func FuzzSketch(f *testing.F) {
	f.Add([]byte{}, uint8(2), uint8(0))
	f.Add([]byte("\x00abc\x01abd\x00abc\x00xyz"), uint8(4), uint8(8))
	f.Add([]byte("\x00abc\x00abc\x00abc\x00abc\x01xyz"), uint8(3), uint8(0))
	f.Fuzz(func(t *testing.T, data []byte, logCells, keyBytes uint8) {
		p := newSketchPair(1<<(logCells%8), int(keyBytes%20))
		overflow := false
		for ; len(data) >= 4; data = data[4:] {
			side := p.source
			if data[0]&1 == 1 {
				side = p.target
			}
			row := testRow{string(data[1 : 1+data[0]>>1%4]), data[3]}
			overflow = overflow || !p.keyless && len(row.key) > int(keyBytes%20)
			p.add(row, side)
		}
		got, ok := p.diff(t)
		switch {
		case overflow && ok:
			t.Fatal("decoded despite a key that is too long")
		case ok && !maps.Equal(got, p.want):
			t.Fatalf("decoded %v, want %v", got, p.want)
		case !ok && !overflow && len(p.want) == 0:
			t.Fatal("nothing to decode was not decoded")
		}
	})
}

// Cells that no rows can make must neither panic nor loop.
func FuzzSketchGarbage(f *testing.F) {
	f.Add([]byte{1}, uint8(0))
	f.Add(bytes.Repeat([]byte{0, 0, 0, 0, 0, 0, 0, 1}, 18), uint8(8))
	f.Fuzz(func(t *testing.T, data []byte, keyBytes uint8) {
		s := NewSketch(4, int(keyBytes%20))
		for i := range s.cells {
			s.cells[i] = Head(data[min(8*i, len(data)):])
		}
		s.Decode()
	})
}

func BenchmarkSketchAdd(b *testing.B) {
	r := newRand(16)
	hashes := make([]Hash, 1<<12)
	for i := range hashes {
		hashes[i] = randHash(r)
	}
	for _, keyBytes := range []int{0, 8, 12, 20, 40} {
		s := NewSketch(512, keyBytes)
		key := []byte(randKey(r, keyBytes))
		b.Run(fmt.Sprintf("key=%d", keyBytes), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				s.Add(hashes[i%len(hashes)], key)
			}
		})
	}
}

func BenchmarkSketchDecode(b *testing.B) {
	r := newRand(17)
	s := NewSketch(512, 12)
	for range 600 {
		row := testRow{randKey(r, 12), 0}
		s.Add(row.hash(), []byte(row.key))
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := s.Decode(); !ok {
			b.Fatal("not decoded")
		}
	}
}
