package oracle

import (
	"strings"
	"testing"

	"github.com/rowferry/rowferry/e2e/load"
)

// A small file over three tables: two copied accounts, then transactions 11 (worker 1), 12 (worker 2) and 13.
const clean = `{"op":"r","before":null,"after":{"id":1,"balance":15000},"source":{"schema":"public","table":"bank","lsn":100,"txId":0}}
{"op":"r","before":null,"after":{"id":2,"balance":5000},"source":{"schema":"public","table":"bank","lsn":100,"txId":0}}
{"op":"r","before":null,"after":{"key":7,"items":"{1}"},"source":{"schema":"public","table":"lists","lsn":100,"txId":0}}
{"op":"r","before":null,"after":{"key":7,"seq":1,"item":1},"source":{"schema":"public","table":"entries","lsn":100,"txId":0}}
{"op":"u","before":{"id":1,"balance":15000},"after":{"id":1,"balance":14990},"source":{"schema":"public","table":"bank","lsn":200,"txId":11}}
{"op":"u","before":{"id":2,"balance":5000},"after":{"id":2,"balance":5010},"source":{"schema":"public","table":"bank","lsn":210,"txId":11}}
{"op":"c","before":null,"after":{"txn":1,"i":1,"k":2},"source":{"schema":"public","table":"txn_a","lsn":220,"txId":11}}
{"op":"c","before":null,"after":{"txn":1,"i":2,"k":2},"source":{"schema":"public","table":"txn_b","lsn":230,"txId":11}}
{"op":"c","before":null,"after":{"id":5,"n":0,"body":"long"},"source":{"schema":"public","table":"docs","lsn":180,"txId":12}}
{"op":"u","before":null,"after":{"id":5,"n":1},"unchanged":["body"],"source":{"schema":"public","table":"docs","lsn":190,"txId":12}}
{"op":"u","before":null,"after":{"key":7,"items":"{1,2}"},"source":{"schema":"public","table":"lists","lsn":300,"txId":13}}
{"op":"c","before":null,"after":{"key":7,"seq":2,"item":2},"source":{"schema":"public","table":"entries","lsn":310,"txId":13}}
{"op":"u","before":{"id":5},"after":{"id":6,"n":1},"unchanged":["body"],"source":{"schema":"public","table":"docs","lsn":320,"txId":13}}
{"op":"d","before":{"id":6},"after":null,"source":{"schema":"public","table":"docs","lsn":330,"txId":13}}
`

var entries = []load.Entry{
	{ID: 1, Worker: 1, Xid: 9, Changes: 3}, // before the copy
	{ID: 2, Worker: 1, Xid: 11, Changes: 4},
	{ID: 3, Worker: 2, Xid: 12, Changes: 2},
	{ID: 4, Worker: 1, Xid: 1<<32 | 13, Changes: 4},
}

func tables() []Table {
	return []Table{
		{Name: "bank", Columns: []string{"balance", "id"}, Key: []int{1}},
		{Name: "docs", Columns: []string{"body", "id", "n"}, Key: []int{1}},
		{Name: "entries", Columns: []string{"item", "key", "seq"}, Key: []int{1, 2}},
		{Name: "lists", Columns: []string{"items", "key"}, Key: []int{1}},
		{Name: "subs", Columns: []string{"ghost", "id"}, Key: []int{1}},
		{Name: "txn_a", Columns: []string{"i", "k", "txn"}, Key: []int{0, 2}},
		{Name: "txn_b", Columns: []string{"i", "k", "txn"}, Key: []int{0, 2}},
	}
}

func judged(t *testing.T, text string, log []load.Entry) *Report {
	t.Helper()
	r := &Report{}
	f := NewFile(r, tables())
	if err := f.Read(strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	f.End()
	f.Silence(log)
	return r
}

// edit changes line n (from 1) of the clean file; the empty text takes it away.
func edit(n int, old, text string) func([]string) []string {
	return func(lines []string) []string {
		lines[n-1] = strings.Replace(lines[n-1], old, text, 1)
		return lines
	}
}

func without(n int) func([]string) []string {
	return func(lines []string) []string { return append(lines[:n-1:n-1], lines[n:]...) }
}

func swapped(a, b int) func([]string) []string {
	return func(lines []string) []string {
		lines[a-1], lines[b-1] = lines[b-1], lines[a-1]
		return lines
	}
}

func TestFileOracleSpeaks(t *testing.T) {
	tests := []struct {
		name string
		edit func([]string) []string
		want Class // empty: nothing
	}{
		{"clean", func(l []string) []string { return l }, ""},
		{"a line is missing", without(13), Lost},
		{"an update is missing", without(5), Torn},
		{"a copied row is missing", without(2), Lost},
		{"a whole transaction is missing", func(l []string) []string { return l[:10:10] }, Lost},
		{"the first half of a ledger number", without(7), Torn},
		{"a line comes twice", func(l []string) []string { return append(l, l[8]) }, Doubled},
		{"a transaction comes twice", func(l []string) []string { return append(l[:8:8], append(l[4:8:8], l[8:]...)...) }, Doubled},
		{"a transaction that never was", edit(9, `"txId":12`, `"txId":99`), Doubled},
		{"lines of two transactions mixed", swapped(8, 9), Torn},
		{"two transactions of a worker swapped", func(l []string) []string {
			return append(append(append([]string{}, l[:4]...), l[10:12]...), append(l[4:10:10], l[12:]...)...)
		}, Reordered},
		{"a position falls", edit(10, `"lsn":190`, `"lsn":170`), Reordered},
		{"a list grows in front", edit(11, `{1,2}`, `{2,1}`), Reordered},
		{"the old image is not the image before", edit(6, `"balance":5000}`, `"balance":4000}`), Lost},
		{"money appears", edit(6, `5010`, `5011`), Torn},
		{"an insert of a key that exists", edit(10, `"op":"u"`, `"op":"c"`), Doubled},
		{"an update of a key that does not exist", edit(9, `"id":5`, `"id":8`), Lost},
		{"a rolled-back row", edit(9, `"table":"docs"`, `"table":"subs"`), ""},
		{"a copied row after changes", func(l []string) []string { return append(l, strings.Replace(l[0], `"id":1`, `"id":3`, 1)) }, Reordered},
		{"a line without end", edit(14, `}}`, `}`), Wrong},
		{"another table", edit(9, `"table":"docs"`, `"table":"secret"`), Wrong},
		{"no transaction id", edit(9, `"txId":12`, `"txId":0`), Wrong},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			lines := test.edit(strings.SplitAfterN(clean, "\n", strings.Count(clean, "\n")))
			text := strings.Join(lines, "")
			if strings.Contains(test.name, "rolled-back") {
				text = strings.Replace(text, `{"id":5,"n":0,"body":"long"}`, `{"id":5,"ghost":true}`, 1)
				test.want = Doubled
			}
			r := judged(t, text, entries)
			if test.want == "" && !r.Clean() {
				t.Errorf("got violations in a clean file:\n%s", r)
			}
			if test.want != "" && r.Count(test.want) == 0 {
				t.Errorf("got no violation of class %q, but:\n%s", test.want, r)
			}
		})
	}
}

func TestFileOracleFindsAHalfLine(t *testing.T) {
	if r := judged(t, clean[:len(clean)-10], entries); r.Count(Torn) == 0 {
		t.Errorf("got no torn line, but:\n%s", r)
	}
}

func TestFoldKeepsWhatWasNotSent(t *testing.T) {
	r := &Report{}
	f := NewFile(r, tables())
	lines := strings.SplitAfter(clean, "\n")
	if err := f.Read(strings.NewReader(strings.Join(lines[:13], ""))); err != nil {
		t.Fatal(err)
	}
	got := f.tables["docs"].content()["6"]
	if want := "body=4:long id=1:6 n=1:1 "; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !r.Clean() {
		t.Error(r)
	}
}
