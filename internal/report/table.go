package report

import (
	"io"

	"github.com/verifierd/verifierd/pkg/parity"
)

func writeTable(w io.Writer, pass *parity.Pass, opts Options) error { return nil }
func writeJUnit(w io.Writer, pass *parity.Pass, opts Options) error { return nil }
func writeHTML(w io.Writer, pass *parity.Pass, opts Options) error  { return nil }
func writePlanTable(w io.Writer, p *parity.Plan, opts Options) error { return nil }
func newPlanDocument(p *parity.Plan, opts Options) any              { return nil }
