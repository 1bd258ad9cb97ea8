package progress

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/verifierd/verifierd/internal/report/text"
	"github.com/verifierd/verifierd/pkg/parity"
	"github.com/verifierd/verifierd/pkg/relation"
)

const (
	// refreshEvery is how often bars are drawn anew.
	refreshEvery = 100 * time.Millisecond
	// lineEvery is how often a line tells of a table that is still being
	// read, where there are no bars.
	lineEvery = 30 * time.Second
)

// Options say what a display may use.
type Options struct {
	Terminal bool // whether the writer is a terminal: bars rather than lines
	Colour   bool
	// Width is the terminal's, in cells, where the terminal cannot be asked;
	// 0 means 80.
	Width int
}

// Display is a parity.Observer that shows a pass on one writer, standard error
// as a rule. One goroutine does all the writing, so a slow or stopped terminal
// does not hold up the pass.
//
// A Display is also an io.Writer: what is written to it, log lines say, appears
// above the bars instead of across them.
type Display struct {
	parity.NoObserver
	opts   Options
	colour text.Palette
	w      io.Writer

	wake chan struct{} // capacity 1: there is something to write
	stop chan struct{}
	done chan struct{} // closed when the writing goroutine has ended
	once sync.Once

	tables sync.Map // relation.Name to *table, of the tables being compared

	mu      sync.Mutex // guards what follows
	pending bytes.Buffer
	closed  bool
	overall overall
	reading parity.Reading
	running []*table // in the order in which they started
	// references are those of running that stand for foreign keys.
	references map[*parity.ReferenceCheck]*table
	nameWidth  int
}

// New starts a display on w. Close ends it.
func New(w io.Writer, opts Options) *Display {
	d := &Display{
		opts:   opts,
		colour: text.Palette(opts.Colour),
		w:      w,
		wake:   make(chan struct{}, 1),
		stop:   make(chan struct{}),
		done:   make(chan struct{}),

		references: make(map[*parity.ReferenceCheck]*table),
	}
	if opts.Terminal {
		go d.drawBars()
	} else {
		go d.writeLines()
	}
	return d
}

var (
	_ parity.Observer = (*Display)(nil)
	_ io.Writer       = (*Display)(nil)
)

// Close takes the bars away, leaves a line for each table that is not
// finished, and waits until all is written. It may be called more than once;
// the display shows nothing after it.
func (d *Display) Close() {
	d.once.Do(func() {
		d.mu.Lock()
		for _, t := range d.running {
			d.say(d.unfinishedLine(t))
		}
		d.running = nil
		d.closed = true
		d.mu.Unlock()
		close(d.stop)
	})
	<-d.done
}

// Write shows p, which should be whole lines, above the bars. After Close it
// writes straight through.
func (d *Display) Write(p []byte) (int, error) {
	d.mu.Lock()
	if !d.closed {
		d.pending.Write(p)
		d.mu.Unlock()
		d.poke()
		return len(p), nil
	}
	d.mu.Unlock()
	<-d.done
	return d.w.Write(p)
}

// PassStarted says how much there is to compare.
func (d *Display) PassStarted(info parity.PassStart) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.overall = overall{started: time.Now(), tables: info.Tables, estimate: info.Rows}
	d.reading = info.Reading
	line, sides := "comparing ", " on both sides (rows read are shown as source+target)"
	switch info.Reading {
	case parity.ReadingSource:
		line, sides = "capturing ", ""
	case parity.ReadingTarget:
		sides = ""
	}
	line += text.Plural(int64(info.Tables), "table", "tables")
	switch {
	case info.Rows < 0 && info.Bytes > 0:
		line += fmt.Sprintf(": %s%s", text.Bytes(info.Bytes), sides)
	case info.Rows > 0:
		line += fmt.Sprintf(": about %s rows, %s%s", text.Count(info.Rows), text.Bytes(max(0, info.Bytes)), sides)
	}
	d.say(line)
}

// TableStarted begins to show a table.
func (d *Display) TableStarted(start parity.TableStart) {
	t := newTable(start)
	d.mu.Lock()
	defer d.mu.Unlock()
	t.reading = d.reading
	if d.closed {
		return
	}
	d.tables.Store(start.Name, t)
	d.running = append(d.running, t)
	d.nameWidth = max(d.nameWidth, min(40, text.Width(t.name)))
	d.poke()
}

// RowsRead counts rows.
func (d *Display) RowsRead(name relation.Name, side relation.Side, rows, _ int64) {
	if t := d.table(name); t != nil {
		t.rows[side].Add(rows)
	}
}

// TableStage notes what happens to a table.
func (d *Display) TableStage(name relation.Name, stage string) {
	if t := d.table(name); t != nil {
		stage = text.Prose(stage)
		t.stage.Store(&stage)
	}
}

// TableFinished leaves a line with the table's outcome.
func (d *Display) TableFinished(outcome *parity.Table) {
	t := d.table(outcome.Name)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	if t != nil {
		d.tables.Delete(outcome.Name)
		d.running = slices.DeleteFunc(d.running, func(r *table) bool { return r == t })
		d.overall.finish(t)
	} else {
		d.overall.finished++
	}
	d.say(d.finishedLine(outcome))
}

// ReferenceStarted begins to show that orphans are looked for.
func (d *Display) ReferenceStarted(r *parity.ReferenceCheck) {
	t := newTable(parity.TableStart{Name: r.ForeignKey[relation.Source].Table})
	stage := "looking for orphans of " + text.Prose(r.ForeignKey[relation.Source].Name)
	t.stage.Store(&stage)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	d.references[r] = t
	d.running = append(d.running, t)
	d.poke()
}

// ReferenceFinished leaves a line if there is something to say.
func (d *Display) ReferenceFinished(r *parity.ReferenceCheck) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if t := d.references[r]; t != nil {
		delete(d.references, r)
		d.running = slices.DeleteFunc(d.running, func(other *table) bool { return other == t })
	}
	if r.Complete && r.Orphans == [2]int64{} {
		return
	}
	name := text.Name(r.ForeignKey[relation.Source].Table)
	d.say(text.PadRight(name, d.nameWidth) + "  " + text.Prose(r.ForeignKey[relation.Source].Name) + ": " + text.Prose(r.Reason))
}

func (d *Display) table(name relation.Name) *table {
	if t, ok := d.tables.Load(name); ok {
		return t.(*table)
	}
	return nil
}

// say queues a line. The caller holds d.mu.
func (d *Display) say(line string) {
	if d.closed {
		return
	}
	d.pending.WriteString(line)
	d.pending.WriteByte('\n')
	d.poke()
}

func (d *Display) poke() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// take returns the lines that were queued.
func (d *Display) take() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := bytes.Clone(d.pending.Bytes())
	d.pending.Reset()
	return out
}

// writeLines writes lines as they come, and one for each table now and then.
func (d *Display) writeLines() {
	defer close(d.done)
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-d.stop:
			d.flush()
			return
		case <-ticker.C:
			d.sayLongRunning(time.Now())
			d.flush()
		case <-d.wake:
			d.flush()
		}
	}
}

// flush writes what is queued. Progress that cannot be written is no reason
// to end a pass.
func (d *Display) flush() {
	if out := d.take(); len(out) > 0 {
		_, _ = d.w.Write(out)
	}
}

func (d *Display) sayLongRunning(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, t := range d.running {
		if now.Sub(t.told) >= lineEvery {
			t.told = now
			d.say(text.PadRight(t.name, d.nameWidth) + "  " + t.figures(now).line())
		}
	}
}

// finishedLine tells a table's outcome. The caller holds d.mu.
func (d *Display) finishedLine(t *parity.Table) string {
	name := text.Name(t.Name)
	d.nameWidth = max(d.nameWidth, min(40, text.Width(name)))
	colour := d.colour.Yellow
	switch t.Verdict {
	case parity.Match:
		colour = d.colour.Green
	case parity.Diverged:
		colour = d.colour.Red
	}
	verdict := t.Verdict.String()
	if d.reading == parity.ReadingSource { // nothing is compared
		if verdict = "not read"; t.Complete {
			verdict, colour = "captured", d.colour.Green
		}
	}
	const verdictWidth = len("incomplete")
	line := text.PadRight(name, d.nameWidth) + "  " + colour(verdict) +
		fmt.Sprintf("%*s", verdictWidth-len(verdict), "") + "  " + finishedRows(t, d.reading) + "  " + text.Duration(t.Duration)
	if n := t.Divergences.Confirmed(); n > 0 {
		line += "  " + text.Plural(n, "divergent row", "divergent rows")
	}
	if n := t.Leaves.Divergent; n > 0 {
		line += "  " + text.Plural(int64(n), "divergent leaf", "divergent leaves")
	}
	if !t.Complete {
		line += "  " + text.Prose(t.Reason)
	}
	return line
}

func finishedRows(t *parity.Table, reading parity.Reading) string {
	source, target := &t.Side[relation.Source], &t.Side[relation.Target]
	if reading == parity.ReadingSource {
		return text.Plural(source.ReadRows, "row", "rows")
	}
	if !source.Read && !source.Counted || !target.Read && !target.Counted {
		return text.Count(source.ReadRows) + "+" + text.Count(target.ReadRows) + " rows read"
	}
	if source.Rows == target.Rows {
		return text.Plural(source.Rows, "row", "rows")
	}
	return fmt.Sprintf("%s, %s on the target", text.Plural(source.Rows, "row", "rows"), text.Count(target.Rows))
}

func (d *Display) unfinishedLine(t *table) string {
	return text.PadRight(t.name, d.nameWidth) + "  " + d.colour.Yellow("unfinished") + "  " +
		rowsOf(t.rows[relation.Source].Load(), t.rows[relation.Target].Load(), t.reading, text.Count) + " read"
}
