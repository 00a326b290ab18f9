package schema

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// copyBatch is a batch of COPY text for a table of width columns, of which those listed were copied.
func copyBatch(text string, width int, columns ...int) *Batch {
	b := NewBatch(nil)
	b.Copy = &Copy{
		Table: &Table{Schema: "public", Name: "t", Columns: make([]Column, width)}, Columns: columns, Raw: []byte(text), Offset: 77,
	}
	return b
}

// rowsOf spells the new rows of a batch; NULL and absent values have marks of their own.
func rowsOf(b *Batch) [][]string {
	var out [][]string
	for _, c := range b.Changes {
		var row []string
		for _, v := range b.Row(c.After) {
			switch {
			case v.IsNull():
				row = append(row, "NULL")
			case v.Absent():
				row = append(row, "-")
			default:
				row = append(row, "="+string(v.Bytes(b.Arena)))
			}
		}
		out = append(out, row)
	}
	return out
}

func TestDecodeCopy(t *testing.T) {
	tests := []struct {
		name, text string
		columns    []int
		want       [][]string
		bad        bool
	}{
		{name: "nothing", columns: []int{0, 1, 2}},
		{name: "two rows", text: "1\ta\tb\n2\t\t\\N\n", columns: []int{0, 1, 2}, want: [][]string{{"=1", "=a", "=b"}, {"=2", "=", "NULL"}}},
		{name: "other order, one left out", text: "x\t9\n", columns: []int{2, 0}, want: [][]string{{"=9", "-", "=x"}}},
		{name: "escapes", text: `a\tb\nc\\d\b\f\r\v` + "\t\\\\N\t\\N\n", columns: []int{0, 1, 2}, want: [][]string{{"=a\tb\nc\\d\b\f\r\v", `=\N`, "NULL"}}},
		{name: "lone backslash at the end", text: "a\\\n", columns: []int{0}, want: [][]string{{`=a\`, "-", "-"}}},
		{name: "no columns", text: "\n\n", want: [][]string{{"-", "-", "-"}, {"-", "-", "-"}}},
		{name: "too few fields", text: "1\t2\n", columns: []int{0, 1, 2}, bad: true},
		{name: "too many fields", text: "1\t2\n", columns: []int{0}, bad: true},
		{name: "a field where there is no column", text: "1\n", bad: true},
		{name: "no end", text: "1\ta\tb", columns: []int{0, 1, 2}, bad: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := copyBatch(tt.text, 3, tt.columns...)
			err := DecodeCopy(b)
			if tt.bad {
				if !errors.Is(err, ErrCopyText) {
					t.Fatalf("got %v, want ErrCopyText", err)
				}
				return
			}
			if err != nil || b.Copy.Raw != nil {
				t.Fatalf("got %v and %d bytes left, want nil and none", err, len(b.Copy.Raw))
			}
			if diff := cmp.Diff(tt.want, rowsOf(b)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			for _, c := range b.Changes {
				if c.Op != OpRead || c.Table != b.Copy.Table || c.Offset != 77 {
					t.Errorf("got %+v, want an existing row of the table at offset 77", c)
				}
			}
		})
	}
}

// TestDecodeCopyUndoesTheServersEscaping writes random rows as the server does.
func TestDecodeCopyUndoesTheServersEscaping(t *testing.T) {
	escape := strings.NewReplacer(`\`, `\\`, "\b", `\b`, "\f", `\f`, "\n", `\n`, "\r", `\r`, "\t", `\t`, "\v", `\v`)
	rapid.Check(t, func(t *rapid.T) {
		width := rapid.IntRange(1, 4).Draw(t, "width")
		var text strings.Builder
		var want [][]string
		for range rapid.IntRange(0, 5).Draw(t, "rows") {
			var fields, row []string
			for range width {
				if rapid.IntRange(0, 3).Draw(t, "null") == 0 {
					fields, row = append(fields, `\N`), append(row, "NULL")
					continue
				}
				s := rapid.StringOf(rapid.SampledFrom([]rune("aN\\\b\f\n\r\t\v é\x00"))).Draw(t, "value")
				fields, row = append(fields, escape.Replace(s)), append(row, "="+s)
			}
			text.WriteString(strings.Join(fields, "\t") + "\n")
			want = append(want, row)
		}
		columns := make([]int, width)
		for i := range columns {
			columns[i] = i
		}
		b := copyBatch(text.String(), width, columns...)
		if err := DecodeCopy(b); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, rowsOf(b)); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	})
}

func FuzzDecodeCopy(f *testing.F) {
	f.Add([]byte("1\ta\n2\t\\N\n"), 2)
	f.Add([]byte("\\\t\\"), 2)
	f.Fuzz(func(t *testing.T, text []byte, width int) {
		if width < 0 || width > 20 {
			return
		}
		columns := make([]int, width)
		for i := range columns {
			columns[i] = i
		}
		b := copyBatch(string(text), width, columns...)
		if err := DecodeCopy(b); err != nil {
			return
		}
		if got, want := len(b.Changes), bytes.Count(text, []byte{'\n'}); got != want {
			t.Errorf("got %d rows of %d lines", got, want)
		}
		if len(b.Arena) > len(text) {
			t.Errorf("got %d bytes from %d", len(b.Arena), len(text))
		}
		rowsOf(b)
	})
}

func BenchmarkDecodeCopy(b *testing.B) {
	text := strings.Repeat("12345\tsome text of a row\t2026-11-22 10:00:00+00\t\\N\twith\\tescape\n", 1000)
	batch := copyBatch("", 5, 0, 1, 2, 3, 4)
	c := batch.Copy
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	raw := []byte(text)
	for b.Loop() {
		batch.Reset()
		batch.Copy, c.Raw = c, raw
		if err := DecodeCopy(batch); err != nil {
			b.Fatal(err)
		}
	}
}
