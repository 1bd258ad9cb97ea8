package daemon

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/verifierd/verifierd/internal/pglocal"
	"github.com/verifierd/verifierd/internal/pglocal/pgtest"
	"github.com/verifierd/verifierd/pkg/parity"
	"github.com/verifierd/verifierd/pkg/relation"
)

func sequenceOf(t *testing.T, p *parity.Pass, name string) parity.Sequence {
	t.Helper()
	for _, s := range p.Sequences {
		if s.Name.Name == name {
			return s
		}
	}
	t.Fatalf("no sequence %s in %+v; %s: %s", name, p.Sequences, p.Verdict, p.Reason)
	return parity.Sequence{}
}

// TestSequences compares a sequence whose sides stand in each way to one
// another.
func TestSequences(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, definition string
		source, target   string // SQL for each side
		verdict          parity.Verdict
		skipped          bool
		mend             string
	}{
		{"equal", "", "SELECT setval('s', 1000)", "SELECT setval('s', 1000)", parity.Match, false, ""},
		{"ahead", "", "SELECT setval('s', 1000)", "SELECT setval('s', 1001)", parity.Match, false, ""},
		{"behind", "", "SELECT setval('s', 1000)", "SELECT setval('s', 999)", parity.Diverged, false, `SELECT pg_catalog.setval('"public"."s"', 1000, true);`},
		{"the target's is uncalled", "", "SELECT setval('s', 1000)", "", parity.Diverged, false, `SELECT pg_catalog.setval('"public"."s"', 1000, true);`},
		{"both are uncalled", "", "", "", parity.Match, false, ""},
		{"uncalled, and at the next value", "", "SELECT setval('s', 1000)", "SELECT setval('s', 1001, false)", parity.Match, false, ""},
		{"uncalled, and at the same value", "", "SELECT setval('s', 1000)", "SELECT setval('s', 1000, false)", parity.Diverged, false, `SELECT pg_catalog.setval('"public"."s"', 1000, true);`},
		{"the source's is uncalled, further on", "", "SELECT setval('s', 500, false)", "SELECT setval('s', 400)", parity.Diverged, false, `SELECT pg_catalog.setval('"public"."s"', 500, false);`},
		{"the source's is uncalled, and the target's follows on", "", "SELECT setval('s', 500, false)", "SELECT setval('s', 499)", parity.Match, false, ""},
		{"descending, ahead", "INCREMENT -1", "SELECT setval('s', -1000)", "SELECT setval('s', -1001)", parity.Match, false, ""},
		{"descending, behind", "INCREMENT -1", "SELECT setval('s', -1000)", "SELECT setval('s', -999)", parity.Diverged, false, `SELECT pg_catalog.setval('"public"."s"', -1000, true);`},
		{"descending, uncalled", "INCREMENT -1", "SELECT setval('s', -1000)", "", parity.Diverged, false, `SELECT pg_catalog.setval('"public"."s"', -1000, true);`},
		{"large steps", "INCREMENT 50", "SELECT setval('s', 1000)", "SELECT setval('s', 960)", parity.Match, false, ""},
		{"cycling", "MAXVALUE 5 CYCLE", "SELECT setval('s', 5)", "SELECT setval('s', 1)", parity.Match, true, ""},
		{"at its end", "MAXVALUE 1000", "SELECT setval('s', 1000)", "SELECT setval('s', 1000)", parity.Match, false, ""},
		{"at the end of all numbers", "", "SELECT setval('s', 9223372036854775807)", "SELECT setval('s', 9223372036854775806)", parity.Diverged, false, `SELECT pg_catalog.setval('"public"."s"', 9223372036854775807, true);`},
		{"ends before the source's", "MAXVALUE 2000", "SELECT setval('s', 1500)", "ALTER SEQUENCE s MAXVALUE 1000; SELECT setval('s', 1000)", parity.Diverged, false, ""},
		{"can never reach the source's", "MAXVALUE 2000", "SELECT setval('s', 1500)", "ALTER SEQUENCE s MAXVALUE 1000; SELECT setval('s', 10)", parity.Diverged, false, ""},
		{"descending, ends before the source's", "INCREMENT -1 MINVALUE -2000", "SELECT setval('s', -1500)", "ALTER SEQUENCE s MINVALUE -1000; SELECT setval('s', -1000)", parity.Diverged, false, ""},
		{"up and down", "", "SELECT setval('s', 1000)", "ALTER SEQUENCE s INCREMENT -1 MINVALUE -10", parity.Incomplete, false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dsn := pairOf(t)
			execBoth(t, dsn, "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1); CREATE SEQUENCE s "+c.definition)
			for side, sql := range [2]string{c.source, c.target} {
				if sql != "" {
					pgtest.Exec(t, dsn[side], sql)
				}
			}
			p := check(t, options(t, dsn))
			s := sequenceOf(t, p, "s")
			if s.Verdict != c.verdict || s.Skipped != c.skipped || s.Mend != c.mend || s.Reason == "" || p.Verdict != c.verdict {
				t.Errorf("%s (%s), skipped: %t, mend %q; the pass: %s: %s", s.Verdict, s.Reason, s.Skipped, s.Mend, p.Verdict, p.Reason)
			}
			if c.mend == "" {
				return
			}
			pgtest.Exec(t, dsn[1], s.Mend)
			if p := check(t, options(t, dsn)); p.Verdict != parity.Match {
				t.Errorf("once mended: %s: %s", p.Verdict, p.Reason)
			}
		})
	}
}

// TestSequenceColumns compares sequences with the columns that they feed.
func TestSequenceColumns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, both     string
		source, target string
		verdict        parity.Verdict
		mend           string
	}{
		{"serial, set", "CREATE TABLE t (id serial PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 100)", "SELECT setval('t_id_seq', 100)", "SELECT setval('t_id_seq', 100)", parity.Match, ""},
		{
			"serial, behind on the target", "CREATE TABLE t (id serial PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 100)", "SELECT setval('t_id_seq', 100)", "SELECT setval('t_id_seq', 50)", parity.Diverged,
			`SELECT pg_catalog.setval('"public"."t_id_seq"', 100, true);`,
		},
		{
			"behind the column, not the source", "CREATE TABLE t (id serial PRIMARY KEY, n int); INSERT INTO t (id) SELECT generate_series(1, 100); SELECT setval('t_id_seq', 100)",
			"SELECT 1", "INSERT INTO t (id) VALUES (200)", parity.Diverged, `SELECT pg_catalog.setval('"public"."t_id_seq"', 200, true);`,
		},
		{"behind the column on both sides", "CREATE TABLE t (id serial PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 100); INSERT INTO t VALUES (99999); SELECT setval('t_id_seq', 100)", "SELECT 1", "SELECT 1", parity.Match, ""},
		{
			"identity, without an index", "CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY, n int PRIMARY KEY); INSERT INTO t (n) SELECT generate_series(1, 100)", "SELECT 1", "SELECT setval('t_id_seq', 70)", parity.Diverged,
			`SELECT pg_catalog.setval('"public"."t_id_seq"', 100, true);`,
		},
		{
			"descending", "CREATE SEQUENCE s INCREMENT -1; CREATE TABLE t (id int PRIMARY KEY DEFAULT nextval('s')); INSERT INTO t SELECT FROM generate_series(1, 9)", "SELECT 1", "SELECT setval('s', -5)", parity.Diverged,
			`SELECT pg_catalog.setval('"public"."s"', -9, true);`,
		},
		{"text", "CREATE SEQUENCE s; CREATE TABLE t (id text PRIMARY KEY DEFAULT 'x' || nextval('s')); INSERT INTO t SELECT FROM generate_series(1, 9)", "SELECT 1", "SELECT 1", parity.Match, ""},
		{
			"shared", "CREATE SEQUENCE s; CREATE TABLE t (id int PRIMARY KEY DEFAULT nextval('s')); CREATE TABLE u (id int PRIMARY KEY DEFAULT nextval('s')); INSERT INTO u VALUES (7); SELECT setval('s', 7)",
			"SELECT 1", "DELETE FROM u; INSERT INTO u VALUES (7), (8)", parity.Diverged, `SELECT pg_catalog.setval('"public"."s"', 8, true);`,
		},
		{
			"partitioned", "CREATE TABLE t (id serial, PRIMARY KEY (id)) PARTITION BY RANGE (id); CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (50); CREATE TABLE t2 PARTITION OF t DEFAULT; INSERT INTO t SELECT FROM generate_series(1, 100)",
			"SELECT 1", "SELECT setval('t_id_seq', 60)", parity.Diverged, `SELECT pg_catalog.setval('"public"."t_id_seq"', 100, true);`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dsn := pairOf(t)
			execBoth(t, dsn, c.both)
			pgtest.Exec(t, dsn[0], c.source)
			pgtest.Exec(t, dsn[1], c.target)
			p := check(t, options(t, dsn))
			var mends []string
			for _, s := range p.Sequences {
				if s.Mend != "" {
					mends = append(mends, s.Mend)
				}
			}
			if p.Verdict != c.verdict || strings.Join(mends, "\n") != c.mend {
				t.Errorf("%s: %s; mend %q", p.Verdict, p.Reason, mends)
			}
		})
	}
}

// TestSequencesOfMappedTables pairs sequences up by what they feed.
func TestSequencesOfMappedTables(t *testing.T) {
	t.Parallel()
	dsn := pairOf(t)
	pgtest.Exec(t, dsn[0], "CREATE TABLE items (id serial PRIMARY KEY, n int); INSERT INTO items (n) VALUES (1), (2)")
	pgtest.Exec(t, dsn[1], "CREATE TABLE order_items (id serial PRIMARY KEY, n int); INSERT INTO order_items VALUES (1, 1), (2, 2)")
	o := options(t, dsn)
	o.Map = map[relation.Name]relation.Name{{Schema: "public", Name: "items"}: {Schema: "public", Name: "order_items"}}
	p := check(t, o)
	s := sequenceOf(t, p, "items_id_seq")
	if p.Verdict != parity.Diverged || s.TargetName.Name != "order_items_id_seq" || s.Verdict != parity.Diverged {
		t.Errorf("%s: %s; %+v", p.Verdict, p.Reason, s)
	}
	pgtest.Exec(t, dsn[1], s.Mend)
	if p := check(t, o); p.Verdict != parity.Match || len(p.Schema) > 0 {
		t.Errorf("once mended: %s: %s; %+v", p.Verdict, p.Reason, p.Schema)
	}
}

// TestSequenceCatchesUp lets the target's sequence be set while the pass waits:
// it is compared with what the source's was at first.
func TestSequenceCatchesUp(t *testing.T) {
	t.Parallel()
	dsn := dsnPair(t)
	execBoth(t, dsn, "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1); CREATE SEQUENCE s")
	pgtest.Exec(t, dsn[0], "SELECT setval('s', 1000)")
	writer := newClient(t, dsn[0])
	writer.exec("BEGIN; SELECT txid_current()") // so that there is a window to wait for
	o := options(t, dsn)
	o.Recheck = 20 * time.Second
	o.Observer = &events{finished: func(string) { // the sequences were read before
		pgtest.Exec(t, dsn[1], "SELECT setval('s', 1000)")
		pgtest.Exec(t, dsn[0], "SELECT setval('s', 2000)")
	}}
	p := Verify(t.Context(), o)
	if s := sequenceOf(t, p, "s"); s.Verdict != parity.Match {
		t.Errorf("%s: %s", s.Verdict, s.Reason)
	}
}

// TestSequenceFedBySubscription warns while replication, which carries no
// sequences, feeds the target.
func TestSequenceFedBySubscription(t *testing.T) {
	t.Parallel()
	dsn := pairOf(t)
	execBoth(t, dsn, "CREATE TABLE t (id serial PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 10)")
	pgtest.Exec(t, dsn[0], "SELECT setval('t_id_seq', 10)")
	name := "seq_" + strings.ToLower(fmt.Sprint(time.Now().UnixNano()))
	pgtest.Exec(t, dsn[1], "CREATE SUBSCRIPTION "+name+" CONNECTION 'host=127.0.0.1 port=1' PUBLICATION p WITH (connect = false, slot_name = NONE)")
	t.Cleanup(func() { pgtest.Exec(t, dsn[1], "DROP SUBSCRIPTION "+name) })
	if p := check(t, options(t, dsn)); p.Verdict != parity.Diverged {
		t.Errorf("a subscription that is disabled: %s: %s", p.Verdict, p.Reason)
	}
	pgtest.Exec(t, dsn[1], "UPDATE pg_subscription SET subenabled = true WHERE subname = '"+name+"'")
	p := check(t, options(t, dsn))
	if p.Verdict != parity.Match || len(p.Warnings) != 1 || !strings.Contains(p.Warnings[0], "subscription") {
		t.Errorf("%s: %s; warnings %q", p.Verdict, p.Reason, p.Warnings)
	}
	if s := sequenceOf(t, p, "t_id_seq"); s.Verdict != parity.Diverged || s.Mend == "" {
		t.Errorf("%+v", s)
	}
}

// TestSequencesOfStandby judges nothing by a standby, whose sequences run ahead.
func TestSequencesOfStandby(t *testing.T) {
	t.Parallel()
	majors := pgtest.Majors()
	primary := pgtest.Start(t, pglocal.Options{Major: majors[0]})
	source := pgtest.Database(t, primary)
	pgtest.Exec(t, source, "CREATE TABLE t (id serial PRIMARY KEY); INSERT INTO t SELECT FROM generate_series(1, 3)")
	standby := pgtest.StartStandby(t, primary, pglocal.Options{Major: majors[0]})
	target := pgtest.Database(t, pgtest.Server(t, majors[len(majors)-1]))
	pgtest.Exec(t, target, "CREATE TABLE t (id serial PRIMARY KEY); INSERT INTO t SELECT FROM generate_series(1, 3)")
	name := pgtest.Query(t, source, "SELECT current_database()")[0][0]
	p := check(t, options(t, [2]string{standby.DSN(name), target}))
	if p.Verdict != parity.Match || len(p.Sequences) > 0 || !strings.Contains(strings.Join(p.NotChecked, "\n"), "standby") {
		t.Errorf("%s: %s; %+v; not checked: %q", p.Verdict, p.Reason, p.Sequences, p.NotChecked)
	}
}

// TestSequencePrivilege says which GRANT lets a sequence be read.
func TestSequencePrivilege(t *testing.T) {
	t.Parallel()
	dsn := pairOf(t)
	execBoth(t, dsn, "CREATE TABLE t (id serial PRIMARY KEY); INSERT INTO t VALUES (1)")
	role := fmt.Sprintf("reader_%d", time.Now().UnixNano())
	pgtest.Exec(t, dsn[0], "CREATE ROLE "+role+" LOGIN; GRANT SELECT ON t TO "+role)
	t.Cleanup(func() { pgtest.Exec(t, dsn[0], "DROP OWNED BY "+role, "DROP ROLE "+role) })
	o := options(t, [2]string{dsnAs(t, dsn[0], role), dsn[1]})
	p := check(t, o)
	if p.Verdict != parity.Incomplete || !strings.Contains(p.Reason, "GRANT SELECT ON SEQUENCE") {
		t.Errorf("%s: %s", p.Verdict, p.Reason)
	}
	// One in a schema that the role may not enter keeps no other from being read.
	execBoth(t, dsn, "CREATE SCHEMA hidden; CREATE SEQUENCE hidden.s")
	pgtest.Exec(t, dsn[0], "GRANT SELECT ON t_id_seq, hidden.s TO "+role)
	p = check(t, o)
	if p.Verdict != parity.Incomplete || !strings.Contains(p.Reason, "sequence hidden.s") || !strings.Contains(p.Reason, `USAGE ON SCHEMA "hidden"`) {
		t.Errorf("%s: %s", p.Verdict, p.Reason)
	}
	for _, s := range p.Sequences {
		if s.Name.Name == "t_id_seq" && s.Verdict != parity.Match {
			t.Errorf("%s is %s: %s", s.Name, s.Verdict, s.Reason)
		}
	}
}

// TestSequenceHidesValues: what a column holds is a row's, and shows only where
// that is wanted; the SQL that mends does without it.
func TestSequenceHidesValues(t *testing.T) {
	t.Parallel()
	dsn := pairOf(t)
	execBoth(t, dsn, "CREATE TABLE t (id serial PRIMARY KEY); INSERT INTO t VALUES (987654321); SELECT setval('t_id_seq', 987654321)")
	pgtest.Exec(t, dsn[1], "SELECT setval('t_id_seq', 5)", "INSERT INTO t VALUES (987654322)")
	o := options(t, dsn)
	o.Values = parity.ValuesNone
	p := check(t, o)
	if len(p.Sequences) != 1 || p.Sequences[0].Verdict != parity.Diverged || p.Sequences[0].Value != nil || strings.Contains(fmt.Sprintf("%+v", p), "987654322") {
		t.Fatalf("%s: %+v", p.Reason, p.Sequences)
	}
	pgtest.Exec(t, dsn[1], "DELETE FROM t WHERE id = 987654322", p.Sequences[0].Mend)
	if p := check(t, o); p.Verdict != parity.Match {
		t.Errorf("mended: %s: %s", p.Verdict, p.Reason)
	}
}
