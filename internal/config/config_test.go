package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/verifierd/verifierd/pkg/relation"
)

const canary = "c4n4ry"

// world is what the files of tests may refer to. Everything secret in it holds
// the canary.
var world = outside{
	env: func(name string) (string, bool) {
		v, ok := map[string]string{
			"SECRET": canary, "EMPTY": "", "WORKERS": "7", "YAML": "x\n    exclude: [a]", "NESTED": "${SECRET}", "DURATION": "30s",
		}[name]
		return v, ok
	},
	secret: func(path string) (string, string, error) {
		switch filepath.Base(path) {
		case "secret":
			return canary, "", nil
		case "open":
			return canary, "every user may read " + path, nil
		}
		return "", "", errors.New("no such file")
	},
}

func read(t *testing.T, text string) (*Config, error) {
	t.Helper()
	c, err := parse("dir/file.yaml", []byte(text), world)
	if err != nil && strings.Contains(err.Error(), canary) {
		t.Errorf("the error shows a secret: %v", err)
	}
	if (c == nil) != (err != nil) {
		t.Errorf("a configuration %t, and the error %v", c != nil, err)
	}
	return c, err
}

// one wraps the keys of a migration, which begin on line 5.
func one(keys string) string {
	text := "migrations:\n  m:\n    source: {dsn: service=a}\n    target: {dsn: service=b}\n"
	for line := range strings.Lines(keys) {
		text += "    " + line
	}
	return text
}

func patterns(t *testing.T, texts ...string) (list []relation.Pattern) {
	t.Helper()
	for _, s := range texts {
		p, err := relation.ParsePattern(s)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	return list
}

func TestParse(t *testing.T) {
	c, err := read(t, `
limits: {bytes_per_s: 100MiB}
migrations:
  orders:
    source: {dsn: "host=old password=${SECRET}"}
    target: {dsn_file: secret}
    groups:
      core: {tables: [public.orders, public.items]}
      logs: {tables: ["audit.*"], exclude: ["audit.tmp_*"]}
    map: {public.items: 'public."Order Items"'}
    columns:
      public.orders: &orders
        exclude: [cache, true, 007]
        value: [price]
        cast: {note: {target: "note::text"}, at: {source: "at AT TIME ZONE 'UTC'", target: at}}
        where: "created_at < '2026-01-01' AND note <> $$x$$ AND note <> '$${SECRET}'"
        key: [id]
        map: {id: order_id}
      audit.log: {where: {source: "id > 5"}}
      audit.log2: *orders
    verify:
      timeout: 40m
      snapshot: table
      recheck: ${DURATION}
      stall_timeout: 2m
      read: gentle
      values: none
      workers: ${WORKERS}
      ignore_large_objects: true
  second:
    source: {dsn: service=a}
    target: {dsn: service=b}
    tables: [public.*]
    exclude: ['"a.b".*']
`)
	if err != nil {
		t.Fatal(err)
	}
	orders := Policy{
		Columns: map[string]string{"id": "order_id"},
		Exclude: []string{"cache", "true", "007"}, Value: []string{"price"}, Key: []string{"id"},
		Cast: map[string][2]string{"note": {"", "note::text"}, "at": {"at AT TIME ZONE 'UTC'", "at"}},
	}
	orders.Where[0] = "created_at < '2026-01-01' AND note <> $$x$$ AND note <> '${SECRET}'"
	orders.Where[1] = orders.Where[0]
	name := func(s, n string) relation.Name { return relation.Name{Schema: s, Name: n} }
	want := &Config{MaxRate: new(int64(100 << 20)), Migrations: map[string]*Migration{
		"orders": {
			Name: "orders", DSN: [2]string{"host=old password=" + canary, canary},
			DSNAt: [2]string{"dir/file.yaml:5:19: migrations.orders.source.dsn", "dir/file.yaml:6:24: migrations.orders.target.dsn_file"},
			Groups: []Group{
				{"core", patterns(t, "public.orders", "public.items"), nil},
				{"logs", patterns(t, "audit.*"), patterns(t, "audit.tmp_*")},
			},
			Map: map[relation.Name]relation.Name{name("public", "items"): name("public", "Order Items")},
			Policies: map[relation.Name]Policy{
				name("public", "orders"): orders, name("audit", "log2"): orders,
				name("audit", "log"): {Where: [2]string{"id > 5", ""}},
			},
			Verify: Verify{
				Timeout: new(40 * time.Minute), Snapshot: new("table"), Recheck: new(30 * time.Second), StallTimeout: new(2 * time.Minute),
				Read: new("gentle"), Values: new("none"), Workers: new(7), IgnoreLargeObjects: new(true),
			},
		},
		"second": {
			Name: "second", DSN: [2]string{"service=a", "service=b"},
			DSNAt:  [2]string{"dir/file.yaml:31:19: migrations.second.source.dsn", "dir/file.yaml:32:19: migrations.second.target.dsn"},
			Tables: patterns(t, "public.*"), Exclude: patterns(t, `"a.b".*`),
		},
	}}
	if !reflect.DeepEqual(c, want) {
		for name, m := range want.Migrations {
			t.Errorf("got  %+v\nwant %+v", c.Migrations[name], m)
		}
	}
}

// TestErrors: every error has its place, and says what to do; none repeats a
// secret, which read checks.
func TestErrors(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"empty":                   {"", "1:1: the file is empty"},
		"only a comment":          {"# nothing", "1:1: the file is empty"},
		"not a mapping":           {"orders", "1:1: want a mapping"},
		"empty mapping":           {"{}", "1:1: the mapping is empty"},
		"no migrations":           {"limits: {bytes_per_s: 5}", "1:1: migrations is missing"},
		"null":                    {"migrations:", "1:12: migrations: want a mapping"},
		"syntax":                  {"migrations: [\nx: y", "(YAML syntax)"},
		"syntax in line 1":        {"migrations: {m: }}", "file.yaml:1: at this line or soon after: "},
		"variable without quotes": {one("verify: {timeout: ${DURATION}, read: fast}"), "put quotes around a value that holds ${NAME}"},
		"pattern without quotes":  {one("exclude: [*.log]"), "a value that begins with * or & needs quotes"},
		"alias in its place":      {one("# *b\nexclude: *b"), "6:14: an alias without its anchor"},
		"required and empty":      {"migrations: {}", "migrations: the mapping is empty; fill it in"},
		"tab":                     {"migrations:\n\tm: 1", "file.yaml:2: "},
		"a second document":       {one("") + "---\na: b\n", "a second YAML document"},
		"an alias without anchor": {one("tables: *" + canary), "a value that begins with * needs quotes"},
		"an alias of itself":      {"migrations: &a\n  m: *a", "unknown key"},
		"merge key":               {"migrations:\n  m:\n    <<: {dsn: x}\n", "3:5: migrations.m: merge keys (<<) are not supported"},
		"unknown key":             {one("colour: red"), "5:5: migrations.m.colour: unknown key; known here: columns, "},
		"mistyped key":            {one("table: [a.b]"), "5:5: migrations.m.table: unknown key, did you mean tables?"},
		"mistyped deep key":       {one("verify: {reccheck: 1s}"), "5:14: migrations.m.verify.reccheck: unknown key, did you mean recheck?"},
		"duplicate key":           {one("tables: [a.b]\ntables: [a.c]"), "6:5: migrations.m.tables: stands here for the second time, after line 5"},
		"duplicate migration":     {"migrations: {m: {source: {dsn: a}, target: {dsn: b}}, m: {}}", "second time"},
		"duplicate table":         {one("columns:\n  a.b: {key: [x]}\n  '\"a\".b': {key: [y]}"), "the columns of table a.b stand here for the second time"},
		"key that is no text":     {"{[a, b]: c}", "1:2: a key must be plain text"},
		"null key":                {"~: c", "1:1: a key must be plain text"},
		"tag":                     {one("tables: [!x a.b]"), "5:14: migrations.m.tables[0]: YAML tags are not supported"},
		"binary":                  {one("tables: [!!binary YS5i]"), "tags are not supported"},
		"name of a migration":     {"migrations: {'a b': {source: {dsn: a}, target: {dsn: b}}}", "made of letters"},

		"no source":      {"migrations: {m: {target: {dsn: b}}}", "1:17: migrations.m: source is missing"},
		"no dsn":         {"migrations: {m: {source: {}, target: {dsn: b}}}", "source: want either dsn"},
		"both dsn":       {"migrations: {m: {source: {dsn: a, dsn_file: secret}, target: {dsn: b}}}", "source: want either dsn"},
		"empty dsn":      {"migrations: {m: {source: {dsn: ''}, target: {dsn: b}}}", "1:32: migrations.m.source.dsn: the value is empty"},
		"null dsn":       {"migrations: {m: {source: {dsn: }, target: {dsn: b}}}", "source.dsn: no value"},
		"dsn in place":   {"migrations: {m: {source: 'postgres://u:c4n4ry@h/d', target: {dsn: b}}}", "migrations.m.source: want a mapping"},
		"no secret file": {"migrations: {m: {source: {dsn_file: none}, target: {dsn: b}}}", "1:37: migrations.m.source.dsn_file: no such file"},

		"unset variable":      {"migrations:\n  m:\n    source: {dsn: 'a${NONE}'}\n    target: {dsn: b}", "3:19: migrations.m.source.dsn: the environment variable NONE is not set"},
		"empty variable":      {one("tables: ['${EMPTY}']"), "5:14: migrations.m.tables[0]: the value is empty"},
		"unclosed variable":   {one("tables: ['${SECRET']"), "write $${ for ${ itself"},
		"no variable's name":  {one("tables: ['${c4n4ry!}']"), "write $${ for ${ itself"},
		"variable in a key":   {one("map: {'${SECRET}.a': b.c}"), "variables work in values, not in keys"},
		"not filled in twice": {one("tables: ['${NESTED}']"), "not a pattern"},
		"no injection":        {one("tables: ['${YAML}']"), "5:14: migrations.m.tables[0]: not a pattern"},

		"secret pattern":       {one("tables: ['${SECRET}']"), "not a pattern for tables: want schema.table"},
		"dsn for a pattern":    {one("tables: ['postgres://u:c4n4ry@h']"), "not a pattern"},
		"quoted pattern":       {one(`tables: ['a."c4n4ry']`), "(unfinished quoted identifier)"},
		"tables is no list":    {one("tables: a.b"), "5:13: migrations.m.tables: want a list"},
		"empty list":           {one("tables: []"), "the list is empty"},
		"list in a list":       {one("tables: [[a.b]]"), "want a single value"},
		"tables and groups":    {one("tables: [a.b]\ngroups: {g: {tables: [a.c]}}"), "groups stand in place of tables"},
		"exclude and groups":   {one("exclude: [a.b]\ngroups: {g: {tables: [a.c]}}"), "groups stand in place of tables"},
		"a group of nothing":   {one("groups: {g: {exclude: [a.b]}}"), "5:17: migrations.m.groups.g: tables is missing"},
		"map of a pattern":     {one("map: {a.*: b.c}"), "want the name of one table"},
		"map to no name":       {one("map: {a.b: c4n4ry}"), "not the name of a table: want schema.table"},
		"map to one target":    {one("map: {a.b: x.y, a.c: x.y}"), "the table a.b is mapped to the same one"},
		"map twice":            {one(`map: {a.b: x.y, '"a".b': x.z}`), "the table a.b is mapped twice"},
		"columns of a pattern": {one("columns: {a.*: {key: [x]}}"), "want the name of one table"},
		"empty policy":         {one("columns: {a.b: {}}"), "the mapping is empty"},
		"column twice":         {one("columns: {a.b: {key: [x, x]}}"), "second time"},
		"excluded key":         {one("columns: {a.b: {key: [x], exclude: [x]}}"), `column "x" stands in exclude and in key`},
		"excluded value":       {one("columns: {a.b: {value: [x], exclude: [x]}}"), `in exclude and in value`},
		"excluded cast":        {one("columns: {a.b: {cast: {x: {source: y}}, exclude: [x]}}"), `in exclude and in cast`},
		"cast of neither side": {one("columns: {a.b: {cast: {x: {}}}}"), "the mapping is empty"},
		"cast of both at once": {one("columns: {a.b: {cast: {x: y}}}"), "want a mapping"},
		"columns to one":       {one("columns: {a.b: {map: {x: z, y: z}}}"), `column "x" is mapped to the same one`},
		"where for nobody":     {one("columns: {a.b: {where: {both: x}}}"), "unknown key"},
		"empty where":          {one("columns: {a.b: {where: ''}}"), "the value is empty"},
		"empty where mapping":  {one("columns: {a.b: {where: {}}}"), "want a single value"},
		"no column's name":     {one("columns: {a.b: {exclude: [null]}}"), "put the word null in quotes"},

		"snapshot":        {one("verify: {snapshot: '${SECRET}'}"), "5:24: migrations.m.verify.snapshot: want pass or table"},
		"read":            {one("verify: {read: slow}"), "want fast or gentle"},
		"values":          {one("verify: {values: all}"), "want none, keys or full"},
		"no unit":         {one("verify: {recheck: 10}"), "want a duration, for example 30s"},
		"secret duration": {one("verify: {recheck: '${SECRET}'}"), "want a duration, for example 30s"},
		"negative":        {one("verify: {recheck: -1s}"), "want a duration"},
		"no timeout":      {one("verify: {timeout: 0s}"), "more than 0"},
		"no stall":        {one("verify: {stall_timeout: 0s}"), "more than 0"},
		"workers":         {one("verify: {workers: 0}"), "from 1 to 256"},
		"many workers":    {one("verify: {workers: 257}"), "from 1 to 256"},
		"half a worker":   {one("verify: {workers: 1.5}"), "from 1 to 256"},
		"boolean":         {one("verify: {ignore_large_objects: yes}"), "want true or false"},
		"rate":            {"limits: {bytes_per_s: c4n4ry}\n" + one(""), "1:23: limits.bytes_per_s: want bytes a second"},
		"connections":     {"limits: {connections: 8}\n" + one(""), "1:10: limits.connections: not supported by this version of verifierd; set verify.workers"},
		"listen":          {"listen: {addr: 'x'}\n" + one(""), "1:1: listen: not supported by this version"},
		"playbook":        {one("playbook: {phases: []}"), "5:5: migrations.m.playbook: not supported by this version"},
		"every":           {one("verify: {every: 15m}"), "5:14: migrations.m.verify.every: not supported by this version"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := read(t, test.text)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "dir/file.yaml:") {
				t.Errorf("error %v\nwant %q in\n%s", err, test.want, test.text)
			}
		})
	}
}

// TestAllErrors: whoever mends a file wants to know all of it at once.
func TestAllErrors(t *testing.T) {
	_, err := read(t, one("tables: a\nverify: {read: x, recheck: y}\ncolour: red\nplaybook: {}"))
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 5 {
		t.Errorf("%d problems, want 5:\n%v", len(lines), err)
	}
	var many strings.Builder
	for i := range 3 * maxProblems {
		fmt.Fprintf(&many, "k%d: 1\n", i)
	}
	_, err = read(t, many.String())
	if n := strings.Count(err.Error(), "\n"); n != maxProblems || !strings.Contains(err.Error(), "more problems") {
		t.Errorf("%d lines", n)
	}
}

// TestAliasBomb: what aliases stand for is counted wherever they stand.
func TestAliasBomb(t *testing.T) {
	var deep strings.Builder
	deep.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 10; i++ {
		fmt.Fprintf(&deep, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10), ", "))
	}
	deep.WriteString(one("tables: *a9"))
	if _, err := read(t, deep.String()); err == nil || !strings.Contains(err.Error(), "migrations.m.tables[0]: want a single value") && !strings.Contains(err.Error(), "unknown key") {
		t.Errorf("deep: %v", err)
	}
	var wide strings.Builder
	wide.WriteString("columns:\n  a.t0: &p {exclude: [c0")
	for i := range 2000 {
		fmt.Fprintf(&wide, ", c%d", i+1)
	}
	wide.WriteString("]}\n")
	for i := range 2000 {
		fmt.Fprintf(&wide, "  a.t%d: *p\n", i+1)
	}
	if _, err := read(t, one(wide.String())); err == nil || !strings.Contains(err.Error(), "counting each use of an alias") {
		t.Errorf("wide: %v", err)
	}
}

func TestMigration(t *testing.T) {
	both := &Config{Migrations: map[string]*Migration{"a": {Name: "a"}, "b": {Name: "b"}}}
	single := &Config{Migrations: map[string]*Migration{"a": {Name: "a"}}}
	for _, test := range []struct {
		c          *Config
		name, want string
	}{
		{single, "", "a"},
		{single, "a", "a"},
		{single, "b", `no migration "b", only a`},
		{both, "b", "b"},
		{both, "", "choose one of a, b"},
		{both, "c", `no migration "c", only a, b`},
	} {
		m, err := test.c.Migration(test.name)
		if err == nil && m.Name != test.want || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("migration %q: %+v, %v; want %s", test.name, m, err, test.want)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil { // whatever the umask
			t.Fatal(err)
		}
		return path
	}
	write("newline", "service=a\n", 0o600)
	write("crlf", "service=b \r\n", 0o644)
	write("void", "\n", 0o600)
	write("huge", strings.Repeat(canary, maxSecret), 0o600)
	t.Setenv("VERIFIERD_TEST_DIR", dir)
	c, err := Load(write("good.yaml", `migrations: {m: {source: {dsn_file: newline}, target: {dsn_file: "${VERIFIERD_TEST_DIR}/crlf"}}}`, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Migrations["m"].DSN; got != [2]string{"service=a", "service=b "} {
		t.Errorf("connection strings %q", got)
	}
	if runtime.GOOS != "windows" && (len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], "crlf: chmod 600")) {
		t.Errorf("warnings %q, want one of the file that all may read", c.Warnings)
	}
	for text, want := range map[string]string{
		"void": "the file is empty", "huge": "larger than", "none": "no such file", ".": "directory",
	} {
		path := write("bad.yaml", "migrations: {m: {source: {dsn_file: "+text+"}, target: {dsn: x}}}", 0o600)
		if _, err := Load(path); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), path+":1:") || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if _, err := Load(write("huge.yaml", strings.Repeat("# comment\n", maxFile/10+1), 0o600)); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("a huge file: %v", err)
	}
	if _, err := Load(filepath.Join(dir, "none.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestParseRate(t *testing.T) {
	for text, want := range map[string]int64{
		"1": 1, "1000000": 1e6, "50MB": 50e6, "50 mb/s": 50e6, "1.5GiB": 3 << 29, "64k": 64e3, "2KiB": 2048, "1TB": 1e12,
		"": 0, "0": 0, "-5": 0, "fast": 0, "5MBit": 0, "1e5": 0, "0.1": 0, "..5": 0, "99999999TB": 0, "MB": 0,
	} {
		got, err := ParseRate(text)
		if got != want || (err == nil) != (want > 0) {
			t.Errorf("ParseRate(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
}
