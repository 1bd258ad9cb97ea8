package pglocal_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/verifierd/verifierd/internal/pglocal"
	"github.com/verifierd/verifierd/internal/pglocal/pgtest"
)

func TestMain(m *testing.M) {
	if os.Getenv(envOwner) != "" {
		ownServer()
		return
	}
	pgtest.Main(m)
}

// forEachMajor runs a test on all versions of this run.
func forEachMajor(t *testing.T, test func(t *testing.T, major int)) {
	for _, major := range pgtest.Majors() {
		t.Run(strconv.Itoa(major), func(t *testing.T) {
			t.Parallel()
			test(t, major)
		})
	}
}

func TestStartStop(t *testing.T) {
	forEachMajor(t, func(t *testing.T, major int) {
		srv := pgtest.Start(t, pglocal.Options{
			Major:    major,
			Settings: map[string]string{"application_name": `it's a \ test`, "max_connections": "17"},
			InitArgs: []string{"--data-checksums"},
		})
		if srv.Major != major || !strings.HasPrefix(srv.Version, strconv.Itoa(major)+".") {
			t.Errorf("started %d %q, want %d", srv.Major, srv.Version, major)
		}
		for name, want := range map[string]string{
			"server_version_num": strconv.Itoa(major),
			"application_name":   `it's a \ test`,
			"max_connections":    "17",
			"data_checksums":     "on",
			"server_encoding":    "UTF8",
			"fsync":              "off",
		} {
			got := pgtest.Query(t, srv.DSN("postgres"), "SHOW "+name)[0][0]
			if !strings.HasPrefix(got, want) {
				t.Errorf("%s = %q, want %q", name, got, want)
			}
		}

		dir := filepath.Dir(srv.DataDir)
		if _, err := os.Stat(dir); err != nil {
			t.Error(err)
		}
		if err := srv.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("after Stop the server's directory %s is still there (%v)", dir, err)
		}
		if err := connect(t, srv); err == nil {
			t.Error("after Stop the server still accepts connections")
		}
		if err := srv.Stop(t.Context()); err != nil {
			t.Errorf("second Stop: %v", err)
		}
		if err := srv.Restart(t.Context(), pglocal.Fast); !errors.Is(err, pglocal.ErrStopped) {
			t.Errorf("Restart after Stop: %v, want ErrStopped", err)
		}
	})
}

// An expired context must not leave a server behind.
func TestStopExpired(t *testing.T) {
	t.Parallel()
	srv := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := srv.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if srv.Running() {
		t.Error("the server still runs")
	}
	if _, err := os.Stat(srv.DataDir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the data is still there (%v)", err)
	}
}

func TestStartCancelled(t *testing.T) {
	tmp := reachableTempDir(t)
	t.Setenv("TMPDIR", tmp)
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the user lost patience")
	go func() {
		// The server's directory appears before initdb begins.
		for {
			if entries, _ := os.ReadDir(tmp); len(entries) > 0 {
				cancel(cause)
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	if _, err := pglocal.Start(ctx, pglocal.Options{Major: pgtest.Majors()[0]}); !errors.Is(err, cause) {
		t.Errorf("got %v, want %v", err, cause)
	}
	if entries, _ := os.ReadDir(tmp); len(entries) > 0 {
		t.Errorf("a cancelled start left %v", entries)
	}
}

func TestHBA(t *testing.T) {
	t.Parallel()
	srv := pgtest.Start(t, pglocal.Options{
		Major: pgtest.Majors()[0],
		HBA:   []string{"host all mallory 127.0.0.1/32 reject"},
	})
	pgtest.Exec(t, srv.DSN("postgres"), "CREATE ROLE mallory LOGIN")
	_, err := pgconn.Connect(t.Context(), srv.DSN("postgres", "user=mallory"))
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); !ok || pgErr.Code != "28000" {
		t.Errorf("got %v, want a refusal by pg_hba.conf", err)
	}
}

func TestRestart(t *testing.T) {
	forEachMajor(t, func(t *testing.T, major int) {
		srv := pgtest.Start(t, pglocal.Options{Major: major})
		dsn := srv.DSN("postgres")
		pgtest.Exec(t, dsn, "CREATE TABLE kept AS SELECT 1 AS id")
		started := func() string {
			return pgtest.Query(t, dsn, "SELECT pg_postmaster_start_time() FROM kept")[0][0]
		}
		before := started()

		for _, mode := range []pglocal.Mode{pglocal.Fast, pglocal.Immediate} {
			if err := srv.Restart(t.Context(), mode); err != nil {
				t.Fatal(err)
			}
			after := started()
			if after == before {
				t.Errorf("%s restart: the server has been up since %s", mode, after)
			}
			before = after
			const recovery = "database system was not properly shut down"
			if got, want := strings.Contains(readLog(t, srv), recovery), mode == pglocal.Immediate; got != want {
				t.Errorf("%s restart: recovery in the log: %t, want %t", mode, got, want)
			}
		}

		if err := srv.Kill(); err != nil {
			t.Fatal(err)
		}
		if srv.Running() {
			t.Error("the server runs after Kill")
		}
		if err := connect(t, srv); err == nil {
			t.Error("the server accepts connections after Kill")
		}
		if err := srv.Restart(t.Context(), pglocal.Fast); err != nil {
			t.Fatal(err)
		}
		if started() == before {
			t.Error("the server was not restarted after Kill")
		}
	})
}

func TestPause(t *testing.T) {
	t.Parallel()
	srv := start(t)
	conn, err := pgconn.Connect(t.Context(), srv.DSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if err := srv.Pause(); err != nil {
		t.Fatal(err)
	}
	if !srv.Running() {
		t.Error("the paused server does not run")
	}

	answer := make(chan error, 1)
	go func() { answer <- conn.Exec(t.Context(), "SELECT 1").Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := pgconn.Connect(ctx, srv.DSN("postgres")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("connect to the paused server: %v, want no answer until the deadline", err)
	}
	select {
	case err := <-answer:
		t.Errorf("the paused server ended a query (%v)", err)
	default:
	}

	if err := srv.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := <-answer; err != nil {
		t.Errorf("the query did not survive the pause: %v", err)
	}
	if err := srv.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := srv.Stop(t.Context()); err != nil {
		t.Errorf("stop the paused server: %v", err)
	}
}

func TestStandby(t *testing.T) {
	forEachMajor(t, func(t *testing.T, major int) {
		primary := pgtest.Start(t, pglocal.Options{Major: major})
		pgtest.Exec(t, primary.DSN("postgres"), "CREATE TABLE item AS SELECT 1 AS id")
		standby := pgtest.StartStandby(t, primary, pglocal.Options{
			Settings: map[string]string{"hot_standby_feedback": "on"},
		})
		pgtest.Exec(t, primary.DSN("postgres"), "INSERT INTO item VALUES (2)")

		dsn := standby.DSN("postgres")
		for deadline := time.Now().Add(20 * time.Second); ; {
			if pgtest.Query(t, dsn, "SELECT count(*) FROM item")[0][0] == "2" {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("the standby does not follow; its log:\n%s", readLog(t, standby))
			}
			time.Sleep(10 * time.Millisecond)
		}
		const state = "SELECT pg_is_in_recovery(), current_setting('hot_standby_feedback')"
		if got := pgtest.Query(t, dsn, state)[0]; got[0] != "t" || got[1] != "on" {
			t.Errorf("in recovery, hot_standby_feedback = %q, want t, on", got)
		}

		if err := standby.Promote(t.Context()); err != nil {
			t.Fatal(err)
		}
		pgtest.Exec(t, dsn, "INSERT INTO item VALUES (3)")
		if err := primary.Promote(t.Context()); err == nil {
			t.Error("a primary could be promoted")
		}
	})
}

func TestTLS(t *testing.T) {
	forEachMajor(t, func(t *testing.T, major int) {
		srv := pgtest.Start(t, pglocal.Options{Major: major, TLS: true})
		const encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
		verified := srv.DSN("postgres", "sslmode=verify-full", "sslrootcert="+srv.CertFile)
		if got := pgtest.Query(t, verified, encrypted)[0][0]; got != "t" {
			t.Errorf("with sslmode=verify-full: encrypted %s", got)
		}
		if got := pgtest.Query(t, srv.DSN("postgres"), encrypted)[0][0]; got != "f" {
			t.Errorf("with sslmode=disable: encrypted %s", got)
		}
	})
}

func TestStartErrors(t *testing.T) {
	tests := []struct {
		name string
		opts pglocal.Options
		want []string
	}{
		{
			"setting",
			pglocal.Options{Settings: map[string]string{"no_such_setting": "1"}},
			[]string{"start PostgreSQL", `unrecognized configuration parameter "no_such_setting"`},
		},
		{
			"argument of initdb",
			pglocal.Options{InitArgs: []string{"--encoding=KLINGON"}},
			[]string{"initdb", `"KLINGON" is not a valid server encoding`},
		},
		{
			"version",
			pglocal.Options{Major: 99},
			[]string{"find PostgreSQL 99", pglocal.EnvDirs, "PATH", "usual folders", "the cache", "Install PostgreSQL 99"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.opts.Major == 0 {
				tt.opts.Major = pgtest.Majors()[0]
			}
			srv, err := pglocal.Start(t.Context(), tt.opts)
			if err == nil {
				t.Fatal("the server started: ", srv.Stop(t.Context()))
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error lacks %q: %v", want, err)
				}
			}
		})
	}
}

func start(t *testing.T) *pglocal.Server {
	t.Helper()
	return pgtest.Start(t, pglocal.Options{Major: pgtest.Majors()[0]})
}

func connect(t *testing.T, srv *pglocal.Server) error {
	t.Helper()
	conn, err := pgconn.Connect(t.Context(), srv.DSN("postgres"))
	if err == nil {
		conn.Close(t.Context())
	}
	return err
}

func readLog(t *testing.T, srv *pglocal.Server) string {
	t.Helper()
	content, err := os.ReadFile(srv.LogPath)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
