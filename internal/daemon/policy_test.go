package daemon

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/verifierd/verifierd/internal/pglocal/pgtest"
	"github.com/verifierd/verifierd/pkg/parity"
	"github.com/verifierd/verifierd/pkg/relation"
)

// under runs a pass over public tables under policies.
func under(t *testing.T, o Options, policies map[string]parity.Policy) *parity.Pass {
	t.Helper()
	return check(t, withPolicies(o, policies))
}

// withPolicies gives tables of the schema public their policies.
func withPolicies(o Options, policies map[string]parity.Policy) Options {
	o.Policies = make(map[relation.Name]Policy)
	for name, policy := range policies {
		o.Policies[relation.Name{Schema: "public", Name: name}] = policy
	}
	return o
}

func tableNamed(t *testing.T, p *parity.Pass, name string) *parity.Table {
	t.Helper()
	for i := range p.Tables {
		if p.Tables[i].Name == (relation.Name{Schema: "public", Name: name}) {
			return &p.Tables[i]
		}
	}
	t.Fatalf("no table %s in %s", name, transcript(p))
	return nil
}

// TestPolicyValue: near neighbours of each type are reported when compared
// strictly, and not when compared by value; other values are in either case.
// They stand in a column, in a key, and in rows of a table without a key.
func TestPolicyValue(t *testing.T) {
	t.Parallel()
	dsn := pairOf(t)
	tests := []struct {
		name, sqlType, source, target, another string
	}{
		{"numeric", "numeric", "1.0", "1.00", "1.01"},
		{"numeric_zero", "numeric", "0", "-0.000", "0.001"},
		{"numerics", "numeric[]", "{1.0,NULL,NaN}", "{1.00,NULL,NaN}", "{1.00,NULL,1}"},
		{"numeric_domain", "price", "7", "7.0", "70"},
		{"numeric_range", "numrange", "[1.0,2.50)", "[1,2.5)", "[1,2.5]"},
		{"numeric_pair", "pair", "(a,1.0)", "(a,1.00)", "(b,1.0)"},
		{"pairs", "pair[]", `{"(a,1.0)"}`, `{"(a,1.00)"}`, `{"(a,10)"}`},
		{"float4", "float4", "-0", "0", "1e-40"},
		{"float8", "float8", "0", "-0", "5e-324"},
		{"floats", "float8[]", "{0,NaN}", "{-0,NaN}", "{0,Infinity}"},
		{"point", "point", "(0,1)", "(-0,1)", "(1,0)"},
		{"polygon", "polygon", "((0,0),(1,-0))", "((0,0),(1,0))", "((0,0),(1,2))"},
		{"path", "path", "[(0,0),(1,-0)]", "[(0,0),(1,0)]", "((0,0),(1,0))"},
		{"bpchar", "char", "a", "a ", "b"},
		{"bpchars", "char[]", "{a,NULL}", "{a  ,NULL}", "{a,b}"},
		{"jsonb", "jsonb", `{"a": [1.0, "1.0"]}`, `{"a": [1.00, "1.0"]}`, `{"a": [1, "1"]}`},
		{"jsonb_negative", "jsonb", "-10.50", "-10.5", "10.5"},
	}
	inKeys := []string{"numeric", "numerics", "numeric_pair", "float8", "bpchar", "jsonb"}
	execBoth(t, dsn, "CREATE DOMAIN price AS numeric", "CREATE TYPE pair AS (name text, n numeric)")
	byValue := make(map[string]parity.Policy)
	var all parity.Policy
	for side, dsn := range dsn {
		columns, equal := []string{"id int PRIMARY KEY"}, []string{"1"}
		var sql []string
		for i, test := range tests {
			sqlType := test.sqlType
			if strings.HasPrefix(sqlType, "char") { // its length is the padding
				sqlType = strings.Replace(sqlType, "char", []string{"char(3)", "char(5)"}[side], 1)
			}
			value := []string{test.source, test.target}[side]
			columns, equal = append(columns, test.name+" "+sqlType), append(equal, relation.QuoteLiteral(value))
			// Of this row, the target has another value.
			if side == 1 {
				value = test.another
			}
			sql = append(sql, fmt.Sprintf("INSERT INTO wide (id, %s) VALUES (%d, %s)", test.name, 100+i, relation.QuoteLiteral(value)))
			if slices.Contains(inKeys, test.name) {
				sql = append(sql, fmt.Sprintf("CREATE TABLE key_%s (v %s PRIMARY KEY, w int)", test.name, sqlType),
					fmt.Sprintf("INSERT INTO key_%s VALUES (%s, 1), (%s, %d)", test.name, equal[len(equal)-1], relation.QuoteLiteral(test.another), 2+side))
				byValue["key_"+test.name] = parity.Policy{Value: []string{"v"}}
			}
			if side == 0 {
				all.Value = append(all.Value, test.name)
			}
		}
		pgtest.Exec(t, dsn, "CREATE TABLE wide ("+strings.Join(columns, ", ")+")", "INSERT INTO wide VALUES ("+strings.Join(equal, ", ")+")")
		pgtest.Exec(t, dsn, append(sql, "CREATE TABLE bare AS SELECT * FROM wide")...)
	}
	byValue["wide"], byValue["bare"] = all, all
	o := options(t, dsn)
	o.tuning = small
	strict, relaxed := under(t, o, nil), under(t, o, byValue)
	differing := func(p *parity.Pass) map[string]string { // columns by id
		found := make(map[string]string)
		for _, d := range tableNamed(t, p, "wide").Rows {
			found[*d.Key[0].Value] = strings.Join(d.Columns, ",")
		}
		return found
	}
	if got := differing(strict)["1"]; got != strings.Join(all.Value, ",") {
		t.Errorf("strictly, the columns that differ are %s", got)
	}
	got := differing(relaxed)
	if columns, found := got["1"]; found {
		t.Errorf("by value, %s differ", columns)
	}
	for i, test := range tests {
		if got[fmt.Sprint(100+i)] != test.name {
			t.Errorf("by value, %s is not told from its neighbour: %q", test.name, got[fmt.Sprint(100+i)])
		}
	}
	n, rows := tableNamed(t, relaxed, "bare").Divergences, int64(len(tests))
	if n.Missing != rows || n.Extra != rows {
		t.Errorf("without a key: by value %+v", n)
	}
	if n := tableNamed(t, strict, "bare").Divergences; n.Missing != rows+1 || n.Extra != rows+1 {
		t.Errorf("without a key: strictly %+v", n)
	}
	for _, name := range inKeys {
		if n := tableNamed(t, relaxed, "key_"+name).Divergences; n.Mismatched != 1 || n.Confirmed() != 1 {
			t.Errorf("%s in the key: by value %+v", name, n)
		}
		if n := tableNamed(t, strict, "key_"+name).Divergences; n.Missing < 1 || n.Missing != n.Extra {
			t.Errorf("%s in the key: strictly %+v", name, n)
		}
	}
	for i := range relaxed.Tables {
		table := &relaxed.Tables[i]
		if !table.Complete || len(table.Unverified) != len(byValue[table.Name.Name].Value) {
			t.Errorf("%s: complete %t, %s, unverified %q", table.Name, table.Complete, table.Reason, table.Unverified)
		}
	}
	for _, d := range relaxed.Schema { // char(3) and char(5)
		if d.Severity == parity.Breaks {
			t.Errorf("by value, %s of %s breaks", d.Object, d.Table)
		}
	}
}

// TestPolicies: what a policy leaves out is neither reported nor does it hide
// anything else, and is said.
func TestPolicies(t *testing.T) {
	t.Parallel()
	dsn := pairOf(t)
	sides := [2][]string{}
	both := func(sql ...string) { sides[0], sides[1] = append(sides[0], sql...), append(sides[1], sql...) }
	on := func(side relation.Side, sql ...string) { sides[side] = append(sides[side], sql...) }
	policies := make(map[string]parity.Policy)

	both("CREATE TABLE excluded (id int PRIMARY KEY, v int, cache text, o oid)",
		"INSERT INTO excluded SELECT i, i, 'source', i FROM generate_series(1, 100) AS i")
	on(1, "UPDATE excluded SET cache = 'target', o = o::bigint + 1", "UPDATE excluded SET v = 0 WHERE id = 7", "ALTER TABLE excluded ADD added int")
	policies["excluded"] = parity.Policy{Exclude: []string{"cache", "o", "added"}}
	both("CREATE TABLE excluded_equal AS SELECT id, cache, o FROM excluded")
	on(1, "ALTER TABLE excluded_equal DROP o", "UPDATE excluded_equal SET cache = 'target'")
	policies["excluded_equal"] = parity.Policy{Exclude: []string{"cache", "o"}}
	both("CREATE TABLE excluded_key (id int PRIMARY KEY, v int)", "INSERT INTO excluded_key VALUES (1, 1)")
	policies["excluded_key"] = parity.Policy{Exclude: []string{"id"}}
	both("CREATE TABLE other_key (id int PRIMARY KEY, code text, v int)")
	on(0, "INSERT INTO other_key SELECT i, 'c' || i, i FROM generate_series(1, 50) AS i")
	on(1, "INSERT INTO other_key SELECT 100 - i, 'c' || i, nullif(i, 9) FROM generate_series(1, 50) AS i")
	policies["other_key"] = parity.Policy{Exclude: []string{"id"}, Key: []string{"code"}}

	both("CREATE TABLE filtered (id int PRIMARY KEY, state text, at timestamptz)",
		"INSERT INTO filtered SELECT i, CASE WHEN i % 2 = 0 THEN 'live' ELSE 'dead' END, '2020-01-01 00:00+00' FROM generate_series(1, 200) AS i")
	on(1, "UPDATE filtered SET state = 'gone' WHERE state = 'dead' AND id < 20", "DELETE FROM filtered WHERE state = 'dead' AND id > 150",
		"DELETE FROM filtered WHERE id = 40", "UPDATE filtered SET at = at + interval '1 second' WHERE id = 42",
		"INSERT INTO filtered VALUES (1000, 'live', now() - interval '1 hour'), (1001, 'live', now() + interval '1 day'), (1002, NULL, now())",
		"CREATE TABLE moved (id int PRIMARY KEY)", "INSERT INTO moved SELECT generate_series(101, 110)")
	on(0, "CREATE TABLE moved (id int PRIMARY KEY)", "INSERT INTO moved SELECT generate_series(1, 10)")
	policies["filtered"] = parity.Policy{Where: [2]string{"state = 'live' AND at < now()", "state = 'live' AND at < CURRENT_TIMESTAMP"}}
	policies["moved"] = parity.Policy{Where: [2]string{"id <= 9", "id <= 109"}, Cast: map[string][2]string{"id": {"id + 100", ""}}}
	both("CREATE TABLE filtered_out (id int)")
	on(0, "INSERT INTO filtered_out VALUES (1)")
	policies["filtered_out"] = parity.Policy{Where: [2]string{"id > 1", "id > 1"}}
	both("CREATE TABLE parts (id int, v int) PARTITION BY LIST (v)", "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1)",
		"CREATE TABLE parts_2 PARTITION OF parts FOR VALUES IN (2)")
	on(0, "INSERT INTO parts VALUES (1, 1), (2, 2), (3, 2)")
	on(1, "INSERT INTO parts VALUES (1, 1), (2, 1), (3, 2)")
	policies["parts"] = parity.Policy{Where: [2]string{"id <> 2", "id <> 2"}}

	on(0, `CREATE TABLE renamed (id int PRIMARY KEY, "Old" text, a int, b int)`,
		"INSERT INTO renamed SELECT i, 'x' || i, i, -i FROM generate_series(1, 300) AS i")
	on(1, `CREATE TABLE renamed (b int, a int, "new ""name" text, key bigint PRIMARY KEY)`,
		"INSERT INTO renamed SELECT i, -i, 'x' || i, i FROM generate_series(1, 300) AS i",
		`UPDATE renamed SET "new ""name" = '' WHERE key = 11`, "UPDATE renamed SET a = 1 WHERE key = 13")
	policies["renamed"] = parity.Policy{Columns: map[string]string{"id": "key", "Old": `new "name`, "a": "b", "b": "a"}}

	both("CREATE TABLE chosen (id int, code text, v int)", "CREATE TABLE chosen_index (id int NOT NULL, v int)", "CREATE INDEX ON chosen_index (id)",
		"INSERT INTO chosen SELECT i, 'c' || i, i FROM generate_series(1, 300) AS i", "INSERT INTO chosen_index SELECT id / 2, v FROM chosen",
		"INSERT INTO chosen VALUES (1, 'c1', 1), (NULL, 'null', 1), (NULL, 'null', 2), (NULL, NULL, 3)")
	on(1, "UPDATE chosen SET v = 0 WHERE code = 'c5' OR code = 'null' AND v = 2", "DELETE FROM chosen WHERE ctid = (SELECT min(ctid) FROM chosen WHERE id = 1)",
		"UPDATE chosen_index SET v = 0 WHERE v = 4")
	policies["chosen"] = parity.Policy{Key: []string{"code", "id"}}
	policies["chosen_index"] = parity.Policy{Key: []string{"id"}}

	both("CREATE TABLE cast_both (id int PRIMARY KEY, v text)")
	on(0, "INSERT INTO cast_both VALUES (1, 'A'), (2, 'b'), (3, 'C;D')", "ALTER TABLE cast_both ADD first text DEFAULT 'x', ADD full_name text DEFAULT 'x y'")
	on(1, "INSERT INTO cast_both VALUES (1, 'a'), (2, 'x'), (3, 'c;d')", "ALTER TABLE cast_both ADD first text DEFAULT 'x', ADD last text DEFAULT 'y'")
	policies["cast_both"] = parity.Policy{
		Cast:    map[string][2]string{"v": {`lower(v)`, ``}, "full_name": {"", `first || E'\x20' || last`}},
		Exclude: []string{"last"},
	}
	on(0, "CREATE TABLE cast_key (id int PRIMARY KEY, v numeric)", "INSERT INTO cast_key SELECT i, i FROM generate_series(1, 50) AS i")
	on(1, "CREATE TABLE cast_key (id text PRIMARY KEY, v numeric(6,2))", "INSERT INTO cast_key SELECT i, i + CASE i WHEN 30 THEN 1 ELSE 0 END FROM generate_series(1, 50) AS i")
	policies["cast_key"] = parity.Policy{Cast: map[string][2]string{"id": {"id::text", ""}}, Value: []string{"v"}}

	for side := range sides {
		pgtest.Exec(t, dsn[side], sides[side]...)
	}
	o := options(t, dsn)
	o.tuning = small
	p := under(t, o, policies)
	for i := range p.Tables {
		for j, u := range p.Tables[i].Unverified {
			if at := p.StartedAt.UTC().Format("2006-01-02 15:04:05.999999"); strings.Contains(u, "now()") || strings.Contains(u, "CURRENT") {
				t.Errorf("the time is not fixed: %s", u)
			} else {
				p.Tables[i].Unverified[j] = strings.ReplaceAll(u, at, "NOW")
			}
		}
	}
	p.Reason, p.Notes = "-", nil
	expect(t, p, `
		diverged, not complete: -
		public.cast_both diverged: 1 divergent row (1 mismatched)
			3 rows | 3 rows, key id
			mismatched id=2 [v]
			unverified: column "last" is excluded
			unverified: column "v" is compared as lower(v) on the source
			unverified: column "full_name" is compared as first || E'\x20' || last on the target
		public.cast_key diverged: 1 divergent row (1 mismatched)
			50 rows | 50 rows, key id
			mismatched id=30 [v]
			unverified: column "v" is compared by value
			unverified: column "id" is compared as id::text on the source
		public.chosen diverged: 3 divergent rows (1 missing, 2 mismatched)
			304 rows | 303 rows, key code, id
			missing code=c1 id=1
			mismatched code=c5 id=5 [v]
			mismatched code=null id=NULL [v]
		public.chosen_index diverged: 1 divergent row (1 mismatched)
			300 rows | 300 rows, key id
			mismatched id=2 [v]
		public.excluded diverged: 1 divergent row (1 mismatched)
			100 rows | 100 rows, key id
			mismatched id=7 [v]
			unverified: column "cache" is excluded
			unverified: column "o" is excluded
			unverified: column "added" is excluded
		public.excluded_equal match: 100 rows are identical, but for what the policy leaves out
			100 rows | 100 rows, keyless
			unverified: column "cache" is excluded
			unverified: column "o" is excluded
			note: no key: rows are compared as a multiset
		public.excluded_key incomplete: columns of the key are excluded: name those that identify a row under key in the table's policy
			1 rows | 1 rows, keyless
			unverified: column "id" is excluded
			note: no key: rows are compared as a multiset
		public.filtered diverged: 3 divergent rows (1 missing, 1 extra, 1 mismatched)
			100 rows | 100 rows, key id
			missing id=40
			mismatched id=42 [at]
			extra id=1000
			unverified: only rows of the source where state = 'live' AND at < 'NOW+00'::pg_catalog.timestamptz are compared
			unverified: only rows of the target where state = 'live' AND at < 'NOW+00'::pg_catalog.timestamptz are compared
		public.filtered_out match: no row fulfils the condition: there was nothing to compare
			0 rows | 0 rows, keyless
			unverified: only rows of the source where id > 1 are compared
			unverified: only rows of the target where id > 1 are compared
			note: no key: rows are compared as a multiset
		public.moved match: 9 rows are identical, but for what the policy leaves out
			9 rows | 9 rows, key id
			unverified: column "id" is compared as id + 100 on the source
			unverified: only rows of the source where id <= 9 are compared
			unverified: only rows of the target where id <= 109 are compared
		public.other_key diverged: 1 divergent row (1 mismatched)
			50 rows | 50 rows, key code
			mismatched code=c9 [v]
			unverified: column "id" is excluded
		public.parts match: 2 rows are identical, but for what the policy leaves out
			2 rows | 2 rows, keyless
			unverified: only rows of the source where id <> 2 are compared
			unverified: only rows of the target where id <> 2 are compared
			note: no key: rows are compared as a multiset
		public.renamed diverged: 2 divergent rows (2 mismatched)
			300 rows | 300 rows, key id
			mismatched id=11 [Old]
			mismatched id=13 [b]
		schema: public.cast_key column v changed (drifts): "numeric" -> "numeric(6,2)"
		schema: public.renamed column id changed (drifts): "integer" -> "bigint"
	`)
}

// TestPolicyPlan: a plan says what is left out, and what cannot be obeyed.
func TestPolicyPlan(t *testing.T) {
	t.Parallel()
	dsn := pairOf(t)
	execBoth(t, dsn, "CREATE TABLE a (id int PRIMARY KEY, v int)", "INSERT INTO a SELECT i, i FROM generate_series(1, 1000) AS i", "ANALYZE a",
		"CREATE TABLE b (id int PRIMARY KEY)")
	plan, err := Plan(context.Background(), withPolicies(options(t, dsn), map[string]parity.Policy{
		"a": {Where: [2]string{"id < 10", "id < 10"}, Exclude: []string{"v"}}, "b": {Key: []string{"absent"}},
	}))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(plan.Unknown, "conditions pick the rows") {
		t.Errorf("the time is unknown because %q", plan.Unknown)
	}
	a, b := plan.Tables[0], plan.Tables[1]
	if len(a.Unverified) != 3 || len(a.Problems) != 0 || a.Side[0].Rows != -1 || a.Side[1].Rows != -1 {
		t.Errorf("plan of a: unverified %q, problems %q, rows %d and %d", a.Unverified, a.Problems, a.Side[0].Rows, a.Side[1].Rows)
	}
	if len(b.Problems) != 1 || !strings.Contains(b.Problems[0], `no column "absent" for the key`) {
		t.Errorf("plan of b: problems %q", b.Problems)
	}
}

// TestPolicyRefused: a policy that cannot be obeyed leaves its table
// incomplete, says why, and is no other table's trouble.
func TestPolicyRefused(t *testing.T) {
	t.Parallel()
	dsn := pairOf(t)
	execBoth(t, dsn, "CREATE FUNCTION fickle(int) RETURNS int LANGUAGE sql VOLATILE AS 'SELECT $1'")
	where := func(source string) parity.Policy { return parity.Policy{Where: [2]string{source, "true"}} }
	cast := func(source, target string) parity.Policy {
		return parity.Policy{Cast: map[string][2]string{"v": {source, target}}}
	}
	tests := []struct {
		policy parity.Policy
		want   string
	}{
		{parity.Policy{}, ""},
		{where("v > 0; DROP TABLE t0"), "not a single expression: it holds a semicolon"},
		{where("v > 0) OR (true"), "brackets do not match"},
		{where("(v > 0"), "brackets do not match"},
		{where("v > 0 -- all"), "holds a comment"},
		{where("v > 0 /* all */"), "holds a comment"},
		{where("'open"), "quote is not closed"},
		{where("s = $$x$$"), "dollar quote"},
		{where(" "), "it is empty"},
		{where("v"), "it gives integer rather than boolean"},
		{where("random() > 0.5"), "VOLATILE"},
		{where("clock_timestamp() > '2020-01-01'"), "VOLATILE"},
		{where("public.fickle(v) = 1"), "VOLATILE"},
		{where("v IN (SELECT 1)"), "subquery"},
		{where("EXISTS (TABLE public.t1)"), "subquery"},
		{where("max(v) = 1"), "aggregates"},
		{where("v = 'now'::timestamptz"), "depends on the clock"},
		{where("age(v::text::timestamptz) > '1 day'"), "age() of one argument"},
		{where("localtime > '10:00'"), "another on every reading"},
		{where("ctid < '(1,0)'"), "ctid"},
		{where("absent = 1"), `column "absent" does not exist`},
		{where("t1.v = 1"), `missing FROM-clause entry`},
		{where("v = 1 AND"), "syntax error"},
		{where("10 / (v - 7) > 0"), "data error: division by zero (SQLSTATE 22012)"},
		{cast("v::text", ""), "cast to text on the source and integer on the target"},
		{cast("v, v", "v, v"), "comma outside of brackets"},
		{cast("(v, v)", "(v, v)"), "pseudo-type record"},
		{cast("generate_series(1, v)", "v"), "returns sets"},
		{cast("row_number() OVER ()", "v"), "aggregates"},
		{cast("v::oid", "v::oid"), "values of type oid"},
		{cast("s::int", "v"), "data error: invalid input syntax for the type (SQLSTATE 22P02)"},
		{parity.Policy{Exclude: []string{"nothing"}}, `there is no column "nothing" to exclude`},
		{parity.Policy{Columns: map[string]string{"v": "w"}, Exclude: []string{"w"}}, `mapped from "v" of the source: exclude it by that name`},
		{parity.Policy{Value: []string{"nothing"}}, `no column "nothing" to compare by value`},
		{parity.Policy{Value: []string{"i"}}, "not supported of interval"},
		{parity.Policy{Value: []string{"j"}}, "not supported of jsonb within another type"},
		{parity.Policy{Columns: map[string]string{"v": "nothing"}}, `the target has no column "nothing"`},
		{parity.Policy{Columns: map[string]string{"nothing": "v"}}, `the source has no column "nothing" to map`},
		{parity.Policy{Columns: map[string]string{"v": "s"}}, `both compared with one column`},
		{parity.Policy{Key: []string{"nothing"}}, `no column "nothing" for the key`},
		{parity.Policy{Key: []string{"v", "v"}}, "in the key twice"},
		{parity.Policy{Key: []string{"v"}, Exclude: []string{"v"}}, `column "v" of the key is excluded`},
	}
	policies := make(map[string]parity.Policy)
	var sql []string
	for i, test := range tests {
		name := fmt.Sprintf("t%d", i)
		policies[name] = test.policy
		sql = append(sql, "CREATE TABLE "+name+" (v int, s text, i interval, j jsonb[])",
			"INSERT INTO "+name+" VALUES (1, 'a', '1 day', '{}'), (7, 'b', NULL, NULL)")
	}
	execBoth(t, dsn, sql...)
	for i, test := range tests {
		if slices.Contains(test.policy.Exclude, "w") {
			pgtest.Exec(t, dsn[1], fmt.Sprintf("ALTER TABLE t%d RENAME v TO w", i))
		}
	}
	p := under(t, options(t, dsn), policies)
	for i, test := range tests {
		table := tableNamed(t, p, fmt.Sprintf("t%d", i))
		switch {
		case test.want == "" && table.Verdict != parity.Match:
			t.Errorf("%s: %s", table.Name, table.Reason)
		case test.want != "" && (table.Verdict != parity.Incomplete || !strings.Contains(table.Reason, test.want)):
			t.Errorf("%+v: %s: %s, want %q", test.policy, table.Verdict, table.Reason, test.want)
		}
	}
}

// TestPolicyFilteredOut: a condition that no row fulfils is told from a table
// that is empty.
func TestPolicyFilteredOut(t *testing.T) {
	t.Parallel()
	dsn := pairOf(t)
	execBoth(t, dsn, "CREATE TABLE a (id int PRIMARY KEY)", "INSERT INTO a VALUES (1)", "CREATE TABLE b (id int PRIMARY KEY)")
	policies := map[string]parity.Policy{"a": {Where: [2]string{"id > 5", "id > 5"}}}
	const condition = "no row fulfils the condition"
	for rows, want := range []string{"2 tables, nothing to compare: " + condition + " of public.a", "1 row in 2 tables is identical, but for"} {
		p := under(t, options(t, dsn), policies)
		if p.Verdict != parity.Match || !strings.Contains(p.Reason, want) {
			t.Errorf("%d rows: %s: %s, want %q", rows, p.Verdict, p.Reason, want)
		}
		if a := tableNamed(t, p, "a"); !a.FilteredOut() || !strings.Contains(a.Reason, condition) || tableNamed(t, p, "b").FilteredOut() {
			t.Errorf("%d rows: %+v", rows, p.Tables)
		}
		if !slices.ContainsFunc(p.Notes, func(n string) bool { return strings.Contains(n, condition) && strings.Contains(n, "public.a") }) {
			t.Errorf("%d rows: the notes do not name the condition: %q", rows, p.Notes)
		}
		execBoth(t, dsn, "INSERT INTO b VALUES (1) ON CONFLICT DO NOTHING")
	}
}
