package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
)

// testTail is a tail over a pipe at whose other end a test writes what a server would.
func testTail(t *testing.T, change func(*tailConfig)) (*tail, net.Conn) {
	t.Helper()
	cfg := tailConfig{
		from: 0x100, relations: &fakeResolver{}, positionAt: testPosition, spillDir: filepath.Join(t.TempDir(), "spill"),
		spillLimit: 64 << 20, maxValue: 1 << 20, barrierEvery: time.Hour,
	}
	if change != nil {
		change(&cfg)
	}
	files, err := openSpill(cfg.spillDir, cfg.spillLimit)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := net.Pipe()
	tail := newTail(cfg, ours, newWire(ours), files)
	t.Cleanup(func() {
		if err := tail.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		_ = theirs.Close()
		left, err := os.ReadDir(cfg.spillDir)
		if err != nil || len(left) != 0 {
			t.Errorf("spill files left behind: %v, %v", left, err)
		}
	})
	return tail, theirs
}

// play writes a script to the tail and collects what Next gives until the final keepalive at 0/FFFF000.
func play(t *testing.T, change func(*tailConfig), w *wal) (string, error) {
	t.Helper()
	const end LSN = 0xffff000
	tail, server := testTail(t, func(c *tailConfig) {
		c.barrierBytes = uint64(end) - 0x8000000
		if change != nil {
			change(c)
		}
	})
	w.keepalive(end, 0)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	written := make(chan struct{})
	go func() {
		defer close(written)
		_, _ = server.Write(w.out)
	}()
	defer func() { _ = server.Close(); <-written }()
	var out strings.Builder
	for {
		b, err := tail.Next(ctx)
		if err != nil {
			return out.String(), err
		}
		if b.Upto == testPosition(end) {
			b.Release()
			return out.String(), nil
		}
		out.WriteString(batchText(b))
		b.Release()
	}
}

func TestTailTransactions(t *testing.T) {
	orders := func() *wal {
		return newWAL().begin(700, 0x2000).relation(1, 'd', "public.orders", "id*", "note")
	}
	tests := []struct {
		name   string
		script *wal
		change func(*tailConfig)
		want   string
	}{
		{
			name:   "insert, null, empty text",
			script: orders().insert(1, "1", "a").insert(1, "2", null).insert(1, "3", "").commit(0x2000),
			want: `tx 700 at 0/2030
  schema public.orders(id,note)
  insert public.orders after [1 a]
  insert public.orders after [2 NULL]
  insert public.orders after [3 ]
upto 0/2030
`,
		},
		{
			name: "updates and deletes with default identity",
			script: orders().update(1, 0, nil, []string{"1", unchanged}).
				update(1, 'K', []string{"1", null}, []string{"2", "b"}).remove(1, 'K', "2", null).commit(0x2000),
			want: `tx 700 at 0/2030
  schema public.orders(id,note)
  update public.orders after [1 ~]
  update public.orders before [1 -] after [2 b]
  delete public.orders before [2 -]
upto 0/2030
`,
		},
		{
			name: "identity full completes unchanged columns",
			script: newWAL().begin(700, 0x2000).relation(1, 'f', "public.orders", "id*", "note*").
				update(1, 'O', []string{"1", "long"}, []string{"2", unchanged}).
				remove(1, 'O', "2", null).commit(0x2000),
			want: `tx 700 at 0/2030
  schema public.orders(id,note)
  update public.orders before [1 long] after [2 long]
  delete public.orders before [2 NULL]
upto 0/2030
`,
		},
		{
			name: "a new version is told once, before its first change",
			script: orders().insert(1, "1", "a").relation(1, 'd', "public.orders", "id*", "note").insert(1, "2", "b").
				relation(1, 'd', "public.orders", "id*", "note", "more").insert(1, "3", "c", "d").commit(0x2000),
			want: `tx 700 at 0/2030
  schema public.orders(id,note)
  insert public.orders after [1 a]
  insert public.orders after [2 b]
  schema public.orders(id,note,more) was public.orders(id,note)
  insert public.orders after [3 c d]
upto 0/2030
`,
		},
		{
			name: "what the target knows is not told, a version between is skipped",
			change: func(c *tailConfig) {
				table, _, _ := c.relations.resolve(t.Context(), &relation{
					namespace: "public", name: "orders", identity: 'd',
					columns: []relationColumn{{name: "id", typeOID: 25, key: true}, {name: "note", typeOID: 25}},
				})
				c.announced = map[uint32]*schema.Table{1: table}
			},
			script: orders().relation(1, 'd', "public.orders", "id*").relation(1, 'd', "public.orders", "id*", "note").
				insert(1, "1", "a").commit(0x2000),
			want: "tx 700 at 0/2030\n  insert public.orders after [1 a]\nupto 0/2030\n",
		},
		{
			name: "tables out of scope leave nothing",
			change: func(c *tailConfig) {
				c.relations = &fakeResolver{outside: "logs"}
			},
			script: orders().relation(2, 'd', "public.logs", "id*").insert(2, "1").commit(0x2000).
				begin(701, 0x3000).insert(2, "2").insert(1, "1", "x").truncate(3, 2, 1).commit(0x3000),
			want: `tx 701 at 0/3030
  schema public.orders(id,note)
  insert public.orders after [1 x]
  truncate public.orders cascade=true restart=true
upto 0/3030
`,
		},
		{
			name: "several transactions, origins, messages",
			script: orders().origin("node_b").logical(1, 0x1fff, "audit", "who").commit(0x2000).
				logical(0, 0x2500, "beat", "now").begin(702, 0x3000).insert(1, "1", "x").commit(0x3000),
			want: `tx 700 from node_b at 0/2030
  message [audit who]
tx 0 at 0/2500
  message [beat now]
upto 0/2500
tx 702 at 0/3030
  schema public.orders(id,note)
  insert public.orders after [1 x]
upto 0/3030
`,
		},
		{
			name: "a new version begins a batch",
			script: orders().insert(1, "1", "a").commit(0x2000).begin(701, 0x3000).insert(1, "2", "b").commit(0x3000).
				begin(702, 0x4000).insert(1, "3", "c").relation(1, 'd', "public.orders", "id*", "title").insert(1, "4", "d").commit(0x4000).
				begin(703, 0x5000).insert(1, "5", "e").commit(0x5000),
			want: `tx 700 at 0/2030
  schema public.orders(id,note)
  insert public.orders after [1 a]
tx 701 at 0/3030
  insert public.orders after [2 b]
upto 0/3030
tx 702 at 0/4030
  insert public.orders after [3 c]
  schema public.orders(id,title) was public.orders(id,note)
  insert public.orders after [4 d]
tx 703 at 0/5030
  insert public.orders after [5 e]
upto 0/5030
`,
		},
		{
			name:   "transactions before the position are dropped, their relations are not",
			change: func(c *tailConfig) { c.from = 0x2030 },
			script: orders().insert(1, "1", "a").commit(0x2000).logical(0, 0x2030, "old", "").
				begin(701, 0x2030).insert(1, "2", "b").commit(0x2030),
			want: `tx 701 at 0/2060
  schema public.orders(id,note)
  insert public.orders after [2 b]
upto 0/2060
`,
		},
		{
			name: "rows that share a place in the log",
			script: func() *wal {
				w := orders()
				for _, id := range []string{"1", "2", "3"} {
					at := w.at
					w.insert(1, id, "x")
					w.at = at
				}
				return w.commit(0x2000)
			}(),
			want: `tx 700 at 0/2030
  schema public.orders(id,note)
  insert public.orders after [1 x]
  insert public.orders after [2 x]
  insert public.orders after [3 x]
upto 0/2030
`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := play(t, tt.change, tt.script)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("batches (-want +got):\n%s", diff)
			}
		})
	}
}

// TestTailLooksUpWhatChangesFollow: descriptions that no change follows, as those of transactions that the target has, are of
// tables as they were long ago, and the catalog is not asked about them.
func TestTailLooksUpWhatChangesFollow(t *testing.T) {
	resolver := &fakeResolver{}
	script := newWAL().begin(700, 0x2000).relation(1, 'd', "s.was", "id*").insert(1, "1").relation(2, 'd', "s.gone", "id*").insert(2, "1").
		commit(0x2000).
		begin(701, 0x3000).relation(1, 'd', "s.is", "id*").insert(1, "2").insert(1, "3").commit(0x3000)
	got, err := play(t, func(c *tailConfig) { c.from, c.relations = 0x2030, resolver }, script)
	if err != nil {
		t.Fatal(err)
	}
	want := "tx 701 at 0/3030\n  schema s.is(id)\n  insert s.is after [2]\n  insert s.is after [3]\nupto 0/3030\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("batches (-want +got):\n%s", diff)
	}
	if resolver.asked != 1 {
		t.Errorf("the catalog was asked %d times, want once", resolver.asked)
	}
}

func TestTailStreamedTransactions(t *testing.T) {
	tests := []struct {
		name   string
		script *wal
		change func(*tailConfig)
		want   string
	}{
		{
			name: "two interleaved, one rolls back with its schema",
			script: newWAL().streamStart(10, 1).relation(1, 'd', "s.t", "id*", "extra").insert(1, "1", "x").streamStop().
				streamStart(20, 1).relation(1, 'd', "s.t", "id*").insert(1, "2").streamStop().
				streamStart(10, 0).insert(1, "3", "y").streamStop().
				streamAbort(10, 10).streamCommit(20, 0x2000).
				begin(30, 0x3000).insert(1, "4").commit(0x3000),
			want: `tx 20 at 0/2030
  schema s.t(id)
  insert s.t after [2]
tx 30 at 0/3030
  insert s.t after [4]
upto 0/3030
`,
		},
		{
			name: "savepoints",
			script: newWAL().streamStart(10, 1).relation(1, 'd', "s.t", "id*").insert(1, "1").
				as(11).insert(1, "2").as(12).insert(1, "3").streamStop().
				streamStart(10, 0).as(12).insert(1, "4").streamStop().
				streamAbort(10, 12).streamAbort(10, 99).
				streamStart(10, 0).as(11).insert(1, "5").as(10).insert(1, "6").as(13).insert(1, "7").streamStop().
				streamAbort(10, 13).streamCommit(10, 0x2000),
			want: `tx 10 at 0/2030
  schema s.t(id)
  insert s.t after [1]
  insert s.t after [2]
  insert s.t after [5]
  insert s.t after [6]
upto 0/2030
`,
		},
		{
			name: "a parent's first change follows its released child's",
			script: newWAL().streamStart(10, 1).relation(1, 'd', "s.t", "id*").insert(1, "1").
				as(12).insert(1, "2").as(11).insert(1, "3").streamStop().
				streamAbort(10, 12).streamAbort(10, 11).streamCommit(10, 0x2000),
			want: "tx 10 at 0/2030\n  schema s.t(id)\n  insert s.t after [1]\nupto 0/2030\n",
		},
		{
			name: "an aborted subtransaction takes its schema along",
			script: newWAL().streamStart(10, 1).relation(1, 'd', "s.t", "id*").insert(1, "1").
				as(11).relation(1, 'd', "s.t", "id*", "b").insert(1, "2", "b").streamStop().streamAbort(10, 11).
				streamStart(10, 0).relation(1, 'd', "s.t", "id*").insert(1, "3").streamStop().streamCommit(10, 0x2000),
			want: `tx 10 at 0/2030
  schema s.t(id)
  insert s.t after [1]
  insert s.t after [3]
upto 0/2030
`,
		},
		{
			name: "origin, message and truncate inside",
			script: newWAL().streamStart(10, 1).origin("far").relation(1, 'd', "s.t", "id*").truncate(0, 1).
				logical(1, 0x1500, "p", "c").streamStop().streamCommit(10, 0x2000),
			want: `tx 10 from far at 0/2030
  schema s.t(id)
  truncate s.t cascade=false restart=false
  message [p c]
upto 0/2030
`,
		},
		{
			name:   "before the position: dropped, the relation is learnt",
			change: func(c *tailConfig) { c.from = 0x2030 },
			script: newWAL().streamStart(10, 1).relation(1, 'd', "s.t", "id*").insert(1, "1").streamStop().
				streamCommit(10, 0x2000).begin(11, 0x3000).insert(1, "2").commit(0x3000),
			want: "tx 11 at 0/3030\n  schema s.t(id)\n  insert s.t after [2]\nupto 0/3030\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := play(t, tt.change, tt.script)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("batches (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTailRefuses(t *testing.T) {
	begun := func() *wal { return newWAL().begin(7, 0x2000).relation(1, 'd', "s.t", "id*", "v") }
	tests := []struct {
		name   string
		script *wal
		code   string
		text   string
	}{
		{name: "unknown message", script: newWAL().send([]byte("Zx")), code: "source.protocol", text: "unknown message 0x5a"},
		{name: "empty message", script: newWAL().send(nil), code: "source.protocol"},
		{name: "two phases", script: newWAL().send([]byte("b12345678")), code: "source.two_phase"},
		{name: "change outside", script: newWAL().insert(1, "1"), code: "source.protocol", text: "outside"},
		{name: "unknown relation", script: begun().insert(2, "1"), code: "source.protocol", text: "never described"},
		{name: "columns", script: begun().insert(1, "1"), code: "source.protocol", text: "1 columns"},
		{name: "binary", script: begun().send(append(be32(be16(append(be32([]byte{'I'}, 1), 'N'), 2), 0), 'b')), code: "source.protocol"},
		{name: "length", script: begun().send(append(be16(append(be32([]byte{'I'}, 1), 'N'), 2), 't', 0xff, 0xff, 0xff, 0xff)), code: "source.protocol"},
		{name: "tail after the row", script: begun().send(append(tuple(be32([]byte{'I'}, 1), 'N', []string{"1", "2"}), 'x')), code: "source.protocol", text: "malformed"},
		{name: "begin in begin", script: begun().begin(8, 0x3000), code: "source.protocol"},
		{name: "foreign commit", script: begun().commit(0x2100), code: "source.protocol"},
		{name: "commit of nothing", script: newWAL().streamCommit(5, 0x2000), code: "source.protocol"},
		{name: "stream goes on unbegun", script: newWAL().streamStart(5, 0), code: "source.protocol"},
		{name: "stream twice", script: newWAL().streamStart(5, 1).streamStop().streamStart(5, 1), code: "source.protocol"},
		{name: "keepalive too short", script: newWAL().raw('d', []byte("k1")), code: "source.protocol"},
		{name: "unknown in CopyData", script: newWAL().raw('d', []byte("q1")), code: "source.protocol"},
		{name: "length of the frame", script: newWAL().raw('Q', nil), code: "source.protocol"},
		{name: "server's error", script: newWAL().raw('E', []byte("SERROR\x00C55000\x00Mcan no longer get changes from replication slot \"x\"\x00\x00")), code: "source.slot_lost"},
		{name: "server ends", script: newWAL().raw('c', nil), code: "source.connect"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := play(t, nil, tt.script)
			if err == nil {
				t.Fatal("got no error")
			}
			if got := fault.Of(err).Code; got != tt.code || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got code %q: %v; want %q, %q", got, err, tt.code, tt.text)
			}
		})
	}
}

func TestTailParts(t *testing.T) {
	const rows = 60
	value := strings.Repeat("v", 64<<10)
	small := func(c *tailConfig) { c.batchBytes = 128 << 10 }
	build := func(w *wal) {
		for range rows {
			w.insert(1, value)
		}
	}
	plain := newWAL().begin(6, 0x1500).relation(1, 'd', "s.t", "id*").insert(1, "first").commit(0x1500).begin(7, 0x2000)
	for range 3 { // more than one part
		build(plain)
	}
	plain.commit(0x2000).begin(8, 0x3000).insert(1, "last").commit(0x3000)
	streamed := newWAL().streamStart(7, 1).relation(1, 'd', "s.t", "id*")
	for range 3 {
		build(streamed)
	}
	streamed.streamStop().begin(6, 0x1500).relation(1, 'd', "s.t", "id*").insert(1, "first").commit(0x1500).
		streamCommit(7, 0x2000).begin(8, 0x3000).insert(1, "last").commit(0x3000)
	for name, script := range map[string]*wal{"plain": plain, "streamed": streamed} {
		t.Run(name, func(t *testing.T) {
			got, err := play(t, small, script)
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(got, "vvvv…65536"); n != 3*rows {
				t.Errorf("got %d rows, want %d", n, 3*rows)
			}
			want := "tx 6 at 0/1530\n  schema s.t(id)\n  insert s.t after [first]\nupto 0/1530\ntx 7\n"
			if !strings.HasPrefix(got, want) {
				t.Errorf("got %.200s, want first %s", got, want)
			}
			if n := strings.Count(got, "part 1\n"); n < 2 {
				t.Errorf("got %d parts before the last, want at least 2", n)
			}
			if !strings.Contains(got, "part 2\nupto 0/2030\ntx 8 at 0/3030\n  insert s.t after [last]\nupto 0/3030\n") {
				t.Errorf("the last part and what follows: got …%s", got[max(0, len(got)-200):])
			}
		})
	}
}

func TestTailBarriers(t *testing.T) {
	tail, server := testTail(t, func(c *tailConfig) { c.barrierBytes = 0x10000 })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	write := func(w *wal) {
		t.Helper()
		if _, err := server.Write(w.out); err != nil {
			t.Error(err)
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		write(newWAL().keepalive(0x200, 0)) // too little log for a barrier
		write(newWAL().begin(7, 0x300).keepalive(0xfffffff, 0).relation(1, 'd', "s.t", "id*").commit(0x300))
		write(newWAL().streamStart(9, 1).relation(1, 'd', "s.t", "id*").insert(1, "1").streamStop().keepalive(0x20000, 0))
	}()
	if got, want := nextText(ctx, t, tail), "upto 0/20000\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	<-done
	// A clean stop takes along what is known by then.
	go func() { _, _ = server.Write(newWAL().keepalive(0x20100, 0).out); cancel() }()
	if got, want := nextText(ctx, t, tail), "upto 0/20100\n"; got != want {
		t.Errorf("at the stop: got %q, want %q", got, want)
	}
	if _, err := tail.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("after the stop: got %v", err)
	}
	if c := tail.Counts(); c.OpenTransactions != 1 || c.SpilledBytes == 0 || c.Received != 0xfffffff {
		t.Errorf("counts: got %+v", c)
	}
}

func TestTailBarrierAfterTime(t *testing.T) {
	tail, server := testTail(t, func(c *tailConfig) { c.barrierEvery = 50 * time.Millisecond })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	go func() { _, _ = server.Write(newWAL().keepalive(0x200, 0).out) }()
	if got, want := nextText(ctx, t, tail), "upto 0/200\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTailKeepsWhatACancelledNextGathered(t *testing.T) {
	tail, server := testTail(t, nil)
	w := newWAL().begin(7, 0x2000).relation(1, 'd', "s.t", "id*").insert(1, "1")
	first, cancelFirst := context.WithCancel(t.Context())
	go func() { _, _ = server.Write(w.out); cancelFirst() }()
	if _, err := tail.Next(first); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	rest := &wal{at: w.at, clock: w.clock}
	go func() { _, _ = server.Write(rest.insert(1, "2").commit(0x2000).out) }()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	want := "tx 7 at 0/2030\n  schema s.t(id)\n  insert s.t after [1]\n  insert s.t after [2]\nupto 0/2030\n"
	if got := nextText(ctx, t, tail); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestTailStopTakesWhatHasArrived stops before what has arrived was looked at: a transaction, and a keepalive behind
// it. The barrier may not come in the transaction's place.
func TestTailStopTakesWhatHasArrived(t *testing.T) {
	tail, _ := testTail(t, nil)
	w := newWAL().begin(7, 0x2000).relation(1, 'd', "s.t", "id*").insert(1, "1").commit(0x2000).keepalive(0x3000, 0)
	tail.wire.wp += copy(tail.wire.buf, w.out)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, want := nextText(ctx, t, tail), "tx 7 at 0/2030\n  schema s.t(id)\n  insert s.t after [1]\nupto 0/2030\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := nextText(ctx, t, tail), "upto 0/3000\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if _, err := tail.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("after the stop: got %v", err)
	}
}

// onceConn is a connection that gives bytes once.
type onceConn struct {
	net.Conn
	rest []byte
}

func (c *onceConn) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (c *onceConn) SetReadDeadline(time.Time) error { return nil }
func (c *onceConn) Close() error                    { return nil }

// FuzzTail feeds arbitrary bytes as all that a server sends: batches that hold together, and an error at the end.
func FuzzTail(f *testing.F) {
	w := newWAL().begin(7, 0x2000).relation(1, 'd', "s.t", "id*", "v").insert(1, "1", "a").
		update(1, 'K', []string{"1", null}, []string{"2", unchanged}).truncate(3, 1).logical(1, 5, "p", "c").commit(0x2000).
		keepalive(0x3000, 1)
	f.Add(w.out)
	f.Add(newWAL().streamStart(10, 1).relation(1, 'd', "s.t", "id*").insert(1, "1").as(11).insert(1, "2").streamStop().
		streamAbort(10, 11).streamCommit(10, 0x2000).out)
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, stream []byte) {
		files, err := openSpill(dir, 1<<16)
		if err != nil {
			t.Fatal(err)
		}
		conn := &onceConn{rest: stream}
		tail := newTail(tailConfig{
			from: 0x100, relations: &fakeResolver{}, positionAt: testPosition, maxValue: 1 << 10, batchBytes: 256, barrierBytes: 1,
		}, conn, newWire(conn), files)
		for {
			b, err := tail.Next(t.Context())
			if err != nil {
				break
			}
			_ = batchText(b)
			if b.Part == schema.PartMore != b.Upto.IsZero() {
				t.Errorf("part %d moves the position to %s", b.Part, b.Upto)
			}
			b.Release()
		}
		if err := tail.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestTailHandsOverEveryTransactionInOrder plays random transactions, plain and streamed, through batches of random
// size, and compares what comes out with what went in.
func TestTailHandsOverEveryTransactionInOrder(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		w := newWAL().begin(1, 0x500).relation(1, 'd', "s.t", "id*", "v").insert(1, "0", "x").commit(0x500)
		want := []string{"tx 1", "schema", "0"}
		at, serial, out := LSN(0x1000), 0, 0
		for xid := uint32(2); xid < uint32(rapid.IntRange(3, 12).Draw(rt, "transactions")); xid++ {
			streamed := rapid.Bool().Draw(rt, "streamed")
			if streamed {
				w.streamStart(xid, 1).relation(1, 'd', "s.t", "id*", "v")
			} else {
				w.begin(xid, at)
			}
			rows := rapid.SampledFrom([]int{0, 1, 2, 5, 40}).Draw(rt, "rows")
			if rows > 0 {
				want = append(want, fmt.Sprint("tx ", xid))
			}
			for range rows {
				serial++
				want = append(want, fmt.Sprint(serial))
				w.insert(1, fmt.Sprint(serial), strings.Repeat("v", rapid.IntRange(0, 400).Draw(rt, "size")))
			}
			if streamed {
				w.streamStop().streamCommit(xid, at)
			} else {
				w.commit(at)
			}
			at += 0x100
		}
		files, err := openSpill(dir, 1<<20)
		check(rt, err)
		conn := &onceConn{rest: w.out}
		tail := newTail(tailConfig{
			from: 0x100, relations: &fakeResolver{}, positionAt: testPosition, batchBytes: rapid.IntRange(100, 3000).Draw(rt, "batch"),
		}, conn, newWire(conn), files)
		tail.batches.whole = tail.batches.target + rapid.IntRange(0, 3000).Draw(rt, "whole")
		defer func() { check(rt, tail.Close()) }()
		var got []string
		var last schema.Part
		for {
			b, err := tail.Next(context.Background())
			if errors.Is(err, io.ErrUnexpectedEOF) {
				break
			}
			check(rt, err)
			out++
			for _, tx := range b.Transactions {
				if last != schema.PartMore {
					got = append(got, fmt.Sprint("tx ", tx.ID))
				}
				last = b.Part
				for _, c := range b.Changes[tx.First : tx.First+tx.Count] {
					text := "schema"
					if c.Op == schema.OpCreate {
						text = string(b.Row(c.After)[0].AppendText(nil, b.Arena))
						_ = b.Row(c.After)[1].AppendText(nil, b.Arena)
					}
					got = append(got, text)
				}
			}
			b.Release()
		}
		if diff := cmp.Diff(want, got); diff != "" {
			rt.Fatalf("changes in %d batches (-want +got):\n%s", out, diff)
		}
	})
}
