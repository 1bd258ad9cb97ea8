package snapshot

import (
	"net"

	"golang.org/x/sys/unix"
)

// lowWaterMark returns a function that sets the socket's SO_RCVLOWAT, or nil
// when c is not a TCP connection: only there does poll honour the mark.
func lowWaterMark(c net.Conn) func(bytes int) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	return func(bytes int) {
		// Without the mark reading is slower, not wrong: errors do not matter.
		_ = raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, bytes)
		})
	}
}
