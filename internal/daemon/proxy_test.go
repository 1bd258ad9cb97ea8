package daemon

import (
	"bytes"
	"net/url"
	"strings"
	"sync"
	"testing"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/Shopify/toxiproxy/v2/stream"
	"github.com/Shopify/toxiproxy/v2/toxics"
	"github.com/rs/zerolog"
)

// Faults of the network come from toxiproxy, which runs within the test. Its
// toxics work from a connection's first byte on, at random or by the clock. So
// that a fault is where a test wants it, a tap looks at what passes, and lets
// toxics loose on it, or flips bits itself.

func init() { toxics.Register("tap", new(tap)) }

// look sees a chunk of a connection, of which so many bytes have passed before.
// It may change the chunk, and hold it up. A toxic that it returns takes over:
// a slicer the chunk, any other the connection without the chunk.
type look func(offset int64, chunk []byte) toxics.Toxic

// tap is the toxic that calls a look, for all connections in one direction.
type tap struct {
	look look
	quit chan struct{} // closed at the end of the test
}

func (p *tap) Pipe(stub *toxics.ToxicStub) {
	defer func() {
		stub.Close()
		for range stub.Input { // or toxiproxy's goroutines would be stuck
		}
	}()
	var offset int64
	for c := range stub.Input {
		toxic := p.look(offset, c.Data)
		offset += int64(len(c.Data))
		switch toxic := toxic.(type) {
		case nil:
			if !p.send(stub, c) {
				return
			}
		case *toxics.SlicerToxic:
			if !p.slice(stub, toxic, c) {
				return
			}
		default:
			if s, ok := toxic.(toxics.StatefulToxic); ok {
				stub.State = s.NewState()
			}
			toxic.Pipe(stub)
			return
		}
	}
}

// send passes a chunk on. It reports whether there was somebody to take it.
func (p *tap) send(stub *toxics.ToxicStub, c *stream.StreamChunk) bool {
	select {
	case stub.Output <- c:
		return true
	case <-p.quit:
		return false
	}
}

// slice passes a chunk on in slices.
func (p *tap) slice(stub *toxics.ToxicStub, slicer *toxics.SlicerToxic, c *stream.StreamChunk) (ok bool) {
	in, out := make(chan *stream.StreamChunk, 1), make(chan *stream.StreamChunk)
	in <- c
	close(in)
	go slicer.Pipe(toxics.NewToxicStub(in, out))
	ok = true
	for c := range out {
		ok = ok && p.send(stub, c)
	}
	return ok
}

// lingerless makes connections end with RST rather than FIN: what toxiproxy does
// for those that have a toxic of this type, even if it does nothing.
const lingerless = `{"name": "lingerless", "type": "reset_peer", "toxicity": 0}`

// newProxy starts a proxy that looks at what passes in one direction, and
// returns the DSN that goes through it. More toxics are in toxiproxy's JSON.
func newProxy(t *testing.T, dsn string, direction stream.Direction, look look, more ...string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	p := toxiproxy.NewProxy(server, t.Name(), "127.0.0.1:0", u.Host)
	for _, json := range append(more, `{"name": "tap", "type": "tap", "stream": "`+direction.String()+`"}`) {
		toxic, err := p.Toxics.AddToxicJson(strings.NewReader(json))
		if err != nil {
			t.Fatal(err)
		}
		if tap, ok := toxic.Toxic.(*tap); ok {
			tap.look, tap.quit = look, make(chan struct{})
			defer t.Cleanup(func() {
				close(tap.quit)
				p.Stop()
			})
		}
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	u.Host = p.Listen
	return u.String()
}

// after returns a look that calls f with what connections bring beyond so many
// bytes, until f says that its fault is done. The test fails if it never is.
func after(t *testing.T, bytes int64, f func(chunk []byte) (toxic toxics.Toxic, done bool)) look {
	t.Helper()
	var mu sync.Mutex // guards done
	done := false
	t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		if !done {
			t.Error("no connection came to where the fault is")
		}
	})
	return func(offset int64, chunk []byte) (toxic toxics.Toxic) {
		if offset+int64(len(chunk)) <= bytes {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		if !done {
			toxic, done = f(chunk)
		}
		return toxic
	}
}

// befall returns what after takes for a toxic.
func befall(toxic toxics.Toxic) func([]byte) (toxics.Toxic, bool) {
	return func([]byte) (toxics.Toxic, bool) { return toxic, true }
}

// flip returns what after takes for one flipped bit: of the byte at that
// distance from where the pattern begins; bit 0 is the lowest.
func flip(pattern string, distance int, bit uint) func([]byte) (toxics.Toxic, bool) {
	return func(chunk []byte) (toxics.Toxic, bool) {
		before := min(max(0, -distance), len(chunk))
		found := bytes.Index(chunk[before:], []byte(pattern))
		at := before + found + distance
		if found < 0 || at >= len(chunk) {
			return nil, false // in a later chunk
		}
		chunk[at] ^= 1 << bit
		return nil, true
	}
}
