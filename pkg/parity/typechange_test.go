package parity

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/verifierd/verifierd/pkg/relation"
)

// typeNames are as documented; typeOf makes types of them.
var typeNames = map[string]string{"enum": "s.mood", "citext": "public.citext+"}

func documented(name string) *relation.Type {
	if as, ok := typeNames[name]; ok {
		name = as
	}
	return typeOf(name)
}

// universe are types between which a column may change.
var universe = []string{
	"int2", "int4", "int8", "numeric", "float4", "float8", "money", "bool",
	"text", "varchar", "name", "bpchar", "char", "citext", "enum", "json", "jsonb", "xml", "uuid", "bytea",
	"date", "timestamp", "timestamptz", "time", "timetz", "interval",
	"bit", "varbit", "cidr", "inet", "macaddr", "macaddr8", "int4range", "int8range", "numrange", "tsrange", "tstzrange",
	"point", "box", "tsvector", "pg_lsn", "xid8",
}

// documentTables returns the rows of the tables of docs/type-changes.md.
func documentTables(t *testing.T) (tables [][][]string) {
	t.Helper()
	content, err := os.ReadFile("../../docs/type-changes.md")
	if err != nil {
		t.Fatal(err)
	}
	head := true
	for line := range strings.Lines(strings.ReplaceAll(string(content), `\|`, "\x00")) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		switch {
		case len(cells) < 4:
			head = true
		case head:
			tables, head = append(tables, nil), false
		case !strings.HasPrefix(line, "|---"):
			row := make([]string, len(cells)-2)
			for i, c := range cells[1 : len(cells)-1] {
				row[i] = strings.ReplaceAll(strings.Trim(strings.TrimSpace(c), "`"), "\x00", "|")
			}
			tables[len(tables)-1] = append(tables[len(tables)-1], row)
		}
	}
	return tables
}

// TestTypeChangesDocument: docs/type-changes.md lists exactly the pairs of types
// that have a common form, and the casts that are suggested for others.
func TestTypeChangesDocument(t *testing.T) {
	tables := documentTables(t)
	if len(tables) != 2 {
		t.Fatalf("%d tables, want 2", len(tables))
	}
	commons := make(map[[2]string]string)
	for _, row := range tables[0] {
		for _, source := range strings.Split(row[0], ", ") {
			for _, target := range strings.Split(row[1], ", ") {
				if pair := [2]string{source, target}; source != target && commons[pair] == "" {
					commons[pair] = row[2]
				}
			}
		}
	}
	found := 0
	for _, source := range universe {
		for _, target := range universe {
			pair := [2]string{source, target}
			if source == target {
				continue
			}
			want := commons[pair]
			if want != "" {
				found++
			}
			for _, suffix := range []string{"", "[]"} {
				checkPair(t, pair, suffix, want)
			}
		}
	}
	if found != len(commons) {
		t.Errorf("%d pairs of documented types are in the universe, want %d", found, len(commons))
	}
	for _, row := range tables[1] {
		pair := [2]string{row[0], row[1]}
		if commons[pair] != "" {
			t.Errorf("%v: documented with a common form and with a cast", pair)
		}
		got, _ := suggestCast(changed(documented(row[0])), changed(documented(row[1])))
		if want := [2]string{row[2], row[3]}; got != want {
			t.Errorf("%v: suggests %q, documented %q", pair, got, want)
		}
	}
}

// changed returns a column c of a type.
func changed(t *relation.Type) *relation.Column {
	return &relation.Column{Name: "c", Type: t, Definition: t.String()}
}

func checkPair(t *testing.T, pair [2]string, suffix, want string) {
	var types [2]*relation.Type
	for side, name := range pair {
		if as, ok := typeNames[name]; ok {
			name = as
		}
		types[side] = typeOf(name + suffix)
	}
	f := relation.Field{Type: types}
	ok := commonForm(&f)
	if ok != (want != "") {
		t.Errorf("%v%s have a common form: %t, documented %q", pair, suffix, ok, want)
	}
	if !ok {
		if cast, when := suggestCast(changed(types[0]), changed(types[1])); cast == [2]string{} && !crossesZones(types[0], types[1]) {
			t.Errorf("%v%s: no cast is suggested", pair, suffix)
		} else if cast != [2]string{} && when == "" {
			t.Errorf("%v%s: %q is suggested without a reason", pair, suffix, cast)
		}
		return
	}
	name := want
	if suffix != "" {
		name = "_" + want
	}
	sql := relation.Name{Schema: "pg_catalog", Name: name}.SQL()
	if f.Cast != [2]string{sql, sql} || f.Type[0] == nil || f.Type[0] != f.Type[1] && suffix == "" || !sameType(f.Type[0], typeOf(want+suffix)) {
		t.Errorf("%v%s are cast to %q and arrive as %s and %s, documented %q", pair, suffix, f.Cast, f.Type[0], f.Type[1], want)
	}
	if f.Value != (want == "numeric") {
		t.Errorf("%v%s are compared by value: %t", pair, suffix, f.Value)
	}
}

// TestCommonForm: what is one type on both sides is sent as it is, or as text;
// domains are as their base types, and names do not make an enum.
func TestCommonForm(t *testing.T) {
	for _, test := range []struct {
		source, target string
		want           string // the cast; "=" for none, "" for no common form
	}{
		{"int4", "int4", "="},
		{"s.mood", "s.mood", "="},
		{"s.mood", "other.mood", "text"},
		{"s.mood", "s.humour", "text"},
		{"public.citext+", "ext.citext+", "="},
		{"public.hstore+", "ext.hstore+", "="},
		{"public.geometry+", "ext.geometry+", "text"},
		{"public.citext+", "public.geometry+", ""},
		{"s.code=int4", "int4", "="},
		{"s.code=int4", "int8", "int8"},
		{"s.code=int4", "t.code=numeric", "numeric"},
		{"s.code=text", "t.code=varchar", "text"},
		{"int4[]", "int4[]", "="},
		{"s.code=int4[]", "int8[]", "_int8"},
		{"int4[]", "int8", ""},
		{"int4[]", "text", ""},
		{"regclass", "regclass", "text"},
		{"regclass[]", "regclass[]", "text"},
		{"aclitem", "aclitem", "text"},
		{"regclass", "text", ""},
	} {
		for _, swapped := range []bool{false, true} {
			a, b := test.source, test.target
			if swapped {
				a, b = b, a
			}
			f := relation.Field{Type: [2]*relation.Type{typeOf(a), typeOf(b)}}
			if ok := commonForm(&f); ok != (test.want != "") {
				t.Errorf("%s and %s have a common form: %t", a, b, ok)
				continue
			}
			want := ""
			if test.want != "" && test.want != "=" {
				want = relation.Name{Schema: "pg_catalog", Name: test.want}.SQL()
			}
			if f.Cast != [2]string{want, want} {
				t.Errorf("%s and %s are cast to %q, want %q", a, b, f.Cast, want)
			}
		}
	}
}

// TestCastHint: the configuration that a hint names is YAML, whatever the names.
func TestCastHint(t *testing.T) {
	for _, test := range []struct{ table, column, source, target, want string }{
		{"t", "at", "timestamp", "timestamptz", `columns: {s.t: {cast: {at: {source: "\"at\" AT TIME ZONE 'Europe/Berlin'"}}}}`},
		{"t", "c", "bpchar", "text", `columns: {s.t: {cast: {c: {source: 'rtrim("c"::text)', target: 'rtrim("c"::text)'}}}}`},
		{`T: "x"`, "It's", "float8", "numeric", `columns: {'s."T: ""x"""': {cast: {"It's": {source: "\"It's\"::numeric"}}}}`},
		{"t", "z", "timestamp[]", "timestamptz[]", "the column was not compared; exclude it, or cast both sides to one type"},
	} {
		tables := [2]*relation.Table{}
		for side, typ := range []string{test.source, test.target} {
			tables[side] = tableOf([]string{"id int4", "v " + typ}, "id")
			tables[side].Name.Name, tables[side].Columns[1].Name = test.table, test.column
		}
		p := planForm(tables[0], tables[1], sameEncoding, rules{})
		if len(p.differences) != 1 || !strings.HasSuffix(p.differences[0].Hint, test.want) || p.differences[0].Severity != Breaks {
			t.Errorf("%s to %s: %+v, want a hint at %s", test.source, test.target, p.differences, test.want)
		}
		if len(p.gaps) != 1 || !slices.Equal(p.uncompared, []string{test.column}) {
			t.Errorf("%s to %s: gaps %q, %q not compared", test.source, test.target, p.gaps, p.uncompared)
		}
	}
}
