package conformance

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/verifierd/verifierd/internal/pglocal/pgtest"
)

// EnvPair names the environment variable with a pair of major versions to try
// beside those of every test run: "14,17"; "random", which says what it chose;
// or "all" pairs of the versions that are tested with.
const EnvPair = "VERIFIERD_CONFORMANCE_PAIR"

const all = "all"

const oldest, newest = 12, 18

// run compares every type on a pair of servers: equal values are a match, and
// each changed value is named. It returns the cases that were tried.
func run(t *testing.T, source, target int, places placePair) []typeCase {
	t.Helper()
	s := load(t, [2]*database{newDatabase(t, source, places.source), newDatabase(t, target, places.target)})
	s.checkCatalog(t)
	s.checkEqual(t, s.verify(t))
	s.checkForms(t, places)
	s.mutate(t)
	s.checkMutated(t, s.verify(t))
	return s.cases
}

// TestTypes is what every test run shows: an old and a new version, in all
// encodings and collations.
func TestTypes(t *testing.T) {
	majors := pgtest.Majors()
	for _, places := range placePairs {
		t.Run(places.name, func(t *testing.T) { run(t, majors[0], majors[len(majors)-1], places) })
	}
}

// TestPair tries one more pair of versions, in all encodings and collations.
func TestPair(t *testing.T) {
	choice := os.Getenv(EnvPair)
	if choice == "" || choice == all {
		t.Skip("no pair is asked for: see make test-pair")
	}
	var pair [2]int
	if choice == "random" {
		n := newest - oldest + 1
		pair = [2]int{oldest + rand.IntN(n), oldest + rand.IntN(n)}
	} else {
		source, target, _ := strings.Cut(choice, ",")
		var err error
		for i, s := range []string{source, target} {
			if pair[i], err = strconv.Atoi(s); err != nil {
				t.Fatalf("%s=%s: want two major versions, as in 14,17", EnvPair, choice)
			}
		}
	}
	fmt.Printf("%s=%d,%d repeats this run\n", EnvPair, pair[0], pair[1])
	for _, places := range placePairs {
		t.Run(places.name, func(t *testing.T) { run(t, pair[0], pair[1], places) })
	}
}

// TestMatrix tries all pairs of the versions, in both directions; encodings and
// collations take turns. It prints a table of the answers.
func TestMatrix(t *testing.T) {
	if os.Getenv(EnvPair) != all {
		t.Skip("the matrix was not asked for: see make test-matrix")
	}
	majors := pgtest.Majors()
	answers := make(map[string]map[int]string) // type, source, a letter a target
	for i, source := range majors {
		for j, target := range majors {
			places := placePairs[(i+2*j)%len(placePairs)]
			var tried []typeCase
			ok := t.Run(fmt.Sprintf("%d to %d, %s", source, target, places.name), func(t *testing.T) { tried = run(t, source, target, places) })
			for _, c := range cases() {
				letter := "="
				switch {
				case !slices.ContainsFunc(tried, func(other typeCase) bool { return other.sql == c.sql }):
					letter = "-"
				case !ok:
					letter = "X"
				case c.how == notCompared:
					letter = "i"
				}
				if answers[c.sql] == nil {
					answers[c.sql] = make(map[int]string)
				}
				answers[c.sql][source] += letter
			}
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Types by source version; in each column a letter for each target version %v:\n", majors)
	b.WriteString("= equal values match and each change is named; i incomplete, as documented; - not on both; X a test of the pair failed\n")
	fmt.Fprintf(&b, "%-36s", "type")
	for _, source := range majors {
		fmt.Fprintf(&b, " %-*d", len(majors), source)
	}
	for _, c := range cases() {
		fmt.Fprintf(&b, "\n%-36s", c.sql)
		for _, source := range majors {
			b.WriteString(" " + answers[c.sql][source])
		}
	}
	fmt.Println(b.String())
}
