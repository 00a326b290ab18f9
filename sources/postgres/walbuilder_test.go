package postgres

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/rowferry/rowferry/schema"
)

// wal builds what a walsender sends: CopyData messages with the log and keepalives in them.
type wal struct {
	out    []byte
	at     LSN    // place of the next message
	stream uint32 // in a stream block, the top transaction
	sub    uint32 // and the subtransaction that writes
	clock  int64  // microseconds since 1970, of sending
}

func newWAL() *wal { return &wal{at: 0x1000, clock: 1_700_000_000_000_000} }

func be16(b []byte, v int) []byte    { return binary.BigEndian.AppendUint16(b, uint16(v)) }
func be32(b []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(b, v) }
func be64(b []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(b, v) }
func cstr(b []byte, s string) []byte { return append(append(b, s...), 0) }
func pgTime(t int64) uint64          { return uint64(t - microsecondsTo2000) }

// raw sends one message of any kind.
func (w *wal) raw(kind byte, body []byte) *wal {
	w.out = append(w.out, kind)
	w.out = be32(w.out, uint32(len(body)+4))
	w.out = append(w.out, body...)
	return w
}

// send puts a message of pgoutput at the next place of the log.
func (w *wal) send(payload []byte) *wal {
	b := be64(be64(be64([]byte{'w'}, uint64(w.at)), uint64(w.at)), pgTime(w.clock))
	w.at += 0x10
	return w.raw('d', append(b, payload...))
}

// inner begins a message that carries the subtransaction inside a stream block.
func (w *wal) inner(kind byte) []byte {
	b := []byte{kind}
	if w.stream != 0 {
		b = be32(b, w.sub)
	}
	return b
}

func (w *wal) begin(xid uint32, commit LSN) *wal {
	return w.send(be32(be64(be64([]byte{'B'}, uint64(commit)), pgTime(w.clock)), xid))
}

func (w *wal) commit(commit LSN) *wal {
	return w.send(be64(be64(be64([]byte{'C', 0}, uint64(commit)), uint64(commit+0x30)), pgTime(w.clock)))
}

func (w *wal) origin(name string) *wal { return w.send(cstr(be64([]byte{'O'}, 7), name)) }

func (w *wal) typ(oid uint32, space, name string) *wal {
	return w.send(cstr(cstr(be32(w.inner('Y'), oid), space), name))
}

// relation describes a table; columns ending in * are part of the replica identity.
func (w *wal) relation(oid uint32, identity byte, table string, columns ...string) *wal {
	space, name, _ := strings.Cut(table, ".")
	b := append(cstr(cstr(be32(w.inner('R'), oid), space), name), identity)
	b = be16(b, len(columns))
	for _, c := range columns {
		name, key := strings.CutSuffix(c, "*")
		flags := byte(0)
		if key {
			flags = 1
		}
		b = be32(be32(cstr(append(b, flags), name), 25), 0xffffffff)
	}
	return w.send(b)
}

// null and unchanged stand for columns without a text.
const (
	null      = "\x00null"
	unchanged = "\x00unchanged"
)

// tuple appends a row of texts after its mark.
func tuple(b []byte, mark byte, texts []string) []byte {
	b = be16(append(b, mark), len(texts))
	for _, s := range texts {
		switch s {
		case null:
			b = append(b, 'n')
		case unchanged:
			b = append(b, 'u')
		default:
			b = append(be32(append(b, 't'), uint32(len(s))), s...)
		}
	}
	return b
}

func (w *wal) insert(oid uint32, texts ...string) *wal {
	return w.send(tuple(be32(w.inner('I'), oid), 'N', texts))
}

func (w *wal) update(oid uint32, mark byte, before, after []string) *wal {
	b := be32(w.inner('U'), oid)
	if mark != 0 {
		b = tuple(b, mark, before)
	}
	return w.send(tuple(b, 'N', after))
}

func (w *wal) remove(oid uint32, mark byte, texts ...string) *wal {
	return w.send(tuple(be32(w.inner('D'), oid), mark, texts))
}

func (w *wal) truncate(flags byte, oids ...uint32) *wal {
	b := append(be32(w.inner('T'), uint32(len(oids))), flags)
	for _, oid := range oids {
		b = be32(b, oid)
	}
	return w.send(b)
}

func (w *wal) logical(flags byte, lsn LSN, prefix, content string) *wal {
	b := cstr(be64(append(w.inner('M'), flags), uint64(lsn)), prefix)
	return w.send(append(be32(b, uint32(len(content))), content...))
}

func (w *wal) streamStart(xid uint32, first byte) *wal {
	w.send(append(be32([]byte{'S'}, xid), first))
	w.stream, w.sub = xid, xid
	return w
}

func (w *wal) as(subxid uint32) *wal { w.sub = subxid; return w }

func (w *wal) streamStop() *wal {
	w.stream = 0
	return w.send([]byte{'E'})
}

func (w *wal) streamCommit(xid uint32, commit LSN) *wal {
	b := append(be32([]byte{'c'}, xid), 0)
	return w.send(be64(be64(be64(b, uint64(commit)), uint64(commit+0x30)), pgTime(w.clock)))
}

func (w *wal) streamAbort(xid, subxid uint32) *wal {
	return w.send(be32(be32([]byte{'A'}, xid), subxid))
}

func (w *wal) keepalive(end LSN, reply byte) *wal {
	return w.raw('d', append(be64(be64([]byte{'k'}, uint64(end)), pgTime(w.clock)), reply))
}

// fakeResolver takes every table as its message describes it, but for those named outside.
type fakeResolver struct {
	outside string
	asked   int
}

func (f *fakeResolver) resolve(_ context.Context, r *relation) (*schema.Table, bool, error) {
	f.asked++
	t := &schema.Table{Schema: r.namespace, Name: r.name}
	part := int16(0)
	for _, c := range r.columns {
		column := schema.Column{Name: c.name, Kind: schema.KindText, Native: fmt.Sprint(c.typeOID), Ident: c.key}
		if c.key && r.identity == 'd' {
			part++
			column.KeyPart = part
		}
		t.Columns = append(t.Columns, column)
	}
	if r.identity == 'f' {
		t.Identity = schema.IdentityFull
	}
	return t.WithVersion(), r.name != f.outside, nil
}

// testPosition spells positions so that tests can read them.
func testPosition(l LSN) schema.Position { return schema.Position{Format: "test", Token: l.String()} }

// batchText writes a batch as lines of text.
func batchText(b *schema.Batch) string {
	var s strings.Builder
	for i, tx := range b.Transactions {
		fmt.Fprintf(&s, "tx %d", tx.ID)
		if tx.Origin != "" {
			fmt.Fprintf(&s, " from %s", tx.Origin)
		}
		if b.PositionAt != nil {
			fmt.Fprintf(&s, " at %s", b.PositionAt(i).Token)
		}
		s.WriteByte('\n')
		for _, c := range b.Changes[tx.First : tx.First+tx.Count] {
			s.WriteString("  " + changeText(b, &c) + "\n")
		}
	}
	if b.Part != schema.Whole {
		fmt.Fprintf(&s, "part %d\n", b.Part)
	}
	if b.Upto.IsZero() {
		return s.String()
	}
	return s.String() + "upto " + b.Upto.Token + "\n"
}

func changeText(b *schema.Batch, c *schema.Change) string {
	switch c.Op {
	case schema.OpMessage:
		return "message " + rowText(b, c.After)
	case schema.OpSchema:
		text := "schema " + c.Table.String() + columnsOf(c.Table)
		if c.Previous != nil {
			text += " was " + c.Previous.String() + columnsOf(c.Previous)
		}
		return text
	case schema.OpTruncate:
		text := "truncate"
		for _, t := range c.Truncate.Tables {
			text += " " + t.String()
		}
		return fmt.Sprintf("%s cascade=%v restart=%v", text, c.Truncate.Cascade, c.Truncate.RestartIdentity)
	}
	name := map[schema.Op]string{schema.OpCreate: "insert", schema.OpUpdate: "update", schema.OpDelete: "delete"}[c.Op]
	text := name + " " + c.Table.String()
	if c.Before.Count > 0 {
		text += " before " + rowText(b, c.Before)
	}
	if c.After.Count > 0 {
		text += " after " + rowText(b, c.After)
	}
	return text
}

func columnsOf(t *schema.Table) string {
	names := make([]string, len(t.Columns))
	for i := range t.Columns {
		names[i] = t.Columns[i].Name
	}
	return "(" + strings.Join(names, ",") + ")"
}

func rowText(b *schema.Batch, r schema.Row) string {
	var parts []string
	for _, v := range b.Row(r) {
		switch v.Form() {
		case schema.NotCaptured:
			parts = append(parts, "-")
		case schema.Unchanged:
			parts = append(parts, "~")
		case schema.Null:
			parts = append(parts, "NULL")
		default:
			text := string(v.AppendText(nil, b.Arena))
			if len(text) > 40 {
				text = fmt.Sprintf("%s…%d", text[:4], len(text))
			}
			parts = append(parts, text)
		}
	}
	return "[" + strings.Join(parts, " ") + "]"
}

// nextText is the next batch as text.
func nextText(ctx context.Context, tb testing.TB, t *tail) string {
	tb.Helper()
	b, err := t.Next(ctx)
	if err != nil {
		tb.Fatalf("Next: %v", err)
	}
	defer b.Release()
	return batchText(b)
}
