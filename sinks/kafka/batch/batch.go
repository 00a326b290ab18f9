package batch

import (
	"encoding/binary"
	"hash/crc32"
)

// The fixed part of a batch, by offset from the size prefix on. The prefix is not part of the batch itself: a
// produce request carries records as a byte string, and this is its length.
const (
	prefixBytes = 4

	atBaseOffset    = prefixBytes + 0
	atLength        = prefixBytes + 8
	atLeaderEpoch   = prefixBytes + 12
	atMagic         = prefixBytes + 16
	atChecksum      = prefixBytes + 17
	atAttributes    = prefixBytes + 21
	atLastDelta     = prefixBytes + 23
	atBaseTimestamp = prefixBytes + 27
	atMaxTimestamp  = prefixBytes + 35
	atProducerID    = prefixBytes + 43
	atEpoch         = prefixBytes + 51
	atSequence      = prefixBytes + 53
	atCount         = prefixBytes + 57
	atRecords       = prefixBytes + 61

	transactionalBit = 1 << 4
	codecMask        = 7
)

// HeaderBytes is what a batch takes beside its records.
const HeaderBytes = atRecords - prefixBytes

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Batch is a finished batch with the size prefix a produce request puts before it.
type Batch []byte

// Stamp is what ties a batch to its producer.
type Stamp struct {
	ProducerID    int64
	Epoch         int16
	Sequence      int32 // of the first record; the batch takes Count numbers, and after the largest comes 0
	Transactional bool
}

// Stamp writes the stamp and the checksum over everything behind it; it costs one pass over the batch. A batch that
// was sent may be stamped anew only if the producer's epoch has been raised since.
func (b Batch) Stamp(s Stamp) {
	attributes := binary.BigEndian.Uint16(b[atAttributes:]) &^ transactionalBit
	if s.Transactional {
		attributes |= transactionalBit
	}
	binary.BigEndian.PutUint16(b[atAttributes:], attributes)
	binary.BigEndian.PutUint64(b[atProducerID:], uint64(s.ProducerID))
	binary.BigEndian.PutUint16(b[atEpoch:], uint16(s.Epoch))
	binary.BigEndian.PutUint32(b[atSequence:], uint32(s.Sequence))
	binary.BigEndian.PutUint32(b[atChecksum:], crc32.Checksum(b[atAttributes:], castagnoli))
}

// Stamped reads the stamp back.
func (b Batch) Stamped() Stamp {
	return Stamp{
		ProducerID:    int64(binary.BigEndian.Uint64(b[atProducerID:])),
		Epoch:         int16(binary.BigEndian.Uint16(b[atEpoch:])),
		Sequence:      int32(binary.BigEndian.Uint32(b[atSequence:])),
		Transactional: binary.BigEndian.Uint16(b[atAttributes:])&transactionalBit != 0,
	}
}

// Count is the number of records.
func (b Batch) Count() int { return int(binary.BigEndian.Uint32(b[atCount:])) }

// Size is the number of bytes as brokers count them against max.message.bytes, without the prefix.
func (b Batch) Size() int { return len(b) - prefixBytes }

// Codec is how the records are compressed: None too where compressing did not make them smaller.
func (b Batch) Codec() Codec { return Codec(binary.BigEndian.Uint16(b[atAttributes:]) & codecMask) }
