package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/verifierd/verifierd/internal/pglocal/pgtest"
)

// TestSchemaCommand compares definitions alone: rows that differ do not count.
func TestSchemaCommand(t *testing.T) {
	source, target := pgtest.Pair(t)
	for _, dsn := range []string{source, target} {
		pgtest.Exec(t, dsn, "CREATE TABLE t (id int PRIMARY KEY, v int CONSTRAINT v_check CHECK (v > 0)); CREATE INDEX t_v ON t (v)")
	}
	pgtest.Exec(t, source, "INSERT INTO t VALUES (1, 1)")
	sides := []string{"schema", "--source", source, "--target", target, "--recheck", "0s"}
	command(t, sides...).want(t, 0)

	pgtest.Exec(t, target, "DROP INDEX t_v")
	r := command(t, append(sides, "--output", "json")...)
	r.want(t, 0)
	var report struct {
		Verdict  string
		Warnings []string
		Tables   []any
		Unread   []string `json:"not_checked"`
		Schema   []struct{ Table, Object, Kind, Severity string }
	}
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil {
		t.Fatal(err)
	}
	if report.Verdict != "match" || len(report.Warnings) != 1 || len(report.Tables) != 0 || report.Unread[0] != "rows" || len(report.Schema) != 1 || report.Schema[0].Object != "index t_v" {
		t.Errorf("%+v", report)
	}

	pgtest.Exec(t, target, "ALTER TABLE t DROP CONSTRAINT v_check")
	r = command(t, sides...)
	r.want(t, 1)
	if !strings.Contains(r.stdout, "DIVERGED: constraint v_check of public.t is missing") {
		t.Errorf("%s", r.stdout)
	}

	file := filepath.Join(t.TempDir(), "v.yaml")
	config := "migrations: {m: {source: {dsn: '" + source + "'}, target: {dsn: '" + target + "'}, schema: {ignore: ['index *', 'public.t: constraint v_*']}}}"
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	r = command(t, "schema", "--config", file, "--recheck", "0s")
	r.want(t, 0)
	if strings.Contains(r.stdout, "v_check") || strings.Contains(r.stdout, "t_v") {
		t.Errorf("ignored, and told: %s", r.stdout)
	}
	command(t, append(sides, "--workers", "2")...).want(t, 2, "unknown flag --workers")
}
