package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/verifierd/verifierd/internal/pglocal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// result is what one command line left behind.
type result struct {
	code           int
	stdout, stderr string
}

func command(t *testing.T, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), append([]string{"verifierd"}, args...), &stdout, &stderr)
	return result{code, stdout.String(), stderr.String()}
}

func (r result) want(t *testing.T, code int, stderr ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d", r.code, code)
	}
	for _, s := range stderr {
		if !strings.Contains(r.stderr, s) {
			t.Errorf("stderr lacks %q", s)
		}
	}
	if t.Failed() {
		t.Logf("stdout:\n%s\nstderr:\n%s", r.stdout, r.stderr)
	}
}

// shop makes two equal databases.
func shop(t *testing.T) (source, target string) {
	t.Helper()
	source, target = pgtest.Pair(t)
	for _, dsn := range []string{source, target} {
		pgtest.Exec(t, dsn,
			`CREATE TABLE orders (id bigint PRIMARY KEY, total numeric(12,2), note text)`,
			`INSERT INTO orders SELECT i, i / 100.0, 'order ' || i FROM generate_series(1, 5000) i`,
			`CREATE TABLE "Odd=Name" (id int PRIMARY KEY)`,
			`INSERT INTO "Odd=Name" SELECT generate_series(1, 10)`)
	}
	return source, target
}

func TestVerdicts(t *testing.T) {
	source, target := shop(t)

	t.Run("match", func(t *testing.T) {
		r := command(t, "verify", "--source", source, "--target", target)
		r.want(t, 0, "public.orders")
		if !strings.Contains(r.stdout, "MATCH") {
			t.Errorf("the report does not say that it is a match:\n%s", r.stdout)
		}
	})
	t.Run("diverged", func(t *testing.T) {
		pgtest.Exec(t, target, `UPDATE orders SET note = 'changed' WHERE id = 17`)
		r := command(t, "verify", "--source", source, "--target", target, "--recheck", "100ms", "--output", "json")
		r.want(t, 1)
		var doc struct {
			Verdict string
			Tables  []struct {
				Table string
				Rows  []struct {
					Kind    string
					Key     map[string]string
					Columns []string
				}
			}
		}
		if err := json.Unmarshal([]byte(r.stdout), &doc); err != nil {
			t.Fatal(err)
		}
		if doc.Verdict != "diverged" {
			t.Errorf("verdict %q", doc.Verdict)
		}
	})
}
