package snapshot

import (
	"slices"
	"strings"

	"github.com/verifierd/verifierd/pkg/relation"
)

// rowFunctions give no text, and the same on every server, for what is no text.
var rowFunctions = []string{
	"abs", "ceil", "ceiling", "floor", "round", "trunc", "mod", "div", "sign", "greatest", "least", "coalesce", "nullif",
	"date_trunc", "date_part", "extract", "age", "make_date", "make_time", "make_timestamp", "make_timestamptz", "make_interval",
	"isfinite", "justify_days", "justify_hours", "justify_interval",
	// Not functions, but what brackets follow as well.
	"and", "or", "not", "in", "when", "then", "else", "between", "is", "numeric", "decimal", "timestamp", "timestamptz", "time", "interval", "bit", "varbit",
}

// copyFunctions take text apart or put it together, character by character.
var copyFunctions = []string{"rtrim", "ltrim", "btrim", "left", "right", "lpad", "rpad", "replace", "concat", "reverse", "repeat", "split_part"}

// textTypes are those that a cast makes text, or something encoded, of a value.
var textTypes = []string{
	"text", "varchar", "bpchar", "char", "character", "name", "citext", "json", "jsonb", "xml", "bytea", "tsvector", "tsquery", "hstore",
}

// dependsOnText reports whether what an expression gives may depend on how a
// database orders text and changes its case, and on how it encodes text. It
// errs on the side of yes. A column that is only cast and copied depends on neither,
// unless its type is kept in an order that the encoding sets.
func dependsOnText(sql string, t *relation.Table) (byCollation, byEncoding bool) {
	tokens, err := tokenize(sql)
	if err != nil {
		return true, true
	}
	textual, explicit := false, false
	var columns []*relation.Column
	casts := []string{}
	others := false // anything but a column, its casts, and copying
	tokens = withoutSchemas(tokens)
	for i, tok := range tokens {
		word, isQuoted := identifier(tok)
		prev, next := prevToken(tokens, i), nextToken(tokens, i)
		column := t.Column(word)
		switch {
		case prev == ":" && (isQuoted || isWord(tok[0])):
			casts = append(casts, word)
			textual = textual || slices.Contains(textTypes, word)
		case tok == ":":
		case column != nil && next != "(":
			columns = append(columns, column)
			textual = textual || isTextual(column.Type)
		case !isQuoted && word == "collate":
			explicit = explicit || next == `"C"`
			others = true
		case next == "(" && slices.Contains(copyFunctions, word):
			textual = true
		case next == "(" && (isQuoted || isWord(tok[0])) && !slices.Contains(rowFunctions, word):
			textual, others = true, true
		case strings.Contains("(),|", tok), tok[0] == '\'', '0' <= tok[0] && tok[0] <= '9': // arguments, modifiers
		default:
			others = true
		}
	}
	switch {
	case !textual:
		return false, false
	case len(columns) == 1 && !others:
		own := columns[0].Type
		return false, isTextual(own) && !isString(own) || slices.Contains(casts, "bytea")
	}
	return !explicit, true
}

// withoutSchemas drops blanks, the schemas of types in casts, and pg_catalog.
func withoutSchemas(tokens []string) []string {
	tokens = slices.DeleteFunc(tokens, func(tok string) bool { return strings.TrimSpace(tok) == "" })
	var list []string
	for i := 0; i < len(tokens); i++ {
		word, _ := identifier(tokens[i])
		inCast := len(list) > 0 && list[len(list)-1] == ":"
		if i+1 < len(tokens) && tokens[i+1] == "." && (inCast || word == "pg_catalog") {
			i++ // the dot
			continue
		}
		list = append(list, tokens[i])
	}
	return list
}

func isTextual(t *relation.Type) bool {
	if t == nil {
		return false
	}
	if t.Collation || t.Builtin("json", "jsonb", "xml", "tsvector", "tsquery", "bpchar", "char", "name") {
		return true
	}
	return t.Kind == relation.Base && !t.Builtin() || isTextual(t.Elem) || slices.ContainsFunc(t.Attributes, isTextual)
}

// isString reports whether a type's values are nothing but text.
func isString(t *relation.Type) bool {
	t = t.Underlying()
	return t.Kind == relation.Enum || t.Builtin("text", "varchar", "bpchar", "name", "json")
}
