package proxy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo starts a server that sends back what it gets, and a proxy before it.
func echo(t *testing.T) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	p := ForTest(t, listener.Addr().String())
	t.Cleanup(func() {
		_ = listener.Close()
		<-done
	})
	return p
}

func dial(t *testing.T, p *Proxy) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

func say(t *testing.T, c net.Conn, text []byte) {
	t.Helper()
	if _, err := c.Write(text); err != nil {
		t.Fatal(err)
	}
}

func hear(t *testing.T, c net.Conn, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got %d other bytes than were sent", len(got))
	}
}

func TestPassesEverything(t *testing.T) {
	p := echo(t)
	c := dial(t, p)
	text := bytes.Repeat([]byte("0123456789"), 100_000)
	go func() { _, _ = c.Write(text) }()
	hear(t, c, text)
	if got, want := p.Passed(ToServer), int64(len(text)); got != want {
		t.Errorf("got %d bytes passed, want %d", got, want)
	}
}

func TestDelay(t *testing.T) {
	p := echo(t)
	c := dial(t, p)
	p.Set(ToServer, Toxic{Delay: 60 * time.Millisecond})
	p.Set(ToClient, Toxic{Delay: 40 * time.Millisecond})
	start := time.Now()
	say(t, c, []byte("hello"))
	hear(t, c, []byte("hello"))
	if took := time.Since(start); took < 100*time.Millisecond {
		t.Errorf("got an answer after %v, want at least 100ms", took)
	}
}

func TestRate(t *testing.T) {
	p := echo(t)
	c := dial(t, p)
	p.Set(ToServer, Toxic{Rate: 100_000})
	text := bytes.Repeat([]byte("x"), 20_000)
	start := time.Now()
	say(t, c, text)
	hear(t, c, text)
	if took := time.Since(start); took < 150*time.Millisecond {
		t.Errorf("20 kB at 100 kB/s took %v, want about 200ms", took)
	}
}

func TestReset(t *testing.T) {
	p := echo(t)
	c := dial(t, p)
	say(t, c, []byte("hello"))
	hear(t, c, []byte("hello"))
	p.Reset()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v, want a reset", err)
	}
}

func TestBlackHoleOneWay(t *testing.T) {
	p := echo(t)
	c := dial(t, p)
	say(t, c, []byte("before"))
	hear(t, c, []byte("before"))
	p.Set(ToClient, Toxic{BlackHole: true})
	say(t, c, []byte("lost"))
	_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want no answer", err)
	}
	if got, want := p.Passed(ToServer), int64(len("beforelost")); got != want {
		t.Errorf("got %d bytes at the server, want %d", got, want)
	}
	p.Heal()
	c = dial(t, p)
	say(t, c, []byte("again"))
	hear(t, c, []byte("again"))
}

func TestCutAfter(t *testing.T) {
	p := echo(t)
	c := dial(t, p)
	p.Set(ToClient, Toxic{CutAfter: 10})
	say(t, c, bytes.Repeat([]byte("x"), 100))
	got, err := io.ReadAll(c)
	// The reset may overtake bytes that had arrived.
	if !errors.Is(err, syscall.ECONNRESET) || len(got) > 10 {
		t.Errorf("got %d bytes and %v, want at most 10 and a reset", len(got), err)
	}
	c = dial(t, p)
	say(t, c, []byte("once only"))
	hear(t, c, []byte("once only"))
}

func TestRefuse(t *testing.T) {
	p := echo(t)
	p.Refuse(true)
	// The reset may come before the client knows that it is connected.
	if c, err := net.Dial("tcp", p.Addr()); err == nil {
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("a connection was served")
		}
		_ = c.Close()
	}
	p.Refuse(false)
	c := dial(t, p)
	say(t, c, []byte("hello"))
	hear(t, c, []byte("hello"))
}

// TestBlackHoleHidesTheEnd: who is behind a black hole does not learn that the other side has hung up.
func TestBlackHoleHidesTheEnd(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	p := ForTest(t, listener.Addr().String())
	c := dial(t, p)
	server, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	for d := range Direction(2) {
		p.Set(d, Toxic{BlackHole: true})
	}
	_ = server.Close()
	_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want silence", err)
	}
	p.Heal()
	_ = c.SetReadDeadline(time.Time{})
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v after it was healed, want a reset", err)
	}
}
