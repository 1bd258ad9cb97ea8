package merkle

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestSketches compares what sketches of many leaves give back with the
// difference that was put in, in parts as workers do, and with leaves that hold
// too many differences.
func TestSketches(t *testing.T) {
	const leaves = 50
	for _, perSketch := range []int{0, 1, 7, 64} {
		t.Run(fmt.Sprint(perSketch), func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, uint64(perSketch)))
			size := SketchSize{Cells: 64, KeyBytes: 8, Leaves: perSketch}
			var sides [2]*Sketches
			var parts [2][2]*Sketches
			for side := range sides {
				sides[side] = size.New(leaves)
				for i := range parts[side] {
					parts[side][i] = size.New(leaves)
				}
			}
			type row struct {
				leaf int
				key  string
			}
			want := map[Hash]row{} // of the source's surplus
			add := func(side, leaf int) (Hash, string) {
				h, key := Hash{r.Uint64(), r.Uint64()}, fmt.Sprintf("%08d", r.IntN(1e8))
				parts[side][r.IntN(2)].Add(leaf, h, []byte(key))
				return h, key
			}
			for range 2000 { // common rows
				leaf := r.IntN(leaves)
				h, key := add(0, leaf)
				parts[1][r.IntN(2)].Add(leaf, h, []byte(key))
			}
			const full = 20 // this leaf's sketch holds too many
			for leaf := range leaves {
				n := 1
				if leaf == full && perSketch != 0 {
					n = 500
				}
				for range n {
					h, key := add(0, leaf)
					want[h] = row{leaf, key}
				}
			}
			for side := range sides {
				for _, part := range parts[side] {
					if err := sides[side].Merge(part); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := sides[0].Subtract(sides[1]); err != nil {
				t.Fatal(err)
			}
			got := map[Hash]row{}
			decoded, err := sides[0].Decode(func(entries []Entry) error {
				for _, e := range entries {
					if e.Count != 1 {
						t.Errorf("count %d", e.Count)
					}
					got[e.Hash] = row{want[e.Hash].leaf, string(e.Key)}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			failed := 0
			for leaf, ok := range decoded {
				if !ok {
					failed++
				}
				if perSketch > 0 && !ok != (leaf/perSketch == full/perSketch) {
					t.Errorf("leaf %d: decoded: %t", leaf, ok)
				}
			}
			if perSketch == 0 && failed > 0 {
				t.Errorf("%d leaves were not decoded", failed)
			}
			for h, r := range want {
				if g, found := got[h]; found != decoded[r.leaf] || found && g != r {
					t.Errorf("leaf %d: %v, want %v", r.leaf, g, r)
				}
			}
			if len(got) > len(want) {
				t.Errorf("%d rows, want %d at most", len(got), len(want))
			}
		})
	}
}

func TestSketchesUnlike(t *testing.T) {
	size := SketchSize{Cells: 8, KeyBytes: 8, Leaves: 4}
	for _, other := range []*Sketches{size.New(9), SketchSize{Cells: 8, KeyBytes: 8, Leaves: 3}.New(8), SketchSize{Cells: 16, KeyBytes: 8, Leaves: 4}.New(8)} {
		if err := size.New(8).Merge(other); !errors.Is(err, ErrShape) {
			t.Errorf("merge: %v", err)
		}
		if err := size.New(8).Subtract(other); !errors.Is(err, ErrShape) {
			t.Errorf("subtract: %v", err)
		}
	}
	if (SketchSize{}).New(8) != nil || (SketchSize{}).Bytes(8) != 0 {
		t.Error("the zero size makes sketches")
	}
	for leaves, want := range map[int]int{1: 1, 4: 1, 5: 2, 8: 2, 9: 3} {
		s := size.New(leaves)
		s.Add(leaves-1, Hash{1, 2}, []byte("k"))
		if got, one := size.Bytes(leaves), int64(s.list[want-1].Bytes()); len(s.list) != want || got != int64(want)*one {
			t.Errorf("%d leaves: %d sketches, %d bytes of %d each", leaves, len(s.list), got, one)
		}
	}
}

func TestSketchesDecodeStops(t *testing.T) {
	s := SketchSize{Cells: 8, KeyBytes: 8, Leaves: 1}.New(2)
	s.Add(0, Hash{1, 2}, []byte("a"))
	s.Add(1, Hash{3, 4}, []byte("b"))
	stop, calls := errors.New("stop"), 0
	if _, err := s.Decode(func([]Entry) error { calls++; return stop }); !errors.Is(err, stop) || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
}
