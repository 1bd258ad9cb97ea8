package parity

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/verifierd/verifierd/pkg/relation"
)

// Tables names a table on each side, and how the two are compared.
type Tables struct {
	Source, Target relation.Name
	Policy         Policy
	// TargetOnly says that the source was found to have no such table, which was
	// asked for by name all the same. Otherwise one that the source does not
	// have was dropped since.
	TargetOnly bool
}

// Config says what a pass compares and how. Zero fields take the defaults
// named.
type Config struct {
	Tables []Tables
	// Open takes a snapshot of each side.
	Open [2]Opener
	// CountsOnly counts the rows of the tables instead of comparing them. No
	// other checks are made.
	CountsOnly bool
	// PerTable takes a snapshot for each table, and gives it back when the
	// table is done, so that vacuum and DDL are not held up for the whole
	// pass. By default one snapshot serves all tables, which are then
	// consistent with each other.
	PerTable bool
	// Workers is the number of reading connections a side, which bounds how
	// many tables are read at once. Default: 1.
	Workers int
	// MaxRate is how many bytes a second the readers of a side take at most;
	// 0: unbounded. They see to that themselves; a plan reckons with it.
	MaxRate int64
	// Recheck is how long a target may take to catch up before a row that
	// still differs is called divergent. 0: rows are read again at once.
	Recheck time.Duration
	// MaxRows is how many divergent rows of a table the outcome holds.
	MaxRows int
	// AllRows tells the observer of every divergent row. Otherwise it may be
	// told only of those that the outcome holds, which can be much quicker.
	AllRows bool
	// Values says what of a row the outcome may hold. Default: ValuesKeys.
	Values ValuePolicy
	// SpillDir is where temporary files go when very many rows differ.
	// Default: the system's.
	SpillDir string
	// LargeObjects says that large objects count: if there are any, the pass
	// is incomplete, since they are not compared.
	LargeObjects bool
	// References are those that the configuration declares, by the source's
	// names, beside the foreign keys of both schemas.
	References []relation.ForeignKey
	// Also names, for each side, tables that are not compared, but referred to,
	// or members with foreign keys of their own. The snapshots are to serve them.
	Also [2][]relation.Name
	// Renamed names tables of the source that are called otherwise on the target,
	// also those that are not compared.
	Renamed map[relation.Name]relation.Name
	// SkipChecks are the checks that are not made.
	SkipChecks []Check
	// Effects says what the checks' findings do to the verdict.
	Effects Effects
	// Whole says that the tables are all that there are: definitions and
	// sequences that belong to no table are compared, too, but for what
	// Exclude matches.
	Whole   bool
	Exclude []relation.Pattern
	// Comments compares what COMMENT ON says, too.
	Comments bool
	// IgnoreSchema are differences in definition that are not reported.
	IgnoreSchema []relation.ObjectPattern
	// Physical looks for damage in tables and indexes with amcheck.
	Physical bool
	// SchemaOnly compares definitions alone, and reads no row.
	SchemaOnly bool
	// LeafRows is how many rows a leaf aims at. Default: 4096.
	LeafRows int64
	// MemoryRows is how many rows of differing leaves, of both sides together,
	// a worker compares in memory at a time. Default: 65,536.
	MemoryRows int
	// MemoryBytes is how many bytes of differences a table keeps in memory;
	// more go to a temporary file. Default: 1 MiB.
	MemoryBytes int
	// SeedFingerprint, Notes, Skipped and Differences go into the outcome as
	// they are.
	SeedFingerprint string
	Notes           []string
	Skipped         []string
	Differences     []SchemaDifference
	// Observer is told what happens. Default: nobody.
	Observer Observer
}

// pass is a running comparison.
type pass struct {
	open     [2]Opener
	observer Observer
	workers  int
	recheck  time.Duration
	maxRows  int
	allRows  bool
	values   ValuePolicy
	leafRows int64
	spill    spillConfig
	rechecks limiter
	// confirming bounds the tables whose rows are about to be read again.
	confirming limiter
	// sketching bounds the memory of sketches; a table that gets none of it
	// goes without.
	sketching *semaphore.Weighted
	// subscriptions are those of the target at the pass's snapshot.
	subscriptions []relation.Subscription
	// physical says that tables are checked for damage.
	physical bool
	// breaks is what definitions that break do to a table's verdict.
	breaks Effect
	// startedAt is what now() means in policies: on both sides, in all readings.
	startedAt time.Time
	// past says that the source is a baseline: nothing lags behind it.
	past bool
}

// maxConfirming is how many tables may wait to have rows read again. Each keeps
// its differences and, where no index finds them, its trees.
const maxConfirming = 8

// limiter bounds how many of something are under way.
type limiter chan struct{}

func (l limiter) acquire(ctx context.Context) error {
	select {
	case l <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l limiter) release() { <-l }

// Run compares the tables and returns what it established. Trouble of any kind
// is part of the outcome: it makes the pass incomplete, and says why.
func Run(ctx context.Context, config Config) *Pass {
	r := newRunner(config)
	if err := r.compare(ctx); err != nil {
		r.trouble = append(r.trouble, describeTrouble(ctx, err))
	}
	return r.conclude()
}

func newRunner(config Config) *runner {
	r := &runner{
		config: config,
		pass: pass{
			open: config.Open, observer: config.Observer, workers: max(1, config.Workers), recheck: config.Recheck,
			maxRows: config.MaxRows, allRows: config.AllRows, values: config.Values, leafRows: cmp.Or(config.LeafRows, 4096),
			spill: spillConfig{
				limit: cmp.Or(config.MemoryBytes, 1<<20), rows: uint64(cmp.Or(config.MemoryRows, 1<<16)), dir: config.SpillDir,
			},
			// A second reading holds a snapshot and a connection of its own.
			rechecks: make(limiter, 1), confirming: make(limiter, maxConfirming), sketching: semaphore.NewWeighted(sketchBudget),
		},
		result: Pass{
			StartedAt: time.Now(), PerTable: config.PerTable, CountsOnly: config.CountsOnly, SeedFingerprint: config.SeedFingerprint,
			Notes: slices.Clone(config.Notes), Skipped: config.Skipped, NotChecked: config.notChecked(), Schema: slices.Clone(config.Differences),
		},
	}
	r.config.Effects = config.Effects.withDefaults()
	r.result.Effects = r.config.Effects
	r.breaks, r.physical = r.config.Effects.SchemaBreaks, config.Physical
	r.startedAt = r.result.StartedAt
	if r.observer == nil {
		r.observer = NoObserver{}
	}
	if r.values == "" {
		r.values = ValuesKeys
	}
	return r
}

// runner runs one pass.
type runner struct {
	pass
	config  Config
	result  Pass
	trouble []string // what kept the pass as a whole from being complete
	findings
	definitions definitions
	sequences   sequences
	invalid     [2][]relation.InvalidIndex
}

// notCompared begins the reason of a table that the pass did not get to.
const notCompared = "not compared: "

func describeTrouble(ctx context.Context, err error) string {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		if errors.Is(err, context.DeadlineExceeded) {
			return "ran out of time"
		}
		return "interrupted"
	}
	// A joined error has a line for each side.
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}

func (r *runner) compare(ctx context.Context) error {
	if len(r.config.Tables) == 0 {
		return errors.New("no table was selected")
	}
	all := pair{}
	defer all.close()
	names := r.names()
	if r.config.PerTable {
		names = [2][]relation.Name{} // only to look at what concerns the whole database
	}
	if r.config.PerTable && len(r.config.Tables) > 1 {
		r.result.Notes = append(r.result.Notes, "each table was read at a snapshot of its own: what one table refers to in another may differ by what was written meanwhile")
	}
	if err := r.openBoth(ctx, &all, names); err != nil {
		return err
	}
	for _, side := range relation.Sides {
		r.result.Server[side] = sideInfo(all.reader[side])
	}
	if err := r.inspect(ctx, &all); err != nil {
		return err
	}
	if err := r.readInvalidIndexes(ctx, &all); err != nil {
		return err
	}
	r.readSequences(ctx, &all)
	r.readSchema(ctx, &all)
	if r.config.SchemaOnly {
		r.compareForms(ctx, &all)
		r.judgeSchema(ctx)
		return ctx.Err()
	}
	var references []*reference
	if r.config.checks(CheckOrphans) {
		var err error
		if references, err = r.planReferences(ctx, &all); err != nil {
			r.incomplete = append(r.incomplete, "orphans were not looked for: "+describeTrouble(ctx, err))
		}
	}
	r.start(&all)
	if r.config.PerTable {
		all.close() // it has been looked at; each table has its own
	}
	if r.config.CountsOnly {
		r.countAll(ctx, &all)
		return ctx.Err()
	}
	r.compareAll(ctx, &all, references)
	r.judgeSequences(ctx)
	r.judgeSchema(ctx)
	return ctx.Err()
}

// names are the tables that the snapshots are to serve.
func (r *runner) names() [2][]relation.Name {
	names := r.selected()
	for side, also := range r.config.Also {
		for _, name := range also {
			if !slices.Contains(names[side], name) {
				names[side] = append(names[side], name)
			}
		}
	}
	return names
}

// selected are the tables that are compared.
func (r *runner) selected() [2][]relation.Name {
	var names [2][]relation.Name
	for _, t := range r.config.Tables {
		names[relation.Source] = append(names[relation.Source], t.Source)
		names[relation.Target] = append(names[relation.Target], t.Target)
	}
	return names
}

// openBoth takes the snapshots of both sides at about the same time.
func (r *runner) openBoth(ctx context.Context, p *pair, names [2][]relation.Name) error {
	var failed [2]error
	var wg sync.WaitGroup
	for _, side := range relation.Sides {
		wg.Go(func() {
			reader, err := r.open[side](ctx, names[side])
			if err != nil {
				failed[side] = fmt.Errorf("take a snapshot of the %s: %w", side, err)
				return
			}
			p.reader[side] = reader
		})
	}
	wg.Wait()
	return errors.Join(failed[:]...)
}

func sideInfo(reader Reader) SideInfo {
	s, m := reader.Server(), reader.Moment()
	return SideInfo{Version: s.Version, Database: s.Database, LSN: m.LSNText, Standby: s.Standby, SnapshotAt: m.TakenAt}
}

// inspect looks at what concerns the databases rather than a table.
func (r *runner) inspect(ctx context.Context, all *pair) error {
	replication, err := all.reader[relation.Target].Replication(ctx)
	if err != nil {
		return fmt.Errorf("inspect the target: %w", err)
	}
	r.subscriptions = replication.Subscriptions
	if replication.Unknown {
		r.result.Notes = append(r.result.Notes, "the role may not see the target's subscriptions: rows that differ wait for the whole recheck window")
	}
	for _, side := range relation.Sides {
		if all.reader[side].Server().Standby {
			r.result.Notes = append(r.result.Notes, fmt.Sprintf("the %s is a standby: a long read may be cancelled by recovery unless hot_standby_feedback is on or replay is paused", side))
		}
		found, err := all.reader[side].LargeObjects(ctx)
		if err != nil {
			return fmt.Errorf("inspect the %s: %w", side, err)
		}
		switch {
		case found && r.config.LargeObjects:
			r.trouble = append(r.trouble, fmt.Sprintf("the %s holds large objects, which are not compared; declare that with --ignore-large-objects", side))
		case found:
			r.result.NotChecked = append(r.result.NotChecked, fmt.Sprintf("large objects, which the %s holds", side))
		}
	}
	return nil
}

func (r *runner) start(all *pair) {
	start := PassStart{StartedAt: r.result.StartedAt, Server: r.result.Server, Tables: len(r.config.Tables)}
	var expected expectation
	for _, names := range r.config.Tables {
		source, sourceErr := all.reader[relation.Source].Table(names.Source)
		target, targetErr := all.reader[relation.Target].Table(names.Target)
		if sourceErr == nil && targetErr == nil {
			add := expected.add
			if names.Policy.Where != [2]string{} {
				add = expected.guess
			}
			add([2]*relation.Table{source, target})
		}
	}
	start.Rows, start.Bytes = expected.total(), expected.bytes
	r.observer.PassStarted(start)
}

// compareAll compares the tables in order, several at once: while the
// last chunks of one are read, the workers that are free begin the next.
func (r *runner) compareAll(ctx context.Context, all *pair, references []*reference) {
	r.result.Tables = make([]Table, len(r.config.Tables))
	comparisons := make([]*comparison, len(r.config.Tables))
	bySource := make(map[relation.Name]*comparison)
	for i, names := range r.config.Tables {
		comparisons[i] = &comparison{
			pass: &r.pass, policy: names.Policy, targetOnly: names.TargetOnly, ignore: r.config.IgnoreSchema,
			reported: lowest[Divergence]{limit: r.maxRows}, scanEnded: make(chan struct{}),
		}
		bySource[names.Source] = comparisons[i]
	}
	defer r.checkReferences(ctx, references, all, bySource)()
	schema := make([][]SchemaDifference, len(r.config.Tables))
	reading := make(limiter, r.workers+1)
	var wg sync.WaitGroup
	for i, names := range r.config.Tables {
		c := comparisons[i]
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
			c.finishScan()
			finish()
			continue
		}
		wg.Go(func() {
			defer finish()
			started = time.Now()
			r.compareOne(ctx, c, all, reading.release)
		})
	}
	wg.Wait()
	for i, s := range schema {
		r.result.Schema = append(r.result.Schema, s...)
		r.formed(comparisons[i])
		r.result.Corruption = append(r.result.Corruption, comparisons[i].corrupt...)
		for _, gap := range comparisons[i].unchecked {
			// What is missing is so for all tables alike.
			if gap = "damage was not looked for everywhere: " + gap; !slices.Contains(r.incomplete, gap) {
				r.incomplete = append(r.incomplete, gap)
			}
		}
	}
}

// compareOne compares one table. It calls release when the table has been
// read, before rows that differ are read again: that may take a while, and
// other tables need not wait for it.
func (r *runner) compareOne(ctx context.Context, c *comparison, all *pair, release func()) {
	c.at = *all
	if r.config.PerTable {
		c.at = pair{}
		err := r.openBoth(ctx, &c.at, [2][]relation.Name{{c.result.Name}, {c.result.TargetName}})
		defer c.at.close()
		if err != nil {
			c.fail(err)
			c.finishScan()
			release()
			return
		}
	}
	for _, side := range relation.Sides {
		c.moment[side] = c.at.reader[side].Moment()
	}
	c.scan(ctx)
	c.finishScan()
	c.checkPhysically(ctx)
	if r.config.PerTable {
		c.at.close()
	}
	// What waits to be read again takes memory; so there is a bound, and beyond
	// it reading waits, too.
	err := r.confirming.acquire(ctx)
	release()
	if err != nil {
		c.fail(err)
	} else {
		defer r.confirming.release()
	}
	if c.candidates != nil {
		c.confirm(ctx)
	}
	c.confirmSchema(ctx)
}

// conclude derives the pass's verdict from its tables'.
func (r *runner) conclude() *Pass {
	p := &r.result
	var diverged, incomplete, filteredOut []string
	var rows int64
	for i := range p.Tables {
		t := &p.Tables[i]
		if t.Verdict == Diverged {
			diverged = append(diverged, t.Name.String()+": "+t.Reason)
		} else if !t.Complete && !slices.Contains(r.trouble, strings.TrimPrefix(t.Reason, notCompared)) {
			incomplete = append(incomplete, t.Name.String()+": "+t.Reason)
		}
		if t.FilteredOut() {
			filteredOut = append(filteredOut, t.Name.String())
		}
		rows += t.Side[relation.Source].Rows
	}
	if len(filteredOut) > 0 {
		p.Notes = append(slices.Clone(p.Notes), fmt.Sprintf("no row fulfils the condition in the policy of %s: is it right?", summarise(filteredOut)))
	}
	r.countDefinitions()
	r.noteInvalidIndexes()
	for i := range p.Corruption {
		d := &p.Corruption[i]
		r.found(r.config.Effects.Corruption, fmt.Sprintf("%s of the %s is damaged", d.Object, d.Side))
	}
	p.Warnings = r.warnings
	p.Complete = len(r.trouble) == 0 && len(r.incomplete) == 0 && !slices.ContainsFunc(p.Tables, func(t Table) bool { return !t.Complete })
	diverged = append(diverged, r.diverged...)
	unsure := slices.Concat(r.trouble, incomplete, r.incomplete)
	switch {
	case len(diverged) > 0:
		p.Verdict = Diverged
		p.Reason = summarise(diverged)
		if len(unsure) > 0 {
			p.Reason += "; not complete: " + summarise(unsure)
		}
	case !p.Complete:
		p.Verdict = Incomplete
		p.Reason = summarise(unsure)
	default:
		p.Verdict = Match
		p.Reason = r.matchReason(rows, filteredOut)
	}
	p.FinishedAt = time.Now()
	return p
}

func (r *runner) matchReason(rows int64, filteredOut []string) string {
	p := &r.result
	if r.config.SchemaOnly {
		return fmt.Sprintf("no difference that breaks among the definitions of %s", countTables(len(r.config.Tables)))
	}
	suffix := underPolicy(slices.ContainsFunc(p.Tables, func(t Table) bool { return len(t.Unverified) > 0 }))
	healed := slices.ContainsFunc(p.Tables, func(t Table) bool { return t.Divergences.Healed > 0 })
	switch {
	case p.CountsOnly:
		return fmt.Sprintf("%s with %s: both sides have as many; the rows were not compared", countTables(len(p.Tables)), countRows(rows))
	case rows == 0 && len(filteredOut) > 0:
		return fmt.Sprintf("%s, nothing to compare: no row fulfils the condition of %s", countTables(len(p.Tables)), summarise(filteredOut))
	case rows == 0:
		return fmt.Sprintf("%s, all of them empty: there was nothing to compare", countTables(len(p.Tables))) + suffix
	case healed:
		return fmt.Sprintf("%s in %s %s equal, but not all at one snapshot", countRows(rows), countTables(len(p.Tables)), are(rows)) + suffix
	}
	return fmt.Sprintf("%s in %s %s identical", countRows(rows), countTables(len(p.Tables)), are(rows)) + suffix
}

func countTables(n int) string { return plural(int64(n), "table") }

// summarise joins the first few reasons.
func summarise(reasons []string) string {
	const most = 3
	if len(reasons) <= most {
		return strings.Join(reasons, "; ")
	}
	return fmt.Sprintf("%s; and %s more", strings.Join(reasons[:most], "; "), count(int64(len(reasons)-most)))
}
