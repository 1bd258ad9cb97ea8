package daemon

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/verifierd/verifierd/internal/pglocal/pgtest"
	"github.com/verifierd/verifierd/pkg/parity"
	"github.com/verifierd/verifierd/pkg/relation"
	"github.com/verifierd/verifierd/pkg/snapshot"
)

// oracleType is a type of the random tables, with values that are near
// neighbours of each other.
type oracleType struct {
	sql    string
	other  string // what the target calls a type with the same values; empty: the same
	values []string
	// canonical is the SQL that the oracle compares, a bytea or text of %s: never
	// the value itself, since SQL takes 1.0 for 1.00 and 1 day for 24 hours.
	canonical string
	key       bool // may be part of a key
}

var oracleTypes = []oracleType{
	{sql: "int2", values: []string{"0", "1", "-1", "32767"}, canonical: "int2send(%s)", key: true},
	{sql: "int4", other: "int8", values: []string{"0", "1", "-1", "256"}, canonical: "(%s)::text", key: true},
	{sql: "int8", values: []string{"0", "1", "-1", "9223372036854775807", "-9223372036854775808"}, canonical: "int8send(%s)", key: true},
	{sql: "float4", values: []string{"0", "-0", "NaN", "Infinity", "1.5"}, canonical: "float4send(%s)"},
	{sql: "float8", values: []string{"0", "-0", "NaN", "0.1", "0.30000000000000004", "0.3"}, canonical: "float8send(%s)"},
	{sql: "numeric", values: []string{"0", "1", "1.0", "1.00", "NaN", "-1e50"}, canonical: "(%s)::text", key: true},
	{sql: "text", values: []string{"", " ", "NULL", "a", "A", "a ", "é", "a|b", `"'\`, "\n"}, canonical: "textsend(%s)", key: true},
	{sql: "varchar(20)", other: "text", values: []string{"", "x", "x ", "X", "straße"}, canonical: "(%s)::text", key: true},
	{sql: "bpchar(5)", values: []string{"a", "b", "", "aé"}, canonical: "bpcharsend(%s)"},
	{sql: "bytea", values: []string{`\x`, `\x00`, `\x0000`, `\xff`}, canonical: "byteasend(%s)", key: true},
	{sql: "bool", values: []string{"t", "f"}, canonical: "boolsend(%s)"},
	{sql: "date", values: []string{"2024-02-29", "infinity", "0044-03-15 BC", "2000-01-01"}, canonical: "date_send(%s)", key: true},
	{sql: "time", values: []string{"00:00", "24:00", "12:34:56.789"}, canonical: "time_send(%s)"},
	{sql: "timetz", values: []string{"00:00+00", "01:00+01"}, canonical: "timetz_send(%s)"},
	{sql: "timestamp", values: []string{"2024-01-01", "infinity", "-infinity", "2024-01-01 00:00:00.000001"}, canonical: "timestamp_send(%s)", key: true},
	{sql: "timestamptz", values: []string{"2024-01-01 00:00+00", "2024-01-01 00:00:00.000001+00", "1900-01-01 00:00+00"}, canonical: "timestamptz_send(%s)", key: true},
	{sql: "interval", values: []string{"1 day", "24 hours", "1 mon", "30 days"}, canonical: "interval_send(%s)"},
	{sql: "uuid", values: []string{"00000000-0000-0000-0000-000000000000", "00000000-0000-0000-0000-000000000001", "ffffffff-ffff-ffff-ffff-ffffffffffff"}, canonical: "uuid_send(%s)", key: true},
	{sql: "json", values: []string{`{"a":1,"b":2}`, `{"b":2,"a":1}`, `{"a": 1,"b":2}`, "null"}, canonical: "(%s)::text"},
	{sql: "jsonb", values: []string{`{"a":1}`, `{"a":1.0}`, `[]`, "null"}, canonical: "(%s)::text"},
	{sql: "int4[]", values: []string{"{}", "{1}", "{NULL}", "[0:0]={1}", "{{1}}", "{1,2}"}, canonical: "(%s)::text"},
	{sql: "text[]", values: []string{"{}", `{""}`, `{NULL}`, `{"NULL"}`, "{a,b}", `{"a,b"}`}, canonical: "(%s)::text"},
	{sql: "point", values: []string{"(0,0)", "(-0,0)", "(1,2)"}, canonical: "point_send(%s)"},
	{sql: "inet", values: []string{"10.0.0.1", "10.0.0.1/24", "::1"}, canonical: "inet_send(%s)"},
	{sql: "bit varying", values: []string{"", "0", "1", "00"}, canonical: "varbit_send(%s)"},
	{sql: "int4range", values: []string{"empty", "[1,2)", "[1,)", "(,2)"}, canonical: "(%s)::text"},
	{sql: "mood", values: []string{"sad", "ok", "glad"}, canonical: "(%s)::text"},
	{sql: "mood[]", values: []string{"{sad}", "{ok,NULL}", "{}"}, canonical: "(%s)::text"},
	{sql: "positive", values: []string{"1", "2"}, canonical: "int4send(%s)"},
	{sql: "couple", values: []string{"(sad,1)", "(sad,)", "(,1)"}, canonical: "(%s)::text"},
}

// A case is one random table, loaded on both sides, with random mutations on
// the target.
type oracleCase struct {
	rand    *rand.Rand
	dsn     [2]string
	name    relation.Name
	columns []oracleType
	key     []int // empty: keyless
	rows    [][]*string
}

// TestOracle compares verifierd with SQL's EXCEPT ALL over canonical values on
// random tables with random mutations, between two major versions, two
// collations and types whose OIDs differ.
func TestOracle(t *testing.T) {
	cases := 200
	if s := os.Getenv("VERIFIERD_ORACLE_CASES"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("VERIFIERD_ORACLE_CASES: %v", err)
		}
		cases = n
	}
	seed := rand.Uint64()
	if s := os.Getenv("VERIFIERD_ORACLE_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("VERIFIERD_ORACLE_SEED: %v", err)
		}
		seed = n
	}
	t.Logf("VERIFIERD_ORACLE_SEED=%d repeats this run", seed)
	majors := pgtest.Majors()
	dsn := [2]string{
		pgtest.Database(t, pgtest.Server(t, majors[0])),
		pgtest.Database(t, pgtest.Server(t, majors[len(majors)-1]), collatedDatabase(t, majors[len(majors)-1])),
	}
	types := []string{
		"CREATE TYPE mood AS ENUM ('sad', 'ok', 'glad')", "CREATE DOMAIN positive AS int4 CHECK (VALUE > 0)",
		"CREATE TYPE couple AS (m mood, n int4)",
	}
	pgtest.Exec(t, dsn[0], types...)
	pgtest.Exec(t, dsn[1], "CREATE TYPE unused AS ENUM ('shifts', 'the', 'OIDs')")
	pgtest.Exec(t, dsn[1], types...)
	for i := range cases {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		c := &oracleCase{rand: r, dsn: dsn, name: relation.Name{Schema: "public", Name: fmt.Sprintf("t %d", i)}}
		t.Run(strconv.Itoa(i), c.run)
	}
}

// collatedDatabase asks for a database whose text sorts otherwise than in C.
func collatedDatabase(t *testing.T, major int) string {
	srv := pgtest.Server(t, major)
	admin := srv.DSN("postgres")
	found := pgtest.Query(t, admin, `SELECT collcollate FROM pg_collation WHERE collprovider = 'c' AND collcollate IN ('en_US.utf8', 'en_US.UTF-8', 'de_DE.utf8') LIMIT 1`)
	if len(found) > 0 {
		return fmt.Sprintf("TEMPLATE template0 LC_COLLATE '%s' LC_CTYPE '%s'", found[0][0], found[0][0])
	}
	if major >= 15 && len(pgtest.Query(t, admin, "SELECT 1 FROM pg_collation WHERE collprovider = 'i' LIMIT 1")) > 0 {
		return "TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'"
	}
	t.Fatalf("PostgreSQL %d has no collation but C", major)
	return ""
}

func (c *oracleCase) run(t *testing.T) {
	c.invent()
	c.load(t)
	c.mutate(t)
	want := c.oracle(t)
	o := Options{
		DSN: c.dsn, Tables: []relation.Pattern{exactly(t, c.name)}, MaxDivergences: 1 << 20,
		Workers: 1 + c.rand.IntN(3), PerTable: c.rand.IntN(4) == 0, Read: []snapshot.ReadMode{snapshot.Fast, snapshot.Gentle}[c.rand.IntN(2)],
		tuning: tuning{
			chunkBytes: 8192 << c.rand.IntN(4), leafRows: 1 << (3 + c.rand.IntN(10)),
			memoryRows: 50 << c.rand.IntN(12), memoryBytes: 1000 << c.rand.IntN(12),
		},
	}
	p := Verify(context.Background(), o)
	if len(p.Tables) != 1 || !p.Complete {
		t.Fatalf("%s is not complete: %s\n%s", c.name, p.Reason, c.describe())
	}
	got := found(&p.Tables[0])
	if !slices.Equal(got, want) {
		t.Errorf("%s, options %+v\n%s\ngot  %q\nwant %q", c.name, o.tuning, c.describe(), got, want)
	}
	if verdict := p.Verdict; (verdict == parity.Match) != (len(want) == 0) || verdict == parity.Incomplete {
		t.Errorf("verdict %s with %d divergences", verdict, len(want))
	}
	n := p.Tables[0].Divergences
	if !n.Explained || n.Healed+n.Volatile != 0 {
		t.Errorf("divergences %+v, want them explained", n)
	}
	if !t.Failed() {
		for _, dsn := range c.dsn {
			pgtest.Exec(t, dsn, "DROP TABLE "+c.name.SQL())
		}
	}
}

func exactly(t *testing.T, n relation.Name) relation.Pattern {
	t.Helper()
	p, err := relation.ParsePattern(n.SQL())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// invent makes up columns, a key and rows.
func (c *oracleCase) invent() {
	for range 1 + c.rand.IntN(8) {
		c.columns = append(c.columns, oracleTypes[c.rand.IntN(len(oracleTypes))])
	}
	if c.rand.IntN(5) > 0 {
		for range 1 + c.rand.IntN(2) {
			var candidates []oracleType
			for _, o := range oracleTypes {
				if o.key {
					candidates = append(candidates, o)
				}
			}
			at := c.rand.IntN(len(c.columns) + 1)
			c.columns = slices.Insert(c.columns, at, candidates[c.rand.IntN(len(candidates))])
			for i := range c.key {
				if c.key[i] >= at {
					c.key[i]++
				}
			}
			c.key = append(c.key, at)
		}
		c.rand.Shuffle(len(c.key), func(i, j int) { c.key[i], c.key[j] = c.key[j], c.key[i] })
	}
	seen := make(map[string]bool)
	for range c.rand.IntN(1 << c.rand.IntN(11)) {
		row := c.row()
		if id := c.id(row); len(c.key) == 0 || !seen[id] {
			seen[id] = true
			c.rows = append(c.rows, row)
		}
	}
}

func (c *oracleCase) row() []*string {
	row := make([]*string, len(c.columns))
	for i := range row {
		if slices.Contains(c.key, i) {
			row[i] = c.keyValue(c.columns[i])
			continue
		}
		row[i] = c.value(c.columns[i])
	}
	return row
}

func (c *oracleCase) value(o oracleType) *string {
	if c.rand.IntN(6) == 0 {
		return nil
	}
	return &o.values[c.rand.IntN(len(o.values))]
}

// keyValue makes values that are mostly different from each other.
func (c *oracleCase) keyValue(o oracleType) *string {
	n := c.rand.IntN(3000)
	s := strconv.Itoa(n - 1500)
	switch {
	case c.rand.IntN(20) == 0 && o.sql != "numeric": // 1.0 and 1.00 clash in a unique index
		return &o.values[c.rand.IntN(len(o.values))]
	case o.sql == "text" || o.sql == "varchar(20)":
		s = []string{"k", "K", "Ä", "-"}[n%4] + s
	case o.sql == "bytea":
		s = fmt.Sprintf(`\x%04x`, n)
		if n%2 == 0 {
			s = fmt.Sprintf(`\x%06x`, n)
		}
	case o.sql == "date":
		s = fmt.Sprintf("%d-01-%02d", 1990+n%100, 1+n%28)
	case o.sql == "timestamp" || o.sql == "timestamptz":
		s = fmt.Sprintf("%d-06-%02d %02d:00:00+00", 1990+n%100, 1+n%28, n%24)
	case o.sql == "uuid":
		s = fmt.Sprintf("%08x-0000-0000-0000-%012x", c.rand.Uint32(), n)
	}
	return &s
}

// id tells keys apart as the unique index does, near enough: "0" and "-0" are
// not among the values of key types.
func (c *oracleCase) id(row []*string) string {
	var id strings.Builder
	for _, k := range c.key {
		fmt.Fprintf(&id, "%q,", strings.TrimSuffix(*row[k], " 00:00:00"))
	}
	return id.String()
}

func column(i int) string { return relation.QuoteIdent(fmt.Sprintf("c %d", i)) }

// load creates the table on both sides, with columns in another order, other
// dropped columns, wider types and perhaps partitions on the target.
func (c *oracleCase) load(t *testing.T) {
	for side, dsn := range c.dsn {
		order := c.rand.Perm(len(c.columns))
		if side == 0 {
			slices.Sort(order)
		}
		var defs []string
		for _, i := range order {
			o := c.columns[i]
			sql := o.sql
			if side == 1 && o.other != "" && c.rand.IntN(3) == 0 {
				sql = o.other
			}
			if slices.Contains(c.key, i) {
				sql += " NOT NULL"
			}
			defs = append(defs, column(i)+" "+sql)
		}
		defs = slices.Insert(defs, c.rand.IntN(len(defs)+1), "dropped int")
		create := fmt.Sprintf("CREATE TABLE %s (%s)", c.name.SQL(), strings.Join(defs, ", "))
		stmts := []string{create}
		if len(c.key) > 0 && c.rand.IntN(4) == 0 {
			part := relation.Name{Schema: "public", Name: c.name.Name + " part"}
			stmts = []string{create + fmt.Sprintf(" PARTITION BY HASH (%s)", column(c.key[0]))}
			for i := range 3 {
				stmts = append(stmts, fmt.Sprintf("CREATE TABLE %s PARTITION OF %s FOR VALUES WITH (MODULUS 3, REMAINDER %d)",
					relation.Name{Schema: part.Schema, Name: part.Name + strconv.Itoa(i)}.SQL(), c.name.SQL(), i))
			}
		}
		stmts = append(stmts, fmt.Sprintf("ALTER TABLE %s DROP COLUMN dropped", c.name.SQL()))
		// A unique index serves as well as a primary key, and on one side is enough.
		if len(c.key) > 0 {
			stmts = append(stmts, fmt.Sprintf("CREATE UNIQUE INDEX ON %s (%s)", c.name.SQL(), c.keyColumns()))
		}
		pgtest.Exec(t, dsn, stmts...)
		rows := slices.Clone(c.rows)
		if side == 1 {
			c.rand.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
		}
		c.insert(t, dsn, rows)
		if c.rand.IntN(2) == 0 {
			pgtest.Exec(t, dsn, "ANALYZE "+c.name.SQL())
		}
	}
}

func (c *oracleCase) keyColumns() string {
	var names []string
	for _, k := range c.key {
		names = append(names, column(k))
	}
	return strings.Join(names, ", ")
}

func (c *oracleCase) insert(t *testing.T, dsn string, rows [][]*string) {
	var columns []string
	for i := range c.columns {
		columns = append(columns, column(i))
	}
	onConflict := ""
	if len(c.key) > 0 {
		onConflict = " ON CONFLICT DO NOTHING"
	}
	for batch := range slices.Chunk(rows, 500) {
		var values []string
		for _, row := range batch {
			var v []string
			for i := range row {
				v = append(v, c.literal(i, row[i]))
			}
			values = append(values, "("+strings.Join(v, ", ")+")")
		}
		pgtest.Exec(t, dsn, fmt.Sprintf("INSERT INTO %s (%s) VALUES %s%s", c.name.SQL(), strings.Join(columns, ", "), strings.Join(values, ", "), onConflict))
	}
}

func (c *oracleCase) literal(i int, value *string) string {
	if value == nil {
		return "NULL"
	}
	return relation.QuoteLiteral(*value) + "::" + c.columns[i].sql
}

// mutate changes the target a little, much, or not at all.
func (c *oracleCase) mutate(t *testing.T) {
	if len(c.rows) == 0 || c.rand.IntN(4) == 0 {
		return
	}
	dsn := c.dsn[1]
	pick := func() string {
		return fmt.Sprintf("ctid IN (SELECT ctid FROM %s ORDER BY md5(ctid::text || '%d') LIMIT %d)", c.name.SQL(), c.rand.Int(), 1+c.rand.IntN(3))
	}
	for range 1 + c.rand.IntN(4) {
		i := c.rand.IntN(len(c.columns))
		switch c.rand.IntN(8) {
		case 0:
			pgtest.Exec(t, dsn, fmt.Sprintf("DELETE FROM %s WHERE %s", c.name.SQL(), pick()))
		case 1:
			c.insert(t, dsn, [][]*string{c.row(), c.row()})
		case 2:
			pgtest.Exec(t, dsn, fmt.Sprintf("DELETE FROM %s WHERE hashtext(ctid::text) %% %d = 0", c.name.SQL(), 1+c.rand.IntN(5)))
		case 3: // two rows exchange a column
			if !slices.Contains(c.key, i) {
				n := column(i)
				pgtest.Exec(t, dsn, fmt.Sprintf(`WITH two AS (SELECT tableoid AS o, ctid AS c, %[1]s AS v, row_number() OVER () AS r FROM %[2]s LIMIT 2)
 UPDATE %[2]s SET %[1]s = b.v FROM two a JOIN two b ON a.r <> b.r WHERE %[2]s.ctid = a.c AND %[2]s.tableoid = a.o`, n, c.name.SQL()))
			}
		case 4:
			if !slices.Contains(c.key, i) {
				pgtest.Exec(t, dsn, fmt.Sprintf("UPDATE %s SET %s = %s", c.name.SQL(), column(i), c.literal(i, c.value(c.columns[i]))))
			}
		default:
			if !slices.Contains(c.key, i) {
				pgtest.Exec(t, dsn, fmt.Sprintf("UPDATE %s SET %s = %s WHERE %s", c.name.SQL(), column(i), c.literal(i, c.value(c.columns[i])), pick()))
			}
		}
	}
}

// oracle asks SQL what differs: it puts both sides' canonical values beside
// each other in one database.
func (c *oracleCase) oracle(t *testing.T) []string {
	const settings = "SET timezone = 'UTC'; SET datestyle = 'ISO, MDY'; SET intervalstyle = 'postgres'; SET extra_float_digits = 1; SET bytea_output = 'hex'; "
	n := len(c.columns)
	names := make([]string, n)
	var exprs, defs []string
	for i, o := range c.columns {
		names[i] = fmt.Sprintf("c%d", i)
		defs = append(defs, names[i]+` text COLLATE "C"`)
		exprs = append(exprs, fmt.Sprintf(o.canonical, column(i))+"::text")
	}
	for j, k := range c.key {
		defs = append(defs, fmt.Sprintf(`k%d text COLLATE "C"`, j))
		exprs = append(exprs, column(k)+"::text")
	}
	at := c.dsn[0]
	for side, dsn := range c.dsn {
		pgtest.Exec(t, at, fmt.Sprintf("DROP TABLE IF EXISTS oracle_%d; CREATE TABLE oracle_%d (%s)", side, side, strings.Join(defs, ", ")))
		rows := queryNullable(t, dsn, settings, fmt.Sprintf("SELECT %s FROM %s", strings.Join(exprs, ", "), c.name.SQL()))
		for batch := range slices.Chunk(rows, 500) {
			var values []string
			for _, row := range batch {
				var v []string
				for _, x := range row {
					if x == nil {
						v = append(v, "NULL")
					} else {
						v = append(v, relation.QuoteLiteral(*x))
					}
				}
				values = append(values, "("+strings.Join(v, ", ")+")")
			}
			pgtest.Exec(t, at, fmt.Sprintf("INSERT INTO oracle_%d VALUES %s", side, strings.Join(values, ", ")))
		}
	}
	var surplus [2][][]*string
	for side := range surplus {
		surplus[side] = queryNullable(t, at, "", fmt.Sprintf("SELECT * FROM oracle_%d EXCEPT ALL SELECT * FROM oracle_%d", side, 1-side))
	}
	var list []string
	if len(c.key) == 0 {
		for side, kind := range []string{"missing", "extra"} {
			if len(surplus[side]) > 0 {
				list = append(list, fmt.Sprintf("%s %d", kind, len(surplus[side])))
			}
		}
		return list
	}
	byKey := make(map[string][2][]*string)
	for side := range surplus {
		for _, row := range surplus[side] {
			// Canonical values, since 1.0 and 1.00 are two keys.
			var id, text string
			for j, k := range c.key {
				id += fmt.Sprintf("%q,", *row[k])
				text += fmt.Sprintf("%q,", *row[n+j])
			}
			both := byKey[id+"/"+text]
			both[side] = row
			byKey[id+"/"+text] = both
		}
	}
	for id, both := range byKey {
		key := id[strings.Index(id, "/")+1:]
		switch {
		case both[1] == nil:
			list = append(list, "missing "+key)
		case both[0] == nil:
			list = append(list, "extra "+key)
		default:
			var differ []string
			for i := range n {
				if a, b := both[0][i], both[1][i]; (a == nil) != (b == nil) || a != nil && *a != *b {
					differ = append(differ, fmt.Sprintf("c %d", i))
				}
			}
			list = append(list, fmt.Sprintf("mismatched %s %q", key, differ))
		}
	}
	slices.Sort(list)
	return list
}

// found is what verifierd reported, in the oracle's words.
func found(t *parity.Table) []string {
	var list []string
	count := map[parity.Kind]int64{}
	for _, d := range t.Rows {
		if len(d.Key) == 0 {
			n := d.Count[0] - d.Count[1]
			count[d.Kind] += max(n, -n)
			continue
		}
		var key string
		for _, k := range d.Key {
			key += fmt.Sprintf("%q,", *k.Value)
		}
		s := d.Kind.String() + " " + key
		if d.Kind == parity.Mismatched {
			s += fmt.Sprintf(" %q", d.Columns)
		}
		list = append(list, s)
	}
	for _, kind := range []parity.Kind{parity.Missing, parity.Extra} {
		if count[kind] > 0 {
			list = append(list, fmt.Sprintf("%s %d", kind, count[kind]))
		}
	}
	slices.SortFunc(list, func(a, b string) int {
		// Keyless counts come as the oracle lists them.
		if len(t.Key) == 0 {
			return -cmp.Compare(a, b)
		}
		return cmp.Compare(a, b)
	})
	return list
}

func (c *oracleCase) describe() string {
	var b strings.Builder
	for i, o := range c.columns {
		fmt.Fprintf(&b, "c %d %s; ", i, o.sql)
	}
	fmt.Fprintf(&b, "key %v, %d rows", c.key, len(c.rows))
	return b.String()
}
