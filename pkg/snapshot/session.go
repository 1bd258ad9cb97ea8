package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/verifierd/verifierd/pkg/relation"
	"github.com/verifierd/verifierd/pkg/rowhash"
)

// session is one connection and the transaction it is in. Only one goroutine
// uses it at a time.
type session struct {
	db   *Database
	conn *pgconn.PgConn
	bulk *bulkConn
	gate *gatedReader

	at      *Snapshot // the snapshot that its transaction sees; nil: none
	pid     string    // the backend that runs the transaction: a pooler may change it
	byIndex bool      // plans are pinned to index scans
}

// setting is a GUC that is pinned in every transaction.
type setting struct {
	name, value string
	since       int // first server_version_num that has it
}

// pinned lists all that leaks into values or plans, or would end a long read.
var pinned = []setting{
	{name: "timezone", value: "UTC"},
	{name: "datestyle", value: "ISO, MDY"},
	{name: "intervalstyle", value: "postgres"},
	{name: "bytea_output", value: "hex"},
	{name: "extra_float_digits", value: "1"},
	{name: "lc_monetary", value: "C"},
	{name: "xmloption", value: "content"},
	{name: "quote_all_identifiers", value: "off"}, // before search_path, whose value it changes
	{name: "search_path", value: "pg_catalog"},
	{name: "row_security", value: "off"}, // row-level security hides rows silently otherwise
	{name: "client_encoding", value: "UTF8"},
	{name: "array_nulls", value: "on"},
	// What a policy's expressions may read.
	{name: "standard_conforming_strings", value: "on"},
	{name: "transform_null_equals", value: "off"},
	{name: "default_text_search_config", value: "pg_catalog.simple"},
	{name: "timezone_abbreviations", value: "Default"},
	{name: "lc_numeric", value: "C"},
	{name: "lc_time", value: "C"},
	{name: "xmlbinary", value: "base64"},
	{name: "enable_tidscan", value: "on"},
	{name: "enable_seqscan", value: "on"},
	{name: "jit", value: "off"},
	{name: "max_parallel_workers_per_gather", value: "0"}, // our load is bounded by our connections
	{name: "statement_timeout", value: "0"},
	{name: "idle_in_transaction_session_timeout", value: "0"},
	{name: "transaction_timeout", value: "0", since: 170000},
}

// begin returns the statements that open a transaction at a snapshot.
func (db *Database) begin(snapshotID string) string {
	var b strings.Builder
	b.WriteString("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY;")
	if snapshotID != "" {
		b.WriteString("SET TRANSACTION SNAPSHOT " + relation.QuoteLiteral(snapshotID) + ";")
	}
	for _, s := range pinned {
		if db.server.Number >= s.since {
			b.WriteString("SET LOCAL " + s.name + " = " + pinnedValue(s) + ";")
		}
	}
	fmt.Fprintf(&b, "SET LOCAL lock_timeout = %d;", db.config.LockTimeout.Milliseconds())
	return b.String()
}

func pinnedValue(s setting) string {
	if s.name == "datestyle" || s.name == "search_path" {
		return s.value // lists are not one literal
	}
	return relation.QuoteLiteral(s.value)
}

// connect opens a connection. Errors of pgconn name the host and redact the
// password.
func (db *Database) connect(ctx context.Context) (*session, error) {
	s := &session{db: db}
	config := db.parsed.Copy()
	dial := config.DialFunc
	connected := false
	config.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil || connected { // cancel requests dial too
			return c, err
		}
		if s.bulk != nil {
			db.watcher.remove(s.bulk) // an earlier attempt: another host, or without TLS
		}
		s.bulk = newBulkConn(db.ctx, c, db.limiter)
		db.watcher.add(s.bulk)
		return s.bulk, nil
	}
	config.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		s.gate = &gatedReader{Reader: r, gate: db.gate, done: db.ctx.Done()}
		return pgproto3.NewFrontend(s.gate, w)
	}
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		if s.bulk != nil {
			db.watcher.remove(s.bulk)
		}
		return nil, explainConnect(ctx, err)
	}
	connected = true
	s.conn = conn
	return s, nil
}

// close ends the connection. Closing rolls back: nothing is left open.
func (s *session) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = s.conn.Close(ctx)
	select {
	case <-s.conn.CleanupDone():
	case <-ctx.Done():
	}
	if s.gate != nil {
		s.gate.leave()
	}
	s.moveTo(nil)
	s.db.watcher.remove(s.bulk)
}

// use puts the session into a transaction that sees snap.
func (s *session) use(ctx context.Context, snap *Snapshot) error {
	if s.at == snap {
		return nil
	}
	if err := s.rollback(ctx); err != nil {
		return err
	}
	if err := s.exec(ctx, s.db.begin(snap.id)); err != nil {
		s.leave()
		if hasCode(err, "22023") || hasCode(err, codeUndefinedObject) {
			return fmt.Errorf("import snapshot: the connection that held it is gone: %w", err)
		}
		return fmt.Errorf("begin: %w", err)
	}
	if err := s.checkPinned(ctx); err != nil {
		s.leave() // nobody else would: the transaction is no snapshot's yet
		return err
	}
	s.moveTo(snap)
	return nil
}

// moveTo notes the snapshot that the session's transaction sees.
func (s *session) moveTo(snap *Snapshot) {
	if s.at != nil {
		s.at.readers.remove(s)
	}
	if s.at = snap; snap != nil {
		snap.readers.add(s)
	}
}

// readers are the sessions in transactions that see a snapshot.
type readers struct {
	mu   sync.Mutex
	pids map[*session]string
}

func (r *readers) add(s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pids == nil {
		r.pids = make(map[*session]string)
	}
	r.pids[s] = s.pid
}

func (r *readers) remove(s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.pids, s)
}

func (r *readers) backends() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Values(r.pids))
}

// hangUp closes the connections of all readers. It does not wait for whoever
// uses one to notice.
func (r *readers) hangUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for s := range r.pids {
		_ = s.bulk.Close()
	}
}

func (s *session) rollback(ctx context.Context) error {
	if s.conn.TxStatus() != 'I' {
		if err := s.exec(ctx, "ROLLBACK"); err != nil {
			return err
		}
	}
	s.moveTo(nil)
	s.byIndex = false
	return nil
}

// leave is rollback for when nobody waits for the outcome: a connection that
// cannot even roll back gets closed, which does the same.
func (s *session) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if s.rollback(ctx) != nil {
		_ = s.conn.Close(ctx)
	}
}

// checkPinned reads the pinned settings back: a proxy or an old server that
// ignored one would make equal values look different. It notes the backend, too.
func (s *session) checkPinned(ctx context.Context) error {
	names := []string{"pg_backend_pid()"}
	for _, p := range pinned {
		if s.db.server.Number >= p.since {
			names = append(names, "current_setting("+relation.QuoteLiteral(p.name)+")")
		}
	}
	rows, err := s.query(ctx, "SELECT "+strings.Join(names, ", "))
	if err != nil {
		return fmt.Errorf("read settings back: %w", err)
	}
	s.pid = *rows[0][0]
	i := 1
	for _, p := range pinned {
		if s.db.server.Number < p.since {
			continue
		}
		if got := rows[0][i]; got == nil || !strings.EqualFold(*got, p.value) {
			return fmt.Errorf("setting %s did not take effect", p.name)
		}
		i++
	}
	return nil
}

// preferIndexes pins plans to index scans, or lifts that, for what follows in
// the transaction: a lookup must not fall back to reading the table.
func (s *session) preferIndexes(ctx context.Context, on bool) error {
	if s.byIndex == on {
		return nil
	}
	v := "on"
	if on {
		v = "off"
	}
	if err := s.exec(ctx, "SET LOCAL enable_seqscan = "+v+"; SET LOCAL enable_hashjoin = "+v+"; SET LOCAL enable_mergejoin = "+v); err != nil {
		return err
	}
	s.byIndex = on
	return nil
}

func (s *session) exec(ctx context.Context, sql string) error {
	_, err := s.conn.Exec(ctx, sql).ReadAll()
	return explain(s.cause(err))
}

// cause replaces the error that a closed connection gives by why it was closed.
func (s *session) cause(err error) error {
	if err != nil && s.bulk.stalled.Load() {
		return errStalled
	}
	return err
}

// query runs one statement without parameters and returns its rows in text.
func (s *session) query(ctx context.Context, sql string) ([][]*string, error) {
	results, err := s.conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		return nil, explain(s.cause(err))
	}
	if len(results) != 1 {
		return nil, fmt.Errorf("want 1 result, got %d", len(results))
	}
	rows := make([][]*string, len(results[0].Rows))
	for i, r := range results[0].Rows {
		row := make([]*string, len(r))
		for j, v := range r {
			if v != nil {
				text := string(v)
				row[j] = &text
			}
		}
		rows[i] = row
	}
	return rows, nil
}

// queryOne is query for a statement that gives exactly one row without NULLs.
func (s *session) queryOne(ctx context.Context, sql string) ([]string, error) {
	rows, err := s.query(ctx, sql)
	if err != nil {
		return nil, err
	}
	if len(rows) != 1 {
		return nil, fmt.Errorf("want 1 row, got %d", len(rows))
	}
	values := make([]string, len(rows[0]))
	for i, v := range rows[0] {
		if v != nil {
			values[i] = *v
		}
	}
	return values, nil
}

// errIncomplete says that a stream ended without proof that it was whole.
var errIncomplete = errors.New("the stream of rows ended before it was complete")

// copy writes the query's rows in COPY binary format to stream. It returns
// without error only if the trailer was seen, the command completed, and the
// server's row count equals the rows parsed. bytes is how much is expected,
// roughly.
func (s *session) copy(ctx context.Context, query string, bytes int64, stream *rowhash.Stream) error {
	s.bulk.bulk.Store(bytes >= bulkBytes)
	tag, err := s.conn.CopyTo(ctx, stream, "COPY ("+query+") TO STDOUT (FORMAT binary)")
	s.bulk.bulk.Store(false)
	if err != nil {
		return explain(s.cause(err))
	}
	if err := stream.Finish(); err != nil {
		return fmt.Errorf("%w: %w", errIncomplete, err)
	}
	if tag.RowsAffected() != stream.Rows() {
		return fmt.Errorf("%w: the server sent %d rows, %d arrived", errIncomplete, tag.RowsAffected(), stream.Rows())
	}
	return nil
}

// parseLSN reads an LSN in PostgreSQL's text form.
func parseLSN(s string) (relation.LSN, error) {
	hi, lo, ok := strings.Cut(s, "/")
	h, err1 := strconv.ParseUint(hi, 16, 32)
	l, err2 := strconv.ParseUint(lo, 16, 32)
	if !ok || err1 != nil || err2 != nil {
		return 0, fmt.Errorf("LSN %q: want X/Y in hexadecimal", s)
	}
	return relation.LSN(h<<32 | l), nil
}
