package parity

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/verifierd/verifierd/pkg/relation"
)

// Way is how it was established which rows of a side are orphans.
type Way string

// The ways.
const (
	NotAsked   Way = ""           // the side was not asked: ReferenceCheck.Reason says why
	AntiJoin   Way = "anti-join"  // every row was compared with those that it may refer to
	ByDigest   Way = "digest"     // both tables equal the source's, which was asked
	Candidates Way = "candidates" // rows that differ, and those that refer to rows that differ
)

// ReferenceCheck is what a pass established of one foreign key, or of one
// reference that the configuration declares.
type ReferenceCheck struct {
	ForeignKey [2]relation.ForeignKey // in each side's names
	Declares   [2]bool                // whether the side's schema, or the configuration, holds it
	Way        [2]Way
	Orphans    [2]int64 // at the pass's snapshots
	Shared     int64    // of them, those that both sides have
	New        int64    // confirmed orphans that only the target has
	Healed     int64    // those that only the target had, and that a second reading did not find
	Volatile   int64    // those that could not be settled
	// Verdict is Diverged if the orphans fail the pass.
	Verdict  Verdict
	Complete bool
	Reason   string      // never empty
	Sample   [2][]Orphan // some of each side's; of the target's, new ones first
	Duration time.Duration
}

// Orphan is a row that refers to no row.
type Orphan struct {
	Key    []NamedValue // empty: the table has no key
	Refers []NamedValue // the columns that refer
}

// Confirmed is the number of the target's orphans that are certain.
func (r *ReferenceCheck) Confirmed() int64 { return r.New + r.Shared }

// Name is the constraint's on the side that declares it, the source's first.
func (r *ReferenceCheck) Name() string {
	for _, side := range relation.Sides {
		if r.Declares[side] {
			return r.ForeignKey[side].Name
		}
	}
	return r.ForeignKey[relation.Source].Name
}

// scanResult is what the references of a table need to know of its comparison,
// which goes on meanwhile.
type scanResult struct {
	whole bool // all rows and columns of both sides were compared, strictly
	equal bool // and are the same
	// keys are those of all rows that differ, unless there are too many.
	keys  [][]byte
	known bool // whether keys holds all of them
}

// maxCandidates is how many differing rows of a table are looked up one by one
// when orphans are looked for; with more, a join is quicker.
const maxCandidates = 4096

// noteDiffering keeps the key of a row that differs for the references.
func (c *comparison) noteDiffering(d *difference) {
	if c.manyDiffer = c.manyDiffer || len(c.differing) == maxCandidates; !c.manyDiffer {
		c.differing = append(c.differing, slices.Clone(d.key))
	}
}

// finishScan says what the scan established, for those who wait for it.
func (c *comparison) finishScan() {
	s := &c.scanned
	ownOnly := true
	for _, t := range c.at.table {
		ownOnly = ownOnly && t != nil && len(t.Own()) == len(t.Members)
	}
	s.whole = c.planned != nil && ownOnly && len(c.incomplete) == 0 && c.result.Side[0].Read && c.result.Side[1].Read &&
		len(c.result.Unverified) == 0 && len(c.result.Uncompared) == 0 && !slices.ContainsFunc(c.planned.Fields, func(f relation.Field) bool { return f.Cast != [2]string{} })
	s.equal = s.whole && c.result.Side[0].Root == c.result.Side[1].Root
	s.known = s.equal || s.whole && c.accounted && !c.manyDiffer && !c.keyless()
	s.keys = c.differing
	close(c.scanEnded)
}

// reference checks one foreign key.
type reference struct {
	*pass
	perTable bool
	effects  Effects
	// child and parent are the comparisons of its tables; nil: the pass does
	// not compare the table by itself.
	child, parent *comparison
	opened        [2]map[relation.Name]bool // tables that the snapshots were asked for
	counterpart   [2]bool                   // whether there are names for it on the side

	at     pair
	moment [2]relation.Moment
	tables [2][2]*relation.Table  // of each side: the one that refers, and the other
	ref    [2]*relation.Reference // nil: the side is not asked
	form   relation.Form
	key    []int // positions in form of the key, and of the columns that refer
	refers []int
	sample [2]lowest[Orphan]
	shared lowest[Orphan]
	result ReferenceCheck
}

// planReferences lists what the two sides and the configuration declare.
func (r *runner) planReferences(ctx context.Context, all *pair) ([]*reference, error) {
	names := r.selected()
	var list []*reference
	byKey := make(map[string]*reference)
	add := func(side relation.Side, k relation.ForeignKey) {
		other, found := r.translate(k, side)
		both := [2]relation.ForeignKey{k, other}
		if side == relation.Target {
			both = [2]relation.ForeignKey{other, k}
		}
		id := identify(&both[relation.Source])
		if !found {
			id = fmt.Sprintf("%s only: %s", side, identify(&k))
		}
		c := byKey[id]
		if c == nil {
			c = &reference{pass: &r.pass, perTable: r.config.PerTable, effects: r.config.Effects, opened: r.opened(), counterpart: [2]bool{true, true}}
			c.counterpart[side.Other()] = found
			c.result.ForeignKey = both
			for _, l := range []*lowest[Orphan]{&c.sample[0], &c.sample[1], &c.shared} {
				l.limit = r.maxRows
			}
			byKey[id] = c
			list = append(list, c)
		} else if !c.result.Declares[side] {
			c.result.ForeignKey[side] = k
		}
		c.result.Declares[side] = true
	}
	for _, side := range relation.Sides {
		keys, err := all.reader[side].ForeignKeys(ctx, names[side])
		if err != nil {
			return nil, fmt.Errorf("on the %s: %w", side, err)
		}
		for i := range keys {
			add(side, keys[i])
		}
	}
	for _, k := range r.config.References {
		if byKey[identify(&k)] == nil {
			k.Declared = true
			add(relation.Source, k)
			byKey[identify(&k)].result.Declares[relation.Target] = true
		}
	}
	return list, nil
}

// identify tells foreign keys apart that are the same constraint under another
// name.
func identify(k *relation.ForeignKey) string {
	pairs := make([]string, len(k.Columns))
	for i := range k.Columns {
		pairs[i] = relation.QuoteIdent(k.Columns[i]) + " " + relation.QuoteIdent(k.Referenced[min(i, len(k.Referenced)-1)])
	}
	if !k.Period { // whose last column stands apart
		slices.Sort(pairs)
	}
	return fmt.Sprintf("%s %s %t %t %s", k.Table.SQL(), k.References.SQL(), k.Full && len(pairs) > 1, k.Period, strings.Join(pairs, ", "))
}

// translate returns a foreign key of one side in the other's names. Found is
// false if there are none: the name belongs to another table there.
func (r *runner) translate(k relation.ForeignKey, from relation.Side) (other relation.ForeignKey, found bool) {
	other = k
	other.Name, other.Validated, other.Enforced = k.Name, false, false
	var policies [2]*Policy
	found = true
	for i, name := range []*relation.Name{&other.Table, &other.References} {
		if from == relation.Source {
			policies[i] = r.policyOf(*name)
			*name = r.onTarget(*name)
			continue
		}
		there := *name
		*name = r.onSource(there)
		policies[i] = r.policyOf(*name)
		found = found && r.onTarget(*name) == there
	}
	columns := func(list []string, p *Policy) []string {
		out := slices.Clone(list)
		for i, name := range list {
			for source, target := range p.Columns {
				if from == relation.Source && source == name {
					out[i] = target
				} else if from == relation.Target && target == name {
					out[i] = source
				}
			}
		}
		return out
	}
	other.Columns, other.Referenced = columns(k.Columns, policies[0]), columns(k.Referenced, policies[1])
	return other, found
}

func (r *runner) policyOf(source relation.Name) *Policy {
	for i := range r.config.Tables {
		if r.config.Tables[i].Source == source {
			return &r.config.Tables[i].Policy
		}
	}
	return &Policy{}
}

func (r *runner) onTarget(source relation.Name) relation.Name {
	for i := range r.config.Tables {
		if r.config.Tables[i].Source == source {
			return r.config.Tables[i].Target
		}
	}
	if target, renamed := r.config.Renamed[source]; renamed {
		return target
	}
	return source
}

func (r *runner) onSource(target relation.Name) relation.Name {
	for i := range r.config.Tables {
		if r.config.Tables[i].Target == target {
			return r.config.Tables[i].Source
		}
	}
	for source, to := range r.config.Renamed {
		if to == target {
			return source
		}
	}
	return target
}

// opened are the tables that each side's snapshots are asked for.
func (r *runner) opened() [2]map[relation.Name]bool {
	var opened [2]map[relation.Name]bool
	for side, names := range r.names() {
		opened[side] = make(map[relation.Name]bool)
		for _, name := range names {
			opened[side][name] = true
		}
	}
	return opened
}

// checkReferences checks all references, several at once, each as soon as its
// tables have been scanned. The function it returns waits for them.
func (r *runner) checkReferences(ctx context.Context, list []*reference, all *pair, compared map[relation.Name]*comparison) (wait func()) {
	var g errgroup.Group
	running := make(limiter, r.workers)
	for _, c := range list {
		c.child, c.parent = compared[c.result.ForeignKey[relation.Source].Table], compared[c.result.ForeignKey[relation.Source].References]
		g.Go(func() error {
			for _, table := range []*comparison{c.child, c.parent} {
				if table != nil {
					<-table.scanEnded
				}
			}
			err := running.acquire(ctx)
			started := time.Now()
			if err == nil {
				r.observer.ReferenceStarted(&c.result)
				err = c.run(ctx, all, running.release)
			}
			c.conclude(ctx, err, started)
			r.observer.ReferenceFinished(&c.result)
			return nil
		})
	}
	return func() {
		_ = g.Wait() // none fails
		for _, c := range list {
			r.result.References = append(r.result.References, c.result)
			r.judgeReference(&c.result)
		}
	}
}

// judgeReference counts a foreign key for the pass's verdict.
func (r *runner) judgeReference(c *ReferenceCheck) {
	k := &c.ForeignKey[relation.Source]
	where := fmt.Sprintf("of %s (%s)", k.Table, c.Name())
	if c.New > 0 {
		r.found(r.config.Effects.Orphans, fmt.Sprintf("%s %s that the source does not have", plural(c.New, "orphan"), where))
	}
	if c.Shared > 0 {
		r.found(r.config.Effects.SourceOrphans, fmt.Sprintf("%s %s that the source has, too", plural(c.Shared, "orphan"), where))
	}
	if !c.Complete {
		r.incomplete = append(r.incomplete, fmt.Sprintf("orphans %s: %s", where, c.Reason))
	}
}

// run asks both sides. It calls release when the pass's snapshots are no longer
// needed, before orphans are looked at again.
func (c *reference) run(ctx context.Context, all *pair, release func()) error {
	pending, err := c.look(ctx, all)
	release()
	if pending != nil {
		defer pending.close()
	}
	if err != nil || pending == nil || pending.counts[pendingList] == 0 {
		return err
	}
	return c.confirm(ctx, pending)
}

// look finds the orphans at the pass's snapshots, and returns those that only
// the target has.
func (c *reference) look(ctx context.Context, all *pair) (*tally, error) {
	c.at = *all
	if c.perTable {
		c.at = pair{}
		defer c.at.close()
		for _, side := range relation.Sides {
			if err := c.openOwn(ctx, &c.at, side); err != nil {
				return nil, err
			}
		}
	}
	var errs []error
	for _, side := range relation.Sides {
		c.moment[side] = c.at.reader[side].Moment()
		errs = append(errs, c.resolve(ctx, side))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if c.ref[0] == nil && c.ref[1] == nil {
		return nil, nil
	}
	if err := c.planForm(); err != nil {
		return nil, err
	}
	found := newTally(c.spill)
	defer found.close()
	if err := c.ask(ctx, found); err != nil {
		return nil, err
	}
	for _, side := range relation.Sides {
		if way := c.result.Way[side]; way == NotAsked || way == ByDigest {
			continue
		}
		c.result.Orphans[side] = found.counts[side]
		for _, t := range c.tables[side] {
			if err := c.at.reader[side].Unchanged(ctx, t); err != nil {
				return nil, err
			}
		}
	}
	return c.compare(found)
}

// openOwn takes a snapshot of a side for the reference's tables alone.
func (c *reference) openOwn(ctx context.Context, p *pair, side relation.Side) error {
	k := &c.result.ForeignKey[side]
	reader, err := c.open[side](ctx, slices.Compact([]relation.Name{k.Table, k.References}))
	if err != nil {
		return fmt.Errorf("take a snapshot of the %s: %w", side, err)
	}
	p.reader[side] = reader
	return nil
}

// resolve looks up the tables of a side, and whether it can be asked. A side
// that lacks what the other one refers by has no orphans; that it lacks it is
// for others to report.
func (c *reference) resolve(ctx context.Context, side relation.Side) error {
	k := &c.result.ForeignKey[side]
	if !c.counterpart[side] {
		c.result.Reason = fmt.Sprintf("the %s has no counterpart of its tables", side)
		return nil
	}
	reader := c.at.reader[side]
	for i, name := range []relation.Name{k.Table, k.References} {
		t, err := reader.Table(name)
		compared := []*comparison{c.child, c.parent}[i] != nil
		switch {
		case !errors.Is(err, relation.ErrNoTable):
		case !c.opened[side][name], c.result.Declares[side] && !k.Declared:
			return fmt.Errorf("%s changed on the %s while the pass began (DDL under way?); run the pass again", k, side)
		case compared || side == relation.Source:
			c.result.Reason = fmt.Sprintf("the %s has no table %s", side, name)
			return nil
		case i == 0:
			return fmt.Errorf("the target has no table %s, which only the source's constraint is of; where its rows are in another table, name that in references", name)
		default:
			return fmt.Errorf("the target has no table %s, which is not among those compared: copy it, or skip the check of orphans", name)
		}
		if err != nil {
			return err
		}
		c.tables[side][i] = t
		for _, column := range [][]string{k.Columns, k.Referenced}[i] {
			if t.Column(column) != nil {
				continue
			}
			if k.Declared || !compared && side == relation.Target {
				return fmt.Errorf("there is no column %s of %s on the %s", relation.QuoteIdent(column), name, side)
			}
			c.result.Reason = fmt.Sprintf("the %s has no column %s of %s", side, relation.QuoteIdent(column), name)
			return nil
		}
	}
	var err error
	c.ref[side], err = reader.Reference(ctx, k)
	return err
}

// planForm chooses what tells orphans apart, the same on both sides: the key,
// and the columns that refer, as far as they can be compared.
func (c *reference) planForm() error {
	k := &c.result.ForeignKey
	base := &plannedForm{}
	side := relation.Source
	switch {
	case c.ref[0] == nil || c.ref[1] == nil:
		if c.ref[0] == nil {
			side = relation.Target
		}
		own := *c.tables[side][0]
		base = planForm(&own, &own, [2]string{}, rules{})
		base.Table = [2]relation.Name{own.Name, own.Name}
		if c.child != nil {
			base.Where = c.child.rules.where
		}
	case c.child != nil && c.child.planned == nil:
		return fmt.Errorf("%s was not compared", k[relation.Source].Table)
	case c.child != nil:
		base = c.child.planned
	default:
		base = planForm(c.tables[0][0], c.tables[1][0], [2]string{c.at.reader[0].Server().Encoding, c.at.reader[1].Server().Encoding}, rules{})
	}
	c.form = relation.Form{Table: base.Table, Where: base.Where}
	at := make(map[string]int)
	take := func(i int) int {
		name := base.Fields[i].Name[side]
		if _, taken := at[name]; !taken {
			at[name] = len(c.form.Fields)
			c.form.Key = append(c.form.Key, len(c.form.Fields))
			c.form.Fields = append(c.form.Fields, base.Fields[i])
		}
		return at[name]
	}
	for _, i := range base.Key {
		c.key = append(c.key, take(i))
	}
	for _, name := range k[side].Columns {
		i := slices.IndexFunc(base.Fields, func(f relation.Field) bool { return f.Name[side] == name })
		if i >= 0 {
			c.refers = append(c.refers, take(i))
		}
	}
	if len(c.form.Fields) == 0 {
		return errors.New("nothing tells its rows apart that can be compared: neither a key nor the columns that refer")
	}
	return nil
}

// ask looks for orphans on those sides, and in those ways, that are needed.
func (c *reference) ask(ctx context.Context, found *tally) error {
	join := func(sides ...relation.Side) error {
		return c.join(ctx, &c.at, found, sides...)
	}
	switch comparable := c.comparable(); {
	case c.ref[relation.Source] == nil:
		return join(relation.Target)
	case c.ref[relation.Target] == nil:
		return join(relation.Source)
	case comparable && c.child.scanned.equal && c.parent.scanned.equal:
		if err := join(relation.Source); err != nil {
			return err
		}
		c.result.Way[relation.Target], c.result.Orphans[relation.Target] = ByDigest, found.counts[relation.Source]
		return nil
	case comparable && c.candidatesKnown():
		if err := join(relation.Source); err != nil {
			return err
		}
		if found.counts[relation.Source] > 0 {
			return join(relation.Target)
		}
		c.result.Way[relation.Target] = Candidates
		return c.at.reader[relation.Target].OrphansAmong(ctx, c.ref[relation.Target], &c.form, &c.child.planned.Form, &c.parent.planned.Form,
			c.child.scanned.keys, c.parent.scanned.keys, c.counting(found, relation.Target))
	case !c.result.Declares[relation.Source]:
		// The source may have what its own schema would not let in, under types
		// that do not even compare; only if there are orphans need it be asked.
		if err := join(relation.Target); err != nil || found.counts[relation.Target] == 0 {
			return err
		}
		return join(relation.Source)
	}
	return join(relation.Sides[:]...)
}

// comparable reports whether rows that are equal refer to the same rows on both
// sides, and it is known which are equal.
func (c *reference) comparable() bool {
	return !c.perTable && c.child != nil && c.parent != nil && c.ref[0] != nil && c.ref[1] != nil &&
		c.child.scanned.whole && c.parent.scanned.whole &&
		c.ref[0].Meaning != "" && c.ref[0].Meaning == c.ref[1].Meaning
}

// candidatesKnown reports whether all rows are known that may be orphans on the
// target though they are none on the source, and indexes find them: those that
// differ, and those that refer to rows that differ.
func (c *reference) candidatesKnown() bool {
	const target = relation.Target
	child, parent := c.child, c.parent
	if !child.scanned.known || !parent.scanned.known || len(c.tables[target][0].Members) > maxRangedMembers {
		return false
	}
	if len(child.scanned.keys) > 0 && !child.planned.Indexed[target] {
		return false
	}
	if len(parent.scanned.keys) == 0 {
		return true
	}
	k := &c.ref[target].ForeignKey
	return parent.planned.Indexed[target] && sameSet(parent.planned.keyNames(target), k.Referenced) &&
		slices.ContainsFunc(c.tables[target][0].Indexes, func(x relation.Index) bool {
			return len(x.Columns) >= len(k.Columns) && sameSet(x.Columns[:len(k.Columns)], k.Columns)
		})
}

// join compares all rows of the given sides with those that they may refer to.
func (c *reference) join(ctx context.Context, at *pair, found *tally, sides ...relation.Side) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, side := range sides {
		c.result.Way[side] = AntiJoin
		g.Go(func() error {
			return at.reader[side].Orphans(ctx, c.ref[side], &c.form, c.counting(found, side))
		})
	}
	return g.Wait()
}

// counting returns a function that adds a side's orphans to a tally.
func (c *reference) counting(found *tally, side relation.Side) func(*relation.Row) error {
	return func(row *relation.Row) error {
		text := row.KeyText
		if c.values == ValuesNone {
			text = nil
		}
		return found.add(int(side), row.Key, 1, false, text)
	}
}

// compare counts what both sides have, and returns what only the target has.
func (c *reference) compare(found *tally) (*tally, error) {
	pending := newTally(c.spill)
	digest := c.result.Way[relation.Target] == ByDigest
	err := found.each(func(row *tallied) error {
		n := row.count
		if digest {
			n[relation.Target] = n[relation.Source]
		}
		both := min(n[relation.Source], n[relation.Target])
		c.result.Shared += both
		if n[relation.Source] > 0 {
			c.addSample(&c.sample[relation.Source], row)
		}
		if both > 0 {
			c.addSample(&c.shared, row)
		}
		if only := n[relation.Target] - both; only > 0 {
			return pending.add(pendingList, []byte(row.key), only, false, nil)
		}
		return nil
	})
	return pending, err
}

func (c *reference) addSample(l *lowest[Orphan], row *tallied) {
	if len(row.text) == 0 || !l.keeps([]byte(row.key)) {
		return
	}
	named := func(at []int) []NamedValue {
		var values []NamedValue
		for _, i := range at {
			values = append(values, NamedValue{c.form.Fields[i].Name[relation.Source], row.text[i]})
		}
		return values
	}
	l.add([]byte(row.key), Orphan{Key: named(c.key), Refers: named(c.refers)})
}

// confirm looks at orphans that only the target had again, on fresh snapshots,
// the source's first, as it is done with rows: until each is an orphan on the
// target alone after the target had its chance to catch up, or is not.
func (c *reference) confirm(ctx context.Context, pending *tally) error {
	w := window{subscriptions: c.subscriptions}
	c.result.Volatile = pending.counts[pendingList]
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		began := time.Now()
		rest, final, unsettled, err := c.round(ctx, pending, &w, pause)
		if err != nil {
			return fmt.Errorf("look at %s again: %w", plural(c.result.Volatile, "orphan"), err)
		}
		defer rest.close()
		pending = rest
		c.result.Volatile = pending.counts[pendingList]
		if c.result.Volatile == 0 {
			return nil
		}
		if final {
			if unsettled == "" {
				unsettled = "came and went until the recheck window ended"
			}
			return fmt.Errorf("%s that only the target had %s", plural(c.result.Volatile, "orphan"), unsettled)
		}
		// A join that takes long is not made again at once.
		wait := max(0, min(max(pause, time.Since(began)), c.recheck-time.Since(w.began)))
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// round looks for all orphans once more and settles what can be settled.
func (c *reference) round(ctx context.Context, pending *tally, w *window, pause time.Duration) (rest *tally, final bool, unsettled string, err error) {
	if err := c.rechecks.acquire(ctx); err != nil {
		return nil, false, "", err
	}
	defer c.rechecks.release()
	var fresh pair
	defer fresh.close()
	lag, err := reopenBoth(ctx, &fresh, w.subscriptions, pause, c.reopen)
	if err != nil {
		return nil, false, "", err
	}
	replication, err := fresh.replication(ctx)
	if err != nil {
		return nil, false, "", err
	}
	judge, final, unsettled := w.judge(quietSince(c.moment, &fresh, replication), lag, replication, c.recheck)
	now := newTally(c.spill)
	defer now.close()
	err = pending.each(func(row *tallied) error {
		return now.add(pendingList, []byte(row.key), row.count[pendingList], row.suspect, nil)
	})
	if err != nil {
		return nil, false, "", err
	}
	ways := c.result.Way
	var sides []relation.Side
	for _, side := range relation.Sides {
		if c.ref[side] != nil {
			sides = append(sides, side)
		}
	}
	err = c.join(ctx, &fresh, now, sides...)
	c.result.Way = ways
	if err != nil {
		return nil, false, "", err
	}
	rest = newTally(c.spill)
	err = now.each(func(row *tallied) error { return c.settle(row, rest, judge) })
	if err != nil {
		rest.close()
		return nil, false, "", err
	}
	return rest, final, unsettled, nil
}

// reopen takes a fresh snapshot of a side, in which the tables are what they
// were.
func (c *reference) reopen(ctx context.Context, fresh *pair, side relation.Side) error {
	if err := c.openOwn(ctx, fresh, side); err != nil || c.ref[side] == nil {
		return err
	}
	k := &c.result.ForeignKey[side]
	for i, name := range []relation.Name{k.Table, k.References} {
		t, err := fresh.reader[side].Table(name)
		if err != nil {
			return err
		}
		if err := unaltered(c.tables[side][i], t, side); err != nil {
			return err
		}
	}
	return nil
}

// settle judges one row that only the target had as an orphan.
func (c *reference) settle(row *tallied, rest *tally, judge judgement) error {
	was := row.count[pendingList]
	only := max(0, row.count[relation.Target]-row.count[relation.Source])
	switch {
	case was == 0:
		return nil // later than the pass's snapshots
	case judge.quiet && only != was:
		return errContradiction
	}
	still := min(was, only)
	c.result.Healed += was - still
	if still == 0 {
		return nil
	}
	if judge.quiet || judge.late && row.suspect {
		c.result.New += still
		c.addSample(&c.sample[relation.Target], row)
		return nil
	}
	return rest.add(pendingList, []byte(row.key), still, judge.late, nil)
}

// conclude says what was established.
func (c *reference) conclude(ctx context.Context, err error, started time.Time) {
	r := &c.result
	r.Complete = err == nil
	switch {
	case r.New > 0 && c.effects.Orphans == Fail || r.Shared > 0 && c.effects.SourceOrphans == Fail:
		r.Verdict = Diverged
	case r.Complete:
		r.Verdict = Match
	}
	r.Duration = time.Since(started)
	r.Sample[relation.Source] = c.sample[relation.Source].items
	r.Sample[relation.Target] = c.sample[relation.Target].items
	if r.New == 0 {
		r.Sample[relation.Target] = c.shared.items
	}
	var parts []string
	if r.New > 0 {
		parts = append(parts, plural(r.New, "orphan")+" that the source does not have")
	}
	if r.Shared > 0 {
		parts = append(parts, plural(r.Shared, "orphan")+" that the source has, too")
	}
	if only := r.Orphans[relation.Source] - r.Shared; only > 0 {
		parts = append(parts, plural(only, "orphan")+" on the source alone")
	}
	if r.Healed > 0 {
		parts = append(parts, plural(r.Healed, "orphan")+" only at the pass's snapshots")
	}
	switch {
	case err != nil:
		parts = append(parts, describeTrouble(ctx, err))
	case r.Way == [2]Way{}:
		parts = append(parts, "not checked: "+r.Reason)
	case len(parts) == 0:
		parts = append(parts, "no orphans")
	}
	if r.Reason != "" && r.Way != [2]Way{} {
		parts = append(parts, r.Reason) // why one side was not asked
	}
	r.Reason = strings.Join(parts, "; ")
}
