package kafka

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks"
	"github.com/rowferry/rowferry/sinks/sinktest"
)

// debeziumTrial is a trial in Debezium's format, in topics of one partition, without headers of ours.
func debeziumTrial(t *testing.T, change func(*Config)) *trial {
	return newTrial(t, func(c *Config) {
		c.Format = Format{Value: formatDebezium, Tombstones: true}
		c.Format.Debezium.NullAsDefault = true
		c.CreateTopics.Partitions = 1
		if change != nil {
			change(c)
		}
	})
}

// aside is what records hold that another test looks at.
var aside = regexp.MustCompile(`"source":\{.*"origin_lsn":null\},|,"ts_ms":\d+(,"ts_us":\d+,"ts_ns":\d+)?`)

// showEvents writes records for comparison: key, value without source and times, headers.
func showEvents(records []*kgo.Record) []string {
	var out []string
	for _, r := range records {
		text := func(b []byte) string {
			if b == nil {
				return "null"
			}
			return aside.ReplaceAllString(string(b), "")
		}
		line := text(r.Key) + " " + text(r.Value)
		for _, h := range r.Headers {
			line += fmt.Sprintf(" %s=%s", h.Key, h.Value)
		}
		out = append(out, line)
	}
	return out
}

// TestEvents: changes of rows as Debezium writes them.
func TestEvents(t *testing.T) {
	x := debeziumTrial(t, nil)
	bare := (&schema.Table{Schema: "public", Name: "bare", Identity: schema.IdentityFull, Columns: sinktest.Entries.Columns[1:]}).WithVersion()
	x.commit(x.tx(func(b *schema.Batch) {
		b.Changes = []schema.Change{
			{Op: schema.OpCreate, Table: sinktest.Accounts, Offset: 1, After: row(b, "1", "a", "x")},
			{Op: schema.OpUpdate, Table: sinktest.Accounts, Offset: 2, After: row(b, "1", "b", "~")},
			{Op: schema.OpUpdate, Table: sinktest.Accounts, Offset: 3, Before: row(b, "1", "b", "x"), After: row(b, "1", "c", "x")},
			{Op: schema.OpUpdate, Table: sinktest.Accounts, Offset: 4, Before: row(b, "1", "c", "x"), After: row(b, "2", "c", "~")},
			{Op: schema.OpDelete, Table: sinktest.Accounts, Offset: 5, Before: row(b, "2", "c", "x")},
			{Op: schema.OpTruncate, Table: sinktest.Accounts, Offset: 6, Truncate: &schema.Truncate{Tables: []*schema.Table{sinktest.Accounts}}},
			{Op: schema.OpDelete, Table: bare, Offset: 7, Before: row(b, "1.50", "t")},
		}
	}))
	const unsent = "__debezium_unavailable_value"
	want := []string{
		`{"id":1} {"before":null,"after":{"id":1,"name":"a","note":"x"},"transaction":null,"op":"c"}`,
		`{"id":1} {"before":null,"after":{"id":1,"name":"b","note":"` + unsent + `"},"transaction":null,"op":"u"}`,
		`{"id":1} {"before":{"id":1,"name":"b","note":"x"},"after":{"id":1,"name":"c","note":"x"},"transaction":null,"op":"u"}`,
		`{"id":1} {"before":{"id":1,"name":"c","note":"x"},"after":null,"transaction":null,"op":"d"} __debezium.newkey={"id":2}`,
		`{"id":1} null __debezium.newkey={"id":2}`,
		`{"id":2} {"before":null,"after":{"id":2,"name":"c","note":"` + unsent + `"},"transaction":null,"op":"c"} __debezium.oldkey={"id":1}`,
		`{"id":2} {"before":{"id":2,"name":"c","note":"x"},"after":null,"transaction":null,"op":"d"}`,
		`{"id":2} null`,
		`null {"before":null,"after":null,"transaction":null,"op":"t"}`,
	}
	if diff := cmp.Diff(want, showEvents(readCommitted(t, x.broker, x.topicOf("accounts")))); diff != "" {
		t.Errorf("records differ (-want +got):\n%s", diff)
	}
	keyless := []string{`null {"before":{"amount":"AJY=","ok":true},"after":null,"transaction":null,"op":"d"}`, `null null`}
	if diff := cmp.Diff(keyless, showEvents(readCommitted(t, x.broker, x.topicOf("bare")))); diff != "" {
		t.Errorf("records without a key differ (-want +got):\n%s", diff)
	}
}

// TestEventsSkipped: what is left out leaves nothing, not even a tombstone. A new key is two operations of their own.
func TestEventsSkipped(t *testing.T) {
	x := debeziumTrial(t, func(c *Config) { c.Format.Debezium.Skip = []string{"truncate", "delete", "update"} })
	x.commit(x.tx(func(b *schema.Batch) {
		b.Changes = []schema.Change{
			{Op: schema.OpCreate, Table: sinktest.Accounts, Offset: 1, After: row(b, "1", "a", "x")},
			{Op: schema.OpUpdate, Table: sinktest.Accounts, Offset: 2, Before: row(b, "1", "a", "x"), After: row(b, "2", "b", "x")},
			{Op: schema.OpUpdate, Table: sinktest.Accounts, Offset: 3, Before: row(b, "2", "b", "x"), After: row(b, "2", "c", "x")},
			{Op: schema.OpDelete, Table: sinktest.Accounts, Offset: 4, Before: row(b, "2", "c", "x")},
			{Op: schema.OpTruncate, Table: sinktest.Accounts, Offset: 5, Truncate: &schema.Truncate{Tables: []*schema.Table{sinktest.Accounts}}},
		}
	}))
	got := showEvents(readCommitted(t, x.broker, x.topicOf("accounts")))
	if len(got) != 2 || !strings.Contains(got[0], `"op":"c"`) || !strings.Contains(got[1], `"op":"c"`) {
		t.Errorf("got %v, want the insert, and the half of the update that makes a new key", got)
	}
}

// TestEventsTellTransactions: with a topic of transactions each record tells its place, and the two halves of a change of
// key have one each.
func TestEventsTellTransactions(t *testing.T) {
	x := debeziumTrial(t, func(c *Config) { c.TransactionTopic = prefix(t) + ".transaction" })
	x.commit(x.tx(func(b *schema.Batch) {
		b.Changes = []schema.Change{
			{Op: schema.OpCreate, Table: sinktest.Accounts, Offset: 11, After: row(b, "1", "a", "x")},
			{Op: schema.OpCreate, Table: sinktest.Entries, Offset: 12, After: row(b, "1", "0.01", "f")},
			{Op: schema.OpUpdate, Table: sinktest.Accounts, Offset: 13, Before: row(b, "1", "a", "x"), After: row(b, "2", "a", "x")},
			{Op: schema.OpMessage, Offset: 14, After: row(b, "prefix", "content")},
		}
	}))
	lone := x.tx(func(b *schema.Batch) {
		b.Changes = []schema.Change{{Op: schema.OpMessage, Offset: 20, After: row(b, "lone", "\xff")}}
	})
	lone.Transactions[0].ID = 0
	x.commit(lone)
	accounts := showEvents(readCommitted(t, x.broker, x.topicOf("accounts")))
	for i, want := range []string{
		`"transaction":{"id":"1:11","total_order":1,"data_collection_order":1},"op":"c"`,
		`"transaction":{"id":"1:13","total_order":3,"data_collection_order":2},"op":"d"`, ` null`,
		`"transaction":{"id":"1:13","total_order":4,"data_collection_order":3},"op":"c"`,
	} {
		if i >= len(accounts) || !strings.Contains(accounts[i], want) {
			t.Errorf("record %d of %v: want %s", i, accounts, want)
		}
	}
	want := []string{
		`{"id":"1:11"} {"status":"BEGIN","id":"1:11","event_count":null,"data_collections":null}`,
		`{"id":"1:100"} {"status":"END","id":"1:100","event_count":5,"data_collections":[{"data_collection":"public.accounts","event_count":3},` +
			`{"data_collection":"message","event_count":1},{"data_collection":"public.entries","event_count":1}]}`,
	}
	if diff := cmp.Diff(want, showEvents(readCommitted(t, x.broker, x.cfg.TransactionTopic))); diff != "" {
		t.Errorf("transaction records differ (-want +got):\n%s", diff)
	}
	messages := []string{
		`{"prefix":"prefix"} {"op":"m","transaction":{"id":"1:14","total_order":5,"data_collection_order":1},"message":{"prefix":"prefix","content":"Y29udGVudA=="}}`,
		`{"prefix":"lone"} {"op":"m","transaction":null,"message":{"prefix":"lone","content":"/w=="}}`,
	}
	if diff := cmp.Diff(messages, showEvents(readCommitted(t, x.broker, x.cfg.withDefaults("suite").Messages.Topic))); diff != "" {
		t.Errorf("messages differ (-want +got):\n%s", diff)
	}
}

// TestEventsOfParts: places are counted through all parts of a transaction, and what was skipped has none.
func TestEventsOfParts(t *testing.T) {
	x := debeziumTrial(t, func(c *Config) {
		c.TransactionTopic, c.Format.Debezium.Skip = prefix(t)+".transaction", []string{"update"}
	})
	for i := range 3 {
		b := x.one(fmt.Sprint(i))
		b.Transactions[0].ID, b.Transactions[0].End, b.Part = 7, 700, schema.PartMore
		b.Changes = append(b.Changes, schema.Change{Op: schema.OpUpdate, Table: sinktest.Accounts, Offset: 9, After: row(b, "0", "a", "x")})
		b.Transactions[0].Count++
		if i == 2 {
			b.Part = schema.PartLast
			x.commit(b)
			break
		}
		p, err := x.w.Encode(b)
		if err == nil {
			err = x.w.Stage(t.Context(), 0, p)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	records := showEvents(readCommitted(t, x.broker, x.topicOf("accounts")))
	if len(records) != 3 || !strings.Contains(records[2], `"total_order":3,"data_collection_order":3}`) {
		t.Errorf("got %v, want the third place in the last record", records)
	}
	marks := showEvents(readCommitted(t, x.broker, x.cfg.TransactionTopic))
	if len(marks) != 2 || !strings.Contains(marks[1], `"event_count":3,"data_collections":[{"data_collection":"public.accounts","event_count":3}]`) {
		t.Errorf("got %v, want an end that counts three", marks)
	}
}

// TestEventHeartbeat: a record with the server's name.
func TestEventHeartbeat(t *testing.T) {
	x := debeziumTrial(t, func(c *Config) { c.HeartbeatTopic = prefix(t) + ".beat" })
	x.commit(x.one("1"))
	b := schema.NewBatch(nil)
	b.Phase, b.Upto = schema.PhaseStream, schema.Position{Format: "test/1", Token: "quiet"}
	x.commit(b)
	got := readCommitted(t, x.broker, x.cfg.HeartbeatTopic)
	if len(got) != 1 || string(got[0].Key) != `{"serverName":"suite"}` || !strings.HasPrefix(string(got[0].Value), `{"ts_ms":`) {
		t.Errorf("got %v, want one record with the server's name", got)
	}
}

// TestEventsOversize: a record that is too large is kept elsewhere as it is. In its place its large values are the
// placeholder that readers know, and a header refers to it; a column that has no placeholder halts as without claim checks.
func TestEventsOversize(t *testing.T) {
	dir, large := t.TempDir(), strings.Repeat("0123456789abcdef", 1000)
	x := debeziumTrial(t, func(c *Config) {
		c.MaxMessage, c.Oversize, c.ClaimCheck.Path = 4<<10, claimCheck, dir
	})
	x.commit(x.tx(func(b *schema.Batch) {
		b.Changes = []schema.Change{
			{Op: schema.OpCreate, Table: sinktest.Accounts, Offset: 1, After: row(b, "1", large, "small")},
			{Op: schema.OpDelete, Table: sinktest.Accounts, Offset: 2, Before: row(b, "1", large, "small")},
		}
	}))
	records := readCommitted(t, x.broker, x.topicOf("accounts"))
	got := showEvents(records)
	var kept []string
	for i, r := range records[:2] {
		var reference struct {
			SHA256 string
			Bytes  int
		}
		if len(r.Headers) != 1 || r.Headers[0].Key != headerClaim {
			t.Fatalf("got headers %v, want one with a reference", r.Headers)
		}
		if err := json.Unmarshal(r.Headers[0].Value, &reference); err != nil {
			t.Fatal(err)
		}
		text := fetchClaim(t, x, dir, reference.SHA256)
		if len(text) != reference.Bytes {
			t.Errorf("got %d bytes, want %d", len(text), reference.Bytes)
		}
		kept = append(kept, aside.ReplaceAllString(string(text), ""))
		got[i], _, _ = strings.Cut(got[i], " rowferry.claim=")
	}
	const row = `{"id":1,"name":"__debezium_unavailable_value","note":"small"}`
	want := []string{
		`{"id":1} {"before":null,"after":` + row + `,"transaction":null,"op":"c"}`,
		`{"id":1} {"before":` + row + `,"after":null,"transaction":null,"op":"d"}`, `{"id":1} null`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("records differ (-want +got):\n%s", diff)
	}
	for i, text := range want[:2] {
		want[i] = strings.Replace(strings.TrimPrefix(text, `{"id":1} `), "__debezium_unavailable_value", large, 1)
	}
	if diff := cmp.Diff(want[:2], kept); diff != "" {
		t.Errorf("values kept elsewhere differ (-want +got):\n%s", diff)
	}
	digits := (&schema.Table{Schema: "public", Name: "digits", Columns: []schema.Column{
		{Name: "n", Kind: schema.KindDecimal, Native: "numeric", Base: "numeric"},
	}}).WithVersion()
	err := x.tryCommit(x.tx(func(b *schema.Batch) {
		b.Changes = []schema.Change{{Op: schema.OpCreate, Table: digits, Offset: 3, After: noise(b, 16_000)}}
	}))
	if e := fault.Of(err); e.Code != "target.record_too_large" || e.Class != fault.PerRecord {
		t.Errorf("got %v, want a fault of the record", err)
	}
}

// noise adds an image of one number with so many digits, which no compression makes few.
func noise(b *schema.Batch, digits int) schema.Row {
	text := make([]byte, digits)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range text {
		text[i] = byte('1' + random.IntN(9))
	}
	return row(b, string(text))
}

// TestEventsNeedPostgres: another source halts before anything is fenced or written.
func TestEventsNeedPostgres(t *testing.T) {
	cfg := base(t, fake(t))
	cfg.Format.Value = formatDebezium
	_, _, err := newSink(t, cfg).Open(t.Context(), sinks.Claim{Pipeline: "suite", Source: "mysql:1", Fingerprint: "f", Holder: "h"})
	if fault.ClassOf(err) != fault.Terminal {
		t.Errorf("got %v, want a halt", err)
	}
}
