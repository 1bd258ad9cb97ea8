package parity

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/verifierd/verifierd/pkg/merkle"
	"github.com/verifierd/verifierd/pkg/relation"
)

func bound(n uint32) relation.Bound {
	return relation.Bound{Prefix: binary.BigEndian.AppendUint32(nil, n), Text: []string{fmt.Sprint(n)}}
}

// spread makes samples with the given number of keys, of which a part is one
// value.
func spread(r *rand.Rand, n int, frequent float64) relation.Sample {
	var s relation.Sample
	for range n {
		if r.Float64() < frequent {
			s.Bounds = append(s.Bounds, bound(1<<31))
		} else {
			s.Bounds = append(s.Bounds, bound(r.Uint32()))
		}
	}
	return s
}

// TestPlanLeaves puts rows like the sampled ones into the leaves: none gets
// very many of them, also when a value is frequent.
func TestPlanLeaves(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, test := range []struct {
		leaves   int
		frequent float64
		most     float64 // times the average that a leaf may get
	}{
		{1, 0, 1}, {2, 0, 2}, {50, 0, 4}, {1000, 0, 4}, {50, 0.9, 4}, {1000, 0.9, 4}, {1000, 0.5, 4}, {50, 1, 4}, {merkle.MaxLeaves, 0.9, 4},
	} {
		n := min(test.leaves*samplesPerLeaf, maxSamples)
		samples := [2]relation.Sample{spread(r, n/2, test.frequent), spread(r, n-n/2, test.frequent)}
		samples[1].Correlated = true
		plan, err := planLeaves(test.leaves, samples)
		if err != nil {
			t.Fatal(err)
		}
		if plan.correlated != [2]bool{false, true} {
			t.Errorf("correlated: %v", plan.correlated)
		}
		if plan.Leaves() > merkle.MaxLeaves || plan.Leaves() > 3*test.leaves || plan.Leaves() < test.leaves/4 {
			t.Errorf("%d leaves, want about %d", plan.Leaves(), test.leaves)
		}
		if want := test.frequent > 0 && test.leaves > 1; plan.Spreads() != want {
			t.Errorf("%d leaves, %v frequent: spreads: %t", test.leaves, test.frequent, plan.Spreads())
		}
		if !slices.IsSortedFunc(plan.bounds, func(a, b relation.Bound) int { return bytes.Compare(a.Prefix, b.Prefix) }) {
			t.Error("the bounds are not sorted")
		}
		if len(plan.bounds)+1 != plan.Ranges() {
			t.Errorf("%d bounds for %d ranges", len(plan.bounds), plan.Ranges())
		}
		rows := make([]int, plan.Leaves())
		cursor := plan.Cursor()
		const perLeaf = 100
		total := min(perLeaf*test.leaves, 1_000_000)
		for range total {
			key := bound(r.Uint32())
			if r.Float64() < test.frequent {
				key = bound(1 << 31)
			}
			rows[cursor.Leaf(merkle.Head(key.Prefix), key.Prefix, r.Uint64())]++
		}
		// The sample has few keys a leaf, so leaves are uneven by chance.
		if most := slices.Max(rows); float64(most) > 3*test.most*float64(total)/float64(test.leaves)+20 {
			t.Errorf("%d leaves, %v frequent: the largest has %d of %d rows", test.leaves, test.frequent, most, total)
		}
	}
}

// TestPlanLeavesWithoutSamples: what cannot be sampled is spread by hash.
func TestPlanLeavesWithoutSamples(t *testing.T) {
	for _, leaves := range []int{1, 2, 3, 1000, merkle.MaxLeaves} {
		plan, err := planLeaves(leaves, [2]relation.Sample{})
		if err != nil {
			t.Fatal(err)
		}
		if plan.Ranges() != 1 || plan.Leaves() < leaves || plan.Leaves() >= 2*leaves && leaves > 1 {
			t.Errorf("%d leaves in %d ranges, want about %d in 1", plan.Leaves(), plan.Ranges(), leaves)
		}
	}
}

// TestDivide compares ranges with their definition: each holds at most so many
// keys, or one value.
func TestDivide(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for range 3000 {
		var keys []relation.Bound
		for range 1 + r.IntN(60) {
			keys = append(keys, bound(uint32(r.IntN(1+r.IntN(30)))))
		}
		slices.SortFunc(keys, func(a, b relation.Bound) int { return bytes.Compare(a.Prefix, b.Prefix) })
		per := 1 + r.IntN(6)
		bounds, splits := divide(keys, per)
		if len(splits) != len(bounds)+1 {
			t.Fatalf("%d bounds, %d ranges", len(bounds), len(splits))
		}
		at := 0
		for i, bits := range splits {
			values := make(map[string]int)
			n := 0
			for ; at < len(keys) && (i == len(bounds) || bytes.Compare(keys[at].Prefix, bounds[i].Prefix) < 0); at++ {
				values[string(keys[at].Prefix)]++
				n++
			}
			switch {
			case n == 0:
				t.Errorf("range %d is empty", i)
			case len(values) > 1 && (n > per || bits > 0):
				t.Errorf("a range of %d keys, %d values, %d bits; want at most %d keys", n, len(values), bits, per)
			case len(values) == 1 && n >= 2*per && (1<<bits < n/per || bits > 0 && 1<<(bits-1) >= n/per):
				t.Errorf("a value with %d keys is split into %d, want about %d", n, 1<<bits, n/per)
			}
		}
		if at != len(keys) {
			t.Errorf("%d of %d keys are in no range", len(keys)-at, len(keys))
		}
	}
}

func TestCeilLog2(t *testing.T) {
	for n := range 1000 {
		want := uint8(0)
		for 1<<want < n {
			want++
		}
		if got := ceilLog2(n); got != want {
			t.Errorf("ceilLog2(%d) = %d, want %d", n, got, want)
		}
	}
}
