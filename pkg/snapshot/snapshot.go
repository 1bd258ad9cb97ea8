package snapshot

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/verifierd/verifierd/pkg/relation"
)

// Snapshot is a database at one moment: locks that keep its tables from being
// truncated or rewritten, an exported MVCC snapshot that the workers share,
// and the catalog as of then.
type Snapshot struct {
	db     *Database
	side   relation.Side
	id     string
	moment relation.Moment

	mu     sync.Mutex // guards holder
	holder *session   // keeps the snapshot and the locks

	lost     context.Context // ends with the snapshot; its cause says why
	lose     context.CancelCauseFunc
	watching sync.WaitGroup
	readers  readers

	locks  relation.LockBudget
	tables map[relation.Name]*relation.Table
	broken map[relation.Name]error // why a table cannot be read
}

// Open takes a snapshot in which the named tables can be read. Tables that
// cannot be locked or read do not fail it; Table tells why for each.
func (db *Database) Open(ctx context.Context, side relation.Side, names []relation.Name) (*Snapshot, error) {
	holder, err := db.open(ctx)
	if err != nil {
		return nil, err
	}
	s := &Snapshot{
		db: db, side: side, holder: holder,
		tables: make(map[relation.Name]*relation.Table),
		broken: make(map[relation.Name]error),
	}
	s.lost, s.lose = context.WithCancelCause(context.Background())
	if err := s.start(ctx, names); err != nil {
		s.Close()
		return nil, err
	}
	// On a standby the only one that waits is recovery, and how long that may
	// is a setting of the server.
	if !db.server.Standby {
		s.watching.Go(s.watch)
	}
	return s, nil
}

func (s *Snapshot) start(ctx context.Context, names []relation.Name) error {
	// What to lock must be known before the transaction's first query: an
	// MVCC snapshot does not protect from TRUNCATE or a rewriting ALTER, both
	// of which then read as no rows; so the locks come first.
	var lockable map[relation.Name][]lockTarget
	err := s.holder.unhurried(ctx, func() (err error) {
		lockable, err = s.db.lockTargets(ctx, s.holder, names)
		return err
	})
	if err != nil {
		return fmt.Errorf("list tables: %w", err)
	}
	if err := s.holder.exec(ctx, s.db.begin("")); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	if err := s.lock(ctx, lockable); err != nil {
		return err
	}
	if err := s.export(ctx); err != nil {
		return fmt.Errorf("export snapshot: %w", err)
	}
	if err := s.holder.checkPinned(ctx); err != nil {
		return err
	}
	s.holder.moveTo(s)
	if err := s.loadCatalog(ctx, names); err != nil {
		return fmt.Errorf("read catalog: %w", err)
	}
	return nil
}

// lock takes ACCESS SHARE on every table, each under a savepoint.
func (s *Snapshot) lock(ctx context.Context, targets map[relation.Name][]lockTarget) error {
	names := sortedNames(targets)
	if err := s.checkLockBudget(ctx, targets); err != nil {
		return err
	}
	if all := lockStatement(targets, names); all != "" {
		err := s.holder.exec(ctx, "SAVEPOINT t;"+all+";RELEASE SAVEPOINT t")
		if err == nil {
			return nil
		}
		if err := s.undoLock(ctx, err); err != nil {
			return err
		}
	}
	// Something cannot be locked; find out what, so that the rest is verified.
	// Others may queue behind what is locked by then, so that the pass does not
	// wait for each table in turn.
	patience := time.Now().Add(s.db.config.LockTimeout)
	for _, name := range names {
		stmt := lockStatement(targets, []relation.Name{name})
		if stmt == "" {
			continue
		}
		if time.Now().After(patience) {
			stmt += " NOWAIT"
		}
		err := s.holder.exec(ctx, "SAVEPOINT t;"+stmt+";RELEASE SAVEPOINT t")
		if err == nil {
			continue
		}
		if err := s.undoLock(ctx, err); err != nil {
			return err
		}
		s.broken[name] = &TableError{Reason: fmt.Sprintf("cannot lock %s on the %s: %v", name, s.side, err), Err: err}
	}
	return nil
}

func (s *Snapshot) undoLock(ctx context.Context, cause error) error {
	if s.holder.conn.IsClosed() {
		return fmt.Errorf("lock tables: %w", cause)
	}
	return s.holder.exec(ctx, "ROLLBACK TO SAVEPOINT t; RELEASE SAVEPOINT t")
}

func lockStatement(targets map[relation.Name][]lockTarget, names []relation.Name) string {
	var only []string
	for _, name := range names {
		for _, m := range targets[name] {
			if m.kind == relation.Ordinary || m.kind == relation.Partitioned {
				only = append(only, "ONLY "+m.name.SQL())
			} else if m.kind == relation.View {
				only = append(only, m.name.SQL())
			}
		}
	}
	if len(only) == 0 {
		return ""
	}
	return "LOCK TABLE " + strings.Join(only, ", ") + " IN ACCESS SHARE MODE"
}

// checkLockBudget refuses to take so many locks that the server runs out of
// shared memory for them: thousands of partitions do that.
func (s *Snapshot) checkLockBudget(ctx context.Context, targets map[relation.Name][]lockTarget) error {
	available, err := s.db.lockBudget(ctx, s.holder)
	if err != nil {
		return fmt.Errorf("read lock budget: %w", err)
	}
	s.locks = relation.LockBudget{Needed: locksNeeded(targets, s.db.config.Workers), Available: available}
	if s.locks.Needed > s.locks.Available {
		return &relation.LockBudgetError{Side: s.side, Budget: s.locks}
	}
	return nil
}

// locksNeeded estimates how many places in the server's lock table it takes to
// read the targets. The table has a place for each object that is locked, and
// two for holders: the snapshot's connection holds all tables, and each worker,
// until the snapshot ends, those it has read and their indexes, at worst all.
func locksNeeded(targets map[relation.Name][]lockTarget, workers int) int64 {
	var members, indexes int64
	seen := make(map[uint32]bool)
	for _, list := range targets {
		for _, m := range list {
			if !seen[m.oid] {
				seen[m.oid] = true
				members++
				indexes += m.indexes
			}
		}
	}
	// Up to 16 locks a backend live in its own fast-path slots, not in the table.
	holders := members*int64(1+workers) + indexes*int64(workers)
	return max(members+indexes, (holders+1)/2)
}

// lockBudget returns how many locks the server can spare for a pass: half of
// those its lock table was sized for. The query would take the snapshot, so it
// goes through SHOW, which does not.
func (db *Database) lockBudget(ctx context.Context, s *session) (int64, error) {
	product := func(names ...string) (sum int64, err error) {
		for _, name := range names {
			v, err := s.queryOne(ctx, "SHOW "+name)
			if err != nil {
				return 0, err
			}
			sum += parseInt(v[0])
		}
		return sum, nil
	}
	perSession, err := product("max_locks_per_transaction")
	if err != nil {
		return 0, err
	}
	sessions, err := product("max_connections", "max_prepared_transactions")
	if err != nil {
		return 0, err
	}
	return perSession * sessions / 2, nil
}

func (s *Snapshot) export(ctx context.Context) error {
	current := "pg_current_snapshot()"
	if s.db.server.Number < 130000 {
		current = "txid_current_snapshot()"
	}
	lsn := "pg_current_wal_insert_lsn()"
	if s.db.server.Standby {
		lsn = "pg_last_wal_replay_lsn()"
	}
	s.moment.TakenAt = time.Now()
	// The newest transaction that is under way is in no snapshot's text, but its
	// lock on its own id shows.
	v, err := s.holder.queryOne(ctx, "SELECT pg_export_snapshot(), "+current+"::text, coalesce("+lsn+"::text, '0/0'),"+
		" EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'transactionid' AND mode = 'ExclusiveLock')")
	if err != nil {
		return err
	}
	s.id, s.moment.Visible, s.moment.LSNText = v[0], v[1], v[2]
	if s.moment.LSN, err = parseLSN(v[2]); err != nil {
		return err
	}
	s.moment.Writing = v[3] == "t"
	return nil
}

// Moment says when the snapshot was taken.
func (s *Snapshot) Moment() relation.Moment { return s.moment }

// Server returns who the database is.
func (s *Snapshot) Server() *relation.Server { return &s.db.server }

// Locks compares the locks that reading the snapshot's tables takes with what
// the server can spare.
func (s *Snapshot) Locks() relation.LockBudget { return s.locks }

// Table returns a table as of the snapshot. It returns relation.ErrNoTable if there is
// none of that name, and a *TableError if it cannot be read.
func (s *Snapshot) Table(name relation.Name) (*relation.Table, error) {
	t, ok := s.tables[name]
	if !ok {
		if err := s.broken[name]; err != nil {
			return nil, err
		}
		return nil, relation.ErrNoTable
	}
	return t, s.broken[name]
}

// Unchanged reports an error if a member of the table has been truncated,
// rewritten, dropped or renamed since the snapshot: what was read of it, or
// under its name, may be wrong.
func (s *Snapshot) Unchanged(ctx context.Context, t *relation.Table) error {
	if len(t.Members) == 0 {
		return nil
	}
	now, err := s.present(ctx, t.Members)
	if err != nil {
		return fmt.Errorf("check that %s was not rewritten: %w", t.Name, err)
	}
	for i := range t.Members {
		m := &t.Members[i]
		if m.Filenode != 0 && now[i].filenode != m.Filenode {
			return &TableError{Reason: fmt.Sprintf("%s was truncated, rewritten or dropped on the %s during the pass", m.Name, s.side)}
		}
		if now[i].oid != m.OID {
			return &TableError{Reason: fmt.Sprintf("another relation is called %s on the %s than when the pass began (was a schema renamed?)", m.Name, s.side), Hint: "run the pass again"}
		}
	}
	return nil
}

// identity is which relation has a name, and which file a relation has.
type identity struct{ oid, filenode uint32 }

// present tells for each member which relation has its name now, and which file
// it has itself. The functions used look at the present catalog, not at the
// snapshot's, but through a session's cache, which learns what others did when
// the session locks what it has not locked yet. So the query reads a catalog
// that nothing else here does, and gives its lock up again.
func (s *Snapshot) present(ctx context.Context, members []relation.Member) ([]identity, error) {
	var oids, names []string
	for i := range members {
		oids = append(oids, fmt.Sprint(members[i].OID))
		names = append(names, relation.QuoteLiteral(members[i].Name.SQL()))
	}
	query := "SELECT coalesce(pg_relation_filenode(m.oid), 0), coalesce(to_regclass(m.name)::oid, 0)" +
		" FROM unnest(" + oidArray(oids) + ", ARRAY[" + strings.Join(names, ",") + "]::text[]) WITH ORDINALITY AS m(oid, name, n)" +
		" LEFT JOIN (SELECT FROM pg_ts_parser LIMIT 0) AS locked ON true ORDER BY m.n"
	var rows [][]*string
	err := s.withHolder(ctx, func(ctx context.Context, holder *session) (err error) {
		if err := holder.exec(ctx, "SAVEPOINT f"); err != nil {
			return err
		}
		if rows, err = holder.query(ctx, query); holder.conn.IsClosed() {
			return err
		}
		return errors.Join(err, holder.exec(ctx, "ROLLBACK TO SAVEPOINT f; RELEASE SAVEPOINT f"))
	})
	if err != nil {
		return nil, err
	}
	if len(rows) != len(members) {
		return nil, fmt.Errorf("want %d rows, got %d", len(members), len(rows))
	}
	now := make([]identity, len(rows))
	for i, r := range rows {
		now[i] = identity{filenode: parseOID(*r[0]), oid: parseOID(*r[1])}
	}
	return now, nil
}

// Replication tells what the database knows of replication now.
func (s *Snapshot) Replication(ctx context.Context) (relation.Replication, error) {
	var r relation.Replication
	err := s.withHolder(ctx, func(ctx context.Context, holder *session) error {
		// The first of these needs a privilege that not every role has.
		err := holder.savepoint(ctx, func() error { return holder.subscriptions(ctx, &r) })
		if hasCode(err, codeInsufficientPrivilege) {
			r.Unknown = true
		} else if err != nil {
			return err
		}
		if s.db.server.Standby {
			return holder.replay(ctx, &r)
		}
		return nil
	})
	return r, err
}

// savepoint runs f so that a statement of it that fails does not abort the
// transaction.
func (s *session) savepoint(ctx context.Context, f func() error) error {
	if err := s.exec(ctx, "SAVEPOINT f"); err != nil {
		return err
	}
	err := f()
	if s.conn.IsClosed() {
		return err
	}
	end := "RELEASE SAVEPOINT f"
	if err != nil {
		end = "ROLLBACK TO SAVEPOINT f; RELEASE SAVEPOINT f"
	}
	return errors.Join(err, s.exec(ctx, end))
}

// subscriptions reads what concerns logical replication. The rows of
// pg_subscription_rel are found by way of pg_stat_subscription, since before
// version 14 pg_subscription keeps its oid to itself.
func (s *session) subscriptions(ctx context.Context, r *relation.Replication) error {
	rows, err := s.query(ctx, `SELECT s.subname, coalesce(s.subslotname, ''), s.subenabled,
 NOT EXISTS (SELECT 1 FROM pg_subscription_rel r JOIN pg_stat_subscription t ON t.subid = r.srsubid
  WHERE t.subname = s.subname AND r.srsubstate <> 'r')
 FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE d.datname = current_database()`)
	if err != nil {
		return fmt.Errorf("list subscriptions: %w", err)
	}
	for _, row := range rows {
		r.Subscriptions = append(r.Subscriptions, relation.Subscription{
			Name: *row[0], Slot: *row[1], Enabled: *row[2] == "t", Synced: *row[3] == "t",
		})
	}
	rows, err = s.query(ctx, `SELECT slot_name, coalesce(confirmed_flush_lsn::text, '0/0')
 FROM pg_replication_slots WHERE slot_type = 'logical'`)
	if err != nil {
		return fmt.Errorf("list replication slots: %w", err)
	}
	r.Slots = make(map[string]relation.LSN, len(rows))
	for _, row := range rows {
		if r.Slots[*row[0]], err = parseLSN(*row[1]); err != nil {
			return err
		}
	}
	return nil
}

// replay reads how far a standby is.
func (s *session) replay(ctx context.Context, r *relation.Replication) error {
	v, err := s.queryOne(ctx, `SELECT pg_is_wal_replay_paused(), EXISTS (SELECT 1 FROM pg_stat_wal_receiver),
 coalesce(pg_last_wal_receive_lsn()::text, '0/0'), coalesce(pg_last_wal_replay_lsn()::text, '0/0')`)
	if err != nil {
		return fmt.Errorf("read how far the standby is: %w", err)
	}
	p := &relation.Replay{Paused: v[0] == "t", Receiving: v[1] == "t"}
	if p.Received, err = parseLSN(v[2]); err != nil {
		return err
	}
	if p.Replayed, err = parseLSN(v[3]); err != nil {
		return err
	}
	r.Replay = p
	return nil
}

// LargeObjects reports whether the database holds large objects, which live
// outside of all tables.
func (s *Snapshot) LargeObjects(ctx context.Context) (bool, error) {
	rows, err := s.holderQuery(ctx, "SELECT 1 FROM pg_largeobject_metadata LIMIT 1")
	if err != nil {
		return false, fmt.Errorf("look for large objects: %w", err)
	}
	return len(rows) > 0, nil
}

// withAny runs f on a free worker or, when all are busy, on the connection that
// holds the snapshot: a second reading does not wait for a long scan to end.
func (s *Snapshot) withAny(ctx context.Context, f func(context.Context, *session) error) error {
	if ran, err := s.db.tryWorker(ctx, s, f); ran {
		return err
	}
	return s.withHolder(ctx, f)
}

// withHolder runs f on the connection that holds the snapshot.
func (s *Snapshot) withHolder(ctx context.Context, f func(context.Context, *session) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.holder == nil {
		return s.explain(ErrClosed)
	}
	ctx, release := s.bind(ctx)
	defer release()
	return s.explain(f(ctx, s.holder))
}

// LargeRows returns how many rows were so large that one worker at a time
// read them.
func (s *Snapshot) LargeRows() int64 { return s.db.LargeRows() }

// Close ends the snapshot and its locks, also those of idle workers.
func (s *Snapshot) Close() {
	s.lose(ErrClosed)
	s.watching.Wait()
	s.release()
}

// release ends the transactions of those that read at the snapshot, and so its
// locks. It has ended: who is still at work finds out, and leaves it too.
func (s *Snapshot) release() {
	s.db.forget(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.holder != nil {
		s.holder.close()
		s.holder = nil
	}
}

func sortedNames[V any](m map[relation.Name]V) []relation.Name {
	names := make([]relation.Name, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.SortFunc(names, relation.Name.Compare)
	return names
}
