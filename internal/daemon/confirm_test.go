package daemon

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/verifierd/verifierd/internal/pglocal"
	"github.com/verifierd/verifierd/internal/pglocal/pgtest"
	"github.com/verifierd/verifierd/pkg/parity"
	"github.com/verifierd/verifierd/pkg/relation"
)

// writer leaves a transaction with an id open, so that its server is not quiet.
func writer(t *testing.T, dsn string) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgconn.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(ctx) })
	if _, err := conn.Exec(ctx, "BEGIN; SELECT txid_current()").ReadAll(); err != nil {
		t.Fatal(err)
	}
}

// TestIndexThatHidesRows: the target's index does not find a row that its table
// holds, as after a collation changed under it. What an index does not find has
// not healed.
func TestIndexThatHidesRows(t *testing.T) {
	for name, busy := range map[string]bool{"quiet": false, "busy": true} {
		t.Run(name, func(t *testing.T) {
			dsn := dsnPair(t)
			bothExec(t, dsn, "CREATE TABLE t (id text PRIMARY KEY, v int)", "INSERT INTO t SELECT 'k' || i, i FROM generate_series(1, 3000) i")
			pgtest.Exec(t, dsn[1],
				"UPDATE pg_index SET indisready = false WHERE indexrelid = 't_pkey'::regclass",
				"INSERT INTO t VALUES ('hidden', 1)",
				"UPDATE pg_index SET indisready = true WHERE indexrelid = 't_pkey'::regclass")
			if busy {
				writer(t, dsn[0])
			}
			p := bounded(t, Options{DSN: dsn, Workers: 2, Recheck: time.Millisecond, MaxDivergences: 10})
			wantVerdict(t, p, parity.Incomplete, "amcheck")
		})
	}
}

// TestDeletedWhileReadAgain: a row that is gone from both sides has healed,
// although an index does not find it.
func TestDeletedWhileReadAgain(t *testing.T) {
	dsn := dsnPair(t)
	bothExec(t, dsn, "CREATE TABLE t (id text PRIMARY KEY, v int)", "INSERT INTO t SELECT 'k' || i, i FROM generate_series(1, 3000) i")
	pgtest.Exec(t, dsn[1], "INSERT INTO t VALUES ('late', 1)")
	writer(t, dsn[0])
	deleted := false
	o := Options{DSN: dsn, Workers: 2, Recheck: patience, MaxDivergences: 10}
	o.Observer = stages(func(stage string) {
		if !deleted {
			pgtest.Exec(t, dsn[1], "DELETE FROM t WHERE id = 'late'")
			deleted = true
		}
	})
	p := bounded(t, o)
	wantVerdict(t, p, parity.Match)
	if n := p.Tables[0].Divergences.Healed; n != 1 {
		t.Errorf("%d rows healed, want 1", n)
	}
}

// stages is an observer of the stages of a table.
type stages func(stage string)

func (stages) PassStarted(parity.PassStart)                        {}
func (stages) TableStarted(parity.TableStart)                      {}
func (stages) RowsRead(relation.Name, relation.Side, int64, int64) {}
func (f stages) TableStage(_ relation.Name, stage string)          { f(stage) }
func (stages) Diverged(relation.Name, *parity.Divergence)          {}
func (stages) SchemaDiffers(*parity.SchemaDifference)              {}
func (stages) TableFinished(*parity.Table)                         {}
func (stages) ReferenceStarted(*parity.ReferenceCheck)             {}
func (stages) ReferenceFinished(*parity.ReferenceCheck)            {}

// TestPausedStandby: a standby whose replay is paused shows an old state, and
// settles nothing; when it follows, it does.
func TestPausedStandby(t *testing.T) {
	majors := pgtest.Majors()
	primary := pgtest.Start(t, pglocal.Options{Major: majors[0]})
	standby := pgtest.StartStandby(t, primary, pglocal.Options{})
	other := pgtest.Database(t, pgtest.Server(t, majors[len(majors)-1]))
	for _, d := range []string{primary.DSN("postgres"), other} {
		pgtest.Exec(t, d, "CREATE TABLE t (id int PRIMARY KEY, v int)", "INSERT INTO t SELECT i, i FROM generate_series(1, 100) i")
	}
	replayed := func() {
		t.Helper()
		at := pgtest.Query(t, primary.DSN("postgres"), "SELECT pg_current_wal_insert_lsn()")[0][0]
		for deadline := time.Now().Add(patience); ; {
			if pgtest.Query(t, standby.DSN("postgres"), "SELECT pg_last_wal_replay_lsn() >= '"+at+"'")[0][0] == "t" {
				return
			}
			if time.Now().After(deadline) {
				t.Fatal("the standby does not follow")
			}
		}
	}
	replayed()
	pgtest.Exec(t, standby.DSN("postgres"), "SELECT pg_wal_replay_pause()")
	for _, d := range []string{primary.DSN("postgres"), other} {
		pgtest.Exec(t, d, "UPDATE t SET v = -v WHERE id <= 3")
	}
	o := Options{DSN: [2]string{standby.DSN("postgres"), other}, Workers: 2, Recheck: time.Millisecond, MaxDivergences: 10}
	p := bounded(t, o)
	wantVerdict(t, p, parity.Incomplete, "the source is a standby whose replay is paused")
	pgtest.Exec(t, standby.DSN("postgres"), "SELECT pg_wal_replay_resume()")
	replayed()
	wantVerdict(t, bounded(t, o), parity.Match)
	pgtest.Exec(t, other, "DELETE FROM t WHERE id = 50")
	wantVerdict(t, bounded(t, o), parity.Diverged, "1 missing")
}

// TestLateDefinition: DDL that reaches the target while the pass runs waits for
// its lock. It is no difference of the two sides; a column that stays away is.
func TestLateDefinition(t *testing.T) {
	dsn := dsnPair(t)
	bothExec(t, dsn, "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
	pgtest.Exec(t, dsn[0], "ALTER TABLE t ADD COLUMN v int")
	writer(t, dsn[0])
	var once sync.Once
	var altered sync.WaitGroup
	o := Options{DSN: dsn, Workers: 2, Recheck: patience, MaxDivergences: 10}
	o.Observer = finished(func() {
		once.Do(func() {
			altered.Go(func() { pgtest.Exec(t, dsn[1], "ALTER TABLE t ADD COLUMN v int") })
		})
	})
	p := bounded(t, o)
	altered.Wait()
	wantVerdict(t, p, parity.Incomplete)

	pgtest.Exec(t, dsn[1], "ALTER TABLE t DROP COLUMN v")
	p = bounded(t, Options{DSN: dsn, Workers: 2, Recheck: time.Millisecond})
	wantVerdict(t, p, parity.Diverged, "column v is missing")
}

// finished calls f once all rows of the source were read.
type finished func()

func (finished) PassStarted(parity.PassStart)     {}
func (finished) TableStarted(parity.TableStart)   {}
func (finished) TableStage(relation.Name, string) {}
func (f finished) RowsRead(_ relation.Name, side relation.Side, _, _ int64) {
	if side == relation.Source {
		f()
	}
}
func (finished) Diverged(relation.Name, *parity.Divergence) {}
func (finished) SchemaDiffers(*parity.SchemaDifference)     {}
func (finished) TableFinished(*parity.Table)                {}
func (finished) ReferenceStarted(*parity.ReferenceCheck)    {}
func (finished) ReferenceFinished(*parity.ReferenceCheck)   {}
