package main

import (
	"fmt"
	"regexp"

	"github.com/verifierd/verifierd/pkg/snapshot"
)

// What a case is divided by.
const (
	againstFloor = "floor"
	againstSide  = "floor of one side"
	againstMatch = "matching pass"
	againstJoin  = "anti-join in psql"
)

// testCase is something to measure.
type testCase struct {
	name           string
	section        string
	source, target string // databases
	sql            string // run by psql on both sides; empty: verify
	capture        bool   // a baseline of the source
	args           []string
	workers        int // a side
	reference      string
	slow           bool
	join           string   // its reference; the case is how long verify looks for orphans
	goal           float64  // highest ratio; 0: none
	largest        int64    // bytes of the largest row
	want           counts   // divergent rows
	rows           [2]int64 // a side
}

// The sections of the report.
const (
	mainSection   = "Against the floor"
	faultSection  = "With divergent rows, against the matching pass"
	orphanSection = "Looking for orphans on both sides, against psql doing so"
	workerSection = "By number of workers a side, against the floor"
)

// md5 is what many tools do: the database hashes each row's text, and adds the
// hashes up by ranges of the key.
func md5(table, rangeOf string) string {
	return fmt.Sprintf(`SELECT %s, count(*), sum(('x' || substr(md5(r::text), 18))::bit(60)::bigint) FROM %s r GROUP BY 1`, rangeOf, table)
}

// allCases lists what there is to measure, with n rows in the narrow table.
func allCases(n int64) []testCase {
	gentle := []string{"--read", "gentle"}
	cases := []testCase{
		{name: "verify, narrow", target: "narrow", goal: 1},
		{name: "verify, wide", target: "wide", goal: 1},
		{name: "verify, text key", target: "text"},
		{name: "verify --read gentle, narrow", target: "narrow", args: gentle},
		{name: "verify --read gentle, wide", target: "wide", args: gentle},
		{name: "baseline capture, narrow", target: "narrow", capture: true, goal: 1},
		{name: "baseline capture, wide", target: "wide", capture: true, goal: 1},
		{name: "md5 in the database, narrow", target: "narrow", sql: md5("t", "id / 10000"), slow: true},
		{name: "md5 in the database, wide", target: "wide", sql: md5("w", "id / 10000"), slow: true},
		{name: "verify, 3 rows of 100 MB", target: "big", largest: bigRow, slow: true},

		{name: "3 divergent rows, integer key", target: "narrow_three", goal: 1.1},
		{name: "3 divergent rows, text key", target: "text_three", goal: 1.1},
		{name: "1 % of the rows, integer key", target: "narrow_percent", goal: 2},
		{name: "1 % of the rows, text key", target: "text_percent", goal: 2, slow: true},
		{name: "every row, one column changed", target: "narrow_all", slow: true},
		{name: "target truncated", target: "narrow_truncated", slow: true},
	}
	cases = append(cases, testCase{
		name: "orphans, 1 million parents", section: orphanSection, target: "orphans", goal: 2,
		join: `SELECT count(*) FROM c WHERE p IS NOT NULL AND NOT EXISTS (SELECT FROM p WHERE p.id = c.p)`,
	})
	for w := 1; w <= 4; w++ {
		cases = append(cases, testCase{
			name: fmt.Sprintf("workers %d", w), section: workerSection, target: "narrow",
			workers: w, args: []string{"--workers", fmt.Sprint(w)},
		})
	}
	for i := range cases {
		cases[i].complete(n)
	}
	return cases
}

// complete fills in what follows from the databases.
func (c *testCase) complete(n int64) {
	d := datasetOf(c.target)
	c.source = d.name
	if c.section == "" {
		c.section = mainSection
	}
	c.reference = againstFloor
	switch {
	case c.capture:
		c.reference = againstSide
	case c.join != "":
		c.reference = againstJoin
	}
	if c.workers == 0 {
		c.workers = snapshot.DefaultWorkers()
	}
	for i := range variants {
		if v := &variants[i]; v.name == c.target {
			c.want = v.want(d.rows(n))
			c.section, c.reference = faultSection, againstMatch
		}
	}
	c.rows = [2]int64{d.rows(n), d.rows(n) - c.want.missing + c.want.extra}
}

// budget is how much memory the case may take: a base, buffers for each
// connection that reads, and what a row takes on its way through.
func (c *testCase) budget() int64 {
	return 64<<20 + 2<<20*int64(2*c.workers) + 4*c.largest
}

func chosen(cases []testCase, only *regexp.Regexp) []testCase {
	var list []testCase
	for _, c := range cases {
		if only.MatchString(c.name) {
			list = append(list, c)
		}
	}
	return list
}
