package oracle

import (
	"encoding/binary"
	"fmt"

	"github.com/cespare/xxhash/v2"
	"github.com/twmb/franz-go/pkg/kgo"
)

// KafkaTransaction is what one transaction of the source must have left in topics, in its order.
type KafkaTransaction struct {
	ID      string
	Records []KafkaWanted
}

// KafkaWanted is one record that must be there.
type KafkaWanted struct {
	ID    string // what tells it from all others, as identify finds it in a record
	Topic string
	Key   string // records of a topic that have the same key share a partition
}

// KafkaExtent says how much of what is wanted must be there.
type KafkaExtent uint8

// The extents.
const (
	KafkaAll     KafkaExtent = iota // everything
	KafkaSettled                    // any number of transactions from the first on, each whole: nobody writes, none is open
	KafkaMoving                     // the same in each partition for itself: partitions were read one after the other
)

// Kafka judges the records of topics: each wanted record there once, in the source's order within its partition; each
// transaction of the source inside one transaction of Kafka, so that no reader sees a part of it.
type Kafka struct {
	// AtLeastOnce allows records to come again, with the same bytes, and asks for no transactions. The first of each
	// must still be in order.
	AtLeastOnce bool

	report   *Report
	identify func(*kgo.Record) (string, error)

	transactions []string
	wanted       []wantedRecord // in the source's order
	ordinals     map[string]int // of wanted, by id
	partitions   map[place]*partitionRead
	keys         map[keyOf]int32 // where a key was first seen
	judged       int
}

type wantedRecord struct {
	KafkaWanted
	transaction int
	seen        bool
	hash        uint64 // of the bytes seen
}

type place struct {
	topic     string
	partition int32
}

type keyOf struct{ topic, key string }

// partitionRead is how far a partition was judged.
type partitionRead struct {
	last        int // the highest ordinal
	transaction int // its source transaction
	producer    int64
	ended       bool // a transaction of Kafka ended after it
}

// NewKafka judges records by the id that identify finds in them. Every Want comes before the first Judge.
func NewKafka(r *Report, identify func(*kgo.Record) (string, error)) *Kafka {
	return &Kafka{report: r, identify: identify, ordinals: map[string]int{}, partitions: map[place]*partitionRead{}, keys: map[keyOf]int32{}}
}

// Want adds the source's next transaction. Ids that come twice are told apart by nothing, and are a mistake.
func (k *Kafka) Want(t KafkaTransaction) {
	for _, w := range t.Records {
		if _, again := k.ordinals[w.ID]; again {
			k.report.Add(Wrong, "record %s is wanted twice", w.ID)
			continue
		}
		k.ordinals[w.ID] = len(k.wanted)
		k.wanted = append(k.wanted, wantedRecord{KafkaWanted: w, transaction: len(k.transactions)})
	}
	k.transactions = append(k.transactions, t.ID)
}

// Judge sees the next record of its partition, or the end of a transaction, as KafkaReader yields them with Markers.
func (k *Kafka) Judge(record *kgo.Record) {
	at := place{record.Topic, record.Partition}
	p := k.partitions[at]
	if p == nil {
		p = &partitionRead{last: -1, transaction: -1}
		k.partitions[at] = p
	}
	if record.Attrs.IsControl() {
		p.ended = p.ended || record.ProducerID == p.producer
		return
	}
	k.judged++
	id, err := k.identify(record)
	if err != nil {
		k.report.Add(Wrong, "%s: the record cannot be told: %v", where(record), err)
		return
	}
	n, ok := k.ordinals[id]
	if !ok {
		k.report.Add(Doubled, "%s: nobody committed %s", where(record), id)
		return
	}
	if k.again(&k.wanted[n], record) {
		return
	}
	k.placed(&k.wanted[n], record)
	k.ordered(p, n, record)
}

// again tells whether a record was there before, and takes note of it.
func (k *Kafka) again(w *wantedRecord, record *kgo.Record) bool {
	hash := hashOf(record)
	switch {
	case !w.seen:
		w.seen, w.hash = true, hash
		return false
	case !k.AtLeastOnce:
		k.report.Add(Doubled, "%s: %s was there before", where(record), w.ID)
	case w.hash != hash:
		k.report.Add(Wrong, "%s: %s came again with other bytes", where(record), w.ID)
	}
	return true
}

// placed sees that a record is where it belongs.
func (k *Kafka) placed(w *wantedRecord, record *kgo.Record) {
	if record.Topic != w.Topic {
		k.report.Add(Wrong, "%s: %s belongs into %s", where(record), w.ID, w.Topic)
	}
	if string(record.Key) != w.Key {
		k.report.Add(Wrong, "%s: %s has another key than it should", where(record), w.ID)
	}
	if !k.AtLeastOnce && !record.Attrs.IsTransactional() {
		k.report.Add(Wrong, "%s: %s was written outside any transaction", where(record), w.ID)
	}
	if w.Key == "" {
		return
	}
	key := keyOf{record.Topic, w.Key}
	if first, ok := k.keys[key]; ok && first != record.Partition {
		k.report.Add(Reordered, "%s: %s has a key that partition %d holds", where(record), w.ID, first)
	} else if !ok {
		k.keys[key] = record.Partition
	}
}

// ordered sees that a record follows what its partition holds.
func (k *Kafka) ordered(p *partitionRead, n int, record *kgo.Record) {
	w := &k.wanted[n]
	if n < p.last {
		k.report.Add(Reordered, "%s: %s comes after %s", where(record), w.ID, k.wanted[p.last].ID)
		return
	}
	if p.ended && w.transaction == p.transaction && !k.AtLeastOnce {
		k.report.Add(Torn, "%s: transaction %s goes on with %s after a transaction of Kafka has ended", where(record), k.transactions[w.transaction], w.ID)
	}
	p.last, p.transaction, p.producer, p.ended = n, w.transaction, record.ProducerID, false
}

// End adds what is missing, and returns how many transactions are there from the first on.
func (k *Kafka) End(extent KafkaExtent) int {
	k.report.Looked("kafka records", k.judged)
	there := 0
	for _, w := range k.wanted {
		if w.seen {
			there = max(there, w.transaction+1)
		}
	}
	switch extent {
	case KafkaAll:
		k.missing(func(*wantedRecord, int) bool { return true })
	case KafkaSettled:
		k.missing(func(w *wantedRecord, _ int) bool { return w.transaction < there })
	case KafkaMoving:
		// Where a record that is missing would be is known when its key was seen.
		k.missing(func(w *wantedRecord, n int) bool {
			partition, ok := k.keys[keyOf{w.Topic, w.Key}]
			p := k.partitions[place{w.Topic, partition}]
			return ok && (n < p.last || w.transaction == p.transaction)
		})
	}
	return there
}

// missing adds the records that must be there and are not: as lost, and as torn where others of their transaction are.
func (k *Kafka) missing(must func(w *wantedRecord, n int) bool) {
	has, lacks := make([]int, len(k.transactions)), make([]int, len(k.transactions))
	for n := range k.wanted {
		w := &k.wanted[n]
		switch {
		case w.seen:
			has[w.transaction]++
		case must(w, n):
			lacks[w.transaction]++
			k.report.Add(Lost, "%s of transaction %s is not in %s", w.ID, k.transactions[w.transaction], w.Topic)
		}
	}
	for t, id := range k.transactions {
		if has[t] > 0 && lacks[t] > 0 {
			k.report.Add(Torn, "transaction %s is there with %d records and without %d", id, has[t], lacks[t])
		}
	}
}

// hashOf covers what a reader uses of a record.
func hashOf(record *kgo.Record) uint64 {
	h := xxhash.New()
	part := func(text []byte) {
		var size [8]byte
		length := -1 // of what is not there, as a tombstone's value
		if text != nil {
			length = len(text)
		}
		binary.BigEndian.PutUint64(size[:], uint64(length))
		_, _ = h.Write(size[:]) // a hash takes everything
		_, _ = h.Write(text)
	}
	part(record.Key)
	part(record.Value)
	for _, header := range record.Headers {
		part([]byte(header.Key))
		part(header.Value)
	}
	return h.Sum64()
}

func where(record *kgo.Record) string {
	return fmt.Sprintf("%s/%d at %d", record.Topic, record.Partition, record.Offset)
}
