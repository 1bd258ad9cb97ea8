package relation

import (
	"errors"
	"fmt"
	"strings"
)

// ObjectPattern picks objects by their text, as reports show
// it, perhaps within some tables.
type ObjectPattern struct {
	text   string
	tables *Pattern
	pieces []string
}

// ParseObjectPattern reads OBJECT or TABLE: OBJECT. In both, * stands for any
// characters: "index *", "function audit.*", "public.orders: column note".
func ParseObjectPattern(s string) (ObjectPattern, error) {
	p := ObjectPattern{text: s}
	object := s
	if table, rest, found := strings.Cut(s, ": "); found {
		tables, err := ParsePattern(table)
		if err != nil {
			return p, fmt.Errorf("before the colon: %w", err)
		}
		p.tables, object = &tables, rest
	}
	if object = strings.TrimSpace(object); object == "" {
		return p, errors.New("want an object as reports name it, with * for any characters, perhaps after a table and a colon")
	}
	p.pieces = strings.Split(object, "*")
	return p, nil
}

// String returns the pattern as it was written.
func (p ObjectPattern) String() string { return p.text }

// Match reports whether the pattern picks an object of a table; of none: the zero
// name.
func (p ObjectPattern) Match(table Name, object string) bool {
	if p.tables != nil && !p.tables.Match(table) {
		return false
	}
	last := len(p.pieces) - 1
	if last == 0 {
		return object == p.pieces[0]
	}
	if !strings.HasPrefix(object, p.pieces[0]) {
		return false
	}
	s := object[len(p.pieces[0]):]
	for _, piece := range p.pieces[1:last] {
		_, rest, found := strings.Cut(s, piece)
		if !found {
			return false
		}
		s = rest
	}
	return strings.HasSuffix(s, p.pieces[last])
}
