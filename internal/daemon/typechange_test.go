package daemon

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/verifierd/verifierd/internal/pglocal/pgtest"
	"github.com/verifierd/verifierd/pkg/parity"
	"github.com/verifierd/verifierd/pkg/relation"
)

// A typeChange is a column that has another type on the target.
type typeChange struct {
	source, target string
	// values are the source's, in text form; the first is the row that changes.
	values []string
	// other is what the first value's neighbour is on the target; like a
	// value that was damaged on the way.
	other string
	hint  string // part of what is said of the change of type
}

const (
	int2Max, int4Min, int8Max = "32767", "-2147483648", "9223372036854775807"
	beyondFloat               = "9007199254740993"
)

// commonChanges have a common form: what a dump and restore makes of the values
// matches.
var commonChanges = []typeChange{
	{source: "int2", target: "int4", values: []string{"1", int2Max, "-32768", "0"}, other: "2"},
	{source: "int4", target: "int8", values: []string{int4Min, "2147483647"}, other: "2147483648"},
	{source: "int8", target: "int2", values: []string{"5", int2Max}, other: "6"},
	{source: "int8", target: "numeric", values: []string{beyondFloat, int8Max, "-9223372036854775808", "0", "1000"}, other: beyondFloat + ".000001", hint: "by value"},
	{source: "int4", target: "numeric(12,2)", values: []string{"7", "0", int4Min}, other: "7.01", hint: "by value"},
	{source: "int4", target: "amount", values: []string{"7", "-1"}, other: "-7", hint: "by value"},
	{source: "numeric(30,0)", target: "int8", values: []string{int8Max, "9007199254740992"}, other: "9223372036854775806", hint: "by value"},
	{source: "numeric", target: "int8", values: []string{"1.00", "100", "9007199254740993.000"}, other: "2", hint: "by value"},
	{source: "int8[]", target: "numeric(30,3)[]", values: []string{"{1,NULL}", "[0:1]={1,2}", "{}", "{{" + int8Max + "}}"}, other: "{1.001,NULL}", hint: "by value"},
	{source: "float4", target: "float8", values: []string{"1.5", "NaN", "-0", "Infinity", "16777216"}, other: "1.5000000000000002", hint: "float8"},
	{source: "float8", target: "float4", values: []string{"-0", "-Infinity", "NaN", "0.25"}, other: "0", hint: "float8"},
	{source: "varchar(50)", target: "text", values: []string{"a", "", "a ", "NULL", "straße"}, other: "a "},
	{source: "text", target: "varchar", values: []string{"", " "}, other: "NULL"},
	{source: "name", target: "text", values: []string{"n", "", "N"}, other: "N"},
	{source: "mood", target: "text", values: []string{"sad", "ok"}, other: "SAD"},
	{source: "varchar", target: "mood", values: []string{"ok", "sad"}, other: "sad"},
	{source: "mood", target: "humour", values: []string{"ok", "sad"}, other: "sad"},
	{source: "mood[]", target: "text[]", values: []string{"{sad,NULL}", "{}", "[2:2]={ok}"}, other: "{sad,ok}"},
	{source: "json", target: "text", values: []string{`{"b": 1,  "a": 1}`, "1.0", "null"}, other: `{"b": 1, "a": 1}`},
	{source: "text", target: "json", values: []string{`{ "a":1}`, `"é"`}, other: `{"a":1}`},
	{source: "json", target: "jsonb", values: []string{`{"b": 1, "a":  [1.0, 1e2], "b": 2}`, "null", "12345678901234567890.10"}, other: `{"a": [1, 100], "b": 2}`, hint: "jsonb"},
	{source: "jsonb", target: "json", values: []string{`{"a": 1.0}`, `[]`}, other: `{"a": 1}`, hint: "jsonb"},
	{source: "json[]", target: "jsonb[]", values: []string{`{"{ }",NULL}`}, other: `{NULL,"{}"}`, hint: "jsonb"},
	{source: "jsonb", target: "text", values: []string{`{"b":1,"aa":1.0}`, "0", `"é"`}, other: `{"aa": 1.0, "b": 1}`},
	{source: "uuid", target: "text", values: []string{"A0EEBC999C0B4EF8BB6D6BB9BD380A11", "00000000-0000-0000-0000-000000000000"}, other: "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"},
	{source: "uuid", target: "varchar(36)", values: []string{"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"}, other: "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12"},
	{source: "date", target: "timestamp", values: []string{"2024-02-29", "infinity", "-infinity", "0044-03-15 BC"}, other: "2024-02-29 00:00:00.000001"},
	{source: "timestamp", target: "date", values: []string{"2024-02-29", "infinity"}, other: "2024-03-01"},
	{source: "date[]", target: "timestamp[]", values: []string{"{2024-02-29,infinity}"}, other: "{2024-02-29,-infinity}"},
	{source: "bit(5)", target: "varbit", values: []string{"10100", "00000"}, other: "1010"},
	{source: "varbit", target: "bit(3)", values: []string{"101", "000"}, other: "100"},
	{source: "cidr", target: "inet", values: []string{"10.0.0.0/8", "::/0", "10.0.0.1/32"}, other: "10.0.0.0/9"},
	{source: "inet", target: "cidr", values: []string{"10.0.0.0/8", "fe80::1"}, other: "10.0.0.0/16"},
	{source: "macaddr", target: "macaddr8", values: []string{"08:00:2b:01:02:03", "ff:ff:ff:ff:ff:ff"}, other: "08:00:2b:ff:ff:01:02:03"},
	{source: "macaddr8", target: "macaddr", values: []string{"08:00:2b:ff:fe:01:02:03"}, other: "08:00:2b:01:02:04"},
	{source: "code", target: "int8", values: []string{"1", "2147483647"}, other: "2"},
	{source: "int4", target: "code", values: []string{"1"}, other: "3"},
	{source: "numeric(10,2)", target: "amount2", values: []string{"1", "1.25"}, other: "1.26"},
	{source: "serial", target: "int GENERATED BY DEFAULT AS IDENTITY", values: []string{"1", "2"}, other: "3"},
}

// castChanges have none: the cast that the hint names, word for word, makes
// them comparable.
var castChanges = []typeChange{
	{source: "timestamp", target: "timestamptz", values: []string{"2024-07-01 12:00", "2024-01-01 00:00:00.000001", "infinity"}, other: "2024-07-01 12:00+00"},
	{source: "timestamptz", target: "timestamp", values: []string{"2024-07-01 12:00+00", "2024-10-27 00:30+00", "2024-10-27 01:30+00"}, other: "2024-07-01 12:00"},
	{source: "date", target: "timestamptz", values: []string{"2024-07-01", "2024-01-01"}, other: "2024-07-01 00:00+00"},
	{source: "timestamptz", target: "date", values: []string{"2024-06-30 22:30+00"}, other: "2024-06-30"},
	{source: "char(5)", target: "text", values: []string{"a", "", "aé"}, other: "b"},
	{source: "varchar(9)", target: "char(9)", values: []string{"a ", "A"}, other: "a b"},
	{source: "text", target: "uuid", values: []string{"A0EEBC999C0B4EF8BB6D6BB9BD380A11"}, other: "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12"},
	{source: "text", target: "jsonb", values: []string{`{"b":1, "a":1.0}`}, other: `{"a":1,"b":1}`},
	{source: "int4", target: "text", values: []string{"1", "-2147483648"}, other: "01"},
	{source: "bool", target: "int4", values: []string{"t", "f"}, other: "2"},
	{source: "bool", target: "text", values: []string{"t", "f"}, other: "t"},
	{source: "float8", target: "numeric(12,2)", values: []string{"1.25", "1e9"}, other: "1.26"},
	{source: "numeric", target: "float8", values: []string{beyondFloat, "0.1"}, other: "9007199254740994"},
	{source: "numeric[]", target: "float8[]", values: []string{"{0.1,NULL}"}, other: "{0.1,0}"},
	{source: "money", target: "numeric(12,2)", values: []string{"12.34", "-0.05"}, other: "12.35"},
	{source: "inet", target: "varchar", values: []string{"10.0.0.1", "10.0.0.1/8"}, other: "10.0.0.1"},
	{source: "int4range", target: "int8range", values: []string{"[1,5]", "empty"}, other: "[1,5)"},
}

// convert is what a migration makes of the source's value, where it is not the
// same text.
func (c *typeChange) convert(source string) string {
	const zone = " AT TIME ZONE 'Europe/Berlin'"
	switch c.source + ">" + c.target {
	case "timestamp>timestamptz", "timestamptz>timestamp":
		return source + zone
	case "date>timestamptz":
		return source + "::timestamp" + zone
	case "timestamptz>date":
		return "(" + source + zone + ")::date"
	case "bool>int4":
		return source + "::int"
	case "bool>text", "inet>varchar":
		return source + "::text"
	case "numeric>int8":
		return source + "::int8"
	case "macaddr8>macaddr":
		return source + "::macaddr"
	case "money>numeric(12,2)":
		return source + "::numeric"
	}
	return ""
}

// nullRow is the id of a row of NULLs.
const nullRow = 1000

// create makes a table with a column of each change, v0 and so on, and carries
// its rows from the source to the target. Row i has the first value of column i.
func create(t *testing.T, dsn [2]string, changes []typeChange) {
	t.Helper()
	var defs [2][]string
	var columns, carried []string
	for i, c := range changes {
		column := "v" + strconv.Itoa(i)
		columns = append(columns, column)
		defs[0] = append(defs[0], column+" "+c.source)
		defs[1] = append(defs[1], column+" "+c.target)
		// Output and input functions are what a dump and replication use.
		expr := column
		if converted := c.convert(column); converted != "" {
			expr = converted
		}
		carried = append(carried, expr)
	}
	for side, dsn := range dsn {
		pgtest.Exec(t, dsn, fmt.Sprintf("CREATE TABLE t (%s, w int DEFAULT 0, id int PRIMARY KEY)", strings.Join(defs[side], ", ")))
	}
	insert := func(rows [][]string) string {
		var values []string
		for _, row := range rows {
			values = append(values, "("+strings.Join(row, ", ")+")")
		}
		return fmt.Sprintf("INSERT INTO t (id, %s) VALUES %s", strings.Join(columns, ", "), strings.Join(values, ", "))
	}
	rows := [][]string{{strconv.Itoa(nullRow)}}
	for i := range changes {
		row := []string{strconv.Itoa(i)}
		for j, c := range changes {
			n := len(c.values)
			row = append(row, relation.QuoteLiteral(c.values[((i-j)%n+n)%n]))
		}
		rows = append(rows, row)
		null := "NULL"
		if strings.HasPrefix(changes[i].source, "serial") {
			null = "0"
		}
		rows[0] = append(rows[0], null)
	}
	pgtest.Exec(t, dsn[0], insert(rows))
	rows = nil
	for _, values := range queryNullable(t, dsn[0], "", "SELECT id, "+strings.Join(carried, ", ")+" FROM t") {
		var row []string
		for _, v := range values {
			if v == nil {
				row = append(row, "NULL")
			} else {
				row = append(row, relation.QuoteLiteral(*v))
			}
		}
		rows = append(rows, row)
	}
	pgtest.Exec(t, dsn[1], insert(rows))
}

// damage changes a value of each column on the target, each in a row of its own.
func damage(t *testing.T, dsn string, changes []typeChange) {
	t.Helper()
	var sql []string
	for i, c := range changes {
		sql = append(sql, fmt.Sprintf("UPDATE t SET v%d = %s WHERE id = %[1]d", i, relation.QuoteLiteral(c.other)))
	}
	pgtest.Exec(t, dsn, strings.Join(sql, ";\n"))
}

// wantDamaged checks that exactly the rows that damage changed are named, each
// with its column.
func wantDamaged(t *testing.T, p *parity.Pass, changes []typeChange) {
	t.Helper()
	table := tableNamed(t, p, "t")
	found := make(map[string][]string)
	for _, row := range table.Rows {
		found[*row.Key[0].Value] = row.Columns
	}
	if p.Verdict != parity.Diverged || len(table.Rows) != len(changes) || table.Divergences.Mismatched != int64(len(changes)) {
		t.Errorf("%d rows named, want %d: %s", len(table.Rows), len(changes), table.Reason)
	}
	for i, c := range changes {
		if id := strconv.Itoa(i); !slices.Equal(found[id], []string{"v" + id}) {
			t.Errorf("%s to %s: columns %q of row %d are named, want v%[4]d", c.source, c.target, found[id], i)
		}
	}
}

// typeChangeDatabases returns a pair of databases with the types that changes
// use.
func typeChangeDatabases(t *testing.T) [2]string {
	dsn := pairOf(t)
	pgtest.Exec(t, dsn[1], "CREATE TYPE unused AS ENUM ('shifts', 'the', 'OIDs')")
	execBoth(
		t, dsn, "CREATE TYPE mood AS ENUM ('sad', 'ok')", "CREATE TYPE humour AS ENUM ('ok', 'sad')", "CREATE DOMAIN code AS int4 CHECK (VALUE > 0)",
		"CREATE DOMAIN amount AS numeric(12,3)", "CREATE DOMAIN amount2 AS numeric(12,2)",
	)
	return dsn
}

// TestTypeChangesCommon: values that were carried over match in the common form
// of their types, and those that changed are named.
func TestTypeChangesCommon(t *testing.T) {
	t.Parallel()
	dsn := typeChangeDatabases(t)
	create(t, dsn, commonChanges)
	o := options(t, dsn)
	o.SkipChecks = []parity.Check{parity.CheckSchema} // types alone
	p := check(t, o)
	if p.Verdict != parity.Match {
		t.Fatalf("carried over: %s", transcript(p))
	}
	hints := make(map[string]string)
	for _, d := range p.Schema {
		if d.Severity != parity.Drifts {
			t.Errorf("%s: %+v, want that it drifts", d.Table, d)
		}
		hints[d.Object] = d.Hint
	}
	for i, c := range commonChanges {
		hint, said := hints["column v"+strconv.Itoa(i)]
		if !strings.Contains(hint, c.hint) || (hint == "") != (c.hint == "") || said == strings.HasPrefix(c.source, "serial") {
			t.Errorf("%s to %s: hint %q (%t), want %q", c.source, c.target, hint, said, c.hint)
		}
	}
	damage(t, dsn[1], commonChanges)
	wantDamaged(t, check(t, o), commonChanges)
}

var (
	hintedCast = regexp.MustCompile(`columns: \{public\.t: \{cast: \{v\d+: \{(.*)\}\}\}\}$`)
	hintedSide = regexp.MustCompile(`(source|target): ('[^']*'|"(?:[^"\\]|\\.)*")`)
)

// followed returns the policy that a hint names.
func followed(t *testing.T, hint string) (cast [2]string) {
	t.Helper()
	config := hintedCast.FindStringSubmatch(hint)
	if config == nil {
		t.Fatalf("no cast in the hint %q", hint)
	}
	for _, m := range hintedSide.FindAllStringSubmatch(config[1], -1) {
		side, sql := relation.Source, strings.Trim(m[2], "'")
		if m[1] == "target" {
			side = relation.Target
		}
		if m[2][0] == '"' {
			var err error
			if sql, err = strconv.Unquote(m[2]); err != nil {
				t.Fatal(err)
			}
		}
		cast[side] = sql
	}
	return cast
}

// TestTypeChangesCast: without a common form the columns are named and not
// compared, the others are; with the casts that the hints name they are.
func TestTypeChangesCast(t *testing.T) {
	t.Parallel()
	dsn := typeChangeDatabases(t)
	create(t, dsn, castChanges)
	pgtest.Exec(t, dsn[1], "UPDATE t SET w = -1 WHERE id = 3")
	o := options(t, dsn)
	o.SkipChecks = []parity.Check{parity.CheckSchema} // types alone
	p := check(t, o)
	table := tableNamed(t, p, "t")
	if table.Complete || len(table.Rows) != 1 || !slices.Equal(table.Rows[0].Columns, []string{"w"}) || *table.Rows[0].Key[0].Value != "3" {
		t.Errorf("without casts: complete: %t: rows %+v, want that w of row 3 is named", table.Complete, table.Rows)
	}
	casts := make(map[string][2]string)
	for _, d := range p.Schema {
		if d.Severity != parity.Breaks {
			t.Errorf("%+v, want that it breaks", d)
		}
		casts[strings.TrimPrefix(d.Object, "column ")] = followed(t, d.Hint)
	}
	for i, c := range castChanges {
		if name := fmt.Sprintf("v%d", i); casts[name] == [2]string{} || !strings.Contains(table.Reason, relation.QuoteIdent(name)) {
			t.Errorf("%s to %s: cast %q, reason %s; want that %s was not compared", c.source, c.target, casts[name], table.Reason, name)
		}
	}
	pgtest.Exec(t, dsn[1], "UPDATE t SET w = 0 WHERE id = 3")
	o.Policies = map[relation.Name]Policy{table.Name: {Cast: casts}}
	if p := check(t, o); p.Verdict != parity.Match {
		t.Errorf("with the casts that the hints name: %s", transcript(p))
	}
	damage(t, dsn[1], castChanges)
	wantDamaged(t, check(t, o), castChanges)
}

// TestTypeChangesKeys: rows are found under keys whose type changed.
func TestTypeChangesKeys(t *testing.T) {
	t.Parallel()
	dsn := typeChangeDatabases(t)
	changes := []struct{ source, target, key string }{ // the key of row i; "a, " before it: a composite one
		{"int4", "int8", "i"},
		{"int8", "int2", "i - 150"},
		{"int4", "numeric(12,2)", "i"},
		{"numeric", "int8", "i + 0.00"},
		{"varchar(50)", "text", "chr(60 + i % 40) || i"},
		{"name", "text", "chr(60 + i % 40) || i"},
		{"uuid", "text", "md5(i::text)::uuid"},
		{"date", "timestamp", "'2000-01-01'::date + i"},
		{"timestamp", "date", "'2000-01-01'::date + i"},
		{"cidr", "inet", "format('10.%s.0.0/16', i % 256)::cidr"},
		{"bit(16)", "varbit", "i::bit(16)"},
		{"macaddr", "macaddr8", "('08002b00' || lpad(to_hex(i), 4, '0'))::macaddr"},
		{"code", "int8", "i + 1"},
		{"int4[]", "int8[]", "ARRAY[i, NULL]"},
		{"int4", "int8", "a, i"},
		{"date", "timestamp", "a, '2000-01-01'::date + i"},
		{"int8", "numeric", "a, i"},
		{"uuid", "varchar", "a, md5(i::text)::uuid"},
	}
	for side, dsn := range dsn {
		var sql []string
		for n, c := range changes {
			typ := c.source
			if side == 1 {
				typ = c.target
			}
			key, expr := "k", c.key
			if rest, composite := strings.CutPrefix(c.key, "a, "); composite {
				key, expr = "a, k", rest
			}
			sql = append(
				sql, fmt.Sprintf("CREATE TABLE k%d (a int, k %s, i int, v text, PRIMARY KEY (%s))", n, typ, key),
				fmt.Sprintf("INSERT INTO k%d SELECT i %% 3, (%s)::%s, i, 'v' || i FROM generate_series(0, 249) i", n, expr, typ),
			)
			if side == 0 {
				sql = append(sql, fmt.Sprintf("DELETE FROM k%d WHERE i = 19", n))
			} else {
				sql = append(sql, fmt.Sprintf("UPDATE k%d SET v = 'w' WHERE i = 17", n), fmt.Sprintf("DELETE FROM k%d WHERE i = 18", n))
			}
		}
		pgtest.Exec(t, dsn, strings.Join(sql, ";\n"), "ANALYZE")
	}
	for _, way := range ways {
		o := options(t, dsn)
		way.apply(&o)
		p := check(t, o)
		for n, c := range changes {
			table := tableNamed(t, p, "k"+strconv.Itoa(n))
			d := table.Divergences
			if !table.Complete || d.Missing != 1 || d.Extra != 1 || d.Mismatched != 1 || !slices.Equal(columnsOf(table, parity.Mismatched), []string{"v"}) {
				t.Errorf("%s: key %s to %s: %s", way.name, c.source, c.target, transcript(&parity.Pass{Tables: []parity.Table{*table}}))
			}
		}
	}
}

func columnsOf(table *parity.Table, kind parity.Kind) []string {
	for i := range table.Rows {
		if table.Rows[i].Kind == kind {
			return table.Rows[i].Columns
		}
	}
	return nil
}

// TestTypeChangesIndexes: the indexes that are said to find rows in the common
// form do.
func TestTypeChangesIndexes(t *testing.T) {
	t.Parallel()
	dsn := pairOf(t)
	for _, c := range []struct {
		common  string
		own     []string
		ordered bool
	}{
		{"int8", []string{"int2", "int4", "int8"}, true},
		{"text", []string{"text", "varchar(9)"}, false},
		{"timestamp", []string{"date", "timestamp"}, true},
		{"inet", []string{"cidr", "inet"}, false},
	} {
		for _, own := range c.own {
			execBoth(t, dsn, "DROP TABLE IF EXISTS x", "CREATE TABLE x (k "+own+" PRIMARY KEY)")
			conditions := []string{"k = ANY ('{}'::" + c.common + "[])"}
			if c.ordered {
				conditions = append(conditions, "k >= (SELECT NULL::"+c.common+")")
			}
			for _, d := range dsn {
				for _, condition := range conditions {
					plan := queryNullable(t, d, "SET enable_seqscan = off; ", "EXPLAIN SELECT FROM x WHERE "+condition)
					if !slices.ContainsFunc(plan, func(line []*string) bool { return strings.Contains(*line[0], "Index Cond") }) {
						t.Errorf("index on %s: not used for %s", own, condition)
					}
				}
			}
		}
	}
}

// TestTypeChangesThatFail: a value that the common form does not have makes its
// table incomplete, and no other; it is not shown.
func TestTypeChangesThatFail(t *testing.T) {
	t.Parallel()
	dsn := pairOf(t)
	const canary = "kanarienvogel"
	pgtest.Exec(t, dsn[0], "CREATE TABLE j (id int PRIMARY KEY, v json)", "CREATE TABLE d (id int PRIMARY KEY, v date)", "CREATE TABLE o (id int PRIMARY KEY)",
		`INSERT INTO j VALUES (1, '{"`+canary+`": "\u0000"}')`, "INSERT INTO d VALUES (1, '5874897-12-31')", "INSERT INTO o VALUES (1)")
	pgtest.Exec(t, dsn[1], "CREATE TABLE j (id int PRIMARY KEY, v jsonb)", "CREATE TABLE d (id int PRIMARY KEY, v timestamp)", "CREATE TABLE o (id int PRIMARY KEY)",
		`INSERT INTO j VALUES (1, '{}')`, "INSERT INTO d VALUES (1, 'infinity')", "INSERT INTO o VALUES (1)")
	p := check(t, options(t, dsn))
	for _, name := range []string{"j", "d"} {
		if table := tableNamed(t, p, name); table.Verdict != parity.Incomplete {
			t.Errorf("%s: %s: %s", name, table.Verdict, table.Reason)
		}
	}
	if table := tableNamed(t, p, "o"); table.Verdict != parity.Match || p.Verdict != parity.Incomplete || strings.Contains(transcript(p), canary) {
		t.Error(transcript(p))
	}
}
