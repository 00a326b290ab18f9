package kafka

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks"
	"github.com/rowferry/rowferry/sinks/kafka/ledger"
	"github.com/rowferry/rowferry/sinks/kafka/producer"
	"github.com/rowferry/rowferry/sinks/kafka/topic"
	"github.com/rowferry/rowferry/sinks/sinktest"
)

// trial is a target under test with its open writer.
type trial struct {
	t      testing.TB
	broker string
	cfg    Config
	w      *writer
	held   sinks.Held
	n      int
}

func newTrial(t testing.TB, change func(*Config)) *trial {
	t.Helper()
	x := &trial{t: t, broker: fake(t)}
	x.cfg = base(t, x.broker)
	if change != nil {
		change(&x.cfg)
	}
	x.open(newSink(t, x.cfg))
	t.Cleanup(func() { _ = x.w.Close() })
	return x
}

func (x *trial) open(s *Sink) {
	x.t.Helper()
	w, held, err := s.Open(x.t.Context(), sinks.Claim{Pipeline: "suite", Source: "postgres:1/shop/s", Fingerprint: "f", Holder: "h"})
	if err != nil {
		x.t.Fatalf("Open: %v", err)
	}
	x.w, x.held = w.(*writer), held
}

// tx is a batch of one transaction.
func (x *trial) tx(fill func(b *schema.Batch)) *schema.Batch {
	x.n++
	b := schema.NewBatch(nil)
	b.Phase, b.Upto = schema.PhaseStream, schema.Position{Format: "test/1", Token: strconv.Itoa(x.n)}
	b.Transactions = []schema.Transaction{{ID: uint64(x.n), End: uint64(x.n) * 100, CommitTime: 1_700_000_000_000_000}}
	fill(b)
	b.Transactions[0].Count = int32(len(b.Changes))
	return b
}

// row adds an image; ~ is a value the source did not send.
func row(b *schema.Batch, values ...string) schema.Row {
	r := schema.Row{First: int32(len(b.Values)), Count: int32(len(values))}
	for _, v := range values {
		if v == "~" {
			b.Values = append(b.Values, schema.UnchangedValue)
			continue
		}
		b.Values = append(b.Values, schema.TextAt(len(b.Arena), len(v)))
		b.Arena = append(b.Arena, v...)
	}
	return r
}

// tryCommit commits batches as the next group.
func (x *trial) tryCommit(batches ...*schema.Batch) error {
	g := sinks.Group{Seq: x.w.state.Seq + 1, Phase: schema.PhaseStream}
	for _, b := range batches {
		p, err := x.w.Encode(b)
		if err != nil {
			return err
		}
		g.Payloads, g.Upto = append(g.Payloads, p), b.Upto
	}
	ctx, cancel := context.WithTimeout(x.t.Context(), 20*time.Second)
	defer cancel()
	return x.w.Commit(ctx, g)
}

func (x *trial) commit(batches ...*schema.Batch) {
	x.t.Helper()
	if err := x.tryCommit(batches...); err != nil {
		x.t.Fatalf("Commit: %v", err)
	}
}

// topicOf is the topic of a table of the suite.
func (x *trial) topicOf(table string) string { return prefix(x.t) + ".public." + table }

// show writes records for comparison: partition, key, value without source and times, headers.
func show(records []*kgo.Record) []string {
	var out []string
	for _, r := range records {
		value := string(r.Value)
		if at := strings.Index(value, `,"source":`); at >= 0 {
			rest := ""
			if end := strings.Index(value, `},"ts_ms":`); end >= 0 {
				_, rest, _ = strings.Cut(value[end+10:], ",")
			}
			value = value[:at] + " " + rest
		}
		if r.Value == nil {
			value = "null"
		}
		heads := ""
		for _, h := range r.Headers {
			heads += " " + strings.TrimPrefix(h.Key, "rowferry.") + "=" + string(h.Value)
		}
		key := "null"
		if r.Key != nil {
			key = string(r.Key)
		}
		out = append(out, fmt.Sprintf("%s %s%s", key, strings.TrimSuffix(value, " "), heads))
	}
	return out
}

func TestRecords(t *testing.T) {
	x := newTrial(t, func(c *Config) {
		c.CreateTopics.Partitions = 1
		c.TransactionTopic = prefix(t) + ".tx"
	})
	accounts := sinktest.Accounts
	x.commit(x.tx(func(b *schema.Batch) {
		b.Changes = []schema.Change{
			{Op: schema.OpCreate, Table: accounts, After: row(b, "1", "ada", "x"), Offset: 11},
			{Op: schema.OpUpdate, Table: accounts, Before: row(b, "1", "~", "~"), After: row(b, "2", "ada", "~"), Offset: 12},
			{Op: schema.OpDelete, Table: accounts, Before: row(b, "2", "~", "~"), Offset: 13},
			{Op: schema.OpTruncate, Table: accounts, Truncate: &schema.Truncate{Tables: []*schema.Table{accounts}}, Offset: 14},
			{Op: schema.OpMessage, After: row(b, "audit", "hello"), Offset: 15},
		}
	}))
	want := []string{
		`{"id":1} {"op":"c","before":null,"after":{"id":1,"name":"ada","note":"x"} end=100 seq=0 lsn=11`,
		`{"id":1} {"op":"d","before":{"id":1},"after":null end=100 seq=1 lsn=12 newkey={"id":2}`,
		`{"id":1} null end=100 seq=1 lsn=12 newkey={"id":2}`,
		`{"id":2} {"op":"c","before":null,"after":{"id":2,"name":"ada"} "unchanged":["note"]} end=100 seq=1 lsn=12 oldkey={"id":1}`,
		`{"id":2} {"op":"d","before":{"id":2},"after":null end=100 seq=2 lsn=13`,
		`{"id":2} null end=100 seq=2 lsn=13`,
		`null {"op":"t","before":null,"after":null end=100 seq=3 lsn=14`,
	}
	if diff := cmp.Diff(want, show(readCommitted(t, x.broker, x.topicOf("accounts")))); diff != "" {
		t.Errorf("records differ (-want +got):\n%s", diff)
	}
	want = []string{`{"prefix":"audit"} {"op":"m","message":{"prefix":"audit","content":"aGVsbG8="} end=100 seq=4 lsn=15`}
	if diff := cmp.Diff(want, show(readCommitted(t, x.broker, x.cfg.Messages.Topic))); diff != "" {
		t.Errorf("messages differ (-want +got):\n%s", diff)
	}
	want = []string{
		`{"id":"1:100"} {"status":"BEGIN","id":"1:100","ts_ms":1700000000000,"event_count":null,"data_collections":null}`,
		`{"id":"1:100"} {"status":"END","id":"1:100","ts_ms":1700000000000,"event_count":5,"data_collections":[{"data_collection":"public.accounts","event_count":4}]}`,
	}
	if diff := cmp.Diff(want, show(readCommitted(t, x.broker, x.cfg.TransactionTopic))); diff != "" {
		t.Errorf("transaction records differ (-want +got):\n%s", diff)
	}
}

// TestPartitions: keys go where Java's client sends them, truncates everywhere, tables without a key to one place.
func TestPartitions(t *testing.T) {
	x := newTrial(t, nil)
	keyless := (&schema.Table{Schema: "public", Name: "log", Identity: schema.IdentityFull, Columns: []schema.Column{{Name: "line", Kind: schema.KindText, Ident: true}}}).WithVersion()
	x.commit(x.tx(func(b *schema.Batch) {
		for i := range 300 {
			b.Changes = append(b.Changes, schema.Change{Op: schema.OpCreate, Table: sinktest.Accounts, After: row(b, strconv.Itoa(i), strings.Repeat("long", 50), "x")},
				schema.Change{Op: schema.OpCreate, Table: keyless, After: row(b, strconv.Itoa(i))})
		}
		b.Changes = append(b.Changes, schema.Change{Op: schema.OpTruncate, Table: sinktest.Accounts, Truncate: &schema.Truncate{Tables: []*schema.Table{sinktest.Accounts}}})
	}))
	perPartition, truncates := map[int32]int{}, map[int32]int{}
	for _, r := range readCommitted(t, x.broker, x.topicOf("accounts")) {
		if r.Key == nil {
			truncates[r.Partition]++
			continue
		}
		perPartition[r.Partition]++
		if want := (kafka.Murmur2Balancer{}).Balance(kafka.Message{Key: r.Key}, 0, 1, 2); int(r.Partition) != want {
			t.Fatalf("key %s: got partition %d, want %d", r.Key, r.Partition, want)
		}
	}
	if diff := cmp.Diff(map[int32]int{0: 1, 1: 1, 2: 1}, truncates); diff != "" || len(perPartition) != 3 {
		t.Errorf("partitions: got %v with truncates %v, want 3 with one each", perPartition, truncates)
	}
	lines := readCommitted(t, x.broker, x.topicOf("log"))
	for i, r := range lines {
		if r.Partition != lines[0].Partition || r.Key != nil || !strings.Contains(string(r.Value), fmt.Sprintf(`"%d"`, i)) {
			t.Fatalf("record %d of a table without a key: got partition %d, key %s, value %s", i, r.Partition, r.Key, r.Value)
		}
	}
	if len(lines) != 300 {
		t.Errorf("got %d records of the table without a key, want 300", len(lines))
	}
}

// TestSnapshotMarks: the first and last rows of a copy and of each table are named.
func TestSnapshotMarks(t *testing.T) {
	x := newTrial(t, func(c *Config) { c.Topic, c.CreateTopics.Partitions = prefix(t)+".all", 1 })
	g := sinks.Group{Seq: 1, Phase: schema.PhaseCopy, Upto: schema.Position{Format: "test/1", Token: "c"}, Tables: []*schema.Table{sinktest.Accounts, sinktest.Entries}}
	if err := x.w.Commit(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	for _, one := range []struct {
		table *schema.Table
		done  bool
	}{{sinktest.Accounts, false}, {sinktest.Accounts, true}, {sinktest.Entries, false}, {sinktest.Entries, true}} {
		b := schema.NewBatch(nil)
		b.Copy = &schema.Copy{Table: one.table, Rows: 2, Columns: []int{0, 1, 2}, Raw: []byte("1\t2\tt\n3\t4\tf\n"), Done: one.done}
		p, err := x.w.Encode(b)
		if err == nil {
			err = x.w.Commit(t.Context(), sinks.Group{Phase: schema.PhaseCopy, Copy: b.Copy, Payloads: []sinks.Payload{p}})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, r := range readCommitted(t, x.broker, x.cfg.Topic) {
		got = append(got, decode(t, r.Value).Source.Snapshot)
	}
	want := []string{"first", "true", "true", "last_in_data_collection", "first_in_data_collection", "true", "true", "last"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("marks differ (-want +got):\n%s", diff)
	}
}

// TestOversize: a record that is too large halts, or is kept elsewhere; it is never left out.
func TestOversize(t *testing.T) {
	dir := t.TempDir()
	large := strings.Repeat("0123456789abcdef", 1000)
	tests := map[string]func(c *Config){
		"halt":   func(*Config) {},
		"folder": func(c *Config) { c.Oversize, c.ClaimCheck.Path = claimCheck, dir },
		"topic":  func(c *Config) { c.Oversize, c.ClaimCheck.Topic = claimCheck, prefix(t)+".claims" },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			x := newTrial(t, func(c *Config) {
				c.MaxMessage = 4 << 10
				change(c)
			})
			err := x.tryCommit(x.tx(func(b *schema.Batch) {
				b.Changes = []schema.Change{
					{Op: schema.OpCreate, Table: sinktest.Accounts, After: row(b, "1", "small", "x")},
					{Op: schema.OpCreate, Table: sinktest.Accounts, After: row(b, "2", large, "x"), Offset: 7},
				}
			}))
			if name == "halt" {
				e := fault.Of(err)
				if e.Code != "target.record_too_large" || e.Class != fault.PerRecord || strings.Contains(err.Error(), "0123") || !strings.Contains(err.Error(), "public.accounts at offset 7") {
					t.Errorf("got %v, want a fault of the record that names it and not its value", err)
				}
				if got := readCommitted(t, x.broker, x.topicOf("accounts")); len(got) > 0 {
					t.Errorf("got %d records of a group that failed, want none", len(got))
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var kept []byte
			for _, r := range readCommitted(t, x.broker, x.topicOf("accounts")) {
				if d := decode(t, r.Value); d.Claim.SHA256 != "" {
					if kept = fetchClaim(t, x, dir, d.Claim.SHA256); len(kept) != d.Claim.Bytes {
						t.Errorf("got %d bytes, want %d", len(kept), d.Claim.Bytes)
					}
				}
			}
			sum := sha256.Sum256(kept)
			if d := decode(t, kept); d.After["name"] != large || hex.EncodeToString(sum[:]) == "" {
				t.Errorf("the value kept is not the record's")
			}
		})
	}
}

// fetchClaim gets a value kept elsewhere.
func fetchClaim(t *testing.T, x *trial, dir, id string) []byte {
	t.Helper()
	if x.cfg.ClaimCheck.Topic == "" {
		text, err := os.ReadFile(filepath.Join(dir, id+".json"))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for _, r := range readCommitted(t, x.broker, x.cfg.ClaimCheck.Topic) {
		if string(r.Key) == id {
			return r.Value
		}
	}
	t.Fatalf("no claim %s", id)
	return nil
}

// one is a batch with one new row.
func (x *trial) one(id string) *schema.Batch {
	return x.tx(func(b *schema.Batch) {
		b.Changes = []schema.Change{{Op: schema.OpCreate, Table: sinktest.Accounts, After: row(b, id, "n", "x")}}
	})
}

func TestPartitionsAdded(t *testing.T) {
	tests := map[string]int32{"halt": 0, "keep": 3, "use": 7}
	for setting, want := range tests {
		t.Run(setting, func(t *testing.T) {
			x := newTrial(t, func(c *Config) { c.AddedPartitions = setting })
			x.commit(x.one("1"))
			answer, err := x.w.cluster.Client().CreatePartitions(t.Context(), &kafka.CreatePartitionsRequest{
				Topics: []kafka.TopicPartitionsConfig{{Name: x.topicOf("accounts"), Count: 7}},
			})
			if err != nil || answer.Errors[x.topicOf("accounts")] != nil {
				t.Fatal(err, answer)
			}
			if err := x.w.cluster.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			err = x.tryCommit(x.one("2"))
			if setting == "halt" {
				if e := fault.Of(err); e.Code != "target.partitions_added" || e.Class != fault.Terminal {
					t.Fatalf("got %v, want a halt", err)
				}
				_ = x.w.Close()
				if _, _, err = newSink(t, x.cfg).Open(t.Context(), sinks.Claim{Pipeline: "suite", Source: "postgres:1/shop/s", Fingerprint: "f"}); fault.Of(err).Code != "target.partitions_added" {
					t.Errorf("at the next start: got %v, want a halt", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := (*x.w.encoder.layout.Load())[x.topicOf("accounts")]; got != want || x.w.state.Topics[x.topicOf("accounts")] != want {
				t.Errorf("got %d partitions in use, %d in the ledger; want %d", got, x.w.state.Topics[x.topicOf("accounts")], want)
			}
		})
	}
}

func TestTopicGone(t *testing.T) {
	x := newTrial(t, nil)
	x.commit(x.one("1"))
	if err := topic.Delete(t.Context(), x.w.cluster, x.topicOf("accounts")); err != nil {
		t.Fatal(err)
	}
	err := x.tryCommit(x.one("2"))
	if e := fault.Of(err); e.Code != "target.topic_gone" || e.Class != fault.Terminal || !strings.Contains(e.Remedy, "--partitions 3") {
		t.Errorf("got %v, want a halt", err)
	}
}

func TestTopicsMayNotBeMade(t *testing.T) {
	broker := fake(t)
	cfg := base(t, broker)
	cfg.CreateTopics.Enabled = false
	_, _, err := newSink(t, cfg).Open(t.Context(), sinks.Claim{Pipeline: "suite"})
	if e := fault.Of(err); e.Code != "target.topic_not_found" || !strings.Contains(e.Remedy, "cleanup.policy=compact") {
		t.Errorf("got %v with remedy %q, want a halt with the command", err, e.Remedy)
	}
}

func TestLedgerTopicUnfit(t *testing.T) {
	broker := fake(t)
	cfg := base(t, broker)
	k, err := cfg.connect()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = k.Close() }()
	if _, err := topic.Create(t.Context(), k, []topic.Spec{{Name: cfg.Ledger.Topic, Partitions: 1, Replication: 1, Configs: map[string]string{"cleanup.policy": "delete"}}}); err != nil {
		t.Fatal(err)
	}
	_, _, err = newSink(t, cfg).Open(t.Context(), sinks.Claim{Pipeline: "suite"})
	if e := fault.Of(err); e.Code != "target.ledger_topic" || e.Class != fault.Terminal {
		t.Errorf("got %v, want a halt", err)
	}
}

// TestLedgerSkipsAborted: a position in an aborted transaction does not count, whatever stands around it.
func TestLedgerSkipsAborted(t *testing.T) {
	x := newTrial(t, nil)
	x.commit(x.one("1"))
	if err := x.w.producer.Produce(t.Context(), abortedRecords(x)); err != nil {
		t.Fatal(err)
	}
	if err := x.w.producer.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	x.commit(x.one("2"))
	if err := x.w.producer.Produce(t.Context(), abortedRecords(x)); err != nil {
		t.Fatal(err)
	}
	_ = x.w.Close()
	x.open(newSink(t, x.cfg))
	if x.held.Seq != 2 || x.held.Position.Token != "2" {
		t.Errorf("held: got %+v, want what was committed last", x.held)
	}
}

// abortedRecords is a lie about the position.
func abortedRecords(x *trial) []producer.Batch {
	u := ledger.Update{Seq: 99, Phase: schema.PhaseStream, Position: schema.Position{Format: "test/1", Token: "never"}}
	return x.w.ledgerBatches(&u)
}
