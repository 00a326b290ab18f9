package batch

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// Codec is a compression, by the number Kafka gives it.
type Codec uint8

// The codecs.
const (
	None Codec = iota
	Gzip
	Snappy
	LZ4
	Zstd
)

var codecNames = [...]string{"none", "gzip", "snappy", "lz4", "zstd"}

// String is the codec as Kafka's own configuration spells it.
func (c Codec) String() string {
	if int(c) < len(codecNames) {
		return codecNames[c]
	}
	return fmt.Sprintf("codec %d", uint8(c))
}

// MarshalText spells the codec.
func (c Codec) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads what String writes.
func (c *Codec) UnmarshalText(text []byte) error {
	for i, name := range codecNames {
		if name == string(text) {
			*c = Codec(i)
			return nil
		}
	}
	return fmt.Errorf("%q is no compression: write none, gzip, snappy, lz4 or zstd", text)
}

// Compressor compresses records and keeps its tables and buffers for the next time. One goroutine uses it at a time.
type Compressor struct {
	codec Codec
	lz4   lz4.Compressor
	zstd  *zstd.Encoder
	gzip  *gzip.Writer
	out   bytes.Buffer // gzip's
}

// zstdWindow bounds what zstd remembers, and so its memory; a batch is rarely larger.
const zstdWindow = 1 << 20

// NewCompressor makes a compressor. None gives nil, which leaves records as they are.
func NewCompressor(codec Codec) (*Compressor, error) {
	c := &Compressor{codec: codec}
	switch codec {
	case None:
		return nil, nil
	case Snappy, LZ4:
	case Gzip:
		c.gzip = gzip.NewWriter(&c.out)
	case Zstd:
		var err error
		c.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
			zstd.WithWindowSize(zstdWindow), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false))
		if err != nil {
			return nil, fmt.Errorf("making a zstd encoder: %w", err)
		}
	default:
		return nil, fmt.Errorf("%v is no compression", codec)
	}
	return c, nil
}

// appendTo appends src compressed, or nothing and None where that is not smaller.
func (c *Compressor) appendTo(dst, src []byte) ([]byte, Codec) {
	start := len(dst)
	switch c.codec {
	case Gzip:
		c.out.Reset()
		c.gzip.Reset(&c.out)
		_, _ = c.gzip.Write(src) // into memory: cannot fail
		_ = c.gzip.Close()
		dst = append(dst, c.out.Bytes()...)
	case Snappy: // one block without the Java library's framing: every reader takes both
		dst = grow(dst, s2.MaxEncodedLen(len(src)))
		dst = dst[:start+len(s2.EncodeSnappy(dst[start:cap(dst)], src))]
	case LZ4:
		dst = c.appendLZ4(dst, src)
	case Zstd:
		dst = c.zstd.EncodeAll(src, dst)
	}
	if len(dst)-start >= len(src) {
		return dst[:start], None
	}
	return dst, c.codec
}

// The LZ4 frame format (https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md), as much of it as Kafka's own
// reader knows: independent blocks of 64 KiB, no checksums of content.
const (
	lz4BlockBytes  = 64 << 10
	lz4Stored      = 1 << 31 // the block is not compressed
	lz4FrameHeader = "\x04\x22\x4d\x18" + "\x60\x40" + "\x82"
)

// appendLZ4 appends one frame. Blocks are put together here, because the library's Writer allocates and may start
// goroutines.
func (c *Compressor) appendLZ4(dst, src []byte) []byte {
	dst = append(dst, lz4FrameHeader...)
	for len(src) > 0 {
		block := src[:min(len(src), lz4BlockBytes)]
		src = src[len(block):]
		at := len(dst)
		dst = grow(dst, 4+lz4.CompressBlockBound(len(block)))
		n, err := c.lz4.CompressBlock(block, dst[at+4:cap(dst)])
		if err != nil || n == 0 || n >= len(block) {
			dst = append(dst[:at+4], block...)
			binary.LittleEndian.PutUint32(dst[at:], uint32(len(block))|lz4Stored)
			continue
		}
		dst = dst[:at+4+n]
		binary.LittleEndian.PutUint32(dst[at:], uint32(n))
	}
	return append(dst, 0, 0, 0, 0) // end mark
}

// grow makes room for n more bytes and leaves the length.
func grow(dst []byte, n int) []byte {
	if cap(dst)-len(dst) >= n {
		return dst
	}
	larger := make([]byte, len(dst), 2*cap(dst)+n)
	copy(larger, dst)
	return larger
}
