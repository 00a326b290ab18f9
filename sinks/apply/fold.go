package apply

import (
	"github.com/rowferry/rowferry/schema"
)

// state is the net effect of a row's changes so far.
type state uint8

const (
	untouched state = iota // inserted and deleted again
	inserted
	updated
	deleted
	replaced // deleted and inserted again: columns only the target has start anew
)

// entry is one row's net change.
type entry struct {
	state state
	row   Row // what is written
	old   Row // what is deleted
	shape *Shape
}

// fold joins a change to what happened to its row before.
func (b *Builder) fold(q *queue, t *Table, op Op, row Row) error {
	q.net = t
	n, known := q.index.number(b.key)
	if !known {
		q.entries = append(q.entries, entry{})
	}
	e := &q.entries[n]
	switch {
	case op == Insert && !known, op == Insert && e.state == untouched:
		*e = entry{state: inserted, row: row}
	case op == Insert && e.state == deleted:
		e.state, e.row = replaced, row
	case op == Update && !known:
		*e = entry{state: updated, row: row}
	case op == Update && (e.state == inserted || e.state == updated || e.state == replaced):
		e.row = b.merge(e.row, row)
	case op == Delete && !known:
		*e = entry{state: deleted, old: row}
	case op == Delete && e.state == inserted:
		*e = entry{state: untouched}
	case op == Delete && e.state == updated:
		*e = entry{state: deleted, old: row}
	case op == Delete && e.state == replaced:
		*e = entry{state: deleted, old: e.old}
	default:
		return errSequence
	}
	return nil
}

// merge is the row after before and then after: values the later change left out are carried forward. It copies
// only where values have to come from both.
func (b *Builder) merge(before, after Row) Row {
	older, newer := before.Values(), after.Values()
	whole := true
	for i := range newer {
		if newer[i].Absent() && !older[i].Absent() {
			whole = false
			break
		}
	}
	if whole {
		return after
	}
	m := b.merged
	first := len(m.Values)
	for i := range newer {
		if newer[i].Absent() {
			m.Values = append(m.Values, b.keep(older[i], before.Batch))
		} else {
			m.Values = append(m.Values, b.keep(newer[i], after.Batch))
		}
	}
	image := schema.Row{First: int32(first), Count: int32(len(newer))}
	row := Row{Batch: m, New: image, From: after.From, Change: after.Change}
	if after.Old.Count > 0 {
		old := len(m.Values)
		for _, v := range after.Batch.Row(after.Old) {
			m.Values = append(m.Values, b.keep(v, after.Batch))
		}
		row.Old = schema.Row{First: int32(old), Count: after.Old.Count}
	}
	return row
}

// keep copies a value's text, if it has any, to where merged rows live.
func (b *Builder) keep(v schema.Value, from *schema.Batch) schema.Value {
	if v.Form() != schema.Text {
		return v
	}
	if from == b.merged {
		return v
	}
	start := len(b.merged.Arena)
	b.merged.Arena = append(b.merged.Arena, v.Bytes(from.Arena)...)
	return schema.TextAt(start, len(b.merged.Arena)-start)
}
