package replicator

import (
	"fmt"
	"time"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks"
)

// grouper folds batches into units within a writer's limits, in the order the batches come. It is pure: it is told
// the time. A batch of whole transactions is never split; what is not rows and a position is never folded with
// anything.
type grouper struct {
	limits   sinks.Limits
	seq      int64           // of the last group taken
	position schema.Position // of the last batch that had one
	phase    schema.Phase
	inParts  bool  // between the first and the last part of a transaction
	open     *unit // waits to be taken
}

// newGrouper continues after what the target holds.
func newGrouper(held sinks.Held) *grouper {
	return &grouper{limits: held.Limits, seq: held.Seq, position: held.Position, phase: held.Phase}
}

// add takes the next batch. It takes nothing and returns false when what is open has to be taken first.
func (g *grouper) add(it *item, now time.Time) (bool, error) {
	b := it.batch
	if g.open == nil {
		g.begin(it, now)
		return true, nil
	}
	u := g.open
	if u.torn {
		return true, g.continueTorn(it)
	}
	if u.closed || !g.foldable(it) || g.over(u.rows+it.rows, u.bytes+it.bytes) {
		return false, nil
	}
	g.place(b)
	u.items, u.rows, u.bytes, u.upto = append(u.items, it), u.rows+it.rows, u.bytes+it.bytes, g.position
	u.closed = g.reached(u)
	return true, nil
}

// foldable tells whether a batch may share a group with others.
func (g *grouper) foldable(it *item) bool {
	b := it.batch
	return b.Copy == nil && b.Part == schema.Whole && !it.structural() && (b.Phase == "" || b.Phase == g.phase)
}

// over tells whether a group of that size breaks the limits.
func (g *grouper) over(rows, bytes int) bool {
	return g.limits.Rows > 0 && rows > g.limits.Rows || g.limits.Bytes > 0 && bytes > g.limits.Bytes
}

// reached tells whether the unit is as big as groups may be.
func (g *grouper) reached(u *unit) bool {
	return g.limits.Rows > 0 && u.rows >= g.limits.Rows || g.limits.Bytes > 0 && u.bytes >= g.limits.Bytes
}

// ripe tells whether the open unit is worth a lane of its own while others are busy.
func (g *grouper) ripe() bool {
	u := g.open
	return u.closed || g.limits.Rows > 0 && u.rows*4 >= g.limits.Rows || g.limits.Bytes > 0 && u.bytes*4 >= g.limits.Bytes
}

// begin opens a unit with the batch.
func (g *grouper) begin(it *item, now time.Time) {
	b := it.batch
	u := &unit{items: []*item{it}, rows: it.rows, bytes: it.bytes, since: now}
	// Invariant 4: between two parts of a transaction there is nothing else.
	if g.inParts && b.Part == schema.Whole {
		broken(4, "a batch came between the parts of a transaction")
	}
	switch {
	case b.Copy != nil:
		u.kind, u.closed = copyUnit, true
	case b.Part == schema.PartMore && g.limits.Stage:
		u.kind, u.alone, u.closed = stageUnit, true, true
	case b.Part == schema.PartMore:
		u.alone, u.torn = true, true
	case b.Part == schema.PartLast:
		g.place(b)
		u.alone, u.closed = true, true
	default:
		u.alone = !g.foldable(it)
		u.streams = b.Phase == schema.PhaseStream && g.phase != b.Phase
		g.place(b)
		u.closed = u.alone || g.reached(u)
	}
	g.inParts = b.Part == schema.PartMore
	u.upto, u.phase = g.position, g.phase
	g.open = u
}

// continueTorn keeps a transaction together for a writer that cannot stage.
func (g *grouper) continueTorn(it *item) error {
	u, b := g.open, it.batch
	if b.Part == schema.Whole {
		broken(4, "a batch came between the parts of a transaction")
	}
	u.items, u.rows, u.bytes = append(u.items, it), u.rows+it.rows, u.bytes+it.bytes
	if limit := g.limits.Bytes; limit > 0 && u.bytes > limit {
		return fault.Halt("target.transaction_too_large",
			fmt.Errorf("a transaction of more than %d bytes cannot be kept together for this target", limit),
			"raise target.batch.max_bytes above the size of the transaction")
	}
	if b.Part == schema.PartLast {
		g.place(b)
		g.inParts = false
		u.upto, u.phase = g.position, g.phase
		u.torn, u.closed = false, true
	}
	return nil
}

// place moves to the batch's position and phase. A batch without them leaves both where they are.
func (g *grouper) place(b *schema.Batch) {
	if !b.Upto.IsZero() {
		g.position = b.Upto
	}
	if b.Phase != "" {
		g.phase = b.Phase
	}
	if g.position.IsZero() {
		broken(3, "a group has no position")
	}
}

// take closes what is open and gives it its number.
func (g *grouper) take() *unit {
	u := g.open
	g.open = nil
	if u.kind == commitUnit {
		g.seq++
		u.seq = g.seq
	}
	return u
}
