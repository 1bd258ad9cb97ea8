package daemon

import (
	"testing"

	"github.com/verifierd/verifierd/internal/pglocal"
	"github.com/verifierd/verifierd/internal/pglocal/pgtest"
	"github.com/verifierd/verifierd/pkg/parity"
	"github.com/verifierd/verifierd/pkg/relation"
)

// TestServerUnderneath changes what the server wants of sessions while they
// read: recovery on a standby cancels them, and limits are set for everybody.
func TestServerUnderneath(t *testing.T) {
	alongside(t)
	majors := pgtest.Majors()
	primary := pgtest.Start(t, pglocal.Options{Major: majors[len(majors)-1]})
	standby := pgtest.StartStandby(t, primary, pglocal.Options{Settings: map[string]string{
		"max_standby_streaming_delay": "50ms", "max_standby_archive_delay": "50ms", "hot_standby_feedback": "off",
	}})
	dsn := [2]string{pgtest.Database(t, pgtest.Server(t, majors[0])), primary.DSN("postgres")}
	loadBig(t, dsn)
	// during runs a pass that is not over for some seconds after sql, which runs
	// on the primary when rows begin to arrive.
	during := func(t *testing.T, target string, sql ...string) *parity.Pass {
		t.Helper()
		const slowly = 2 << 20
		return bounded(t, Options{DSN: [2]string{dsn[0], target}, Workers: 1, MaxRate: slowly, Observer: onRows("big", relation.Target, func() {
			pgtest.Exec(t, primary.DSN("postgres"), sql...)
		})})
	}

	t.Run("limits", func(t *testing.T) {
		limits := []string{
			"ALTER SYSTEM SET statement_timeout = '100ms'", "ALTER SYSTEM SET lock_timeout = '100ms'",
			"ALTER SYSTEM SET idle_in_transaction_session_timeout = '100ms'",
		}
		if primary.Major >= 17 {
			limits = append(limits, "ALTER SYSTEM SET transaction_timeout = '200ms'")
		}
		p := during(t, dsn[1], append(limits, "SELECT pg_reload_conf()")...)
		pgtest.Exec(t, dsn[1], "ALTER SYSTEM RESET ALL", "SELECT pg_reload_conf()")
		wantVerdict(t, p, parity.Match)
	})
	for _, test := range []struct {
		name string
		sql  []string
	}{
		{"rows removed", []string{"DELETE FROM big WHERE id % 2 = 0", "VACUUM big"}},
		{"table truncated", []string{"TRUNCATE big"}},
		{"table dropped", []string{"DROP TABLE big"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			at := pgtest.Query(t, dsn[1], "SELECT pg_current_wal_insert_lsn()")[0][0]
			eventually(t, standby.DSN("postgres"), "SELECT pg_last_wal_replay_lsn() >= '"+at+"'", "t")
			p := during(t, standby.DSN("postgres"), test.sql...)
			wantVerdict(t, p, parity.Incomplete, "big", "target")
			pgtest.Exec(t, dsn[1], "CREATE TABLE IF NOT EXISTS big (id int PRIMARY KEY, v text)", "TRUNCATE big",
				"INSERT INTO big SELECT i, 'payload' || i FROM generate_series(1, 300000) AS i")
		})
	}
}
