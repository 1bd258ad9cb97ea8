package daemon

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/verifierd/verifierd/internal/pglocal"
	"github.com/verifierd/verifierd/internal/pglocal/pgtest"
	"github.com/verifierd/verifierd/pkg/parity"
	"github.com/verifierd/verifierd/pkg/relation"
	"github.com/verifierd/verifierd/pkg/snapshot"
)

var grant = regexp.MustCompile(`GRANT .*? TO "([^"]|"")*"`)

// TestShapePrivileges follows the advice that an incomplete pass gives, word
// by word, until it is a match.
func TestShapePrivileges(t *testing.T) {
	t.Parallel()
	dsn := pairOf(t)
	role := fmt.Sprintf(`Reader "%d`, time.Now().UnixNano())
	quoted := relation.QuoteIdent(role)
	t.Cleanup(func() { execBoth(t, dsn, "DROP OWNED BY "+quoted, "DROP ROLE "+quoted) })
	execBoth(
		t, dsn, "CREATE ROLE "+quoted+" LOGIN", `CREATE SCHEMA "Shop 1"`,
		`CREATE TABLE "Shop 1".orders (id int PRIMARY KEY) PARTITION BY RANGE (id)`,
		`CREATE TABLE "Shop 1"."orders;old" PARTITION OF "Shop 1".orders FOR VALUES FROM (0) TO (10)`,
		`CREATE TABLE "Shop 1".orders_new PARTITION OF "Shop 1".orders DEFAULT`,
		`INSERT INTO "Shop 1".orders SELECT generate_series(1, 20)`,
		"CREATE TABLE public.open (id int PRIMARY KEY)", "GRANT SELECT ON public.open TO "+quoted,
		"GRANT SELECT ON \"Shop 1\".orders TO "+quoted,
	)
	// The source's role is the owner; the target's has what was granted.
	o := options(t, [2]string{dsn[0], dsnAs(t, dsn[1], role)})
	var granted []string
	for {
		p := check(t, o)
		if p.Verdict == parity.Match {
			break
		}
		if p.Verdict != parity.Incomplete || p.Complete {
			t.Fatalf("verdict %s, complete: %t: %s", p.Verdict, p.Complete, p.Reason)
		}
		if open := p.Tables[1]; open.Verdict != parity.Match {
			t.Errorf("%s, which can be read: %s: %s", open.Name, open.Verdict, open.Reason)
		}
		advice := grant.FindString(p.Tables[0].Reason)
		if advice == "" || len(granted) == 4 || !strings.Contains(p.Reason, advice) {
			t.Fatalf("after %q, no further GRANT in: %s", granted, p.Reason)
		}
		checkPlan(t, o, p)
		granted = append(granted, advice)
		pgtest.Exec(t, dsn[1], advice)
	}
	want := []string{
		`GRANT USAGE ON SCHEMA "Shop 1" TO ` + quoted,
		`GRANT SELECT ON TABLE "Shop 1"."orders;old" TO ` + quoted,
		`GRANT SELECT ON TABLE "Shop 1".orders_new TO ` + quoted,
	}
	// QuoteIdent quotes every name; the advice may leave that out.
	if got := strings.ReplaceAll(strings.Join(granted, "\n"), `"orders_new"`, "orders_new"); got != strings.Join(want, "\n") {
		t.Errorf("granted\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

// TestShapeRowSecurity: rows that a policy hides are not taken for missing.
func TestShapeRowSecurity(t *testing.T) {
	t.Parallel()
	dsn := pairOf(t)
	role := fmt.Sprintf("rls_%d", time.Now().UnixNano())
	t.Cleanup(func() { execBoth(t, dsn, "DROP OWNED BY "+role, "DROP ROLE "+role) })
	execBoth(
		t, dsn, "CREATE ROLE "+role+" LOGIN", "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t SELECT generate_series(1, 5)",
		"GRANT SELECT ON t TO "+role,
	)
	o := options(t, [2]string{dsn[0], dsnAs(t, dsn[1], role)})
	if p := check(t, o); p.Verdict != parity.Match {
		t.Fatalf("without a policy: %s: %s", p.Verdict, p.Reason)
	}
	pgtest.Exec(t, dsn[1], "ALTER TABLE t ENABLE ROW LEVEL SECURITY", "CREATE POLICY odd ON t USING (id % 2 = 1)")
	want := fmt.Sprintf(`
		incomplete: public.t: row-level security would hide rows of public.t on the target; ALTER ROLE "%[1]s" BYPASSRLS, or connect as the table's owner
		public.t incomplete: row-level security would hide rows of public.t on the target; ALTER ROLE "%[1]s" BYPASSRLS, or connect as the table's owner
		schema: public.t table changed (drifts): "no row security" -> "row security"
		schema: public.t policy odd extra (drifts): "" -> "for all, to PUBLIC, using ((id %% 2) = 1)"`, role)
	expect(t, check(t, o), want)
	pgtest.Exec(t, dsn[1], "ALTER ROLE "+role+" BYPASSRLS")
	if p := check(t, o); p.Verdict != parity.Match {
		t.Errorf("with BYPASSRLS: %s: %s", p.Verdict, p.Reason)
	}
}

// dsnAs returns a DSN for another role, which trusts whom pglocal trusts.
func dsnAs(t *testing.T, dsn, role string) string {
	t.Helper()
	c, err := pgconn.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	quote := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	return fmt.Sprintf("host=%s port=%d dbname=%s user='%s' sslmode=disable", c.Host, c.Port, c.Database, quote.Replace(role))
}

// TestShapeTemporaryTables: another session's temporary tables are not there.
func TestShapeTemporaryTables(t *testing.T) {
	t.Parallel()
	dsn := pairOf(t)
	execBoth(t, dsn, "CREATE TABLE t (id int PRIMARY KEY)")
	for side, sql := range []string{"CREATE TEMP TABLE only_here (id int)", "CREATE TEMP TABLE only_there (id int)"} {
		conn, err := pgconn.Connect(t.Context(), dsn[side])
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		if _, err := conn.Exec(t.Context(), sql+"; CREATE TEMP TABLE t (id text)").ReadAll(); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, check(t, options(t, dsn)), `
		match: 1 table, all of them empty: there was nothing to compare
		public.t match: both sides are empty
		0 rows | 0 rows, key id`)
}

// TestShapeChunks: large tables are read in block ranges from version 14 on.
// Before that they are read in ranges of a key, if they are stored in its order.
func TestShapeChunks(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		major, chunks int
		order, want   string
		reading       string
	}{
		{13, 12, "i", "column", "ranges of \"id\""},
		{13, 12, "md5(i::text)", "whole", "one scan"},
		{14, 12, "i", "blocks", "block ranges"},
		{18, 12, "md5(i::text)", "blocks", "block ranges"},
	} {
		t.Run(fmt.Sprintf("%d by %s", test.major, test.order), func(t *testing.T) {
			srv := pgtest.Server(t, test.major)
			dsn := [2]string{pgtest.Database(t, srv), pgtest.Database(t, srv)}
			execBoth(
				t, dsn, "CREATE TABLE t (id bigint PRIMARY KEY, pad text)",
				fmt.Sprintf("INSERT INTO t SELECT i, repeat('x', 100) FROM generate_series(-5000, 5000) i ORDER BY %s", test.order), "ANALYZE t",
			)
			pgtest.Exec(t, dsn[1], "UPDATE t SET pad = '' WHERE id IN (-5000, 0, 5000)", "INSERT INTO t VALUES (-9000000000), (9000000000)")
			o := options(t, dsn)
			o.Workers, o.tuning = 3, tuning{chunkBytes: 128 << 10, leafRows: 64}
			chunks := chunksOf(t, o, relation.Source, relation.Name{Schema: "public", Name: "t"})
			kind := "whole"
			switch {
			case chunks[0].Column != "":
				kind = "column"
			case len(chunks) > 1:
				kind = "blocks"
			}
			if kind != test.want || (kind == "whole") != (len(chunks) == 1) || kind != "whole" && len(chunks) < test.chunks-3 {
				t.Errorf("%d chunks by %s, want about %d by %s", len(chunks), kind, test.chunks, test.want)
			}
			plan, err := Plan(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if side := plan.Tables[0].Side[0]; side.Reading != test.reading || side.Chunks != len(chunks) {
				t.Errorf("planned %d chunks, %s; want %d, %s", side.Chunks, side.Reading, len(chunks), test.reading)
			}
			expect(t, check(t, o), `
				diverged: public.t: 5 divergent rows (2 extra, 3 mismatched)
				public.t diverged: 5 divergent rows (2 extra, 3 mismatched)
				10001 rows | 10003 rows, key id
				mismatched id=0 [pad]
				mismatched id=5000 [pad]
				extra id=9000000000
				extra id=-9000000000
				mismatched id=-5000 [pad]
				note: source and target are two databases of one server`)
		})
	}
}

// TestShapeSkewIsSplit: the leaves of a frequent value are split by hash.
func TestShapeSkewIsSplit(t *testing.T) {
	t.Parallel()
	dsn := pairOf(t)
	execBoth(
		t, dsn, "CREATE TABLE t (tenant int, name text, PRIMARY KEY (tenant, name))",
		"INSERT INTO t SELECT CASE WHEN i % 10 = 0 THEN i ELSE 7 END, 'n' || i FROM generate_series(1, 20000) i", "ANALYZE t",
	)
	o := options(t, dsn)
	o.tuning.leafRows = 100
	plan, err := Plan(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	table := plan.Tables[0]
	if want := "key ranges, and hashes of the key within frequent ones"; table.Compare != want || table.Leaves < 100 || table.Leaves > 500 {
		t.Errorf("%d leaves, %s; want about 200, %s", table.Leaves, table.Compare, want)
	}
}

// TestShapeRoots: how rows are read does not show in the roots.
func TestShapeRoots(t *testing.T) {
	t.Parallel()
	srv := pgtest.Start(t, pglocal.Options{Major: pgtest.Majors()[0], Settings: map[string]string{"shared_buffers": "1MB"}})
	last := pgtest.Majors()[len(pgtest.Majors())-1]
	dsn := [2]string{pgtest.Database(t, srv), pgtest.Database(t, pgtest.Server(t, last))}
	pgtest.Exec(t, dsn[0], "CREATE TABLE t (id int PRIMARY KEY, v varchar(100), gone int)", "ALTER TABLE t DROP gone",
		"INSERT INTO t SELECT i, repeat('v', i % 50) FROM generate_series(1, 20000) i", "ANALYZE t")
	pgtest.Exec(t, dsn[1], "CREATE SCHEMA s", "CREATE TABLE s.t (v text, id bigint PRIMARY KEY) PARTITION BY HASH (id)",
		"CREATE TABLE s.t0 PARTITION OF s.t FOR VALUES WITH (MODULUS 2, REMAINDER 0)", "CREATE TABLE s.t1 PARTITION OF s.t FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
		"INSERT INTO s.t SELECT repeat('v', i % 50), i FROM generate_series(20000, 1, -1) i", "ANALYZE s.t")
	o := options(t, dsn)
	o.Map = map[relation.Name]relation.Name{{Schema: "public", Name: "t"}: {Schema: "s", Name: "t"}}
	o.tuning = tuning{chunkBytes: 64 << 10, leafRows: 256}
	roots := make(map[string]bool)
	for _, mode := range []snapshot.ReadMode{snapshot.Fast, snapshot.Gentle} {
		for _, workers := range []int{1, 3} {
			o.Read, o.Workers = mode, workers
			p := withSeed(t, o, 42)
			if p.Verdict != parity.Match {
				t.Fatalf("%s with %d workers: %s", mode, workers, p.Reason)
			}
			roots[p.Tables[0].Side[0].Root] = true
			roots[p.Tables[0].Side[1].Root] = true
		}
		chunks := chunksOf(t, o, relation.Source, relation.Name{Schema: "public", Name: "t"})
		if gentle := mode == snapshot.Gentle; gentle != (len(chunks) == 1) {
			t.Errorf("%s: %d chunks", mode, len(chunks))
		}
	}
	if len(roots) != 1 {
		t.Errorf("different roots: %v", roots)
	}
	if p := withSeed(t, o, 43); roots[p.Tables[0].Side[0].Root] {
		t.Error("the root does not depend on the seed")
	}
	pgtest.Exec(t, dsn[1], "UPDATE s.t SET v = v || 'v' WHERE id = 20000")
	if p := withSeed(t, o, 42); p.Verdict != parity.Diverged || !roots[p.Tables[0].Side[0].Root] || roots[p.Tables[0].Side[1].Root] {
		t.Errorf("%s: only the target's root should have changed: %+v, was %v", p.Verdict, p.Tables[0].Side, roots)
	}
}

// TestShapeSameServer tells two databases of one server from one database.
func TestShapeSameServer(t *testing.T) {
	t.Parallel()
	srv := pgtest.Server(t, pgtest.Majors()[0])
	dsn := [2]string{pgtest.Database(t, srv), pgtest.Database(t, srv)}
	execBoth(t, dsn, "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
	expect(t, check(t, options(t, dsn)), `
		match: 1 row in 1 table is identical
		public.t match: 1 row is identical
		1 rows | 1 rows, key id
		note: source and target are two databases of one server`)
	// However it is addressed, a database is itself.
	for _, target := range []string{dsn[0], strings.Replace(dsn[0], "127.0.0.1", "localhost", 1), dsnAs(t, dsn[0], "postgres")} {
		p := check(t, options(t, [2]string{dsn[0], target}))
		if p.Verdict != parity.Incomplete || !strings.HasPrefix(p.Reason, "source and target are the same database ") {
			t.Errorf("a database against itself: %s: %s", p.Verdict, p.Reason)
		}
	}
}

// TestShapeStandby reads a standby, and refuses what proves nothing: a standby
// against its primary. Once promoted it is a clone.
func TestShapeStandby(t *testing.T) {
	t.Parallel()
	majors := pgtest.Majors()
	primary := pgtest.Start(t, pglocal.Options{Major: majors[0]})
	onPrimary := pgtest.Database(t, primary)
	tables := []string{
		"CREATE TABLE t (id int PRIMARY KEY, v int)", "INSERT INTO t SELECT i, i FROM generate_series(1, 100) i",
		"CREATE UNLOGGED TABLE u (id int PRIMARY KEY)",
	}
	pgtest.Exec(t, onPrimary, tables...)
	standby := pgtest.StartStandby(t, primary, pglocal.Options{})
	name := pgtest.Query(t, onPrimary, "SELECT current_database()")[0][0]
	onStandby := standby.DSN(name)
	target := pgtest.Database(t, pgtest.Server(t, majors[len(majors)-1]))
	pgtest.Exec(t, target, tables...)

	o := options(t, [2]string{onStandby, target}, "public.t")
	o.Recheck = time.Second
	const note = "note: the source is a standby: a long read may be cancelled by recovery unless hot_standby_feedback is on or replay is paused\n"
	expect(t, check(t, o), `
		match: 100 rows in 1 table are identical
		public.t match: 100 rows are identical
		100 rows | 100 rows, key id
		`+note)

	pgtest.Exec(t, target, "UPDATE t SET v = 0 WHERE id = 50")
	began := time.Now()
	expect(t, check(t, o), `
		diverged: public.t: 1 divergent row (1 mismatched)
		public.t diverged: 1 divergent row (1 mismatched)
		100 rows | 100 rows, key id
		mismatched id=50 [v]
		`+note)
	if took := time.Since(began); took < o.Recheck {
		t.Errorf("blamed after %s, before the target had its %s to catch up", took, o.Recheck)
	}
	pgtest.Exec(t, target, "UPDATE t SET v = 50 WHERE id = 50")

	expect(t, check(t, options(t, o.DSN)), `
		incomplete: public.u: public.u is unlogged: it cannot be read on a standby
		public.t match: 100 rows are identical
		100 rows | 100 rows, key id
		public.u incomplete: public.u is unlogged: it cannot be read on a standby
		`+note)

	for _, dsn := range [][2]string{{onPrimary, onStandby}, {onStandby, onPrimary}} {
		p := check(t, options(t, dsn))
		if p.Verdict != parity.Incomplete || !strings.Contains(p.Reason, "standby of the other") {
			t.Errorf("a standby against its primary: %s: %s", p.Verdict, p.Reason)
		}
	}

	if err := standby.Promote(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect(t, check(t, options(t, [2]string{onPrimary, onStandby}, "public.t")), `
		match: 100 rows in 1 table are identical
		public.t match: 100 rows are identical
		100 rows | 100 rows, key id
		note: source and target have the same system identifier: one is a clone of the other`)
}

// TestShapeHugeRows compares rows of 100 MB, which one worker a side reads at
// a time.
func TestShapeHugeRows(t *testing.T) {
	if testing.Short() {
		t.Skip("reads some 600 MB")
	}
	dsn := pairOf(t)
	execBoth(
		t, dsn, "CREATE TABLE t (id int PRIMARY KEY, v text)",
		"INSERT INTO t SELECT i, repeat('0123456789', 10000000) || i FROM generate_series(1, 3) i",
	)
	pgtest.Exec(t, dsn[1], "UPDATE t SET v = left(v, -1) || '?' WHERE id = 2")
	expect(t, check(t, options(t, dsn)), `
		diverged: public.t: 1 divergent row (1 mismatched)
		public.t diverged: 1 divergent row (1 mismatched)
		3 rows | 3 rows, key id
		mismatched id=2 [v]
		note: 4 very large rows on the source were read by one worker at a time
		note: 4 very large rows on the target were read by one worker at a time`)
}
