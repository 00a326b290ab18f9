package producer

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/rowferry/rowferry/sinks/kafka/batch"
	"github.com/rowferry/rowferry/sinks/kafka/cluster"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bed is a cluster and a way to look at it.
type bed struct {
	testing.TB
	seeds []string
	fake  *kfake.Cluster // nil for a real one
}

// fake starts a broker in this process with topic "t" of six partitions.
func fake(tb testing.TB, options ...kfake.Opt) *bed {
	tb.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(3), kfake.SeedTopics(6, "t")}, options...)...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.Close)
	return &bed{TB: tb, seeds: c.ListenAddrs(), fake: c}
}

// limit bounds one test's calls.
func (b *bed) limit() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	b.Cleanup(cancel)
	return ctx
}

// long is limit for tests in which brokers come and go.
func (b *bed) long() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	b.Cleanup(cancel)
	return ctx
}

// cluster connects to the brokers until the test ends.
func (b *bed) cluster(cfg cluster.Config) *cluster.Cluster {
	if cfg.Brokers == nil {
		cfg.Brokers = b.seeds
	}
	cfg.ClientID = "test"
	c := cluster.New(cfg)
	b.Cleanup(func() { c.Close() })
	return c
}

// producer makes and initialises a producer with connections of its own.
func (b *bed) producer(cfg Config) *Producer {
	b.Helper()
	p := New(b.cluster(cluster.Config{}), cfg)
	if err := p.Init(b.limit()); err != nil {
		b.Fatalf("Init: %v", err)
	}
	return p
}

// must fails the test on an error.
func (b *bed) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// one builds a batch of one partition, a record for each value.
func one(topic string, number int32, values ...string) Batch {
	var builder batch.Builder
	for _, v := range values {
		builder.Append(&batch.Record{Key: []byte("k"), Value: []byte(v), Timestamp: time.Now().UnixMilli()})
	}
	return Batch{Topic: topic, Partition: number, Batch: builder.AppendTo(nil, nil)}
}

// committed reads what read_committed shows of a topic up to the last stable offset: "partition: values".
func (b *bed) committed(topic string) []string {
	b.Helper()
	ctx := b.limit()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.seeds...), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxWait(50*time.Millisecond), kgo.MetadataMinAge(50*time.Millisecond))
	b.must(err)
	defer client.Close()
	ends := b.stable(ctx, client, topic)
	got := map[int32][]string{}
	for {
		behind := false
		for _, end := range ends {
			behind = behind || end > 0
		}
		if !behind {
			break
		}
		fetches := client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			b.Fatalf("reading %s, left %v: %v", topic, ends, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset+1 >= ends[r.Partition] {
				ends[r.Partition] = 0
			}
			if !r.Attrs.IsControl() {
				got[r.Partition] = append(got[r.Partition], string(r.Value))
			}
		})
	}
	var lines []string
	for number, values := range got {
		lines = append(lines, fmt.Sprintf("%d: %s", number, strings.Join(values, " ")))
	}
	slices.Sort(lines)
	return lines
}

// stable asks for the last stable offset of each partition.
func (b *bed) stable(ctx context.Context, client *kgo.Client, topic string) map[int32]int64 {
	b.Helper()
	meta := kmsg.NewMetadataRequest()
	meta.Topics = []kmsg.MetadataRequestTopic{{Topic: &topic}}
	known, err := meta.RequestWith(ctx, client)
	b.must(err)
	req := kmsg.NewListOffsetsRequest()
	req.IsolationLevel = 1
	rt := kmsg.NewListOffsetsRequestTopic()
	rt.Topic = topic
	for _, p := range known.Topics[0].Partitions {
		rp := kmsg.NewListOffsetsRequestTopicPartition()
		rp.Partition, rp.Timestamp = p.Partition, -1
		rt.Partitions = append(rt.Partitions, rp)
	}
	req.Topics = append(req.Topics, rt)
	res, err := req.RequestWith(ctx, client)
	b.must(err)
	ends := map[int32]int64{}
	for _, p := range res.Topics[0].Partitions {
		ends[p.Partition] = p.Offset
	}
	return ends
}

// want compares what a topic shows. The last transaction's end may reach partitions a moment after it was confirmed.
func (b *bed) want(topic string, lines ...string) {
	b.Helper()
	got := b.committed(topic)
	for end := time.Now().Add(5 * time.Second); !slices.Equal(got, lines) && time.Now().Before(end); {
		got = b.committed(topic)
	}
	if !slices.Equal(got, lines) {
		b.Errorf("%s: got %q, want %q", topic, got, lines)
	}
}
