package progress

import (
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"time"

	"github.com/verifierd/verifierd/internal/report/text"
	"github.com/verifierd/verifierd/pkg/parity"
	"github.com/verifierd/verifierd/pkg/relation"
)

// table is a table that is being compared.
type table struct {
	name     string
	reading  parity.Reading
	estimate int64 // rows of both sides; 0 or less: unknown
	rows     [2]atomic.Int64
	stage    atomic.Pointer[string]

	// What follows is guarded by Display.mu.
	meter meter
	told  time.Time // when a line last told of the table
}

func newTable(start parity.TableStart) *table {
	now := time.Now()
	source, target := start.Rows[relation.Source], start.Rows[relation.Target]
	// A side whose size is unknown is taken to be like the other.
	if source < 0 {
		source = target
	}
	if target < 0 {
		target = source
	}
	return &table{name: text.Name(start.Name), estimate: source + target, told: now, meter: newMeter(now)}
}

func (t *table) read() int64 { return t.rows[relation.Source].Load() + t.rows[relation.Target].Load() }

// overall is the pass as a whole.
type overall struct {
	started          time.Time
	tables, finished int
	estimate         int64 // rows of both sides; 0 or less: unknown
	done             int64 // estimated rows of the finished tables
	read             int64 // rows read of the finished tables
}

func (o *overall) finish(t *table) {
	o.finished++
	o.done += max(0, t.estimate)
	o.read += t.read()
}

// figures are what is shown of a table, or of the pass, at one moment.
type figures struct {
	source, target int64 // rows read
	rate           float64
	percent        int           // 0 to 100; -1: unknown
	left           time.Duration // -1: unknown
	stage          string
	reading        parity.Reading
}

func (t *table) figures(now time.Time) figures {
	f := figures{source: t.rows[relation.Source].Load(), target: t.rows[relation.Target].Load(), reading: t.reading}
	read := f.source + f.target
	f.rate = t.meter.observe(now, read)
	f.percent, f.left = extent(read, t.estimate, f.rate)
	if s := t.stage.Load(); s != nil {
		f.stage = *s
	}
	return f
}

// extent says how far a read has come and how long the rest takes. Estimates
// can be wrong either way: what is not finished is at 99 % at most, and what
// has outgrown its estimate has no time left to tell.
func extent(read, estimate int64, rate float64) (percent int, left time.Duration) {
	percent, left = -1, -1
	if estimate <= 0 {
		return percent, left
	}
	percent = int(min(99, max(0, 100*float64(read)/float64(estimate))))
	if rest := float64(estimate - read); rest > 0 && rate > 0 {
		if s := rest / rate; s < float64(1000*time.Hour)/float64(time.Second) {
			left = time.Duration(math.Ceil(s)) * time.Second
		}
	}
	return percent, left
}

// parts are the figures as words, without the rows.
func (f *figures) parts() []string {
	var parts []string
	moving := f.rate > 0
	if moving || f.stage == "" {
		parts = append(parts, text.Rate(f.rate))
		if f.left >= 0 {
			parts = append(parts, leftText(f.left))
		}
	}
	if f.stage != "" {
		parts = append(parts, f.stage)
	}
	return parts
}

func leftText(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%ds left", int(d.Seconds()))
	}
	return text.Duration(d) + " left"
}

func percentText(percent int) string {
	if percent < 0 {
		return "?%"
	}
	return fmt.Sprintf("%d%%", percent)
}

// rows are the rows read, as source+target where both are.
func (f *figures) rows(number func(int64) string) string {
	return rowsOf(f.source, f.target, f.reading, number)
}

func rowsOf(source, target int64, reading parity.Reading, number func(int64) string) string {
	if reading != parity.ReadingBoth {
		return number(source+target) + " rows"
	}
	return number(source) + "+" + number(target) + " rows"
}

// line renders the figures where there are no bars.
func (f figures) line() string {
	return strings.Join(append([]string{percentText(f.percent), f.rows(text.Count)}, f.parts()...), "  ")
}

// meter measures a rate over the last few seconds.
type meter struct{ samples []sample }

type sample struct {
	at   time.Time
	rows int64
}

const meterWindow = 10 * time.Second

func newMeter(now time.Time) meter { return meter{[]sample{{now, 0}}} }

// observe notes the rows at a moment and returns the rate per second, which is
// never negative.
func (m *meter) observe(now time.Time, rows int64) float64 {
	m.samples = append(m.samples, sample{now, rows})
	drop := 0
	for drop < len(m.samples)-2 && now.Sub(m.samples[drop+1].at) >= meterWindow {
		drop++
	}
	m.samples = m.samples[drop:]
	first := m.samples[0]
	took := now.Sub(first.at).Seconds()
	if took <= 0 || rows <= first.rows {
		return 0
	}
	return float64(rows-first.rows) / took
}
