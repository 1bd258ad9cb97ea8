package relation

import (
	"errors"
	"fmt"
	"strings"
)

// Side says which of the two databases something belongs to. It indexes
// two-element arrays throughout.
type Side int

// The two sides of a comparison.
const (
	Source Side = iota
	Target
)

// Sides lists both sides in the order in which they are read.
var Sides = [2]Side{Source, Target}

func (s Side) String() string {
	if s == Source {
		return "source"
	}
	return "target"
}

// Other returns the opposite side.
func (s Side) Other() Side { return 1 - s }

// Name is a schema-qualified name of a relation, as the catalog spells it.
type Name struct {
	Schema, Name string
}

// String returns the name for people: parts are quoted only where they hold
// more than lower-case letters, digits and underscores.
func (n Name) String() string { return displayIdent(n.Schema) + "." + displayIdent(n.Name) }

// SQL returns the name with both parts quoted, fit for any statement.
func (n Name) SQL() string { return QuoteIdent(n.Schema) + "." + QuoteIdent(n.Name) }

// Compare orders names by schema, then by name.
func (n Name) Compare(m Name) int {
	if c := strings.Compare(n.Schema, m.Schema); c != 0 {
		return c
	}
	return strings.Compare(n.Name, m.Name)
}

// ParseName reads schema.name. Parts may be double-quoted, with "" for a quote.
// Unlike PostgreSQL it does not fold case: the name is the catalog's.
func ParseName(s string) (Name, error) {
	parts, err := splitName(s)
	if err != nil {
		return Name{}, fmt.Errorf("table name %q: %w", s, err)
	}
	if len(parts) != 2 {
		return Name{}, fmt.Errorf("table name %q: want schema.table", s)
	}
	return Name{parts[0].text, parts[1].text}, nil
}

// ParseColumns reads schema.table(column, …): a table and some of its columns.
// Each name may be double-quoted.
func ParseColumns(s string) (table Name, columns []string, err error) {
	fail := func() (Name, []string, error) {
		return Name{}, nil, errors.New("want schema.table(column, …)")
	}
	s = strings.TrimSpace(s)
	open := -1
	quoted := false
	for i := 0; i < len(s) && open < 0; i++ {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case s[i] == '(' && !quoted:
			open = i
		}
	}
	list, closed := strings.CutSuffix(s, ")")
	if open < 0 || !closed {
		return fail()
	}
	if table, err = ParseName(strings.TrimSpace(s[:open])); err != nil {
		return fail()
	}
	for rest := list[open+1:]; ; {
		rest = strings.TrimSpace(rest)
		name := rest
		if strings.HasPrefix(rest, `"`) {
			part, after, err := nextPart(rest)
			if err != nil {
				return fail()
			}
			name, rest = part.text, strings.TrimSpace(after)
		} else if i := strings.IndexByte(rest, ','); i >= 0 {
			name, rest = strings.TrimSpace(rest[:i]), rest[i:]
		} else {
			rest = ""
		}
		if name == "" || rest != "" && rest[0] != ',' {
			return fail()
		}
		columns = append(columns, name)
		if rest == "" {
			return table, columns, nil
		}
		rest = rest[1:]
	}
}

// QuoteIdent quotes an identifier for use in SQL.
func QuoteIdent(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

// QuoteLiteral quotes a string for use in SQL, whatever
// standard_conforming_strings says.
func QuoteLiteral(s string) string {
	q := "'" + strings.ReplaceAll(s, "'", "''") + "'"
	if strings.Contains(q, `\`) {
		return " E" + strings.ReplaceAll(q, `\`, `\\`)
	}
	return q
}

func displayIdent(s string) string {
	if s == "" {
		return `""`
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		plain := c == '_' || 'a' <= c && c <= 'z' || c >= 0x80 || i > 0 && (c == '$' || '0' <= c && c <= '9')
		if !plain {
			return QuoteIdent(s)
		}
	}
	return s
}

// namePart is one dot-separated part of a name or pattern. In a quoted part
// no character is special.
type namePart struct {
	text   string
	quoted bool
}

var errQuote = errors.New("unfinished quoted identifier")

func splitName(s string) ([]namePart, error) {
	var parts []namePart
	for {
		part, rest, err := nextPart(s)
		if err != nil {
			return nil, err
		}
		if part.text == "" {
			return nil, errors.New("empty identifier")
		}
		parts = append(parts, part)
		if rest == "" {
			return parts, nil
		}
		if rest[0] != '.' {
			return nil, fmt.Errorf("unexpected %q after a quoted identifier", rest[:1])
		}
		s = rest[1:]
	}
}

func nextPart(s string) (part namePart, rest string, err error) {
	if !strings.HasPrefix(s, `"`) {
		if i := strings.IndexByte(s, '.'); i >= 0 {
			return namePart{text: s[:i]}, s[i:], nil
		}
		return namePart{text: s}, "", nil
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		if s[i] != '"' {
			b.WriteByte(s[i])
			continue
		}
		if i+1 < len(s) && s[i+1] == '"' {
			b.WriteByte('"')
			i++
			continue
		}
		return namePart{text: b.String(), quoted: true}, s[i+1:], nil
	}
	return namePart{}, "", errQuote
}

// Pattern selects tables by name: schema.table, where * stands for any run of
// characters within a part. A part in double quotes is taken literally.
type Pattern struct {
	schema, name namePart
	text         string
}

// ParsePattern reads a pattern.
func ParsePattern(s string) (Pattern, error) {
	parts, err := splitName(s)
	if err != nil {
		return Pattern{}, fmt.Errorf("table pattern %q: %w", s, err)
	}
	if len(parts) != 2 {
		return Pattern{}, fmt.Errorf("table pattern %q: want schema.table, with * for any characters", s)
	}
	return Pattern{schema: parts[0], name: parts[1], text: s}, nil
}

// String returns the pattern as it was written.
func (p Pattern) String() string { return p.text }

// Match reports whether the pattern selects n.
func (p Pattern) Match(n Name) bool {
	return p.schema.match(n.Schema) && p.name.match(n.Name)
}

// Exact reports whether the pattern names a single relation, and which.
// Views are compared only when an exact pattern names them.
func (p Pattern) Exact() (Name, bool) {
	for _, part := range []namePart{p.schema, p.name} {
		if !part.quoted && strings.Contains(part.text, "*") {
			return Name{}, false
		}
	}
	return Name{p.schema.text, p.name.text}, true
}

func (p namePart) match(s string) bool {
	if p.quoted {
		return s == p.text
	}
	pieces := strings.Split(p.text, "*")
	if len(pieces) == 1 {
		return s == p.text
	}
	first, last := pieces[0], pieces[len(pieces)-1]
	if len(s) < len(first)+len(last) || !strings.HasPrefix(s, first) || !strings.HasSuffix(s, last) {
		return false
	}
	s = s[len(first) : len(s)-len(last)]
	for _, piece := range pieces[1 : len(pieces)-1] {
		i := strings.Index(s, piece)
		if i < 0 {
			return false
		}
		s = s[i+len(piece):]
	}
	return true
}
