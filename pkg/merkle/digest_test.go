package merkle

import (
	"maps"
	"slices"
	"testing"
)

// A multiset is what a Digest stands for, written out.
type multiset map[Hash]int

func (m multiset) add(h Hash, n int) {
	if m[h] += n; m[h] == 0 {
		delete(m, h)
	}
}

func digestOf(rows ...Hash) (d Digest) {
	for _, h := range rows {
		d.Add(h)
	}
	return d
}

// Digests are equal exactly when the multisets are.
func TestDigestIsMultiset(t *testing.T) {
	r := newRand(3)
	universe := []Hash{randHash(r), randHash(r), randHash(r), {}, {0, 1}}
	seen := map[Digest]multiset{}
	for range 3000 {
		var d Digest
		m := multiset{}
		for range r.IntN(8) {
			h := universe[r.IntN(3)]
			if r.IntN(3) == 0 {
				d.Remove(h)
				m.add(h, -1)
			} else {
				d.Add(h)
				m.add(h, 1)
			}
		}
		if other, ok := seen[d]; ok && !maps.Equal(other, m) {
			t.Fatalf("digest %v of both %v and %v", d, other, m)
		}
		seen[d] = m
		if d.IsZero() != (len(m) == 0) {
			t.Fatalf("digest %v of %v: IsZero %v", d, m, d.IsZero())
		}
	}
	n := 0
	distinct := map[string]bool{}
	for d, m := range seen {
		n++
		var key []byte
		for _, h := range slices.SortedFunc(maps.Keys(m), Hash.Compare) {
			key = append(h.AppendBytes(key), byte(m[h]))
		}
		if distinct[string(key)] {
			t.Fatalf("multiset %v has two digests, one of them %v", m, d)
		}
		distinct[string(key)] = true
	}
	if n < 100 {
		t.Fatalf("only %d multisets were tried", n)
	}
}

// XOR would lose the pair of x.
func TestDigestKeepsDuplicates(t *testing.T) {
	x, y := Hash{1, 2}, Hash{3, 4}
	if digestOf(x, x, y) == digestOf(y) {
		t.Error("{x, x, y} and {y} have one digest")
	}
	if digestOf(x, x) == digestOf() {
		t.Error("{x, x} and {} have one digest")
	}
	// The count tells what the sum cannot.
	if digestOf(Hash{}) == digestOf() {
		t.Error("{0} and {} have one digest")
	}
	half := Hash{1 << 63, 0}
	if digestOf(half, half) == digestOf() {
		t.Error("{2^127, 2^127} and {} have one digest")
	}
}

func TestDigestAlgebra(t *testing.T) {
	r := newRand(4)
	rows := make([]Hash, 1000)
	for i := range rows {
		rows[i] = randHash(r)
	}
	whole := digestOf(rows...)

	// Any order, any parts.
	parts := make([]Digest, 7)
	for _, i := range r.Perm(len(rows)) {
		parts[r.IntN(len(parts))].Add(rows[i])
	}
	var sum Digest
	for _, p := range parts {
		sum.Merge(p)
	}
	if sum != whole {
		t.Errorf("merged parts %v, whole %v", sum, whole)
	}

	rest := whole
	rest.Subtract(digestOf(rows[:400]...))
	if want := digestOf(rows[400:]...); rest != want {
		t.Errorf("subtracted %v, want %v", rest, want)
	}
	for _, h := range rows[400:] {
		rest.Remove(h)
	}
	if !rest.IsZero() {
		t.Errorf("%v left of nothing", rest)
	}
}
