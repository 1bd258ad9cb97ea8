package main

import (
	"slices"
	"time"
)

// median of values, which must not be empty.
func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	n := len(s)
	if n%2 == 1 {
		return s[n/2]
	}
	return (s[n/2-1] + s[n/2]) / 2
}

// ratios divides each sample by the reference taken just before it: what else
// the machine did then, it did to both.
func (r *result) ratios() []float64 {
	list := make([]float64, len(r.samples))
	for i := range list {
		list[i] = r.samples[i].wall.Seconds() / r.references[i].wall.Seconds()
	}
	return list
}

// ratioOfBest divides the shortest by the shortest: what other programs take
// away, they take least from these.
func (r *result) ratioOfBest() float64 {
	return slices.Min(seconds(r.samples, wall)) / slices.Min(seconds(r.references, wall))
}

// ratioOfWork divides CPU time by CPU time, clients and servers together, 0 if
// not measured. Other programs hardly change it.
func (r *result) ratioOfWork() float64 {
	theirs := median(seconds(r.references, work))
	if theirs == 0 {
		return 0
	}
	return median(seconds(r.samples, work)) / theirs
}

func wall(s *sample) time.Duration { return s.wall }
func cpu(s *sample) time.Duration  { return s.cpu }
func work(s *sample) time.Duration { return s.work }

func seconds(samples []sample, of func(*sample) time.Duration) []float64 {
	list := make([]float64, len(samples))
	for i := range samples {
		list[i] = of(&samples[i]).Seconds()
	}
	return list
}

// peak is the highest peak of all runs.
func (r *result) peak() int64 {
	var highest int64
	for i := range r.samples {
		highest = max(highest, r.samples[i].peak)
	}
	return highest
}
