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
