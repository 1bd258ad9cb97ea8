package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/verifierd/verifierd/pkg/parity"
	"github.com/verifierd/verifierd/pkg/relation"
	"github.com/verifierd/verifierd/pkg/rowhash"
	"github.com/verifierd/verifierd/pkg/snapshot"
)

// Baseline is what is kept of a database.
type Baseline = parity.Baseline

// Pass is the outcome of a comparison.
type Pass = parity.Pass

// Capture reads the source and returns what is kept of it. With like, it takes
// over that baseline's seed and, where it can, its leaves: the two can be
// compared with each other.
//
// There is a baseline only if everything selected was read.
func Capture(ctx context.Context, o Options, like *Baseline, toolVersion string) (*Baseline, error) {
	seed, err := rowhash.NewSeed()
	if err != nil {
		return nil, err
	}
	if like != nil {
		if err := checkMode(like); err != nil {
			return nil, err
		}
		seed = like.Seed
	}
	db, err := connectTo(ctx, o, seed, relation.Source)
	if err != nil {
		return nil, err
	}
	defer db.close()
	list, err := db.side[relation.Source].List(ctx)
	if err != nil {
		return nil, err
	}
	selected, err := selectTables([2][]snapshot.Listed{list, nil}, o)
	if err != nil {
		return nil, err
	}
	b := &Baseline{ToolVersion: toolVersion, HashMode: rowhash.Mode, Seed: seed, Tables: patternTexts(o.Tables), Exclude: patternTexts(o.Exclude)}
	for _, g := range o.Groups { // what a group excludes, another may select
		b.Tables = append(b.Tables, patternTexts(g.Tables)...)
	}
	if err := parity.Capture(ctx, db.config(o, selected, seed), b, like); err != nil {
		return nil, err
	}
	return b, nil
}

// OfSource returns the options for the source alone: policies apply as they do
// there, and names on the target do not matter.
func (o Options) OfSource() Options {
	o.Map, o.MapOthers = nil, false
	policies := make(map[relation.Name]Policy, len(o.Policies))
	for name, p := range o.Policies {
		p.Columns = nil
		p.Where[relation.Target] = p.Where[relation.Source]
		cast := make(map[string][2]string)
		for column, c := range p.Cast {
			if c[relation.Source] != "" {
				cast[column] = [2]string{c[relation.Source], c[relation.Source]}
			}
		}
		p.Cast = cast
		policies[name] = p
	}
	o.Policies = policies
	return o
}

func patternTexts(patterns []relation.Pattern) []string {
	var texts []string
	for _, p := range patterns {
		texts = append(texts, p.String())
	}
	return texts
}

func connectTo(ctx context.Context, o Options, seed uint64, side relation.Side) (*databases, error) {
	db := newDatabases(o)
	if err := db.connect(ctx, o, seed, side); err != nil {
		return nil, err
	}
	return db, nil
}

func checkMode(b *Baseline) error {
	if b.HashMode != rowhash.Mode {
		return fmt.Errorf("the baseline was hashed as %s, by verifierd %s, and this version hashes as %s: they cannot be compared", b.HashMode, b.ToolVersion, rowhash.Mode)
	}
	return nil
}

// VerifyBaseline compares a baseline, which takes the source's part, with the
// target. Tables and Exclude select among the baseline's tables.
func VerifyBaseline(ctx context.Context, b *Baseline, o Options) *parity.Pass {
	started := time.Now()
	pass, err := verifyBaseline(ctx, b, o)
	if err != nil {
		return &parity.Pass{Reason: reason(err), StartedAt: started, FinishedAt: time.Now()}
	}
	return pass
}

func verifyBaseline(ctx context.Context, b *Baseline, o Options) (*parity.Pass, error) {
	if err := checkMode(b); err != nil {
		return nil, err
	}
	selected, err := selectStored(b, o)
	if err != nil {
		return nil, err
	}
	db, err := connectTo(ctx, o, b.Seed, relation.Target)
	if err != nil {
		return nil, err
	}
	defer db.close()
	list, err := db.side[relation.Target].List(ctx)
	if err != nil {
		return nil, err
	}
	names := make(map[relation.Name]bool)
	for _, l := range list {
		names[l.Name] = true
	}
	now := db.side[relation.Target].Server()
	same := now.SystemIdentifier == b.Server.SystemIdentifier && now.DatabaseOID == b.Server.DatabaseOID
	if !same && !slices.ContainsFunc(b.Contents, func(t parity.BaselineTable) bool { return names[t.Name()] }) {
		return nil, fmt.Errorf("the baseline does not describe database %s: none of its %d tables is there", relation.QuoteIdent(now.Database), len(b.Contents))
	}
	if err := selected.addNew(b, o, list); err != nil {
		return nil, err
	}
	config := db.config(o, selected, b.Seed)
	config.LargeObjects = len(o.Tables) == 0 && len(b.Tables) == 0 && !o.IgnoreLargeObjects
	pass := parity.CompareBaseline(ctx, b, config)
	db.noteLargeRows(pass)
	return pass, nil
}

// CompareBaselines compares two baselines, of which the first takes the
// source's part. It connects to nothing.
func CompareBaselines(ctx context.Context, source, target *Baseline, o Options) *parity.Pass {
	started := time.Now()
	selected, err := selectStored(source, o)
	if err != nil {
		return &parity.Pass{Reason: reason(err), StartedAt: started, FinishedAt: time.Now()}
	}
	for i := range target.Contents {
		if name := target.Contents[i].Name(); source.Table(name) == nil && source.Covers(name) && stored(name, o) {
			selected.differences = append(selected.differences, extraTable(name))
		}
	}
	if !slices.ContainsFunc(target.Contents, func(t parity.BaselineTable) bool { return source.Table(t.Name()) != nil }) {
		err := errors.New("the two baselines have no table in common: they are of different databases")
		return &parity.Pass{Reason: reason(err), StartedAt: started, FinishedAt: time.Now()}
	}
	db := newDatabases(o)
	return parity.CompareBaselines(ctx, source, target, db.config(o, selected, source.Seed))
}

// selectStored selects among the tables of a baseline.
func selectStored(b *Baseline, o Options) (*selection, error) {
	s := &selection{skipped: slices.Clone(b.Skipped)}
	for i := range b.Contents {
		name := b.Contents[i].Name()
		switch {
		case stored(name, o):
			s.tables = append(s.tables, parity.Tables{Source: name, Target: name, Policy: b.Contents[i].Policy})
		case matchAny(o.Exclude, name):
			s.skipped = append(s.skipped, fmt.Sprintf("%s: excluded", name))
		}
	}
	for _, p := range o.Tables {
		if !slices.ContainsFunc(b.Contents, func(t parity.BaselineTable) bool { return p.Match(t.Name()) }) {
			return nil, fmt.Errorf("pattern %s selects no table of the baseline: is it misspelt?", p)
		}
	}
	if len(s.tables) == 0 {
		return nil, errors.New("no table was selected: all of the baseline's are excluded")
	}
	return s, nil
}

// stored reports whether the options select a table of a baseline.
func stored(name relation.Name, o Options) bool {
	return !matchAny(o.Exclude, name) && (len(o.Tables) == 0 || matchAny(o.Tables, name))
}

func extraTable(name relation.Name) parity.SchemaDifference {
	return parity.SchemaDifference{Table: name, Object: "table", Kind: "extra", Severity: parity.Drifts, Target: name.String()}
}

// addNew adds tables that the baseline would have, had they been there.
func (s *selection) addNew(b *Baseline, o Options, list []snapshot.Listed) error {
	then := Options{}
	for _, p := range []struct {
		to   *[]relation.Pattern
		from []string
	}{{&then.Tables, b.Tables}, {&then.Exclude, b.Exclude}} {
		for _, text := range p.from {
			pattern, err := relation.ParsePattern(text)
			if err != nil {
				return fmt.Errorf("the baseline: %w", err)
			}
			*p.to = append(*p.to, pattern)
		}
	}
	used := make([]bool, len(then.Tables))
	for _, l := range list {
		if b.Table(l.Name) == nil && wanted(l, then, used) && stored(l.Name, o) {
			s.differences = append(s.differences, extraTable(l.Name))
		}
	}
	slices.SortFunc(s.differences, func(a, b parity.SchemaDifference) int {
		return cmp.Or(a.Table.Compare(b.Table), cmp.Compare(a.Object, b.Object))
	})
	return nil
}
