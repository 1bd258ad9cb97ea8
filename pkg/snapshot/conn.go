package snapshot

import (
	"context"
	"io"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

const (
	// The server sends 8 kB at a time and each send would wake the reader;
	// waiting for lowWater bytes lets one wake-up drain many sends.
	lowWater   = 256 << 10
	readBuffer = 512 << 10
	// leastRead is how much is read at a time under the lowest of rates: what
	// the server sends at once.
	leastRead = 8 << 10
	// A tail shorter than lowWater would wait for ever, so after quietTicks in
	// which no byte arrived, or slowTicks in which too few did, the mark is
	// lowered until the next read returns. A server whose cores are all busy may
	// well send nothing for a few milliseconds.
	watchTick  = 3 * time.Millisecond
	quietTicks = 4
	slowTicks  = 20
	// bulkBytes is from how many expected bytes on the mark pays: each read has
	// one such tail.
	bulkBytes = 2 << 20
	// A row longer than largeRow is buffered whole by pgx; one worker a side
	// does so at a time, so that memory follows the largest row, not workers.
	largeRow = 4 << 20
)

// bulkConn is a network connection that reads large buffers, paces itself by a
// limiter, and tells a watcher how it gets on.
type bulkConn struct {
	net.Conn
	limiter *rate.Limiter // nil: unlimited
	ctx     context.Context

	// buf[r:w] holds bytes not yet handed on. Only the reading goroutine uses
	// these, and lowered's counterpart raised.
	buf    []byte
	r, w   int
	raised bool

	hurried atomic.Bool   // a deadline is set, or the connection closed: no pauses
	hurry   chan struct{} // wakes a pause to look at hurried

	bulk    atomic.Bool   // a COPY is being read
	waiting atomic.Bool   // a read from the network is under way
	reads   atomic.Uint64 // reads that returned
	lowered atomic.Bool   // the watcher set the mark to 1 to let a tail through
	stalled atomic.Bool   // the watcher closed the connection
	patient atomic.Bool   // it may be silent for long: somebody else looks after it
	mark    mark          // nil where there is none
}

// mark is a socket's low-water mark: how many bytes must have arrived before a
// waiting reader is woken.
type mark interface {
	set(bytes int)
	// pending returns how many bytes have arrived and wait to be read; -1: not
	// known.
	pending() int
}

func newBulkConn(ctx context.Context, c net.Conn, limiter *rate.Limiter) *bulkConn {
	return &bulkConn{
		Conn: c, ctx: ctx, limiter: limiter,
		buf: make([]byte, readBuffer), mark: lowWaterMark(c), hurry: make(chan struct{}, 1),
	}
}

// Read implements net.Conn.
func (c *bulkConn) Read(p []byte) (int, error) {
	if c.r == c.w {
		if err := c.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.buf[c.r:c.w])
	c.r += n
	return n, nil
}

func (c *bulkConn) fill() error {
	if bulk := c.bulk.Load(); c.mark != nil && bulk != c.raised {
		c.raised = bulk
		c.remark()
	}
	c.waiting.Store(true)
	n, err := c.Conn.Read(c.buf[:c.most()])
	c.waiting.Store(false)
	c.reads.Add(1)
	if c.lowered.Load() {
		c.remark()
	}
	if n == 0 {
		if c.stalled.Load() {
			return errStalled
		}
		return err
	}
	c.r, c.w = 0, n
	// What a connection that is being given up had in flight is thrown away. To
	// reserve room for it would hold up the rollbacks of the others.
	if c.limiter != nil && !c.hurried.Load() {
		c.pause(c.limiter.ReserveN(time.Now(), n).Delay())
	}
	return nil
}

// most is how many bytes are read at a time: under a low rate few, as each read
// is followed by a pause, and the small reads of other connections queue behind
// it.
func (c *bulkConn) most() int {
	if c.limiter == nil {
		return len(c.buf)
	}
	return int(min(float64(len(c.buf)), max(leastRead, float64(c.limiter.Limit())/32)))
}

// pause holds up the reader to keep to the rate. Whoever cancels a read sets a
// deadline, and does not wait for the pause to end.
func (c *bulkConn) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for !c.hurried.Load() {
		select {
		case <-timer.C:
			return
		case <-c.hurry:
		case <-c.ctx.Done():
			return
		}
	}
}

func (c *bulkConn) setHurried(on bool) {
	c.hurried.Store(on)
	select {
	case c.hurry <- struct{}{}:
	default:
	}
}

// SetDeadline implements net.Conn.
func (c *bulkConn) SetDeadline(t time.Time) error {
	c.setHurried(!t.IsZero())
	return c.Conn.SetDeadline(t)
}

// Close implements net.Conn.
func (c *bulkConn) Close() error {
	c.setHurried(true)
	return c.Conn.Close()
}

// giveUp closes a connection on which nothing arrives, which wakes its reader;
// that then reports errStalled.
func (c *bulkConn) giveUp() {
	if c.stalled.CompareAndSwap(false, true) {
		_ = c.Conn.SetReadDeadline(time.Unix(1, 0))
		_ = c.Close()
	}
}

// remark sets the mark to what the reader wants, and lets the watcher lower it
// again. The watcher may be anywhere in between its own two steps, which are the
// other way round: it says lowered, then lowers. So lowered never stands while
// the mark is up, which the watcher would take for a tail it has let through.
func (c *bulkConn) remark() {
	if c.raised {
		c.mark.set(lowWater)
	} else {
		c.mark.set(1)
	}
	c.lowered.Store(false)
}

// watcher looks after the connections of one database: it lets tails through
// below the low-water mark, and ends reads that make no progress.
type watcher struct {
	stall time.Duration

	mu    sync.Mutex
	conns map[*bulkConn]*watched
}

type watched struct {
	reads   uint64
	since   time.Time // when reads last changed, or the read began
	pending int       // bytes that waited below the mark on the last tick
	quiet   int       // ticks for which pending has been the same
	slow    int       // ticks for which the reader has waited
}

func newWatcher(stall time.Duration) *watcher {
	return &watcher{stall: stall, conns: make(map[*bulkConn]*watched)}
}

func (w *watcher) add(c *bulkConn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns[c] = &watched{since: time.Now()}
}

func (w *watcher) remove(c *bulkConn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.conns, c)
}

// run watches until ctx ends.
func (w *watcher) run(ctx context.Context) {
	tick := time.NewTicker(watchTick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			w.look(now)
		}
	}
}

func (w *watcher) look(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c, s := range w.conns {
		reads := c.reads.Load()
		if !c.waiting.Load() || reads != s.reads {
			*s = watched{reads: reads, since: now}
			continue
		}
		if c.bulk.Load() && c.mark != nil && !c.lowered.Load() {
			pending := c.mark.pending()
			s.slow++
			s.quiet++
			if pending != s.pending {
				s.pending, s.quiet = pending, 0
			}
			if pending != 0 && (s.quiet >= quietTicks || s.slow >= slowTicks) {
				c.lowered.Store(true)
				c.mark.set(1)
			}
		}
		if c.patient.Load() {
			s.since = now
		}
		if now.Sub(s.since) > w.stall {
			c.giveUp()
		}
	}
}

// gate admits one large row at a time.
type gate struct {
	slot chan struct{}
	rows atomic.Int64
}

func newGate() *gate { return &gate{slot: make(chan struct{}, 1)} }

// gatedReader stands between the protocol parser and the (perhaps encrypted)
// connection. The parser asks for the rest of a message at once, so a request
// for very many bytes is a large row about to be buffered.
type gatedReader struct {
	io.Reader
	gate *gate
	done <-chan struct{}

	size int // of the large row inside the gate; 0: outside
	rest int // bytes of it that have not arrived
}

func (g *gatedReader) Read(p []byte) (int, error) {
	if g.size > 0 && g.rest == 0 {
		// The parser asks for what follows, so it has dropped the row.
		g.leave()
	}
	if g.size == 0 && len(p) >= largeRow {
		if err := g.enter(len(p)); err != nil {
			return 0, err
		}
	}
	n, err := g.Reader.Read(p)
	g.rest = max(0, g.rest-n)
	return n, err
}

func (g *gatedReader) enter(size int) error {
	select {
	case g.gate.slot <- struct{}{}:
		g.size, g.rest = size, size
		g.gate.rows.Add(1)
		return nil
	case <-g.done:
		return context.Canceled
	}
}

func (g *gatedReader) leave() {
	if g.size == 0 {
		return
	}
	if g.size >= 4*largeRow {
		// Give the buffer back before the next worker allocates its own.
		debug.FreeOSMemory()
	}
	g.size, g.rest = 0, 0
	<-g.gate.slot
}
