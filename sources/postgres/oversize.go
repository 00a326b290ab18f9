package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
)

const (
	logHeader   = 25 // kind, two positions and a time before each message of pgoutput
	keyShown    = 64 // bytes of a key's column that a fault shows
	keysShown   = 8  // columns of a key
	remedyValue = "raise max_value_bytes of the source and give the daemon memory for it\n" +
		"or make the value smaller at the source, and take the table out of the pipeline until the change has passed"
)

// require sees to it that the next message can be buffered. A message that is larger than a value may be is walked
// through as it arrives: it is taken when no value in it is too large, else a fault names the value, of which no
// more than a piece was read.
func (t *tail) require(ctx context.Context, kind byte, length int) error {
	if kind == 'd' && int64(length) > t.cfg.maxValue {
		w := walk{c: cursor{buf: t.wire.buffered(length)}, length: length, limit: t.cfg.maxValue}
		if kind, size := w.message(t.spill.cur != nil); size > 0 {
			return t.oversized(ctx, kind, &w)
		}
		length = min(length, max(w.need, w.c.pos+wireBuffer/2))
	}
	t.wire.need(length)
	return nil
}

// walk looks through a large message for a value that is too large, as far as it has arrived.
type walk struct {
	c        cursor
	length   int // of the message
	limit    int64
	need     int // bytes that are certain to be taken
	relation uint32
	lsn      LSN
	column   int
	size     int64    // of the value that is too large
	keys     [][]byte // what was seen of each column before it; nil for nothing
	after    int      // columns that follow it in its tuple
	prefix   []byte   // of a logical message
}

// message walks. It gives the kind of message and the size of the value that is too large, 0 for none so far.
func (w *walk) message(inStream bool) (kind byte, size int64) {
	w.need = logHeader
	w.c.uint8()
	w.lsn = LSN(w.c.uint64())
	w.c.take(16)
	kind = w.c.uint8()
	if inStream {
		w.c.uint32()
	}
	switch kind {
	case msgInsert, msgUpdate, msgDelete:
		w.relation = w.c.uint32()
		for !w.c.short && w.size == 0 && w.c.pos < w.length {
			if mark := w.c.uint8(); mark != 'N' && mark != 'K' && mark != 'O' {
				break
			}
			w.tuple()
		}
	case msgMessage:
		w.c.take(9)
		w.prefix = w.c.text()
		if size := int64(w.c.uint32()); !w.c.short && size > w.limit {
			w.size = size
		}
	}
	if !w.c.short && w.size == 0 {
		w.need = w.length
	}
	return kind, w.size
}

// tuple walks one row.
func (w *walk) tuple() {
	n := int(w.c.uint16())
	w.keys = w.keys[:0]
	for i := 0; i < n && !w.c.short; i++ {
		var value []byte
		if form := w.c.uint8(); form == 't' || form == 'b' {
			size := int64(int32(w.c.uint32()))
			if w.c.short || size < 0 {
				return
			}
			if size > w.limit {
				w.column, w.size, w.after = i, size, n-i-1
				return
			}
			w.need = max(w.need, min(w.length, w.c.pos+int(size)))
			value = w.c.take(int(size))
		}
		w.keys = append(w.keys, value[:min(len(value), keyShown)])
	}
}

// oversized makes the fault about a value that is too large.
func (t *tail) oversized(ctx context.Context, kind byte, w *walk) error {
	if kind == msgMessage {
		return fault.Halt("source.value_too_large", fmt.Errorf(
			"a logical message with the prefix %q at %s has %d bytes, more than the %d of max_value_bytes",
			w.prefix[:min(len(w.prefix), keyShown)], w.lsn, w.size, w.limit), remedyValue)
	}
	k, err := t.described(ctx, w.relation)
	if err != nil {
		return err
	}
	if k == nil {
		return fault.Halt("source.value_too_large", fmt.Errorf(
			"column %d of a row of the table with oid %d at %s has %d bytes, more than the %d of max_value_bytes",
			w.column+1, w.relation, w.lsn, w.size, w.limit), remedyValue)
	}
	keys := make([][]byte, len(w.keys), len(w.keys)+1+w.after)
	for i := range w.keys {
		keys[i] = append([]byte(nil), w.keys[i]...) // the buffer moves on
	}
	keys, err = t.keysBehind(ctx, w, append(keys, nil))
	if err != nil && ctx.Err() != nil {
		return err
	}
	return fault.Halt("source.value_too_large", fmt.Errorf(
		"column %s of table %s, %s at %s, has %d bytes, more than the %d of max_value_bytes",
		k.columnName(w.column), k.table, k.keyText(keys), w.lsn, w.size, w.limit), remedyValue)
}

// described finds a relation, also one that only the transaction in progress has described so far; nil when the
// pipeline does not want it.
func (t *tail) described(ctx context.Context, oid uint32) (*knownRelation, error) {
	if tx := t.spill.cur; tx != nil {
		if err := t.spill.flush(ctx); err != nil {
			return nil, err
		}
		frames := newFrameReader(io.NewSectionReader(tx.file, 0, tx.size), tx.size)
		for {
			f, err := frames.next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err == nil {
				err = t.msg.parse(f.message, true)
			}
			if err == nil && t.msg.kind == msgRelation && t.msg.relation == oid {
				err = t.relations.learn(&t.msg)
			}
			if err != nil {
				return nil, err
			}
		}
	}
	k, err := t.relations.find(ctx, oid)
	if err != nil || k == nil || !k.inScope {
		return nil, err
	}
	return k, nil
}

// keysBehind reads what follows a value that is too large: columns of the key may be among it. The value itself is
// read past.
func (t *tail) keysBehind(ctx context.Context, w *walk, keys [][]byte) ([][]byte, error) {
	t.wire.rp += wireHeader + w.c.pos // within what is buffered
	if err := t.skip(ctx, int(w.size)); err != nil {
		return keys, err
	}
	for range w.after {
		form, err := t.bytes(ctx, 1)
		if err != nil {
			return keys, err
		}
		if form[0] != 't' {
			keys = append(keys, nil)
			continue
		}
		header, err := t.bytes(ctx, 4)
		if err != nil {
			return keys, err
		}
		c := cursor{buf: header}
		size := int(int32(c.uint32()))
		if size < 0 {
			return keys, errProtocol
		}
		shown, err := t.bytes(ctx, min(size, keyShown))
		if err != nil {
			return keys, err
		}
		keys = append(keys, append([]byte(nil), shown...))
		if err := t.skip(ctx, size-len(shown)); err != nil {
			return keys, err
		}
	}
	return keys, nil
}

// bytes takes the next n bytes, which are few, wherever messages begin and end.
func (t *tail) bytes(ctx context.Context, n int) ([]byte, error) {
	for t.wire.wp-t.wire.rp < n {
		if err := t.fill(ctx); err != nil {
			return nil, err
		}
	}
	b := t.wire.buf[t.wire.rp : t.wire.rp+n]
	t.wire.rp += n
	return b, nil
}

// skip passes over n bytes.
func (t *tail) skip(ctx context.Context, n int) error {
	for n > 0 {
		if t.wire.rp == t.wire.wp {
			if err := t.fill(ctx); err != nil {
				return err
			}
		}
		step := min(n, t.wire.wp-t.wire.rp)
		t.wire.rp += step
		n -= step
	}
	return nil
}

// columnName is the name of the i-th column of a relation's messages.
func (k *knownRelation) columnName(i int) string {
	if k.layout.ordinals != nil && i < len(k.layout.ordinals) {
		i = k.layout.ordinals[i]
	}
	if i >= len(k.table.Columns) {
		return fmt.Sprint(i + 1)
	}
	return schema.QuoteName(k.table.Columns[i].Name)
}

// keyText names a row by its key: the primary key, else the columns of the replica identity.
func (k *knownRelation) keyText(values [][]byte) string {
	key := k.table.Key()
	if len(key) == 0 && k.table.Identity == schema.IdentityIndex {
		key = k.table.IdentKey()
	}
	var parts []string
	for _, at := range key[:min(len(key), keysShown)] {
		i := at
		if k.layout.ordinals != nil {
			i = indexOf(k.layout.ordinals, at)
		}
		if i < 0 || i >= len(values) || values[i] == nil {
			continue
		}
		parts = append(parts, fmt.Sprintf("%s=%s", schema.QuoteName(k.table.Columns[at].Name), values[i]))
	}
	if len(parts) == 0 {
		return "in a row without a key"
	}
	return "in the row with " + strings.Join(parts, ", ")
}

func indexOf(s []int, v int) int {
	for i := range s {
		if s[i] == v {
			return i
		}
	}
	return -1
}
