package postgres

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks"
	"github.com/rowferry/rowferry/sinks/apply"
)

// Writer is a claim on a pipeline's ledger, with a connection for each lane in use.
type Writer struct {
	cfg   Config
	rt    sinks.Runtime
	claim sinks.Claim
	rows  []apply.LedgerRow // as claimed
	phase schema.Phase      // of the last positioned group; lanes of copied rows do not look at it
	lanes []*lane           // opened when first used; each has one user at a time

	copyMin int // from how many inserted rows on COPY is used

	mu    sync.Mutex // guards fresh
	fresh []string   // objects made by the transaction under way
}

// payload is a batch as it is: what a row needs to become depends on the target's tables, which only a lane may
// look at.
type payload struct{ batch *schema.Batch }

// Rows is how many changes or copied rows it holds.
func (p *payload) Rows() int { return p.batch.Rows() }

// Bytes is the memory it takes.
func (p *payload) Bytes() int { return p.batch.Bytes() }

// Encode wraps the batch.
func (w *Writer) Encode(b *schema.Batch) (sinks.Payload, error) { return &payload{batch: b}, nil }

// batchesOf takes the batches out of payloads.
func batchesOf(payloads []sinks.Payload) ([]*schema.Batch, error) {
	batches := make([]*schema.Batch, 0, len(payloads))
	for _, p := range payloads {
		own, ok := p.(*payload)
		if !ok {
			return nil, fmt.Errorf("a payload of type %T is not this target's", p)
		}
		batches = append(batches, own.batch)
	}
	return batches, nil
}

// lane finds or opens a lane.
func (w *Writer) lane(ctx context.Context, number int) (*lane, error) {
	if number < 0 || number >= len(w.lanes) {
		return nil, fmt.Errorf("there is no lane %d", number)
	}
	if l := w.lanes[number]; l != nil {
		return l, nil
	}
	conn, err := w.cfg.connect(ctx)
	if err != nil {
		return nil, err
	}
	w.lanes[number] = newLane(w, conn, number, w.rows[number])
	return w.lanes[number], nil
}

// Stage sends a part of a big transaction on its lane. The first part begins the target's transaction.
func (w *Writer) Stage(ctx context.Context, number int, p sinks.Payload) error {
	l, err := w.lane(ctx, number)
	if err != nil {
		return err
	}
	batches, err := batchesOf([]sinks.Payload{p})
	if err != nil {
		return err
	}
	if !l.open {
		w.takeMade() // of a transaction that failed
		if err := l.begin(ctx, mark{}); err != nil {
			return err
		}
		l.staged = true
	}
	return l.part(ctx, batches)
}

// part applies batches on top of what the transaction holds already, so that they alone can be undone.
func (l *lane) part(ctx context.Context, batches []*schema.Batch) error {
	l.save(ctx)
	if err := l.applier.Apply(ctx, l, batches); err != nil {
		return err
	}
	l.release(ctx)
	return l.drain()
}

// Commit makes a group durable, or nothing of it.
func (w *Writer) Commit(ctx context.Context, g sinks.Group) error {
	l, err := w.lane(ctx, g.Lane)
	if err != nil {
		return err
	}
	batches, err := batchesOf(g.Payloads)
	if err != nil {
		return err
	}
	if g.Copy != nil {
		if err := l.copyGroup(ctx, g.Copy, batches); err != nil {
			return err
		}
		return l.commit(ctx)
	}
	if !l.open {
		w.takeMade()
	}
	if err := l.group(ctx, &g, batches); err != nil {
		return err
	}
	if err := l.commit(ctx); err != nil {
		return err
	}
	w.phase = g.Phase
	if g.Phase == schema.PhaseStream {
		w.closeCopyLanes()
	}
	return nil
}

// group sends everything a positioned group consists of.
func (l *lane) group(ctx context.Context, g *sinks.Group, batches []*schema.Batch) error {
	m := mark{moves: true, seq: g.Seq, phase: g.Phase, position: g.Upto}
	if l.open {
		// Parts of the transaction were staged: its ledger row is ours already and now moves.
		l.mark = m
		if err := l.claim(ctx, m); err != nil {
			return err
		}
	} else if err := l.begin(ctx, m); err != nil {
		return err
	}
	changed, err := l.phase(ctx, g)
	if err != nil {
		return err
	}
	if l.staged || changed {
		err = l.part(ctx, batches)
	} else {
		err = l.applier.Apply(ctx, l, batches)
	}
	if err != nil {
		return err
	}
	for _, s := range g.State {
		if s.Value == nil {
			l.query(ctx, stateDeleteSQL, none(wantAny), l.w.claim.Pipeline, s.Key)
		} else {
			l.query(ctx, stateSetSQL, none(wantAny), l.w.claim.Pipeline, s.Key, `\x`+hex.EncodeToString(s.Value))
		}
	}
	if made := append(l.w.takeMade(), g.Made...); len(made) > 0 {
		list := []byte{'{'}
		for n, name := range made {
			if n > 0 {
				list = append(list, ',')
			}
			list = appendQuoted(list, []byte(name))
		}
		l.query(ctx, madeSQL, none(wantClaim),
			string(append(list, '}')), l.w.claim.Pipeline, strconv.Itoa(l.number))
	}
	return nil
}

// made notes an object of the target that the transaction under way has made.
func (w *Writer) made(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fresh = append(w.fresh, name)
}

// takeMade gives what was made since it was asked last.
func (w *Writer) takeMade() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	made := w.fresh
	w.fresh = nil
	return made
}

// closeCopyLanes gives back the connections that only the copy needs.
func (w *Writer) closeCopyLanes() {
	for n := 1; n < len(w.lanes); n++ {
		w.closeLane(n)
	}
}

// closeLane ends one lane's connection, and with it whatever was not committed. The next use opens it again where
// it was.
func (w *Writer) closeLane(n int) {
	if l := w.lanes[n]; l != nil {
		if l.pipe.p != nil {
			l.pipe.clock.stop()
			_ = l.pipe.p.Close()
		}
		closeConn(l.conn)
		w.rows[n].Seq = l.seq
		w.lanes[n] = nil
	}
}

// Close drops what was staged and gives every connection back.
func (w *Writer) Close() error {
	for n := range w.lanes {
		w.closeLane(n)
	}
	return nil
}

// errPhase is the refusal to begin a copy over a stream.
var errPhase = errors.New("the ledger says that the pipeline streams already, but the source begins a copy")

// phase does what a change of phase asks for, and announces tables. It tells whether it wrote anything, which a
// rewind must not undo.
func (l *lane) phase(ctx context.Context, g *sinks.Group) (changed bool, err error) {
	if l.w.phase == schema.PhaseStream && g.Phase != schema.PhaseStream {
		return false, fault.Halt("target.phase", errPhase, "`rowferry teardown "+l.w.claim.Pipeline+"`, then start again with a new copy")
	}
	switch {
	case g.Phase == schema.PhaseCreating:
		return true, l.undoCopy(ctx)
	case g.Phase == schema.PhaseCopy && (len(g.Tables) > 0 || l.w.phase != schema.PhaseCopy):
		return true, l.beginCopy(ctx, g.Tables)
	case g.Phase == schema.PhaseStream && l.w.phase != schema.PhaseStream:
		l.query(ctx, copyClearSQL, none(wantAny), l.w.claim.Pipeline)
		changed = true
	}
	if err := l.takeovers(ctx, g.Takeovers); err != nil {
		return true, err
	}
	for _, t := range g.Tables {
		if _, err := l.plan(ctx, t); err != nil {
			return true, err
		}
	}
	return changed || l.altered, nil
}
