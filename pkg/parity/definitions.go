package parity

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/verifierd/verifierd/pkg/relation"
)

// definitions is what a pass makes of definitions beyond those that reading
// rows needs.
type definitions struct {
	first  [2][]relation.Object // at the pass's snapshots
	readAt time.Time            // when those were read; zero: they were not
	moment [2]relation.Moment
	rules  SchemaRules
	differ []SchemaDifference
}

// scope is what of one side's definitions and sequences belongs to the pass.
func (c *Config) scope(side relation.Side) relation.SchemaScope {
	s := relation.SchemaScope{Whole: c.Whole, Exclude: c.Exclude, Comments: c.Comments}
	for _, t := range c.Tables {
		s.Tables = append(s.Tables, [2]relation.Name{t.Source, t.Target}[side])
	}
	return s
}

// readSchema reads the definitions at the pass's snapshots.
func (r *runner) readSchema(ctx context.Context, all *pair) {
	if !r.config.checks(CheckSchema) {
		return
	}
	r.definitions.readAt = time.Now()
	first, err := r.schemaOf(ctx, all)
	if err != nil {
		r.definitions.readAt = time.Time{}
		r.lacks(ctx, "definitions were not compared", err)
		return
	}
	r.definitions.first = first
	for _, side := range relation.Sides {
		r.definitions.moment[side] = all.reader[side].Moment()
	}
	r.definitions.rules = SchemaRules{
		Tables: r.config.Tables, Renamed: r.config.Renamed, Ignore: r.config.IgnoreSchema, formed: make(map[relation.Name]formed),
		Major: [2]int{all.reader[0].Server().Major(), all.reader[1].Server().Major()},
	}
}

func (r *runner) schemaOf(ctx context.Context, all *pair) (objects [2][]relation.Object, err error) {
	err = all.each(ctx, func(ctx context.Context, side relation.Side) error {
		var err error
		if objects[side], err = all.reader[side].Schema(ctx, r.config.scope(side)); err != nil {
			return fmt.Errorf("%s: %w", side, err)
		}
		return nil
	})
	return objects, err
}

// lacks notes what a check could not establish, and why. That the pass has ended
// is said of the pass.
func (r *runner) lacks(ctx context.Context, what string, err error) {
	if ctx.Err() == nil {
		r.incomplete = append(r.incomplete, what+": "+describeTrouble(ctx, err))
	}
}

// formed notes what comparing the form of a table found, which is not said
// again.
func (r *runner) formed(c *comparison) {
	if c.planned == nil || r.definitions.rules.formed == nil {
		return
	}
	f := formed{differences: c.planned.differences}
	for _, t := range c.at.table {
		for _, k := range t.Keys {
			f.keys = append(f.keys, k.Index)
		}
	}
	r.definitions.rules.formed[c.result.Name] = f
}

// judgeSchema compares the definitions, and looks again at what breaks.
func (r *runner) judgeSchema(ctx context.Context) {
	d := &r.definitions
	if d.readAt.IsZero() {
		return
	}
	r.result.Definitions = len(d.first[relation.Source])
	d.differ = CompareSchema(d.first[0], d.first[1], d.rules)
	d.first = [2][]relation.Object{}
	d.differ = slices.DeleteFunc(d.differ, r.said)
	if !r.past {
		r.confirmDefinitions(ctx)
	}
	for i := range d.differ {
		r.observer.SchemaDiffers(&d.differ[i])
	}
}

// said reports whether comparing the tables' forms found the same: a table that
// is missing.
func (r *runner) said(d SchemaDifference) bool {
	return slices.ContainsFunc(r.result.Schema, func(s SchemaDifference) bool {
		return s.Table == d.Table && s.Object == d.Object && s.Kind == d.Kind && s.Kind != "changed"
	})
}

// confirmDefinitions looks again at differences that break: DDL may reach the
// target later. What is gone when the recheck window has passed is no
// difference, but the sides were not the same when the pass began.
func (r *runner) confirmDefinitions(ctx context.Context) {
	d := &r.definitions
	for pause := firstPause; slices.ContainsFunc(d.differ, breaks); pause = min(2*pause, maxPause) {
		now, quiet, err := r.schemaAgain(ctx)
		left := r.recheck - time.Since(d.readAt)
		if err == nil {
			d.differ = slices.DeleteFunc(d.differ, func(was SchemaDifference) bool {
				gone := breaks(was) && !slices.ContainsFunc(now, func(n SchemaDifference) bool {
					return n.Table == was.Table && n.Object == was.Object && n.Kind == was.Kind && n.Source == was.Source
				})
				if gone {
					r.incomplete = append(r.incomplete, objectOf(&was)+" was defined otherwise when the pass began; run it again")
				}
				return gone
			})
			if quiet || left <= 0 {
				return
			}
			err = sleep(ctx, min(pause, left))
		}
		if err != nil {
			for i := range d.differ {
				if was := &d.differ[i]; breaks(*was) {
					r.lacks(ctx, fmt.Sprintf("when the pass began, %s; whether that lasts was not established", definitionClause(was)), err)
				}
			}
			d.differ = slices.DeleteFunc(d.differ, breaks)
			return
		}
	}
}

// schemaAgain compares the definitions on fresh snapshots, the source's first.
func (r *runner) schemaAgain(ctx context.Context) (now []SchemaDifference, quiet bool, err error) {
	var fresh pair
	defer fresh.close()
	var objects [2][]relation.Object
	for _, side := range relation.Sides {
		reader, err := r.open[side](ctx, nil)
		if err != nil {
			return nil, false, err
		}
		fresh.reader[side] = reader
		if objects[side], err = reader.Schema(ctx, r.config.scope(side)); err != nil {
			return nil, false, fmt.Errorf("%s: %w", side, err)
		}
	}
	replication, err := fresh.replication(ctx)
	if err != nil {
		return nil, false, err
	}
	return CompareSchema(objects[0], objects[1], r.definitions.rules), quietSince(r.definitions.moment, &fresh, replication), nil
}

// objectOf names what a difference is about.
func objectOf(d *SchemaDifference) string {
	switch {
	case d.Table == relation.Name{}:
		return d.Object
	case d.Object == "table" || d.Object == "view" || d.Object == "materialized view":
		return d.Object + " " + d.Table.String()
	}
	return d.Object + " of " + d.Table.String()
}

// definitionClause says of what a difference is about how it differs.
func definitionClause(d *SchemaDifference) string {
	if d.Kind == "changed" {
		return objectOf(d) + " differs"
	}
	return objectOf(d) + " is " + d.Kind
}

// maxWarnings is how many differences of one kind are told one by one.
const maxWarnings = 10

// countDefinitions lets the differences count towards the verdict.
func (r *runner) countDefinitions() {
	drifting := 0
	drift := func(clause string) {
		if drifting++; drifting <= maxWarnings {
			r.found(r.config.Effects.SchemaDrift, clause)
		}
	}
	for i := range r.result.Schema { // what the tables' forms found
		d := &r.result.Schema[i]
		switch {
		case d.Severity == Drifts:
			drift(objectOf(d) + " " + schemaVerb(d.Kind))
		case d.Severity == Breaks && (r.config.SchemaOnly || r.config.Effects.SchemaBreaks == Warn):
			r.found(r.config.Effects.SchemaBreaks, definitionClause(d))
		}
	}
	for i := range r.definitions.differ {
		d := &r.definitions.differ[i]
		switch d.Severity {
		case Breaks:
			r.found(r.config.Effects.SchemaBreaks, definitionClause(d))
		case Drifts:
			drift(definitionClause(d))
		}
	}
	if drifting > maxWarnings {
		r.found(r.config.Effects.SchemaDrift, fmt.Sprintf("%s more in definition drift", plural(int64(drifting-maxWarnings), "difference")))
	}
	r.result.Schema = append(r.result.Schema, r.definitions.differ...)
}

// compareForms compares the tables' definitions as reading their rows would,
// and reads none.
func (r *runner) compareForms(ctx context.Context, all *pair) {
	for _, names := range r.config.Tables {
		c := &comparison{pass: &r.pass, policy: names.Policy, targetOnly: names.TargetOnly, ignore: r.config.IgnoreSchema}
		c.result.Name, c.result.TargetName = names.Source, names.Target
		c.at = *all
		readable := true
		for side, name := range [2]relation.Name{names.Source, names.Target} {
			c.moment[side] = all.reader[side].Moment()
			_, err := all.reader[side].Table(name)
			readable = readable && (err == nil || errors.Is(err, relation.ErrNoTable))
		}
		if !readable {
			continue // its rows are nobody's matter here
		}
		c.resolve(ctx)
		var gaps []string
		if c.planned != nil {
			gaps = c.planned.gaps
		}
		c.ignoreSchema()
		c.confirmSchema(ctx)
		for _, s := range c.incomplete {
			if !slices.Contains(gaps, s) {
				r.incomplete = append(r.incomplete, names.Source.String()+": "+s)
			}
		}
		r.formed(c)
		r.result.Schema = append(r.result.Schema, c.schema...)
		for i := range c.schema {
			r.observer.SchemaDiffers(&c.schema[i])
		}
	}
}

// ignoreSchema takes out the differences that the configuration ignores, but for
// those that keep rows from being compared.
func (c *comparison) ignoreSchema() {
	c.schema = slices.DeleteFunc(c.schema, func(d SchemaDifference) bool {
		column := len(d.Object) > 7 && d.Object[:7] == "column "
		vital := d.Object == "table" || column && d.Severity == Breaks
		return !vital && ignored(c.ignore, &d)
	})
}
