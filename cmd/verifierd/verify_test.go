package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/verifierd/verifierd/internal/pglocal"
	"github.com/verifierd/verifierd/internal/pglocal/pgtest"
)

// Nobody listens there: what is wrong must show before anything connects.
const nowhere = "host=127.0.0.1 port=1 user=nobody dbname=none sslmode=disable"

func TestBadFlags(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		args string
		want string
	}{
		"no command":            {"", "no command given; see verifierd --help"},
		"unknown command":       {"verfy", "did you mean verify?"},
		"alike no command":      {"bogus", `no command "bogus"; see verifierd --help`},
		"file of config check":  {"config check v.yaml", "config check: unexpected argument; --config goes before a configuration file; see verifierd config check --help"},
		"flag of config check":  {"config check --confg x", "did you mean --config?; see verifierd config check --help"},
		"output in no place":    {"verify SIDES --out /nonexistent/report", "--out: open /nonexistent/report: no such file"},
		"unknown flag":          {"verify --sorce x", "did you mean --source?"},
		"unknown global flag":   {"--verbose verify", "unknown flag --verbose"},
		"no sides":              {"verify", "VERIFIERD_SOURCE"},
		"no value":              {"verify --source", "-source"},
		"argument":              {"verify SIDES public.orders", "unexpected argument"},
		"format":                {"verify SIDES --output yaml", "table, json, ndjson, junit, html"},
		"no format":             {"verify SIDES --output=", "table, json, ndjson, junit, html"},
		"plan's format":         {"verify SIDES --plan --output html", "a plan has no html form"},
		"read":                  {"verify SIDES --read slow", "fast or gentle"},
		"values":                {"verify SIDES --values all", "none, keys or full"},
		"snapshot":              {"verify SIDES --snapshot row", "pass or table"},
		"no workers":            {"verify SIDES --workers 0", "from 1 to"},
		"negative workers":      {"verify SIDES --workers -3", "from 1 to"},
		"no number":             {"verify SIDES --workers many", `"many": want a whole number`},
		"too many workers":      {"verify SIDES --workers 1000000", "from 1 to"},
		"recheck":               {"verify SIDES --recheck -1s", "0 or more"},
		"no duration":           {"verify SIDES --recheck 10", `--recheck: "10": want a duration such as 10s`},
		"stall timeout":         {"verify SIDES --stall-timeout 0s", "more than 0"},
		"negative rate":         {"verify SIDES --max-rate=-5MB", "for example 50MB"},
		"rate":                  {"verify SIDES --max-rate fast", "for example 50MB"},
		"max divergences":       {"verify SIDES --max-divergences -1", "from 0 to"},
		"pattern":               {"verify SIDES --table orders", "want schema.table"},
		"quoted pattern":        {`verify SIDES --table public."orders`, "unfinished quoted identifier"},
		"exclude":               {"verify SIDES --exclude a.b.c", "want schema.table"},
		"map":                   {"verify SIDES --map public.a", "want source.name=target.name"},
		"temp dir":              {"verify SIDES --temp-dir " + dir + "/none", "--temp-dir"},
		"out in no directory":   {"verify SIDES --out " + dir + "/none/report", "no such file or directory"},
		"out is a directory":    {"verify SIDES --out " + dir, "is a directory"},
		"out beneath a file":    {"verify SIDES --out " + file + "/report", "not a directory"},
		"all at once":           {"verify --output x --read y", "--target"},
		"no shell":              {"completion", "bash, zsh and fish"},
		"unknown shell":         {"completion pwsh", "bash, zsh and fish"},
		"argument of the demo":  {"demo now", "unexpected argument"},
		"help about nothing":    {"help nothing", "nothing"},
		"malformed port":        {"verify --source postgres://h:x/db --target postgres://h:x/db", "connection string"},
		"no connection string":  {"verify --source mydb --target mydb", "want a URI"},
		"unknown service":       {"verify --source service=none-such --target service=none-such", "service"},
		"unknown sslmode":       {"verify --source postgres://h/db?sslmode=maybe --target postgres://h/db?sslmode=maybe", "sslmode"},
		"out for ndjson, early": {"verify SIDES --output ndjson --out " + dir + "/none/report", "no such file or directory"},
	} {
		t.Run(name, func(t *testing.T) {
			var args []string
			for _, arg := range strings.Fields(test.args) {
				if arg == "SIDES" {
					args = append(args, "--source", nowhere, "--target", nowhere)
				} else {
					args = append(args, arg)
				}
			}
			r := command(t, args...)
			r.want(t, 2, "verifierd: ", test.want)
			if r.stdout != "" {
				t.Errorf("standard output holds %q", r.stdout)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	t.Setenv("VERIFIERD_SOURCE", "postgres://u:c4n4ry@h/db")
	for _, args := range []string{"--help", "help", "verify --help", "help verify", "demo --help", "--version", "man", "completion bash", "completion zsh", "completion fish"} {
		r := command(t, strings.Fields(args)...)
		if r.want(t, 0); r.stdout == "" || r.stderr != "" {
			t.Errorf("%s: stdout %q, stderr %q", args, r.stdout, r.stderr)
		}
		if strings.Contains(r.stdout, "c4n4ry") {
			t.Errorf("%s shows the password in the environment", args)
		}
	}
	for _, args := range []string{"--help", "verify --help", "man"} {
		r := command(t, strings.Fields(args)...)
		want := []string{"Exit codes:", "match", "diverged", "incomplete"}
		if args != "--help" {
			want = append(want, "so that a target which lags is not blamed", "Examples:")
		}
		for _, want := range want {
			if !strings.Contains(r.stdout, want) {
				t.Errorf("%s does not mention %q", args, want)
			}
		}
	}
}

// A password must never show, whatever is wrong around it.
func TestPasswordsStayHidden(t *testing.T) {
	t.Parallel()
	const canary = "c4n4ry"
	for _, dsn := range []string{
		"postgres://u:c4n4ry@127.0.0.1:1/db",
		"postgres://u:c4n4ry@127.0.0.1:1/db?sslmode=maybe",
		"postgres://u:x@c4n4ry@127.0.0.1:1/db",
		"postgres://u:x/c4n4ry@127.0.0.1:1/db",
		"postgres://u:x#c4n4ry@127.0.0.1:1/db",
		"postgres://u:x?c4n4ry@127.0.0.1:1/db",
		"postgres://u:%zzc4n4ry@127.0.0.1:1/db",
		"postgres://u:c4n4ry@127.0.0.1:port/db",
		"postgres://u:c4n4ry@[::1/db",
		"postgres:/u:c4n4ry@127.0.0.1/db",
		"u:c4n4ry@127.0.0.1/db",
		"postgres://127.0.0.1:1/db?user=u&password=c4n4ry",
		"host=127.0.0.1 port=1 user=u password=c4n4ry",
		"host=127.0.0.1 port=x user=u password=c4n4ry",
		"host=127.0.0.1 port=1 user=u password='x c4n4ry'",
		"host=127.0.0.1 port=1 user=u password=x c4n4ry",
		"host=127.0.0.1 port=1 user=u password='x' c4n4ry'",
		"host=127.0.0.1 port=1 user=u password='x c4n4ry",
		"host=127.0.0.1 port=1 user=u sslpassword=c4n4ry",
		"password = c4n4ry host=127.0.0.1 port=1 service=none-such",
	} {
		for _, args := range [][]string{
			{"verify", "--source", dsn, "--target", nowhere},
			{"verify", "--source", nowhere, "--target", dsn, "--output", "json"},
			{"verify", "--source", dsn, "--target", dsn, "--plan"},
			{"verify", dsn},
			{"verify", "--plan=" + dsn},
			{"verify", "--max-rate", dsn},
			{"verify", "--source", nowhere, "--target", nowhere, "--output", dsn},
			{dsn},
		} {
			r := command(t, args...)
			if r.code != 2 {
				t.Errorf("%q: exit code %d", args, r.code)
			}
			if strings.Contains(r.stdout+r.stderr, canary) {
				t.Errorf("%q shows the password:\n%s%s", args, r.stdout, r.stderr)
			}
		}
	}
}

func TestCannotConnect(t *testing.T) {
	t.Parallel()
	srv := pgtest.Start(t, pglocal.Options{
		Major: pgtest.Majors()[0],
		HBA:   []string{"host all alice all md5"},
	})
	admin := srv.DSN("postgres")
	pgtest.Exec(t, admin, `CREATE ROLE alice LOGIN PASSWORD 'right'`)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, closedPort, _ := net.SplitHostPort(listener.Addr().String())
	listener.Close()

	for name, test := range map[string]struct{ source, want string }{
		"host":     {"postgres://postgres@no-such-host.invalid/postgres?sslmode=disable", "no-such-host.invalid"},
		"port":     {"postgres://postgres@127.0.0.1:" + closedPort + "/postgres?sslmode=disable", "refused"},
		"password": {strings.Replace(srv.DSN("postgres"), "postgres@", "alice:wr0ngc4n4ry@", 1), "alice"},
		"database": {srv.DSN("no_such_database"), "no_such_database"},
		"user":     {srv.DSN("postgres", "user=bob"), "bob"},
	} {
		t.Run(name, func(t *testing.T) {
			r := command(t, "verify", "--source", test.source, "--target", admin)
			r.want(t, 2)
			for _, want := range []string{"INCOMPLETE", "source", test.want} {
				if !strings.Contains(r.stdout, want) {
					t.Errorf("the report lacks %q", want)
				}
			}
			if strings.Contains(r.stdout+r.stderr, "c4n4ry") {
				t.Error("the password shows")
			}
			command(t, "verify", "--source", test.source, "--target", admin, "--plan").want(t, 2, test.want)
			if t.Failed() {
				t.Log(r.stdout, r.stderr)
			}
		})
	}
}

// TestUnreached: every format is a whole document although nothing was reached.
func TestUnreached(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"table", "json", "ndjson", "junit", "html"} {
		r := command(t, "verify", "--source", nowhere, "--target", nowhere, "--output", format)
		r.want(t, 2)
		out := strings.TrimSpace(r.stdout)
		var doc struct{ Verdict, Reason string }
		var suites struct {
			Error string `xml:"testsuite>testcase>error"`
		}
		var err error
		switch format {
		case "table":
			if strings.Contains(out, "\n") || !strings.HasPrefix(out, "INCOMPLETE: connect to the source") {
				t.Errorf("want one line: %s", out)
			}
			continue
		case "json", "ndjson":
			err = json.Unmarshal([]byte(out), &doc)
		case "junit":
			if err := xml.Unmarshal([]byte(out), &suites); err != nil || suites.Error == "" {
				t.Errorf("%v: the suite has no error: %s", err, out)
			}
			continue
		default:
			if !strings.Contains(out, "INCOMPLETE") || !strings.HasSuffix(out, "</html>") {
				t.Errorf("%s: %s", format, out)
			}
			continue
		}
		if err != nil || doc.Verdict != "incomplete" || !strings.Contains(doc.Reason, "connect to the source") {
			t.Errorf("%s: %v, %+v", format, err, doc)
		}
	}
}

func TestNothingToCompare(t *testing.T) {
	t.Parallel()
	source, target := shop(t)
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"the same database":  {[]string{"--source", source, "--target", source}, "the same database"},
		"an empty selection": {[]string{"--source", source, "--target", target, "--table", "nowhere.*"}, "nowhere.*"},
		"all excluded":       {[]string{"--source", source, "--target", target, "--exclude", "*.*"}, "no table was selected"},
		"map of nothing":     {[]string{"--source", source, "--target", target, "--map", "public.none=public.orders"}, "public.none"},
	} {
		t.Run(name, func(t *testing.T) {
			r := command(t, append([]string{"verify"}, test.args...)...)
			r.want(t, 2)
			if !strings.Contains(r.stdout, test.want) || strings.Contains(r.stdout, "MATCH") {
				t.Errorf("the report lacks %q:\n%s", test.want, r.stdout)
			}
		})
	}
}

func TestOut(t *testing.T) {
	t.Parallel()
	source, target := shop(t)
	dir := t.TempDir()
	for _, format := range []string{"table", "json", "ndjson", "junit", "html"} {
		path := filepath.Join(dir, format)
		if err := os.WriteFile(path, bytes.Repeat([]byte("old "), 10_000), 0o640); err != nil {
			t.Fatal(err)
		}
		link := path + ".link"
		if err := os.Symlink(path, link); err != nil {
			t.Fatal(err)
		}
		r := command(t, "verify", "--source", source, "--target", target, "--output", format, "--out", link)
		r.want(t, 0, "\nmatch: ")
		if r.stdout != "" {
			t.Errorf("%s: standard output holds %q", format, r.stdout)
		}
		content, err := os.ReadFile(path)
		if err != nil || len(content) == 0 || bytes.Contains(content, []byte("old ")) {
			t.Errorf("%s: %v: %q", format, err, content)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
			t.Errorf("%s: mode %v (%v), want that of the file that was replaced", format, info.Mode(), err)
		}
	}
	for _, format := range []string{"json", "ndjson"} {
		path := filepath.Join(dir, "new."+format)
		command(t, "verify", "--source", source, "--target", target, "--output", format, "--out", path).want(t, 0)
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: a new report has mode %v (%v), want it private", format, info.Mode(), err)
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q (%v)", left, err)
	}

	// What is no regular file is written to, never replaced.
	command(t, "verify", "--source", source, "--target", target, "--out", os.DevNull).want(t, 0)
	if info, err := os.Stat(os.DevNull); err != nil || info.Mode().IsRegular() {
		t.Fatalf("%s was replaced by a file", os.DevNull)
	}
}

func TestPlan(t *testing.T) {
	t.Parallel()
	source, target := shop(t)
	r := command(t, "verify", "--source", source, "--target", target, "--plan", "--output", "json")
	r.want(t, 0)
	var plan struct {
		Tables []struct{ Table string }
	}
	if err := json.Unmarshal([]byte(r.stdout), &plan); err != nil {
		t.Fatalf("%v in %s", err, r.stdout)
	}
	if len(plan.Tables) != 2 {
		t.Errorf("the plan has tables %v, want two", plan.Tables)
	}
	if r := command(t, "verify", "--source", source, "--target", target, "--plan"); !strings.Contains(r.stdout, "READY") {
		t.Errorf("the plan does not say that it is ready:\n%s", r.stdout)
	}

	// What would make a pass incomplete makes the plan fail.
	pgtest.Exec(t, target, `CREATE ROLE `+reader(t)+` LOGIN`)
	t.Cleanup(func() { pgtest.Exec(t, target, `DROP ROLE `+reader(t)) })
	r = command(t, "verify", "--source", source, "--target", strings.Replace(target, "postgres@", reader(t)+"@", 1), "--plan")
	r.want(t, 2)
	if !strings.Contains(r.stdout, "GRANT") {
		t.Errorf("the plan names no GRANT:\n%s", r.stdout)
	}
}

func reader(t *testing.T) string { return "reader_" + strings.ToLower(t.Name()) }

// eventual is a writer that calls a function when a text was first written.
type eventual struct {
	bytes.Buffer
	text string
	then func()
}

func (e *eventual) Write(p []byte) (int, error) {
	n, err := e.Buffer.Write(p)
	if e.then != nil && strings.Contains(e.String(), e.text) {
		e.then()
		e.then = nil
	}
	return n, err
}

type line struct {
	Event    string
	Table    string
	Verdict  string
	Complete *bool
	Reason   string
}

func lines(t *testing.T, out string) []line {
	t.Helper()
	var all []line
	for s := bufio.NewScanner(strings.NewReader(out)); s.Scan(); {
		var l line
		if err := json.Unmarshal(s.Bytes(), &l); err != nil {
			t.Fatalf("%v in %s", err, s.Text())
		}
		all = append(all, l)
	}
	if len(all) == 0 || all[len(all)-1].Event != "pass_finished" {
		t.Fatalf("the stream does not end with pass_finished:\n%s", out)
	}
	return all
}

// The stream ends a pass as soon as it began: had it come only at the end,
// the pass would be a match.
func TestStreamWhileRunning(t *testing.T) {
	t.Parallel()
	source, target := shop(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stdout := &eventual{text: `"pass_started"`, then: cancel}
	var stderr bytes.Buffer
	code := run(ctx, []string{"verifierd", "verify", "--source", source, "--target", target, "--output", "ndjson"}, stdout, &stderr)
	result{code, stdout.String(), stderr.String()}.want(t, 2, "interrupted: ")
	all := lines(t, stdout.String())
	if last := all[len(all)-1]; last.Verdict != "incomplete" || !strings.Contains(last.Reason, "interrupted") {
		t.Errorf("the pass ended as %+v", last)
	}
}

// What was confirmed counts, although the rest was interrupted.
func TestInterruptedAfterDivergence(t *testing.T) {
	t.Parallel()
	source, target := shop(t)
	for _, dsn := range []string{source, target} {
		pgtest.Exec(t, dsn, slowTable)
	}
	pgtest.Exec(t, target, `UPDATE orders SET total = 0 WHERE id = 5`)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stdout := &eventual{text: `"divergence"`, then: cancel}
	var stderr bytes.Buffer
	code := run(ctx, []string{
		"verifierd", "verify", "--source", source, "--target", target, "--output", "ndjson",
		"--recheck", "0s", "--max-rate", "1MB", "--workers", "1", // so that orders come first
	}, stdout, &stderr)
	result{code, stdout.String(), stderr.String()}.want(t, 1)
	all := lines(t, stdout.String())
	if last := all[len(all)-1]; last.Verdict != "diverged" || last.Complete == nil || *last.Complete {
		t.Errorf("the pass ended as %+v, want diverged and not complete", last)
	}
}

// slowTable is small on disk, but takes minutes to read at 1 MB/s.
const slowTable = `CREATE TABLE slow AS SELECT i AS id, repeat('x', 200000) AS filler FROM generate_series(1, 600) i`

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("the pipe broke") }

func TestBrokenOutput(t *testing.T) {
	t.Parallel()
	source, target := shop(t)
	for _, format := range []string{"table", "ndjson"} {
		var stderr bytes.Buffer
		code := run(t.Context(), []string{"verifierd", "verify", "--source", source, "--target", target, "--output", format}, brokenWriter{}, &stderr)
		result{code, "", stderr.String()}.want(t, 2, "write the report", "the pipe broke")
	}
}
