package daemon

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/verifierd/verifierd/internal/pglocal/pgtest"
	"github.com/verifierd/verifierd/pkg/parity"
	"github.com/verifierd/verifierd/pkg/relation"
)

// interrupting ends a pass when it reaches a stage; empty: when it begins to
// read a table.
type interrupting struct {
	parity.NoObserver
	at     string
	cancel func()
}

func (o *interrupting) TableStarted(parity.TableStart) {
	if o.at == "" {
		o.cancel()
	}
}

func (o *interrupting) TableStage(_ relation.Name, stage string) {
	if o.at != "" && strings.Contains(stage, o.at) {
		o.cancel()
	}
}

func interrupted(t *testing.T, o Options, at string) *parity.Pass {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o.Observer = &interrupting{at: at, cancel: cancel}
	p := Verify(ctx, o)
	if p.Verdict != parity.Incomplete || len(p.Tables) != 1 {
		t.Fatalf("%s: %s, %d tables", p.Verdict, p.Reason, len(p.Tables))
	}
	return p
}

// TestInterruptedKeepsFindings: what was found by then is in the outcome.
func TestInterruptedKeepsFindings(t *testing.T) {
	t.Parallel()
	dsn := pairOf(t)
	execBoth(
		t, dsn, "CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t SELECT i, repeat('x', 20) FROM generate_series(1, 9000) i",
		"CREATE VIEW v AS SELECT i AS id, 1 AS n FROM generate_series(1, 200) i",
	)
	// The first 99 rows arrive, then the server gives up.
	pgtest.Exec(t, dsn[0], "CREATE OR REPLACE VIEW v AS SELECT i AS id, 1 / (100 - i) AS n FROM generate_series(1, 200) i")
	p := check(t, options(t, dsn, "public.v"))
	if side := p.Tables[0].Side[relation.Source]; side.Read || side.ReadRows != 99 {
		t.Errorf("%d rows had arrived, read wholly: %t; want 99", side.ReadRows, side.Read)
	}

	pgtest.Exec(t, dsn[1], "DELETE FROM t WHERE id > 5000", "UPDATE t SET v = ''")
	p = interrupted(t, options(t, dsn, "public.t"), "finding rows")
	if want := "at least 4,00"; !strings.Contains(p.Reason, want) {
		t.Errorf("the reason lacks %q: %s", want, p.Reason)
	}

	pgtest.Exec(t, dsn[1], "ALTER TABLE t DROP COLUMN v")
	p = interrupted(t, options(t, dsn, "public.t"), "")
	if p.Reason != "interrupted" {
		t.Errorf("the reason is %q, want one word", p.Reason)
	}
	if want := "column v is missing"; len(p.Schema) > 0 || !strings.Contains(strings.Join(p.Tables[0].Notes, "\n"), want) {
		t.Errorf("the notes lack %q: %q; schema %v", want, p.Tables[0].Notes, p.Schema)
	}
}

// TestMisspelt: names that nothing has are told.
func TestMisspelt(t *testing.T) {
	t.Parallel()
	dsn := pairOf(t)
	execBoth(t, dsn, "CREATE TABLE orders (id int PRIMARY KEY)")
	o := options(t, dsn)
	o.Exclude = []relation.Pattern{pattern(t, "public.lgo"), pattern(t, "other.*")}
	p := check(t, o)
	for _, want := range []string{"public.lgo matches nothing", "other.* matches nothing"} {
		if p.Verdict != parity.Match || !slices.ContainsFunc(p.Notes, func(n string) bool { return strings.Contains(n, want) }) {
			t.Errorf("%s; the notes lack %q: %q", p.Verdict, want, p.Notes)
		}
	}
	orders, misspelt := relation.Name{Schema: "public", Name: "orders"}, relation.Name{Schema: "archive", Name: "odrers"}
	o = options(t, dsn)
	o.Map = map[relation.Name]relation.Name{orders: misspelt}
	if p := check(t, o); p.Verdict != parity.Diverged || !strings.Contains(p.Reason, "the target has no archive.odrers") {
		t.Errorf("%s: %s", p.Verdict, p.Reason)
	}
}

// TestPlanGuesses: what is known of tables that were never analyzed is a guess,
// and a rate bounds how soon a pass can end.
func TestPlanEndsInTime(t *testing.T) {
	o := options(t, pairOf(t))
	o.Timeout = time.Nanosecond
	if plan, err := Plan(t.Context(), o); err == nil || err.Error() != "ran out of time" {
		t.Errorf("plan %+v, error %v", plan, err)
	}
}

func TestPlanGuesses(t *testing.T) {
	t.Parallel()
	dsn := pairOf(t)
	execBoth(
		t, dsn, "CREATE TABLE t (id int PRIMARY KEY, v text) WITH (autovacuum_enabled = off)",
		"INSERT INTO t SELECT i, repeat('x', 100) FROM generate_series(1, 4000) i",
	)
	pgtest.Exec(t, dsn[1], "CREATE TABLE new (id int)")
	o := options(t, dsn)
	plan := planOf(t, o)
	if side := plan.Tables[0].Side; !side[0].Guessed || !side[1].Guessed || !plan.Guessed {
		t.Errorf("sides %+v, plan guessed: %t", side, plan.Guessed)
	}
	if len(plan.Schema) != 1 || plan.Schema[0].Table.Name != "new" {
		t.Errorf("schema %v, want the table on the target only", plan.Schema)
	}
	if plan.Expected > 5*time.Second {
		t.Errorf("%s for 500 kB", plan.Expected)
	}
	recommended := func(p *parity.Plan) bool {
		return slices.ContainsFunc(p.Notes, func(n string) bool { return strings.Contains(n, "--snapshot table") })
	}
	perTable := o
	perTable.PerTable = true
	if !recommended(plan) || recommended(planOf(t, perTable)) || plan.Unknown != "" {
		t.Errorf("--snapshot table is recommended wrongly, or the time is unknown: %q; notes %q", plan.Unknown, plan.Notes)
	}
	execBoth(t, dsn, "ANALYZE t")
	o.MaxRate = 10_000 // of about 450 kB
	plan = planOf(t, o)
	if side := plan.Tables[0].Side; side[0].Guessed || side[1].Guessed || plan.Guessed || side[0].Rows != 4000 {
		t.Errorf("sides %+v, plan guessed: %t", side, plan.Guessed)
	}
	if plan.Expected < 40*time.Second || plan.Expected > 60*time.Second {
		t.Errorf("%s for about 450 kB at 10 kB a second", plan.Expected)
	}
}

func planOf(t *testing.T, o Options) *parity.Plan {
	t.Helper()
	plan, err := Plan(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Tables) != 1 {
		t.Fatalf("%d tables are planned", len(plan.Tables))
	}
	return plan
}
