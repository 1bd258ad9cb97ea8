package parity

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/verifierd/verifierd/pkg/relation"
)

// Sequence is the outcome of judging one sequence.
type Sequence struct {
	Name       relation.Name // on the source
	TargetName relation.Name
	Verdict    Verdict
	// Skipped says that there is nothing to judge, and Reason why: the verdict
	// is a match then.
	Skipped bool
	Reason  string // never empty
	// Warning says that it is behind, and that this does not count towards the
	// pass's verdict.
	Warning bool
	// Last are the last values handed out; nil: none was, or it is not known.
	Last [2]*int64
	// Column is a column of the target that holds values which the sequence
	// will hand out again, and Value the furthest of them. Zero: none does.
	Column relation.Fed
	Value  *int64
	// Mend is SQL for the target that sets the sequence right. Empty: nothing
	// is to be done, or its bounds are to be changed first.
	Mend string
}

// sequences is what a pass makes of sequences.
type sequences struct {
	first  [2][]relation.Sequence
	readAt time.Time // when they were first read; zero: they were not
	moment [2]relation.Moment
}

// readSequences reads the sequences, the source's first: it may go on.
func (r *runner) readSequences(ctx context.Context, all *pair) {
	if !r.config.checks(CheckSequences) {
		return
	}
	for _, side := range relation.Sides {
		if all.reader[side].Server().Standby {
			// It runs ahead by what its primary has logged, and tells nothing.
			r.result.NotChecked = append(r.result.NotChecked, fmt.Sprintf("sequences, since the %s is a standby, whose sequences run ahead of what was handed out", side))
			return
		}
	}
	q := &r.sequences
	for _, side := range relation.Sides {
		var err error
		if q.first[side], err = all.reader[side].Sequences(ctx, r.config.scope(side)); err != nil {
			r.lacks(ctx, "sequences were not compared", fmt.Errorf("%s: %w", side, err))
			return
		}
		q.moment[side] = all.reader[side].Moment()
	}
	q.readAt = time.Now()
}

// judgeSequences compares the sequences. One that is behind is read again until
// the target has had its chance, and compared with what the source's was at
// first: the source may go on.
func (r *runner) judgeSequences(ctx context.Context) {
	q := &r.sequences
	if q.readAt.IsZero() || len(q.first[relation.Source]) == 0 || len(q.first[relation.Target]) == 0 {
		return
	}
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		var fresh pair
		list, quiet, err := r.sequencesNow(ctx, &fresh)
		fresh.close()
		if err != nil {
			r.lacks(ctx, "sequences were not compared", err)
			return
		}
		behind := slices.ContainsFunc(list, func(s Sequence) bool { return s.Verdict == Diverged })
		left := r.recheck - time.Since(q.readAt)
		if !behind || quiet || left <= 0 {
			r.result.Sequences = list
			r.countSequences()
			return
		}
		if err := sleep(ctx, min(pause, left)); err != nil {
			r.lacks(ctx, "whether sequences are behind was not established", err)
			return
		}
	}
}

// sequencesNow reads the target's sequences, and judges them. The columns that
// they feed are read before: whoever takes a value writes it later.
func (r *runner) sequencesNow(ctx context.Context, fresh *pair) (list []Sequence, quiet bool, err error) {
	for _, side := range relation.Sides {
		if fresh.reader[side], err = r.open[side](ctx, nil); err != nil {
			return nil, false, err
		}
	}
	j := &sequenceJudge{tables: newSchemaComparison(SchemaRules{Tables: r.config.Tables}), source: r.sequences.first[relation.Source], at: fresh, hide: r.values == ValuesNone}
	if err := j.readColumns(ctx, r.sequences.first[relation.Target]); err != nil {
		return nil, false, err
	}
	if j.target, err = fresh.reader[relation.Target].Sequences(ctx, r.config.scope(relation.Target)); err != nil {
		return nil, false, fmt.Errorf("target: %w", err)
	}
	replication, err := fresh.replication(ctx)
	if err != nil {
		return nil, false, err
	}
	return j.judge(ctx), quietSince(r.sequences.moment, fresh, replication), nil
}

// countSequences lets what was found count towards the verdict.
func (r *runner) countSequences() {
	effect := r.config.Effects.SequenceBehind
	fed := slices.ContainsFunc(r.subscriptions, func(s relation.Subscription) bool { return s.Enabled })
	if fed && effect == Fail {
		effect = Warn // replication carries no sequences: they are set at the end
	}
	for i := range r.result.Sequences {
		s := &r.result.Sequences[i]
		switch s.Verdict {
		case Diverged:
			s.Warning = effect != Fail
			clause := fmt.Sprintf("sequence %s is behind: %s", s.Name, s.Reason)
			if fed {
				clause += "; a subscription feeds the target, and carries no sequences: set it when the target takes over"
			}
			r.found(effect, clause)
		case Incomplete:
			r.incomplete = append(r.incomplete, fmt.Sprintf("sequence %s: %s", s.Name, s.Reason))
		}
	}
}

// sequenceJudge judges sequences as they were read.
type sequenceJudge struct {
	tables         *schemaComparison
	source, target []relation.Sequence
	at             *pair
	hide           bool // values of rows
	// furthest holds the furthest values of columns that sequences of the
	// target feed; nil: the column is empty.
	furthest map[relation.Fed]*int64
	trouble  map[relation.Fed]error
}

// readColumns reads the furthest values of the columns that sequences of the
// target feed.
func (j *sequenceJudge) readColumns(ctx context.Context, list []relation.Sequence) error {
	j.furthest, j.trouble = make(map[relation.Fed]*int64), make(map[relation.Fed]error)
	for i := range list {
		s := &list[i]
		if s.Cycle || s.Unreadable {
			continue
		}
		for _, fed := range s.Feeds {
			value, err := j.read(ctx, relation.Target, s, fed)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			j.furthest[fed], j.trouble[fed] = value, err
		}
	}
	return nil
}

func (j *sequenceJudge) read(ctx context.Context, side relation.Side, s *relation.Sequence, fed relation.Fed) (*int64, error) {
	return j.at.reader[side].Furthest(ctx, fed.Table, fed.Column, s.Increment < 0)
}

// judge pairs the sequences up by name, else by the column that they feed.
func (j *sequenceJudge) judge(ctx context.Context) []Sequence {
	byName := make(map[relation.Name]*relation.Sequence)
	byColumn := make(map[relation.Fed]*relation.Sequence)
	for i := range j.target {
		t := &j.target[i]
		byName[t.Name] = t
		if len(t.Feeds) > 0 {
			byColumn[t.Feeds[0]] = t
		}
	}
	var list []Sequence
	for i := range j.source {
		s := &j.source[i]
		var t *relation.Sequence
		if len(s.Feeds) > 0 {
			fed := s.Feeds[0]
			t = byColumn[relation.Fed{Table: j.tables.onTarget(fed.Table), Column: j.tables.column(fed.Table, fed.Column)}]
		}
		if t == nil {
			t = byName[s.Name]
		}
		if t == nil {
			continue // that it is missing is a matter of the schema
		}
		list = append(list, j.one(ctx, s, t))
	}
	return list
}

// one judges a sequence of the target.
func (j *sequenceJudge) one(ctx context.Context, s, t *relation.Sequence) Sequence {
	o := Sequence{Name: s.Name, TargetName: t.Name, Last: [2]*int64{s.Last, t.Last}}
	for side, q := range [2]*relation.Sequence{s, t} {
		if q.Unreadable {
			o.Reason = fmt.Sprintf("the role may not read it on the %s; GRANT SELECT ON SEQUENCE %s TO it, and USAGE ON SCHEMA %s", relation.Side(side), q.Name.SQL(), relation.QuoteIdent(q.Name.Schema))
			return o
		}
	}
	down := s.Increment < 0
	switch {
	case s.Cycle || t.Cycle:
		o.Verdict, o.Skipped, o.Reason = Match, true, "it cycles: after it has come round, no value is ahead of another"
		return o
	case down != (t.Increment < 0):
		o.Reason = "it counts up on one side and down on the other: whether it is behind cannot be said"
		return o
	}
	next, more := nextValue(t)
	// further reports whether a comes after b in the sequence's direction.
	further := func(a, b int64) bool {
		if down {
			return a < b
		}
		return a > b
	}
	var reasons []string
	var worst *int64                                                // of the values that columns hold
	ended := !more && s.Last != nil && further(*s.Last, reached(t)) // too early
	behindSource := ended || more && (s.Last != nil && !further(next, *s.Last) || s.Last == nil && s.Next != nil && further(*s.Next, next))
	if behindSource {
		o.Verdict = Diverged
		hands := fmt.Sprintf("it hands out %d next", next)
		if ended {
			hands = fmt.Sprintf("it has come to its end at %d", reached(t))
		}
		reasons = append(reasons, hands+", and the source "+handedOut(s))
		o.Mend = mend(t, s)
	}
	for _, fed := range t.Feeds {
		if err := j.trouble[fed]; err != nil {
			if o.Verdict != Diverged {
				o.Verdict, o.Reason = Incomplete, fmt.Sprintf("column %s of %s was not read: %v", relation.QuoteIdent(fed.Column), fed.Table, err)
				return o
			}
			continue
		}
		value := j.furthest[fed]
		if value == nil || !more || further(next, *value) {
			continue
		}
		if worst != nil && !further(*value, *worst) {
			continue
		}
		holds := fmt.Sprintf("column %s of %s holds %d", relation.QuoteIdent(fed.Column), fed.Table, *value)
		if j.hide {
			holds = fmt.Sprintf("column %s of %s is further", relation.QuoteIdent(fed.Column), fed.Table)
		}
		if !behindSource && j.likewise(ctx, s, *value, further) {
			reasons = append(reasons, holds+", which it did not hand out: so it is on the source")
			continue
		}
		worst = value
		o.Verdict, o.Column = Diverged, fed
		reasons = append(reasons, fmt.Sprintf("%s, and it hands out %d next", holds, next))
		if behindSource && !further(*value, reached(s)) {
			continue
		}
		o.Mend = mend(t, &relation.Sequence{Last: value})
		if j.hide && o.Mend != "" {
			o.Mend = mendFrom(t, fed)
		}
	}
	if o.Verdict != Diverged {
		o.Verdict = Match
		if len(reasons) == 0 {
			reasons = []string{"not behind"}
		}
	}
	if !j.hide {
		o.Value = worst
	}
	o.Reason = strings.Join(reasons, "; ")
	return o
}

// likewise reports whether the source's sequence is behind its column, too, by
// as much: values were put there by other means.
func (j *sequenceJudge) likewise(ctx context.Context, s *relation.Sequence, value int64, further func(a, b int64) bool) bool {
	next, more := nextValue(s)
	for _, fed := range s.Feeds {
		own, err := j.read(ctx, relation.Source, s, fed)
		if err == nil && own != nil && more && !further(next, *own) && !further(value, *own) {
			return true
		}
	}
	return false
}

func handedOut(s *relation.Sequence) string {
	if s.Last != nil {
		return fmt.Sprintf("handed out %d", *s.Last)
	}
	return fmt.Sprintf("begins with %d", *s.Next)
}

// nextValue is what the sequence hands out next; more is false if it is at its
// end.
func nextValue(s *relation.Sequence) (next int64, more bool) {
	switch {
	case s.Last == nil && s.Next == nil:
		return 0, false
	case s.Last == nil:
		return *s.Next, true
	case s.Increment > 0 && *s.Last > s.Max-s.Increment, s.Increment < 0 && *s.Last < s.Min-s.Increment:
		return 0, false
	}
	return *s.Last + s.Increment, true
}

// reached is how far the sequence has come.
func reached(s *relation.Sequence) int64 {
	if s.Last != nil {
		return *s.Last
	}
	return *s.Next
}

// mendFrom is SQL that makes a sequence stand at the furthest value of a column,
// which it does not tell.
func mendFrom(t *relation.Sequence, fed relation.Fed) string {
	furthest := "max"
	if t.Increment < 0 {
		furthest = "min"
	}
	return fmt.Sprintf("SELECT pg_catalog.setval(%s, (SELECT %s(%s) FROM %s));", relation.QuoteLiteral(t.Name.SQL()), furthest, relation.QuoteIdent(fed.Column), fed.Table.SQL())
}

// mend is SQL that makes a sequence of the target stand where another one does;
// empty if its bounds do not let it.
func mend(t, as *relation.Sequence) string {
	if reached(as) < t.Min || reached(as) > t.Max {
		return ""
	}
	return fmt.Sprintf("SELECT pg_catalog.setval(%s, %d, %t);", relation.QuoteLiteral(t.Name.SQL()), reached(as), as.Last != nil)
}
