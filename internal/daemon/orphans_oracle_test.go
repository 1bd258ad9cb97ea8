package daemon

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/verifierd/verifierd/internal/pglocal/pgtest"
	"github.com/verifierd/verifierd/pkg/parity"
	"github.com/verifierd/verifierd/pkg/relation"
)

// orphanCase is a random foreign key with random rows on both sides.
type orphanCase struct {
	rand    *rand.Rand
	columns []orphanColumn
	full    bool
	keyless bool
	indexed bool
	parts   [2]bool // whether parent and child are partitioned
	self    bool    // the child refers to itself
	tables  [2]string
}

// orphanColumn is a column that refers, with the type of the one referred to.
type orphanColumn struct {
	child, parent string
	values        []string
}

var orphanColumns = []orphanColumn{
	{"int4", "int4", []string{"1", "2", "3", "4", "5", "6", "7", "8"}},
	{"int2", "int8", []string{"1", "2", "3", "4", "5", "6", "7", "8"}},
	{"numeric", "numeric", []string{"1", "1.0", "1.00", "2", "3", "4.5", "4.50", "0"}},
	{"text", "text", []string{"a", "A", "b", "B", "a ", "", "é", "z"}},
	{"varchar(9)", "text", []string{"a", "A", "b", "B", "a ", "", "é", "z"}},
	{"date", "date", []string{"2024-01-01", "2024-01-02", "2024-01-03", "infinity"}},
	{"uuid", "uuid", []string{"00000000-0000-0000-0000-000000000000", "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"}},
}

// TestOrphanOracle compares the orphans that are found with plain anti-joins on
// both sides, of random foreign keys over random rows, and the ways in which
// they are found with each other.
func TestOrphanOracle(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	dsn := dsnPair(t)
	ways := make(map[parity.Way]int)
	for i := range 30 {
		c := &orphanCase{rand: rand.New(rand.NewPCG(seed, uint64(i))), tables: [2]string{fmt.Sprintf(`"p %d"`, i), fmt.Sprintf(`"c %d"`, i)}}
		t.Run(strconv.Itoa(i), func(t *testing.T) { c.run(t, dsn, ways) })
	}
	for _, way := range []parity.Way{parity.AntiJoin, parity.ByDigest, parity.Candidates} {
		if ways[way] == 0 {
			t.Errorf("no case was checked by %s: %v", way, ways)
		}
	}
}

func (c *orphanCase) run(t *testing.T, dsn [2]string, ways map[parity.Way]int) {
	r := c.rand
	for range 1 + r.IntN(2) {
		c.columns = append(c.columns, orphanColumns[r.IntN(len(orphanColumns))])
	}
	c.full, c.keyless, c.indexed = r.IntN(3) == 0, r.IntN(4) == 0, r.IntN(3) > 0
	c.parts = [2]bool{r.IntN(4) == 0, r.IntN(4) == 0}
	c.self = r.IntN(5) == 0
	ddl := c.definition()
	rows := c.rows(r.IntN(40))
	for side, d := range dsn {
		pgtest.Exec(t, d, ddl...)
		plant(t, d, rows...)
		if side == 1 && r.IntN(5) > 0 {
			plant(t, d, c.mutations(1+r.IntN(4))...)
		}
	}
	if r.IntN(2) == 0 { // the same on both sides
		same := c.mutations(1 + r.IntN(3))
		plant(t, dsn[0], same...)
		plant(t, dsn[1], same...)
	}
	var sides [2][]string
	for side, d := range dsn {
		for _, row := range pgtest.Query(t, d, c.oracle()) {
			sides[side] = append(sides[side], row[0])
		}
		slices.Sort(sides[side])
	}
	fresh, shared := surplusStrings(sides[1], sides[0])
	news := len(fresh)
	fresh = slices.Compact(fresh) // rows that look alike are shown once
	want := fmt.Sprintf("orphans %d|%d shared %d new %d: %q", len(sides[0]), len(sides[1]), shared, news, fresh)
	for _, perTable := range []bool{false, true} {
		o := options(t, dsn, "public."+c.tables[0], "public."+c.tables[1])
		if c.self {
			o = options(t, dsn, "public."+c.tables[1])
		}
		o.PerTable = perTable
		if r.IntN(2) == 0 {
			o.tuning = small
		}
		p := check(t, o)
		if !p.Complete || len(p.References) != 1 {
			t.Fatalf("perTable %t: %d references, complete %t: %s\n%s", perTable, len(p.References), p.Complete, p.Reason, strings.Join(ddl, "\n"))
		}
		f := &p.References[0]
		ways[f.Way[1]]++
		var found []string
		if f.New > 0 {
			for _, o := range f.Sample[relation.Target] {
				found = append(found, orphanText(o))
			}
		}
		slices.Sort(found)
		got := fmt.Sprintf("orphans %d|%d shared %d new %d: %q", f.Orphans[0], f.Orphans[1], f.Shared, f.New, found)
		if got != want {
			t.Errorf("by %q: got\n%s\nwant\n%s\n%s", f.Way, got, want, strings.Join(ddl, "\n"))
		}
		if f.New > 0 && p.Verdict != parity.Diverged {
			t.Errorf("%d new orphans, and %s: %s", f.New, p.Verdict, p.Reason)
		}
	}
	if !t.Failed() {
		for _, d := range dsn {
			pgtest.Exec(t, d, "DROP TABLE "+c.tables[1]+", "+c.tables[0])
		}
	}
}

func orphanText(o parity.Orphan) string {
	var values []string
	for _, v := range slices.Concat(o.Key, o.Refers) {
		if v.Value == nil {
			values = append(values, "NULL")
			continue
		}
		values = append(values, "'"+*v.Value+"'")
	}
	return strings.Join(values, "/")
}

func (c *orphanCase) list(prefix string) string {
	names := make([]string, len(c.columns))
	for i := range c.columns {
		names[i] = fmt.Sprintf("%s%d", prefix, i)
	}
	return strings.Join(names, ", ")
}

func (c *orphanCase) definition() []string {
	parent := "CREATE TABLE " + c.tables[0] + " ("
	child := "CREATE TABLE " + c.tables[1] + " (id int"
	if !c.keyless {
		child += " PRIMARY KEY"
	}
	for i, column := range c.columns {
		parent += fmt.Sprintf("p%d %s, ", i, column.parent)
		child += fmt.Sprintf(", c%d %s", i, column.child)
		if c.self {
			child += fmt.Sprintf(", p%d %s", i, column.parent)
		}
	}
	parent += "note int, PRIMARY KEY (" + c.list("p") + "))"
	child += ")"
	ddl := []string{}
	add := func(create, table, by string, partitioned bool) {
		if !partitioned {
			ddl = append(ddl, create)
			return
		}
		name := strings.Trim(table, `"`)
		ddl = append(ddl, create+" PARTITION BY HASH ("+by+")")
		for i := range 3 {
			ddl = append(ddl, fmt.Sprintf(`CREATE TABLE "%s.%d" PARTITION OF %s FOR VALUES WITH (MODULUS 3, REMAINDER %d)`, name, i, table, i))
		}
	}
	add(parent, c.tables[0], "p0", c.parts[0])
	add(child, c.tables[1], "id", c.parts[1] && !c.self)
	to := c.tables[0]
	if c.self {
		to = c.tables[1]
		ddl = append(ddl, "ALTER TABLE "+to+" ADD UNIQUE ("+c.list("p")+")")
	}
	match := ""
	if c.full {
		match = " MATCH FULL"
	}
	ddl = append(ddl, fmt.Sprintf("ALTER TABLE %s ADD CONSTRAINT fk FOREIGN KEY (%s) REFERENCES %s (%s)%s", c.tables[1], c.list("c"), to, c.list("p"), match))
	if c.indexed {
		ddl = append(ddl, fmt.Sprintf("CREATE INDEX ON %s (%s)", c.tables[1], c.list("c")))
	}
	return ddl
}

// value is a random value of a column, as SQL.
func (c *orphanCase) value(i int, null bool) string {
	column := &c.columns[i]
	if null && c.rand.IntN(6) == 0 {
		return "NULL"
	}
	return "'" + column.values[c.rand.IntN(len(column.values))] + "'"
}

func (c *orphanCase) values(null bool) string {
	values := make([]string, len(c.columns))
	for i := range c.columns {
		values[i] = c.value(i, null)
	}
	return strings.Join(values, ", ")
}

func (c *orphanCase) insertParent() string {
	if c.self {
		return fmt.Sprintf("INSERT INTO %s (id, %s) VALUES (%d, %s) ON CONFLICT DO NOTHING", c.tables[1], c.list("p"), c.rand.IntN(1000), c.values(false))
	}
	return fmt.Sprintf("INSERT INTO %s (%s, note) VALUES (%s, 0) ON CONFLICT DO NOTHING", c.tables[0], c.list("p"), c.values(false))
}

func (c *orphanCase) insertChild() string {
	return fmt.Sprintf("INSERT INTO %s (id, %s) VALUES (%d, %s) ON CONFLICT DO NOTHING", c.tables[1], c.list("c"), c.rand.IntN(1000), c.values(true))
}

// rows are statements that fill both tables: mostly without orphans.
func (c *orphanCase) rows(children int) []string {
	var sql []string
	for range 4 + c.rand.IntN(30) {
		sql = append(sql, c.insertParent())
	}
	for range children {
		sql = append(sql, c.insertChild())
	}
	if c.rand.IntN(3) > 0 {
		sql = append(sql, fmt.Sprintf("DELETE FROM %s AS c WHERE %s", c.tables[1], c.orphans()))
	}
	return sql
}

func (c *orphanCase) mutations(n int) []string {
	var sql []string
	for range n {
		switch parent := c.tables[0]; c.rand.IntN(5) {
		case 0:
			sql = append(sql, c.insertChild())
		case 1:
			sql = append(sql, c.insertParent())
		case 2:
			if c.self {
				parent = c.tables[1]
			}
			sql = append(sql, fmt.Sprintf("DELETE FROM %s WHERE p0 = %s", parent, c.value(0, false)))
		case 3:
			sql = append(sql, fmt.Sprintf("UPDATE %s SET c0 = %s WHERE id %% 7 = %d", c.tables[1], c.value(0, true), c.rand.IntN(7)))
		case 4:
			sql = append(sql, fmt.Sprintf("DELETE FROM %s WHERE id %% 5 = %d", c.tables[1], c.rand.IntN(5)))
		}
	}
	return sql
}

// orphans is the definition of an orphan c in SQL.
func (c *orphanCase) orphans() string {
	to := c.tables[0]
	if c.self {
		to = c.tables[1]
	}
	var on, some, all []string
	for i := range c.columns {
		on = append(on, fmt.Sprintf("p.p%d = c.c%d", i, i))
		some, all = append(some, fmt.Sprintf("c.c%d IS NULL", i)), append(all, fmt.Sprintf("c.c%d IS NULL", i))
	}
	nothing := strings.Join(some, " OR ")
	if c.full {
		nothing = strings.Join(all, " AND ")
	}
	return fmt.Sprintf("NOT (%s) AND NOT EXISTS (SELECT FROM %s AS p WHERE %s)", nothing, to, strings.Join(on, " AND "))
}

func (c *orphanCase) oracle() string {
	var shown []string
	if !c.keyless {
		shown = append(shown, "id")
	}
	for i := range c.columns {
		shown = append(shown, fmt.Sprintf("c%d", i))
	}
	for i, name := range shown {
		shown[i] = "coalesce('''' || " + name + "::text || '''', 'NULL')"
	}
	return "SELECT " + strings.Join(shown, " || '/' || ") + " FROM " + c.tables[1] + " AS c WHERE " + c.orphans()
}

// surplusStrings returns what a has more often than b, both sorted, and how
// many they share.
func surplusStrings(a, b []string) (surplus []string, shared int) {
	left := make(map[string]int)
	for _, s := range b {
		left[s]++
	}
	for _, s := range a {
		if left[s] > 0 {
			left[s]--
			shared++
			continue
		}
		surplus = append(surplus, s)
	}
	return surplus, shared
}
