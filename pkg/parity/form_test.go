package parity

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/verifierd/verifierd/pkg/relation"
)

// typeOf makes types out of names: "int4", "int4[]", "s.name" for a user's
// enum, "s.name+" for an extension's, "s.name=int4" for a domain.
func typeOf(name string) *relation.Type {
	if elem, ok := strings.CutSuffix(name, "[]"); ok {
		return &relation.Type{Schema: "pg_catalog", Name: "_" + elem, Kind: relation.Array, Elem: typeOf(elem), BinaryOutput: true}
	}
	schema, rest, user := strings.Cut(name, ".")
	if !user {
		return &relation.Type{Schema: "pg_catalog", Name: name, Kind: relation.Base, ArrayOID: 1, BinaryOutput: name != "aclitem"}
	}
	if domain, base, ok := strings.Cut(rest, "="); ok {
		return &relation.Type{Schema: schema, Name: domain, Kind: relation.Domain, Elem: typeOf(base), BaseDefinition: base, BinaryOutput: true}
	}
	if ext, ok := strings.CutSuffix(rest, "+"); ok {
		return &relation.Type{Schema: schema, Name: ext, Kind: relation.Base, ArrayOID: 1, BinaryOutput: true}
	}
	return &relation.Type{Schema: schema, Name: rest, Kind: relation.Enum, ArrayOID: 1, BinaryOutput: true}
}

// tableOf makes a table out of column definitions, "name type" each. A key is
// "a, b" for a primary key, "unique a, b" for a unique index; both are indexes.
// Columns of keys are NOT NULL.
func tableOf(columns []string, keys ...string) *relation.Table {
	t := &relation.Table{Name: relation.Name{Schema: "s", Name: "t"}}
	for i, def := range columns {
		name, typ, _ := strings.Cut(def, " ")
		t.Columns = append(t.Columns, relation.Column{Name: name, Number: int16(i + 1), Type: typeOf(typ), Definition: typ})
	}
	for i, k := range keys {
		list, unique := strings.CutPrefix(k, "unique ")
		key := relation.Key{Columns: strings.Split(list, ", "), Index: fmt.Sprintf("key_%d", i), Primary: !unique}
		for _, name := range key.Columns {
			t.Column(name).NotNull = true
		}
		t.Keys = append(t.Keys, key)
		t.Indexes = append(t.Indexes, relation.Index{Name: key.Index, Columns: key.Columns})
	}
	return t
}

var sameEncoding = [2]string{"UTF8", "UTF8"}

func TestIncomparable(t *testing.T) {
	for name, want := range map[string]string{
		"oid": "oid", "xid": "xid", "tid": "tid", "cid": "cid", "oid[]": "oid", "s.ref=oid": "oid", "oidvector": "oidvector",
		"int4": "", "xid8": "", "pg_lsn": "", "regclass": "", "s.oid": "", "s.oid+": "",
	} {
		if got := incomparable(typeOf(name)); got != want {
			t.Errorf("%s: %q means nothing elsewhere, want %q", name, got, want)
		}
	}
	composite := &relation.Type{Schema: "s", Name: "c", Kind: relation.Composite, Attributes: []*relation.Type{typeOf("int4"), typeOf("oid")}}
	if got := incomparable(composite); got != "oid" {
		t.Errorf("a composite with an oid: %q", got)
	}
}

func TestPlanFormColumns(t *testing.T) {
	source := tableOf([]string{"a int4", "gone text", "n numeric", "o oid", "w int4"}, "a")
	target := tableOf([]string{"new text", "w int8", "o oid", "n float8", "a int4"}, "a")
	p := planForm(source, target, sameEncoding, rules{})
	var fields []string
	for i := range p.Fields {
		fields = append(fields, p.Fields[i].Expr(relation.Source))
	}
	if want := []string{`"a"`, `"w"::"pg_catalog"."int8"`}; !slices.Equal(fields, want) {
		t.Errorf("fields %q, want %q", fields, want)
	}
	var found []string
	for _, d := range p.differences {
		found = append(found, fmt.Sprintf("%s %s %s %s>%s", d.Object, d.Kind, d.Severity, d.Source, d.Target))
	}
	want := []string{
		"column gone missing breaks text>", "column n changed breaks numeric>float8", "column w changed drifts int4>int8",
		"column new extra drifts >text",
	}
	if !slices.Equal(found, want) {
		t.Errorf("differences %q, want %q", found, want)
	}
	wantGaps := []string{`column "n" is numeric on the source and float8 on the target`, `column "o" holds values of type oid, which mean nothing on another server: exclude it in the table's policy`}
	if !slices.Equal(p.gaps, wantGaps) {
		t.Errorf("gaps %q, want %q", p.gaps, wantGaps)
	}
}

func TestPlanFormEncodings(t *testing.T) {
	columns := []string{"a int4", "j jsonb", "h public.hstore+", "ja jsonb[]", "x json", "t text"}
	p := planForm(tableOf(columns, "a"), tableOf(columns, "a"), [2]string{"LATIN1", "UTF8"}, rules{})
	if len(p.gaps) != 0 || len(p.Fields) != 6 {
		t.Fatalf("%d fields, gaps %q", len(p.Fields), p.gaps)
	}
	for i, want := range []struct {
		reorder bool
		cast    string
	}{{}, {reorder: true}, {reorder: true, cast: jsonbType.SQL()}, {reorder: true}, {}, {}} {
		if f := p.Fields[i]; f.Reorder != want.reorder || f.Cast != [2]string{want.cast, want.cast} {
			t.Errorf("%s: reordered: %t, cast %q; want %+v", columns[i], f.Reorder, f.Cast, want)
		}
	}
	if p := planForm(tableOf(columns, "a"), tableOf(columns, "a"), sameEncoding, rules{}); len(p.gaps) != 0 || len(p.Fields) != 6 || p.Fields[1].Reorder || p.Fields[2].Cast[0] != "" {
		t.Errorf("in one encoding: %d fields, gaps %q", len(p.Fields), p.gaps)
	}
}

func TestChooseKey(t *testing.T) {
	columns := []string{"a int4", "b text", "c uuid", "d bytea", "e int4[]"}
	for _, test := range []struct {
		name            string
		source, target  []string // keys
		want            string   // columns of the key
		ordered         int
		indexed, ranged [2]bool
		differences     string
	}{
		{"primary on both", []string{"a"}, []string{"a"}, "a", 1, [2]bool{true, true}, [2]bool{true, true}, ""},
		{"none", nil, nil, "", 0, [2]bool{}, [2]bool{}, ""},
		{"in another order", []string{"a, c"}, []string{"c, a"}, "a, c", 2, [2]bool{true, true}, [2]bool{true, false}, ""},
		{"source only", []string{"a"}, nil, "a", 0, [2]bool{}, [2]bool{}, "missing breaks"},
		{"target only", nil, []string{"unique c"}, "c", 0, [2]bool{}, [2]bool{}, "extra drifts"},
		{"one in common, not the primary", []string{"a", "unique c"}, []string{"b", "unique c"}, "c", 1, [2]bool{true, true}, [2]bool{true, true}, "missing breaks, extra drifts"},
		{"text sorts differently", []string{"b"}, []string{"b"}, "b", 0, [2]bool{true, true}, [2]bool{}, ""},
		{"a prefix that sorts", []string{"a, b"}, []string{"a, b"}, "a, b", 1, [2]bool{true, true}, [2]bool{true, true}, ""},
		{"nothing sorts behind bytes", []string{"d, a"}, []string{"d, a"}, "d, a", 1, [2]bool{true, true}, [2]bool{true, true}, ""},
		{"text comes first", []string{"b, a"}, []string{"b, a"}, "b, a", 0, [2]bool{true, true}, [2]bool{}, ""},
		{"arrays are not looked up", []string{"e"}, []string{"e"}, "e", 0, [2]bool{}, [2]bool{}, ""},
		{"primary before unique", []string{"a", "unique c"}, []string{"a", "unique c"}, "a", 1, [2]bool{true, true}, [2]bool{true, true}, ""},
	} {
		p := planForm(tableOf(columns, test.source...), tableOf(columns, test.target...), sameEncoding, rules{})
		if got := strings.Join(p.keyNames(relation.Source), ", "); got != test.want {
			t.Errorf("%s: key %q, want %q", test.name, got, test.want)
		}
		if p.Ordered != test.ordered || p.Indexed != test.indexed || p.Ranged != test.ranged {
			t.Errorf("%s: %d ordered, indexed %v, ranged %v; want %d, %v, %v", test.name, p.Ordered, p.Indexed, p.Ranged, test.ordered, test.indexed, test.ranged)
		}
		var found []string
		for _, d := range p.differences {
			found = append(found, d.Kind+" "+string(d.Severity))
		}
		if got := strings.Join(found, ", "); got != test.differences {
			t.Errorf("%s: differences %q, want %q", test.name, got, test.differences)
		}
	}
}

// TestChooseKeyOfComparedColumns: a key whose column cannot be compared
// identifies nothing.
func TestChooseKeyOfComparedColumns(t *testing.T) {
	source := tableOf([]string{"a numeric", "b int4"}, "a", "unique b")
	target := tableOf([]string{"a float8", "b int4"}, "a", "unique b")
	if p := planForm(source, target, sameEncoding, rules{}); strings.Join(p.keyNames(0), ",") != "b" {
		t.Errorf("key %q, want b", p.keyNames(0))
	}
	source.Keys, target.Keys = source.Keys[:1], target.Keys[:1]
	if p := planForm(source, target, sameEncoding, rules{}); len(p.Key) != 0 || !slices.Contains(p.notes, "no key: rows are compared as a multiset") {
		t.Errorf("key %q, notes %q; want none, and said", p.keyNames(0), p.notes)
	}
}

// TestLookUpWidened: an integer finds its row through the index of a narrower
// type, and varchar as text; an enum does not as text.
func TestLookUpWidened(t *testing.T) {
	for _, test := range []struct {
		source, target string
		want           [2]bool
	}{
		{"int4", "int8", [2]bool{true, true}},
		{"varchar", "text", [2]bool{true, true}},
		{"s.code=varchar", "text", [2]bool{true, true}},
		{"s.mood", "text", [2]bool{false, true}},
		{"name", "text", [2]bool{false, true}},
		{"float4", "float8", [2]bool{false, true}},
		{"date", "timestamp", [2]bool{true, true}},
		{"cidr", "inet", [2]bool{true, true}},
		{"s.day=date", "timestamp", [2]bool{true, true}},
		{"uuid", "text", [2]bool{false, true}},
		{"bit", "varbit", [2]bool{false, true}},
		{"macaddr", "macaddr8", [2]bool{false, true}},
		{"int4", "numeric", [2]bool{false, false}}, // compared by value
		{"int4[]", "int8[]", [2]bool{false, false}},
		{"regclass", "regclass", [2]bool{false, false}},
	} {
		p := planForm(tableOf([]string{"k " + test.source}, "k"), tableOf([]string{"k " + test.target}, "k"), sameEncoding, rules{})
		if p.Indexed != test.want {
			t.Errorf("%s and %s: indexed %v, want %v", test.source, test.target, p.Indexed, test.want)
		}
	}
}

// TestModifiers: a modifier breaks if it changes what is stored, else drifts.
func TestModifiers(t *testing.T) {
	for _, test := range []struct {
		source, target string
		want           Severity
	}{
		{"numeric(10,2)", "numeric(12,2)", Drifts},
		{"numeric(12,2)", "numeric(10,2)", Drifts},
		{"numeric(10,2)", "numeric(10,4)", Breaks},
		{"numeric(10,0)", "numeric(10,2)", Breaks},
		{"numeric(5,-2)", "numeric(5,2)", Breaks},
		{"numeric(10,2)", "numeric", Drifts},
		{"numeric", "numeric(10,2)", Drifts},
		{"numeric", "s.amount=numeric", Drifts},
		{"numeric(10,2)", "s.amount=numeric(12,2)", Drifts},
		{"numeric(10,2)", "s.amount=numeric(10,4)", Breaks},
		{"bpchar(5)", "bpchar(9)", Breaks},
		{"varchar(5)", "varchar(9)", Drifts},
	} {
		tables := [2]*relation.Table{}
		for side, definition := range []string{test.source, test.target} {
			base, _, _ := strings.Cut(definition, "(")
			tables[side] = tableOf([]string{"a int4", "v " + base}, "a")
			c := &tables[side].Columns[1]
			c.Definition = definition
			if _, of, domain := strings.Cut(definition, "="); domain {
				c.Type.BaseDefinition = of
			}
		}
		p := planForm(tables[0], tables[1], sameEncoding, rules{})
		if len(p.differences) != 1 || p.differences[0].Severity != test.want || len(p.gaps) > 0 {
			t.Errorf("%s and %s: %+v, gaps %q; want that it %s", test.source, test.target, p.differences, p.gaps, test.want)
			continue
		}
		if hint := p.differences[0].Hint; strings.Contains(hint, "value: [v]") != (test.want == Breaks) {
			t.Errorf("%s and %s: the hint is %q", test.source, test.target, hint)
		}
	}
}

// TestWiderKeyOfPartitioned: a partitioned table cannot have a key without its
// partition key; any other table could.
func TestWiderKeyOfPartitioned(t *testing.T) {
	columns := []string{"a int4", "b int4"}
	for _, test := range []struct {
		kind relation.Kind
		key  string
		want Severity
	}{
		{relation.Partitioned, "a, b", Drifts},
		{relation.Partitioned, "b, a", Drifts},
		{relation.Partitioned, "b", Breaks},
		{relation.Ordinary, "a, b", Breaks},
	} {
		target := tableOf(columns, test.key)
		target.Kind = test.kind
		p := planForm(tableOf(columns, "a"), target, sameEncoding, rules{})
		if len(p.differences) == 0 || p.differences[0].Kind != "missing" || p.differences[0].Severity != test.want {
			t.Errorf("key (a) and (%s) of a %s: %+v; want that it %s", test.key, test.kind, p.differences, test.want)
		}
		if test.want == Drifts && strings.Join(p.keyNames(relation.Source), ",") != "a" {
			t.Errorf("key (a) and (%s): compared by %q", test.key, p.keyNames(relation.Source))
		}
	}
}
