package rowhash

import (
	"encoding/binary"
	"errors"
	"slices"
)

// lengthWord is the size of the length before each field, countWord that of
// the number of fields before them all.
const (
	lengthWord = 4
	countWord  = 2
)

// A field is where a field's value is in its tuple.
type field struct {
	start, end int // end < start: NULL
}

func (f field) null() bool { return f.end < f.start }

// word returns where the field's length word is.
func (f field) word() int { return f.start - lengthWord }

// next returns where the following field's length word is.
func (f field) next() int { return max(f.start, f.end) }

// fields are those of one tuple.
type fields []field

var (
	errLength = errors.New("invalid length")
	errCount  = errors.New("invalid number of fields")
)

// split sets fs to the fields of the tuple with which b begins, and returns
// the tuple's size; 0 if there is more of it to come.
func (fs *fields) split(b []byte) (size int, err error) {
	if len(b) < countWord {
		return 0, nil
	}
	n := int(int16(binary.BigEndian.Uint16(b)))
	if n != len(*fs) {
		if n < 0 {
			return 0, errCount
		}
		*fs = slices.Grow((*fs)[:0], n)[:n]
	}
	pos := countWord
	for i := range *fs {
		if len(b)-pos < lengthWord {
			return 0, nil
		}
		n := int(int32(binary.BigEndian.Uint32(b[pos:])))
		pos += lengthWord
		(*fs)[i] = field{pos, pos + n}
		if n < 0 {
			if n != -1 {
				return 0, &FieldError{i, errLength}
			}
			continue
		}
		if n > len(b)-pos {
			return 0, nil
		}
		pos += n
	}
	return pos, nil
}
