package main

import (
	"errors"
	"math"
	"os"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/verifierd/verifierd/pkg/relation"
)

func TestParseRate(t *testing.T) {
	for s, want := range map[string]int64{
		"": 0, "1": 1, "1000000": 1e6, "50MB": 50e6, "50MB/s": 50e6, "50 MiB": 50 << 20, "1GiB": 1 << 30,
		"1.5k": 1500, "2kb/s": 2000, "3KiB": 3072, "7b": 7, "1T": 1e12, " 5M ": 5e6,
	} {
		if got, err := parseRate(s); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", s, got, err, want)
		}
	}
	for _, s := range []string{
		"0", "0MB", "-5", "-5MB", "MB", "5X", "5 MB per hour", "1e9", "1.2.3", "NaN", "inf", "0.1", "99999999999TB", "5/s/s", "+5", "0x10", "/s",
	} {
		if got, err := parseRate(s); err == nil {
			t.Errorf("%q: %d, want an error", s, got)
		}
	}
}

func TestParseMap(t *testing.T) {
	got, err := parseMap([]string{`public.a=new.b`, `"Odd=Name"."q""=x"=public."="`})
	if err != nil {
		t.Fatal(err)
	}
	for source, target := range map[relation.Name]relation.Name{
		{Schema: "public", Name: "a"}:      {Schema: "new", Name: "b"},
		{Schema: "Odd=Name", Name: `q"=x`}: {Schema: "public", Name: "="},
	} {
		if got[source] != target {
			t.Errorf("%s is mapped to %s, want %s", source, got[source], target)
		}
	}
	for _, bad := range [][]string{
		{""},
		{"a.b"},
		{"a=b"},
		{"a.b="},
		{"=a.b"},
		{`"a.b=c.d`},
		{"a.b=c.d=e.f.g"},
		{"a.b=c.d", "a.b=c.e"},
		{"a.b=c.d", "a.c=c.d"},
	} {
		if got, err := parseMap(bad); err == nil {
			t.Errorf("%q: %v, want an error", bad, got)
		}
	}
}

func TestRedact(t *testing.T) {
	const secret = "s3cr3t"
	for _, s := range []string{
		"postgres://u:s3cr3t@h/db", "x postgresql://u:s3cr3t@h:1/db?a=b y", "postgres://u:p@s3cr3t@h/db", "postgres://u:s3cr3t/x@h/db",
		"password=s3cr3t host=h", "PASSWORD = 's3cr3t'", `password='a b \' s3cr3t' host=h`, "password='a s3cr3t",
		"postgres://h/db?password=s3cr3t&sslmode=disable", "sslpassword=s3cr3t",
	} {
		if got := redact(s, nil); strings.Contains(got, secret) {
			t.Errorf("%s still holds the password: %s", s, got)
		}
	}
	const plain = `verify: connect to the source: "postgres://u@h/db": user=u database=db`
	if got := redact(plain, []string{"verify", "--source", "postgres://u@h/db"}); got != plain {
		t.Errorf("%s became %s", plain, got)
	}
}

func TestLimitMemory(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	restore := limitMemory(3)
	if got, want := debug.SetMemoryLimit(-1), int64(64<<20+12<<20); got != want && os.Getenv("GOMEMLIMIT") == "" {
		t.Errorf("limit %d, want %d", got, want)
	}
	restore()
	t.Setenv("GOMEMLIMIT", "1GiB")
	restore = limitMemory(3)
	if got := debug.SetMemoryLimit(-1); got != before {
		t.Errorf("limit %d although GOMEMLIMIT is set; it was %d", got, before)
	}
	restore()
	if before < math.MaxInt64 && os.Getenv("GOMEMLIMIT") == "" {
		t.Errorf("another test left a limit of %d", before)
	}
}

func TestIndented(t *testing.T) {
	if got := indented(errors.Join(errors.New("a"), errors.New("b"))); got != "a\n   b" {
		t.Errorf("%q", got)
	}
}
