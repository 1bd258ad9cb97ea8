package parity

import (
	"bytes"
	"context"
)

// collectQuietly finds the differing rows and confirms them in one go, if
// neither side was written since the pass's snapshots. Fresh snapshots then see
// the same rows, so that looking for the differing ones there is the second
// reading; that both readings agree on every row is what the digests of the
// first one prove. It settles nothing, and says so, if the sides are not quiet
// or the readings do not agree.
func (c *comparison) collectQuietly(ctx context.Context, leaves []int) (settled bool, err error) {
	if err := c.rechecks.acquire(ctx); err != nil {
		return false, err
	}
	defer c.rechecks.release()
	var fresh pair
	defer fresh.close()
	lag, err := reopenBoth(ctx, &fresh, c.subscriptions, 0, c.reopen)
	if err != nil || lag != unknownLag {
		return false, err
	}
	replication, err := fresh.replication(ctx)
	if err != nil || !c.quiet(&fresh, replication) {
		return false, err
	}
	all := newSpool(c.spill.limit, c.spill.dir)
	defer all.close()
	named := lowest[*difference]{limit: c.maxRows}
	rest := c.unexplained()
	var counts Counts
	var buf []byte
	err = c.finder(&fresh).find(ctx, leaves, func(d *difference) error {
		c.noteDiffering(d)
		d.account(&rest)
		counts.add(d, c.keyless())
		if !c.allRows {
			addClone(&named, d)
			return nil
		}
		buf = d.appendTo(buf[:0])
		return all.append(buf)
	})
	if err != nil || !rest.IsZero() {
		return false, err
	}
	c.accounted, c.result.Divergences = true, counts
	for _, d := range named.items {
		buf = d.appendTo(buf[:0])
		if err := all.append(buf); err != nil {
			return true, err
		}
	}
	c.reported.dropped = named.dropped
	return true, c.name(ctx, &fresh, all)
}

// name reads the details of confirmed differences for the report.
func (c *comparison) name(ctx context.Context, fresh *pair, confirmed *spool) error {
	if c.planned.Indexed[0] && c.planned.Indexed[1] {
		return c.inBatches(ctx, confirmed, func(ctx context.Context, batch []*difference) error {
			rows, err := c.lookUp(ctx, fresh, batch)
			if err != nil {
				return err
			}
			for _, d := range batch {
				rest := surplusOf(rows[string(d.key)])
				if len(rest[0])+len(rest[1]) == 0 {
					return errContradiction
				}
				c.report(c.divergences(rest), d.key)
			}
			return nil
		})
	}
	return c.inSlices(confirmed, func(slice map[string]*difference) error {
		return c.describe(ctx, fresh, slice)
	})
}

// addClone keeps a copy of the difference if its key is among the lowest.
func addClone(l *lowest[*difference], d *difference) {
	if l.keeps(d.key) {
		d = d.clone()
	}
	l.add(d.key, d)
}

// clone copies what is valid only during a call.
func (d *difference) clone() *difference {
	c := *d
	c.key = bytes.Clone(d.key)
	return &c
}
