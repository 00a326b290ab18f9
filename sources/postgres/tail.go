package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/rs/zerolog"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/failpoint"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sources"
)

// tailConfig is what a tail needs to read the log.
type tailConfig struct {
	// connect opens a replication connection with the session's output settings pinned; build may set BuildFrontend.
	connect       func(ctx context.Context, build func(*pgconn.Config)) (*pgconn.PgConn, error)
	serverVersion int // 150018
	slot          string
	publications  []string
	from          LSN // transactions ending at or before it are dropped
	relations     relationResolver
	// announced holds the tables the target was told of before the stream, by oid: their first change brings an
	// OpSchema only when their version differs.
	announced map[uint32]*schema.Table
	// told holds the names that the target knows tables by, by oid.
	told map[uint32]tableNames
	// numbers tells the numbers of columns; nil where they are not compared. found is where they differ from the start, by table, and
	// unseen the tables to be looked at.
	numbers numberer
	found   map[uint32]takeover
	unseen  map[uint32]bool
	// follow hears of each table that is announced; may be nil.
	follow func(oid uint32, names tableNames)
	// complete fills in what the log does not hold, before a batch is handed over; nil when there is nothing.
	complete   func(ctx context.Context, b *schema.Batch) error
	positionAt func(LSN) schema.Position // the token of a place in phase stream
	streaming  bool                      // let the server send transactions in progress
	pace       bool                      // pause while catching up
	spillDir   string                    // private to this stream
	spillLimit int64                     // bytes, of all spill files
	maxValue   int64                     // bytes of one value
	batchBytes int                       // bytes at which a batch is full; 0 for 1 MiB
	log        zerolog.Logger

	lookEvery    time.Duration // the least time between two looks at the numbers of columns; 0 for 1 s
	barrierEvery time.Duration // how often an idle stream moves its position; 0 for 10 s
	barrierBytes uint64        // log after which it does so earlier; 0 for 16 MiB
}

const (
	defaultLookEvery    = time.Second
	defaultBarrierEvery = 10 * time.Second
	defaultBarrierBytes = 16 << 20
	defaultMaxValue     = 64 << 20
	completeTimeout     = time.Minute
	urgentBarrier       = 200 * time.Millisecond // how often a server that waits for us gets a barrier
)

// tail reads the log of one slot and turns it into batches. Next has one caller, who also calls Close; Ack and
// Counts may be called beside it.
//
// The caller of Next reads the socket itself, so that nothing is read which has no place to go. A goroutine of the
// tail's own reports to the server, so that the connection lives however long a batch takes to apply.
type tail struct {
	cfg       tailConfig
	conn      net.Conn
	wire      *wire
	pace      pace
	relations *relations
	batches   *batcher
	spill     *spill
	reporter  *reporter
	goodbye   func() error                    // tells the server that no more is wanted; may be nil
	shut      func(ctx context.Context) error // ends the connection

	lookout  lookout
	namings  []naming // not yet in a batch that makes them durable
	msg      message
	failed   error   // ends the stream
	replay   *replay // of a streamed transaction that committed
	inTx     bool    // between Begin and Commit
	dropping bool    // the open transaction is before cfg.from
	commit   LSN     // the open transaction's commit record
	began    int64   // and its time, microseconds since 1970
	sent     int64   // when the server sent the last message, likewise

	pending  LSN       // everything before it has been handed over or gathered, and the server may forget it
	returned LSN       // position of the last batch that moved it
	moved    time.Time // when that was
	urgent   bool      // the server waits for an answer: it is shutting down, and ends when we have confirmed all

	deadline  time.Time     // set on the connection for reading
	lastRead  int           // bytes the last read brought
	silent    time.Duration // spent in reads that brought none, since the last that did
	gathering time.Time     // when the first read for the batch in hand was
	watched   <-chan struct{}
	unwatch   func() bool
	timer     *time.Timer
	counted   atomic.Uint64 // highest offset read
}

// openTail connects, starts replication at cfg.from and begins to report to the server.
func openTail(ctx context.Context, cfg tailConfig) (*tail, error) {
	if cfg.from == 0 {
		return nil, errors.New("opening the log: no position to begin at")
	}
	spill, err := openSpill(cfg.spillDir, cfg.spillLimit)
	if err != nil {
		return nil, err
	}
	if err := failpoint.Hit(ctx, "src.connect"); err != nil {
		return nil, err
	}
	var w *wire
	conn, err := cfg.connect(ctx, func(c *pgconn.Config) {
		c.BuildFrontend = func(r io.Reader, writer io.Writer) *pgproto3.Frontend {
			w = newWire(r)
			return pgproto3.NewFrontend(w, writer)
		}
	})
	if err != nil {
		return nil, err
	}
	timeout, err := startReplication(ctx, conn, &cfg)
	if err == nil {
		err = failpoint.Hit(ctx, "src.after_start")
	}
	if err != nil {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		_ = conn.Close(closing) // the error in hand says more
		return nil, err
	}
	t := newTail(cfg, conn.Conn(), w, spill)
	t.shut = conn.Close
	t.goodbye = func() error {
		conn.Frontend().Send(&pgproto3.CopyDone{})
		return conn.Frontend().Flush()
	}
	t.reporter.send = func(s status) error { return sendStatus(conn, s) }
	t.reporter.interval = reportInterval(timeout)
	t.reporter.start()
	return t, nil
}

// newTail makes a tail over a connection on which replication has started. The reporter is not running yet.
func newTail(cfg tailConfig, conn net.Conn, w *wire, spill *spill) *tail {
	if cfg.maxValue <= 0 {
		cfg.maxValue = defaultMaxValue
	}
	if cfg.lookEvery <= 0 {
		cfg.lookEvery = defaultLookEvery
	}
	if cfg.barrierEvery <= 0 {
		cfg.barrierEvery = defaultBarrierEvery
	}
	if cfg.barrierBytes == 0 {
		cfg.barrierBytes = defaultBarrierBytes
	}
	t := &tail{
		cfg: cfg, conn: conn, wire: w, spill: spill, pace: pace{off: !cfg.pace},
		relations: newRelations(cfg.relations, cfg.announced, cfg.told),
		batches:   newBatcher(cfg.positionAt, cfg.batchBytes),
		reporter:  newReporter(cfg.from),
		shut:      func(context.Context) error { return conn.Close() },
		pending:   cfg.from, returned: cfg.from, moved: time.Now(), unwatch: func() bool { return true },
	}
	t.lookout.found = map[uint32]takeover{}
	maps.Copy(t.lookout.found, cfg.found)
	t.lookout.ripen()
	maps.Copy(t.relations.unseen, cfg.unseen)
	t.reporter.wake = func(at time.Time) { _ = conn.SetReadDeadline(at) }
	return t
}

// Next gives the next batch: whole transactions, a part of a large one, or a barrier. It returns as soon as a
// transaction is complete and nothing more has arrived, and while catching up when a batch is full. When ctx ends
// it gives a barrier that is due no sooner than that, so that a clean stop is as far as it can be, and after that
// the error. What was gathered stays for the next call. Every other error is final, and comes after the transactions
// that were complete before it.
func (t *tail) Next(ctx context.Context) (*schema.Batch, error) {
	for t.failed == nil {
		if t.replay != nil && ctx.Err() != nil {
			return nil, sources.Paused(ctx)
		}
		if batch := t.reveal(); batch != nil {
			return t.hand(ctx, batch)
		}
		batch, err := t.step(ctx)
		if errors.Is(err, errShort) {
			if batch = t.due(false); batch == nil {
				err = nil
				if t.look(ctx); !t.ripe() {
					err = t.fill(ctx)
				}
			}
			if batch == nil && err != nil && ctx.Err() != nil {
				if batch = t.due(true); batch == nil {
					return nil, sources.Paused(ctx)
				}
			}
		}
		if batch != nil {
			return t.hand(ctx, batch)
		}
		if err != nil {
			t.failed = err
			if batch = t.batches.rest(); batch != nil { // what came before it counts
				return t.hand(ctx, batch)
			}
		}
	}
	return nil, t.failed
}

// hand completes a batch and notes what its position moves.
func (t *tail) hand(ctx context.Context, batch *schema.Batch) (*schema.Batch, error) {
	t.gathering = time.Time{}
	if t.cfg.complete != nil {
		// A stop does not take away what was gathered: that is handed over whole.
		asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), completeTimeout)
		defer cancel()
		if err := t.cfg.complete(asking, batch); err != nil {
			t.failed = err
			return nil, err
		}
	}
	t.record(batch)
	if !batch.Upto.IsZero() {
		t.moved = time.Now()
	}
	return batch, nil
}

// step takes one message in, from the transaction being replayed or else from the connection. It gives a batch
// when one is full, errShort when the connection has no message.
func (t *tail) step(ctx context.Context) (*schema.Batch, error) {
	if t.replay != nil {
		return t.replayStep(ctx)
	}
	kind, length, err := t.wire.header()
	if err != nil {
		return nil, err
	}
	if err := t.require(ctx, kind, length); err != nil {
		return nil, err
	}
	body, err := t.wire.next(length)
	if err != nil {
		return nil, err
	}
	if kind != 'd' {
		return nil, t.other(kind, body)
	}
	return t.copyData(ctx, body)
}

// copyData takes in what the server sends inside the stream: a keepalive, or a message of pgoutput.
func (t *tail) copyData(ctx context.Context, body []byte) (*schema.Batch, error) {
	c := cursor{buf: body}
	switch kind := c.uint8(); kind {
	case 'k':
		end, _, reply := LSN(c.uint64()), c.uint64(), c.uint8()
		if c.short {
			return nil, protocolFault("a keepalive ends early")
		}
		t.keepalive(end, reply != 0)
		return nil, nil
	case 'w':
		start, _, sent := LSN(c.uint64()), c.uint64(), c.uint64()
		if c.short {
			return nil, protocolFault("a message of the log ends early")
		}
		t.sent = unixTime(sent)
		t.received(start)
		if failpoint.Enabled {
			if err := failpoint.Hit(ctx, "src.msg"); err != nil {
				return nil, err
			}
		}
		return t.take(ctx, start, c.rest())
	default:
		return nil, protocolFault("the stream holds 0x%02x, neither log nor keepalive", kind)
	}
}

// received notes how far the log was read.
func (t *tail) received(at LSN) {
	if uint64(at) > t.counted.Load() {
		t.counted.Store(uint64(at))
		t.reporter.received.Store(uint64(at))
	}
}

// keepalive notes how far the server has got. All transactions that end before it have been sent, so that it
// becomes a barrier once they are handed over; but not inside a transaction, which ends after it.
func (t *tail) keepalive(end LSN, reply bool) {
	t.received(end)
	if !t.inTx && end > t.pending {
		t.pending = end
	}
	if reply {
		t.urgent = true
		t.reporter.replyNow()
	}
}

// other takes in a message outside the stream.
func (t *tail) other(kind byte, body []byte) error {
	switch kind {
	case 'E':
		var e pgproto3.ErrorResponse
		if err := e.Decode(body); err != nil {
			return protocolFault("an error message is malformed")
		}
		return classify(fmt.Errorf("reading the log: %w", pgconn.ErrorResponseToPgError(&e)))
	case 'N', 'S': // a notice, a setting that changed
		return nil
	case 'c', 'C', 'Z':
		return fault.Wait("source.connect", errors.New("reading the log: the server ended the stream"))
	}
	return protocolFault("message %q does not belong into the stream", kind)
}

// due gives what can be handed over while no message is at hand: the transactions gathered, or a barrier. A final
// barrier does not wait for its time.
func (t *tail) due(final bool) *schema.Batch {
	if t.replay != nil || t.inTx {
		return nil
	}
	if t.batches.holds() {
		if !final && t.lingers(time.Now()) {
			return nil
		}
		return t.flush()
	}
	if t.pending <= t.returned {
		return nil
	}
	if !final && uint64(t.pending-t.returned) < t.cfg.barrierBytes && time.Since(t.moved) < t.patience() {
		return nil
	}
	t.returned, t.urgent = t.pending, false
	return t.batches.barrier(t.pending)
}

// patience is how long a barrier may wait.
func (t *tail) patience() time.Duration {
	if t.urgent {
		return min(urgentBarrier, t.cfg.barrierEvery)
	}
	return t.cfg.barrierEvery
}

// flush hands over the transactions gathered.
func (t *tail) flush() *schema.Batch {
	t.returned = max(t.returned, t.batches.finished)
	return t.batches.flush()
}

// lingers tells whether the transactions gathered may wait for more: only while catching up, and not for long.
func (t *tail) lingers(now time.Time) bool {
	return t.pace.lingers() && !t.gathering.IsZero() && now.Sub(t.gathering) < lingerLength
}

// Ack says that everything up to upto is durable at the target.
func (t *tail) Ack(upto LSN) { t.reporter.ack(upto) }

// Counts tells what the tail holds.
func (t *tail) Counts() sources.Counts {
	return sources.Counts{
		SpilledBytes:     t.spill.bytes.Load(),
		OpenTransactions: int(t.spill.transactions.Load()),
		Received:         t.counted.Load(),
		Acked:            t.reporter.told.Load(),
	}
}

// Close sends the last acknowledgement, ends the stream and removes the spill files. The slot stays.
func (t *tail) Close() error {
	t.cfg.log.Debug().Int64("pauses", t.pace.pauses).Dur("paused", t.pace.total).Msg("log reader ends")
	t.unwatch()
	t.reporter.stop()
	t.drain()
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	_ = t.shut(ctx) // whether the server hears the goodbye changes nothing
	return t.spill.close()
}
