package conformance

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/verifierd/verifierd/internal/daemon"
	"github.com/verifierd/verifierd/internal/pglocal/pgtest"
	"github.com/verifierd/verifierd/pkg/merkle"
	"github.com/verifierd/verifierd/pkg/parity"
	"github.com/verifierd/verifierd/pkg/relation"
	"github.com/verifierd/verifierd/pkg/snapshot"
)

// typesSQL lists the types that ship with a server or with the extensions of
// the database, and that a column can have; not arrays, which every case tries.
// The row types of system catalogs are left out: they change from version to
// version, and are compared as any composite type where they do not.
const typesSQL = `SELECT format_type(t.oid, NULL) FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
 LEFT JOIN pg_class c ON c.oid = t.typrelid
WHERE t.typtype <> 'p' AND t.typoutput <> 'array_out'::regproc AND (c.relkind IS NULL OR c.relkind = 'c')
 AND (n.nspname IN ('pg_catalog', 'information_schema') OR EXISTS (SELECT 1 FROM pg_depend d
  WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e'))
 AND t.oid <> ALL (ARRAY[%s]::oid[]) ORDER BY 1`

// checkCatalog asserts that each type of the servers has its case.
func (s *suite) checkCatalog(t *testing.T) {
	t.Helper()
	for _, d := range s.sides {
		var known []string
		for i := range s.cases {
			name, _, _ := strings.Cut(s.cases[i].sql, "(")
			known = append(known, fmt.Sprintf("coalesce(to_regtype(%s)::oid, 0)", relation.QuoteLiteral(name)))
		}
		for _, r := range d.query(t, "SET search_path = public;"+fmt.Sprintf(typesSQL, strings.Join(known, ", "))) {
			if !s.newer(r[0]) {
				t.Errorf("PostgreSQL %d has type %s, for which there is no case", d.major, r[0])
			}
		}
	}
}

// newer reports whether a type has a case, but is not on both sides.
func (s *suite) newer(name string) bool {
	for _, c := range cases() {
		if c.sql == name && c.since > min(s.sides[0].major, s.sides[1].major) {
			return true
		}
	}
	return false
}

// checkForms asserts that each type is compared as its case, and so the
// guarantees, say.
func (s *suite) checkForms(t *testing.T, places placePair) {
	t.Helper()
	if places.source.encoding != places.target.encoding {
		return // the notes tell what is done then
	}
	ctx := context.Background()
	var form atomic.Pointer[relation.Form]
	config := parity.Config{Tables: []parity.Tables{{Source: relation.Name{Schema: "cases", Name: "v"}, Target: relation.Name{Schema: "cases", Name: "v"}}}}
	for side, d := range s.sides {
		db, err := snapshot.Connect(ctx, snapshot.Config{ConnString: d.dsn, Workers: 1, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		config.Open[side] = func(ctx context.Context, names []relation.Name) (parity.Reader, error) {
			snap, err := db.Open(ctx, relation.Side(side), names)
			if err != nil {
				return nil, err
			}
			return &spy{snap, &form}, nil
		}
	}
	if pass := parity.Run(ctx, config); pass.Verdict != parity.Match || form.Load() == nil {
		t.Fatalf("want a match, got %s: %s", pass.Verdict, pass.Reason)
	}
	casts := make(map[string]string)
	for _, f := range form.Load().Fields {
		casts[f.Name[1]] = f.Cast[1]
	}
	for i := range s.cases {
		c := &s.cases[i]
		if c.how == notCompared {
			continue // its reason was checked
		}
		cast, compared := casts["v_"+c.name()]
		how := asText
		if cast == "" {
			how = asSent
		}
		if !compared || how != c.how {
			t.Errorf("%s: compared: %t, %s (cast %q), want %s", c.sql, compared, how, cast, c.how)
		}
	}
}

// spy is a reader that notes the form.
type spy struct {
	*snapshot.Snapshot
	form *atomic.Pointer[relation.Form]
}

func (s *spy) Scan(ctx context.Context, t *relation.Table, form *relation.Form, layout *merkle.Layout, sketch merkle.SketchSize,
	progress func(rows, bytes int64),
) ([]merkle.Digest, *merkle.Sketches, error) {
	s.form.Store(form) // the same for both sides
	return s.Snapshot.Scan(ctx, t, form, layout, sketch, progress)
}

// TestInvalidText asserts that text which SQL_ASCII took unseen, and which is
// not valid in any encoding, is no reason to blame a row.
func TestInvalidText(t *testing.T) {
	majors := pgtest.Majors()
	var dsn [2]string
	for side, major := range []int{majors[0], majors[len(majors)-1]} {
		dsn[side] = pgtest.Database(t, pgtest.Server(t, major), options("SQL_ASCII", "C")(t, major))
		pgtest.Exec(t, dsn[side], `CREATE TABLE t (id int PRIMARY KEY, v text)`, fmt.Sprintf(`INSERT INTO t VALUES (1, E'\xf%d')`, side))
	}
	pass := daemon.Verify(context.Background(), daemon.Options{DSN: dsn, Workers: 1})
	if pass.Verdict != parity.Incomplete || !strings.Contains(pass.Reason, "not valid in its encoding") {
		t.Errorf("want incomplete because of the encoding, got %s: %s", pass.Verdict, pass.Reason)
	}
}
