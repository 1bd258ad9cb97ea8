// Package progress shows a pass while it runs: bars on a terminal, lines
// elsewhere.
package progress

import (
	"io"
	"os"

	"golang.org/x/term"

	"github.com/verifierd/verifierd/pkg/parity"
	"github.com/verifierd/verifierd/pkg/relation"
)

// Options say what the display may use.
type Options struct {
	Terminal bool // whether the writer is a terminal: bars rather than lines
	Colour   bool
	Width    int // of the terminal, in cells; 0: ask it, else 80
}

// Display is a parity.Observer that shows what it is told.
type Display struct {
	parity.NoObserver
}

// New starts a display on w, which is standard error as a rule.
func New(w io.Writer, opts Options) *Display { return &Display{} }

// Close ends the display and leaves the terminal clean.
func (d *Display) Close() {}

// IsTerminal reports whether f is a terminal.
func IsTerminal(f *os.File) bool { return f != nil && term.IsTerminal(int(f.Fd())) }

// Colour reports whether text written to f may be coloured: it is a terminal
// that can, and nobody asked for none (no-color.org).
func Colour(f *os.File) bool {
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && IsTerminal(f)
}

// Multi returns an observer that tells all of observers, in order.
func Multi(observers ...parity.Observer) parity.Observer { return multi(observers) }

type multi []parity.Observer

func (m multi) PassStarted(info parity.PassStart) {
	for _, o := range m {
		o.PassStarted(info)
	}
}

func (m multi) TableStarted(t parity.TableStart) {
	for _, o := range m {
		o.TableStarted(t)
	}
}

func (m multi) RowsRead(table relation.Name, side relation.Side, rows, bytes int64) {
	for _, o := range m {
		o.RowsRead(table, side, rows, bytes)
	}
}

func (m multi) TableStage(table relation.Name, stage string) {
	for _, o := range m {
		o.TableStage(table, stage)
	}
}

func (m multi) Diverged(table relation.Name, d *parity.Divergence) {
	for _, o := range m {
		o.Diverged(table, d)
	}
}

func (m multi) SchemaDiffers(d *parity.SchemaDifference) {
	for _, o := range m {
		o.SchemaDiffers(d)
	}
}

func (m multi) TableFinished(t *parity.Table) {
	for _, o := range m {
		o.TableFinished(t)
	}
}
