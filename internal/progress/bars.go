package progress

import (
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/verifierd/verifierd/internal/report/text"
)

// bars draws the tables in flight and, beneath them, the pass. Only the
// goroutine of drawBars uses it.
type bars struct {
	display  *Display
	progress *mpb.Progress
	refresh  chan any
	ended    chan any // closed by mpb when it has ended, as after a failed write
	shown    map[*table]*mpb.Bar
	overall  *mpb.Bar
	next     int
}

func (d *Display) drawBars() {
	defer close(d.done)
	b := &bars{
		display: d, refresh: make(chan any), ended: make(chan any),
		shown: make(map[*table]*mpb.Bar),
	}
	width := d.opts.Width
	if width <= 0 {
		width = 80
	}
	// mpb is told when to draw: only so is it known, at the end, that the last
	// lines have been written and the bars are gone.
	b.progress = mpb.New(mpb.WithOutput(d.w), mpb.WithWidth(width),
		mpb.WithManualRefresh(b.refresh), mpb.WithShutdownNotifier(b.ended))

	ticker := time.NewTicker(refreshEvery)
	defer ticker.Stop()
	for {
		select {
		case <-d.stop:
			b.end()
			return
		case <-ticker.C:
			b.draw()
		}
	}
}

// draw brings the bars in line with the tables and draws them.
func (b *bars) draw() {
	b.display.mu.Lock()
	running := slices.Clone(b.display.running)
	tables := b.display.overall.tables
	b.display.mu.Unlock()

	for _, t := range running {
		if b.shown[t] == nil {
			b.show(t)
		}
	}
	drawings := 1
	for t, bar := range b.shown {
		if !slices.Contains(running, t) {
			bar.Abort(true)
			delete(b.shown, t)
			drawings = drawingsToDrop
		}
	}
	if b.overall == nil && tables > 1 && len(running) > 0 {
		b.overall = b.add(b.display.overallLine(), math.MaxInt)
	}
	b.write()
	b.redraw(drawings)
}

func (b *bars) show(t *table) {
	b.next++
	if bar := b.add(b.display.tableLine(t), b.next); bar != nil {
		b.shown[t] = bar
	}
}

// add returns nil when mpb has ended.
func (b *bars) add(line func(width int) string, priority int) *mpb.Bar {
	bar, err := b.progress.Add(0, filler(line), mpb.BarPriority(priority), mpb.BarFillerTrim())
	if err != nil {
		return nil
	}
	return bar
}

// tableLine returns what draws a table in flight.
func (d *Display) tableLine(t *table) func(width int) string {
	return func(width int) string {
		d.mu.Lock()
		defer d.mu.Unlock()
		nameWidth := 0
		for _, r := range d.running {
			nameWidth = max(nameWidth, min(width/3, text.Width(r.name)))
		}
		return barLine(text.PadRight(text.Truncate(t.name, nameWidth), nameWidth), t.figures(time.Now()), width)
	}
}

// overallLine returns what draws the pass as a whole.
func (d *Display) overallLine() func(width int) string {
	meter := newMeter(time.Now())
	return func(width int) string {
		d.mu.Lock()
		defer d.mu.Unlock()
		now, o := time.Now(), d.overall
		for _, t := range d.running {
			read := t.read()
			o.read += read
			o.done += min(read, max(0, t.estimate))
		}
		f := figures{rate: meter.observe(now, o.read)}
		f.percent, f.left = extent(o.done, o.estimate, f.rate)
		parts := []string{
			text.Count(int64(o.finished)) + " of " + text.Plural(int64(o.tables), "table", "tables"),
			percentText(f.percent), text.Plural(o.read, "row", "rows"), text.Duration(now.Sub(o.started)),
		}
		return text.Truncate(strings.Join(append(parts, f.parts()...), "  "), width)
	}
}

// write hands over the lines that belong above the bars.
func (b *bars) write() {
	if out := b.display.take(); len(out) > 0 {
		_, _ = b.progress.Write(out)
	}
}

// drawingsToDrop is how many drawings mpb takes to be rid of a bar: in the
// first two the dropped bar is an empty line.
const drawingsToDrop = 3

func (b *bars) redraw(times int) {
	for range times {
		select {
		case b.refresh <- time.Now():
		case <-b.ended:
		}
	}
}

// end takes the bars away. mpb ends only after the last drawing that it was
// asked for.
func (b *bars) end() {
	for _, bar := range b.shown {
		bar.Abort(true)
	}
	if b.overall != nil {
		b.overall.Abort(true)
	}
	b.write()
	b.redraw(drawingsToDrop)
	b.progress.Shutdown()
}

// filler makes a whole line of a bar; its width is that of the terminal, of
// which the last cell is left free, as some wrap when it is written.
func filler(line func(width int) string) mpb.BarFiller {
	return mpb.BarFillerFunc(func(w io.Writer, s decor.Statistics) error {
		if s.Aborted || s.AvailableWidth < 2 {
			return nil
		}
		_, err := io.WriteString(w, line(s.AvailableWidth-1))
		return err
	})
}

// barLine renders a table in flight: name, bar, figures. In a narrow terminal
// the bar goes first, then the numbers are rounded, then the end is cut off.
func barLine(name string, f figures, width int) string {
	percent := text.PadLeft(percentText(f.percent), 4)
	rest := func(rows string) string {
		return strings.Join(append([]string{percent, rows}, f.parts()...), "  ")
	}
	figures := rest(f.rows(text.Count))
	room := width - text.Width(name) - text.Width(figures) - len("  []  ")
	if room >= 8 {
		return name + "  " + bar(f.percent, min(room, 24)) + "  " + figures
	}
	if text.Width(name)+len("  ")+text.Width(figures) > width {
		figures = rest(f.rows(text.Short))
	}
	return text.Truncate(name+"  "+figures, width)
}

func bar(percent, width int) string {
	full := max(0, percent) * width / 100
	switch {
	case full == 0:
		return "[" + strings.Repeat("-", width) + "]"
	case full >= width:
		return "[" + strings.Repeat("=", width) + "]"
	}
	return "[" + strings.Repeat("=", full-1) + ">" + strings.Repeat("-", width-full) + "]"
}
