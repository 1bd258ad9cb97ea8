package parity

import (
	"slices"
	"strings"
)

// What PostgreSQL prints of an expression or a query depends on its version:
// how it quotes, qualifies and calls things. printed brings such text into one
// form. It follows the server's printer (ruleutils.c), not SQL at large: its
// parentheses are complete, its keywords upper case.

// term is a token, or what stands in parentheses or brackets.
type term struct {
	text  string // "(" or "[" for a group
	group []term
}

func (t term) isGroup() bool { return t.text == "(" || t.text == "[" }

// printed reads the text of a definition.
func printed(text string) []term {
	tokens := tokenize(text)
	terms, _ := groups(tokens)
	return simplify(terms)
}

// tokenize splits SQL as the server prints it. Identifiers lose quotes that
// they need only as keywords, of which versions have different ones.
func tokenize(s string) []string {
	var tokens []string
	for i := 0; i < len(s); {
		start, c := i, s[i]
		switch {
		case c == ' ' || c == '\n' || c == '\t' || c == '\r':
			i++
			continue
		case c == '\'' || c == '"':
			i = quotedEnd(s, i)
		case wordByte(c):
			number := '0' <= c && c <= '9'
			for i < len(s) && (wordByte(s[i]) || number && s[i] == '.') {
				i++
			}
			if i < len(s) && s[i] == '\'' && i-start == 1 { // E'…', B'…'
				i = quotedEnd(s, i)
			}
		case strings.IndexByte("()[],;.", c) >= 0:
			i++
		default:
			for i < len(s) && strings.IndexByte(" \n\t\r'\"()[],;.", s[i]) < 0 && !wordByte(s[i]) {
				i++
			}
		}
		tokens = append(tokens, unquoted(s[start:i]))
	}
	return tokens
}

func wordByte(c byte) bool {
	return c == '_' || c == '$' || c >= 0x80 || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// quotedEnd returns where the literal or identifier that begins at i ends.
func quotedEnd(s string, i int) int {
	quote, escapes := s[i], i > 0 && s[i-1] == 'E'
	for i++; i < len(s); i++ {
		switch {
		case s[i] == '\\' && escapes:
			i++
		case s[i] == quote && i+1 < len(s) && s[i+1] == quote:
			i++
		case s[i] == quote:
			return i + 1
		}
	}
	return len(s)
}

func unquoted(token string) string {
	if len(token) < 3 || token[0] != '"' {
		return token
	}
	inner := token[1 : len(token)-1]
	for i := range len(inner) {
		if c := inner[i]; !wordByte(c) || 'A' <= c && c <= 'Z' || i == 0 && '0' <= c && c <= '9' {
			return token
		}
	}
	return inner
}

// groups gathers what stands between parentheses, and returns the rest after a
// closing one.
func groups(tokens []string) (terms []term, rest []string) {
	for len(tokens) > 0 {
		token := tokens[0]
		tokens = tokens[1:]
		switch token {
		case ")", "]":
			return terms, tokens
		case "(", "[":
			var inner []term
			inner, tokens = groups(tokens)
			terms = append(terms, term{text: token, group: inner})
		default:
			terms = append(terms, term{text: token})
		}
	}
	return terms, nil
}

// simplify brings calls that versions print differently into one form: since
// 14 those that the standard has a syntax of its own for.
func simplify(terms []term) []term {
	out := make([]term, 0, len(terms))
	for i := 0; i < len(terms); i++ {
		t := terms[i]
		if t.text == "::" && len(out) > 0 {
			if elements, n := castElements(out[len(out)-1], terms[i+1:]); n > 0 {
				out = append(append(out[:len(out)-1], term{text: "ARRAY"}), elements)
				i += n
				continue
			}
		}
		if !t.isGroup() {
			out = append(out, t)
			continue
		}
		t.group = simplify(t.group)
		if len(out) > 0 && t.text == "(" {
			if name, args := call(out[len(out)-1].text, t.group); name != "" {
				out[len(out)-1] = term{text: name}
				out = append(out, term{text: "(", group: args})
				continue
			}
		}
		if at := sequence(t.group, "AT", "TIME", "ZONE"); at >= 0 && t.text == "(" {
			out = append(out, term{text: "timezone"}, term{text: "(", group: arguments(t.group[at+3:], t.group[:at])})
			continue
		}
		if len(t.group) == 1 && t.text == "(" && t.group[0].text == "(" {
			t = t.group[0] // twice in parentheses
		}
		out = append(out, t)
	}
	return out
}

// castElements returns the elements of an array that is converted as a whole,
// each converted by itself, and of how many terms the type is; 0: it is no such
// array. A server makes the one of the other when it reads what it has printed:
// "a IN ('x', 'y')" changes on its way through a dump, if a is a varchar.
func castElements(array term, after []term) (elements term, n int) {
	if array.text != "(" || len(array.group) != 2 || array.group[0].text != "ARRAY" || array.group[1].text != "[" {
		return term{}, 0
	}
	n = typeLength(after)
	if n == 0 || n == len(after) || after[n].text != "[" || len(after[n].group) > 0 {
		return term{}, 0
	}
	elements.text = "["
	for i, e := range byCommas(array.group[1].group) {
		if len(e) == 0 || e[0].text == "ARRAY" {
			return term{}, 0
		}
		if len(e) != 1 || e[0].text != "(" {
			e = []term{{text: "(", group: e}}
		}
		if i > 0 {
			elements.group = append(elements.group, term{text: ","})
		}
		elements.group = append(append(append(elements.group, e...), term{text: "::"}), after[:n]...)
	}
	return elements, n + 1
}

// typeLength is how many terms the name of a type has that they begin with,
// without the brackets of an array.
func typeLength(terms []term) int {
	n := min(1, len(terms))
	for n < len(terms) && (terms[n].text == "." || terms[n-1].text == "." || slices.Contains(typeWords, terms[n].text) || terms[n].text == "(") {
		n++
	}
	return n
}

// byCommas splits terms at commas.
func byCommas(terms []term) [][]term {
	var parts [][]term
	for {
		at := sequence(terms, ",")
		if at < 0 {
			return append(parts, terms)
		}
		parts, terms = append(parts, terms[:at]), terms[at+1:]
	}
}

// sequence returns where the words stand one after the other, else -1.
func sequence(terms []term, words ...string) int {
	for i := 0; i+len(words) <= len(terms); i++ {
		if slices.EqualFunc(terms[i:i+len(words)], words, func(t term, w string) bool { return t.text == w }) {
			return i
		}
	}
	return -1
}

// split cuts terms at each of the words that is there, in order.
func split(terms []term, words ...string) [][]term {
	var parts [][]term
	for _, w := range words {
		if at := sequence(terms, w); at >= 0 {
			parts = append(parts, terms[:at])
			terms = terms[at+1:]
		}
	}
	return append(parts, terms)
}

// call returns one form of a call that has several, "" for other functions.
// Conversions of its arguments are left out: they are printed in one form only.
func call(function string, args []term) (name string, canonical []term) {
	switch function {
	case "EXTRACT":
		return "date_part", arguments(split(args, "FROM")...)
	case "date_part":
		parts := byCommas(args)
		if field := parts[0]; len(field) > 0 {
			parts[0] = []term{{text: strings.Trim(field[0].text, "'")}}
		}
		return function, arguments(parts...)
	case "SUBSTRING":
		return "substring", arguments(split(args, "FROM", "FOR")...)
	case "OVERLAY":
		return "overlay", arguments(split(args, "PLACING", "FROM", "FOR")...)
	case "POSITION":
		parts := split(args, "IN")
		slices.Reverse(parts)
		return "position", arguments(parts...)
	case "TRIM":
		if len(args) == 0 {
			return "", nil
		}
		parts := split(args[1:], "FROM")
		slices.Reverse(parts)
		name := map[string]string{"LEADING": "ltrim", "TRAILING": "rtrim"}[args[0].text]
		if name == "" {
			name = "btrim"
		}
		return name, arguments(parts...)
	case "substring", "overlay", "position", "btrim", "ltrim", "rtrim", "timezone":
		return function, arguments(byCommas(args)...)
	}
	return "", nil
}

// arguments joins arguments, each without its outer conversion and parentheses.
func arguments(parts ...[]term) []term {
	var joined []term
	for _, arg := range parts {
		if len(arg) == 0 {
			continue
		}
		for {
			if at := slices.IndexFunc(arg, func(t term) bool { return t.text == "::" }); at > 0 {
				arg = arg[:at]
			}
			if len(arg) != 1 || arg[0].text != "(" {
				break
			}
			arg = arg[0].group
		}
		if len(joined) > 0 {
			joined = append(joined, term{text: ","})
		}
		joined = append(joined, arg...)
	}
	return joined
}

// typeWords follow the first word of a type's name.
var typeWords = []string{"varying", "precision", "with", "without", "time", "zone"}

// withoutCasts leaves out conversions, and the parentheses that they needed.
func withoutCasts(terms []term) []term {
	var out []term
	for i := 0; i < len(terms); i++ {
		t := terms[i]
		if t.text == "::" {
			i++ // the type's name
			for i+1 < len(terms) && (terms[i+1].text == "." || terms[i].text == "." || slices.Contains(typeWords, terms[i+1].text) || terms[i+1].isGroup()) {
				i++
			}
			continue
		}
		if t.isGroup() {
			t.group = withoutCasts(t.group)
			called := len(out) > 0 && !out[len(out)-1].isGroup() && wordByte(out[len(out)-1].text[0])
			if t.text == "(" && len(t.group) == 1 && (!called || t.group[0].text == "(") {
				t = t.group[0]
			}
		}
		out = append(out, t)
	}
	return out
}

// flat returns the tokens of terms again.
func flat(terms []term) []string {
	var tokens []string
	for _, t := range terms {
		tokens = append(tokens, t.text)
		if t.isGroup() {
			tokens = append(append(tokens, flat(t.group)...), map[string]string{"(": ")", "[": "]"}[t.text])
		}
	}
	return tokens
}

// columnsAmong tells which tokens may be the names of columns: not those of
// types, which columns may share, nor the fields of a date.
func columnsAmong(tokens []string) []bool {
	may := make([]bool, len(tokens))
	inType := false
	for i, token := range tokens {
		before := ""
		if i > 0 {
			before = tokens[i-1]
		}
		inType = before == "::" || inType && (token == "." || before == "." || slices.Contains(typeWords, token))
		field := before == "(" && i > 1 && slices.Contains([]string{"date_part", "EXTRACT"}, tokens[i-2])
		may[i] = !inType && !field && token != "." && token != "::"
	}
	return may
}

// samePrinted reports whether two texts define the same. Since 16, columns go
// without their table's name where a query has only one table: so a qualifier
// may be missing on one side.
func samePrinted(a, b []string) bool {
	i, j := 0, 0
	for i < len(a) && j < len(b) {
		qa, qb := qualified(a, i), qualified(b, j)
		switch {
		case a[i] == b[j] && qa == qb:
			i, j = i+1, j+1
		case qa && !qb && a[i+2] == b[j]:
			i += 2
		case qb && !qa && b[j+2] == a[i]:
			j += 2
		default:
			return false
		}
	}
	return i == len(a) && j == len(b)
}

// qualified reports whether a column's name, with its table's before it, begins
// at i. Types, functions and tables have their schemas before them.
func qualified(tokens []string, i int) bool {
	if i+2 >= len(tokens) || tokens[i+1] != "." || tokens[i][0] != '"' && (!wordByte(tokens[i][0]) || '0' <= tokens[i][0] && tokens[i][0] <= '9') {
		return false
	}
	if i+3 < len(tokens) && (tokens[i+3] == "(" || tokens[i+3] == ".") {
		return false
	}
	return i == 0 || !slices.Contains([]string{"::", "FROM", "JOIN", "INTO", "UPDATE", "ONLY", "COLLATE", "TO", "."}, tokens[i-1])
}
