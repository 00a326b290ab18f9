package sinktest

import (
	"fmt"
	"strings"

	"github.com/rowferry/rowferry/schema"
)

// Event is one row, or one change, as a reader of the target sees it.
type Event struct {
	Table  string // schema.table
	Op     schema.Op
	Values []string // one for each column in table order; [Null] and [Absent] stand for no value

	old string // the key the row had before, when the change gave it another
}

// How [Event.Values] spells what is no text.
const (
	Null   = "<NULL>"   // SQL's NULL
	Absent = "<absent>" // a column the change does not bring
)

// Accounts and Entries are the tables of the suite.
var (
	Accounts = (&schema.Table{Schema: "public", Name: "accounts", Columns: []schema.Column{
		column("id", schema.KindInt32, "integer", true),
		column("name", schema.KindText, "text", false),
		column("note", schema.KindText, "text", false),
	}}).WithVersion()
	Entries = (&schema.Table{Schema: "public", Name: "entries", Columns: []schema.Column{
		column("id", schema.KindInt64, "bigint", true),
		{Name: "amount", Kind: schema.KindDecimal, Native: "numeric(12,2)", Base: "numeric(12,2)", Precision: 12, Scale: 2},
		column("ok", schema.KindBool, "boolean", false),
	}}).WithVersion()
)

// column is a column without precision.
func column(name string, kind schema.Kind, native string, key bool) schema.Column {
	c := schema.Column{Name: name, Kind: kind, Native: native, Base: native, Precision: -1}
	if key {
		c.NotNull, c.Ident, c.KeyPart = true, true, 1
	}
	return c
}

// scripted is a batch and what it brings to a reader.
type scripted struct {
	*schema.Batch
	events []Event
}

// step adds one change to a batch.
type step func(b *scripted)

// insert brings a new row.
func insert(t *schema.Table, values ...string) step {
	return func(b *scripted) {
		b.change(schema.Change{Op: schema.OpCreate, Table: t, After: b.row(t, values)}, values)
	}
}

// update changes the row whose key is in values.
func update(t *schema.Table, values ...string) step {
	return func(b *scripted) {
		b.change(schema.Change{Op: schema.OpUpdate, Table: t, After: b.row(t, values)}, values)
	}
}

// rekey gives the row with the key old new values, key and all.
func rekey(t *schema.Table, old string, values ...string) step {
	return func(b *scripted) {
		before := b.row(t, keyOnly(t, old))
		b.change(schema.Change{Op: schema.OpUpdate, Table: t, Before: before, After: b.row(t, values)}, values)
		b.events[len(b.events)-1].old = old
	}
}

// remove deletes the row with the key given.
func remove(t *schema.Table, key string) step {
	return func(b *scripted) {
		values := keyOnly(t, key)
		b.change(schema.Change{Op: schema.OpDelete, Table: t, Before: b.row(t, values)}, values)
	}
}

// truncate empties tables.
func truncate(tables ...*schema.Table) step {
	return func(b *scripted) {
		b.Changes = append(b.Changes, schema.Change{
			Op: schema.OpTruncate, Table: tables[0], Offset: b.offset(), Truncate: &schema.Truncate{Tables: tables},
		})
		for _, t := range tables {
			b.events = append(b.events, Event{Table: t.String(), Op: schema.OpTruncate})
		}
	}
}

// keyOnly is a row image that holds nothing but the key.
func keyOnly(t *schema.Table, key string) []string {
	values := []string{key}
	for range t.Columns[1:] {
		values = append(values, Absent)
	}
	return values
}

// change adds a change and the event it is to a reader.
func (b *scripted) change(c schema.Change, values []string) {
	c.Offset = b.offset()
	b.Changes = append(b.Changes, c)
	b.events = append(b.events, Event{Table: c.Table.String(), Op: c.Op, Values: values})
}

// offset is where the next change stands in the log.
func (b *scripted) offset() uint64 {
	return b.Transactions[0].End - 1000 + uint64(len(b.Changes))
}

// row adds a row image.
func (b *scripted) row(t *schema.Table, values []string) schema.Row {
	if len(values) != len(t.Columns) {
		panic(fmt.Sprintf("%s has %d columns", t, len(t.Columns)))
	}
	row := schema.Row{First: int32(len(b.Values)), Count: int32(len(values))}
	for _, v := range values {
		switch v {
		case Null:
			b.Values = append(b.Values, schema.NullValue)
		case Absent:
			b.Values = append(b.Values, schema.Value{})
		default:
			start := len(b.Arena)
			b.Arena = append(b.Arena, v...)
			b.Values = append(b.Values, schema.TextAt(start, len(v)))
		}
	}
	return row
}

// barrier is an empty batch with the next position.
func (r *run) barrier(phase schema.Phase) *scripted {
	r.tick++
	b := schema.NewBatch(nil)
	b.Phase = phase
	b.Upto = schema.Position{Format: "test/1", Token: fmt.Sprintf("%d/%s", r.tick, phase)}
	return &scripted{Batch: b}
}

// transaction is a batch of one transaction with the next position.
func (r *run) transaction(steps ...step) *scripted {
	b := r.barrier(schema.PhaseStream)
	b.Transactions = []schema.Transaction{{
		ID: uint64(r.tick), End: uint64(r.tick+1) * 1000, CommitTime: 1_700_000_000_000_000 + int64(r.tick)*1000,
	}}
	for _, s := range steps {
		s(b)
	}
	b.Transactions[0].Count = int32(len(b.Changes))
	upto := b.Upto
	b.PositionAt = func(int) schema.Position { return upto }
	return b
}

// parts is one transaction in as many pieces as there are lists of steps.
func (r *run) parts(pieces ...[]step) []*scripted {
	out := make([]*scripted, len(pieces))
	last := len(pieces) - 1
	whole := r.transaction()
	for i, steps := range pieces {
		b := &scripted{Batch: schema.NewBatch(nil)}
		b.Phase, b.Part = schema.PhaseStream, schema.PartMore
		b.Transactions = []schema.Transaction{whole.Transactions[0]}
		for _, s := range steps {
			s(b)
		}
		b.Transactions[0].Count = int32(len(b.Changes))
		if i == last {
			b.Part, b.Upto, b.PositionAt = schema.PartLast, whole.Upto, whole.PositionAt
		}
		out[i] = b
	}
	return out
}

// copied is a batch of existing rows, as COPY text.
func (r *run) copied(t *schema.Table, lane int, rows ...[]string) *scripted {
	b := schema.NewBatch(nil)
	b.Phase = schema.PhaseCopy
	b.Copy = &schema.Copy{Table: t, Lane: lane, Rows: len(rows), Offset: 500, Done: true}
	out := &scripted{Batch: b}
	for i := range t.Columns {
		b.Copy.Columns = append(b.Copy.Columns, i)
	}
	var text strings.Builder
	for _, values := range rows {
		fields := make([]string, len(values))
		for i, v := range values {
			fields[i] = strings.NewReplacer(`\`, `\\`, "\t", `\t`, "\n", `\n`, "\r", `\r`, Null, `\N`).Replace(v)
		}
		text.WriteString(strings.Join(fields, "\t") + "\n")
		out.events = append(out.events, Event{Table: t.String(), Op: schema.OpRead, Values: values})
	}
	b.Copy.Raw = []byte(text.String())
	return out
}

// fold plays events into the rows they leave.
func fold(events []Event) []Event {
	type key struct{ table, id string }
	rows := map[key]Event{}
	for _, e := range events {
		table := e.Table
		switch e.Op {
		case schema.OpTruncate:
			for k := range rows {
				if k.table == table {
					delete(rows, k)
				}
			}
		case schema.OpDelete:
			delete(rows, key{table, e.Values[0]})
		default:
			if e.old != "" {
				delete(rows, key{table, e.old})
			}
			rows[key{table, e.Values[0]}] = Event{Table: table, Op: schema.OpRead, Values: e.Values}
		}
	}
	out := make([]Event, 0, len(rows))
	for _, e := range rows {
		out = append(out, e)
	}
	return out
}
