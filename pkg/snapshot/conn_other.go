//go:build !linux

package snapshot

import "net"

// lowWaterMark returns nil: this system has no low-water mark that its poller
// honours, so reads are plain.
func lowWaterMark(net.Conn) mark { return nil }
