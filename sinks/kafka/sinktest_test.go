package kafka

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/rowferry/rowferry/e2e/servers"
	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/sinks"
	"github.com/rowferry/rowferry/sinks/sinktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake starts a broker inside the test.
func fake(t testing.TB) string {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.DefaultNumPartitions(3))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c.ListenAddrs()[0]
}

// realBroker is a Kafka outside the test, shared with others.
func realBroker(t testing.TB) string {
	t.Helper()
	if testing.Short() {
		t.Skip("starts Kafka")
	}
	return servers.KafkaForTest(t, servers.KafkaNewest).Addr()
}

var unique = fmt.Sprintf("t%d", os.Getpid())

// prefix is a beginning of topic names that no other test uses.
func prefix(t testing.TB) string {
	return "k-" + unique + "-" + fmt.Sprintf("%x", hashOf(t.Name()))
}

func hashOf(s string) uint32 {
	h := uint32(2166136261)
	for _, c := range []byte(s) {
		h = (h ^ uint32(c)) * 16777619
	}
	return h
}

// newSink makes a target; further calls make it again, as another process would.
func newSink(t testing.TB, cfg Config) *Sink {
	t.Helper()
	s, err := New(cfg, sinks.Runtime{Pipeline: "suite", StateDir: os.TempDir(), Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// base is a configuration whose names are the test's own.
func base(t testing.TB, broker string) Config {
	p := prefix(t)
	cfg := Config{URL: "kafka://" + broker, Topic: p + ".{schema}.{table}"}
	cfg.Ledger.Topic, cfg.Transaction.ID, cfg.Messages.Topic = p+".ledger", p, p+".message"
	cfg.CreateTopics = CreateTopics{Enabled: true, Partitions: 3, Replication: 1}
	cfg.Format = Format{Value: formatJSON, Tombstones: true, Headers: true}
	return cfg
}

func TestConformance(t *testing.T) {
	broker := fake(t)
	sinktest.Run(t, sinktest.Harness{Style: sinktest.Events, New: func(t *testing.T) sinktest.Target { return oneTopic(t, broker, "") }})
}

func TestConformanceOfRows(t *testing.T) {
	for name, start := range map[string]func(testing.TB) string{"fake": fake, "real": realBroker} {
		t.Run(name, func(t *testing.T) {
			broker := start(t)
			sinktest.Run(t, sinktest.Harness{Style: sinktest.Rows, New: func(t *testing.T) sinktest.Target {
				p := prefix(t)
				return target(t, base(t, broker), broker, func(t testing.TB) []sinktest.Event {
					return rows(t, readCommitted(t, broker, p+".public.accounts", p+".public.entries"))
				})
			}})
		})
	}
}

func TestConformanceAtLeastOnce(t *testing.T) {
	broker := fake(t)
	const visible = "without transactions a record is visible as soon as it is written"
	sinktest.Run(t, sinktest.Harness{
		Style: sinktest.Events,
		New:   func(t *testing.T) sinktest.Target { return oneTopic(t, broker, atLeastOnce) },
		Waivers: map[string]string{
			"second_writer_shuts_out_the_first":    "nothing but the source's lock keeps writers apart then",
			"stage_is_invisible_until_commit":      visible,
			"stage_is_dropped_by_close":            visible,
			"close_leaves_nothing":                 visible,
			"cancelled_commit_is_whole_or_nothing": visible,
		},
	})
}

// oneTopic is a target that puts everything into one partition, so that the order of all records shows.
func oneTopic(t *testing.T, broker, delivery string) sinktest.Target {
	cfg := base(t, broker)
	cfg.Topic, cfg.CreateTopics.Partitions, cfg.Delivery = prefix(t)+".all", 1, delivery
	return target(t, cfg, broker, func(t testing.TB) []sinktest.Event {
		return events(t, readCommitted(t, broker, cfg.Topic))
	})
}

// target is a Kafka target of the suite.
func target(t testing.TB, cfg Config, broker string, read func(testing.TB) []sinktest.Event) sinktest.Target {
	return sinktest.Target{
		Open: func(ctx context.Context, c sinks.Claim) (sinks.Writer, sinks.Held, error) {
			return newSink(t, cfg).Open(ctx, c)
		},
		Kill: func(_ testing.TB, w sinks.Writer) { _ = w.(*writer).cluster.Close() },
		Read: func(t testing.TB) []sinktest.Event {
			if cfg.Delivery != atLeastOnce {
				settled(t, broker, cfg.Transaction.ID)
			}
			return read(t)
		},
		Inspector: newSink(t, cfg),
	}
}

// document is a record's value.
type document struct {
	Op            string
	Before, After map[string]any
	Source        struct{ Schema, Table, Snapshot string }
	Unchanged     []string
	Claim         struct {
		SHA256 string
		Bytes  int
	}
}

func decode(t testing.TB, text []byte) document {
	t.Helper()
	var d document
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&d); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return d
}

// events reads records as a reader has to: tombstones say nothing more, the halves of a change of key are one, and a
// t record of a copy makes it forget the rows it has.
func events(t testing.TB, records []*kgo.Record) []sinktest.Event {
	t.Helper()
	var out []sinktest.Event
	halves := 0
	for _, r := range records {
		if r.Value == nil {
			continue
		}
		d := decode(t, r.Value)
		e := sinktest.Event{Table: d.Source.Schema + "." + d.Source.Table}
		row := d.After
		switch d.Op {
		case "m":
			continue
		case "c":
			e.Op = schema.OpCreate
			if header(r, headerOld) != "" {
				e.Op = schema.OpUpdate
				halves--
			}
		case "u":
			e.Op = schema.OpUpdate
		case "d":
			e.Op, row = schema.OpDelete, d.Before
			if header(r, headerNew) != "" {
				halves++
				continue
			}
		case "t":
			e.Op = schema.OpTruncate
			if d.Source.Snapshot == "true" {
				kept := out[:0]
				for _, one := range out {
					if one.Table != e.Table {
						kept = append(kept, one)
					}
				}
				out = kept
				continue
			}
		}
		for _, c := range columns(d.Source.Table) {
			if row != nil {
				e.Values = append(e.Values, valueOf(row, c.Name))
			}
		}
		out = append(out, e)
	}
	if halves != 0 {
		t.Errorf("changes of key: %d halves without the other", halves)
	}
	return out
}

// rows plays records into the rows they leave, each partition by itself.
func rows(t testing.TB, records []*kgo.Record) []sinktest.Event {
	t.Helper()
	type place struct {
		topic     string
		partition int32
		key       string
	}
	type row struct {
		place
		sinktest.Event
	}
	held := map[place]row{}
	homes := map[string]int32{} // of a key: all its records are in one partition
	for _, r := range records {
		at := place{r.Topic, r.Partition, string(r.Key)}
		if r.Key != nil {
			if home, ok := homes[r.Topic+at.key]; ok && home != r.Partition {
				t.Errorf("key %s: in partitions %d and %d", at.key, home, r.Partition)
			}
			homes[r.Topic+at.key] = r.Partition
		}
		if r.Value == nil {
			delete(held, at)
			continue
		}
		d := decode(t, r.Value)
		switch d.Op {
		case "m":
		case "t":
			for k := range held {
				if k.topic == r.Topic && k.partition == r.Partition {
					delete(held, k)
				}
			}
		case "d":
			delete(held, at)
		default:
			e := sinktest.Event{Table: d.Source.Schema + "." + d.Source.Table, Op: schema.OpRead}
			for _, c := range columns(d.Source.Table) {
				e.Values = append(e.Values, valueOf(d.After, c.Name))
			}
			held[at] = row{at, e}
		}
	}
	var out []sinktest.Event
	for _, r := range held {
		out = append(out, r.Event)
	}
	return out
}

func columns(table string) []schema.Column {
	if table == "accounts" {
		return sinktest.Accounts.Columns
	}
	return sinktest.Entries.Columns
}

func header(r *kgo.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

// valueOf spells one value of a row as the suite does.
func valueOf(row map[string]any, name string) string {
	v, ok := row[name]
	switch {
	case !ok:
		return sinktest.Absent
	case v == nil:
		return sinktest.Null
	case v == true:
		return "t"
	case v == false:
		return "f"
	}
	return fmt.Sprint(v)
}
