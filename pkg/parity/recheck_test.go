package parity

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/verifierd/verifierd/pkg/merkle"
	"github.com/verifierd/verifierd/pkg/relation"
)

// reading is what one snapshot of one side sees: the only row's value, and what
// the server tells of itself.
type reading struct {
	value       int // 0: no row
	at          int // where the row is stored
	visible     string
	writing     bool
	standby     bool
	replication relation.Replication
	filenode    uint32
	err         error // of taking the snapshot
}

// script is what the snapshots of each side see, the pass's first. The last one
// is seen ever after.
type script [2][]reading

// stage plays a script, and checks its caller.
type stage struct {
	t      *testing.T
	script script

	mu     sync.Mutex
	opened [2]int
	open   [2]int
}

func (s *stage) opener(side relation.Side) Opener {
	return func(_ context.Context, names []relation.Name) (Reader, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		n := s.opened[side]
		s.opened[side]++
		if n > 0 && side == relation.Target && s.opened[relation.Source] != n+1 {
			s.t.Errorf("reading %d of the target begins before that of the source", n)
		}
		if s.open[side]++; s.open[side] > 2 {
			s.t.Errorf("%d snapshots of the %s at once", s.open[side], side)
		}
		if len(names) != 1 {
			s.t.Errorf("snapshot of tables %v", names)
		}
		r := s.script[side][min(n, len(s.script[side])-1)]
		if r.err != nil {
			s.open[side]--
			return nil, r.err
		}
		if r.visible == "" {
			r.visible = fmt.Sprint("snapshot ", n)
		}
		if r.filenode == 0 {
			r.filenode = 7
		}
		return &fakeReader{stage: s, side: side, n: n, reading: r}, nil
	}
}

type fakeReader struct {
	stage *stage
	side  relation.Side
	n     int
	reading
	closed bool
}

var int4 = &relation.Type{Schema: "pg_catalog", Name: "int4", OID: 23, ArrayOID: 1007, Kind: relation.Base, BinaryOutput: true}

func (r *fakeReader) use() {
	r.stage.mu.Lock()
	defer r.stage.mu.Unlock()
	if r.closed {
		r.stage.t.Errorf("snapshot %d of the %s is used after it was closed", r.n, r.side)
	}
}

func (r *fakeReader) Server() *relation.Server {
	return &relation.Server{Version: "18.0", Number: 180000, Encoding: "UTF8", Standby: r.standby}
}

func (r *fakeReader) Moment() relation.Moment {
	return relation.Moment{TakenAt: time.Now(), LSN: 100, LSNText: "0/64", Visible: r.visible, Writing: r.writing}
}

func (r *fakeReader) Table(name relation.Name) (*relation.Table, error) {
	r.use()
	return &relation.Table{
		Name: name, OID: 5, Kind: relation.Ordinary,
		Columns: []relation.Column{{Name: "id", Type: int4, Definition: "integer", NotNull: true}, {Name: "v", Type: int4, Definition: "integer"}},
		Keys:    []relation.Key{{Columns: []string{"id"}, Index: "t_pkey", Primary: true}},
		Indexes: []relation.Index{{Name: "t_pkey", Columns: []string{"id"}}},
		Members: []relation.Member{{Name: name, OID: 5, Filenode: r.filenode, Kind: relation.Ordinary, AccessMethod: "heap", Bytes: 8192, Blocks: 1, Rows: 1}},
	}, nil
}

func (r *fakeReader) Expression(context.Context, *relation.Table, string, time.Time) (relation.Expression, error) {
	return relation.Expression{}, errors.New("not asked for")
}

func (r *fakeReader) Chunks(context.Context, *relation.Table) ([]relation.Chunk, error) {
	return nil, errors.New("not asked for")
}

func (r *fakeReader) Schema(context.Context, relation.SchemaScope) ([]relation.Object, error) {
	return nil, nil
}

func (r *fakeReader) Sequences(context.Context, relation.SchemaScope) ([]relation.Sequence, error) {
	return nil, nil
}

func (r *fakeReader) Furthest(context.Context, relation.Name, string, bool) (*int64, error) {
	return nil, errors.New("not asked for")
}

func (r *fakeReader) Physical(context.Context, *relation.Table) (relation.Physical, error) {
	return relation.Physical{}, errors.New("not asked for")
}

func (r *fakeReader) InvalidIndexes(context.Context, []relation.Name) ([]relation.InvalidIndex, error) {
	return nil, nil
}

func (r *fakeReader) Count(context.Context, *relation.Table, string) (int64, error) {
	r.use()
	return int64(r.value), nil
}

func (r *fakeReader) ForeignKeys(context.Context, []relation.Name) ([]relation.ForeignKey, error) {
	return nil, nil
}

func (r *fakeReader) Reference(context.Context, *relation.ForeignKey) (*relation.Reference, error) {
	return nil, errors.New("not asked for")
}

func (r *fakeReader) Orphans(context.Context, *relation.Reference, *relation.Form, func(*relation.Row) error) error {
	return errors.New("not asked for")
}

func (r *fakeReader) OrphansAmong(context.Context, *relation.Reference, *relation.Form, *relation.Form, *relation.Form, [][]byte, [][]byte, func(*relation.Row) error) error {
	return errors.New("not asked for")
}

func (r *fakeReader) Locks() relation.LockBudget { return relation.LockBudget{} }

func (r *fakeReader) Rate(context.Context, *relation.Table, *relation.Form, time.Duration) (relation.Rate, error) {
	return relation.Rate{}, errors.New("not asked for")
}

func (r *fakeReader) Sample(context.Context, *relation.Table, *relation.Form, int) (relation.Sample, error) {
	return relation.Sample{}, nil
}

// key is that of the only row, in canonical bytes.
func (r *fakeReader) key() []byte {
	k := binary.BigEndian.AppendUint32(nil, 4)
	return binary.BigEndian.AppendUint32(k, 1)
}

func (r *fakeReader) hash() merkle.Hash { // even, as hashes are
	return merkle.Hash{Hi: uint64(r.value) * 0x9e3779b97f4a7c15, Lo: uint64(r.value) * 0xd1b54a32d192ed03}
}

func (r *fakeReader) Scan(_ context.Context, _ *relation.Table, _ *relation.Form, layout *merkle.Layout, size merkle.SketchSize, _ func(rows, bytes int64)) ([]merkle.Digest, *merkle.Sketches, error) {
	r.use()
	leaves, sketch := make([]merkle.Digest, layout.Leaves()), size.New(layout.Leaves())
	if r.value != 0 {
		leaves[0].Add(r.hash())
		if sketch != nil {
			sketch.Add(0, r.hash(), r.key())
		}
	}
	return leaves, sketch, nil
}

func (r *fakeReader) Collect(_ context.Context, _ *relation.Table, _ *relation.Form, _ *merkle.Layout, _ []bool, emit func(int, []byte, merkle.Hash) error) error {
	r.use()
	if r.value == 0 {
		return nil
	}
	return emit(0, r.key(), r.hash())
}

func (r *fakeReader) CollectRange(context.Context, *relation.Table, *relation.Form, *relation.Bound, *relation.Bound, int64, func([]byte, merkle.Hash) error) error {
	return errors.New("not asked for")
}

func (r *fakeReader) row() *relation.Row {
	one, value := "1", fmt.Sprint(r.value)
	return &relation.Row{Key: r.key(), Columns: []uint64{1, uint64(r.value)}, KeyText: []*string{&one}, Values: []*string{&one, &value}, Location: fmt.Sprint("t ", r.at)}
}

func (r *fakeReader) Lookup(_ context.Context, _ *relation.Table, _ *relation.Form, keys [][]byte, _ bool, emit func(merkle.Hash, *relation.Row) error) error {
	r.use()
	if r.n == 0 {
		r.stage.t.Error("a row is confirmed at the snapshot of the pass itself")
	}
	if len(keys) != 1 || r.value == 0 {
		return nil
	}
	return emit(r.hash(), r.row())
}

func (r *fakeReader) Find(_ context.Context, _ *relation.Table, _ *relation.Form, _ bool, wanted func([]byte, merkle.Hash) bool, emit func(merkle.Hash, *relation.Row) error) error {
	r.use()
	if r.value == 0 || !wanted(r.key(), r.hash()) {
		return nil
	}
	return emit(r.hash(), r.row())
}

func (r *fakeReader) Unchanged(context.Context, *relation.Table) error { r.use(); return nil }

func (r *fakeReader) Replication(context.Context) (relation.Replication, error) {
	r.use()
	return r.replication, nil
}

func (r *fakeReader) LargeObjects(context.Context) (bool, error) { return false, nil }

func (r *fakeReader) Close() {
	r.stage.mu.Lock()
	defer r.stage.mu.Unlock()
	if !r.closed {
		r.closed = true
		r.stage.open[r.side]--
	}
}

func slots(s map[string]relation.LSN) relation.Replication { return relation.Replication{Slots: s} }

func subscribed(enabled, synced bool) relation.Replication {
	return relation.Replication{Subscriptions: []relation.Subscription{{Name: "s", Slot: "s", Enabled: enabled, Synced: synced}}}
}

// values returns readings that see these values, one after another.
func values(list ...int) (r []reading) {
	for _, v := range list {
		r = append(r, reading{value: v})
	}
	return r
}

// with changes all of the readings.
func with(list []reading, change func(*reading)) []reading {
	for i := range list {
		change(&list[i])
	}
	return list
}

// TestCountAgain: numbers differ for good, or they are not known to.
func TestCountAgain(t *testing.T) {
	const soon = 0
	still := func(r *reading) { r.visible = "still" }
	for name, test := range map[string]struct {
		script script
		window time.Duration
		want   Verdict
		reason string
	}{
		"differ for good":                     {script{values(5), values(4)}, soon, Diverged, "5 rows on the source, 4 on the target"},
		"agree later":                         {script{values(5), values(4, 5)}, soon, Match, "as many on both when counted again"},
		"agree at the end":                    {script{values(5), values(4, 4, 5)}, soon, Match, "as many on both when counted again"},
		"quiet":                               {script{with(values(5), still), with(values(4), still)}, time.Hour, Diverged, "5 rows on the source, 4 on the target"},
		"grow on both sides":                  {script{values(5, 6, 7), values(4, 5, 6)}, soon, Incomplete, "changed"},
		"as many in the last two, not before": {script{values(5, 1, 1), values(4, 0, 0)}, soon, Incomplete, "changed"},
		"quiet, and another number":           {script{with(values(5), still), with(values(4, 3), still)}, time.Hour, Incomplete, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := &stage{t: t, script: test.script}
			n := relation.Name{Schema: "public", Name: "t"}
			p := Run(t.Context(), Config{
				Tables: []Tables{{Source: n, Target: n}}, Open: [2]Opener{s.opener(relation.Source), s.opener(relation.Target)},
				CountsOnly: true, Recheck: test.window,
			})
			if p.Verdict != test.want || !strings.Contains(p.Tables[0].Reason, test.reason) {
				t.Errorf("%s: %s", p.Verdict, p.Tables[0].Reason)
			}
		})
	}
}

func TestRecheck(t *testing.T) {
	still := func(r *reading) { r.visible = "still" }
	writing := func(r *reading) { r.visible, r.writing = "still", true }
	replicates := func(of relation.Replication) func(*reading) {
		return func(r *reading) { r.replication = of }
	}
	const soon, never = 0, time.Hour
	for name, test := range map[string]struct {
		script script
		window time.Duration
		want   Verdict
		reason string
		opened int // snapshots of the target, if it matters
	}{
		"differs for good":                   {script{values(1), values(2)}, soon, Diverged, "1 mismatched", 3},
		"missing for good":                   {script{values(1), values(0)}, soon, Diverged, "1 missing", 3},
		"extra for good":                     {script{values(0), values(2)}, soon, Diverged, "1 extra", 3},
		"heals":                              {script{values(1), values(2, 1)}, soon, Match, "at one snapshot", 2},
		"heals at the end":                   {script{values(1), values(2, 2, 1)}, soon, Match, "at one snapshot", 3},
		"target read later is ahead":         {script{values(1, 1, 2), values(0, 2, 2)}, soon, Match, "at one snapshot", 3},
		"target is ahead at every reading":   {script{values(1, 1, 2), values(0, 2, 3)}, soon, Incomplete, "kept changing", 3},
		"source changes at every reading":    {script{values(1, 2, 3), values(9)}, soon, Incomplete, "kept changing", 3},
		"source changed once":                {script{values(1, 2, 2), values(9)}, soon, Incomplete, "kept changing", 3},
		"source is changed and changed back": {script{{{value: 1}, {value: 1, at: 1}, {value: 1, at: 2}}, values(2)}, soon, Incomplete, "kept changing", 3},
		"row is missing and comes":           {script{values(1), values(0, 0, 1)}, soon, Match, "at one snapshot", 3},
		"quiet":                              {script{with(values(1), still), with(values(2), still)}, never, Diverged, "1 mismatched", 2},
		"quiet, and the target was written":  {script{with(values(1), still), values(2)}, soon, Diverged, "1 mismatched", 3},
		"somebody writes on the source":      {script{with(values(1), writing), with(values(2), still)}, soon, Diverged, "1 mismatched", 3},
		"somebody writes on the target":      {script{with(values(1), still), with(values(2), writing)}, soon, Diverged, "1 mismatched", 3},
		"quiet, with a slot": {script{
			with(with(values(1), still), replicates(slots(map[string]relation.LSN{"x": 1}))), with(values(2), still),
		}, soon, Diverged, "1 mismatched", 3},
		"quiet, with a subscription": {script{
			with(values(1), still), with(with(values(2), still), replicates(subscribed(true, true))),
		}, soon, Diverged, "1 mismatched", 3},
		"quiet, and one may not see subscriptions": {script{
			with(values(1), still), with(with(values(2), still), replicates(relation.Replication{Unknown: true})),
		}, soon, Diverged, "1 mismatched", 3},
		"quiet standby": {script{
			with(values(1), still), with(values(2), func(r *reading) {
				r.visible, r.standby, r.replication.Replay = "still", true, &relation.Replay{Receiving: true}
			}),
		}, soon, Diverged, "1 mismatched", 3},
		"paused standby": {script{
			values(1), with(values(2), func(r *reading) {
				r.standby, r.replication.Replay = true, &relation.Replay{Paused: true, Receiving: true}
			}),
		}, soon, Incomplete, "standby", 0},
		"replication is behind": {script{
			with(values(1), replicates(slots(map[string]relation.LSN{"s": 99}))), with(values(2), replicates(subscribed(true, true))),
		}, soon, Incomplete, "replication to the target is behind", 2},
		"replication has caught up": {script{
			with(values(1), replicates(slots(map[string]relation.LSN{"s": 100}))), with(values(2), replicates(subscribed(true, true))),
		}, soon, Diverged, "1 mismatched", 3},
		"first copy is under way": {script{
			with(values(1), replicates(slots(map[string]relation.LSN{"s": 100}))), with(values(2), replicates(subscribed(true, false))),
		}, soon, Incomplete, "replication to the target is behind", 2},
		"disabled subscription whose slot waits": {script{
			with(values(1), replicates(slots(map[string]relation.LSN{"s": 99}))), with(values(2), replicates(subscribed(false, true))),
		}, soon, Incomplete, "replication to the target is behind", 2},
		"disabled subscription without a slot": {script{values(1), with(values(2), replicates(subscribed(false, true)))}, soon, Diverged, "1 mismatched", 3},
		"subscription to another server":       {script{values(1), with(values(2), replicates(subscribed(true, true)))}, soon, Diverged, "1 mismatched", 3},
		"subscription is enabled meanwhile": {script{
			with(values(1), replicates(slots(map[string]relation.LSN{"s": 99}))),
			{{value: 2}, {value: 2, replication: subscribed(true, true)}},
		}, soon, Incomplete, "replication to the target is behind", 3},
		"truncated meanwhile": {script{values(1), {{value: 2}, {value: 2, filenode: 8}}}, soon, Incomplete, "truncated or rewritten on the target", 0},
		"source cannot be read again": {script{
			{{value: 1}, {err: errors.New("no more")}}, values(2),
		}, soon, Incomplete, "could not be read again", 0},
		"target cannot be read again": {script{
			values(1), {{value: 2}, {value: 2}, {err: errors.New("no more")}},
		}, soon, Incomplete, "could not be read again", 0},
		"match needs no second reading": {script{values(1), values(1)}, soon, Match, "identical", 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := &stage{t: t, script: test.script}
			table := relation.Name{Schema: "public", Name: "t"}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			p := Run(ctx, Config{
				Tables: []Tables{{Source: table, Target: table}}, Open: [2]Opener{s.opener(relation.Source), s.opener(relation.Target)},
				Recheck: test.window, MaxRows: 10,
			})
			if p.Verdict != test.want || !strings.Contains(p.Reason, test.reason) {
				t.Errorf("%s: %s; want %s: %s", p.Verdict, p.Reason, test.want, test.reason)
			}
			n := p.Tables[0].Divergences
			if confirmed := p.Verdict == Diverged; (n.Confirmed() == 1) != confirmed || (n.Volatile == 1) != (p.Verdict == Incomplete) {
				t.Errorf("%s with %+v", p.Verdict, n)
			}
			if test.opened > 0 && s.opened[relation.Target] != test.opened {
				t.Errorf("%d snapshots of the target, want %d", s.opened[relation.Target], test.opened)
			}
			if s.open != [2]int{} {
				t.Errorf("%v snapshots are left open", s.open)
			}
		})
	}
}
