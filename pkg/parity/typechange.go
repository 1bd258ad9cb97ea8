package parity

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/verifierd/verifierd/pkg/relation"
)

// Two types hold the same values by definition if there is one way to carry a
// value from the source's type to the target's, whoever carries it (a cast, a
// dump, replication), and it loses nothing. Only then there is a common form:
// anything else would either blame values that were migrated well, or hide some
// that were not. float and json are exceptions, of which the schema's difference
// speaks (comparedAs). docs/type-changes.md lists all pairs.

// commonForm sets the casts and types that make a field's bytes comparable. It
// reports false if the two types have no common form.
func commonForm(f *relation.Field) bool {
	s, t := f.Type[relation.Source], f.Type[relation.Target]
	if sameType(s.Underlying(), t.Underlying()) {
		if needsText(s) || needsText(t) {
			castBoth(f, textType)
		}
		return true
	}
	common := commonType(s, t)
	if common == nil {
		return false
	}
	castBoth(f, common)
	// An integer has no scale, so that numeric's does not count beside it.
	f.Value = anyPart(common, func(t *relation.Type) bool { return t == numericType })
	return true
}

// families are types of which the common one holds all values of the others,
// and casts from the others to it lose nothing. The first that has both types
// counts.
var families = []struct {
	common  *relation.Type
	members []string
}{
	{int8Type, []string{"int2", "int4", "int8"}},
	{numericType, []string{"int2", "int4", "int8", "numeric"}},
	{float8Type, []string{"float4", "float8"}},
	{timestampType, []string{"date", "timestamp"}},
	{varbitType, []string{"bit", "varbit"}},
	{inetType, []string{"cidr", "inet"}},
	{macaddr8Type, []string{"macaddr", "macaddr8"}},
	// What a json holds beyond a jsonb is what the change of type gives up.
	{jsonbType, []string{"json", "jsonb"}},
}

// commonType returns the type in which values of two different types are the
// same by definition, nil if there is none.
func commonType(source, target *relation.Type) *relation.Type {
	s, t := source.Underlying(), target.Underlying()
	if s.Kind == relation.Array && t.Kind == relation.Array {
		if common := commonType(s.Elem, t.Elem); common != nil {
			return arrayOf(common)
		}
		return nil
	}
	for _, family := range families {
		if s.Builtin(family.members...) && t.Builtin(family.members...) {
			return family.common
		}
	}
	switch {
	case isPlainText(s) && isPlainText(t):
		return textType
	// One text each, the same on all versions; the other way many texts are
	// one value.
	case s.Builtin("uuid", "jsonb") && isString(t):
		return textType
	}
	return nil
}

func castBoth(f *relation.Field, common *relation.Type) {
	f.Type = [2]*relation.Type{common, common}
	f.Cast = [2]string{common.SQL(), common.SQL()}
}

// isString reports whether a type's values are any text, and that text is all
// they are. Not bpchar: a cast takes its padding away, a dump does not.
func isString(t *relation.Type) bool {
	return t.Builtin("text", "varchar", "name") || extensionType(t) && t.Name == "citext"
}

// isPlainText reports whether a type's values are texts, stored as they are,
// though perhaps not every text is one.
func isPlainText(t *relation.Type) bool {
	return isString(t) || t.Kind == relation.Enum || t.Builtin("json")
}

var (
	int8Type      = builtin("int8", 20, 1016)
	textType      = &relation.Type{Schema: "pg_catalog", Name: "text", OID: 25, ArrayOID: 1009, Kind: relation.Base, BinaryOutput: true, Collation: true}
	float8Type    = builtin("float8", 701, 1022)
	numericType   = builtin("numeric", 1700, 1231)
	timestampType = builtin("timestamp", 1114, 1115)
	varbitType    = builtin("varbit", 1562, 1563)
	inetType      = builtin("inet", 869, 1041)
	macaddr8Type  = builtin("macaddr8", 774, 775)
	jsonbType     = builtin("jsonb", 3802, 3807)
)

func builtin(name string, oid, array uint32) *relation.Type {
	return &relation.Type{Schema: "pg_catalog", Name: name, OID: oid, ArrayOID: array, Kind: relation.Base, BinaryOutput: true}
}

func arrayOf(elem *relation.Type) *relation.Type {
	return &relation.Type{
		Schema: "pg_catalog", Name: "_" + elem.Name, OID: elem.ArrayOID, Kind: relation.Array, Elem: elem,
		BinaryOutput: true, Collation: elem.Collation,
	}
}

// indexServes reports whether an index on a column of type own is used to find
// values of the common type that the column is compared in: it is the same, or
// the server compares the two without a cast of the column.
func indexServes(own, common *relation.Type) bool {
	own = own.Underlying()
	switch common {
	case int8Type:
		return own.Builtin("int2", "int4", "int8")
	case textType:
		return own.Builtin("text", "varchar")
	case timestampType:
		return own.Builtin("date", "timestamp")
	case inetType:
		return own.Builtin("cidr", "inet")
	}
	return sameType(own, common)
}

// comparedAs says what does not count, or may surprise, in the common form of
// two columns.
func comparedAs(common *relation.Type) (hint string) {
	anyPart(common, func(t *relation.Type) bool {
		switch t {
		case float8Type:
			hint = "compared as float8: a float4 that was copied through its text is another number there"
		case numericType:
			hint = "compared as numeric, by value: an integer has no scale"
		case jsonbType:
			hint = "compared as jsonb: blanks, the order of keys and keys that occur twice do not count; a json that is no jsonb makes the table incomplete"
		}
		return hint != ""
	})
	return hint
}

// castHint says that two columns were not compared, and with which cast in the
// configuration they would be.
func (p *plannedForm) castHint(source, target *relation.Column) string {
	hint := "the values have no common form; the column was not compared"
	cast, when := suggestCast(source, target)
	var sides []string
	for _, side := range relation.Sides {
		if cast[side] != "" {
			sides = append(sides, fmt.Sprintf("%s: %s", side, quoteYAML(cast[side])))
		}
	}
	if len(sides) == 0 {
		return hint + "; exclude it, or cast both sides to one type"
	}
	return fmt.Sprintf("%s; %s: columns: {%s: {cast: {%s: {%s}}}}", hint, when,
		keyYAML(p.Table[relation.Source].String()), keyYAML(source.Name), strings.Join(sides, ", "))
}

// valueHint says with which value in the configuration two columns that print
// every value differently would be equal.
func (p *plannedForm) valueHint(source *relation.Column) string {
	what := "scale"
	if source.Type.Underlying().Builtin("bpchar") {
		what = "padding"
	}
	return fmt.Sprintf("every value prints differently; compared without their %s: columns: {%s: {value: [%s]}}", what,
		keyYAML(p.Table[relation.Source].String()), keyYAML(source.Name))
}

var (
	numbers = []string{"int2", "int4", "int8", "float4", "float8", "numeric"}
	zoned   = []string{"timestamptz", "timetz"}
	local   = []string{"date", "timestamp", "time"}
)

// suggestCast returns for each side the expression that would make two columns
// comparable, "" for the column itself, and when that is right.
func suggestCast(source, target *relation.Column) (cast [2]string, when string) {
	s, t := source.Type.Underlying(), target.Type.Underlying()
	from, to := relation.QuoteIdent(source.Name), relation.QuoteIdent(target.Name)
	const (
		zone      = "'Europe/Berlin'"
		inZone    = "to compare it, say in which time zone the values without one are"
		migrated  = "to compare it, if that is how the values were migrated"
		printed   = "to compare what the values print"
		unpadded  = "to compare it without trailing blanks"
		asText    = "::text"
		timestamp = "::timestamp"
	)
	isNumber := func(t *relation.Type) bool { return t.Builtin(numbers...) }
	either := func(is func(*relation.Type) bool) bool { return is(s) || is(t) }
	named := func(name string) func(*relation.Type) bool {
		return func(t *relation.Type) bool { return t.Builtin(name) }
	}
	switch {
	case s.Builtin("timestamp") && t.Builtin("timestamptz"), s.Builtin("timestamptz") && t.Builtin("timestamp"):
		return [2]string{from + " AT TIME ZONE " + zone}, inZone
	case s.Builtin("date") && t.Builtin("timestamptz"):
		return [2]string{from + timestamp + " AT TIME ZONE " + zone}, inZone
	case s.Builtin("timestamptz") && t.Builtin("date"):
		return [2]string{"(" + from + " AT TIME ZONE " + zone + ")::date"}, inZone
	case s.Builtin("time") && t.Builtin("timetz"):
		return [2]string{"(" + from + asText + " || '+01')::timetz"}, inZone
	case s.Builtin("timetz") && t.Builtin("time"):
		return [2]string{from + "::time"}, migrated
	case crossesZones(s, t):
		return cast, "" // arrays of the above, or what holds no time of day at all
	case either(named("bpchar")) && either(isPlainText):
		return [2]string{"rtrim(" + from + asText + ")", "rtrim(" + to + asText + ")"}, unpadded
	case either(named("xml")) && either(isPlainText), isString(t):
		return [2]string{from + asText, to + asText}, migrated
	case either(named("money")) && either(isNumber):
		return [2]string{from + "::numeric::" + target.Definition}, migrated
	case either(named("bool")) && either(isNumber):
		return [2]string{from + "::integer::" + target.Definition}, migrated
	case castable(s, t):
		return [2]string{from + "::" + target.Definition}, migrated
	}
	return [2]string{from + asText, to + asText}, printed
}

// crossesZones reports whether only one of two types, or of their elements,
// has a time zone.
func crossesZones(s, t *relation.Type) bool {
	if s.Kind == relation.Array && t.Kind == relation.Array {
		return crossesZones(s.Elem.Underlying(), t.Elem.Underlying())
	}
	return s.Builtin(zoned...) && t.Builtin(local...) || s.Builtin(local...) && t.Builtin(zoned...)
}

// castable reports whether PostgreSQL casts the one type to the other: between
// numbers, and from text to anything.
func castable(s, t *relation.Type) bool {
	if s.Kind == relation.Array && t.Kind == relation.Array {
		return castable(s.Elem.Underlying(), t.Elem.Underlying())
	}
	return s.Builtin(numbers...) && t.Builtin(numbers...) || isString(s)
}

// quoteYAML returns a YAML scalar in quotes.
func quoteYAML(s string) string {
	if strings.Contains(s, "'") || strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return "'" + s + "'"
}

// keyYAML returns a YAML scalar, in quotes only where it needs them.
func keyYAML(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_' && r != '.'
	}) {
		return quoteYAML(s)
	}
	return s
}
