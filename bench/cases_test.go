package main

import (
	"fmt"
	"regexp"
	"slices"
	"testing"
	"time"
)

func TestCasesAreWhole(t *testing.T) {
	names := make(map[string]bool)
	for _, c := range allCases(1000) {
		if names[c.name] {
			t.Errorf("two cases are called %q", c.name)
		}
		names[c.name] = true
		isVariant := slices.ContainsFunc(variants, func(v variant) bool { return v.name == c.target })
		if isVariant == (c.want == counts{}) {
			t.Errorf("%s: planted %+v in database %s", c.name, c.want, c.target)
		}
		if isVariant != (c.reference == againstMatch) {
			t.Errorf("%s is measured against the %s", c.name, c.reference)
		}
	}
	for _, v := range variants {
		if datasetOf(v.name).name != v.dataset {
			t.Errorf("%s is not a variant of %s", v.name, v.dataset)
		}
	}
}

func TestChosen(t *testing.T) {
	got := chosen(allCases(1000), regexp.MustCompile(`^workers [12]$`))
	if len(got) != 2 || got[0].name != "workers 1" || got[1].name != "workers 2" {
		t.Errorf("chose %v", got)
	}
}

// report is the JSON of a pass over one table.
func report(verdict string, complete bool, missing, healed int, explained bool, rows [2]int, named string) []byte {
	return fmt.Appendf(nil, `{"verdict":%q,"complete":%t,"tables":[{"source":{"rows":%d},"target":{"rows":%d},
		"divergences":{"missing":%d,"extra":0,"mismatched":0,"healed":%d,"volatile":0,"explained":%t},"rows":[%s]}]}`,
		verdict, complete, rows[0], rows[1], missing, healed, explained, named)
}

func TestCheck(t *testing.T) {
	match := &testCase{rows: [2]int64{10, 10}}
	missing := &testCase{want: counts{missing: 1}, rows: [2]int64{10, 9}}
	even, short := [2]int{10, 10}, [2]int{10, 9}
	for _, c := range []struct {
		name   string
		test   *testCase
		code   int
		report []byte
		ok     bool
	}{
		{"match", match, 0, report("match", true, 0, 0, true, even, ""), true},
		{"diverged", missing, 1, report("diverged", true, 1, 0, true, short, "{}"), true},
		{"match but diverged", missing, 0, report("match", true, 0, 0, true, even, ""), false},
		{"diverged but match", match, 1, report("diverged", true, 1, 0, true, short, "{}"), false},
		{"other exit code", match, 2, report("match", true, 0, 0, true, even, ""), false},
		{"incomplete", missing, 1, report("diverged", false, 1, 0, true, short, "{}"), false},
		{"wrong count", missing, 1, report("diverged", true, 2, 0, true, short, "{}"), false},
		{"wrong rows", match, 0, report("match", true, 0, 0, true, short, ""), false},
		{"healed", match, 0, report("match", true, 0, 1, true, even, ""), false},
		{"unexplained", missing, 1, report("diverged", true, 1, 0, false, short, "{}"), false},
		{"no row named", missing, 1, report("diverged", true, 1, 0, true, short, ""), false},
		{"no table", match, 0, []byte(`{"verdict":"match","complete":true,"tables":[]}`), false},
		{"no report", match, 2, nil, false},
	} {
		if err := c.test.check(c.code, c.report); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestFirstNumber(t *testing.T) {
	const status = "VmPeak:\t 10 kB\nVmHWM:\t  4321 kB\n"
	for label, want := range map[string]int64{"VmHWM:": 4321, "VmPeak:": 10, "VmRSS:": 0} {
		if got := firstNumber(status, label); got != want {
			t.Errorf("%s %d, want %d", label, got, want)
		}
	}
}

func TestChildTime(t *testing.T) {
	const stat = "7 (a ) b) S 1 7 7 0 -1 4194560 1 2 3 4 10 20 150 250 20 0 1 0 5"
	if got, want := childTime(stat), 4*time.Second; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := childTime("nonsense"); got != 0 {
		t.Errorf("%s of nonsense", got)
	}
}
