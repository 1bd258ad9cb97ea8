package daemon

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/verifierd/verifierd/internal/pglocal/pgtest"
	"github.com/verifierd/verifierd/pkg/parity"
	"github.com/verifierd/verifierd/pkg/relation"
)

// ddl is what somebody does to a table of its name while a pass is under way.
// The table has ddlRows rows in two partitions if part, and a third one waits.
type ddl struct {
	name, sql string
	keeps     bool // the rows are the same afterwards
	part      bool
	alone     bool // not in a transaction block
	patient   bool // waits until the pass ends, and holds up nobody
	since     int  // the first version that has it
}

const ddlRows = 200

var ddls = []ddl{
	{name: "truncated", sql: "TRUNCATE truncated"},
	{name: "dropped", sql: "DROP TABLE dropped"},
	{name: "retyped", sql: "ALTER TABLE retyped ALTER n TYPE bigint", keeps: true},
	{name: "widened", sql: "ALTER TABLE widened ADD COLUMN w float8 NOT NULL DEFAULT random()"},
	{name: "renamed", sql: "ALTER TABLE renamed RENAME n TO x; ALTER TABLE renamed RENAME m TO n; ALTER TABLE renamed RENAME x TO m"},
	{name: "vacuumed", sql: "VACUUM FULL vacuumed", keeps: true, alone: true},
	{name: "clustered", sql: "CLUSTER clustered USING clustered_pkey", keeps: true, alone: true},
	{name: "detached", sql: "ALTER TABLE detached DETACH PARTITION detached_1", part: true},
	{name: "let_go", sql: "ALTER TABLE let_go DETACH PARTITION let_go_1 CONCURRENTLY", part: true, alone: true, patient: true, since: 14},
	{name: "attached", sql: "ALTER TABLE attached ATTACH PARTITION attached_more FOR VALUES FROM (1000) TO (2000)", part: true, patient: true},
}

// loadDDL creates the tables, equal on both sides, and returns what can be done
// to them on the side that it is done on.
func loadDDL(t *testing.T, dsn [2]string, side relation.Side) []ddl {
	t.Helper()
	fill := func(name string) string {
		return fmt.Sprintf("INSERT INTO %s SELECT i, i, -i FROM generate_series(1, %d) AS i", name, ddlRows)
	}
	const columns = " (id int PRIMARY KEY, n int, m int)"
	for _, d := range ddls {
		if !d.part {
			bothExec(t, dsn, "CREATE TABLE "+d.name+columns, fill(d.name))
			continue
		}
		bothExec(t, dsn, "CREATE TABLE "+d.name+columns+" PARTITION BY RANGE (id)",
			fmt.Sprintf("CREATE TABLE %s_1 PARTITION OF %[1]s FOR VALUES FROM (0) TO (100); CREATE TABLE %[1]s_2 PARTITION OF %[1]s FOR VALUES FROM (100) TO (1000)", d.name),
			fill(d.name), "CREATE TABLE "+d.name+"_more"+columns, "INSERT INTO "+d.name+"_more VALUES (1001, 1, 1)")
	}
	return slices.DeleteFunc(slices.Clone(ddls), func(d ddl) bool { return d.since > serverMajor(t, dsn[side]) })
}

func serverMajor(t *testing.T, dsn string) (major int) {
	t.Helper()
	_, _ = fmt.Sscan(pgtest.Query(t, dsn, "SHOW server_version_num")[0][0], &major)
	return major / 10000
}

// TestDefinitionsChange alters tables at each stage of a pass: the answer is
// true of the moment that the pass is about, or the table is incomplete.
func TestDefinitionsChange(t *testing.T) {
	for _, side := range relation.Sides {
		t.Run("before the locks, on the "+side.String(), func(t *testing.T) {
			alongside(t)
			dsn := dsnPair(t)
			all := loadDDL(t, dsn, side)
			var clients []*client
			for _, d := range all {
				if !d.alone {
					c := newClient(t, dsn[side])
					c.exec("BEGIN; " + d.sql)
					clients = append(clients, c)
				}
			}
			var done sync.WaitGroup
			done.Go(func() {
				waitForBlocked(t, dsn[side])
				// The pass does not wait for what the last one did, which has no
				// lock in its way: that comes first, to come before the snapshot.
				for _, c := range slices.Backward(clients) {
					c.exec("COMMIT")
				}
			})
			p := bounded(t, Options{DSN: dsn, Workers: 2, Exclude: []relation.Pattern{pattern(t, "public.*_more")}})
			done.Wait()
			for _, d := range all {
				table := tableOf(t, p, d.name)
				same := d.keeps || d.alone // was not done
				if same && table.Verdict == parity.Diverged || !same && table.Verdict == parity.Match && !differsInSchema(p, d.name) {
					t.Errorf("%s: %s: %s", d.name, table.Verdict, table.Reason)
				}
			}
		})
		for _, perTable := range []bool{false, true} {
			t.Run(fmt.Sprintf("while reading the %s, per table %t", side, perTable), func(t *testing.T) {
				alongside(t)
				dsn := dsnPair(t)
				loadBig(t, dsn)
				all := loadDDL(t, dsn, side)
				done := make(chan struct{})
				o := Options{DSN: dsn, Workers: 2, PerTable: perTable, Exclude: []relation.Pattern{pattern(t, "public.*_more")}}
				o.Observer = onRows("big", side, func() { changeAll(t, dsn[side], all, done, !perTable) })
				p := bounded(t, o)
				<-done
				for _, d := range all {
					table := tableOf(t, p, d.name)
					switch {
					case table.Verdict == parity.Match && table.Side[side].Rows != ddlRows && !perTable:
						t.Errorf("%s: match of %d rows, want %d", d.name, table.Side[side].Rows, ddlRows)
					case table.Verdict == parity.Diverged && (!perTable || d.keeps):
						// The sides were the same when the pass began.
						t.Errorf("%s: diverged: %s", d.name, table.Reason)
					}
				}
			})
		}
	}
	t.Run("before rows are read again", func(t *testing.T) {
		alongside(t)
		dsn := dsnPair(t)
		all := loadDDL(t, dsn, relation.Target)
		for _, d := range all {
			pgtest.Exec(t, dsn[1], "UPDATE "+d.name+" SET n = n + 1000000 WHERE id = 7")
		}
		writer := newClient(t, dsn[0])
		writer.exec("BEGIN; SELECT txid_current()") // so that there is a window to wait for
		done := make(chan struct{})
		o := Options{DSN: dsn, Workers: 2, Recheck: 3 * time.Second, Exclude: []relation.Pattern{pattern(t, "public.*_more")}}
		o.Observer = onStage("again in", func() { go changeAll(t, dsn[1], all, done, false) })
		p := bounded(t, o)
		<-done
		for _, d := range all {
			// The row differed all the time, or is gone with its table.
			if table := tableOf(t, p, d.name); table.Verdict == parity.Match {
				t.Errorf("%s: match: %s", d.name, table.Reason)
			}
		}
	})
}

func differsInSchema(p *parity.Pass, table string) bool {
	return slices.ContainsFunc(p.Schema, func(d parity.SchemaDifference) bool { return d.Table.Name == table })
}

// changeAll does everything to the tables, each in a session of its own, and
// returns when all of it is done, or waits for the pass's locks if that is what
// it must do. The channel is closed when it is done.
func changeAll(t *testing.T, dsn string, all []ddl, done chan<- struct{}, wait bool) {
	var hurried, patient sync.WaitGroup
	for _, d := range all {
		c := newClient(t, dsn)
		group := &hurried
		if d.patient {
			group = &patient
		}
		group.Go(func() {
			if _, err := c.conn.Exec(context.Background(), d.sql).ReadAll(); err != nil && !strings.Contains(err.Error(), "deadlock") {
				t.Errorf("%v\nin: %s", err, d.sql)
			}
		})
	}
	if wait {
		hurried.Wait() // the pass yields
	}
	go func() {
		hurried.Wait()
		patient.Wait()
		close(done)
	}()
}
