package wire

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/rowferry/rowferry/schema"
)

// JSON encodes batches in the json format. It may be used by several goroutines at once.
type JSON struct {
	tables    tableCache
	connector atomic.Pointer[string]
	lines     sync.Pool // of *line, so that a call allocates nothing
}

// NewJSON makes an encoder. at is where the pipeline stands: its format names the kind of source for batches that
// carry no position. It may be zero when the first batch carries one.
func NewJSON(at schema.Position) *JSON {
	j := &JSON{}
	j.connector.Store(new(string))
	j.setConnector(at)
	return j
}

// setConnector remembers the kind of source a position belongs to: "postgres" for positions of format "postgres/1".
func (j *JSON) setConnector(p schema.Position) string {
	known := *j.connector.Load()
	name, _, _ := strings.Cut(p.Format, "/")
	if name == "" || name == known {
		return known
	}
	kept := name // name itself stays off the heap
	j.connector.Store(&kept)
	return kept
}

// line is what the lines of one transaction share, and the scratch memory of one call.
type line struct {
	dst       []byte
	arena     []byte
	connector string
	tail      []byte // ,"txId":…,"ts_ms":…,"snapshot":…},"ts_ms":…
	last      *schema.Table
	text      *tableText // of last
	unchanged []byte     // names of columns, each quoted and followed by a comma
	replaced  []byte
}

// AppendBatch appends one line for each change of the batch to dst. COPY text has to be decoded before. It
// allocates nothing once dst is large enough.
func (j *JSON) AppendBatch(dst []byte, b *schema.Batch) ([]byte, error) {
	l, ok := j.lines.Get().(*line)
	if !ok {
		l = &line{}
	}
	l.dst, l.arena, l.connector, l.last = dst, b.Arena, j.setConnector(b.Upto), nil
	err := j.appendBatch(l, b)
	dst = l.dst
	l.dst, l.arena = nil, nil
	j.lines.Put(l)
	if err != nil {
		return nil, err
	}
	return dst, nil
}

func (j *JSON) appendBatch(l *line, b *schema.Batch) error {
	next := int32(0)
	for i := range b.Transactions {
		t := &b.Transactions[i]
		if err := j.appendRun(l, b, next, t.First, nil); err != nil {
			return err
		}
		next = t.First + t.Count
		if err := j.appendRun(l, b, t.First, next, t); err != nil {
			return err
		}
	}
	return j.appendRun(l, b, next, int32(len(b.Changes)), nil)
}

// appendRun appends the changes from first to end, which belong to transaction t, or to none.
func (j *JSON) appendRun(l *line, b *schema.Batch, first, end int32, t *schema.Transaction) error {
	if first >= end {
		return nil
	}
	snapshot := "false"
	if b.Copy != nil {
		snapshot = "true"
	}
	l.setTail(t, snapshot)
	for i := first; i < end; i++ {
		if err := j.appendChange(l, b, &b.Changes[i]); err != nil {
			return err
		}
	}
	return nil
}

// setTail prepares the end of every line of a transaction.
func (l *line) setTail(t *schema.Transaction, snapshot string) {
	id := append(l.tail[:0], `,"txId":`...)
	if t != nil && t.ID != 0 {
		id = strconv.AppendUint(id, t.ID, 10)
	} else {
		id = append(id, "null"...)
	}
	id = appendStamp(append(id, `,"ts_ms":`...), t)
	id = append(append(append(id, `,"snapshot":"`...), snapshot...), '"')
	if t != nil && t.Origin != "" {
		id = append(id, `,"origin":`...)
		id, _ = appendString(id, []byte(t.Origin))
	}
	l.tail = appendStamp(append(id, `},"ts_ms":`...), t)
}

// appendStamp appends the milliseconds of a transaction's commit, null when it is not known.
func appendStamp(dst []byte, t *schema.Transaction) []byte {
	if t == nil || t.CommitTime == 0 {
		return append(dst, "null"...)
	}
	return strconv.AppendInt(dst, t.CommitTime/1000, 10)
}

// appendChange appends the lines of one change.
func (j *JSON) appendChange(l *line, b *schema.Batch, c *schema.Change) error {
	switch c.Op {
	case schema.OpSchema:
		return nil
	case schema.OpMessage:
		return l.appendMessage(b, c)
	case schema.OpTruncate:
		for _, t := range c.Truncate.Tables {
			j.appendTruncate(l, t, c.Offset)
		}
		return nil
	}
	if c.Op > schema.OpDelete {
		return fmt.Errorf("encoding a change of %s: unknown operation %d", c.Table, c.Op)
	}
	j.use(l, c.Table)
	if !l.fits(c.Before) || !l.fits(c.After) {
		return fmt.Errorf("encoding a change of %s: an image has not one value for each of %d columns", c.Table, len(l.text.names))
	}
	l.unchanged, l.replaced = l.unchanged[:0], l.replaced[:0]
	l.dst = append(l.dst, `{"op":"`...)
	l.dst = append(l.dst, "rcud"[c.Op])
	l.dst = append(l.dst, `","before":`...)
	l.appendRow(b.Row(c.Before), false)
	l.dst = append(l.dst, `,"after":`...)
	l.appendRow(b.Row(c.After), true)
	l.dst = append(l.dst, ',')
	l.end(c.Offset)
	return nil
}

// appendTruncate appends the line of one table that was emptied.
func (j *JSON) appendTruncate(l *line, t *schema.Table, offset uint64) {
	j.use(l, t)
	l.dst = append(l.dst, `{"op":"t","before":null,"after":null,`...)
	l.end(offset)
}

// fits tells whether a row image is none, or has a value for each column.
func (l *line) fits(r schema.Row) bool { return r.Count == 0 || int(r.Count) == len(l.text.names) }

// use makes t the table of the lines that follow.
func (j *JSON) use(l *line, t *schema.Table) {
	if l.last != t {
		l.last, l.text = t, j.tables.get(t, l.connector)
	}
}

// end appends what every line ends with, from source on.
func (l *line) end(offset uint64) {
	l.dst = append(l.dst, l.text.source...)
	l.dst = strconv.AppendUint(l.dst, offset, 10)
	l.dst = append(l.dst, l.tail...)
	if n := len(l.unchanged); n > 0 {
		l.dst = append(append(append(l.dst, `,"unchanged":[`...), l.unchanged[:n-1]...), ']')
		l.unchanged = l.unchanged[:0]
	}
	if n := len(l.replaced); n > 0 {
		l.dst = append(append(append(l.dst, `,"replaced":[`...), l.replaced[:n-1]...), ']')
		l.replaced = l.replaced[:0]
	}
	l.dst = append(l.dst, "}\n"...)
}

// appendRow appends one row image as an object, null when there is none. Only the new row tells of columns that
// did not change.
func (l *line) appendRow(row []schema.Value, after bool) {
	if row == nil {
		l.dst = append(l.dst, "null"...)
		return
	}
	l.dst = append(l.dst, '{')
	start := len(l.dst)
	for i, v := range row {
		name := l.text.names[i]
		switch v.Form() {
		case schema.NotCaptured:
			continue
		case schema.Unchanged:
			if after {
				l.unchanged = append(append(l.unchanged, name[:len(name)-1]...), ',')
			}
			continue
		case schema.Null:
			l.dst = append(append(l.dst, name...), "null,"...)
			continue
		}
		l.dst = append(l.dst, name...)
		var whole bool
		l.dst, whole = appendValue(l.dst, l.text.kinds[i], v, l.arena)
		if !whole {
			l.replaced = append(append(l.replaced, name[:len(name)-1]...), ',')
		}
		l.dst = append(l.dst, ',')
	}
	if len(l.dst) > start {
		l.dst = l.dst[:len(l.dst)-1]
	}
	l.dst = append(l.dst, '}')
}

// appendMessage appends a logical message: its two values are prefix and content.
func (l *line) appendMessage(b *schema.Batch, c *schema.Change) error {
	row := b.Row(c.After)
	if len(row) != 2 {
		return fmt.Errorf("encoding a logical message: got %d values, want prefix and content", len(row))
	}
	l.dst = append(l.dst, `{"op":"m","message":{"prefix":`...)
	l.dst, _ = appendString(l.dst, row[0].Bytes(b.Arena))
	l.dst = append(l.dst, `,"content":"`...)
	l.dst = base64.StdEncoding.AppendEncode(l.dst, row[1].Bytes(b.Arena))
	l.dst = append(l.dst, `"},"source":{"connector":`...)
	l.dst, _ = appendString(l.dst, []byte(l.connector))
	l.dst = append(l.dst, `,"schema":"","table":"","lsn":`...)
	l.dst = strconv.AppendUint(l.dst, c.Offset, 10)
	l.dst = append(append(l.dst, l.tail...), "}\n"...)
	return nil
}
