package debezium

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/wire"
)

// Records writes the records of one batch after another. One goroutine uses it. It allocates nothing per change once the
// slices it appends to are large enough.
type Records struct {
	enc     *Encoder
	batch   *schema.Batch
	scratch scratch

	millis int64
	ends   [5][]byte // of envelopes, by operation: op and the times
	id     uint64    // of the transaction
	head   []byte    // the source block up to the offset in its sequence
	middle []byte    // from there to the table
	tail   []byte    // from the table to the offset
	rest   []byte    // from there to its end
	offset []byte    // of the record at hand
}

// Records begins to write.
func (e *Encoder) Records() *Records { return &Records{enc: e} }

// Reset goes on with a batch, and keeps the memory. now is when it is written, which the envelope tells.
func (r *Records) Reset(b *schema.Batch, now time.Time) {
	r.batch, r.millis = b, now.UnixMilli()
	for op := range r.ends {
		end := append(append(r.ends[op][:0], `,"op":"`...), ops[op])
		end = strconv.AppendInt(append(end, `","ts_ms":`...), r.millis, 10)
		end = strconv.AppendInt(append(end, `,"ts_us":`...), now.UnixMicro(), 10)
		end = append(strconv.AppendInt(append(end, `,"ts_ns":`...), now.UnixNano(), 10), '}')
		r.ends[op] = r.enc.end(end)
	}
}

// ops are the letters of operations, by [schema.Op].
const ops = "rcudt"

// Enter says which transaction the changes that follow belong to, nil for none. snapshot is what source.snapshot says of
// them, where "false" is the default of that field: only what writes defaults for NULL tells it. Existing rows have no
// time of their own; theirs is when they are written.
func (r *Records) Enter(t *schema.Transaction, snapshot string) {
	micros, end, id, origin := r.millis*1000, uint64(0), uint64(0), ""
	if t != nil {
		end, id, origin = t.End, t.ID, t.Origin
		if t.CommitTime != 0 {
			micros = t.CommitTime
		}
	}
	r.id = id
	h := strconv.AppendInt(append(r.head[:0], r.enc.source...), micros/1000, 10)
	if snapshot == "false" && !r.enc.cfg.NullAsDefault {
		h = append(h, `,"snapshot":null,"db":`...)
	} else {
		h = append(append(append(h, `,"snapshot":"`...), snapshot...), `","db":`...)
	}
	h = append(wire.AppendString(h, []byte(r.enc.database)), `,"sequence":"[`...)
	if end == 0 {
		h = append(h, `null,\"`...)
	} else {
		h = append(strconv.AppendUint(append(h, `\"`...), end, 10), `\",\"`...)
	}
	r.head = h
	m := strconv.AppendInt(append(r.middle[:0], `\"]","ts_us":`...), micros, 10)
	r.middle = strconv.AppendInt(append(m, `,"ts_ns":`...), micros*1000, 10)
	tail := append(r.tail[:0], `,"txId":`...)
	if id == 0 {
		tail = append(tail, "null"...)
	} else {
		tail = strconv.AppendUint(tail, id, 10)
	}
	r.tail = append(tail, `,"lsn":`...)
	rest := append(r.rest[:0], `,"xmin":null,"origin":`...)
	if origin == "" {
		rest = append(rest, "null"...)
	} else {
		rest = wire.AppendString(rest, []byte(origin))
	}
	r.rest = append(rest, `,"origin_lsn":null},"transaction":`...)
}

// Place is a change's place in its transaction, from 1: among all changes, and among those of its table. The zero Place
// leaves it out.
type Place struct{ Total, OfTable int }

// AppendChange appends the value of a change. A nil image is none.
func (r *Records) AppendChange(dst []byte, t *Table, c *schema.Change, p Place) ([]byte, error) {
	before, after := r.batch.Row(c.Before), r.batch.Row(c.After)
	if before != nil && len(before) != t.width || after != nil && len(after) != t.width {
		return dst, fmt.Errorf("encoding a change of %s: an image has not one value for each of %d columns", c.Table, t.width)
	}
	return r.appendImages(dst, t, c, p, images{before, after}), nil
}

// AppendWithout appends the value of a change that AppendChange took, without its large values: each that is longer than
// limit has the placeholder for values that were not sent in its place, if its column has one.
func (r *Records) AppendWithout(dst []byte, t *Table, c *schema.Change, p Place, limit int) []byte {
	return r.appendImages(dst, t, c, p, images{r.without(t, r.batch.Row(c.Before), limit), r.without(t, r.batch.Row(c.After), limit)})
}

// without is a copy of an image without its large values; nil stays nil.
func (r *Records) without(t *Table, row []schema.Value, limit int) []schema.Value {
	row = slices.Clone(row)
	for _, c := range t.columns {
		if row != nil && len(row[c.ordinal].Bytes(r.batch.Arena)) > limit && !bytes.Equal(c.unchanged, c.null) {
			row[c.ordinal] = schema.UnchangedValue
		}
	}
	return row
}

// images are those of a change; nil is none.
type images struct{ before, after []schema.Value }

// appendImages appends the value of a change that has these images.
func (r *Records) appendImages(dst []byte, t *Table, c *schema.Change, p Place, i images) []byte {
	if i.before == nil {
		dst = append(dst, t.fresh...)
	} else {
		dst = r.appendColumns(append(dst, t.value...), t.columns, i.before)
		dst = append(dst, `,"after":`...)
	}
	dst = r.appendSource(r.appendRow(dst, t, i.after), t.source, c.Offset, p)
	return append(dst, r.ends[c.Op]...)
}

// AppendTruncate appends the value of the emptying of a table.
func (r *Records) AppendTruncate(dst []byte, t *Table, offset uint64, p Place) []byte {
	dst = r.appendSource(append(append(dst, t.fresh...), "null"...), t.source, offset, p)
	return append(dst, r.ends[schema.OpTruncate]...)
}

// appendSource appends the source block and the transaction.
func (r *Records) appendSource(dst, table []byte, offset uint64, p Place) []byte {
	r.offset = strconv.AppendUint(r.offset[:0], offset, 10)
	dst = append(append(append(dst, r.head...), r.offset...), r.middle...)
	dst = append(append(append(append(dst, table...), r.tail...), r.offset...), r.rest...)
	if p.Total == 0 {
		return append(dst, "null"...)
	}
	dst = append(strconv.AppendUint(append(dst, `{"id":"`...), r.id, 10), ':')
	dst = append(strconv.AppendUint(dst, offset, 10), `","total_order":`...)
	dst = strconv.AppendInt(dst, int64(p.Total), 10)
	dst = strconv.AppendInt(append(dst, `,"data_collection_order":`...), int64(p.OfTable), 10)
	return append(dst, '}')
}

// AppendMessage appends the value of a logical message.
func (r *Records) AppendMessage(dst []byte, c *schema.Change, p Place) ([]byte, error) {
	row := r.batch.Row(c.After)
	if len(row) != 2 {
		return dst, fmt.Errorf("encoding a logical message: got %d values, want prefix and content", len(row))
	}
	dst = strconv.AppendInt(append(dst, r.enc.message...), r.millis, 10)
	dst = r.appendSource(dst, []byte(`,"schema":"","table":""`), c.Offset, p)
	dst = wire.AppendString(append(dst, `,"message":{"prefix":`...), row[0].Bytes(r.batch.Arena))
	dst = appendBinary(append(dst, `,"content":`...), row[1].Bytes(r.batch.Arena), r.enc.binary)
	return r.enc.end(append(dst, "}}"...)), nil
}

// AppendKey appends the key of a row, with its schema.
func (r *Records) AppendKey(dst []byte, t *Table, row []schema.Value) []byte {
	return r.enc.end(r.AppendKeyFields(append(dst, t.keys...), t, row))
}

// AppendKeyFields appends the key without its schema, as headers have it. What the row lacks is as if it were NULL.
func (r *Records) AppendKeyFields(dst []byte, t *Table, row []schema.Value) []byte {
	return r.appendColumns(dst, t.key, row)
}

// appendRow appends one image, null when there is none.
func (r *Records) appendRow(dst []byte, t *Table, row []schema.Value) []byte {
	if row == nil {
		return append(dst, "null"...)
	}
	return r.appendColumns(dst, t.columns, row)
}

// appendColumns appends values as an object. A value that has no form is as if it were NULL, and so is all of no row.
func (r *Records) appendColumns(dst []byte, columns []placed, row []schema.Value) []byte {
	if len(columns) == 0 {
		return append(dst, "{}"...)
	}
	arena := r.batch.Arena
	for i := range columns {
		c := &columns[i]
		dst = append(dst, c.name...)
		v := schema.Value{}
		if row != nil {
			v = row[c.ordinal]
		}
		if v.Form() != schema.Text {
			dst = r.appendOther(dst, c, v)
			continue
		}
		start := len(dst)
		var ok bool
		if dst, ok = c.write(&r.scratch, dst, v.Bytes(arena), c.column); !ok {
			dst = append(dst[:start], c.null...)
		}
	}
	return append(dst, '}')
}

// appendOther appends a value that is no text in the arena.
func (r *Records) appendOther(dst []byte, c *placed, v schema.Value) []byte {
	switch v.Form() {
	case schema.NotCaptured, schema.Null:
		return append(dst, c.null...)
	case schema.Unchanged:
		return append(dst, c.unchanged...)
	}
	r.scratch.text = v.AppendText(r.scratch.text[:0], r.batch.Arena)
	start := len(dst)
	dst, ok := c.write(&r.scratch, dst, r.scratch.text, c.column)
	if !ok {
		return append(dst[:start], c.null...)
	}
	return dst
}
