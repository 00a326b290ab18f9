package postgres

import (
	"errors"
	"net"
	"testing"
	"time"
)

// tcpPair is a connection over loopback.
func tcpPair(t *testing.T) (reader, writer net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if writer, err = net.Dial("tcp", listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { writer.Close() })
	if reader, err = listener.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reader.Close() })
	return reader, writer
}

// write sends n bytes in pieces of a message's size, and tells how that went.
func write(conn net.Conn, n int) <-chan error {
	sent := make(chan error, 1)
	go func() {
		var err error
		for piece := make([]byte, 1<<10); n > 0 && err == nil; n -= len(piece) {
			_, err = conn.Write(piece)
		}
		sent <- err
	}()
	return sent
}

// gatherFor gathers at most so long, and tells how long it took.
func gatherFor(t *testing.T, g *gatherer, conn net.Conn, limit time.Duration) time.Duration {
	t.Helper()
	began := time.Now()
	if err := conn.SetReadDeadline(began.Add(limit)); err != nil {
		t.Fatal(err)
	}
	if err := g.gather(); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	if err := conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return took
}

// TestGather: little that arrives wakes nobody until the time is up, much does at once, and after that little is seen
// again as soon as it comes.
func TestGather(t *testing.T) {
	const short, long = 100 * time.Millisecond, time.Minute
	reader, writer := tcpPair(t)
	g := newGatherer(reader)
	if g == nil {
		t.Fatal("a TCP connection gathers nothing")
	}
	buf := make([]byte, 2*gatherBytes)
	for round := range 3 {
		if err := <-write(writer, 4<<10); err != nil {
			t.Fatal(err)
		}
		if took := gatherFor(t, g, reader, short); took < short {
			t.Errorf("round %d: 4 KiB ended the pause after %s, want %s", round, took, short)
		}
		sent := write(writer, gatherBytes)
		if took := gatherFor(t, g, reader, long); took > long/2 {
			t.Errorf("round %d: %d bytes more did not end the pause", round, gatherBytes)
		}
		for left := 4<<10 + gatherBytes; left > 0; {
			n, err := reader.Read(buf)
			if err != nil {
				t.Fatalf("round %d: with %d bytes to come: %v", round, left, err)
			}
			left -= n
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		seen := make(chan error, 1)
		go func() {
			_, err := reader.Read(buf)
			seen <- err
		}()
		if err := errors.Join(<-write(writer, 1<<10), <-seen); err != nil {
			t.Fatalf("round %d: a small message after the pause: %v", round, err)
		}
	}
}

// TestGatherWhereItCannot: a connection that is no TCP sleeps through its pauses.
func TestGatherWhereItCannot(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if newGatherer(a) != nil {
		t.Error("a pipe gathers")
	}
}

// TestGatherAtTheEnd: a server that hangs up ends the pause, and the next read tells.
func TestGatherAtTheEnd(t *testing.T) {
	reader, writer := tcpPair(t)
	g := newGatherer(reader)
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	if took := gatherFor(t, g, reader, time.Minute); took > 30*time.Second {
		t.Errorf("the pause went on for %s", took)
	}
	if n, err := reader.Read(make([]byte, 1)); err == nil {
		t.Errorf("got %d bytes after the end", n)
	}
}
