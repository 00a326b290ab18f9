package batch

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var codecs = []Codec{None, Gzip, Snappy, LZ4, Zstd}

// compressor makes a compressor that a test can use again and again.
func compressor(tb testing.TB, codec Codec) *Compressor {
	tb.Helper()
	c, err := NewCompressor(codec)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// encode builds a batch of records behind some other bytes.
func encode(c *Compressor, records []Record, s Stamp) Batch {
	var b Builder
	for i := range records {
		b.Append(&records[i])
	}
	const before = "before"
	out := Batch(b.AppendTo([]byte(before), c)[len(before):])
	out.Stamp(s)
	return out
}

// read is a batch as a foreign decoder read it.
type read struct {
	Stamp   Stamp
	Records []Record
}

// byKafkaGo reads a batch with kafka-go.
func byKafkaGo(b Batch) (read, error) {
	var set protocol.RecordSet
	n, err := set.ReadFrom(bytes.NewReader(b))
	if err != nil {
		return read{}, err
	}
	if int(n) != len(b) {
		return read{}, fmt.Errorf("read %d of %d bytes", n, len(b))
	}
	rs := set.Records
	if stream, ok := rs.(*protocol.RecordStream); ok && len(stream.Records) == 1 {
		rs = stream.Records[0]
	}
	rb, ok := rs.(*protocol.RecordBatch)
	if !ok {
		return read{}, fmt.Errorf("got %T", rs)
	}
	out := read{Stamp: Stamp{
		ProducerID: rb.ProducerID, Epoch: rb.ProducerEpoch, Sequence: rb.BaseSequence,
		Transactional: rb.Attributes.Transactional(),
	}}
	for i := int64(0); ; i++ {
		r, err := rb.Records.ReadRecord()
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return read{}, err
		}
		if r.Offset != i {
			return read{}, fmt.Errorf("record %d: offset %d", i, r.Offset)
		}
		rec := Record{Timestamp: r.Time.UnixMilli()}
		if rec.Key, err = protocol.ReadAll(r.Key); err != nil {
			return read{}, err
		}
		if rec.Value, err = protocol.ReadAll(r.Value); err != nil {
			return read{}, err
		}
		for _, h := range r.Headers {
			rec.Headers = append(rec.Headers, Header{Key: h.Key, Value: h.Value})
		}
		out.Records = append(out.Records, rec)
	}
}

var decompressor = kgo.DefaultDecompressor()

// byFranz reads a batch with franz-go, and checks what kafka-go does not show.
func byFranz(b Batch) (read, error) {
	if size := binary.BigEndian.Uint32(b); int(size) != len(b)-4 {
		return read{}, fmt.Errorf("size prefix %d of %d bytes", size, len(b)-4)
	}
	var rb kmsg.RecordBatch
	if err := rb.ReadFrom(b[4:]); err != nil {
		return read{}, err
	}
	switch {
	case int(rb.Length) != len(b)-4-12:
		return read{}, fmt.Errorf("length %d of %d bytes", rb.Length, len(b)-16)
	case rb.Magic != 2, rb.FirstOffset != 0, rb.PartitionLeaderEpoch != -1, rb.LastOffsetDelta != rb.NumRecords-1:
		return read{}, fmt.Errorf("header %+v", rb)
	case uint32(rb.CRC) != crc(b):
		return read{}, fmt.Errorf("checksum %x, want %x", uint32(rb.CRC), crc(b))
	}
	raw, err := decompressor.Decompress(rb.Records, kgo.CompressionCodecType(rb.Attributes&7))
	if err != nil {
		return read{}, err
	}
	out := read{Stamp: Stamp{
		ProducerID: rb.ProducerID, Epoch: rb.ProducerEpoch, Sequence: rb.FirstSequence, Transactional: rb.Attributes&16 != 0,
	}}
	latest := int64(math.MinInt64)
	for i := range rb.NumRecords {
		length, n := binary.Varint(raw)
		if n <= 0 || n+int(length) > len(raw) {
			return read{}, fmt.Errorf("record %d: length %d of %d", i, length, len(raw))
		}
		var r kmsg.Record
		if err := r.ReadFrom(raw[:n+int(length)]); err != nil {
			return read{}, fmt.Errorf("record %d: %w", i, err)
		}
		raw = raw[n+int(length):]
		if r.OffsetDelta != i {
			return read{}, fmt.Errorf("record %d: offset delta %d", i, r.OffsetDelta)
		}
		rec := Record{Key: r.Key, Value: r.Value, Timestamp: rb.FirstTimestamp + r.TimestampDelta64}
		for _, h := range r.Headers {
			rec.Headers = append(rec.Headers, Header{Key: h.Key, Value: h.Value})
		}
		latest = max(latest, rec.Timestamp)
		out.Records = append(out.Records, rec)
	}
	if len(raw) != 0 || latest != rb.MaxTimestamp {
		return read{}, fmt.Errorf("%d bytes left, latest %d, max %d", len(raw), latest, rb.MaxTimestamp)
	}
	return out, nil
}

// crc is the checksum as the format describes it, bit by bit.
func crc(b Batch) uint32 {
	sum := ^uint32(0)
	for _, c := range b[4+21:] {
		sum ^= uint32(c)
		for range 8 {
			if sum&1 != 0 {
				sum = sum>>1 ^ 0x82f63b78
			} else {
				sum >>= 1
			}
		}
	}
	return ^sum
}

// check reads a batch with both decoders and compares every field.
func check(t *testing.T, b Batch, want read) {
	t.Helper()
	for name, decode := range map[string]func(Batch) (read, error){"kafka-go": byKafkaGo, "franz-go": byFranz} {
		got, err := decode(b)
		if err != nil {
			t.Fatalf("%s, %v: %v", name, b.Codec(), err)
		}
		if reflect.DeepEqual(want, got) {
			continue
		}
		if len(b) > 10_000 { // a diff takes minutes
			t.Fatalf("%s, %v: other records or another stamp than written", name, b.Codec())
		}
		t.Fatalf("%s, %v: %s", name, b.Codec(), cmp.Diff(want, got))
	}
	if got := b.Stamped(); got != want.Stamp {
		t.Errorf("stamp: got %+v, want %+v", got, want.Stamp)
	}
	if b.Count() != len(want.Records) {
		t.Errorf("count: got %d, want %d", b.Count(), len(want.Records))
	}
}

func TestDecodersReadWhatWasWritten(t *testing.T) {
	many := make([]Record, 3000)
	for i := range many {
		many[i] = Record{
			Key: fmt.Appendf(nil, `{"id":%d}`, i), Value: fmt.Appendf(nil, `{"id":%d,"name":"name %d"}`, i, i*i),
			Timestamp: 1795000000000 + int64(i/100),
		}
	}
	noise := make([]byte, 300_000)
	rand.NewChaCha8([32]byte{}).Read(noise)
	tests := []struct {
		name    string
		records []Record
		stamp   Stamp
	}{
		{"one", []Record{{Key: []byte("k"), Value: []byte("v"), Timestamp: 5}}, Stamp{ProducerID: 7, Epoch: 3, Sequence: 9}},
		{"tombstone", []Record{{Key: []byte("k"), Timestamp: 5}}, Stamp{Transactional: true}},
		{"null key", []Record{{Value: []byte("v")}}, Stamp{ProducerID: -1, Epoch: -1, Sequence: -1}},
		{"empty is not null", []Record{{Key: []byte{}, Value: []byte{}}}, Stamp{}},
		{"headers", []Record{{Key: []byte("k"), Value: []byte("v"), Headers: []Header{
			{Key: "position", Value: []byte("0/1")}, {Key: "", Value: []byte{}}, {Key: "null"},
		}}}, Stamp{}},
		{"times before the first, and of all sizes", []Record{
			{Timestamp: 1 << 40}, {Timestamp: 0}, {Timestamp: 1<<40 + 1}, {Timestamp: 1 << 41},
		}, Stamp{}},
		{"largest stamp", []Record{{Key: []byte("k")}}, Stamp{
			ProducerID: math.MaxInt64, Epoch: math.MaxInt16, Sequence: math.MaxInt32, Transactional: true,
		}},
		{"many", many, Stamp{ProducerID: 4000, Epoch: 1, Sequence: 12, Transactional: true}},
		{"what cannot be compressed", []Record{{Value: noise}}, Stamp{}},
		{"large and uniform", []Record{{Value: bytes.Repeat([]byte("x"), 3<<20)}}, Stamp{}},
	}
	for _, tt := range tests {
		for _, codec := range codecs {
			t.Run(tt.name+"/"+codec.String(), func(t *testing.T) {
				c := compressor(t, codec)
				for range 2 { // the second time with buffers that were used
					b := encode(c, tt.records, tt.stamp)
					check(t, b, read{Stamp: tt.stamp, Records: tt.records})
				}
			})
		}
	}
}

func TestCompressionIsKeptOnlyWhereItPays(t *testing.T) {
	noise := make([]byte, 100_000)
	rand.NewChaCha8([32]byte{1}).Read(noise)
	for _, codec := range codecs {
		c := compressor(t, codec)
		small := encode(c, []Record{{Value: bytes.Repeat([]byte("rowferry "), 10_000)}}, Stamp{})
		if small.Codec() != codec || codec != None && small.Size() > 20_000 {
			t.Errorf("%v: got %v and %d bytes", codec, small.Codec(), small.Size())
		}
		if same := encode(c, []Record{{Value: noise}}, Stamp{}); same.Codec() != None {
			t.Errorf("%v of noise: got %v, want none", codec, same.Codec())
		}
	}
}

func TestSizes(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var b Builder
	for range 20_000 {
		r := Record{Key: make([]byte, rng.IntN(200)), Value: make([]byte, rng.IntN(20_000)), Timestamp: rng.Int64N(1 << 45)}
		if rng.IntN(5) == 0 {
			r.Headers = []Header{{Key: strings.Repeat("h", rng.IntN(100)), Value: make([]byte, rng.IntN(100))}}
		}
		if b.SizeWith(&r) > 1<<20 {
			b.Reset()
			if b.Size() != HeaderBytes || b.Count() != 0 {
				t.Fatalf("after Reset: %d bytes, %d records", b.Size(), b.Count())
			}
		}
		want := b.SizeWith(&r)
		b.Append(&r)
		if b.Size() != want {
			t.Fatalf("Size is %d, SizeWith said %d", b.Size(), want)
		}
	}
	if got := Batch(b.AppendTo(nil, nil)).Size(); got != b.Size() {
		t.Errorf("the batch has %d bytes, Size said %d", got, b.Size())
	}
}

// TestJoin joins pieces and compares with records appended one by one.
func TestJoin(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for round := range 50 {
		var one, joined Builder
		var records []Record
		for range 1 + rng.IntN(6) {
			var piece Builder
			for range rng.IntN(200) {
				r := Record{Key: make([]byte, rng.IntN(90)), Timestamp: 1 << 40 >> rng.IntN(30), Headers: []Header{{Key: "h"}}}
				if rng.IntN(3) > 0 {
					r.Value = make([]byte, rng.IntN(300))
				}
				piece.Append(&r)
				one.Append(&r)
				records = append(records, r)
			}
			bound := joined.JoinedSize(&piece)
			joined.Join(&piece)
			if joined.Size() > bound {
				t.Fatalf("joined to %d bytes, JoinedSize said %d", joined.Size(), bound)
			}
		}
		got, want := Batch(joined.AppendTo(nil, nil)), Batch(one.AppendTo(nil, nil))
		if !bytes.Equal(got, want) {
			t.Fatalf("round %d: joined is not what was appended", round)
		}
		if len(records) > 0 {
			got.Stamp(Stamp{})
			check(t, got, read{Records: records})
		}
	}
}

func TestJoinOfNothing(t *testing.T) {
	var used, b Builder
	used.Append(&Record{Timestamp: 1 << 40})
	used.Reset()
	b.Append(&Record{Timestamp: 5})
	b.Join(&used)
	out := Batch(b.AppendTo(nil, nil))
	out.Stamp(Stamp{})
	check(t, out, read{Records: []Record{{Timestamp: 5}}})
}

func TestJoinAllocatesNothing(t *testing.T) {
	var piece, b Builder
	for range 1000 {
		piece.Append(&Record{Key: []byte("key"), Value: []byte("value")})
	}
	b.Join(&piece)
	b.Join(&piece)
	got := testing.AllocsPerRun(10, func() {
		b.Reset()
		b.Join(&piece)
		b.Join(&piece)
	})
	if got > 0 {
		t.Errorf("got %v allocations, want 0", got)
	}
}

func TestNothingOfNothing(t *testing.T) {
	var b Builder
	if got := b.AppendTo([]byte("x"), nil); string(got) != "x" {
		t.Errorf("got %q", got)
	}
}

func TestStampAgain(t *testing.T) {
	b := encode(nil, []Record{{Key: []byte("k")}}, Stamp{ProducerID: 1, Epoch: 1, Sequence: 5, Transactional: true})
	first := bytes.Clone(b)
	b.Stamp(Stamp{ProducerID: 1, Epoch: 2})
	check(t, b, read{Stamp: Stamp{ProducerID: 1, Epoch: 2}, Records: []Record{{Key: []byte("k")}}})
	b.Stamp(Stamp{ProducerID: 1, Epoch: 1, Sequence: 5, Transactional: true})
	if !bytes.Equal(first, b) {
		t.Errorf("the same stamp gave other bytes:\n%x\n%x", first, []byte(b))
	}
}

func TestCodecNames(t *testing.T) {
	for _, want := range codecs {
		text, err := want.MarshalText()
		var got Codec
		if err != nil || got.UnmarshalText(text) != nil || got != want {
			t.Errorf("%v: got %v", want, got)
		}
	}
	var c Codec
	if err := c.UnmarshalText([]byte("brotli")); err == nil {
		t.Error("brotli: got no error")
	}
	if _, err := NewCompressor(9); err == nil {
		t.Error("codec 9: got no error")
	}
}

// FuzzDecoders builds records from the input and lets both foreign decoders read them.
func FuzzDecoders(f *testing.F) {
	f.Add([]byte("k\x00value\x01header"), uint8(3), int64(1795000000000), uint8(7))
	f.Add([]byte{}, uint8(0), int64(-5), uint8(0))
	f.Add(bytes.Repeat([]byte("abc\xff"), 500), uint8(4), int64(1), uint8(255))
	compressors := map[Codec]*Compressor{}
	for _, codec := range codecs {
		compressors[codec] = compressor(f, codec)
	}
	f.Fuzz(func(t *testing.T, data []byte, codec uint8, start int64, shape uint8) {
		if start < 0 || start > 1<<50 {
			start &= 1<<50 - 1 // what both decoders' times can hold
		}
		records := recordsOf(data, start, shape)
		stamp := Stamp{ProducerID: start, Epoch: int16(shape), Sequence: int32(len(data)), Transactional: shape&1 != 0}
		c := Codec(codec % uint8(len(codecs)))
		check(t, encode(compressors[c], records, stamp), read{Stamp: stamp, Records: records})
	})
}

// recordsOf cuts data into records of all shapes.
func recordsOf(data []byte, start int64, shape uint8) []Record {
	var records []Record
	rng := rand.New(rand.NewPCG(uint64(shape), uint64(len(data))))
	cut := func() []byte {
		if rng.IntN(6) == 0 {
			return nil
		}
		n := rng.IntN(min(len(data), 1<<rng.IntN(12)) + 1)
		piece := data[:n:n]
		data = data[n:]
		return piece
	}
	for range 1 + rng.IntN(40) {
		r := Record{Key: cut(), Value: cut(), Timestamp: start + rng.Int64N(2000) - 1000}
		r.Timestamp = max(r.Timestamp, 0)
		for range rng.IntN(4) * int(shape>>1&1) {
			r.Headers = append(r.Headers, Header{Key: strings.ToValidUTF8(string(cut()), "?"), Value: cut()})
		}
		records = append(records, r)
	}
	return records
}

// BenchmarkAppend encodes records of 224 bytes into batches below 1 MiB, stamped: it allocates nothing.
func BenchmarkAppend(b *testing.B) {
	for _, codec := range codecs {
		b.Run(codec.String(), func(b *testing.B) {
			c := compressor(b, codec)
			key, value := []byte(`{"id":1234567}`), make([]byte, 0, 400)
			for i := 0; len(value) < 200; i++ {
				value = fmt.Appendf(value, `"c%d":"value %d",`, i, i*7919)
			}
			r := Record{Key: key, Value: value, Timestamp: 1795000000000}
			var builder Builder
			var out []byte
			flush := func() {
				out = builder.AppendTo(out[:0], c)
				Batch(out).Stamp(Stamp{ProducerID: 1, Transactional: true})
				builder.Reset()
			}
			for builder.SizeWith(&r) < 1<<20 { // grow the buffers
				builder.Append(&r)
			}
			flush()
			b.ReportAllocs()
			b.SetBytes(int64(len(key) + len(value)))
			before := cpu(b)
			for b.Loop() {
				if builder.SizeWith(&r) > 1<<20 {
					flush()
				}
				builder.Append(&r)
				value[10]++
			}
			b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
		})
	}
}

// cpu is what this process has used.
func cpu(tb testing.TB) time.Duration {
	tb.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func TestAllocations(t *testing.T) {
	r := Record{Key: []byte("key"), Value: bytes.Repeat([]byte("value "), 30), Timestamp: 1, Headers: []Header{{Key: "h", Value: []byte("v")}}}
	for _, codec := range codecs {
		c := compressor(t, codec)
		var b Builder
		var out []byte
		fill := func() {
			b.Reset()
			for range 1000 {
				b.Append(&r)
			}
			out = b.AppendTo(out[:0], c)
			Batch(out).Stamp(Stamp{ProducerID: 1})
		}
		fill()
		if got := testing.AllocsPerRun(20, fill); got > 0 {
			t.Errorf("%v: %v allocations for 1000 records, want 0", codec, got)
		}
	}
}
