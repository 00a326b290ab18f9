package postgres

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	wireBuffer   = 256 << 10 // what one read may bring
	wireHeader   = 5         // type and length of a message
	wireSpare    = 32 << 10  // less room than this behind the unread bytes, and they move to the front
	wireOther    = 1 << 20   // limit of messages that are not CopyData: errors, notices, parameters
	wireCopyData = 1 << 30   // limit of CopyData: the server cannot build more either
)

// errShort says that the next message has not been read completely.
var errShort = errors.New("the message is not complete yet")

// wire reads Postgres' messages from a connection, through one buffer and without allocating.
//
// It stands under pgconn while the connection is set up: [wire.Read] gives pgconn one message at a time and never
// a byte of the next, so that pgconn holds nothing back when the log reader takes over with [wire.next].
type wire struct {
	src    io.Reader
	buf    []byte
	own    []byte // the buffer of normal size, while buf is a larger one for a large message
	rp, wp int    // unread bytes are buf[rp:wp]
	want   int    // of these, what the next message was said to need
	left   int    // bytes of the current message that pgconn has not yet taken
}

func newWire(src io.Reader) *wire {
	buf := make([]byte, wireBuffer)
	return &wire{src: src, buf: buf, own: buf}
}

// Read gives pgconn at most the rest of one message.
func (w *wire) Read(p []byte) (int, error) {
	if w.left == 0 {
		for w.wp-w.rp < wireHeader {
			if _, err := w.fill(); err != nil {
				return 0, err
			}
		}
		length := int(int32(binary.BigEndian.Uint32(w.buf[w.rp+1:])))
		if length < 4 {
			return 0, protocolFault("a message announces %d bytes", length)
		}
		w.left = 1 + length
	}
	if w.rp == w.wp {
		if _, err := w.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, w.buf[w.rp:min(w.wp, w.rp+w.left)])
	w.rp += n
	w.left -= n
	return n, nil
}

// fill reads once, blocking, and tells how much came.
func (w *wire) fill() (int, error) {
	unread := w.wp - w.rp
	if unread == 0 {
		w.rp, w.wp = 0, 0
	}
	if len(w.buf) > len(w.own) && max(unread, w.want) <= len(w.own)/2 {
		w.wp = copy(w.own, w.buf[w.rp:w.wp])
		w.rp, w.buf = 0, w.own
	}
	if len(w.buf)-w.wp < min(wireSpare, len(w.buf)/2) && w.rp > 0 {
		w.wp = copy(w.buf, w.buf[w.rp:w.wp])
		w.rp = 0
	}
	if w.wp == len(w.buf) {
		return 0, fmt.Errorf("filling a full buffer of %d bytes", len(w.buf))
	}
	n, err := w.src.Read(w.buf[w.wp:])
	w.wp += n
	if n > 0 {
		return n, nil // an error comes again with the next read
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return 0, err
}

// header is the kind and the length of the next message's body. It is errShort while less than that is buffered.
func (w *wire) header() (kind byte, body int, err error) {
	if w.wp-w.rp < wireHeader {
		return 0, 0, errShort
	}
	kind = w.buf[w.rp]
	body = int(int32(binary.BigEndian.Uint32(w.buf[w.rp+1:]))) - 4
	limit := wireOther
	if kind == 'd' {
		limit = wireCopyData
	}
	if body < 0 || body > limit {
		return 0, 0, protocolFault("message %q announces %d bytes", kind, body)
	}
	return kind, body, nil
}

// buffered is what is there of the next message's body.
func (w *wire) buffered(body int) []byte {
	from := w.rp + wireHeader
	return w.buf[from:min(w.wp, from+body)]
}

// next takes the next message, whose header was read. Its body is valid until the next fill.
func (w *wire) next(body int) ([]byte, error) {
	if w.wp-w.rp < wireHeader+body {
		return nil, errShort
	}
	b := w.buf[w.rp+wireHeader : w.rp+wireHeader+body]
	w.rp += wireHeader + body
	w.want = 0
	return b, nil
}

// need makes room for the first n bytes of the next message's body, little more than twice of what has arrived: a length is
// only a claim. A larger buffer is given up once what is in it fits the other.
func (w *wire) need(n int) {
	n += wireHeader
	w.want = n
	if len(w.buf)-w.rp >= n {
		return
	}
	if len(w.buf) >= n {
		w.wp = copy(w.buf, w.buf[w.rp:w.wp])
		w.rp = 0
		return
	}
	if len(w.buf)-(w.wp-w.rp) >= wireSpare {
		return // it is not full yet
	}
	larger := make([]byte, min(n+wireSpare, 2*len(w.buf)))
	w.wp = copy(larger, w.buf[w.rp:w.wp])
	w.rp = 0
	w.buf = larger
}

// discard passes over as much of the next message as is buffered, and tells whether that was all of it.
func (w *wire) discard(body int) bool {
	if w.wp-w.rp >= wireHeader+body {
		w.rp += wireHeader + body
		return true
	}
	// What is left shrinks to a message of its own.
	left, kind := body-(w.wp-w.rp-wireHeader), w.buf[w.rp]
	w.rp = w.wp - wireHeader
	w.buf[w.rp] = kind
	binary.BigEndian.PutUint32(w.buf[w.rp+1:], uint32(left+4))
	return false
}
