package merkle

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/zeebo/xxh3"
)

// naiveNode is the definition of a tree's nodes: node index of the given level
// covers the leaves [index·2^level, (index+1)·2^level).
func naiveNode(leaves []Digest, level, index int) Hash {
	if level == 0 {
		d := leaves[index]
		return naiveHash(byte(0), byte(0), uint64(index), uint64(len(leaves)), d.Count, d.Sum)
	}
	fields := []any{byte(1), byte(level), uint64(index), uint64(len(leaves))}
	for child := 2 * index; child <= 2*index+1; child++ {
		if child<<(level-1) < len(leaves) {
			fields = append(fields, naiveNode(leaves, level-1, child))
		}
	}
	return naiveHash(fields...)
}

func naiveRoot(form []byte, leaves []Digest) Hash {
	height := 1
	for 1<<(height-1) < len(leaves) {
		height++
	}
	var total Digest
	for _, d := range leaves {
		total.Merge(d)
	}
	fields := []any{byte(2), byte(height), uint64(0), uint64(len(leaves)), naiveHash(byte(3), form), total}
	if len(leaves) > 0 {
		fields = append(fields, naiveNode(leaves, height-1, 0))
	}
	return naiveHash(fields...)
}

func naiveHash(fields ...any) Hash {
	var b bytes.Buffer
	for _, f := range fields {
		if err := binary.Write(&b, binary.BigEndian, f); err != nil {
			panic(err)
		}
	}
	return Hash(xxh3.Hash128(b.Bytes()))
}

func naiveDiff(a, b []Digest) (differ []int) {
	for i := range a {
		if a[i] != b[i] {
			differ = append(differ, i)
		}
	}
	return differ
}

func randLeaves(r *rand.Rand, n int) []Digest {
	leaves := make([]Digest, n)
	for i := range leaves {
		if r.IntN(4) > 0 { // some leaves are empty
			leaves[i] = Digest{r.Uint64N(1000), randHash(r)}
		}
	}
	return leaves
}

var testForm = []byte("public.orders(id int8, note text)")

func TestTreeRoot(t *testing.T) {
	r := newRand(7)
	for n := range 70 {
		leaves := randLeaves(r, n)
		tree := NewTree(testForm, leaves)
		if got, want := tree.Root(), naiveRoot(testForm, leaves); got != want {
			t.Fatalf("%d leaves: root %v, want %v", n, got, want)
		}
		if got := tree.Leaves(); !slices.Equal(got, leaves) {
			t.Fatalf("%d leaves: Leaves() = %v", n, got)
		}
		var total Digest
		for _, d := range leaves {
			total.Merge(d)
		}
		if tree.Total() != total {
			t.Fatalf("%d leaves: total %v, want %v", n, tree.Total(), total)
		}
	}
}

// Baselines outlive the program that wrote them: roots must not change between
// versions.
func TestTreeRootIsStable(t *testing.T) {
	leaves := []Digest{{1, Hash{2, 3}}, {}, {4, Hash{5, 6}}}
	const want = "76cf68c07366f5e6c547388f964fc052"
	if got := NewTree(testForm, leaves).Root().String(); got != want {
		t.Errorf("root %s, want %s", got, want)
	}
}

// The root changes with each leaf, with the leaves' order and number, and with
// the form.
func TestTreeTamper(t *testing.T) {
	r := newRand(8)
	for _, n := range []int{1, 2, 3, 4, 5, 8, 13, 64, 65} {
		leaves := randLeaves(r, n)
		tree := NewTree(testForm, leaves)
		seen := map[Hash]string{tree.Root(): "the original"}
		check := func(what string, form []byte, leaves []Digest) {
			t.Helper()
			root := NewTree(form, leaves).Root()
			if other, ok := seen[root]; ok {
				t.Fatalf("%d leaves: %s has the root of %s", n, what, other)
			}
			seen[root] = what
		}
		for i := range leaves {
			for what, change := range map[string]func(*Digest){
				"count": func(d *Digest) { d.Count++ },
				"low":   func(d *Digest) { d.Sum.Lo ^= 1 },
				"high":  func(d *Digest) { d.Sum.Hi ^= 1 << 63 },
			} {
				changed := slices.Clone(leaves)
				change(&changed[i])
				check(fmt.Sprintf("leaf %d, %s", i, what), testForm, changed)
				differ, err := Diff(tree, NewTree(testForm, changed))
				if err != nil || !slices.Equal(differ, []int{i}) {
					t.Fatalf("leaf %d of %d changed: Diff = %v, %v", i, n, differ, err)
				}
			}
			// The total stays the same when two leaves change places.
			if i > 0 && leaves[i] != leaves[0] {
				changed := slices.Clone(leaves)
				changed[0], changed[i] = changed[i], changed[0]
				check(fmt.Sprintf("leaves 0 and %d swapped", i), testForm, changed)
			}
		}
		check("one more empty leaf", testForm, append(slices.Clone(leaves), Digest{}))
		check("one leaf less", testForm, leaves[:n-1])
		check("another form", append([]byte("x"), testForm...), leaves)
		check("no form", nil, leaves)
	}
}

// An inner node must not be able to pass for a leaf whose digest holds the
// same bytes, nor a node for its neighbour.
func TestTreeNodesAreBound(t *testing.T) {
	d := Digest{7, Hash{8, 9}}
	seen := map[Hash]string{}
	for n := 1; n <= 9; n++ {
		tree := NewTree(testForm, slices.Repeat([]Digest{d}, n))
		for level, nodes := range tree.levels {
			for i, h := range nodes {
				name := fmt.Sprintf("node %d.%d of %d", level, i, n)
				if other, ok := seen[h]; ok {
					t.Fatalf("%s equals %s", name, other)
				}
				seen[h] = name
			}
		}
		name := fmt.Sprintf("root of %d", n)
		if other, ok := seen[tree.Root()]; ok {
			t.Fatalf("%s equals %s", name, other)
		}
		seen[tree.Root()] = name
	}
}

func TestDiff(t *testing.T) {
	r := newRand(9)
	for range 500 {
		n := r.IntN(300)
		a := randLeaves(r, n)
		b := slices.Clone(a)
		for range r.IntN(10) {
			if n > 0 {
				b[r.IntN(n)].Add(randHash(r))
			}
		}
		got, err := Diff(NewTree(testForm, a), NewTree(testForm, b))
		if err != nil {
			t.Fatal(err)
		}
		if want := naiveDiff(a, b); !slices.Equal(got, want) {
			t.Fatalf("Diff = %v, want %v", got, want)
		}
	}
}

func TestDiffShapes(t *testing.T) {
	leaves := make([]Digest, 4)
	a := NewTree(testForm, leaves)
	if _, err := Diff(a, NewTree(testForm, leaves[:3])); !errors.Is(err, ErrShape) {
		t.Errorf("other number of leaves: %v", err)
	}
	if _, err := Diff(a, NewTree(nil, leaves)); !errors.Is(err, ErrShape) {
		t.Errorf("other form: %v", err)
	}
}

func BenchmarkTree(b *testing.B) {
	for _, n := range []int{977, MaxLeaves} {
		leaves := randLeaves(newRand(10), n)
		b.Run(fmt.Sprintf("leaves=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				NewTree(testForm, leaves)
			}
		})
	}
}
