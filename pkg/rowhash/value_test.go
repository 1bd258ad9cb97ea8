package rowhash

import (
	"bytes"
	"encoding/json"
	"math"
	"testing"

	"github.com/verifierd/verifierd/pkg/merkle"
)

// numericOf is a numeric of one digit in base 10,000 and a display scale.
func numericOf(digit, scale int16) []byte {
	n := int16(1)
	if digit == 0 {
		n = 0
	}
	b := append(append(append(int2(n), int2(0)...), int2(0)...), int2(scale)...)
	if n > 0 {
		b = append(b, int2(digit)...)
	}
	return b
}

func jsonbOf(s string) []byte { return append([]byte{1}, s...) }

// TestValueCodecs: values that PostgreSQL takes for equal have the same bytes,
// their neighbours have not.
func TestValueCodecs(t *testing.T) {
	minus, infinity := math.Float64bits(math.Copysign(0, -1)), math.Float64bits(math.Inf(-1))
	float4 := func(f float64) []byte { return int4(int32(math.Float32bits(float32(f)))) }
	arrayOf := func(elem []byte) []byte {
		b := bytes.Join([][]byte{int4(1), int4(0), int4(1700), int4(1), int4(1)}, nil)
		return appendField(b, elem)
	}
	for name, test := range map[string]struct {
		codec   Codec
		equal   [2][]byte
		another []byte
	}{
		"numeric":         {NumericValue, [2][]byte{numericOf(7, 1), numericOf(7, 2)}, numericOf(8, 1)},
		"numeric zero":    {NumericValue, [2][]byte{numericOf(0, 0), numericOf(0, 9)}, numericOf(1, 0)},
		"numerics":        {ArrayOf(NumericValue), [2][]byte{arrayOf(numericOf(7, 1)), arrayOf(numericOf(7, 2))}, arrayOf(numericOf(8, 1))},
		"float8":          {Float8Value, [2][]byte{float8b(0), float8b(minus)}, float8b(1)},
		"float8 negative": {Float8Value, [2][]byte{float8b(infinity), float8b(infinity)}, float8b(infinity - 1)},
		"float4":          {Float4Value, [2][]byte{float4(0), float4(math.Copysign(0, -1))}, float4(-1)},
		"point":           {FloatsValue, [2][]byte{append(float8b(1), float8b(0)...), append(float8b(1), float8b(minus)...)}, append(float8b(0), float8b(1)...)},
		"jsonb":           {JSONBValue, [2][]byte{jsonbOf(`{"a": 1.0, "b": [-2.50]}`), jsonbOf(`{"a": 1, "b": [-2.5]}`)}, jsonbOf(`{"a": 10, "b": [-2.5]}`)},
		"jsonb zero":      {JSONBValue, [2][]byte{jsonbOf(`0.00`), jsonbOf(`0`)}, jsonbOf(`0.001`)},
		"jsonb string":    {JSONBValue, [2][]byte{jsonbOf(`["1.0", 1.0]`), jsonbOf(`["1.0", 1]`)}, jsonbOf(`["1", 1]`)},
		"jsonb escape":    {JSONBValue, [2][]byte{jsonbOf(`["\\", 1.0]`), jsonbOf(`["\\", 1]`)}, jsonbOf(`["\", 1.0]"]`)},
		"jsonb key":       {JSONBValue, [2][]byte{jsonbOf(`{"1.0": true, "x": 3.0}`), jsonbOf(`{"1.0": true, "x": 3}`)}, jsonbOf(`{"1.00": true, "x": 3}`)},
	} {
		// The value is the key, too, and stands between others.
		h := mustNew(t, Config{Seed: 7, Columns: []Codec{Plain, test.codec, Float8, Plain}, Key: []int{1, 3}, Extra: 1})
		hash := func(value []byte) (merkle.Hash, string, []uint64) {
			row := mustHash(t, h, tuple(nil, value, float8b(0x7ff8000000000001), text("k"), text("extra")))
			if extra, null := h.Extra(0); null || string(extra) != "extra" {
				t.Errorf("%s: the extra field is %q", name, extra)
			}
			return row.Hash, string(row.Key), h.Columns(nil)
		}
		first, key, columns := hash(test.equal[0])
		for _, value := range [][]byte{test.equal[1], test.another} {
			same := &value[0] == &test.equal[1][0]
			got, gotKey, gotColumns := hash(value)
			if (got == first) != same || (gotKey == key) != same || (gotColumns[1] == columns[1]) != same {
				t.Errorf("%s: %q has the hash, key, column of %q: %t, %t, %t, want %t",
					name, value, test.equal[0], got == first, gotKey == key, gotColumns[1] == columns[1], same)
			}
			if gotColumns[0] != columns[0] || gotColumns[2] != columns[2] || gotColumns[3] != columns[3] {
				t.Errorf("%s: another column's hash changed", name)
			}
		}
	}
}

// TestValueCodecErrors: what is no value of the type is never hashed.
func TestValueCodecErrors(t *testing.T) {
	for _, test := range []struct {
		codec Codec
		value []byte
	}{
		{NumericValue, nil},
		{NumericValue, numericOf(7, 1)[:9]},
		{NumericValue, append(numericOf(7, 1), 0)},
		{JSONBValue, []byte{}},
		{JSONBValue, []byte("\x021.0")},
		{JSONBValue, jsonbOf(`"1.0`)},
		{ArrayOf(JSONBValue), bytes.Join([][]byte{int4(1), int4(0), int4(1), int4(1), int4(1), int4(1), {1}}, nil)},
	} {
		h := mustNew(t, Config{Seed: 7, Columns: []Codec{test.codec}})
		if test.value == nil {
			test.value = []byte{}
		}
		if _, err := h.Hash(tuple(test.value)); err == nil {
			t.Errorf("codec %d takes %q", test.codec.kind, test.value)
		}
	}
}

// FuzzJSONBValue: two documents have the same bytes only if they mean the same.
func FuzzJSONBValue(f *testing.F) {
	f.Add(`{"a": 1.0}`, `{"a": 1}`)
	f.Add(`["1.0", -0.50]`, `["1.0", -0.5]`)
	f.Fuzz(func(t *testing.T, a, b string) {
		if !json.Valid([]byte(a)) || !json.Valid([]byte(b)) {
			return
		}
		var x, y []byte
		var err error
		if x, err = appendJSONB(nil, jsonbOf(a)); err != nil {
			return
		}
		if again, err := appendJSONB(nil, x); err != nil || !bytes.Equal(again, x) {
			t.Fatalf("%q becomes %q, then %q, %v", a, x, again, err)
		}
		if y, err = appendJSONB(nil, jsonbOf(b)); err != nil || !bytes.Equal(x, y) {
			return
		}
		var v, w any
		if json.Unmarshal([]byte(a), &v) != nil || json.Unmarshal([]byte(b), &w) != nil {
			return // a number beyond float64
		}
		p, _ := json.Marshal(v)
		q, _ := json.Marshal(w)
		if !bytes.Equal(p, q) {
			t.Fatalf("%q and %q have the same bytes", a, b)
		}
	})
}
