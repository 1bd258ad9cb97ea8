package parity

import (
	"bytes"
	"math/bits"
	"slices"

	"github.com/verifierd/verifierd/pkg/merkle"
	"github.com/verifierd/verifierd/pkg/relation"
)

const (
	// samplesPerLeaf is how many sampled keys lie between two boundaries, so
	// that leaves come out about even.
	samplesPerLeaf = 4
	maxSamples     = 1 << 16
)

// leafPlan says which leaf each row belongs to.
type leafPlan struct {
	*merkle.Layout
	bounds []relation.Bound // between the layout's ranges
	// correlated says, for each side, that rows lie about in the key's order.
	correlated [2]bool
}

// planLeaves lays out about so many leaves from samples of both sides.
// Boundaries come from both, in proportion to their rows, and hold for both.
func planLeaves(leaves int, samples [2]relation.Sample) (*leafPlan, error) {
	plan := &leafPlan{correlated: [2]bool{samples[0].Correlated, samples[1].Correlated}}
	keys := slices.Concat(samples[0].Bounds, samples[1].Bounds)
	slices.SortFunc(keys, func(a, b relation.Bound) int { return bytes.Compare(a.Prefix, b.Prefix) })
	var err error
	if len(keys) < leaves/4 || len(keys) == 0 { // too few to bound anything: spread by hash alone
		plan.Layout, err = merkle.NewLayout(nil, []uint8{ceilLog2(leaves)})
		return plan, err
	}
	leaves = min(leaves, len(keys))
	var splits []uint8
	// A range that is one frequent value is split by hash into leaves of its
	// own; this may add up to more leaves than a table may have, so the aim is
	// lowered until it does not.
	for {
		plan.bounds, splits = divide(keys, max(1, len(keys)/leaves))
		total := 0
		for _, b := range splits {
			total += 1 << b
		}
		if total <= merkle.MaxLeaves {
			break
		}
		leaves /= 2
	}
	prefixes := make([][]byte, len(plan.bounds))
	for i := range plan.bounds {
		prefixes[i] = plan.bounds[i].Prefix
	}
	plan.Layout, err = merkle.NewLayout(prefixes, splits)
	return plan, err
}

// divide cuts sorted keys into ranges of about per keys. A key that alone
// makes up two such ranges or more gets a range of its own, to be split by hash.
func divide(keys []relation.Bound, per int) (bounds []relation.Bound, splits []uint8) {
	inRange, pending := 0, uint8(0)
	cut := func(at relation.Bound) {
		bounds = append(bounds, at)
		splits = append(splits, pending)
		inRange, pending = 0, 0
	}
	for i := 0; i < len(keys); {
		n := 1
		for i+n < len(keys) && bytes.Equal(keys[i+n].Prefix, keys[i].Prefix) {
			n++
		}
		heavy := n >= 2*per
		if i > 0 && (heavy || pending > 0 || inRange+n > per) {
			cut(keys[i])
		}
		if heavy {
			pending = ceilLog2(n / per)
		}
		inRange += n
		i += n
	}
	return bounds, append(splits, pending)
}

func ceilLog2(n int) uint8 {
	if n <= 1 {
		return 0
	}
	return uint8(bits.Len(uint(n - 1)))
}
