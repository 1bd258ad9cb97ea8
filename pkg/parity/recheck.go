package parity

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"slices"
	"sort"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/verifierd/verifierd/pkg/merkle"
	"github.com/verifierd/verifierd/pkg/relation"
)

// How long to pause between two readings of rows that still differ. A target
// that lags by milliseconds heals on the first; one that lags by seconds is
// not asked often.
const (
	firstPause = 250 * time.Millisecond
	maxPause   = 4 * time.Second
)

// confirm reads the candidates again on fresh snapshots, source before target,
// until each is confirmed, healed, or the recheck window ends.
//
// A row is confirmed if the source still holds what it held, the target still
// holds something else, and the target had the chance to catch up: nothing was
// written on either side since the pass's snapshots; or the window has passed,
// and neither the target's subscriptions nor a standby are known to be behind.
//
// The window alone proves less: the target is read after the source, and may
// hold a newer row by then. So a row that differs when the window has passed is
// confirmed one reading later, which shows that the source held the same before
// and after the target was read.
func (c *comparison) confirm(ctx context.Context) {
	pending := c.candidates
	defer func() { pending.close() }()
	defer func() { c.fail(c.checkVanished(ctx)) }()
	w := window{subscriptions: c.subscriptions}
	for pause := firstPause; pending.count > 0; pause = min(2*pause, maxPause) {
		rest, final, err := c.round(ctx, pending, &w, pause)
		if err != nil {
			c.result.Divergences.Volatile += pending.count - c.settled
			c.unsettled = "could not be read again"
			c.fail(fmt.Errorf("read differing rows again: %w", err))
			return
		}
		pending.close()
		pending = rest
		if pending.count == 0 {
			return
		}
		if final {
			c.result.Divergences.Volatile += pending.count
			return
		}
		wait := max(0, min(pause, c.recheck-time.Since(w.began)))
		if wait > 0 {
			c.observer.TableStage(c.result.Name, fmt.Sprintf("reading %s again in %s", countRows(pending.count), wait.Round(10*time.Millisecond)))
		}
		if err := sleep(ctx, wait); err != nil {
			c.result.Divergences.Volatile += pending.count
			c.unsettled = "could not be read again until the recheck window ended"
			c.fail(err)
			return
		}
	}
}

// window is the time that the target has to catch up.
type window struct {
	began time.Time // when rows were first read again
	late  int       // readings that began after its end
	// subscriptions are those of the target when it was last read.
	subscriptions []relation.Subscription
	// received is what each standby had received then, and must replay.
	received [2]relation.LSN
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *comparison) volatileReason() string {
	why := "kept changing until the recheck window ended"
	if c.unsettled != "" {
		why = c.unsettled
	}
	return fmt.Sprintf("%s that differed %s", countRows(c.result.Divergences.Volatile), why)
}

// round reads the pending candidates once on fresh snapshots and settles what
// can be settled. It returns the rest, and whether this was the last chance.
func (c *comparison) round(ctx context.Context, pending *spool, w *window, pause time.Duration) (rest *spool, final bool, err error) {
	if err := c.rechecks.acquire(ctx); err != nil {
		return nil, false, err
	}
	defer c.rechecks.release()
	c.observer.TableStage(c.result.Name, "reading "+countRows(pending.count)+" again")
	c.settled = 0

	fresh := pair{}
	defer fresh.close()
	lag, err := reopenBoth(ctx, &fresh, w.subscriptions, pause, c.reopen)
	if err != nil {
		return nil, false, err
	}
	replication, err := fresh.replication(ctx)
	if err != nil {
		return nil, false, err
	}
	judge, final, unsettled := w.judge(c.quiet(&fresh, replication), lag, replication, c.recheck)
	if unsettled != "" {
		c.unsettled = unsettled
	}
	rest = newSpool(c.spill.limit, c.spill.dir)
	if err := c.reread(ctx, &fresh, pending, rest, judge); err != nil {
		rest.close()
		return nil, false, err
	}
	return rest, final, nil
}

// judge says what may be concluded from a reading of fresh snapshots, whether it
// is the last one, and what keeps all from being settled, if anything does.
func (w *window) judge(quiet bool, lag replicationState, replication [2]relation.Replication, recheck time.Duration) (judge judgement, final bool, unsettled string) {
	w.subscriptions = replication[relation.Target].Subscriptions
	judge.quiet, final = quiet, quiet
	now := time.Now()
	if w.began.IsZero() {
		w.began = now
		for side, r := range replication {
			if r.Replay != nil {
				w.received[side] = r.Replay.Received
			}
		}
	}
	if now.Sub(w.began) >= recheck && !final {
		w.late++
		if lag == behind {
			unsettled = "could not be settled: replication to the target is behind"
		} else if side, frozen := w.frozen(replication); frozen {
			unsettled = fmt.Sprintf("could not be settled: the %s is a standby whose replay is paused, behind, or without its primary", side)
		} else {
			judge.late = true
		}
		final = w.late > 1 || !judge.late
	}
	return judge, final, unsettled
}

// judgement is what a round may conclude.
type judgement struct {
	quiet bool // neither side was written: whatever differs is confirmed
	late  bool // the window has passed, and the target is not known to be behind
}

// frozen reports whether a side is a standby that has not replayed all that it
// had received when rows were first read again: it shows an old state, and the
// other side may be right.
func (w *window) frozen(replication [2]relation.Replication) (side relation.Side, frozen bool) {
	for _, side := range relation.Sides {
		if r := replication[side].Replay; r != nil && (r.Paused || !r.Receiving || r.Replayed < w.received[side]) {
			return side, true
		}
	}
	return 0, false
}

// reopenBoth takes fresh snapshots, the source's before the target's, and in
// between waits at most so long for replication to bring the target up to the
// source's.
func reopenBoth(ctx context.Context, fresh *pair, subscriptions []relation.Subscription, atMost time.Duration, reopen func(context.Context, *pair, relation.Side) error) (replicationState, error) {
	if err := reopen(ctx, fresh, relation.Source); err != nil {
		return unknownLag, err
	}
	lag, err := awaitReplication(ctx, fresh.reader[relation.Source], subscriptions, atMost)
	if err != nil {
		return unknownLag, err
	}
	return lag, reopen(ctx, fresh, relation.Target)
}

// reopen takes a fresh snapshot of a side and checks that the table still has
// the shape that it had.
func (c *comparison) reopen(ctx context.Context, fresh *pair, side relation.Side) error {
	name := [2]relation.Name{c.result.Name, c.result.TargetName}[side]
	r, err := c.open[side](ctx, []relation.Name{name})
	if err != nil {
		return err
	}
	fresh.reader[side] = r
	t, err := r.Table(name)
	if err != nil {
		return err
	}
	if err := unaltered(c.at.table[side], t, side); err != nil {
		return err
	}
	fresh.table[side] = t
	return nil
}

// unaltered returns an error unless a table is what it was.
func unaltered(was, t *relation.Table, side relation.Side) error {
	same := len(was.Columns) == len(t.Columns) && t.OID == was.OID && len(t.Members) == len(was.Members)
	for i := 0; same && i < len(t.Columns); i++ {
		same = t.Columns[i].Name == was.Columns[i].Name && t.Columns[i].Type.OID == was.Columns[i].Type.OID
	}
	for i := 0; same && i < len(t.Members); i++ {
		same = t.Members[i].OID == was.Members[i].OID && t.Members[i].Filenode == was.Members[i].Filenode
	}
	if !same {
		return fmt.Errorf("%s was altered, truncated or rewritten on the %s during the pass", t.Name, side)
	}
	return nil
}

// isQuiet reports whether nothing was committed on either side since the pass's
// snapshots and nothing can be under way. It is a reason not to wait, never one
// to accuse.
func (c *comparison) quiet(fresh *pair, replication [2]relation.Replication) bool {
	return quietSince(c.moment, fresh, replication)
}

func quietSince(moment [2]relation.Moment, fresh *pair, replication [2]relation.Replication) bool {
	for _, side := range relation.Sides {
		was, now := moment[side], fresh.reader[side].Moment()
		if fresh.reader[side].Server().Standby || was.Writing || now.Writing || was.Visible == "" || was.Visible != now.Visible {
			return false
		}
	}
	if replication[0].Unknown || replication[1].Unknown {
		return false
	}
	subscribed := slices.ContainsFunc(replication[relation.Target].Subscriptions, func(s relation.Subscription) bool { return s.Enabled })
	return len(replication[relation.Source].Slots) == 0 && !subscribed
}

// replication tells what both sides know of logical replication now.
func (p *pair) replication(ctx context.Context) (r [2]relation.Replication, err error) {
	for _, side := range relation.Sides {
		if r[side], err = p.reader[side].Replication(ctx); err != nil {
			return r, err
		}
	}
	return r, nil
}

// replicationState is what is known of the target's lag.
type replicationState int

const (
	unknownLag replicationState = iota // no subscription that we can follow
	caughtUp                           // all of the source's fresh snapshot is applied
	behind                             // it is known not to be
)

// awaitReplication waits, at most so long, until the target's subscriptions
// have applied all that the source's fresh snapshot can see.
func awaitReplication(ctx context.Context, source Reader, subscriptions []relation.Subscription, atMost time.Duration) (replicationState, error) {
	if len(subscriptions) == 0 || source.Server().Standby {
		return unknownLag, nil
	}
	deadline := time.Now().Add(atMost)
	for {
		r, err := source.Replication(ctx)
		if err != nil {
			return unknownLag, err
		}
		if r.Unknown {
			return unknownLag, nil
		}
		state := lagOf(subscriptions, r.Slots, source.Moment().LSN)
		if state != behind || time.Now().After(deadline) {
			return state, nil
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return unknownLag, err
		}
	}
}

// lagOf compares the slots of the target's subscriptions with a position of the
// source. A subscription that is disabled counts while its slot waits for it:
// once enabled, it goes on from there.
func lagOf(subscriptions []relation.Subscription, slots map[string]relation.LSN, until relation.LSN) replicationState {
	state := unknownLag
	for _, s := range subscriptions {
		at, found := slots[s.Slot]
		switch {
		case !found && !s.Enabled:
			continue
		case !s.Synced || found && at < until:
			return behind
		case !found:
			return unknownLag // it follows another server
		}
		state = caughtUp
	}
	return state
}

// reread reads the pending candidates on fresh snapshots. Those that cannot be
// settled yet go to rest.
func (c *comparison) reread(ctx context.Context, fresh *pair, pending, rest *spool, judge judgement) error {
	if c.planned.Indexed[0] && c.planned.Indexed[1] {
		return c.rereadByKey(ctx, fresh, pending, rest, judge)
	}
	return c.rereadByScan(ctx, fresh, pending, rest, judge)
}

// batchSize is how many keys are looked up at a time: fewer for wide tables,
// whose columns' hashes are kept meanwhile.
func (c *comparison) batchSize() int {
	return max(16, min(1000, 100_000/(len(c.planned.Fields)+8)))
}

func (c *comparison) rereadByKey(ctx context.Context, fresh *pair, pending, rest *spool, judge judgement) error {
	return c.inBatches(ctx, pending, func(ctx context.Context, batch []*difference) error {
		rows, err := c.lookUp(ctx, fresh, batch)
		if err != nil {
			return err
		}
		for _, d := range batch {
			if err := c.settle(d, rows[string(d.key)], rest, judge); err != nil {
				return err
			}
		}
		return nil
	})
}

// inBatches calls f with the differences, some at a time, from several
// goroutines at once.
func (c *comparison) inBatches(ctx context.Context, list *spool, f func(context.Context, []*difference) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(c.workers)
	var batch []*difference
	flush := func() {
		if len(batch) == 0 {
			return
		}
		b := batch
		batch = nil
		g.Go(func() error { return f(ctx, b) })
	}
	size := c.batchSize()
	err := list.each(func(record []byte) error {
		d, err := decodeDifference(record)
		if err != nil {
			return err
		}
		if batch = append(batch, d); len(batch) == size {
			flush()
		}
		return ctx.Err()
	})
	flush()
	if waited := g.Wait(); waited != nil {
		return waited
	}
	return err
}

// freshRow is a row as it was read again.
type freshRow struct {
	hash merkle.Hash
	relation.Row
}

// freshRows are the rows of one key on each side.
type freshRows [2][]freshRow

func (c *comparison) lookUp(ctx context.Context, fresh *pair, batch []*difference) (map[string]*freshRows, error) {
	rows := make(map[string]*freshRows, len(batch))
	keys := make([][]byte, len(batch))
	for i, d := range batch {
		keys[i] = d.key
		rows[string(d.key)] = new(freshRows)
	}
	err := fresh.each(ctx, func(ctx context.Context, side relation.Side) error {
		return fresh.reader[side].Lookup(ctx, fresh.table[side], &c.planned.Form, keys, c.showValues(), func(hash merkle.Hash, row *relation.Row) error {
			if r := rows[string(row.Key)]; r != nil {
				r[side] = append(r[side], freshRow{hash, cloneRow(row)})
			}
			return nil
		})
	})
	return rows, err
}

func cloneRow(r *relation.Row) relation.Row {
	return relation.Row{
		Key: bytes.Clone(r.Key), Columns: slices.Clone(r.Columns), KeyText: slices.Clone(r.KeyText),
		Values: slices.Clone(r.Values), Location: r.Location,
	}
}

func (c *comparison) showValues() bool { return c.values == ValuesFull }

// surplusOf removes what both sides have and returns the rest, sorted by hash.
func surplusOf(rows *freshRows) freshRows {
	var rest freshRows
	for side := range rows {
		slices.SortFunc(rows[side], func(a, b freshRow) int { return a.hash.Compare(b.hash) })
	}
	i, j := 0, 0
	for i < len(rows[0]) || j < len(rows[1]) {
		switch {
		case j == len(rows[1]) || i < len(rows[0]) && rows[0][i].hash.Compare(rows[1][j].hash) < 0:
			rest[0] = append(rest[0], rows[0][i])
			i++
		case i == len(rows[0]) || rows[1][j].hash.Compare(rows[0][i].hash) < 0:
			rest[1] = append(rest[1], rows[1][j])
			j++
		default:
			i++
			j++
		}
	}
	return rest
}

// versionOf identifies rows by where they are stored.
func versionOf(rows []freshRow) uint64 {
	h := fnv.New64a()
	for i := range rows {
		_, _ = io.WriteString(h, rows[i].Location)
		_, _ = h.Write([]byte{0})
	}
	return h.Sum64()
}

func runsOf(rows []freshRow) []run {
	var runs []run
	for i := range rows {
		if n := len(runs); n > 0 && runs[n-1].hash == rows[i].hash {
			runs[n-1].count++
			continue
		}
		runs = append(runs, run{rows[i].hash, 1})
	}
	return runs
}

// settle judges one candidate by what was read again.
func (c *comparison) settle(d *difference, read *freshRows, rest *spool, judge judgement) error {
	for _, side := range relation.Sides {
		if len(d.surplus[side]) > 0 && len(read[side]) == 0 && !judge.quiet {
			c.noteVanished(side, d.key)
		}
	}
	rows := surplusOf(read)
	now := &difference{key: d.key, surplus: [2][]run{runsOf(rows[0]), runsOf(rows[1])}, version: versionOf(read[relation.Source])}
	keep, err := c.weigh(d, now, rest, judge)
	if err != nil || !keep {
		return err
	}
	c.report(c.divergences(rows), d.key)
	return nil
}

// weigh compares a candidate with its second reading. It reports whether the
// difference is confirmed.
func (c *comparison) weigh(was, now *difference, rest *spool, judge judgement) (confirmed bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settled++
	if judge.quiet && !sameSurplus(was, now) {
		return false, errContradiction
	}
	if now.empty() {
		c.result.Divergences.Healed++
		return false, nil
	}
	changed := was.changed || !slices.Equal(was.surplus[relation.Source], now.surplus[relation.Source]) ||
		was.version != 0 && was.version != now.version
	if judge.quiet || judge.late && was.suspect && !changed {
		c.result.Divergences.add(now, c.keyless())
		return true, nil
	}
	c.settled--
	now.changed, now.suspect = changed, judge.late && !changed
	return false, rest.append(now.appendTo(nil))
}

// errContradiction says that two readings of rows that nobody wrote differ.
var errContradiction = errors.New("rows that nobody wrote were not the same when read again: an index may not find all rows (check with amcheck, then REINDEX), or bytes were damaged on the way")

func sameSurplus(a, b *difference) bool {
	return slices.Equal(a.surplus[0], b.surplus[0]) && slices.Equal(a.surplus[1], b.surplus[1])
}

// add counts a confirmed difference.
func (n *Counts) add(d *difference, keyless bool) {
	missing, extra, mismatched := d.kinds(keyless)
	n.Missing += missing
	n.Extra += extra
	n.Mismatched += mismatched
}

func (c *comparison) keyless() bool { return len(c.planned.Key) == 0 }

// divergences turns the surplus rows of one key into what a report shows.
func (c *comparison) divergences(rows freshRows) []Divergence {
	var list []Divergence
	for i := range max(len(rows[0]), len(rows[1])) {
		var side [2]*freshRow
		for s := range rows {
			if i < len(rows[s]) {
				side[s] = &rows[s][i]
			}
		}
		list = append(list, c.divergence(side))
	}
	return list
}

func (c *comparison) divergence(side [2]*freshRow) Divergence {
	d := Divergence{Kind: Mismatched}
	row := side[relation.Source]
	switch {
	case side[relation.Target] == nil:
		d.Kind = Missing
	case side[relation.Source] == nil:
		d.Kind = Extra
		row = side[relation.Target]
	}
	if c.values != ValuesNone {
		for i, f := range c.planned.KeyFields() {
			d.Key = append(d.Key, NamedValue{f.Name[relation.Source], row.KeyText[i]})
		}
	}
	for i := range c.planned.Fields {
		differs := d.Kind != Mismatched || side[0].Columns[i] != side[1].Columns[i]
		if !differs {
			continue
		}
		if d.Kind == Mismatched {
			d.Columns = append(d.Columns, c.planned.Fields[i].Name[relation.Source])
		}
		for s, r := range side {
			if r != nil && i < len(r.Values) {
				d.Values[s] = append(d.Values[s], NamedValue{c.planned.Fields[i].Name[relation.Source], r.Values[i]})
			}
		}
	}
	return d
}

// report hands confirmed divergences of one key to the observer and keeps those
// with the lowest keys.
func (c *comparison) report(list []Divergence, key []byte) {
	for i := range list {
		c.observer.Diverged(c.result.Name, &list[i])
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range list {
		c.reported.add(key, list[i])
	}
}

// lowest keeps the items with the lowest keys, in their order.
type lowest[T any] struct {
	limit   int
	keys    [][]byte
	items   []T
	dropped bool // whether there were more
}

// keeps reports whether an item of that key would be kept now.
func (l *lowest[T]) keeps(key []byte) bool {
	return len(l.keys) < l.limit || l.limit > 0 && bytes.Compare(key, l.keys[l.limit-1]) < 0
}

func (l *lowest[T]) add(key []byte, item T) {
	if len(l.keys) == l.limit {
		l.dropped = true
		if !l.keeps(key) {
			return
		}
		l.keys, l.items = l.keys[:l.limit-1], l.items[:l.limit-1]
	}
	at := sort.Search(len(l.keys), func(i int) bool { return bytes.Compare(l.keys[i], key) > 0 })
	l.keys, l.items = slices.Insert(l.keys, at, key), slices.Insert(l.items, at, item)
}

// detailSlice is how many rows are kept in memory at a time while their details
// are read in a scan.
const detailSlice = 1 << 14

// rereadByScan is for tables whose rows no index finds on both sides: it reads
// both tables again, finds the differences anew, and compares them with the
// candidates, slice by slice.
func (c *comparison) rereadByScan(ctx context.Context, fresh *pair, pending, rest *spool, judge judgement) error {
	now := newSpool(c.spill.limit, c.spill.dir)
	defer now.close()
	leaves, err := merkle.Diff(c.trees[0], c.trees[1])
	if err != nil {
		return err
	}
	var buf []byte
	f := c.finder(fresh)
	err = f.findByScan(ctx, leaves, func(d *difference) error {
		buf = d.appendTo(buf[:0])
		return now.append(buf)
	})
	if err != nil {
		return err
	}
	return c.inSlices(pending, func(slice map[string]*difference) error {
		return c.settleSlice(ctx, fresh, slice, now, rest, judge)
	})
}

// inSlices calls f with the differences by key, some at a time.
func (c *comparison) inSlices(list *spool, f func(map[string]*difference) error) error {
	slice := make(map[string]*difference)
	flush := func() error {
		if len(slice) == 0 {
			return nil
		}
		err := f(slice)
		clear(slice)
		return err
	}
	err := list.each(func(record []byte) error {
		d, err := decodeDifference(record)
		if err != nil {
			return err
		}
		if slice[string(d.key)] = d; len(slice) < detailSlice {
			return nil
		}
		return flush()
	})
	return errors.Join(err, flush())
}

// settleSlice judges a slice of candidates, given all differences of the fresh
// snapshots.
func (c *comparison) settleSlice(ctx context.Context, fresh *pair, slice map[string]*difference, now, rest *spool, judge judgement) error {
	found := make(map[string]*difference, len(slice))
	err := now.each(func(record []byte) error {
		d, err := decodeDifference(record)
		if err != nil {
			return err
		}
		if slice[string(d.key)] != nil {
			found[string(d.key)] = d
		}
		return nil
	})
	if err != nil {
		return err
	}
	confirmed := make(map[string]*difference)
	for key, was := range slice {
		d := found[key]
		if d == nil {
			d = &difference{key: was.key}
		}
		ok, err := c.weigh(was, d, rest, judge)
		if err != nil {
			return err
		}
		if ok {
			confirmed[key] = d
		}
	}
	if len(confirmed) == 0 {
		return nil
	}
	return c.describe(ctx, fresh, confirmed)
}

// describe reads the confirmed rows' details in another scan, and reports them.
func (c *comparison) describe(ctx context.Context, fresh *pair, confirmed map[string]*difference) error {
	keyless := c.keyless()
	rows := make(map[string]*freshRows, len(confirmed))
	// A keyless table may hold millions of copies: one shows them all.
	wants := func(side relation.Side, key []byte, hash merkle.Hash) (string, bool) {
		id := string(key)
		if keyless {
			id = string(hash.AppendBytes(nil))
		}
		if confirmed[id] == nil {
			return "", false
		}
		r := rows[id]
		return id, !keyless || r == nil || len(r[side]) == 0
	}
	for _, side := range relation.Sides {
		err := fresh.reader[side].Find(ctx, fresh.table[side], &c.planned.Form, c.showValues(),
			func(key []byte, hash merkle.Hash) bool {
				_, ok := wants(side, key, hash)
				return ok
			},
			func(hash merkle.Hash, row *relation.Row) error {
				id, _ := wants(side, row.Key, hash)
				if rows[id] == nil {
					rows[id] = new(freshRows)
				}
				rows[id][side] = append(rows[id][side], freshRow{hash, cloneRow(row)})
				return nil
			})
		if err != nil {
			return err
		}
	}
	keys := make([]string, 0, len(confirmed))
	for key := range confirmed {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		read := rows[key]
		if read == nil {
			return errors.New("a row that was just read is gone from the same snapshot")
		}
		if keyless {
			c.report([]Divergence{c.keylessDivergence(confirmed[key], read)}, confirmed[key].key)
			continue
		}
		c.report(c.divergences(surplusOf(read)), confirmed[key].key)
	}
	return nil
}

func (c *comparison) keylessDivergence(d *difference, read *freshRows) Divergence {
	out := Divergence{Kind: Missing, Count: d.total}
	side := relation.Source
	if len(d.surplus[relation.Target]) > 0 {
		out.Kind, side = Extra, relation.Target
	}
	if c.values != ValuesNone {
		out.RowHash = d.surplus[side][0].hash.String()
	}
	if len(read[side]) == 0 {
		return out
	}
	row := &read[side][0]
	out.Location = row.Location
	for i := range row.Values {
		out.Values[side] = append(out.Values[side], NamedValue{c.planned.Fields[i].Name[relation.Source], row.Values[i]})
	}
	return out
}
