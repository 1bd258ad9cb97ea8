package snapshot

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/time/rate"
)

// loopback returns the two ends of a TCP connection.
func loopback(t *testing.T) (client, server *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			t.Error(err)
		}
		accepted <- c
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	client, server = c.(*net.TCPConn), (<-accepted).(*net.TCPConn)
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

// watched starts a watcher over a bulk connection.
func watchedConn(t *testing.T, c net.Conn, limiter *rate.Limiter, stall time.Duration) *bulkConn {
	t.Helper()
	b := newBulkConn(t.Context(), c, limiter)
	w := newWatcher(stall)
	w.add(b)
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { w.run(ctx) })
	t.Cleanup(func() { cancel(); done.Wait(); w.remove(b) })
	return b
}

// TestTailArrives sends pieces that are smaller than the low-water mark, each
// only when the one before was read: without the watcher, none would arrive.
func TestTailArrives(t *testing.T) {
	client, server := loopback(t)
	b := watchedConn(t, client, nil, time.Minute)
	b.bulk.Store(true)
	for i, size := range []int{1, lowWater - 1, 3, lowWater, lowWater + 1, 10, 2*readBuffer + 7, 1} {
		piece := bytes.Repeat([]byte{byte('a' + i)}, size)
		if err := client.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil { // to fail rather than hang
			t.Fatal(err)
		}
		go func() {
			if _, err := server.Write(piece); err != nil {
				t.Error(err)
			}
		}()
		got := make([]byte, size)
		if _, err := io.ReadFull(b, got); err != nil {
			t.Fatalf("piece of %d bytes: %v", size, err)
		}
		if !bytes.Equal(got, piece) {
			t.Fatalf("piece of %d bytes arrived changed", size)
		}
	}
	server.Close()
	if n, err := b.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %d, %v", n, err)
	}
}

func TestStallCloses(t *testing.T) {
	for _, bulk := range []bool{false, true} {
		client, server := loopback(t)
		b := watchedConn(t, client, nil, 50*time.Millisecond)
		b.bulk.Store(bulk)
		if _, err := server.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 10)
		if n, err := b.Read(buf); n != 1 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		if _, err := b.Read(buf); !errors.Is(err, errStalled) {
			t.Errorf("bulk %t: %v, want it stalled", bulk, err)
		}
		if _, err := server.Read(buf); err == nil {
			t.Error("the connection is still open")
		}
	}
}

// TestSlowIsNotStalled brings a byte now and then, for much longer than the
// watchdog's patience.
func TestSlowIsNotStalled(t *testing.T) {
	client, server := loopback(t)
	const stall = 200 * time.Millisecond
	b := watchedConn(t, client, nil, stall)
	b.bulk.Store(true)
	go func() {
		for begin := time.Now(); time.Since(begin) < 4*stall; time.Sleep(stall / 20) {
			if _, err := server.Write([]byte("x")); err != nil {
				t.Error(err)
			}
		}
		server.Close()
	}()
	if _, err := io.Copy(io.Discard, b); err != nil {
		t.Error(err)
	}
}

// TestIdleIsNotStalled waits for nothing for a while, as a connection does
// whose statement has ended.
func TestIdleIsNotStalled(t *testing.T) {
	w := newWatcher(time.Millisecond)
	client, _ := loopback(t)
	b := newBulkConn(t.Context(), client, nil)
	w.add(b)
	for i := range 10 {
		w.look(time.Now().Add(time.Duration(i) * time.Hour))
	}
	if b.stalled.Load() {
		t.Error("a connection from which nobody reads was closed")
	}
}

func TestRate(t *testing.T) {
	const total, perSecond = 3 * readBuffer, 4 * readBuffer
	client, server := loopback(t)
	b := watchedConn(t, client, rate.NewLimiter(perSecond, readBuffer), time.Minute)
	go func() {
		_, _ = server.Write(make([]byte, total))
		server.Close()
	}()
	begin := time.Now()
	n, err := io.Copy(io.Discard, b)
	took := time.Since(begin)
	if n != total || err != nil {
		t.Fatalf("%d bytes, %v", n, err)
	}
	if least := time.Duration(float64(total-readBuffer) / perSecond * float64(time.Second)); took < least {
		t.Errorf("took %s, want at least %s", took, least)
	}
}

// TestLowRate: under a low rate little is read at a time, so that no pause is
// long.
func TestLowRate(t *testing.T) {
	for perSecond, want := range map[rate.Limit]int{1: leastRead, 1 << 20: 32 << 10, 1 << 30: readBuffer} {
		b := newBulkConn(t.Context(), nil, rate.NewLimiter(perSecond, readBuffer))
		if got := b.most(); got != want {
			t.Errorf("%v bytes a second: %d are read at a time, want %d", perSecond, got, want)
		}
	}
}

// TestDeadlineEndsPause cancels a read that pauses for the rate's sake.
func TestDeadlineEndsPause(t *testing.T) {
	for name, end := range map[string]func(b *bulkConn) error{
		"deadline": func(b *bulkConn) error { return b.SetDeadline(time.Unix(1, 0)) },
		"close":    func(b *bulkConn) error { return b.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			client, server := loopback(t)
			b := watchedConn(t, client, rate.NewLimiter(1, readBuffer), time.Minute)
			if !b.limiter.AllowN(time.Now(), readBuffer) {
				t.Fatal("no burst")
			}
			if _, err := server.Write(make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
			read := make(chan error, 1)
			go func() {
				_, err := io.Copy(io.Discard, b)
				read <- err
			}()
			for b.reads.Load() == 0 { // until the bytes are there, and the pause begins
				time.Sleep(time.Millisecond)
			}
			if err := end(b); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-read:
				if err == nil {
					t.Error("a read that was cancelled gave no error")
				}
			case <-time.After(20 * time.Second):
				t.Error("the pause goes on")
			}
		})
	}
	t.Run("no deadline any more", func(t *testing.T) {
		client, _ := loopback(t)
		b := newBulkConn(t.Context(), client, nil)
		for _, at := range []time.Time{time.Unix(1, 0), {}} {
			if err := b.SetDeadline(at); err != nil {
				t.Fatal(err)
			}
		}
		if begin := time.Now(); true {
			if b.pause(50 * time.Millisecond); time.Since(begin) < 50*time.Millisecond {
				t.Error("no pause, although nobody is in a hurry")
			}
		}
	})
}

// TestHurriedIsNotCounted: what is read off a connection that is being given up
// holds up no other connection of the database.
func TestHurriedIsNotCounted(t *testing.T) {
	client, server := loopback(t)
	b := watchedConn(t, client, rate.NewLimiter(1, readBuffer), time.Minute)
	if !b.limiter.AllowN(time.Now(), readBuffer) {
		t.Fatal("no burst")
	}
	if err := b.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = server.Write(make([]byte, 2*readBuffer))
		server.Close()
	}()
	if n, err := io.Copy(io.Discard, b); n != 2*readBuffer || err != nil {
		t.Fatalf("%d bytes, %v", n, err)
	}
	if free := b.limiter.Tokens(); free < 0 {
		t.Errorf("the next connection waits until %.0f bytes would have been read", -free)
	}
}

func TestGateAdmitsOne(t *testing.T) {
	g := newGate()
	done := make(chan struct{})
	var inside, most, passed atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			row := bytes.NewReader(make([]byte, 3*largeRow))
			r := &gatedReader{Reader: row, gate: g, done: done}
			for range 3 {
				buf := make([]byte, largeRow)
				n, err := io.ReadFull(readerFunc(func(p []byte) (int, error) {
					if len(p) == largeRow { // the first request of a row has passed the gate
						n, err := r.Read(p[:largeRow])
						most.Store(max(most.Load(), inside.Add(1)))
						time.Sleep(time.Millisecond)
						inside.Add(-1)
						return n, err
					}
					return r.Read(p)
				}), buf)
				if n != largeRow || err != nil {
					t.Errorf("%d, %v", n, err)
				}
				passed.Add(1)
			}
			if _, err := r.Read(make([]byte, 1)); !errors.Is(err, io.EOF) { // the row is dropped
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if most.Load() != 1 || passed.Load() != 12 || g.rows.Load() != 12 {
		t.Errorf("%d at once, %d passed, %d counted", most.Load(), passed.Load(), g.rows.Load())
	}
	// Whoever waits is let go when the database is closed.
	g.slot <- struct{}{}
	close(done)
	r := &gatedReader{Reader: bytes.NewReader(make([]byte, largeRow)), gate: g, done: done}
	if _, err := r.Read(make([]byte, largeRow)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want it cancelled", err)
	}
	// Small rows never wait.
	r = &gatedReader{Reader: bytes.NewReader([]byte("x")), gate: g, done: done}
	if n, err := r.Read(make([]byte, largeRow-1)); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
