package snapshot

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/verifierd/verifierd/pkg/relation"
	"github.com/verifierd/verifierd/pkg/rowhash"
)

// antiJoinMemory is work_mem while orphans are looked for, on each of the
// workers' connections: it holds the hash table of a million parents. What does
// not fit goes to temporary files of the server.
const antiJoinMemory = "64MB"

// Orphans reads the rows of a table that a foreign key calls orphans, among
// those that the form has, and emits them as the form has them. Its key may be
// any of the row's columns. Nothing is emitted from two goroutines at once.
func (s *Snapshot) Orphans(ctx context.Context, ref *relation.Reference, form *relation.Form, emit func(row *relation.Row) error) error {
	child, parent, err := s.related(ref)
	if err != nil || len(child.Own()) == 0 {
		return err
	}
	if ref.Period && s.db.server.Number < 140000 {
		return &TableError{Reason: fmt.Sprintf("whether periods are covered cannot be asked of PostgreSQL %d, on the %s", s.db.server.Major(), s.side)}
	}
	h, err := s.hasher(form, len(form.Fields))
	if err != nil {
		return err
	}
	query := "SELECT " + orphanList(form, s.side) + " FROM " + fromOwn(child, "c") + " WHERE " +
		and(orphanCondition(ref, parent), form.Where[s.side])
	stream := h.NewStream(func(_ []byte, row rowhash.Row) error { return emit(orphanRow(h, row, len(form.Fields))) })
	err = s.db.withWorker(ctx, s, func(ctx context.Context, sess *session) error {
		if err := sess.preferIndexes(ctx, false); err != nil {
			return err
		}
		return sess.forAntiJoin(ctx, ref.Period, func() error {
			return sess.attended(ctx, s, func() error { return sess.copy(ctx, query, 0, stream) })
		})
	})
	if err != nil {
		return fmt.Errorf("look for orphans of %s on the %s: %w", ref, s.side, err)
	}
	return nil
}

// OrphansAmong is Orphans among the rows that have one of the keys, and those
// that refer to a row with one of the parents' keys, all given as canonical
// bytes. It finds them by the tables' indexes. The parents' key columns are the
// referenced ones.
func (s *Snapshot) OrphansAmong(ctx context.Context, ref *relation.Reference, form, childForm, parentForm *relation.Form, keys, parents [][]byte, emit func(row *relation.Row) error) error {
	child, parent, err := s.related(ref)
	if err != nil || len(keys)+len(parents) == 0 {
		return err
	}
	h, err := s.hasher(form, len(form.Fields))
	if err != nil {
		return err
	}
	var params [][]byte
	var types []uint32
	var candidates []func(member string) string // subselects of ctids
	add := func(f *relation.Form, keys [][]byte, on func(i int, key *relation.Field) string) error {
		if len(keys) == 0 {
			return nil
		}
		p, t, err := s.keyParams(f, keys)
		if err != nil {
			return err
		}
		var unnest, columns, conditions []string
		for i, k := range f.KeyFields() {
			unnest = append(unnest, fmt.Sprintf("$%d::%s[]", len(params)+i+1, k.CommonSQL(s.side)))
			columns = append(columns, relation.QuoteIdent(k.Name[s.side]))
			conditions = append(conditions, on(i, k))
		}
		params, types = append(params, p...), append(types, t...)
		candidates = append(candidates, func(member string) string {
			return fmt.Sprintf("SELECT c.ctid FROM unnest(%s) AS p(%s) JOIN ONLY %s AS c ON %s",
				strings.Join(unnest, ", "), strings.Join(columns, ", "), member, strings.Join(conditions, " AND "))
		})
		return nil
	}
	err = add(childForm, keys, func(_ int, k *relation.Field) string {
		name := relation.QuoteIdent(k.Name[s.side])
		return "c." + name + " = p." + name
	})
	if err == nil {
		err = add(parentForm, parents, func(_ int, k *relation.Field) string {
			return ref.On[slices.Index(ref.Referenced, k.Name[s.side])]
		})
	}
	if err != nil {
		return fmt.Errorf("look for orphans of %s on the %s: %w", ref, s.side, err)
	}
	var tuple []byte
	err = s.db.withWorker(ctx, s, func(ctx context.Context, sess *session) error {
		if err := sess.preferIndexes(ctx, true); err != nil {
			return err
		}
		for _, m := range child.Own() {
			var at []string
			for _, candidate := range candidates {
				at = append(at, candidate(m.Name.SQL()))
			}
			query := fmt.Sprintf("SELECT %s FROM ONLY %s AS c WHERE c.ctid = ANY (ARRAY(%s)) AND %s",
				orphanList(form, s.side), m.Name.SQL(), strings.Join(at, " UNION "), and(orphanCondition(ref, parent), form.Where[s.side]))
			err := sess.queryBinary(ctx, query, params, types, func(fields [][]byte) error {
				tuple = appendTuple(tuple[:0], fields)
				row, err := h.Hash(tuple)
				if err != nil {
					return err
				}
				return emit(orphanRow(h, row, len(form.Fields)))
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("look for orphans of %s on the %s: %w", ref, s.side, err)
	}
	return nil
}

func (s *Snapshot) related(ref *relation.Reference) (child, parent *relation.Table, err error) {
	if child, err = s.Table(ref.Table); err != nil {
		return nil, nil, err
	}
	parent, err = s.Table(ref.References)
	return child, parent, err
}

// orphanList selects a form's fields, and then each of them in text form.
func orphanList(form *relation.Form, side relation.Side) string {
	exprs := []string{form.Select(side)}
	for i := range form.Fields {
		exprs = append(exprs, text(&form.Fields[i], side))
	}
	return strings.Join(exprs, ", ")
}

func orphanRow(h *rowhash.Hasher, hashed rowhash.Row, fields int) *relation.Row {
	row := &relation.Row{Key: hashed.Key, KeyText: make([]*string, fields)}
	for i := range fields {
		if v, null := h.Extra(i); !null {
			text := string(v)
			row.KeyText[i] = &text
		}
	}
	return row
}

// fromOwn returns a FROM item over the table's own members, listed one by one:
// a partition that is attached meanwhile would show through the snapshot.
func fromOwn(t *relation.Table, alias string) string {
	from := func(name relation.Name) string {
		if t.Kind == relation.View {
			return name.SQL()
		}
		return "ONLY " + name.SQL()
	}
	members := t.Own()
	switch len(members) {
	case 0: // of a partitioned table, which holds no rows itself
		return from(t.Name) + " AS " + alias
	case 1:
		return from(members[0].Name) + " AS " + alias
	}
	var columns, parts []string
	for i := range t.Columns {
		columns = append(columns, relation.QuoteIdent(t.Columns[i].Name))
	}
	list := strings.Join(columns, ", ")
	for i := range members {
		parts = append(parts, "SELECT "+list+" FROM "+from(members[i].Name))
	}
	return "(" + strings.Join(parts, " UNION ALL ") + ") AS " + alias
}

// orphanCondition is true for a row c that refers to no row of the table. NULLs
// refer to nothing, unless MATCH FULL wants all or none. A period must be covered
// by those of the rows referred to, together.
func orphanCondition(ref *relation.Reference, parent *relation.Table) string {
	var conditions, nulls []string
	for _, name := range ref.Columns {
		c := "c." + relation.QuoteIdent(name)
		conditions, nulls = append(conditions, c+" IS NOT NULL"), append(nulls, c+" IS NULL")
	}
	if ref.Full && len(nulls) > 1 {
		conditions = []string{"NOT (" + strings.Join(nulls, " AND ") + ")"}
	}
	match := " FROM " + fromOwn(parent, "p") + " WHERE " + strings.Join(ref.On, " AND ")
	if !ref.Period {
		return strings.Join(append(conditions, "NOT EXISTS (SELECT"+match+")"), " AND ")
	}
	last := len(ref.Columns) - 1
	period, covering := "c."+relation.QuoteIdent(ref.Columns[last]), "p."+relation.QuoteIdent(ref.Referenced[last])
	covered := fmt.Sprintf("coalesce((SELECT %s <@ range_agg(%s)%s), false)", period, covering, match)
	return strings.Join(append(conditions, "NOT "+covered), " AND ")
}

// forAntiJoin runs f under settings that suit one large join. Indexes are left
// out: what a damaged one hides would make orphans of rows that have a parent.
// Periods would be compared each with each without.
func (s *session) forAntiJoin(ctx context.Context, byIndex bool, f func() error) error {
	settings := "SAVEPOINT f; SET LOCAL work_mem = '" + antiJoinMemory + "'"
	if s.db.server.Number >= 130000 {
		settings += "; SET LOCAL hash_mem_multiplier = 1"
	}
	if !byIndex {
		settings += "; SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_bitmapscan = off"
	}
	if err := s.exec(ctx, settings); err != nil {
		return err
	}
	if err := f(); err != nil {
		return err // whoever lent the session ends its transaction
	}
	return s.exec(ctx, "ROLLBACK TO SAVEPOINT f; RELEASE SAVEPOINT f")
}

// attended runs f, a statement that may be silent for as long as it takes: no
// byte comes before the first orphan. In place of the watchdog, another session
// is asked now and then whether the server is still at it.
func (s *session) attended(ctx context.Context, snap *Snapshot, f func() error) error {
	done := make(chan struct{})
	ended := make(chan struct{})
	s.bulk.patient.Store(true)
	go func() {
		defer close(ended)
		tick := time.NewTicker(max(s.db.config.StallTimeout/2, 10*time.Millisecond))
		defer tick.Stop()
		idle, reads := 0, s.bulk.reads.Load()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			active, err := snap.isActive(ctx, s.pid)
			if err != nil {
				s.bulk.patient.Store(false) // nobody to ask: bytes are all there is to go by
				return
			}
			if now := s.bulk.reads.Load(); active || now != reads {
				idle, reads = 0, now
				continue
			}
			if idle++; idle == 2 {
				s.bulk.giveUp()
				return
			}
		}
	}()
	err := f()
	close(done)
	<-ended
	s.bulk.patient.Store(false)
	return err
}

// isActive reports whether a backend runs a statement.
func (s *Snapshot) isActive(ctx context.Context, pid string) (active bool, err error) {
	err = s.withHolder(ctx, func(ctx context.Context, holder *session) error {
		// Statistics stay what they were when the transaction first looked.
		if _, err := holder.query(ctx, "SELECT pg_stat_clear_snapshot()"); err != nil {
			return err
		}
		rows, err := holder.query(ctx, "SELECT 1 FROM pg_stat_get_activity("+pid+") WHERE state IN ('active', 'disabled')") // disabled: by track_activities
		active = len(rows) > 0
		return err
	})
	return active, err
}
