package text

import (
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func TestIdent(t *testing.T) {
	for in, want := range map[string]string{
		"orders": "orders", "Orders": `"Orders"`, "a b": `"a b"`, `a"b`: `"a""b"`, "": `""`, "1a": `"1a"`, "a$1": "a$1",
		"東京": "東京", "a\nb": `U&"a\000Ab"`, `a\` + "\x1b\"": `U&"a\\\001B"""`, "a\u202eb": `U&"a\202Eb"`, "\U000E0001": `U&"\+0E0001"`,
	} {
		if got := Ident(in); got != want {
			t.Errorf("Ident(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestValue(t *testing.T) {
	if got := Value(nil, 0); got != "NULL" {
		t.Errorf("NULL is shown as %s", got)
	}
	for in, want := range map[string]string{
		"": "''", "1": "1", "-1.5e+10": "-1.5e+10", "NULL": "'NULL'", "null": "'null'", "a b": "'a b'", "it's": "'it''s'",
		"2026-03-14 09:26:53+00": "'2026-03-14 09:26:53+00'", `\xdead`: `E'\\xdead'`, "a\nb": `E'a\nb'`, "a\x1b'": `E'a\x1b'''`,
		"é": "'é'", "a,b=c": "'a,b=c'",
	} {
		if got := Value(&in, 0); got != want {
			t.Errorf("Value(%q) = %s, want %s", in, got, want)
		}
	}
	long := strings.Repeat("é", 1500)
	if got, want := Value(&long, 3), "'ééé'… (1,500 characters)"; got != want {
		t.Errorf("Value = %s, want %s", got, want)
	}
}

// FuzzPrintable: nothing gets through that a terminal could act on, and no two
// values look alike.
func FuzzPrintable(f *testing.F) {
	for _, s := range []string{"", "a", "NULL", "'", `\`, "\n", "\x1b[2J", "\u202e", "\xff", `E'\n'`, `\n`, "\u0085", "a b"} {
		f.Add(s, s+"'")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, got := range []string{Ident(a), Value(&a, 0), Value(&a, 3), Prose(a), strings.ReplaceAll(Block(a), "\n", "")} {
			if !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("%q comes through as %q", a, got)
			}
		}
		if a != b && Value(&a, 0) == Value(&b, 0) {
			t.Errorf("%q and %q are both shown as %s", a, b, Value(&a, 0))
		}
		if a != b && Ident(a) == Ident(b) && utf8.ValidString(a) && utf8.ValidString(b) {
			t.Errorf("%q and %q are both shown as %s", a, b, Ident(a))
		}
	})
}

func TestNumbers(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1234567: "-1,234,567", -1 << 63: "-9,223,372,036,854,775,808"} {
		if got := Count(n); got != want {
			t.Errorf("Count(%d) = %s, want %s", n, got, want)
		}
	}
	for n, want := range map[int64]string{9999: "9,999", 10_000: "10k", 999_499: "999k", 999_500: "1.0M", 1_234_567: "1.2M", 5e9: "5.0G"} {
		if got := Short(n); got != want {
			t.Errorf("Short(%d) = %s, want %s", n, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1,023 B", 1024: "1.0 KiB", 355 << 20: "355 MiB", 1 << 40: "1.0 TiB", 1 << 62: "4,096 PiB"} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %s, want %s", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		-1: "0s", 0: "0s", 1: "1ms", 12 * time.Millisecond: "12ms", 812 * time.Millisecond: "0.8s", 59_960 * time.Millisecond: "1m00s",
		192 * time.Second: "3m12s", time.Hour - 1: "1h00m", 125 * time.Minute: "2h05m",
	} {
		if got := Duration(d); got != want {
			t.Errorf("Duration(%v) = %s, want %s", d, got, want)
		}
	}
}

func TestWrap(t *testing.T) {
	got := strings.Join(Wrap("one two  three 東京東京 averyveryverylongword", 9), "|")
	if want := "one two |three|東京東京|averyveryverylongword"; got != want {
		t.Errorf("Wrap = %q, want %q", got, want)
	}
	if got := Wrap("", 9); len(got) != 1 || got[0] != "" {
		t.Errorf("Wrap of nothing = %q", got)
	}
}
