package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/verifierd/verifierd/pkg/parity"
	"github.com/verifierd/verifierd/pkg/relation"
	"github.com/verifierd/verifierd/pkg/snapshot"
)

func group(t *testing.T, tables, exclude string) Group {
	t.Helper()
	var g Group
	for _, s := range strings.Fields(tables) {
		g.Tables = append(g.Tables, pattern(t, s))
	}
	for _, s := range strings.Fields(exclude) {
		g.Exclude = append(g.Exclude, pattern(t, s))
	}
	return g
}

func listed(names string) []snapshot.Listed {
	var list []snapshot.Listed
	for _, s := range strings.Fields(names) {
		l := snapshot.Listed{Kind: relation.Ordinary}
		if rest, part := strings.CutSuffix(s, "/part"); part {
			s, l.Part = rest, true
		}
		l.Name = relation.Name{Schema: "public", Name: s}
		list = append(list, l)
	}
	return list
}

// What one group excludes another may select: a table that any of them names
// must not be left out.
func TestSelectGroups(t *testing.T) {
	sides := [2][]snapshot.Listed{listed("a b log log_p/part tmp"), listed("a b extra log log_p/part tmp")}
	for name, test := range map[string]struct {
		groups []Group
		want   string
	}{
		"excluded elsewhere":       {[]Group{group(t, "public.*", "public.log public.tmp"), group(t, "public.log", "")}, "a b log"},
		"excluded elsewhere first": {[]Group{group(t, "public.log", ""), group(t, "public.*", "public.log public.tmp")}, "a b log"},
		"excluded everywhere":      {[]Group{group(t, "public.*", "public.log"), group(t, "public.*", "public.l* public.tmp")}, "a b tmp"},
		"two that overlap":         {[]Group{group(t, "public.a", ""), group(t, "public.*", "public.b public.log public.tmp")}, "a"},
		"a part by name":           {[]Group{group(t, "public.a", ""), group(t, "public.log_p", "")}, "a log_p"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := selectTables(sides, Options{Groups: test.groups})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, table := range s.tables {
				got = append(got, table.Source.Name)
			}
			if strings.Join(got, " ") != test.want {
				t.Errorf("selected %q, want %q", got, test.want)
			}
		})
	}
	s, err := selectTables(sides, Options{Groups: []Group{group(t, "public.a", "public.x public.b"), group(t, "public.b", "public.x")}})
	if err != nil || len(s.notes) != 1 || !strings.Contains(s.notes[0], "exclude public.x matches nothing") {
		t.Errorf("an exclusion of nothing, in two groups: %v, %+v", err, s)
	}
	_, err = selectTables(sides, Options{Groups: []Group{group(t, "public.a", ""), group(t, "public.b public.none", "")}})
	if err == nil || !strings.Contains(err.Error(), "public.none selects nothing") {
		t.Errorf("a pattern of the second group that selects nothing: %v", err)
	}
}

func TestSelectPolicies(t *testing.T) {
	sides := [2][]snapshot.Listed{listed("a b log log_p/part"), listed("a b2 log log_p/part only")}
	name := func(s string) relation.Name { return relation.Name{Schema: "public", Name: s} }
	policies := func(tables ...string) map[relation.Name]Policy {
		m := make(map[relation.Name]Policy)
		for _, s := range tables {
			m[name(s)] = Policy{Exclude: []string{"of " + s}}
		}
		return m
	}
	o := Options{
		Exclude: group(t, "", "public.log").Exclude,
		Map:     map[relation.Name]relation.Name{name("b"): name("b2")},
	}
	o.Policies = policies("b")
	s, err := selectTables(sides, o)
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]parity.Tables)
	for _, table := range s.tables {
		got[table.Source.Name] = table
	}
	if b := got["b"]; b.Target != name("b2") || len(b.Policy.Exclude) != 1 || b.Policy.Exclude[0] != "of b" {
		t.Errorf("b is compared as %+v", b)
	}
	if a := got["a"]; a.Source != name("a") || len(a.Policy.Exclude) != 0 {
		t.Errorf("a is compared as %+v", a)
	}
	for table, want := range map[string]string{
		"none": "the source has no such table", "only": "the source has no such table", "b2": "the source has no such table",
		"log": "is not selected", "log_p": "part of another table",
	} {
		o.Policies = policies("a", table)
		if _, err := selectTables(sides, o); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "public."+table) {
			t.Errorf("a policy of %s: %v, want %q", table, err, want)
		}
	}
}

// TestSelectMap: a table that is mapped, and neither compared nor excluded, was
// meant to be compared.
func TestSelectMap(t *testing.T) {
	sides := [2][]snapshot.Listed{listed("a b log_p/part"), listed("a b2")}
	name := func(s string) relation.Name { return relation.Name{Schema: "public", Name: s} }
	only := group(t, "public.a", "")
	for table, want := range map[string]string{"b": "map of public.b: the table is not selected", "log_p": "part of another table"} {
		o := Options{Tables: only.Tables, Map: map[relation.Name]relation.Name{name(table): name("b2")}}
		if _, err := selectTables(sides, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("a map of %s: %v, want %q", table, err, want)
		}
		o.MapOthers = true
		if _, err := selectTables(sides, o); err != nil {
			t.Errorf("a map of %s that was made for more tables: %v", table, err)
		}
		o.MapOthers, o.Exclude = false, group(t, "", "public."+table).Exclude
		if s, err := selectTables(sides, o); err != nil || len(s.differences) > 0 {
			t.Errorf("a map of %s, which is excluded: %v", table, err)
		}
	}
}

func TestNoService(t *testing.T) {
	path := filepath.Join(t.TempDir(), "services")
	t.Setenv("PGSERVICEFILE", path)
	if _, err := CheckDSN("service=old"); err == nil || !strings.Contains(err.Error(), "service file "+path+" does not exist") {
		t.Errorf("no file: %v", err)
	}
	if err := os.WriteFile(path, []byte("[new]\nhost=x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := CheckDSN("service=old"); err == nil || !strings.Contains(err.Error(), "no service [old]") {
		t.Errorf("no such service: %v", err)
	}
}
