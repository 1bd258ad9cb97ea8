package conformance

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/verifierd/verifierd/internal/pglocal/pgtest"
	"github.com/verifierd/verifierd/pkg/relation"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// place is one side of a comparison: what differs from one server to another
// without the data being other data.
type place struct {
	name     string
	encoding string
	// options of CREATE DATABASE, by the server; nil: the server lacks it.
	options func(t *testing.T, major int) string
	// settings at the level of database and role, which must not matter.
	settings bool
	// reversed creates types in another order, so that OIDs differ.
	reversed bool
}

type placePair struct {
	name           string
	source, target place
}

var placePairs = []placePair{
	{
		"UTF8 in C to UTF8 in ICU",
		place{name: "UTF8 C", encoding: "UTF8", options: options("UTF8", "C")},
		place{name: "UTF8 ICU", encoding: "UTF8", options: icu, settings: true, reversed: true},
	},
	{
		"LATIN1 in C to UTF8 in a locale of glibc",
		place{name: "LATIN1 C", encoding: "LATIN1", options: options("LATIN1", "C"), settings: true},
		place{name: "UTF8 glibc", encoding: "UTF8", options: glibc, reversed: true},
	},
	{
		"SQL_ASCII to UTF8 in ICU",
		place{name: "SQL_ASCII C", encoding: "SQL_ASCII", options: options("SQL_ASCII", "C"), reversed: true},
		place{name: "UTF8 ICU", encoding: "UTF8", options: icu, settings: true},
	},
}

func options(encoding, locale string) func(*testing.T, int) string {
	return func(*testing.T, int) string {
		return fmt.Sprintf("TEMPLATE template0 ENCODING '%s' LC_COLLATE '%s' LC_CTYPE '%s'", encoding, locale, locale)
	}
}

// icu is a database that sorts by ICU; before PostgreSQL 15 there is none, and
// a locale of glibc does.
func icu(t *testing.T, major int) string {
	if major < 15 {
		return glibc(t, major)
	}
	return "TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LC_COLLATE 'C' LC_CTYPE 'C'"
}

// glibc is a database in a language's locale, if the server's machine has one,
// else in C.UTF-8.
func glibc(t *testing.T, major int) string {
	return options("UTF8", locale(t, major))(t, major)
}

// locale returns a language's locale in UTF8, if the machine has one, else
// C.UTF-8 or C.
func locale(t *testing.T, major int) string {
	found := pgtest.Query(t, pgtest.Server(t, major).DSN("postgres"), `SELECT collcollate FROM pg_collation
		WHERE collprovider = 'c' AND collencoding = 6 ORDER BY collcollate LIKE 'C.%', collcollate LIMIT 1`)
	if len(found) == 0 {
		t.Logf("PostgreSQL %d: the machine has no locale but C", major)
		return "C"
	}
	return found[0][0]
}

// leaking are settings that change what values look like, or how SQL is read.
// Every session of verifierd on this side starts with them.
var leaking = [][2]string{
	{"datestyle", "'German, DMY'"},
	{"intervalstyle", "'sql_standard'"},
	{"extra_float_digits", "-3"},
	{"timezone", "'Asia/Kathmandu'"},
	{"bytea_output", "'escape'"},
	{"xmloption", "'document'"},
	{"quote_all_identifiers", "on"},
	{"search_path", "nowhere"},
	{"array_nulls", "off"},
	{"default_transaction_isolation", "'serializable'"},
	{"standard_conforming_strings", "off"},
	{"client_encoding", "'LATIN1'"},
	{"enable_seqscan", "off"},
}

// calm are the settings under which the suite itself writes and reads.
const calm = "SET client_encoding = 'UTF8'; SET datestyle = 'ISO, MDY'; SET intervalstyle = 'postgres'; SET timezone = 'UTC'; " +
	"SET array_nulls = on; SET lc_monetary = 'C'; SET extra_float_digits = 1; SET xmloption = 'content'; SET quote_all_identifiers = off; " +
	"SET standard_conforming_strings = on; SET search_path = public; SET bytea_output = 'hex'; SET enable_seqscan = on;"

const role = "conformance"

// database is one loaded side.
type database struct {
	place
	major int
	admin string // DSN that writes
	dsn   string // DSN that verifierd reads through
}

func newDatabase(t *testing.T, major int, p place) *database {
	t.Helper()
	srv := pgtest.Server(t, major)
	d := &database{place: p, major: major, admin: pgtest.Database(t, srv, p.options(t, major))}
	d.dsn = d.admin
	if p.settings {
		name := pgtest.Query(t, d.admin, "SELECT current_database()")[0][0]
		d.dsn = srv.DSN(name, "user="+role)
		sql := []string{fmt.Sprintf("DO $$ BEGIN CREATE ROLE %s SUPERUSER LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$", role)}
		for i, s := range append(leaking, [2]string{"lc_monetary", "'" + locale(t, major) + "'"}) {
			sql = append(sql, fmt.Sprintf("ALTER DATABASE %s SET %s = %s", name, s[0], s[1]))
			if i%2 == 0 {
				sql = append(sql, fmt.Sprintf("ALTER ROLE %s IN DATABASE %s SET %s = %s", role, name, s[0], s[1]))
			}
		}
		pgtest.Exec(t, d.admin, strings.Join(sql, ";"))
	}
	return d
}

// exec runs SQL under calm settings.
func (d *database) exec(sql []string) error {
	ctx := context.Background()
	conn, err := pgconn.Connect(ctx, d.admin)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, calm).ReadAll(); err != nil {
		return err
	}
	for _, s := range sql {
		if _, err := conn.Exec(ctx, s).ReadAll(); err != nil {
			return fmt.Errorf("PostgreSQL %d, %s: %w\nin: %.1000s", d.major, d.name, err, s)
		}
	}
	return nil
}

// query returns rows as text under calm settings, and none of user schemas in
// the search path.
func (d *database) query(t *testing.T, sql string) [][]string {
	t.Helper()
	ctx := context.Background()
	conn, err := pgconn.Connect(ctx, d.admin)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	results, err := conn.Exec(ctx, calm+"SET search_path = pg_catalog;"+sql).ReadAll()
	if err != nil {
		t.Fatalf("PostgreSQL %d, %s: %v\nin: %s", d.major, d.name, err, sql)
	}
	var rows [][]string
	for _, values := range results[len(results)-1].Rows {
		row := make([]string, len(values))
		for i, v := range values {
			row[i] = string(v)
		}
		rows = append(rows, row)
	}
	return rows
}

// fits reports whether a value can be stored on a side.
func (p place) fits(value string) bool {
	return p.encoding != "LATIN1" || !slices.ContainsFunc([]rune(value), func(r rune) bool { return r > 0xff })
}

// name is the type's name as a part of the names of columns and types.
func (c *typeCase) name() string {
	return strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' {
			return r
		}
		if r == '[' {
			return 's'
		}
		if r == '"' {
			return 'q'
		}
		return '_'
	}, c.sql)
}

// literal returns SQL for a value of a case.
func (c *typeCase) literal(value string) string {
	switch {
	case value == null:
		return "NULL::" + c.sql
	case strings.HasPrefix(value, "sql:"):
		return "(" + strings.TrimPrefix(value, "sql:") + ")"
	}
	return relation.QuoteLiteral(value) + "::" + c.sql
}

// array is the type of arrays of the type.
func (c *typeCase) array() string {
	if strings.HasSuffix(c.sql, "[]") || c.sql == "moods" || c.sql == "int2vector" {
		return c.sql // brackets make dimensions of arrays, not arrays
	}
	return c.sql + "[]"
}

// elements returns SQL for an array of values.
func (c *typeCase) elements(values ...string) string {
	list := make([]string, len(values))
	for i, v := range values {
		list[i] = c.literal(v)
	}
	if c.array() == c.sql {
		return list[0]
	}
	return "ARRAY[" + strings.Join(list, ", ") + "]::" + c.array()
}

// composite returns SQL for a value of the composite type around the type.
func (c *typeCase) composite(value string) string {
	v := c.literal(value)
	return fmt.Sprintf("ROW(%s, %s, %s)::comp_%s", v, v, c.elements(value, null), c.name())
}
