// Package batch encodes Kafka record batches, version 2 of the format (magic byte 2), and nothing else: no I/O, no
// goroutine, no clock.
//
// A Builder collects records of one partition. Finished, and compressed by a Compressor, they are a Batch: the bytes
// that go over the wire, but for who produces them. Stamp adds producer id, epoch, base sequence and checksum at the
// very end, so that batches can be built in parallel and in any order, and stamped in the order they are sent in. A
// batch sent again is sent with the same stamp: the broker tells repetitions by it.
//
//	var b batch.Builder
//	b.Append(&batch.Record{Key: key, Value: value, Timestamp: ms})
//	buf = b.AppendTo(buf[:0], compressor)
//	out := batch.Batch(buf)
//	out.Stamp(batch.Stamp{ProducerID: 7, Epoch: 0, Sequence: 0, Transactional: true})
//
// Nothing is allocated per record, and nothing per batch once the buffers have grown to their size.
package batch
