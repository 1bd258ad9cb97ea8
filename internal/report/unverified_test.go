package report

import (
	"bytes"
	"strings"
	"testing"

	"github.com/verifierd/verifierd/pkg/parity"
)

// TestUnverified: what a policy leaves out stands in every format, of a table
// that matches, too, and in the plan.
func TestUnverified(t *testing.T) {
	const left = `only rows of the source where state = 'live' are compared`
	table := matchedTable(name("public", "t"), 3, 0)
	table.Unverified = []string{left}
	pass := &parity.Pass{
		Verdict: parity.Match, Complete: true, Reason: "equal", StartedAt: started, FinishedAt: started,
		Server: servers(), Tables: []parity.Table{table},
	}
	plan := &parity.Plan{Server: servers(), Tables: []parity.PlannedTable{{Name: table.Name, TargetName: table.Name, Unverified: table.Unverified}}}
	plain := strings.NewReplacer("&#39;", "'", `\u0027`, "'", "&#x27;", "'")
	for _, f := range Formats() {
		var b bytes.Buffer
		if err := Write(&b, Format(f), pass, Options{}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(plain.Replace(b.String()), left) {
			t.Errorf("%s does not say what was left out:\n%s", f, b.String())
		}
	}
	for _, f := range []Format{Table, JSON} {
		var b bytes.Buffer
		if err := WritePlan(&b, f, plan, Options{}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(plain.Replace(b.String()), left) {
			t.Errorf("a plan as %s does not say what is left out:\n%s", f, b.String())
		}
	}
}

// TestFilteredOut: a condition that no row fulfils is told from an empty table.
func TestFilteredOut(t *testing.T) {
	table := matchedTable(name("public", "t"), 0, 0)
	for filtered, want := range map[bool][2]string{
		false: {"match (empty)", "Every table is empty on both sides: there was no row to compare."},
		true:  {"match (no row)", "There was no row to compare. No row fulfils the condition of 1 table."},
	} {
		table.Filtered = filtered
		p := &parity.Pass{Verdict: parity.Match, Complete: true, Tables: []parity.Table{table}}
		if got := [2]string{tableVerdict(&table), proven(p)}; got != want {
			t.Errorf("filtered: %t: %q, want %q", filtered, got, want)
		}
	}
}
