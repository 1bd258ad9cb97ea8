package daemon

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/verifierd/verifierd/internal/pglocal/pgtest"
	"github.com/verifierd/verifierd/pkg/parity"
)

// policyColumns are of types whose equality in SQL is comparison by value, and
// whose bytes are comparison as it is strictly.
var policyColumns = []struct {
	name, sqlType, bytes string
	values               []string
}{
	{"n", "numeric", "numeric_send(n)", []string{"1", "1.0", "1.00", "-0.5", "-0.50", "0", "NaN"}},
	{"f", "float8", "float8send(f)", []string{"0", "-0", "1", "NaN"}},
	{"j", "jsonb", "j::text", []string{"1", "1.0", `{"a": [1.50]}`, `{"a": [1.5]}`, `"1.0"`, `"1"`}},
	{"a", "numeric[]", "a::text", []string{"{1}", "{1.0}", "{NULL}", "{}"}},
	{"s", "text", "textsend(s)", []string{"", "a", "A", "a "}},
	{"k", "int", "int4send(k)", []string{"1", "2", "3", "4", "5", "6", "7", "8"}},
}

// TestPolicyOracle compares verifierd with SQL's EXCEPT ALL on random tables
// under random policies: over the values of columns compared by value, over
// the bytes of others, and over rows that fulfil the condition.
func TestPolicyOracle(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	if s := os.Getenv("VERIFIERD_ORACLE_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("VERIFIERD_ORACLE_SEED: %v", err)
		}
		seed = n
	}
	t.Logf("VERIFIERD_ORACLE_SEED=%d repeats this run", seed)
	r := rand.New(rand.NewPCG(seed, 7))
	dsn := pairOf(t)
	const tables = 24
	// The oracle needs both in one database: the target's rows are in the
	// source's schema twin, too.
	sql := [2][]string{{"CREATE SCHEMA twin"}, nil}
	policies := make(map[string]parity.Policy)
	oracle := make([]string, tables)
	for i := range tables {
		name := fmt.Sprintf("t%d", i)
		rows := [2][]string{}
		for range r.IntN(120) {
			row := randomPolicyRow(r)
			rows[0] = append(rows[0], row)
			switch r.IntN(12) {
			case 0: // missing
			case 1:
				rows[1] = append(rows[1], randomPolicyRow(r))
			case 2: // twice
				rows[1] = append(rows[1], row, row)
			default:
				rows[1] = append(rows[1], row)
			}
		}
		renamed := strings.Replace(policyDefinitions(), "n numeric,", `"the n" numeric,`, 1)
		sql[0] = append(sql[0], "CREATE TABLE "+name+" ("+policyDefinitions()+")", insertRows(name, rows[0]),
			"CREATE TABLE twin."+name+" ("+policyDefinitions()+")", insertRows("twin."+name, rows[1]))
		sql[1] = append(sql[1], "CREATE TABLE "+name+" ("+renamed+")", insertRows(name, rows[1]))
		if r.IntN(2) == 0 {
			for side := range sql {
				sql[side] = append(sql[side], "CREATE INDEX ON "+name+" (k)")
			}
		}
		p := parity.Policy{Columns: map[string]string{"n": "the n"}}
		where := []string{"", "k > 3", "s = 'a' OR k IS NULL", "f = 0 AND k < 7"}[r.IntN(4)]
		p.Where = [2]string{where, where}
		var list []string
		for _, c := range policyColumns {
			switch {
			case r.IntN(4) == 0:
				p.Exclude = append(p.Exclude, c.name)
				continue
			case r.IntN(2) == 0 && c.name != "s":
				p.Value = append(p.Value, c.name)
				list = append(list, c.name)
			default:
				list = append(list, c.bytes)
			}
			if r.IntN(3) == 0 || c.name == "k" && r.IntN(2) == 0 {
				p.Key = append(p.Key, c.name)
			}
		}
		if len(list) == 0 {
			p.Exclude, list = p.Exclude[1:], []string{policyColumns[0].bytes}
		}
		if where == "" {
			where = "true"
		}
		columns := strings.Join(list, ", ")
		of := "SELECT " + columns + " FROM %s WHERE " + where
		oracle[i] = fmt.Sprintf("SELECT (SELECT count(*) FROM ("+of+" EXCEPT ALL "+of+") d), (SELECT count(*) FROM ("+of+" EXCEPT ALL "+of+") d), (SELECT count(*) FROM ("+of+") d)",
			name, "twin."+name, "twin."+name, name, name)
		policies[name] = p
	}
	for side := range sql {
		pgtest.Exec(t, dsn[side], sql[side]...)
	}
	o := options(t, dsn, "public.*")
	o.tuning = small
	pass := under(t, o, policies)
	differing := 0
	for i, query := range oracle {
		name := fmt.Sprintf("t%d", i)
		table := tableNamed(t, pass, name)
		n := &table.Divergences
		got := []string{fmt.Sprint(n.Missing + n.Mismatched), fmt.Sprint(n.Extra + n.Mismatched), fmt.Sprint(table.Side[0].Rows)}
		want := pgtest.Query(t, dsn[0], query)[0]
		if !slices.Equal(got, want) || !table.Complete {
			t.Errorf("%s under %+v: %s: differing, of %d key columns, are %v, want %v", name, policies[name], table.Reason, len(table.Key), got, want)
		}
		if n.Confirmed() > 0 {
			differing++
		}
	}
	if differing == 0 {
		t.Errorf("%d of %d tables differ: the test shows too little", differing, tables)
	}
}

func policyDefinitions() string {
	var list []string
	for _, c := range policyColumns {
		list = append(list, c.name+" "+c.sqlType)
	}
	return strings.Join(list, ", ")
}

func randomPolicyRow(r *rand.Rand) string {
	var list []string
	for _, c := range policyColumns {
		value := "NULL"
		if r.IntN(10) > 0 {
			value = "'" + c.values[r.IntN(len(c.values))] + "'"
		}
		list = append(list, value)
	}
	return "(" + strings.Join(list, ", ") + ")"
}

func insertRows(table string, rows []string) string {
	if len(rows) == 0 {
		return "SELECT 1"
	}
	return "INSERT INTO " + table + " VALUES " + strings.Join(rows, ", ")
}
