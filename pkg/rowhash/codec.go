package rowhash

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// A Codec says how one column's binary value becomes canonical, that is, the
// same bytes for the same value on any server. The zero Codec is [Plain].
//
// All codecs but [JSONBValue] keep a value's length and the place of each part
// in it, so that a row can be rewritten in place.
type Codec struct {
	kind    kind
	byValue bool    // of floats: −0 is 0
	sorted  bool    // of jsonb: see JSONBValueSorted
	parts   []Codec // element, bound or attribute types
}

type kind uint8

const (
	plain kind = iota
	float4
	float8
	path
	polygon
	array
	record
	rangeOf
	multirange
	numeric
	jsonb
	sortedJSONB
	sortedTSVector
)

// Codecs of scalar types. A float's NaN has many bit patterns, of which
// PostgreSQL stores what it was given and takes all for equal; they become
// one. −0 and 0 stay distinct.
var (
	Plain   = Codec{}              // the bytes as they are
	Float4  = Codec{kind: float4}  // float4
	Float8  = Codec{kind: float8}  // float8
	Floats  = Codec{kind: float8}  // point, lseg, box, line, circle: one float8 after the other
	Path    = Codec{kind: path}    // path: a flag, the number of points, the points
	Polygon = Codec{kind: polygon} // polygon: the number of points, the points
)

// Codecs of columns that are compared by value: what PostgreSQL's own equality
// takes for equal has the same bytes.
var (
	NumericValue = Codec{kind: numeric} // numeric: 1.0 is 1.00
	Float4Value  = Codec{kind: float4, byValue: true}
	Float8Value  = Codec{kind: float8, byValue: true}
	FloatsValue  = Codec{kind: float8, byValue: true}
	PathValue    = Codec{kind: path, byValue: true}
	PolygonValue = Codec{kind: polygon, byValue: true}
	// JSONBValue is for jsonb whose numbers go without trailing zeros. Values
	// become shorter, so it cannot be a part of another codec.
	JSONBValue = Codec{kind: jsonb}
)

// ArrayOf returns the codec of arrays of elem. An array carries the OID of its
// element type, which differs between servers for types that users made, and a
// flag that there may be NULLs in it, which stays set after the last NULL is
// overwritten: both become zero. Dimensions and lower bounds count.
func ArrayOf(elem Codec) Codec {
	return Codec{kind: array, parts: []Codec{elem}}
}

// Record returns the codec of a composite type with the given attributes. The
// OIDs of their types become zero.
func Record(attrs ...Codec) Codec {
	return Codec{kind: record, parts: attrs}
}

// RangeOf returns the codec of a range type over elem.
func RangeOf(elem Codec) Codec {
	if elem.isPlain() {
		return Plain
	}
	return Codec{kind: rangeOf, parts: []Codec{elem}}
}

// MultirangeOf returns the codec of a multirange type whose ranges are over
// elem.
func MultirangeOf(elem Codec) Codec {
	if elem.isPlain() {
		return Plain
	}
	return Codec{kind: multirange, parts: []Codec{RangeOf(elem)}}
}

func (c Codec) isPlain() bool { return c.kind == plain }

// What is wrong with a value. None of them shows it.
var (
	errFloat      = errors.New("not a float of the right length")
	errPoints     = errors.New("malformed path or polygon")
	errArray      = errors.New("malformed array")
	errRecord     = errors.New("malformed record")
	errRange      = errors.New("malformed range")
	errMultirange = errors.New("malformed multirange")
	errNumeric    = errors.New("malformed numeric")
	errJSONB      = errors.New("malformed jsonb")
)

const (
	nan4   = 0x7fc00000
	nan8   = 0x7ff8000000000000
	minus4 = 1 << 31 // −0
	minus8 = 1 << 63

	numericHeader = 8 // number of digits, weight, sign, display scale: int16 each
)

// needsRewrite reports whether b may have to be rewritten. For types made of
// floats it looks; the others begin with what is hardly ever canonical.
func (c Codec) needsRewrite(b []byte) bool {
	switch c.kind {
	case plain:
		return false
	case float4:
		return len(b) != 4 || badNaN4(b) || c.byValue && binary.BigEndian.Uint32(b) == minus4
	case float8:
		if len(b)%8 != 0 {
			return true
		}
		for ; len(b) > 0; b = b[8:] {
			if badNaN8(b) || c.byValue && binary.BigEndian.Uint64(b) == minus8 {
				return true
			}
		}
		return false
	case numeric:
		return len(b) < numericHeader || b[6]|b[7] != 0
	case jsonb:
		return len(b) == 0 || c.sorted || bytes.IndexByte(b, '.') >= 0
	}
	return true
}

// rewrite makes b canonical in place. It returns an error if b is not a value
// of the type; b is then spoilt.
func (c Codec) rewrite(b []byte) error {
	switch c.kind {
	case float4:
		if len(b) != 4 {
			return errFloat
		}
		if badNaN4(b) {
			binary.BigEndian.PutUint32(b, nan4)
		}
		if c.byValue && binary.BigEndian.Uint32(b) == minus4 {
			clear(b)
		}
	case float8:
		return c.rewriteFloats(b)
	case path:
		if len(b) < 1 {
			return errPoints
		}
		return c.rewritePoints(b[1:])
	case polygon:
		return c.rewritePoints(b)
	case array:
		return c.rewriteArray(b)
	case record:
		return c.rewriteRecord(b)
	case rangeOf:
		return c.rewriteRange(b)
	case multirange:
		return c.rewriteMultirange(b)
	case sortedJSONB:
		return sortJSONB(b)
	case sortedTSVector:
		return sortTSVector(b)
	case numeric:
		return rewriteNumeric(b)
	case jsonb:
		return errJSONB // a part of another value: see JSONBValue
	}
	return nil
}

// rewriteNumeric zeroes the display scale. The digits, in base 10,000, have no
// zeros at either end, whatever the scale.
func rewriteNumeric(b []byte) error {
	if len(b) < numericHeader || len(b) != numericHeader+2*int(binary.BigEndian.Uint16(b)) {
		return errNumeric
	}
	b[6], b[7] = 0, 0
	return nil
}

// resizes reports whether values become shorter.
func (c Codec) resizes() bool { return c.kind == jsonb }

// appendJSONB appends b, a version byte and the text of a jsonb value, with
// numbers as short as can be. jsonb prints them without exponents.
func appendJSONB(dst, b []byte) ([]byte, error) {
	if len(b) == 0 || b[0] != 1 {
		return dst, errJSONB
	}
	dst = append(dst, 1)
	for b = b[1:]; len(b) > 0; {
		n := 1
		switch c := b[0]; {
		case c == '"':
			if n = jsonString(b); n == 0 {
				return dst, errJSONB
			}
		case c == '-' || '0' <= c && c <= '9':
			for n < len(b) && (b[n] == '.' || '0' <= b[n] && b[n] <= '9') {
				n++
			}
			number := b[:n]
			if bytes.IndexByte(number, '.') >= 0 {
				number = bytes.TrimSuffix(bytes.TrimRight(number, "0"), []byte("."))
			}
			dst, b = append(dst, number...), b[n:]
			continue
		}
		dst, b = append(dst, b[:n]...), b[n:]
	}
	return dst, nil
}

// jsonString returns the length of the string that b begins with, quotes
// included; 0 if it does not end.
func jsonString(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return 0
}

func badNaN4(b []byte) bool {
	v := binary.BigEndian.Uint32(b)
	return v&^(1<<31) > 0x7f800000 && v != nan4
}

func badNaN8(b []byte) bool {
	v := binary.BigEndian.Uint64(b)
	return v&^(1<<63) > 0x7ff0000000000000 && v != nan8
}

func (c Codec) rewriteFloats(b []byte) error {
	if len(b)%8 != 0 {
		return errFloat
	}
	for ; len(b) > 0; b = b[8:] {
		if badNaN8(b) {
			binary.BigEndian.PutUint64(b, nan8)
		}
		if c.byValue && binary.BigEndian.Uint64(b) == minus8 {
			clear(b[:8])
		}
	}
	return nil
}

// rewritePoints rewrites int32 n, then n points of two float8 each.
func (c Codec) rewritePoints(b []byte) error {
	r := reader{b}
	n, ok := r.int32()
	if !ok || int64(len(r.rest)) != 16*int64(n) {
		return errPoints
	}
	return c.rewriteFloats(r.rest)
}

// rewriteArray follows array_send: int32 number of dimensions, int32 flags,
// uint32 element OID; int32 length and int32 lower bound of each dimension;
// then the elements.
func (c Codec) rewriteArray(b []byte) error {
	const maxDimensions = 6
	r := reader{b}
	dims, ok := r.int32()
	if !ok || dims < 0 || dims > maxDimensions {
		return errArray
	}
	flags, ok := r.take(4)
	if !ok || binary.BigEndian.Uint32(flags) > 1 {
		return errArray
	}
	clear(flags)
	if !r.zero(4) {
		return errArray
	}
	elements := int64(min(dims, 1))
	for range dims {
		n, ok1 := r.int32()
		_, ok2 := r.int32()
		// Each element takes four bytes at least. Checked in each dimension:
		// the product cannot overflow.
		if elements *= int64(n); !ok1 || !ok2 || n < 0 || 4*elements > int64(len(b)) {
			return errArray
		}
	}
	for range elements {
		if err := c.parts[0].rewriteNext(&r, errArray); err != nil {
			return err
		}
	}
	return r.end(errArray)
}

// rewriteRecord follows record_send: int32 number of columns; then of each the
// uint32 OID of its type, and the value.
func (c Codec) rewriteRecord(b []byte) error {
	r := reader{b}
	if n, ok := r.int32(); !ok || int(n) != len(c.parts) {
		return errRecord
	}
	for _, attr := range c.parts {
		if !r.zero(4) {
			return errRecord
		}
		if err := attr.rewriteNext(&r, errRecord); err != nil {
			return err
		}
	}
	return r.end(errRecord)
}

// The flags of a range that decide which bounds it has; those that may be set.
const (
	rangeEmpty         = 0x01
	rangeLowerInfinite = 0x08
	rangeUpperInfinite = 0x10
	rangeFlags         = 0x1f
)

// rewriteRange follows range_send: a byte of flags, then the finite bounds.
func (c Codec) rewriteRange(b []byte) error {
	r := reader{b}
	flags, ok := r.take(1)
	if !ok || flags[0]&^rangeFlags != 0 {
		return errRange
	}
	for _, infinite := range []byte{rangeLowerInfinite, rangeUpperInfinite} {
		if flags[0]&(rangeEmpty|infinite) != 0 {
			continue
		}
		if err := c.parts[0].rewriteNotNull(&r, errRange); err != nil {
			return err
		}
	}
	return r.end(errRange)
}

// rewriteMultirange follows multirange_send: int32 number of ranges, the
// ranges.
func (c Codec) rewriteMultirange(b []byte) error {
	r := reader{b}
	n, ok := r.int32()
	if !ok || n < 0 {
		return errMultirange
	}
	for range n { // ends early if there are not as many
		if err := c.parts[0].rewriteNotNull(&r, errMultirange); err != nil {
			return err
		}
	}
	return r.end(errMultirange)
}

// rewriteNext rewrites the value at r: int32 length, -1 for NULL, and its
// bytes. The error is malformed if there is no such thing.
func (c Codec) rewriteNext(r *reader, malformed error) error {
	b, null, ok := r.value()
	switch {
	case !ok:
		return malformed
	case null:
		return nil
	}
	return c.rewrite(b)
}

// rewriteNotNull is rewriteNext for values that cannot be NULL.
func (c Codec) rewriteNotNull(r *reader, malformed error) error {
	b, null, ok := r.value()
	if !ok || null {
		return malformed
	}
	return c.rewrite(b)
}

// A reader takes a value apart. Its methods report whether there was enough.
type reader struct {
	rest []byte
}

func (r *reader) take(n int) ([]byte, bool) {
	if n > len(r.rest) {
		return nil, false
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b, true
}

func (r *reader) int32() (int32, bool) {
	b, ok := r.take(4)
	if !ok {
		return 0, false
	}
	return int32(binary.BigEndian.Uint32(b)), true
}

// zero overwrites n bytes.
func (r *reader) zero(n int) bool {
	b, ok := r.take(n)
	clear(b)
	return ok
}

// value takes an int32 length, -1 for NULL, and that many bytes.
func (r *reader) value() (b []byte, null, ok bool) {
	n, ok := r.int32()
	if !ok || n == -1 {
		return nil, ok, ok
	}
	if n < 0 {
		return nil, false, false
	}
	b, ok = r.take(int(n))
	return b, false, ok
}

// end returns malformed if something is left over.
func (r *reader) end(malformed error) error {
	if len(r.rest) > 0 {
		return malformed
	}
	return nil
}
