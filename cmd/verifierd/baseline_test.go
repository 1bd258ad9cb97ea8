package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/verifierd/verifierd/internal/pglocal/pgtest"
)

func TestBaseline(t *testing.T) {
	source, target := shop(t)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	before := at("before.baseline")

	r := command(t, "baseline", "keygen", "--name", "shop-dba", "--dir", dir)
	if r.want(t, 0); !strings.Contains(r.stdout, "shop-dba+") {
		t.Errorf("the public key is not shown: %s", r.stdout)
	}
	if info, err := os.Stat(at("shop-dba.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the private key: %v, %v", info, err)
	}
	r = command(t, "baseline", "keygen", "--name", "shop-dba", "--dir", dir)
	if r.want(t, 2, "exists already"); strings.Contains(r.stderr, "--force") {
		t.Errorf("a flag is named that keygen does not have: %s", r.stderr)
	}
	command(t, "baseline", "keygen", "--name", "other", "--dir", dir).want(t, 0)

	r = command(t, "baseline", "capture", "--dsn", source, "--out", before, "--key", at("shop-dba.key"))
	if r.want(t, 0, "capturing 2 tables", "captured"); !strings.Contains(r.stdout, "5,010 rows in 2 tables") || !strings.Contains(r.stdout, `signed by "shop-dba"`) {
		t.Errorf("what was captured is not said: %s", r.stdout)
	}
	if info, err := os.Stat(before); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", info, err)
	}
	command(t, "baseline", "capture", "--dsn", source, "--out", before).want(t, 2, "exists already", "--force")
	command(t, "baseline", "capture", "--dsn", source, "--out", at("unsigned"), "--like", before).want(t, 0)
	command(t, "baseline", "capture", "--dsn", source, "--out", at("unsigned"), "--like", before, "--force").want(t, 0)

	t.Run("show", func(t *testing.T) {
		r := command(t, "baseline", "show", "--key", at("shop-dba.pub"), before)
		if r.want(t, 0); !strings.Contains(r.stdout, `signed by "shop-dba", checked`) {
			t.Errorf("the signature is not said to be checked: %s", r.stdout)
		}
		r = command(t, "baseline", "show", "--note", before)
		if r.want(t, 0); !strings.Contains(r.stdout, "tables 2 rows 5010") || !strings.Contains(r.stdout, "— shop-dba ") {
			t.Errorf("the note: %s", r.stdout)
		}
		r = command(t, "baseline", "show", "--output", "json", before)
		r.want(t, 0)
		var doc struct {
			Rows   int
			Tables []struct{ Table, Root string }
		}
		if err := json.Unmarshal([]byte(r.stdout), &doc); err != nil || doc.Rows != 5010 || len(doc.Tables) != 2 || len(doc.Tables[0].Root) != 32 {
			t.Errorf("%v: %+v", err, doc)
		}
	})
	t.Run("match", func(t *testing.T) {
		command(t, "baseline", "verify", "--dsn", source, before).want(t, 0)
		r := command(t, "baseline", "verify", "--dsn", target, "--key", at("shop-dba.pub"), before)
		if r.want(t, 0); !strings.Contains(r.stdout, "MATCH: 5,010 rows in 2 tables are identical") || !strings.Contains(r.stdout, "baseline of") {
			t.Errorf("%s", r.stdout)
		}
		command(t, "baseline", "verify", before, at("unsigned")).want(t, 0)
	})
	t.Run("diverged", func(t *testing.T) {
		pgtest.Exec(t, target, `UPDATE orders SET note = 'c4n4ry' WHERE id = 4711`, `DELETE FROM "Odd=Name" WHERE id = 3`)
		for _, format := range []string{"table", "json", "ndjson", "junit", "html"} {
			r := command(t, "baseline", "verify", "--dsn", target, "--output", format, before)
			if r.want(t, 1); strings.Contains(r.stdout+r.stderr, "c4n4ry") || !strings.Contains(r.stdout, "leaves") && !strings.Contains(r.stdout, "leaf") {
				t.Errorf("%s: %s", format, r.stdout)
			}
		}
		r := command(t, "baseline", "verify", "--dsn", target, "--output", "json", before)
		var doc struct {
			Source struct {
				Baseline struct{ Signature string }
			}
			Tables []struct {
				Table  string
				Leaves struct {
					Total, Divergent int
					Ranges           []struct {
						SourceRows int `json:"source_rows"`
						TargetRows int `json:"target_rows"`
					}
				}
			}
		}
		if err := json.Unmarshal([]byte(r.stdout), &doc); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(doc.Source.Baseline.Signature, "not checked") {
			t.Errorf("signature: %q", doc.Source.Baseline.Signature)
		}
		for _, table := range doc.Tables {
			if table.Leaves.Divergent != 1 || len(table.Leaves.Ranges) != 1 {
				t.Errorf("%+v", table)
			}
		}
		command(t, "baseline", "verify", "--dsn", target, "--table", "public.orders", before).want(t, 1)
		pgtest.Exec(t, target, `UPDATE orders SET note = 'order 4711' WHERE id = 4711`)
		command(t, "baseline", "verify", "--dsn", target, "--exclude", `public."Odd=Name"`, before).want(t, 0)
		pgtest.Exec(t, target, `INSERT INTO "Odd=Name" VALUES (3)`)
		command(t, "baseline", "verify", "--dsn", target, before).want(t, 0)
	})
	t.Run("configured", func(t *testing.T) {
		config := at("verifierd.yaml")
		text := `migrations:
  shop:
    source: {dsn: "` + source + `"}
    target: {dsn: "` + target + `"}
    groups: {core: {tables: [public.orders]}}
    columns:
      public.orders:
        map: {note: remark}
        value: [total]
        where: {source: "id <= 100", target: "id <= 100 AND true"}
`
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		r := command(t, "baseline", "capture", "--config", config, "--out", at("configured"))
		if r.want(t, 0); !strings.Contains(r.stdout, "100 rows in 1 table") || !strings.Contains(r.stdout, "only rows of the source where id <= 100") {
			t.Errorf("%s", r.stdout)
		}
		r = command(t, "baseline", "verify", "--dsn", target, at("configured"))
		if r.want(t, 0); !strings.Contains(r.stdout, "but for what the policy leaves out") || strings.Contains(r.stdout, "drifts") {
			t.Errorf("%s", r.stdout)
		}
	})
	t.Run("trouble", func(t *testing.T) {
		whole, err := os.ReadFile(before)
		if err != nil {
			t.Fatal(err)
		}
		write := func(name string, b []byte) string {
			if err := os.WriteFile(at(name), b, 0o600); err != nil {
				t.Fatal(err)
			}
			return at(name)
		}
		altered := append([]byte(nil), whole...)
		altered[len(altered)/2] ^= 1
		empty, _ := pgtest.Pair(t)
		for _, c := range []struct {
			args []string
			want string
		}{
			{[]string{"verify", "--dsn", source, write("altered", altered)}, "altered"},
			{[]string{"verify", "--dsn", source, write("cut", whole[:len(whole)-1])}, "truncated"},
			{[]string{"verify", "--dsn", source, write("text", []byte("a text"))}, "not a baseline"},
			{[]string{"verify", "--dsn", source, at("none")}, "no such file"},
			{[]string{"verify", "--dsn", source, "--key", at("other.pub"), before}, "signed by another key"},
			{[]string{"verify", "--dsn", source, "--key", at("shop-dba.pub"), at("unsigned")}, "not signed"},
			{[]string{"verify", "--dsn", source, "--key", at("shop-dba.key"), before}, "private key"},
			{[]string{"verify", "--dsn", source, "--key", "", before}, "--key"},
			{[]string{"verify", before}, "--dsn: missing"},
			{[]string{"verify", "--dsn", source, before, before}, "without a database"},
			{[]string{"verify", "--dsn", source}, "one file or two"},
			{[]string{"verify", before, "--dsn", source}, "flags go before"},
			{[]string{"verify", "--dsn", source, "--table", "public.nothing", before}, ""},
			{[]string{"show", "--output", "junit", before}, "no junit form"},
			{[]string{"show", "--note", at("unsigned")}, "not signed"},
			{[]string{"capture", "--dsn", source}, "--out: missing"},
			{[]string{"capture", "--out", at("x")}, "--dsn: missing"},
			{[]string{"capture", "--out", at("x"), "--migration", "m"}, "needs --config"},
			{[]string{"capture", "--dsn", source, "--out", at("none/x")}, "no such file"},
			{[]string{"capture", "--dsn", source, "--out", at("x"), "--key", at("shop-dba.pub")}, "no private key"},
			{[]string{"capture", "--dsn", source, "--out", at("x"), "--like", at("altered")}, "altered"},
			{[]string{"capture", "--dsn", source, "--out", at("x"), "--table", "public.nothing"}, "selects nothing"},
			{[]string{"capture", "--dsn", nowhere, "--out", at("x")}, "connect"},
		} {
			command(t, append([]string{"baseline"}, c.args...)...).want(t, 2, c.want)
		}
		r := command(t, "baseline", "verify", "--dsn", empty, before)
		if r.want(t, 2); !strings.Contains(r.stdout, "INCOMPLETE: the baseline does not describe database") {
			t.Errorf("%s", r.stdout)
		}
		// What cannot be captured leaves no file.
		pgtest.Exec(t, target, `CREATE TABLE ids (id xid)`)
		command(t, "baseline", "capture", "--dsn", target, "--out", at("x")).want(t, 2, "public.ids", "--exclude")
		if files, err := filepath.Glob(filepath.Join(dir, "*x")); err != nil || len(files) > 0 {
			t.Errorf("left behind: %q, %v", files, err)
		}
	})
}
