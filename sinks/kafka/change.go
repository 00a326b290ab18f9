package kafka

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/schema/wire"
	"github.com/rowferry/rowferry/sinks/kafka/batch"
	"github.com/rowferry/rowferry/sinks/kafka/topic"
)

// The headers of records.
const (
	headerEnd = "rowferry.end"
	headerLSN = "rowferry.lsn"
	headerSeq = "rowferry.seq"
	headerNew = "rowferry.newkey"
	headerOld = "rowferry.oldkey"

	headerClaim = "rowferry.claim"
)

// change encodes one change. It allocates nothing once buffers have grown to their size.
func (r *run) change(b *schema.Batch, c *schema.Change, t *schema.Transaction, seq int32) error {
	r.headers = r.headers[:0]
	if r.enc.cfg.Format.Headers {
		if t != nil {
			r.headers = append(r.headers, batch.Header{Key: headerEnd, Value: r.endText},
				batch.Header{Key: headerSeq, Value: strconv.AppendInt(r.seq[:0], int64(seq), 10)})
		}
		r.headers = append(r.headers, batch.Header{Key: headerLSN, Value: strconv.AppendUint(r.lsn[:0], c.Offset, 10)})
	}
	if r.events != nil {
		return r.event(b, c)
	}
	switch c.Op {
	case schema.OpSchema:
		return nil
	case schema.OpMessage:
		return r.message(b, c)
	case schema.OpTruncate:
		for _, table := range c.Truncate.Tables {
			if err := r.truncate(table, c.Offset); err != nil {
				return err
			}
		}
		return nil
	}
	if err := r.enter(c.Table); err != nil {
		return err
	}
	before, after := b.Row(c.Before), b.Row(c.After)
	if c.Op == schema.OpDelete {
		return r.remove(c, before, nil)
	}
	if err := r.appendKeys(c, after, before); err != nil {
		return err
	}
	if c.Op == schema.OpUpdate && before != nil {
		moved, err := r.moved(c, before, after)
		if err != nil {
			return err
		}
		if moved {
			return r.rekey(c, before, after)
		}
	}
	return r.write(c)
}

// enter makes a table's plan and topic the ones at hand.
func (r *run) enter(t *schema.Table) error {
	if r.table == t && r.topic.used {
		return nil
	}
	p, err := r.enc.plans.plan(t)
	if err != nil {
		return err
	}
	use, err := r.use(p.topic)
	if err != nil {
		return err
	}
	r.table, r.plan, r.topic = t, p, use
	return nil
}

// appendKeys sets key and spread of a row: the record's key, and what decides its partition.
func (r *run) appendKeys(c *schema.Change, row, other []schema.Value) error {
	ok, spread := true, true
	r.key = r.key[:0]
	if len(r.plan.key) > 0 {
		r.key, ok = r.records.AppendKey(r.key, c.Table, r.plan.key, row, other)
	}
	if r.plan.spread != nil {
		r.spread, spread = r.records.AppendKey(r.spread[:0], c.Table, r.plan.spread, row, other)
	}
	if !ok || !spread {
		return keyMissing(c)
	}
	return nil
}

// keyMissing is the halt for a change that lacks columns of its key.
func keyMissing(c *schema.Change) error {
	return fault.Halt("target.key_missing",
		fmt.Errorf("a change of %s at offset %d does not bring the columns of its key", c.Table, c.Offset),
		"ALTER TABLE … REPLICA IDENTITY FULL at the source, or name other columns in keys or partition_columns of the target")
}

// moved tells whether an update gave its row another key, or another partition. What is in key and spread stays.
func (r *run) moved(c *schema.Change, before, after []schema.Value) (bool, error) {
	key, spread := r.key, r.spread
	r.key, r.spread = r.old, nil
	err := r.appendKeys(c, before, after)
	moved := !bytes.Equal(key, r.key) || r.plan.spread != nil && !bytes.Equal(spread, r.spread)
	r.old, r.key, r.spread = r.key, key, spread
	return moved, err
}

// rekey writes an update that gave its row another key: the old one ends, the new one begins.
func (r *run) rekey(c *schema.Change, before, after []schema.Value) error {
	created := slices.Clone(r.key) // rare
	removed := *c
	removed.Op, removed.After = schema.OpDelete, schema.Row{}
	usual := len(r.headers)
	r.headers = append(r.headers, batch.Header{Key: headerNew, Value: created})
	if err := r.remove(&removed, before, after); err != nil {
		return err
	}
	old := slices.Clone(r.key)
	if err := r.appendKeys(c, after, before); err != nil {
		return err
	}
	r.headers = append(r.headers[:usual], batch.Header{Key: headerOld, Value: old})
	added := *c
	added.Op, added.Before = schema.OpCreate, schema.Row{}
	return r.write(&added)
}

// remove writes a delete and its tombstone.
func (r *run) remove(c *schema.Change, before, other []schema.Value) error {
	if err := r.appendKeys(c, before, other); err != nil {
		return err
	}
	if err := r.write(c); err != nil {
		return err
	}
	if !r.enc.cfg.Format.Tombstones || len(r.plan.key) == 0 {
		return nil
	}
	return r.send(r.topic, r.partition(), r.nullableKey(), nil)
}

// write writes the record of one change of a row.
func (r *run) write(c *schema.Change) error {
	var err error
	if r.value, err = r.records.AppendValue(r.value[:0], c); err != nil {
		return err
	}
	err = r.send(r.topic, r.partition(), r.nullableKey(), r.value)
	if !errors.Is(err, errTooLarge) {
		return err
	}
	if r.enc.cfg.Oversize != claimCheck {
		return r.tooLarge(fmt.Sprintf("a change of %s", c.Table), c.Offset)
	}
	return r.claim(c)
}

// claim keeps a value elsewhere and sends a reference in its place.
func (r *run) claim(c *schema.Change) error {
	reference := r.claimed()
	bare := *c
	bare.Before, bare.After = schema.Row{}, schema.Row{}
	var err error
	if r.value, err = r.records.AppendValue(r.value[:0], &bare); err != nil {
		return err
	}
	r.value = fmt.Appendf(r.value[:len(r.value)-1], `,"claim":%s}`, reference)
	return r.send(r.topic, r.partition(), r.nullableKey(), r.value)
}

// claimed takes the value at hand to be kept elsewhere, and returns what refers to it.
func (r *run) claimed() (reference []byte) {
	sum := sha256.Sum256(r.value)
	id := hex.EncodeToString(sum[:])
	r.claims = append(r.claims, claim{id: id, value: slices.Clone(r.value)})
	return fmt.Appendf(nil, `{"sha256":"%s","bytes":%d}`, id, len(r.value))
}

// truncate writes the emptying of a table into every partition of its topic.
func (r *run) truncate(t *schema.Table, offset uint64) error {
	if err := r.enter(t); err != nil {
		return err
	}
	r.value = r.records.AppendTruncate(r.value[:0], t, offset)
	for partition := range r.layout[r.topic.name] {
		if err := r.send(r.topic, partition, nil, r.value); err != nil {
			return err
		}
	}
	return nil
}

// message writes a logical message; its key is its prefix.
func (r *run) message(b *schema.Batch, c *schema.Change) error {
	t, err := r.use(r.enc.cfg.Messages.Topic)
	if err != nil {
		return err
	}
	if r.value, err = r.records.AppendValue(r.value[:0], c); err != nil {
		return err
	}
	prefix := b.Row(c.After)[0].Bytes(b.Arena)
	r.key = append(wire.AppendString(append(r.key[:0], `{"prefix":`...), prefix), '}')
	err = r.send(t, topic.Partition(r.key, r.layout[t.name]), r.key, r.value)
	if errors.Is(err, errTooLarge) {
		return r.tooLarge("a logical message", c.Offset)
	}
	return err
}

// partition is where the row in key and spread belongs.
func (r *run) partition() int32 {
	n := r.layout[r.topic.name]
	switch {
	case n == 1 || r.enc.cfg.PartitionBy == "one":
		return 0
	case r.enc.cfg.PartitionBy == "transaction" && len(r.endText) > 0:
		return topic.Partition(r.endText, n)
	case r.plan.spread != nil:
		return topic.Partition(r.spread, n)
	case len(r.plan.key) == 0:
		return topic.Partition(r.plan.home, n)
	}
	return topic.Partition(r.key, n)
}

// nullableKey is the record's key, nil for tables without one.
func (r *run) nullableKey() []byte {
	if len(r.plan.key) == 0 {
		return nil
	}
	return r.key
}

// errTooLarge says that a record does not fit a batch.
var errTooLarge = errors.New("the record is larger than max_message")

// send appends a record to its partition's batch. One that is too large is not appended.
func (r *run) send(t *topicRun, partition int32, key, value []byte) error {
	b := t.parts[partition]
	if b == nil {
		b = &batch.Builder{}
		t.parts[partition] = b
	}
	record := batch.Record{Key: key, Value: value, Timestamp: r.now, Headers: r.headers}
	limit := int(r.enc.cfg.MaxMessage)
	if b.SizeWith(&record) > limit {
		r.flush(t, partition, b)
	}
	b.Append(&record)
	if b.Size() <= limit {
		return nil
	}
	r.flush(t, partition, b) // alone, and perhaps small enough once compressed
	if last := len(r.refs) - 1; r.refs[last].end-r.refs[last].start > limit {
		r.out, r.refs = r.out[:r.refs[last].start], r.refs[:last]
		return errTooLarge
	}
	return nil
}
