package oracle

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// KafkaReader reads what consumers with isolation.level=read_committed see of topics, without a consumer group. The
// client library is not the one that Rowferry writes with, so that a mistake in one cannot hide in the other.
type KafkaReader struct {
	Client  *kgo.Client
	Topics  []string
	Markers bool // also yield the ends of transactions, as records for which Attrs.IsControl is true
}

// KafkaPartition is one partition as the broker described it at one moment.
type KafkaPartition struct {
	Topic     string
	Partition int32
	Start     int64 // the oldest record that is kept
	Stable    int64 // the last stable offset: records before it belong to transactions that have ended
	Written   int64 // the high watermark; it is above Stable while a transaction is open
	leader    int32
	topicID   [16]byte
}

const (
	latest   = -1 // of ListOffsets
	earliest = -2
	fetchMax = 4 << 20
	stalled  = 100 // fetches without progress, half a second each
)

// Records yields every record from the start of each partition to its last stable offset, which is asked for before
// anything is read: partition by partition in the order of topics' names, each in the order of offsets. It ends after an
// error. Brokers that are away are waited for as long as ctx allows. A record's bytes belong to the caller.
func (kr KafkaReader) Records(ctx context.Context) iter.Seq2[*kgo.Record, error] {
	return func(yield func(*kgo.Record, error) bool) {
		partitions, err := kr.Partitions(ctx)
		if err != nil {
			yield(nil, err)
			return
		}
		for _, p := range partitions {
			if !kr.read(ctx, p, yield) {
				return
			}
		}
	}
}

// All is Records as one list.
func (kr KafkaReader) All(ctx context.Context) ([]*kgo.Record, error) {
	var all []*kgo.Record
	for record, err := range kr.Records(ctx) {
		if err != nil {
			return nil, err
		}
		all = append(all, record)
	}
	return all, nil
}

// Settle waits until no transaction is open in the topics. A commit is answered before readers see it, so what was
// committed is sure to be seen only after this.
func (kr KafkaReader) Settle(ctx context.Context) error {
	for {
		partitions, err := kr.Partitions(ctx)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(partitions, KafkaPartition.open) {
			return nil
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("waiting for transactions to end: %w", err)
		}
	}
}

func (p KafkaPartition) open() bool { return p.Stable < p.Written }

// Hanging adds a violation for each partition in which a transaction is open. Called when every writer has ended, it
// finds the ones that keep consumers waiting.
func (kr KafkaReader) Hanging(ctx context.Context, r *Report) error {
	partitions, err := kr.Partitions(ctx)
	if err != nil {
		return err
	}
	r.Looked("kafka transactions that hang", 1)
	for _, p := range partitions {
		if p.open() {
			r.Add(Leaked, "partition %d of %s is stable up to %d of %d: a transaction is open", p.Partition, p.Topic, p.Stable, p.Written)
		}
	}
	return nil
}

// read yields a partition's records; false ends everything.
func (kr KafkaReader) read(ctx context.Context, p KafkaPartition, yield func(*kgo.Record, error) bool) bool {
	for offset, idle := p.Start, 0; offset < p.Stable; {
		records, next, err := kr.fetch(ctx, p, offset)
		if err == nil && next == offset {
			if idle++; idle == stalled {
				err = errors.New("the broker gives nothing more")
			}
		}
		switch {
		case retriable(err):
			if err = pause(ctx); err == nil {
				p.leader, p.topicID, err = kr.leader(ctx, p)
			}
			if err == nil || retriable(err) {
				continue
			}
			fallthrough
		case err != nil:
			yield(nil, fmt.Errorf("reading partition %d of %s at %d, before its end at %d: %w", p.Partition, p.Topic, offset, p.Stable, err))
			return false
		}
		if next > offset {
			offset, idle = next, 0
		}
		for _, record := range records {
			if record.Offset < p.Stable && !yield(record, nil) {
				return false
			}
		}
	}
	return true
}

// fetch reads some records and says where to go on.
func (kr KafkaReader) fetch(ctx context.Context, p KafkaPartition, offset int64) ([]*kgo.Record, int64, error) {
	part := kmsg.NewFetchRequestTopicPartition()
	part.Partition, part.FetchOffset, part.PartitionMaxBytes = p.Partition, offset, fetchMax
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic, topic.TopicID, topic.Partitions = p.Topic, p.topicID, []kmsg.FetchRequestTopicPartition{part}
	request := kmsg.NewPtrFetchRequest()
	request.MaxWaitMillis, request.MinBytes, request.MaxBytes, request.IsolationLevel = 500, 1, fetchMax, 1
	request.Topics = []kmsg.FetchRequestTopic{topic}
	answer, err := kr.Client.Broker(int(p.leader)).Request(ctx, request)
	if err != nil {
		return nil, offset, err
	}
	fetched := answer.(*kmsg.FetchResponse)
	if err := kerr.ErrorForCode(fetched.ErrorCode); err != nil {
		return nil, offset, err
	}
	if len(fetched.Topics) != 1 || len(fetched.Topics[0].Partitions) != 1 {
		return nil, offset, nil
	}
	options := kgo.ProcessFetchPartitionOpts{
		KeepControlRecords: kr.Markers, Offset: offset, IsolationLevel: kgo.ReadCommitted(), Topic: p.Topic, Partition: p.Partition,
	}
	got, next := kgo.ProcessFetchPartition(options, &fetched.Topics[0].Partitions[0], kgo.DefaultDecompressor(), nil)
	return got.Records, next, got.Err
}

// Partitions asks how far each partition reaches, in the order of names and numbers.
func (kr KafkaReader) Partitions(ctx context.Context) ([]KafkaPartition, error) {
	for {
		partitions, err := kr.ask(ctx)
		if !retriable(err) {
			return partitions, err
		}
		if waited := pause(ctx); waited != nil {
			return nil, errors.Join(err, waited)
		}
	}
}

func (kr KafkaReader) ask(ctx context.Context) ([]KafkaPartition, error) {
	partitions, err := kr.leaders(ctx)
	if err != nil {
		return nil, err
	}
	for i := range partitions {
		p := &partitions[i]
		for _, ask := range []struct {
			when      int64
			isolation int8
			into      *int64
		}{{earliest, 0, &p.Start}, {latest, 1, &p.Stable}, {latest, 0, &p.Written}} {
			if *ask.into, err = kr.offset(ctx, *p, ask.when, ask.isolation); err != nil {
				return nil, fmt.Errorf("asking how far partition %d of %s reaches: %w", p.Partition, p.Topic, err)
			}
		}
	}
	return partitions, nil
}

func (kr KafkaReader) offset(ctx context.Context, p KafkaPartition, when int64, isolation int8) (int64, error) {
	part := kmsg.NewListOffsetsRequestTopicPartition()
	part.Partition, part.Timestamp = p.Partition, when
	topic := kmsg.NewListOffsetsRequestTopic()
	topic.Topic, topic.Partitions = p.Topic, []kmsg.ListOffsetsRequestTopicPartition{part}
	request := kmsg.NewPtrListOffsetsRequest()
	request.IsolationLevel, request.Topics = isolation, []kmsg.ListOffsetsRequestTopic{topic}
	answer, err := kr.Client.Broker(int(p.leader)).Request(ctx, request)
	if err != nil {
		return 0, err
	}
	got := answer.(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]
	return got.Offset, kerr.ErrorForCode(got.ErrorCode)
}

// leaders lists the partitions of the topics and who leads them.
func (kr KafkaReader) leaders(ctx context.Context) ([]KafkaPartition, error) {
	request := kmsg.NewPtrMetadataRequest()
	for _, name := range kr.Topics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = &name
		request.Topics = append(request.Topics, t)
	}
	if len(request.Topics) == 0 {
		return nil, errors.New("reading Kafka: no topic was named")
	}
	answer, err := request.RequestWith(ctx, kr.Client)
	if err != nil {
		return nil, fmt.Errorf("asking for topics: %w", err)
	}
	var partitions []KafkaPartition
	for _, t := range answer.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return nil, fmt.Errorf("asking for topic %s: %w", *t.Topic, err)
		}
		for _, p := range t.Partitions {
			partitions = append(partitions, KafkaPartition{Topic: *t.Topic, Partition: p.Partition, leader: p.Leader, topicID: t.TopicID})
			if p.Leader < 0 {
				return nil, fmt.Errorf("asking for partition %d of %s: %w", p.Partition, *t.Topic, kerr.LeaderNotAvailable)
			}
		}
	}
	slices.SortFunc(partitions, func(a, b KafkaPartition) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return partitions, nil
}

// leader looks a partition up again.
func (kr KafkaReader) leader(ctx context.Context, p KafkaPartition) (int32, [16]byte, error) {
	partitions, err := KafkaReader{Client: kr.Client, Topics: []string{p.Topic}}.leaders(ctx)
	for _, other := range partitions {
		if other.Partition == p.Partition {
			return other.leader, other.topicID, nil
		}
	}
	return p.leader, p.topicID, err
}

// retriable tells whether brokers may answer otherwise in a moment. A topic that does not exist is no such matter.
func retriable(err error) bool {
	var broker *kerr.Error
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return false
	case errors.As(err, &broker):
		return broker.Retriable && !errors.Is(err, kerr.UnknownTopicOrPartition)
	}
	return kgo.IsRetryableBrokerErr(err)
}

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(20 * time.Millisecond):
		return nil
	}
}
