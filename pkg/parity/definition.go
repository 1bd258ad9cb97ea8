package parity

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/verifierd/verifierd/pkg/relation"
)

// confirmSchema looks again at differences in definition that break: like rows,
// DDL may reach the target later. What is gone when the recheck window has
// passed is no difference, but what was read then was something else.
func (c *comparison) confirmSchema(ctx context.Context) {
	began := time.Now()
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		if !slices.ContainsFunc(c.schema, breaks) {
			return
		}
		now, quiet, err := c.lookAgain(ctx)
		if err != nil {
			c.notSettled()
			c.fail(fmt.Errorf("look at definitions again: %w", err))
			return
		}
		c.schema = slices.DeleteFunc(c.schema, func(d SchemaDifference) bool {
			same := slices.ContainsFunc(now, func(n SchemaDifference) bool { return n.Object == d.Object && n.Kind == d.Kind })
			if breaks(d) && !same {
				c.fail(fmt.Errorf("%s of %s was defined otherwise when the pass began; run it again", d.Object, d.Table))
			}
			return breaks(d) && !same
		})
		left := c.recheck - time.Since(began)
		if quiet || left <= 0 {
			return
		}
		if err := sleep(ctx, min(pause, left)); err != nil {
			c.notSettled()
			c.fail(err)
			return
		}
	}
}

// notSettled takes the differences that break out of the outcome: whether they
// last was not established. A note of each remains.
func (c *comparison) notSettled() {
	for i := range c.schema {
		if d := &c.schema[i]; breaks(*d) {
			c.result.Notes = append(c.result.Notes, fmt.Sprintf("when the pass began, %s %s%s; whether that lasts was not established",
				d.Object, schemaVerb(d.Kind), c.targetName(d)))
		}
	}
	c.schema = slices.DeleteFunc(c.schema, breaks)
}

func breaks(d SchemaDifference) bool { return d.Severity == Breaks }

// lookAgain compares the definitions on fresh snapshots, the source's first.
func (c *comparison) lookAgain(ctx context.Context) (now []SchemaDifference, quiet bool, err error) {
	if err := c.rechecks.acquire(ctx); err != nil {
		return nil, false, err
	}
	defer c.rechecks.release()
	names := [2]relation.Name{c.result.Name, c.result.TargetName}
	var fresh pair
	defer fresh.close()
	var absent [2]bool
	for _, side := range relation.Sides {
		r, err := c.open[side](ctx, []relation.Name{names[side]})
		if err != nil {
			return nil, false, err
		}
		fresh.reader[side] = r
		fresh.table[side], err = r.Table(names[side])
		if absent[side] = errors.Is(err, relation.ErrNoTable); err != nil && !absent[side] {
			return nil, false, err
		}
	}
	replication, err := fresh.replication(ctx)
	if err != nil {
		return nil, false, err
	}
	quiet = c.quiet(&fresh, replication)
	if d, differs := tableDifference(names, absent); differs {
		return []SchemaDifference{d}, quiet, nil
	}
	if absent[relation.Source] {
		return nil, quiet, nil // gone from both sides
	}
	p := planForm(fresh.table[0], fresh.table[1], [2]string{fresh.reader[0].Server().Encoding, fresh.reader[1].Server().Encoding}, c.rules)
	return p.differences, quiet, nil
}

// tableDifference is the difference of a table that one side lacks.
func tableDifference(names [2]relation.Name, absent [2]bool) (d SchemaDifference, differs bool) {
	d = SchemaDifference{Table: names[relation.Source], Object: "table", Severity: Breaks}
	switch absent {
	case [2]bool{false, true}:
		d.Kind, d.Source = "missing", names[relation.Source].String()
		if names[relation.Target] != names[relation.Source] {
			d.Hint = fmt.Sprintf("the target has no %s, which it is mapped to: check the name", names[relation.Target])
		}
	case [2]bool{true, false}:
		d.Kind, d.Target = "extra", names[relation.Target].String()
	default:
		return d, false
	}
	return d, true
}
