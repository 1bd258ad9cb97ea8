package parity

import (
	"cmp"
	"slices"
)

// Check is something that a pass looks into beside the tables' rows.
type Check string

// The checks.
const (
	CheckOrphans   Check = "orphans"   // rows that refer to no row
	CheckSchema    Check = "schema"    // definitions other than those that reading rows needs
	CheckSequences Check = "sequences" // whether they are behind
)

// Checks lists all checks.
var Checks = []Check{CheckOrphans, CheckSchema, CheckSequences}

// Effect is what something found does to a pass's verdict.
type Effect string

// The effects. What is found is reported with each of them.
const (
	Fail   Effect = "fail"   // the pass is diverged
	Warn   Effect = "warn"   // the verdict stays, with a warning
	Ignore Effect = "ignore" // the verdict stays
)

// Effects says what each kind of finding does to the verdict. Zero fields take
// the defaults named.
type Effects struct {
	Orphans        Effect // orphans that only the target has. Default: Fail
	SourceOrphans  Effect // orphans that the source has too. Default: Ignore
	SchemaBreaks   Effect // schema differences of severity Breaks. Default: Fail
	SchemaDrift    Effect // those of severity Drifts. Default: Warn
	SequenceBehind Effect // sequences behind. Default: Fail
	Corruption     Effect // what physical checks find damaged. Default: Fail
}

func (e Effects) withDefaults() Effects {
	return Effects{
		Orphans: cmp.Or(e.Orphans, Fail), SourceOrphans: cmp.Or(e.SourceOrphans, Ignore),
		SchemaBreaks: cmp.Or(e.SchemaBreaks, Fail), SchemaDrift: cmp.Or(e.SchemaDrift, Warn),
		SequenceBehind: cmp.Or(e.SequenceBehind, Fail), Corruption: cmp.Or(e.Corruption, Fail),
	}
}

// Of is what a schema difference of the severity does to the verdict.
func (e Effects) Of(s Severity) Effect {
	e = e.withDefaults()
	switch s {
	case Breaks:
		return e.SchemaBreaks
	case Drifts:
		return e.SchemaDrift
	}
	return Ignore
}

// findings are what the checks beside the rows make of a pass, a clause each.
type findings struct {
	diverged, warnings []string
	// incomplete says what the checks could not establish.
	incomplete []string
}

// found notes something with its effect.
func (f *findings) found(effect Effect, clause string) {
	switch effect {
	case Fail:
		f.diverged = append(f.diverged, clause)
	case Warn:
		f.warnings = append(f.warnings, clause)
	case Ignore:
	}
}

// notChecked says what a pass says nothing about.
func (c *Config) notChecked() []string {
	var list []string
	if c.SchemaOnly {
		list = append(list, "rows")
	}
	if c.CountsOnly {
		list = append(list, "rows, which were only counted")
	}
	for _, check := range Checks {
		if c.checks(check) {
			continue
		}
		switch check {
		case CheckOrphans:
			list = append(list, "orphans (rows that refer to no row)")
		case CheckSequences:
			list = append(list, "sequences")
		case CheckSchema:
			list = append(list, "definitions other than tables, columns with their types, and keys")
		}
	}
	return list
}

// checks reports whether the pass makes a check.
func (c *Config) checks(check Check) bool {
	rows := check == CheckOrphans // is asked of them
	return !c.CountsOnly && !(rows && c.SchemaOnly) && !slices.Contains(c.SkipChecks, check)
}
