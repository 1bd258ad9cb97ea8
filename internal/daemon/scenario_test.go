package daemon

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/verifierd/verifierd/internal/pglocal/pgtest"
	"github.com/verifierd/verifierd/pkg/parity"
	"github.com/verifierd/verifierd/pkg/relation"
)

var update = flag.Bool("update", false, "write what was found to the scenarios as what is wanted")

// A scenario is a file of sections, each begun by a line with its name:
//
//	@servers 13 18   major versions of source and target; default: pgtest.Pair
//	@collated        the target's database has another collation than C
//	@both            SQL for both sides
//	@source, @target SQL for one side
//	@verify          flags, one a line, as on the command line
//	@want            the transcript of the @verify before it
//
// What stands before the first section says what the scenario is about.
type section struct {
	name, args, text string
}

func parseScenario(content string) (title string, sections []section) {
	at := &title
	for line := range strings.Lines(content) {
		if rest, ok := strings.CutPrefix(line, "@"); ok {
			name, args, _ := strings.Cut(strings.TrimSpace(rest), " ")
			sections = append(sections, section{name: name, args: args})
			at = &sections[len(sections)-1].text
			continue
		}
		*at += line
	}
	return title, sections
}

// TestShapeScenarios runs the scenarios in testdata/scenarios. Each @verify is
// done in several ways, which must all find the same.
func TestShapeScenarios(t *testing.T) {
	files, err := filepath.Glob("../../testdata/scenarios/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			runScenario(t, file)
		})
	}
}

// ways of reading that lead to one outcome.
var ways = []struct {
	name  string
	apply func(*Options)
}{
	{"by default", func(*Options) {}},
	{"in small pieces, at a snapshot a table", func(o *Options) { o.tuning, o.PerTable, o.Workers = small, true, 3 }},
}

func runScenario(t *testing.T, file string) {
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	title, sections := parseScenario(string(content))
	dsn := scenarioDatabases(t, sections)
	var verified *parity.Pass
	wants := 0
	for i := range sections {
		s := &sections[i]
		switch s.name {
		case "servers", "collated":
		case "both":
			execBoth(t, dsn, s.text)
		case "source":
			pgtest.Exec(t, dsn[relation.Source], s.text)
		case "target":
			pgtest.Exec(t, dsn[relation.Target], s.text)
		case "verify":
			verified = verifyAllWays(t, scenarioOptions(t, dsn, s.text))
		case "want":
			if verified == nil {
				t.Fatalf("%s: a @want without a @verify", file)
			}
			wants++
			if *update {
				s.text = sortedTranscript(verified) + "\n"
				continue
			}
			expect(t, verified, s.text)
			verified = nil
		default:
			t.Fatalf("%s: unknown section @%s", file, s.name)
		}
	}
	if wants == 0 {
		t.Errorf("%s wants nothing", file)
	}
	if *update {
		writeScenario(t, file, title, sections)
	}
}

func writeScenario(t *testing.T, file, title string, sections []section) {
	var b strings.Builder
	b.WriteString(title)
	for _, s := range sections {
		b.WriteString(strings.TrimSpace("@"+s.name+" "+s.args) + "\n" + s.text)
	}
	if err := os.WriteFile(file, []byte(strings.TrimSpace(b.String())+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

func scenarioDatabases(t *testing.T, sections []section) [2]string {
	majors := pgtest.Majors()
	majors = []int{majors[0], majors[len(majors)-1]}
	collated := false
	for _, s := range sections {
		switch s.name {
		case "servers":
			for side, field := range strings.Fields(s.args) {
				n, err := strconv.Atoi(field)
				if err != nil {
					t.Fatal(err)
				}
				majors[side] = n
			}
		case "collated":
			collated = true
		}
	}
	var dsn [2]string
	for side, major := range majors {
		var opts []string
		if collated && side == 1 {
			opts = append(opts, collatedDatabase(t, major))
		}
		dsn[side] = pgtest.Database(t, pgtest.Server(t, major), opts...)
	}
	return dsn
}

func scenarioOptions(t *testing.T, dsn [2]string, flags string) Options {
	o := options(t, dsn)
	for line := range strings.Lines(flags) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch name {
		case "":
		case "--table":
			o.Tables = append(o.Tables, pattern(t, value))
		case "--exclude":
			o.Exclude = append(o.Exclude, pattern(t, value))
		case "--map":
			from, to, _ := strings.Cut(value, "=")
			if o.Map == nil {
				o.Map = make(map[relation.Name]relation.Name)
			}
			o.Map[parseName(t, from)] = parseName(t, to)
		case "--values":
			o.Values = parity.ValuePolicy(value)
		case "--max-divergences":
			n, err := strconv.Atoi(value)
			if err != nil {
				t.Fatal(err)
			}
			o.MaxDivergences = n
		case "--ignore-large-objects":
			o.IgnoreLargeObjects = true
		default:
			t.Fatalf("unknown flag %s", name)
		}
	}
	return o
}

func parseName(t *testing.T, s string) relation.Name {
	t.Helper()
	n, err := relation.ParseName(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// verifyAllWays verifies in all ways and expects one outcome, also from a plan:
// what a plan calls a problem is what makes the pass incomplete.
func verifyAllWays(t *testing.T, o Options) *parity.Pass {
	t.Helper()
	var first *parity.Pass
	for _, way := range ways {
		o := o
		way.apply(&o)
		p := check(t, o)
		p.Notes = slices.DeleteFunc(p.Notes, func(note string) bool {
			return o.PerTable && strings.HasPrefix(note, "each table was read at a snapshot of its own")
		})
		if first == nil {
			first = p
			continue
		}
		// Which rows are named when not all are is left open.
		if got, want := sortedTranscript(p), sortedTranscript(first); got != want && !anyTruncated(p) {
			t.Errorf("%s: got\n%s\nbut by default\n%s", way.name, got, want)
		}
	}
	checkPlan(t, o, first)
	return first
}

func anyTruncated(p *parity.Pass) bool {
	for i := range p.Tables {
		if p.Tables[i].Divergences.Truncated {
			return true
		}
	}
	return false
}

func checkPlan(t *testing.T, o Options, p *parity.Pass) {
	t.Helper()
	plan, err := Plan(context.Background(), o)
	if err != nil {
		if p.Verdict != parity.Incomplete || len(p.Tables) > 0 || !strings.Contains(p.Reason, err.Error()) {
			t.Errorf("plan: %v, but the pass said %s: %s", err, p.Verdict, p.Reason)
		}
		return
	}
	problems := len(plan.Problems)
	for _, table := range plan.Tables {
		problems += len(table.Problems)
	}
	if (problems == 0) != p.Complete {
		t.Errorf("plan sees %d problems, the pass was complete: %t\nplan: %s", problems, p.Complete, fmt.Sprintf("%+v", plan.Tables))
	}
}
