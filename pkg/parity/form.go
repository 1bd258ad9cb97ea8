package parity

import (
	"fmt"
	"slices"
	"strings"

	"github.com/verifierd/verifierd/pkg/relation"
)

// plannedForm is the form in which two tables are compared, and what that
// leaves open.
type plannedForm struct {
	relation.Form
	differences []SchemaDifference
	// gaps say what cannot be compared at all: they make the table incomplete.
	gaps  []string
	notes []string
	// uncompared are the columns of the source that are not in the form, though
	// no policy excludes them.
	uncompared []string
	rules      rules
}

// planForm matches the columns of two tables by name, or as the rules say, in
// the source's order, which is the cheapest for the source to send.
func planForm(source, target *relation.Table, encodings [2]string, r rules) *plannedForm {
	p := &plannedForm{rules: r}
	p.Table, p.Where = [2]relation.Name{source.Name, target.Name}, r.where
	for i := range source.Columns {
		c, fields := &source.Columns[i], len(p.Fields)
		if r.excludes(c.Name) {
			continue
		}
		p.addColumn(c, target.Column(r.onTarget(c.Name)), encodings)
		if len(p.Fields) == fields {
			p.uncompared = append(p.uncompared, c.Name)
		}
	}
	for i := range target.Columns {
		c := &target.Columns[i]
		if _, known := r.onSource(source, c.Name); !known && !r.excludes(c.Name) {
			p.differ("column "+c.Name, "extra", Drifts, "", c.Definition, "")
			p.notes = append(p.notes, fmt.Sprintf("column %s exists on the target only", relation.QuoteIdent(c.Name)))
		}
	}
	if len(p.Fields) == 0 && len(p.gaps) == 0 && len(source.Columns)+len(target.Columns) > 0 {
		p.gaps = append(p.gaps, "the tables have no column in common that is compared")
	}
	p.chooseKey(source, target)
	return p
}

func (p *plannedForm) differ(object, kind string, severity Severity, source, target, hint string) {
	p.differences = append(p.differences, SchemaDifference{
		Table: p.Table[relation.Source], Object: object, Kind: kind, Severity: severity, Source: source, Target: target, Hint: hint,
	})
}

func (p *plannedForm) addColumn(source, target *relation.Column, encodings [2]string) {
	object := "column " + source.Name
	source, target = p.rules.apply(source, target)
	if target == nil {
		p.differ(object, "missing", Breaks, source.Definition, "", "")
		return
	}
	field := relation.Field{Name: [2]string{source.Name, target.Name}, Type: [2]*relation.Type{source.Type, target.Type}, SQL: p.rules.sql(source.Name)}
	if bare := cmpFirst(incomparable(source.Type), incomparable(target.Type)); bare != "" {
		p.gaps = append(p.gaps, fmt.Sprintf("column %s holds values of type %s, which mean nothing on another server: exclude it in the table's policy", relation.QuoteIdent(source.Name), bare))
		return
	}
	if why := cmpFirst(unstable(source.Type), unstable(target.Type)); why != "" {
		p.gaps = append(p.gaps, fmt.Sprintf("column %s of type %s cannot be compared: %s", relation.QuoteIdent(source.Name), source.Definition, why))
		return
	}
	if encodings[0] != encodings[1] && !acrossEncodings(&field, source, target, encodings) {
		p.gaps = append(p.gaps, fmt.Sprintf("column %s of type %s cannot be compared between encodings %s and %s", relation.QuoteIdent(source.Name), source.Definition, encodings[0], encodings[1]))
		return
	}
	cast := p.rules.casts(source.Name)
	if cast && !sameType(source.Type.Underlying(), target.Type.Underlying()) {
		p.gaps = append(p.gaps, fmt.Sprintf("column %s is cast to %s on the source and %s on the target, which must be one type", relation.QuoteIdent(source.Name), source.Definition, target.Definition))
		return
	}
	if !commonForm(&field) {
		p.differ(object, "changed", Breaks, source.Definition, target.Definition, p.castHint(source, target))
		p.gaps = append(p.gaps, fmt.Sprintf("column %s is %s on the source and %s on the target", relation.QuoteIdent(source.Name), source.Definition, target.Definition))
		return
	}
	if slices.Contains(p.rules.Value, source.Name) {
		if part := setByValue(&field, source.Type, target.Type); part != "" {
			p.gaps = append(p.gaps, fmt.Sprintf("column %s of type %s cannot be compared by value: that is not supported of %s", relation.QuoteIdent(source.Name), source.Definition, part))
			return
		}
	}
	if source.Definition != target.Definition && !cast {
		severity, hint := Drifts, comparedAs(field.Type[relation.Source])
		if changesValues(source, target) && !slices.Contains(p.rules.Value, source.Name) {
			severity, hint = Breaks, p.valueHint(source)
		}
		p.differ(object, "changed", severity, source.Definition, target.Definition, hint)
	}
	p.Fields = append(p.Fields, field)
}

func cmpFirst(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// changesValues reports whether another modifier of the same type changes how
// the values print, or which there are: numeric(12,2) and numeric(12,4), char(5)
// and char(9). More or fewer digits before the point do not, nor does a scale
// that only one side insists on: what was copied has it already.
func changesValues(source, target *relation.Column) bool {
	s, t := source.Type.Underlying(), target.Type.Underlying()
	switch {
	case !sameType(s, t):
		return false
	case s.Builtin("bpchar"):
		return true
	case !s.Builtin("numeric"):
		return false
	}
	from, explicit := numericScale(withoutDomains(source))
	to, also := numericScale(withoutDomains(target))
	return explicit && also && from != to
}

// withoutDomains returns a column's type with its modifier, which for a domain
// is its base type's.
func withoutDomains(c *relation.Column) string {
	definition := c.Definition
	for t := c.Type; t.Kind == relation.Domain && t.Elem != nil; t = t.Elem {
		definition = t.BaseDefinition
	}
	return definition
}

// numericScale returns the scale of "numeric(12,2)"; explicit is false if there
// is none.
func numericScale(definition string) (scale string, explicit bool) {
	_, modifier, _ := strings.Cut(definition, "(")
	_, scale, explicit = strings.Cut(strings.TrimSuffix(modifier, ")"), ",")
	return scale, explicit
}

// sameType reports whether two types, perhaps on two servers, are the same.
func sameType(s, t *relation.Type) bool {
	if s == nil || t == nil {
		return s == t
	}
	if s.Kind != t.Kind || len(s.Attributes) != len(t.Attributes) {
		return false
	}
	for i := range s.Attributes {
		if !sameType(s.Attributes[i].Underlying(), t.Attributes[i].Underlying()) {
			return false
		}
	}
	if s.Kind == relation.Array {
		return sameType(s.Elem.Underlying(), t.Elem.Underlying())
	}
	return s.Name == t.Name && (s.Schema == t.Schema || extensionType(s) && extensionType(t)) && sameType(s.Elem, t.Elem)
}

// extensionType reports whether t is a base type that an extension brought;
// extensions may be installed in any schema.
func extensionType(t *relation.Type) bool { return t.Kind == relation.Base && !t.Builtin() }

// anyPart reports whether f holds for t or anything it is made of.
func anyPart(t *relation.Type, f func(*relation.Type) bool) bool {
	if t == nil {
		return false
	}
	return f(t) || anyPart(t.Elem, f) || slices.ContainsFunc(t.Attributes, func(a *relation.Type) bool { return anyPart(a, f) })
}

// needsText reports whether values must be compared in their text form: the
// type has no binary form, its binary form holds this server's OIDs, or it is
// an extension's of which only the text form is known to survive a dump.
func needsText(t *relation.Type) bool {
	return anyPart(t, func(t *relation.Type) bool {
		if t.Kind == relation.Base && (strings.HasPrefix(t.Name, "reg") && t.Builtin() || !t.BinaryOutput) {
			return true
		}
		return extensionType(t) && t.Name != "hstore" && t.Name != "citext"
	})
}

// chooseKey picks what identifies a row: a key of both sides if there is one,
// else of either, the primary key first.
func (p *plannedForm) chooseKey(source, target *relation.Table) {
	keys := [2]*relation.Table{{Keys: source.Keys, Kind: source.Kind}, {Keys: p.rules.targetKeys(source, target), Kind: target.Kind}}
	p.compareKeys(keys[0], keys[1])
	tables := [2]*relation.Table{source, target}
	var best *relation.Key
	for _, t := range keys {
		for i := range t.Keys {
			k := &t.Keys[i]
			if p.fieldsOf(k.Columns) == nil {
				continue
			}
			if best == nil {
				best = k
			}
			if hasKey(keys[0], k.Columns) && hasKey(keys[1], k.Columns) {
				best = k
				break
			}
		}
		if best != nil && hasKey(keys[0], best.Columns) && hasKey(keys[1], best.Columns) {
			break
		}
	}
	if len(p.rules.Key) > 0 {
		if best = nil; p.fieldsOf(p.rules.Key) != nil {
			best = &relation.Key{Columns: p.rules.Key}
		}
	}
	if best == nil {
		if slices.ContainsFunc(slices.Concat(keys[0].Keys, keys[1].Keys), p.rules.excludesKey) {
			p.gaps = append(p.gaps, "columns of the key are excluded: name those that identify a row under key in the table's policy")
		}
		p.notes = append(p.notes, "no key: rows are compared as a multiset")
		return
	}
	p.Key = p.fieldsOf(best.Columns)
	notNull := true
	for _, k := range p.Key {
		for _, side := range relation.Sides {
			notNull = notNull && p.Fields[k].SQL[side] == "" && tables[side].Column(p.Fields[k].Name[side]).NotNull
		}
	}
	if !notNull {
		return // NULLs neither sort nor can be looked up
	}
	p.Ordered = p.orderedPrefix()
	for _, side := range relation.Sides {
		p.Indexed[side] = p.canLookUp(tables[side], side)
		p.Ranged[side] = p.Ordered > 0 && hasIndex(tables[side], p.keyNames(side)[:p.Ordered])
	}
}

// compareKeys reports keys that only one side has.
func (p *plannedForm) compareKeys(source, target *relation.Table) {
	severity, hint := Breaks, "without it the target can hold duplicate rows"
	if target.Kind == relation.View || target.Kind == relation.MatView {
		severity, hint = Drifts, "" // a view has none of its own
	}
	for _, k := range source.Keys {
		switch {
		case hasKey(target, k.Columns) || p.rules.excludesKey(k):
		case target.Kind == relation.Partitioned && hasWiderKey(target, k.Columns):
			p.differ(keyObject(k), "missing", Drifts, "("+strings.Join(k.Columns, ", ")+")", "",
				"the keys of a partitioned table must hold its partition key")
		default:
			p.differ(keyObject(k), "missing", severity, "("+strings.Join(k.Columns, ", ")+")", "", hint)
		}
	}
	for _, k := range target.Keys {
		if !hasKey(source, k.Columns) && !p.rules.excludesKey(k) {
			p.differ(keyObject(k), "extra", Drifts, "", "("+strings.Join(k.Columns, ", ")+")", "")
		}
	}
}

func keyObject(k relation.Key) string {
	if k.Primary {
		return "constraint " + k.Index
	}
	return "index " + k.Index
}

func hasKey(t *relation.Table, columns []string) bool {
	return slices.ContainsFunc(t.Keys, func(k relation.Key) bool { return sameSet(k.Columns, columns) })
}

// hasWiderKey reports whether a key of the table holds all the columns.
func hasWiderKey(t *relation.Table, columns []string) bool {
	return slices.ContainsFunc(t.Keys, func(k relation.Key) bool { return holdsAll(k.Columns, columns) })
}

func sameSet(a, b []string) bool { return len(a) == len(b) && holdsAll(b, a) }

// holdsAll reports whether all that is in some is in all.
func holdsAll(all, some []string) bool {
	return !slices.ContainsFunc(some, func(s string) bool { return !slices.Contains(all, s) })
}

func hasIndex(t *relation.Table, columns []string) bool {
	return slices.ContainsFunc(t.Indexes, func(x relation.Index) bool { return x.Leads(columns) })
}

// fieldsOf returns the positions of the named columns, nil if one is not compared.
func (p *plannedForm) fieldsOf(columns []string) []int {
	var fields []int
	for _, name := range columns {
		i := slices.IndexFunc(p.Fields, func(f relation.Field) bool { return f.Name[relation.Source] == name })
		if i < 0 {
			return nil
		}
		fields = append(fields, i)
	}
	return fields
}

func (p *plannedForm) keyNames(side relation.Side) []string {
	names := make([]string, len(p.Key))
	for i, f := range p.KeyFields() {
		names[i] = f.Name[side]
	}
	return names
}

// orderedPrefix counts the leading key columns that sort the same everywhere.
// Those that an expression stands in for have no index that finds a range.
func (p *plannedForm) orderedPrefix() int {
	n := 0
	for _, f := range p.KeyFields() {
		order := f.Type[relation.Source].Sorts()
		if order == relation.Unsorted || order != f.Type[relation.Target].Sorts() || f.SQL != [2]string{} {
			break
		}
		n++
		if order == relation.SortsVarying {
			break // its length varies, so nothing sorts behind it
		}
	}
	return n
}

// canLookUp reports whether an index of the side finds rows by the whole key,
// sent as the form's types.
func (p *plannedForm) canLookUp(t *relation.Table, side relation.Side) bool {
	for _, f := range p.KeyFields() {
		// What is compared by value has canonical bytes that the index may not
		// hold: numeric's are truncated when they are received.
		if f.SQL[side] != "" || f.Value || !receivable(f.Type[side]) {
			return false
		}
		if f.Cast[side] != "" && !indexServes(t.Column(f.Name[side]).Type, f.Type[side]) {
			return false
		}
	}
	names := p.keyNames(side)
	return slices.ContainsFunc(t.Indexes, func(x relation.Index) bool {
		return len(x.Columns) >= len(names) && sameSet(x.Columns[:len(names)], names)
	})
}
