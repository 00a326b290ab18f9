package batch

import (
	"encoding/binary"
	"math/bits"
)

// Header is a header of a record.
type Header struct {
	Key   string
	Value []byte // nil is null
}

// Record is what a Builder takes. Its slices are copied.
type Record struct {
	Key       []byte // nil is null
	Value     []byte // nil is null: a tombstone
	Timestamp int64  // milliseconds since 1970
	Headers   []Header
}

// Builder collects the records of one batch. The zero value is ready; Reset makes it so again and keeps its buffer.
type Builder struct {
	records   []byte
	count     int32
	base, max int64 // timestamps of the first record, and the latest
}

// Append adds a record: one copy, no allocation once the buffer has grown. A batch holds less than 2 GiB: the caller
// asks SizeWith and finishes before its limit.
func (b *Builder) Append(r *Record) {
	if b.count == 0 {
		b.base, b.max = r.Timestamp, r.Timestamp
	}
	b.max = max(b.max, r.Timestamp)
	dst := binary.AppendVarint(b.records, int64(b.bodySize(r)))
	dst = append(dst, 0) // attributes: none are defined
	dst = binary.AppendVarint(dst, r.Timestamp-b.base)
	dst = binary.AppendVarint(dst, int64(b.count))
	dst = appendNullable(dst, r.Key)
	dst = appendNullable(dst, r.Value)
	dst = binary.AppendVarint(dst, int64(len(r.Headers)))
	for i := range r.Headers {
		h := &r.Headers[i]
		dst = binary.AppendVarint(dst, int64(len(h.Key)))
		dst = append(dst, h.Key...)
		dst = appendNullable(dst, h.Value)
	}
	b.records = dst
	b.count++
}

// Join adds the records another builder has collected, which keeps them. A request carries one batch of a partition, so
// small pieces that were built side by side are joined before they are sent. It costs a copy, and no allocation once the
// buffer has grown; JoinedSize says how large the batch becomes at most.
func (b *Builder) Join(other *Builder) {
	if other.count == 0 {
		return // its times are those of records that were reset
	}
	if b.count == 0 {
		b.base, b.max = other.base, other.max
	}
	b.max = max(b.max, other.max)
	for rest := other.records; len(rest) > 0; {
		length, n := binary.Varint(rest)
		record := rest[n : n+int(length)]
		rest = rest[n+int(length):]
		delta, deltaBytes := binary.Varint(record[1:])
		_, offsetBytes := binary.Varint(record[1+deltaBytes:])
		body := record[1+deltaBytes+offsetBytes:] // key, value and headers

		delta += other.base - b.base
		dst := binary.AppendVarint(b.records, int64(1+varintSize(delta)+varintSize(int64(b.count))+len(body)))
		dst = append(dst, 0)
		dst = binary.AppendVarint(dst, delta)
		dst = binary.AppendVarint(dst, int64(b.count))
		b.records = append(dst, body...)
		b.count++
	}
}

// JoinedSize bounds what Size would be after Join.
func (b *Builder) JoinedSize(other *Builder) int {
	// The length, the timestamp and the offset of each record may take more bytes than they did.
	const growth = binary.MaxVarintLen32 - 1 + binary.MaxVarintLen64 - 1 + binary.MaxVarintLen32 - 1
	return b.Size() + len(other.records) + int(other.count)*growth
}

// Count is the number of records collected.
func (b *Builder) Count() int { return int(b.count) }

// Size is what the batch takes uncompressed, as brokers count it. It bounds the size of the finished batch, which is
// never larger.
func (b *Builder) Size() int { return HeaderBytes + len(b.records) }

// SizeWith is what Size would be with one more record.
func (b *Builder) SizeWith(r *Record) int {
	n := b.bodySize(r)
	return b.Size() + varintSize(int64(n)) + n
}

// Room is the memory of its buffer, used or not.
func (b *Builder) Room() int { return cap(b.records) }

// Reset empties the builder and keeps its buffer.
func (b *Builder) Reset() { b.records, b.count = b.records[:0], 0 }

// AppendTo appends the finished batch to dst: what is appended is a Batch, not yet stamped. It lies in dst's memory;
// the builder may be used on. Without a record it appends nothing, for an empty batch is refused by brokers. A nil
// compressor leaves the records as they are.
func (b *Builder) AppendTo(dst []byte, c *Compressor) []byte {
	if b.count == 0 {
		return dst
	}
	start := len(dst)
	dst = append(dst, emptyHead[:]...)
	codec := None
	if c != nil {
		dst, codec = c.appendTo(dst, b.records)
	}
	if codec == None {
		dst = append(dst, b.records...)
	}
	head := dst[start:]
	binary.BigEndian.PutUint32(head, uint32(len(head)-prefixBytes))
	binary.BigEndian.PutUint32(head[atLength:], uint32(len(head)-atLeaderEpoch))
	binary.BigEndian.PutUint16(head[atAttributes:], uint16(codec))
	binary.BigEndian.PutUint32(head[atLastDelta:], uint32(b.count-1))
	binary.BigEndian.PutUint64(head[atBaseTimestamp:], uint64(b.base))
	binary.BigEndian.PutUint64(head[atMaxTimestamp:], uint64(b.max))
	binary.BigEndian.PutUint32(head[atCount:], uint32(b.count))
	return dst
}

// emptyHead is prefix and header with what is the same for all: no leader epoch, magic 2, no producer.
var emptyHead = func() (h [atRecords]byte) {
	binary.BigEndian.PutUint64(h[atBaseOffset:], 0) // the broker gives offsets
	binary.BigEndian.PutUint32(h[atLeaderEpoch:], ^uint32(0))
	h[atMagic] = 2
	binary.BigEndian.PutUint64(h[atProducerID:], ^uint64(0))
	binary.BigEndian.PutUint16(h[atEpoch:], ^uint16(0))
	binary.BigEndian.PutUint32(h[atSequence:], ^uint32(0))
	return h
}()

// bodySize is the length of a record behind its own length field.
func (b *Builder) bodySize(r *Record) int {
	delta := int64(0)
	if b.count > 0 {
		delta = r.Timestamp - b.base
	}
	n := 1 + varintSize(delta) + varintSize(int64(b.count)) + nullableSize(r.Key) + nullableSize(r.Value) +
		varintSize(int64(len(r.Headers)))
	for i := range r.Headers {
		h := &r.Headers[i]
		n += varintSize(int64(len(h.Key))) + len(h.Key) + nullableSize(h.Value)
	}
	return n
}

// varintSize is the length of a zigzag varint.
func varintSize(v int64) int {
	return (bits.Len64(uint64(v<<1)^uint64(v>>63)|1) + 6) / 7
}

func nullableSize(b []byte) int {
	if b == nil {
		return 1
	}
	return varintSize(int64(len(b))) + len(b)
}

func appendNullable(dst, b []byte) []byte {
	if b == nil {
		return append(dst, 1) // -1
	}
	dst = binary.AppendVarint(dst, int64(len(b)))
	return append(dst, b...)
}
