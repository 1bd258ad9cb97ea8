package parity

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/verifierd/verifierd/pkg/merkle"
	"github.com/verifierd/verifierd/pkg/relation"
)

// hashOf makes a row hash out of a small number.
func hashOf(n int) merkle.Hash {
	var b [merkle.HashSize]byte
	binary.BigEndian.PutUint64(b[8:], uint64(n))
	b[0] = byte(n * 37)
	return merkle.HashFromBytes(b)
}

// randomEntries makes rows of two sides that are much alike.
func randomEntries(r *rand.Rand) (sides [2][]entry) {
	for range r.IntN(60) {
		side := r.IntN(2)
		e := entry{key: fmt.Appendf(nil, "k%d", r.IntN(10)), hash: hashOf(r.IntN(6)), side: relation.Side(side)}
		sides[side] = append(sides[side], e)
		if r.IntN(2) == 0 {
			e.side = e.side.Other()
			sides[1-side] = append(sides[1-side], e)
		}
	}
	for _, entries := range sides {
		r.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
	}
	return sides
}

func joinSides(sides [2][]entry, f func(*difference) error) error {
	j := joiners.Get().(*joiner)
	defer j.release()
	for _, side := range relation.Sides {
		for _, e := range sides[side] {
			j.add(side, e.key, e.hash)
		}
	}
	return j.join(f)
}

// naive counts how often each row of each key occurs on each side.
func naive(sides [2][]entry, keyless bool) map[string]map[merkle.Hash][2]int64 {
	count := make(map[string]map[merkle.Hash][2]int64)
	for _, e := range slices.Concat(sides[0], sides[1]) {
		key := string(e.key)
		if keyless {
			key = string(e.hash.AppendBytes(nil))
		}
		if count[key] == nil {
			count[key] = make(map[merkle.Hash][2]int64)
		}
		n := count[key][e.hash]
		n[e.side]++
		count[key][e.hash] = n
	}
	return count
}

func digestOf(entries []entry) merkle.Digest {
	var d merkle.Digest
	for _, e := range entries {
		d.Add(e.hash)
	}
	return d
}

// TestJoin compares join, and its like for keyless rows, with counting, and
// checks that what they find explains the difference of the digests.
func TestJoin(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for i := range 2000 {
		keyless := i%3 == 0
		sides := randomEntries(r)
		want := naive(sides, keyless)
		rest := digestOf(sides[relation.Source])
		rest.Subtract(digestOf(sides[relation.Target]))
		found := make(map[string]bool)
		each := func(d *difference) error {
			key := string(d.key)
			if found[key] {
				t.Fatalf("key %q is told twice", key)
			}
			found[key] = true
			checkDifference(t, d, want[key], keyless)
			d.account(&rest)
			return nil
		}
		var err error
		if keyless {
			err = joinKeyless(spoolOf(t, sides), each)
		} else {
			err = joinSides(sides, each)
		}
		if err != nil {
			t.Fatal(err)
		}
		for key, rows := range want {
			differs := false
			for _, n := range rows {
				differs = differs || n[0] != n[1]
			}
			if differs != found[key] {
				t.Errorf("key %q differs: %t, found: %t", key, differs, found[key])
			}
		}
		if !rest.IsZero() {
			t.Errorf("the differences leave %+v unexplained", rest)
		}
	}
}

// spoolOf writes rows as a scan does.
func spoolOf(t *testing.T, sides [2][]entry) *spool {
	t.Helper()
	s := newSpool(100, t.TempDir())
	t.Cleanup(s.close)
	for _, e := range slices.Concat(sides[0], sides[1]) {
		if err := s.append(e.hash.AppendBytes([]byte{byte(e.side)})); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func checkDifference(t *testing.T, d *difference, rows map[merkle.Hash][2]int64, keyless bool) {
	t.Helper()
	var total, surplus [2]int64
	for _, n := range rows {
		for side := range n {
			total[side] += n[side]
			surplus[side] += max(0, n[side]-n[1-side])
		}
	}
	if keyless && d.total != total {
		t.Errorf("row %x: total %v, want %v", d.key, d.total, total)
	}
	for side := range d.surplus {
		for i, run := range d.surplus[side] {
			if n := rows[run.hash]; run.count != n[side]-n[1-side] {
				t.Errorf("key %q: a surplus of %d of %v", d.key, run.count, n)
			}
			if i > 0 && d.surplus[side][i-1].hash.Compare(run.hash) >= 0 {
				t.Errorf("key %q: the surplus is not sorted", d.key)
			}
		}
		if got := surplusRows(d.surplus[side]); got != surplus[side] {
			t.Errorf("key %q: a surplus of %d rows on the %s, want %d", d.key, got, relation.Side(side), surplus[side])
		}
	}
	missing, extra, mismatched := d.kinds(keyless)
	pairs := min(surplus[0], surplus[1])
	if keyless {
		pairs = 0
	}
	if missing != surplus[0]-pairs || extra != surplus[1]-pairs || mismatched != pairs {
		t.Errorf("surplus %v, keyless: %t, makes %d missing, %d extra, %d mismatched", surplus, keyless, missing, extra, mismatched)
	}
}

func TestTimes(t *testing.T) {
	for _, n := range []int64{1, 2, 3, 7, 8, 1000, 1 << 12} {
		var want merkle.Digest
		for range n {
			want.Add(hashOf(5))
		}
		if got := times(run{hashOf(5), n}); got != want {
			t.Errorf("%d times: %+v, want %+v", n, got, want)
		}
	}
}

// TestDifferencesOf: what a sketch decodes is grouped as join does it.
func TestDifferencesOf(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for range 500 {
		var want []*difference
		var decoded []merkle.Entry
		err := joinSides(randomEntries(r), func(d *difference) error {
			c := &difference{key: bytes.Clone(d.key)}
			for side, runs := range d.surplus {
				c.surplus[side] = slices.Clone(runs)
				for _, run := range runs {
					decoded = append(decoded, merkle.Entry{Key: c.key, Hash: run.hash, Count: run.count * int64(1-2*side)})
				}
			}
			want = append(want, c)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		r.Shuffle(len(decoded), func(i, j int) { decoded[i], decoded[j] = decoded[j], decoded[i] })
		got, err := differencesOf(decoded)
		if err != nil {
			t.Fatal(err)
		}
		if len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	}
}

func TestDifferenceCodec(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for range 500 {
		d := &difference{key: make([]byte, r.IntN(300)), changed: r.IntN(2) == 0, total: [2]int64{r.Int64(), r.Int64N(3)}}
		for i := range d.key {
			d.key[i] = byte(r.Uint32())
		}
		for side := range d.surplus {
			for range r.IntN(4) {
				d.surplus[side] = append(d.surplus[side], run{hashOf(r.IntN(1 << 30)), 1 + r.Int64N(1<<40)})
			}
		}
		record := d.appendTo(nil)
		got, err := decodeDifference(record)
		if err != nil || !reflect.DeepEqual(got, d) {
			t.Fatalf("got %+v, %v; want %+v", got, err, d)
		}
		for n := range len(record) {
			if _, err := decodeDifference(record[:n]); err == nil {
				t.Fatalf("the first %d of %d bytes are taken for a record", n, len(record))
			}
		}
		if _, err := decodeDifference(append(record, 0)); err == nil {
			t.Fatal("a byte too many is taken")
		}
	}
}

// FuzzDecodeDifference: a damaged file gives an error, or what could have been
// written.
func FuzzDecodeDifference(f *testing.F) {
	f.Add([]byte{})
	f.Add((&difference{key: []byte("k"), surplus: [2][]run{{{hashOf(1), 2}}, nil}}).appendTo(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := decodeDifference(b)
		if err != nil {
			return
		}
		again, err := decodeDifference(d.appendTo(nil))
		if err != nil || !reflect.DeepEqual(again, d) {
			t.Fatalf("%x is %+v, then %+v, %v", b, d, again, err)
		}
	})
}
