package parity

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/verifierd/verifierd/pkg/relation"
)

// Plan says what a pass would read, and what would stand in its way.
type Plan struct {
	Server [2]SideInfo
	Tables []PlannedTable
	Locks  [2]relation.LockBudget
	// Sample is the read rate measured for a moment; zero when nothing could
	// be sampled.
	Sample [2]relation.Rate
	// Expected is the time that the pass would take at the sampled rate, or at
	// the rate that bounds it; zero when unknown, which Unknown explains.
	Expected time.Duration
	Unknown  string
	// Guessed says that Expected rests on a guess: the table that was sampled
	// was never analyzed.
	Guessed bool
	// References are the foreign keys whose orphans would be looked for.
	References []PlannedReference
	// Problems would make the pass incomplete; each names what mends it.
	Problems []string
	// Notes are what a DBA should know before the pass: what it evicts,
	// what a standby or an old version limits.
	Notes   []string
	Skipped []string
	// Schema holds the differences known from the list of tables alone: tables
	// that only the target has.
	Schema []SchemaDifference
}

// PlannedTable is a table as a pass would read it.
type PlannedTable struct {
	Name, TargetName relation.Name
	Kind             relation.Kind
	Key              []string // empty: keyless
	Leaves           int
	Compare          string // how leaves are formed, for people
	Side             [2]PlannedSide
	Problems         []string
	Unverified       []string // what the policy leaves out, a sentence each
	Notes            []string
}

// PlannedReference is a foreign key as a pass would check it.
type PlannedReference struct {
	Name       string
	ForeignKey relation.ForeignKey // by the source's names
	Problems   []string
}

// PlannedSide is one side of a planned table.
type PlannedSide struct {
	Members int
	Rows    int64 // estimated; -1 when unknown
	Guessed bool  // whether Rows is a guess from Bytes: the table was never analyzed
	Bytes   int64 // main forks, on disk
	Chunks  int
	Reading string // how it is chunked, for people: "block ranges of 32 MiB"
}

// sampleFor is how long the read rate is sampled.
const sampleFor = time.Second

// MakePlan says what a pass with the same configuration would read. It reads
// no table wholly.
func MakePlan(ctx context.Context, config Config) (*Plan, error) {
	if len(config.Tables) == 0 {
		return nil, errors.New("no table was selected")
	}
	r := newRunner(config)
	p := &planner{runner: r, plan: &Plan{Notes: slices.Clone(config.Notes), Skipped: config.Skipped, Schema: config.Differences}}
	defer p.at.close()
	if err := p.openAll(ctx); err != nil {
		return nil, err
	}
	if err := p.inspect(ctx, &p.at); err != nil {
		return nil, err
	}
	p.plan.Problems = append(p.plan.Problems, p.trouble...)
	for _, side := range relation.Sides {
		p.plan.Server[side] = sideInfo(p.at.reader[side])
		if !p.overBudget {
			p.plan.Locks[side] = p.at.reader[side].Locks()
		}
	}
	if p.overBudget {
		p.plan.Unknown = "the tables cannot be looked at together"
		return p.plan, nil
	}
	for _, names := range config.Tables {
		if err := p.addTable(ctx, names); err != nil {
			return nil, err
		}
	}
	if config.checks(CheckOrphans) {
		if err := p.addReferences(ctx); err != nil {
			return nil, err
		}
	}
	if err := p.sampleRate(ctx); err != nil {
		return nil, err
	}
	p.explainUnknown()
	p.note()
	return p.plan, nil
}

// planner makes a plan.
type planner struct {
	*runner
	plan *Plan
	at   pair
	// largest is the table whose reading is sampled.
	largest  *comparison
	readable bool // whether there is a table that can be read
	bytes    [2]int64
	// overBudget says that the tables take more locks than a server can spare.
	overBudget bool
}

// openAll takes a snapshot for all tables, or for none if that takes more locks
// than a server can spare, which is what a plan is there to tell.
func (p *planner) openAll(ctx context.Context) error {
	err := p.openBoth(ctx, &p.at, p.names())
	var budget *relation.LockBudgetError
	if !errors.As(err, &budget) {
		return err
	}
	p.at.close()
	p.overBudget = true
	p.plan.Locks[budget.Side] = budget.Budget
	p.plan.Problems = append(p.plan.Problems, budget.Error())
	return p.openBoth(ctx, &p.at, [2][]relation.Name{})
}

func (p *planner) addTable(ctx context.Context, names Tables) error {
	c := &comparison{pass: &p.pass, policy: names.Policy, targetOnly: names.TargetOnly, at: p.at}
	c.result.Name, c.result.TargetName = names.Source, names.Target
	t := PlannedTable{Name: names.Source, TargetName: names.Target, Side: [2]PlannedSide{{Rows: -1}, {Rows: -1}}}
	readable := c.resolve(ctx)
	t.Problems = append(t.Problems, c.incomplete...)
	for i := range c.schema {
		t.Notes = append(t.Notes, describeDifference(&c.schema[i]))
	}
	t.Notes = append(t.Notes, c.result.Notes...)
	t.Unverified = c.result.Unverified
	for _, side := range []relation.Side{relation.Target, relation.Source} {
		if c.at.table[side] != nil {
			t.Kind = c.at.table[side].Kind
		}
	}
	if readable {
		p.readable = true
		leaves, err := c.planLeaves(ctx)
		if err != nil {
			return err
		}
		t.Key, t.Leaves, t.Compare = c.result.Key, leaves.Leaves(), describeLeaves(&c.planned.Form, leaves)
		for _, side := range relation.Sides {
			if err := p.addSide(ctx, &t, c.at.table[side], side, c.rules.where[side]); err != nil {
				return err
			}
		}
		// How fast the rows that fulfil a condition arrive says nothing of others.
		if names.Policy.Where == [2]string{} && (p.largest == nil || p.size(p.largest) < p.size(c)) {
			p.largest = c
		}
	}
	p.plan.Tables = append(p.plan.Tables, t)
	return nil
}

// addReferences lists the foreign keys, and what stands in the way of checking
// them.
func (p *planner) addReferences(ctx context.Context) error {
	list, err := p.planReferences(ctx, &p.at)
	if err != nil {
		return err
	}
	compared := make(map[relation.Name]*comparison)
	for _, names := range p.config.Tables {
		compared[names.Source] = &comparison{}
	}
	for _, c := range list {
		c.at = p.at
		k := &c.result.ForeignKey[relation.Source]
		c.child, c.parent = compared[k.Table], compared[k.References]
		planned := PlannedReference{Name: c.result.Name(), ForeignKey: *k}
		for _, side := range relation.Sides {
			if err := c.resolve(ctx, side); err != nil {
				planned.Problems = append(planned.Problems, err.Error())
			}
		}
		p.plan.References = append(p.plan.References, planned)
	}
	return nil
}

// describeDifference says what a difference in definition makes of a pass.
func describeDifference(d *SchemaDifference) string {
	text := d.Object + " " + schemaVerb(d.Kind)
	switch d.Kind {
	case "missing":
		text += " on the target"
	case "extra":
		text = d.Object + " exists on the target only"
	}
	if breaks(*d) {
		text += ": the pass would be diverged"
	}
	return text
}

func (p *planner) size(c *comparison) int64 { return c.at.table[0].Bytes() + c.at.table[1].Bytes() }

func (p *planner) addSide(ctx context.Context, planned *PlannedTable, t *relation.Table, side relation.Side, where string) error {
	chunks, err := p.at.reader[side].Chunks(ctx, t)
	if err != nil {
		return err
	}
	s := &planned.Side[side]
	rows, guessed := estimateRows(t)
	s.Members, s.Rows, s.Bytes, s.Chunks = len(t.Members), rows, t.Bytes(), len(chunks)
	s.Guessed = !mostlyKnown(rows, guessed)
	switch {
	case where != "":
		s.Rows, s.Guessed = -1, false // statistics do not say how many fulfil it
	case s.Guessed && rows == 0:
		s.Rows = -1 // a view
	}
	s.Reading = describeChunks(len(t.Members), chunks)
	p.bytes[side] += s.Bytes
	return nil
}

func describeChunks(members int, chunks []relation.Chunk) string {
	if len(chunks) == members {
		if members == 1 {
			return "one scan"
		}
		return "one scan a member"
	}
	for i := range chunks {
		if chunks[i].Column != "" {
			return "ranges of " + relation.QuoteIdent(chunks[i].Column)
		}
	}
	return "block ranges"
}

func describeLeaves(form *relation.Form, plan *leafPlan) string {
	switch {
	case len(form.Key) == 0:
		return "hashes of whole rows"
	case plan.Ranges() > 1 && plan.Spreads():
		return "key ranges, and hashes of the key within frequent ones"
	case plan.Ranges() > 1:
		return "key ranges"
	}
	return "hashes of the key"
}

// sampleRate reads the largest table for a moment on each side.
func (p *planner) sampleRate(ctx context.Context) error {
	if p.largest == nil {
		return nil
	}
	c := p.largest
	err := p.at.each(ctx, func(ctx context.Context, side relation.Side) error {
		var err error
		p.plan.Sample[side], err = p.at.reader[side].Rate(ctx, c.at.table[side], &c.planned.Form, sampleFor)
		return err
	})
	if err != nil {
		return fmt.Errorf("sample the read rate: %w", err)
	}
	// One connection was sampled on each side; more of them share the same
	// server and network, so this is the longest that it should take.
	for _, side := range relation.Sides {
		sampled := c.at.table[side]
		perByte := ratio(float64(estimate(sampled)), p.plan.Sample[side].RowsPerSecond) / float64(max(1, sampled.Bytes()))
		seconds := perByte * float64(p.bytes[side])
		if p.config.MaxRate > 0 {
			// What was sampled may have been too little to be held up.
			seconds = max(seconds, seconds*p.plan.Sample[side].BytesPerSecond/float64(p.config.MaxRate))
		}
		p.plan.Expected = max(p.plan.Expected, time.Duration(seconds*float64(time.Second)))
		rows, guessed := estimateRows(sampled)
		p.plan.Guessed = p.plan.Guessed || !mostlyKnown(rows, guessed)
	}
	return nil
}

// explainUnknown says why the time that the pass would take is not known.
func (p *planner) explainUnknown() {
	switch {
	case p.plan.Expected > 0:
	case !p.readable:
		p.plan.Unknown = "no table can be read"
	case p.largest == nil:
		p.plan.Unknown = "conditions pick the rows of all tables that can be read, and how fast such rows arrive is not sampled"
	default:
		p.plan.Unknown = "too little was there to be sampled"
	}
}

func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

func (p *planner) note() {
	for _, side := range relation.Sides {
		server := p.at.reader[side].Server()
		if server.Major() < 14 {
			p.plan.Notes = append(p.plan.Notes, fmt.Sprintf("the %s is PostgreSQL %d, which cannot read block ranges: large tables are read in ranges of a key they are stored by, or in one scan", side, server.Major()))
		}
		evicts := int64(0)
		for i := range p.plan.Tables {
			if s := p.plan.Tables[i].Side[side]; s.Chunks > s.Members && s.Bytes > server.SharedBuffers/4 {
				evicts += s.Bytes
			}
		}
		if evicts > 0 {
			p.plan.Notes = append(p.plan.Notes, fmt.Sprintf("reading in ranges passes %d MB through the %s's cache of %d MB and displaces what is there; --read gentle does not", evicts>>20, side, server.SharedBuffers>>20))
		}
	}
	p.plan.Notes = append(p.plan.Notes, p.result.Notes[len(p.config.Notes):]...)
	holds := "while it runs, the pass holds back VACUUM's horizon on both sides and a lock that TRUNCATE and rewriting DDL wait for; --snapshot table does so for one table at a time"
	if p.config.PerTable {
		holds = "while it reads a table, the pass holds back VACUUM's horizon on both sides and a lock on that table that TRUNCATE and rewriting DDL wait for"
	}
	p.plan.Notes = append(p.plan.Notes, holds)
}
