package merkle

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/bits"
)

// A Hash is a 128-bit hash value. Hashes are added and subtracted as unsigned
// integers mod 2^128 and are ordered likewise.
type Hash struct {
	Hi, Lo uint64
}

// HashSize is the size of a Hash in bytes.
const HashSize = 16

// HashFromBytes is the inverse of [Hash.AppendBytes].
func HashFromBytes(b [HashSize]byte) Hash {
	return Hash{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// ParseHash is the inverse of [Hash.String].
func ParseHash(s string) (Hash, error) {
	var b [HashSize]byte
	if len(s) != hex.EncodedLen(HashSize) {
		return Hash{}, fmt.Errorf("parse hash: %d characters instead of %d", len(s), hex.EncodedLen(HashSize))
	}
	if _, err := hex.Decode(b[:], []byte(s)); err != nil {
		return Hash{}, fmt.Errorf("parse hash: %w", err)
	}
	return HashFromBytes(b), nil
}

// String returns h as 32 lower-case hexadecimal digits.
func (h Hash) String() string {
	return hex.EncodeToString(h.AppendBytes(nil))
}

// AppendBytes appends the 16 bytes of h to dst, most significant first.
func (h Hash) AppendBytes(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, h.Hi)
	return binary.BigEndian.AppendUint64(dst, h.Lo)
}

// IsZero reports whether h is the zero Hash.
func (h Hash) IsZero() bool {
	return h == Hash{}
}

// Compare returns -1, 0 or +1 as h is less than, equal to or greater than g.
func (h Hash) Compare(g Hash) int {
	if c := cmp.Compare(h.Hi, g.Hi); c != 0 {
		return c
	}
	return cmp.Compare(h.Lo, g.Lo)
}

func (h Hash) add(g Hash) Hash {
	lo, carry := bits.Add64(h.Lo, g.Lo, 0)
	hi, _ := bits.Add64(h.Hi, g.Hi, carry)
	return Hash{hi, lo}
}

func (h Hash) sub(g Hash) Hash {
	lo, borrow := bits.Sub64(h.Lo, g.Lo, 0)
	hi, _ := bits.Sub64(h.Hi, g.Hi, borrow)
	return Hash{hi, lo}
}

func (h Hash) mul(g Hash) Hash {
	hi, lo := bits.Mul64(h.Lo, g.Lo)
	return Hash{hi + h.Hi*g.Lo + h.Lo*g.Hi, lo}
}
