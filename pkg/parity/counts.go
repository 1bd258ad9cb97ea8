package parity

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/verifierd/verifierd/pkg/relation"
)

// countAll counts the rows of all tables instead of comparing them.
func (r *runner) countAll(ctx context.Context, all *pair) {
	r.result.Tables = make([]Table, len(r.config.Tables))
	schema := make([][]SchemaDifference, len(r.config.Tables))
	running := make(limiter, r.workers+1)
	var wg sync.WaitGroup
	for i, names := range r.config.Tables {
		c := &comparison{pass: &r.pass, policy: names.Policy, targetOnly: names.TargetOnly}
		c.result.Name, c.result.TargetName = names.Source, names.Target
		wg.Go(func() {
			started := time.Now()
			if err := running.acquire(ctx); err != nil {
				c.fail(err)
			} else {
				started = time.Now()
				r.countOne(ctx, c, all, running.release)
			}
			r.result.Tables[i], schema[i] = c.concludeCount(started), c.schema
			r.observer.TableFinished(&r.result.Tables[i])
		})
	}
	wg.Wait()
	r.result.Schema = slices.Concat(append([][]SchemaDifference{r.result.Schema}, schema...)...)
}

// countOne counts the rows of one table. It calls release before they are
// counted again.
func (r *runner) countOne(ctx context.Context, c *comparison, all *pair, release func()) {
	c.at = *all
	if r.config.PerTable {
		c.at = pair{}
		defer c.at.close()
		if err := r.openBoth(ctx, &c.at, [2][]relation.Name{{c.result.Name}, {c.result.TargetName}}); err != nil {
			c.fail(err)
			release()
			return
		}
	}
	for _, side := range relation.Sides {
		c.moment[side] = c.at.reader[side].Moment()
	}
	counted := c.findTables(ctx)
	if counted {
		c.observer.TableStarted(TableStart{Name: c.result.Name, Rows: c.expectedRows()})
		c.observer.TableStage(c.result.Name, "counting rows")
		n, err := c.count(ctx, &c.at)
		if err != nil {
			c.fail(err)
			counted = false
		} else {
			for side := range n {
				c.result.Side[side].Rows, c.result.Side[side].Counted = n[side], true
			}
		}
	}
	if r.config.PerTable {
		c.at.close()
	}
	release()
	if counted && c.result.Side[0].Rows != c.result.Side[1].Rows {
		c.fail(c.countAgain(ctx))
	}
	c.confirmSchema(ctx)
}

// count counts the rows of both sides.
func (c *comparison) count(ctx context.Context, at *pair) (n [2]int64, err error) {
	err = at.each(ctx, func(ctx context.Context, side relation.Side) error {
		var err error
		if n[side], err = at.reader[side].Count(ctx, at.table[side], c.rules.where[side]); err != nil {
			return err
		}
		return at.reader[side].Unchanged(ctx, at.table[side])
	})
	return n, err
}

// countAgain counts on fresh snapshots until the sides agree, or are shown to
// differ though the target had its chance to catch up: nobody writes, or both
// numbers were the same in all countings, of which two came after the recheck
// window. Fewer would prove little: rows that come and go, as those of a queue,
// give the same number often, and the target is counted after the source.
func (c *comparison) countAgain(ctx context.Context) error {
	w := window{subscriptions: c.subscriptions}
	first := [2]int64{c.result.Side[0].Rows, c.result.Side[1].Rows}
	still, late := true, 0 // whether all countings gave that, and how many came after the window
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		began := time.Now()
		n, judge, final, unsettled, err := c.countOnce(ctx, &w, pause)
		if err != nil {
			return fmt.Errorf("count again: %w", err)
		}
		still = still && n == first
		if judge.late {
			late++
		}
		switch {
		case n[0] == n[1] && !judge.quiet:
			c.healedCount = true
			c.result.Notes = append(c.result.Notes, "the numbers of rows differed at the pass's snapshots, and no longer when counted again")
			return nil
		case judge.quiet && n != first:
			return errContradiction
		case judge.quiet, still && late > 1:
			c.differingCount = n
			return nil
		case final:
			if unsettled == "" {
				unsettled = "changed until the recheck window ended"
			}
			return fmt.Errorf("the numbers of rows differed (%s on the source, %s on the target) and %s", count(n[0]), count(n[1]), unsettled)
		}
		wait := max(0, min(max(pause, time.Since(began)), c.recheck-time.Since(w.began)))
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

func (c *comparison) countOnce(ctx context.Context, w *window, pause time.Duration) (n [2]int64, judge judgement, final bool, unsettled string, err error) {
	if err := c.rechecks.acquire(ctx); err != nil {
		return n, judge, false, "", err
	}
	defer c.rechecks.release()
	var fresh pair
	defer fresh.close()
	lag, err := reopenBoth(ctx, &fresh, w.subscriptions, pause, c.reopen)
	if err != nil {
		return n, judge, false, "", err
	}
	replication, err := fresh.replication(ctx)
	if err != nil {
		return n, judge, false, "", err
	}
	judge, final, unsettled = w.judge(quietSince(c.moment, &fresh, replication), lag, replication, c.recheck)
	n, err = c.count(ctx, &fresh)
	return n, judge, final, unsettled, err
}

// concludeCount derives a counted table's verdict.
func (c *comparison) concludeCount(started time.Time) Table {
	t := &c.result
	n := [2]int64{t.Side[0].Rows, t.Side[1].Rows}
	read := t.Side[0].Counted && t.Side[1].Counted
	t.Complete = len(c.incomplete) == 0 && (read || len(c.schema) > 0)
	switch {
	case c.differingCount != [2]int64{}:
		t.Verdict = Diverged
		t.Reason = fmt.Sprintf("%s on the source, %s on the target", countRows(c.differingCount[0]), count(c.differingCount[1]))
	case slices.ContainsFunc(c.schema, breaks):
		t.Verdict, t.Reason = Diverged, strings.Join(c.brokenParts(), ", ")
	case !t.Complete:
		t.Reason = strings.Join(c.incomplete, "; ")
	case c.healedCount:
		t.Verdict = Match
		t.Reason = fmt.Sprintf("%s on the source and %s on the target at the pass's snapshots, and as many on both when counted again", countRows(n[0]), count(n[1]))
	case read:
		t.Verdict, t.Reason = Match, countRows(n[0])+" on both sides"
	}
	t.Duration = time.Since(started)
	return *t
}
