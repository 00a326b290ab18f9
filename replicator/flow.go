package replicator

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/rowferry/rowferry/replicator/transform"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks"
	"github.com/rowferry/rowferry/sources"
)

// inOrder is how many batches may wait between reading and grouping. Their memory is limited by the budget.
const inOrder = 512

// flow is the moving part of an attempt: from an open stream to an open writer.
//
//	read ──► encode (several) ──► sequence ──► lanes (Stage, Commit) ──► sequence ──► acknowledge
//
// Only sequence, in one goroutine, decides; it owns grouper, gate, window and the queues of lanes.
type flow struct {
	pipeline *pipeline
	stream   sources.Stream
	writer   sinks.Writer
	budget   *budget
	router   *transform.Router

	items chan *item // in the order of reading; closed at the end
	work  chan *item // to encode
	lanes []chan *unit
	done  chan *unit // from lanes; one place for each, so that no lane ever waits
	acks  *mailbox

	grouper *grouper
	gate    gate
	window  window
	queues  [][]*unit // copied rows waiting for their lane
	busy    []bool    // lanes
	next    *item     // taken from items, and not yet taken by the grouper
	refused bool      // the grouper did not take it: it has to wait until what is open has started
	ended   bool      // no more items
	staged  tally     // of the transaction being staged
	hurry   bool      // the reader waits for room
	started time.Time // when a group was started last
	last    error     // what ended the reading, nil for a stop
	healthy bool      // moved the target past a transaction
}

// newFlow prepares what runs between the two.
func newFlow(p *pipeline, stream sources.Stream, writer sinks.Writer, held sinks.Held) *flow {
	l := &held.Limits
	l.Lanes, l.CopyLanes = max(1, l.Lanes), max(1, l.CopyLanes)
	queue := queueOf(p.spec.QueueBytes, l)
	n := max(l.Lanes, l.CopyLanes)
	f := &flow{
		pipeline: p, stream: stream, writer: writer,
		budget: newBudget(queue), router: p.spec.Route.Router(),
		items: make(chan *item, inOrder), work: make(chan *item, inOrder),
		lanes: make([]chan *unit, n), done: make(chan *unit, n), acks: newMailbox(),
		grouper: newGrouper(held), gate: gate{lanes: l.Lanes}, queues: make([][]*unit, n), busy: make([]bool, n),
	}
	if l.Stage {
		f.budget.stages()
	}
	for i := range f.lanes {
		f.lanes[i] = make(chan *unit, 1)
	}
	return f
}

// queueOf is how many bytes of batches may be on their way. It bounds groups that have no bound and need one.
func queueOf(configured int64, l *sinks.Limits) int64 {
	queue := configured
	if l.Queue > 0 {
		queue = min(queue, int64(l.Queue))
	}
	if l.Stage {
		return queue
	}
	// A transaction kept together holds memory until it is whole: it has to fit, or reading would never go on.
	if l.Bytes <= 0 {
		l.Bytes = int(queue)
	}
	return max(queue, 2*int64(l.Bytes))
}

// run moves batches until soft ends (a stop: what was read is finished), the source is at its end, hard ends, or
// something breaks; a closed lost means that the lock on the source is gone. It waits for everything it started. What
// the writer still holds is released by its caller, after the writer is closed.
func (f *flow) run(hard, soft context.Context, lost <-chan struct{}) error {
	ctx, cancel := context.WithCancelCause(hard)
	defer cancel(nil)
	reading, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	defer context.AfterFunc(soft, func() { stop(context.Cause(soft)) })()

	c := &crew{cancel: cancel}
	guard := &crew{cancel: cancel}
	guard.run(func() error {
		select {
		case <-lost:
			c.fail(fault.Wait("source.lock_lost", errors.New("the lock on the source is gone")))
		case <-ctx.Done():
		}
		return nil
	})
	c.run(func() error { return f.read(ctx, reading) })
	for range min(runtime.GOMAXPROCS(0), 8) {
		c.run(func() error { return f.encode(ctx) })
	}
	for i := range f.lanes {
		c.run(func() error { return f.serve(ctx, i) })
	}
	c.run(func() error { return f.acknowledge(ctx) })
	c.run(func() error { return f.sequence(ctx) })
	err := c.wait()
	cancel(nil)
	_ = guard.wait()
	return err
}

// sequence takes items in order, forms units of them, and starts each as soon as it may.
func (f *flow) sequence(ctx context.Context) error {
	defer f.acks.close()
	defer func() {
		for _, lane := range f.lanes {
			close(lane)
		}
	}()
	age := time.NewTimer(time.Hour)
	defer age.Stop()
	var aged <-chan time.Time
	for {
		wait := f.dispatch()
		if f.ended && f.gate.idle() && (f.grouper.open == nil || f.grouper.open.torn) {
			return f.last
		}
		if aged = nil; wait > 0 {
			age.Reset(wait)
			aged = age.C
		}
		if err := f.await(ctx, aged); err != nil {
			return err
		}
	}
}

// await blocks until something happened.
func (f *flow) await(ctx context.Context, age <-chan time.Time) error {
	var items <-chan *item
	var ready <-chan struct{}
	switch {
	case f.ended:
	case f.next == nil:
		items = f.items
	case !f.refused:
		ready = f.next.ready // closed, perhaps, since fold looked
	}
	select {
	case it, ok := <-items:
		f.next, f.ended = it, !ok
	case <-ready:
	case u := <-f.done:
		f.finish(u)
	case <-f.budget.pressed:
		f.hurry = true
	case <-age:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// dispatch folds what is ready and starts what may start. It returns how long the open unit may still wait for more,
// 0 when time decides nothing.
func (f *flow) dispatch() time.Duration {
	for {
		f.fold()
		u := f.grouper.open
		if u == nil {
			f.hurry = false
			return 0
		}
		if u.torn || !f.gate.admits(u) {
			return 0
		}
		if !u.closed && !f.refused && !f.ended && !f.hurry {
			if left := f.grouper.limits.Age - time.Since(u.since); left > 0 {
				return left
			}
			if f.gate.moving > 0 && !f.grouper.ripe() {
				return 0
			}
			if left := f.grouper.limits.Interval - time.Since(f.started); left > 0 && !f.grouper.ripe() {
				return left
			}
		}
		f.start(f.grouper.take())
	}
}

// fold gives the grouper every item at hand, until one does not fit into what is open. At an error it ends the
// sequence: what was read before is finished, so that the target stands right before the fault.
func (f *flow) fold() {
	f.refused = false
	for !f.ended {
		if f.next == nil {
			select {
			case it, ok := <-f.items:
				f.next, f.ended = it, !ok
				continue
			default:
				return
			}
		}
		if !f.next.isReady() {
			return
		}
		taken, err := false, f.next.err
		if err == nil {
			taken, err = f.grouper.add(f.next, time.Now())
		}
		switch {
		case err != nil:
			f.last, f.ended = err, true
			return
		case !taken:
			f.refused = true
			return
		}
		f.next = nil
	}
}

// start sends a unit on its way. Its lane is free, or, for copied rows, has a queue.
func (f *flow) start(u *unit) {
	f.gate.start(u)
	if u.kind == copyUnit {
		u.lane = max(0, u.items[0].batch.Copy.Lane) % f.grouper.limits.CopyLanes
		if f.busy[u.lane] {
			f.queues[u.lane] = append(f.queues[u.lane], u)
			return
		}
	} else {
		for f.busy[u.lane] {
			u.lane++
		}
	}
	if u.kind == commitUnit {
		f.started = time.Now()
		f.window.begin(u.seq, u.upto)
		if ackEarly {
			f.acks.put(u.upto, time.Now())
		}
	}
	f.busy[u.lane] = true
	f.lanes[u.lane] <- u // one place, and the lane is idle
}

// finish notes that a unit is durable, or staged.
func (f *flow) finish(u *unit) {
	f.gate.end(u)
	f.busy[u.lane] = false
	if queue := f.queues[u.lane]; len(queue) > 0 {
		f.queues[u.lane] = queue[1:]
		f.busy[u.lane] = true
		f.lanes[u.lane] <- queue[0]
	}
	if u.kind != commitUnit {
		return
	}
	// Invariant 1: an acknowledgement never passes what is durable.
	upto, moved := f.window.end(u.seq)
	if moved {
		f.acks.put(upto, time.Now())
	}
	f.healthy = f.healthy || u.streams
	for _, it := range u.items {
		f.healthy = f.healthy || it.transactions > 0
	}
}

// encode prepares payloads until there are no more.
func (f *flow) encode(ctx context.Context) error {
	for {
		select {
		case it, ok := <-f.work:
			if !ok {
				return nil
			}
			f.prepare(it)
			close(it.ready)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// prepare encodes one batch; an error travels with the item, to be met in order.
func (f *flow) prepare(it *item) {
	it.err = protect(func() (err error) {
		if it.payload, err = f.writer.Encode(it.batch); err == nil {
			it.wrote, it.size = int64(it.payload.Rows()), int64(it.payload.Bytes())
		}
		return err
	})
	if it.err != nil {
		it.err = fmt.Errorf("encoding for the target: %w", it.err)
	}
}

// errLate ends a call that took too long.
var errLate = errors.New("the call took too long")

// timed bounds one call of a connector. What outlives the limit is retried without end: the connectors have limits
// of their own, this one is for a peer that neither answers nor goes away.
func timed(ctx context.Context, limit time.Duration, call string, f func(context.Context) error) error {
	bounded, cancel := context.WithTimeoutCause(ctx, limit, errLate)
	defer cancel()
	err := f(bounded)
	if err != nil && errors.Is(context.Cause(bounded), errLate) && gravity(err) == 0 {
		return fault.Wait("engine.call_timeout", fmt.Errorf("%s took longer than %s", call, limit))
	}
	return err
}
