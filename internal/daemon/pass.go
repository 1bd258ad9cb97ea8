// Package daemon joins the two sides: it connects to both databases, selects
// the tables, and runs passes over them.
package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/verifierd/verifierd/pkg/parity"
	"github.com/verifierd/verifierd/pkg/relation"
	"github.com/verifierd/verifierd/pkg/rowhash"
	"github.com/verifierd/verifierd/pkg/snapshot"
)

// Options say what one pass compares and how. Zero fields take the defaults
// named.
type Options struct {
	// DSN are libpq connection strings.
	DSN [2]string
	// Tables and Exclude select tables by the source's names. No Tables: all
	// that users made.
	Tables, Exclude []relation.Pattern
	// Groups, if any, stand in place of Tables and Exclude: a table is
	// compared if one of them selects it, whatever the others exclude.
	Groups []Group
	// Map names tables that are called otherwise on the target.
	Map map[relation.Name]relation.Name
	// MapOthers lets Map name tables that are not selected: it was made for
	// more tables than these.
	MapOthers bool
	// References are foreign keys that the schema does not hold, by the source's
	// names. What refers must be selected.
	References []relation.ForeignKey
	// Policies say how tables are compared, by the source's names, where the
	// defaults do not serve. Each must be of a table that is selected.
	Policies map[relation.Name]Policy

	Workers            int               // connections a side that read; default: snapshot.DefaultWorkers
	Read               snapshot.ReadMode // default: snapshot.Fast
	CountsOnly         bool              // count rows instead of comparing them, and check nothing else
	PerTable           bool              // a snapshot a table rather than one for all
	Timeout            time.Duration     // ends the pass, which is then incomplete; 0: none
	Recheck            time.Duration     // how long the target may take to catch up
	MaxRate            int64             // bytes a second and side; 0: unbounded
	StallTimeout       time.Duration     // default: 60 s
	MaxDivergences     int               // rows named in the outcome, a table
	AllDivergences     bool              // the observer is told of all of them
	Values             parity.ValuePolicy
	IgnoreLargeObjects bool
	SkipChecks         []parity.Check
	Effects            Effects // what the checks' findings do to the verdict
	IgnoreSchema       []relation.ObjectPattern
	Comments           bool // what COMMENT ON says is compared, too
	Physical           bool // tables and indexes are checked for damage with amcheck
	SchemaOnly         bool // definitions alone are compared
	SpillDir           string

	Observer parity.Observer

	tuning tuning
}

// Group is a set of tables. Tables is never empty.
type Group struct {
	Tables, Exclude []relation.Pattern
}

// Policy says how one table is compared.
type Policy = parity.Policy

// Effects says what the checks' findings do to the verdict.
type Effects = parity.Effects

// Effect is what a finding does to the verdict.
type Effect = parity.Effect

// tuning holds sizes that tests make small, so that small tables take the ways
// of large ones.
type tuning struct {
	chunkBytes, leafRows    int64
	memoryRows, memoryBytes int
}

// Verify runs one pass. Trouble with the databases is part of the outcome,
// which is then incomplete and says why.
func Verify(ctx context.Context, o Options) *parity.Pass {
	started := time.Now()
	ctx, cancel := o.bound(ctx)
	defer cancel()
	pass, err := verify(ctx, o)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = errTimeout
	}
	if err != nil {
		return &parity.Pass{Reason: reason(err), StartedAt: started, FinishedAt: time.Now()}
	}
	return pass
}

var errTimeout = errors.New("ran out of time")

// bound returns a context that ends with the options' time limit.
func (o *Options) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if o.Timeout > 0 {
		return context.WithTimeout(ctx, o.Timeout)
	}
	return context.WithCancel(ctx)
}

func reason(err error) string {
	if errors.Is(err, context.Canceled) {
		return "interrupted"
	}
	// A joined error has a line for each side.
	return strings.Join(strings.Split(err.Error(), "\n"), "; ")
}

func verify(ctx context.Context, o Options) (*parity.Pass, error) {
	seed, err := rowhash.NewSeed()
	if err != nil {
		return nil, err
	}
	db, err := connect(ctx, o, seed)
	if err != nil {
		return nil, err
	}
	defer db.close()
	selected, err := db.choose(ctx, o)
	if err != nil {
		return nil, err
	}
	pass := parity.Run(ctx, db.config(o, selected, seed))
	db.noteLargeRows(pass)
	return pass, nil
}

func (db *databases) noteLargeRows(pass *parity.Pass) {
	for side, d := range db.side {
		if d == nil {
			continue
		}
		if n := d.LargeRows(); n > 0 {
			pass.Notes = append(pass.Notes, fmt.Sprintf("%d very large rows on the %s were read by one worker at a time", n, relation.Side(side)))
		}
	}
}

func (db *databases) config(o Options, selected *selection, seed uint64) parity.Config {
	whole := len(o.Tables) == 0 && len(o.Groups) == 0
	if o.SchemaOnly {
		o.SkipChecks = []parity.Check{parity.CheckOrphans, parity.CheckSequences}
	}
	return parity.Config{
		Tables: selected.tables, Open: [2]parity.Opener{db.opener(relation.Source), db.opener(relation.Target)},
		CountsOnly: o.CountsOnly, PerTable: o.PerTable, Workers: db.workers, MaxRate: o.MaxRate, Recheck: o.Recheck, MaxRows: o.MaxDivergences,
		AllRows: o.AllDivergences, Values: o.Values,
		SpillDir: o.SpillDir, LargeObjects: whole && !o.IgnoreLargeObjects && !o.SchemaOnly && !o.CountsOnly,
		SeedFingerprint: rowhash.Fingerprint(seed), Notes: append(db.notes, selected.notes...), Skipped: selected.skipped,
		Differences: selected.differences, SkipChecks: o.SkipChecks, Effects: o.Effects, Observer: o.Observer,
		References: o.References, Also: selected.also, Renamed: o.Map,
		Whole: whole, Exclude: o.Exclude, Comments: o.Comments, IgnoreSchema: o.IgnoreSchema, Physical: o.Physical, SchemaOnly: o.SchemaOnly,
		LeafRows: o.tuning.leafRows, MemoryRows: o.tuning.memoryRows, MemoryBytes: o.tuning.memoryBytes,
	}
}

// Plan says what Verify with the same options would read, and reads no table
// wholly.
func Plan(ctx context.Context, o Options) (*parity.Plan, error) {
	ctx, cancel := o.bound(ctx)
	defer cancel()
	plan, err := makePlan(ctx, o)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = errTimeout
	}
	return plan, err
}

func makePlan(ctx context.Context, o Options) (*parity.Plan, error) {
	seed, err := rowhash.NewSeed()
	if err != nil {
		return nil, err
	}
	db, err := connect(ctx, o, seed)
	if err != nil {
		return nil, err
	}
	defer db.close()
	selected, err := db.choose(ctx, o)
	if err != nil {
		return nil, err
	}
	return parity.MakePlan(ctx, db.config(o, selected, seed))
}

// databases are the two sides of a pass.
type databases struct {
	side    [2]*snapshot.Database
	workers int
	notes   []string
}

func connect(ctx context.Context, o Options, seed uint64) (*databases, error) {
	db := newDatabases(o)
	var failed [2]error
	var wg sync.WaitGroup
	for _, side := range relation.Sides {
		wg.Go(func() { failed[side] = db.connect(ctx, o, seed, side) })
	}
	wg.Wait()
	if err := errors.Join(failed[:]...); err != nil {
		db.close()
		return nil, err
	}
	if err := db.tellApart(ctx); err != nil {
		db.close()
		return nil, err
	}
	return db, nil
}

func newDatabases(o Options) *databases {
	return &databases{workers: cmp.Or(o.Workers, snapshot.DefaultWorkers())}
}

// connect connects to one side.
func (db *databases) connect(ctx context.Context, o Options, seed uint64, side relation.Side) error {
	d, err := snapshot.Connect(ctx, snapshot.Config{
		ConnString: o.DSN[side], Workers: db.workers, Read: o.Read, Seed: seed,
		MaxRate: o.MaxRate, StallTimeout: o.StallTimeout, ChunkBytes: o.tuning.chunkBytes,
	})
	if err != nil {
		return fmt.Errorf("connect to the %s: %w", side, err)
	}
	db.side[side] = d
	return nil
}

func (db *databases) close() {
	for _, d := range db.side {
		if d != nil {
			d.Close()
		}
	}
}

// tellApart refuses to compare a database with itself, or a standby with its
// primary: both agree whatever was migrated.
func (db *databases) tellApart(ctx context.Context) error {
	source, target := db.side[0].Server(), db.side[1].Server()
	if source.SystemIdentifier != target.SystemIdentifier {
		return nil
	}
	same, err := snapshot.SameInstance(ctx, db.side[0], db.side[1])
	switch {
	case err != nil:
		return err
	case same && source.DatabaseOID == target.DatabaseOID:
		return fmt.Errorf("source and target are the same database %s of the same server", relation.QuoteIdent(source.Database))
	case same:
		db.notes = append(db.notes, "source and target are two databases of one server")
	case source.Standby || target.Standby:
		return errors.New("one side is a standby of the other or of its clone, or both are of one primary: to compare them says nothing about a migration")
	default:
		db.notes = append(db.notes, "source and target have the same system identifier: one is a clone of the other")
	}
	return nil
}

func (db *databases) opener(side relation.Side) parity.Opener {
	return func(ctx context.Context, names []relation.Name) (parity.Reader, error) {
		s, err := db.side[side].Open(ctx, side, names)
		if err != nil {
			return nil, err // not s: a nil *Snapshot is no nil Reader
		}
		return s, nil
	}
}

// selection is what a pass is going to compare, and what not.
type selection struct {
	tables      []parity.Tables
	skipped     []string
	notes       []string
	differences []parity.SchemaDifference
	// also are, for each side, tables that foreign keys of the selected ones lead
	// to, and members that have some of their own.
	also [2][]relation.Name
}

// choose selects the tables by the source's names.
func (db *databases) choose(ctx context.Context, o Options) (*selection, error) {
	var lists [2][]snapshot.Listed
	for _, side := range relation.Sides {
		var err error
		if lists[side], err = db.side[side].List(ctx); err != nil {
			return nil, fmt.Errorf("list tables of the %s: %w", side, err)
		}
	}
	s, err := selectTables(lists, o)
	if err != nil || o.CountsOnly || o.SchemaOnly || slices.Contains(o.SkipChecks, parity.CheckOrphans) {
		return s, err
	}
	return s, db.followReferences(ctx, o, s, lists[relation.Source])
}

// followReferences notes the tables that must be open for orphans to be looked
// for, on both sides: each is asked for what the other one declares, too.
func (db *databases) followReferences(ctx context.Context, o Options, s *selection, source []snapshot.Listed) error {
	toTarget, toSource := maps.Clone(o.Map), make(map[relation.Name]relation.Name)
	if toTarget == nil {
		toTarget = make(map[relation.Name]relation.Name)
	}
	var names [2][]relation.Name
	for _, t := range s.tables {
		names[relation.Source], names[relation.Target] = append(names[relation.Source], t.Source), append(names[relation.Target], t.Target)
		toTarget[t.Source] = t.Target
	}
	for from, to := range toTarget {
		toSource[to] = from
	}
	add := func(side relation.Side, name relation.Name) {
		there, mapped := [2]map[relation.Name]relation.Name{toTarget, toSource}[side][name]
		if !mapped {
			there = name
		}
		for side, name := range map[relation.Side]relation.Name{side: name, side.Other(): there} {
			if !slices.Contains(names[side], name) {
				names[side] = append(names[side], name)
				s.also[side] = append(s.also[side], name)
			}
		}
	}
	selected := [2][]relation.Name{slices.Clone(names[0]), slices.Clone(names[1])}
	for _, side := range relation.Sides {
		keys, err := db.side[side].ForeignKeys(ctx, selected[side])
		if err != nil {
			return fmt.Errorf("on the %s: %w", side, err)
		}
		for i := range keys {
			add(side, keys[i].Table)
			add(side, keys[i].References)
		}
	}
	var from []relation.Name
	for _, k := range o.References {
		if !slices.ContainsFunc(source, func(l snapshot.Listed) bool { return l.Name == k.References }) {
			return fmt.Errorf("references of %s: the source has no table %s", k.Table, k.References)
		}
		add(relation.Source, k.References)
		from = append(from, k.Table)
	}
	return checkSelected(source, s.tables, "references", from)
}

func selectTables(lists [2][]snapshot.Listed, o Options) (*selection, error) {
	s := &selection{}
	for _, g := range o.Groups {
		o.Tables, o.Exclude = slices.Concat(o.Tables, g.Tables), slices.Concat(o.Exclude, g.Exclude)
	}
	onTarget := make(map[relation.Name]bool) // expected there
	from := make(map[relation.Name]relation.Name)
	used := make([]bool, len(o.Tables))
	for name, target := range o.Map {
		if !slices.ContainsFunc(lists[0], func(l snapshot.Listed) bool { return l.Name == name }) {
			return nil, fmt.Errorf("map of %s to %s: the source has no table %[1]s", name, target)
		}
	}
	partOf := families(lists[relation.Source])
	for _, l := range lists[relation.Source] {
		target, mapped := o.Map[l.Name]
		if !mapped {
			target = l.Name
		}
		onTarget[target] = true
		if s.wants(l, o, used, partOf) {
			if other, taken := from[target]; taken {
				return nil, fmt.Errorf("%s and %s are both compared with %s of the target; leave one out or map it elsewhere", other, l.Name, target)
			}
			from[target] = l.Name
			s.tables = append(s.tables, parity.Tables{Source: l.Name, Target: target, Policy: o.Policies[l.Name]})
		}
	}
	for _, l := range lists[relation.Target] {
		if onTarget[l.Name] || !wanted(l, o, used) {
			continue
		}
		// A name that is mapped is the source's: its namesake here is another
		// table.
		_, mapped := o.Map[l.Name]
		if !mapped && slices.ContainsFunc(o.Tables, func(p relation.Pattern) bool { return names(p, l.Name) }) {
			s.tables = append(s.tables, parity.Tables{Source: l.Name, Target: l.Name, TargetOnly: true})
			continue
		}
		s.differences = append(s.differences, extraTable(l.Name))
	}
	for i, p := range o.Exclude {
		matches := func(l snapshot.Listed) bool { return p.Match(l.Name) }
		if !slices.Contains(o.Exclude[:i], p) && !slices.ContainsFunc(slices.Concat(lists[0], lists[1]), matches) {
			s.notes = append(s.notes, fmt.Sprintf("exclude %s matches nothing on either side: is it misspelt?", p))
		}
	}
	for i, p := range o.Tables {
		if used[i] {
			continue
		}
		if slices.ContainsFunc(lists[relation.Source], func(l snapshot.Listed) bool { return p.Match(l.Name) }) {
			return nil, fmt.Errorf("pattern %s selects nothing by itself: partitions are compared with their table, and views only when named without *", p)
		}
		return nil, fmt.Errorf("pattern %s selects nothing: is it misspelt?", p)
	}
	if len(s.tables) == 0 {
		return nil, errors.New("no table was selected: the source has none that users made, or all are excluded")
	}
	err := checkSelected(lists[relation.Source], s.tables, "columns", slices.Collect(maps.Keys(o.Policies)))
	if err == nil && !o.MapOthers {
		// What is mapped and excluded is another matter: that its counterpart
		// is no table of the target's own is worth saying.
		mapped := slices.DeleteFunc(slices.Collect(maps.Keys(o.Map)), func(n relation.Name) bool { return matchAny(o.Exclude, n) })
		err = checkSelected(lists[relation.Source], s.tables, "map", mapped)
	}
	return s, err
}

// checkSelected refuses what is said of a table that is not compared: whoever
// wrote it takes the table for compared.
func checkSelected(source []snapshot.Listed, selected []parity.Tables, what string, of []relation.Name) error {
	slices.SortFunc(of, relation.Name.Compare)
	for _, name := range of {
		at := slices.IndexFunc(source, func(l snapshot.Listed) bool { return l.Name == name })
		switch {
		case at < 0:
			return fmt.Errorf("%s of %s: the source has no such table", what, name)
		case slices.ContainsFunc(selected, func(t parity.Tables) bool { return t.Source == name }):
		case source[at].Part:
			return fmt.Errorf("%s of %s: it is read as a part of another table; say it for that one", what, name)
		default:
			return fmt.Errorf("%s of %s: the table is not selected; select it, or leave this out", what, name)
		}
	}
	return nil
}

// wants is wanted, and notes why a relation that one might expect is left out.
func (s *selection) wants(l snapshot.Listed, o Options, used []bool, partOf map[relation.Name][]snapshot.Listed) bool {
	if wanted(l, o, used) {
		return true
	}
	if l.Extension != "" && len(o.Tables) == 0 {
		s.skipped = append(s.skipped, fmt.Sprintf("%s: it belongs to extension %s", l.Name, l.Extension))
	} else if l.Kind == relation.View || l.Kind == relation.MatView {
		if len(o.Tables) == 0 {
			s.skipped = append(s.skipped, fmt.Sprintf("%s: a %s is compared only when it is named", l.Name, l.Kind))
		}
	} else if slices.ContainsFunc(o.Exclude, func(p relation.Pattern) bool { return p.Match(l.Name) }) {
		if readWithOthers(l, o, used, partOf) {
			s.skipped = append(s.skipped, fmt.Sprintf("%s: excluded by name, but its rows are read with its table", l.Name))
		} else {
			s.skipped = append(s.skipped, fmt.Sprintf("%s: excluded", l.Name))
		}
	}
	return false
}

// families returns the parents of each relation that inherits.
func families(list []snapshot.Listed) map[relation.Name][]snapshot.Listed {
	byName := make(map[relation.Name]snapshot.Listed, len(list))
	for _, l := range list {
		byName[l.Name] = l
	}
	partOf := make(map[relation.Name][]snapshot.Listed)
	for _, l := range list {
		for _, parent := range l.Parents {
			partOf[l.Name] = append(partOf[l.Name], byName[parent])
		}
	}
	return partOf
}

// readWithOthers reports whether a relation's rows are read as another's, of
// which it is a partition or an heir.
func readWithOthers(l snapshot.Listed, o Options, used []bool, partOf map[relation.Name][]snapshot.Listed) bool {
	return slices.ContainsFunc(partOf[l.Name], func(parent snapshot.Listed) bool {
		return wanted(parent, o, used) || readWithOthers(parent, o, used, partOf)
	})
}

// wanted reports whether the options select a relation, and marks the patterns
// that do.
func wanted(l snapshot.Listed, o Options, used []bool) bool {
	if l.Temporary {
		return false
	}
	groups := o.Groups
	if len(groups) == 0 {
		groups = []Group{{o.Tables, o.Exclude}}
	}
	if len(o.Tables) == 0 {
		return !matchAny(o.Exclude, l.Name) && l.Extension == "" && !l.Part && l.Kind != relation.View && l.Kind != relation.MatView
	}
	selected := false
	i := 0 // in o.Tables, which holds the groups' patterns in their order
	for _, g := range groups {
		excluded := matchAny(g.Exclude, l.Name)
		for _, p := range g.Tables {
			// What is read as part of another relation, or computed from
			// others, is compared by itself only when it is named.
			byName := l.Part || l.Kind == relation.View || l.Kind == relation.MatView
			if p.Match(l.Name) && (!byName || names(p, l.Name)) {
				used[i], selected = true, selected || !excluded
			}
			i++
		}
	}
	return selected
}

func matchAny(patterns []relation.Pattern, n relation.Name) bool {
	return slices.ContainsFunc(patterns, func(p relation.Pattern) bool { return p.Match(n) })
}

// names reports whether the pattern names that relation and no other.
func names(p relation.Pattern, n relation.Name) bool {
	name, exact := p.Exact()
	return exact && name == n
}

// CheckSpillDir reports an error if temporary files cannot be made there.
func CheckSpillDir(dir string) error {
	f, err := os.CreateTemp(dir, "verifierd-*")
	if err != nil {
		return fmt.Errorf("directory for temporary files: %w", err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}
