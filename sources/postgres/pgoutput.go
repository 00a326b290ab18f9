package postgres

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
)

// The messages of pgoutput, protocol versions 1 to 4: chapter "Logical Replication Message Formats" of the manual.
const (
	msgBegin        = 'B'
	msgCommit       = 'C'
	msgOrigin       = 'O'
	msgRelation     = 'R'
	msgType         = 'Y'
	msgInsert       = 'I'
	msgUpdate       = 'U'
	msgDelete       = 'D'
	msgTruncate     = 'T'
	msgMessage      = 'M'
	msgStreamStart  = 'S'
	msgStreamStop   = 'E'
	msgStreamCommit = 'c'
	msgStreamAbort  = 'A'
)

// Flags in messages.
const (
	flagTransactional   = 1 // of a logical message
	flagCascade         = 1 // of a truncate
	flagRestartIdentity = 2 // of a truncate
	flagKeyColumn       = 1 // of a relation's column
	flagFirstSegment    = 1 // of a stream start
)

// maxColumns is Postgres' own limit (MaxTupleAttributeNumber).
const maxColumns = 1664

// microsecondsTo2000 lies between the epoch of Unix and that of Postgres.
const microsecondsTo2000 = 946_684_800_000_000

// errProtocol is the cause of every fault about bytes that do not follow the protocol.
var errProtocol = errors.New("the server's message does not follow the protocol")

// protocolFault halts on bytes that do not follow the protocol: to go on would be to guess.
func protocolFault(format string, args ...any) error {
	return fault.Halt("source.protocol", fmt.Errorf("%w: %s", errProtocol, fmt.Sprintf(format, args...)),
		"check that nothing between Rowferry and the server alters the stream, then restart the pipeline\n"+
			"if it comes again, report it with both versions: nothing was skipped, the slot keeps the log")
}

// cursor reads big-endian fields from a message. A read beyond the end gives zero and sets short.
type cursor struct {
	buf   []byte
	pos   int
	short bool
}

// take gives the next n bytes.
func (c *cursor) take(n int) []byte {
	if n < 0 || n > len(c.buf)-c.pos {
		c.short = true
		c.pos = len(c.buf)
		return nil
	}
	b := c.buf[c.pos : c.pos+n]
	c.pos += n
	return b
}

func (c *cursor) uint8() byte {
	if b := c.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (c *cursor) uint16() uint16 {
	if b := c.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (c *cursor) uint32() uint32 {
	if b := c.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (c *cursor) uint64() uint64 {
	if b := c.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// text gives the bytes before the next zero byte.
func (c *cursor) text() []byte {
	end := bytes.IndexByte(c.buf[c.pos:], 0)
	if end < 0 {
		c.short = true
		c.pos = len(c.buf)
		return nil
	}
	b := c.buf[c.pos : c.pos+end]
	c.pos += end + 1
	return b
}

// rest gives all that is left.
func (c *cursor) rest() []byte {
	b := c.buf[c.pos:]
	c.pos = len(c.buf)
	return b
}

// message is one pgoutput message, with slices into the bytes it was parsed from.
type message struct {
	kind     byte
	flags    byte
	xid      uint32 // of the top transaction; for messages inside a stream block, of the subtransaction
	subxid   uint32 // stream abort
	relation uint32
	lsn      LSN   // commit record of B, C and c; of a logical message
	end      LSN   // just after the commit record
	time     int64 // microseconds since 1970 UTC
	name     []byte
	space    []byte // schema of a relation or type
	body     []byte // tuples of I, U and D; columns of R; relations of T; content of M
}

// parse reads p into m without copying or allocating. Inside a stream block, messages carry the id of their
// (sub)transaction. Bytes of tuples and columns are checked by who walks them.
func (m *message) parse(p []byte, inStream bool) error {
	c := cursor{buf: p}
	*m = message{kind: c.uint8()}
	switch m.kind {
	case msgRelation, msgType, msgInsert, msgUpdate, msgDelete, msgTruncate, msgMessage:
		if inStream {
			m.xid = c.uint32()
		}
		m.parseInner(&c)
	case 'b', 'P', 'K', 'r', 'p':
		return fault.Halt("source.two_phase", fmt.Errorf("%w: message %q", errTwoPhase, m.kind),
			"the replication slot was made with two_phase, which Rowferry does not use: it reads prepared transactions when they commit\n"+
				"on Postgres 18 stop the pipeline and run ALTER_REPLICATION_SLOT slot (TWO_PHASE false); on older servers "+
				"tear the pipeline down and let it make its slot itself")
	default:
		if !m.parseOuter(&c) {
			return protocolFault("unknown message 0x%02x of %d bytes", m.kind, len(p))
		}
	}
	if c.short {
		return protocolFault("message %q ends early, after %d bytes", m.kind, len(p))
	}
	if c.pos != len(p) {
		return protocolFault("message %q is %d bytes too long", m.kind, len(p)-c.pos)
	}
	return nil
}

var errTwoPhase = errors.New("the server sends prepared transactions in two phases")

// parseOuter reads the messages that frame transactions. It tells whether the kind is known.
func (m *message) parseOuter(c *cursor) bool {
	switch m.kind {
	case msgBegin:
		m.lsn, m.time, m.xid = LSN(c.uint64()), unixTime(c.uint64()), c.uint32()
	case msgCommit:
		m.flags, m.lsn, m.end, m.time = c.uint8(), LSN(c.uint64()), LSN(c.uint64()), unixTime(c.uint64())
	case msgOrigin:
		m.lsn, m.name = LSN(c.uint64()), c.text()
	case msgStreamStart:
		m.xid, m.flags = c.uint32(), c.uint8()
	case msgStreamStop:
	case msgStreamCommit:
		m.xid, m.flags = c.uint32(), c.uint8()
		m.lsn, m.end, m.time = LSN(c.uint64()), LSN(c.uint64()), unixTime(c.uint64())
	case msgStreamAbort:
		m.xid, m.subxid = c.uint32(), c.uint32()
		if len(c.buf) > c.pos { // protocol 4, streaming in parallel
			m.lsn, m.time = LSN(c.uint64()), unixTime(c.uint64())
		}
	default:
		return false
	}
	return true
}

// parseInner reads the messages inside a transaction, after the id of their subtransaction.
func (m *message) parseInner(c *cursor) {
	switch m.kind {
	case msgRelation:
		m.relation, m.space, m.name = c.uint32(), c.text(), c.text()
		m.flags = c.uint8() // replica identity
	case msgType:
		m.relation, m.space, m.name = c.uint32(), c.text(), c.text()
		return
	case msgTruncate:
		n := c.uint32()
		m.flags = c.uint8()
		m.body = c.take(int(n) * 4)
		return
	case msgMessage:
		m.flags, m.lsn, m.name = c.uint8(), LSN(c.uint64()), c.text()
		m.body = c.take(int(c.uint32()))
		return
	default:
		m.relation = c.uint32()
	}
	m.body = c.rest()
}

// unixTime turns microseconds since 2000 into microseconds since 1970.
func unixTime(t uint64) int64 { return int64(t) + microsecondsTo2000 }

// relation is a table as a Relation message describes it.
type relation struct {
	oid       uint32
	namespace string
	name      string
	identity  byte // d, n, f or i
	columns   []relationColumn
	typeNames map[uint32]string // names of the columns' types that are not built in, from Type messages
}

// relationColumn is one column of a [relation].
type relationColumn struct {
	name    string
	typeOID uint32
	typmod  int32
	key     bool // part of the replica identity; with identity full, every column
}

// relation copies a Relation message out of the bytes it was parsed from.
func (m *message) relationOf(typeNames map[uint32]string) (*relation, error) {
	c := cursor{buf: m.body}
	n := int(c.uint16())
	if n > maxColumns {
		return nil, protocolFault("relation %d has %d columns", m.relation, n)
	}
	r := &relation{
		oid: m.relation, namespace: string(m.space), name: string(m.name), identity: m.flags,
		columns: make([]relationColumn, 0, min(n, len(m.body)/10)),
	}
	if r.namespace == "" {
		r.namespace = "pg_catalog"
	}
	for range n {
		flags, name := c.uint8(), c.text()
		column := relationColumn{
			name: string(name), typeOID: c.uint32(), typmod: int32(c.uint32()), key: flags&flagKeyColumn != 0,
		}
		if c.short {
			break
		}
		if name, known := typeNames[column.typeOID]; known {
			if r.typeNames == nil {
				r.typeNames = make(map[uint32]string)
			}
			r.typeNames[column.typeOID] = name
		}
		r.columns = append(r.columns, column)
	}
	if c.short || c.pos != len(m.body) {
		return nil, protocolFault("relation %d is malformed", m.relation)
	}
	return r, nil
}

// appendTuple appends one value for each of width columns to values and reads the tuple at c into them. Texts are
// offsets: base is where c.buf begins in the arena. ordinals tells each column's place, nil for one after the
// other; key, when not nil, says which columns a key-only tuple holds: the rest is absent, not NULL.
// It allocates only when values grow.
func appendTuple(values []schema.Value, c *cursor, base int, layout *layout, keyOnly bool) ([]schema.Value, error) {
	n := int(c.uint16())
	if n != len(layout.key) {
		return values, protocolFault("a row has %d columns, its relation message said %d", n, len(layout.key))
	}
	first := len(values)
	values = extend(values, layout.width)
	row := values[first:]
	buf, pos := c.buf, c.pos // in registers: this loop is where a stream spends its time
	for i := range n {
		at := i
		if layout.ordinals != nil {
			at = layout.ordinals[i]
		}
		if pos >= len(buf) {
			return values, protocolFault("a row ends before its column %d", i)
		}
		form := buf[pos]
		pos++
		switch form {
		case 't':
			if len(buf)-pos < 4 {
				return values, protocolFault("a row ends in its column %d", i)
			}
			length := int(int32(binary.BigEndian.Uint32(buf[pos:])))
			pos += 4
			if length < 0 || length > len(buf)-pos {
				return values, protocolFault("column %d has a length of %d bytes, its message is shorter", i, length)
			}
			row[at] = schema.TextAt(base+pos, length)
			pos += length
		case 'n':
			if !keyOnly || layout.key[i] {
				row[at] = schema.NullValue
			}
		case 'u':
			row[at] = schema.UnchangedValue
		default:
			return values, protocolFault("column %d comes in the form 0x%02x, which was not asked for", i, form)
		}
	}
	c.pos = pos
	return values, nil
}

// extend appends n zero values.
func extend(values []schema.Value, n int) []schema.Value {
	for cap(values)-len(values) < n {
		values = append(values[:cap(values)], schema.Value{})[:len(values)]
	}
	values = values[:len(values)+n]
	clear(values[len(values)-n:])
	return values
}

// layout says how a relation's columns lie in its table's rows.
type layout struct {
	key      []bool // for each column of the message: is it part of the replica identity
	ordinals []int  // for each column of the message, its place in the row; nil when they are the same
	width    int    // columns of the row
}
