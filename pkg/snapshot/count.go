package snapshot

import (
	"context"
	"fmt"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/verifierd/verifierd/pkg/relation"
)

// Count counts the rows of a table that fulfil a condition, "" for all, chunk by
// chunk on as many workers as are free.
func (s *Snapshot) Count(ctx context.Context, t *relation.Table, where string) (int64, error) {
	chunks, err := s.Chunks(ctx, t)
	if err != nil {
		return 0, err
	}
	form := &relation.Form{}
	form.Where[s.side] = where
	var next, total atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for range min(len(chunks), s.db.config.Workers) {
		g.Go(func() error {
			return s.db.withWorker(ctx, s, func(ctx context.Context, sess *session) error {
				if err := sess.preferIndexes(ctx, false); err != nil {
					return err
				}
				for {
					i := int(next.Add(1)) - 1
					if i >= len(chunks) {
						return nil
					}
					c := &chunks[i]
					err := sess.attended(ctx, s, func() error {
						v, err := sess.queryOne(ctx, s.selectFrom(form, "count(*)", c.Member, c.Predicate()))
						if err == nil {
							total.Add(parseInt(v[0]))
						}
						return err
					})
					if err != nil {
						return fmt.Errorf("count %s on the %s: %w", c, s.side, err)
					}
				}
			})
		})
	}
	err = g.Wait()
	return total.Load(), err
}
