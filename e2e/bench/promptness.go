package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rowferry/rowferry/e2e/daemon"
	"github.com/rowferry/rowferry/e2e/servers"
)

// ticking is the database that latency into Kafka is measured with.
const ticking = "ticking"

// besideLatency measures the time from a commit's answer at the source until a reader of committed records has the
// record, at 1,000 one-row transactions a second.
func (b *bench) besideLatency(ctx context.Context, worker *servers.Connect) error {
	source := b.source.URL(ticking)
	if err := do(ctx, b.source.URL("postgres"), "CREATE DATABASE "+ticking); err != nil {
		return err
	}
	if err := do(ctx, source, ticks, "CREATE PUBLICATION debezium FOR TABLE ticks"); err != nil {
		return err
	}
	var p50, p99, their50, their99 []sample
	for n := -1; n < b.options.rounds; n++ { // the first does not count: Java has not compiled everything
		other, err := b.promptDebezium(ctx, worker, n)
		if err != nil {
			return fmt.Errorf("round %d of Debezium: %w\n%s", n, err, worker.Log())
		}
		if n < 0 {
			continue
		}
		l, s, err := b.prompt(ctx, n)
		if err != nil {
			return err
		}
		their50, their99 = append(their50, sample{value: other.percentile(0.50)}), append(their99, sample{value: other.percentile(0.99)})
		s.value = l.percentile(0.50)
		p50 = append(p50, s)
		s.value = l.percentile(0.99)
		p99 = append(p99, s)
	}
	b.add("debezium_p50", p50, their50)
	b.add("debezium_p99", p99, their99)
	return nil
}

// promptDebezium is a round of a connector that is tuned for latency.
func (b *bench) promptDebezium(ctx context.Context, worker *servers.Connect, n int) (*latency, error) {
	run := fmt.Sprintf("ticking_debezium_%d", n+1)
	source := b.source.URL(ticking)
	err := do(ctx, source, "TRUNCATE ticks", fmt.Sprintf("SELECT pg_create_logical_replication_slot('%s', 'pgoutput')", run))
	if err != nil {
		return nil, err
	}
	if err := worker.Create(ctx, run, b.connector(ticking, run, "debezium", run, promptness)); err != nil {
		return nil, err
	}
	l, err := b.tick(ctx, run)
	if err != nil {
		return nil, err
	}
	if err := worker.Delete(ctx, run); err != nil {
		return nil, err
	}
	st := &stage{bench: b, source: source}
	if err := st.drop(ctx, run); err != nil {
		return nil, err
	}
	return l, b.deleteTopics(ctx, topicOf(run, "ticks"))
}

// prompt is a round of Rowferry.
func (b *bench) prompt(ctx context.Context, n int) (*latency, sample, error) {
	run := fmt.Sprintf("ticking_%d", n)
	source := b.source.URL(ticking)
	if err := do(ctx, source, "TRUNCATE ticks"); err != nil {
		return nil, sample{}, err
	}
	d, err := daemon.Start(daemon.Options{
		Binary: b.options.binary, Folder: filepath.Join(b.folder, run), LogLevel: "info",
		Pipelines: []daemon.Pipeline{{
			Name: run, Source: source, Target: "kafka://" + b.broker.Addr(), InTarget: daemon.Settings{"format": b.options.inKafka()},
		}},
	})
	if err != nil {
		return nil, sample{}, err
	}
	defer d.Kill()
	if err := d.Await(ctx, daemon.Following); err != nil {
		return nil, sample{}, err
	}
	l, err := b.tick(ctx, run)
	if err != nil {
		return nil, sample{}, fmt.Errorf("%w\n%s", err, d.LogEnd())
	}
	if _, err := d.Stop(30 * time.Second); err != nil {
		return nil, sample{}, err
	}
	cpu, peak := d.Usage()
	s := sample{cpu: float64(cpu.Microseconds()) / float64(writers*l.total()), peak: float64(peak) / (1 << 20), content: true} // or the reader had found it wrong
	st := &stage{bench: b, source: source}
	if err := st.drop(ctx, "rowferry_"+run); err != nil {
		return nil, sample{}, err
	}
	return l, s, b.deleteTopics(ctx, topicOf(run, "ticks"))
}

// tick plays a round of the load and reads the topic beside it. The topic appears with the first record.
func (b *bench) tick(ctx context.Context, run string) (*latency, error) {
	source, topic := b.source.URL(ticking), topicOf(run, "ticks")
	if err := do(ctx, source, `INSERT INTO ticks VALUES (0, 0, 'the first')`); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(time.Minute); ; {
		ends, err := b.visible(ctx, topic)
		if err != nil {
			return nil, err
		}
		if ends[0] > 0 {
			break
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("waiting for the first record: %w", context.DeadlineExceeded)
		}
		if err := sleep(ctx, between); err != nil {
			return nil, err
		}
	}
	l := &latency{source: source, warm: 4 * time.Second, counted: 10 * time.Second}
	r := &ticksReader{addrs: strings.Split(b.broker.Addr(), ","), topic: topic, latency: l}
	return l, l.round(ctx, r.watch)
}

// ticksReader reads the load of a round out of its topic.
type ticksReader struct {
	addrs   []string
	topic   string
	latency *latency
}

// errOrder is a record that does not follow its writer's last one.
var errOrder = errors.New("a record is missing, doubled or out of order")

// watch reads the topic until it has seen everything.
func (r *ticksReader) watch(ctx context.Context, total int) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(r.addrs...), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMinBytes(1),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{r.topic: {0: kgo.NewOffset().AtStart()}}))
	if err != nil {
		return fmt.Errorf("making a consumer: %w", err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, r.latency.warm+r.latency.counted+30*time.Second)
	defer cancel()
	var seen [writers]int
	for left := writers * total; left > 0; {
		fetches := client.PollFetches(ctx)
		now := time.Now()
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("reading topic %s: %w: it has %v of %d records of each writer", r.topic, err, seen, total)
		}
		for _, record := range fetches.Records() {
			var key struct{ Writer, N int }
			if err := json.Unmarshal(record.Key, &key); err != nil || key.Writer < 0 || key.Writer >= writers {
				return fmt.Errorf("reading the key of record %d of %s: %w", record.Offset, r.topic, err)
			}
			if key.N == 0 {
				continue // the first of all
			}
			if key.N != seen[key.Writer]+1 {
				return fmt.Errorf("reading record %d of %s: %w: %d of writer %d after %d", record.Offset, r.topic, errOrder, key.N, key.Writer, seen[key.Writer])
			}
			r.latency.see(key.Writer, &seen[key.Writer], key.N, r.latency.skipped(total), now)
			left--
		}
	}
	return nil
}
