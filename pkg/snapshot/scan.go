package snapshot

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/verifierd/verifierd/pkg/merkle"
	"github.com/verifierd/verifierd/pkg/relation"
	"github.com/verifierd/verifierd/pkg/rowhash"
)

// How many rows and bytes a worker reads at most between two reports of
// progress.
const (
	reportRows  = 1 << 14
	reportBytes = 16 << 20
)

// Scan reads a table wholly and returns the digests of its leaves, and
// sketches of the given size, nil for none. Any error means that nothing was
// established. Progress is called from many goroutines.
func (s *Snapshot) Scan(ctx context.Context, t *relation.Table, form *relation.Form, layout *merkle.Layout, sketch merkle.SketchSize, progress func(rows, bytes int64)) ([]merkle.Digest, *merkle.Sketches, error) {
	chunks, err := s.Chunks(ctx, t)
	if err != nil {
		return nil, nil, err
	}
	total := newSummary(layout, sketch)
	var mu sync.Mutex // guards total
	err = s.eachChunk(ctx, form, chunks, func() (chunkReader, error) {
		h, err := s.hasher(form, 0)
		if err != nil {
			return chunkReader{}, err
		}
		part := newSummary(layout, sketch)
		count := &counter{progress: progress, every: s.db.reportBytes()}
		return chunkReader{
			query: form.Select(s.side), hasher: h,
			row: part.adder(h, len(form.Key) == 0, count),
			finish: func() error {
				mu.Lock()
				defer mu.Unlock()
				return total.merge(part)
			},
			end: count.flush, // what was read of a scan that is cut short counts, too
		}, nil
	})
	if err != nil {
		return nil, nil, err
	}
	return total.leaves, total.sketches, nil
}

// summary is what a scan makes of rows.
type summary struct {
	leaves   []merkle.Digest
	sketches *merkle.Sketches
	layout   *merkle.Layout
}

func newSummary(layout *merkle.Layout, size merkle.SketchSize) *summary {
	n := layout.Leaves()
	return &summary{leaves: make([]merkle.Digest, n), sketches: size.New(n), layout: layout}
}

// merge adds what o is made of, and takes it over.
func (s *summary) merge(o *summary) error {
	for i := range s.leaves {
		s.leaves[i].Merge(o.leaves[i])
	}
	if s.sketches == nil {
		return nil
	}
	return s.sketches.Merge(o.sketches)
}

// adder returns the function that adds a tuple to the summary: the path that
// every row of every table takes. It allocates nothing.
func (s *summary) adder(h *rowhash.Hasher, keyless bool, count *counter) rowFunc {
	cursor := s.layout.Cursor()
	spreads := s.layout.Spreads()
	return func(tuple []byte, row rowhash.Row) error {
		var spread uint64
		if spreads {
			if spread = row.Hash.Hi; !keyless {
				spread = h.Spread(row.Key)
			}
		}
		leaf := cursor.Leaf(row.Head, row.Prefix, spread)
		s.leaves[leaf].Add(row.Hash)
		if s.sketches != nil {
			s.sketches.Add(leaf, row.Hash, row.Key)
		}
		count.add(len(tuple))
		return nil
	}
}

// counter gathers progress so that it is reported now and then.
type counter struct {
	progress    func(rows, bytes int64)
	every       int64 // bytes
	rows, bytes int64
}

func (c *counter) add(bytes int) {
	c.rows++
	c.bytes += int64(bytes)
	if c.rows == reportRows || c.bytes > c.every {
		c.flush()
	}
}

func (c *counter) flush() {
	if c.progress != nil && c.rows > 0 {
		c.progress(c.rows, c.bytes)
	}
	c.rows, c.bytes = 0, 0
}

// reportBytes is how many bytes a worker reads between two reports: fewer where
// a rate holds it up, so that progress shows every second or so.
func (db *Database) reportBytes() int64 {
	if db.config.MaxRate <= 0 {
		return reportBytes
	}
	return min(reportBytes, db.config.MaxRate/int64(db.config.Workers))
}

// rowFunc receives a row and the tuple it came from; both are valid during the
// call.
type rowFunc = func(tuple []byte, row rowhash.Row) error

// chunkReader is what one worker does with the chunks it reads.
type chunkReader struct {
	query  string // select list
	hasher *rowhash.Hasher
	row    rowFunc
	finish func() error // after the worker's last chunk, if all went well
	end    func()       // after the worker's last chunk, however it went; nil: nothing to do
}

// eachChunk streams the chunks through as many workers as are free. Each
// worker has a reader of its own, made once it has a connection.
func (s *Snapshot) eachChunk(ctx context.Context, form *relation.Form, chunks []relation.Chunk, reader func() (chunkReader, error)) error {
	var next atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for range min(len(chunks), s.db.config.Workers) {
		g.Go(func() error {
			return s.db.withWorker(ctx, s, func(ctx context.Context, sess *session) error {
				if int(next.Load()) >= len(chunks) {
					return nil // others were quicker
				}
				if err := sess.preferIndexes(ctx, false); err != nil {
					return err
				}
				r, err := reader()
				if err != nil {
					return err
				}
				if r.end != nil {
					defer r.end()
				}
				for {
					i := int(next.Add(1)) - 1
					if i >= len(chunks) {
						break
					}
					c := &chunks[i]
					if err := sess.copy(ctx, s.selectFrom(form, r.query, c.Member, c.Predicate()), int64(c.Share*float64(c.Member.Bytes)), r.hasher.NewStream(r.row)); err != nil {
						return fmt.Errorf("read %s on the %s: %w", c, s.side, err)
					}
				}
				return r.finish()
			})
		})
	}
	return g.Wait()
}

// selectFrom builds a query over those rows of one member, without its heirs,
// that the form has.
func (s *Snapshot) selectFrom(form *relation.Form, list string, m *relation.Member, where string) string {
	only := "ONLY "
	if m.Kind == relation.View {
		only = ""
	}
	q := "SELECT " + list + " FROM " + only + m.Name.SQL()
	if where = and(where, form.Where[s.side]); where != "" {
		q += " WHERE " + where
	}
	return q
}

// and joins two SQL conditions, of which either may be empty.
func and(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return "(" + a + ") AND (" + b + ")"
}

// emit receives a row's leaf, canonical key and hash. The key is valid during
// the call.
type emit = func(leaf int, key []byte, hash merkle.Hash) error

// Collect reads a table wholly again and emits the rows whose leaves are
// wanted, indexed as in layout, from many goroutines at once.
func (s *Snapshot) Collect(ctx context.Context, t *relation.Table, form *relation.Form, layout *merkle.Layout, wanted []bool, emit emit) error {
	chunks, err := s.Chunks(ctx, t)
	if err != nil {
		return err
	}
	return s.eachChunk(ctx, form, chunks, func() (chunkReader, error) {
		h, err := s.hasher(form, 0)
		return chunkReader{
			query: form.Select(s.side), hasher: h,
			row:    emitter(h, layout, len(form.Key) == 0, wanted, emit),
			finish: func() error { return nil },
		}, err
	})
}

// CollectRange emits the rows whose ordered key columns lie in [lo, hi),
// through the index; a nil bound is open. About so many rows are expected.
func (s *Snapshot) CollectRange(ctx context.Context, t *relation.Table, form *relation.Form, lo, hi *relation.Bound, rows int64, emit func(key []byte, hash merkle.Hash) error) error {
	h, err := s.hasher(form, 0)
	if err != nil {
		return err
	}
	where := form.RangeCondition(s.side, lo, hi)
	row := func(_ []byte, row rowhash.Row) error { return emit(row.Key, row.Hash) }
	bytes := rows * t.Bytes() / max(1, t.Rows())
	return s.db.withWorker(ctx, s, func(ctx context.Context, sess *session) error {
		if err := sess.preferIndexes(ctx, where != ""); err != nil {
			return err
		}
		for i := range t.Members {
			if err := sess.copy(ctx, s.selectFrom(form, form.Select(s.side), &t.Members[i], where), bytes, h.NewStream(row)); err != nil {
				return fmt.Errorf("read a key range of %s on the %s: %w", t.Members[i].Name, s.side, err)
			}
		}
		return nil
	})
}

func emitter(h *rowhash.Hasher, layout *merkle.Layout, keyless bool, wanted []bool, emit emit) rowFunc {
	cursor := layout.Cursor()
	return func(_ []byte, row rowhash.Row) error {
		spread := row.Hash.Hi
		if !keyless {
			spread = h.Spread(row.Key)
		}
		leaf := cursor.Leaf(row.Head, row.Prefix, spread)
		if !wanted[leaf] {
			return nil
		}
		return emit(leaf, row.Key, row.Hash)
	}
}
