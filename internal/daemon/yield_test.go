package daemon

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/verifierd/verifierd/internal/pglocal/pgtest"
	"github.com/verifierd/verifierd/pkg/parity"
	"github.com/verifierd/verifierd/pkg/relation"
)

// queue runs statements, each in a session of its own that begins when the one
// before waits for a lock, and returns when the last one waits. The channel
// gives how long it took all of them from then on.
func queue(t *testing.T, dsn string, statements ...string) <-chan time.Duration {
	t.Helper()
	var done sync.WaitGroup
	for i, sql := range statements {
		c := newClient(t, dsn+fmt.Sprintf("&application_name=deploy%d", i))
		done.Go(func() {
			if _, err := c.conn.Exec(context.Background(), sql).ReadAll(); err != nil {
				t.Errorf("%v\nin: %s", err, sql)
			}
		})
		eventually(t, dsn, "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE NOT granted AND a.datname = current_database()", fmt.Sprint(i+1))
	}
	took := make(chan time.Duration, 1)
	begun := time.Now()
	go func() {
		done.Wait()
		took <- time.Since(begun)
	}()
	return took
}

// TestYields lets an application alter a table that the pass has locked, and
// read it behind that: neither may wait for the pass, which would take for ever.
func TestYields(t *testing.T) {
	const soon = 5 * time.Second
	for name, test := range map[string]struct {
		statements []string
		perTable   bool
		side       relation.Side
	}{
		"alter, and a reader":     {[]string{"ALTER TABLE big ADD COLUMN secret text DEFAULT 'xC4nary'", "SELECT count(*) FROM big"}, false, relation.Source},
		"a table that is done":    {[]string{"TRUNCATE a_small", "INSERT INTO a_small VALUES (1)"}, false, relation.Target},
		"a table not yet read":    {[]string{"DROP TABLE c_small"}, false, relation.Source},
		"an index":                {[]string{"REINDEX INDEX big_pkey"}, true, relation.Source},
		"with a snapshot a table": {[]string{"ALTER TABLE big ADD COLUMN w int", "SELECT count(*) FROM big"}, true, relation.Target},
	} {
		t.Run(name, func(t *testing.T) {
			alongside(t)
			dsn := dsnPair(t)
			loadBig(t, dsn)
			small := make(chan struct{})
			var once sync.Once
			// One worker a side stands still in big; the other reads a_small.
			o := Options{DSN: dsn, Workers: 2, PerTable: test.perTable}
			o.Observer = &events{
				finished: func(table string) {
					if table == "a_small" {
						close(small)
					}
				},
				rows: func(table string, side relation.Side, _ int64) {
					if table == "big" && side == test.side {
						once.Do(func() {
							<-small
							// The reader stands still meanwhile, and with it the pass.
							if took := <-queue(t, dsn[side], test.statements...); took > soon {
								t.Errorf("the application waited for %s", took)
							}
						})
					}
				},
			}
			p := bounded(t, o)
			wantVerdict(t, p, parity.Incomplete, `(application "deploy0") waited on the `+test.side.String(), "run the pass again")
			if strings.Contains(fmt.Sprintf("%+v", p), "xC4nary") {
				t.Errorf("the statement shows: %s", p.Reason)
			}
			for _, table := range p.Tables {
				want := parity.Match
				if table.Name.Name == "big" {
					want = parity.Incomplete
				}
				// c_small may have been read before big, or not any more.
				given := !test.perTable && table.Name.Name == "c_small" && table.Verdict == parity.Incomplete
				if table.Verdict != want && !given {
					t.Errorf("%s: %s, want %s; reason: %s", table.Name, table.Verdict, want, table.Reason)
				}
			}
		})
	}
}

// TestYieldsWhileReadingAgain alters a table while its rows are read again and
// again.
func TestYieldsWhileReadingAgain(t *testing.T) {
	alongside(t)
	dsn := dsnPair(t)
	loadBig(t, dsn)
	pgtest.Exec(t, dsn[1], "DELETE FROM a_small WHERE id = 5")
	writer := newClient(t, dsn[0])
	writer.exec("BEGIN; SELECT txid_current()") // so that there is a window to wait for
	var took <-chan time.Duration
	p := bounded(t, Options{DSN: dsn, Workers: 2, Recheck: time.Second, Observer: onStage("again in", func() {
		took = queue(t, dsn[1], "BEGIN; LOCK TABLE a_small; ROLLBACK")
	})})
	if p.Verdict == parity.Match {
		t.Errorf("match: %s", p.Reason)
	}
	<-took
}
