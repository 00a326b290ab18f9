package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rowferry/rowferry/schema/failpoint"
)

const (
	reportLongest   = 10 * time.Second       // between two status messages
	reportAck       = 100 * time.Millisecond // an acknowledgement waits at most so long after the one before
	silentIntervals = 3                      // without a byte from the server, and the connection counts as dead
	lastWords       = 200 * time.Millisecond // to read why the server hung up, after writing to it did not work
	closeTimeout    = 2 * time.Second
	writeTimeout    = 5 * time.Second
)

// status is what the server is told: how far the log was read, and up to where it may be discarded.
type status struct {
	received, acked LSN
	ask             bool // for an answer
}

// reporter tells the server how far we are: at least every interval, at once when it asks, and soon after an
// acknowledgement. It has a goroutine of its own, from start to stop, so that the server never waits for a target.
type reporter struct {
	send     func(status) error
	wake     func(at time.Time) // makes the reader look at failure at that time
	interval time.Duration

	received atomic.Uint64
	acked    atomic.Uint64 // what the engine said
	told     atomic.Uint64 // what the server was told of it
	heard    atomic.Int64  // when the server last sent something, in nanoseconds since 1970
	asked    atomic.Bool   // the server wants an answer
	failed   atomic.Pointer[error]
	signal   chan struct{}
	cancel   context.CancelFunc
	done     chan struct{}
}

func newReporter(from LSN) *reporter {
	r := &reporter{
		send: func(status) error { return nil }, wake: func(time.Time) {}, interval: reportLongest,
		signal: make(chan struct{}, 1), cancel: func() {},
	}
	r.received.Store(uint64(from))
	r.acked.Store(uint64(from))
	r.heard.Store(time.Now().UnixNano())
	return r
}

// reportInterval is a third of the server's patience, so that one lost message costs nothing.
func reportInterval(walSenderTimeout time.Duration) time.Duration {
	if walSenderTimeout <= 0 {
		return reportLongest
	}
	return min(reportLongest, walSenderTimeout/3)
}

// start begins to report. Who calls it calls stop.
func (r *reporter) start() {
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel, r.done = cancel, make(chan struct{})
	go func() {
		defer close(r.done)
		if err := r.run(ctx); err != nil {
			r.failed.Store(&err)
			r.wake(time.Now().Add(lastWords))
		}
	}()
}

// stop ends reporting with one last message.
func (r *reporter) stop() {
	r.cancel()
	if r.done == nil {
		return
	}
	<-r.done
	if r.failed.Load() == nil {
		_ = r.report(context.Background(), false) // the connection ends either way
	}
}

// ack notes that everything before upto is durable.
func (r *reporter) ack(upto LSN) {
	if uint64(upto) > r.acked.Load() { // one caller
		r.acked.Store(uint64(upto))
		r.nudge()
	}
}

// replyNow answers the server at once.
func (r *reporter) replyNow() {
	r.asked.Store(true)
	r.nudge()
}

func (r *reporter) nudge() {
	select {
	case r.signal <- struct{}{}:
	default:
	}
}

// broken tells whether reporting has ended with an error.
func (r *reporter) broken() bool { return r.failed.Load() != nil }

// failure is that error.
func (r *reporter) failure() error {
	if err := r.failed.Load(); err != nil {
		return classify(fmt.Errorf("reporting to the server: %w", *err))
	}
	return nil
}

// run reports until ctx ends or the connection does.
func (r *reporter) run(ctx context.Context) error {
	var last time.Time
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.signal:
		case <-timer.C:
		}
		now := time.Now()
		since := now.Sub(last)
		switch {
		case r.asked.Swap(false), since >= r.interval, since >= reportAck && r.acked.Load() > r.told.Load():
			silent := now.Sub(time.Unix(0, r.heard.Load())) >= r.interval
			if err := r.report(ctx, silent); err != nil {
				if ctx.Err() != nil {
					return nil
				}
				return err
			}
			last = now
			timer.Reset(r.interval)
		case r.acked.Load() > r.told.Load():
			timer.Reset(reportAck - since)
		default:
			timer.Reset(r.interval - since)
		}
	}
}

// report sends one status message. The flushed position is never left out: zero would mean "as far as received".
func (r *reporter) report(ctx context.Context, ask bool) error {
	acked := r.acked.Load()
	moves := acked > r.told.Load()
	if moves {
		if err := failpoint.Hit(ctx, "ack.before"); err != nil {
			return err
		}
	}
	s := status{received: LSN(max(r.received.Load(), acked)), acked: LSN(acked), ask: ask}
	if err := r.send(s); err != nil {
		return err
	}
	r.told.Store(acked)
	if moves {
		return failpoint.Hit(ctx, "ack.after")
	}
	return nil
}

// sendStatus writes a status message. It may run beside a read.
func sendStatus(conn *pgconn.PgConn, s status) error {
	if err := conn.Conn().SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	return pglogrepl.SendStandbyStatusUpdate(context.Background(), conn, pglogrepl.StandbyStatusUpdate{
		WALWritePosition: pglogrepl.LSN(s.received),
		WALFlushPosition: pglogrepl.LSN(s.acked),
		WALApplyPosition: pglogrepl.LSN(s.acked),
		ReplyRequested:   s.ask,
	})
}

// startReplication asks how long the server waits for a status message, and starts the stream.
func startReplication(ctx context.Context, conn *pgconn.PgConn, cfg *tailConfig) (time.Duration, error) {
	timeout, err := walSenderTimeout(ctx, conn)
	if err != nil {
		return 0, classify(fmt.Errorf("asking for wal_sender_timeout: %w", err))
	}
	err = pglogrepl.StartReplication(ctx, conn, quoteName(cfg.slot), pglogrepl.LSN(cfg.from),
		pglogrepl.StartReplicationOptions{Mode: pglogrepl.LogicalReplication, PluginArgs: pluginArgs(cfg)})
	if err != nil {
		return 0, classify(fmt.Errorf("starting replication from %s: %w", cfg.from, err))
	}
	return timeout, nil
}

// pluginArgs are the options of pgoutput.
func pluginArgs(cfg *tailConfig) []string {
	names := make([]string, len(cfg.publications))
	for i, name := range cfg.publications {
		names[i] = quoteName(name)
	}
	args := []string{
		"proto_version '1'",
		"publication_names " + quoteLiteral(strings.Join(names, ",")),
		"binary 'false'",
		"messages 'true'",
	}
	if cfg.streaming {
		args[0] = "proto_version '2'"
		args = append(args, "streaming 'on'")
	}
	return args
}

// walSenderTimeout is the server's patience, 0 for endless.
func walSenderTimeout(ctx context.Context, conn *pgconn.PgConn) (time.Duration, error) {
	results, err := conn.Exec(ctx,
		"SELECT setting FROM pg_catalog.pg_settings WHERE name = 'wal_sender_timeout'").ReadAll()
	if err != nil {
		return 0, err
	}
	if len(results) != 1 || len(results[0].Rows) != 1 || len(results[0].Rows[0]) != 1 {
		return 0, errors.New("the server did not say")
	}
	ms, err := strconv.ParseInt(string(results[0].Rows[0][0]), 10, 64)
	if err != nil {
		return 0, err
	}
	return time.Duration(ms) * time.Millisecond, nil
}

// drain ends the stream politely: it tells the server, and reads for a moment until the server agrees, so that the
// last acknowledgement is not lost with the connection.
func (t *tail) drain() {
	if t.goodbye == nil || t.reporter.broken() || t.goodbye() != nil {
		return
	}
	end := time.Now().Add(closeTimeout / 2)
	for {
		kind, body, err := t.wire.header()
		switch {
		case errors.Is(err, errShort):
		case err != nil, kind == 'Z', kind == 'E':
			return
		default:
			if t.wire.discard(body) {
				continue
			}
		}
		// A context that ended just now may still set a deadline of its own, so that ours is set each time.
		if !time.Now().Before(end) || t.conn.SetReadDeadline(end) != nil {
			return
		}
		if _, err := t.wire.fill(); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
	}
}
