package ledger

import (
	"testing"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"
)

// TestAbortWithoutRecords: compaction keeps the end of an aborted transaction longer than its records, and an answer may
// begin at the end. What the same producer commits behind it counts all the same.
func TestAbortWithoutRecords(t *testing.T) {
	const id = 7
	record := protocol.Record{Offset: 6, Key: protocol.NewBytes([]byte("topic/t")), Value: protocol.NewBytes([]byte(`{"partitions":3}`))}
	p := &fetch.ResponsePartition{AbortedTransactions: []fetch.ResponseTransaction{{ProducerID: id, FirstOffset: 3}}}
	p.RecordSet.Records = &protocol.RecordStream{Records: []protocol.RecordReader{
		&protocol.ControlBatch{BaseOffset: 5, ProducerID: id, Records: protocol.NewRecordReader()},
		&protocol.RecordBatch{BaseOffset: 6, ProducerID: id, Attributes: protocol.Transactional, Records: protocol.NewRecordReader(record)},
		&protocol.ControlBatch{BaseOffset: 7, ProducerID: id, Records: protocol.NewRecordReader()},
	}}
	state := NewState()
	r := reader{next: 5, state: &state}
	if err := r.take(p); err != nil {
		t.Fatal(err)
	}
	if got := state.Topics["t"]; got != 3 || r.next != 8 {
		t.Errorf("got %d partitions and %d as the next offset, want 3 and 8", got, r.next)
	}
}
