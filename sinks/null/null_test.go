package null

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks"
	"github.com/rowferry/rowferry/sinks/fileledger"
	"github.com/rowferry/rowferry/sinks/sinktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newNull makes a null target that keeps its ledger in dir.
func newNull(t testing.TB, dir, format string) *Sink {
	t.Helper()
	s, err := New(Config{URL: "null:", Format: format}, sinks.Runtime{Pipeline: "suite", StateDir: dir, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformance(t *testing.T) {
	for _, format := range []string{"hash", "json"} {
		t.Run(format, func(t *testing.T) {
			sinktest.Run(t, sinktest.Harness{
				Style: sinktest.Counts,
				New: func(t *testing.T) sinktest.Target {
					dir := t.TempDir()
					return sinktest.Target{
						Open: func(ctx context.Context, c sinks.Claim) (sinks.Writer, sinks.Held, error) {
							return newNull(t, dir, format).Open(ctx, c)
						},
						Kill: func(_ testing.TB, w sinks.Writer) {
							w.(*writer).ledger.Close()
							w.(*writer).ledger = nil
						},
						Steal: func(t testing.TB) {
							if err := os.Remove(filepath.Join(dir, "null.ledger.lock")); err != nil {
								t.Fatal(err)
							}
						},
						Read:      func(t testing.TB) []sinktest.Event { return counted(t, dir) },
						Inspector: newNull(t, dir, format),
					}
				},
				Waivers: map[string]string{"forget": "the sums are in the ledger: there is nothing else to keep"},
			})
		})
	}
}

// counted is as many events as the ledger counts.
func counted(t testing.TB, dir string) []sinktest.Event {
	t.Helper()
	state, err := fileledger.Read(filepath.Join(dir, "null.ledger"), "suite")
	if err != nil {
		t.Fatal(err)
	}
	var out []sinktest.Event
	for table, r := range Results(state.Counts) {
		for op, tally := range r.Ops {
			for range tally.Rows {
				out = append(out, sinktest.Event{Table: table, Op: schema.Op(strings.Index("rcudt", op))})
			}
		}
	}
	return out
}

// TestSumEqualsCopyText: rows copied, rows inserted and the source's own COPY text have one sum, whatever the order.
func TestSumEqualsCopyText(t *testing.T) {
	lines := []string{"1\tada\t\\N\n", "2\ttab\\tand \\\\ and\\nline\t\n", "3\t\té\n"}
	rows, sum, err := HashCopyText(strings.NewReader(lines[2]+lines[0]+lines[1]), 3)
	if err != nil || rows != 3 {
		t.Fatalf("got %d rows, %v; want 3", rows, err)
	}
	dir := t.TempDir()
	w, _, err := newNull(t, dir, "").Open(t.Context(), sinks.Claim{Pipeline: "suite", Source: "s", Fingerprint: "f", Holder: "h"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	b := schema.NewBatch(nil)
	b.Copy = &schema.Copy{Table: sinktest.Accounts, Rows: 3, Columns: []int{0, 1, 2}, Raw: []byte(strings.Join(lines, ""))}
	p, err := w.Encode(b)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(t.Context(), sinks.Group{Copy: b.Copy, Payloads: []sinks.Payload{p}, Phase: schema.PhaseCopy}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "null.json"))
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]Result
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]Result{"public.accounts": {
		Rows: 3, Sum: sum, Ops: map[string]fileledger.Tally{"r": {Rows: 3, Sum: sum}},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if text, _ := os.ReadFile(filepath.Join(dir, "null.json.tmp")); text != nil {
		t.Error("a temporary file was left")
	}
}

// TestHashTellsApart: rows that differ have sums that differ.
func TestHashTellsApart(t *testing.T) {
	table := &schema.Table{Columns: make([]schema.Column, 2)}
	arena := []byte("abNULL")
	text := func(from, to int) schema.Value { return schema.TextAt(from, to-from) }
	rows := [][]schema.Value{
		{schema.NullValue, text(0, 0)}, {text(0, 0), schema.NullValue}, {text(0, 0), text(0, 0)},
		{{}, text(0, 0)}, {schema.UnchangedValue, text(0, 0)},
		{text(0, 2), text(0, 0)}, {text(0, 1), text(1, 2)}, {text(0, 0), text(0, 2)},
		{text(2, 6), text(0, 0)}, {schema.IntValue(1), text(0, 0)}, {schema.BoolValue(true), text(0, 0)},
	}
	seen := map[uint64]int{}
	var h hasher
	for i, row := range rows {
		sum, err := h.row(table, row, arena)
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := seen[sum]; ok {
			t.Errorf("rows %d and %d have one hash", other, i)
		}
		seen[sum] = i
	}
	inline, _ := h.row(table, []schema.Value{schema.IntValue(42), schema.BoolValue(true)}, nil)
	texts, _ := h.row(table, []schema.Value{schema.TextAt(0, 2), schema.TextAt(2, 1)}, []byte("42t"))
	if inline != texts {
		t.Error("a number held inline and its text have different hashes")
	}
}

func TestValuesAreDecoded(t *testing.T) {
	tests := []struct {
		kind schema.Kind
		good []string
		bad  []string
	}{
		{schema.KindInt8, []string{"-128", "127"}, []string{"128", "", "x", "1.0"}},
		{schema.KindInt16, []string{"-32768", "32767"}, []string{"32768"}},
		{schema.KindInt32, []string{"-2147483648", "0"}, []string{"2147483648", " 1"}},
		{schema.KindInt64, []string{"-9223372036854775808"}, []string{"9223372036854775808", "t"}},
		{schema.KindUint8, []string{"255"}, []string{"256", "-1"}},
		{schema.KindUint16, []string{"65535"}, []string{"65536"}},
		{schema.KindUint32, []string{"4294967295"}, []string{"4294967296"}},
		{schema.KindUint64, []string{"18446744073709551615"}, []string{"18446744073709551616"}},
		{schema.KindFloat32, []string{"1.5", "NaN", "Infinity", "-Infinity", "3.4028235e+38"}, []string{"1e39", "x", ""}},
		{schema.KindFloat64, []string{"1e+300", "-0"}, []string{"1e400", "1,5"}},
		{schema.KindBool, []string{"t", "f"}, []string{"true", ""}},
		{schema.KindDate, []string{"2026-11-22", "0044-03-15 BC", "infinity", "294276-12-31"}, []string{"22.11.2026", "now"}},
		{schema.KindTime, []string{"24:00:00", "10:00:00.123456"}, []string{"10:00"}},
		{schema.KindTimestamp, []string{"2026-11-22 10:00:00", "-infinity"}, []string{"2026-11-22T10:00:00", "2026-11-22"}},
		{schema.KindTimestampTZ, []string{"2026-11-22 10:00:00.5+00"}, []string{"Sun Nov 22"}},
		{schema.KindUUID, []string{"6b3c5c8e-6d7b-4a55-9b0e-7a52f6a0f7c1"}, []string{"6b3c5c8e6d7b4a559b0e7a52f6a0f7c1"}},
		{schema.KindText, []string{"", "anything"}, nil},
	}
	for _, tt := range tests {
		for _, s := range tt.good {
			if !fits(tt.kind, []byte(s)) {
				t.Errorf("%v %q: got refused, want read", tt.kind, s)
			}
		}
		for _, s := range tt.bad {
			if fits(tt.kind, []byte(s)) {
				t.Errorf("%v %q: got read, want refused", tt.kind, s)
			}
		}
	}
}

func TestWrongValueHaltsWithoutTellingIt(t *testing.T) {
	table := &schema.Table{Schema: "public", Name: "t", Columns: []schema.Column{{Name: "n", Kind: schema.KindInt32, Native: "integer"}}}
	var h hasher
	_, err := h.row(table, []schema.Value{schema.TextAt(0, 6)}, []byte("secret"))
	if e := fault.Of(err); e.Class != fault.PerRecord || strings.Contains(err.Error(), "secret") ||
		!strings.Contains(err.Error(), "public.t column n") {
		t.Errorf("got %v, want table and column named and not the value", err)
	}
}

func TestCopyTextThatIsNone(t *testing.T) {
	for _, text := range []string{"1\t2\t3\n", "1\n"} {
		if _, _, err := HashCopyText(strings.NewReader(text), 2); err == nil {
			t.Errorf("%q: got no error, want one", text)
		}
	}
	if rows, _, err := HashCopyText(strings.NewReader(strings.Repeat("x", 3<<20)+"\ty\n"), 2); rows != 1 || err != nil {
		t.Errorf("a long line: got %d rows, %v; want 1", rows, err)
	}
}

func BenchmarkEncode(b *testing.B) {
	batch := schema.NewBatch(nil)
	columns := []schema.Column{{Kind: schema.KindInt64}, {Kind: schema.KindText}, {Kind: schema.KindTimestampTZ}, {Kind: schema.KindBool}, {Kind: schema.KindFloat64}}
	table := (&schema.Table{Schema: "public", Name: "t", Columns: columns}).WithVersion()
	for i := range 1000 {
		first := int32(len(batch.Values))
		for _, s := range []string{fmt.Sprint(i), strings.Repeat("x", 60), "2026-11-22 10:00:00+00", "t", "12.5"} {
			batch.Values = append(batch.Values, schema.TextAt(len(batch.Arena), len(s)))
			batch.Arena = append(batch.Arena, s...)
		}
		batch.Changes = append(batch.Changes, schema.Change{Op: schema.OpCreate, Table: table, After: schema.Row{First: first, Count: 5}})
	}
	w := &writer{}
	b.ReportAllocs()
	for b.Loop() {
		p, err := w.Encode(batch)
		if err != nil {
			b.Fatal(err)
		}
		w.results.Put(p)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/row")
}
