package rowhash

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// A Stream takes a COPY binary stream apart into tuples. It is an [io.Writer]
// to which the stream may be written in pieces of any size; pieces that hold
// whole tuples, as the server sends them, are not copied.
//
// A stream is complete only when [Stream.Finish] says so. That the server
// finished its command is another matter, which the caller checks.
type Stream struct {
	row    func(tuple []byte) error
	fields *fields // of the tuple passed to row
	state  state
	skip   uint32 // bytes of header extension still to pass
	rows   int64
	rest   []byte // the beginning of a header, tuple or trailer
	err    error  // ends the stream
}

type state uint8

const (
	atHeader state = iota
	atTuple
	atEnd
)

const (
	signature  = "PGCOPY\n\377\r\n\000"
	headerSize = len(signature) + 4 + 4 // flags, length of the extension

	flagOIDs      = 1 << 16    // tuples have OIDs: PostgreSQL 11 and before
	flagsCritical = 0xffff0000 // the reader must know them
)

var (
	errSignature = errors.New("not a COPY binary stream")
	errExtension = errors.New("invalid header extension")
	errAfterEnd  = errors.New("data after the trailer")
	errNoHeader  = errors.New("stream ends within the header")
	errNoTrailer = errors.New("stream ends without a trailer")
	errInTuple   = errors.New("stream ends within a tuple")
)

// NewStream returns a Stream that calls row with each tuple. The tuple is
// valid until row returns; an error from row ends the stream.
func NewStream(row func(tuple []byte) error) *Stream {
	return &Stream{row: row, fields: new(fields)}
}

// Reset makes s ready for another stream.
func (s *Stream) Reset(row func(tuple []byte) error) {
	*s = Stream{row: row, fields: s.fields, rest: s.rest[:0]}
}

// Rows returns the number of tuples passed to row.
func (s *Stream) Rows() int64 { return s.rows }

// Write takes the next piece of the stream. It neither changes nor keeps p. An
// error, be it of the stream or from row, is final.
func (s *Stream) Write(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	b := p
	if len(s.rest) > 0 {
		s.rest = append(s.rest, p...)
		b = s.rest
	}
	n, err := s.parse(b)
	if err != nil {
		s.err = fmt.Errorf("copy stream after %d rows: %w", s.rows, err)
		return 0, s.err
	}
	if n > 0 && len(s.rest) > 0 || n < len(p) && len(s.rest) == 0 {
		s.keep(b[n:])
	} // else b, if anything, is all of s.rest
	return len(p), nil
}

// keep sets s.rest to b, which may be a part of it.
func (s *Stream) keep(b []byte) {
	if cap(s.rest) > keepScratch && len(b) <= keepScratch {
		s.rest = nil
	}
	s.rest = append(s.rest[:0], b...)
}

// Finish reports whether the whole stream was seen: an error unless it had its
// header and its trailer, and nothing after.
func (s *Stream) Finish() error {
	switch {
	case s.err != nil:
		return s.err
	case s.state == atHeader || s.skip > 0:
		return errNoHeader
	case len(s.rest) > 0:
		return errInTuple
	case s.state != atEnd:
		return errNoTrailer
	}
	return nil
}

// parse consumes all whole items of b, and returns how many bytes those took.
func (s *Stream) parse(b []byte) (n int, err error) {
	if s.state == atHeader {
		if len(b) < headerSize {
			return 0, nil
		}
		if err := s.header(b[:headerSize]); err != nil {
			return 0, err
		}
		n = headerSize
	}
	if s.skip > 0 {
		skipped := min(int64(s.skip), int64(len(b)-n))
		s.skip -= uint32(skipped)
		n += int(skipped)
	}
	for n < len(b) {
		if s.state == atEnd {
			return n, errAfterEnd
		}
		if isTrailer(b[n:]) {
			s.state = atEnd
			n += countWord
			continue
		}
		size, err := s.fields.split(b[n:])
		if err != nil || size == 0 {
			return n, err
		}
		if err := s.row(b[n : n+size : n+size]); err != nil {
			return n, err
		}
		s.rows++
		n += size
	}
	return n, nil
}

// isTrailer reports whether b begins with a field count of -1, which ends the
// stream.
func isTrailer(b []byte) bool {
	return len(b) >= countWord && b[0] == 0xff && b[1] == 0xff
}

func (s *Stream) header(b []byte) error {
	if string(b[:len(signature)]) != signature {
		return errSignature
	}
	b = b[len(signature):]
	flags, extension := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	if flags&flagOIDs != 0 {
		return errors.New("tuples with OIDs are not supported")
	}
	if flags&flagsCritical != 0 {
		return fmt.Errorf("unknown flags %#x", flags)
	}
	if int32(extension) < 0 {
		return errExtension
	}
	s.state, s.skip = atTuple, extension
	return nil
}
