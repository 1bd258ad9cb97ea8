package daemon

import (
	"strings"
	"testing"

	"github.com/verifierd/verifierd/internal/pglocal/pgtest"
	"github.com/verifierd/verifierd/pkg/parity"
)

// TestPolicyAcrossLocales: an expression that a database's collation, encoding
// or settings would make another is not obeyed, or gives the same all the same.
// Both sides hold the same rows.
func TestPolicyAcrossLocales(t *testing.T) {
	majors := pgtest.Majors()
	source, target := pgtest.Server(t, majors[0]), pgtest.Server(t, majors[len(majors)-1])
	const c, unicode = "TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'", "TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8'"
	const latin = "TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'"
	settings := []string{"default_text_search_config = 'pg_catalog.english'", "transform_null_equals = on", "standard_conforming_strings = off", "xmlbinary = hex"}
	for _, test := range []struct {
		name           string
		source, target string
		policy         parity.Policy
		want           string // in the reason; empty: a match
	}{
		{"collation in a condition", c, unicode, parity.Policy{Where: [2]string{"name < 'b'", "name < 'b'"}}, `COLLATE "C"`},
		{"collation in a cast", c, unicode, parity.Policy{Cast: map[string][2]string{"name": {"upper(name)", "upper(name)"}}}, `COLLATE "C"`},
		{"collation that is said", c, unicode, parity.Policy{Where: [2]string{`name COLLATE "C" < 'b'`, `name COLLATE "C" < 'b'`}}, ""},
		{"one collation", c, c, parity.Policy{Where: [2]string{"name < 'b'", "name < 'b'"}}, ""},
		{"no text", c, unicode, parity.Policy{Where: [2]string{"id % 2 = 1", "id % 2 = 1"}, Cast: map[string][2]string{"name": {"name::varchar", "name::varchar"}}}, ""},
		{"encoding in a cast", latin, c, parity.Policy{Cast: map[string][2]string{"name": {"md5(name)", "md5(name)"}}}, "LATIN1"},
		{"encoding in a condition", latin, c, parity.Policy{Where: [2]string{`octet_length(name COLLATE "C") > 2`, `octet_length(name COLLATE "C") > 2`}}, "LATIN1"},
		{"text search", c, c, parity.Policy{Cast: map[string][2]string{"name": {"to_tsvector(name)", "to_tsvector(name)"}}}, ""},
		{"comparison with NULL", c, c, parity.Policy{Where: [2]string{"gone = NULL OR id = 1", "gone = NULL OR id = 1"}}, ""},
		{"backslashes", c, c, parity.Policy{Where: [2]string{`name <> '\x41'`, `name <> '\x41'`}}, ""},
		{"the session", c, c, parity.Policy{Where: [2]string{`id <> "pg_backend_pid"()`, `id <> pg_catalog.pg_backend_pid()`}}, "more than the row"},
		{"the user", c, c, parity.Policy{Where: [2]string{"name <> current_user", "name <> current_user"}}, "more than the row"},
		{"the clock, quoted", c, c, parity.Policy{Where: [2]string{`made < "now"()`, `made < "now"()`}}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			dsn := [2]string{pgtest.Database(t, source, test.source), pgtest.Database(t, target, test.target)}
			execBoth(t, dsn, "SET client_encoding = 'UTF8'", "CREATE TABLE t (id int PRIMARY KEY, name text, gone int, made timestamptz)",
				"INSERT INTO t VALUES (1, 'apple', NULL, '2020-01-01'), (2, 'Zoo', NULL, '2020-01-01'), (3, chr(233), 3, '2020-01-01'), (4, 'running the dogs', NULL, '2020-01-01'), (5, 'A', 5, NULL)")
			name := pgtest.Query(t, dsn[1], "SELECT current_database()")[0][0]
			for _, s := range settings {
				pgtest.Exec(t, dsn[1], "ALTER DATABASE "+name+" SET "+s)
			}
			p := under(t, options(t, dsn), map[string]parity.Policy{"t": test.policy})
			table := p.Tables[0]
			if test.want == "" {
				if table.Verdict != parity.Match {
					t.Errorf("%s: %s", table.Verdict, table.Reason)
				}
			} else if table.Verdict != parity.Incomplete || !strings.Contains(table.Reason, test.want) {
				t.Errorf("%s: %s; want it to say %s", table.Verdict, table.Reason, test.want)
			}
		})
	}
}
