// Package proxy is a TCP proxy that misbehaves on demand: it delays, slows down, swallows, resets and cuts what
// passes through it. Tests put it between a program and a server to see what the program makes of a bad network.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Direction is which way bytes flow.
type Direction uint8

// The directions.
const (
	ToServer Direction = iota
	ToClient
)

// Toxic is what the proxy does to the bytes of one direction. The zero value lets them pass.
type Toxic struct {
	Delay     time.Duration // each piece waits this long, without slowing what follows it down more
	Rate      int           // bytes a second, 0 for any
	BlackHole bool          // bytes are read and go nowhere; the connection stays up
	CutAfter  int64         // after so many bytes more, over all connections, the connection is reset; 0 never
}

// Proxy forwards connections from Addr to a server.
type Proxy struct {
	listener net.Listener
	server   string
	group    sync.WaitGroup

	mu     sync.Mutex // guards the rest
	toxics [2]Toxic
	left   [2]int64 // of CutAfter
	links  map[*link]struct{}
	refuse bool
	closed bool

	passed [2]atomic.Int64
}

// link is one connection and its twin.
type link struct {
	client, server *net.TCPConn
	reset          sync.Once
}

// Start listens on a free port of loopback and forwards to server, a host:port. The caller closes it.
func Start(server string) (*Proxy, error) { return StartAt("127.0.0.1:0", server) }

// StartAt is Start at an address: for servers that tell their clients beforehand where to connect to.
func StartAt(addr, server string) (*Proxy, error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	p := &Proxy{listener: listener, server: server, links: map[*link]struct{}{}}
	p.group.Add(1)
	go p.accept() // Close waits for it
	return p, nil
}

// ForTest is Start for the length of a test.
func ForTest(tb testing.TB, server string) *Proxy {
	tb.Helper()
	p, err := Start(server)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(p.Close)
	return p
}

// Addr is where clients connect to, host:port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Port is the port of Addr.
func (p *Proxy) Port() int { return p.listener.Addr().(*net.TCPAddr).Port }

// Set changes what happens in one direction, for connections that exist too.
func (p *Proxy) Set(d Direction, t Toxic) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.toxics[d], p.left[d] = t, t.CutAfter
}

// Heal takes every toxic away. Bytes that a black hole has swallowed stay lost, so its connections are reset.
func (p *Proxy) Heal() {
	p.mu.Lock()
	holed := p.toxics[ToServer].BlackHole || p.toxics[ToClient].BlackHole
	p.mu.Unlock()
	if holed {
		p.Reset()
	}
	p.Set(ToServer, Toxic{})
	p.Set(ToClient, Toxic{})
	p.Refuse(false)
}

// Refuse makes new connections end with a reset at once.
func (p *Proxy) Refuse(refuse bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = refuse
}

// Reset ends every connection with RST on both sides.
func (p *Proxy) Reset() {
	p.mu.Lock()
	links := make([]*link, 0, len(p.links))
	for l := range p.links {
		links = append(links, l)
	}
	p.mu.Unlock()
	for _, l := range links {
		l.kill()
	}
}

// Connections is how many connections are open.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.links)
}

// Passed is how many bytes were forwarded in a direction.
func (p *Proxy) Passed(d Direction) int64 { return p.passed[d].Load() }

// Close ends everything and waits for it.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	_ = p.listener.Close()
	p.Reset()
	p.group.Wait()
}

func (p *Proxy) accept() {
	defer p.group.Done()
	for {
		client, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // a client that gave up before it was accepted
		}
		p.group.Add(1)
		go p.serve(client.(*net.TCPConn)) // Close waits for it
	}
}

func (p *Proxy) serve(client *net.TCPConn) {
	defer p.group.Done()
	l := &link{client: client}
	server, err := net.DialTimeout("tcp", p.server, 5*time.Second)
	if err != nil {
		abort(client)
		return
	}
	l.server = server.(*net.TCPConn)
	p.mu.Lock()
	unwanted := p.refuse || p.closed
	if !unwanted {
		p.links[l] = struct{}{}
	}
	p.mu.Unlock()
	if unwanted {
		l.kill()
		return
	}
	// A link that dies ends whatever waits on its account.
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var both sync.WaitGroup
	for d := range Direction(2) {
		both.Go(func() {
			p.pump(ctx, l, d)
			cancel()
		})
	}
	both.Wait()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}

// kill resets both connections.
func (l *link) kill() {
	l.reset.Do(func() {
		abort(l.client)
		abort(l.server)
	})
}

// abort closes with RST instead of FIN.
func abort(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}
