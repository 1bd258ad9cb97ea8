package daemon

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2/stream"
	"github.com/Shopify/toxiproxy/v2/toxics"

	"github.com/verifierd/verifierd/pkg/parity"
	"github.com/verifierd/verifierd/pkg/relation"
)

// atStatement returns a look at what clients send that holds up the nth
// statement which contains the text until f returns. The test fails if there
// is none.
func atStatement(t *testing.T, text string, nth int, f func()) look {
	t.Helper()
	var mu sync.Mutex // guards seen
	seen := 0
	t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		if seen < nth {
			t.Errorf("only %d statements with %q, want %d", seen, text, nth)
		}
	})
	return func(_ int64, chunk []byte) toxics.Toxic {
		if !bytes.Contains(chunk, []byte(text)) {
			return nil
		}
		mu.Lock()
		seen++
		due := seen == nth
		mu.Unlock()
		if due {
			f() // other connections go on meanwhile
		}
		return nil
	}
}

// change is what somebody does to the table t while a pass is under way.
type change struct {
	sql     string
	kept    bool   // the rows are the same afterwards
	waits   bool   // for whoever reads t, and readers that come later wait for it
	joins   bool   // makes another relation a part of t
	renames bool   // what is called t afterwards is another table, or there is none
	begun   string // what ends only with the pass has begun to show when this query gives 1
	since   int    // the first version that has it
}

const anotherT = "CREATE TABLE o (LIKE t INCLUDING ALL); INSERT INTO o SELECT * FROM t; "

// changes are made to t, which has ddlRows rows, in two partitions where the
// change is to one, and t_more waits.
var changes = map[string]change{
	"truncate":            {sql: "TRUNCATE t", waits: true},
	"drop":                {sql: "DROP TABLE t", waits: true, renames: true},
	"rewrite":             {sql: "ALTER TABLE t ALTER n TYPE bigint", kept: true, waits: true},
	"rename columns":      {sql: "ALTER TABLE t RENAME n TO x; ALTER TABLE t RENAME m TO n; ALTER TABLE t RENAME x TO m", waits: true},
	"vacuum full":         {sql: "VACUUM FULL t", kept: true, waits: true},
	"cluster":             {sql: "CLUSTER t USING t_pkey", kept: true, waits: true},
	"swap for equal":      {sql: anotherT + "ALTER TABLE t RENAME TO t_was; ALTER TABLE o RENAME TO t", kept: true, waits: true, renames: true},
	"swap for other":      {sql: anotherT + "DELETE FROM o WHERE id = 9; ALTER TABLE t RENAME TO t_was; ALTER TABLE o RENAME TO t", waits: true, renames: true},
	"swap schemas":        {sql: swapSchemas + " WHERE id <> 9", renames: true},
	"swap equal schemas":  {sql: swapSchemas, renames: true, kept: true},
	"inherit":             {sql: "CREATE TABLE h () INHERITS (t); INSERT INTO h VALUES (1001, 1, 1)", joins: true},
	"attach":              {sql: "ALTER TABLE t ATTACH PARTITION t_more FOR VALUES FROM (1000) TO (2000)", joins: true},
	"detach":              {sql: "ALTER TABLE t DETACH PARTITION t_1", waits: true},
	"detach concurrently": {sql: "ALTER TABLE t DETACH PARTITION t_1 CONCURRENTLY", begun: "SELECT count(*) FROM pg_inherits WHERE inhdetachpending", since: 14},
}

// swapSchemas takes no lock that a reader of t would notice.
const swapSchemas = "ALTER SCHEMA public RENAME TO was; CREATE SCHEMA public; CREATE TABLE public.t (LIKE was.t INCLUDING ALL); INSERT INTO public.t SELECT * FROM was.t"

// loadT makes t anew, equal on both sides.
func loadT(t *testing.T, dsn [2]string, c *change) {
	t.Helper()
	bothExec(t, dsn, "DROP SCHEMA IF EXISTS public, was CASCADE", "CREATE SCHEMA public")
	const columns = " (id int PRIMARY KEY, n int, m int)"
	fill := fmt.Sprintf("INSERT INTO t SELECT i, i, -i FROM generate_series(1, %d) AS i", ddlRows)
	if !strings.Contains(c.sql, "PARTITION") {
		bothExec(t, dsn, "CREATE TABLE t"+columns, fill)
		return
	}
	bothExec(t, dsn, "CREATE TABLE t"+columns+" PARTITION BY RANGE (id)",
		"CREATE TABLE t_1 PARTITION OF t FOR VALUES FROM (0) TO (100); CREATE TABLE t_2 PARTITION OF t FOR VALUES FROM (100) TO (1000)",
		fill, "CREATE TABLE t_more"+columns, "INSERT INTO t_more VALUES (1001, 1, 1)")
}

// begin makes the change in a session of its own. It returns when that is done,
// waits for the pass, which has locked t, or shows although it is not done. The
// channel is closed when it is done.
func (c *change) begin(t *testing.T, dsn string, locked bool) <-chan struct{} {
	client := newClient(t, dsn)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, err := client.conn.Exec(context.Background(), c.sql).ReadAll(); err != nil {
			t.Errorf("%v\nin: %s", err, c.sql)
		}
	}()
	switch {
	case locked && c.waits:
		eventually(t, dsn, fmt.Sprintf("SELECT count(*) FROM pg_locks WHERE pid = %d AND NOT granted", client.conn.PID()), "1")
	case locked && c.begun != "":
		eventually(t, dsn, c.begun, "1")
	default:
		<-done
	}
	return done
}

// The steps by which a pass comes to its snapshot, and to its end, by what it
// says to the server then. With punctuation, which is not in a database's name.
const (
	toList   = "SELECT rn.nspname" // what to lock
	toLock   = "LOCK TABLE"
	toExport = "pg_export_snapshot()"
	toLoad   = "row_security_active(" // the catalog
	toRead   = "COPY (SELECT"
	toCheck  = "pg_relation_filenode(" // that what was read is still there
)

// verdict is the one true answer if the change comes right before that step.
func (c *change) verdict(step string, side relation.Side) parity.Verdict {
	asIs := parity.Diverged
	if c.kept {
		asIs = parity.Match
	}
	switch step {
	case toList:
		if strings.HasPrefix(c.sql, "DROP") && side == relation.Source {
			return parity.Incomplete // a table that only the target has is drift
		}
		return asIs
	case toLock:
		if c.joins || strings.HasPrefix(c.sql, "DROP") {
			return parity.Incomplete // not what was listed
		}
		return asIs
	case toExport:
		if !c.waits {
			return parity.Incomplete // the snapshot sees what was not locked
		}
	}
	// What the snapshot sees is equal. Readers may see something else under its
	// name, or queue behind whoever waits for the table itself.
	if c.renames && !c.waits || c.waits && step != toCheck && !strings.Contains(c.sql, "DETACH") {
		return parity.Incomplete
	}
	return parity.Match
}

// TestDefinitionsChangeBetween changes a table right before each step of a pass.
func TestDefinitionsChangeBetween(t *testing.T) {
	for _, step := range []string{toList, toLock, toExport, toLoad, toRead, toCheck} {
		for _, side := range relation.Sides {
			if side == relation.Source && step != toList {
				continue // the sides differ only in what a table means that is gone
			}
			t.Run(fmt.Sprintf("%s on the %s", step, side), func(t *testing.T) {
				alongside(t)
				dsn := dsnPair(t)
				for name, c := range changes {
					if c.since <= serverMajor(t, dsn[side]) {
						t.Run(name, func(t *testing.T) { changeBefore(t, dsn, &c, step, side) })
					}
				}
			})
		}
	}
}

func changeBefore(t *testing.T, dsn [2]string, c *change, step string, side relation.Side) {
	loadT(t, dsn, c)
	locked := step != toList && step != toLock
	o := Options{DSN: dsn, Workers: 2, Recheck: time.Millisecond, Exclude: []relation.Pattern{pattern(t, "*.t_*"), pattern(t, "*.h"), pattern(t, "*.o")}}
	var done <-chan struct{}
	o.DSN[side] = newProxy(t, dsn[side], stream.Upstream, atStatement(t, step, 1, func() { done = c.begin(t, dsn[side], locked) }))
	p := bounded(t, o)
	<-done
	want := c.verdict(step, side)
	table := tableOf(t, p, "t")
	if c.waits && strings.Contains(table.Reason, "gave up its locks") {
		return // the pass took long
	}
	if table.Verdict != want {
		t.Errorf("%s, want %s: %s", table.Verdict, want, table.Reason)
	}
}
