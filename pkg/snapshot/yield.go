package snapshot

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// yieldEvery is how often it is looked whether another session waits for what
// the snapshot has locked. One that is seen twice in a row is yielded to: a
// shorter wait may end by itself, and the pass could not begin again where it
// was.
const yieldEvery = time.Second

// waiter is another session that waits for a lock which conflicts with reading.
type waiter struct {
	pid, relation string
}

// watch looks after other sessions until the snapshot ends. ACCESS SHARE is in
// the way of ACCESS EXCLUSIVE alone, but whoever comes after the one that waits
// for that queues behind it, readers too: an ALTER TABLE that waits for a pass
// stops the application.
//
// Locks belong to transactions, and the transaction that has them has the
// snapshot too. So all of it is given up, and what was not read by then is not
// read.
func (s *Snapshot) watch() {
	tick := time.NewTicker(yieldEvery)
	defer tick.Stop()
	before := make(map[waiter]bool)
	for {
		select {
		case <-s.lost.Done():
			return
		case <-tick.C:
		}
		now, err := s.waiters()
		if err != nil {
			s.abandon(fmt.Errorf("the session that held the snapshot of the %s was lost: %w", s.side, err))
			return
		}
		seen := make(map[waiter]bool, len(now))
		for _, w := range now {
			if before[w] {
				s.abandon(s.yielded(w))
				return
			}
			seen[w] = true
		}
		before = seen
	}
}

// waiters lists the sessions that wait for a lock which conflicts with one that
// the holder or a worker has at this snapshot. Workers have locks that the
// holder has not: on indexes and materialized views.
func (s *Snapshot) waiters() ([]waiter, error) {
	rows, err := s.holderQuery(s.lost, fmt.Sprintf(`WITH l AS MATERIALIZED (
 SELECT pid, relation, mode, granted FROM pg_locks WHERE locktype = 'relation' AND database = %d)
SELECT DISTINCT w.pid, w.relation::regclass::text FROM l AS w JOIN l AS h USING (relation)
 WHERE NOT w.granted AND w.mode = 'AccessExclusiveLock' AND h.granted AND h.pid = ANY ('{%s}')`,
		s.db.server.DatabaseOID, strings.Join(s.readers.backends(), ",")))
	if err != nil {
		return nil, err
	}
	list := make([]waiter, len(rows))
	for i, r := range rows {
		list[i] = waiter{pid: *r[0], relation: *r[1]}
	}
	return list, nil
}

// yielded says whom the snapshot was given up for. The waiting statement is
// not named: it may hold values.
func (s *Snapshot) yielded(w waiter) error {
	who := "session " + w.pid
	// Statistics stay what they were when the transaction first looked.
	rows, err := s.holderQuery(s.lost, "SELECT application_name FROM pg_stat_get_activity("+w.pid+")")
	if err == nil && len(rows) == 1 && rows[0][0] != nil && *rows[0][0] != "" {
		who += fmt.Sprintf(" (application %q)", *rows[0][0])
	}
	return &TableError{
		Reason: fmt.Sprintf("not read to the end: %s waited on the %s for %s, which the pass had locked, and the pass gave up its locks there", who, s.side, w.relation),
		Hint:   "run the pass again; --snapshot table locks one table at a time",
	}
}

// abandon ends the snapshot before its time: it ends what is being read at it,
// and its locks. Whoever reads at it gets the cause.
func (s *Snapshot) abandon(cause error) {
	s.lose(cause)
	s.db.forget(s)
	s.readers.hangUp() // a reader that is held up elsewhere would keep its locks
	s.release()
}

// bind returns a context that also ends with the snapshot.
func (s *Snapshot) bind(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.lost, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// explain replaces an error that is owed to the snapshot's end by its cause.
func (s *Snapshot) explain(err error) error {
	if err != nil && s.lost.Err() != nil {
		return context.Cause(s.lost)
	}
	return err
}
