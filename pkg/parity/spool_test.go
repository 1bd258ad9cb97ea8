package parity

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

func readSpool(t *testing.T, s *spool) [][]byte {
	t.Helper()
	var records [][]byte
	if err := s.each(func(r []byte) error {
		records = append(records, bytes.Clone(r))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return records
}

// TestSpool: records come back in order, whatever stayed in memory.
func TestSpool(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, limit := range []int{0, 1, 100, 5000, 1 << 20} {
		dir := t.TempDir()
		s := newSpool(limit, dir)
		var want [][]byte
		for i := range 500 {
			record := make([]byte, r.IntN(100))
			if i == 250 {
				record = make([]byte, 3*spoolBuffer)
			}
			for j := range record {
				record[j] = byte(r.Uint32())
			}
			want = append(want, record)
			if err := s.append(record); err != nil {
				t.Fatal(err)
			}
		}
		if s.count != int64(len(want)) {
			t.Errorf("counts %d records, want %d", s.count, len(want))
		}
		if len(s.mem) > limit {
			t.Errorf("%d bytes in memory, want at most %d", len(s.mem), limit)
		}
		if spilled := s.file != nil; spilled != (limit < 1<<20) {
			t.Errorf("limit %d: spilled: %t", limit, spilled)
		}
		for range 2 { // it can be read again
			got := readSpool(t, s)
			if len(got) != len(want) {
				t.Fatalf("limit %d: %d records, want %d", limit, len(got), len(want))
			}
			for i := range got {
				if !bytes.Equal(got[i], want[i]) {
					t.Fatalf("limit %d: record %d is %x, want %x", limit, i, got[i], want[i])
				}
			}
		}
		s.close()
		s.close()
		if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}

func TestSpoolManyWriters(t *testing.T) {
	s := newSpool(1000, t.TempDir())
	defer s.close()
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for range 500 {
				if err := s.append(bytes.Repeat([]byte{byte(w)}, w+1)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	var count [8]int
	for _, record := range readSpool(t, s) {
		w := int(record[0])
		if len(record) != w+1 || !bytes.Equal(record, bytes.Repeat([]byte{byte(w)}, w+1)) {
			t.Fatalf("record %x", record)
		}
		count[w]++
	}
	for w, n := range count {
		if n != 500 {
			t.Errorf("writer %d: %d records, want 500", w, n)
		}
	}
}

func TestSpoolErrors(t *testing.T) {
	s := newSpool(0, filepath.Join(t.TempDir(), "absent"))
	if err := s.append([]byte("x")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	s.close()
	s = newSpool(0, t.TempDir())
	defer s.close()
	if err := s.append([]byte("x")); err != nil {
		t.Fatal(err)
	}
	stop := errors.New("stop")
	if err := s.each(func([]byte) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("each hides the callback's error: %v", err)
	}
	// A file that lost its end must not read as fewer records.
	if err := s.file.Truncate(1); err != nil {
		t.Fatal(err)
	}
	if err := s.each(func([]byte) error { return nil }); err == nil {
		t.Error("a truncated file is taken for whole")
	}
	(*spool)(nil).close()
}

// FuzzSpool: records come back as they went in; and what a broken disk makes
// of the file are other records or an error, never a crash.
func FuzzSpool(f *testing.F) {
	f.Add([]byte("one\ntwo\n\nthree"), uint16(4), []byte("\x02ab\x00"))
	f.Add([]byte("a"), uint16(0), []byte("\xff\xff\xff\xff\xff\xff\xff\xff\x7f"))
	f.Add([]byte(""), uint16(100), []byte("\x01"))
	f.Fuzz(func(t *testing.T, records []byte, limit uint16, file []byte) {
		s := newSpool(int(limit), t.TempDir())
		defer s.close()
		want := bytes.Split(records, []byte("\n"))
		for _, r := range want {
			if err := s.append(r); err != nil {
				t.Fatal(err)
			}
		}
		if got := readSpool(t, s); !slices.EqualFunc(got, want, bytes.Equal) {
			t.Fatalf("%q became %q", want, got)
		}
		if s.file == nil {
			return
		}
		if err := s.file.Truncate(0); err != nil {
			t.Fatal(err)
		}
		if _, err := s.file.WriteAt(file, 0); err != nil {
			t.Fatal(err)
		}
		read := 0
		err := s.each(func(r []byte) error {
			read += len(r)
			return nil
		})
		if err == nil && read > len(s.mem)+len(file) {
			t.Fatalf("%d bytes came out of a file of %d", read, len(file))
		}
	})
}

// FuzzDecodeEntry: what decodes is what was written, byte for byte.
func FuzzDecodeEntry(f *testing.F) {
	f.Add([]byte("\x01" + "0123456789abcdef" + "key"))
	f.Add([]byte("\x00" + "0123456789abcdef"))
	f.Add([]byte("\x02" + "0123456789abcdef"))
	f.Add([]byte("\x00" + "0123456789abcde"))
	f.Fuzz(func(t *testing.T, record []byte) {
		side, hash, key, err := decodeEntry(record)
		if valid := len(record) > 16 && record[0] < 2; valid != (err == nil) {
			t.Fatalf("%x: %v", record, err)
		}
		if err != nil {
			return
		}
		again := append(hash.AppendBytes([]byte{byte(side)}), key...)
		if !bytes.Equal(again, record) {
			t.Fatalf("%x is written as %x", record, again)
		}
	})
}
