package relation

import (
	"regexp"
	"strings"
	"testing"
)

func TestParseName(t *testing.T) {
	for _, test := range []struct {
		in   string
		want Name
	}{
		{"public.orders", Name{"public", "orders"}},
		{"Public.Orders", Name{"Public", "Orders"}}, // the catalog's spelling, not folded
		{`"a.b".c`, Name{"a.b", "c"}},
		{`a."b.c"`, Name{"a", "b.c"}},
		{`"we""ird"."x"`, Name{`we"ird`, "x"}},
		{`"""".""""`, Name{`"`, `"`}},
		{"a b.c\nd", Name{"a b", "c\nd"}},
		{`a.b"c`, Name{"a", `b"c`}},
		{`a.*`, Name{"a", "*"}},
		{`größe.日本`, Name{"größe", "日本"}},
	} {
		got, err := ParseName(test.in)
		if err != nil || got != test.want {
			t.Errorf("ParseName(%q) = %+v, %v; want %+v", test.in, got, err, test.want)
		}
	}
}

func TestParseNameErrors(t *testing.T) {
	for in, want := range map[string]string{
		"":          "empty identifier",
		"orders":    "want schema.table",
		"a.b.c":     "want schema.table",
		".b":        "empty identifier",
		"a.":        "empty identifier",
		`"".b`:      "empty identifier",
		`"a.b`:      "unfinished quoted identifier",
		`a."b""`:    "unfinished quoted identifier",
		`"a"b.c`:    "after a quoted identifier",
		`"a"."b"c`:  "after a quoted identifier",
		`"a"`:       "want schema.table",
		`a."b".`:    "empty identifier",
		`"a" ."b"`:  "after a quoted identifier",
		`a."b"."c"`: "want schema.table",
	} {
		if got, err := ParseName(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseName(%q) = %+v, %v; want an error with %q", in, got, err, want)
		}
		if _, err := ParsePattern(in); err == nil || in != "" && !strings.Contains(err.Error(), in) && !strings.Contains(in, `"`) {
			t.Errorf("ParsePattern(%q): %v; want an error that names it", in, err)
		}
	}
}

// FuzzParseName: what is written as SQL or for people reads back as the same
// name, and whatever parses is written so.
func FuzzParseName(f *testing.F) {
	for _, s := range []string{"a.b", `"a.b"."c""d"`, `".x`, "*.*", `a."*"`, "\x00.\xff", `""""."."`, "a b.c'd", `a.b"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, err := ParseName(s)
		pattern, patternErr := ParsePattern(s)
		if (err == nil) != (patternErr == nil) {
			t.Fatalf("ParseName(%q): %v, but ParsePattern: %v", s, err, patternErr)
		}
		if err != nil {
			return
		}
		for _, text := range []string{name.SQL(), name.String()} {
			again, err := ParseName(text)
			if err != nil || again != name {
				t.Fatalf("%q is %+v, written as %q is %+v, %v", s, name, text, again, err)
			}
			only, err := ParsePattern(text)
			if err != nil {
				t.Fatalf("ParsePattern(%q): %v", text, err)
			}
			if exact, ok := only.Exact(); !ok || exact != name || !only.Match(name) {
				t.Fatalf("the pattern %q names %+v, %t; want %+v alone", text, exact, ok, name)
			}
		}
		if !pattern.Match(name) {
			t.Fatalf("pattern %q does not match what it spells", s)
		}
	})
}

// FuzzPattern compares patterns with regular expressions.
func FuzzPattern(f *testing.F) {
	f.Add("*", "a")
	f.Add("a*b*c", "abbcc")
	f.Add("*a*", "a")
	f.Add("ab*ba", "aba")
	f.Add("a**b", "ab")
	f.Fuzz(func(t *testing.T, glob, s string) {
		if glob == "" || strings.ContainsAny(glob, `".`) {
			return
		}
		p, err := ParsePattern("x." + glob)
		if err != nil {
			t.Fatal(err)
		}
		pieces := strings.Split(glob, "*")
		for i := range pieces {
			pieces[i] = regexp.QuoteMeta(pieces[i])
		}
		// Invalid UTF-8 is not for regular expressions.
		re, err := regexp.Compile("(?s)^" + strings.Join(pieces, ".*") + "$")
		if err != nil || strings.ToValidUTF8(glob+s, "") != glob+s {
			return
		}
		if got, want := p.Match(Name{"x", s}), re.MatchString(s); got != want {
			t.Fatalf("%q matches %q: %t, want %t", glob, s, got, want)
		}
		if p.Match(Name{"y", s}) {
			t.Fatalf("%q matches another schema", p)
		}
	})
}

func TestPatternLiteral(t *testing.T) {
	for _, test := range []struct {
		pattern, schema, name string
		want                  bool
	}{
		{`public."*"`, "public", "*", true},
		{`public."*"`, "public", "x", false},
		{`*."a*"`, "any", "a*", true},
		{`*."a*"`, "any", "ab", false},
		{"*.*", "a.b", "c.d", true},
		{"public.%", "public", "x", false}, // not SQL's LIKE
		{"public.a_b", "public", "axb", false},
		{"public.?", "public", "x", false},
		{"Public.x", "public", "x", false},
	} {
		p, err := ParsePattern(test.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Match(Name{test.schema, test.name}); got != test.want {
			t.Errorf("%s matches %s.%s: %t, want %t", test.pattern, test.schema, test.name, got, test.want)
		}
		if p.String() != test.pattern {
			t.Errorf("%q is shown as %q", test.pattern, p)
		}
	}
}

func TestNameString(t *testing.T) {
	for name, want := range map[Name]string{
		{"public", "orders"}:     "public.orders",
		{"public", "Orders"}:     `public."Orders"`,
		{"a.b", `c"d`}:           `"a.b"."c""d"`,
		{"a", "1b"}:              `a."1b"`,
		{"a", "b1$_"}:            "a.b1$_",
		{"", "x"}:                `"".x`,
		{"a", "größe"}:           "a.größe",
		{"a", "x; drop table y"}: `a."x; drop table y"`,
	} {
		if got := name.String(); got != want {
			t.Errorf("%+v is shown as %s, want %s", name, got, want)
		}
	}
}

func TestNameCompare(t *testing.T) {
	sorted := []Name{{"a", "b"}, {"a", "c"}, {"a.", "a"}, {"b", "a"}}
	for i := range sorted {
		for j := range sorted {
			if got := sorted[i].Compare(sorted[j]); (got < 0) != (i < j) || (got == 0) != (i == j) {
				t.Errorf("%s against %s: %d", sorted[i], sorted[j], got)
			}
		}
	}
}

// unquote reads a literal as PostgreSQL does with standard_conforming_strings
// on or off; in the strings that QuoteLiteral writes that makes no difference.
func unquote(t *testing.T, s string, conforming bool) string {
	t.Helper()
	s = strings.TrimPrefix(s, " ")
	escapes := !conforming
	if rest, ok := strings.CutPrefix(s, "E"); ok {
		s, escapes = rest, true
	}
	if len(s) < 2 || s[0] != '\'' {
		t.Fatalf("%q is no literal", s)
	}
	var b strings.Builder
	i := 1
	for ; i < len(s); i++ {
		switch {
		case escapes && s[i] == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case s[i] == '\'' && i+1 < len(s) && s[i+1] == '\'':
			i++
			b.WriteByte('\'')
		case s[i] == '\'':
			if i != len(s)-1 {
				t.Fatalf("%q ends at %d", s, i)
			}
			return b.String()
		default:
			b.WriteByte(s[i])
		}
	}
	t.Fatalf("%q does not end", s)
	return ""
}

func FuzzQuote(f *testing.F) {
	for _, s := range []string{"", "'", `\`, `\'`, "a'b", `'\''`, `"`, "\n", "ü"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, conforming := range []bool{true, false} {
			if got := unquote(t, QuoteLiteral(s), conforming); got != s {
				t.Fatalf("QuoteLiteral(%q) = %s, which is %q (standard_conforming_strings: %t)", s, QuoteLiteral(s), got, conforming)
			}
		}
		q := QuoteIdent(s)
		if inner := q[1 : len(q)-1]; strings.ReplaceAll(inner, `""`, `"`) != s || strings.Contains(strings.ReplaceAll(inner, `""`, ""), `"`) {
			t.Fatalf("QuoteIdent(%q) = %s", s, q)
		}
	})
}
