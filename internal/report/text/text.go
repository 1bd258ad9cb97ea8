// Package text makes names, values and numbers fit for people: nothing that a
// database holds can move a terminal's cursor or be taken for something else,
// and what is wide on the screen is counted as wide.
package text

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/mattn/go-runewidth"

	"github.com/verifierd/verifierd/pkg/relation"
)

// Name returns a relation's name as a person would type it into psql.
func Name(n relation.Name) string { return Ident(n.Schema) + "." + Ident(n.Name) }

// Ident returns an identifier as a person would type it into psql: bare,
// in double quotes, or, with characters that a terminal must not see, as
// PostgreSQL's U&"…" with escapes.
func Ident(s string) string {
	if printable(s) {
		return bareOrQuoted(s)
	}
	var b strings.Builder
	b.WriteString(`U&"`)
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\%04X`, s[i])
		case r == '"':
			b.WriteString(`""`)
		case r == '\\':
			b.WriteString(`\\`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xFFFF:
			fmt.Fprintf(&b, `\+%06X`, r)
		default:
			fmt.Fprintf(&b, `\%04X`, r)
		}
		i += n
	}
	b.WriteByte('"')
	return b.String()
}

func bareOrQuoted(s string) string {
	bare := s != ""
	for i := 0; i < len(s) && bare; i++ {
		c := s[i]
		bare = c == '_' || 'a' <= c && c <= 'z' || c >= 0x80 || i > 0 && (c == '$' || '0' <= c && c <= '9')
	}
	if bare {
		return s
	}
	return relation.QuoteIdent(s)
}

// Value returns a value in PostgreSQL's text form such that no two values look
// alike: simple ones bare, others as a string literal, NULL as NULL. At most
// limit characters of it are shown (0: all), followed by its length.
func Value(v *string, limit int) string {
	if v == nil {
		return "NULL"
	}
	s, rest := *v, ""
	if length := utf8.RuneCountInString(s); limit > 0 && length > limit {
		s = string([]rune(s)[:limit])
		rest = fmt.Sprintf("… (%s characters)", Count(int64(length)))
	}
	return literal(s) + rest
}

func literal(s string) string {
	if simple(s) && !strings.EqualFold(s, "null") {
		return s
	}
	if printable(s) && !strings.Contains(s, `\`) {
		return "'" + strings.ReplaceAll(s, "'", "''") + "'"
	}
	return "E'" + strings.ReplaceAll(escape(strings.ReplaceAll(s, `\`, `\\`)), "'", "''") + "'"
}

// simple reports whether a value can do without quotes: numbers, uuids,
// dates, words.
func simple(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 0x80 || !unicode.IsLetter(rune(c)) && !unicode.IsDigit(rune(c)) && !strings.ContainsRune("_-+.:/@", rune(c)) {
			return false
		}
	}
	return s != ""
}

// Prose returns a sentence on one line, with characters that a terminal must
// not see escaped.
func Prose(s string) string {
	if printable(s) {
		return s
	}
	return escape(strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }), " "))
}

// Block is Prose that keeps its lines: a function's body, a view's query.
func Block(s string) string {
	lines := strings.Split(strings.ReplaceAll(s, "\r\n", "\n"), "\n")
	for i, line := range lines {
		lines[i] = escape(strings.ReplaceAll(line, "\t", "    "))
	}
	return strings.Join(lines, "\n")
}

func printable(s string) bool {
	for i, r := range s {
		if r == utf8.RuneError {
			if _, n := utf8.DecodeRuneInString(s[i:]); n == 1 {
				return false
			}
		}
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// escape writes what is not printable as \n, \x1b or \u202e.
func escape(s string) string {
	if printable(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
		}
		i += n
	}
	return b.String()
}

// Count returns n with thousands separators.
func Count(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if s[0] == '-' {
		sign, s = "-", s[1:]
	}
	var b strings.Builder
	b.WriteString(sign)
	for i, c := range s {
		if i > 0 && (len(s)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(c)
	}
	return b.String()
}

// Plural returns "1 row" or "2 rows".
func Plural(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return Count(n) + " " + many
}

// Bytes returns a size as "355 MiB".
func Bytes(n int64) string {
	if n < 1024 {
		return Count(n) + " B"
	}
	size := float64(n)
	for _, unit := range []string{"KiB", "MiB", "GiB", "TiB"} {
		size /= 1024
		switch {
		case size < 9.95:
			return fmt.Sprintf("%.1f %s", size, unit)
		case size < 1023.5:
			return fmt.Sprintf("%.0f %s", size, unit)
		}
	}
	return fmt.Sprintf("%s PiB", Count(int64(size/1024)))
}

// Duration returns a time span as "12ms", "0.8s", "3m12s" or "2h05m".
func Duration(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d == 0:
		return "0s"
	case d < 95*time.Millisecond:
		return fmt.Sprintf("%dms", max(1, d.Round(time.Millisecond).Milliseconds()))
	case d < 59950*time.Millisecond:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Hour-500*time.Millisecond:
		d = d.Round(time.Second)
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	d = d.Round(time.Minute)
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}

// Short returns n rounded, as "1.2M"; small numbers are exact.
func Short(n int64) string {
	size := float64(n)
	switch {
	case n < 1e4:
		return Count(n)
	case size < 999_500:
		return fmt.Sprintf("%.0fk", size/1e3)
	case size < 999_950_000:
		return fmt.Sprintf("%.1fM", size/1e6)
	}
	return fmt.Sprintf("%.1fG", size/1e9)
}

// Rate returns a number of rows per second as "1.2M rows/s".
func Rate(perSecond float64) string {
	if !(perSecond > 0) || math.IsInf(perSecond, 0) {
		return "0 rows/s"
	}
	return Short(int64(min(perSecond, 1e15))) + " rows/s"
}

// cells counts East Asian ambiguous characters as one cell, whatever the
// locale: most terminals do.
var cells = func() *runewidth.Condition {
	c := runewidth.NewCondition()
	c.EastAsianWidth = false
	return c
}()

// Width returns the number of cells that a text takes on a terminal.
func Width(s string) int { return cells.StringWidth(s) }

// PadRight fills up with spaces on the right.
func PadRight(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-Width(s)))
}

// PadLeft fills up with spaces on the left.
func PadLeft(s string, width int) string {
	return strings.Repeat(" ", max(0, width-Width(s))) + s
}

// Truncate cuts a text to a number of cells, with an ellipsis where it is cut.
func Truncate(s string, width int) string {
	if width <= 0 {
		return ""
	}
	return cells.Truncate(s, width, "…")
}

// Wrap breaks a text between words into lines of at most width cells; a longer
// word keeps its line. A width of 0 or less does not break.
func Wrap(s string, width int) []string {
	words := strings.Split(s, " ")
	if width <= 0 {
		return []string{s}
	}
	lines := []string{words[0]}
	for _, w := range words[1:] {
		last := &lines[len(lines)-1]
		if Width(*last)+1+Width(w) > width {
			lines = append(lines, w)
			continue
		}
		*last += " " + w
	}
	return lines
}

// Palette colours text with a terminal's own colours, or does nothing.
type Palette bool

// Bold is for what is to be seen first.
func (p Palette) Bold(s string) string { return p.sgr("1", s) }

// Dim is for what can be overlooked.
func (p Palette) Dim(s string) string { return p.sgr("2", s) }

// Red is for what differs.
func (p Palette) Red(s string) string { return p.sgr("1;31", s) }

// Green is for what is the same.
func (p Palette) Green(s string) string { return p.sgr("1;32", s) }

// Yellow is for what is not known.
func (p Palette) Yellow(s string) string { return p.sgr("1;33", s) }

func (p Palette) sgr(code, s string) string {
	if !bool(p) || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}
