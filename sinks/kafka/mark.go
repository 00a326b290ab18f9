package kafka

import (
	"strconv"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/wire"
	"github.com/rowferry/rowferry/schema/wire/debezium"
	"github.com/rowferry/rowferry/sinks/kafka/topic"
)

// mark collects what the records of the transaction topic say of a transaction, of one in parts over several batches.
type mark struct {
	tables []tally // in the order they came
	total  int
	began  bool
	events []debezium.Tally // in Debezium's format, those written
	placed int              // and how many they are
}

type tally struct {
	table string
	count int
}

// count adds the changes of a transaction in a batch.
func (m *mark) count(b *schema.Batch, t *schema.Transaction) {
	for i := t.First; i < t.First+t.Count; i++ {
		c := &b.Changes[i]
		switch c.Op {
		case schema.OpSchema:
		case schema.OpMessage:
			m.total++
		case schema.OpTruncate:
			for _, table := range c.Truncate.Tables {
				m.add(table)
			}
		default:
			m.add(c.Table)
		}
	}
}

// add counts one change of a table.
func (m *mark) add(t *schema.Table) {
	m.total++
	name := t.String()
	for i := range m.tables {
		if m.tables[i].table == name {
			m.tables[i].count++
			return
		}
	}
	m.tables = append(m.tables, tally{name, 1})
}

// mark writes the record of a transaction's beginning, or of its end, b holding the beginning, or the end.
func (r *run) mark(m *mark, b *schema.Batch, t *schema.Transaction, begin bool) error {
	if r.enc.events != nil {
		return r.markEvent(m, t, begin, b.Changes[t.First].Offset)
	}
	use, err := r.use(r.enc.cfg.TransactionTopic)
	if err != nil {
		return err
	}
	id := strconv.FormatUint(t.ID, 10) + ":" + strconv.FormatUint(t.End, 10)
	r.key = append(append(append(r.key[:0], `{"id":"`...), id...), `"}`...)
	status := "END"
	if begin {
		status = "BEGIN"
	}
	v := append(append(append(r.value[:0], `{"status":"`...), status...), `","id":"`...)
	v = append(append(v, id...), `","ts_ms":`...)
	v = strconv.AppendInt(v, t.CommitTime/1000, 10)
	v = append(v, `,"event_count":`...)
	if begin {
		v = append(v, `null,"data_collections":null}`...)
	} else {
		v = append(strconv.AppendInt(v, int64(m.total), 10), `,"data_collections":[`...)
		for i, one := range m.tables {
			if i > 0 {
				v = append(v, ',')
			}
			v = append(wire.AppendString(append(v, `{"data_collection":`...), []byte(one.table)), `,"event_count":`...)
			v = append(strconv.AppendInt(v, int64(one.count), 10), '}')
		}
		v = append(v, `]}`...)
	}
	r.value, r.headers = v, r.headers[:0]
	return r.send(use, topic.Partition(r.key, r.layout[use.name]), r.key, r.value)
}
