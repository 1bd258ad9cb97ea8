package daemon

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/verifierd/verifierd/internal/pglocal"
	"github.com/verifierd/verifierd/internal/pglocal/pgtest"
	"github.com/verifierd/verifierd/pkg/parity"
)

const physicalTable = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'v' || i FROM generate_series(1, 5000) AS i; CREATE INDEX t_v ON t (v)"

func withAmcheck(t *testing.T, dsn [2]string) Options {
	t.Helper()
	o := options(t, dsn)
	o.Physical = true
	o.SkipChecks = []parity.Check{parity.CheckSchema} // the sides' extensions differ
	return o
}

func TestPhysicalChecks(t *testing.T) {
	t.Parallel()
	dsn := pairOf(t)
	execBoth(t, dsn, physicalTable)
	if p := check(t, options(t, dsn)); p.Verdict != parity.Match {
		t.Errorf("not asked for: %s: %s", p.Verdict, p.Reason)
	}
	if p := check(t, withAmcheck(t, dsn)); p.Verdict != parity.Incomplete || strings.Count(p.Reason, "CREATE EXTENSION amcheck") != 2 ||
		slices.ContainsFunc(p.Tables, func(t parity.Table) bool { return t.Verdict != parity.Match }) {
		t.Errorf("without the extension: %s: %s", p.Verdict, p.Reason)
	}
	execBoth(t, dsn, "CREATE SCHEMA checks; CREATE EXTENSION amcheck SCHEMA checks")
	if p := check(t, withAmcheck(t, dsn)); p.Verdict != parity.Match || len(p.Corruption) > 0 {
		t.Errorf("all is well: %s: %s", p.Verdict, p.Reason)
	}
	role := "plain_" + strings.ToLower(t.Name())
	pgtest.Exec(t, dsn[1], "CREATE ROLE "+role+" LOGIN; GRANT SELECT ON t TO "+role)
	t.Cleanup(func() { pgtest.Exec(t, dsn[1], "DROP OWNED BY "+role, "DROP ROLE "+role) })
	o := withAmcheck(t, [2]string{dsn[0], dsnAs(t, dsn[1], role)})
	if p := check(t, o); p.Verdict != parity.Incomplete || !strings.Contains(p.Reason, "GRANT USAGE ON SCHEMA") {
		t.Errorf("without the privilege on its schema: %s: %s", p.Verdict, p.Reason)
	}
	pgtest.Exec(t, dsn[1], "GRANT USAGE ON SCHEMA checks TO "+role)
	if p := check(t, o); p.Verdict != parity.Incomplete || !strings.Contains(p.Reason, "GRANT EXECUTE ON FUNCTION") {
		t.Errorf("without the privilege: %s: %s", p.Verdict, p.Reason)
	}
}

// TestPhysicalDamage overwrites a page of a killed server's index.
func TestPhysicalDamage(t *testing.T) {
	t.Parallel()
	majors := pgtest.Majors()
	newest := majors[len(majors)-1]
	source := pgtest.Database(t, pgtest.Server(t, majors[0]))
	srv := pgtest.Start(t, pglocal.Options{Major: newest})
	target := pgtest.Database(t, srv)
	dsn := [2]string{source, target}
	execBoth(t, dsn, physicalTable, "CREATE EXTENSION amcheck")
	index := filepath.Join(pgtest.Query(t, target, "SHOW data_directory")[0][0], pgtest.Query(t, target, "SELECT pg_relation_filepath('t_v')")[0][0])
	pgtest.Exec(t, target, "CHECKPOINT")
	if err := srv.Kill(); err != nil {
		t.Fatal(err)
	}
	swapPages(t, index)
	if err := srv.Restart(t.Context(), pglocal.Fast); err != nil {
		t.Fatal(err)
	}
	p := Verify(t.Context(), withAmcheck(t, dsn))
	if p.Verdict != parity.Diverged || p.Complete || len(p.Corruption) == 0 || p.Corruption[0].Object != "index public.t_v" || !strings.Contains(p.Reason, "index public.t_v of the target is damaged") {
		t.Errorf("%s, complete: %t: %s; %+v", p.Verdict, p.Complete, p.Reason, p.Corruption)
	}
	o := withAmcheck(t, dsn)
	o.Effects.Corruption = parity.Warn
	if p := Verify(t.Context(), o); p.Verdict != parity.Incomplete || len(p.Warnings) == 0 {
		t.Errorf("if damage only warns: %s: %s", p.Verdict, p.Reason)
	}
}

// swapPages exchanges two leaf pages of an index, as a disk that lost its way
// would; their checksums are those of other places.
func swapPages(t *testing.T, file string) {
	t.Helper()
	const page = 8192
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(data) < 8*page {
		t.Fatalf("the index has only %d bytes", len(data))
	}
	a, b := append([]byte(nil), data[4*page:5*page]...), append([]byte(nil), data[6*page:7*page]...)
	copy(data[4*page:], b)
	copy(data[6*page:], a)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestInvalidIndexes tells of indexes that are not valid, also if they are so on
// both sides.
func TestInvalidIndexes(t *testing.T) {
	t.Parallel()
	dsn := pairOf(t)
	execBoth(t, dsn, physicalTable)
	const spoil = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 't_v'::regclass"
	pgtest.Exec(t, dsn[1], spoil)
	p := check(t, options(t, dsn))
	if p.Verdict != parity.Match || len(p.Schema) != 1 || p.Schema[0].Object != "index t_v" || strings.Contains(strings.Join(p.Notes, "\n"), "t_v") {
		t.Errorf("%s: %s; %+v; notes %q", p.Verdict, p.Reason, p.Schema, p.Notes)
	}
	o := options(t, dsn)
	o.SkipChecks = []parity.Check{parity.CheckSchema}
	if p := check(t, o); !strings.Contains(strings.Join(p.Notes, "\n"), `index "t_v" of public.t is not valid, so it finds no rows on the target`) {
		t.Errorf("definitions are not checked: notes %q", p.Notes)
	}
	pgtest.Exec(t, dsn[0], spoil)
	if p := check(t, options(t, dsn)); p.Verdict != parity.Match || len(p.Schema) > 0 || strings.Count(strings.Join(p.Notes, "\n"), "t_v") < 2 {
		t.Errorf("on both sides: %s: %s; %+v; notes %q", p.Verdict, p.Reason, p.Schema, p.Notes)
	}
}
