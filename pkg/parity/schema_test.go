package parity

import (
	"strings"
	"testing"

	"github.com/verifierd/verifierd/pkg/relation"
)

func TestPrintedByVersion(t *testing.T) {
	for _, c := range []struct {
		old, now string
		same     bool
	}{
		{"SELECT t.a FROM public.t", "SELECT a FROM public.t", true},
		{"SELECT t.a, u.a FROM t JOIN u", "SELECT u.a, t.a FROM t JOIN u", false},
		{"SELECT t.a FROM public.t", "SELECT b FROM public.t", false},
		{"SELECT a FROM public.t", "SELECT a FROM t", false},
		{"public.lower(a)", "lower(a)", false},
		{"a::public.text", "a::text", false},
		{"1.5", "5", false},
		{"timezone('UTC'::text, t.made)", "(made AT TIME ZONE 'UTC'::text)", true},
		{"timezone('UTC'::text, t.made)", "(made AT TIME ZONE 'CET'::text)", false},
		{`"substring"((t.name)::text, 1, 2)`, "SUBSTRING(name FROM 1 FOR 2)", true},
		{`"substring"((t.name)::text, 1, 2)`, "SUBSTRING(name FROM 1 FOR 3)", false},
		{"ltrim((name)::text, 'x'::text)", "TRIM(LEADING 'x'::text FROM name)", true},
		{"rtrim((name)::text, 'x'::text)", "TRIM(LEADING 'x'::text FROM name)", false},
		{"date_part('year'::text, made)", "EXTRACT(year FROM made)", true},
		{"date_part('year'::text, made)", "EXTRACT(month FROM made)", false},
		{`("select" > 1)`, `("select" > 1)`, true},
		{`("merge" > 1)`, "(merge > 1)", true}, // a keyword of one version
		{`("Merge" > 1)`, "(merge > 1)", false},
		{"(a = 'it''s')", "(a = 'it''s')", true},
		{"(a = 'x.y')", "(a = 'y')", false},
		{`(a = E'\\'')`, `(a = E'\\'')`, true},
		{"((a))", "(a)", true},
		{"(a)::text", "a", false},
		// What is left of IN when a dump has been restored.
		{
			"((a)::text = ANY ((ARRAY['x'::character varying, 'y'::character varying])::text[]))",
			"((a)::text = ANY (ARRAY[('x'::character varying)::text, ('y'::character varying)::text]))", true,
		},
		{
			"((a)::text = ANY ((ARRAY['x'::character varying, 'y'::character varying])::text[]))",
			"((a)::text = ANY (ARRAY[('x'::character varying)::text, ('z'::character varying)::text]))", false,
		},
		{"((a)::text = ANY ((ARRAY['x'::character varying])::text[]))", "((a)::text = ANY (ARRAY[('x'::character varying)::name]))", false},
		{"((ARRAY[a, (b + 1), lower(c)])::numeric(5,2)[])", "(ARRAY[(a)::numeric(5,2), ((b + 1))::numeric(5,2), (lower(c))::numeric(5,2)])", true},
		{"((ARRAY[a])::timestamp without time zone[])", "(ARRAY[(a)::timestamp without time zone])", true},
		{"((ARRAY[a])::s.t[])", "(ARRAY[(a)::s.t])", true},
		{"((ARRAY[a])::s.t[])", "(ARRAY[(a)::s.u])", false},
		{"(ARRAY[]::text[])", "(ARRAY[])", false},
	} {
		for _, pair := range [][2]string{{c.old, c.now}, {c.now, c.old}} {
			if got := samePrinted(flat(printed(pair[0])), flat(printed(pair[1]))); got != c.same {
				t.Errorf("%s and %s: the same: %t, want %t (%q, %q)", pair[0], pair[1], got, c.same, flat(printed(pair[0])), flat(printed(pair[1])))
			}
		}
	}
}

// FuzzPrinted: any text is read to its end, and is the same as itself.
func FuzzPrinted(f *testing.F) {
	for _, s := range []string{"", "'", `"`, "E'\\", "((", "))", "a.b.c", "EXTRACT()", "TRIM()", "date_part()", "(AT TIME ZONE)", "x::", "::", "[", "POSITION(", "E'\\'"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tokens := flat(printed(s))
		if !samePrinted(tokens, tokens) {
			t.Errorf("%q differs from itself: %q", s, tokens)
		}
		withoutTypes(tokens)
	})
}

func TestCompareSchemaUnderMaps(t *testing.T) {
	name := func(s string) relation.Name { return relation.Name{Schema: "public", Name: s} }
	object := func(table, kind, object string, properties ...string) relation.Object {
		o := relation.Object{Table: name(table), Kind: kind, Name: object}
		for i := 0; i < len(properties); i += 2 {
			o.Properties = append(o.Properties, relation.Property{Name: properties[i], Value: properties[i+1]})
		}
		return o
	}
	rules := SchemaRules{Tables: []Tables{
		{Source: name("items"), Target: name("order_items"), Policy: Policy{Columns: map[string]string{"n": "number"}, Exclude: []string{"cache"}}},
		{Source: name("orders"), Target: name("orders"), Policy: Policy{Columns: map[string]string{"id": "order_id"}}},
	}}
	source := []relation.Object{
		object("items", "table", ""), object("orders", "table", ""),
		object("items", "column", "n", "type", "integer", "default", "1"), object("items", "column", "cache", "type", "text"),
		object("items", "constraint", "n_check", "type", "check", "columns", "n", "definition", "(n > 0)"),
		object("items", "constraint", "items_orders", "type", "foreign key", "columns", "n", "references", "public.orders", "referenced", "id"),
		object("items", "index", "items_n", "definition", "btree (n, lower(n))"), object("items", "index", "items_cache", "definition", "btree (cache)"),
		object("items", "trigger", "tr", "definition", "AFTER INSERT ON public.items FOR EACH ROW EXECUTE FUNCTION public.f()"),
	}
	target := []relation.Object{
		object("order_items", "table", ""), object("orders", "table", ""),
		object("order_items", "column", "number", "type", "integer", "default", "1"),
		object("order_items", "constraint", "number_check", "type", "check", "columns", "number", "definition", "(number > 0)"),
		object("order_items", "constraint", "items_orders", "type", "foreign key", "columns", "number", "references", "public.orders", "referenced", "order_id"),
		object("order_items", "index", "order_items_n", "definition", "btree (number, lower(number))"),
		object("order_items", "trigger", "tr", "definition", "AFTER INSERT ON public.order_items FOR EACH ROW EXECUTE FUNCTION public.f()"),
	}
	if d := CompareSchema(source, target, rules); len(d) > 0 {
		t.Errorf("%+v", d)
	}
	target[3].Properties[2].Value = "(number > 1)"
	d := CompareSchema(source, target, rules)
	var lines []string
	for _, x := range d {
		lines = append(lines, x.Table.String()+" "+x.Object+" "+x.Kind+" "+string(x.Severity))
	}
	if got := strings.Join(lines, "\n"); got != "public.items constraint n_check missing breaks\npublic.items constraint number_check extra drifts" {
		t.Errorf("%s", got)
	}
	pattern, err := relation.ParseObjectPattern("public.items: constraint *")
	if err != nil {
		t.Fatal(err)
	}
	rules.Ignore = []relation.ObjectPattern{pattern}
	if d := CompareSchema(source, target, rules); len(d) > 0 {
		t.Errorf("ignored: %+v", d)
	}
}

// TestCompareSchemaColumnsNamedLikeTypes: a column may be called what a type, or
// a field of a date, is called.
func TestCompareSchemaColumnsNamedLikeTypes(t *testing.T) {
	name := relation.Name{Schema: "public", Name: "t"}
	check := func(column, definition string) []relation.Object {
		return []relation.Object{{Table: name, Kind: "table"}, {Table: name, Kind: "constraint", Name: "c", Properties: []relation.Property{
			{Name: "type", Value: "check"}, {Name: "columns", Value: column}, {Name: "definition", Value: definition},
		}}}
	}
	mapped := SchemaRules{Tables: []Tables{{Source: name, Target: name, Policy: Policy{Columns: map[string]string{
		"text": "body", "time": "at", "year": "y",
	}}}}}
	for _, c := range [][4]string{
		{"text", "(text <> ''::text)", "body", "(body <> ''::text)"},
		{`"time"`, `("time" > '12:00:00'::time without time zone)`, "at", "(at > '12:00:00'::time without time zone)"},
		{"year", "((year)::double precision > date_part('year'::text, now()))", "y", "((y)::double precision > date_part('year'::text, now()))"},
		{"year", "((year)::numeric > EXTRACT(year FROM now()))", "y", "((y)::numeric > EXTRACT(year FROM now()))"},
	} {
		if d := CompareSchema(check(c[0], c[1]), check(c[2], c[3]), mapped); len(d) > 0 {
			t.Errorf("%s: %+v", c[1], d)
		}
	}
	if d := CompareSchema(check("text", "(text <> ''::text)"), check("body", "(body <> 'x'::text)"), mapped); len(d) == 0 {
		t.Error("another definition was not found")
	}
	excluded := SchemaRules{Tables: []Tables{{Source: name, Target: name, Policy: Policy{Exclude: []string{"text"}}}}}
	if d := CompareSchema(check("a", "(a <> ''::text)"), check("a", "(a <> 'x'::text)"), excluded); len(d) != 1 {
		t.Errorf("a column is excluded that is called as the type of another: %+v", d)
	}
	if d := CompareSchema(check("text", "(text <> ''::text)"), check("text", "(text <> 'x'::text)"), excluded); len(d) > 0 {
		t.Errorf("the column is excluded: %+v", d)
	}
}

func TestCompareSchemaPrivilegesOfVersions(t *testing.T) {
	grant := func(privileges string) []relation.Object {
		return []relation.Object{{Kind: "schema", Name: "s"}, {Kind: "grant", Name: "app on schema s", Properties: []relation.Property{{Name: "privileges", Value: privileges}}}}
	}
	for _, c := range []struct {
		major [2]int
		same  bool
	}{{[2]int{16, 17}, true}, {[2]int{17, 18}, false}} {
		d := CompareSchema(grant("SELECT"), grant("MAINTAIN, SELECT"), SchemaRules{Major: c.major})
		if (len(d) == 0) != c.same {
			t.Errorf("%v: %+v", c.major, d)
		}
	}
}
