// Package report renders the outcome of a pass, and the plan of one, for
// people (table, html) and for programs (json, ndjson, junit).
//
// What of the rows may be shown is decided in one place, where the neutral
// form that all formats render is made (document.go): a format cannot show
// what the policy withholds.
package report

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/verifierd/verifierd/pkg/parity"
)

// Format is the form of a report.
type Format string

// The formats.
const (
	Table  Format = "table"
	JSON   Format = "json"
	NDJSON Format = "ndjson"
	JUnit  Format = "junit"
	HTML   Format = "html"
)

// Formats lists the formats' names, the default first.
func Formats() []string {
	return []string{string(Table), string(JSON), string(NDJSON), string(JUnit), string(HTML)}
}

// ParseFormat returns the format of that name.
func ParseFormat(s string) (Format, error) {
	if slices.Contains(Formats(), s) {
		return Format(s), nil
	}
	return "", fmt.Errorf("output format %q: want one of %s", s, strings.Join(Formats(), ", "))
}

// Options say how a report is rendered.
type Options struct {
	Colour bool // whether the table format may use a terminal's colours
	Width  int  // of the terminal, in cells; 0: do not wrap
	// Values says what of the rows may be shown. Empty means keys; anything
	// unknown is treated as none.
	Values      parity.ValuePolicy
	ToolVersion string
}

// Write renders a pass.
func Write(w io.Writer, f Format, pass *parity.Pass, opts Options) error {
	if pass == nil {
		return errNoPass
	}
	switch f {
	case Table:
		return writeTable(w, pass, opts)
	case JSON:
		return writeJSON(w, newDocument(pass, opts))
	case NDJSON:
		return writeEvents(w, pass, opts)
	case JUnit:
		return writeJUnit(w, pass, opts)
	case HTML:
		return writeHTML(w, pass, opts)
	}
	_, err := ParseFormat(string(f))
	return err
}

// WritePlan renders a plan, as table or json.
func WritePlan(w io.Writer, f Format, plan *parity.Plan, opts Options) error {
	switch f {
	case Table:
		return writePlanTable(w, plan, opts)
	case JSON:
		return writeJSON(w, newPlanDocument(plan, opts))
	case NDJSON, JUnit, HTML:
		return fmt.Errorf("a plan has no %s form: want %s or %s", f, Table, JSON)
	}
	_, err := ParseFormat(string(f))
	return err
}

// ExitCode returns the code with which a command ends that established v:
// 0 for a match, 1 for diverged, 2 for anything else.
func ExitCode(v parity.Verdict) int {
	switch v {
	case parity.Match:
		return 0
	case parity.Diverged:
		return 1
	}
	return 2
}

var errNoPass = errors.New("no pass to report")
