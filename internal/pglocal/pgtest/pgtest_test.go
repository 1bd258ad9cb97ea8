package pgtest

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

func TestMain(m *testing.M) { Main(m) }

func TestMajorsRun(t *testing.T) {
	for _, major := range Majors() {
		t.Run(strconv.Itoa(major), func(t *testing.T) {
			t.Parallel()
			dsn := Database(t, Server(t, major))
			rows := Query(t, dsn, "SELECT current_setting('server_version_num')::int / 10000, current_database(), NULL")
			if rows[0][0] != strconv.Itoa(major) || !strings.Contains(rows[0][1], "testmajorsrun") || rows[0][2] != "NULL" {
				t.Errorf("server %d says %q", major, rows[0])
			}
		})
	}
}

// recorder is a test whose failures are expected.
type recorder struct {
	testing.TB
	failures []string
}

func (r *recorder) Errorf(format string, args ...any) {
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func TestOpenTransactionFails(t *testing.T) {
	srv := Server(t, Majors()[0])
	dsn := Database(t, srv)
	conn, err := pgconn.Connect(t.Context(), dsn+"&application_name=leaky")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	name := Query(t, dsn, "SELECT current_database()")[0][0]

	idle := &recorder{TB: t}
	if assertNoTransactions(idle, srv.DSN("postgres"), name); len(idle.failures) > 0 {
		t.Errorf("an idle session fails the test: %q", idle.failures)
	}
	if err := conn.Exec(t.Context(), "BEGIN").Close(); err != nil {
		t.Fatal(err)
	}
	open := &recorder{TB: t}
	assertNoTransactions(open, srv.DSN("postgres"), name)
	if len(open.failures) != 1 || !strings.Contains(open.failures[0], "leaky") {
		t.Errorf("a session in a transaction gives the failures %q, want one that names it", open.failures)
	}
}

func TestPair(t *testing.T) {
	source, target := Pair(t, "TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'")
	if source == target {
		t.Error("source and target are the same")
	}
	for _, dsn := range []string{source, target} {
		if got := Query(t, dsn, "SHOW server_encoding")[0][0]; got != "LATIN1" {
			t.Errorf("encoding %s, want LATIN1", got)
		}
	}
}

func TestDatabaseName(t *testing.T) {
	if got, want := databaseName("TestFoo/bar-1", 7), "t7_testfoo_bar_1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := databaseName(strings.Repeat("x", 100), 1); len(got) != 63 {
		t.Errorf("a name of %d bytes, want 63", len(got))
	}
}
