package daemon

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2/stream"
	"github.com/Shopify/toxiproxy/v2/toxics"

	"github.com/verifierd/verifierd/internal/pglocal"
	"github.com/verifierd/verifierd/internal/pglocal/pgtest"
	"github.com/verifierd/verifierd/pkg/parity"
	"github.com/verifierd/verifierd/pkg/relation"
)

// bigRows are so many that a COPY is still under way when the first report of
// progress comes: with what loadBig puts in them, they are more than the buffers
// of a connection hold.
const bigRows = 300_000

// loadBig fills both sides with a table that takes a while to read, and some
// that do not.
func loadBig(t *testing.T, dsn [2]string) {
	t.Helper()
	for _, d := range dsn {
		pgtest.Exec(t, d, "CREATE TABLE big (id int PRIMARY KEY, v text)",
			fmt.Sprintf("INSERT INTO big SELECT i, 'payload' || i || repeat('.', 30) FROM generate_series(1, %d) AS i", bigRows))
		for _, name := range []string{"a_small", "c_small"} {
			pgtest.Exec(t, d, "CREATE TABLE "+name+" (id int PRIMARY KEY, v text)",
				"INSERT INTO "+name+" SELECT i, 'v' || i FROM generate_series(1, 100) AS i")
		}
	}
}

// wantOnlyBigIncomplete checks that one table's trouble stayed its own.
func wantOnlyBigIncomplete(t *testing.T, p *parity.Pass, reason string) {
	t.Helper()
	wantVerdict(t, p, parity.Incomplete, reason)
	for _, table := range p.Tables {
		want := parity.Match
		if table.Name.Name == "big" {
			want = parity.Incomplete
		}
		if table.Verdict != want {
			t.Errorf("%s: %s, want %s; reason: %s", table.Name, table.Verdict, want, table.Reason)
		}
	}
}

// wantNoLeak fails the test at its end if goroutines are left that were not
// there when it was called.
func wantNoLeak(t *testing.T) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		deadline := time.Now().Add(20 * time.Second)
		for runtime.NumGoroutine() > before {
			if time.Now().After(deadline) {
				stacks := make([]byte, 1<<20)
				t.Errorf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
}

// onRows runs f once, while the table is read on the side, and holds up the
// reader meanwhile.
func onRows(table string, side relation.Side, f func()) *events {
	var once sync.Once
	return &events{rows: func(name string, s relation.Side, _ int64) {
		if name == table && s == side {
			once.Do(f)
		}
	}}
}

// as returns the DSN for another role.
func as(t *testing.T, dsn, role string, params ...string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.User(role)
	query := u.Query()
	for _, p := range params {
		k, v, _ := strings.Cut(p, "=")
		query.Set(k, v)
	}
	u.RawQuery = query.Encode()
	return u.String()
}

var roles atomic.Int64

// newRole creates a role that may log in, and drops it at the end of the test.
func newRole(t *testing.T, dsn string) string {
	t.Helper()
	role := fmt.Sprintf("role_%d", roles.Add(1))
	pgtest.Exec(t, dsn, "CREATE ROLE "+role+" LOGIN")
	t.Cleanup(func() { pgtest.Exec(t, dsn, "DROP OWNED BY "+role, "DROP ROLE "+role) })
	return role
}

func TestCannotConnect(t *testing.T) {
	const canary = "xC4nary-secret"
	srv := pgtest.Start(t, pglocal.Options{HBA: []string{"host all alice 127.0.0.1/32 scram-sha-256", "host all mallory 127.0.0.1/32 reject"}})
	admin := srv.DSN("postgres")
	pgtest.Exec(t, admin, "CREATE ROLE alice LOGIN PASSWORD 'right'", "CREATE ROLE mallory LOGIN", "CREATE TABLE t (id int PRIMARY KEY)")
	good := pgtest.Database(t, pgtest.Server(t, pgtest.Majors()[0]))
	pgtest.Exec(t, good, "CREATE TABLE t (id int PRIMARY KEY)")
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := free.Addr().(*net.TCPAddr).Port
	free.Close()
	at := func(user, host string, port int, database string) string {
		return fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=disable", user, canary, net.JoinHostPort(host, strconv.Itoa(port)), database)
	}
	for name, test := range map[string]struct {
		dsn  string
		want []string
	}{
		"host":              {at("alice", "no-such-host.invalid", srv.Port, "postgres"), []string{"no-such-host.invalid", "check the host"}},
		"port":              {at("alice", srv.Host, port, "postgres"), []string{"connection refused", "check the host and the port"}},
		"password":          {at("alice", srv.Host, srv.Port, "postgres"), []string{"password authentication failed", "check the user and the password"}},
		"database":          {at("postgres", srv.Host, srv.Port, "nowhere"), []string{`database "nowhere" does not exist`, "check the name of the database"}},
		"role":              {at("nobody_here", srv.Host, srv.Port, "postgres"), []string{`role "nobody_here" does not exist`}},
		"refused":           {at("mallory", srv.Host, srv.Port, "postgres"), []string{"pg_hba.conf"}},
		"TLS not offered":   {strings.Replace(at("alice", srv.Host, srv.Port, "postgres"), "disable", "require", 1), []string{"TLS"}},
		"connection string": {"postgres://alice:" + canary + "@[::1/postgres", nil},
	} {
		t.Run(name, func(t *testing.T) {
			wantNoLeak(t)
			for side := range relation.Sides {
				o := Options{DSN: [2]string{good, good}, Workers: 1}
				o.DSN[side] = test.dsn
				p := bounded(t, o)
				wantVerdict(t, p, parity.Incomplete, append(test.want, relation.Sides[side].String())...)
				if text := fmt.Sprintf("%+v", p); strings.Contains(text, canary) {
					t.Errorf("the password shows: %s", text)
				}
			}
		})
	}
}

func TestSameDatabase(t *testing.T) {
	dsn := pgtest.Database(t, pgtest.Server(t, pgtest.Majors()[0]))
	pgtest.Exec(t, dsn, "CREATE TABLE t (id int PRIMARY KEY)")
	other := strings.Replace(dsn, "127.0.0.1", "localhost", 1)
	wantVerdict(t, bounded(t, Options{DSN: [2]string{dsn, other}}), parity.Incomplete, "same database")
}

// terminate ends the sessions of a pass that the condition selects, and returns
// when they are gone.
func terminate(t *testing.T, dsn, condition string) {
	t.Helper()
	const sessions = "FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'verifierd' AND "
	if rows := pgtest.Query(t, dsn, "SELECT pid, pg_terminate_backend(pid) "+sessions+condition); len(rows) == 0 {
		t.Errorf("no session to terminate: %s", condition)
	} else {
		eventually(t, dsn, "SELECT count(*) FROM pg_stat_activity WHERE pid = "+rows[0][0], "0")
	}
}

const (
	// holderOf is the session that keeps the pass's snapshot: the first one.
	holderOf = "backend_start = (SELECT min(backend_start) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'verifierd')"
	readerOf = "query LIKE 'COPY%big%' AND state = 'active'"
)

func TestBackendTerminated(t *testing.T) {
	for _, side := range relation.Sides {
		dsn := dsnPair(t)
		loadBig(t, dsn)
		t.Run("reader on the "+side.String(), func(t *testing.T) {
			wantNoLeak(t)
			p := bounded(t, Options{DSN: dsn, Workers: 2, Observer: onRows("big", side, func() { terminate(t, dsn[side], readerOf) })})
			wantOnlyBigIncomplete(t, p, "on the "+side.String()+": the server ended the connection")
		})
		t.Run("holder on the "+side.String(), func(t *testing.T) {
			wantNoLeak(t)
			p := bounded(t, Options{DSN: dsn, Workers: 2, Observer: onRows("big", side, func() { terminate(t, dsn[side], holderOf) })})
			wantVerdict(t, p, parity.Incomplete)
			if big := tableOf(t, p, "big"); big.Verdict != parity.Incomplete {
				t.Errorf("big: %s: its lock was lost: %s", big.Verdict, big.Reason)
			}
		})
	}
	t.Run("what is known stays", func(t *testing.T) {
		dsn := dsnPair(t)
		loadBig(t, dsn)
		pgtest.Exec(t, dsn[1], "DELETE FROM c_small WHERE id = 5")
		p := bounded(t, Options{DSN: dsn, Workers: 2, Observer: onRows("big", relation.Source, func() { terminate(t, dsn[0], readerOf) })})
		wantVerdict(t, p, parity.Diverged, "c_small: 1 divergent row", "not complete", "big")
		if p.Complete {
			t.Error("complete, although big was not read")
		}
	})
	t.Run("second reading", func(t *testing.T) {
		dsn := dsnPair(t)
		loadBig(t, dsn)
		pgtest.Exec(t, dsn[1], "DELETE FROM a_small WHERE id = 5")
		writer, locker := newClient(t, dsn[0]), newClient(t, dsn[1])
		locked := make(chan struct{})
		writer.exec("BEGIN; SELECT txid_current()") // so that there is a second reading to wait for
		p := bounded(t, Options{DSN: dsn, Workers: 2, Recheck: endless, Observer: onStage("again in", func() {
			go func() { // queues behind ours, gets what the pass gives up, and keeps it
				locker.exec("BEGIN; LOCK TABLE a_small IN ACCESS EXCLUSIVE MODE")
				close(locked)
			}()
			waitForBlocked(t, dsn[1])
		})})
		wantVerdict(t, p, parity.Incomplete, "a_small", "read differing rows again", "1 row that differed could not be read again")
		if n := tableOf(t, p, "a_small").Divergences; n.Confirmed() != 0 || n.Volatile != 1 {
			t.Errorf("divergences %+v, want 1 that is not settled", n)
		}
		writer.close()
		<-locked
		locker.close()
	})
}

// half of big; the other tables never bring so much.
const half = 3 << 20

// cutShort runs a pass in whose connections to the target something happens
// when one of them has brought half of big.
func cutShort(t *testing.T, dsn [2]string, stall time.Duration, f func([]byte) (toxics.Toxic, bool), more ...string) *parity.Pass {
	t.Helper()
	wantNoLeak(t)
	dsn[1] = newProxy(t, dsn[1], stream.Downstream, after(t, half, f), more...)
	return bounded(t, Options{DSN: dsn, Workers: 2, StallTimeout: stall})
}

func TestNetworkFaults(t *testing.T) {
	dsn := dsnPair(t)
	loadBig(t, dsn)
	for name, test := range map[string]struct {
		toxic  toxics.Toxic
		more   []string
		reason string
	}{
		"FIN":        {&toxics.LimitDataToxic{}, nil, "on the target"},
		"RST":        {&toxics.ResetToxic{}, []string{lingerless}, "on the target"},
		"black hole": {&toxics.TimeoutToxic{}, nil, "sent nothing for too long"},
	} {
		t.Run(name, func(t *testing.T) {
			wantOnlyBigIncomplete(t, cutShort(t, dsn, time.Second, befall(test.toxic), test.more...), test.reason)
		})
	}
	t.Run("trickle", func(t *testing.T) {
		// A slow line is no reason to give up.
		slicers := []*toxics.SlicerToxic{{AverageSize: 1}, {AverageSize: 500, Delay: 20_000}}
		p := cutShort(t, dsn, 30*time.Second, func([]byte) (toxic toxics.Toxic, done bool) {
			toxic, slicers = slicers[0], slicers[1:]
			return toxic, len(slicers) == 0
		})
		wantVerdict(t, p, parity.Match)
	})
	t.Run("bit flip in a value", func(t *testing.T) {
		// Who reads again finds no difference, and cannot say what it was.
		wantVerdict(t, cutShort(t, dsn, time.Second, flip("payload", 0, 0)), parity.Incomplete, "bytes were damaged on the way")
	})
	t.Run("two gigabytes", func(t *testing.T) {
		before, known := peakMemory()
		p := cutShort(t, dsn, time.Second, flip("d\x00\x00\x00", 1, 6)) // the length of a message of COPY data
		wantOnlyBigIncomplete(t, p, "on the target")
		if after, _ := peakMemory(); known && after-before > 256<<10 {
			t.Errorf("memory grew by %d kB", after-before)
		}
	})
	t.Run("bit flip anywhere", func(t *testing.T) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		for i := range 12 {
			r := rand.New(rand.NewPCG(seed, uint64(i)))
			p := cutShort(t, dsn, time.Second, func(chunk []byte) (toxics.Toxic, bool) {
				chunk[r.IntN(len(chunk))] ^= 1 << r.IntN(8)
				return nil, true
			})
			if p.Verdict == parity.Diverged {
				t.Errorf("diverged by a flipped bit: %s", p.Reason)
			}
			if n := tableOf(t, p, "big").Divergences; p.Verdict == parity.Match && n.Healed == 0 {
				t.Errorf("match, and nobody noticed the flipped bit: %+v", n)
			}
		}
	})
}

// TestFlippedLengths flips single bits of all that says how much follows.
func TestFlippedLengths(t *testing.T) {
	dsn := dsnPair(t)
	loadBig(t, dsn)
	// A row of big: the number of its columns and the length of the first one.
	// Before that, the message's type and length; after it, id and the length of v.
	const row = "\x00\x02\x00\x00\x00\x04"
	// The trailer, with the length of its message.
	const trailer = "\x00\x00\x00\x06\xff\xff"
	type bit struct {
		pattern  string
		distance int
		bit      uint
	}
	for name, bits := range map[string][]bit{
		"message":         {{row, -1, 0}, {row, -1, 5}, {row, -2, 3}, {row, -3, 0}, {row, -4, 6}, {row, -4, 7}},
		"columns":         {{row, 1, 0}, {row, 1, 1}, {row, 0, 0}, {row, 0, 7}},
		"number":          {{row, 5, 0}, {row, 5, 2}, {row, 3, 0}, {row, 2, 7}},
		"text":            {{row, 13, 0}, {row, 13, 3}, {row, 12, 0}, {row, 10, 7}},
		"trailer":         {{trailer, 3, 0}, {trailer, 3, 1}, {trailer, 5, 0}, {trailer, 4, 7}},
		"number of rows":  {{"COPY ", 5, 0}, {"COPY ", 8, 1}},
		"end of the rows": {{"c\x00\x00\x00\x04", 4, 0}, {"c\x00\x00\x00\x04", 0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, b := range bits {
				p := cutShort(t, dsn, time.Second, flip(b.pattern, b.distance, b.bit))
				wantOnlyBigIncomplete(t, p, "on the target")
				if t.Failed() {
					t.Fatalf("bit %d of byte %d of %q", b.bit, b.distance, b.pattern)
				}
			}
		})
	}
}

// peakMemory returns the most memory that the process has had, in kB, where that
// is known.
func peakMemory() (kB int, known bool) {
	status, _ := os.ReadFile("/proc/self/status")
	_, after, found := strings.Cut(string(status), "VmHWM:")
	if !found {
		return 0, false
	}
	n, err := fmt.Sscan(after, &kB)
	return kB, n == 1 && err == nil
}

func TestServerGoesAway(t *testing.T) {
	source := pgtest.Database(t, pgtest.Server(t, pgtest.Majors()[0]))
	majors := pgtest.Majors()
	srv := pgtest.Start(t, pglocal.Options{Major: majors[len(majors)-1]})
	dsn := [2]string{source, srv.DSN("postgres")}
	loadBig(t, dsn)
	pgtest.Exec(t, dsn[1], "CHECKPOINT") // commits are asynchronous
	t.Run("immediate restart", func(t *testing.T) {
		wantNoLeak(t)
		p := bounded(t, Options{DSN: dsn, Workers: 2, Observer: onRows("big", relation.Target, func() {
			if err := srv.Restart(context.Background(), pglocal.Immediate); err != nil {
				t.Error(err)
			}
		})})
		wantVerdict(t, p, parity.Incomplete, "target")
		if big := tableOf(t, p, "big"); big.Verdict != parity.Incomplete {
			t.Errorf("big: %s: %s", big.Verdict, big.Reason)
		}
	})
	t.Run("paused", func(t *testing.T) {
		wantNoLeak(t)
		p := bounded(t, Options{DSN: dsn, Workers: 2, StallTimeout: time.Second, Observer: onRows("big", relation.Target, func() {
			if err := srv.Pause(); err != nil {
				t.Error(err)
			}
		})})
		if err := srv.Resume(); err != nil {
			t.Fatal(err)
		}
		wantVerdict(t, p, parity.Incomplete, "sent nothing for too long")
	})
	t.Run("paused from the start", func(t *testing.T) {
		wantNoLeak(t)
		if err := srv.Pause(); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = srv.Resume() }()
		p := bounded(t, Options{DSN: dsn, Workers: 2, StallTimeout: time.Second})
		wantVerdict(t, p, parity.Incomplete, "connect to the target")
	})
}

func TestPrivileges(t *testing.T) {
	majors := pgtest.Majors()
	for _, order := range [][2]int{{majors[0], majors[len(majors)-1]}, {majors[len(majors)-1], majors[0]}} {
		t.Run(fmt.Sprintf("%d to %d", order[0], order[1]), func(t *testing.T) {
			var dsn, restricted [2]string
			var role [2]string
			for side, major := range order {
				dsn[side] = pgtest.Database(t, pgtest.Server(t, major))
				role[side] = newRole(t, dsn[side])
				restricted[side] = as(t, dsn[side], role[side])
				pgtest.Exec(t, dsn[side], "CREATE SCHEMA s", "CREATE TABLE s.a (id int PRIMARY KEY, v text)", "INSERT INTO s.a SELECT i, '' FROM generate_series(1, 100) AS i",
					"CREATE TABLE s.b (id int PRIMARY KEY)", "CREATE TABLE s.p (id int PRIMARY KEY) PARTITION BY RANGE (id)",
					"CREATE TABLE s.p1 PARTITION OF s.p FOR VALUES FROM (0) TO (10)", "INSERT INTO s.p VALUES (1)")
				if major >= 14 && side == 1 {
					pgtest.Exec(t, dsn[side], "GRANT pg_read_all_data TO "+role[side])
				} else {
					pgtest.Exec(t, dsn[side], "GRANT USAGE ON SCHEMA s TO "+role[side], "GRANT SELECT ON ALL TABLES IN SCHEMA s TO "+role[side])
				}
			}
			pgtest.Exec(t, dsn[1], "UPDATE s.a SET v = 'x' WHERE id = 3")
			o := Options{DSN: restricted, Workers: 2, MaxDivergences: 5, Values: parity.ValuesFull}
			p := bounded(t, o)
			wantVerdict(t, p, parity.Diverged, "s.a: 1 divergent row (1 mismatched)")
			if !p.Complete {
				t.Errorf("not complete: %s", p.Reason)
			}
			pgtest.Exec(t, dsn[1], "UPDATE s.a SET v = '' WHERE id = 3")

			pgtest.Exec(t, dsn[0], "REVOKE SELECT ON s.b FROM "+role[0])
			p = bounded(t, o)
			wantVerdict(t, p, parity.Incomplete, fmt.Sprintf("GRANT SELECT ON TABLE %q.%q TO %q", "s", "b", role[0]), "source")
			if a := tableOf(t, p, "a"); a.Verdict != parity.Match {
				t.Errorf("s.a: %s: %s", a.Verdict, a.Reason)
			}
			pgtest.Exec(t, dsn[0], "GRANT SELECT ON s.b TO "+role[0], "REVOKE USAGE ON SCHEMA s FROM "+role[0])
			p = bounded(t, o)
			wantVerdict(t, p, parity.Incomplete, fmt.Sprintf("GRANT USAGE ON SCHEMA %q TO %q", "s", role[0]))
			pgtest.Exec(t, dsn[0], "REVOKE SELECT ON ALL TABLES IN SCHEMA s FROM "+role[0])
			p = bounded(t, o)
			wantVerdict(t, p, parity.Incomplete, fmt.Sprintf("GRANT USAGE ON SCHEMA %q TO %q; GRANT SELECT ON ALL TABLES IN SCHEMA %[1]q TO %[2]q", "s", role[0]))
		})
	}
}

// TestRowLevelSecurity hides rows of one table on the target from a role that
// may read all tables.
func TestRowLevelSecurity(t *testing.T) {
	dsn := dsnPair(t)
	bothExec(t, dsn, "CREATE TABLE open (id int PRIMARY KEY)", "INSERT INTO open VALUES (1)", "CREATE TABLE guarded (id int PRIMARY KEY)",
		"INSERT INTO guarded SELECT generate_series(1, 10)")
	role := newRole(t, dsn[1])
	pgtest.Exec(t, dsn[1], "ALTER TABLE guarded ENABLE ROW LEVEL SECURITY", "CREATE POLICY p ON guarded USING (id < 5)", "GRANT SELECT ON ALL TABLES IN SCHEMA public TO "+role,
		"ALTER ROLE "+role+" SET row_security = on")
	o := Options{DSN: [2]string{dsn[0], as(t, dsn[1], role)}, Workers: 1}
	p := bounded(t, o)
	wantVerdict(t, p, parity.Incomplete, "row-level security would hide rows of public.guarded on the target", "BYPASSRLS")
	if open := tableOf(t, p, "open"); open.Verdict != parity.Match {
		t.Errorf("open: %s: %s", open.Verdict, open.Reason)
	}
	pgtest.Exec(t, dsn[1], "ALTER ROLE "+role+" BYPASSRLS")
	wantVerdict(t, bounded(t, o), parity.Match)
}

func TestLocks(t *testing.T) {
	dsn := dsnPair(t)
	loadBig(t, dsn)
	t.Run("held by another session", func(t *testing.T) {
		c := newClient(t, dsn[1])
		defer c.close()
		c.exec("BEGIN; LOCK TABLE big IN ACCESS EXCLUSIVE MODE")
		start := time.Now()
		wantOnlyBigIncomplete(t, bounded(t, Options{DSN: dsn, Workers: 2}), "cannot lock public.big on the target: another session holds or awaits a lock")
		if took := time.Since(start); took > 30*time.Second {
			t.Errorf("it took %s", took)
		}
	})
	t.Run("DDL queues behind ours", func(t *testing.T) {
		ddl := newClient(t, dsn[0])
		defer ddl.close()
		done := make(chan error, 1)
		p := bounded(t, Options{DSN: dsn, Workers: 2, Observer: onRows("big", relation.Source, func() {
			go func() {
				_, err := ddl.conn.Exec(context.Background(), "TRUNCATE big").ReadAll()
				done <- err
			}()
			eventually(t, dsn[0], "SELECT count(*) FROM pg_locks WHERE relation = 'big'::regclass AND NOT granted", "1")
		})})
		if err := <-done; err != nil {
			t.Error(err)
		}
		// Whoever reads big already does so to the end.
		big := tableOf(t, p, "big")
		if big.Verdict == parity.Diverged || big.Verdict == parity.Match && big.Side[0].Rows != bigRows {
			t.Errorf("big: %s of %d rows: %s", big.Verdict, big.Side[0].Rows, big.Reason)
		}
		for _, name := range []string{"a_small", "c_small"} {
			if s := tableOf(t, p, name); s.Verdict != parity.Match {
				t.Errorf("%s: %s: %s", name, s.Verdict, s.Reason)
			}
		}
	})
	t.Run("truncated while it waits", func(t *testing.T) {
		// big is empty on the source now; on the target the same happens while
		// the pass waits for its lock.
		c := newClient(t, dsn[1])
		defer c.close()
		c.exec("BEGIN; TRUNCATE big")
		committed := commitWhenBlocking(t, c, dsn[1])
		p := bounded(t, Options{DSN: dsn, Workers: 2})
		<-committed
		wantVerdict(t, p, parity.Match)
		if big := tableOf(t, p, "big"); big.Side[1].Rows != 0 {
			t.Errorf("%d rows read of a truncated table", big.Side[1].Rows)
		}
	})
	t.Run("replaced while it waits", func(t *testing.T) {
		c := newClient(t, dsn[1])
		defer c.close()
		c.exec("BEGIN; DROP TABLE c_small; CREATE TABLE c_small (id int PRIMARY KEY, v text)")
		committed := commitWhenBlocking(t, c, dsn[1])
		p := bounded(t, Options{DSN: dsn, Workers: 2})
		<-committed
		if p.Verdict == parity.Diverged && tableOf(t, p, "c_small").Complete {
			return // the new table was locked and read
		}
		wantVerdict(t, p, parity.Incomplete, "c_small")
	})
}

// commitWhenBlocking commits c's transaction once a session waits for a lock;
// the channel it returns is closed when that is done.
func commitWhenBlocking(t *testing.T, c *client, dsn string) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		waitForBlocked(t, dsn)
		c.exec("COMMIT")
	}()
	return done
}

// waitForBlocked returns when a session waits for a lock.
func waitForBlocked(t *testing.T, dsn string) {
	deadline := time.Now().Add(time.Minute)
	for time.Now().Before(deadline) {
		if len(pgtest.Query(t, dsn, "SELECT 1 FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE NOT granted AND a.datname = current_database()")) > 0 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Error("nobody waits for a lock")
}

func TestCancelled(t *testing.T) {
	dsn := dsnPair(t)
	loadBig(t, dsn)
	pgtest.Exec(t, dsn[1], "DELETE FROM a_small WHERE id = 5")
	run := func(t *testing.T, o Options, cancelOn func(cancel func()) *events) *parity.Pass {
		t.Helper()
		wantNoLeak(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var cancelled time.Time
		o.DSN, o.Workers = dsn, 2
		var once sync.Once // both sides are read at once
		o.Observer = cancelOn(func() { once.Do(func() { cancelled = time.Now(); cancel() }) })
		p := Verify(ctx, o)
		if cancelled.IsZero() {
			t.Fatal("the pass was over before it was cancelled")
		}
		if took := time.Since(cancelled); took > 5*time.Second {
			t.Errorf("it took %s to end", took)
		}
		if p.Complete || p.Verdict == parity.Match {
			t.Errorf("%s, complete: %t", p.Verdict, p.Complete)
		}
		return p
	}
	t.Run("reading", func(t *testing.T) {
		known := make(chan struct{})
		p := run(t, Options{}, func(cancel func()) *events {
			return &events{
				finished: func(table string) {
					if table == "a_small" {
						close(known)
					}
				},
				rows: func(table string, _ relation.Side, _ int64) {
					if table == "big" {
						<-known
						cancel()
					}
				},
			}
		})
		wantVerdict(t, p, parity.Diverged, "a_small: 1 divergent row (1 missing)", "interrupted")
	})
	t.Run("reading slowly", func(t *testing.T) {
		p := run(t, Options{MaxRate: 100_000}, func(cancel func()) *events { return onRows("big", relation.Source, cancel) })
		if big := tableOf(t, p, "big"); !strings.Contains(big.Reason, "interrupted") {
			t.Errorf("big: %s", big.Reason)
		}
	})
	t.Run("reading again", func(t *testing.T) {
		c := newClient(t, dsn[0])
		defer c.close()
		c.exec("BEGIN; SELECT txid_current()")
		p := run(t, Options{Recheck: endless}, func(cancel func()) *events { return onStage("again in", cancel) })
		wantVerdict(t, p, parity.Incomplete, "interrupted")
		if n := tableOf(t, p, "a_small").Divergences; n.Confirmed() != 0 || n.Volatile != 1 {
			t.Errorf("divergences %+v, want 1 that is not settled", n)
		}
	})
	t.Run("before it began", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		wantVerdict(t, Verify(ctx, Options{DSN: dsn}), parity.Incomplete, "interrupted")
	})
}

// TestRoleSettings gives the role settings that end statements, or change how
// values look.
func TestRoleSettings(t *testing.T) {
	dsn := dsnPair(t)
	for _, d := range dsn {
		pgtest.Exec(t, d, `CREATE TABLE "Füße" (id int PRIMARY KEY, f float8, f4 float4, d date, ts timestamptz, i interval, b bytea, m money, a float8[], x xml)`,
			`INSERT INTO "Füße" SELECT i, 0.1 + 0.2 * i, 0.1 * i, '2020-02-03'::date + i, '2020-01-01 12:00+02'::timestamptz, '1 day 2 hours', '\x00ff', 12.34, ARRAY[0.1 + 0.2], '<a/>' FROM generate_series(1, 500) AS i`)
	}
	o := Options{DSN: dsn, Workers: 2, Values: parity.ValuesFull, MaxDivergences: 10}
	wantVerdict(t, bounded(t, o), parity.Match)
	for side, majorOf := range []int{pgtest.Majors()[0], pgtest.Majors()[len(pgtest.Majors())-1]} {
		role := newRole(t, dsn[side])
		pgtest.Exec(t, dsn[side], `GRANT SELECT ON ALL TABLES IN SCHEMA public TO `+role)
		settings := []string{
			"extra_float_digits = -3", "DateStyle = 'SQL, DMY'", "IntervalStyle = 'iso_8601'", "bytea_output = 'escape'", "timezone = 'Asia/Kathmandu'",
			"row_security = on", "default_transaction_isolation = 'serializable'", "default_transaction_deferrable = on", "search_path = 'nowhere'",
			"client_encoding = 'LATIN1'", "standard_conforming_strings = off", "quote_all_identifiers = on", "enable_tidscan = off",
			"idle_in_transaction_session_timeout = '100ms'", "statement_timeout = '200ms'", "xmloption = 'document'", "lock_timeout = '1ms'",
		}
		if majorOf >= 17 {
			settings = append(settings, "transaction_timeout = '300ms'")
		}
		for _, s := range settings {
			pgtest.Exec(t, dsn[side], "ALTER ROLE "+role+" SET "+s)
		}
		o.DSN[side] = as(t, dsn[side], role)
	}
	// Hold the snapshots longer than any of the timeouts.
	slow := o
	slow.Observer = &events{started: func(string) { time.Sleep(600 * time.Millisecond) }}
	p := bounded(t, slow)
	wantVerdict(t, p, parity.Match, "500 rows")
	pgtest.Exec(t, dsn[1], `UPDATE "Füße" SET f = f + 1e-15 WHERE id = 7`)
	p = bounded(t, o)
	wantVerdict(t, p, parity.Diverged, "1 mismatched")
	if v := p.Tables[0].Rows[0].Values; len(v[0]) != 1 || *v[0][0].Value == *v[1][0].Value {
		t.Errorf("values %v and %v: their last digits do not show", v[0], v[1])
	}
}

// TestStatementTimeoutWhileReading reads longer than the role's statements may
// take.
func TestStatementTimeoutWhileReading(t *testing.T) {
	dsn := dsnPair(t)
	loadBig(t, dsn)
	o := Options{DSN: dsn, Workers: 2}
	for side := range dsn {
		role := newRole(t, dsn[side])
		pgtest.Exec(t, dsn[side], "GRANT SELECT ON ALL TABLES IN SCHEMA public TO "+role, "ALTER ROLE "+role+" SET statement_timeout = '300ms'")
		o.DSN[side] = as(t, dsn[side], role)
	}
	o.Observer = onRows("big", relation.Source, func() { time.Sleep(time.Second) })
	wantVerdict(t, bounded(t, o), parity.Match)
}

// TestReadsOnly lets a superuser verify, and shows that no transaction id was
// assigned.
func TestReadsOnly(t *testing.T) {
	servers := privatePair(t)
	dsn := [2]string{servers[0].DSN("postgres"), servers[1].DSN("postgres")}
	loadBig(t, dsn)
	pgtest.Exec(t, dsn[1], "DELETE FROM big WHERE id = 5", "CREATE TABLE keyless (v int)")
	bothExec(t, dsn, "CREATE TABLE IF NOT EXISTS keyless (v int)", "CHECKPOINT")
	next := func() (xids [2]string) {
		for side, d := range dsn {
			xids[side] = pgtest.Query(t, d, "SELECT txid_snapshot_xmax(txid_current_snapshot())")[0][0]
		}
		return xids
	}
	before := next()
	for _, perTable := range []bool{false, true} {
		p := bounded(t, Options{DSN: dsn, Workers: 2, PerTable: perTable, MaxDivergences: 10})
		wantVerdict(t, p, parity.Diverged, "1 missing")
	}
	if after := next(); after != before {
		t.Errorf("next transaction ids %v, %v before: the pass wrote", after, before)
	}
}

// TestConnections counts the sessions of a pass.
func TestConnections(t *testing.T) {
	dsn := dsnPair(t)
	loadBig(t, dsn)
	for i := range 6 {
		bothExec(t, dsn, fmt.Sprintf("CREATE TABLE t%d AS SELECT i AS id FROM generate_series(1, 5000) AS i", i))
		pgtest.Exec(t, dsn[1], fmt.Sprintf("DELETE FROM t%d WHERE id = %d", i, i+1))
	}
	const workers = 3
	for _, perTable := range []bool{false, true} {
		t.Run(fmt.Sprintf("per table %t", perTable), func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			var most [2]int
			var done sync.WaitGroup
			for side, d := range dsn {
				c := newClient(t, d)
				done.Go(func() {
					for ctx.Err() == nil {
						r, err := c.conn.Exec(context.Background(), "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'verifierd'").ReadAll()
						if err != nil {
							t.Error(err)
							return
						}
						n, _ := strconv.Atoi(string(r[0].Rows[0][0]))
						most[side] = max(most[side], n)
					}
				})
			}
			p := bounded(t, Options{DSN: dsn, Workers: workers, PerTable: perTable, Recheck: time.Second})
			cancel()
			done.Wait()
			wantVerdict(t, p, parity.Diverged)
			limit := workers + 2
			if perTable {
				limit = 2*workers + 3 // a snapshot for each table that is being read
			}
			if slices.Max(most[:]) > limit || most[0] < 2 {
				t.Errorf("up to %v sessions, want at most %d", most, limit)
			}
		})
	}
}

// TestPerTableLetsGo shows that with a snapshot a table, nothing is held for
// tables that are done.
func TestPerTableLetsGo(t *testing.T) {
	dsn := dsnPair(t)
	loadBig(t, dsn)
	for _, workers := range []int{2, 3} {
		var others sync.WaitGroup
		others.Add(2)
		held := [][]string{{"nobody looked"}}
		var once sync.Once
		o := Options{DSN: dsn, Workers: workers, PerTable: true, Observer: &events{
			finished: func(table string) {
				if table != "big" {
					others.Done()
				}
			},
			rows: func(table string, _ relation.Side, _ int64) {
				if table != "big" {
					return
				}
				once.Do(func() {
					others.Wait()
					held = pgtest.Query(t, dsn[0], `SELECT query FROM pg_stat_activity a WHERE application_name = 'verifierd' AND datname = current_database()
						AND backend_xmin IS NOT NULL AND NOT EXISTS (SELECT 1 FROM pg_locks l WHERE l.pid = a.pid AND l.relation = 'big'::regclass)`)
				})
			},
		}}
		wantVerdict(t, bounded(t, o), parity.Match)
		if len(held) > 0 {
			t.Errorf("%d workers: still held while big is read: %q", workers, held)
		}
	}
}

func TestTLS(t *testing.T) {
	majors := pgtest.Majors()
	var dsn [2]string
	for side, major := range []int{majors[0], majors[len(majors)-1]} {
		srv := pgtest.Start(t, pglocal.Options{Major: major, TLS: true, HBA: []string{"hostnossl all all 127.0.0.1/32 reject"}})
		dsn[side] = srv.DSN("postgres", "sslmode=verify-full", "sslrootcert="+srv.CertFile)
	}
	loadBig(t, dsn)
	p := bounded(t, Options{DSN: dsn, Workers: 2})
	wantVerdict(t, p, parity.Match, "300,200 rows")
	pgtest.Exec(t, dsn[1], "UPDATE big SET v = '' WHERE id = 77")
	wantVerdict(t, bounded(t, Options{DSN: dsn, Workers: 2}), parity.Diverged, "1 mismatched")
	plain := strings.Replace(dsn[1], "verify-full", "disable", 1)
	wantVerdict(t, bounded(t, Options{DSN: [2]string{dsn[0], plain}}), parity.Incomplete, "target")
	other := as(t, dsn[1], "postgres", "sslrootcert="+queryOf(t, dsn[0], "sslrootcert"))
	wantVerdict(t, bounded(t, Options{DSN: [2]string{dsn[0], other}}), parity.Incomplete, "target", "certificate")
}

// TestFlippedUnderTLS flips single bits of encrypted connections: none is taken
// for data.
func TestFlippedUnderTLS(t *testing.T) {
	majors := pgtest.Majors()
	srv := pgtest.Start(t, pglocal.Options{Major: majors[len(majors)-1], TLS: true})
	dsn := [2]string{
		pgtest.Database(t, pgtest.Server(t, majors[0])),
		srv.DSN("postgres", "sslmode=verify-full", "sslrootcert="+srv.CertFile),
	}
	loadBig(t, dsn)
	const record = "\x17\x03\x03" // of data: type and version, then length and data
	for name, where := range map[string]struct {
		distance int
		bit      uint
	}{
		"type": {0, 0}, "version": {1, 2}, "longer": {3, 6}, "shorter": {3, 4}, "other length": {4, 0},
		"first byte": {5, 0}, "data": {777, 3},
	} {
		t.Run(name, func(t *testing.T) {
			p := cutShort(t, dsn, time.Second, flip(record, where.distance, where.bit))
			wantOnlyBigIncomplete(t, p, "on the target: ")
			wantVerdict(t, p, parity.Incomplete, "tls: ")
		})
	}
	// The server's answer to whether it has TLS is one byte; the handshake follows.
	for name, where := range map[string]struct{ after, part int }{
		"answer": {0, 0}, "begin of the handshake": {1, 0}, "middle of the handshake": {1, 1}, "end of the handshake": {1, 2},
		"first data": {1000, 1},
	} {
		t.Run(name, func(t *testing.T) {
			wantNoLeak(t)
			through := dsn
			through[1] = newProxy(t, dsn[1], stream.Downstream, after(t, int64(where.after), func(chunk []byte) (toxics.Toxic, bool) {
				chunk[(len(chunk)-1)*where.part/2] ^= 1
				return nil, true
			}))
			p := bounded(t, Options{DSN: through, Workers: 2, StallTimeout: time.Second})
			wantVerdict(t, p, parity.Incomplete, "connect to the target")
			if len(p.Tables) > 0 {
				t.Errorf("%d tables were compared", len(p.Tables))
			}
		})
	}
}

func queryOf(t *testing.T, dsn, param string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(errors.New("malformed DSN"))
	}
	return u.Query().Get(param)
}

// TestMaxRate reads more than a burst, and cannot be quicker than the rate.
func TestMaxRate(t *testing.T) {
	dsn := dsnPair(t)
	loadBig(t, dsn)
	const rate, burst = 4 << 20, 256 << 10
	var read [2]atomic.Int64
	o := Options{DSN: dsn, Workers: 2, MaxRate: rate, Observer: &byteCounter{read: &read}}
	start := time.Now()
	p := bounded(t, o)
	took := time.Since(start)
	wantVerdict(t, p, parity.Match)
	for side := range read {
		n := read[side].Load()
		if least := time.Duration(float64(n-burst) / rate * float64(time.Second)); n < rate || took < least {
			t.Errorf("%s: %d bytes in %s, want at least %s", relation.Side(side), n, took, least)
		}
	}
}

type byteCounter struct {
	parity.NoObserver
	read *[2]atomic.Int64
}

func (b *byteCounter) RowsRead(_ relation.Name, side relation.Side, _, bytes int64) {
	b.read[side].Add(bytes)
}
