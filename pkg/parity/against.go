package parity

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/verifierd/verifierd/pkg/merkle"
	"github.com/verifierd/verifierd/pkg/relation"
)

// CompareBaseline compares a baseline, which takes the source's part, with the
// target. Of the configuration it takes what Run does, but for what is about
// rows that are read again: the past does not lag, and a difference from it at
// one snapshot is a fact about that snapshot. Tables name those of the
// baseline's that are compared; their policies are the baseline's.
func CompareBaseline(ctx context.Context, b *Baseline, config Config) *Pass {
	r := newAgainst([2]*Baseline{b, nil}, config)
	if err := r.compareLive(ctx); err != nil {
		r.trouble = append(r.trouble, describeTrouble(ctx, err))
	}
	return r.conclude()
}

// CompareBaselines compares two baselines, of which the first takes the
// source's part. It reads nothing.
func CompareBaselines(ctx context.Context, source, target *Baseline, config Config) *Pass {
	r := newAgainst([2]*Baseline{source, target}, config)
	if err := r.compareStored(ctx); err != nil {
		r.trouble = append(r.trouble, describeTrouble(ctx, err))
	}
	return r.conclude()
}

// against compares a baseline with a database or with another baseline.
type against struct {
	*runner
	baseline [2]*Baseline // no second one: a database
	all      pair
}

func newAgainst(baselines [2]*Baseline, config Config) *against {
	source := baselines[relation.Source]
	config.SeedFingerprint = source.SeedFingerprint
	config.Whole, config.Exclude, config.Comments = len(source.Tables) == 0, nil, false
	for _, text := range source.Exclude {
		if p, err := relation.ParsePattern(text); err == nil { // the capture has parsed it
			config.Exclude = append(config.Exclude, p)
		}
	}
	// A baseline does not hold what its rows refer to.
	config.SkipChecks = append(slices.Clone(config.SkipChecks), CheckOrphans)
	other := baselines[relation.Target]
	unlike := other != nil && !(slices.Equal(source.Tables, other.Tables) && slices.Equal(source.Exclude, other.Exclude))
	if unlike || len(config.Tables) < len(source.Contents) { // what belongs to others is kept together with it
		config.SkipChecks = append(config.SkipChecks, CheckSchema, CheckSequences)
	}
	r := &against{runner: newRunner(config), baseline: baselines}
	r.startedAt, r.past = source.StartedAt, true
	for side, b := range baselines {
		if b == nil {
			continue
		}
		r.all.reader[side] = storedReader{baseline: b}
		r.result.Server[side] = sideInfo(r.all.reader[side])
		r.result.Server[side].Baseline = &BaselineInfo{ToolVersion: b.ToolVersion, SystemIdentifier: b.Server.SystemIdentifier, Seal: b.Seal}
	}
	return r
}

func (r *against) compareLive(ctx context.Context) error {
	if len(r.config.Tables) == 0 {
		return errors.New("no table was selected")
	}
	live, err := r.open[relation.Target](ctx, r.names()[relation.Target])
	if err != nil {
		return fmt.Errorf("take a snapshot of the target: %w", err)
	}
	defer live.Close()
	r.all.reader[relation.Target] = live
	r.result.Server[relation.Target] = sideInfo(live)
	if err := r.place(ctx, live); err != nil {
		return err
	}
	replication, err := live.Replication(ctx)
	if err != nil {
		return fmt.Errorf("inspect the target: %w", err)
	}
	r.subscriptions = replication.Subscriptions
	r.startLive(live)
	r.compareAll(ctx)
	return ctx.Err()
}

// compareStored compares what both baselines hold.
func (r *against) compareStored(ctx context.Context) error {
	a, b := r.baseline[relation.Source], r.baseline[relation.Target]
	switch {
	case len(r.config.Tables) == 0:
		return errors.New("no table was selected")
	case a.HashMode != b.HashMode || a.Seed != b.Seed:
		return errors.New("the two baselines were hashed with different seeds, so that nothing in them can be compared; capture the second with --like, which takes the seed of the first")
	}
	r.compareSettings(&a.Server, &b.Server)
	r.compareAll(ctx)
	return ctx.Err()
}

// compareAll compares definitions, sequences and rows.
func (r *against) compareAll(ctx context.Context) {
	r.readSequences(ctx, &r.all)
	r.readSchema(ctx, &r.all)
	r.compareTables(ctx)
	r.judgeSequences(ctx)
	r.judgeSchema(ctx)
}

// judgeSequences judges the target's sequences as they are now: after a rollback
// they may be ahead of the baseline's, never behind.
func (r *against) judgeSequences(ctx context.Context) {
	q := &r.sequences
	if q.readAt.IsZero() {
		return
	}
	j := &sequenceJudge{tables: newSchemaComparison(SchemaRules{Tables: r.config.Tables}), source: q.first[relation.Source], at: &r.all, hide: r.values == ValuesNone}
	err := j.readColumns(ctx, q.first[relation.Target])
	if err == nil {
		j.target, err = r.all.reader[relation.Target].Sequences(ctx, r.config.scope(relation.Target))
	}
	if err != nil {
		r.incomplete = append(r.incomplete, "sequences were not compared: "+describeTrouble(ctx, err))
		return
	}
	r.result.Sequences = j.judge(ctx)
	r.countSequences()
}

// place says what the database is to the one that the baseline was taken of.
func (r *against) place(ctx context.Context, live Reader) error {
	then, now := &r.baseline[relation.Source].Server, live.Server()
	taken, at := r.baseline[relation.Source].Moment, live.Moment()
	note := func(format string, args ...any) {
		r.result.Notes = append(r.result.Notes, fmt.Sprintf(format, args...))
	}
	switch {
	case then.SystemIdentifier != now.SystemIdentifier:
		note("the target is another server than the baseline's (system identifiers %s and %s): a copy, or restored from a dump", then.SystemIdentifier, now.SystemIdentifier)
	case now.Standby && at.LSN < taken.LSN:
		return fmt.Errorf("the target is a standby, or is being recovered, and has replayed the log up to %s; the baseline was taken at %s: wait until it has passed that", at.LSNText, taken.LSNText)
	case then.DatabaseOID != now.DatabaseOID:
		note("the target is database %s of the baseline's server, the baseline is one of %s", relation.QuoteIdent(now.Database), relation.QuoteIdent(then.Database))
	case then.Timeline != now.Timeline:
		note("the target is the baseline's server or a clone of it, on timeline %d; the baseline was taken on timeline %d", now.Timeline, then.Timeline)
	default:
		note("the target is the baseline's server, a standby or a clone of it")
	}
	r.compareSettings(then, now)
	large, err := live.LargeObjects(ctx)
	switch stored := r.baseline[relation.Source].LargeObjects; {
	case err != nil:
		return fmt.Errorf("inspect the target: %w", err)
	case large && !stored && r.config.LargeObjects:
		r.trouble = append(r.trouble, "the target holds large objects, of which there were none; a baseline does not hold them: declare that with --ignore-large-objects")
	case large || stored:
		r.result.NotChecked = append(r.result.NotChecked, "large objects")
	}
	return nil
}

// compareSettings warns of settings that give the same values another meaning.
func (r *against) compareSettings(then, now *relation.Server) {
	for _, s := range then.Settings {
		at := slices.IndexFunc(now.Settings, func(p relation.Property) bool { return p.Name == s.Name })
		if at < 0 || now.Settings[at].Value == s.Value || s.Value == "" || now.Settings[at].Value == "" {
			continue // older versions do not have all
		}
		r.findings.found(Warn, fmt.Sprintf("%s was %s and is %s: %s", s.Name, s.Value, now.Settings[at].Value, settingMatters(s.Name)))
	}
}

// settingMatters says what a setting that differs may change, though all rows
// are the same.
func settingMatters(name string) string {
	switch name {
	case "server_encoding":
		return "text is stored otherwise, and texts of one encoding may not exist in the other"
	case "lc_monetary":
		return "values of type money may mean other amounts"
	}
	return "text is ordered, and its case changed, otherwise"
}

func (r *against) startLive(live Reader) {
	start := PassStart{StartedAt: r.result.StartedAt, Server: r.result.Server, Tables: len(r.config.Tables), Reading: ReadingTarget}
	guessed := int64(0)
	for _, names := range r.config.Tables {
		if t, err := live.Table(names.Target); err == nil {
			rows, guess := estimateRows(t)
			start.Rows, start.Bytes, guessed = start.Rows+rows, start.Bytes+t.Bytes(), guessed+guess
		}
	}
	if !mostlyKnown(start.Rows, guessed) {
		start.Rows = -1
	}
	r.observer.PassStarted(start)
}

// compareTables compares the tables in order, several at once.
func (r *against) compareTables(ctx context.Context) {
	r.result.Tables = make([]Table, len(r.config.Tables))
	schema := make([][]SchemaDifference, len(r.config.Tables))
	compared := make([]*comparison, len(r.config.Tables))
	reading := make(limiter, r.workers+1)
	var wg sync.WaitGroup
	for i, names := range r.config.Tables {
		c := &comparison{pass: &r.pass, at: r.all, ignore: r.config.IgnoreSchema}
		compared[i] = c
		c.result.Name, c.result.TargetName = names.Source, names.Target
		started := time.Now()
		finish := func() {
			c.ignoreSchema()
			r.result.Tables[i] = c.conclude(started)
			schema[i] = c.schema
			for j := range c.schema {
				r.observer.SchemaDiffers(&c.schema[j])
			}
			r.observer.TableFinished(&r.result.Tables[i])
		}
		if err := reading.acquire(ctx); err != nil {
			c.fail(errors.New(notCompared + describeTrouble(ctx, err)))
			finish()
			continue
		}
		wg.Go(func() {
			defer reading.release()
			defer finish()
			started = time.Now()
			r.compareTable(ctx, c)
		})
	}
	wg.Wait()
	for i, s := range schema {
		r.formed(compared[i])
		r.result.Schema = append(r.result.Schema, s...)
	}
}

// compareTable compares a table of the first baseline with its namesake.
func (r *against) compareTable(ctx context.Context, c *comparison) {
	stored := r.baseline[relation.Source].Table(c.result.Name)
	if stored == nil {
		c.fail(errors.New("the baseline does not hold it"))
		return
	}
	c.policy = stored.Policy
	c.policy.Key = keyNames(&stored.Form)
	if !c.resolve(ctx) {
		return
	}
	c.adopt(stored)
	var other *BaselineTable
	if b := r.baseline[relation.Target]; b != nil {
		other = b.Table(c.result.Name)
		if why := other.matchesForm(&c.planned.Form, relation.Target); why != "" {
			c.fail(errors.New(why))
		}
	}
	if why := stored.matchesForm(&c.planned.Form, relation.Source); why != "" {
		c.fail(errors.New(why))
	} else if c.planned.Describe() != stored.Form.Describe() {
		c.fail(errors.New("this version of verifierd would hash the table otherwise than the baseline was; capture it anew"))
	}
	if len(c.incomplete) > 0 {
		return // rows that cannot be compared are not read
	}
	c.sideIs(relation.Source, stored.Tree)
	if other != nil {
		c.compareTrees(stored, other)
		return
	}
	c.fail(c.compareLeaves(ctx, stored))
}

// adopt makes the planned form the baseline's as far as leaves are concerned:
// the rows go to the leaves by the key of then, whatever keys there are now.
func (c *comparison) adopt(stored *BaselineTable) {
	c.planned.Key, c.planned.Ordered = nil, 0
	if names := keyNames(&stored.Form); len(names) > 0 {
		c.planned.Key = c.planned.fieldsOf(names)
	}
	if len(c.planned.Key) == len(stored.Form.Key) {
		c.planned.Ordered = stored.Form.Ordered
	}
	c.planned.Ranged[relation.Source] = true // nobody reads it there
	c.result.Key = c.planned.keyNames(relation.Source)
	c.plan = &leafPlan{Layout: stored.Layout}
}

func keyNames(form *relation.Form) []string {
	var names []string
	for _, f := range form.KeyFields() {
		names = append(names, f.Name[relation.Source])
	}
	return names
}

func (c *comparison) sideIs(side relation.Side, tree *merkle.Tree) {
	s := &c.result.Side[side]
	c.trees[side] = tree
	s.Rows, s.Root, s.Read = int64(tree.Total().Count), tree.Root().String(), true
}

// compareTrees compares two baselines' trees.
func (c *comparison) compareTrees(a, b *BaselineTable) {
	c.sideIs(relation.Target, b.Tree)
	// With another key the same rows go to other leaves.
	if sameLayout(a.Layout, b.Layout) && a.Form.Describe() == b.Form.Describe() && a.Form.Ordered == b.Form.Ordered {
		c.fail(c.diverge(a, func([]int) error { return nil }))
		return
	}
	// The sums over all rows do not depend on the leaves.
	c.result.Notes = append(c.result.Notes, "the two baselines have other leaves or another key, so that only the whole table can be compared")
	c.result.Leaves.Total = 1
	if a.Tree.Total() != b.Tree.Total() {
		c.result.Leaves.Divergent = 1
		c.result.Ranges = []LeafRange{{Parts: 1, Rows: [2]int64{c.result.Side[0].Rows, c.result.Side[1].Rows}}}
		return
	}
	c.accounted = true
}

func sameLayout(a, b *merkle.Layout) bool {
	if a.Ranges() != b.Ranges() || a.Leaves() != b.Leaves() {
		return false
	}
	for i := range a.Ranges() {
		_, x := a.Bounds(i)
		_, y := b.Bounds(i)
		from, to := a.RangeLeaves(i)
		also, end := b.RangeLeaves(i)
		if from != also || to != end || string(x) != string(y) {
			return false
		}
	}
	return true
}

// compareLeaves reads the table and compares its leaves with the baseline's.
func (c *comparison) compareLeaves(ctx context.Context, stored *BaselineTable) error {
	t, reader := c.at.table[relation.Target], c.at.reader[relation.Target]
	expected := c.expectedRows()
	c.observer.TableStarted(TableStart{Name: c.result.Name, Rows: [2]int64{0, expected[relation.Target]}})
	leaves, err := c.scanTarget(ctx)
	if err != nil {
		return err
	}
	c.sideIs(relation.Target, merkle.NewTree([]byte(stored.Form.Describe()), leaves))
	return c.diverge(stored, func(leaves []int) error {
		c.observer.TableStage(c.result.Name, "reading again what differs")
		if err := c.readLeavesAgain(ctx, leaves); err != nil {
			return err
		}
		return reader.Unchanged(ctx, t)
	})
}

func (c *comparison) scanTarget(ctx context.Context) ([]merkle.Digest, error) {
	var read atomic.Int64
	leaves, _, err := c.at.reader[relation.Target].Scan(ctx, c.at.table[relation.Target], &c.planned.Form, c.plan.Layout, merkle.SketchSize{}, func(rows, bytes int64) {
		read.Add(rows)
		c.observer.RowsRead(c.result.Name, relation.Target, rows, bytes)
	})
	c.result.Side[relation.Target].ReadRows += read.Load()
	return leaves, err
}

// diverge finds the leaves that differ. They count once settle has agreed.
func (c *comparison) diverge(stored *BaselineTable, settle func(leaves []int) error) error {
	c.result.Leaves.Total = stored.Layout.Leaves()
	leaves, err := merkle.Diff(c.trees[relation.Source], c.trees[relation.Target])
	if err != nil {
		return err
	}
	if err := settle(leaves); err != nil {
		return err
	}
	c.result.Leaves.Divergent = len(leaves)
	c.result.Ranges, c.result.Leaves.Truncated = ranges(stored, leaves, func(leaf int) [2]int64 {
		return [2]int64{int64(c.trees[0].Leaves()[leaf].Count), int64(c.trees[1].Leaves()[leaf].Count)}
	}, c.maxRows, c.values != ValuesNone)
	return nil
}

// errUnlike says that two readings at one snapshot differ.
var errUnlike = errors.New("rows that differ from the baseline were not the same when they were read again at the same snapshot: an index may not find all rows (check with amcheck, then REINDEX), or bytes were damaged on the way")

// readLeavesAgain reads the leaves that differ once more. A bit that flipped on
// the way must not accuse anybody.
func (c *comparison) readLeavesAgain(ctx context.Context, leaves []int) error {
	if len(leaves) == 0 {
		return nil
	}
	first := c.trees[relation.Target].Leaves()
	if read, err := c.readRangesAgain(ctx, leaves, first); read || err != nil {
		return err
	}
	again, err := c.scanTarget(ctx)
	if err != nil {
		return err
	}
	for _, leaf := range leaves {
		if again[leaf] != first[leaf] {
			return errUnlike
		}
	}
	return nil
}

// readRangesAgain reads the leaves through an index, if that is quicker than
// another scan; else read is false.
func (c *comparison) readRangesAgain(ctx context.Context, leaves []int, first []merkle.Digest) (read bool, err error) {
	bounds := make([]relation.Bound, c.plan.Ranges()-1)
	for i := range bounds {
		_, hi := c.plan.Bounds(i)
		texts, exact := prefixText(&c.planned.Form, hi)
		if !exact {
			return false, nil
		}
		bounds[i] = relation.Bound{Prefix: hi, Text: texts}
	}
	at := c.at
	at.table[relation.Source] = &relation.Table{}
	f := finder{pair: &at, form: &c.planned.Form, plan: c.plan, spill: c.spill, rows: func(leaf int) uint64 { return first[leaf].Count }}
	if !f.byRange(leaves) {
		return false, nil
	}
	for _, leaf := range leaves {
		var lo, hi *relation.Bound
		if leaf > 0 {
			lo = &bounds[leaf-1]
		}
		if leaf < len(bounds) {
			hi = &bounds[leaf]
		}
		var sum merkle.Digest
		err := c.at.reader[relation.Target].CollectRange(ctx, c.at.table[relation.Target], &c.planned.Form, lo, hi, int64(first[leaf].Count), func(_ []byte, hash merkle.Hash) error {
			sum.Add(hash)
			return nil
		})
		if err != nil {
			return true, err
		}
		if sum != first[leaf] {
			return true, errUnlike
		}
	}
	return true, nil
}
