package snapshot

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/time/rate"

	"github.com/verifierd/verifierd/pkg/relation"
)

// minVersion is the oldest server_version_num that is supported.
const minVersion = 120000

// Database is one side: its identity and the connections that read it.
type Database struct {
	config  Config
	parsed  *pgconn.Config
	server  relation.Server
	blockSz int64

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	watcher *watcher
	watched sync.WaitGroup
	limiter *rate.Limiter
	gate    *gate

	// workers holds the idle reading connections; a nil stands for one that
	// must be opened first. Its capacity is Config.Workers.
	workers chan *session
}

// Connect opens a database, reads who it is, and checks that it can be read.
func Connect(ctx context.Context, config Config) (*Database, error) {
	config = config.withDefaults()
	if err := config.validate(); err != nil {
		return nil, err
	}
	parsed, err := config.parse()
	if err != nil {
		return nil, err
	}
	db := &Database{
		config: config, parsed: parsed,
		watcher: newWatcher(config.StallTimeout),
		gate:    newGate(),
		workers: make(chan *session, config.Workers),
	}
	if config.MaxRate > 0 {
		db.limiter = rate.NewLimiter(rate.Limit(config.MaxRate), readBuffer)
	}
	db.ctx, db.cancel = context.WithCancel(context.Background())
	db.watched.Go(func() { db.watcher.run(db.ctx) })
	for range config.Workers {
		db.workers <- nil
	}
	if err := db.identify(ctx); err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}

// Close ends all connections. Snapshots must be closed before.
func (db *Database) Close() {
	db.cancel()
	for range cap(db.workers) {
		if s := <-db.workers; s != nil {
			s.close()
		}
	}
	db.watched.Wait()
}

// Server returns who the database is.
func (db *Database) Server() *relation.Server { return &db.server }

// LargeRows returns how many rows were so large that one worker at a time
// read them.
func (db *Database) LargeRows() int64 { return db.gate.rows.Load() }

const identitySQL = `SELECT current_setting('server_version'), current_setting('server_version_num'),
 current_database(), (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()),
 (SELECT system_identifier FROM pg_catalog.pg_control_system()), pg_catalog.pg_is_in_recovery(),
 pg_catalog.pg_encoding_to_char((SELECT encoding FROM pg_catalog.pg_database WHERE datname = current_database())),
 current_setting('lc_monetary'), current_setting('block_size'),
 (SELECT setting::bigint * current_setting('block_size')::bigint FROM pg_catalog.pg_settings WHERE name = 'shared_buffers'),
 (SELECT timeline_id FROM pg_catalog.pg_control_checkpoint())`

func (db *Database) identify(ctx context.Context) error {
	return db.once(ctx, func(s *session) error {
		v, err := s.queryOne(ctx, identitySQL)
		if err != nil {
			return fmt.Errorf("identify server: %w", err)
		}
		number, err := strconv.Atoi(v[1])
		if err != nil {
			return fmt.Errorf("identify server: version number %q", v[1])
		}
		if number < minVersion {
			return fmt.Errorf("PostgreSQL %s is not supported; 12 is the oldest that is", v[0])
		}
		version := v[0]
		for i := range version {
			if version[i] == ' ' { // "15.18 (Debian …)"
				version = version[:i]
				break
			}
		}
		db.server = relation.Server{
			Version: version, Number: number, Database: v[2], DatabaseOID: parseOID(v[3]),
			SystemIdentifier: v[4], Standby: v[5] == "t", Encoding: v[6], LCMonetary: v[7],
			SharedBuffers: parseInt(v[9]), Timeline: int(parseInt(v[10])),
			Settings: []relation.Property{{Name: "server_encoding", Value: v[6]}, {Name: "lc_monetary", Value: v[7]}},
		}
		db.blockSz = parseInt(v[8])
		return s.locale(ctx, &db.server)
	})
}

// locale reads the database's locale, and names it if that says how it orders
// text.
func (s *session) locale(ctx context.Context, server *relation.Server) error {
	version := "''"
	if server.Number >= 150000 {
		version = "coalesce(pg_catalog.pg_database_collation_actual_version(oid), '')"
	}
	v, err := s.queryOne(ctx, `SELECT datcollate, datctype, coalesce(pg_catalog.to_jsonb(d)->>'datlocprovider', 'c'),
 coalesce(pg_catalog.to_jsonb(d)->>'datlocale', pg_catalog.to_jsonb(d)->>'daticulocale', ''), `+version+`
 FROM pg_catalog.pg_database d WHERE datname = pg_catalog.current_database()`)
	if err != nil {
		return fmt.Errorf("identify the database's locale: %w", err)
	}
	for i, name := range []string{"lc_collate", "lc_ctype", "locale_provider", "locale", "collation_version"} {
		server.Settings = append(server.Settings, relation.Property{Name: name, Value: v[i]})
	}
	plain := func(name string) bool { return name == "C" || name == "POSIX" }
	switch {
	case v[2] == "c" && plain(v[0]) && plain(v[1]):
		server.Locale = "C"
	case v[4] != "":
		server.Locale = strings.Join(v, " ")
	}
	return nil
}

// checkIdentity makes sure that a further connection reached the same
// database: a connection string may name several hosts.
func (s *session) checkIdentity(ctx context.Context) error {
	v, err := s.queryOne(ctx, `SELECT (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()),
 (SELECT system_identifier FROM pg_catalog.pg_control_system()), pg_catalog.pg_is_in_recovery()`)
	if err != nil {
		return fmt.Errorf("identify server: %w", err)
	}
	want := &s.db.server
	if parseOID(v[0]) != want.DatabaseOID || v[1] != want.SystemIdentifier || (v[2] == "t") != want.Standby {
		return errors.New("a further connection reached another server or database than the first one; name one host in the connection string")
	}
	return nil
}

// open opens a further connection and checks that it is the same database's.
func (db *Database) open(ctx context.Context) (*session, error) {
	s, err := db.connect(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.unhurried(ctx, func() error { return s.checkIdentity(ctx) }); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// once runs f on a connection of its own, in a transaction.
func (db *Database) once(ctx context.Context, f func(*session) error) error {
	s, err := db.connect(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	return s.unhurried(ctx, func() error { return f(s) })
}

// unhurried runs f in a short transaction of its own, which the time limits
// that the role or the database may have do not end.
func (s *session) unhurried(ctx context.Context, f func() error) error {
	begin := "BEGIN ISOLATION LEVEL READ COMMITTED, READ ONLY; SET LOCAL client_encoding = 'UTF8';" +
		"SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0"
	if s.db.server.Number >= 170000 {
		begin += "; SET LOCAL transaction_timeout = 0"
	}
	if err := s.exec(ctx, begin); err != nil {
		return err
	}
	if err := f(); err != nil {
		return err // the caller closes the connection
	}
	return s.exec(ctx, "COMMIT")
}

// withWorker runs f on a reading connection that sees snap. It waits for a
// free one; waiters are served in their order.
func (db *Database) withWorker(ctx context.Context, snap *Snapshot, f func(context.Context, *session) error) error {
	var s *session
	select {
	case s = <-db.workers:
	case <-ctx.Done():
		return ctx.Err()
	case <-snap.lost.Done():
		return context.Cause(snap.lost)
	}
	return db.lend(ctx, s, snap, f)
}

// tryWorker is withWorker if a connection is free at once; else ran is false.
func (db *Database) tryWorker(ctx context.Context, snap *Snapshot, f func(context.Context, *session) error) (ran bool, err error) {
	select {
	case s := <-db.workers:
		return true, db.lend(ctx, s, snap, f)
	default:
		return false, nil
	}
}

func (db *Database) lend(ctx context.Context, s *session, snap *Snapshot, f func(context.Context, *session) error) (err error) {
	defer func() {
		if s != nil && !s.conn.IsClosed() && snap.lost.Err() != nil {
			s.leave() // while it was at work, nobody else could make it
		}
		if s != nil && s.conn.IsClosed() {
			s.close()
			s = nil // the next borrower opens another
		}
		db.workers <- s
		err = snap.explain(err)
	}()
	ctx, release := snap.bind(ctx)
	defer release()
	if db.ctx.Err() != nil {
		return ErrClosed
	}
	if s == nil {
		if s, err = db.open(ctx); err != nil {
			return err
		}
	}
	if err := s.use(ctx, snap); err != nil {
		return err
	}
	defer func() {
		// A failed statement leaves the transaction aborted.
		if err != nil && !s.conn.IsClosed() {
			s.leave()
		}
	}()
	return f(ctx, s)
}

// forget takes idle workers out of a snapshot's transaction, so that none holds
// back VACUUM or DDL for longer than the snapshot is needed.
func (db *Database) forget(snap *Snapshot) {
	for range cap(db.workers) {
		select {
		case s := <-db.workers:
			if s != nil && s.at == snap {
				s.leave()
			}
			db.workers <- s
		default:
			return // the others are at work, for other snapshots
		}
	}
}

// SameInstance reports whether two databases live in one instance: an advisory
// lock that is taken in one shows in the other.
func SameInstance(ctx context.Context, a, b *Database) (same bool, err error) {
	key, err := randomLockKey()
	if err != nil {
		return false, err
	}
	err = a.once(ctx, func(locker *session) error {
		// The transaction's lock, since a session's would leak to the next
		// client of a pooler.
		if _, err := locker.query(ctx, fmt.Sprintf("SELECT pg_catalog.pg_advisory_xact_lock(%d, %d)", key[0], key[1])); err != nil {
			return err
		}
		return b.once(ctx, func(looker *session) error {
			v, err := looker.queryOne(ctx, fmt.Sprintf(`SELECT count(*) FROM pg_catalog.pg_locks
 WHERE locktype = 'advisory' AND classid = %d AND objid = %d AND objsubid = 2`, uint32(key[0]), uint32(key[1])))
			if err != nil {
				return err
			}
			same = v[0] != "0"
			return nil
		})
	})
	if err != nil {
		return false, fmt.Errorf("tell the two servers apart: %w", err)
	}
	return same, nil
}

func parseInt(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return -1
	}
	return n
}

func parseOID(s string) uint32 {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}
