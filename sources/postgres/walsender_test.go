package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/rowferry/rowferry/schema/fault"
)

// walsender plays the server's side of one replication connection: it answers what openTail asks, then sends what
// the test writes and notes the status messages that arrive.
type walsender struct {
	t        *testing.T
	listener net.Listener
	timeout  string // wal_sender_timeout in milliseconds
	mu       sync.Mutex
	conn     net.Conn
	started  chan string // the START_REPLICATION command
	statuses chan status
	ended    chan struct{}
}

func newWalsender(t *testing.T, timeout string) *walsender {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &walsender{
		t: t, listener: l, timeout: timeout, started: make(chan string, 1), statuses: make(chan status, 1000),
		ended: make(chan struct{}),
	}
	go func() {
		defer close(s.ended)
		if err := s.serve(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Logf("walsender: %v", err)
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		s.mu.Lock()
		if s.conn != nil {
			_ = s.conn.Close()
		}
		s.mu.Unlock()
		<-s.ended
	})
	return s
}

func (s *walsender) serve() error {
	conn, err := s.listener.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	s.mu.Lock()
	s.conn = conn
	s.mu.Unlock()
	b := pgproto3.NewBackend(conn, conn)
	if _, err := b.ReceiveStartupMessage(); err != nil {
		return err
	}
	b.Send(&pgproto3.AuthenticationOk{})
	b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	if err := b.Flush(); err != nil {
		return err
	}
	for {
		m, err := b.Receive()
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case *pgproto3.Query:
			if strings.HasPrefix(m.String, "START_REPLICATION") {
				s.started <- m.String
				b.Send(&pgproto3.CopyBothResponse{})
			} else {
				b.Send(&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("setting")}}})
				b.Send(&pgproto3.DataRow{Values: [][]byte{[]byte(s.timeout)}})
				b.Send(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")})
				b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
			}
		case *pgproto3.CopyData:
			s.statuses <- status{
				received: LSN(binary.BigEndian.Uint64(m.Data[1:])), acked: LSN(binary.BigEndian.Uint64(m.Data[9:])),
				ask: m.Data[33] != 0,
			}
		case *pgproto3.CopyDone:
			b.Send(&pgproto3.CopyDone{})
			b.Send(&pgproto3.CommandComplete{CommandTag: []byte("COPY 0")})
			b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		case *pgproto3.Terminate:
			return nil
		}
		if err := b.Flush(); err != nil {
			return err
		}
	}
}

// write sends the script as it is.
func (s *walsender) write(w *wal) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.conn.Write(w.out); err != nil {
		s.t.Error(err)
	}
}

// status waits for a status message that matches.
func (s *walsender) status(match func(status) bool) status {
	s.t.Helper()
	limit := time.After(10 * time.Second)
	for {
		select {
		case got := <-s.statuses:
			if match(got) {
				return got
			}
		case <-limit:
			s.t.Fatal("the status message did not come")
		}
	}
}

// open opens a tail on the walsender.
func (s *walsender) open(change func(*tailConfig)) *tail {
	s.t.Helper()
	cfg := tailConfig{
		connect: func(ctx context.Context, build func(*pgconn.Config)) (*pgconn.PgConn, error) {
			c, err := pgconn.ParseConfig(fmt.Sprintf("postgres://u@%s/d?sslmode=disable&replication=database", s.listener.Addr()))
			if err != nil {
				return nil, err
			}
			build(c)
			return pgconn.ConnectConfig(ctx, c)
		},
		serverVersion: 180000, slot: "rf", publications: []string{`Pub"1`, "it's"}, from: 0x100, streaming: true,
		relations: &fakeResolver{}, positionAt: testPosition, spillDir: filepath.Join(s.t.TempDir(), "spill"),
		spillLimit: 1 << 20, maxValue: 1 << 20, barrierEvery: time.Hour,
	}
	if change != nil {
		change(&cfg)
	}
	tail, err := openTail(s.t.Context(), cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := tail.Close(); err != nil {
			s.t.Errorf("Close: %v", err)
		}
	})
	return tail
}

func TestOpenTailAsksForTheStream(t *testing.T) {
	s := newWalsender(t, "60000")
	s.open(nil)
	want := `START_REPLICATION SLOT "rf" LOGICAL 0/100 (proto_version '2', publication_names '"Pub""1","it''s"', ` +
		`binary 'false', messages 'true', streaming 'on')`
	if got := strings.TrimSpace(<-s.started); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestStatusNeverPassesTheAck(t *testing.T) {
	s := newWalsender(t, "60000")
	tail := s.open(nil)
	if got := s.status(func(status) bool { return true }); got.acked != 0x100 || got.received != 0x100 {
		t.Errorf("the first: got %+v", got)
	}
	s.write(newWAL().begin(7, 0x2000).relation(1, 'd', "s.t", "id*").insert(1, "1").commit(0x2000))
	b, err := tail.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// Not asked for the next batch, it still answers at once, and with what is durable, not with what was read.
	go func() { b.Release(); _, _ = tail.Next(t.Context()) }()
	s.write(newWAL().keepalive(0x3000, 1))
	if got := s.status(func(st status) bool { return st.received == 0x3000 }); got.acked != 0x100 {
		t.Errorf("before the ack: got %+v", got)
	}
	tail.Ack(0x2030)
	if got := s.status(func(st status) bool { return st.acked != 0x100 }); got.acked != 0x2030 {
		t.Errorf("after the ack: got %+v", got)
	}
	eventually(t, "the count of the ack", func() bool { return tail.Counts().Acked == 0x2030 })
	s.mu.Lock()
	_ = s.conn.Close()
	s.mu.Unlock()
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	limit := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%s: did not come about", what)
		}
	}
}

func TestStatusGoesOnWithoutNext(t *testing.T) {
	s := newWalsender(t, "300") // an interval of 100 ms
	s.open(nil)
	begun := time.Now()
	for range 5 {
		s.status(func(status) bool { return true })
	}
	if d := time.Since(begun); d > 5*time.Second {
		t.Errorf("five status messages took %s", d)
	}
	s.status(func(st status) bool { return st.ask }) // it wants to know whether the server lives
}

func TestCloseSendsTheLastAck(t *testing.T) {
	s := newWalsender(t, "60000")
	tail := s.open(nil)
	tail.Ack(0x500)
	tail.Ack(0x600)
	if err := tail.Close(); err != nil {
		t.Fatal(err)
	}
	s.status(func(st status) bool { return st.acked == 0x600 })
	<-s.ended
}

func TestSilenceIsNoticed(t *testing.T) {
	s := newWalsender(t, "150")
	tail := s.open(nil)
	begun := time.Now()
	_, err := tail.Next(t.Context())
	f := fault.Of(err)
	if f.Code != "source.silent" || !f.Endless {
		t.Errorf("got %v", err)
	}
	if d := time.Since(begun); d < 100*time.Millisecond || d > 5*time.Second {
		t.Errorf("noticed after %s, want about 3 intervals of 50ms", d)
	}
	s.status(func(st status) bool { return st.ask })
}

func TestAnAnsweringServerIsNotSilent(t *testing.T) {
	s := newWalsender(t, "300")
	tail := s.open(nil)
	ctx, cancel := context.WithTimeout(t.Context(), 900*time.Millisecond)
	defer cancel()
	go func() {
		for at := LSN(0x50); ctx.Err() == nil; at++ {
			select {
			case st := <-s.statuses:
				if st.ask {
					s.write(newWAL().keepalive(at, 0))
				}
			case <-ctx.Done():
			}
		}
	}()
	if _, err := tail.Next(ctx); !errors.Is(err, context.DeadlineExceeded) || fault.Of(err).Code != "" {
		t.Errorf("got %v", err)
	}
}

func TestServerHangsUp(t *testing.T) {
	s := newWalsender(t, "60000")
	tail := s.open(nil)
	s.write(newWAL().raw('E', []byte("SFATAL\x00C57P01\x00Mterminating connection\x00\x00")))
	_, err := tail.Next(t.Context())
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || pg.Code != "57P01" || fault.Of(err).Code == "" {
		t.Errorf("got %v", err)
	}
	s.mu.Lock()
	_ = s.conn.Close()
	s.mu.Unlock()
	if _, err = tail.Next(t.Context()); fault.Of(err).Code != "source.connect" {
		t.Errorf("after the end: got %v", err)
	}
}

func TestMessagesOfLaterProtocols(t *testing.T) {
	// Protocol 4 adds where and when to an abort; protocol 3 brings prepared transactions, which are refused.
	s := newWalsender(t, "60000")
	tail := s.open(nil)
	w := newWAL().streamStart(10, 1).relation(1, 'd', "s.t", "id*").insert(1, "1").as(11).insert(1, "2").streamStop()
	w.send(be64(be64(be32(be32([]byte{'A'}, 10), 11), 0x1500), 0)).streamCommit(10, 0x2000)
	w.send(append([]byte("b"), make([]byte, 30)...))
	s.write(w)
	want := "tx 10 at 0/2030\n  schema s.t(id)\n  insert s.t after [1]\nupto 0/2030\n"
	if got := nextText(t.Context(), t, tail); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if _, err := tail.Next(t.Context()); fault.Of(err).Code != "source.two_phase" {
		t.Errorf("got %v", err)
	}
}

func TestValueTooLarge(t *testing.T) {
	const limit = 10_000
	big := strings.Repeat("x", 5<<20)
	fits := strings.Repeat("y", limit)
	begun := func() *wal { return newWAL().begin(7, 0x2000).relation(1, 'd', "s.t", "id*", "v", "w") }
	tests := []struct {
		name   string
		script *wal
		want   []string
	}{
		{name: "insert", script: begun().insert(1, "42", big, ""),
			want: []string{"column v of table s.t", "the row with id=42", "5242880 bytes", "0/1020"}},
		{name: "behind others that fit", script: begun().insert(1, "42", fits, big), want: []string{"column w", "id=42"}},
		{name: "the key follows", script: newWAL().begin(7, 0x2000).relation(1, 'd', "s.t", "v", "n", "id*").insert(1, big, null, "43"),
			want: []string{"column v", "id=43"}},
		{name: "the old row of an update", script: newWAL().begin(7, 0x2000).relation(1, 'f', "s.t", "id*", "v*").
			update(1, 'O', []string{"44", big}, []string{"44", "small"}), want: []string{"column v", "row without a key"}},
		{name: "a message", script: begun().logical(1, 5, "audit", big), want: []string{`the prefix "audit"`, "5242880 bytes"}},
		{name: "in a stream block", script: newWAL().streamStart(9, 1).relation(1, 'd', "s.t", "id*", "v").insert(1, "45", big),
			want: []string{"column v of table s.t", "id=45"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newWalsender(t, "60000")
			tail := s.open(func(c *tailConfig) { c.maxValue, c.spillLimit = limit, 64<<20 })
			written := make(chan struct{})
			go func() { defer close(written); s.write(tt.script) }()
			_, err := tail.Next(t.Context())
			f := fault.Of(err)
			if f.Code != "source.value_too_large" || f.Class != fault.Terminal || f.Remedy == "" {
				t.Fatalf("got %v", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q in it", err, want)
				}
			}
			if n := len(tail.wire.buf); n > wireBuffer+2*limit {
				t.Errorf("the buffer grew to %d bytes", n)
			}
			if err := tail.Close(); err != nil {
				t.Error(err)
			}
			s.mu.Lock()
			if s.conn != nil {
				_ = s.conn.Close()
			}
			s.mu.Unlock()
			<-written
		})
	}
}

func TestLargeMessagesOfSmallValuesPass(t *testing.T) {
	const limit = 10_000
	fits := strings.Repeat("y", limit)
	w := newWAL().begin(7, 0x2000).relation(1, 'd', "s.t", "id*", "a", "b", "c", "d").
		insert(1, "1", fits, null, fits, "z").update(1, 'K', []string{"1", null, null, null, null}, []string{"2", fits, "z", fits, unchanged}).
		remove(1, 'K', "2", null, null, null, null).commit(0x2000)
	got, err := play(t, func(c *tailConfig) { c.maxValue = limit }, w)
	want := `tx 7 at 0/2030
  schema s.t(id,a,b,c,d)
  insert s.t after [1 yyyy…10000 NULL yyyy…10000 z]
  update s.t before [1 - - - -] after [2 yyyy…10000 z yyyy…10000 ~]
  delete s.t before [2 - - - -]
upto 0/2030
`
	if err != nil || got != want {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
}
