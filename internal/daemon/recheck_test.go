package daemon

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/verifierd/verifierd/internal/pglocal"
	"github.com/verifierd/verifierd/internal/pglocal/pgtest"
	"github.com/verifierd/verifierd/pkg/parity"
	"github.com/verifierd/verifierd/pkg/relation"
)

const (
	// defaultWindow is the recheck window that users get.
	defaultWindow = 10 * time.Second
	// endless is a window that no test lives to see the end of.
	endless = 10 * time.Minute
	// patience bounds a pass that is to end by itself.
	patience = 90 * time.Second
)

// dsnPair returns two new databases on servers of different versions.
func dsnPair(t *testing.T) [2]string {
	t.Helper()
	source, target := pgtest.Pair(t)
	return [2]string{source, target}
}

// bothExec runs SQL on both sides.
func bothExec(t *testing.T, dsn [2]string, sql ...string) {
	t.Helper()
	for _, d := range dsn {
		pgtest.Exec(t, d, sql...)
	}
}

// alongside lets a test that mostly waits run beside another one. Servers apply
// only a few subscriptions at a time.
func alongside(t *testing.T) {
	t.Helper()
	t.Parallel()
	waiting <- struct{}{}
	t.Cleanup(func() { <-waiting })
}

var waiting = make(chan struct{}, 2)

// bounded verifies, and fails the test if the pass does not end by itself.
func bounded(t *testing.T, o Options) *parity.Pass {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	p := Verify(ctx, o)
	if ctx.Err() != nil {
		t.Fatalf("the pass did not end within %s: %s: %s", patience, p.Verdict, p.Reason)
	}
	return p
}

func wantVerdict(t *testing.T, p *parity.Pass, want parity.Verdict, reason ...string) {
	t.Helper()
	if p.Verdict != want {
		t.Errorf("verdict %s, want %s; reason: %s", p.Verdict, want, p.Reason)
	}
	for _, s := range reason {
		if !strings.Contains(p.Reason, s) {
			t.Errorf("reason %q does not say %q", p.Reason, s)
		}
	}
}

// tableOf returns the outcome of one table.
func tableOf(t *testing.T, p *parity.Pass, name string) *parity.Table {
	t.Helper()
	for i := range p.Tables {
		if p.Tables[i].Name.Name == name {
			return &p.Tables[i]
		}
	}
	t.Fatalf("the pass has no table %s: %s: %s", name, p.Verdict, p.Reason)
	return nil
}

// events calls functions when something happens in a pass.
type events struct {
	parity.NoObserver
	stage    func(table, stage string)
	rows     func(table string, side relation.Side, rows int64)
	started  func(table string)
	finished func(table string)
}

func (e *events) TableFinished(table *parity.Table) {
	if e.finished != nil {
		e.finished(table.Name.Name)
	}
}

func (e *events) TableStage(table relation.Name, stage string) {
	if e.stage != nil {
		e.stage(table.Name, stage)
	}
}

func (e *events) RowsRead(table relation.Name, side relation.Side, rows, _ int64) {
	if e.rows != nil {
		e.rows(table.Name, side, rows)
	}
}

func (e *events) TableStarted(table parity.TableStart) {
	if e.started != nil {
		e.started(table.Name.Name)
	}
}

// onStage runs f once, when a stage that contains text begins.
func onStage(text string, f func()) *events {
	var once sync.Once
	return &events{stage: func(_, stage string) {
		if strings.Contains(stage, text) {
			once.Do(f)
		}
	}}
}

// client is a connection of its own that runs statements until it is closed.
type client struct {
	t    *testing.T
	conn *pgconn.PgConn
}

func newClient(t *testing.T, dsn string) *client {
	t.Helper()
	conn, err := pgconn.Connect(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{t, conn}
	t.Cleanup(c.close)
	return c
}

func (c *client) exec(sql string) {
	c.t.Helper()
	if _, err := c.conn.Exec(context.Background(), sql).ReadAll(); err != nil {
		c.t.Fatalf("%v\nin: %s", err, sql)
	}
}

func (c *client) close() { c.conn.Close(context.Background()) }

// workload runs f again and again on connections of its own to the given
// databases until stop is called or the test ends. It returns when f has run
// once.
func workload(t *testing.T, dsn string, f func(run func(sql string) error, i int) error) (stop func()) {
	t.Helper()
	conn, err := pgconn.Connect(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	first := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		defer conn.Close(context.Background())
		run := func(sql string) error {
			_, err := conn.Exec(context.Background(), sql).ReadAll()
			return err
		}
		for i := 0; ctx.Err() == nil; i++ {
			if err := f(run, i); err != nil {
				t.Errorf("workload: %v", err)
				cancel()
			}
			if i == 0 {
				close(first)
			}
		}
	})
	stop = func() { cancel(); done.Wait() }
	t.Cleanup(stop)
	<-first
	return stop
}

// eventually waits until a query on dsn returns want.
func eventually(t *testing.T, dsn, query, want string) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		rows := pgtest.Query(t, dsn, query)
		if len(rows) == 1 && rows[0][0] == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %q, want %q", query, rows, want)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// replicate makes the target follow all tables of the source, and returns when
// the initial copy is done. The subscription is called as the source's database.
func replicate(t *testing.T, dsn [2]string) (subscription string) {
	t.Helper()
	u, err := url.Parse(dsn[0])
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(u.Path, "/")
	pgtest.Exec(t, dsn[0], "CREATE PUBLICATION "+name+" FOR ALL TABLES")
	pgtest.Exec(t, dsn[1], fmt.Sprintf("CREATE SUBSCRIPTION %s CONNECTION %s PUBLICATION %[1]s", name,
		relation.QuoteLiteral(fmt.Sprintf("host=%s port=%s user=postgres dbname=%s", u.Hostname(), u.Port(), name))))
	t.Cleanup(func() { pgtest.Exec(t, dsn[1], "DROP SUBSCRIPTION "+name) })
	eventually(t, dsn[1], "SELECT count(*) FROM pg_subscription_rel WHERE srsubstate <> 'r'", "0")
	return name
}

// accounts creates a table of n rows on both sides, filled on the source.
func accounts(t *testing.T, dsn [2]string, n int) {
	t.Helper()
	bothExec(t, dsn, "CREATE TABLE account (id int PRIMARY KEY, balance bigint NOT NULL, note text)")
	pgtest.Exec(t, dsn[0], fmt.Sprintf("INSERT INTO account SELECT i, i * 10, 'note ' || i FROM generate_series(1, %d) AS i", n))
}

func churn(n int) func(run func(string) error, i int) error {
	r := rand.New(rand.NewPCG(1, 2))
	return func(run func(string) error, i int) error {
		return run(fmt.Sprintf(`UPDATE account SET balance = balance + 1 WHERE id = %d;
			INSERT INTO account VALUES (%d, 0, 'new'); DELETE FROM account WHERE id = %d`,
			1+r.IntN(n), n+1+i, 1+r.IntN(n)))
	}
}

// TestReplicationUnderWrites reads while the source is written all the time and
// a subscription follows: rows differ all the time, and none is divergent.
func TestReplicationUnderWrites(t *testing.T) {
	alongside(t)
	dsn := dsnPair(t)
	const n = 20000
	accounts(t, dsn, n)
	replicate(t, dsn)
	stop := workload(t, dsn[0], churn(n))
	var healed int64
	for i := 0; i < 4 || healed == 0 && i < 40; i++ {
		p := bounded(t, Options{DSN: dsn, Workers: 2, Recheck: 2 * time.Second})
		if p.Verdict == parity.Diverged {
			t.Fatalf("a target that follows is called diverged: %s\n%+v", p.Reason, p.Tables[0].Rows)
		}
		healed += tableOf(t, p, "account").Divergences.Healed
	}
	if healed == 0 {
		t.Error("no row ever healed: the test shows nothing")
	}
	stop()
	p := bounded(t, Options{DSN: dsn, Workers: 2, Recheck: endless})
	wantVerdict(t, p, parity.Match)
}

// TestReplicationOfBusyRows writes the same rows again and again: counters,
// flags that have two values only, and rows that come and go. At each reading
// the target, which is read later, may hold another version than the source.
func TestReplicationOfBusyRows(t *testing.T) {
	t.Parallel()
	for name, statement := range map[string]string{
		"counter": "UPDATE busy SET n = n + 1 WHERE id <= 10",
		"flag":    "UPDATE busy SET n = 1 - n WHERE id <= 10",
		"queue":   "BEGIN; DELETE FROM busy WHERE id <= 10; COMMIT; BEGIN; INSERT INTO busy SELECT i, 1 FROM generate_series(1, 10) AS i; COMMIT",
	} {
		t.Run(name, func(t *testing.T) {
			alongside(t)
			dsn := dsnPair(t)
			bothExec(t, dsn, "CREATE TABLE busy (id int PRIMARY KEY, n int)")
			pgtest.Exec(t, dsn[0], "INSERT INTO busy SELECT i, 1 FROM generate_series(1, 1000) AS i")
			replicate(t, dsn)
			workload(t, dsn[0], func(run func(string) error, _ int) error { return run(statement) })
			// Now and then both snapshots see the same; a flag has it every second time.
			differed := 0
			for i := 0; i < 5 || differed == 0 && i < 50; i++ {
				p := bounded(t, Options{DSN: dsn, Workers: 1, Recheck: 2 * time.Second})
				if p.Verdict == parity.Diverged {
					t.Fatalf("a target that follows is called diverged: %s", p.Reason)
				}
				if n := p.Tables[0].Divergences; n.Healed+n.Volatile > 0 {
					differed++
				}
			}
			if differed == 0 {
				t.Error("no row ever differed: the test shows nothing")
			}
		})
	}
}

// TestReplicationStalled holds up replication for five seconds of the pass.
func TestReplicationStalled(t *testing.T) {
	t.Parallel()
	t.Run("apply waits for a lock", func(t *testing.T) {
		alongside(t)
		dsn := dsnPair(t)
		accounts(t, dsn, 5000)
		replicate(t, dsn)
		holder := newClient(t, dsn[1])
		holder.exec("BEGIN; LOCK TABLE account IN SHARE MODE")
		pgtest.Exec(t, dsn[0], "UPDATE account SET balance = -1 WHERE id <= 100", "DELETE FROM account WHERE id BETWEEN 101 AND 110",
			"INSERT INTO account SELECT i, 0, 'new' FROM generate_series(10001, 10010) AS i")
		released := make(chan struct{})
		p := bounded(t, Options{DSN: dsn, Workers: 2, Recheck: defaultWindow, Observer: onStage("again", func() {
			time.AfterFunc(5*time.Second, func() { holder.exec("COMMIT"); close(released) })
		})})
		<-released
		wantVerdict(t, p, parity.Match, "at one snapshot")
		if n := p.Tables[0].Divergences; n.Healed != 120 {
			t.Errorf("divergences %+v, want 120 healed", n)
		}
	})
	t.Run("disabled", func(t *testing.T) {
		alongside(t)
		dsn := dsnPair(t)
		accounts(t, dsn, 5000)
		name := replicate(t, dsn)
		pgtest.Exec(t, dsn[1], "ALTER SUBSCRIPTION "+name+" DISABLE")
		pgtest.Exec(t, dsn[0], "UPDATE account SET balance = -1 WHERE id <= 100")
		enabled := make(chan struct{})
		p := bounded(t, Options{DSN: dsn, Workers: 2, Recheck: defaultWindow, Observer: onStage("again", func() {
			time.AfterFunc(5*time.Second, func() { pgtest.Exec(t, dsn[1], "ALTER SUBSCRIPTION "+name+" ENABLE"); close(enabled) })
		})})
		<-enabled
		wantVerdict(t, p, parity.Match, "at one snapshot")
	})
	t.Run("and the source is busy", func(t *testing.T) {
		alongside(t)
		dsn := dsnPair(t)
		accounts(t, dsn, 500)
		replicate(t, dsn)
		holder := newClient(t, dsn[1])
		holder.exec("BEGIN; LOCK TABLE account IN SHARE MODE")
		r := rand.New(rand.NewPCG(3, 4))
		stop := workload(t, dsn[0], func(run func(string) error, _ int) error {
			return run(fmt.Sprintf("UPDATE account SET balance = balance + 1 WHERE id = %d", 1+r.IntN(500)))
		})
		eventually(t, dsn[0], "SELECT count(*) > 300 FROM account WHERE balance <> id * 10", "t")
		released := make(chan struct{})
		// The window ends about when replication goes on again.
		p := bounded(t, Options{DSN: dsn, Workers: 2, Recheck: 2500 * time.Millisecond, Observer: onStage("again", func() {
			time.AfterFunc(2600*time.Millisecond, func() { holder.exec("COMMIT"); close(released) })
		})})
		<-released
		stop()
		if p.Verdict == parity.Diverged {
			t.Errorf("a target that catches up is called diverged: %s", p.Reason)
		}
	})
}

// TestReplicationBehind never lets the target catch up: nothing can be said.
func TestReplicationBehind(t *testing.T) {
	t.Parallel()
	t.Run("apply waits for a lock", func(t *testing.T) {
		alongside(t)
		dsn := dsnPair(t)
		accounts(t, dsn, 500)
		replicate(t, dsn)
		holder := newClient(t, dsn[1])
		holder.exec("BEGIN; LOCK TABLE account IN SHARE MODE")
		pgtest.Exec(t, dsn[0], "UPDATE account SET balance = -1 WHERE id <= 100")
		p := bounded(t, Options{DSN: dsn, Workers: 2, Recheck: time.Second})
		wantVerdict(t, p, parity.Incomplete, "replication to the target is behind")
		if n := p.Tables[0].Divergences; n.Volatile != 100 || n.Confirmed() != 0 {
			t.Errorf("divergences %+v, want 100 unsettled", n)
		}
		holder.exec("COMMIT")
	})
	for when, disable := range map[string]string{"disabled before": "", "disabled meanwhile": "again"} {
		t.Run(when, func(t *testing.T) {
			alongside(t)
			dsn := dsnPair(t)
			accounts(t, dsn, 500)
			name := replicate(t, dsn)
			off := func() { pgtest.Exec(t, dsn[1], "ALTER SUBSCRIPTION "+name+" DISABLE") }
			o := Options{DSN: dsn, Workers: 2, Recheck: time.Second}
			if disable == "" {
				off()
			} else {
				holder := newClient(t, dsn[1])
				holder.exec("BEGIN; LOCK TABLE account IN SHARE MODE")
				o.Observer = onStage(disable, off)
			}
			pgtest.Exec(t, dsn[0], "UPDATE account SET balance = -1 WHERE id <= 100")
			wantVerdict(t, bounded(t, o), parity.Incomplete, "replication to the target is behind")
		})
	}
}

// TestReplicationCannotMend plants differences on the target that its
// subscription will not mend.
func TestReplicationCannotMend(t *testing.T) {
	t.Parallel()
	plant := []string{
		"DELETE FROM account WHERE id = 7", "UPDATE account SET balance = -1 WHERE id = 8", "INSERT INTO account VALUES (9999, 1, '')",
	}
	t.Run("when nobody writes", func(t *testing.T) {
		alongside(t)
		dsn := dsnPair(t)
		accounts(t, dsn, 500)
		replicate(t, dsn)
		pgtest.Exec(t, dsn[1], plant...)
		p := bounded(t, Options{DSN: dsn, Workers: 2, Recheck: time.Second, MaxDivergences: 10})
		wantVerdict(t, p, parity.Diverged, "1 missing, 1 extra, 1 mismatched")
	})
	t.Run("under writes", func(t *testing.T) {
		alongside(t)
		dsn := dsnPair(t)
		accounts(t, dsn, 500)
		replicate(t, dsn)
		pgtest.Exec(t, dsn[1], plant...)
		workload(t, dsn[0], func(run func(string) error, i int) error {
			return run(fmt.Sprintf("UPDATE account SET balance = balance + 1 WHERE id = %d", 100+i%400))
		})
		p := bounded(t, Options{DSN: dsn, Workers: 2, Recheck: 2 * time.Second, MaxDivergences: 10})
		wantVerdict(t, p, parity.Diverged, "3 divergent rows", "1 missing, 1 extra, 1 mismatched")
	})
}

// TestLaggingCopy follows with a copy made by hand, two seconds late: no
// catalog tells of it.
func TestLaggingCopy(t *testing.T) {
	t.Parallel()
	const lag = 2 * time.Second
	for name, key := range map[string]string{"by key": "PRIMARY KEY", "keyless": ""} {
		t.Run(name, func(t *testing.T) {
			alongside(t)
			dsn := dsnPair(t)
			bothExec(t, dsn, "CREATE TABLE log (id int "+key+", at timestamptz)")
			type write struct {
				sql string
				at  time.Time
			}
			writes := make(chan write, 10000)
			copied := make(chan struct{})
			target := newClient(t, dsn[1])
			go func() {
				defer close(copied)
				for w := range writes {
					time.Sleep(time.Until(w.at.Add(lag)))
					if _, err := target.conn.Exec(context.Background(), w.sql).ReadAll(); err != nil {
						t.Errorf("copy: %v", err)
					}
				}
			}()
			stop := workload(t, dsn[0], func(run func(string) error, i int) error {
				sql := fmt.Sprintf("INSERT INTO log VALUES (%d, '2020-01-01'::timestamptz + %d * interval '1 second')", i, i)
				if err := run(sql); err != nil {
					return err
				}
				writes <- write{sql, time.Now()}
				time.Sleep(20 * time.Millisecond)
				return nil
			})
			eventually(t, dsn[0], "SELECT count(*) > 50 FROM log", "t")
			p := bounded(t, Options{DSN: dsn, Workers: 2, Recheck: defaultWindow})
			stop()
			close(writes)
			wantVerdict(t, p, parity.Match, "at one snapshot")
			if n := p.Tables[0].Divergences; n.Healed == 0 || !n.Explained {
				t.Errorf("divergences %+v, want some healed and all explained", n)
			}
			<-copied
		})
	}
}

// TestVolatileRow differs, and changes on the source at every reading.
func TestVolatileRow(t *testing.T) {
	alongside(t)
	dsn := dsnPair(t)
	accounts(t, dsn, 100)
	pgtest.Exec(t, dsn[1], "INSERT INTO account SELECT i, i * 10, 'note ' || i FROM generate_series(1, 100) AS i")
	workload(t, dsn[0], func(run func(string) error, _ int) error {
		return run("UPDATE account SET balance = balance + 1 WHERE id = 5")
	})
	p := bounded(t, Options{DSN: dsn, Workers: 2, Recheck: time.Second})
	wantVerdict(t, p, parity.Incomplete, "1 row that differed kept changing")
	if n := p.Tables[0].Divergences; n.Volatile != 1 || n.Confirmed() != 0 {
		t.Errorf("divergences %+v, want 1 volatile", n)
	}
	// Confirmed and volatile together: diverged, and not complete.
	pgtest.Exec(t, dsn[1], "DELETE FROM account WHERE id = 6")
	p = bounded(t, Options{DSN: dsn, Workers: 2, Recheck: time.Second})
	wantVerdict(t, p, parity.Diverged, "1 missing", "kept changing")
	if p.Complete {
		t.Error("complete, with a volatile row")
	}
}

// privatePair starts servers that nobody else writes, not even autovacuum.
func privatePair(t *testing.T) (servers [2]*pglocal.Server) {
	t.Helper()
	majors := pgtest.Majors()
	for i, major := range []int{majors[0], majors[len(majors)-1]} {
		servers[i] = pgtest.Start(t, pglocal.Options{Major: major, Settings: map[string]string{
			"autovacuum": "off", "max_prepared_transactions": "10",
		}})
	}
	return servers
}

// TestNobodyWaitsWhenQuiet plants differences on servers that nobody writes.
func TestNobodyWaitsWhenQuiet(t *testing.T) {
	servers := privatePair(t)
	dsn := [2]string{servers[0].DSN("postgres"), servers[1].DSN("postgres")}
	for _, d := range dsn {
		pgtest.Exec(t, d, "CREATE TABLE quiet (id int PRIMARY KEY, v text)",
			"INSERT INTO quiet SELECT i, 'v' FROM generate_series(1, 1000) AS i", "CREATE TABLE keyless (v int)")
	}
	pgtest.Exec(t, dsn[1], "DELETE FROM quiet WHERE id = 3", "UPDATE quiet SET v = 'w' WHERE id = 4", "INSERT INTO keyless VALUES (1)")
	var waits atomic.Int64 // two tables are read at once
	count := &events{stage: func(_, stage string) {
		if strings.Contains(stage, "again in") {
			waits.Add(1)
		}
	}}
	o := Options{DSN: dsn, Workers: 2, Recheck: endless, Observer: count}
	want := func(t *testing.T, p *parity.Pass) {
		t.Helper()
		wantVerdict(t, p, parity.Diverged, "1 missing, 1 mismatched", "1 extra")
		if !p.Complete {
			t.Errorf("not complete: %s", p.Reason)
		}
	}
	t.Run("quiet", func(t *testing.T) { want(t, bounded(t, o)) })
	t.Run("a reader is in a transaction", func(t *testing.T) {
		c := newClient(t, dsn[0])
		defer c.close()
		c.exec("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM quiet")
		want(t, bounded(t, o))
	})
	if waits.Load() > 0 {
		t.Errorf("%d waits on quiet servers", waits.Load())
	}
	// Whoever may still commit could mend what differs.
	o.Recheck = time.Second
	for side, s := range relation.Sides {
		t.Run("a writer is in a transaction on the "+s.String(), func(t *testing.T) {
			c := newClient(t, dsn[side])
			defer c.close()
			c.exec("BEGIN; SELECT txid_current()")
			waits.Store(0)
			want(t, bounded(t, o))
			if waits.Load() == 0 {
				t.Error("nobody waited for a transaction that may commit")
			}
		})
		t.Run("a transaction is prepared on the "+s.String(), func(t *testing.T) {
			pgtest.Exec(t, dsn[side], "BEGIN; INSERT INTO quiet VALUES (-1); PREPARE TRANSACTION 'p'")
			defer pgtest.Exec(t, dsn[side], "ROLLBACK PREPARED 'p'")
			waits.Store(0)
			want(t, bounded(t, o))
			if waits.Load() == 0 {
				t.Error("nobody waited for a transaction that may commit")
			}
		})
	}
	t.Run("the writer mends it", func(t *testing.T) {
		c := newClient(t, dsn[1])
		defer c.close()
		c.exec("BEGIN; INSERT INTO quiet VALUES (3, 'v'); UPDATE quiet SET v = 'v' WHERE id = 4; DELETE FROM keyless")
		o.Recheck = defaultWindow
		o.Observer = onStage("again in", func() { c.exec("COMMIT") })
		p := bounded(t, o)
		wantVerdict(t, p, parity.Match, "at one snapshot")
	})
}
