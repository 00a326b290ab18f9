package postgres

import (
	"net"
	"syscall"
)

// gatherBytes is how much the kernel gathers before it wakes the reader. The receive buffer is made twice as large.
const gatherBytes = 128 << 10

// gatherer lets the kernel gather what arrives while the log is read from the past. A reader that merely sleeps is not
// enough: the runtime's poller watches the socket all the same, and a thread of it wakes for each message the server
// sends, which costs the server more than the message.
type gatherer struct {
	raw     syscall.RawConn
	waiting bool // the kernel has been asked to gather
	failed  error
	begin   func(fd uintptr) bool // made once, so that a pause allocates nothing
	end     func(fd uintptr)
}

// newGatherer gives nil for connections that cannot gather: those over Unix sockets.
func newGatherer(conn net.Conn) *gatherer {
	if wrapped, ok := conn.(interface{ NetConn() net.Conn }); ok { // TLS
		conn = wrapped.NetConn()
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	g := &gatherer{raw: raw}
	g.begin = func(fd uintptr) bool {
		if g.waiting {
			return true
		}
		g.waiting = true
		g.failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVLOWAT, gatherBytes)
		return g.failed != nil
	}
	g.end = func(fd uintptr) {
		g.failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVLOWAT, 1)
	}
	return g
}

// gather waits until gatherBytes can be read, the server has no room to send more, or the connection's read deadline
// passes. Only a socket that would keep gathering is an error: a small message would not be seen on it.
func (g *gatherer) gather() error {
	g.waiting, g.failed = false, nil
	_ = g.raw.Read(g.begin) // the deadline, or a broken connection that the next read will tell of
	if err := g.raw.Control(g.end); err != nil {
		return err
	}
	return g.failed
}
