package main

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestMarkdown(t *testing.T) {
	got := markdown([][]string{{"case", "ratio"}, {"a", "**0.95**"}, {"naïve", "×"}})
	want := strings.Join([]string{
		"| case  | ratio    |",
		"| ----- | -------- |",
		"| a     | **0.95** |",
		"| naïve | ×        |",
		"",
	}, "\n")
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestRow(t *testing.T) {
	c := &testCase{name: "verify", goal: 1, workers: 3}
	r := result{testCase: c, samples: samplesOf(1.5, 2), references: samplesOf(2, 2)}
	r.samples[1].peak = 20 << 20
	for i := range r.samples {
		r.samples[i].work, r.references[i].work = 3*time.Second, 2*time.Second
	}
	want := []string{"verify", "**0.88**", "0.75", "0.75–1.00", "1.50", "≤ 1.00: reached", "1.75 s", "2.00 s", "0.00 s", "20 MB", "76 MB: reached"}
	if got := row(&r); strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("row = %q, want %q", got, want)
	}
	c.goal, r.samples[1].peak = 0.8, 77<<20
	if got := row(&r); got[5] != "≤ 0.80: NOT reached" || got[10] != "76 MB: NOT reached" {
		t.Errorf("row = %q: goal and budget are not reached", got)
	}
	r.err = errors.New("no server")
	if got := row(&r); got[1] != "not measured" || len(got) != len(want) {
		t.Errorf("row = %q: nothing was measured", got)
	}
}
