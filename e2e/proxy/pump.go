package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"time"
)

// piece is what one read gave, and when it may go on.
type piece struct {
	bytes []byte
	due   time.Time
}

const (
	pieceBytes = 32 << 10
	pieces     = 256 // on their way at once; a delay times a rate beyond that slows the sender down
)

// pump carries bytes of one direction until either side ends. It ends with both connections closed: by FIN when
// the sender said so, by RST otherwise.
func (p *Proxy) pump(ctx context.Context, l *link, d Direction) {
	from, to := l.client, l.server
	if d == ToClient {
		from, to = to, from
	}
	way := make(chan piece, pieces)
	ended := make(chan error, 1)
	go func() { // ends when the connection does, which the loop below sees to
		ended <- p.read(from, way, d)
	}()
	err := p.write(ctx, l, to, way, d)
	if err != nil {
		l.kill()
	}
	for range way { // the reader may be waiting for room
	}
	readErr := <-ended
	p.keepSecret(ctx, d)
	if err == nil && readErr == nil {
		// The sender has ended in order. Nobody here uses half-closed connections.
		_ = l.client.Close()
		_ = l.server.Close()
		return
	}
	l.kill()
}

// keepSecret waits until the direction is no black hole any more: the end of a connection does not pass one either.
func (p *Proxy) keepSecret(ctx context.Context, d Direction) {
	for p.swallows(d) && wait(ctx, 10*time.Millisecond) == nil {
	}
}

// swallows tells whether nothing passes in a direction.
func (p *Proxy) swallows(d Direction) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.toxics[d].BlackHole && !p.closed
}

// read stamps what it reads; the delay is that of the moment.
func (p *Proxy) read(from *net.TCPConn, way chan<- piece, d Direction) error {
	defer close(way)
	for {
		buffer := make([]byte, pieceBytes)
		n, err := from.Read(buffer)
		if n > 0 {
			t := p.toxic(d)
			way <- piece{buffer[:n], time.Now().Add(t.Delay)}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

var errCut = errors.New("cut")

// write sends what is due. nil means that the reader has ended.
func (p *Proxy) write(ctx context.Context, l *link, to *net.TCPConn, way <-chan piece, d Direction) error {
	for {
		var next piece
		select {
		case next = <-way:
			if next.bytes == nil {
				return nil
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := wait(ctx, time.Until(next.due)); err != nil {
			return err
		}
		for len(next.bytes) > 0 {
			t := p.toxic(d)
			if t.BlackHole {
				break
			}
			n := len(next.bytes)
			if t.Rate > 0 {
				n = min(n, max(t.Rate/50, 1)) // 50 steps a second
			}
			allowed, cut := p.spend(d, n)
			if _, err := to.Write(next.bytes[:allowed]); err != nil {
				return err
			}
			p.passed[d].Add(int64(allowed))
			if cut {
				l.kill()
				return errCut
			}
			next.bytes = next.bytes[allowed:]
			if t.Rate > 0 {
				if err := wait(ctx, time.Duration(float64(allowed)/float64(t.Rate)*float64(time.Second))); err != nil {
					return err
				}
			}
		}
	}
}

// toxic is what is set now.
func (p *Proxy) toxic(d Direction) Toxic {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.toxics[d]
}

// spend takes n bytes off what may still pass before the cut.
func (p *Proxy) spend(d Direction, n int) (allowed int, cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.toxics[d].CutAfter == 0 {
		return n, false
	}
	if int64(n) < p.left[d] {
		p.left[d] -= int64(n)
		return n, false
	}
	n = int(p.left[d])
	p.toxics[d].CutAfter, p.left[d] = 0, 0 // once
	return n, true
}

func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
