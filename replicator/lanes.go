package replicator

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rowferry/rowferry/replicator/metrics"
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
		f.note(u, began)
		f.budget.release(u.items...)
		f.done <- u
	}
	return nil
}

// perTable is how much longer a commit may take for each table it announces: the target may have to make it.
const perTable = time.Second

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
	group := u.group()
	limit += time.Duration(len(group.Tables)) * perTable
	err := timed(ctx, limit, "a commit at the target", func(ctx context.Context) error {
		return f.writer.Commit(ctx, group)
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

// tally is what units brought to the target.
type tally struct {
	progress.Amount
	counts         []metrics.Count
	oldest, newest int64 // commit times, microseconds; 0 for none
}

// add counts an item whose call returned.
func (t *tally) add(it *item) {
	t.Rows += it.wrote
	t.Bytes += it.size
	t.Transactions += it.transactions
	t.counts = metrics.Merge(t.counts, it.counts)
	if t.oldest == 0 {
		t.oldest = it.oldest
	}
	t.newest = max(t.newest, it.newest)
}

// note keeps status and metrics of a unit whose call returned. Groups may end in any order on their lanes, yet
// become durable in the order of Seq: what ends here makes everything before it durable, too. What was staged counts
// with the commit that ends it; both run alone, so that f.staged has one user at a time.
func (f *flow) note(u *unit, began time.Time) {
	p, now := f.pipeline, time.Now()
	if u.kind == stageUnit {
		f.staged.add(u.items[0])
		return
	}
	var t tally
	if u.alone {
		t, f.staged = f.staged, tally{}
	}
	for _, it := range u.items {
		t.add(it)
	}
	p.meter.Applied(t.counts, t.Transactions, t.Bytes)
	var oldest time.Time
	if t.oldest != 0 {
		oldest = time.UnixMicro(t.oldest)
	}
	p.meter.Committed(now.Sub(began), int(t.Rows), u.items[0].received, oldest, now)
	last := u.tail()
	if u.kind == copyUnit {
		p.meter.Copied(last.batch.Copy.Table, t.Rows, t.Bytes)
		p.track.Copied(last.table, t.Rows, t.Bytes)
		return
	}
	changed := p.track.Durable(last.number, u.upto.String(), t.newest, t.Amount, now)
	if u.streams {
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
