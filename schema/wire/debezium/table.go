package debezium

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/wire"
)

// Encoder writes the records of one pipeline. Several goroutines may use it.
type Encoder struct {
	cfg      Config
	database string
	source   []byte // what every source block begins with, and its name
	message  []byte // what a logical message's value begins with
	binary   binaryForm
}

// New makes an encoder. id names the source, postgres:SERVER/DATABASE/SLOT; other connectors have other fields, and types.
func New(cfg Config, id schema.SourceID) (*Encoder, error) {
	rest, ok := strings.CutPrefix(string(id), "postgres:")
	first, last := strings.IndexByte(rest, '/'), strings.LastIndexByte(rest, '/')
	if !ok || first < 0 || first == last {
		return nil, fmt.Errorf("the format debezium-json is for Postgres sources; this one is %q", id)
	}
	e := &Encoder{cfg: cfg, database: rest[first+1 : last], binary: cfg.bytes().binary}
	e.source = fmt.Appendf(nil, `,"source":{"version":%q,"connector":"postgresql","name":`, Version)
	e.source = append(wire.AppendString(e.source, []byte(cfg.Name)), `,"ts_ms":`...)
	s := messageValue(cfg.bytes().schema)
	e.message = append(e.begin(&s), `{"op":"m","ts_ms":`...)
	return e, nil
}

// begin is what stands before a payload.
func (e *Encoder) begin(s *connectSchema) []byte {
	if !e.cfg.Schemas {
		return nil
	}
	return append(s.appendJSON([]byte(`{"schema":`), ""), `,"payload":`...)
}

// end appends what stands behind one.
func (e *Encoder) end(dst []byte) []byte {
	if !e.cfg.Schemas {
		return dst
	}
	return append(dst, '}')
}

// Table is what the records of a table version share. It is never changed.
type Table struct {
	// Collection is how Debezium calls the table in records about transactions.
	Collection string

	width   int
	columns []placed
	key     []placed
	value   []byte // what a value begins with, up to its before
	fresh   []byte // the same up to its after, when there is no before
	keys    []byte // what a key begins with
	source  []byte // what the source block says of the table
}

// placed is a column that is written, and where its value is in a row. What each value needs is beside it.
type placed struct {
	name      []byte
	write     writer
	null      []byte
	unchanged []byte
	ordinal   int
	*column
}

// place puts a column where its value is in a row. others are those before it in the object, which begins with the first.
func place(c *column, ordinal, others int) placed {
	name := append([]byte{"{,"[min(others, 1)]}, c.name...)
	return placed{name: name, write: c.write, null: c.null, unchanged: c.unchanged, ordinal: ordinal, column: c}
}

// Table compiles a table version. name is that of its topic, from which its schemas have theirs; key lists the columns
// of its key, none for a table without one.
func (e *Encoder) Table(t *schema.Table, name string, key []int) *Table {
	out := &Table{Collection: t.Schema + "." + t.Name, width: len(t.Columns)}
	name = adjusted(name, e.cfg.SchemaNames, true)
	row := connectSchema{kind: "struct", name: name + ".Value"}
	for i := range t.Columns {
		if c, ok := e.cfg.compile(&t.Columns[i]); ok {
			out.columns = append(out.columns, place(&c, i, len(out.columns)))
			row.fields = append(row.fields, connectField{c.label, c.schema})
		}
	}
	s := envelope(name+".Envelope", row)
	out.value = append(e.begin(&s), `{"before":`...)
	out.fresh = append(slices.Clone(out.value), `null,"after":`...)
	keys := connectSchema{kind: "struct", name: name + ".Key"}
	for _, i := range key {
		if c, ok := e.cfg.compile(&t.Columns[i]); ok {
			out.key = append(out.key, place(&c, i, len(out.key)))
			keys.fields = append(keys.fields, connectField{c.label, c.schema})
		}
	}
	out.keys = e.begin(&keys)
	out.source = wire.AppendString([]byte(`,"schema":`), []byte(t.Schema))
	out.source = wire.AppendString(append(out.source, `,"table":`...), []byte(t.Name))
	return out
}

// Keyed tells whether the table's records have keys.
func (t *Table) Keyed() bool { return len(t.key) > 0 }

// AppendMessageKey appends the key of a logical message.
func (e *Encoder) AppendMessageKey(dst, prefix []byte) []byte {
	dst = append(dst, e.begin(&messageKey)...)
	dst = append(wire.AppendString(append(dst, `{"prefix":`...), prefix), '}')
	return e.end(dst)
}

// AppendTransactionKey appends the key of a record about a transaction.
func (e *Encoder) AppendTransactionKey(dst []byte, id string) []byte {
	dst = append(dst, e.begin(&transactionKey)...)
	dst = append(wire.AppendString(append(dst, `{"id":`...), []byte(id)), '}')
	return e.end(dst)
}

// Tally is how many changes a transaction has of one table.
type Tally struct {
	Collection string
	Count      int
}

// AppendBegin appends the record of a transaction's beginning.
func (e *Encoder) AppendBegin(dst []byte, id string, t *schema.Transaction) []byte {
	dst = append(dst, e.begin(&transactionValue)...)
	dst = wire.AppendString(append(dst, `{"status":"BEGIN","id":`...), []byte(id))
	dst = append(dst, `,"event_count":null,"data_collections":null,"ts_ms":`...)
	dst = append(strconv.AppendInt(dst, t.CommitTime/1000, 10), '}')
	return e.end(dst)
}

// AppendEnd appends the record of a transaction's end. It puts the tables into the order that Debezium's map has.
func (e *Encoder) AppendEnd(dst []byte, id string, t *schema.Transaction, tables []Tally) []byte {
	s := scratch{}
	total := 0
	for i := range tables {
		total += tables[i].Count
		s.pairs = append(s.pairs, pair{key: [2]int32{int32(i)}, hash: javaHash([]byte(tables[i].Collection))})
	}
	s.sortAsJava()
	dst = append(dst, e.begin(&transactionValue)...)
	dst = wire.AppendString(append(dst, `{"status":"END","id":`...), []byte(id))
	dst = strconv.AppendInt(append(dst, `,"event_count":`...), int64(total), 10)
	dst = append(dst, `,"data_collections":[`...)
	for i := range s.pairs {
		if i > 0 {
			dst = append(dst, ',')
		}
		one := &tables[s.pairs[i].key[0]]
		dst = wire.AppendString(append(dst, `{"data_collection":`...), []byte(one.Collection))
		dst = append(strconv.AppendInt(append(dst, `,"event_count":`...), int64(one.Count), 10), '}')
	}
	dst = append(strconv.AppendInt(append(dst, `],"ts_ms":`...), t.CommitTime/1000, 10), '}')
	return e.end(dst)
}

// AppendHeartbeat appends key and value of a heartbeat.
func (e *Encoder) AppendHeartbeat(key, value []byte, millis int64) (_, _ []byte) {
	key = append(key, e.begin(&heartbeatKey)...)
	key = e.end(append(wire.AppendString(append(key, `{"serverName":`...), []byte(e.cfg.Name)), '}'))
	value = append(value, e.begin(&heartbeatValue)...)
	value = e.end(append(strconv.AppendInt(append(value, `{"ts_ms":`...), millis, 10), '}'))
	return key, value
}
