package report

import (
	"strings"

	"github.com/verifierd/verifierd/internal/report/text"
	"github.com/verifierd/verifierd/pkg/parity"
	"github.com/verifierd/verifierd/pkg/relation"
)

// documentOrphans are the orphans of one side under one foreign key.
type documentOrphans struct {
	Side       string   `json:"side"`
	Table      string   `json:"table"` // that side's name
	Constraint string   `json:"constraint"`
	Columns    []string `json:"columns"`
	References string   `json:"references"`
	Rows       int64    `json:"rows"`
	New        int64    `json:"new"`    // the source does not have them
	Shared     int64    `json:"shared"` // both sides have them
	Sample     []object `json:"sample"` // the columns that refer
	Keys       []object `json:"keys"`   // of the rows in sample
}

// documentReference is a foreign key that was checked.
type documentReference struct {
	Constraint string           `json:"constraint"`
	Declared   bool             `json:"declared"` // by the configuration rather than a schema
	Verdict    parity.Verdict   `json:"verdict"`
	Complete   bool             `json:"complete"`
	Reason     string           `json:"reason"`
	New        int64            `json:"new"`
	Shared     int64            `json:"shared"`
	Healed     int64            `json:"healed"`
	Volatile   int64            `json:"volatile"`
	Source     documentReferrer `json:"source"`
	Target     documentReferrer `json:"target"`
	Duration   float64          `json:"duration_seconds"`
}

// documentReferrer is a foreign key as one side has it.
type documentReferrer struct {
	Table      string   `json:"table"`
	Columns    []string `json:"columns"`
	References string   `json:"references"`
	Referenced []string `json:"referenced"`
	Declares   bool     `json:"declares"`  // whether the side has it
	Validated  bool     `json:"validated"` // what its catalog claims
	Enforced   bool     `json:"enforced"`
	Checked    string   `json:"checked"` // the way; empty: it was not asked
	Orphans    int64    `json:"orphans"` // at the snapshot
}

func newReference(r *parity.ReferenceCheck) documentReference {
	side := func(s relation.Side) documentReferrer {
		k := &r.ForeignKey[s]
		return documentReferrer{
			k.Table.String(), list(k.Columns), k.References.String(), list(k.Referenced), r.Declares[s] && !k.Declared,
			k.Validated, k.Enforced, string(r.Way[s]), r.Orphans[s],
		}
	}
	return documentReference{
		Constraint: r.Name(), Declared: r.ForeignKey[relation.Source].Declared, Verdict: r.Verdict,
		Complete: r.Complete, Reason: r.Reason, New: r.New, Shared: r.Shared, Healed: r.Healed, Volatile: r.Volatile,
		Source: side(relation.Source), Target: side(relation.Target), Duration: seconds(r.Duration),
	}
}

func newReferences(p *parity.Pass) []documentReference {
	out := make([]documentReference, len(p.References))
	for i := range p.References {
		out[i] = newReference(&p.References[i])
	}
	return out
}

// newOrphans lists the orphans of both sides with no more of the rows than the
// policy lets through.
func newOrphans(p *parity.Pass, values parity.ValuePolicy) []documentOrphans {
	out := []documentOrphans{}
	for i := range p.References {
		r := &p.References[i]
		for _, side := range []relation.Side{relation.Target, relation.Source} {
			if o := orphansOf(r, side, values); o.Rows > 0 {
				out = append(out, o)
			}
		}
	}
	return out
}

func orphansOf(r *parity.ReferenceCheck, side relation.Side, values parity.ValuePolicy) documentOrphans {
	k := &r.ForeignKey[side]
	o := documentOrphans{
		Side: side.String(), Table: k.Table.String(), Constraint: r.Name(), Columns: list(k.Columns), References: k.References.String(),
		Rows: r.Orphans[side], Shared: r.Shared, Sample: []object{}, Keys: []object{},
	}
	if side == relation.Target {
		o.Rows, o.New = r.Confirmed(), r.New
	}
	if values == parity.ValuesNone {
		return o
	}
	for _, s := range r.Sample[side] {
		o.Sample, o.Keys = append(o.Sample, object(s.Refers)), append(o.Keys, object(s.Key))
	}
	return o
}

// orphanLine is a row that refers to no row, as people read it.
func orphanLine(o *documentOrphans, i int) string {
	s := strings.Join(pairs(o.Sample[i], 0), ", ")
	if len(o.Keys[i]) > 0 {
		s += " (of " + strings.Join(pairs(o.Keys[i], 0), ", ") + ")"
	}
	return s
}

// peopleOrphans is how many orphans of a side people are shown.
const peopleOrphans = 10

// orphanLines are the orphans of a reference's sides for people.
func orphanLines(r *parity.ReferenceCheck, values parity.ValuePolicy) []string {
	var lines []string
	for _, side := range []relation.Side{relation.Target, relation.Source} {
		o := orphansOf(r, side, values)
		if side == relation.Source && r.Confirmed() > 0 && r.New == 0 {
			continue // they are the target's
		}
		for i := range min(len(o.Sample), peopleOrphans) {
			lines = append(lines, "orphan on the "+side.String()+": "+orphanLine(&o, i))
		}
		of := o.Rows
		if side == relation.Target && r.New > 0 {
			of = r.New
		}
		if left := of - int64(min(len(o.Sample), peopleOrphans)); left > 0 && len(o.Sample) > 0 {
			lines = append(lines, "… and "+text.Count(left)+" more on the "+side.String())
		}
	}
	return lines
}

// referenceName names a foreign key for people.
func referenceName(r *parity.ReferenceCheck) string {
	return referrer(&r.ForeignKey[relation.Source])
}

func referrer(k *relation.ForeignKey) string {
	columns := func(names []string) string {
		quoted := make([]string, len(names))
		for i, n := range names {
			quoted[i] = text.Ident(n)
		}
		return "(" + strings.Join(quoted, ", ") + ")"
	}
	return text.Name(k.Table) + " " + columns(k.Columns) + " → " + text.Name(k.References) + " " + columns(k.Referenced)
}

// ways says how a foreign key was checked.
func ways(r *parity.ReferenceCheck) string {
	words := map[parity.Way]string{
		parity.NotAsked: "not asked", parity.AntiJoin: "all rows", parity.ByDigest: "equal to the source", parity.Candidates: "rows that differ",
	}
	s, t := words[r.Way[relation.Source]], words[r.Way[relation.Target]]
	if s == t {
		return s
	}
	return s + " | " + t
}

// references writes the foreign keys: those without orphans as one line, since
// a schema has hundreds.
func (t *terminal) references(p *parity.Pass, values parity.ValuePolicy) {
	if len(p.References) == 0 {
		return
	}
	t.heading("Foreign keys")
	clean := 0
	byWay := make(map[string]int)
	var order []string
	for i := range p.References {
		r := &p.References[i]
		if r.Complete && r.Orphans == [2]int64{} && r.Way[0] != parity.NotAsked && r.Way[1] != parity.NotAsked {
			clean++
			if byWay[ways(r)]++; byWay[ways(r)] == 1 {
				order = append(order, ways(r))
			}
			continue
		}
		colour := plain
		switch {
		case r.Verdict == parity.Diverged:
			colour = t.colour.Red
		case !r.Complete:
			colour = t.colour.Yellow
		}
		t.paragraph("  ", referenceName(r)+", "+text.Prose(r.Name()))
		t.paragraph("    ", colour(text.Prose(r.Reason)))
		for _, l := range orphanLines(r, values) {
			t.paragraph("    ", l)
		}
	}
	if clean > 0 {
		var how []string
		for _, w := range order {
			how = append(how, w+" ("+text.Count(int64(byWay[w]))+")")
		}
		t.paragraph("  ", text.Plural(int64(clean), "foreign key", "foreign keys")+" without orphans; checked: "+strings.Join(how, ", "))
	}
}

// junitReference is a case that fails for orphans that only the target has.
func junitReference(r *parity.ReferenceCheck, values parity.ValuePolicy) junitCase {
	c := junitCase{
		Class: text.Prose(r.ForeignKey[relation.Source].Table.Schema),
		Name:  text.Prose(r.ForeignKey[relation.Source].Table.Name + ": foreign key " + r.Name()),
		Time:  junitTime(r.Duration),
	}
	body := strings.Join(append([]string{referenceName(r), "checked: " + ways(r)}, orphanLines(r, values)...), "\n")
	c.Failure, c.Error = junitOutcome(r.Verdict, text.Prose(r.Reason), body)
	if c.Failure == nil && c.Error == nil {
		c.Out = text.Prose(r.Reason) + "\n" + body
	}
	return c
}

// pageReference is a foreign key on the page.
type pageReference struct {
	Name, Constraint, Checked, Reason, Verdict, Class string
	SourceOrphans, TargetOrphans                      string
	Lines                                             []string
}

func newPageReferences(p *parity.Pass, values parity.ValuePolicy) []pageReference {
	var out []pageReference
	for i := range p.References {
		r := &p.References[i]
		out = append(out, pageReference{
			Name: referenceName(r), Constraint: text.Prose(r.Name()), Checked: ways(r), Reason: text.Prose(r.Reason),
			Verdict: r.Verdict.String(), Class: r.Verdict.String(),
			SourceOrphans: text.Count(r.Orphans[relation.Source]), TargetOrphans: text.Count(r.Orphans[relation.Target]),
			Lines: orphanLines(r, values),
		})
	}
	return out
}

// planReference is a foreign key that a pass would check.
type planReference struct {
	Constraint string   `json:"constraint"`
	Declared   bool     `json:"declared"`
	Table      string   `json:"table"`
	Columns    []string `json:"columns"`
	References string   `json:"references"`
	Referenced []string `json:"referenced"`
	Problems   []string `json:"problems"`
}

func newPlanReferences(p *parity.Plan) []planReference {
	out := make([]planReference, len(p.References))
	for i := range p.References {
		r := &p.References[i]
		k := &r.ForeignKey
		out[i] = planReference{r.Name, k.Declared, k.Table.String(), list(k.Columns), k.References.String(), list(k.Referenced), list(r.Problems)}
	}
	return out
}

func (t *terminal) plannedReferences(p *parity.Plan) {
	if len(p.References) == 0 {
		return
	}
	t.heading("Foreign keys to check for orphans")
	for i := range p.References {
		r := &p.References[i]
		t.paragraph("  ", referrer(&r.ForeignKey)+", "+text.Prose(r.Name))
		for _, s := range r.Problems {
			t.paragraph("    problem: ", text.Prose(s))
		}
	}
}
