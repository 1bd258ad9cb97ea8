package rowhash

import (
	"bytes"
	"testing"
)

func TestSorted(t *testing.T) {
	for _, c := range []struct {
		codec    Codec
		in, want string
	}{
		{JSONBSorted, "\x01null", "\x01null"},
		{JSONBSorted, "\x01{}", "\x01{}"},
		{JSONBSorted, "\x01[]", "\x01[]"},
		{JSONBSorted, "\x01-1.50", "\x01-1.50"},
		{JSONBSorted, `` + "\x01" + `{"é": 1, "ab": 2}`, "\x01" + `{"ab": 2, "é": 1}`},
		{JSONBSorted, "\x01" + `[{"b": {"y": [1, 2], "x": "}, {"}, "a\"": []}, true]`, "\x01" + `[{"a\"": [], "b": {"x": "}, {", "y": [1, 2]}}, true]`},
		{
			TSVectorSorted, "\x00\x00\x00\x02" + "é\x00\x00\x01\x00\x07" + "b\x00\x00\x00",
			"\x00\x00\x00\x02" + "b\x00\x00\x00" + "é\x00\x00\x01\x00\x07",
		},
	} {
		b := []byte(c.in)
		if err := c.codec.rewrite(b); err != nil || string(b) != c.want {
			t.Errorf("%q: got %q, %v, want %q", c.in, b, err, c.want)
		}
	}
	for _, c := range []struct {
		codec Codec
		bad   []string
	}{
		{JSONBSorted, []string{"", "\x02{}", "\x01", "\x01{", `` + "\x01" + `{"a"}`, "\x01" + `{"a": 1`, "\x01" + `{"a": 1]`, "\x01[1", "\x01[1, ", "\x01{} ", "\x01" + `"a`, "\x01[1,2]"}},
		{TSVectorSorted, []string{"", "\xff\xff\xff\xff", "\x00\x00\x00\x01", "\x00\x00\x00\x01a", "\x00\x00\x00\x01a\x00\x00", "\x00\x00\x00\x01a\x00\x00\x01\x00", "\x00\x00\x00\x00x"}},
	} {
		for _, in := range c.bad {
			if err := c.codec.rewrite([]byte(in)); err == nil {
				t.Errorf("%q is taken for a value", in)
			}
		}
	}
}

func FuzzSorted(f *testing.F) {
	f.Add("\x01" + `{"b": {"y": 1, "x": [2]}, "a": "\""}`)
	f.Add("\x00\x00\x00\x02b\x00\x00\x01\x00\x07a\x00\x00\x00")
	f.Fuzz(func(t *testing.T, in string) {
		for _, codec := range []Codec{JSONBSorted, TSVectorSorted} {
			once := []byte(in)
			if codec.rewrite(once) != nil {
				continue
			}
			if a, b := histogram([]byte(in)), histogram(once); a != b {
				t.Fatalf("%q: became other bytes: %q", in, once)
			}
			twice := bytes.Clone(once)
			if err := codec.rewrite(twice); err != nil || !bytes.Equal(once, twice) {
				t.Fatalf("%q: sorted %q, sorted again %q, %v", in, once, twice, err)
			}
		}
	})
}

func histogram(b []byte) (n [256]int) {
	for _, c := range b {
		n[c]++
	}
	return n
}
