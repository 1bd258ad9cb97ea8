package merkle

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// linearLeaf is the definition of Layout.Leaf.
func TestSeparator(t *testing.T) {
	for _, c := range [][3]string{
		{"", "a", "a"}, {"a", "ab", "ab"}, {"a", "b", "b"}, {"abc", "abde", "abd"}, {"abc", "abcde", "abcd"}, {"ab\xff", "b\x00", "b"},
	} {
		got := string(Separator([]byte(c[0]), []byte(c[1])))
		if got != c[2] || got <= c[0] || got > c[1] {
			t.Errorf("between %q and %q: %q, want %q", c[0], c[1], got, c[2])
		}
	}
}

func linearLeaf(bounds [][]byte, bits []uint8, prefix []byte, spread uint64) int {
	rng, first := 0, 0
	for rng < len(bounds) && bytes.Compare(bounds[rng], prefix) <= 0 {
		first += 1 << bits[rng]
		rng++
	}
	if bits[rng] == 0 {
		return first
	}
	return first + int(spread>>(64-bits[rng]))
}

func mustLayout(t testing.TB, bounds [][]byte, bits []uint8) *Layout {
	t.Helper()
	l, err := NewLayout(bounds, bits)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// checkLayout compares l with the definition on prefixes, and a cursor with l.
func checkLayout(t *testing.T, bounds [][]byte, bits []uint8, prefixes [][]byte, r *rand.Rand) {
	t.Helper()
	l := mustLayout(t, bounds, bits)
	cursor := l.Cursor()
	for _, p := range prefixes {
		spread := r.Uint64()
		want := linearLeaf(bounds, bits, p, spread)
		if got := l.Leaf(Head(p), p, spread); got != want {
			t.Fatalf("Leaf(%x, %x) = %d, want %d\nbounds %x bits %v", p, spread, got, want, bounds, bits)
		}
		if got := cursor.Leaf(Head(p), p, spread); got != want {
			t.Fatalf("Cursor.Leaf(%x, %x) = %d, want %d\nbounds %x bits %v", p, spread, got, want, bounds, bits)
		}
		lo, hi := l.Bounds(l.Range(want))
		if lo != nil && bytes.Compare(p, lo) < 0 || hi != nil && bytes.Compare(p, hi) >= 0 {
			t.Fatalf("%x lies outside of its range [%x, %x)", p, lo, hi)
		}
	}
	checkTiling(t, l, bits)
}

// checkTiling checks that the ranges' leaves follow each other without gaps.
func checkTiling(t *testing.T, l *Layout, bits []uint8) {
	t.Helper()
	next, spreads := 0, false
	for i := range l.Ranges() {
		from, to := l.RangeLeaves(i)
		if from != next || to-from != 1<<bits[i] {
			t.Fatalf("RangeLeaves(%d) = %d, %d, want %d, %d", i, from, to, next, next+1<<bits[i])
		}
		if l.Range(from) != i || l.Range(to-1) != i {
			t.Fatalf("leaves %d … %d of range %d are said to be of %d and %d", from, to-1, i, l.Range(from), l.Range(to-1))
		}
		next = to
		spreads = spreads || bits[i] > 0
	}
	if next != l.Leaves() {
		t.Fatalf("%d leaves, ranges have %d", l.Leaves(), next)
	}
	if l.Spreads() != spreads {
		t.Fatalf("Spreads() = %v, want %v", l.Spreads(), spreads)
	}
}

// near returns prefixes at, just below and just above each bound, and such as
// share a part of it.
func near(bounds [][]byte) [][]byte {
	prefixes := [][]byte{nil, {}, {0}, bytes.Repeat([]byte{0xff}, 9), bytes.Repeat([]byte{0}, 9)}
	for _, b := range bounds {
		below := bytes.Clone(b)
		for i := len(below) - 1; i >= 0; i-- {
			if below[i]--; below[i] != 0xff {
				break
			}
		}
		prefixes = append(prefixes, b, below, append(bytes.Clone(b), 0), append(bytes.Clone(below), 0xff, 0xff))
		for n := range b {
			prefixes = append(prefixes, b[:n])
		}
	}
	return prefixes
}

func sortBounds(bounds [][]byte) [][]byte {
	bounds = slices.DeleteFunc(bounds, func(b []byte) bool { return len(b) == 0 })
	slices.SortFunc(bounds, bytes.Compare)
	return slices.CompactFunc(bounds, bytes.Equal)
}

func TestLayout(t *testing.T) {
	r := newRand(5)
	be := func(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }
	random := func(n int, gen func() []byte) [][]byte {
		var bounds [][]byte
		for range n {
			bounds = append(bounds, gen())
		}
		return sortBounds(bounds)
	}
	for name, bounds := range map[string][][]byte{
		"none":          nil,
		"one":           {{0x80}},
		"edges":         {{0}, be(1), be(math.MaxUint64), append(be(math.MaxUint64), 0)},
		"uniform":       random(500, func() []byte { return be(r.Uint64()) }),
		"dense":         random(500, func() []byte { return be(1<<63 + r.Uint64N(700)) }),
		"outlier":       append(random(500, func() []byte { return be(r.Uint64N(1e6)) }), be(1<<62)),
		"int4":          random(500, func() []byte { return be(r.Uint64())[:4] }),
		"one head":      random(500, func() []byte { return append(be(7), be(r.Uint64N(1e4))...) }),
		"five heads":    random(500, func() []byte { return append(be(r.Uint64N(5)), be(r.Uint64N(1e4))...) }),
		"mixed lengths": random(500, func() []byte { return bytes.Repeat([]byte{byte(r.IntN(3))}, r.IntN(12)) }),
		"zero padded":   {{1}, {1, 0}, {1, 0, 0}, {1, 0, 0, 0, 0, 0, 0, 0}, {1, 0, 0, 0, 0, 0, 0, 0, 0}, {1, 0, 0, 0, 0, 0, 0, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			bits := make([]uint8, len(bounds)+1)
			prefixes := near(bounds)
			for range 1000 {
				prefixes = append(prefixes, be(r.Uint64()), be(r.Uint64N(1e6)), append(be(r.Uint64N(8)), be(r.Uint64N(1e4))...))
			}
			checkLayout(t, bounds, bits, prefixes, r)
			for i := range bits {
				bits[i] = uint8(r.IntN(7))
			}
			checkLayout(t, bounds, bits, prefixes, r)
			// In order, as a cursor likes it.
			slices.SortFunc(prefixes, bytes.Compare)
			checkLayout(t, bounds, bits, prefixes, r)
		})
	}
}

func TestLayoutMaxLeaves(t *testing.T) {
	l := mustLayout(t, nil, []uint8{16})
	if l.Leaves() != MaxLeaves || l.Leaf(0, nil, math.MaxUint64) != MaxLeaves-1 || l.Leaf(0, nil, 0) != 0 {
		t.Error("one range of 2^16 leaves")
	}
	var bounds [][]byte
	for i := range MaxLeaves - 1 {
		bounds = append(bounds, binary.BigEndian.AppendUint64(nil, uint64(i+1)<<40))
	}
	l = mustLayout(t, bounds, make([]uint8, MaxLeaves))
	for i := range uint64(MaxLeaves) {
		if got := l.Leaf(i<<40+5, binary.BigEndian.AppendUint64(nil, i<<40+5), 0); got != int(i) {
			t.Fatalf("leaf %d, want %d", got, i)
		}
	}
}

func TestLayoutErrors(t *testing.T) {
	for name, c := range map[string]struct {
		bounds [][]byte
		bits   []uint8
	}{
		"no bits":         {nil, nil},
		"too few bits":    {[][]byte{{1}}, []uint8{0}},
		"too many bits":   {[][]byte{{1}}, []uint8{0, 0, 0}},
		"empty bound":     {[][]byte{{}}, []uint8{0, 0}},
		"equal bounds":    {[][]byte{{1}, {1}}, []uint8{0, 0, 0}},
		"descending":      {[][]byte{{2}, {1}}, []uint8{0, 0, 0}},
		"17 bits":         {nil, []uint8{17}},
		"wide shift":      {nil, []uint8{255}},
		"one leaf beyond": {[][]byte{{1}}, []uint8{16, 0}},
	} {
		if _, err := NewLayout(c.bounds, c.bits); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// The layout must not follow what the caller does with its slices.
func TestLayoutCopies(t *testing.T) {
	bounds := [][]byte{{5}}
	l := mustLayout(t, bounds, []uint8{0, 0})
	bounds[0][0] = 9
	if lo, _ := l.Bounds(1); lo[0] != 5 {
		t.Error("bound changed from outside")
	}
}

func FuzzLayout(f *testing.F) {
	f.Add([]byte{}, []byte{}, []byte("prefix"), uint64(0))
	f.Add([]byte{1, 5, 2, 5, 0, 3, 5, 0, 0}, []byte{1, 2, 3, 0}, []byte{5, 0}, uint64(1)<<63)
	f.Add(bytes.Repeat([]byte{9, 1, 1, 1, 1, 1, 1, 1, 1, 7}, 3), []byte{0}, []byte{1, 1, 1, 1, 1, 1, 1, 1, 7}, ^uint64(0))
	f.Fuzz(func(t *testing.T, data, bitData, prefix []byte, spread uint64) {
		var bounds [][]byte
		for len(data) > 0 && len(bounds) < 1000 {
			n := min(int(data[0]%16), len(data)-1)
			bounds = append(bounds, data[1:1+n])
			data = data[1+n:]
		}
		bounds = sortBounds(bounds)
		bits := make([]uint8, len(bounds)+1)
		for i := range min(len(bits), len(bitData)) {
			bits[i] = bitData[i] % 5
		}
		checkLayout(t, bounds, bits, append(near(bounds), prefix, prefix), newRand(spread))
	})
}

func BenchmarkLayoutLeaf(b *testing.B) {
	const rows, rowsPerLeaf = 4_000_000, 4096
	r := newRand(6)
	var bounds [][]byte
	for k := uint64(0); k < rows; k += rowsPerLeaf/2 + r.Uint64N(rowsPerLeaf) {
		bounds = append(bounds, binary.BigEndian.AppendUint64(nil, 1<<63+k+1))
	}
	l := mustLayout(b, bounds, make([]uint8, len(bounds)+1))
	heads := make([]uint64, 1<<16)
	prefix := make([]byte, 8)
	run := func(name string, key func(i int) uint64, leaf func(head uint64, prefix []byte, spread uint64) int) {
		for i := range heads {
			heads[i] = 1<<63 + key(i)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			sum := 0
			for i := 0; b.Loop(); i++ {
				head := heads[i%len(heads)]
				binary.BigEndian.PutUint64(prefix, head)
				sum += leaf(head, prefix, head)
			}
			if sum == 0 {
				b.Fatal("all rows in leaf 0")
			}
		})
	}
	random := func(int) uint64 { return r.Uint64N(rows) }
	ordered := func(i int) uint64 { return 1_000_000 + uint64(i) }
	c := l.Cursor()
	run(fmt.Sprintf("random/leaves=%d", l.Leaves()), random, l.Leaf)
	run("ordered", ordered, l.Leaf)
	run("ordered/cursor", ordered, c.Leaf)
}
