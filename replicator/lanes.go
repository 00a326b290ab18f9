package replicator

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rowferry/rowferry/replicator/progress"
	"github.com/rowferry/rowferry/schema"
)

// serve is one lane: it makes the calls of the writer, one after the other.
func (f *flow) serve(ctx context.Context, lane int) error {
	for u := range f.lanes[lane] {
		if ctx.Err() != nil {
			continue // the attempt is over; the queue is closed soon
		}
		began := time.Now()
		if err := f.call(ctx, u); err != nil {
			return err
		}
		f.pipeline.noteDone(u, began)
		f.budget.release(u.items...)
		f.done <- u
	}
	return nil
}

// call stages or commits a unit.
func (f *flow) call(ctx context.Context, u *unit) error {
	limit := f.pipeline.spec.Timeouts.Commit
	if u.kind == stageUnit {
		err := timed(ctx, limit, "staging at the target", func(ctx context.Context) error {
			return f.writer.Stage(ctx, u.lane, u.items[0].payload)
		})
		if err != nil {
			return fmt.Errorf("staging a part of a transaction: %w", err)
		}
		return nil
	}
	err := timed(ctx, limit, "a commit at the target", func(ctx context.Context) error {
		return f.writer.Commit(ctx, u.group())
	})
	switch {
	case err == nil:
		return nil
	case u.kind == copyUnit:
		return fmt.Errorf("committing copied rows of %s: %w", u.items[0].table, err)
	default:
		return fmt.Errorf("committing group %d: %w", u.seq, err)
	}
}

// noteDone keeps status and metrics of a unit now durable. Groups may end in any order on their lanes, yet become
// durable in the order of Seq: what ends here makes everything before it durable, too.
func (p *pipeline) noteDone(u *unit, began time.Time) {
	if u.kind == stageUnit {
		return
	}
	now, last := time.Now(), u.tail()
	amount, oldest, newest := progress.Amount{}, int64(0), int64(0)
	for _, it := range u.items {
		bytes := int64(it.payload.Bytes())
		p.meter.Applied(it.counts, it.transactions, bytes)
		amount.Rows += int64(it.payload.Rows())
		amount.Transactions += it.transactions
		amount.Bytes += bytes
		if oldest == 0 {
			oldest = it.oldest
		}
		newest = max(newest, it.newest)
	}
	var eldest time.Time
	if oldest != 0 {
		eldest = time.UnixMicro(oldest)
	}
	p.meter.Committed(now.Sub(began), int(amount.Rows), u.items[0].received, eldest, now)
	if u.kind == copyUnit {
		p.meter.Copied(last.batch.Copy.Table, amount.Rows, amount.Bytes)
		p.track.Copied(last.table, amount.Rows, amount.Bytes)
		return
	}
	changed := p.track.Durable(last.number, u.upto.String(), newest, amount, now)
	if u.phase == schema.PhaseStream && p.track.State() == progress.Copying {
		p.track.EndCopy(now)
		p.enter(progress.CatchingUp, "")
	} else if changed {
		p.announce()
	}
}

// mailbox holds the latest position to acknowledge: a newer one replaces it.
type mailbox struct {
	mu     sync.Mutex // guards upto, since, full and closed
	upto   schema.Position
	since  time.Time // when the group became durable
	full   bool
	closed bool
	notify chan struct{}
}

func newMailbox() *mailbox { return &mailbox{notify: make(chan struct{}, 1)} }

func (m *mailbox) put(upto schema.Position, now time.Time) {
	m.mu.Lock()
	if !m.full {
		m.since = now
	}
	m.upto, m.full = upto, true
	m.mu.Unlock()
	m.ring()
}

// close tells that nothing more comes.
func (m *mailbox) close() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.ring()
}

func (m *mailbox) ring() {
	select {
	case m.notify <- struct{}{}:
	default:
	}
}

// take empties the mailbox.
func (m *mailbox) take() (upto schema.Position, since time.Time, full, closed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	full, m.full = m.full, false
	return m.upto, m.since, full, m.closed
}

// acknowledge tells the source how far the target is, until the sequence has ended and its last word is sent.
func (f *flow) acknowledge(ctx context.Context) error {
	for {
		select {
		case <-f.acks.notify:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		upto, since, full, closed := f.acks.take()
		if full {
			err := timed(ctx, f.pipeline.spec.Timeouts.Open, "an acknowledgement to the source",
				func(ctx context.Context) error { return f.stream.Ack(ctx, upto) })
			if err != nil {
				return fmt.Errorf("acknowledging to the source: %w", err)
			}
			now := time.Now()
			f.pipeline.meter.Acked(now.Sub(since), now)
		}
		if closed {
			return nil
		}
	}
}
