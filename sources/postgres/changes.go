package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/failpoint"
)

// replay is a streamed transaction that committed and is being read back from its file.
type replay struct {
	tx     *spilled
	frames *frameReader
	end    LSN
	time   int64
}

// take takes in one message of pgoutput that stands at a place in the log. Of a transaction in progress it keeps
// the bytes; nothing in them counts before the commit. It gives a batch when one is full.
func (t *tail) take(ctx context.Context, at LSN, payload []byte) (*schema.Batch, error) {
	if t.spill.cur != nil && len(payload) >= 5 {
		switch payload[0] {
		case msgRelation, msgType, msgInsert, msgUpdate, msgDelete, msgTruncate, msgMessage:
			c := cursor{buf: payload, pos: 1}
			return nil, t.spill.add(ctx, c.uint32(), at, payload)
		}
	}
	if err := t.msg.parse(payload, false); err != nil {
		return nil, err
	}
	m := &t.msg
	switch m.kind {
	case msgBegin:
		return nil, t.begin()
	case msgCommit:
		return t.commitDirect(ctx)
	case msgOrigin:
		return nil, t.origin()
	case msgStreamStart:
		if t.inTx {
			return nil, protocolFault("a stream block begins inside transaction %d", t.batches.tx.ID)
		}
		t.pace.lag(behindStart) // nobody waits for a part of a transaction
		return nil, t.spill.start(m.xid, m.flags&flagFirstSegment != 0)
	case msgStreamStop:
		return nil, t.spill.stop(ctx)
	case msgStreamAbort:
		return nil, t.spill.abort(m.xid, m.subxid)
	case msgStreamCommit:
		return nil, t.commitStreamed(ctx)
	}
	return t.inner(ctx, at)
}

// begin opens a transaction that comes whole. It is dropped when its commit record lies before the position the
// target holds: both are borders of records, so that the record's end is at most that position.
func (t *tail) begin() error {
	m := &t.msg
	if t.inTx || t.spill.cur != nil {
		return protocolFault("transaction %d begins inside another", m.xid)
	}
	t.inTx, t.commit, t.began = true, m.lsn, m.time
	t.dropping = m.lsn < t.cfg.from
	if !t.dropping {
		t.batches.begin(schema.Transaction{ID: uint64(m.xid), CommitTime: m.time})
	}
	t.pace.lag(time.Duration(t.sent-m.time) * time.Microsecond)
	return nil
}

// commitDirect ends a transaction that came whole.
func (t *tail) commitDirect(ctx context.Context) (*schema.Batch, error) {
	m := &t.msg
	if err := failpoint.Hit(ctx, "src.before_commit_msg"); err != nil {
		return nil, err
	}
	if !t.inTx || m.lsn != t.commit || m.end <= m.lsn {
		return nil, protocolFault("a commit at %s belongs to no transaction", m.lsn)
	}
	if t.dropping && m.end > t.cfg.from {
		return nil, protocolFault("the transaction from %s to %s is neither before nor after the position %s",
			m.lsn, m.end, t.cfg.from)
	}
	return t.finish(m.end, m.time), nil
}

// commitStreamed begins to read a transaction back.
func (t *tail) commitStreamed(ctx context.Context) error {
	m := &t.msg
	if err := failpoint.Hit(ctx, "src.before_commit_msg"); err != nil {
		return err
	}
	if t.inTx {
		return protocolFault("transaction %d commits inside transaction %d", m.xid, t.batches.tx.ID)
	}
	tx, frames, err := t.spill.committed(m.xid)
	if err != nil {
		return err
	}
	t.replay = &replay{tx: tx, frames: frames, end: m.end, time: m.time}
	t.inTx, t.commit, t.began = true, m.lsn, m.time
	t.dropping = m.end <= t.cfg.from
	if !t.dropping {
		t.batches.begin(schema.Transaction{ID: uint64(m.xid), End: uint64(m.end), CommitTime: m.time})
		if len(tx.origin) > 0 {
			t.batches.origin(tx.origin)
		}
	}
	t.pace.lag(time.Duration(t.sent-m.time) * time.Microsecond)
	return nil
}

// replayStep takes in one message of the transaction that is read back, and ends it after the last.
func (t *tail) replayStep(ctx context.Context) (*schema.Batch, error) {
	r := t.replay
	f, err := r.frames.next()
	if errors.Is(err, io.EOF) {
		t.replay = nil
		if err := t.spill.drop(r.tx); err != nil {
			return nil, err
		}
		return t.finish(r.end, r.time), nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading transaction %d back: %w", r.tx.xid, err)
	}
	if err := failpoint.Hit(ctx, "spill.replay"); err != nil {
		return nil, err
	}
	if err := t.msg.parse(f.message, true); err != nil {
		return nil, err
	}
	return t.inner(ctx, f.lsn)
}

// finish ends the open transaction. It gives a batch when one is complete.
func (t *tail) finish(end LSN, at int64) *schema.Batch {
	t.inTx = false
	t.pending = max(t.pending, end)
	if t.dropping {
		t.dropping = false
		return nil
	}
	batch, some := t.batches.commit(end, at)
	switch {
	case batch != nil: // the last part
		t.returned = max(t.returned, end)
		return batch
	case some && t.batches.full():
		return t.flush()
	}
	return nil
}

// origin notes where the open transaction first came from.
func (t *tail) origin() error {
	switch {
	case t.spill.cur != nil:
		t.spill.cur.origin = append(t.spill.cur.origin[:0], t.msg.name...)
	case !t.inTx:
		return protocolFault("an origin outside a transaction")
	case !t.dropping:
		t.batches.origin(t.msg.name)
	}
	return nil
}

// inner takes in a message that stands inside a transaction, whether it comes from the connection or from a file.
func (t *tail) inner(ctx context.Context, at LSN) (*schema.Batch, error) {
	m := &t.msg
	switch m.kind {
	case msgRelation:
		return nil, t.relations.learn(m)
	case msgType:
		t.relations.learnType(m)
		return nil, nil
	case msgMessage:
		if m.flags&flagTransactional == 0 {
			return t.lone(at)
		}
	}
	if !t.inTx {
		return nil, protocolFault("message %q outside a transaction", m.kind)
	}
	if t.dropping {
		return nil, nil
	}
	if err := failpoint.Hit(ctx, "src.mid_txn"); err != nil {
		return nil, err
	}
	var err error
	switch m.kind {
	case msgInsert, msgUpdate, msgDelete:
		err = t.row(ctx, at)
	case msgTruncate:
		err = t.truncate(ctx, at)
	case msgMessage:
		t.logical(at)
	default:
		err = protocolFault("message %q inside a transaction", m.kind)
	}
	if err != nil {
		return nil, err
	}
	return t.batches.roll(), nil
}

// row adds an insert, update or delete. The tuples' bytes go to the batch at once; values point into them.
func (t *tail) row(ctx context.Context, at LSN) error {
	m := &t.msg
	k, err := t.relations.get(ctx, m.relation)
	if err != nil || !k.inScope {
		return err
	}
	b := t.batches.batch()
	t.announce(b, k, at)
	base := len(b.Arena)
	b.Arena = append(b.Arena, m.body...)
	c := cursor{buf: b.Arena[base:]}
	change := schema.Change{Table: k.table, Offset: uint64(at)}
	width := int32(k.layout.width)
	mark := c.uint8()
	full := mark == 'O'
	if m.kind != msgInsert && (mark == 'K' || full) {
		change.Before = schema.Row{First: int32(len(b.Values)), Count: width}
		if b.Values, err = appendTuple(b.Values, &c, base, &k.layout, mark == 'K'); err != nil {
			return fmt.Errorf("decoding a row of %s at %s: %w", k.table, at, err)
		}
		mark = 0
		if m.kind == msgUpdate {
			mark = c.uint8()
		}
	}
	switch m.kind {
	case msgInsert:
		change.Op = schema.OpCreate
	case msgUpdate:
		change.Op = schema.OpUpdate
	default:
		change.Op = schema.OpDelete
	}
	if m.kind != msgDelete && mark == 'N' {
		change.After = schema.Row{First: int32(len(b.Values)), Count: width}
		if b.Values, err = appendTuple(b.Values, &c, base, &k.layout, false); err != nil {
			return fmt.Errorf("decoding a row of %s at %s: %w", k.table, at, err)
		}
		mark = 0
	}
	if mark != 0 || c.short || c.pos != len(c.buf) {
		return protocolFault("a %q of %s at %s is malformed", m.kind, k.table, at)
	}
	if full && m.kind == msgUpdate {
		complete(b.Row(change.After), b.Row(change.Before))
	}
	b.Changes = append(b.Changes, change)
	return nil
}

// complete fills the columns that an update did not touch from the old row, which replica identity full sends
// whole.
func complete(after, before []schema.Value) {
	for i := range after {
		if after[i].Form() == schema.Unchanged {
			after[i] = before[i]
		}
	}
}

// announce puts a new version of a table before its first change.
func (t *tail) announce(b *schema.Batch, k *knownRelation, at LSN) {
	if !k.announce {
		return
	}
	b.Changes = append(b.Changes, schema.Change{
		Op: schema.OpSchema, Table: k.table, Previous: k.previous, Offset: uint64(at),
	})
	k.announce, k.previous, t.batches.alters = false, nil, true
	names, before := namesOf(k.table), t.relations.told[k.oid]
	if t.cfg.numbers != nil {
		names = names.succeed(before, t.cfg.numbers.numbersOf(k.oid))
	}
	if t.cfg.follow != nil {
		t.cfg.follow(k.oid, names)
	}
	if !names.same(before) {
		t.relations.told[k.oid] = names
		t.namings = append(t.namings, naming{oid: k.oid, table: k.table, state: names.encode(k.oid)})
	}
}

// truncate adds a TRUNCATE of the tables in scope.
func (t *tail) truncate(ctx context.Context, at LSN) error {
	m := &t.msg
	op := &schema.Truncate{
		Cascade: m.flags&flagCascade != 0, RestartIdentity: m.flags&flagRestartIdentity != 0,
	}
	b := t.batches.batch()
	for c := (cursor{buf: m.body}); c.pos < len(c.buf); {
		k, err := t.relations.get(ctx, c.uint32())
		if err != nil {
			return err
		}
		if k.inScope {
			t.announce(b, k, at)
			op.Tables = append(op.Tables, k.table)
		}
	}
	if len(op.Tables) > 0 {
		b.Changes = append(b.Changes, schema.Change{
			Op: schema.OpTruncate, Table: op.Tables[0], Truncate: op, Offset: uint64(at),
		})
	}
	return nil
}

// logical adds a logical message: its prefix and its content, as the application gave them.
func (t *tail) logical(at LSN) {
	m := &t.msg
	b := t.batches.batch()
	prefix := len(b.Arena)
	b.Arena = append(b.Arena, m.name...)
	content := len(b.Arena)
	b.Arena = append(b.Arena, m.body...)
	first := len(b.Values)
	b.Values = append(b.Values, schema.TextAt(prefix, len(m.name)), schema.TextAt(content, len(m.body)))
	b.Changes = append(b.Changes, schema.Change{
		Op: schema.OpMessage, After: schema.Row{First: int32(first), Count: 2}, Offset: uint64(at),
	})
}

// lone makes a transaction of a message that belongs to none. It carries the end of its record; the time is when
// the server sent it, because the log holds none.
func (t *tail) lone(at LSN) (*schema.Batch, error) {
	m := &t.msg
	if t.inTx {
		return nil, protocolFault("a message of no transaction stands inside transaction %d", t.batches.tx.ID)
	}
	if m.lsn <= t.cfg.from {
		return nil, nil
	}
	t.batches.begin(schema.Transaction{})
	t.logical(at)
	return t.finish(m.lsn, t.sent), nil
}
