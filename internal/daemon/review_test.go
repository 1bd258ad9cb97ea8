package daemon

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/verifierd/verifierd/internal/pglocal"
	"github.com/verifierd/verifierd/internal/pglocal/pgtest"
	"github.com/verifierd/verifierd/pkg/parity"
	"github.com/verifierd/verifierd/pkg/relation"
	"github.com/verifierd/verifierd/pkg/snapshot"
)

// TestReviewChunksOfText: a text key bounds no chunks, since its statistics
// ascend in an order that another version of a collation does not keep.
func TestReviewChunksOfText(t *testing.T) {
	t.Parallel()
	srv := pgtest.Server(t, 13)
	dsn := [2]string{pgtest.Database(t, srv), pgtest.Database(t, srv)}
	execBoth(
		t, dsn, "CREATE TABLE t (id text PRIMARY KEY, n int NOT NULL)", "CREATE INDEX i ON t (n)",
		"INSERT INTO t SELECT to_char(i, 'FM000000'), i FROM generate_series(1, 10000) i", "ANALYZE t",
	)
	o := options(t, dsn)
	o.tuning = small
	name := relation.Name{Schema: "public", Name: "t"}
	if chunks := chunksOf(t, o, relation.Source, name); len(chunks) < 2 || chunks[0].Column != "n" {
		t.Errorf("%d chunks by %q, want many by n, which is stored in order too", len(chunks), chunks[0].Column)
	}
	pgtest.Exec(t, dsn[0], "DROP INDEX i")
	if chunks := chunksOf(t, o, relation.Source, name); len(chunks) != 1 {
		t.Errorf("%d chunks by %q, want one scan", len(chunks), chunks[0].Column)
	}
}

// TestReviewLockBudget: a table of too many partitions is refused before the
// server runs out of shared memory, and the others can be verified.
func TestReviewLockBudget(t *testing.T) {
	t.Parallel()
	srv := pgtest.Start(t, pglocal.Options{Major: pgtest.Majors()[0], Settings: map[string]string{
		"max_connections": "20", "max_locks_per_transaction": "10", "max_wal_senders": "1",
	}})
	dsn := [2]string{pgtest.Database(t, srv), pgtest.Database(t, srv)}
	execBoth(
		t, dsn, "CREATE TABLE small (id int PRIMARY KEY)", "INSERT INTO small VALUES (1)",
		"CREATE TABLE big (id int PRIMARY KEY) PARTITION BY LIST (id)",
	)
	for i := range 45 {
		execBoth(t, dsn, fmt.Sprintf("CREATE TABLE big_%d PARTITION OF big FOR VALUES IN (%d)", i, i))
	}
	o := options(t, dsn)
	p := check(t, o)
	// 46 tables, held by 3 connections, and 46 indexes, held by 2 of these,
	// and the small one.
	const want = "the pass needs about 118 locks at once, the source can spare 100; select fewer tables, use --snapshot table, or raise max_locks_per_transaction"
	if p.Verdict != parity.Incomplete || !strings.Contains(p.Reason, want) {
		t.Errorf("%s: %s; want that %s", p.Verdict, p.Reason, want)
	}
	plan, err := Plan(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Problems) != 1 || plan.Problems[0] != want || plan.Locks[relation.Source].Needed <= plan.Locks[relation.Source].Available {
		t.Errorf("plan: problems %q, locks %+v", plan.Problems, plan.Locks)
	}
	db := open(t, dsn[0], 2)
	_, err = db.Open(t.Context(), relation.Target, []relation.Name{{Schema: "public", Name: "big"}})
	var refused *relation.LockBudgetError
	if !errors.As(err, &refused) || refused.Side != relation.Target || refused.Budget != (relation.LockBudget{Needed: 115, Available: 100}) {
		t.Errorf("opened with %v, want that it lacks locks", err)
	}
	if p := check(t, options(t, dsn, "public.small")); p.Verdict != parity.Match {
		t.Errorf("the small table: %s: %s", p.Verdict, p.Reason)
	}
	// What is estimated is enough: with fewer workers it is read.
	o.Workers = 1
	if p := check(t, o); p.Verdict != parity.Match {
		t.Errorf("with one worker: %s: %s", p.Verdict, p.Reason)
	}
}

// open opens a database to take snapshots of.
func open(t *testing.T, dsn string, workers int) *snapshot.Database {
	t.Helper()
	db, err := snapshot.Connect(t.Context(), snapshot.Config{ConnString: dsn, Workers: workers, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

// TestReviewRefreshed: a materialized view is not locked, and the session that
// holds the snapshot has seen it before it was refreshed.
func TestReviewRefreshed(t *testing.T) {
	t.Parallel()
	for _, dsn := range pairOf(t) {
		pgtest.Exec(t, dsn, "CREATE MATERIALIZED VIEW m AS SELECT generate_series(1, 9) AS id", "CREATE UNIQUE INDEX ON m (id)")
		name := relation.Name{Schema: "public", Name: "m"}
		s, err := open(t, dsn, 1).Open(t.Context(), relation.Target, []relation.Name{name})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		table, err := s.Table(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Unchanged(t.Context(), table); err != nil {
			t.Errorf("nothing happened: %v", err)
		}
		pgtest.Exec(t, dsn, "REFRESH MATERIALIZED VIEW CONCURRENTLY m")
		if err := s.Unchanged(t.Context(), table); err != nil {
			t.Errorf("refreshed row by row, which the snapshot does not see: %v", err)
		}
		pgtest.Exec(t, dsn, "REFRESH MATERIALIZED VIEW m")
		if err := s.Unchanged(t.Context(), table); err == nil || !strings.Contains(err.Error(), "public.m was truncated, rewritten or dropped on the target") {
			t.Errorf("refreshed: %v, want that it was rewritten", err)
		}
	}
}
