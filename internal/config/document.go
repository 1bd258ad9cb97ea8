package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxNodes is how many values a file may make by repeating others: an alias
// is a few bytes, and what it stands for may be most of the file.
const maxNodes = 200_000

// maxProblems is how many problems are told; who has more begins at the top.
const maxProblems = 50

// document walks over the nodes of a file, and collects what is wrong. It
// works on nodes rather than decode into structs: every error has its place,
// variables are filled in after the syntax has been read, and no error repeats
// a value.
type document struct {
	path string
	outside
	warnings []string
	problems []error
	nodes    int
}

// item is a value of the file.
type item struct {
	node *yaml.Node
	at   string // the keys that lead to it
}

func (d *document) problem(line, column int, at, format string, args ...any) {
	where := fmt.Sprintf("%s:%d:%d: ", d.path, line, column)
	if at != "" {
		where += at + ": "
	}
	d.problems = append(d.problems, fmt.Errorf("%s%w", where, fmt.Errorf(format, args...)))
}

func (d *document) wrong(v item, format string, args ...any) {
	d.problem(v.node.Line, v.node.Column, v.at, format, args...)
}

func (d *document) err() error {
	if n := len(d.problems); n > maxProblems {
		return errors.Join(append(d.problems[:maxProblems:maxProblems], fmt.Errorf("%s: and %d more problems", d.path, n-maxProblems))...)
	}
	return errors.Join(d.problems...)
}

var (
	syntaxLine    = regexp.MustCompile(`^line (\d+): `)
	unknownAnchor = regexp.MustCompile(`unknown anchor '(.*)' referenced`)
)

// read returns the root of the only YAML document in data, or nil where there
// is a problem.
func (d *document) read(data []byte) *item {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var root, second yaml.Node
	err := decoder.Decode(&root)
	if err == nil && len(root.Content) == 1 {
		if err = decoder.Decode(&second); err == nil {
			d.wrong(item{&second, ""}, "a second YAML document begins; want one")
			return nil
		}
	}
	switch {
	case errors.Is(err, io.EOF) && len(root.Content) == 1:
		return &item{root.Content[0], ""}
	case errors.Is(err, io.EOF):
		d.problem(1, 1, "", "the file is empty")
	default:
		d.syntax(data, err)
	}
	return nil
}

// syntax tells of an error of the parser, whose lines are those where the
// construct begins, or the line before.
func (d *document) syntax(data []byte, err error) {
	lines := strings.Split(string(data), "\n")
	if m := unknownAnchor.FindStringSubmatch(err.Error()); m != nil {
		// The parser's message repeats what may be a secret without quotes,
		// and has no line.
		line, column := 1, 1
		for i, text := range lines {
			if at := strings.Index(text, "*"+m[1]); at >= 0 && !strings.HasPrefix(strings.TrimSpace(text), "#") {
				line, column = i+1, at+1
				break
			}
		}
		d.problem(line, column, "", "an alias without its anchor; a value that begins with * needs quotes")
		return
	}
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	if m := syntaxLine.FindStringSubmatch(text); m != nil {
		line, _ = strconv.Atoi(m[1]) // digits
		text = strings.TrimPrefix(text, m[0])
	}
	hint := ""
	if strings.Contains(text, "alphabetic or numeric character") { // of an anchor's name
		hint = "; a value that begins with * or & needs quotes"
	}
	near := lines[min(max(line-1, 0), len(lines)):min(line+2, len(lines))]
	if strings.Contains(strings.Join(near, "\n"), "${") {
		hint = "; within {…} and […], put quotes around a value that holds ${NAME}"
	}
	d.problems = append(d.problems, fmt.Errorf("%s:%d: at this line or soon after: %s (YAML syntax)%s", d.path, line, text, hint))
}

// resolve follows an alias, and counts what is visited.
func (d *document) resolve(n *yaml.Node) (*yaml.Node, bool) {
	d.nodes++
	if d.nodes > maxNodes {
		if d.nodes == maxNodes+1 {
			d.problem(n.Line, n.Column, "", "more than %d values, counting each use of an alias", maxNodes)
		}
		return nil, false
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n, true
}

// each calls f for each entry of a mapping with keys of the user's choice.
func (d *document) each(v item, f func(key string, value item)) {
	d.entries(v, func(key, value *yaml.Node, at string) {
		if strings.Contains(key.Value, "${") {
			d.problem(key.Line, key.Column, at, "variables work in values, not in keys")
			return
		}
		f(key.Value, item{value, at})
	})
}

func (d *document) entries(v item, f func(key, value *yaml.Node, at string)) {
	if v.node.Kind != yaml.MappingNode {
		d.wrong(v, "want a mapping of keys to values")
		return
	}
	if len(v.node.Content) == 0 {
		d.wrong(v, "the mapping is empty; fill it in, or leave it out if it is optional")
	}
	lines := make(map[string]int)
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		key, ok := d.resolve(v.node.Content[i])
		if !ok {
			return
		}
		value, ok := d.resolve(v.node.Content[i+1])
		if !ok {
			return
		}
		at := join(v.at, key.Value)
		switch {
		case key.Kind != yaml.ScalarNode || key.ShortTag() == "!!null":
			d.problem(key.Line, key.Column, v.at, "a key must be plain text")
		case key.ShortTag() == "!!merge":
			d.problem(key.Line, key.Column, v.at, "merge keys (<<) are not supported; an alias may stand for a whole value")
		case lines[key.Value] > 0:
			d.problem(key.Line, key.Column, at, "stands here for the second time, after line %d", lines[key.Value])
		default:
			lines[key.Value] = key.Line
			f(key, value, at)
		}
	}
}

func join(at, key string) string {
	if at == "" {
		return key
	}
	return at + "." + key
}

// fields is the keys that a mapping may have, and what reads their values.
type fields map[string]func(item)

// unsupported are keys of the file's shape that nothing obeys yet, each with
// what to do instead, if there is something.
type unsupported map[string]string

// keys reads a mapping with fixed keys, and returns those that are there.
func (d *document) keys(v item, known fields, later unsupported) map[string]bool {
	found := make(map[string]bool)
	d.entries(v, func(key, value *yaml.Node, at string) {
		hint, isLater := later[key.Value]
		read := known[key.Value]
		switch {
		case read != nil:
			found[key.Value] = true
			read(item{value, at})
		case isLater && hint != "":
			d.problem(key.Line, key.Column, at, "not supported by this version of verifierd; %s", hint)
		case isLater:
			d.problem(key.Line, key.Column, at, "not supported by this version of verifierd")
		default:
			d.problem(key.Line, key.Column, at, "unknown key%s", suggest(key.Value, known))
		}
	})
	return found
}

// suggest names the known key that is nearest to a mistyped one.
func suggest(key string, known fields) string {
	var names []string
	for name := range known {
		names = append(names, name)
	}
	slices.Sort(names)
	if near := Near(key, names); near != "" {
		return fmt.Sprintf(", did you mean %s?", near)
	}
	return "; known here: " + strings.Join(names, ", ")
}

// Near returns the first of the known words that are nearest to a mistyped
// one, or nothing if it resembles none.
func Near(word string, known []string) string {
	best, least := "", 3
	for _, name := range known {
		if n := distance(word, name); n < least && n < len(name) {
			best, least = name, n
		}
	}
	return best
}

// distance counts the letters to insert, delete or replace.
func distance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}

// list calls f for each entry of a sequence.
func (d *document) list(v item, f func(item)) {
	if v.node.Kind != yaml.SequenceNode {
		d.wrong(v, "want a list")
		return
	}
	if len(v.node.Content) == 0 {
		d.wrong(v, "the list is empty; leave it out")
	}
	for i, n := range v.node.Content {
		n, ok := d.resolve(n)
		if !ok {
			return
		}
		f(item{n, fmt.Sprintf("%s[%d]", v.at, i)})
	}
}

// text returns a scalar with its variables filled in. It is never empty: where
// ok is false, the problem has been noted.
func (d *document) text(v item) (s string, ok bool) {
	if v.node.Kind != yaml.ScalarNode {
		d.wrong(v, "want a single value")
		return "", false
	}
	switch v.node.ShortTag() {
	case "!!str", "!!int", "!!float", "!!bool", "!!timestamp":
	case "!!null":
		d.wrong(v, "no value; put the word null in quotes if it is meant")
		return "", false
	default:
		d.wrong(v, "YAML tags are not supported")
		return "", false
	}
	s, err := expand(v.node.Value, d.env)
	if err != nil {
		d.wrong(v, "%w", err)
		return "", false
	}
	if s == "" {
		d.wrong(v, "the value is empty")
		return "", false
	}
	return s, true
}

// expand replaces ${NAME} by the variable's value, which is not looked into
// again. $${ stands for ${ itself; any other $ is itself, as in SQL.
func expand(s string, env func(string) (string, bool)) (string, error) {
	var b strings.Builder
	for {
		i := strings.Index(s, "${")
		if i < 0 {
			b.WriteString(s)
			return b.String(), nil
		}
		if i > 0 && s[i-1] == '$' {
			b.WriteString(s[:i-1] + "${")
			s = s[i+2:]
			continue
		}
		b.WriteString(s[:i])
		name, rest, closed := strings.Cut(s[i+2:], "}")
		if !closed || !isVariable(name) {
			return "", errors.New("after ${ comes the name of a variable and }; write $${ for ${ itself")
		}
		value, set := env(name)
		if !set {
			return "", fmt.Errorf("the environment variable %s is not set; write $${ for ${ itself", name)
		}
		b.WriteString(value)
		s = rest
	}
}

func isVariable(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}
