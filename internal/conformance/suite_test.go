package conformance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/verifierd/verifierd/internal/daemon"
	"github.com/verifierd/verifierd/pkg/parity"
	"github.com/verifierd/verifierd/pkg/relation"
)

// suite is one pair of databases that hold the same values. All types share
// few tables, since each table that differs costs a second reading:
//
//	v        a row for each value, under a key of its own: by itself (v_type),
//	         in an array (a_type), in a composite with a domain (c_type)
//	bound    the types that are not compared
//	keyless  values without a key
//	p1, p2 … keys made of values of many types
//	border   text in neighbouring columns
type suite struct {
	sides [2]*database
	cases []typeCase
	keys  [][]*typeCase // the types in the key of p1, p2 …
	// mutations change the target, which is then expected to differ: by
	// table and key, in the columns that changed.
	mutations []string
	expected  map[string]map[string]string
	extra     int64 // rows too many in keyless
}

// load fills both sides with the same values, each in its own way.
func load(t *testing.T, sides [2]*database) *suite {
	t.Helper()
	s := &suite{sides: sides, expected: map[string]map[string]string{"v": {}, "border": maps.Clone(borderExpected)}}
	s.mutations = slices.Clone(borderMutations)
	available := s.available(t)
	for _, c := range cases() {
		if min(sides[0].major, sides[1].major) >= c.since && (c.extension == "" || available[c.extension]) {
			s.cases = append(s.cases, c)
		}
	}
	s.both(t, func(side relation.Side) []string { return s.definitions(sides[side], available) })
	s.chooseKeys(t)
	s.both(t, func(side relation.Side) []string {
		var sql []string
		for i := range s.cases {
			sql = append(sql, s.rows(&s.cases[i], i*1000, side)...)
		}
		for i := range s.keys {
			sql = append(sql, s.keyRows(i, side)...)
		}
		return append(sql, border...)
	})
	return s
}

// both runs on each side what statements returns for it, at once.
func (s *suite) both(t *testing.T, statements func(relation.Side) []string) {
	t.Helper()
	var failed [2]error
	var wg sync.WaitGroup
	for side, d := range s.sides {
		wg.Go(func() { failed[side] = d.exec(statements(relation.Side(side))) })
	}
	wg.Wait()
	if err := errors.Join(failed[:]...); err != nil {
		t.Fatal(err)
	}
}

// available lists the extensions that both servers have, and says which they
// lack.
func (s *suite) available(t *testing.T) map[string]bool {
	t.Helper()
	available := make(map[string]bool)
	for _, name := range extensions {
		available[name] = true
		for _, d := range s.sides {
			if len(d.query(t, "SELECT 1 FROM pg_available_extensions WHERE name = "+relation.QuoteLiteral(name))) == 0 {
				t.Logf("PostgreSQL %d does not ship extension %s: its types are not tried", d.major, name)
				available[name] = false
			}
		}
	}
	return available
}

// definitions returns the statements that create the types and tables.
func (s *suite) definitions(d *database, available map[string]bool) []string {
	list, names := slices.Clone(s.cases), slices.Clone(extensions)
	sql := []string{"CREATE SCHEMA cases"}
	if d.reversed {
		slices.Reverse(list)
		slices.Reverse(names)
		sql = append(sql, "CREATE TYPE unused AS ENUM ('shifts', 'the', 'OIDs')", "CREATE DOMAIN unused_too AS unused[]")
	}
	for _, name := range names {
		if available[name] {
			sql = append(sql, fmt.Sprintf("CREATE EXTENSION %q", name))
		}
	}
	var values, plain, bound []string
	for i := range list {
		c := &list[i]
		sql = append(sql, c.setup...)
		name := c.name()
		if c.how == notCompared {
			bound = append(bound, fmt.Sprintf("v_%s %s", name, c.sql))
			continue
		}
		// Domains of the information schema have defaults.
		gone, drop := "", ""
		if d.reversed { // a dropped attribute leaves a gap
			gone, drop = "gone int, ", fmt.Sprintf("ALTER TYPE comp_%s DROP ATTRIBUTE gone", name)
		}
		sql = append(sql, fmt.Sprintf("CREATE DOMAIN dom_%s AS %s", name, c.sql),
			fmt.Sprintf("CREATE TYPE comp_%s AS (%sx %s, y dom_%s, z %s)", name, gone, c.sql, name, c.array()), drop)
		around := "comp_" + name
		if s.leftOut(c) {
			bound = append(bound, fmt.Sprintf("c_%s %s", name, around))
			around = "text"
		}
		values = append(values, fmt.Sprintf("v_%s %s DEFAULT NULL, a_%s %s, c_%s %s", name, c.sql, name, c.array(), name, around))
		plain = append(plain, fmt.Sprintf("v_%s %s DEFAULT NULL", name, c.sql))
	}
	return append(sql,
		"CREATE TABLE cases.v (id int PRIMARY KEY, "+strings.Join(values, ", ")+")",
		"CREATE TABLE cases.bound (id int PRIMARY KEY, "+strings.Join(bound, ", ")+")",
		"CREATE TABLE cases.keyless ("+strings.Join(plain, ", ")+")",
		"CREATE TABLE cases.border (id int PRIMARY KEY, a text, b text, c bytea, d bytea)",
	)
}

// leftOut reports whether composites of a type are not compared, because the
// encodings differ.
func (s *suite) leftOut(c *typeCase) bool {
	source, target := s.sides[0].encoding, s.sides[1].encoding
	return c.bare && source != target && (c.sql == "hstore" || source == "SQL_ASCII" || target == "SQL_ASCII")
}

// border holds text that can move from one column to the next, and values that
// can be swapped between rows.
var border = []string{`INSERT INTO cases.border VALUES (1, 'a|b', 'c', '\x0102', '\x03'), (2, 'ab', 'c', NULL, ''), (3, '', NULL, NULL, NULL),
	(4, 'x', 'y', '\x01', '\x02'), (5, 'u', 'v', '\x03', '\x04'), (6, 'same', 'same', NULL, NULL)`}

var borderMutations = []string{
	`UPDATE cases.border SET a = 'a', b = 'b|c' WHERE id = 1`,
	`UPDATE cases.border SET a = 'a', b = 'bc', c = '', d = NULL WHERE id = 2`,
	`UPDATE cases.border SET a = NULL, b = '' WHERE id = 3`,
	`UPDATE cases.border SET a = CASE id WHEN 4 THEN 'u' ELSE 'x' END WHERE id IN (4, 5)`,
}

var borderExpected = map[string]string{
	"1": "mismatched [a b]", "2": "mismatched [a b c d]", "3": "mismatched [a b]", "4": "mismatched [a]", "5": "mismatched [a]",
}

// chooseKeys asks which types can be keys, and makes tables of some each.
// Types that no index finds by their canonical bytes go together, since one of
// them keeps all others from being looked up.
func (s *suite) chooseKeys(t *testing.T) {
	t.Helper()
	const perKey = 12
	able := make(map[string]bool)
	for _, r := range s.sides[0].query(t, `SELECT substr(a.attname, 3) FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
 WHERE a.attrelid = 'cases.keyless'::regclass AND a.attnum > 0 AND EXISTS (SELECT 1 FROM pg_opclass o JOIN pg_am m ON m.oid = o.opcmethod
 WHERE m.amname = 'btree' AND o.opcdefault AND o.opcintype IN (t.oid, t.typbasetype, CASE t.typtype WHEN 'e' THEN 'anyenum'::regtype
  WHEN 'r' THEN 'anyrange'::regtype WHEN 'm' THEN to_regtype('anymultirange') WHEN 'c' THEN 'record'::regtype END,
  CASE WHEN t.typoutput = 'array_out'::regproc THEN 'anyarray'::regtype END))`) {
		able[r[0]] = true
	}
	var found, scanned []*typeCase
	for i := range s.cases {
		c := &s.cases[i]
		switch {
		case !able[c.name()]:
		case c.how == asText || c.extension != "" || c.unindexed:
			scanned = append(scanned, c)
		default:
			found = append(found, c)
		}
	}
	if len(found) < 30 || len(scanned) < 10 {
		t.Fatalf("%d types found by an index and %d that are not: want many of both", len(found), len(scanned))
	}
	s.keys = slices.Concat(slices.Collect(slices.Chunk(found, perKey)), slices.Collect(slices.Chunk(scanned, perKey)))
	s.both(t, func(relation.Side) []string {
		var sql []string
		for i, key := range s.keys {
			var columns, names []string
			for _, c := range key {
				columns = append(columns, fmt.Sprintf("v_%s %s", c.name(), c.sql))
				names = append(names, "v_"+c.name())
			}
			sql = append(sql, fmt.Sprintf("CREATE TABLE cases.p%d (%s, n int, v int, PRIMARY KEY (%s, n))", i+1, strings.Join(columns, ", "), strings.Join(names, ", ")))
		}
		return sql
	})
}

// rows returns the statements that fill a case's columns on a side, with keys
// from id on. On the target it also notes the mutations to come.
func (s *suite) rows(c *typeCase, id int, side relation.Side) []string {
	name, values := c.name(), s.values(c)
	var rows []string
	if c.how == notCompared {
		for _, v := range values {
			id++
			rows = append(rows, fmt.Sprintf("(%d, %s)", id, c.literal(v)))
		}
		return []string{fmt.Sprintf("INSERT INTO cases.bound (id, v_%s) VALUES %s", name, strings.Join(rows, ", "))}
	}
	add := func(v, array, composite string) int {
		id++
		if s.leftOut(c) {
			composite = "NULL"
		}
		rows = append(rows, fmt.Sprintf("(%d, %s, %s, %s)", id, v, array, composite))
		return id
	}
	mutate := func(id int, column, value string) {
		if side == relation.Source {
			return
		}
		s.mutations = append(s.mutations, fmt.Sprintf("UPDATE cases.v SET %s_%s = %s WHERE id = %d", column, name, value, id))
		s.expected["v"][fmt.Sprint(id)] = fmt.Sprintf("mismatched [%s_%s]", column, name)
	}
	for _, v := range values {
		add(c.literal(v), c.elements(v, null, v), c.composite(v))
	}
	pairs := s.fitting(c.pairs)
	for _, pair := range append(pairs, [2]string{values[0], null}) {
		from, to := pair[0], pair[1]
		mutate(add(c.literal(from), "NULL", "NULL"), "v", c.literal(to))
		if !s.leftOut(c) {
			mutate(add("NULL", "NULL", c.composite(from)), "c", c.composite(to))
		}
		if c.array() != c.sql {
			mutate(add("NULL", c.elements(from, null), "NULL"), "a", c.elements(to, null))
		}
	}
	// Two rows exchange their values.
	from, to := c.literal(pairs[0][0]), c.literal(pairs[0][1])
	mutate(add(from, "NULL", "NULL"), "v", to)
	mutate(add(to, "NULL", "NULL"), "v", from)
	for _, pair := range s.fitting(c.same) {
		v := pair[side]
		add(c.literal(v), c.elements(v), c.composite(v))
	}
	var later []string
	if one := c.literal(values[0]); c.array() != c.sql {
		// A NULL that was overwritten leaves its flag behind.
		whole, holed := c.elements(values[0], values[0]), c.elements(values[0], null)
		if side == relation.Source {
			add("NULL", whole, "NULL")
		} else {
			later = append(later, fmt.Sprintf("UPDATE cases.v SET a_%s[2] = %s WHERE id = %d", name, one, add("NULL", holed, "NULL")))
		}
		single := c.elements(values[0])
		mutate(add("NULL", single, "NULL"), "a", fmt.Sprintf("array_fill(%s, ARRAY[1], ARRAY[0])", one))
		mutate(add("NULL", single, "NULL"), "a", fmt.Sprintf("array_fill(%s, ARRAY[1, 1])", one))
		mutate(add("NULL", single, "NULL"), "a", holed)
		mutate(add("NULL", single, "NULL"), "a", "'{}'")
		mutate(add("NULL", "'{}'", "NULL"), "a", "NULL")
	}
	var plain []string
	for _, v := range append(values, values[0]) {
		plain = append(plain, "("+c.literal(v)+")")
	}
	if side == relation.Target {
		s.mutations = append(s.mutations, fmt.Sprintf("INSERT INTO cases.keyless (v_%s) VALUES (%s)", name, c.literal(values[0])))
		s.extra++
	}
	return append([]string{
		fmt.Sprintf("INSERT INTO cases.v (id, v_%s, a_%s, c_%s) VALUES %s", name, name, name, strings.Join(rows, ", ")),
		fmt.Sprintf("INSERT INTO cases.keyless (v_%s) VALUES %s", name, strings.Join(plain, ", ")),
	}, later...)
}

// keyRows returns the statements that fill table p(i+1). Each row holds, for
// each type in the key, one of its values in turn.
func (s *suite) keyRows(i int, side relation.Side) []string {
	values := make([][]string, len(s.keys[i]))
	most := 6
	for k, c := range s.keys[i] {
		values[k] = slices.DeleteFunc(s.values(c), func(v string) bool { return v == null })
		for _, pair := range s.fitting(c.pairs) {
			if pair[0] != null && pair[1] != null {
				values[k] = append(values[k], pair[0], pair[1])
			}
		}
		most = max(most, len(values[k]))
	}
	table := fmt.Sprintf("p%d", i+1)
	var rows []string
	for n := range most {
		var row []string
		for k, c := range s.keys[i] {
			row = append(row, c.literal(values[k][n%len(values[k])]))
		}
		rows = append(rows, fmt.Sprintf("(%s, %d, %d)", strings.Join(row, ", "), n, n))
	}
	if side == relation.Target {
		want := make(map[string]string)
		for n := range most { // every value is looked up
			switch n {
			case 0:
				want["0"] = "missing []"
				s.mutations = append(s.mutations, "DELETE FROM cases."+table+" WHERE n = 0")
			case 1: // stays
			case 2, 3:
				want[fmt.Sprint(n)] = "mismatched [v]" // exchange what belongs to their keys
			default:
				want[fmt.Sprint(n)] = "mismatched [v]"
			}
		}
		s.mutations = append(s.mutations, "UPDATE cases."+table+" SET v = CASE n WHEN 2 THEN 3 WHEN 3 THEN 2 ELSE -n END WHERE n > 1")
		s.expected[table] = want
	}
	return []string{fmt.Sprintf("INSERT INTO cases.%s VALUES %s", table, strings.Join(rows, ", "))}
}

// values are those that both sides can hold, NULL among them.
func (s *suite) values(c *typeCase) []string {
	all := slices.Clone(c.values)
	for _, since := range slices.Sorted(maps.Keys(c.recent)) {
		if min(s.sides[0].major, s.sides[1].major) >= since {
			all = append(all, c.recent[since]...)
		}
	}
	return slices.DeleteFunc(append(all, null), func(v string) bool { return !s.fits(v) })
}

func (s *suite) fitting(pairs [][2]string) [][2]string {
	return slices.DeleteFunc(slices.Clone(pairs), func(p [2]string) bool { return !s.fits(p[0]) || !s.fits(p[1]) })
}

// fits reports whether both sides can store a value.
func (s *suite) fits(value string) bool { return s.sides[0].fits(value) && s.sides[1].fits(value) }

func (s *suite) verify(t *testing.T) map[string]*parity.Table {
	t.Helper()
	pattern, err := relation.ParsePattern("cases.*")
	if err != nil {
		t.Fatal(err)
	}
	pass := daemon.Verify(context.Background(), daemon.Options{
		DSN: [2]string{s.sides[0].dsn, s.sides[1].dsn}, Tables: []relation.Pattern{pattern}, Workers: 2, MaxDivergences: 1_000_000,
	})
	tables := make(map[string]*parity.Table)
	for i := range pass.Tables {
		tables[pass.Tables[i].Name.Name] = &pass.Tables[i]
	}
	if want := len(s.expected) + 2; len(tables) != want {
		t.Fatalf("%d tables were compared, want %d: %s", len(tables), want, pass.Reason)
	}
	return tables
}

// checkEqual asserts that nothing is reported of equal values, and that what
// cannot be compared is said to be so.
func (s *suite) checkEqual(t *testing.T, tables map[string]*parity.Table) {
	t.Helper()
	for name, table := range tables {
		switch {
		case name == "bound":
			s.checkBound(t, table)
		case table.Verdict != parity.Match || table.Side[0].Rows == 0:
			t.Errorf("%s: want a match, got %s: %s", name, table.Verdict, table.Reason)
			for key, outcome := range namedRows(table) {
				t.Errorf("%s: row %s of equal values is %s", name, key, outcome)
			}
		}
	}
}

func (s *suite) checkBound(t *testing.T, table *parity.Table) {
	t.Helper()
	if table.Verdict != parity.Incomplete {
		t.Errorf("bound: want incomplete, got %s: %s", table.Verdict, table.Reason)
	}
	for i := range s.cases {
		c := &s.cases[i]
		if s.leftOut(c) && !strings.Contains(table.Reason, fmt.Sprintf("column \"c_%s\" of type public.comp_%s cannot be compared between encodings", c.name(), c.name())) {
			t.Errorf("%s in a composite: want the reason that the encodings differ, got %q", c.sql, table.Reason)
		}
		if c.how == notCompared && !strings.Contains(table.Reason, fmt.Sprintf("column \"v_%s\" ", c.name())+c.why) {
			t.Errorf("%s: want the reason that it %q, got %q", c.sql, c.why, table.Reason)
		}
	}
}

// mutate changes the target.
func (s *suite) mutate(t *testing.T) {
	t.Helper()
	if err := s.sides[1].exec(s.mutations); err != nil {
		t.Fatal(err)
	}
}

// checkMutated asserts that exactly the rows that were changed are named.
func (s *suite) checkMutated(t *testing.T, tables map[string]*parity.Table) {
	t.Helper()
	for name, want := range s.expected {
		table := tables[name]
		if table.Verdict != parity.Diverged || !table.Complete || !table.Divergences.Explained {
			t.Errorf("%s: want it diverged and complete, got %s: %s", name, table.Verdict, table.Reason)
			continue
		}
		got := namedRows(table)
		for key, outcome := range want {
			if got[key] != outcome {
				t.Errorf("%s: row %s: want %s, got %q", name, key, outcome, got[key])
			}
		}
		for key, outcome := range got {
			if want[key] == "" {
				t.Errorf("%s: row %s is the same, got %s", name, key, outcome)
			}
		}
	}
	if n := tables["keyless"].Divergences; n.Extra != s.extra || n.Confirmed() != s.extra || !n.Explained {
		t.Errorf("keyless: want %d rows too many, got %+v: %s", s.extra, n, tables["keyless"].Reason)
	}
}

// namedRows are the rows that an outcome names, by the last column of their key.
func namedRows(t *parity.Table) map[string]string {
	rows := make(map[string]string)
	for i := range t.Rows {
		row := &t.Rows[i]
		key := row.RowHash
		if n := len(row.Key); n > 0 && row.Key[n-1].Value != nil {
			key = *row.Key[n-1].Value
		}
		rows[key] = fmt.Sprintf("%s %v", row.Kind, row.Columns)
	}
	return rows
}
