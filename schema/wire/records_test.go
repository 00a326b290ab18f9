package wire

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rowferry/rowferry/schema"
)

const recordScript = `table public orders id:int64 region:text name:text
tx 7 1700000000123456
c 10 orders after id=1 region=eu name=ada
u 11 orders before id=1 region=eu after id=2 region=~ name=~
d 12 orders before id=2 region="x\"y"
m 13 audit hello
`

func TestRecords(t *testing.T) {
	b := parse(t, recordScript)
	r := NewJSON(schema.Position{Format: "postgres/1"}).Records(b)
	r.Enter(&b.Transactions[0], "first")
	var got []string
	for i := range b.Changes {
		c := &b.Changes[i]
		value, err := r.AppendValue([]byte("> "), c)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(value))
		if c.Op == schema.OpMessage {
			continue
		}
		for _, row := range []schema.Row{c.Before, c.After} {
			if row.Count > 0 {
				key, ok := r.AppendKey(nil, c.Table, []int{1, 0}, b.Row(row), b.Row(c.Before))
				got = append(got, fmt.Sprintf("%s %v", key, ok))
			}
		}
	}
	got = append(got, string(r.AppendTruncate(nil, b.Changes[0].Table, 14)))
	tail := `"txId":7,"ts_ms":1700000000123,"snapshot":"first"},"ts_ms":1700000000123`
	source := `"source":{"connector":"postgres","schema":"public","table":"orders","lsn":`
	want := []string{
		`> {"op":"c","before":null,"after":{"id":1,"region":"eu","name":"ada"},` + source + `10,` + tail + `}`,
		`{"region":"eu","id":1} true`,
		`> {"op":"u","before":{"id":1,"region":"eu"},"after":{"id":2},` + source + `11,` + tail + `,"unchanged":["region","name"]}`,
		`{"region":"eu","id":1} true`,
		`{"region":"eu","id":2} true`,
		`> {"op":"d","before":{"id":2,"region":"x\"y"},"after":null,` + source + `12,` + tail + `}`,
		`{"region":"x\"y","id":2} true`,
		`> {"op":"m","message":{"prefix":"audit","content":"aGVsbG8="},"source":{"connector":"postgres","schema":"","table":"","lsn":13,` + tail + `}`,
		`{"op":"t","before":null,"after":null,` + source + `14,` + tail + `}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("records differ (-want +got):\n%s", diff)
	}
	if key, ok := r.AppendKey(nil, b.Changes[0].Table, []int{2}, b.Row(b.Changes[1].After), nil); ok {
		t.Errorf("a key the change does not bring: got %s", key)
	}
	if _, err := r.AppendValue(nil, &schema.Change{Op: schema.OpTruncate}); err == nil {
		t.Error("a truncate as a value: got no error")
	}
}

// TestRecordsAreTheLines: a record is the line a file would hold.
func TestRecordsAreTheLines(t *testing.T) {
	b := parse(t, recordScript)
	j := NewJSON(schema.Position{Format: "postgres/1"})
	lines, err := j.AppendBatch(nil, b)
	if err != nil {
		t.Fatal(err)
	}
	r := j.Records(b)
	r.Enter(&b.Transactions[0], "false")
	var got []byte
	for i := range b.Changes {
		if got, err = r.AppendValue(got, &b.Changes[i]); err != nil {
			t.Fatal(err)
		}
		got = append(got, '\n')
	}
	if diff := cmp.Diff(strings.Split(string(lines), "\n"), strings.Split(string(got), "\n")); diff != "" {
		t.Errorf("records differ from lines (-line +record):\n%s", diff)
	}
}

func TestRecordsAllocateNothing(t *testing.T) {
	b := parse(t, recordScript)
	r := NewJSON(schema.Position{Format: "postgres/1"}).Records(b)
	var dst []byte
	columns := []int{0}
	encode := func() {
		r.Reset(b)
		r.Enter(&b.Transactions[0], "false")
		dst = dst[:0]
		for i := range b.Changes[:2] {
			c := &b.Changes[i]
			dst, _ = r.AppendValue(dst, c)
			dst, _ = r.AppendKey(dst, c.Table, columns, b.Row(c.After), nil)
		}
	}
	encode()
	if n := testing.AllocsPerRun(100, encode); n > 0 {
		t.Errorf("got %v allocations for 2 changes, want none", n)
	}
}
