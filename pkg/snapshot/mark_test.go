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
	mark := 1
	c.setMark = func(bytes int) {
		// The watcher gets in between the reader's steps.
		if mark = bytes; bytes == lowWater {
			c.lowered.Store(true)
			mark = 1
		}
	}
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
		if c.raised != bulk || c.lowered.Load() && mark != 1 {
			t.Errorf("bulk %t: raised %t, said to be lowered with the mark at %d", bulk, c.raised, mark)
		}
		if c.lowered.Load() {
			t.Errorf("bulk %t: the watcher would not lower the mark again", bulk)
		}
	}
}
