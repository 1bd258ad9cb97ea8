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
	"github.com/verifierd/verifierd/pkg/rowhash"
)

// under runs a pass over the public tables with policies, by the source's names.
func under(t *testing.T, o Options, policies map[string]parity.Policy) *parity.Pass {
	t.Helper()
	p := parity.Run(context.Background(), policyConfig(t, o, policies))
	for i := range p.Tables {
		checkTable(t, &p.Tables[i])
	}
	return p
}

func policyConfig(t *testing.T, o Options, policies map[string]parity.Policy) parity.Config {
	t.Helper()
	ctx := context.Background()
	seed, err := rowhash.NewSeed()
	if err != nil {
		t.Fatal(err)
	}
	db, err := connect(ctx, o, seed)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.close)
	selected, err := db.choose(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	for i := range selected.tables {
		name := selected.tables[i].Source.Name
		selected.tables[i].Policy = policies[name]
	}
	return db.config(o, selected, seed)
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
		sql = slices.Concat([]string{"CREATE TABLE wide (" + strings.Join(columns, ", ") + ")",
			"INSERT INTO wide VALUES (" + strings.Join(equal, ", ") + ")"}, sql, []string{"CREATE TABLE bare AS SELECT * FROM wide"})
		pgtest.Exec(t, dsn, sql...)
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
