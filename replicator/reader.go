package replicator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/rowferry/rowferry/replicator/metrics"
	"github.com/rowferry/rowferry/replicator/progress"
	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sources"
)

// inlineBytes is the size up to which a batch is encoded where it is read: waking another goroutine would cost more.
const inlineBytes = 16 << 10

// read hands batches over until reading ends, which is a stop, or the source does. After a stop it takes what the
// stream still has in hand: that, and the barrier after it, cost nobody a wait. An error of the source travels as the
// last item.
func (f *flow) read(ctx, reading context.Context) error {
	defer close(f.work)
	defer close(f.items)
	next, end := f.nexts(reading)
	defer end()
	part := false // of a transaction comes next
	for number := int64(1); ; number++ {
		if f.budget.wait(reading, part) != nil {
			return nil
		}
		b, err := next()
		switch {
		case err == nil:
			part = b.Part == schema.PartMore
			if err := f.hand(ctx, number, b); err != nil {
				return err
			}
		case reading.Err() != nil, finite(err):
			return nil
		default:
			return f.push(ctx, &item{number: number, err: fmt.Errorf("reading from the source: %w", err)})
		}
	}
}

// nexts gives a function that calls the stream's Next, each call bounded by the limit for reading; end gives up what
// that takes. A context serves for many calls, until a quarter of the limit has passed: a call costs nothing.
func (f *flow) nexts(reading context.Context) (next func() (*schema.Batch, error), end func()) {
	limit := f.pipeline.spec.Timeouts.Read
	late := fault.Wait("engine.call_timeout", fmt.Errorf("one step took longer than %s", limit))
	bounded, cancel := context.WithTimeoutCause(reading, limit+limit/4, late)
	since := time.Now()
	next = func() (*schema.Batch, error) {
		for {
			if now := time.Now(); now.Sub(since) > limit/4 {
				cancel()
				bounded, cancel = context.WithTimeoutCause(reading, limit+limit/4, late) //nolint:fatcontext // each comes from reading, none from another
				since = now
			}
			b, err := f.stream.Next(bounded)
			switch {
			case err == nil || reading.Err() != nil || !errors.Is(context.Cause(bounded), late):
				return b, err
			case errors.Is(err, sources.ErrPaused):
				continue // nobody made a change for so long
			case gravity(err) == 0:
				return nil, late
			}
			return nil, err
		}
	}
	return next, func() { cancel() }
}

// finite tells whether the source is at its end. Only io.EOF itself says so: the error of a connection that was hung
// up may wrap it, and a pipeline that ends there would stop without a word.
func finite(err error) bool {
	return err == io.EOF //nolint:errorlint // see above
}

// hand routes a batch and sends it on its way.
func (f *flow) hand(ctx context.Context, number int64, b *schema.Batch) error {
	now := time.Now()
	counts := metrics.Counts(nil, b)
	f.pipeline.meter.Received(b, counts, now)
	routed := f.router.Apply(b)
	if routed == nil {
		for i := range counts {
			counts[i].Table = f.router.Target(counts[i].Table)
		}
	}
	it := newItem(number, b, counts, now)
	f.budget.hold(it)
	f.pipeline.noteRead(it)
	switch {
	case routed != nil:
		it.err = fmt.Errorf("routing: %w", routed)
	case b.Copy == nil && it.bytes <= inlineBytes:
		f.prepare(it)
	default:
		it.ready = make(chan struct{})
		select {
		case f.work <- it:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return f.push(ctx, it)
}

// push keeps the order of reading.
func (f *flow) push(ctx context.Context, it *item) error {
	select {
	case f.items <- it:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// isReady tells whether payload or err is set.
func (it *item) isReady() bool {
	if it.ready == nil {
		return true
	}
	select {
	case <-it.ready:
		return true
	default:
		return false
	}
}

// noteRead keeps the status of what is on its way.
func (p *pipeline) noteRead(it *item) {
	b := it.batch
	switch {
	case b.Copy != nil:
		p.track.CopyRead(it.table, it.last, it.received)
		return
	case b.Phase == schema.PhaseCopy && len(b.Plan)+len(b.Tables) > 0:
		p.track.BeginCopy(planned(b), it.received)
		p.enter(progress.Copying, "")
	}
	p.track.Read(it.number, it.oldest, it.newest, it.received)
}

// planned is what is known of the tables to copy.
func planned(b *schema.Batch) []progress.Planned {
	known := map[string]schema.CopyPlan{}
	for _, c := range b.Plan {
		known[c.Table.String()] = c
	}
	var out []progress.Planned
	for _, t := range b.Tables {
		c := progress.Planned{Name: t.String(), Rows: -1, Bytes: -1}
		if k, ok := known[c.Name]; ok {
			c.Rows, c.Bytes = k.Rows, k.Bytes
		}
		out = append(out, c)
	}
	return out
}
