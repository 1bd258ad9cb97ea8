package progress

import (
	"slices"

	"github.com/verifierd/verifierd/pkg/parity"
	"github.com/verifierd/verifierd/pkg/relation"
)

// Multi returns an observer that tells all of observers, in order.
// Nil ones are left out.
func Multi(observers ...parity.Observer) parity.Observer {
	return multi(slices.DeleteFunc(slices.Clone(observers), func(o parity.Observer) bool { return o == nil }))
}

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

func (m multi) ReferenceStarted(r *parity.ReferenceCheck) {
	for _, o := range m {
		o.ReferenceStarted(r)
	}
}

func (m multi) ReferenceFinished(r *parity.ReferenceCheck) {
	for _, o := range m {
		o.ReferenceFinished(r)
	}
}
