package parity

import (
	"context"
	"fmt"

	"github.com/verifierd/verifierd/pkg/merkle"
	"github.com/verifierd/verifierd/pkg/relation"
)

// maxVanished is how many vanished keys of a side are looked for.
const maxVanished = 1 << 15

// noteVanished remembers that a row that a scan had found was not found by its
// key later. It may have been deleted; or the index does not find all rows, and
// what looks healed is not.
func (c *comparison) noteVanished(side relation.Side, key []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.vanished[side] == nil {
		c.vanished[side] = make(map[string]bool)
	}
	if len(c.vanished[side]) < maxVanished {
		c.vanished[side][string(key)] = true
	}
}

// checkVanished reads the table once more, without an index, to see that the
// rows which an index did not find are not there.
func (c *comparison) checkVanished(ctx context.Context) error {
	for _, side := range relation.Sides {
		if len(c.vanished[side]) == 0 {
			continue
		}
		if err := c.checkVanishedOn(ctx, side); err != nil {
			return fmt.Errorf("make sure that rows of %s are gone from the %s: %w", c.planned.Table[side], side, err)
		}
	}
	return nil
}

func (c *comparison) checkVanishedOn(ctx context.Context, side relation.Side) error {
	if err := c.rechecks.acquire(ctx); err != nil {
		return err
	}
	defer c.rechecks.release()
	var fresh pair
	defer fresh.close()
	if err := c.reopen(ctx, &fresh, side); err != nil {
		return err
	}
	reader, t, form := fresh.reader[side], fresh.table[side], &c.planned.Form
	there := make(map[string]bool)
	err := reader.Find(ctx, t, form, false,
		func(key []byte, _ merkle.Hash) bool { return c.vanished[side][string(key)] },
		func(_ merkle.Hash, row *relation.Row) error {
			there[string(row.Key)] = true
			return nil
		})
	if err != nil || len(there) == 0 {
		return err
	}
	keys := make([][]byte, 0, len(there))
	for key := range there {
		keys = append(keys, []byte(key))
	}
	// Written again since then, or hidden from the index?
	err = reader.Lookup(ctx, t, form, keys, false, func(_ merkle.Hash, row *relation.Row) error {
		delete(there, string(row.Key))
		return nil
	})
	if err != nil {
		return err
	}
	if n := int64(len(there)); n > 0 {
		c.result.Divergences.Healed -= min(n, c.result.Divergences.Healed)
		c.result.Divergences.Volatile += n
		c.unsettled = "are there, but an index of the table does not find them"
		return fmt.Errorf("an index does not find %s that a scan finds; check it with amcheck, then REINDEX", countRows(n))
	}
	return nil
}
