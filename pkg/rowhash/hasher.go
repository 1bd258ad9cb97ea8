// Package rowhash turns rows, as PostgreSQL sends them in COPY's binary format,
// into hashes that are equal on two servers exactly when the rows are, but for
// accidents of one in 2^128.
//
// A binary tuple is nearly such a canonical form already: each field has its
// length before it, NULL is the length -1, so nothing can move from one column
// into the next unseen. A tuple is therefore hashed in place, and rewritten
// before only where a type's binary form depends on more than the value: see
// [Codec].
//
// It is pure: no I/O. Errors name fields by their positions and never show
// values.
package rowhash

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/zeebo/xxh3"

	"github.com/verifierd/verifierd/pkg/merkle"
)

// Config describes the tuples of one table to a [Hasher].
type Config struct {
	// Seed is that of all hashes. See [NewSeed].
	Seed uint64
	// Columns has a codec for each hashed field, in the order of the tuple.
	Columns []Codec
	// Key lists the fields that identify a row. Empty: the table has no key.
	Key []int
	// Ordered says how the leading key columns sort. Those beyond
	// len(Ordered) do not sort the same everywhere.
	Ordered []Order
	// Extra is the number of fields after the hashed ones that are carried
	// along and not hashed.
	Extra int
}

// A Row is what a [Hasher] makes of a tuple. Its slices are valid until the
// next call, and as long as the tuple is.
type Row struct {
	// Hash is that of all hashed fields.
	Hash merkle.Hash
	// Key is the key's canonical bytes, length words included. Keys are the
	// same if these are. Nil without a key. See [SplitKey].
	Key []byte
	// Prefix is the ordered form of the leading key columns, and Head is
	// [merkle.Head] of it. Nil if no key column is ordered.
	Prefix []byte
	Head   uint64
}

// FieldError says which field of a tuple could not be hashed.
type FieldError struct {
	Field int // position in the tuple
	Err   error
}

// Error implements error.
func (e *FieldError) Error() string { return fmt.Sprintf("field %d: %v", e.Field, e.Err) }

// Unwrap returns the cause.
func (e *FieldError) Unwrap() error { return e.Err }

// A Hasher hashes the tuples of one table. It belongs to one goroutine.
type Hasher struct {
	seed    uint64
	codecs  []Codec
	rewrite []int // fields whose codec is not Plain
	key     []int
	keyRun  bool // the key's fields follow each other in the tuple
	ordered []Order
	extra   int
	resizes bool // a codec changes lengths

	// Of the last tuple:
	tuple     []byte
	canonical []byte // the tuple, or scratch
	fields    fields
	moved     fields // the hashed fields in canonical, if a codec changed lengths

	scratch []byte // the tuple rewritten
	keyBuf  []byte // the key, unless keyRun
	prefix  []byte
}

// keepScratch is the size up to which scratch memory is kept from row to row.
// A few huge rows must not hold memory once they have passed.
const keepScratch = 1 << 20

// New returns a Hasher for the tuples that c describes.
func New(c Config) (*Hasher, error) {
	n := len(c.Columns)
	if c.Extra < 0 || n+c.Extra > 1<<15-1 {
		return nil, fmt.Errorf("new hasher: %d columns and %d extra fields", n, c.Extra)
	}
	if len(c.Ordered) > len(c.Key) {
		return nil, fmt.Errorf("new hasher: %d ordered columns in a key of %d", len(c.Ordered), len(c.Key))
	}
	for _, o := range c.Ordered {
		if o != Int && o != Bytes {
			return nil, fmt.Errorf("new hasher: order %d in a prefix", o)
		}
	}
	seen := make(map[int]bool)
	h := &Hasher{
		seed:    c.Seed,
		codecs:  append([]Codec(nil), c.Columns...),
		key:     append([]int(nil), c.Key...),
		keyRun:  true,
		ordered: append([]Order(nil), c.Ordered...),
		extra:   c.Extra,
	}
	for i, k := range h.key {
		if k < 0 || k >= n || seen[k] {
			return nil, fmt.Errorf("new hasher: key column %d of %d is out of range or repeated", k, n)
		}
		seen[k] = true
		h.keyRun = h.keyRun && k == h.key[0]+i
	}
	for i, codec := range h.codecs {
		if !codec.isPlain() {
			h.rewrite = append(h.rewrite, i)
			h.resizes = h.resizes || codec.resizes()
		}
	}
	return h, nil
}

var (
	errFieldCount = errors.New("tuple has another number of fields than expected")
	errTruncated  = errors.New("tuple is truncated")
	errTrailing   = errors.New("tuple has bytes after its last field")
)

// Hash hashes one tuple: an int16 number of fields, then each field's int32
// length, -1 for NULL, and its bytes. It checks the tuple's structure wholly,
// does not change it, and allocates nothing once its scratch memory has grown.
func (h *Hasher) Hash(tuple []byte) (Row, error) {
	size, err := h.fields.split(tuple)
	switch {
	case err != nil:
		return Row{}, err
	case size == 0:
		return Row{}, errTruncated
	case size != len(tuple):
		return Row{}, errTrailing
	}
	return h.hash(tuple)
}

// NewStream returns a [Stream] that hashes each tuple as [Hasher.Hash] does,
// and calls row with both. It takes a tuple apart once, where a Stream and a
// Hasher on their own would do so twice.
func (h *Hasher) NewStream(row func(tuple []byte, row Row) error) *Stream {
	s := NewStream(func(tuple []byte) error {
		r, err := h.hash(tuple)
		if err != nil {
			return err
		}
		return row(tuple, r)
	})
	s.fields = &h.fields
	return s
}

// hash hashes the tuple whose fields are h.fields.
func (h *Hasher) hash(tuple []byte) (row Row, err error) {
	if len(h.fields) != len(h.codecs)+h.extra {
		return Row{}, errFieldCount
	}
	end := len(tuple)
	if h.extra > 0 {
		end = h.fields[len(h.codecs)].word()
	}
	h.tuple, h.canonical = tuple, tuple
	if len(h.rewrite) > 0 {
		h.moved = h.moved[:0]
		if h.mustRewrite() {
			if err := h.rewriteFields(tuple[:end]); err != nil {
				return Row{}, err
			}
			end = len(h.canonical)
		}
	}
	row.Hash = merkle.Hash(xxh3.Hash128Seed(h.canonical[countWord:end], h.seed))
	if len(h.key) > 0 {
		row.Key = h.keyBytes()
	}
	if len(h.ordered) > 0 {
		if row.Head, row.Prefix, err = h.orderedPrefix(); err != nil {
			return Row{}, err
		}
	}
	return row, nil
}

func (h *Hasher) mustRewrite() bool {
	for _, i := range h.rewrite {
		f := h.fields[i]
		if !f.null() && h.codecs[i].needsRewrite(h.tuple[f.start:f.end]) {
			return true
		}
	}
	return false
}

// rewriteFields makes canonical a rewritten copy of the hashed part of the
// tuple. Most codecs keep lengths, so that fields stay where they are.
func (h *Hasher) rewriteFields(hashed []byte) error {
	if cap(h.scratch) > keepScratch && len(hashed) <= keepScratch {
		h.scratch = nil
	}
	if h.resizes {
		return h.moveFields()
	}
	h.scratch = append(h.scratch[:0], hashed...)
	h.canonical = h.scratch
	for _, i := range h.rewrite {
		f := h.fields[i]
		if f.null() {
			continue
		}
		if err := h.codecs[i].rewrite(h.scratch[f.start:f.end]); err != nil {
			return &FieldError{i, err}
		}
	}
	return nil
}

// moveFields is rewriteFields for codecs that change lengths.
func (h *Hasher) moveFields() (err error) {
	h.scratch = append(h.scratch[:0], h.tuple[:countWord]...)
	for i, codec := range h.codecs {
		f := h.fields[i]
		h.scratch = append(h.scratch, h.tuple[f.word():f.start]...)
		start := len(h.scratch)
		switch value := h.tuple[f.start:f.next()]; {
		case f.null():
			h.moved = append(h.moved, field{start, start - 1})
			continue
		case codec.resizes():
			h.scratch, err = appendJSONB(h.scratch, value)
			if err == nil && codec.sorted {
				err = sortJSONB(h.scratch[start:])
			}
			binary.BigEndian.PutUint32(h.scratch[start-lengthWord:], uint32(len(h.scratch)-start))
		default:
			h.scratch = append(h.scratch, value...)
			err = codec.rewrite(h.scratch[start:])
		}
		if err != nil {
			return &FieldError{i, err}
		}
		h.moved = append(h.moved, field{start, len(h.scratch)})
	}
	h.canonical = h.scratch
	return nil
}

// at returns where hashed field i is in canonical.
func (h *Hasher) at(i int) field {
	if len(h.moved) > 0 {
		return h.moved[i]
	}
	return h.fields[i]
}

func (h *Hasher) keyBytes() []byte {
	if h.keyRun {
		first, last := h.at(h.key[0]), h.at(h.key[len(h.key)-1])
		return h.canonical[first.word():last.next()]
	}
	h.keyBuf = h.keyBuf[:0]
	for _, k := range h.key {
		f := h.at(k)
		h.keyBuf = append(h.keyBuf, h.canonical[f.word():f.next()]...)
	}
	return h.keyBuf
}

// orderedPrefix returns the ordered form of the leading key columns. One
// integer, by far the most frequent, takes a short cut.
func (h *Hasher) orderedPrefix() (head uint64, prefix []byte, err error) {
	if len(h.ordered) == 1 && h.ordered[0] == Int {
		f := h.value(h.key[0])
		if head, err = headOfInt(f); err == nil {
			h.prefix = binary.BigEndian.AppendUint64(h.prefix[:0], head)
			return head, h.prefix[:len(f)], nil
		}
	}
	h.prefix = h.prefix[:0]
	for i, order := range h.ordered {
		k := h.key[i]
		if h.prefix, err = AppendOrdered(h.prefix, order, h.value(k)); err != nil {
			return 0, nil, &FieldError{k, err}
		}
	}
	return merkle.Head(h.prefix), h.prefix, nil
}

// value returns the canonical value of hashed field i, nil for NULL.
func (h *Hasher) value(i int) []byte {
	f := h.at(i)
	if f.null() {
		return nil
	}
	return h.canonical[f.start:f.end]
}

// Extra returns the value of extra field i of the last tuple, counted from 0.
func (h *Hasher) Extra(i int) (value []byte, null bool) {
	f := h.fields[len(h.codecs)+i]
	if f.null() {
		return nil, true
	}
	return h.tuple[f.start:f.end], false
}

// Columns appends a hash of each hashed field of the last tuple to dst, to say
// in which columns two rows differ. NULL has a hash unlike that of any value.
func (h *Hasher) Columns(dst []uint64) []uint64 {
	for i := range h.codecs {
		f := h.at(i)
		dst = append(dst, xxh3.HashSeed(h.canonical[f.word():f.next()], h.seed))
	}
	return dst
}

// Spread returns the hash of a row's key that assigns it to a leaf. Rows
// without a key use the upper half of their hash instead.
func (h *Hasher) Spread(key []byte) uint64 {
	return xxh3.HashSeed(key, h.seed)
}

// SplitKey splits a [Row]'s key into its columns' canonical values, nil for
// NULL. They share the key's memory.
func SplitKey(key []byte) ([][]byte, error) {
	var fields [][]byte
	for r := (reader{key}); len(r.rest) > 0; {
		b, null, ok := r.value()
		if !ok {
			return nil, errors.New("split key: malformed key")
		}
		if null {
			b = nil
		}
		fields = append(fields, b)
	}
	return fields, nil
}
