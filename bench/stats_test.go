package main

import (
	"slices"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{3}, 3},
		{[]float64{4, 1}, 2.5},
		{[]float64{9, 1, 2}, 2},
		{[]float64{4, 3, 1, 100}, 3.5},
	} {
		before := slices.Clone(c.values)
		if got := median(c.values); got != c.want {
			t.Errorf("median(%v) = %v, want %v", c.values, got, c.want)
		}
		if !slices.Equal(c.values, before) {
			t.Errorf("median reordered %v", before)
		}
	}
}

// samples of so many seconds.
func samplesOf(seconds ...float64) []sample {
	var list []sample
	for _, s := range seconds {
		list = append(list, sample{wall: time.Duration(s * float64(time.Second))})
	}
	return list
}

func TestRatiosPairSamples(t *testing.T) {
	// The machine was half as fast during the second pair.
	r := result{samples: samplesOf(2, 4, 3), references: samplesOf(1, 2, 2)}
	if got, want := r.ratios(), []float64{2, 2, 1.5}; !slices.Equal(got, want) {
		t.Errorf("ratios = %v, want %v", got, want)
	}
	if got, want := r.ratioOfBest(), 2.0; got != want {
		t.Errorf("ratio of the best = %v, want %v", got, want)
	}
}

func TestPeakIsTheHighest(t *testing.T) {
	r := result{samples: []sample{{peak: 5}, {peak: 9}, {peak: 7}}}
	if got := r.peak(); got != 9 {
		t.Errorf("peak = %d, want 9", got)
	}
}
