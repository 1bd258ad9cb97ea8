package report

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/verifierd/verifierd/internal/report/text"
	"github.com/verifierd/verifierd/pkg/parity"
	"github.com/verifierd/verifierd/pkg/relation"
)

type junitSuites struct {
	XMLName xml.Name `xml:"testsuites"`
	junitTotals
	Name   string       `xml:"name,attr"`
	Suites []junitSuite `xml:"testsuite"`
}

type junitTotals struct {
	Tests    int    `xml:"tests,attr"`
	Failures int    `xml:"failures,attr"`
	Errors   int    `xml:"errors,attr"`
	Skipped  int    `xml:"skipped,attr"`
	Time     string `xml:"time,attr"`
}

type junitSuite struct {
	Name string `xml:"name,attr"`
	junitTotals
	Timestamp  string          `xml:"timestamp,attr,omitempty"`
	Properties []junitProperty `xml:"properties>property"`
	Cases      []junitCase     `xml:"testcase"`
}

type junitProperty struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type junitCase struct {
	Class   string       `xml:"classname,attr"`
	Name    string       `xml:"name,attr"`
	Time    string       `xml:"time,attr"`
	Failure *junitResult `xml:"failure"`
	Error   *junitResult `xml:"error"`
	Out     string       `xml:"system-out,omitempty"`
}

type junitResult struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr"`
	Body    string `xml:",chardata"`
}

// writeJUnit renders a pass as a test suite: a case for the pass itself, so
// that a pass without a table can fail, one for each table, each schema
// difference, and each foreign key. A failure is a divergence, an error is what could not be
// established.
func writeJUnit(w io.Writer, p *parity.Pass, opts Options) error {
	cases := []junitCase{junitPass(p)}
	for i := range p.Tables {
		cases = append(cases, junitTable(&p.Tables[i], policy(opts)))
	}
	for i := range p.Schema {
		cases = append(cases, junitSchema(&p.Schema[i], p.Effects))
	}
	for i := range p.Sequences {
		cases = append(cases, junitSequence(&p.Sequences[i]))
	}
	for i := range p.Corruption {
		cases = append(cases, junitCorruption(&p.Corruption[i]))
	}
	for i := range p.References {
		cases = append(cases, junitReference(&p.References[i], policy(opts)))
	}
	totals := junitTotals{Tests: len(cases), Time: junitTime(p.FinishedAt.Sub(p.StartedAt))}
	for i := range cases {
		if cases[i].Failure != nil {
			totals.Failures++
		}
		if cases[i].Error != nil {
			totals.Errors++
		}
	}
	suite := junitSuite{
		Name:        "verifierd",
		junitTotals: totals,
		Properties:  junitProperties(p, opts),
		Cases:       cases,
	}
	if !p.StartedAt.IsZero() {
		suite.Timestamp = timestamp(p.StartedAt).String()
	}
	return writeXML(w, junitSuites{junitTotals: totals, Name: "verifierd", Suites: []junitSuite{suite}})
}

func writeXML(w io.Writer, v any) error {
	var b bytes.Buffer
	b.WriteString(xml.Header)
	e := xml.NewEncoder(&b)
	e.Indent("", "  ")
	if err := e.Encode(v); err != nil {
		return err
	}
	b.WriteByte('\n')
	// Only bodies have newlines in them, and there they may stand as they are.
	_, err := w.Write(bytes.ReplaceAll(b.Bytes(), []byte("&#xA;"), []byte("\n")))
	return err
}

func junitProperties(p *parity.Pass, opts Options) []junitProperty {
	out := []junitProperty{
		{"verifierd.version", opts.ToolVersion},
		{"verifierd.verdict", p.Verdict.String()},
		{"verifierd.complete", fmt.Sprint(p.Complete)},
		{"verifierd.seed_fingerprint", text.Prose(p.SeedFingerprint)},
	}
	for _, side := range relation.Sides {
		s := p.Server[side]
		out = append(out,
			junitProperty{side.String() + ".version", text.Prose(s.Version)},
			junitProperty{side.String() + ".database", text.Prose(s.Database)},
			junitProperty{side.String() + ".lsn", text.Prose(s.LSN)},
		)
	}
	return out
}

func junitPass(p *parity.Pass) junitCase {
	c := junitCase{Class: "verifierd", Name: "pass", Time: junitTime(p.FinishedAt.Sub(p.StartedAt))}
	c.Failure, c.Error = junitOutcome(p.Verdict, text.Prose(p.Reason), proven(p))
	out := []string{headline(p) + ": " + text.Prose(p.Reason), proven(p)}
	for _, l := range []struct {
		word  string
		texts []string
	}{{"warning", p.Warnings}, {"note", p.Notes}, {"skipped", p.Skipped}, {"not checked", p.NotChecked}} {
		for _, s := range l.texts {
			out = append(out, l.word+": "+text.Prose(s))
		}
	}
	c.Out = strings.Join(out, "\n")
	return c
}

func junitTable(t *parity.Table, values parity.ValuePolicy) junitCase {
	c := junitCase{
		Class: text.Prose(t.Name.Schema),
		Name:  text.Prose(t.Name.Name),
		Time:  junitTime(t.Duration),
	}
	body := strings.Join(append(junitRows(t, values), asides(t)...), "\n")
	c.Failure, c.Error = junitOutcome(t.Verdict, text.Prose(t.Reason), body)
	c.Out = fmt.Sprintf("%s: %s rows on the source, %s on the target",
		tableName(t.Name, t.TargetName), rowsRead(t.Side[relation.Source]), rowsRead(t.Side[relation.Target]))
	if t.Verdict == parity.Match && body != "" {
		c.Out += "\n" + body
	}
	return c
}

// junitOutcome is a failure for what diverged, an error for what was not
// established, and neither for a match.
func junitOutcome(v parity.Verdict, message, body string) (failure, failed *junitResult) {
	r := &junitResult{Message: message, Type: v.String(), Body: body}
	switch v {
	case parity.Match:
		return nil, nil
	case parity.Diverged:
		return r, nil
	}
	return nil, r
}

func junitRows(t *parity.Table, values parity.ValuePolicy) []string {
	var lines []string
	for _, r := range tableRows(t, values) {
		s := r.Kind
		if r.Key != "" {
			s += " " + r.Key
		}
		if r.Columns != "" && len(r.Changed) == 0 {
			s += " in " + r.Columns
		}
		if r.Key == "" {
			s += " × " + text.Count(r.Same)
		}
		if len(r.Values) > 0 {
			s += ": " + strings.Join(r.Values, ", ")
		}
		lines = append(lines, s)
		for _, c := range r.Changed {
			lines = append(lines, "  "+c.Column+": source "+c.Source+", target "+c.Target)
		}
	}
	if s := more(t); s != "" {
		lines = append(lines, s)
	}
	return lines
}

// junitSchema is a case that fails if the difference fails the pass; JUnit has
// no warnings, so any other passes and says what it is.
func junitSchema(d *parity.SchemaDifference, effects parity.Effects) junitCase {
	c := junitCase{
		Class: text.Prose(d.Table.Schema),
		Name:  text.Prose(strings.TrimPrefix(d.Table.Name+": "+d.Object, ": ")),
		Time:  junitTime(0),
	}
	message := fmt.Sprintf("%s %s", text.Prose(d.Object), text.Prose(d.Kind))
	lines := []string{fmt.Sprintf("%s%s %s (%s)", junitTableOf(d), text.Prose(d.Object), text.Prose(d.Kind), d.Severity)}
	for _, l := range []struct{ word, text string }{{"source", d.Source}, {"target", d.Target}, {"hint", d.Hint}} {
		if l.text != "" {
			lines = append(lines, l.word+": "+text.Block(l.text))
		}
	}
	body := strings.Join(lines, "\n")
	if effects.Of(d.Severity) == parity.Fail {
		c.Failure = &junitResult{Message: message, Type: "schema", Body: body}
		return c
	}
	c.Out = body
	return c
}

func junitSequence(s *parity.Sequence) junitCase {
	c := junitCase{Class: text.Prose(s.Name.Schema), Name: text.Prose("sequence " + s.Name.Name), Time: junitTime(0)}
	body := text.Prose(s.Reason)
	if s.Mend != "" {
		body += "\n" + text.Prose(s.Mend)
	}
	if s.Warning {
		c.Out = body
	} else if c.Failure, c.Error = junitOutcome(s.Verdict, text.Prose(s.Reason), body); s.Verdict == parity.Match {
		c.Out = body
	}
	return c
}

func junitCorruption(d *parity.Corruption) junitCase {
	return junitCase{
		Class: text.Prose(d.Table.Schema), Name: text.Prose(d.Table.Name + ": damage to " + d.Object + " of the " + d.Side.String()), Time: junitTime(0),
		Failure: &junitResult{Message: text.Prose(d.Object + " of the " + d.Side.String() + " is damaged"), Type: "corruption", Body: text.Prose(d.Problem)},
	}
}

func junitTableOf(d *parity.SchemaDifference) string {
	if name := schemaTable(d); name != "" {
		return name + ": "
	}
	return ""
}

func junitTime(d time.Duration) string { return fmt.Sprintf("%.3f", max(0, d).Seconds()) }
