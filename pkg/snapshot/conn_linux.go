package snapshot

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// socket is a TCP connection's socket.
type socket struct{ raw syscall.RawConn }

// lowWaterMark returns the low-water mark of c's socket, or nil when c is not a
// TCP connection: only there does poll honour the mark.
func lowWaterMark(c net.Conn) mark {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	return socket{raw}
}

// set implements mark with SO_RCVLOWAT. Without it reading is slower, not wrong:
// errors do not matter.
func (s socket) set(bytes int) {
	_ = s.raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, bytes)
	})
}

// pending implements mark with FIONREAD.
func (s socket) pending() int {
	n := -1
	_ = s.raw.Control(func(fd uintptr) {
		if v, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ); err == nil {
			n = v
		}
	})
	return n
}
