package wire

import (
	"fmt"

	"github.com/rowferry/rowferry/schema"
)

// Records encodes the changes of one batch one at a time, for targets where each is a record with a key of its own.
// One goroutine uses it. It allocates nothing per change once the slices it appends to are large enough.
type Records struct {
	json  *JSON
	batch *schema.Batch
	line  line
}

// Records begins with a batch. COPY text has to be decoded before.
func (j *JSON) Records(b *schema.Batch) *Records {
	r := &Records{json: j}
	r.Reset(b)
	return r
}

// Reset goes on with another batch and keeps the memory.
func (r *Records) Reset(b *schema.Batch) {
	connector := r.json.setConnector(b.Upto)
	if connector != r.line.connector {
		r.line.last = nil
	}
	r.batch, r.line.arena, r.line.connector = b, b.Arena, connector
}

// Enter says which transaction the changes that follow belong to, nil for none. snapshot is what source.snapshot
// says of them: "false" for a change, "true", "first", "last" and so on for an existing row.
func (r *Records) Enter(t *schema.Transaction, snapshot string) { r.line.setTail(t, snapshot) }

// AppendValue appends one change, of a row or a logical message, as a JSON object without a line's end.
func (r *Records) AppendValue(dst []byte, c *schema.Change) ([]byte, error) {
	if c.Op == schema.OpTruncate || c.Op == schema.OpSchema {
		return dst, fmt.Errorf("encoding a record: operation %d has none", c.Op)
	}
	r.line.dst = dst
	err := r.json.appendChange(&r.line, r.batch, c)
	return r.take(), err
}

// AppendTruncate appends the emptying of one table.
func (r *Records) AppendTruncate(dst []byte, t *schema.Table, offset uint64) []byte {
	r.line.dst = dst
	r.json.appendTruncate(&r.line, t, offset)
	return r.take()
}

// take gives the memory back to the caller, without the line's end.
func (r *Records) take() []byte {
	dst := r.line.dst
	r.line.dst = nil
	if n := len(dst); n > 0 && dst[n-1] == '\n' {
		dst = dst[:n-1]
	}
	return dst
}

// AppendKey appends the columns given by ordinal as a JSON object. A value that row lacks is taken from other, which
// may be nil. ok is false when neither has one of them.
func (r *Records) AppendKey(dst []byte, t *schema.Table, columns []int, row, other []schema.Value) (_ []byte, ok bool) {
	r.json.use(&r.line, t)
	text := r.line.text
	for i, column := range columns {
		dst = append(dst, "{,"[min(i, 1)])
		v, found := Pick(column, row, other)
		if !found {
			return dst, false
		}
		dst = append(dst, text.names[column]...)
		if v.IsNull() {
			dst = append(dst, "null"...)
			continue
		}
		dst, _ = appendValue(dst, text.kinds[column], v, r.line.arena)
	}
	return append(dst, '}'), true
}

// Pick is the value of a column in row, or in other where row lacks it.
func Pick(column int, row, other []schema.Value) (schema.Value, bool) {
	if column < len(row) && !row[column].Absent() {
		return row[column], true
	}
	if column < len(other) && !other[column].Absent() {
		return other[column], true
	}
	return schema.Value{}, false
}

// AppendString appends text as a JSON string.
func AppendString(dst, text []byte) []byte {
	dst, _ = appendString(dst, text)
	return dst
}
