package daemon

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/verifierd/verifierd/internal/pglocal/pgtest"
	"github.com/verifierd/verifierd/pkg/parity"
	"github.com/verifierd/verifierd/pkg/relation"
)

// envNeedTools, if set, makes tests fail rather than be skipped where a program
// that we cannot fetch is missing: pgbouncer, pg_dump.
const envNeedTools = "VERIFIERD_TEST_NEED_TOOLS"

// pooled returns the DSN of the same database through a pgbouncer in
// transaction mode, which has so many connections to the server.
func pooled(t *testing.T, dsn string, size int) string {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		program, err = exec.LookPath("/usr/sbin/pgbouncer") // Debian's, for whom it is not in the PATH
	}
	if err != nil {
		if os.Getenv(envNeedTools) != "" {
			t.Fatal("no pgbouncer: install it, for example with apt-get install pgbouncer")
		}
		t.Skipf("no pgbouncer: install it, for example with apt-get install pgbouncer; %s=1 makes this an error", envNeedTools)
	}
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := free.Addr().(*net.TCPAddr).Port
	free.Close()
	dir, err := os.MkdirTemp("", "verifierd-pgbouncer-") // t.TempDir is for nobody else to enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "pgbouncer.ini")
	if err := os.WriteFile(config, fmt.Appendf(nil, `[databases]
* = host=%s port=%s user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
admin_users = pgbouncer
log_connections = 0
log_disconnections = 0
pool_mode = transaction
default_pool_size = %d
`, u.Hostname(), u.Port(), port, size), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, config)
	if os.Geteuid() == 0 { // which it refuses to run as
		account := "nobody"
		if _, err := user.Lookup("postgres"); err == nil {
			account = "postgres"
		}
		cmd.Args = []string{program, "-u", account, config}
	}
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // at once, whoever is connected
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("pgbouncer: %s", &log)
		}
	})
	u.Host = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	for deadline := time.Now().Add(20 * time.Second); ; {
		conn, err := pgconn.Connect(t.Context(), u.String())
		if err == nil {
			conn.Close(t.Context())
			return u.String()
		}
		if time.Now().After(deadline) {
			t.Fatalf("connect to pgbouncer: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestPgbouncer(t *testing.T) {
	for _, side := range relation.Sides {
		t.Run("on the "+side.String(), func(t *testing.T) {
			alongside(t)
			dsn := dsnPair(t)
			loadBig(t, dsn)
			bothExec(t, dsn, "CREATE TABLE vals (id int PRIMARY KEY, f float8, d date)", "INSERT INTO vals SELECT i, 0.1 + i / 7.0::float8, '2020-02-03'::date + i FROM generate_series(1, 500) AS i")
			o := Options{DSN: dsn, Workers: 2, MaxDivergences: 10, Values: parity.ValuesFull}
			o.DSN[side] = pooled(t, dsn[side], 6)

			// Other clients of the pool have left settings behind, on all of its
			// connections.
			const left = `SET extra_float_digits = -3; SET datestyle = 'SQL, DMY'; SET search_path = nowhere; SET row_security = on;
				SET statement_timeout = '50ms'; SET lock_timeout = '1ms'; SET idle_in_transaction_session_timeout = '50ms'`
			var clients []*client
			for range 6 {
				c := newClient(t, o.DSN[side])
				c.exec("BEGIN")
				clients = append(clients, c)
			}
			for _, c := range clients {
				c.exec("COMMIT; BEGIN; " + left + "; COMMIT")
				c.close()
			}
			for _, perTable := range []bool{false, true} {
				o.PerTable = perTable
				wantVerdict(t, bounded(t, o), parity.Match, "300,700 rows")
			}
			pgtest.Exec(t, dsn[1], "UPDATE vals SET f = f + 1e-14 WHERE id = 7", "DELETE FROM big WHERE id = 77")
			p := bounded(t, o)
			wantVerdict(t, p, parity.Diverged, "vals: 1 divergent row (1 mismatched)", "big: 1 divergent row (1 missing)")
			if !p.Complete {
				t.Errorf("not complete: %s", p.Reason)
			}

			// Nothing of ours stays behind: neither settings nor locks.
			if got := pgtest.Query(t, o.DSN[side], "SHOW search_path")[0][0]; got == "pg_catalog" {
				t.Error("the pass left its settings behind")
			}
			eventually(t, dsn[side], `SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
				WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.backend_type = 'client backend'`, "0")

			// The same database is found behind it.
			same := o
			same.DSN = [2]string{o.DSN[side], dsn[side]}
			wantVerdict(t, bounded(t, same), parity.Incomplete, "same database")

			// It refuses what it does not know, and says so.
			refused := o
			refused.DSN[side] += "&options=-c%20work_mem%3D1MB"
			wantVerdict(t, bounded(t, refused), parity.Incomplete, "connect to the "+side.String(), "unsupported startup parameter")
		})
	}
	t.Run("too small a pool", func(t *testing.T) {
		alongside(t)
		dsn := dsnPair(t)
		loadBig(t, dsn)
		dsn[1] = pooled(t, dsn[1], 1)
		wantVerdict(t, bounded(t, Options{DSN: dsn, Workers: 2, StallTimeout: time.Second}), parity.Incomplete, "sent nothing for too long")
	})
	t.Run("yields", func(t *testing.T) {
		alongside(t)
		dsn := dsnPair(t)
		loadBig(t, dsn)
		o := Options{DSN: dsn, Workers: 1}
		o.DSN[0] = pooled(t, dsn[0], 6)
		var once sync.Once
		o.Observer = &events{rows: func(table string, side relation.Side, _ int64) {
			if table == "big" && side == relation.Source {
				once.Do(func() {
					if took := <-queue(t, dsn[0], "ALTER TABLE big ADD COLUMN w int"); took > 5*time.Second {
						t.Errorf("the application waited for %s", took)
					}
				})
			}
		}}
		wantVerdict(t, bounded(t, o), parity.Incomplete, `(application "deploy0")`)
	})
	t.Run("goes away", func(t *testing.T) {
		alongside(t)
		dsn := dsnPair(t)
		loadBig(t, dsn)
		o := Options{DSN: dsn, Workers: 2}
		o.DSN[1] = pooled(t, dsn[1], 6)
		o.Observer = onRows("big", relation.Target, func() {
			admin := as(t, o.DSN[1], "pgbouncer")
			u, _ := url.Parse(admin)
			u.Path = "/pgbouncer"
			conn, err := pgconn.Connect(context.Background(), u.String())
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = conn.Exec(context.Background(), "SHUTDOWN").ReadAll() // which ends this connection, too
		})
		wantVerdict(t, bounded(t, o), parity.Incomplete, "target")
	})
}
