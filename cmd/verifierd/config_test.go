package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/verifierd/verifierd/internal/daemon"
	"github.com/verifierd/verifierd/internal/pglocal/pgtest"
)

// configFile writes a configuration file, in which SOURCE and TARGET stand for
// connection strings.
func configFile(t *testing.T, text, source, target string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "verifierd.yaml")
	text = strings.NewReplacer("SOURCE", `"`+source+`"`, "TARGET", `"`+target+`"`).Replace(text)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestBadConfig(t *testing.T) {
	t.Parallel()
	const sides = "source: {dsn: SOURCE}, target: {dsn: TARGET}"
	single := configFile(t, "migrations: {m: {"+sides+"}}", nowhere, nowhere)
	double := configFile(t, "migrations: {m: {"+sides+"}, n: {"+sides+"}}", nowhere, nowhere)
	unknown := configFile(t, "migrations: {m: {"+sides+", tabels: [x.y]}}", nowhere, nowhere)
	badDSN := configFile(t, "migrations:\n  m: {"+sides+"}", "postgres://u:x/c4n4ry@h/d", nowhere)
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"no file":               {[]string{"verify", "--config", "none.yaml"}, "none.yaml: no such file"},
		"no migration":          {[]string{"verify", "--config", single, "--migration", "x"}, `no migration "x", only m`},
		"which migration":       {[]string{"verify", "--config", double}, "choose one of m, n"},
		"migration of no file":  {[]string{"verify", "--migration", "m"}, "--migration: it needs --config"},
		"unknown key":           {[]string{"verify", "--config", unknown}, "migrations.m.tabels: unknown key, did you mean tables?"},
		"connection string":     {[]string{"verify", "--config", badDSN}, badDSN + ":2:21: migrations.m.source.dsn: connection string"},
		"flags are checked too": {[]string{"verify", "--config", single, "--workers", "0"}, "--workers"},
		"check of nothing":      {[]string{"config", "check"}, "--config is missing"},
		"check, unknown key":    {[]string{"config", "check", "--config", unknown}, "did you mean tables?"},
		"check, connection":     {[]string{"config", "check", "--config", badDSN}, ":2:21: migrations.m.source.dsn: connection string"},
		"nothing to do":         {[]string{"config"}, "config check"},
	} {
		t.Run(name, func(t *testing.T) {
			r := command(t, test.args...)
			r.want(t, 2, "verifierd: ", test.want)
			if r.stdout != "" || strings.Contains(r.stderr, "c4n4ry") {
				t.Errorf("it says %q and %q", r.stdout, r.stderr)
			}
		})
	}
	r := command(t, "config", "check", "--config", configFile(t, "a: 1\nb: 2\nmigrations: {}", "", ""))
	if lines := strings.Count(r.stderr, "\n"); lines != 3 {
		t.Errorf("three problems in %d lines: %q", lines, r.stderr)
	}
	r = command(t, "config", "check", "--config", double)
	if r.want(t, 0); !strings.Contains(r.stdout, "it describes: m, n") || r.stderr != "" {
		t.Errorf("a file that is well: %q, %q", r.stdout, r.stderr)
	}
}

// verdicts runs verify, and returns the verdict of each table.
func verdicts(t *testing.T, code int, args ...string) (map[string]string, result) {
	t.Helper()
	r := command(t, append([]string{"verify", "--output", "json", "--recheck", "0s"}, args...)...)
	var doc struct {
		Reason string
		Tables []struct{ Table, Verdict string }
	}
	if err := json.Unmarshal([]byte(r.stdout), &doc); err != nil {
		t.Fatalf("%v in %s%s", err, r.stdout, r.stderr)
	}
	if r.code != code {
		t.Errorf("%q: exit code %d, want %d: %s", args, r.code, code, doc.Reason)
	}
	found := make(map[string]string)
	for _, table := range doc.Tables {
		found[table.Table] = table.Verdict
	}
	return found, r
}

// TestVerifyConfig: what the file says is done, and flags go before it.
func TestVerifyConfig(t *testing.T) {
	t.Parallel()
	source, target := pgtest.Pair(t)
	for _, dsn := range []string{source, target} {
		pgtest.Exec(t, dsn,
			`CREATE TABLE a (id int PRIMARY KEY, cache text)`, `INSERT INTO a SELECT i, 'x' FROM generate_series(1, 100) i`,
			`CREATE TABLE b (id int PRIMARY KEY)`, `INSERT INTO b VALUES (1)`,
			`CREATE TABLE log (id int PRIMARY KEY)`,
			`CREATE SCHEMA slow`, `CREATE TABLE slow.t AS SELECT i, repeat(chr(48 + i % 10), 100) v FROM generate_series(1, 20000) i`)
	}
	pgtest.Exec(t, target, `UPDATE a SET cache = 'y'`, `ALTER TABLE b RENAME TO c`, `INSERT INTO log VALUES (1)`)
	path := configFile(t, `
migrations:
  plain:
    source: {dsn: SOURCE}
    target: {dsn: TARGET}
    tables: ["public.*"]
  shop:
    source: {dsn: SOURCE}
    target: {dsn: TARGET}
    groups:
      core: {tables: ["public.*"], exclude: [public.log]}
      more: {tables: [public.b]}
    map: {public.b: public.c}
    columns:
      public.a: {exclude: [cache]}
  left:
    source: {dsn: SOURCE}
    target: {dsn: TARGET}
    tables: [public.b]
    map: {public.b: public.c}
    columns:
      public.a: {exclude: [cache]}
  late:
    source: {dsn: SOURCE}
    target: {dsn: TARGET}
    tables: [slow.*]
    verify: {timeout: 400ms}
  too-late:
    source: {dsn: SOURCE}
    target: {dsn: TARGET}
    verify: {timeout: 1ns}
`, source, target)
	shop := []string{"--config", path, "--migration", "shop"}

	got, r := verdicts(t, 0, shop...)
	if len(got) != 2 || got["public.a"] != "match" || got["public.b"] != "match" {
		t.Errorf("as the file says: %v", got)
	}
	if !strings.Contains(r.stdout, `"unverified"`) || !strings.Contains(r.stdout, "cache") {
		t.Errorf("the report does not say what was left unverified: %s", r.stdout)
	}
	if got, _ = verdicts(t, 1, "--config", path, "--migration", "plain"); got["public.a"] != "diverged" || len(got) != 3 {
		t.Errorf("without a policy: %v", got)
	}
	if got, _ = verdicts(t, 1, append(shop, "--table", "public.log")...); len(got) != 1 || got["public.log"] != "diverged" {
		t.Errorf("--table goes before groups: %v", got)
	}
	if got, _ = verdicts(t, 0, append(shop, "--exclude", "public.a")...); len(got) != 1 || got["public.b"] != "match" {
		t.Errorf("--exclude takes from groups: %v", got)
	}
	if got, _ = verdicts(t, 1, append(shop, "--table", "public.b", "--map", "public.b=public.a")...); len(got) != 1 {
		t.Errorf("--map goes before map: %v", got)
	}
	_, r = verdicts(t, 2, append(shop, "--source", target)...)
	if !strings.Contains(r.stdout, "the same database") || !strings.Contains(r.stderr, "warning: the source is not the configuration file's") {
		t.Errorf("--source goes before the file, and says so: %s%s", r.stdout, r.stderr)
	}
	if _, r = verdicts(t, 2, "--config", path, "--migration", "left"); !strings.Contains(r.stdout, "columns of public.a: the table is not selected") {
		t.Errorf("a policy of a table that is left out: %s", r.stdout)
	}
	for _, migration := range []string{"late", "too-late"} {
		if _, r = verdicts(t, 2, "--config", path, "--migration", migration, "--max-rate", "200kB"); !strings.Contains(r.stdout, "ran out of time") {
			t.Errorf("%s: %s", migration, r.stdout)
		}
	}
}

// TestSettings: every key of verify reaches the pass, unless a flag is given.
func TestSettings(t *testing.T) {
	t.Parallel()
	path := configFile(t, `
limits: {bytes_per_s: 3MB}
migrations:
  m:
    source: {dsn: SOURCE}
    target: {dsn: TARGET}
    verify: {timeout: 1h, recheck: 0s, stall_timeout: 5s, snapshot: table, read: gentle, values: none, workers: 9, ignore_large_objects: true}
`, nowhere, nowhere)
	jobFor := func(args ...string) daemon.Options {
		t.Helper()
		job, err := parseVerify(t, append([]string{"--config", path}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		return job.options
	}
	o := jobFor()
	if o.Timeout.Hours() != 1 || o.Recheck != 0 || o.StallTimeout.Seconds() != 5 || !o.PerTable || o.Read != "gentle" ||
		o.Values != "none" || o.Workers != 9 || !o.IgnoreLargeObjects || o.MaxRate != 3e6 {
		t.Errorf("the file's settings: %+v", o)
	}
	o = jobFor("--recheck", "2s", "--stall-timeout", "7s", "--snapshot", "pass", "--read", "fast", "--values", "full", "--workers", "2",
		"--ignore-large-objects=false", "--max-rate", "1MB")
	if o.Recheck.Seconds() != 2 || o.StallTimeout.Seconds() != 7 || o.PerTable || o.Read != "fast" ||
		o.Values != "full" || o.Workers != 2 || o.IgnoreLargeObjects || o.MaxRate != 1e6 {
		t.Errorf("the flags' settings: %+v", o)
	}
}

// parseVerify reads a command line of verify, and runs nothing.
func parseVerify(t *testing.T, args ...string) (job *verifyJob, err error) {
	t.Helper()
	p := &program{stdout: t.Output(), stderr: t.Output()}
	app := p.app()
	for _, c := range app.Commands {
		if c.Name == "verify" {
			c.Action = p.do(func(c *cli.Context) (int, error) {
				job, err = newVerifyJob(c)
				return exitDone, nil
			})
		}
	}
	if runErr := app.RunContext(t.Context(), append([]string{"verifierd", "verify"}, args...)); runErr != nil {
		t.Fatal(runErr)
	}
	return job, err
}
