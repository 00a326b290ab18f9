package debezium

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/rowferry/rowferry/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	id  = schema.SourceID("postgres:7710919609784755906/shop/db/rowferry_shop")
	now = time.Date(2026, 11, 22, 10, 0, 0, 123456789, time.UTC)
)

func encoder(t testing.TB, cfg Config) *Encoder {
	t.Helper()
	e, err := New(cfg, id)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// orders is a table whose key's columns are in another order, and which has a default and a column that is left out.
func orders() *schema.Table {
	columns := []schema.Column{columnOf("integer"), columnOf("text"), columnOf("tsquery"), columnOf("integer")}
	for i, name := range []string{"id", "note", "search", "shop"} {
		columns[i].Name = name
	}
	columns[0].NotNull, columns[0].KeyPart, columns[0].Ident = true, 2, true
	columns[3].NotNull, columns[3].KeyPart, columns[3].Ident = true, 1, true
	columns[1].Default = "'none'::text"
	return (&schema.Table{Schema: "public", Name: "orders", Columns: columns}).WithVersion()
}

// row adds an image to a batch; ~ is a value that was not sent, - one that is not captured, and NULL itself.
func row(b *schema.Batch, values ...string) schema.Row {
	first := len(b.Values)
	for _, text := range values {
		switch text {
		case "~":
			b.Values = append(b.Values, schema.UnchangedValue)
		case "-":
			b.Values = append(b.Values, schema.Value{})
		case "NULL":
			b.Values = append(b.Values, schema.NullValue)
		default:
			b.Values = append(b.Values, schema.TextAt(len(b.Arena), len(text)))
			b.Arena = append(b.Arena, text...)
		}
	}
	return schema.Row{First: int32(first), Count: int32(len(values))}
}

const clock = `"ts_ms":1795341600123,"ts_us":1795341600123456,"ts_ns":1795341600123456789}`

// source is a source block between what differs.
func source(middle, snapshot, table, tx string) string {
	return `"source":{"version":"3.6.1.Final","connector":"postgresql","name":"p","ts_ms":1700000000000,"snapshot":"` + snapshot +
		`","db":"shop/db","sequence":"[` + middle + `]","ts_us":1700000000000001,"ts_ns":1700000000000001000,` + table +
		`"txId":` + tx + `,"lsn":70,"xmin":null,"origin":null,"origin_lsn":null}`
}

func TestRecords(t *testing.T) {
	e := encoder(t, configOf(""))
	table := orders()
	compiled := e.Table(table, "p.public.orders", table.Key())
	b := schema.NewBatch(nil)
	b.Changes = []schema.Change{
		{Op: schema.OpCreate, Table: table, Offset: 70, After: row(b, "1", "NULL", "'a'", "5")},
		{Op: schema.OpUpdate, Table: table, Offset: 70, Before: row(b, "1", "x", "NULL", "5"), After: row(b, "1", "~", "~", "5")},
		{Op: schema.OpDelete, Table: table, Offset: 70, Before: row(b, "1", "-", "-", "5")},
	}
	r := e.Records()
	r.Reset(b, now)
	tx := schema.Transaction{ID: 9, End: 90, CommitTime: 1_700_000_000_000_001}
	r.Enter(&tx, "false")
	const where = `"schema":"public","table":"orders",`
	from := source(`\"90\",\"70\"`, "false", where, "9")
	for i, want := range []string{
		`{"before":null,"after":{"id":1,"note":"none","shop":5},` + from + `,"transaction":null,"op":"c",` + clock,
		`{"before":{"id":1,"note":"x","shop":5},"after":{"id":1,"note":"__debezium_unavailable_value","shop":5},` + from +
			`,"transaction":{"id":"9:70","total_order":3,"data_collection_order":2},"op":"u",` + clock,
		`{"before":{"id":1,"note":"none","shop":5},"after":null,` + from + `,"transaction":null,"op":"d",` + clock,
	} {
		p := Place{}
		if i == 1 {
			p = Place{Total: 3, OfTable: 2}
		}
		got, err := r.AppendChange(nil, compiled, &b.Changes[i], p)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("change %d: want -, got +\n%s", i, diff)
		}
	}
	if got, want := string(r.AppendKey(nil, compiled, b.Row(b.Changes[0].After))), `{"shop":5,"id":1}`; got != want {
		t.Errorf("key: got %s, want %s", got, want)
	}
	if got, want := string(r.AppendKey(nil, compiled, nil)), `{"shop":0,"id":0}`; got != want {
		t.Errorf("key of nothing: got %s, want %s", got, want)
	}
	got := string(r.AppendTruncate(nil, compiled, 70, Place{}))
	if want := `{"before":null,"after":null,` + from + `,"transaction":null,"op":"t",` + clock; got != want {
		t.Errorf("truncate: got %s, want %s", got, want)
	}
	r.Enter(nil, "first")
	snapshot := string(r.AppendTruncate(nil, compiled, 70, Place{}))
	want := `{"before":null,"after":null,"source":{"version":"3.6.1.Final","connector":"postgresql","name":"p","ts_ms":1795341600123,` +
		`"snapshot":"first","db":"shop/db","sequence":"[null,\"70\"]","ts_us":1795341600123000,"ts_ns":1795341600123000000,` + where +
		`"txId":null,"lsn":70,"xmin":null,"origin":null,"origin_lsn":null},"transaction":null,"op":"t",` + clock
	if snapshot != want {
		t.Errorf("existing rows: got %s, want %s", snapshot, want)
	}
	wrong := schema.Change{Op: schema.OpCreate, Table: table, After: row(b, "1")}
	if _, err := r.AppendChange(nil, compiled, &wrong, Place{}); err == nil {
		t.Error("a row of one value: got no error")
	}
}

// TestSnapshotIsDefault: "false" is the default of source.snapshot, and is NULL to what does not write defaults.
func TestSnapshotIsDefault(t *testing.T) {
	for writes, want := range map[bool]string{true: `"snapshot":"false",`, false: `"snapshot":null,`} {
		cfg := configOf("")
		cfg.NullAsDefault = writes
		e := encoder(t, cfg)
		table := orders()
		compiled, r := e.Table(table, "p.public.orders", table.Key()), e.Records()
		r.Reset(schema.NewBatch(nil), now)
		r.Enter(&schema.Transaction{ID: 9, End: 90}, "false")
		if got := string(r.AppendTruncate(nil, compiled, 70, Place{})); !strings.Contains(got, want) {
			t.Errorf("null_as_default %t: got %s, want %s in it", writes, got, want)
		}
		r.Enter(nil, "first")
		if got := string(r.AppendTruncate(nil, compiled, 70, Place{})); !strings.Contains(got, `"snapshot":"first",`) {
			t.Errorf("null_as_default %t: got %s, want what it is of existing rows", writes, got)
		}
	}
}

func TestMessages(t *testing.T) {
	for modes, content := range map[string]string{"": "AP8=", "binary=hex": "00ff"} {
		e := encoder(t, configOf(modes))
		b := schema.NewBatch(nil)
		c := schema.Change{Op: schema.OpMessage, Offset: 70, After: row(b, "a \"prefix\"", "\x00\xff")}
		r := e.Records()
		r.Reset(b, now)
		r.Enter(&schema.Transaction{CommitTime: 1_700_000_000_000_001, Origin: ""}, "false")
		got, err := r.AppendMessage(nil, &c, Place{})
		if err != nil {
			t.Fatal(err)
		}
		want := `{"op":"m","ts_ms":1795341600123,` + source(`null,\"70\"`, "false", `"schema":"","table":"",`, "null") +
			`,"transaction":null,"message":{"prefix":"a \"prefix\"","content":"` + content + `"}}`
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("want -, got +\n%s", diff)
		}
		if got, want := string(e.AppendMessageKey(nil, []byte("x"))), `{"prefix":"x"}`; got != want {
			t.Errorf("key: got %s, want %s", got, want)
		}
	}
}

func TestTransactionsAndHeartbeats(t *testing.T) {
	e := encoder(t, configOf(""))
	tx := schema.Transaction{ID: 9, CommitTime: 1_700_000_000_000_001}
	key, value := e.AppendHeartbeat(nil, nil, 5)
	got := []string{
		string(e.AppendTransactionKey(nil, "9:70")), string(e.AppendBegin(nil, "9:70", &tx)),
		string(e.AppendEnd(nil, "9:90", &tx, []Tally{{"public.trunc_a", 1}, {"public.trunc_b", 2}})), string(key), string(value),
	}
	want := []string{
		`{"id":"9:70"}`, `{"status":"BEGIN","id":"9:70","event_count":null,"data_collections":null,"ts_ms":1700000000000}`,
		`{"status":"END","id":"9:90","event_count":3,"data_collections":[{"data_collection":"public.trunc_b","event_count":2},` +
			`{"data_collection":"public.trunc_a","event_count":1}],"ts_ms":1700000000000}`,
		`{"serverName":"p"}`, `{"ts_ms":5}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want -, got +\n%s", diff)
	}
}

func TestOtherSourcesAreRefused(t *testing.T) {
	for _, id := range []schema.SourceID{"mysql:1/a/b", "postgres:1", "postgres:1/a", ""} {
		if _, err := New(Config{}, id); err == nil {
			t.Errorf("%s: got no error", id)
		}
	}
}

// BenchmarkRow is a row of ten columns with its key.
func BenchmarkRow(b *testing.B) {
	e := encoder(b, configOf(""))
	table := &schema.Table{Schema: "public", Name: "orders"}
	var texts []string
	for i, one := range []struct{ base, text string }{
		{"bigint", "7919000"}, {"integer", "123"}, {"text", "shipped"}, {"numeric(12,2)", "977.50"}, {"boolean", "t"},
		{"double precision", "0.25"}, {"timestamp with time zone", "2026-11-22 10:00:00+00"},
		{"text", "a note that somebody wrote, of some length"}, {"uuid", "6b3c5c8e-6d7b-4a55-9b0e-7a52f6a0f7c1"}, {"bigint", "1234"},
	} {
		c := columnOf(one.base)
		c.Name = string(rune('a' + i))
		table.Columns, texts = append(table.Columns, c), append(texts, one.text)
	}
	batch := schema.NewBatch(nil)
	c := schema.Change{Op: schema.OpCreate, Table: table.WithVersion(), Offset: 1 << 34, After: row(batch, texts...)}
	compiled, r := e.Table(table, "p.public.orders", []int{0}), e.Records()
	r.Reset(batch, now)
	r.Enter(&schema.Transaction{ID: 9, End: 90, CommitTime: 1_700_000_000_000_001}, "false")
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = r.AppendKey(dst[:0], compiled, batch.Row(c.After))
		dst, _ = r.AppendChange(dst, compiled, &c, Place{})
	}
}

func BenchmarkAppendChange(b *testing.B) {
	for name, schemas := range map[string]bool{"plain": false, "schemas": true} {
		b.Run(name, func(b *testing.B) {
			cfg := configOf("")
			cfg.Schemas = schemas
			e := encoder(b, cfg)
			table := orders()
			compiled, batch := e.Table(table, "p.public.orders", table.Key()), schema.NewBatch(nil)
			c := schema.Change{Op: schema.OpCreate, Table: table, Offset: 70, After: row(batch, "1", "a note of some length", "NULL", "5")}
			r := e.Records()
			r.Reset(batch, now)
			r.Enter(&schema.Transaction{ID: 9, End: 90}, "false")
			var dst []byte
			b.ReportAllocs()
			for b.Loop() {
				dst, _ = r.AppendChange(dst[:0], compiled, &c, Place{})
			}
		})
	}
}
