package apply

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/rowferry/rowferry/schema"
)

// errSequence says that the changes of one row cannot follow each other as they do: two inserts in a row, an
// update after a delete. Applied one by one, the target will say which is at fault.
var errSequence = errors.New("the changes of a row contradict each other")

// Builder turns changes into steps. It is pure: no clock, no goroutine, no I/O.
//
// Changes of tables that nothing ties together are independent, so each table has a queue of its own; tables with
// foreign keys or triggers that take effect share one. Within a table, a row's changes are folded into their net
// effect where the row is known by a key; deletes then come before updates, and updates before inserts, so that
// unique values are given up before they are taken. Where folding is not allowed, runs of equal statements are
// gathered in order.
//
// Costs: one copy of the row's key, one hash and one look at each value; no allocation once warm.
type Builder struct {
	// Exact makes one step of each change, in order.
	Exact bool

	steps   []Step
	queues  map[*Table]*queue
	active  []*queue // those that hold something, in the order of their first change
	used    []*queue // those that held something since the last Reset
	coupled *queue
	merged  *schema.Batch // rows that several changes made together
	key     []byte
}

// NewBuilder makes an empty builder.
func NewBuilder() *Builder {
	return &Builder{queues: map[*Table]*queue{}, coupled: &queue{}, merged: schema.NewBatch(nil)}
}

const (
	keptQueues = 1024     // how many tables' memory is kept between groups
	keptBytes  = 32 << 20 // how much memory for merged rows is
)

// Reset empties the builder and keeps its memory. Rows it handed out are not valid afterwards.
func (b *Builder) Reset() {
	clear(b.steps)
	b.steps = b.steps[:0]
	if cap(b.merged.Arena) > keptBytes {
		b.merged = schema.NewBatch(nil)
	}
	b.merged.Reset()
	for _, q := range b.used {
		q.reset()
	}
	b.active, b.used = b.active[:0], b.used[:0]
	if len(b.queues) > keptQueues {
		clear(b.queues)
	}
}

// Empty tells whether nothing was added since the last Reset.
func (b *Builder) Empty() bool { return len(b.steps) == 0 && len(b.active) == 0 }

// Add takes change number n of batch, which belongs to t: an insert, an update, a delete, or an existing row.
func (b *Builder) Add(t *Table, batch *schema.Batch, n int) error {
	c := &batch.Changes[n]
	row := Row{Batch: batch, Old: c.Before, New: c.After, From: batch, Change: int32(n)}
	op, err := b.operation(t, c, &row)
	if err != nil {
		return err
	}
	shape := t.shapeOf(op, &row)
	if b.Exact {
		b.steps = append(b.steps, Step{Op: op, Table: t, Shape: shape, Rows: []Row{row}})
		return nil
	}
	q := b.queue(t)
	switch {
	case c.Op == schema.OpRead || len(t.Match) == 0:
		q.append(op, t, shape, row)
		return nil
	case t.Careful:
		return b.follow(q, op, shape, t, row)
	case op == Move:
		q.settle(t)
		q.append(Move, t, shape, row)
		return nil
	}
	b.key = appendKey(b.key[:0], t, &row, op)
	return b.fold(q, t, op, row)
}

// operation decides what kind of statement a change needs, and refuses changes that cannot be applied at all.
func (b *Builder) operation(t *Table, c *schema.Change, row *Row) (Op, error) {
	for _, i := range t.missing {
		if values := row.Values(); values != nil && !values[i].Absent() {
			return 0, &MissingError{Table: t.Source, Columns: t.missing}
		}
	}
	switch c.Op {
	case schema.OpCreate, schema.OpRead:
		row.Old = schema.Row{}
		return Insert, nil
	case schema.OpDelete:
		if len(t.Match) == 0 || row.Old.Count == 0 {
			return 0, fmt.Errorf("a delete from %s does not say which row", t.Source)
		}
		return Delete, nil
	case schema.OpUpdate:
		if len(t.Match) == 0 || row.Old.Count == 0 && (t.Whole || lacksKey(t, row)) {
			return 0, fmt.Errorf("an update of %s does not say which row", t.Source)
		}
		if !t.Whole && moves(t, row) {
			return Move, nil
		}
		return Update, nil
	}
	return 0, fmt.Errorf("%s: change of kind %d is none of a row", t.Source, c.Op)
}

// lacksKey tells whether the new image leaves out a value the row is matched by.
func lacksKey(t *Table, row *Row) bool {
	values := row.Values()
	for _, i := range t.Match {
		if values[i].Absent() {
			return true
		}
	}
	return false
}

// moves tells whether an update gives the row other values for the columns it is matched by.
func moves(t *Table, row *Row) bool {
	if row.Old.Count == 0 {
		return false
	}
	old, now := row.Match(), row.Values()
	for _, i := range t.Match {
		if !now[i].Absent() && !same(old[i], now[i], row.Batch.Arena) {
			return true
		}
	}
	return false
}

// same compares two values of one batch by their text.
func same(a, b schema.Value, arena []byte) bool {
	if a == b {
		return true
	}
	if a.Form() != b.Form() || a.Form() != schema.Text {
		return false
	}
	return string(a.Bytes(arena)) == string(b.Bytes(arena))
}

// shapeOf finds the columns a row's statement writes.
func (t *Table) shapeOf(op Op, row *Row) *Shape {
	switch {
	case op == Delete:
		return nil
	case op == Insert:
		return t.shape(shapeInsert, row.Values())
	case op == Move || t.Whole:
		return t.shape(shapeMove, row.Values())
	}
	return t.shape(shapeUpdate, row.Values())
}

// follow appends in order. Rows of one run are distinct, because a statement for many rows does not see its own
// effects.
func (b *Builder) follow(q *queue, op Op, shape *Shape, t *Table, row Row) error {
	if op == Insert || !t.Unique {
		q.append(op, t, shape, row)
		return nil
	}
	if !q.continues(op, t, shape) {
		q.index.clear()
	}
	b.key = appendKey(b.key[:0], t, &row, op)
	if _, known := q.index.number(b.key); known {
		q.index.clear()
		q.index.number(b.key)
		q.begin(op, t, shape)
	}
	q.append(op, t, shape, row)
	return nil
}

// Truncate takes a truncate. Everything before it is settled first.
func (b *Builder) Truncate(c *schema.Truncate, tables []*Table, batch *schema.Batch, n int) {
	b.settle()
	b.steps = append(b.steps, Step{
		Op: Truncate, Truncate: c, Tables: tables, Rows: []Row{{Batch: batch, From: batch, Change: int32(n)}},
	})
}

// Steps settles what is open and returns all steps, in the order to run them. They are valid until Reset.
func (b *Builder) Steps() []Step {
	b.settle()
	return b.steps
}

// settle moves everything from the queues to the steps.
func (b *Builder) settle() {
	for _, q := range b.active {
		if q.net != nil {
			q.settle(q.net)
		}
		for _, r := range q.runs {
			b.steps = append(b.steps, Step{
				Op: r.op, Table: r.table, Shape: r.shape, Bulk: r.bulk(), Rows: q.rows[r.first:r.end:r.end],
			})
		}
		q.rest()
	}
	b.active = b.active[:0]
}

// queue finds the queue of a table, and lists it as holding something.
func (b *Builder) queue(t *Table) *queue {
	q := b.coupled
	if !t.layout.Coupled {
		if q = b.queues[t]; q == nil {
			q = &queue{}
			b.queues[t] = q
		}
	}
	if !q.listed {
		q.listed = true
		b.active = append(b.active, q)
		if !q.used {
			q.used = true
			b.used = append(b.used, q)
		}
	}
	return q
}

// appendKey appends the values that name the row, so that different keys never look alike.
func appendKey(dst []byte, t *Table, row *Row, op Op) []byte {
	values := row.Match()
	if op == Insert {
		values = row.Values()
	}
	for _, i := range t.Match {
		dst = append(dst, byte(values[i].Form()))
		at := len(dst)
		dst = append(dst, 0, 0, 0, 0)
		dst = values[i].AppendText(dst, row.Batch.Arena)
		binary.LittleEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	}
	return dst
}
