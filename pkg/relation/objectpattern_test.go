package relation

import "testing"

func TestObjectPattern(t *testing.T) {
	orders := Name{"public", "orders"}
	for _, c := range []struct {
		pattern string
		table   Name
		object  string
		want    bool
	}{
		{"index *", orders, "index k", true},
		{"index *", orders, "constraint k", false},
		{"*", orders, "anything", true},
		{"function audit.*", Name{}, "function audit.f(integer)", true},
		{"function audit.*", Name{}, "function public.audit.f()", false},
		{"public.*: column note", orders, "column note", true},
		{"public.*: column note", orders, "column notes", false},
		{"audit.*: *", orders, "column note", false},
		{"audit.*: *", Name{}, "function f()", false},
		{"index a*b*c", orders, "index a b b c", true},
		{"index ab*bc", orders, "index abc", false},
		{"table", orders, "table", true},
	} {
		p, err := ParseObjectPattern(c.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if p.Match(c.table, c.object) != c.want || p.String() != c.pattern {
			t.Errorf("%s on %s %s: %t", p, c.table, c.object, !c.want)
		}
	}
	for _, s := range []string{"", " ", "a.b: ", "a: x", `"a.b: x`} {
		if _, err := ParseObjectPattern(s); err == nil {
			t.Errorf("%q is read", s)
		}
	}
}
