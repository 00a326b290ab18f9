package postgres

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
)

func TestParse(t *testing.T) {
	const y2k = microsecondsTo2000
	tests := []struct {
		name     string
		payload  []byte
		inStream bool
		want     message
	}{
		{name: "begin", payload: be32(be64(be64([]byte{'B'}, 16), 5), 7),
			want: message{kind: 'B', lsn: 16, time: y2k + 5, xid: 7}},
		{name: "commit", payload: be64(be64(be64([]byte{'C', 0}, 16), 48), 5),
			want: message{kind: 'C', lsn: 16, end: 48, time: y2k + 5}},
		{name: "origin", payload: cstr(be64([]byte{'O'}, 9), "a"), want: message{kind: 'O', lsn: 9, name: []byte("a")}},
		{name: "type", payload: cstr(cstr(be32([]byte{'Y'}, 1), "s"), "t"),
			want: message{kind: 'Y', relation: 1, space: []byte("s"), name: []byte("t")}},
		{name: "insert", payload: append(be32([]byte{'I'}, 1), "Nrest"...),
			want: message{kind: 'I', relation: 1, body: []byte("Nrest")}},
		{name: "insert in a stream", payload: append(be32(be32([]byte{'I'}, 44), 1), "N"...), inStream: true,
			want: message{kind: 'I', xid: 44, relation: 1, body: []byte("N")}},
		{name: "truncate", payload: be32(append(be32([]byte{'T'}, 1), 3), 9),
			want: message{kind: 'T', flags: 3, body: be32(nil, 9)}},
		{name: "message", payload: append(be32(cstr(be64([]byte{'M', 1}, 8), "p"), 2), "xy"...),
			want: message{kind: 'M', flags: 1, lsn: 8, name: []byte("p"), body: []byte("xy")}},
		{name: "stream start", payload: append(be32([]byte{'S'}, 3), 1), want: message{kind: 'S', xid: 3, flags: 1}},
		{name: "stream stop", payload: []byte{'E'}, want: message{kind: 'E'}},
		{name: "stream commit", payload: be64(be64(be64(append(be32([]byte{'c'}, 3), 0), 16), 48), 5),
			want: message{kind: 'c', xid: 3, lsn: 16, end: 48, time: y2k + 5}},
		{name: "stream abort", payload: be32(be32([]byte{'A'}, 3), 4), want: message{kind: 'A', xid: 3, subxid: 4}},
		{name: "stream abort of protocol 4", payload: be64(be64(be32(be32([]byte{'A'}, 3), 4), 16), 5),
			want: message{kind: 'A', xid: 3, subxid: 4, lsn: 16, time: y2k + 5}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var m message
			if err := m.parse(tt.payload, tt.inStream); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, m, cmp.AllowUnexported(message{})); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
			// One byte more or less is never taken for something else, but where a body has no length of its own.
			open := m.kind == 'I'
			if err := m.parse(append(tt.payload[:len(tt.payload):len(tt.payload)], 0), tt.inStream); err == nil && !open {
				t.Error("with a byte more: got no error")
			}
			if err := m.parse(tt.payload[:len(tt.payload)-1], tt.inStream); err == nil && !open {
				t.Error("with a byte less: got no error")
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for kind := range 256 {
		var m message
		err := m.parse([]byte{byte(kind)}, false)
		switch byte(kind) {
		case 'E':
			if err != nil {
				t.Errorf("stream stop: got %v", err)
			}
		case 'b', 'P', 'K', 'r', 'p':
			if got := fault.Of(err); got.Code != "source.two_phase" || got.Class != fault.Terminal || got.Remedy == "" {
				t.Errorf("%q: got %+v", rune(kind), got)
			}
		default:
			if !errors.Is(err, errProtocol) || fault.ClassOf(err) != fault.Terminal {
				t.Errorf("%q: got %v", rune(kind), err)
			}
		}
	}
}

func TestRelationOf(t *testing.T) {
	w := newWAL().relation(5, 'i', ".t", "a*", "b")
	var m message
	if err := m.parse(w.out[5+logHeader:], false); err != nil {
		t.Fatal(err)
	}
	got, err := m.relationOf(map[uint32]string{25: "s.mood", 26: "s.other"})
	if err != nil {
		t.Fatal(err)
	}
	want := &relation{
		oid: 5, namespace: "pg_catalog", name: "t", identity: 'i', typeNames: map[uint32]string{25: "s.mood"},
		columns: []relationColumn{{name: "a", typeOID: 25, typmod: -1, key: true}, {name: "b", typeOID: 25, typmod: -1}},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(relation{}, relationColumn{})); diff != "" {
		t.Errorf("relation (-want +got):\n%s", diff)
	}
	for cut := range len(m.body) {
		short := m
		short.body = m.body[:cut]
		if _, err := short.relationOf(nil); err == nil {
			t.Errorf("cut to %d bytes: got no error", cut)
		}
	}
}

// FuzzPgoutput feeds one message to everything that reads messages: an error or a sensible result, never a panic,
// and no more memory than the message's size explains.
func FuzzPgoutput(f *testing.F) {
	w := newWAL().begin(1, 2).origin("o").typ(9, "s", "e").relation(1, 'd', "s.t", "id*", "v").insert(1, "1", null).
		update(1, 'K', []string{"1", null}, []string{"2", unchanged}).remove(1, 'O', "1", "x").truncate(3, 1, 2).
		logical(1, 5, "p", "c").commit(2).streamStart(3, 1).insert(1, "2", "z").streamStop().streamAbort(3, 4).streamCommit(3, 9)
	for b := w.out; len(b) > 0; {
		size := 1 + int(binary.BigEndian.Uint32(b[1:]))
		f.Add(b[5+logHeader:size], false)
		f.Add(b[5+logHeader:size], true)
		b = b[size:]
	}
	shape := layout{key: []bool{true, false}, width: 3, ordinals: []int{2, 0}}
	f.Fuzz(func(t *testing.T, payload []byte, inStream bool) {
		var m message
		if m.parse(payload, inStream) != nil {
			return
		}
		if m.kind == msgRelation {
			r, err := m.relationOf(nil)
			if err == nil && len(r.columns)*10 > len(payload) {
				t.Errorf("got %d columns from %d bytes", len(r.columns), len(payload))
			}
		}
		c := cursor{buf: m.body}
		var values []schema.Value
		for c.pos < len(c.buf) {
			mark := c.uint8()
			var err error
			if values, err = appendTuple(values, &c, 0, &shape, mark == 'K'); err != nil {
				break
			}
		}
		for _, v := range values {
			_ = v.AppendText(nil, m.body)
		}
	})
}
