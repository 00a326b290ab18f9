package kafka

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/schema/wire/debezium"
	"github.com/rowferry/rowferry/sinks/kafka/batch"
	"github.com/rowferry/rowferry/sinks/kafka/topic"
)

// The formats: the one that Debezium's readers know, and the plain one.
const (
	formatDebezium = "debezium-json"
	formatJSON     = "json"
)

// The headers of the two halves of a change of key, as Debezium calls them.
const (
	headerDebeziumNew = "__debezium.newkey"
	headerDebeziumOld = "__debezium.oldkey"
)

// newEvents makes what writes Debezium's format, nil for the json format.
func (c *Config) newEvents(source schema.SourceID) (*debezium.Encoder, error) {
	if c.Format.Value != formatDebezium {
		return nil, nil
	}
	events, err := debezium.New(c.Format.Debezium, source)
	if err != nil {
		return nil, configError(err)
	}
	return events, nil
}

// event encodes one change as Debezium would.
func (r *run) event(b *schema.Batch, c *schema.Change) error {
	cfg := &r.enc.cfg.Format.Debezium
	switch c.Op {
	case schema.OpSchema:
		return nil
	case schema.OpMessage:
		return r.eventMessage(b, c)
	case schema.OpTruncate:
		if cfg.Skips("truncate") {
			return nil
		}
		for _, table := range c.Truncate.Tables {
			if err := r.eventTruncate(table, c.Offset); err != nil {
				return err
			}
		}
		return nil
	}
	before, after := b.Row(c.Before), b.Row(c.After)
	mayMove := c.Op == schema.OpUpdate && before != nil
	skipped := c.Op != schema.OpRead && cfg.Skips([...]string{"read", "create", "update", "delete"}[c.Op])
	if skipped && !mayMove {
		return nil
	}
	if err := r.enter(c.Table); err != nil {
		return err
	}
	if c.Op == schema.OpDelete {
		return r.eventRemove(c, before, nil)
	}
	if mayMove {
		moved, err := r.eventMoved(c, before, after)
		if err != nil {
			return err
		}
		if moved {
			return r.eventRekey(c, before, after)
		}
		if skipped {
			return nil
		}
	}
	if err := r.eventKeys(c, after, before); err != nil {
		return err
	}
	return r.emit(c)
}

// eventKeys sets key and spread of a row. The key is what Debezium makes of the image it is given, and of nothing else.
func (r *run) eventKeys(c *schema.Change, row, other []schema.Value) error {
	r.key = r.key[:0]
	if r.plan.event.Keyed() {
		r.key = r.events.AppendKey(r.key, r.plan.event, row)
	}
	if r.plan.spread == nil {
		return nil
	}
	var ok bool
	if r.spread, ok = r.records.AppendKey(r.spread[:0], c.Table, r.plan.spread, row, other); !ok {
		return keyMissing(c)
	}
	return nil
}

// eventMoved tells whether an update gave its row another key, or another partition.
func (r *run) eventMoved(c *schema.Change, before, after []schema.Value) (bool, error) {
	r.old = r.events.AppendKeyFields(r.old[:0], r.plan.event, before)
	middle := len(r.old)
	r.old = r.events.AppendKeyFields(r.old, r.plan.event, after)
	if !bytes.Equal(r.old[:middle], r.old[middle:]) || r.plan.spread == nil {
		return !bytes.Equal(r.old[:middle], r.old[middle:]), nil
	}
	if err := r.eventKeys(c, before, after); err != nil {
		return false, err
	}
	r.old = append(r.old[:0], r.spread...)
	err := r.eventKeys(c, after, before)
	return !bytes.Equal(r.old, r.spread), err
}

// eventRekey writes an update that gave its row another key: the old one ends, the new one begins. Each half is skipped if
// its own operation is.
func (r *run) eventRekey(c *schema.Change, before, after []schema.Value) error {
	removed, added := *c, *c
	removed.Op, removed.After = schema.OpDelete, schema.Row{}
	added.Op, added.Before = schema.OpCreate, schema.Row{}
	cfg, usual := &r.enc.cfg.Format.Debezium, len(r.headers)
	header := func(name string, row []schema.Value) {
		r.headers = append(r.headers[:usual], batch.Header{
			Key: name, Value: r.events.AppendKeyFields(nil, r.plan.event, row), // rare
		})
	}
	if !cfg.Skips("delete") {
		header(headerDebeziumNew, after)
		if err := r.eventRemove(&removed, before, after); err != nil {
			return err
		}
	}
	if cfg.Skips("create") {
		return nil
	}
	header(headerDebeziumOld, before)
	if err := r.eventKeys(c, after, before); err != nil {
		return err
	}
	return r.emit(&added)
}

// eventRemove writes a delete and its tombstone, which Debezium writes for tables without a key too.
func (r *run) eventRemove(c *schema.Change, before, other []schema.Value) error {
	if err := r.eventKeys(c, before, other); err != nil {
		return err
	}
	if err := r.emit(c); err != nil {
		return err
	}
	if !r.enc.cfg.Format.Tombstones {
		return nil
	}
	return r.send(r.topic, r.partition(), r.nullableKey(), nil)
}

// emit writes the record of one change of a row.
func (r *run) emit(c *schema.Change) error {
	var err error
	place := r.place(r.plan.event.Collection)
	if r.value, err = r.events.AppendChange(r.value[:0], r.plan.event, c, place); err != nil {
		return err
	}
	err = r.send(r.topic, r.partition(), r.nullableKey(), r.value)
	if errors.Is(err, errTooLarge) && r.enc.cfg.Oversize == claimCheck {
		err = r.eventClaim(c, place)
	}
	if errors.Is(err, errTooLarge) {
		return r.tooLarge(fmt.Sprintf("a change of %s", c.Table), c.Offset)
	}
	return err
}

// claimedBytes is the length above which a value is kept elsewhere, if its record is too large.
const claimedBytes = 256

// eventClaim keeps a record's value elsewhere. In its place goes one whose large values are the placeholder that readers
// of the format know, with the reference in a header: the envelope has no field for it.
func (r *run) eventClaim(c *schema.Change, place debezium.Place) error {
	id := r.claimed()
	usual := len(r.headers)
	r.headers = append(r.headers, batch.Header{Key: headerClaim, Value: id})
	r.value = r.events.AppendWithout(r.value[:0], r.plan.event, c, place, claimedBytes)
	err := r.send(r.topic, r.partition(), r.nullableKey(), r.value)
	r.headers = r.headers[:usual]
	return err
}

// tooLarge is the fault of a record that no batch takes. The value is at hand still.
func (r *run) tooLarge(what string, offset uint64) error {
	return fault.Record("target.record_too_large",
		fmt.Errorf("%s at offset %d makes a record of %d bytes; max_message is %s", what, offset, len(r.value), r.enc.cfg.MaxMessage),
		remedyOversize)
}

// eventTruncate writes the emptying of a table into every partition of its topic.
func (r *run) eventTruncate(t *schema.Table, offset uint64) error {
	if err := r.enter(t); err != nil {
		return err
	}
	r.value = r.events.AppendTruncate(r.value[:0], r.plan.event, offset, r.place(r.plan.event.Collection))
	for partition := range r.layout[r.topic.name] {
		if err := r.send(r.topic, partition, nil, r.value); err != nil {
			return err
		}
	}
	return nil
}

// eventMessage writes a logical message; its key is its prefix.
func (r *run) eventMessage(b *schema.Batch, c *schema.Change) error {
	t, err := r.use(r.enc.cfg.Messages.Topic)
	if err != nil {
		return err
	}
	if r.value, err = r.events.AppendMessage(r.value[:0], c, r.place("message")); err != nil {
		return err
	}
	r.key = r.enc.events.AppendMessageKey(r.key[:0], b.Row(c.After)[0].Bytes(b.Arena))
	err = r.send(t, topic.Partition(r.key, r.layout[t.name]), r.key, r.value)
	if errors.Is(err, errTooLarge) {
		return r.tooLarge("a logical message", c.Offset)
	}
	return err
}

// place is the place of the next record in its transaction, where records tell of theirs.
func (r *run) place(collection string) debezium.Place {
	m := r.marking
	if m == nil {
		return debezium.Place{}
	}
	m.placed++
	i := slices.IndexFunc(m.events, func(t debezium.Tally) bool { return t.Collection == collection })
	if i < 0 {
		i = len(m.events)
		m.events = append(m.events, debezium.Tally{Collection: collection})
	}
	m.events[i].Count++
	return debezium.Place{Total: m.placed, OfTable: m.events[i].Count}
}

// markEvent writes the record of a transaction's beginning, or of its end, as Debezium would. Each has the offset of
// what it stands at in its name.
func (r *run) markEvent(m *mark, t *schema.Transaction, begin bool, offset uint64) error {
	use, err := r.use(r.enc.cfg.TransactionTopic)
	if err != nil {
		return err
	}
	if !begin {
		offset = t.End
	}
	id := strconv.FormatUint(t.ID, 10) + ":" + strconv.FormatUint(offset, 10)
	r.key, r.headers = r.enc.events.AppendTransactionKey(r.key[:0], id), r.headers[:0]
	if begin {
		r.value = r.enc.events.AppendBegin(r.value[:0], id, t)
	} else {
		r.value = r.enc.events.AppendEnd(r.value[:0], id, t, m.events)
	}
	return r.send(use, topic.Partition(r.key, r.layout[use.name]), r.key, r.value)
}
