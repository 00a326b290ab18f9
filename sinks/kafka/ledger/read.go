package ledger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"
	"github.com/segmentio/kafka-go/protocol/listoffsets"

	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks/kafka/cluster"
)

const (
	committed  = 1 // isolation level
	latest     = -1
	earliest   = -2
	fetchBytes = 4 << 20
	fetchWait  = 500 * time.Millisecond
	patience   = 60 // attempts without a step ahead until it is an error
)

// Read reads the ledger from its beginning to its last stable offset: the end of what is committed or aborted. The
// state is zero when nothing was ever committed.
func Read(ctx context.Context, c *cluster.Cluster, topic string) (State, error) {
	state := NewState()
	first, err := offset(ctx, c, topic, earliest)
	if err != nil {
		return State{}, err
	}
	end, err := offset(ctx, c, topic, latest)
	if err != nil {
		return State{}, err
	}
	r := reader{cluster: c, topic: topic, next: first, state: &state}
	for stuck := 0; r.next < end; {
		was := r.next
		if err := r.fetch(ctx); err != nil {
			return State{}, err
		}
		if r.next > was {
			stuck = 0
		} else if stuck++; stuck == patience {
			return State{}, fault.Wait("target.cluster_moving",
				fmt.Errorf("reading the ledger %s: nothing comes at offset %d, with %d the end", topic, r.next, end))
		}
	}
	if first > 0 && state.Position.IsZero() {
		return State{}, Damaged(fmt.Errorf("the beginning of topic %s was deleted, and no position is in the rest: is its cleanup.policy compact?", topic))
	}
	return state, nil
}

// offset asks for the first offset of the ledger's partition, or for the last stable one.
func offset(ctx context.Context, c *cluster.Cluster, topic string, which int64) (int64, error) {
	for attempt := 0; ; attempt++ {
		n, err := askOffset(ctx, c, topic, which)
		var code kafka.Error
		if err == nil || attempt == patience || !errors.As(err, &code) || cluster.React(code) != cluster.Relocate && cluster.React(code) != cluster.Repeat {
			return n, cluster.Classify(err)
		}
		if err := move(ctx, c); err != nil {
			return 0, err
		}
	}
}

func askOffset(ctx context.Context, c *cluster.Cluster, topic string, which int64) (int64, error) {
	msg, err := c.RoundTrip(ctx, nil, &listoffsets.Request{
		ReplicaID: -1, IsolationLevel: committed,
		Topics: []listoffsets.RequestTopic{{
			Topic: topic, Partitions: []listoffsets.RequestPartition{{CurrentLeaderEpoch: -1, Timestamp: which}},
		}},
	})
	if err != nil {
		return 0, fmt.Errorf("asking for the offsets of topic %s: %w", topic, err)
	}
	topics := msg.(*listoffsets.Response).Topics
	if len(topics) == 0 || len(topics[0].Partitions) == 0 {
		return 0, fmt.Errorf("asking for the offsets of topic %s: %w", topic, kafka.LeaderNotAvailable)
	}
	p := topics[0].Partitions[0]
	if p.ErrorCode != 0 {
		return 0, fmt.Errorf("asking for the offsets of topic %s: %w", topic, kafka.Error(p.ErrorCode))
	}
	return p.Offset, nil
}

// move waits a moment and looks for the partition's leader again.
func move(ctx context.Context, c *cluster.Cluster) error {
	if err := cluster.Pause(ctx, fetchWait); err != nil {
		return err
	}
	return cluster.Classify(c.Refresh(ctx))
}

// reader reads forward. Aborted transactions and control records are left out here, by what the broker says of them.
type reader struct {
	cluster *cluster.Cluster
	topic   string
	next    int64 // offset
	state   *State
}

// fetch reads one answer's batches.
func (r *reader) fetch(ctx context.Context) error {
	msg, err := r.cluster.RoundTrip(ctx, nil, &fetch.Request{
		ReplicaID: -1, MaxWaitTime: int32(fetchWait / time.Millisecond), MinBytes: 1, MaxBytes: fetchBytes, IsolationLevel: committed, SessionEpoch: -1,
		Topics: []fetch.RequestTopic{{Topic: r.topic, Partitions: []fetch.RequestPartition{{
			CurrentLeaderEpoch: -1, FetchOffset: r.next, LogStartOffset: -1, PartitionMaxBytes: fetchBytes,
		}}}},
	})
	if err != nil {
		return cluster.Classify(fmt.Errorf("reading the ledger: %w", err))
	}
	for _, t := range msg.(*fetch.Response).Topics {
		for i := range t.Partitions {
			p := &t.Partitions[i]
			if p.ErrorCode != 0 {
				return r.failed(ctx, kafka.Error(p.ErrorCode))
			}
			if err := r.take(p); err != nil {
				return err
			}
		}
	}
	return nil
}

// failed passes over what passes by itself.
func (r *reader) failed(ctx context.Context, code kafka.Error) error {
	if react := cluster.React(code); react == cluster.Relocate || react == cluster.Repeat {
		return move(ctx, r.cluster)
	}
	return cluster.Classify(fmt.Errorf("reading the ledger: %w", code))
}

// take plays the batches of an answer. The answer names every aborted transaction it holds a part of.
func (r *reader) take(p *fetch.ResponsePartition) error {
	stream, ok := p.RecordSet.Records.(*protocol.RecordStream)
	if !ok {
		return nil // nothing came
	}
	pending, aborted := slices.Clone(p.AbortedTransactions), map[int64]bool{}
	for _, records := range stream.Records {
		switch b := records.(type) {
		case *protocol.ControlBatch: // commit or abort: the producer's transaction is over
			delete(aborted, b.ProducerID)
			// Its records may have been compacted away, or have come with the answer before.
			pending = slices.DeleteFunc(pending, func(t fetch.ResponseTransaction) bool {
				return t.ProducerID == b.ProducerID && t.FirstOffset <= b.BaseOffset
			})
			if _, err := r.records(b, b.BaseOffset); err != nil {
				return err
			}
		case *protocol.RecordBatch:
			from := r.next
			got, err := r.records(b, b.BaseOffset)
			if err != nil {
				return err
			}
			pending = slices.DeleteFunc(pending, func(t fetch.ResponseTransaction) bool {
				begun := t.FirstOffset < r.next
				aborted[t.ProducerID] = aborted[t.ProducerID] || begun
				return begun
			})
			if b.Attributes.Transactional() && aborted[b.ProducerID] {
				continue
			}
			for i := range got {
				if got[i].offset < from {
					continue // a batch is handed out whole
				}
				if err := r.state.Apply(got[i].Record); err != nil {
					return err
				}
			}
		default:
			return Damaged(fmt.Errorf("topic %s holds records in a format older than Kafka 0.11", r.topic))
		}
	}
	return nil
}

// found is a record and its place.
type found struct {
	Record
	offset int64
}

// records reads a batch to its end and steps past it. One that compaction has emptied is stepped past by one.
func (r *reader) records(batch protocol.RecordReader, base int64) ([]found, error) {
	var out []found
	next := max(r.next, base) + 1
	for {
		rec, err := batch.ReadRecord()
		if errors.Is(err, io.EOF) {
			r.next = next
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading the ledger: %w", err)
		}
		f := found{offset: rec.Offset}
		if f.Key, err = bytesOf(rec.Key); err == nil {
			f.Value, err = bytesOf(rec.Value)
		}
		if err != nil {
			return nil, fmt.Errorf("reading the ledger: %w", err)
		}
		out = append(out, f)
		next = max(next, rec.Offset+1)
	}
}

// bytesOf reads a key or value; nil is null.
func bytesOf(b protocol.Bytes) ([]byte, error) {
	if b == nil {
		return nil, nil
	}
	defer b.Close()
	out := make([]byte, b.Len())
	_, err := io.ReadFull(b, out)
	return out, err
}
