package rowhash

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

var header = append([]byte(signature), 0, 0, 0, 0, 0, 0, 0, 0)

var trailer = []byte{0xff, 0xff}

func copyStream(tuples ...[]byte) []byte {
	return slices.Concat(header, bytes.Join(tuples, nil), trailer)
}

// parseStream writes the pieces and returns the tuples.
func parseStream(pieces ...[]byte) (tuples [][]byte, err error) {
	s := NewStream(func(tuple []byte) error {
		tuples = append(tuples, bytes.Clone(tuple))
		return nil
	})
	for _, p := range pieces {
		before := bytes.Clone(p)
		n, err := s.Write(p)
		if !bytes.Equal(p, before) {
			return nil, errors.New("Write changed its argument")
		}
		if (n == len(p)) != (err == nil) && len(p) > 0 {
			return tuples, fmt.Errorf("Write of %d bytes = %d, %w", len(p), n, err)
		}
		if err != nil {
			return tuples, err
		}
		clear(p) // what the stream kept would be spoilt
		copy(p, "spoilt")
		defer copy(p, before)
	}
	if s.Rows() != int64(len(tuples)) {
		return tuples, fmt.Errorf("Rows() = %d after %d tuples", s.Rows(), len(tuples))
	}
	return tuples, s.Finish()
}

func equalTuples(a, b [][]byte) bool { return slices.EqualFunc(a, b, bytes.Equal) }

var someTuples = [][]byte{
	tuple(int8b(1), text("abc"), nil),
	tuple(),
	tuple(nil),
	tuple(text(""), int4(-1)),
	tuple(bytes.Repeat([]byte{0xff}, 50)),
}

// A stream gives the same tuples wherever it is split.
func TestStreamSplits(t *testing.T) {
	stream := copyStream(someTuples...)
	for i := range len(stream) + 1 {
		for j := i; j <= len(stream); j++ {
			got, err := parseStream(bytes.Clone(stream[:i]), bytes.Clone(stream[i:j]), bytes.Clone(stream[j:]))
			if err != nil || !equalTuples(got, someTuples) {
				t.Fatalf("split at %d and %d: %x, %v", i, j, got, err)
			}
		}
	}
	var bytewise [][]byte
	for _, b := range stream {
		bytewise = append(bytewise, []byte{b})
	}
	if got, err := parseStream(bytewise...); err != nil || !equalTuples(got, someTuples) {
		t.Fatalf("byte by byte: %x, %v", got, err)
	}
}

func TestStreamEmpty(t *testing.T) {
	if got, err := parseStream(copyStream()); err != nil || len(got) > 0 {
		t.Errorf("no rows: %x, %v", got, err)
	}
}

// No beginning of a stream is complete, though it may end in ffff: the last
// value of a row may be -1.
func TestStreamTruncated(t *testing.T) {
	stream := copyStream(tuple(int8b(1), int4(-1)), tuple(int2(-1)))
	for i := range stream {
		if _, err := parseStream(bytes.Clone(stream[:i])); err == nil {
			t.Errorf("%d of %d bytes are taken for complete", i, len(stream))
		}
	}
}

func TestStreamHeader(t *testing.T) {
	with := func(flags, extension uint32, more ...byte) []byte {
		b := binary.BigEndian.AppendUint32([]byte(signature), flags)
		b = binary.BigEndian.AppendUint32(b, extension)
		return slices.Concat(b, more, someTuples[0], trailer)
	}
	for i := range 30 { // pieces, to split the extension
		stream := with(0xffff, 5, 1, 2, 3, 4, 5)
		got, err := parseStream(bytes.Clone(stream[:i]), bytes.Clone(stream[i:]))
		if err != nil || !equalTuples(got, someTuples[:1]) {
			t.Errorf("uncritical flags and an extension, split at %d: %x, %v", i, got, err)
		}
	}
	for name, stream := range map[string][]byte{
		"OIDs":               with(1<<16, 0),
		"critical flag":      with(1<<31, 0),
		"negative extension": with(0, 1<<31),
		"endless extension":  with(0, 1<<30),
		"text format":        []byte("1\tabc\t\\N\n1\tabc\t\\N\n"),
		"mangled newlines":   []byte(strings.Replace(string(copyStream()), "\r\n", "\n", 1) + "\x00"),
	} {
		if got, err := parseStream(stream); err == nil {
			t.Errorf("%s: no error, tuples %x", name, got)
		}
	}
}

func TestStreamErrors(t *testing.T) {
	for name, stream := range map[string][]byte{
		"data after the trailer":    append(copyStream(someTuples...), 0),
		"a row after the trailer":   append(copyStream(someTuples...), someTuples[0]...),
		"a second trailer":          append(copyStream(someTuples...), trailer...),
		"a second stream":           append(copyStream(someTuples...), copyStream()...),
		"negative number of fields": append(slices.Clone(header), 0xff, 0xfe, 0, 0),
		"negative length":           append(slices.Clone(header), 0, 1, 0xff, 0xff, 0xff, 0xfe),
	} {
		if _, err := parseStream(stream); err == nil {
			t.Errorf("%s: no error", name)
		}
		var pieces [][]byte
		for _, b := range stream {
			pieces = append(pieces, []byte{b})
		}
		if _, err := parseStream(pieces...); err == nil {
			t.Errorf("%s, byte by byte: no error", name)
		}
	}
}

// An error from row ends the stream for good.
func TestStreamRowError(t *testing.T) {
	stop := errors.New("stop")
	calls := 0
	s := NewStream(func([]byte) error {
		if calls++; calls == 2 {
			return stop
		}
		return nil
	})
	if _, err := s.Write(copyStream(someTuples...)); !errors.Is(err, stop) {
		t.Errorf("Write: %v", err)
	}
	if _, err := s.Write(trailer); !errors.Is(err, stop) {
		t.Errorf("next Write: %v", err)
	}
	if err := s.Finish(); !errors.Is(err, stop) {
		t.Errorf("Finish: %v", err)
	}
	if calls != 2 || s.Rows() != 1 {
		t.Errorf("%d calls, %d rows", calls, s.Rows())
	}

	s.Reset(func([]byte) error { return nil })
	if _, err := s.Write(copyStream(someTuples...)); err != nil || s.Finish() != nil || s.Rows() != int64(len(someTuples)) {
		t.Errorf("after Reset: %v, %v, %d rows", err, s.Finish(), s.Rows())
	}
}

// A piece of whole tuples is passed on, not copied.
func TestStreamAllocates(t *testing.T) {
	var inside bool
	row := tuple(int8b(1), text("abc"))
	s := NewStream(func(tuple []byte) error {
		inside = &tuple[0] == &row[0]
		return nil
	})
	if _, err := s.Write(header); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() {
		if _, err := s.Write(row); err != nil {
			t.Fatal(err)
		}
	}); n != 0 || !inside {
		t.Errorf("Write allocates %v times; tuple passed on: %v", n, inside)
	}
	// What a huge row needed is not kept.
	huge := tuple(make([]byte, 2*keepScratch))
	for _, p := range [][]byte{huge[:100], huge[100:]} {
		if _, err := s.Write(p); err != nil {
			t.Fatal(err)
		}
	}
	if cap(s.rest) > keepScratch {
		t.Errorf("%d bytes are kept", cap(s.rest))
	}
}

// A hasher's stream makes of each tuple what Hash does.
func TestHasherStream(t *testing.T) {
	for _, bench := range benchTables() {
		want := mustHash(t, mustNew(t, bench.config), bench.tuple)
		h := mustNew(t, bench.config)
		rows := 0
		s := h.NewStream(func(tuple []byte, row Row) error {
			rows++
			if !bytes.Equal(tuple, bench.tuple) || row.Hash != want.Hash || !bytes.Equal(row.Key, want.Key) || row.Head != want.Head {
				t.Errorf("%s: row %+v, want %+v", bench.name, row, want)
			}
			return nil
		})
		for piece := range slices.Chunk(copyStream(bench.tuple, bench.tuple, bench.tuple), 50) {
			if _, err := s.Write(piece); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Finish(); err != nil || rows != 3 {
			t.Errorf("%s: %d rows, %v", bench.name, rows, err)
		}
	}
	h := mustNew(t, Config{Columns: plainColumns(2)})
	s := h.NewStream(func([]byte, Row) error { return nil })
	if _, err := s.Write(copyStream(tuple(nil))); !errors.Is(err, errFieldCount) {
		t.Errorf("a tuple of another table: %v", err)
	}
}

// FuzzStream writes data in pieces. Any data is handled as if it had come in
// one piece; tuples, wrapped as a stream, come out as they went in.
func FuzzStream(f *testing.F) {
	f.Add(copyStream(someTuples...), uint16(3))
	f.Add(copyStream(), uint16(19))
	f.Add(append(slices.Clone(header), 0xff, 0xff, 0xff), uint16(1))
	f.Add(bytes.Join(someTuples, nil), uint16(7))
	f.Fuzz(func(t *testing.T, data []byte, size uint16) {
		split := func(b []byte) (pieces [][]byte) {
			return slices.Collect(slices.Chunk(bytes.Clone(b), max(1, int(size))))
		}
		whole, errWhole := parseStream(bytes.Clone(data))
		pieces, errPieces := parseStream(split(data)...)
		if !equalTuples(whole, pieces) || (errWhole == nil) != (errPieces == nil) {
			t.Fatalf("whole: %x, %v\nin pieces: %x, %v", whole, errWhole, pieces, errPieces)
		}
		if errWhole == nil && !bytes.HasPrefix(data, []byte(signature)) {
			t.Fatal("no header, and no error")
		}

		var tuples [][]byte
		for rest := data; ; {
			n, err := new(fields).split(rest)
			if err != nil || n == 0 {
				break
			}
			if _, ok := naiveFields(rest[:n]); !ok {
				t.Fatalf("%x is no tuple", rest[:n])
			}
			tuples = append(tuples, rest[:n])
			rest = rest[n:]
		}
		got, err := parseStream(split(copyStream(tuples...))...)
		if err != nil || !equalTuples(got, tuples) {
			t.Fatalf("tuples %x came out as %x, %v", tuples, got, err)
		}
	})
}

// BenchmarkStream is the path of each row: a Write and a hash.
func BenchmarkStream(b *testing.B) {
	for _, bench := range benchTables() {
		h := mustNew(b, bench.config)
		for name, s := range map[string]*Stream{
			"split": NewStream(func([]byte) error { return nil }),
			"hash":  h.NewStream(func([]byte, Row) error { return nil }),
			"twice": NewStream(func(tuple []byte) error {
				_, err := h.Hash(tuple)
				return err
			}),
		} {
			if _, err := s.Write(header); err != nil {
				b.Fatal(err)
			}
			b.Run(bench.name+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(len(bench.tuple)))
				for b.Loop() {
					if _, err := s.Write(bench.tuple); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
