package parity

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

const spoolBuffer = 16 << 10

// spool is a list of records that stays in memory up to a limit and goes on in
// a temporary file. The file has no name, so that it goes with the process.
type spool struct {
	limit int
	dir   string

	mu      sync.Mutex // guards what follows, while records are appended
	mem     []byte
	file    *os.File
	w       *bufio.Writer
	count   int64
	longest int // record
}

func newSpool(limit int, dir string) *spool { return &spool{limit: limit, dir: dir} }

// append adds a record. It may be called from many goroutines.
func (s *spool) append(record []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count++
	s.longest = max(s.longest, len(record))
	if s.file == nil {
		if len(s.mem)+len(record)+binary.MaxVarintLen64 <= s.limit {
			s.mem = binary.AppendUvarint(s.mem, uint64(len(record)))
			s.mem = append(s.mem, record...)
			return nil
		}
		if err := s.spill(); err != nil {
			return err
		}
	}
	var length [binary.MaxVarintLen64]byte
	if _, err := s.w.Write(length[:binary.PutUvarint(length[:], uint64(len(record)))]); err != nil {
		return fmt.Errorf("write temporary file: %w", err)
	}
	if _, err := s.w.Write(record); err != nil {
		return fmt.Errorf("write temporary file: %w", err)
	}
	return nil
}

func (s *spool) spill() error {
	f, err := os.CreateTemp(s.dir, "verifierd-*")
	if err != nil {
		return fmt.Errorf("create temporary file for divergent rows: %w", err)
	}
	// Where an open file cannot be removed, close does it.
	_ = os.Remove(f.Name())
	s.file, s.w = f, bufio.NewWriterSize(f, spoolBuffer)
	return nil
}

// each calls f with every record in order. The record is valid during the
// call. Nothing may be appended meanwhile.
func (s *spool) each(f func(record []byte) error) error {
	for rest := s.mem; len(rest) > 0; {
		n, w := binary.Uvarint(rest)
		end := w + int(n)
		if err := f(rest[w:end]); err != nil {
			return err
		}
		rest = rest[end:]
	}
	if s.file == nil {
		return nil
	}
	if err := s.w.Flush(); err != nil {
		return fmt.Errorf("write temporary file: %w", err)
	}
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read temporary file: %w", err)
	}
	r := bufio.NewReaderSize(s.file, spoolBuffer)
	var record []byte
	for {
		n, err := binary.ReadUvarint(r)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read temporary file: %w", err)
		}
		if n > uint64(s.longest) { // of the disk's making
			return errRecord
		}
		if uint64(cap(record)) < n {
			record = make([]byte, n)
		}
		record = record[:n]
		if _, err := io.ReadFull(r, record); err != nil {
			return fmt.Errorf("read temporary file: %w", err)
		}
		if err := f(record); err != nil {
			return err
		}
	}
}

// close gives the memory and the file back.
func (s *spool) close() {
	if s == nil {
		return
	}
	s.mem = nil
	if s.file != nil {
		_ = s.file.Close()
		_ = os.Remove(s.file.Name())
		s.file = nil
	}
}
