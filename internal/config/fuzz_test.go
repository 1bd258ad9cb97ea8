package config

import (
	"reflect"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/verifierd/verifierd/pkg/relation"
)

// FuzzParse: no file shows a secret in its errors, and what was understood
// means the same when it is written down plainly.
func FuzzParse(f *testing.F) {
	f.Add("migrations: {m: {source: {dsn: 'a${SECRET}'}, target: {dsn_file: secret}}}")
	f.Add(one("tables: ['a.*']\nexclude: [a.b]\nmap: {a.b: '\"x y\".z'}\nverify: {recheck: 1h, workers: ${WORKERS}, timeout: 2m, values: full}"))
	f.Add(one("groups:\n  g: {tables: &t [a.b], exclude: ['a.c*']}\n  h: {tables: *t}\n"))
	f.Add(one("columns:\n  a.b: &p {exclude: [x], value: [y], cast: {z: {source: 'z::text'}}, where: 'a < $${b}', key: [k], map: {k: l}}\n  a.c: *p\n"))
	f.Add("limits: {bytes_per_s: 5MB}\n" + one("columns: {a.b: {where: {target: x}}}"))
	f.Add("a: &a [*a, *a]\nb: !!binary x\n? [c]\n: ~\n<<: *a\n---\n")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, canary) {
			return // a key of that name may show
		}
		c, err := read(t, text)
		if err != nil {
			return
		}
		plain, err := yaml.Marshal(written(c))
		if err != nil {
			t.Fatal(err)
		}
		again, err := read(t, string(plain))
		if err != nil {
			t.Fatalf("%v in\n%s", err, plain)
		}
		for _, c := range []*Config{c, again} {
			for _, m := range c.Migrations {
				m.DSNAt = [2]string{}
			}
			c.Warnings = nil
		}
		// Groups come in the file's order, a written map in no order.
		for name, m := range c.Migrations {
			if len(m.Groups) > 1 && len(again.Migrations[name].Groups) == len(m.Groups) {
				m.Groups, again.Migrations[name].Groups = nil, nil
			}
		}
		if !reflect.DeepEqual(c, again) {
			t.Fatalf("%q is %+v\nwritten as\n%s\nit is %+v", text, c, plain, again)
		}
	})
}

// tree is a mapping of the file; entries that are empty are left out.
type tree map[string]any

func (m tree) set(key string, value any) {
	if v := reflect.ValueOf(value); v.Kind() == reflect.Pointer && v.IsNil() || v.Kind() != reflect.Pointer && v.Len() == 0 {
		return
	} else if v.Kind() == reflect.Pointer {
		value = v.Elem().Interface()
	}
	if d, ok := value.(interface{ String() string }); ok {
		value = d.String()
	}
	m[key] = value
}

func escape(s string) string { return strings.ReplaceAll(s, "${", "$${") }

func written(c *Config) tree {
	root := tree{}
	if c.MaxRate != nil {
		root["limits"] = tree{"bytes_per_s": *c.MaxRate}
	}
	migrations := tree{}
	for name, m := range c.Migrations {
		w := tree{"source": tree{"dsn": escape(m.DSN[0])}, "target": tree{"dsn": escape(m.DSN[1])}}
		w.set("tables", writtenPatterns(m.Tables))
		w.set("exclude", writtenPatterns(m.Exclude))
		groups := tree{}
		for _, g := range m.Groups {
			group := tree{}
			group.set("tables", writtenPatterns(g.Tables))
			group.set("exclude", writtenPatterns(g.Exclude))
			groups[g.Name] = group
		}
		w.set("groups", groups)
		mapped := tree{}
		for source, target := range m.Map {
			mapped[source.SQL()] = escape(target.SQL())
		}
		w.set("map", mapped)
		columns := tree{}
		for table, p := range m.Policies {
			columns[table.SQL()] = writtenPolicy(p)
		}
		w.set("columns", columns)
		verify := tree{}
		verify.set("timeout", m.Verify.Timeout)
		verify.set("recheck", m.Verify.Recheck)
		verify.set("stall_timeout", m.Verify.StallTimeout)
		verify.set("snapshot", m.Verify.Snapshot)
		verify.set("read", m.Verify.Read)
		verify.set("values", m.Verify.Values)
		verify.set("workers", m.Verify.Workers)
		verify.set("ignore_large_objects", m.Verify.IgnoreLargeObjects)
		w.set("verify", verify)
		migrations[name] = w
	}
	root["migrations"] = migrations
	return root
}

func writtenPatterns(list []relation.Pattern) (texts []string) {
	for _, p := range list {
		texts = append(texts, escape(p.String()))
	}
	return texts
}

func writtenPolicy(p Policy) tree {
	w, cast, columns := tree{}, tree{}, tree{}
	list := func(columns []string) (texts []string) {
		for _, c := range columns {
			texts = append(texts, escape(c))
		}
		return texts
	}
	w.set("exclude", list(p.Exclude))
	w.set("value", list(p.Value))
	w.set("key", list(p.Key))
	for c, sql := range p.Cast {
		cast[c] = writtenSides(sql)
	}
	w.set("cast", cast)
	w.set("where", writtenSides(p.Where))
	for from, to := range p.Columns {
		columns[from] = escape(to)
	}
	w.set("map", columns)
	return w
}

func writtenSides(sql [2]string) tree {
	w := tree{}
	w.set("source", escape(sql[0]))
	w.set("target", escape(sql[1]))
	return w
}

var dollar = regexp.MustCompile(`\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$\{`)

// FuzzExpand compares with a definition by regular expression.
func FuzzExpand(f *testing.F) {
	for _, s := range []string{"", "$", "a${X}b", "$${X}", "$$${X}", "$$", "${", "${}", "${1}", "${X}${X}", "$${${X}", "${X$${X}}"} {
		f.Add(s, "value")
	}
	f.Add("${X}", "${X}")
	f.Fuzz(func(t *testing.T, s, value string) {
		env := func(name string) (string, bool) { return value, name != "UNSET" }
		wrong := false
		want := dollar.ReplaceAllStringFunc(s, func(match string) string {
			switch {
			case match == "$${":
				return "${"
			case match == "${" || match == "${UNSET}":
				wrong = true
			}
			return value
		})
		got, err := expand(s, env)
		if (err != nil) != wrong || err == nil && got != want {
			t.Fatalf("%q is %q, %v; want %q, wrong: %t", s, got, err, want, wrong)
		}
	})
}
