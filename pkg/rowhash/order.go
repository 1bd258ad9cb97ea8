package rowhash

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Order says how a key column's binary value is turned into bytes that sort as
// the column does on every server. Such bytes, one column after the other, make
// the prefix by which a row is put into a key range.
type Order uint8

const (
	// Unordered columns cannot be part of a prefix: text under a collation,
	// numeric, and so on.
	Unordered Order = iota
	// Int is for types whose binary form is a two's complement integer of 2, 4
	// or 8 bytes: the integers, date, timestamp, timestamptz, time, money.
	Int
	// Bytes is for types that sort as their bytes do. They must be of one
	// length (uuid), unless the column is the last of a prefix (bytea).
	Bytes
)

var (
	errOrderedNull = errors.New("NULL in an ordered key column")
	errOrderedInt  = errors.New("not an integer of 2, 4 or 8 bytes")
)

// AppendOrdered appends the order-preserving form of a field's value to dst. A
// nil field is NULL, which has none.
func AppendOrdered(dst []byte, order Order, field []byte) ([]byte, error) {
	if field == nil {
		return dst, errOrderedNull
	}
	switch order {
	case Int:
		// The sign bit, flipped, makes two's complement sort unsigned.
		switch len(field) {
		case 2, 4, 8:
			n := len(dst)
			dst = append(dst, field...)
			dst[n] ^= 0x80
			return dst, nil
		}
		return dst, errOrderedInt
	case Bytes:
		return append(dst, field...), nil
	}
	return dst, fmt.Errorf("column of order %d has no ordered form", order)
}

// headOfInt returns the ordered form of an integer in the leading bytes.
func headOfInt(field []byte) (uint64, error) {
	const sign = 1 << 63
	switch len(field) {
	case 8:
		return binary.BigEndian.Uint64(field) ^ sign, nil
	case 4:
		return uint64(binary.BigEndian.Uint32(field))<<32 ^ sign, nil
	case 2:
		return uint64(binary.BigEndian.Uint16(field))<<48 ^ sign, nil
	}
	return 0, errOrderedInt
}
