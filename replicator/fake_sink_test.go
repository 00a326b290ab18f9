package replicator

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks"
)

type fakeSink struct{ *world }

func (s fakeSink) Open(context.Context, sinks.Claim) (sinks.Writer, sinks.Held, error) {
	if err := s.fault("open"); err != nil {
		return nil, sinks.Held{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.epoch++
	h := s.held
	h.Limits = s.limits
	return &fakeWriter{world: s.world, epoch: s.epoch, staged: map[int][]int{}}, h, nil
}

type fakeWriter struct {
	*world
	epoch   int
	moving  int
	copying int
	staging bool
	closed  bool
	staged  map[int][]int
}

// fakePayload may be used again for another batch once the call that took it has returned.
type fakePayload struct {
	b    *schema.Batch
	gone *atomic.Bool
}

func (p fakePayload) Rows() int  { return p.still().Rows() }
func (p fakePayload) Bytes() int { return p.still().Bytes() }

func (p fakePayload) still() *schema.Batch {
	if p.gone != nil && p.gone.Load() {
		panic("a payload is used after its call")
	}
	return p.b
}

// ids are the transactions of its rows, one for each row.
func (p fakePayload) ids() []int {
	var out []int
	for _, c := range p.b.Changes {
		id, err := strconv.Atoi(string(p.b.Row(c.After)[0].AppendText(nil, nil)))
		if err != nil {
			id = -1 // released
		}
		out = append(out, id)
	}
	return out
}

func (w *fakeWriter) Encode(b *schema.Batch) (sinks.Payload, error) {
	if err := w.fault("encode"); err != nil {
		return nil, err
	}
	return fakePayload{b, &atomic.Bool{}}, nil
}

func (w *fakeWriter) Stage(_ context.Context, lane int, p sinks.Payload) error {
	w.mu.Lock()
	if w.moving+w.copying > 0 {
		w.wrong("a part is staged beside others")
	}
	w.moving++
	w.staging = true
	w.mu.Unlock()
	err := w.fault("stage")
	w.mu.Lock()
	defer w.mu.Unlock()
	w.moving--
	if err != nil {
		return err
	}
	w.staged[lane] = append(w.staged[lane], p.(fakePayload).ids()...)
	p.(fakePayload).gone.Store(true)
	return nil
}

func (w *fakeWriter) Commit(ctx context.Context, g sinks.Group) error {
	w.mu.Lock()
	w.check(g)
	w.mu.Unlock()
	err := w.fault("commit")
	if err == nil && g.Copy == nil {
		err = w.turn(ctx, g.Seq)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	defer func() {
		if g.Copy != nil {
			w.copying--
		} else {
			w.moving--
		}
	}()
	switch {
	case err != nil:
		return err
	case w.closed:
		w.wrong("commit on a closed writer")
	case w.epoch != w.world.epoch:
		return fault.Fence(errors.New("a newer writer is open"))
	}
	w.apply(g)
	close(w.wake)
	w.wake = make(chan struct{})
	w.mu.Unlock()
	err = w.fault("commit.reply")
	w.mu.Lock()
	if err != nil {
		return fault.Unknown(err)
	}
	for _, p := range g.Payloads {
		p.(fakePayload).gone.Store(true)
	}
	return nil
}

// check holds the engine to the contract of Writer. The lock is held.
func (w *fakeWriter) check(g sinks.Group) {
	rows := 0
	for _, p := range g.Payloads {
		rows += p.Rows()
	}
	if g.Copy != nil {
		w.copying++
		if w.moving > 0 || w.copying > w.limits.CopyLanes || len(g.Payloads) != 1 || g.Lane >= w.limits.CopyLanes {
			w.wrong("copied rows: %d moving, %d copying, lane %d", w.moving, w.copying, g.Lane)
		}
		return
	}
	w.moving++
	w.groups++
	if w.copying > 0 || w.moving > w.limits.Lanes || g.Lane >= w.limits.Lanes {
		w.wrong("group %d: %d moving, %d copying, lane %d", g.Seq, w.moving, w.copying, g.Lane)
	}
	if len(g.Payloads) > 1 {
		w.largest = max(w.largest, rows)
		if w.limits.Stage && w.limits.Rows > 0 && rows > w.limits.Rows {
			w.wrong("group %d has %d rows", g.Seq, rows)
		}
	}
	if w.staging && (len(g.Payloads) != 1 || w.moving > 1) {
		w.wrong("group %d ends a staged transaction and does not run alone", g.Seq)
	}
	w.staging = false
}

// turn waits until all earlier groups are durable.
func (w *fakeWriter) turn(ctx context.Context, seq int64) error {
	for {
		w.mu.Lock()
		durable, wake := w.held.Seq, w.wake
		w.mu.Unlock()
		if durable+1 >= seq {
			return nil
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// apply is the moment a group becomes durable. The lock is held.
func (w *fakeWriter) apply(g sinks.Group) {
	if g.Copy != nil {
		w.copied[int(g.Copy.Chunk)]++
		return
	}
	if g.Seq != w.held.Seq+1 {
		w.wrong("group %d follows %d", g.Seq, w.held.Seq)
	}
	if g.Upto.IsZero() {
		w.wrong("group %d has no position", g.Seq)
	}
	if g.Phase == schema.PhaseCreating {
		clear(w.copied)
	}
	w.held.Seq, w.held.Position, w.held.Phase = g.Seq, g.Upto, g.Phase
	w.tables += len(g.Tables)
	ids := w.staged[g.Lane]
	delete(w.staged, g.Lane)
	for _, p := range g.Payloads {
		ids = append(ids, p.(fakePayload).ids()...)
	}
	for len(ids) > 0 {
		id := ids[0]
		n := len(ids)
		if i := slices.IndexFunc(ids, func(v int) bool { return v != id }); i >= 0 {
			n = i
		}
		if id < 1 || id > len(w.transactions) || n != w.transactions[id-1] {
			w.wrong("transaction %d is here with %d rows", id, n)
		}
		w.applied = append(w.applied, id)
		ids = ids[n:]
	}
}

func (w *fakeWriter) Close() error {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	return w.fault("writer.close")
}
