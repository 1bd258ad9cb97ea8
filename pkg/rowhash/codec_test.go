package rowhash

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
)

// naiveCodec is the definition of what Codec.rewrite does. It takes a value
// apart and builds it anew, and panics where the value is malformed.
func naiveCodec(c Codec, b []byte) []byte {
	i32 := func(b []byte) int { return int(int32(binary.BigEndian.Uint32(b))) }
	must := func(ok bool) {
		if !ok {
			panic("malformed")
		}
	}
	floats := func(b []byte) (out []byte) {
		for ; len(b) > 0; b = b[8:] {
			f := math.Float64frombits(binary.BigEndian.Uint64(b))
			if f != f {
				out = append(out, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0)
			} else {
				out = binary.BigEndian.AppendUint64(out, math.Float64bits(f))
			}
		}
		return out
	}
	// next canonicalises a value with its length, and returns the rest.
	next := func(c Codec, b []byte, mayBeNull bool) (out, rest []byte) {
		n := i32(b)
		if n == -1 && mayBeNull {
			return b[:4], b[4:]
		}
		v := naiveCodec(c, slices.Clip(b[4:4+n]))
		return append(bytes.Clone(b[:4]), v...), b[4+n:]
	}
	var out, v []byte
	switch c.kind {
	case plain:
		return b
	case float4:
		must(len(b) == 4)
		if f := math.Float32frombits(binary.BigEndian.Uint32(b)); f != f {
			return []byte{0x7f, 0xc0, 0, 0}
		}
		return b
	case float8:
		return floats(b)
	case path:
		must(len(b) == 5+16*i32(b[1:]))
		return append(bytes.Clone(b[:5]), floats(b[5:])...)
	case polygon:
		must(len(b) == 4+16*i32(b))
		return append(bytes.Clone(b[:4]), floats(b[4:])...)
	case array:
		dims, elements := i32(b), 1
		must(0 <= dims && dims <= 6 && (i32(b[4:]) == 0 || i32(b[4:]) == 1))
		if dims == 0 {
			elements = 0
		}
		for d := range dims {
			n := i32(b[12+8*d:])
			must(n >= 0 && elements*n <= len(b))
			elements *= n
		}
		out = append(out, b[:4]...)
		out = append(out, make([]byte, 8)...)
		out = append(out, b[12:12+8*dims]...)
		b = b[12+8*dims:]
		for range elements {
			v, b = next(c.parts[0], b, true)
			out = append(out, v...)
		}
	case record:
		must(i32(b) == len(c.parts))
		out, b = append(out, b[:4]...), b[4:]
		for _, attr := range c.parts {
			out = append(out, 0, 0, 0, 0)
			v, b = next(attr, b[4:], true)
			out = append(out, v...)
		}
	case rangeOf:
		flags := b[0]
		must(flags < 0x20)
		out, b = append(out, flags), b[1:]
		for _, infinite := range []byte{0x08, 0x10} {
			if flags&(0x01|infinite) == 0 {
				v, b = next(c.parts[0], b, false)
				out = append(out, v...)
			}
		}
	case multirange:
		n := i32(b)
		must(n >= 0)
		out, b = append(out, b[:4]...), b[4:]
		for range n {
			v, b = next(c.parts[0], b, false)
			out = append(out, v...)
		}
	}
	must(len(b) == 0)
	return out
}

// naive returns naiveCodec's result; ok is false where it panics.
func naive(c Codec, b []byte) (out []byte, ok bool) {
	defer func() {
		if recover() != nil {
			out, ok = nil, false
		}
	}()
	return naiveCodec(c, slices.Clip(bytes.Clone(b))), true
}

// codecs are those that testdata names.
var codecs = map[string]Codec{
	"plain":                             Plain,
	"float4":                            Float4,
	"float8":                            Float8,
	"floats":                            Floats,
	"path":                              Path,
	"polygon":                           Polygon,
	"array(plain)":                      ArrayOf(Plain),
	"array(float4)":                     ArrayOf(Float4),
	"array(float8)":                     ArrayOf(Float8),
	"array(range(float8))":              ArrayOf(RangeOf(Float8)),
	"range(plain)":                      RangeOf(Plain),
	"range(float8)":                     RangeOf(Float8),
	"range(array(plain))":               RangeOf(ArrayOf(Plain)),
	"multirange(plain)":                 MultirangeOf(Plain),
	"multirange(float8)":                MultirangeOf(Float8),
	"record()":                          Record(),
	"record(plain,plain)":               Record(Plain, Plain),
	"array(record(float8))":             ArrayOf(Record(Float8)),
	"record(path,polygon)":              Record(Path, Polygon),
	"multirange(array(...))":            MultirangeOf(ArrayOf(Plain)),
	"record(plain,float8,plain)":        Record(Plain, Float8, Plain),
	"array(record(plain,float8,plain))": ArrayOf(Record(Plain, Float8, Plain)),
	"record(record(plain,float8,plain),array(float8))": Record(Record(Plain, Float8, Plain), ArrayOf(Float8)),
}

// A sample is a value that a server sent.
type sample struct {
	name  string
	codec string
	value []byte
}

func samples(t testing.TB) (all []sample) {
	t.Helper()
	text, err := os.ReadFile("testdata/send.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Split(strings.TrimSpace(line), "|")
		value, err := hex.DecodeString(f[2])
		if _, ok := codecs[f[1]]; err != nil || !ok {
			t.Fatalf("malformed line %q: %v", line, err)
		}
		all = append(all, sample{f[0], f[1], value})
	}
	return all
}

// checkCodec compares a codec with its definition on one value.
func checkCodec(t *testing.T, c Codec, value []byte) (ok bool) {
	t.Helper()
	want, ok := naive(c, value)
	got := slices.Clip(bytes.Clone(value))
	must := c.needsRewrite(value)
	err := c.rewrite(got)
	switch {
	case ok != (err == nil):
		t.Fatalf("rewrite %x: error %v, want one: %v", value, err, !ok)
	case !ok:
		if !must {
			t.Fatalf("%x is malformed, and needs no rewrite", value)
		}
		return false
	case !bytes.Equal(got, want):
		t.Fatalf("rewrite %x\n= %x, want\n  %x", value, got, want)
	case !must && !bytes.Equal(value, want):
		t.Fatalf("%x needs no rewrite, but is not canonical", value)
	}
	again := bytes.Clone(got)
	if err := c.rewrite(again); err != nil || !bytes.Equal(again, got) {
		t.Fatalf("rewrite of the canonical %x = %x, %v", got, again, err)
	}
	return true
}

func TestCodecs(t *testing.T) {
	for _, s := range samples(t) {
		t.Run(s.name, func(t *testing.T) {
			c := codecs[s.codec]
			if !checkCodec(t, c, s.value) {
				t.Fatal("taken for malformed")
			}
			// Each way to damage a value in one place.
			for i := range s.value {
				checkCodec(t, c, s.value[:i])
				for _, with := range []byte{0, 1, 0x7f, 0x80, 0xff, s.value[i] + 1, s.value[i] - 1} {
					damaged := bytes.Clone(s.value)
					damaged[i] = with
					checkCodec(t, c, damaged)
				}
			}
			checkCodec(t, c, append(bytes.Clone(s.value), 0))
			checkCodec(t, c, append(bytes.Clone(s.value), s.value...))
		})
	}
}

// What servers send for one value is one value; for two, it stays two.
func TestCodecNeighbours(t *testing.T) {
	f8 := func(bits ...uint64) (b []byte) {
		for _, v := range bits {
			b = binary.BigEndian.AppendUint64(b, v)
		}
		return b
	}
	f4 := func(bits uint32) []byte { return binary.BigEndian.AppendUint32(nil, bits) }
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	const (
		nan, nanPayload, nanNegative, nanSignalling = 0x7ff8000000000000, 0x7ff8000000000001, 0xfff8000000000000, 0x7ff0000000000001

		inf, zero, negativeZero = 0x7ff0000000000000, 0, 1 << 63
	)
	for _, c := range []struct {
		name string
		Codec
		a, b []byte
		same bool
	}{
		{"NaN payload", Float8, f8(nan), f8(nanPayload), true},
		{"negative NaN", Float8, f8(nan), f8(nanNegative), true},
		{"signalling NaN", Float8, f8(nan), f8(nanSignalling), true},
		{"NaN, infinity", Float8, f8(nan), f8(inf), false},
		{"infinities", Float8, f8(inf), f8(inf | 1<<63), false},
		{"-0", Float8, f8(zero), f8(negativeZero), false},
		{"float4 NaN payload", Float4, f4(0x7fc00000), f4(0xffc00001), true},
		{"float4 signalling NaN", Float4, f4(0x7fc00000), f4(0x7f800001), true},
		{"float4 infinity", Float4, f4(0x7fc00000), f4(0x7f800000), false},
		{"float4 -0", Float4, f4(0), f4(1 << 31), false},
		{"point, NaN in y", Floats, f8(zero, nan), f8(zero, nanPayload), true},
		{"point, x and y", Floats, f8(zero, nan), f8(nan, zero), false},
		{"path open, closed", Path, append([]byte{0}, unhex("00000000")...), append([]byte{1}, unhex("00000000")...), false},
		{
			"array NULL flag", ArrayOf(Plain),
			unhex("00000001 00000000 00000017 00000001 00000001 00000001 41"),
			unhex("00000001 00000001 00000017 00000001 00000001 00000001 41"), true,
		},
		{
			"array OID", ArrayOf(Plain),
			unhex("00000001 00000000 00004001 00000001 00000001 00000001 41"),
			unhex("00000001 00000000 0000400d 00000001 00000001 00000001 41"), true,
		},
		{
			"array lower bound", ArrayOf(Plain),
			unhex("00000001 00000000 00000017 00000001 00000001 00000001 41"),
			unhex("00000001 00000000 00000017 00000001 00000002 00000001 41"), false,
		},
		{
			"array of NULL, of ''", ArrayOf(Plain),
			unhex("00000001 00000001 00000017 00000001 00000001 ffffffff"),
			unhex("00000001 00000000 00000017 00000001 00000001 00000000"), false,
		},
		{
			"array dimensions", ArrayOf(Plain),
			unhex("00000002 00000000 00000017 00000001 00000001 00000002 00000001 ffffffff ffffffff"),
			unhex("00000002 00000000 00000017 00000002 00000001 00000001 00000001 ffffffff ffffffff"), false,
		},
		{
			"NaN in an array", ArrayOf(Float8),
			append(unhex("00000001 00000000 000002bd 00000001 00000001 00000008"), f8(nan)...),
			append(unhex("00000001 00000000 000002bd 00000001 00000001 00000008"), f8(nanPayload)...), true,
		},
		{
			"record OID", Record(Plain),
			unhex("00000001 00004001 00000001 41"), unhex("00000001 00004002 00000001 41"), true,
		},
		{
			"record of NULL, of ''", Record(Plain),
			unhex("00000001 00004001 ffffffff"), unhex("00000001 00004001 00000000"), false,
		},
		{
			"range inclusion", RangeOf(Float8),
			append(unhex("12 00000008"), f8(zero)...), append(unhex("10 00000008"), f8(zero)...), false,
		},
		{
			"range NaN", RangeOf(Float8),
			append(unhex("12 00000008"), f8(nan)...), append(unhex("12 00000008"), f8(nanPayload)...), true,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !checkCodec(t, c.Codec, c.a) || !checkCodec(t, c.Codec, c.b) {
				t.Fatal("malformed")
			}
			if bytes.Equal(c.a, c.b) {
				t.Fatal("values do not differ")
			}
			if err := errors.Join(c.rewrite(c.a), c.rewrite(c.b)); err != nil {
				t.Fatal(err)
			}
			if same := bytes.Equal(c.a, c.b); same != c.same {
				t.Errorf("same: %v, want %v\n%x\n%x", same, c.same, c.a, c.b)
			}
		})
	}
}

func TestCodecsCollapse(t *testing.T) {
	for name, c := range map[string]Codec{
		"range":            RangeOf(Plain),
		"multirange":       MultirangeOf(Plain),
		"zero value":       {},
		"range of a range": RangeOf(RangeOf(Plain)),
	} {
		if !c.isPlain() {
			t.Errorf("%s is not plain", name)
		}
	}
	for name, c := range map[string]Codec{"array": ArrayOf(Plain), "record": Record(), "range": RangeOf(Float4)} {
		if c.isPlain() {
			t.Errorf("%s is plain", name)
		}
	}
}

func FuzzCodecs(f *testing.F) {
	names := make([]string, 0, len(codecs))
	for name := range codecs {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, s := range samples(f) {
		f.Add(uint8(slices.Index(names, s.codec)), s.value)
	}
	f.Fuzz(func(t *testing.T, i uint8, value []byte) {
		checkCodec(t, codecs[names[int(i)%len(names)]], value)
	})
}
