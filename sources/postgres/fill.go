package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/rowferry/rowferry/schema/fault"
)

// errSilent is the cause of the fault about a connection that died without a word.
var errSilent = errors.New("reading the log: the server has not answered")

// fill waits for bytes and reads once. It returns without any when it is time to look at what is due.
func (t *tail) fill(ctx context.Context) error {
	now := time.Now()
	if t.inTx {
		t.pace.lag(time.Duration(t.sent-t.began) * time.Microsecond)
	}
	if pause := t.pace.before(t.lastRead, now); pause > 0 {
		if err := t.pause(ctx, pause); err != nil {
			return err
		}
		now = time.Now()
	}
	if err := t.await(ctx, now); err != nil {
		return err
	}
	if t.gathering.IsZero() {
		t.gathering = now
	}
	n, err := t.wire.fill()
	after := time.Now()
	if n > 0 {
		t.lastRead, t.silent = n, 0
		t.pace.read(n, after.Sub(now), after)
		t.reporter.heard.Store(after.UnixNano())
		return nil
	}
	t.lastRead = 0
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, os.ErrDeadlineExceeded):
		t.deadline = time.Time{}
		t.pace.calm()
		return t.quiet(now, after)
	}
	return classify(fmt.Errorf("reading the log: %w", err))
}

// await sets the time at which a read that brings nothing ends. ctx ending ends it at once.
func (t *tail) await(ctx context.Context, now time.Time) error {
	if done := ctx.Done(); done != t.watched {
		t.unwatch()
		t.watched, t.unwatch = done, func() bool { return true }
		if done != nil {
			t.unwatch = context.AfterFunc(ctx, func() { _ = t.conn.SetReadDeadline(time.Unix(1, 0)) })
		}
	}
	deadline := t.wakeup(now)
	if !deadline.Equal(t.deadline) || t.reporter.broken() {
		if err := t.conn.SetReadDeadline(deadline); err != nil {
			return classify(fmt.Errorf("reading the log: %w", err))
		}
		t.deadline = deadline
	}
	// An end of ctx after this line sets a deadline after ours.
	if ctx.Err() != nil {
		t.deadline = time.Time{}
		return context.Cause(ctx)
	}
	return nil
}

// wakeup is when the next read has to end. Far from it, the time set before still does: setting one costs about as
// much as a small read.
func (t *tail) wakeup(now time.Time) time.Time {
	if t.reporter.broken() {
		return now.Add(lastWords)
	}
	if t.batches.holds() && !t.inTx && t.lingers(now) {
		return t.gathering.Add(lingerLength)
	}
	tick := t.reporter.interval
	regular := now.Add(tick)
	soonest := regular
	if again := t.lookout.again; t.watches() && again.After(now) && again.Before(soonest) {
		soonest = again
	}
	if t.pending > t.returned && !t.inTx && !t.batches.holds() {
		if due := t.moved.Add(t.patience()); due.Before(soonest) {
			soonest = due
		}
	}
	if soonest.Before(regular) {
		return soonest
	}
	if left := t.deadline.Sub(now); left >= tick/2 && left <= tick {
		return t.deadline
	}
	return regular
}

// quiet looks at a read that ended without a byte. After three intervals without one, during which the reporter
// asked for an answer, the connection is dead.
func (t *tail) quiet(from, now time.Time) error {
	if err := t.reporter.failure(); err != nil {
		return err
	}
	t.silent += now.Sub(from)
	if t.silent >= silentIntervals*t.reporter.interval {
		return fault.Wait("source.silent", fmt.Errorf("%w for %s", errSilent, t.silent.Round(time.Second)))
	}
	return nil
}

// pause waits before a read, so that the server can send more at once.
func (t *tail) pause(ctx context.Context, length time.Duration) error {
	if t.timer == nil {
		t.timer = time.NewTimer(length)
	} else {
		t.timer.Reset(length)
	}
	select {
	case <-t.timer.C:
		return nil
	case <-ctx.Done():
		t.timer.Stop()
		return context.Cause(ctx)
	}
}
