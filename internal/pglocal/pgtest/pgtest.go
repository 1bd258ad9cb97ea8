// Package pgtest gives tests real PostgreSQL servers and databases.
//
// A package whose tests use it hands its TestMain to [Main]. What cannot be
// had fails the test: a test that is skipped proves nothing.
package pgtest

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/verifierd/verifierd/internal/pglocal"
)

// EnvMajors names the environment variable with the major versions to test
// with, separated by commas.
const EnvMajors = "VERIFIERD_TEST_PG_MAJORS"

// defaultMajors are an old version, which lacks scans by ranges of ctid, and
// the newest.
const defaultMajors = "13,18"

const (
	sqlTimeout  = time.Minute
	stopTimeout = 20 * time.Second
	// leakTimeout is how long a database may take to be rid of its sessions.
	leakTimeout = 2 * time.Second
)

var mainRuns atomic.Bool

// Main runs the tests of a package, stops all servers and exits. Call it as
// the last statement of TestMain.
func Main(m *testing.M) {
	mainRuns.Store(true)
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-interrupts
		stopAll()
		os.Exit(130)
	}()
	code := m.Run()
	if !stopAll() && code == 0 {
		code = 1
	}
	os.Exit(code)
}

func stopAll() bool {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := pglocal.StopAll(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "stop the test servers: %v\n", err)
		return false
	}
	return true
}

// Majors returns the major versions to test with, by default an old and the
// newest one. It panics if VERIFIERD_TEST_PG_MAJORS is malformed.
func Majors() []int {
	list := os.Getenv(EnvMajors)
	if list == "" {
		list = defaultMajors
	}
	var majors []int
	for field := range strings.SplitSeq(list, ",") {
		major, err := strconv.Atoi(strings.TrimSpace(field))
		if err != nil {
			panic(fmt.Sprintf("%s: %q is not a list of major versions such as %q", EnvMajors, list, defaultMajors))
		}
		majors = append(majors, major)
	}
	return majors
}

// shared is a server that all tests of a process use.
type shared struct {
	once sync.Once
	srv  *pglocal.Server
	err  error
}

var sharedServers sync.Map // major version to *shared

// Server returns the server of a major version that all tests of this process
// share. It has wal_level = logical, and allows prepared transactions. A test
// that stops, restarts or configures its server needs its own: see [Start].
func Server(t testing.TB, major int) *pglocal.Server {
	t.Helper()
	if !mainRuns.Load() {
		t.Fatal("pgtest.Server needs a TestMain that calls pgtest.Main, which stops the server")
	}
	entry, _ := sharedServers.LoadOrStore(major, new(shared))
	s := entry.(*shared)
	s.once.Do(func() {
		// The server outlives the test that happens to come first.
		s.srv, s.err = pglocal.Start(context.WithoutCancel(t.Context()), pglocal.Options{
			Major: major,
			Settings: map[string]string{
				"wal_level":                 "logical",
				"max_prepared_transactions": "10",
			},
		})
	})
	if s.err != nil {
		t.Fatalf("no PostgreSQL %d for the tests: %v", major, s.err)
	}
	return s.srv
}

// Start starts a server for this test alone, and stops it at its end.
func Start(t testing.TB, opts pglocal.Options) *pglocal.Server {
	t.Helper()
	srv, err := pglocal.Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	stopAtEnd(t, srv)
	return srv
}

// StartStandby starts a standby of primary for this test alone, and stops it
// at its end.
func StartStandby(t testing.TB, primary *pglocal.Server, opts pglocal.Options) *pglocal.Server {
	t.Helper()
	srv, err := pglocal.StartStandby(t.Context(), primary, opts)
	if err != nil {
		t.Fatal(err)
	}
	stopAtEnd(t, srv)
	return srv
}

func stopAtEnd(t testing.TB, srv *pglocal.Server) {
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		if err := srv.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
}

var databases atomic.Int64 // counts them, for their names

// Database creates an empty database with a unique name, and returns its DSN.
// The options are appended to CREATE DATABASE as they are, for example
// "TEMPLATE template0 LC_COLLATE 'C.UTF-8'".
//
// At the end of the test the database is dropped. Sessions that are still in a
// transaction then, and do not end it soon, fail the test.
func Database(t testing.TB, srv *pglocal.Server, options ...string) (dsn string) {
	t.Helper()
	name := databaseName(t.Name(), databases.Add(1))
	admin := srv.DSN("postgres")
	Exec(t, admin, "CREATE DATABASE "+name+" "+strings.Join(options, " "))
	t.Cleanup(func() {
		if !srv.Running() {
			return // the test ended it, and with it all sessions
		}
		assertNoTransactions(t, admin, name)
		dropDatabase(t, admin, name)
	})
	return srv.DSN(name)
}

// databaseName makes a name that needs no quotes out of a test's name.
func databaseName(test string, number int64) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
			return r
		case 'A' <= r && r <= 'Z':
			return r - 'A' + 'a'
		}
		return '_'
	}, test)
	name = fmt.Sprintf("t%d_%s", number, name)
	return name[:min(len(name), 63)]
}

// assertNoTransactions fails the test if sessions stay in a transaction.
func assertNoTransactions(t testing.TB, admin, database string) {
	t.Helper()
	const open = `SELECT pid, application_name, state, left(query, 200) FROM pg_stat_activity
		WHERE datname = '%s' AND backend_type = 'client backend' AND xact_start IS NOT NULL`
	deadline := time.Now().Add(leakTimeout)
	for {
		sessions := Query(t, admin, fmt.Sprintf(open, database))
		if len(sessions) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("database %s: sessions left in a transaction (pid, application, state, last query): %q",
				database, sessions)
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// dropDatabase ends the sessions itself because DROP DATABASE … WITH (FORCE)
// came with PostgreSQL 13.
func dropDatabase(t testing.TB, admin, name string) {
	t.Helper()
	Exec(t, admin,
		"ALTER DATABASE "+name+" ALLOW_CONNECTIONS false",
		"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '"+name+"'",
		"DROP DATABASE "+name)
}

// Pair returns the DSNs of two new databases, on servers of the first and the
// last of Majors. The options are those of [Database], for both.
func Pair(t testing.TB, options ...string) (source, target string) {
	t.Helper()
	majors := Majors()
	source = Database(t, Server(t, majors[0]), options...)
	target = Database(t, Server(t, majors[len(majors)-1]), options...)
	return source, target
}

// Exec runs SQL, each string in one round trip that may hold several
// statements.
func Exec(t testing.TB, dsn string, sql ...string) {
	t.Helper()
	run(t, dsn, sql...)
}

// Query runs SQL and returns the rows as text, NULL as "NULL".
func Query(t testing.TB, dsn, sql string) [][]string {
	t.Helper()
	var rows [][]string
	for _, result := range run(t, dsn, sql) {
		for _, values := range result.Rows {
			row := make([]string, len(values))
			for i, value := range values {
				row[i] = "NULL"
				if value != nil {
					row[i] = string(value)
				}
			}
			rows = append(rows, row)
		}
	}
	return rows
}

// run uses the simple protocol: it takes several statements, and some, like
// CREATE DATABASE, want to stand alone.
func run(t testing.TB, dsn string, sql ...string) []*pgconn.Result {
	t.Helper()
	// Not the test's context: it has ended when cleanups run.
	ctx, cancel := context.WithTimeout(context.Background(), sqlTimeout)
	defer cancel()
	conn, err := pgconn.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	var results []*pgconn.Result
	for _, statement := range sql {
		part, err := conn.Exec(ctx, statement).ReadAll()
		if err != nil {
			t.Fatalf("%v\nin: %s", err, statement)
		}
		results = append(results, part...)
	}
	return results
}
