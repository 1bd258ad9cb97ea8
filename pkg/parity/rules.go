package parity

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/verifierd/verifierd/pkg/relation"
)

// rules are a table's policy once it was checked against both sides.
type rules struct {
	Policy
	cast  map[string][2]relation.Expression
	where [2]string
	// conditions are the expressions of where.
	conditions [2]relation.Expression
}

// applyPolicy checks the table's policy. A table whose policy cannot be obeyed
// is not read: what another policy finds says nothing.
func (c *comparison) applyPolicy(ctx context.Context) (rules, error) {
	r := rules{Policy: c.policy, cast: make(map[string][2]relation.Expression)}
	errs := []error{r.checkNames(c.at.table[relation.Source], c.at.table[relation.Target])}
	for _, side := range relation.Sides {
		if r.Where[side] != "" {
			e, err := c.expression(ctx, side, r.Where[side])
			if err == nil && !e.Type.Underlying().Builtin("bool") {
				err = fmt.Errorf("it gives %s rather than boolean", e.Definition)
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("condition on the %s's rows: %w", side, err))
			}
			r.where[side], r.conditions[side] = e.SQL, e
		}
		for _, name := range slices.Sorted(maps.Keys(r.Cast)) {
			if r.Cast[name][side] == "" || r.excludes(name) {
				continue
			}
			e, err := c.expression(ctx, side, r.Cast[name][side])
			if err != nil {
				errs = append(errs, fmt.Errorf("cast of column %s on the %s: %w", relation.QuoteIdent(name), side, err))
			}
			cast := r.cast[name]
			cast[side] = e
			r.cast[name] = cast
		}
	}
	if err := errors.Join(errs...); err != nil {
		return rules{}, fmt.Errorf("not compared, since the table's policy cannot be obeyed: %w", err)
	}
	return r, nil
}

// expression checks what one side is to evaluate. It must give the same for the
// same row on the other.
func (c *comparison) expression(ctx context.Context, side relation.Side, sql string) (relation.Expression, error) {
	e, err := c.at.reader[side].Expression(ctx, c.at.table[side], sql, c.startedAt)
	if err != nil {
		return e, err
	}
	source, target := c.at.reader[relation.Source].Server(), c.at.reader[relation.Target].Server()
	switch {
	case e.ByEncoding && source.Encoding != target.Encoding:
		err = fmt.Errorf("it may give something else on either side, since it works on text, and the databases' encodings differ (%s, %s)", source.Encoding, target.Encoding)
	case e.ByCollation && (source.Locale == "" || source.Locale != target.Locale):
		err = errors.New(`it may give something else on either side, since the databases may order text and change its case differently; write COLLATE "C" behind the text, as in name COLLATE "C" < 'b'`)
	}
	return e, err
}

// checkNames reports columns that the policy names and the tables do not have.
func (r *rules) checkNames(source, target *relation.Table) error {
	var errs []error
	fail := func(format string, name string, others ...any) {
		errs = append(errs, fmt.Errorf(format, append([]any{relation.QuoteIdent(name)}, others...)...))
	}
	lacks := func(t *relation.Table, name string) bool { return t.Column(name) == nil }
	for _, name := range slices.Sorted(maps.Keys(r.Columns)) {
		to := r.Columns[name]
		if lacks(source, name) {
			fail("the source has no column %s to map", name)
		}
		if lacks(target, to) {
			fail("the target has no column %s, which %s is mapped to", to, relation.QuoteIdent(name))
		}
		for i := range source.Columns {
			other := source.Columns[i].Name
			if other != name && r.onTarget(other) == to && !r.excludes(other) && !r.excludes(name) {
				fail("columns %s and %s are both compared with one column of the target; exclude one of them", name, relation.QuoteIdent(other))
			}
		}
	}
	for _, name := range r.Exclude {
		if !lacks(source, name) {
			continue
		}
		if on, mapped := r.onSource(source, name); mapped && !r.excludes(on) {
			fail("column %s to exclude is mapped from %s of the source: exclude it by that name", name, relation.QuoteIdent(on))
		} else if lacks(target, name) {
			fail("there is no column %s to exclude", name)
		}
	}
	for _, name := range r.Value {
		if lacks(source, name) {
			fail("the source has no column %s to compare by value", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Cast)) {
		if lacks(source, name) {
			fail("the source has no column %s to cast", name)
		}
	}
	for i, name := range r.Key {
		switch {
		case lacks(source, name):
			fail("the source has no column %s for the key", name)
		case r.excludes(name):
			fail("column %s of the key is excluded", name)
		case slices.Contains(r.Key[:i], name):
			fail("column %s is in the key twice", name)
		}
	}
	return errors.Join(errs...)
}

func (r *rules) excludes(column string) bool { return slices.Contains(r.Exclude, column) }

// excludesKey reports whether a column of a key is excluded.
func (r *rules) excludesKey(k relation.Key) bool { return slices.ContainsFunc(k.Columns, r.excludes) }

// onTarget returns the target's name of a column of the source.
func (r *rules) onTarget(name string) string {
	if to, mapped := r.Columns[name]; mapped {
		return to
	}
	return name
}

// onSource returns the source's name of a column of the target.
func (r *rules) onSource(source *relation.Table, name string) (string, bool) {
	for i := range source.Columns {
		if r.onTarget(source.Columns[i].Name) == name {
			return source.Columns[i].Name, true
		}
	}
	return "", false
}

// targetKeys returns the target's keys under the source's names for columns.
func (r *rules) targetKeys(source, target *relation.Table) []relation.Key {
	keys := slices.Clone(target.Keys)
	for i := range keys {
		keys[i].Columns = slices.Clone(keys[i].Columns)
		for j, name := range keys[i].Columns {
			on, found := r.onSource(source, name)
			if !found && source.Column(name) != nil {
				on, found = name+" of the target", true // its namesake is mapped elsewhere
			}
			if found {
				keys[i].Columns[j] = on
			}
		}
	}
	return keys
}

// casts reports whether an expression stands in for a column.
func (r *rules) casts(name string) bool { return r.sql(name) != [2]string{} }

func (r *rules) sql(name string) [2]string {
	e := r.cast[name]
	return [2]string{e[relation.Source].SQL, e[relation.Target].SQL}
}

// apply returns two columns with the types of the expressions that stand in for
// them. An expression may stand for a column that the target lacks.
func (r *rules) apply(source, target *relation.Column) (s, t *relation.Column) {
	stand := func(c *relation.Column, e relation.Expression) *relation.Column {
		if e.SQL == "" {
			return c
		}
		name := source.Name
		if c != nil {
			name = c.Name
		}
		return &relation.Column{Name: name, Type: e.Type, Definition: e.Definition}
	}
	cast := r.cast[source.Name]
	return stand(source, cast[relation.Source]), stand(target, cast[relation.Target])
}

// unverified says what the rules leave unverified, a sentence each.
func (r *rules) unverified() []string {
	var list []string
	for _, name := range r.Exclude {
		list = append(list, fmt.Sprintf("column %s is excluded", relation.QuoteIdent(name)))
	}
	for _, name := range r.Value {
		if !r.excludes(name) {
			list = append(list, fmt.Sprintf("column %s is compared by value", relation.QuoteIdent(name)))
		}
	}
	for _, side := range relation.Sides {
		for _, name := range slices.Sorted(maps.Keys(r.cast)) {
			if sql := r.cast[name][side].SQL; sql != "" {
				list = append(list, fmt.Sprintf("column %s is compared as %s on the %s", relation.QuoteIdent(name), sql, side))
			}
		}
	}
	for _, side := range relation.Sides {
		if r.where[side] != "" {
			list = append(list, fmt.Sprintf("only rows of the %s where %s are compared", side, r.where[side]))
		}
	}
	return list
}

// setByValue makes a field, which has its common form, be compared by value. It
// returns the part of the columns' types for which that is not supported, empty
// if it is for all.
//
// bpchar loses its padding in a cast to text; the rest is done to the bytes.
func setByValue(f *relation.Field, source, target *relation.Type) (unsupported string) {
	if part := cmpFirst(notByValue(source, true), notByValue(target, true)); part != "" {
		return part
	}
	t := f.Type[relation.Source].Underlying()
	switch {
	case t.Builtin("bpchar"):
		castBoth(f, textType)
	case t.Kind == relation.Array && t.Elem.Underlying().Builtin("bpchar"):
		castBoth(f, arrayOf(textType))
	default:
		f.Value = anyPart(t, changesByValue)
	}
	return ""
}

// changesByValue reports whether values of the type that are equal may differ
// in their bytes.
func changesByValue(t *relation.Type) bool {
	return t.Builtin("numeric", "float4", "float8", "point", "lseg", "box", "line", "circle", "path", "polygon", "jsonb")
}

// notByValue returns the part of a type for which comparing by value is not
// supported, empty if it is for all: interval, for instance, whose 24 hours are
// a day, or what an extension brought.
func notByValue(t *relation.Type, whole bool) string {
	t = t.Underlying()
	switch t.Kind {
	case relation.Enum:
		return ""
	case relation.Array:
		elem := t.Elem.Underlying()
		if whole && elem.Builtin("bpchar") {
			return ""
		}
		return notByValue(elem, false)
	case relation.Range, relation.Multirange:
		return notByValue(t.Elem, false)
	case relation.Composite:
		for _, a := range t.Attributes {
			if part := notByValue(a, false); part != "" {
				return part
			}
		}
		return ""
	}
	switch {
	case t.Builtin("bpchar", "jsonb") && !whole:
		return t.String() + " within another type"
	case changesByValue(t) || t.Builtin("bpchar"):
		return ""
	// Of these, equal values have equal bytes.
	case t.Builtin("bool", "int2", "int4", "int8", "char", "text", "varchar", "name", "bytea", "uuid", "date", "time", "timestamp",
		"timestamptz", "bit", "varbit", "inet", "cidr", "macaddr", "macaddr8", "money", "pg_lsn", "xid8"):
		return ""
	}
	return t.String()
}
