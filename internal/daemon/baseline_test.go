package daemon

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/verifierd/verifierd/internal/baseline"
	"github.com/verifierd/verifierd/internal/pglocal/pgtest"
	"github.com/verifierd/verifierd/pkg/parity"
	"github.com/verifierd/verifierd/pkg/relation"
)

// capture captures a database and sends what it got through a file.
func capture(t *testing.T, dsn string, like *Baseline, patterns ...string) *Baseline {
	t.Helper()
	o := options(t, [2]string{dsn, ""}, patterns...)
	o.tuning = small
	b, err := Capture(context.Background(), o, like, "test")
	if err != nil {
		t.Fatal(err)
	}
	file, err := baseline.Encode(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	f, err := baseline.Decode(file)
	if err != nil {
		t.Fatal(err)
	}
	return f.Baseline
}

// against compares a database with a baseline, and checks what holds for every
// outcome.
func against(t *testing.T, b *Baseline, dsn string, patterns ...string) *parity.Pass {
	t.Helper()
	o := options(t, [2]string{"", dsn}, patterns...)
	o.tuning = small
	p := VerifyBaseline(context.Background(), b, o)
	checkAgainst(t, p)
	return p
}

func checkAgainst(t *testing.T, p *parity.Pass) {
	t.Helper()
	if p.Reason == "" {
		t.Error("the pass gives no reason")
	}
	for i := range p.Tables {
		table := &p.Tables[i]
		read := table.Side[0].Read && table.Side[1].Read
		switch {
		case table.Verdict == parity.Match && (!read || !table.Complete || table.Leaves.Divergent > 0):
			t.Errorf("%s: a match of %+v with %+v", table.Name, table.Side, table.Leaves)
		case table.Divergences.Confirmed() > 0:
			t.Errorf("%s: rows are said to differ that nobody has: %+v", table.Name, table.Divergences)
		case (table.Leaves.Divergent > 0) != (len(table.Ranges) > 0):
			t.Errorf("%s: %+v, and ranges %+v", table.Name, table.Leaves, table.Ranges)
		}
	}
	if p.Verdict == parity.Match && (!p.Complete || len(p.Tables) == 0) {
		t.Errorf("a match that is complete: %t, of %d tables", p.Complete, len(p.Tables))
	}
}

func wantPass(t *testing.T, p *parity.Pass, v parity.Verdict, reason string) {
	t.Helper()
	if p.Verdict != v || !strings.Contains(p.Reason, reason) {
		t.Errorf("%s: %s; want %s: …%s…", p.Verdict, p.Reason, v, reason)
	}
}

// shelf is a database with a table for each way in which rows go to leaves.
var shelf = []string{
	`CREATE TABLE numbers (id int8 PRIMARY KEY, n int, v text)`,
	`INSERT INTO numbers SELECT i * 10, i % 7, 'row ' || i FROM generate_series(-500, 1500) i`,
	`CREATE TABLE texts (code text PRIMARY KEY, v jsonb)`,
	`INSERT INTO texts SELECT 'code ' || i, jsonb_build_object('i', i, 'name', 'n' || i) FROM generate_series(1, 1500) i`,
	`CREATE TABLE uuids (id uuid PRIMARY KEY, v numeric)`,
	`INSERT INTO uuids SELECT md5(i::text)::uuid, i / 4.0 FROM generate_series(1, 1500) i`,
	`CREATE TABLE tenants (tenant int, at timestamptz, v text, PRIMARY KEY (tenant, at))`,
	`INSERT INTO tenants SELECT CASE WHEN i % 10 = 0 THEN i ELSE 7 END, '2024-01-01 00:00+00'::timestamptz + i * interval '1 hour', 'v' || i FROM generate_series(1, 1500) i`,
	`CREATE TABLE log (at date, line text)`,
	`INSERT INTO log SELECT '2024-01-01'::date + i % 100, 'line ' || i / 2 FROM generate_series(1, 1500) i`,
	`CREATE TABLE days (day date PRIMARY KEY, v float8) PARTITION BY RANGE (day)`,
	`CREATE TABLE days_1 PARTITION OF days FOR VALUES FROM ('2020-01-01') TO ('2022-01-01')`,
	`CREATE TABLE days_2 PARTITION OF days FOR VALUES FROM ('2022-01-01') TO ('2030-01-01')`,
	`INSERT INTO days SELECT '2020-01-01'::date + i, i / 3.0 FROM generate_series(0, 1499) i`,
	`CREATE TABLE nothing (id int PRIMARY KEY)`,
	`ANALYZE`,
}

func TestBaselineIsFoundAgain(t *testing.T) {
	source, target := pgtest.Pair(t)
	pgtest.Exec(t, source, shelf...)
	b := capture(t, source, nil)
	wantPass(t, against(t, b, source), parity.Match, "9,501 rows in 7 tables are identical")

	t.Run("after a rollback", func(t *testing.T) {
		pgtest.Exec(t, source,
			`UPDATE numbers SET v = v || '!' WHERE id % 3 = 0`, `DELETE FROM texts WHERE code < 'code 3'`, `INSERT INTO log SELECT * FROM log`,
			`TRUNCATE days`, `INSERT INTO nothing VALUES (1)`, `ALTER TABLE uuids ADD COLUMN new int`, `CREATE TABLE another ()`)
		p := against(t, b, source)
		wantPass(t, p, parity.Diverged, "rows differ in")
		for i := range p.Tables {
			table := &p.Tables[i]
			changed := map[string]bool{"numbers": true, "texts": true, "log": true, "days": true, "nothing": true}[table.Name.Name]
			if (table.Verdict == parity.Diverged) != changed {
				t.Errorf("%s: %s: %s", table.Name, table.Verdict, table.Reason)
			}
		}
		pgtest.Exec(t, source,
			`UPDATE numbers SET v = left(v, -1) WHERE id % 3 = 0`,
			`INSERT INTO texts SELECT 'code ' || i, jsonb_build_object('i', i, 'name', 'n' || i) FROM generate_series(1, 1500) i ON CONFLICT DO NOTHING`,
			`DELETE FROM log`, `INSERT INTO log SELECT '2024-01-01'::date + i % 100, 'line ' || i / 2 FROM generate_series(1, 1500) i`,
			`INSERT INTO days SELECT '2020-01-01'::date + i, i / 3.0 FROM generate_series(1499, 0, -1) i`,
			`DELETE FROM nothing`, `ALTER TABLE uuids DROP COLUMN new`, `DROP TABLE another`)
		wantPass(t, against(t, b, source), parity.Match, "identical")
		pgtest.Exec(t, source, `VACUUM FULL`, `CREATE INDEX ON texts (md5(code))`, `CLUSTER texts USING texts_md5_idx`, `DROP INDEX texts_md5_idx`,
			`ALTER TABLE days DETACH PARTITION days_1`, `INSERT INTO days_1 SELECT * FROM days_1 WHERE false`, `ALTER TABLE days ATTACH PARTITION days_1 FOR VALUES FROM ('2020-01-01') TO ('2022-01-01')`)
		wantPass(t, against(t, b, source), parity.Match, "identical")
	})
	t.Run("restored on another version", func(t *testing.T) {
		pgtest.Exec(t, target, shelf...)
		p := against(t, b, target)
		wantPass(t, p, parity.Match, "identical")
		if !strings.Contains(strings.Join(p.Notes, "\n"), "another server than the baseline's") {
			t.Errorf("notes: %q", p.Notes)
		}
	})
	t.Run("in two files", func(t *testing.T) {
		p := CompareBaselines(context.Background(), b, capture(t, target, b), options(t, [2]string{}))
		checkAgainst(t, p)
		wantPass(t, p, parity.Match, "9,501 rows in 7 tables are identical")
		pgtest.Exec(t, target, `UPDATE numbers SET n = -1 WHERE id = 4710`)
		p = CompareBaselines(context.Background(), b, capture(t, target, b), options(t, [2]string{}))
		checkAgainst(t, p)
		wantPass(t, p, parity.Diverged, "public.numbers: rows differ in 1 of")
		wantLeafWith(t, tableOf(t, p, "numbers"), 4710)

		p = CompareBaselines(context.Background(), b, capture(t, target, nil), options(t, [2]string{}))
		wantPass(t, p, parity.Incomplete, "--like")
		o := options(t, [2]string{target, ""})
		o.tuning = tuning{leafRows: 16} // b has no leaves for them: those of a form of its own
		withTheSeed := &Baseline{Seed: b.Seed, HashMode: b.HashMode}
		coarse, err := Capture(context.Background(), o, withTheSeed, "test")
		if err != nil {
			t.Fatal(err)
		}
		p = CompareBaselines(context.Background(), b, coarse, options(t, [2]string{}))
		checkAgainst(t, p)
		wantPass(t, p, parity.Diverged, "public.numbers: rows differ in 1 of 1 leaf")
		if got := p.Reason; strings.Contains(got, ";") {
			t.Errorf("other tables differ: %s", got)
		}
	})
}

// wantLeafWith expects that one leaf differs, and that it is the one with that
// integer key.
func wantLeafWith(t *testing.T, table *parity.Table, key int64) {
	t.Helper()
	if table.Leaves.Divergent != 1 || len(table.Ranges) != 1 || table.Leaves.Total < 100 {
		t.Errorf("%s: %+v, ranges %s", table.Name, table.Leaves, describeRanges(table.Ranges))
		return
	}
	r := &table.Ranges[0]
	bound := func(v []parity.NamedValue, open int64) int64 {
		if len(v) == 0 {
			return open
		}
		n, err := strconv.ParseInt(*v[0].Value, 10, 64)
		if err != nil {
			t.Error(err)
		}
		return n
	}
	if from, to := bound(r.From, -1<<62), bound(r.To, 1<<62); key < from || key >= to {
		t.Errorf("%s: row %d changed, the leaf that differs is that of [%d, %d)", table.Name, key, from, to)
	}
}

func describeRanges(list []parity.LeafRange) string {
	var b strings.Builder
	for _, r := range list {
		fmt.Fprintf(&b, "[%d-%d", r.First, r.Last)
		for _, v := range [][]parity.NamedValue{r.From, r.To} {
			b.WriteString(" |")
			for _, n := range v {
				b.WriteString(" " + namedValue(n))
			}
		}
		fmt.Fprintf(&b, " part %d/%d rows %v]", r.Part, r.Parts, r.Rows)
	}
	return b.String()
}

func TestBaselineFindsEachChange(t *testing.T) {
	_, dsn := pgtest.Pair(t)
	pgtest.Exec(t, dsn, shelf...)
	b := capture(t, dsn, nil)
	for _, c := range []struct {
		change, back, table string
		key                 int64  // of the row, in a table with key ranges; 0: elsewhere
		rows                int64  // more or less
		reason              string // where no leaf differs
	}{
		{change: `INSERT INTO numbers VALUES (4711, 1, 'new')`, back: `DELETE FROM numbers WHERE id = 4711`, table: "numbers", key: 4711, rows: 1},
		{change: `DELETE FROM numbers WHERE id = -5000`, back: `INSERT INTO numbers VALUES (-5000, -500 % 7, 'row -500')`, table: "numbers", key: -5000, rows: -1},
		{change: `UPDATE numbers SET n = n + 1 WHERE id = 15000`, back: `UPDATE numbers SET n = n - 1 WHERE id = 15000`, table: "numbers", key: 15000},
		{change: `UPDATE numbers SET v = NULL WHERE id = 10`, back: `UPDATE numbers SET v = 'row 1' WHERE id = 10`, table: "numbers", key: 10},
		{
			change: `UPDATE numbers a SET v = b.v FROM numbers b WHERE a.id IN (100, 110) AND b.id IN (100, 110) AND a.id <> b.id`,
			back:   `UPDATE numbers a SET v = b.v FROM numbers b WHERE a.id IN (100, 110) AND b.id IN (100, 110) AND a.id <> b.id`, table: "numbers",
		},
		{change: `UPDATE texts SET v = v || '{"i": 0}' WHERE code = 'code 77'`, back: `UPDATE texts SET v = v || '{"i": 77}' WHERE code = 'code 77'`, table: "texts"},
		{change: `UPDATE uuids SET v = v + 1 WHERE id = md5('9')::uuid`, back: `UPDATE uuids SET v = v - 1 WHERE id = md5('9')::uuid`, table: "uuids"},
		{change: `UPDATE uuids SET v = 2.2500000000000000 + 0.00000000000000000 WHERE id = md5('9')::uuid`, back: `UPDATE uuids SET v = 9 / 4.0 WHERE id = md5('9')::uuid`, table: "uuids"},
		{change: `UPDATE tenants SET v = 'w' WHERE tenant = 7 AND v = 'v1'`, back: `UPDATE tenants SET v = 'v1' WHERE tenant = 7 AND v = 'w'`, table: "tenants"},
		{change: `INSERT INTO log VALUES ('2024-01-02', 'line 0')`, back: `DELETE FROM log WHERE ctid = (SELECT max(ctid) FROM log WHERE line = 'line 0' AND at = '2024-01-02')`, table: "log", rows: 1},
		{change: `UPDATE days SET v = '-0' WHERE day = '2020-01-01'`, back: `UPDATE days SET v = 0 WHERE day = '2020-01-01'`, table: "days"},
		{change: `INSERT INTO nothing VALUES (1)`, back: `DELETE FROM nothing`, table: "nothing", rows: 1},
		{change: `TRUNCATE texts`, back: `INSERT INTO texts SELECT 'code ' || i, jsonb_build_object('i', i, 'name', 'n' || i) FROM generate_series(1, 1500) i`, table: "texts", rows: -1500},
		{change: `ALTER TABLE numbers RENAME COLUMN n TO m`, back: `ALTER TABLE numbers RENAME COLUMN m TO n`, table: "numbers", reason: "column n is missing"},
		{change: `ALTER TABLE numbers DROP CONSTRAINT numbers_pkey`, back: `ALTER TABLE numbers ADD PRIMARY KEY (id)`, table: "numbers", reason: "numbers_pkey is missing"},
		{change: `ALTER TABLE nothing RENAME TO something`, back: `ALTER TABLE something RENAME TO nothing`, table: "nothing", reason: "table is missing"},
	} {
		t.Run(c.change, func(t *testing.T) {
			pgtest.Exec(t, dsn, c.change)
			p := against(t, b, dsn)
			wantPass(t, p, parity.Diverged, "public."+c.table+": ")
			if c.reason == "" && !p.Complete {
				t.Errorf("not complete: %s", p.Reason)
			}
			for i := range p.Tables {
				if table := &p.Tables[i]; (table.Verdict == parity.Match) == (table.Name.Name == c.table) {
					t.Errorf("%s: %s: %s", table.Name, table.Verdict, table.Reason)
				}
			}
			table := tableOf(t, p, c.table)
			switch {
			case c.reason != "":
				if !strings.Contains(table.Reason, c.reason) {
					t.Errorf("reason: %s, want %s", table.Reason, c.reason)
				}
			case c.key != 0:
				wantLeafWith(t, table, c.key)
			case table.Leaves.Divergent == 0 || len(table.Ranges) == 0:
				t.Errorf("%+v: %s", table.Leaves, table.Reason)
			}
			if c.reason == "" && table.Side[relation.Target].Rows-table.Side[relation.Source].Rows != c.rows {
				t.Errorf("rows: %d then, %d now, want %+d", table.Side[0].Rows, table.Side[1].Rows, c.rows)
			}
			pgtest.Exec(t, dsn, c.back)
			wantPass(t, against(t, b, dsn), parity.Match, "identical")
		})
	}
}

// TestBaselinesOfOtherTables: what a baseline was captured without is not missing.
func TestBaselinesOfOtherTables(t *testing.T) {
	source, _ := pgtest.Pair(t)
	pgtest.Exec(t, source, `CREATE TABLE a (id serial PRIMARY KEY)`, `CREATE TABLE b (id int PRIMARY KEY CHECK (id > 0))`)
	all := capture(t, source, nil)
	some := capture(t, source, all, "public.a")
	o := options(t, [2]string{source})
	o.Exclude = []relation.Pattern{pattern(t, "public.b")}
	without, err := Capture(t.Context(), o, all, "test")
	if err != nil {
		t.Fatal(err)
	}
	for name, part := range map[string]*Baseline{"selected": some, "excluded": without} {
		p := CompareBaselines(t.Context(), all, part, options(t, [2]string{}))
		wantPass(t, p, parity.Incomplete, "captured without public.b")
		if table := tableOf(t, p, "a"); table.Verdict != parity.Match || len(p.Schema) > 0 {
			t.Errorf("%s: %s: %s; %+v", name, table.Verdict, table.Reason, p.Schema)
		}
		p = CompareBaselines(t.Context(), part, all, options(t, [2]string{}))
		wantPass(t, p, parity.Match, "empty")
		if len(p.Schema) > 0 {
			t.Errorf("%s: %+v", name, p.Schema)
		}
	}
	pgtest.Exec(t, source, `DROP TABLE b`)
	wantPass(t, CompareBaselines(t.Context(), all, capture(t, source, all), options(t, [2]string{})), parity.Diverged, "public.b: table is missing")
}

// TestBaselineBesideRows compares definitions and sequences.
func TestBaselineBesideRows(t *testing.T) {
	source, target := pgtest.Pair(t)
	made := []string{
		`CREATE TABLE t (id serial PRIMARY KEY, n int CHECK (n > 0), v text DEFAULT 'x')`, `CREATE INDEX t_n ON t (n)`,
		`CREATE SEQUENCE free`, `CREATE VIEW w AS SELECT id FROM t`, `CREATE TABLE u (id int PRIMARY KEY, t int REFERENCES t)`,
		`INSERT INTO t (n) SELECT generate_series(1, 100)`, `SELECT nextval('free')`,
		// A sequence that is behind its column, and was.
		`CREATE TABLE odd (id serial PRIMARY KEY)`, `INSERT INTO odd VALUES (1000)`,
	}
	pgtest.Exec(t, source, made...)
	pgtest.Exec(t, target, made...)
	b := capture(t, source, nil)
	wantPass(t, against(t, b, source), parity.Match, "101 rows")
	wantPass(t, against(t, b, target), parity.Match, "101 rows")
	p := CompareBaselines(context.Background(), b, capture(t, target, b), options(t, [2]string{}))
	wantPass(t, p, parity.Match, "101 rows")
	if len(p.Sequences) != 3 || p.Definitions == 0 {
		t.Errorf("%d sequences and %d definitions were compared", len(p.Sequences), p.Definitions)
	}
	for _, c := range []struct {
		change, back string
		verdict      parity.Verdict
		says         string // the reason, or a warning
	}{
		{`SELECT setval('t_id_seq', 99)`, `SELECT setval('t_id_seq', 100)`, parity.Diverged, "sequence public.t_id_seq is behind"},
		{`SELECT setval('t_id_seq', 500)`, `SELECT setval('t_id_seq', 100)`, parity.Match, ""},
		{`ALTER SEQUENCE free RESTART`, `SELECT nextval('free')`, parity.Diverged, "sequence public.free is behind"},
		{`DROP VIEW w`, `CREATE VIEW w AS SELECT id FROM t`, parity.Match, "view public.w is missing"},
		{`DROP INDEX t_n`, `CREATE INDEX t_n ON t (n)`, parity.Match, "t_n"},
		{`ALTER TABLE t DROP CONSTRAINT t_n_check`, `ALTER TABLE t ADD CHECK (n > 0)`, parity.Diverged, "t_n_check"},
		{`ALTER TABLE u DROP CONSTRAINT u_t_fkey`, `ALTER TABLE u ADD FOREIGN KEY (t) REFERENCES t`, parity.Diverged, "u_t_fkey"},
	} {
		pgtest.Exec(t, target, c.change)
		p := against(t, b, target)
		if p.Verdict != c.verdict {
			t.Errorf("%s: %s: %s", c.change, p.Verdict, p.Reason)
		}
		if said := p.Reason + strings.Join(p.Warnings, "; "); !strings.Contains(said, c.says) {
			t.Errorf("%s: %s; warnings %q", c.change, p.Reason, p.Warnings)
		}
		pgtest.Exec(t, target, c.back)
		wantPass(t, against(t, b, target), parity.Match, "101 rows")
	}
	// What belongs to tables that nobody selected is not looked at, and said.
	p = against(t, b, target, "public.t")
	if got := strings.Join(p.NotChecked, "; "); p.Verdict != parity.Match || !strings.Contains(got, "sequences") || !strings.Contains(got, "definitions") {
		t.Errorf("%s, not checked: %s", p.Verdict, got)
	}
}
