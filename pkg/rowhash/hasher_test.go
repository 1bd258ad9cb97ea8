package rowhash

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/zeebo/xxh3"

	"github.com/verifierd/verifierd/pkg/merkle"
)

const testSeed = 0x5eed

// newRand returns a generator that yields the same values in each run.
func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

// tuple writes a COPY tuple; nil is NULL.
func tuple(fields ...[]byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(len(fields)))
	for _, f := range fields {
		b = appendField(b, f)
	}
	return b
}

func appendField(b, f []byte) []byte {
	if f == nil {
		return append(b, 0xff, 0xff, 0xff, 0xff)
	}
	return append(binary.BigEndian.AppendUint32(b, uint32(len(f))), f...)
}

// int2, int4, int8 and text are fields as the server sends them.
func int2(v int16) []byte        { return binary.BigEndian.AppendUint16(nil, uint16(v)) }
func int4(v int32) []byte        { return binary.BigEndian.AppendUint32(nil, uint32(v)) }
func int8b(v int64) []byte       { return binary.BigEndian.AppendUint64(nil, uint64(v)) }
func float8b(v uint64) []byte    { return binary.BigEndian.AppendUint64(nil, v) }
func text(s string) []byte       { return append([]byte{}, s...) }
func plainColumns(n int) []Codec { return make([]Codec, n) }

func mustNew(t testing.TB, c Config) *Hasher {
	t.Helper()
	if c.Seed == 0 {
		c.Seed = testSeed
	}
	h, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func mustHash(t testing.TB, h *Hasher, tuple []byte) Row {
	t.Helper()
	row, err := h.Hash(tuple)
	if err != nil {
		t.Fatalf("hash %x: %v", tuple, err)
	}
	return row
}

// naiveRow is the definition of what a Hasher makes of a tuple; ok is false if
// that is an error.
type naiveRow struct {
	canonical []byte
	key       []byte
	prefix    []byte
	columns   [][]byte
	extra     [][]byte
}

func hashNaively(c Config, tuple []byte) (row naiveRow, ok bool) {
	fields, ok := naiveFields(tuple)
	if !ok || len(fields) != len(c.Columns)+c.Extra {
		return row, false
	}
	row.columns, row.extra = fields[:len(c.Columns)], fields[len(c.Columns):]
	for i, codec := range c.Columns {
		if row.columns[i] == nil {
			continue
		}
		canonical, ok := naive(codec, row.columns[i])
		if !ok {
			return row, false
		}
		row.columns[i] = append([]byte{}, canonical...)
	}
	for _, f := range row.columns {
		row.canonical = appendField(row.canonical, f)
	}
	for i, k := range c.Key {
		f := row.columns[k]
		row.key = appendField(row.key, f)
		if i >= len(c.Ordered) {
			continue
		}
		switch n := len(f); {
		case f == nil || c.Ordered[i] == Int && n != 2 && n != 4 && n != 8:
			return row, false
		case c.Ordered[i] == Int:
			f = append([]byte{f[0] ^ 0x80}, f[1:]...)
		}
		row.prefix = append(row.prefix, f...)
	}
	return row, true
}

func naiveFields(b []byte) (fields [][]byte, ok bool) {
	r := bytes.NewReader(b)
	var n int16
	if binary.Read(r, binary.BigEndian, &n) != nil || n < 0 {
		return nil, false
	}
	for range n {
		var size int32
		if binary.Read(r, binary.BigEndian, &size) != nil || size < -1 || int(size) > r.Len() {
			return nil, false
		}
		if size == -1 {
			fields = append(fields, nil)
			continue
		}
		f := make([]byte, size)
		_, _ = r.Read(f) // r has as much
		fields = append(fields, f)
	}
	return fields, r.Len() == 0
}

// checkHash compares a hasher with the definition on one tuple.
func checkHash(t *testing.T, c Config, h *Hasher, tuple []byte) (Row, bool) {
	t.Helper()
	want, ok := hashNaively(c, tuple)
	before := bytes.Clone(tuple)
	row, err := h.Hash(tuple)
	if ok != (err == nil) {
		t.Fatalf("Hash(%x): error %v, want one: %v", tuple, err, !ok)
	}
	if !bytes.Equal(tuple, before) {
		t.Fatalf("Hash changed the tuple %x to %x", before, tuple)
	}
	if !ok {
		return row, false
	}
	if sum := merkle.Hash(xxh3.Hash128Seed(want.canonical, c.Seed)); row.Hash != sum {
		t.Fatalf("Hash(%x) = %v, want %v", tuple, row.Hash, sum)
	}
	if !bytes.Equal(row.Key, want.key) || (row.Key == nil) != (len(c.Key) == 0) {
		t.Fatalf("key of %x = %x, want %x", tuple, row.Key, want.key)
	}
	if !bytes.Equal(row.Prefix, want.prefix) || row.Head != merkle.Head(want.prefix) {
		t.Fatalf("prefix of %x = %x, head %x, want %x", tuple, row.Prefix, row.Head, want.prefix)
	}
	values, err := SplitKey(row.Key)
	if err != nil || len(values) != len(c.Key) {
		t.Fatalf("SplitKey(%x) = %x, %v", row.Key, values, err)
	}
	for i, k := range c.Key {
		if !sameField(values[i], want.columns[k]) {
			t.Fatalf("SplitKey(%x)[%d] = %x, want %x", row.Key, i, values[i], want.columns[k])
		}
	}
	for i := range c.Extra {
		if value, null := h.Extra(i); !sameField(value, want.extra[i]) || null != (value == nil) {
			t.Fatalf("Extra(%d) of %x = %x, %v, want %x", i, tuple, value, null, want.extra[i])
		}
	}
	hashes := h.Columns(nil)
	if len(hashes) != len(c.Columns) {
		t.Fatalf("%d column hashes, want %d", len(hashes), len(c.Columns))
	}
	for i := range hashes {
		for j := range hashes {
			if (hashes[i] == hashes[j]) != sameField(want.columns[i], want.columns[j]) {
				t.Fatalf("hashes of columns %x and %x: %x, %x", want.columns[i], want.columns[j], hashes[i], hashes[j])
			}
		}
	}
	return row, true
}

// sameField tells NULL, which is nil, from the empty value.
func sameField(a, b []byte) bool {
	return (a == nil) == (b == nil) && bytes.Equal(a, b)
}

func TestHash(t *testing.T) {
	array := func(flags int32, v string) []byte {
		return slices.Concat(int4(1), int4(flags), int4(16385), int4(1), int4(1), int4(int32(len(v))), text(v))
	}
	for _, c := range []struct {
		name   string
		config Config
		tuples [][]byte
	}{
		{"no columns", Config{}, [][]byte{tuple()}},
		{"keyless", Config{Columns: plainColumns(2)}, [][]byte{tuple(int4(1), nil), tuple(text(""), text("a"))}},
		{
			"int8 key",
			Config{Columns: plainColumns(2), Key: []int{0}, Ordered: []Order{Int}},
			[][]byte{tuple(int8b(-1), nil), tuple(int8b(math.MaxInt64), text("x"))},
		},
		{
			"int4 key",
			Config{Columns: plainColumns(2), Key: []int{1}, Ordered: []Order{Int}},
			[][]byte{tuple(nil, int4(-1)), tuple(nil, int4(math.MinInt32))},
		},
		{
			"int2 key",
			Config{Columns: plainColumns(1), Key: []int{0}, Ordered: []Order{Int}},
			[][]byte{tuple(int2(7)), tuple(int2(-7))},
		},
		{
			"uuid key",
			Config{Columns: plainColumns(2), Key: []int{0}, Ordered: []Order{Bytes}},
			[][]byte{tuple(bytes.Repeat([]byte{0xab}, 16), text("v"))},
		},
		{
			"bytea key",
			Config{Columns: plainColumns(1), Key: []int{0}, Ordered: []Order{Bytes}},
			[][]byte{tuple(text("")), tuple(text("abc")), tuple(text("abcdefghijkl"))},
		},
		{
			"composite key in order",
			Config{Columns: plainColumns(3), Key: []int{0, 1}, Ordered: []Order{Int, Int}},
			[][]byte{tuple(int4(5), int8b(6), text("v")), tuple(int2(5), int4(6), nil)},
		},
		{
			"composite key out of order",
			Config{Columns: plainColumns(3), Key: []int{2, 0}, Ordered: []Order{Int}},
			[][]byte{tuple(text("a"), text("b"), int4(3)), tuple(nil, text("b"), int4(3))},
		},
		{"key with a gap", Config{Columns: plainColumns(3), Key: []int{0, 2}}, [][]byte{tuple(text("a"), text("b"), text(""))}},
		{"NULL at the key's end", Config{Columns: plainColumns(3), Key: []int{1, 2}}, [][]byte{tuple(text("a"), text("b"), nil)}},
		{"extra fields", Config{Columns: plainColumns(1), Extra: 2}, [][]byte{tuple(text("a"), text("ctid"), nil), tuple(text("a"), text(""), text("q"))}},
		{
			"rewritten",
			Config{Columns: []Codec{Plain, ArrayOf(Plain), Float8, Float4}, Key: []int{1, 0}, Extra: 1},
			[][]byte{
				tuple(text("k"), array(0, "v"), float8b(0x7ff8000000000001), int4(0x7fc00000), text("extra")),
				tuple(text("k"), array(1, "v"), nil, int4(0x7fc00001), nil),
				tuple(text("k"), nil, float8b(1), nil, nil),
			},
		},
		{
			"NaN in a key",
			Config{Columns: []Codec{Float8, Plain}, Key: []int{0}},
			[][]byte{tuple(float8b(0xfff8000000000000), text("v")), tuple(float8b(0x7ff8000000000000), text("v"))},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.config.Seed = testSeed
			h := mustNew(t, c.config)
			for _, good := range c.tuples {
				if _, ok := checkHash(t, c.config, h, good); !ok {
					t.Fatalf("%x taken for malformed", good)
				}
				for i := range good {
					checkHash(t, c.config, h, good[:i])
					for _, with := range []byte{0, 1, 0x7f, 0x80, 0xff, good[i] + 1} {
						damaged := bytes.Clone(good)
						damaged[i] = with
						checkHash(t, c.config, h, damaged)
					}
				}
				checkHash(t, c.config, h, append(bytes.Clone(good), 0))
			}
		})
	}
}

// Rows that look alike, and differ.
func TestHashNeighbours(t *testing.T) {
	h := mustNew(t, Config{Columns: plainColumns(2)})
	seen := map[merkle.Hash]string{}
	for name, row := range map[string][]byte{
		"NULL, NULL":          tuple(nil, nil),
		"NULL, ''":            tuple(nil, text("")),
		"'', NULL":            tuple(text(""), nil),
		"'', ''":              tuple(text(""), text("")),
		"'NULL', NULL":        tuple(text("NULL"), nil),
		"'NULL', ''":          tuple(text("NULL"), text("")),
		"ffffffff, NULL":      tuple(int4(-1), nil),
		"'a|b', 'c'":          tuple(text("a|b"), text("c")),
		"'a', 'b|c'":          tuple(text("a"), text("b|c")),
		"'ab', 'c'":           tuple(text("ab"), text("c")),
		"'a', 'bc'":           tuple(text("a"), text("bc")),
		"'abc', ''":           tuple(text("abc"), text("")),
		"'c', 'ab'":           tuple(text("c"), text("ab")),
		"length as text":      tuple(text("a\x00\x00\x00\x01b"), text("c")),
		"numeric 1.0":         tuple([]byte{0, 1, 0, 0, 0, 0, 0, 1, 0, 1}, nil),
		"numeric 1.00":        tuple([]byte{0, 1, 0, 0, 0, 0, 0, 2, 0, 1}, nil),
		"1 as int4, not int8": tuple(int4(1), nil),
		"1 as int8":           tuple(int8b(1), nil),
		"float8 0":            tuple(float8b(0), nil),
		"float8 -0":           tuple(float8b(1<<63), nil),
	} {
		hash := mustHash(t, h, row).Hash
		if other, ok := seen[hash]; ok {
			t.Errorf("%s has the hash of %s", name, other)
		}
		seen[hash] = name
	}
}

// A value swapped between two rows changes the sum of their hashes. It would
// not if the hash were linear in the columns.
func TestHashSwappedColumns(t *testing.T) {
	h := mustNew(t, Config{Columns: plainColumns(2)})
	sum := func(rows ...[]byte) (d merkle.Digest) {
		for _, row := range rows {
			d.Add(mustHash(t, h, row).Hash)
		}
		return d
	}
	r := newRand(1)
	for range 10000 {
		a, b, c, d := int8b(int64(r.Uint64())), int8b(int64(r.Uint64())), int4(1), int4(2)
		if sum(tuple(a, c), tuple(b, d)) == sum(tuple(a, d), tuple(b, c)) {
			t.Fatal("swapped values have one digest")
		}
	}
}

func TestHashSeeds(t *testing.T) {
	row := tuple(text("k"), text("v"))
	config := Config{Seed: 1, Columns: plainColumns(2), Key: []int{0}}
	a := mustNew(t, config)
	config.Seed = 2
	b := mustNew(t, config)
	if mustHash(t, a, row).Hash == mustHash(t, b, row).Hash {
		t.Error("the row hash does not depend on the seed")
	}
	if a.Spread([]byte("k")) == b.Spread([]byte("k")) {
		t.Error("the spread does not depend on the seed")
	}
	if slices.Equal(a.Columns(nil), b.Columns(nil)) {
		t.Error("column hashes do not depend on the seed")
	}
	if got := a.Columns([]uint64{7}); len(got) != 3 || got[0] != 7 {
		t.Errorf("Columns does not append: %x", got)
	}
}

func TestHashErrors(t *testing.T) {
	h := mustNew(t, Config{Columns: []Codec{Plain, ArrayOf(Plain), Plain}, Key: []int{2}, Ordered: []Order{Int}})
	for name, c := range map[string]struct {
		tuple []byte
		field int
		err   error
	}{
		"too few fields": {tuple(nil, nil), -1, errFieldCount},
		"truncated":      {tuple(nil, nil, int4(1))[:13], -1, errTruncated},
		"trailing":       {append(tuple(nil, nil, int4(1)), 0), -1, errTrailing},
		"trailer":        {trailer, -1, errCount},
		"length -2":      {[]byte{0, 3, 0xff, 0xff, 0xff, 0xfe}, 0, errLength},
		"array":          {tuple(nil, text("secret"), int4(1)), 1, errArray},
		"NULL key":       {tuple(nil, nil, nil), 2, errOrderedNull},
		"three byte key": {tuple(nil, nil, text("abc")), 2, errOrderedInt},
	} {
		_, err := h.Hash(c.tuple)
		if !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", name, err, c.err)
		}
		var field *FieldError
		if errors.As(err, &field) != (c.field >= 0) || field != nil && field.Field != c.field {
			t.Errorf("%s: %v, want field %d", name, err, c.field)
		}
		if bytes.Contains([]byte(fmt.Sprint(err)), []byte("secret")) {
			t.Errorf("%s: the error shows a value: %v", name, err)
		}
	}
}

func TestNewErrors(t *testing.T) {
	for name, c := range map[string]Config{
		"key beyond the columns": {Columns: plainColumns(1), Key: []int{1}, Extra: 1},
		"negative key":           {Columns: plainColumns(1), Key: []int{-1}},
		"repeated key":           {Columns: plainColumns(2), Key: []int{1, 1}},
		"prefix beyond the key":  {Columns: plainColumns(2), Key: []int{1}, Ordered: []Order{Int, Int}},
		"unordered prefix":       {Columns: plainColumns(2), Key: []int{1}, Ordered: []Order{Unordered}},
		"unknown order":          {Columns: plainColumns(2), Key: []int{1}, Ordered: []Order{9}},
		"negative extra":         {Columns: plainColumns(2), Extra: -1},
		"too many fields":        {Columns: plainColumns(1 << 15)},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestSplitKeyErrors(t *testing.T) {
	for _, key := range [][]byte{{0}, {0, 0, 0, 1}, {0xff, 0xff, 0xff, 0xfe}, {0, 0, 0, 0, 1}} {
		if fields, err := SplitKey(key); err == nil {
			t.Errorf("SplitKey(%x) = %x", key, fields)
		}
	}
}

// Prefixes sort as the values do.
func TestAppendOrdered(t *testing.T) {
	prefix := func(order Order, field []byte) []byte {
		p, err := AppendOrdered([]byte("before"), order, field)
		if err != nil || !bytes.HasPrefix(p, []byte("before")) {
			t.Fatalf("AppendOrdered(%d, %x) = %q, %v", order, field, p, err)
		}
		return p
	}
	ints := []int64{math.MinInt64, math.MinInt64 + 1, math.MinInt32, math.MinInt16, -256, -255, -1, 0, 1, 255, 256, math.MaxInt16, math.MaxInt32, math.MaxInt64}
	for i, v := range ints {
		for _, w := range ints[:i] {
			if bytes.Compare(prefix(Int, int8b(w)), prefix(Int, int8b(v))) >= 0 {
				t.Errorf("int8 %d does not sort before %d", w, v)
			}
			if v == int64(int32(v)) && w == int64(int32(w)) && bytes.Compare(prefix(Int, int4(int32(w))), prefix(Int, int4(int32(v)))) >= 0 {
				t.Errorf("int4 %d does not sort before %d", w, v)
			}
			if v == int64(int16(v)) && w == int64(int16(w)) && bytes.Compare(prefix(Int, int2(int16(w))), prefix(Int, int2(int16(v)))) >= 0 {
				t.Errorf("int2 %d does not sort before %d", w, v)
			}
		}
	}
	if got := prefix(Bytes, []byte{}); string(got) != "before" {
		t.Errorf("empty bytes: %q", got)
	}
	for _, c := range []struct {
		order Order
		field []byte
	}{{Int, nil}, {Bytes, nil}, {Int, []byte{}}, {Int, []byte{1, 2, 3}}, {Unordered, []byte{1}}, {Order(9), []byte{1}}} {
		if _, err := AppendOrdered(nil, c.order, c.field); err == nil {
			t.Errorf("AppendOrdered(%d, %x): no error", c.order, c.field)
		}
	}
}

// One huge row must not hold its memory for the rest of the table.
func TestHashReleasesScratch(t *testing.T) {
	h := mustNew(t, Config{Columns: []Codec{Float8, Plain}})
	mustHash(t, h, tuple(float8b(0xfff8000000000000), make([]byte, 2*keepScratch)))
	mustHash(t, h, tuple(float8b(0xfff8000000000000), nil))
	if cap(h.scratch) > keepScratch {
		t.Errorf("%d bytes of scratch are kept", cap(h.scratch))
	}
}

func TestHashAllocates(t *testing.T) {
	for _, bench := range benchTables() {
		h := mustNew(t, bench.config)
		var hashes []uint64
		if n := testing.AllocsPerRun(100, func() {
			row := mustHash(t, h, bench.tuple)
			h.Spread(row.Key)
			hashes = h.Columns(hashes[:0])
		}); n != 0 {
			t.Errorf("%s: Hash allocates %v times", bench.name, n)
		}
	}
}

// FuzzHash hashes tuples under each of a few configurations and compares the
// hasher with the definition. Two tuples have equal hashes and keys exactly if
// their canonical bytes are equal.
func FuzzHash(f *testing.F) {
	configs := []Config{
		{Seed: testSeed},
		{Seed: testSeed, Columns: plainColumns(2)},
		{Seed: testSeed, Columns: plainColumns(2), Key: []int{0}, Ordered: []Order{Int}},
		{Seed: testSeed, Columns: plainColumns(3), Key: []int{2, 0}, Ordered: []Order{Bytes}, Extra: 1},
		{Seed: testSeed, Columns: []Codec{Float8, Float4, ArrayOf(Plain)}, Key: []int{0, 1}},
		{Seed: testSeed, Columns: []Codec{Plain, Record(Plain, Float8), RangeOf(Float8)}, Key: []int{1}, Extra: 2},
	}
	f.Add(uint8(0), tuple(), trailer)
	f.Add(uint8(1), tuple(nil, text("")), tuple(text(""), nil))
	f.Add(uint8(2), tuple(int8b(5), text("abc")), tuple(int8b(5), text("abd")))
	f.Add(uint8(3), tuple(nil, nil, text("abc"), text("x")), tuple(nil, nil, text("abc"), text("y")))
	f.Add(uint8(4), tuple(float8b(0x7ff8000000000001), int4(1), nil), tuple(float8b(0x7ff8000000000002), int4(1), nil))
	f.Add(uint8(5), tuple(nil, nil, []byte{1}, nil, nil), tuple(nil, nil, []byte{1}, nil, text("x")))
	f.Fuzz(func(t *testing.T, i uint8, a, b []byte) {
		c := configs[int(i)%len(configs)]
		h := mustNew(t, c)
		rowA, okA := checkHash(t, c, h, a)
		rowA.Key = bytes.Clone(rowA.Key)
		rowB, okB := checkHash(t, c, h, b)
		if !okA || !okB {
			return
		}
		naiveA, _ := hashNaively(c, a)
		naiveB, _ := hashNaively(c, b)
		if (rowA.Hash == rowB.Hash) != bytes.Equal(naiveA.canonical, naiveB.canonical) {
			t.Fatalf("hashes %v and %v of canonical bytes\n%x\n%x", rowA.Hash, rowB.Hash, naiveA.canonical, naiveB.canonical)
		}
		if bytes.Equal(rowA.Key, rowB.Key) != bytes.Equal(naiveA.key, naiveB.key) {
			t.Fatalf("keys %x and %x", rowA.Key, rowB.Key)
		}
	})
}

type benchTable struct {
	name   string
	config Config
	tuple  []byte
}

func benchTables() []benchTable {
	numeric := []byte{0, 2, 0, 0, 0, 0, 0, 2, 0, 12, 0x13, 0x88}
	uuid := bytes.Repeat([]byte{0xab}, 16)
	array := slices.Concat(int4(1), int4(0), int4(23), int4(5), int4(1))
	for i := range int32(5) {
		array = appendField(array, int4(i))
	}
	key := func(columns []Codec) Config {
		return Config{Seed: testSeed, Columns: columns, Key: []int{0}, Ordered: []Order{Int}}
	}
	wide := plainColumns(15)
	wide[7], wide[11] = Float8, Float4
	withArray := plainColumns(5)
	withArray[2] = ArrayOf(Plain)
	return []benchTable{
		{"narrow", key(plainColumns(5)), tuple(int8b(123456), int4(7), text("some text"), int8b(1e15), numeric)},
		{"wide", key(wide), tuple(int8b(123456), int4(7), text("a name of a customer"), text("customer@example.com"), int8b(1e15), int8b(2e15), nil,
			float8b(math.Float64bits(1.5)), numeric, uuid, []byte{1}, int4(0x3fc00000), text("a comment of some length"), nil, int2(3))},
		{"array", key(withArray), tuple(int8b(123456), int4(7), array, int8b(1e15), numeric)},
	}
}

func BenchmarkHash(b *testing.B) {
	for _, bench := range benchTables() {
		b.Run(bench.name, func(b *testing.B) {
			h := mustNew(b, bench.config)
			b.ReportAllocs()
			b.SetBytes(int64(len(bench.tuple)))
			for b.Loop() {
				if _, err := h.Hash(bench.tuple); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
