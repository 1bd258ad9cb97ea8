package snapshot

import (
	"net"
	"testing"
)

// TestMarkIsLowerable: whatever the watcher has left half done, a read that
// raises the low-water mark leaves it so that the watcher can lower it.
func TestMarkIsLowerable(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	c := newBulkConn(t.Context(), client, nil)
	m := &lowering{conn: c, bytes: 1}
	c.mark = m
	write := func() {
		if _, err := server.Write([]byte("x")); err != nil {
			t.Error(err)
		}
	}
	for _, bulk := range []bool{true, false, true} {
		c.bulk.Store(bulk)
		c.lowered.Store(true) // for an earlier read, by a watcher that overslept
		go write()
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if c.raised != bulk || c.lowered.Load() && m.bytes != 1 {
			t.Errorf("bulk %t: raised %t, said to be lowered with the mark at %d", bulk, c.raised, m.bytes)
		}
		if c.lowered.Load() {
			t.Errorf("bulk %t: the watcher would not lower the mark again", bulk)
		}
	}
}

// lowering is a mark that the watcher lowers whenever the reader has raised it,
// in between the reader's steps.
type lowering struct {
	conn  *bulkConn
	bytes int
}

func (m *lowering) set(bytes int) {
	if m.bytes = bytes; bytes == lowWater {
		m.conn.lowered.Store(true)
		m.bytes = 1
	}
}

func (*lowering) pending() int { return 0 }
