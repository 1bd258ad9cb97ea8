package parity

import (
	"context"
	"fmt"
	"slices"

	"github.com/verifierd/verifierd/pkg/relation"
)

// Corruption is damage that physical checks found.
type Corruption struct {
	Side   relation.Side
	Table  relation.Name // on that side
	Object string        // "index public.t_pkey"
	// Problem is what is wrong, in the server's words.
	Problem string
}

// checkPhysically looks for damage in the table's files, on both sides.
func (c *comparison) checkPhysically(ctx context.Context) {
	if !c.physical || c.at.table[0] == nil || c.at.table[1] == nil {
		return
	}
	c.observer.TableStage(c.result.Name, "checking for damage")
	var found [2]relation.Physical
	c.fail(c.at.each(ctx, func(ctx context.Context, side relation.Side) (err error) {
		found[side], err = c.at.reader[side].Physical(ctx, c.at.table[side])
		return err
	}))
	for _, side := range relation.Sides {
		c.unchecked = append(c.unchecked, found[side].Gaps...)
		c.result.Notes = append(c.result.Notes, found[side].Notes...)
		for _, d := range found[side].Corrupt {
			c.corrupt = append(c.corrupt, Corruption{side, c.at.table[side].Name, d.Object, d.Problem})
			// What was read through what is damaged may be wrong.
			c.fail(fmt.Errorf("%s of the %s is damaged: %s", d.Object, side, d.Problem))
		}
	}
}

// readInvalidIndexes lists the indexes that are not valid.
func (r *runner) readInvalidIndexes(ctx context.Context, all *pair) error {
	names := r.selected()
	for _, side := range relation.Sides {
		var err error
		if r.invalid[side], err = all.reader[side].InvalidIndexes(ctx, names[side]); err != nil {
			return fmt.Errorf("inspect the %s: %w", side, err)
		}
	}
	return nil
}

// noteInvalidIndexes tells of them, unless a difference in definition does.
func (r *runner) noteInvalidIndexes() {
	for _, side := range relation.Sides {
		for _, x := range r.invalid[side] {
			if slices.ContainsFunc(r.definitions.differ, func(d SchemaDifference) bool {
				return d.Table == x.Table && d.Object == "index "+x.Index.Name
			}) {
				continue
			}
			what := "not valid, so it finds no rows"
			if !x.Ready {
				what = "neither valid nor kept up to date"
			}
			r.result.Notes = append(r.result.Notes, fmt.Sprintf("index %s of %s is %s on the %s; REINDEX INDEX CONCURRENTLY %s, or drop it", relation.QuoteIdent(x.Index.Name), x.Table, what, side, x.Index.SQL()))
		}
	}
}
