package kafka

import (
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/sinks/sinktest"
)

// TestMarksOfParts: a transaction in parts has one beginning and one end, which counts all of it.
func TestMarksOfParts(t *testing.T) {
	x := newTrial(t, func(c *Config) { c.TransactionTopic = prefix(t) + ".tx" })
	for i := range 3 {
		b := x.one(strconv.Itoa(i))
		b.Transactions[0].ID, b.Transactions[0].End = 7, 700
		b.Part = schema.PartMore
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
		if got := readCommitted(t, x.broker, x.cfg.TransactionTopic, x.topicOf("accounts")); len(got) > 0 {
			t.Fatalf("got %d records before the commit, want none", len(got))
		}
	}
	want := []string{
		`{"id":"7:700"} {"status":"BEGIN","id":"7:700","ts_ms":1700000000000,"event_count":null,"data_collections":null}`,
		`{"id":"7:700"} {"status":"END","id":"7:700","ts_ms":1700000000000,"event_count":3,"data_collections":[{"data_collection":"public.accounts","event_count":3}]}`,
	}
	if diff := cmp.Diff(want, show(readCommitted(t, x.broker, x.cfg.TransactionTopic))); diff != "" {
		t.Errorf("transaction records differ (-want +got):\n%s", diff)
	}
}

// TestHeartbeat: a record for a position that moves without changes, and none beside changes.
func TestHeartbeat(t *testing.T) {
	x := newTrial(t, func(c *Config) { c.HeartbeatTopic = prefix(t) + ".beat" })
	x.commit(x.one("1"))
	b := schema.NewBatch(nil)
	b.Phase, b.Upto = schema.PhaseStream, schema.Position{Format: "test/1", Token: "quiet"}
	x.commit(b)
	got := readCommitted(t, x.broker, x.cfg.HeartbeatTopic)
	if len(got) != 1 || !strings.Contains(string(got[0].Value), `"position":"quiet"`) || string(got[0].Key) != `{"pipeline":"suite"}` {
		t.Errorf("got %v, want one record with the position", show(got))
	}
}

// TestPartitionBy: rows that agree in columns, or in their transaction, meet in one partition.
func TestPartitionBy(t *testing.T) {
	tests := map[string]struct {
		change func(c *Config)
		same   func(d document) string
	}{
		"one":         {func(c *Config) { c.PartitionBy = "one" }, func(document) string { return "" }},
		"transaction": {func(c *Config) { c.PartitionBy = "transaction" }, func(d document) string { return d.After["note"].(string) }},
		"columns": {func(c *Config) {
			c.PartitionBy, c.PartitionColumns = "columns", map[string][]string{"public.accounts": {"name"}}
		}, func(d document) string { return d.After["name"].(string) }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			x := newTrial(t, tt.change)
			var batches []*schema.Batch
			for n := range 20 {
				batches = append(batches, x.tx(func(b *schema.Batch) {
					for i := range 10 {
						b.Changes = append(b.Changes, schema.Change{
							Op: schema.OpCreate, Table: sinktest.Accounts,
							After: row(b, strconv.Itoa(10*n+i), "name "+strconv.Itoa(i), "tx "+strconv.Itoa(n)),
						})
					}
				}))
			}
			x.commit(batches...)
			homes, used := map[string]int32{}, map[int32]bool{}
			for _, r := range readCommitted(t, x.broker, x.topicOf("accounts")) {
				which := tt.same(decode(t, r.Value))
				if home, ok := homes[which]; ok && home != r.Partition {
					t.Fatalf("%q is in partitions %d and %d", which, home, r.Partition)
				}
				homes[which], used[r.Partition] = r.Partition, true
			}
			if want := map[bool]int{true: 1, false: 3}[name == "one"]; len(used) != want {
				t.Errorf("got %d partitions in use, want %d", len(used), want)
			}
		})
	}
}

// TestSmallBatchesShareRecordBatches: many small transactions do not make a record batch each.
func TestSmallBatchesShareRecordBatches(t *testing.T) {
	x := newTrial(t, func(c *Config) { c.CreateTopics.Partitions = 1 })
	x.commit(x.one("0"))
	r := x.w.encoder.start()
	for i := range 100 {
		if err := x.w.encodeNow(r, x.one(strconv.Itoa(i)), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.finish(); err != nil {
		t.Fatal(err)
	}
	if got := r.batches(nil); len(got) != 1 || got[0].Batch.Count() != 100 {
		t.Errorf("got %d record batches, want one of 100 records", len(got))
	}
}
