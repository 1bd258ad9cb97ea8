package parity

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/verifierd/verifierd/pkg/merkle"
	"github.com/verifierd/verifierd/pkg/relation"
)

// comparison compares one table.
type comparison struct {
	*pass
	policy Policy
	rules  rules // the policy, once it was checked
	// targetOnly: see Tables.
	targetOnly bool
	result     Table
	planned    *plannedForm
	at         pair               // the pass's snapshots
	moment     [2]relation.Moment // when they were taken
	plan       *leafPlan
	trees      [2]*merkle.Tree
	sketches   [2]*merkle.Sketches
	sketched   int64 // bytes acquired for them
	readRows   [2]atomic.Int64
	// candidates differed at the pass's snapshots.
	candidates *spool
	// differingCount is what was counted, where only that is done, if the sides
	// were shown to differ; healedCount, that they did so only at first.
	differingCount [2]int64
	healedCount    bool
	// differing are the keys of the first of them, for the references; manyDiffer
	// says that there are more.
	differing  [][]byte
	manyDiffer bool
	scanned    scanResult    // of the pass's snapshots, once scanEnded is closed
	scanEnded  chan struct{} // also closed when there was no scan
	accounted  bool
	// suspects is how many rows differ at least, by the leaves alone.
	suspects  int64
	schema    []SchemaDifference
	ignore    []relation.ObjectPattern
	corrupt   []Corruption // what physical checks found
	unchecked []string     // what kept physical checks from being made
	// incomplete says what was not established, and why.
	incomplete []string
	// unsettled says why rows could be neither confirmed nor cleared; empty:
	// they kept changing.
	unsettled string

	mu       sync.Mutex // guards what follows, and result's counts, while rows are read again
	reported lowest[Divergence]
	settled  int64 // candidates judged in this round
	// vanished holds, for each side, keys that its scan had found and its
	// index did not find later.
	vanished [2]map[string]bool
}

// fail notes that something was not established.
func (c *comparison) fail(err error) {
	if err == nil {
		return
	}
	text := strings.ReplaceAll(err.Error(), "\n", "; ")
	if errors.Is(err, context.Canceled) {
		text = "interrupted"
	} else if errors.Is(err, context.DeadlineExceeded) {
		text = "ran out of time"
	}
	if !slices.Contains(c.incomplete, text) {
		c.incomplete = append(c.incomplete, text)
	}
}

// scan does all that needs the pass's snapshots: it reads both tables, and
// finds the rows that differ.
func (c *comparison) scan(ctx context.Context) {
	if !c.resolve(ctx) {
		return
	}
	defer c.dropSketches()
	if err := c.digest(ctx); err != nil {
		c.fail(err)
		return
	}
	leaves, err := merkle.Diff(c.trees[0], c.trees[1])
	if err != nil {
		c.fail(err)
		return
	}
	if len(leaves) > 0 {
		c.suspects = c.leastDifferent(leaves)
		c.observer.TableStage(c.result.Name, "finding rows")
		c.fail(c.collect(ctx, leaves))
	}
	for _, side := range relation.Sides {
		c.fail(c.at.reader[side].Unchanged(ctx, c.at.table[side]))
	}
	if c.planned.Indexed[0] && c.planned.Indexed[1] {
		c.trees = [2]*merkle.Tree{} // only a second reading without keys needs them
	}
}

// findTables looks the table up on both sides and checks its policy. It reports
// whether there is anything to read.
func (c *comparison) findTables(ctx context.Context) bool {
	names := [2]relation.Name{c.result.Name, c.result.TargetName}
	var absent [2]bool
	for _, side := range relation.Sides {
		t, err := c.at.reader[side].Table(names[side])
		c.at.table[side] = t
		switch {
		case errors.Is(err, relation.ErrNoTable):
			absent[side] = true
		case err != nil:
			c.fail(err)
		}
	}
	d, differs := tableDifference(names, absent)
	switch {
	case differs && absent[relation.Source] && !c.targetOnly:
		c.fail(fmt.Errorf("%s was dropped or renamed on the source while the pass began; run it again", c.result.Name))
	case differs:
		c.schema = append(c.schema, d)
	case absent[relation.Source]:
		c.fail(fmt.Errorf("%s exists on neither side", c.result.Name))
	}
	if absent[0] || absent[1] || len(c.incomplete) > 0 {
		return false
	}
	var err error
	if c.rules, err = c.applyPolicy(ctx); err != nil {
		c.fail(err)
		return false
	}
	c.result.Unverified = c.rules.unverified()
	c.result.Filtered = c.rules.where != [2]string{}
	return true
}

// resolve looks the table up and plans the form. It reports whether there is
// anything to read.
func (c *comparison) resolve(ctx context.Context) bool {
	if !c.findTables(ctx) {
		return false
	}
	c.planned = planForm(c.at.table[0], c.at.table[1], [2]string{c.at.reader[0].Server().Encoding, c.at.reader[1].Server().Encoding}, c.rules)
	c.schema = append(c.schema, c.planned.differences...)
	c.incomplete = append(c.incomplete, c.planned.gaps...)
	c.result.Notes = append(c.result.Notes, c.planned.notes...)
	c.result.Uncompared = c.planned.uncompared
	c.result.Key = c.planned.keyNames(relation.Source)
	if c.moneyDiffers() {
		c.result.Notes = append(c.result.Notes, "money is compared as a number; lc_monetary differs, so it may mean other amounts")
	}
	return true
}

// dropSketches gives back the memory of sketches that nobody needs any more.
func (c *comparison) dropSketches() {
	c.sketches = [2]*merkle.Sketches{}
	c.sketching.Release(c.sketched)
	c.sketched = 0
}

func (c *comparison) moneyDiffers() bool {
	return c.at.reader[0].Server().LCMonetary != c.at.reader[1].Server().LCMonetary &&
		slices.ContainsFunc(c.planned.Fields, func(f relation.Field) bool { return f.Type[0].Underlying().Builtin("money") })
}

// digest reads both tables wholly and builds their trees.
func (c *comparison) digest(ctx context.Context) error {
	name, form := c.result.Name, &c.planned.Form
	c.observer.TableStarted(TableStart{Name: name, Rows: c.expectedRows()})
	plan, err := c.planLeaves(ctx)
	if err != nil {
		return err
	}
	c.plan = plan
	size := sketchSize(form, plan, c.at.table)
	var leaves [2][]merkle.Digest
	if n := 2 * size.Bytes(plan.Leaves()); c.sketching.TryAcquire(n) {
		c.sketched = n
	} else {
		size = merkle.SketchSize{}
	}
	var sketches [2]*merkle.Sketches
	err = c.at.each(ctx, func(ctx context.Context, side relation.Side) error {
		t := c.at.table[side]
		var err error
		leaves[side], sketches[side], err = c.at.reader[side].Scan(ctx, t, form, plan.Layout, size, func(rows, bytes int64) {
			c.readRows[side].Add(rows)
			c.observer.RowsRead(name, side, rows, bytes)
		})
		return err
	})
	for _, side := range relation.Sides {
		c.result.Side[side].ReadRows = c.readRows[side].Load()
	}
	if err != nil {
		return err
	}
	description := []byte(form.Describe())
	for _, side := range relation.Sides {
		c.trees[side] = merkle.NewTree(description, leaves[side])
		s := &c.result.Side[side]
		s.Rows, s.Root, s.Read = int64(c.trees[side].Total().Count), c.trees[side].Root().String(), true
	}
	c.sketches = sketches
	return nil
}

// planLeaves samples both sides and lays out the leaves.
func (c *comparison) planLeaves(ctx context.Context) (*leafPlan, error) {
	rows := [2]int64{max(0, estimate(c.at.table[0])), max(0, estimate(c.at.table[1]))}
	leaves := min(max(rows[0], rows[1], c.leafRows)/c.leafRows, merkle.MaxLeaves)
	var samples [2]relation.Sample
	if c.planned.Ordered > 0 && leaves > 1 {
		err := c.at.each(ctx, func(ctx context.Context, side relation.Side) error {
			limit := min(leaves*samplesPerLeaf, maxSamples) * rows[side] / max(1, rows[0]+rows[1])
			var err error
			samples[side], err = c.at.reader[side].Sample(ctx, c.at.table[side], &c.planned.Form, int(limit))
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return planLeaves(int(leaves), samples)
}

// collect finds the rows that differ in the given leaves and keeps them as
// candidates. They are all that differs, or accounted stays false.
func (c *comparison) collect(ctx context.Context, leaves []int) error {
	rest := c.unexplained()
	candidates := newSpool(c.spill.limit, c.spill.dir)
	defer func() { c.candidates = candidates }() // also those of a search that failed
	var buf []byte
	keep := func(d *difference) error {
		c.noteDiffering(d)
		d.account(&rest)
		buf = d.appendTo(buf[:0])
		return candidates.append(buf)
	}
	left, err := c.decode(leaves, keep)
	if err != nil {
		return err
	}
	if 2*len(left) > len(leaves) {
		// Most rows are to be read again anyway: start over with all.
		candidates.close()
		candidates, c.differing, c.manyDiffer = nil, nil, false
		if settled, err := c.collectQuietly(ctx, leaves); err != nil || settled {
			return err
		}
		candidates = newSpool(c.spill.limit, c.spill.dir)
		c.differing, c.manyDiffer = nil, false
		rest, left = c.unexplained(), leaves
	}
	if len(left) > 0 {
		if err := c.finder(&c.at).find(ctx, left, keep); err != nil {
			return err
		}
	}
	c.accounted = rest.IsZero()
	if !c.accounted {
		return errUnexplained
	}
	return nil
}

// leastDifferent counts rows that must differ: where digests are unlike, at
// least one, and as many as one side has more.
func (c *comparison) leastDifferent(leaves []int) int64 {
	a, b := c.trees[0].Leaves(), c.trees[1].Leaves()
	var rows int64
	for _, leaf := range leaves {
		n := int64(a[leaf].Count) - int64(b[leaf].Count)
		rows += max(1, n, -n)
	}
	return rows
}

// unexplained is the whole difference between the two sides, from which the
// differences found are taken away.
func (c *comparison) unexplained() merkle.Digest {
	rest := c.trees[0].Total()
	rest.Subtract(c.trees[1].Total())
	return rest
}

// decode calls keep with the differences that the sketches hold, and returns
// those of the given leaves whose differences they do not hold.
func (c *comparison) decode(leaves []int, keep func(*difference) error) (left []int, err error) {
	if c.sketches[0] == nil {
		return leaves, nil
	}
	defer c.dropSketches()
	if err := c.sketches[0].Subtract(c.sketches[1]); err != nil {
		return nil, err
	}
	c.sketches[1] = nil
	decoded, err := c.sketches[0].Decode(func(entries []merkle.Entry) error {
		differences, err := differencesOf(entries)
		for _, d := range differences {
			err = errors.Join(err, keep(d))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, leaf := range leaves {
		if !decoded[leaf] {
			left = append(left, leaf)
		}
	}
	return left, nil
}

func (c *comparison) finder(at *pair) *finder {
	a, b := c.trees[0].Leaves(), c.trees[1].Leaves()
	return &finder{
		pair: at, form: &c.planned.Form, plan: c.plan, workers: c.workers, spill: c.spill,
		rows: func(leaf int) uint64 { return a[leaf].Count + b[leaf].Count },
	}
}

// conclude derives the verdict and says why.
func (c *comparison) conclude(started time.Time) Table {
	t := &c.result
	n := &t.Divergences
	n.Explained = c.accounted || t.Side[0].Read && t.Side[1].Read && t.Side[0].Root == t.Side[1].Root
	if n.Volatile > 0 {
		c.incomplete = append(c.incomplete, c.volatileReason())
	}
	if found := n.Confirmed() + n.Healed + n.Volatile; !c.accounted && found < c.suspects {
		c.incomplete = append(c.incomplete, fmt.Sprintf("at least %s differed at the pass's snapshots", countRows(c.suspects)))
	}
	broken := c.brokenParts()
	t.Complete = len(c.incomplete) == 0
	var reasons []string
	if n.Confirmed() > 0 {
		reasons = append(reasons, describeCounts(n))
	}
	if t.Leaves.Divergent > 0 {
		reasons = append(reasons, describeLeafCounts(t.Leaves, [2]int64{t.Side[0].Rows, t.Side[1].Rows}))
	}
	if len(broken) > 0 {
		reasons = append(reasons, strings.Join(broken, ", "))
	}
	switch {
	case len(reasons) > 0:
		t.Verdict = Diverged
		if !t.Complete {
			reasons = append(reasons, "not complete: "+strings.Join(c.incomplete, "; "))
		}
	case !t.Complete:
		t.Verdict = Incomplete
		reasons = c.incomplete
	case t.Side[0].Read && t.Side[1].Read:
		t.Verdict = Match
		reasons = append(reasons, c.matchReason())
	default:
		t.Complete = false
		reasons = append(reasons, "nothing was read")
	}
	t.Reason = strings.Join(reasons, "; ")
	t.Duration = time.Since(started)
	t.Rows, n.Truncated = c.reported.items, c.reported.dropped
	if c.showValues() && slices.ContainsFunc(t.Rows, func(d Divergence) bool { return len(d.Values[0])+len(d.Values[1]) == 0 }) {
		t.Notes = append(t.Notes, "values are not shown: the table has too many columns for that")
	}
	return *t
}

// brokenParts names the differences in definition that break.
func (c *comparison) brokenParts() []string {
	var broken []string
	for i := range c.schema {
		if c.schema[i].Severity == Breaks && c.breaks == Fail {
			broken = append(broken, c.schema[i].Object+" "+schemaVerb(c.schema[i].Kind)+c.targetName(&c.schema[i]))
		}
	}
	return broken
}

// underPolicy qualifies a match of tables whose policies leave something out.
func underPolicy(unverified bool) string {
	if !unverified {
		return ""
	}
	return ", but for what the policy leaves out"
}

func (c *comparison) matchReason() string {
	n, rows := &c.result.Divergences, c.result.Side[0].Rows
	reason := fmt.Sprintf("%s %s identical", countRows(rows), are(rows))
	switch {
	case n.Healed > 0:
		reason = fmt.Sprintf("%s differed at the pass's snapshots and no longer when read again: equal, but not at one snapshot", countRows(n.Healed))
	case c.result.FilteredOut():
		return "no row fulfils the condition: there was nothing to compare"
	case rows == 0:
		reason = "both sides are empty"
	}
	return reason + underPolicy(len(c.result.Unverified) > 0)
}

// targetName names the table that the target lacks, where it is not the
// source's name.
func (c *comparison) targetName(d *SchemaDifference) string {
	if d.Object != "table" || d.Kind != "missing" || c.result.TargetName == c.result.Name {
		return ""
	}
	return fmt.Sprintf(": the target has no %s, which it is mapped to", c.result.TargetName)
}

func schemaVerb(kind string) string {
	if kind == "changed" {
		return "differs in type"
	}
	return "is " + kind
}

func describeCounts(n *Counts) string {
	var kinds []string
	for _, k := range []struct {
		n    int64
		name string
	}{{n.Missing, "missing"}, {n.Extra, "extra"}, {n.Mismatched, "mismatched"}} {
		if k.n > 0 {
			kinds = append(kinds, count(k.n)+" "+k.name)
		}
	}
	return plural(n.Confirmed(), "divergent row") + " (" + strings.Join(kinds, ", ") + ")"
}

func are(n int64) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

func countRows(n int64) string { return plural(n, "row") }

func plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return count(n) + " " + noun + "s"
}

// count writes a number, which is not negative, with thousands separators.
func count(n int64) string {
	digits := strconv.FormatInt(n, 10)
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}
