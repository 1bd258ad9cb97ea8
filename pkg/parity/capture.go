package parity

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/verifierd/verifierd/pkg/merkle"
	"github.com/verifierd/verifierd/pkg/relation"
)

// Capture reads the tables of the source and puts what is kept of them into b,
// in which the caller has put what only it knows: ToolVersion, HashMode, Seed and
// the patterns. Of the configuration it takes Tables, by the source's names,
// Open, Workers, LeafRows, LargeObjects, SeedFingerprint, Skipped and Observer.
//
// Leaves are those of like, if it is not nil, for tables that it holds in the
// same form: two baselines with the same seed and leaves can be compared leaf by
// leaf.
//
// A baseline is whole, or there is none: whatever keeps a table from being read
// is an error.
func Capture(ctx context.Context, config Config, b, like *Baseline) error {
	config.Open[relation.Target] = nil
	r := newRunner(config)
	r.startedAt = r.startedAt.UTC().Truncate(time.Microsecond)
	b.StartedAt, b.SeedFingerprint, b.Skipped = r.startedAt, config.SeedFingerprint, config.Skipped
	err := r.capture(ctx, b, like)
	if err != nil && ctx.Err() != nil {
		err = errors.New(describeTrouble(ctx, ctx.Err()))
	}
	b.FinishedAt = time.Now().UTC()
	return err
}

func (r *runner) capture(ctx context.Context, b *Baseline, like *Baseline) error {
	if len(r.config.Tables) == 0 {
		return errors.New("no table was selected")
	}
	reader, err := r.open[relation.Source](ctx, r.names()[relation.Source])
	if err != nil {
		return fmt.Errorf("take a snapshot: %w", err)
	}
	defer reader.Close()
	b.Server, b.Moment = *reader.Server(), reader.Moment()
	r.result.Server[relation.Source] = sideInfo(reader)
	if b.LargeObjects, err = reader.LargeObjects(ctx); err != nil {
		return fmt.Errorf("inspect the database: %w", err)
	}
	if b.LargeObjects && r.config.LargeObjects {
		return errors.New("the database holds large objects, which a baseline does not; declare that with --ignore-large-objects")
	}
	// What cannot be read at all shows before hours of reading.
	captures, err := r.resolveAll(ctx, reader)
	if err != nil {
		return err
	}
	if err := r.captureDefinitions(ctx, reader, b); err != nil {
		return err
	}
	r.startCapture(captures)
	b.Contents = make([]BaselineTable, len(captures))
	g, reads := errgroup.WithContext(ctx)
	reading := make(limiter, r.workers+1)
	for i, c := range captures {
		if err := reading.acquire(reads); err != nil {
			break // the group, or ctx, knows why
		}
		g.Go(func() error {
			defer reading.release()
			var leaves *merkle.Layout
			if like != nil {
				leaves = like.layoutFor(c)
			}
			return c.capture(reads, &b.Contents[i], leaves)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	slices.SortFunc(b.Contents, func(a, b BaselineTable) int { return a.Name().Compare(b.Name()) })
	return ctx.Err()
}

// captureDefinitions reads what there is beside rows. If all tables were
// selected, that is also what belongs to none.
func (r *runner) captureDefinitions(ctx context.Context, reader Reader, b *Baseline) error {
	scope := relation.SchemaScope{Tables: r.selected()[relation.Source], Whole: len(b.Tables) == 0}
	for _, text := range b.Exclude {
		p, err := relation.ParsePattern(text)
		if err != nil {
			return err
		}
		scope.Exclude = append(scope.Exclude, p)
	}
	var err error
	if b.Schema, err = reader.Schema(ctx, scope); err != nil {
		return fmt.Errorf("read definitions: %w", err)
	}
	list, err := reader.Sequences(ctx, scope)
	if err != nil {
		return fmt.Errorf("read sequences: %w", err)
	}
	b.Furthest = make(map[relation.Fed]*int64)
	for i := range list {
		for _, fed := range list[i].Feeds {
			if value, err := reader.Furthest(ctx, fed.Table, fed.Column, list[i].Increment < 0); err == nil {
				b.Furthest[fed] = value
			} else if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	// They are read after the columns that they feed: whoever takes a value
	// writes it later.
	if b.Sequences, err = reader.Sequences(ctx, scope); err != nil {
		return fmt.Errorf("read sequences: %w", err)
	}
	return nil
}

// resolveAll looks all tables up and plans their forms.
func (r *runner) resolveAll(ctx context.Context, reader Reader) ([]*comparison, error) {
	var list []*comparison
	var problems []error
	for _, t := range r.config.Tables {
		c := &comparison{pass: &r.pass, policy: t.Policy, at: pair{reader: [2]Reader{reader, reader}}}
		c.result.Name, c.result.TargetName = t.Source, t.Source
		if _, err := reader.Table(t.Source); errors.Is(err, relation.ErrNoTable) {
			c.fail(errors.New("it was dropped meanwhile"))
		} else {
			c.resolve(ctx)
		}
		if len(c.incomplete) > 0 {
			problems = append(problems, fmt.Errorf("%s: %s", t.Source, strings.Join(c.incomplete, "; ")))
		}
		list = append(list, c)
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("no baseline without these tables, unless --exclude leaves them out:\n%w", errors.Join(problems...))
	}
	return list, nil
}

func (r *runner) startCapture(captures []*comparison) {
	start := PassStart{StartedAt: r.result.StartedAt, Server: r.result.Server, Tables: len(captures), Reading: ReadingSource}
	guessed := int64(0)
	for _, c := range captures {
		rows, guess := estimateRows(c.at.table[relation.Source])
		start.Rows, guessed = start.Rows+rows, guessed+guess
		start.Bytes += c.at.table[relation.Source].Bytes()
	}
	if !mostlyKnown(start.Rows, guessed) {
		start.Rows = -1
	}
	r.observer.PassStarted(start)
}

// layoutFor returns the layout of a table that is read in the same form; nil if
// there is none.
func (b *Baseline) layoutFor(c *comparison) *merkle.Layout {
	t := b.Table(c.result.Name)
	if t == nil || t.matchesForm(&c.planned.Form, relation.Source) != "" || t.Form.Describe() != c.planned.Describe() || t.Form.Ordered != c.planned.Ordered {
		return nil
	}
	return t.Layout
}

// capture reads the table, in the given layout if it is not nil.
func (c *comparison) capture(ctx context.Context, b *BaselineTable, layout *merkle.Layout) error {
	started := time.Now()
	name, form, t, reader := c.result.Name, &c.planned.Form, c.at.table[relation.Source], c.at.reader[relation.Source]
	expected := c.expectedRows()
	c.observer.TableStarted(TableStart{Name: name, Rows: [2]int64{expected[relation.Source], 0}})
	side := &c.result.Side[relation.Source]
	err := func() error {
		if layout == nil {
			var err error
			if layout, err = c.planBaseline(ctx); err != nil {
				return err
			}
		}
		var read atomic.Int64
		leaves, _, err := reader.Scan(ctx, t, form, layout, merkle.SketchSize{}, func(rows, bytes int64) {
			read.Add(rows)
			c.observer.RowsRead(name, relation.Source, rows, bytes)
		})
		side.ReadRows = read.Load()
		if err != nil {
			return err
		}
		if err := reader.Unchanged(ctx, t); err != nil {
			return err
		}
		b.Tree = merkle.NewTree([]byte(form.Describe()), leaves)
		return nil
	}()
	c.result.Duration = time.Since(started)
	if err != nil {
		c.result.Reason = strings.ReplaceAll(err.Error(), "\n", "; ")
		c.observer.TableFinished(&c.result)
		return fmt.Errorf("%s: %w", name, err)
	}
	side.Rows, side.Root, side.Read = int64(b.Tree.Total().Count), b.Tree.Root().String(), true
	c.result.Complete = true
	b.Definition, b.Policy, b.Form, b.Layout = *t, c.policy, *form, layout
	b.Definition.Members = nil
	b.Expressions = c.expressions()
	c.observer.TableFinished(&c.result)
	return nil
}

// expressions returns what the database made of the policy's expressions.
func (c *comparison) expressions() map[string]relation.Expression {
	m := make(map[string]relation.Expression)
	if sql := c.policy.Where[relation.Source]; sql != "" {
		m[sql] = c.rules.conditions[relation.Source]
	}
	for column, cast := range c.policy.Cast {
		if sql := cast[relation.Source]; sql != "" && !c.rules.excludes(column) {
			m[sql] = c.rules.cast[column][relation.Source]
		}
	}
	return m
}

// planBaseline lays out the leaves of a table that is read alone.
func (c *comparison) planBaseline(ctx context.Context) (*merkle.Layout, error) {
	t := c.at.table[relation.Source]
	leaves := min(max(estimate(t), c.leafRows)/c.leafRows, merkle.MaxLeaves)
	var sample relation.Sample
	if c.planned.Ordered > 0 && leaves > 1 {
		var err error
		if sample, err = c.at.reader[relation.Source].Sample(ctx, t, &c.planned.Form, int(min(leaves*samplesPerLeaf, maxSamples))); err != nil {
			return nil, err
		}
	}
	plan, err := planLeaves(int(leaves), [2]relation.Sample{sample, {}})
	if err != nil {
		return nil, err
	}
	return withShortBounds(plan.Layout, sample.Bounds)
}
