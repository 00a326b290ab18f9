package postgres

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/rowferry/rowferry/schema/fault"
)

// A spill file is a run of frames, each one message of a transaction in progress:
//
//	length of the message  4 bytes, big-endian
//	its (sub)transaction   4
//	its place in the log   8
//	CRC-32C                4, of the 16 bytes before and the message
//	the message
const frameHeader = 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errSpill is the cause of every fault about a file that does not read as it was written.
var errSpill = errors.New("a spill file is damaged")

// spillDamaged asks to start again: the server sends the transaction once more, into a new file.
func spillDamaged(format string, args ...any) error {
	return &fault.Error{
		Class: fault.Retryable, Code: "source.spill_damaged",
		Err: fmt.Errorf("%w: %s", errSpill, fmt.Sprintf(format, args...)),
	}
}

// appendFrame appends a message's frame to dst.
func appendFrame(dst []byte, subxid uint32, lsn LSN, message []byte) []byte {
	start := len(dst)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(message)))
	dst = binary.BigEndian.AppendUint32(dst, subxid)
	dst = binary.BigEndian.AppendUint64(dst, uint64(lsn))
	dst = binary.BigEndian.AppendUint32(dst, frameSum(dst[start:], message))
	return append(dst, message...)
}

// frameSum is the checksum of a frame's first 16 bytes and its message.
func frameSum(header, message []byte) uint32 {
	return crc32.Update(crc32.Checksum(header[:16], castagnoli), castagnoli, message)
}

// frame is one message of a spill file.
type frame struct {
	subxid  uint32
	lsn     LSN
	message []byte // valid until the next frame is read
}

// frameReader reads frames. It never allocates more than the file could hold.
type frameReader struct {
	src  *bufio.Reader
	left int64 // bytes of the file not yet read
	buf  []byte
}

func newFrameReader(src io.Reader, size int64) *frameReader {
	return &frameReader{src: bufio.NewReaderSize(src, 64<<10), left: size}
}

// next reads one frame, io.EOF after the last.
func (r *frameReader) next() (frame, error) {
	if r.left == 0 {
		return frame{}, io.EOF
	}
	var header [frameHeader]byte
	if r.left < frameHeader {
		return frame{}, spillDamaged("%d bytes follow the last frame", r.left)
	}
	if err := r.read(header[:]); err != nil {
		return frame{}, err
	}
	length := int64(binary.BigEndian.Uint32(header[:]))
	if length > r.left {
		return frame{}, spillDamaged("a frame announces %d bytes, %d are left", length, r.left)
	}
	if int64(cap(r.buf)) < length || cap(r.buf) > wireBuffer && length < wireBuffer {
		r.buf = make([]byte, max(length, 4<<10))
	}
	f := frame{
		subxid:  binary.BigEndian.Uint32(header[4:]),
		lsn:     LSN(binary.BigEndian.Uint64(header[8:])),
		message: r.buf[:length],
	}
	if err := r.read(f.message); err != nil {
		return frame{}, err
	}
	if sum := frameSum(header[:], f.message); sum != binary.BigEndian.Uint32(header[16:]) {
		return frame{}, spillDamaged("a frame's checksum is wrong")
	}
	return f, nil
}

// read fills p and counts.
func (r *frameReader) read(p []byte) error {
	n, err := io.ReadFull(r.src, p)
	r.left -= int64(n)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return spillDamaged("it ends %d bytes early", r.left)
	case err != nil:
		return fmt.Errorf("reading a spill file: %w", err)
	}
	return nil
}
