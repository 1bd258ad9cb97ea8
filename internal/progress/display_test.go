package progress

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/verifierd/verifierd/pkg/parity"
	"github.com/verifierd/verifierd/pkg/relation"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (run with -update to accept):\n--- got\n%s\n--- want\n%s", path, got, want)
	}
}

// screen is a terminal that knows what mpb uses: newline, cursor up, erase to
// the end. Anything else is an error, so that no name can slip in a sequence.
type screen struct {
	t     *testing.T
	mu    sync.Mutex
	lines []string
	row   int
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for rest := string(p); rest != ""; {
		switch {
		case strings.HasPrefix(rest, "\x1b["):
			rest = s.sequence(rest[2:])
		case rest[0] == '\n':
			s.at()
			s.row++
			rest = rest[1:]
		default:
			if rest[0] < ' ' {
				s.t.Errorf("control character %q on the terminal", rest[0])
			}
			*s.at() += rest[:1]
			rest = rest[1:]
		}
	}
	return len(p), nil
}

func (s *screen) at() *string {
	for len(s.lines) <= s.row {
		s.lines = append(s.lines, "")
	}
	return &s.lines[s.row]
}

func (s *screen) sequence(rest string) string {
	end := strings.IndexAny(rest, "AJm")
	if end < 0 {
		s.t.Fatalf("unknown sequence %q", rest)
	}
	switch rest[end] {
	case 'A':
		n, err := strconv.Atoi(rest[:end])
		if err != nil || n > s.row {
			s.t.Fatalf("cursor up %q from row %d", rest[:end], s.row)
		}
		s.row -= n
	case 'J':
		s.lines = s.lines[:min(s.row, len(s.lines))]
	}
	return rest[end+1:]
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines, "\n") + "\n"
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

var (
	items  = relation.Name{Schema: "public", Name: "items"}
	orders = relation.Name{Schema: "public", Name: "orders"}
	evil   = relation.Name{Schema: "pub\x1b[2Jlic", Name: "ev\nil\u202e東京"}
)

// finished is a table's outcome; a verdict other than match has something to
// tell.
func finished(n relation.Name, v parity.Verdict, rows int64) *parity.Table {
	side := parity.TableSide{Rows: rows, Read: true, ReadRows: rows}
	t := &parity.Table{
		Name: n, TargetName: n, Verdict: v, Complete: v != parity.Incomplete, Reason: "reset\x1b[2J",
		Side: [2]parity.TableSide{side, side}, Duration: 812 * time.Millisecond,
	}
	switch v {
	case parity.Diverged:
		t.Divergences.Missing, t.Side[relation.Target].Rows = 3, rows-3
	case parity.Incomplete:
		t.Side[relation.Target] = parity.TableSide{ReadRows: 12}
	}
	return t
}

// pass plays a pass of four tables, and calls at moments worth a look.
func pass(d *Display, look func(moment string)) {
	time.Sleep(530 * time.Millisecond) // out of step with every ticker
	d.PassStarted(parity.PassStart{Tables: 4, Rows: 6_000_000, Bytes: 700 << 20})
	d.TableStarted(parity.TableStart{Name: items, Rows: [2]int64{2_000_000, -1}})
	d.TableStarted(parity.TableStart{Name: orders, Rows: [2]int64{-1, -1}})
	for range 40 {
		time.Sleep(time.Second)
		d.RowsRead(items, relation.Source, 40_000, 1<<20)
		d.RowsRead(items, relation.Target, 38_000, 1<<20)
		d.RowsRead(orders, relation.Source, 10, 1<<10)
	}
	time.Sleep(150 * time.Millisecond)
	look("two tables")
	d.TableFinished(finished(orders, parity.Match, 400))
	d.TableStarted(parity.TableStart{Name: evil, Rows: [2]int64{10, 10}})
	d.RowsRead(evil, relation.Source, 1000, 1000)
	d.TableStage(evil, "reading again in 3s\x1b[2J")
	time.Sleep(20 * time.Second)
	look("outgrown")
	if _, err := d.Write([]byte("a log line\n")); err != nil {
		panic(err)
	}
	d.TableFinished(finished(evil, parity.Incomplete, 1000))
	d.TableFinished(finished(items, parity.Diverged, 2_000_000))
	d.TableStarted(parity.TableStart{Name: orders, Rows: [2]int64{0, 0}})
	time.Sleep(time.Second)
	look("the last")
}

func TestLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out lockedBuffer
		d := New(&out, Options{})
		pass(d, func(string) {})
		d.Close()
		d.Close()
		golden(t, "lines.txt", out.String())
	})
}

func TestBars(t *testing.T) {
	for _, width := range []int{60, 120} {
		synctest.Test(t, func(t *testing.T) {
			s := &screen{t: t}
			d := New(s, Options{Terminal: true, Width: width})
			var seen strings.Builder
			pass(d, func(moment string) {
				synctest.Wait()
				seen.WriteString("== " + moment + "\n" + s.String())
			})
			d.Close()
			seen.WriteString("== closed\n" + s.String())
			golden(t, "bars"+strconv.Itoa(width)+".txt", seen.String())
			for line := range strings.Lines(s.String()) {
				if strings.Contains(line, "left") {
					t.Errorf("a bar is left over: %q", line)
				}
			}
		})
	}
}

// TestCloseAtOnce closes displays that have drawn little or nothing: nothing
// said may be lost.
func TestCloseAtOnce(t *testing.T) {
	for _, terminal := range []bool{true, false} {
		for range 50 {
			var out lockedBuffer
			d := New(&out, Options{Terminal: terminal})
			d.TableStarted(parity.TableStart{Name: items, Rows: [2]int64{10, 10}})
			d.TableFinished(finished(items, parity.Match, 10))
			d.TableStarted(parity.TableStart{Name: orders, Rows: [2]int64{10, 10}})
			d.Close()
			for _, want := range []string{"public.items  match", "public.orders  unfinished"} {
				if !strings.Contains(out.String(), want) {
					t.Fatalf("terminal %t: no %q in %q", terminal, want, out.String())
				}
			}
			before := out.String()
			d.TableFinished(finished(orders, parity.Match, 10))
			if out.String() != before {
				t.Fatalf("terminal %t: said something after Close", terminal)
			}
		}
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("gone") }

// TestFailingWriter: a terminal that went away holds nothing up.
func TestFailingWriter(t *testing.T) {
	for _, terminal := range []bool{true, false} {
		synctest.Test(t, func(*testing.T) {
			d := New(failing{}, Options{Terminal: terminal})
			pass(d, func(string) {})
			d.Close()
		})
	}
}

func TestConcurrent(t *testing.T) {
	var out lockedBuffer
	for _, terminal := range []bool{true, false} {
		d := New(&out, Options{Terminal: terminal, Colour: true})
		d.PassStarted(parity.PassStart{Tables: 8, Rows: -1, Bytes: -1})
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				n := relation.Name{Schema: "s", Name: "t" + strconv.Itoa(i)}
				d.TableStarted(parity.TableStart{Name: n, Rows: [2]int64{100, 100}})
				for range 200 {
					d.RowsRead(n, relation.Source, 1, 1)
					d.RowsRead(n, relation.Target, 1, 1)
					d.TableStage(n, "comparing")
					time.Sleep(time.Millisecond)
				}
				if i%2 == 0 {
					d.TableFinished(finished(n, parity.Match, 200))
				}
			})
		}
		time.Sleep(150 * time.Millisecond)
		if !terminal {
			d.Close() // while it is being told
		}
		wg.Wait()
		d.Close()
	}
}

func TestExtent(t *testing.T) {
	for _, c := range []struct {
		read, estimate int64
		rate           float64
		percent        int
		left           time.Duration
	}{
		{0, -2, 0, -1, -1},
		{5, 0, 1, -1, -1},
		{0, 10, 0, 0, -1},
		{5, 10, 1, 50, 5 * time.Second},
		{10, 10, 1, 99, -1},
		{1 << 62, 10, 1, 99, -1},
		{0, 1 << 62, 1e-9, 0, -1},
	} {
		percent, left := extent(c.read, c.estimate, c.rate)
		if percent != c.percent || left != c.left {
			t.Errorf("extent(%d, %d, %g) = %d, %v, want %d, %v", c.read, c.estimate, c.rate, percent, left, c.percent, c.left)
		}
	}
}

// TestGuesses: no share is shown of what is not known.
func TestGuesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out lockedBuffer
		d := New(&out, Options{})
		d.PassStarted(parity.PassStart{Tables: 2, Rows: -1, Bytes: 3 << 20})
		d.TableStarted(parity.TableStart{Name: items, Rows: [2]int64{-1, -1}})
		d.RowsRead(items, relation.Source, 1000, 1<<20)
		time.Sleep(lineEvery + 2*time.Second)
		d.Close()
		for _, want := range []string{"comparing 2 tables: 3.0 MiB on both sides", "public.items  ?%  1,000+0 rows"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("no %q in %q", want, out.String())
			}
		}
	})
}

func TestMeter(t *testing.T) {
	now := time.Now()
	m := newMeter(now)
	if r := m.observe(now, 5); r != 0 {
		t.Errorf("rate at once: %g", r)
	}
	for i := 1; i <= 300; i++ {
		r := m.observe(now.Add(time.Duration(i)*100*time.Millisecond), int64(i)*100)
		if i > 1 && (r < 900 || r > 1100) {
			t.Fatalf("rate %g after %d", r, i)
		}
	}
	if len(m.samples) > 110 {
		t.Errorf("%d samples are kept", len(m.samples))
	}
	if r := m.observe(now.Add(time.Hour), 0); r != 0 {
		t.Errorf("rate after rows went back: %g", r)
	}
}

func TestColour(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if IsTerminal(f) || Colour(f) || IsTerminal(nil) || Colour(nil) {
		t.Error("a file is no terminal")
	}
}

type counting struct {
	parity.NoObserver
	calls int
}

func (c *counting) RowsRead(relation.Name, relation.Side, int64, int64) { c.calls++ }
func (c *counting) TableFinished(*parity.Table)                         { c.calls++ }

func TestMulti(t *testing.T) {
	a, b := new(counting), new(counting)
	m := Multi(a, nil, b)
	m.PassStarted(parity.PassStart{})
	m.TableStarted(parity.TableStart{})
	m.RowsRead(items, relation.Source, 1, 1)
	m.TableStage(items, "x")
	m.Diverged(items, &parity.Divergence{})
	m.SchemaDiffers(&parity.SchemaDifference{})
	m.TableFinished(finished(items, parity.Match, 1))
	if a.calls != 2 || b.calls != 2 {
		t.Errorf("%d and %d calls, want 2 each", a.calls, b.calls)
	}
}
