// Package progress shows a pass while it runs: bars on a terminal, lines
// elsewhere.
package progress

import (
	"os"

	"golang.org/x/term"
)

// IsTerminal reports whether f is a terminal.
func IsTerminal(f *os.File) bool { return f != nil && term.IsTerminal(int(f.Fd())) }

// Colour reports whether text written to f may be coloured: it is a terminal
// that can, and nobody asked for none (no-color.org).
func Colour(f *os.File) bool {
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && IsTerminal(f)
}
