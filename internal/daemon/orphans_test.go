package daemon

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/verifierd/verifierd/internal/pglocal/pgtest"
	"github.com/verifierd/verifierd/pkg/parity"
	"github.com/verifierd/verifierd/pkg/relation"
)

// plant runs SQL past all foreign keys, as a careless loader does.
func plant(t *testing.T, dsn string, sql ...string) {
	t.Helper()
	pgtest.Exec(t, dsn, "SET session_replication_role = replica; "+strings.Join(sql, "; "))
}

// referenceOf returns what the pass found of a constraint.
func referenceOf(t *testing.T, p *parity.Pass, name string) *parity.ReferenceCheck {
	t.Helper()
	for i := range p.References {
		r := &p.References[i]
		if r.ForeignKey[0].Name == name || r.ForeignKey[1].Name == name {
			return r
		}
	}
	t.Fatalf("the pass has no reference %s: %+v", name, p.References)
	return nil
}

// describeReference is a reference's outcome in a line.
func describeReference(r *parity.ReferenceCheck) string {
	s := fmt.Sprintf("%s %s|%s orphans %d|%d shared %d new %d", r.ForeignKey[0].Name, r.Way[0], r.Way[1], r.Orphans[0], r.Orphans[1], r.Shared, r.New)
	if r.Healed+r.Volatile > 0 {
		s += fmt.Sprintf(" healed %d volatile %d", r.Healed, r.Volatile)
	}
	if !r.Complete {
		s += " incomplete: " + r.Reason
	}
	for _, side := range relation.Sides {
		var rows []string
		for _, o := range r.Sample[side] {
			var values []string
			for _, v := range slices.Concat(o.Key, []parity.NamedValue{{Column: "->"}}, o.Refers) {
				if v.Column == "->" {
					values = append(values, "->")
					continue
				}
				values = append(values, namedValue(v))
			}
			rows = append(rows, strings.Join(values, " "))
		}
		if len(rows) > 0 {
			s += fmt.Sprintf(" %s[%s]", side, strings.Join(rows, "; "))
		}
	}
	return s
}

func describeReferences(p *parity.Pass) string {
	var lines []string
	for i := range p.References {
		lines = append(lines, describeReference(&p.References[i]))
	}
	return strings.Join(lines, "\n")
}

const shopTables = `CREATE TABLE orders (id int PRIMARY KEY, note text);
 CREATE TABLE items (order_id int CONSTRAINT items_order_fk REFERENCES orders, line int, PRIMARY KEY (line));
 CREATE INDEX ON items (order_id);
 INSERT INTO orders SELECT i FROM generate_series(1, 100) i;
 INSERT INTO items SELECT i, i FROM generate_series(1, 100) i`

// TestOrphans plants orphans, of the target alone and of both sides, and tells
// in which way they were found. The constraint is valid everywhere.
func TestOrphans(t *testing.T) {
	five := "INSERT INTO items SELECT 1000 + i, 1000 + i FROM generate_series(1, 5) i"
	for name, test := range map[string]struct {
		source, target string
		verdict        parity.Verdict
		want           string
	}{
		"none": {
			verdict: parity.Match,
			want:    "items_order_fk anti-join|digest orphans 0|0 shared 0 new 0",
		},
		"extra child": {
			target: "INSERT INTO items VALUES (777, 200)", verdict: parity.Diverged,
			want: "items_order_fk anti-join|candidates orphans 0|1 shared 0 new 1 target[line=200 -> order_id=777]",
		},
		"mismatched child": {
			target: "UPDATE items SET order_id = 778 WHERE line = 5", verdict: parity.Diverged,
			want: "items_order_fk anti-join|candidates orphans 0|1 shared 0 new 1 target[line=5 -> order_id=778]",
		},
		"missing parent": {
			target: "DELETE FROM orders WHERE id = 17", verdict: parity.Diverged,
			want: "items_order_fk anti-join|candidates orphans 0|1 shared 0 new 1 target[line=17 -> order_id=17]",
		},
		"both": {
			source: five, target: five, verdict: parity.Match,
			want: "items_order_fk anti-join|digest orphans 5|5 shared 5 new 0 source[line=1001 -> order_id=1001; line=1002 -> order_id=1002;" +
				" line=1003 -> order_id=1003; line=1004 -> order_id=1004; line=1005 -> order_id=1005] target[line=1001 -> order_id=1001;" +
				" line=1002 -> order_id=1002; line=1003 -> order_id=1003; line=1004 -> order_id=1004; line=1005 -> order_id=1005]",
		},
		"five others": {
			source: five, target: strings.ReplaceAll(five, "1000 + i, ", "2000 + i, "), verdict: parity.Diverged,
			want: "items_order_fk anti-join|anti-join orphans 5|5 shared 0 new 5 source[line=1001 -> order_id=1001; line=1002 -> order_id=1002;" +
				" line=1003 -> order_id=1003; line=1004 -> order_id=1004; line=1005 -> order_id=1005] target[line=1001 -> order_id=2001;" +
				" line=1002 -> order_id=2002; line=1003 -> order_id=2003; line=1004 -> order_id=2004; line=1005 -> order_id=2005]",
		},
		"one of two": {
			source: "INSERT INTO items VALUES (777, 200)", target: "INSERT INTO items VALUES (777, 200), (777, 201)", verdict: parity.Diverged,
			want: "items_order_fk anti-join|anti-join orphans 1|2 shared 1 new 1 source[line=200 -> order_id=777] target[line=201 -> order_id=777]",
		},
		"on the source alone": {
			source: "INSERT INTO items VALUES (777, 200)", verdict: parity.Diverged, // of the row
			want: "items_order_fk anti-join|anti-join orphans 1|0 shared 0 new 0 source[line=200 -> order_id=777]",
		},
	} {
		t.Run(name, func(t *testing.T) {
			dsn := dsnPair(t)
			bothExec(t, dsn, shopTables)
			if test.source != "" {
				plant(t, dsn[0], test.source)
			}
			if test.target != "" {
				plant(t, dsn[1], test.target)
			}
			p := check(t, options(t, dsn))
			wantVerdict(t, p, test.verdict)
			if got := describeReferences(p); got != test.want {
				t.Errorf("got\n%s\nwant\n%s\n%s", got, test.want, p.Reason)
			}
			// Other ways come to the same.
			o := options(t, dsn)
			o.PerTable = true
			o.tuning = small
			q := check(t, o)
			if way := q.References[0].Way; way != [2]parity.Way{parity.AntiJoin, parity.AntiJoin} {
				t.Errorf("a snapshot a table: checked by %q", way)
			}
			q.References[0].Way = p.References[0].Way
			if got := describeReferences(q); got != test.want {
				t.Errorf("with a snapshot a table: got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

// TestOrphanKinds plants orphans under every kind of foreign key, on the target
// alone. The source's rows are never orphans.
func TestOrphanKinds(t *testing.T) {
	dsn := dsnPair(t)
	bothExec(
		t, dsn,
		`CREATE SCHEMA a; CREATE SCHEMA "B b"`,
		// Composite keys, in another order than the index's.
		`CREATE TABLE a.parent (x int, y text, PRIMARY KEY (x, y)); INSERT INTO a.parent SELECT i % 7, 'y' || i FROM generate_series(1, 70) i`,
		`CREATE TABLE "B b".simple (id int PRIMARY KEY, "the x" int, y text, CONSTRAINT simple_fk FOREIGN KEY (y, "the x") REFERENCES a.parent (y, x))`,
		`CREATE TABLE "B b"."full" (id int PRIMARY KEY, x int, y text, CONSTRAINT full_fk FOREIGN KEY (x, y) REFERENCES a.parent MATCH FULL)`,
		`INSERT INTO "B b".simple SELECT i, i % 7, 'y' || i FROM generate_series(1, 70) i`,
		`INSERT INTO "B b".simple VALUES (100, NULL, 'y1'), (101, 1, NULL), (102, NULL, NULL), (103, 999, NULL)`,
		`INSERT INTO "B b"."full" SELECT i, i % 7, 'y' || i FROM generate_series(1, 70) i`,
		`INSERT INTO "B b"."full" VALUES (102, NULL, NULL)`,
		// Self-references, without a key.
		`CREATE TABLE a.tree (id int UNIQUE, up int CONSTRAINT tree_fk REFERENCES a.tree (id)); INSERT INTO a.tree SELECT i, nullif(i / 2, 0) FROM generate_series(1, 40) i`,
		// Partitions on both ends.
		`CREATE TABLE a.p (id int PRIMARY KEY) PARTITION BY RANGE (id);
		 CREATE TABLE a.p1 PARTITION OF a.p FOR VALUES FROM (0) TO (50); CREATE TABLE a.p2 PARTITION OF a.p FOR VALUES FROM (50) TO (100);
		 INSERT INTO a.p SELECT generate_series(1, 99)`,
		`CREATE TABLE a.c (day int, id int, p int CONSTRAINT c_fk REFERENCES a.p, PRIMARY KEY (day, id)) PARTITION BY RANGE (day);
		 CREATE TABLE a.c1 PARTITION OF a.c FOR VALUES FROM (0) TO (10); CREATE TABLE a.c2 (p int, id int, day int, PRIMARY KEY (day, id));
		 ALTER TABLE a.c ATTACH PARTITION a.c2 FOR VALUES FROM (10) TO (20);
		 INSERT INTO a.c SELECT i % 20, i, i FROM generate_series(1, 99) i`,
		// A foreign key of a partition alone, and one to a partition.
		`ALTER TABLE a.c1 ADD CONSTRAINT c1_own_fk FOREIGN KEY (p) REFERENCES a.p1 NOT VALID`,
		// Heirs have none of their table's foreign keys, nor can be referred to.
		`CREATE TABLE a.base (id int PRIMARY KEY, p int CONSTRAINT base_fk REFERENCES a.p); CREATE TABLE a.heir () INHERITS (a.base);
		 INSERT INTO a.base VALUES (1, 1); INSERT INTO a.heir VALUES (2, 777)`,
		`CREATE TABLE a.of_base (id int PRIMARY KEY, b int CONSTRAINT of_base_fk REFERENCES a.base); INSERT INTO a.of_base VALUES (1, 1)`,
		// NOT VALID.
		`CREATE TABLE a.lax (id int PRIMARY KEY, p int); INSERT INTO a.lax VALUES (1, 1);
		 ALTER TABLE a.lax ADD CONSTRAINT lax_fk FOREIGN KEY (p) REFERENCES a.p NOT VALID`,
		// Without a constraint.
		`CREATE TABLE a.loose (id int PRIMARY KEY, p int, d numeric); INSERT INTO a.loose VALUES (1, 1, 1.0)`,
	)
	plant(
		t, dsn[1],
		`INSERT INTO "B b".simple VALUES (200, 1, 'y2'), (201, 999, 'y1'), (202, NULL, 'nowhere')`,
		`INSERT INTO "B b"."full" VALUES (200, 1, 'y2'), (201, NULL, 'y1'), (202, 1, NULL), (203, NULL, NULL)`,
		`INSERT INTO a.tree VALUES (100, 999), (102, 999), (101, NULL)`,
		`INSERT INTO a.c VALUES (3, 500, 500), (13, 501, 501)`, // NULLs aside, in both partitions
		`DELETE FROM a.p WHERE id = 77`,
		`INSERT INTO a.c1 VALUES (4, 502, 60)`,                                      // not in a.p1
		`INSERT INTO a.base VALUES (3, 888)`, `INSERT INTO a.of_base VALUES (2, 2)`, // an heir's row is none of the table's
		`INSERT INTO a.lax VALUES (2, 555)`,
		`INSERT INTO a.loose VALUES (2, 555, 1.00), (3, 1, 2.0)`,
	)
	o := options(t, dsn)
	reference := func(from, to string) relation.ForeignKey {
		k := relation.ForeignKey{Name: from + " -> " + to, Declared: true}
		var err error
		if k.Table, k.Columns, err = relation.ParseColumns(from); err != nil {
			t.Fatal(err)
		}
		if k.References, k.Referenced, err = relation.ParseColumns(to); err != nil {
			t.Fatal(err)
		}
		return k
	}
	o.References = []relation.ForeignKey{
		reference("a.loose(p)", "a.p(id)"), reference("a.loose(d)", "a.lax(id)"), reference(`"B b".simple ( "the x" , y)`, "a.parent(x, y)"),
	}
	p := check(t, o)
	wantVerdict(t, p, parity.Diverged)
	if !p.Complete {
		t.Errorf("not complete: %s", p.Reason)
	}
	want := map[string]string{
		"simple_fk":               "simple_fk anti-join|candidates orphans 0|2 shared 0 new 2 target[id=200 -> y=y2 the x=1; id=201 -> y=y1 the x=999]",
		"full_fk":                 "full_fk anti-join|candidates orphans 0|3 shared 0 new 3 target[id=200 -> x=1 y=y2; id=201 -> x=NULL y=y1; id=202 -> x=1 y=NULL]",
		"tree_fk":                 "tree_fk anti-join|anti-join orphans 0|2 shared 0 new 2 target[-> up=999]",
		"c_fk":                    "c_fk anti-join|anti-join orphans 0|3 shared 0 new 3 target[day=3 id=500 -> p=500; day=13 id=501 -> p=501; day=17 id=77 -> p=77]",
		"c1_own_fk":               "",
		"base_fk":                 "base_fk anti-join|anti-join orphans 0|1 shared 0 new 1 target[id=3 -> p=888]",
		"of_base_fk":              "of_base_fk anti-join|anti-join orphans 0|1 shared 0 new 1 target[id=2 -> b=2]",
		"lax_fk":                  "lax_fk anti-join|anti-join orphans 0|1 shared 0 new 1 target[id=2 -> p=555]",
		"a.loose(p) -> a.p(id)":   "a.loose(p) -> a.p(id) anti-join|anti-join orphans 0|1 shared 0 new 1 target[id=2 -> p=555]",
		"a.loose(d) -> a.lax(id)": "a.loose(d) -> a.lax(id) anti-join|anti-join orphans 0|0 shared 0 new 0",
	}
	own := referenceOf(t, p, "c1_own_fk")
	if own.Orphans != [2]int64{20, 22} || own.Shared != 20 || own.New != 2 || own.Way != [2]parity.Way{parity.AntiJoin, parity.AntiJoin} {
		t.Errorf("a partition's own: %s", describeReference(own))
	}
	want["c1_own_fk"] = describeReference(own)
	if len(p.References) != len(want) {
		t.Errorf("%d references, want %d", len(p.References), len(want))
	}
	for name, line := range want {
		if got := describeReference(referenceOf(t, p, name)); got != line {
			t.Errorf("got\n%s\nwant\n%s", got, line)
		}
	}
}

// onReference calls f when the orphans of a foreign key are about to be looked
// for: the pass's snapshots are taken by then.
type onReference struct {
	parity.NoObserver
	f func()
}

func (o onReference) ReferenceStarted(*parity.ReferenceCheck) { o.f() }

// onStart calls f when the pass's snapshots are taken, and nothing is read yet.
type onStart struct {
	parity.NoObserver
	f func()
}

func (o onStart) PassStarted(parity.PassStart) { o.f() }

// TestOrphansHeal mends orphans that only the target has after the pass's
// snapshots: by the parent that arrives late, by the child that goes, and by the
// source that gets the same orphan. None is held against the target.
func TestOrphansHeal(t *testing.T) {
	for name, test := range map[string]struct {
		before, source, target string
	}{
		"the parent arrives": {before: "DELETE FROM orders WHERE id = 9", target: "INSERT INTO orders VALUES (9)"},
		"the child goes":     {before: "INSERT INTO items VALUES (777, 200)", target: "DELETE FROM items WHERE line = 200"},
		"the source is late": {before: "INSERT INTO items VALUES (777, 200)", source: "INSERT INTO items VALUES (777, 200)"},
	} {
		t.Run(name, func(t *testing.T) {
			alongside(t)
			dsn := dsnPair(t)
			bothExec(t, dsn, shopTables)
			plant(t, dsn[1], test.before)
			o := options(t, dsn)
			o.Recheck = defaultWindow
			o.Observer = onStart{f: func() { // before any row is read again
				for side, sql := range []string{test.source, test.target} {
					if sql != "" {
						plant(t, dsn[side], sql)
					}
				}
			}}
			p := bounded(t, o)
			wantVerdict(t, p, parity.Match)
			if r := p.References[0]; r.Healed != 1 || r.New != 0 || !r.Complete || r.Orphans != [2]int64{0, 1} {
				t.Errorf("%s: %s", describeReference(&r), r.Reason)
			}
		})
	}
}

// TestOrphansUnderReplication follows parents and children by subscriptions of
// their own, so that children arrive before their parents all the time, and
// parents go before their children.
func TestOrphansUnderReplication(t *testing.T) {
	alongside(t)
	dsn := dsnPair(t)
	bothExec(t, dsn, `CREATE TABLE orders (id int PRIMARY KEY); CREATE TABLE items (id int PRIMARY KEY, order_id int CONSTRAINT items_order_fk REFERENCES orders)`)
	pgtest.Exec(t, dsn[0], "INSERT INTO orders SELECT generate_series(1, 2000)", "INSERT INTO items SELECT i, i FROM generate_series(1, 2000) i")
	name := replicate(t, dsn)
	pgtest.Exec(t, dsn[0], "ALTER PUBLICATION "+name+" OWNER TO postgres")
	// The apply of orders stands still now and then.
	stop := workload(t, dsn[0], func(run func(string) error, i int) error {
		n := 10000 + i
		return run(fmt.Sprintf("INSERT INTO orders VALUES (%[1]d); INSERT INTO items VALUES (%[1]d, %[1]d); DELETE FROM items WHERE id = %[2]d; DELETE FROM orders WHERE id = %[2]d", n, n-50))
	})
	for range 3 {
		p := bounded(t, Options{DSN: dsn, Workers: 2, Recheck: 2 * time.Second})
		if p.Verdict == parity.Diverged {
			t.Fatalf("a target that follows is called diverged: %s", p.Reason)
		}
	}
	stop()
	wantVerdict(t, bounded(t, Options{DSN: dsn, Workers: 2, Recheck: endless}), parity.Match)

	// What stands still because replication is behind settles nothing.
	pgtest.Exec(t, dsn[1], "ALTER SUBSCRIPTION "+name+" DISABLE")
	plant(t, dsn[1], "INSERT INTO items VALUES (5, 99999) ON CONFLICT (id) DO UPDATE SET order_id = 99999")
	pgtest.Exec(t, dsn[0], "INSERT INTO orders VALUES (99999)")
	p := bounded(t, Options{DSN: dsn, Workers: 2, Recheck: time.Second})
	r := referenceOf(t, p, "items_order_fk")
	if r.New != 0 || r.Volatile != 1 || r.Complete || !strings.Contains(r.Reason, "replication to the target is behind") {
		t.Errorf("%s: %s", describeReference(r), r.Reason)
	}
	if p.Verdict == parity.Match {
		t.Errorf("match: %s", p.Reason)
	}
	// A slot that nobody asks for must not outlive the subscription.
	pgtest.Exec(t, dsn[1], "DELETE FROM items WHERE id = 5", "ALTER SUBSCRIPTION "+name+" ENABLE")
}

// TestOrphanEffects: what orphans do to the verdict is the configuration's.
func TestOrphanEffects(t *testing.T) {
	dsn := dsnPair(t)
	bothExec(t, dsn, shopTables)
	plant(t, dsn[0], "INSERT INTO items VALUES (777, 200)")
	plant(t, dsn[1], "INSERT INTO items VALUES (777, 200)")
	o := options(t, dsn)
	p := check(t, o)
	wantVerdict(t, p, parity.Match)
	if len(p.Warnings) > 0 {
		t.Errorf("warnings %q", p.Warnings)
	}
	o.Effects.SourceOrphans = parity.Warn
	if p = check(t, o); p.Verdict != parity.Match || len(p.Warnings) != 1 || !strings.Contains(p.Warnings[0], "1 orphan of public.items (items_order_fk) that the source has, too") {
		t.Errorf("%s, warnings %q", p.Verdict, p.Warnings)
	}
	o.Effects.SourceOrphans = parity.Fail
	wantVerdict(t, check(t, o), parity.Diverged, "1 orphan of public.items (items_order_fk) that the source has, too")
	// New ones that do not fail are reported all the same. The rows that make
	// them are excluded: they would diverge.
	plant(t, dsn[1], "DELETE FROM orders WHERE id = 9")
	o = options(t, dsn, "public.items")
	wantVerdict(t, check(t, o), parity.Diverged, "1 orphan of public.items (items_order_fk) that the source does not have")
	o.Effects.Orphans = parity.Warn
	if p = check(t, o); p.Verdict != parity.Match || len(p.Warnings) != 1 || p.References[0].New != 1 {
		t.Errorf("%s, warnings %q: %s", p.Verdict, p.Warnings, describeReferences(p))
	}
	o.SkipChecks = []parity.Check{parity.CheckOrphans}
	p = check(t, o)
	wantVerdict(t, p, parity.Match)
	if len(p.References) > 0 || !slices.ContainsFunc(p.NotChecked, func(s string) bool { return strings.HasPrefix(s, "orphans") }) {
		t.Errorf("skipped: %d references, not checked %q", len(p.References), p.NotChecked)
	}
	// Nothing of a row shows where that is not wanted.
	o = options(t, dsn)
	o.Values = parity.ValuesNone
	if p = check(t, o); len(p.References[0].Sample[0])+len(p.References[0].Sample[1]) > 0 {
		t.Errorf("values are none, and a sample is shown: %s", describeReferences(p))
	}
}

// TestOrphansAcrossNames maps tables and columns, selects only the child, and
// filters it: the parents' existence is never conditional.
func TestOrphansAcrossNames(t *testing.T) {
	dsn := dsnPair(t)
	pgtest.Exec(t, dsn[0], shopTables, "ALTER TABLE items ADD kind text DEFAULT 'new'")
	pgtest.Exec(t, dsn[1], strings.NewReplacer("orders (id", "purchases (no", "REFERENCES orders", "REFERENCES purchases", "INTO orders", "INTO purchases",
		"items (", "lines (", "items SELECT", "lines SELECT", "order_id", "purchase").Replace(shopTables), "ALTER TABLE lines ADD kind text DEFAULT 'new'")
	name := func(s string) relation.Name { return relation.Name{Schema: "public", Name: s} }
	o := options(t, dsn, "public.items")
	o.Map = map[relation.Name]relation.Name{name("items"): name("lines"), name("orders"): name("purchases")}
	o.MapOthers = true
	o.Policies = map[relation.Name]Policy{name("items"): {Columns: map[string]string{"order_id": "purchase"}}}
	p := check(t, o)
	// Under which name the target has the parent's key is not known, as the
	// parent is not compared.
	wantVerdict(t, p, parity.Incomplete, `there is no column "id" of public.purchases on the target`)
	plant(t, dsn[1], "INSERT INTO lines VALUES (500, 500, 'old')")
	both := options(t, dsn)
	both.Map, both.Policies = o.Map, map[relation.Name]Policy{
		name("items"): o.Policies[name("items")], name("orders"): {Columns: map[string]string{"id": "no"}, Where: [2]string{"id > 50", "no > 50"}},
	}
	p = check(t, both)
	wantVerdict(t, p, parity.Diverged)
	want := "items_order_fk anti-join|anti-join orphans 0|1 shared 0 new 1 target[line=500 -> order_id=500]"
	if got := describeReferences(p); got != want || p.References[0].ForeignKey[1].String() != "items_order_fk of public.lines" {
		t.Errorf("got %s of %s, want %s", got, &p.References[0].ForeignKey[1], want)
	}
	items := both.Policies[name("items")]
	items.Where = [2]string{"kind = 'new' COLLATE \"C\"", "kind = 'new' COLLATE \"C\""}
	both.Policies[name("items")] = items
	p = check(t, both)
	wantVerdict(t, p, parity.Match)
	if got, want := describeReferences(p), "items_order_fk anti-join|anti-join orphans 0|0 shared 0 new 0"; got != want {
		t.Errorf("filtered: got %s, want %s", got, want)
	}
}

// TestOrphansOfOthers: the table referred to is not among those compared, and
// can be read, or not, or is missing.
func TestOrphansOfOthers(t *testing.T) {
	dsn := dsnPair(t)
	bothExec(t, dsn, shopTables)
	o := options(t, dsn, "public.items")
	p := check(t, o)
	wantVerdict(t, p, parity.Match)
	if got, want := describeReferences(p), "items_order_fk anti-join|anti-join orphans 0|0 shared 0 new 0"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	// Not readable on the target.
	role := strings.ToLower("reader_" + strings.TrimPrefix(pgtest.Query(t, dsn[1], "SELECT current_database()")[0][0], "test_"))[:20]
	pgtest.Exec(t, dsn[1], "CREATE ROLE "+role+" LOGIN", "GRANT SELECT ON items TO "+role)
	t.Cleanup(func() { pgtest.Exec(t, dsn[1], "DROP OWNED BY "+role, "DROP ROLE "+role) })
	limited := o
	limited.DSN[1] = strings.Replace(dsn[1], "postgres://postgres", "postgres://"+role, 1)
	p = check(t, limited)
	wantVerdict(t, p, parity.Incomplete, "no privilege to read public.orders on the target", "GRANT SELECT ON TABLE \"public\".\"orders\" TO")
	if v := tableOf(t, p, "items").Verdict; v != parity.Match {
		t.Errorf("items: %s", v)
	}
	plan, err := Plan(t.Context(), limited)
	if err != nil || len(plan.References) != 1 || len(plan.References[0].Problems) != 1 {
		t.Errorf("plan: %v, %+v", err, plan)
	}
	// A reference from a table that is not compared, to a table that is not there.
	for want, from := range map[string][2]string{
		"references of public.orders: the table is not selected":            {"public.orders(id)", "public.items(line)"},
		"references of public.items: the source has no table public.nobody": {"public.items(line)", "public.nobody(id)"},
	} {
		declared := o
		k := relation.ForeignKey{Name: "x", Declared: true}
		k.Table, k.Columns, _ = relation.ParseColumns(from[0])
		k.References, k.Referenced, _ = relation.ParseColumns(from[1])
		declared.References = []relation.ForeignKey{k}
		wantVerdict(t, Verify(t.Context(), declared), parity.Incomplete, want)
	}
	// Not on the target at all.
	pgtest.Exec(t, dsn[1], "DROP TABLE orders CASCADE")
	wantVerdict(t, check(t, o), parity.Diverged, "constraint items_order_fk of public.items is missing", "the target has no table public.orders, which is not among those compared")
	// Selected, it is a table that is missing.
	p = check(t, options(t, dsn))
	wantVerdict(t, p, parity.Diverged, "table is missing")
	if !p.Complete {
		t.Errorf("not complete: %s", p.Reason)
	}
}

// TestOrphansUnderCollations: what is equal, the collation of the column that is
// referred to decides; under one that ignores case, equal rows say nothing of
// another server's.
func TestOrphansUnderCollations(t *testing.T) {
	dsn := dsnPair(t)
	tables := `CREATE TABLE p (k text COLLATE nocase PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY, k text COLLATE nocase CONSTRAINT c_fk REFERENCES p);
		INSERT INTO p VALUES ('Abc'), ('x'); INSERT INTO c VALUES (1, 'aBC'), (2, 'x');
		CREATE TABLE q (k text PRIMARY KEY); CREATE TABLE d (id int PRIMARY KEY, k text COLLATE "C" CONSTRAINT d_fk REFERENCES q);
		INSERT INTO q VALUES ('Abc'), ('é'); INSERT INTO d VALUES (1, 'Abc'), (2, 'é')`
	pgtest.Exec(t, dsn[0], "CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)", tables)
	pgtest.Exec(t, dsn[1], "CREATE COLLATION nocase (provider = icu, locale = 'und')")
	plant(t, dsn[1], tables)
	p := check(t, options(t, dsn))
	wantVerdict(t, p, parity.Diverged, "1 orphan of public.c (c_fk) that the source does not have")
	if got, want := describeReference(referenceOf(t, p, "c_fk")), "c_fk anti-join|anti-join orphans 0|1 shared 0 new 1 target[id=1 -> k=aBC]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := describeReference(referenceOf(t, p, "d_fk")), "d_fk anti-join|digest orphans 0|0 shared 0 new 0"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestOrphansOfPeriods checks what only PostgreSQL 18 declares: keys whose
// periods must be covered, and constraints that are not enforced. The source is
// older, and has neither.
func TestOrphansOfPeriods(t *testing.T) {
	dsn := [2]string{pgtest.Database(t, pgtest.Server(t, 15)), pgtest.Database(t, pgtest.Server(t, 18))}
	rows := `INSERT INTO room VALUES ('[1,2)', '[1,10)'), ('[1,2)', '[10,20)'), ('[1,2)', '[30,40)'), ('[2,3)', '[1,100)');
		INSERT INTO stay VALUES (1, '[1,2)', '[5,15)'), (2, '[1,2)', '[30,31)'), (3, '[2,3)', '[50,60)'), (4, NULL, '[1,500)');
		INSERT INTO loose VALUES (1, 1), (2, NULL); INSERT INTO stay VALUES (5, '[1,2)', '[15,35)')`
	pgtest.Exec(t, dsn[0], `CREATE TABLE room (id int4range, during int4range, PRIMARY KEY (id, during));
		CREATE TABLE stay (id int PRIMARY KEY, room int4range, during int4range); CREATE TABLE loose (id int PRIMARY KEY, up int); `+rows)
	pgtest.Exec(t, dsn[1], `CREATE TABLE room (id int4range, during int4range, PRIMARY KEY (id, during WITHOUT OVERLAPS));
		CREATE TABLE stay (id int PRIMARY KEY, room int4range, during int4range, CONSTRAINT stay_fk FOREIGN KEY (room, PERIOD during) REFERENCES room (id, PERIOD during));
		CREATE TABLE loose (id int PRIMARY KEY, up int, CONSTRAINT loose_fk FOREIGN KEY (up) REFERENCES loose (id) NOT ENFORCED)`)
	// 5 has a gap in what covers it, on both sides; 6 and 7 are the target's.
	plant(t, dsn[1], rows, "INSERT INTO stay VALUES (6, '[9,10)', '[1,2)'), (7, '[2,3)', '[99,101)')", "INSERT INTO loose VALUES (3, 99)")
	p := check(t, options(t, dsn))
	wantVerdict(t, p, parity.Diverged, "1 orphan of public.loose (loose_fk)")
	for name, want := range map[string]string{
		"stay_fk":  `stay_fk anti-join|anti-join orphans 1|3 shared 1 new 2 source[id=5 -> room=[1,2) during=[15,35)] target[id=6 -> room=[9,10) during=[1,2); id=7 -> room=[2,3) during=[99,101)]`,
		"loose_fk": "loose_fk anti-join|anti-join orphans 0|1 shared 0 new 1 target[id=3 -> up=99]",
	} {
		r := referenceOf(t, p, name)
		if got := describeReference(r); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		if r.Declares != [2]bool{false, true} || name == "loose_fk" && r.ForeignKey[1].Enforced {
			t.Errorf("%s: declared by %v, enforced %t", name, r.Declares, r.ForeignKey[1].Enforced)
		}
	}
}

// TestSlowAntiJoin: a join that sends nothing for longer than the watchdog's
// patience is let go on, since the server is at it; and it gives way to who
// waits for the table.
func TestSlowAntiJoin(t *testing.T) {
	slow := func(t *testing.T, seconds string) Options {
		dsn := dsnPair(t)
		bothExec(t, dsn, shopTables, "CREATE VIEW slow AS SELECT id FROM orders WHERE pg_sleep(CASE WHEN id <= 10 THEN "+seconds+" ELSE 0 END) IS NOT NULL")
		o := options(t, dsn, "public.items")
		o.References = []relation.ForeignKey{{
			Name: "items -> slow", Declared: true, Table: relation.Name{Schema: "public", Name: "items"}, Columns: []string{"line"},
			References: relation.Name{Schema: "public", Name: "slow"}, Referenced: []string{"id"},
		}}
		return o
	}
	t.Run("let go on", func(t *testing.T) {
		alongside(t)
		o := slow(t, "0.2")
		o.StallTimeout = 500 * time.Millisecond
		p := bounded(t, o)
		wantVerdict(t, p, parity.Match)
		if got, want := describeReference(referenceOf(t, p, "items -> slow")), "items -> slow anti-join|anti-join orphans 0|0 shared 0 new 0"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
	t.Run("gives way", func(t *testing.T) {
		alongside(t)
		o := slow(t, "60")
		waited := make(chan struct{})
		var once sync.Once
		o.Observer = onReference{f: func() {
			once.Do(func() {
				go func() {
					defer close(waited)
					eventually(t, o.DSN[1], "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'", "1")
					<-queue(t, o.DSN[1], "ALTER TABLE items ADD x int")
				}()
			})
		}}
		p := bounded(t, o)
		<-waited
		wantVerdict(t, p, parity.Incomplete, "the pass gave up its locks there")
	})
}

// TestCountsOnly counts rows, and says so.
func TestCountsOnly(t *testing.T) {
	dsn := dsnPair(t)
	bothExec(t, dsn, shopTables, `CREATE TABLE parts (id int) PARTITION BY RANGE (id); CREATE TABLE parts1 PARTITION OF parts FOR VALUES FROM (0) TO (1000);
		CREATE TABLE parts2 PARTITION OF parts FOR VALUES FROM (1000) TO (100000); INSERT INTO parts SELECT generate_series(1, 5000)`)
	pgtest.Exec(t, dsn[1], "UPDATE orders SET note = 'another'") // as many rows
	o := options(t, dsn)
	o.CountsOnly, o.tuning = true, small
	p := Verify(t.Context(), o)
	wantVerdict(t, p, parity.Match, "3 tables with 5,200 rows", "the rows were not compared")
	if !p.CountsOnly || len(p.References) > 0 || len(p.NotChecked) == 0 || p.NotChecked[0] != "rows, which were only counted" {
		t.Errorf("not checked %q, %d references", p.NotChecked, len(p.References))
	}
	for i := range p.Tables {
		if s := p.Tables[i].Side; s[0].Read || !s[0].Counted || s[0].Rows != s[1].Rows || p.Tables[i].FilteredOut() {
			t.Errorf("%s: %+v", p.Tables[i].Name, s)
		}
	}
	plant(t, dsn[1], "DELETE FROM orders WHERE id > 98", "INSERT INTO parts VALUES (99999)", "CREATE TABLE more (id int)", "DROP TABLE items")
	p = Verify(t.Context(), o)
	wantVerdict(t, p, parity.Diverged, "public.orders: 100 rows on the source, 98 on the target", "public.parts: 5,000 rows on the source, 5,001 on the target", "public.items: table is missing")
	o.Policies = map[relation.Name]Policy{{Schema: "public", Name: "orders"}: {Where: [2]string{"id < 50", "id < 50"}}}
	o.Exclude = []relation.Pattern{pattern(t, "public.items"), pattern(t, "public.parts")}
	o.PerTable = true
	p = Verify(t.Context(), o)
	wantVerdict(t, p, parity.Match, "49 rows")
	// A difference that is gone when counted again is none.
	o.Policies, o.Recheck = nil, endless
	writer(t, dsn[0])
	o.Observer = finishedCounting{f: func() { plant(t, dsn[1], "INSERT INTO orders VALUES (99), (100)") }, once: new(sync.Once)}
	p = Verify(t.Context(), o)
	wantVerdict(t, p, parity.Match, "100 rows")
	if notes := tableOf(t, p, "orders").Notes; len(notes) != 1 || !strings.Contains(notes[0], "no longer when counted again") {
		t.Errorf("notes %q", notes)
	}
}

// finishedCounting calls f once the snapshots are taken.
type finishedCounting struct {
	parity.NoObserver
	f    func()
	once *sync.Once
}

func (o finishedCounting) TableStage(relation.Name, string) { o.once.Do(o.f) }
