package parity

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/verifierd/verifierd/pkg/merkle"
	"github.com/verifierd/verifierd/pkg/relation"
)

// MaxBound is the largest number of bytes of a boundary in a baseline.
const MaxBound = 1024

// withShortBounds returns the layout with boundaries cut short: what is kept for
// years should be small. Where one stays too long, leaves go by hash alone.
func withShortBounds(l *merkle.Layout, sample []relation.Bound) (*merkle.Layout, error) {
	keys := make([][]byte, len(sample))
	for i := range sample {
		keys[i] = sample[i].Prefix
	}
	slices.SortFunc(keys, bytes.Compare)
	bounds := make([][]byte, 0, l.Ranges()-1)
	splits := make([]uint8, 0, l.Ranges())
	for i := range l.Ranges() {
		from, to := l.RangeLeaves(i)
		splits = append(splits, ceilLog2(to-from))
		if _, hi := l.Bounds(i); hi != nil {
			bound := shortest(hi, keys)
			if len(bound) > MaxBound {
				return merkle.NewLayout(nil, []uint8{ceilLog2(l.Leaves())})
			}
			bounds = append(bounds, bound)
		}
	}
	return merkle.NewLayout(bounds, splits)
}

// shortest cuts a boundary down to as many bytes as tell it from the greatest
// of the keys below it. Keys are ascending.
func shortest(bound []byte, keys [][]byte) []byte {
	at, _ := slices.BinarySearchFunc(keys, bound, bytes.Compare)
	if at == 0 {
		return bound
	}
	return merkle.Separator(keys[at-1], bound)
}

// prefixText returns the ordered key columns of a prefix in PostgreSQL's text
// form. A prefix that was cut short stands for the least key that begins with
// it. Exact is false if a server would not take a value for one of the type's.
func prefixText(form *relation.Form, prefix []byte) (texts []string, exact bool) {
	exact = true
	for _, f := range form.KeyFields()[:form.Ordered] {
		t := f.Type[relation.Source].Underlying()
		width := fixedWidth(t)
		value := prefix
		if width > 0 {
			value = make([]byte, width)
			prefix = prefix[copy(value, prefix):]
		}
		text, ok := orderedText(t, value)
		texts, exact = append(texts, text), exact && ok
	}
	return texts, exact
}

// fixedWidth is how many bytes a type's ordered form has; 0: it varies.
func fixedWidth(t *relation.Type) int {
	switch {
	case t.Builtin("bool"):
		return 1
	case t.Builtin("int2"):
		return 2
	case t.Builtin("int4", "date"):
		return 4
	case t.Builtin("int8", "timestamp", "timestamptz", "time"):
		return 8
	case t.Builtin("uuid"):
		return 16
	}
	return 0
}

// orderedText decodes a value's ordered form.
func orderedText(t *relation.Type, b []byte) (text string, ok bool) {
	switch {
	case t.Builtin("bool"):
		return strconv.FormatBool(b[0] != 0), true
	case t.Builtin("uuid"):
		s := hex.EncodeToString(b)
		return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:], true
	case fixedWidth(t) == 0:
		return `\x` + hex.EncodeToString(b), true
	}
	var n int64
	switch len(b) {
	case 2:
		n = int64(int16(binary.BigEndian.Uint16(b) ^ 1<<15))
	case 4:
		n = int64(int32(binary.BigEndian.Uint32(b) ^ 1<<31))
	case 8:
		n = int64(binary.BigEndian.Uint64(b) ^ 1<<63)
	}
	switch {
	case t.Builtin("date"):
		return dateText(n)
	case t.Builtin("timestamp"):
		return timestampText(n, "")
	case t.Builtin("timestamptz"):
		return timestampText(n, "+00")
	case t.Builtin("time"):
		if n < 0 || n > day {
			return strconv.FormatInt(n, 10), false
		}
		return clockText(n), true
	}
	return strconv.FormatInt(n, 10), true
}

const (
	second = 1_000_000 // microseconds
	day    = 86_400 * second
	// epoch is the first second of 2000, from which PostgreSQL counts.
	epoch = 946_684_800
)

// The first day that PostgreSQL knows, 4714-11-24 BC, and the first days that
// it does not: 5874898-01-01 as a date, 294277-01-01 with a time.
const (
	firstDay         = -2_451_545
	endOfDates       = 2_145_031_949
	endOfDatesOfTime = 106_751_983
)

func dateText(days int64) (text string, ok bool) {
	switch {
	case days == 1<<31-1:
		return "infinity", true
	case days == -1<<31:
		return "-infinity", true
	}
	date, era := calendar(days)
	return date + era, firstDay <= days && days < endOfDates
}

func timestampText(micros int64, zone string) (text string, ok bool) {
	switch {
	case micros == 1<<63-1:
		return "infinity", true
	case micros == -1<<63:
		return "-infinity", true
	}
	days, rest := micros/day, micros%day
	if rest < 0 {
		days, rest = days-1, rest+day
	}
	date, era := calendar(days)
	return date + " " + clockText(rest) + zone + era, firstDay <= days && days < endOfDatesOfTime
}

func calendar(days int64) (date, era string) {
	t := time.Unix(epoch+days*86_400, 0).UTC()
	year := t.Year()
	if year <= 0 {
		year, era = 1-year, " BC"
	}
	return fmt.Sprintf("%04d-%02d-%02d", year, t.Month(), t.Day()), era
}

func clockText(micros int64) string {
	s := micros / second
	text := fmt.Sprintf("%02d:%02d:%02d", s/3600, s/60%60, s%60)
	if rest := micros % second; rest > 0 {
		text += "." + string(bytes.TrimRight(fmt.Appendf(nil, "%06d", rest), "0"))
	}
	return text
}
