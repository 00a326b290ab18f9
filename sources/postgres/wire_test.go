package postgres

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/jackc/pgx/v5/pgproto3"
)

// messages encodes some of a server's messages.
func messages(t *testing.T, list ...pgproto3.BackendMessage) []byte {
	t.Helper()
	var out []byte
	for _, m := range list {
		var err error
		if out, err = m.Encode(out); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func TestWireGivesOneMessageAtATime(t *testing.T) {
	big := strings.Repeat("x", 100_000)
	stream := messages(t, &pgproto3.ParameterStatus{Name: "a", Value: big}, &pgproto3.CopyBothResponse{},
		&pgproto3.CopyData{Data: []byte("wfirst")}, &pgproto3.CopyData{Data: []byte("wsecond")})
	for name, src := range map[string]io.Reader{
		"all at once": bytes.NewReader(stream), "by bytes": iotest.OneByteReader(bytes.NewReader(stream)),
		"by halves": iotest.HalfReader(bytes.NewReader(stream)),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWire(src)
			frontend := pgproto3.NewFrontend(w, io.Discard)
			if m, err := frontend.Receive(); err != nil || len(m.(*pgproto3.ParameterStatus).Value) != len(big) {
				t.Fatalf("got %T, %v", m, err)
			}
			if m, err := frontend.Receive(); err != nil {
				t.Fatalf("got %T, %v", m, err)
			}
			if n := frontend.ReadBufferLen(); n != 0 {
				t.Fatalf("the library holds %d bytes back", n)
			}
			var got []string
			for range 2 {
				body := readMessage(t, w)
				got = append(got, string(body))
			}
			if got[0] != "wfirst" || got[1] != "wsecond" {
				t.Errorf("got %q", got)
			}
			if _, err := w.fill(); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("at the end: got %v", err)
			}
		})
	}
}

// readMessage takes the next message as the tail does.
func readMessage(t *testing.T, w *wire) []byte {
	t.Helper()
	for {
		_, length, err := w.header()
		if err == nil {
			w.need(length)
			var body []byte
			if body, err = w.next(length); err == nil {
				return body
			}
		}
		if !errors.Is(err, errShort) {
			t.Fatal(err)
		}
		if _, err := w.fill(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWireGrowsForALargeMessageOnly(t *testing.T) {
	sizes := []int{10, wireBuffer - 5, wireBuffer, 3 * wireBuffer, 7, wireBuffer / 2, wireBuffer / 2, wireBuffer - 100, 20}
	var stream []byte
	for i, n := range sizes {
		stream = append(stream, messages(t, &pgproto3.CopyData{Data: bytes.Repeat([]byte{byte(i)}, n)})...)
	}
	w := newWire(iotest.HalfReader(bytes.NewReader(stream)))
	for i, n := range sizes {
		body := readMessage(t, w)
		if len(body) != n || n > 0 && (body[0] != byte(i) || body[n-1] != byte(i)) {
			t.Fatalf("message %d: got %d bytes of %d, want %d", i, len(body), body[0], n)
		}
		if i == 4 {
			if _, err := w.fill(); err != nil {
				t.Fatal(err)
			}
			if len(w.buf) != wireBuffer {
				t.Errorf("the buffer stays at %d bytes", len(w.buf))
			}
		}
	}
}

// TestWireBelievesWhatArrives: a length is only a claim, and takes no memory by itself.
func TestWireBelievesWhatArrives(t *testing.T) {
	const arrived = 3 * wireBuffer
	w := newWire(bytes.NewReader(append([]byte{'d', 0x20, 0, 0, 0}, make([]byte, arrived)...)))
	var err error
	for err == nil {
		_, length, short := w.header()
		if short == nil {
			w.need(length)
		}
		_, err = w.fill()
	}
	if !errors.Is(err, io.ErrUnexpectedEOF) || w.wp-w.rp != wireHeader+arrived || len(w.buf) > 2*arrived {
		t.Errorf("got %v with %d bytes in a buffer of %d, want all %d of what arrived, and no more than twice the room",
			err, w.wp-w.rp, len(w.buf), wireHeader+arrived)
	}
}

func TestWireRefusesLengths(t *testing.T) {
	for name, stream := range map[string][]byte{
		"negative":        {'d', 0xff, 0xff, 0xff, 0xff},
		"below four":      {'d', 0, 0, 0, 3},
		"a large error":   {'E', 0x10, 0, 0, 0},
		"beyond a server": {'d', 0x7f, 0xff, 0xff, 0xff},
	} {
		w := newWire(bytes.NewReader(stream))
		if _, err := w.fill(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := w.header(); !errors.Is(err, errProtocol) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	w := newWire(bytes.NewReader([]byte{'R', 0, 0, 0, 1}))
	if _, err := w.Read(make([]byte, 10)); !errors.Is(err, errProtocol) {
		t.Errorf("under the library: got %v", err)
	}
}

func TestWireDiscards(t *testing.T) {
	stream := messages(t, &pgproto3.CopyData{Data: bytes.Repeat([]byte("x"), 5*wireBuffer)}, &pgproto3.CopyDone{})
	w := newWire(iotest.HalfReader(bytes.NewReader(stream)))
	for {
		kind, body, err := w.header()
		if err == nil && kind == 'c' {
			return
		}
		if err == nil && w.discard(body) {
			continue
		}
		if _, err := w.fill(); err != nil {
			t.Fatal(err)
		}
		if len(w.buf) != wireBuffer {
			t.Fatalf("the buffer grew to %d bytes", len(w.buf))
		}
	}
}
