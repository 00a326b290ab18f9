package wire

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/rowferry/rowferry/schema"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestGolden encodes testdata/*.in, whose lines are
//
//	table SCHEMA NAME COLUMN:KIND…
//	tx ID COMMIT_MICROSECONDS [ORIGIN]
//	OP LSN TABLE [before COLUMN=VALUE…] [after COLUMN=VALUE…]
//	t LSN TABLE…
//	m LSN PREFIX CONTENT
//
// with Go-quoted texts, NULL, and ~ for a value that did not change; columns not named were not captured.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.in")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, in := range files {
		t.Run(strings.TrimSuffix(filepath.Base(in), ".in"), func(t *testing.T) {
			script, err := os.ReadFile(in)
			if err != nil {
				t.Fatal(err)
			}
			j := NewJSON(schema.Position{Format: "postgres/1"})
			got, err := j.AppendBatch(nil, parse(t, string(script)))
			if err != nil {
				t.Fatal(err)
			}
			checkLines(t, got)
			golden := strings.TrimSuffix(in, ".in") + ".want"
			if *update {
				if err := os.WriteFile(golden, got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// parse turns a script into a batch.
func parse(t *testing.T, script string) *schema.Batch {
	b := schema.NewBatch(nil)
	tables := map[string]*schema.Table{}
	lines := bufio.NewScanner(strings.NewReader(script))
	for lines.Scan() {
		words := split(t, lines.Text())
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		switch words[0] {
		case "table":
			table := &schema.Table{Schema: words[1], Name: words[2]}
			for _, c := range words[3:] {
				name, kind, _ := strings.Cut(c, ":")
				table.Columns = append(table.Columns, schema.Column{Name: name, Kind: kindOf(t, kind)})
			}
			tables[words[2]] = table.WithVersion()
			continue
		case "copy":
			b.Copy = &schema.Copy{Table: tables[words[1]]}
			continue
		case "tx":
			tx := schema.Transaction{ID: number(t, words[1]), CommitTime: int64(number(t, words[2])), First: int32(len(b.Changes))}
			if len(words) > 3 {
				tx.Origin = words[3]
			}
			b.Transactions = append(b.Transactions, tx)
			continue
		}
		c := schema.Change{Op: opOf(t, words[0]), Offset: number(t, words[1])}
		switch c.Op {
		case schema.OpTruncate:
			c.Truncate = &schema.Truncate{}
			for _, name := range words[2:] {
				c.Truncate.Tables = append(c.Truncate.Tables, tables[name])
			}
			c.Table = c.Truncate.Tables[0]
		case schema.OpMessage:
			c.After = schema.Row{First: int32(len(b.Values)), Count: 2}
			b.Values = append(b.Values, text(b, words[2]), text(b, words[3]))
		default:
			c.Table = tables[words[2]]
			c.Before, c.After = rows(t, b, c.Table, words[3:])
		}
		b.Changes = append(b.Changes, c)
		if n := len(b.Transactions); n > 0 {
			b.Transactions[n-1].Count++
		}
	}
	return b
}

// rows reads the images of a change.
func rows(t *testing.T, b *schema.Batch, table *schema.Table, words []string) (before, after schema.Row) {
	var into *schema.Row
	for _, w := range words {
		switch w {
		case "before", "after":
			into = &before
			if w == "after" {
				into = &after
			}
			*into = schema.Row{First: int32(len(b.Values)), Count: int32(len(table.Columns))}
			b.Values = append(b.Values, make([]schema.Value, len(table.Columns))...)
			continue
		}
		name, value, _ := strings.Cut(w, "=")
		at := -1
		for i := range table.Columns {
			if table.Columns[i].Name == name {
				at = i
			}
		}
		if at < 0 || into == nil {
			t.Fatalf("%q is no column of %s", name, table)
		}
		v := &b.Values[int(into.First)+at]
		switch {
		case value == "NULL":
			*v = schema.NullValue
		case value == "~":
			*v = schema.UnchangedValue
		case strings.HasPrefix(value, "int:"):
			*v = schema.IntValue(int64(number(t, value[4:])))
		case strings.HasPrefix(value, "float:"):
			f, err := strconv.ParseFloat(value[6:], 64)
			if err != nil {
				t.Fatal(err)
			}
			*v = schema.FloatValue(f)
		case strings.HasPrefix(value, "bool:"):
			*v = schema.BoolValue(value == "bool:true")
		default:
			*v = text(b, value)
		}
	}
	return before, after
}

// text puts a text into the arena.
func text(b *schema.Batch, s string) schema.Value {
	start := len(b.Arena)
	b.Arena = append(b.Arena, s...)
	return schema.TextAt(start, len(s))
}

// split cuts a line at spaces; a quoted part belongs to the word it is in.
func split(t *testing.T, line string) []string {
	var words []string
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimLeft(line, " ") {
		word := ""
		for line != "" && line[0] != ' ' {
			if line[0] != '"' {
				word, line = word+line[:1], line[1:]
				continue
			}
			quoted, err := strconv.QuotedPrefix(line)
			if err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			plain, _ := strconv.Unquote(quoted)
			word, line = word+plain, line[len(quoted):]
		}
		words = append(words, word)
	}
	return words
}

func number(t *testing.T, s string) uint64 {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func kindOf(t *testing.T, name string) schema.Kind {
	for k := schema.KindInvalid; k <= schema.KindOpaque; k++ {
		if k.String() == name {
			return k
		}
	}
	t.Fatalf("no kind %q", name)
	return 0
}

func opOf(t *testing.T, name string) schema.Op {
	i := strings.Index("rcudtm", name)
	if i < 0 {
		t.Fatalf("no operation %q", name)
	}
	return schema.Op(i)
}

// checkLines requires that each line is JSON of its own and UTF-8.
func checkLines(t testing.TB, out []byte) {
	t.Helper()
	if len(out) > 0 && out[len(out)-1] != '\n' {
		t.Fatalf("the last line has no end: %q", out)
	}
	for l := range bytes.Lines(out) {
		if !json.Valid(l) || !utf8.Valid(l) {
			t.Fatalf("no JSON: %q", l)
		}
	}
}

func TestValues(t *testing.T) {
	tests := []struct {
		kind     schema.Kind
		in, want string
		replaced bool
	}{
		{kind: schema.KindInt64, in: "-9223372036854775808", want: "-9223372036854775808"},
		{kind: schema.KindUint64, in: "18446744073709551615", want: "18446744073709551615"},
		{kind: schema.KindInt32, in: "0", want: "0"},
		{kind: schema.KindInt32, in: "007", want: `"007"`},
		{kind: schema.KindInt32, in: "-", want: `"-"`},
		{kind: schema.KindInt32, in: "", want: `""`},
		{kind: schema.KindFloat64, in: "1e+20", want: "1e+20"},
		{kind: schema.KindFloat64, in: "-0", want: "-0"},
		{kind: schema.KindFloat64, in: "1e-05", want: "1e-05"},
		{kind: schema.KindFloat64, in: "NaN", want: `"NaN"`},
		{kind: schema.KindFloat64, in: "-Infinity", want: `"-Infinity"`},
		{kind: schema.KindFloat64, in: ".5", want: `".5"`},
		{kind: schema.KindFloat64, in: "1.", want: `"1."`},
		{kind: schema.KindBool, in: "t", want: "true"},
		{kind: schema.KindBool, in: "f", want: "false"},
		{kind: schema.KindBool, in: "maybe", want: `"maybe"`},
		{kind: schema.KindDecimal, in: "12.50", want: `"12.50"`},
		{kind: schema.KindBytes, in: `\x00ff`, want: `"\\x00ff"`},
		{kind: schema.KindText, in: "q\" b\\ \n\r\t\x00\x1f\x7f é ☃ \u2028 </script>", want: `"q\" b\\ \n\r\t\u0000\u001f` + "\x7f é ☃ \u2028 </script>\""},
		{kind: schema.KindText, in: "a\xffb\xc3", want: `"a\ufffdb\ufffd"`, replaced: true},
		{kind: schema.KindText, in: "\ufffd", want: "\"\ufffd\""},
		{kind: schema.KindJSON, in: `{"a": [1, 2.50], "b": null}`, want: `{"a": [1, 2.50], "b": null}`},
		{kind: schema.KindJSON, in: "{\r\n  \"a\\n\": 1,\n\n  \"a\\n\": 2\n}", want: `{  "a\n": 1,  "a\n": 2}`},
		{kind: schema.KindJSON, in: " [] ", want: ` [] `},
		{kind: schema.KindJSON, in: `null`, want: `"null"`},
		{kind: schema.KindJSON, in: `"a"`, want: `"\"a\""`},
		{kind: schema.KindJSON, in: `1.0`, want: `"1.0"`},
		{kind: schema.KindJSON, in: `{"a":1`, want: `"{\"a\":1"`},
		{kind: schema.KindJSON, in: `[1 2]`, want: `"[1 2]"`},
		{kind: schema.KindJSON, in: "[\"\xff\"]", want: `"[\"\ufffd\"]"`, replaced: true},
		{kind: schema.KindJSON, in: strings.Repeat("[", 513) + strings.Repeat("]", 513), want: `"` + strings.Repeat("[", 513) + strings.Repeat("]", 513) + `"`},
	}
	for _, tt := range tests {
		got, whole := appendValue(nil, tt.kind, schema.TextAt(0, len(tt.in)), []byte(tt.in))
		if string(got) != tt.want || whole == tt.replaced {
			t.Errorf("%v %q: got %s, replaced %v; want %s, %v", tt.kind, tt.in, got, !whole, tt.want, tt.replaced)
		}
	}
}

func TestInlineValues(t *testing.T) {
	tests := []struct {
		v    schema.Value
		want string
	}{
		{schema.IntValue(math.MinInt64), "-9223372036854775808"},
		{schema.UintValue(math.MaxUint64), "18446744073709551615"},
		{schema.FloatValue(1.5), "1.5"},
		{schema.FloatValue(math.Inf(-1)), `"-Infinity"`},
		{schema.FloatValue(math.NaN()), `"NaN"`},
		{schema.BoolValue(true), "true"},
		{schema.BoolValue(false), "false"},
	}
	for _, tt := range tests {
		got, whole := appendValue([]byte("x"), schema.KindOpaque, tt.v, nil)
		if string(got) != "x"+tt.want || !whole {
			t.Errorf("got %s, want x%s", got, tt.want)
		}
	}
}

// TestImpossibleChanges: what no source may send is an error, not a wrong line.
func TestImpossibleChanges(t *testing.T) {
	table := (&schema.Table{Schema: "s", Name: "t", Columns: make([]schema.Column, 2)}).WithVersion()
	for name, c := range map[string]schema.Change{
		"too few values":     {Op: schema.OpCreate, Table: table, After: schema.Row{Count: 1}},
		"too many values":    {Op: schema.OpDelete, Table: table, Before: schema.Row{Count: 3}},
		"message of nothing": {Op: schema.OpMessage},
		"unknown operation":  {Op: 99, Table: table},
	} {
		b := schema.NewBatch(nil)
		b.Values = make([]schema.Value, 3)
		b.Changes = []schema.Change{c}
		if out, err := NewJSON(schema.Position{}).AppendBatch(nil, b); err == nil {
			t.Errorf("%s: got %s, want an error", name, out)
		}
	}
}

// TestManyTableVersions: the cache of an encoder does not grow without bound, and never mixes tables up.
func TestManyTableVersions(t *testing.T) {
	j := NewJSON(schema.Position{Format: "x/1"})
	for i := range maxTables + 100 {
		table := &schema.Table{Name: fmt.Sprint(i)}
		if got := j.tables.get(table, "x"); !bytes.Contains(got.source, fmt.Appendf(nil, `"table":"%d"`, i)) {
			t.Fatalf("table %d: got %s", i, got.source)
		}
	}
	n := 0
	j.tables.byTable.Range(func(any, any) bool { n++; return true })
	if n > maxTables {
		t.Errorf("got %d tables remembered, want at most %d", n, maxTables)
	}
}

func FuzzValue(f *testing.F) {
	f.Add(uint8(schema.KindJSON), []byte(`{"a":["\u00e9\n",1e5,{},[],true]}`))
	f.Add(uint8(schema.KindFloat64), []byte("-1.5e-7"))
	f.Add(uint8(schema.KindText), []byte("\xed\xa0\x80\u2028"))
	f.Fuzz(func(t *testing.T, kind uint8, in []byte) {
		j := NewJSON(schema.Position{Format: "f/1"})
		table := &schema.Table{Schema: string(in), Name: "t", Columns: []schema.Column{{Name: string(in), Kind: schema.Kind(kind)}}}
		b := schema.NewBatch(nil)
		b.Arena, b.Values = in, []schema.Value{schema.TextAt(0, len(in))}
		b.Changes = []schema.Change{{Op: schema.OpCreate, Table: table, After: schema.Row{Count: 1}}}
		out, err := j.AppendBatch(nil, b)
		if err != nil {
			t.Fatal(err)
		}
		checkLines(t, out)
		if bytes.Count(out, []byte{'\n'}) != 1 {
			t.Fatalf("got %q, want one line", out)
		}
		got, whole := appendString(nil, in)
		var back string
		if err := json.Unmarshal(got, &back); err != nil || whole != utf8.Valid(in) || whole && back != string(in) {
			t.Fatalf("got %s (whole %v), back %q, %v; want %q", got, whole, back, err, in)
		}
		if utf8.Valid(in) && validDocument(in) != json.Valid(in) && bytes.Count(in, []byte{'['})+bytes.Count(in, []byte{'{'}) <= maxDepth {
			t.Fatalf("document %q: got valid %v, want %v", in, validDocument(in), json.Valid(in))
		}
	})
}

func BenchmarkAppendBatch(b *testing.B) {
	var script strings.Builder
	script.WriteString("table public orders id:int64 customer:int32 state:text total:decimal paid:bool ratio:float64 at:timestamptz note:text doc:json ref:uuid\n")
	for i := range 1000 {
		if i%100 == 0 {
			fmt.Fprintf(&script, "tx %d 1700000000000000\n", i)
		}
		fmt.Fprintf(&script, `c %d orders after id=%d customer=7 state=open total=12.50 paid=t ratio=0.25 at="2026-11-22 10:00:00+00" note="a plain note" doc="{\"k\": [1, 2]}" ref=6b3c5c8e-6d7b-4a55-9b0e-7a52f6a0f7c1`+"\n", i, i)
	}
	batch := parse(&testing.T{}, script.String())
	j := NewJSON(schema.Position{Format: "postgres/1"})
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if dst, err = j.AppendBatch(dst[:0], batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/row")
	b.SetBytes(int64(len(dst)))
}

// TestStringsByWords: every character, at every place of the words that are tested as a whole, beside others of all
// sorts.
func TestStringsByWords(t *testing.T) {
	slow := func(text []byte) string {
		var out strings.Builder
		out.WriteByte('"')
		for i, n := 0, 0; i < len(text); i += n {
			var r rune
			r, n = utf8.DecodeRune(text[i:])
			switch c := text[i]; {
			case r == utf8.RuneError && n == 1:
				out.WriteString(`\ufffd`)
			case c == '"', c == '\\':
				out.WriteString(`\` + string(rune(c)))
			case c == '\n':
				out.WriteString(`\n`)
			case c == '\r':
				out.WriteString(`\r`)
			case c == '\t':
				out.WriteString(`\t`)
			case c < ' ':
				fmt.Fprintf(&out, `\u%04x`, c)
			default:
				out.Write(text[i : i+n])
			}
		}
		out.WriteByte('"')
		return out.String()
	}
	for c := range 256 {
		for at := range 19 {
			for _, around := range []byte{'a', ' ', '~', 0x7f, '!', '#', ']', '['} {
				text := bytes.Repeat([]byte{around}, 19)
				text[at] = byte(c)
				if got, _ := appendString(nil, text); string(got) != slow(text) {
					t.Fatalf("%q: got %s, want %s", text, got, slow(text))
				}
			}
		}
	}
	for _, text := range []string{"Прощай, оружие", "a\u2028b\"c\\d", strings.Repeat("é", 20), "aaaaaaa\xc3\xa9aaaaaaa", "aaaaaaaa\xff\xfeaaaaaaaa"} {
		if got, _ := appendString(nil, []byte(text)); string(got) != slow([]byte(text)) {
			t.Errorf("%q: got %s, want %s", text, got, slow([]byte(text)))
		}
	}
}
