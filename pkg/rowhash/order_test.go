package rowhash

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"testing"
)

// FuzzAppendOrdered: integers of one width sort as numbers, other values as
// their bytes, and a bound's bytes hold the whole value.
func FuzzAppendOrdered(f *testing.F) {
	f.Add([]byte{0, 1}, []byte{0xff, 0xff})
	f.Add([]byte{0x7f, 0xff, 0xff, 0xff}, []byte{0x80, 0, 0, 0})
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 5}, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 5})
	f.Add([]byte{}, []byte{0})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		ordered := func(order Order, field []byte) ([]byte, error) { return AppendOrdered(nil, order, field) }
		pa, errA := ordered(Int, a)
		pb, errB := ordered(Int, b)
		x, isInt := integer(a)
		y, _ := integer(b)
		if isInt != (errA == nil) {
			t.Fatalf("%x: %v, an integer: %t", a, errA, isInt)
		}
		if errA == nil && errB == nil && len(a) == len(b) {
			if got, want := bytes.Compare(pa, pb), cmp.Compare(x, y); got != want {
				t.Fatalf("%d against %d: %d, want %d", x, y, got, want)
			}
			head, err := headOfInt(a)
			if err != nil || !bytes.Equal(binary.BigEndian.AppendUint64(nil, head)[:len(a)], pa) {
				t.Fatalf("%x: the head is %x, the ordered form %x (%v)", a, head, pa, err)
			}
		}
		if a == nil || b == nil {
			return
		}
		pa, errA = ordered(Bytes, a)
		pb, errB = ordered(Bytes, b)
		if errA != nil || errB != nil || bytes.Compare(pa, pb) != bytes.Compare(a, b) {
			t.Fatalf("%x and %x become %x and %x (%v, %v)", a, b, pa, pb, errA, errB)
		}
	})
}

func integer(b []byte) (int64, bool) {
	switch len(b) {
	case 2:
		return int64(int16(binary.BigEndian.Uint16(b))), true
	case 4:
		return int64(int32(binary.BigEndian.Uint32(b))), true
	case 8:
		return int64(binary.BigEndian.Uint64(b)), true
	}
	return 0, false
}
