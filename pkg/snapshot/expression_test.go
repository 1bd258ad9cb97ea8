package snapshot

import (
	"strings"
	"testing"
	"time"
)

var policyTime = time.Date(2026, 3, 14, 10, 26, 53, 589_000_000, time.FixedZone("CET", 3600))

// TestFixExpression: expressions stay as they are, but for the time.
func TestFixExpression(t *testing.T) {
	const stamp = "'2026-03-14 09:26:53.589+00'::pg_catalog.timestamptz"
	for sql, want := range map[string]string{
		"a":                                  "a",
		`a = 'it''s' AND "x;y" <> E'\'--'`:   `a = 'it''s' AND "x;y" <> E'\'--'`,
		`(a[1] + b) * -1 > 0 AND c ~ '^\d+'`: `(a[1] + b) * -1 > 0 AND c ~ '^\d+'`,
		"at < now()":                         "at < " + stamp,
		"at < NOW ( ) - interval '1 day'":    "at < " + stamp + " - interval '1 day'",
		"at < current_timestamp":             "at < " + stamp,
		"d = CURRENT_DATE":                   "d = '2026-03-14'::pg_catalog.date",
		"at < localtimestamp":                "at < '2026-03-14 09:26:53.589'::pg_catalog.timestamp",
		"now > 1 AND \"now\" > 2":            "now > 1 AND \"now\" > 2", // columns
		"age(now(), at) > '1 day'":           "age(" + stamp + ", at) > '1 day'",
		"note LIKE '%today%'":                "note LIKE '%today%'",
		"a$1 = b'01'::int":                   "a$1 = b'01'::int",
	} {
		if got, err := fixExpression(sql, policyTime); err != nil || got != want {
			t.Errorf("%s becomes %s, %v, want %s", sql, got, err, want)
		}
	}
}

// TestFixExpressionErrors: nothing that could end the expression early, or
// gives another value on another reading, passes.
func TestFixExpressionErrors(t *testing.T) {
	for _, sql := range []string{
		"", " \n", "a;", "a)", "(a", "(a]", "a, b", "a -- b", "a /* b", "'a", `"a`, "$1", "$$a$$", "a\x00", "a\xff",
		`E'a\'`, `E'a''\'`, `'a' 'b'`, "E'a'\n'b\\'", `1e'a\'`, `note'a'`,
		"'now'::timestamp", "' TODAY '::date", "'10:00 tomorrow'::timestamp", "'yesterday'::date",
		"age(at)", "age((at, 1))", "now(1)", "current_timestamp(0)", "current_time", "localtime", "txid_current_snapshot()",
	} {
		if got, err := fixExpression(sql, policyTime); err == nil {
			t.Errorf("%q is taken as %q", sql, got)
		}
	}
}

// FuzzTokenize: tokens put together are the text again.
func FuzzTokenize(f *testing.F) {
	f.Add(`a = 'b' AND E'\'' || "c"`)
	f.Fuzz(func(t *testing.T, sql string) {
		tokens, err := tokenize(sql)
		if err == nil && strings.Join(tokens, "") != sql {
			t.Fatalf("%q becomes %q", sql, tokens)
		}
	})
}
