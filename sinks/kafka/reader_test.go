package kafka

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// readCommitted reads topics as a consumer with isolation.level=read_committed does, up to where it gets: records in
// the order of topics, partitions and offsets. Topics that do not exist hold nothing. It is independent of the code
// under test.
func readCommitted(t testing.TB, broker string, topics ...string) []*kgo.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c, err := kgo.NewClient(kgo.SeedBrokers(broker))
	if err != nil {
		t.Fatal(err)
	}
	ends := stable(ctx, t, c, topics)
	c.Close()
	starts, left := map[string]map[int32]kgo.Offset{}, 0
	for topic, partitions := range ends {
		for p, end := range partitions {
			if end > 0 {
				if starts[topic] == nil {
					starts[topic] = map[int32]kgo.Offset{}
				}
				starts[topic][p] = kgo.NewOffset().AtStart()
				left++
			}
		}
	}
	if left == 0 {
		return nil
	}
	c, err = kgo.NewClient(kgo.SeedBrokers(broker), kgo.ConsumePartitions(starts), kgo.KeepControlRecords(),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var out []*kgo.Record
	for left > 0 {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("reading %v: %v, with %d partitions to go", topics, err, left)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				out = append(out, r)
			}
			if end := ends[r.Topic][r.Partition]; end > 0 && r.Offset >= end-1 {
				ends[r.Topic][r.Partition] = 0
				left--
			}
		})
	}
	slices.SortFunc(out, func(a, b *kgo.Record) int {
		return cmp.Or(slices.Index(topics, a.Topic)-slices.Index(topics, b.Topic), int(a.Partition-b.Partition), int(a.Offset-b.Offset))
	})
	return out
}

// settled waits until the end of a producer's transaction is written everywhere: EndTxn is answered before.
func settled(t testing.TB, broker, transactionalID string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c, err := kgo.NewClient(kgo.SeedBrokers(broker))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ask := kmsg.NewPtrDescribeTransactionsRequest()
	ask.TransactionalIDs = []string{transactionalID}
	for {
		answer, err := ask.RequestWith(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		if state := answer.TransactionStates[0].State; !strings.HasPrefix(state, "Prepare") {
			return
		}
	}
}

// stable asks for the last stable offset of every partition.
func stable(ctx context.Context, t testing.TB, c *kgo.Client, topics []string) map[string]map[int32]int64 {
	t.Helper()
	ask := kmsg.NewPtrMetadataRequest()
	for _, topic := range topics {
		one := kmsg.NewMetadataRequestTopic()
		one.Topic = kmsg.StringPtr(topic)
		ask.Topics = append(ask.Topics, one)
	}
	layout, err := ask.RequestWith(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	offsets := kmsg.NewPtrListOffsetsRequest()
	offsets.IsolationLevel = 1
	for _, topic := range layout.Topics {
		if topic.ErrorCode != 0 {
			continue
		}
		one := kmsg.NewListOffsetsRequestTopic()
		one.Topic = *topic.Topic
		for _, p := range topic.Partitions {
			part := kmsg.NewListOffsetsRequestTopicPartition()
			part.Partition, part.Timestamp = p.Partition, -1
			one.Partitions = append(one.Partitions, part)
		}
		offsets.Topics = append(offsets.Topics, one)
	}
	out := map[string]map[int32]int64{}
	if len(offsets.Topics) == 0 {
		return out
	}
	for _, shard := range c.RequestSharded(ctx, offsets) {
		if shard.Err != nil {
			t.Fatal(shard.Err)
		}
		for _, topic := range shard.Resp.(*kmsg.ListOffsetsResponse).Topics {
			for _, p := range topic.Partitions {
				if p.ErrorCode != 0 {
					t.Fatalf("offsets of %s/%d: error %d", topic.Topic, p.Partition, p.ErrorCode)
				}
				if out[topic.Topic] == nil {
					out[topic.Topic] = map[int32]int64{}
				}
				out[topic.Topic][p.Partition] = p.Offset
			}
		}
	}
	return out
}
