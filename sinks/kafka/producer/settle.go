package producer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
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
	uncommitted = 0 // isolation levels
	committed   = 1
	latest      = -1
	scanBytes   = 4 << 20
	scanWait    = 500 * time.Millisecond
)

// RemedyHanging is what to do about a transaction without an end.
const RemedyHanging = "look at it with kafka-transactions.sh find-hanging, and abort it\n" +
	"then `rowferry teardown` the pipeline and copy again, or reconcile the rows of that transaction by hand"

// Left is what Settle found unended in partitions, and ended.
type Left struct{ Committed, Aborted int }

// Decisions are what Settle has found out: whether what a session left unended is committed. They are for the next calls, by other
// producers, too; no session comes twice.
type Decisions map[Session]bool

// Settle ends what the brokers have decided and not written. A coordinator that finds a partition without a leader takes
// it for deleted, leaves its marker out and calls the transaction complete; Kafka 4.4 does so with every partition when a
// single broker was killed and starts again. The records stay open then: readers stop before them, and the next transaction
// of this producer that touches the partition would end them together with its own, whatever had been decided.
//
// topics are those the transactional id was used for. It is called after Init, and by the producer itself before it begins a
// transaction when a connection was lost since the last time. Init raises the epoch once if the last transaction was committed, and
// at least twice if it had to be aborted first. The open records tell their epoch, so the decision is known, and is
// written by a transaction that adds these partitions and nothing else. known brings the decision to the next attempt, or to the next
// topics, since each Init raises the epoch again.
func (p *Producer) Settle(ctx context.Context, topics []string, known Decisions) (Left, error) {
	if !p.transactional() || p.state.phase != ready {
		return Left{}, nil
	}
	p.decisions = known
	for _, name := range topics {
		p.topics[name] = true
	}
	var left Left
	for begun := p.cfg.Now(); ; {
		lost := p.cluster.Lost()
		found, err := p.unended(ctx)
		if err != nil {
			return Left{}, p.classify(fmt.Errorf("looking for unended transactions: %w", err))
		}
		if len(found) == 0 {
			p.lost = lost
			return left, nil
		}
		if p.cfg.Now().Sub(begun) >= p.cfg.RetryFor {
			return Left{}, fault.Wait("target.cluster_moving", fmt.Errorf("%d partitions still hold a transaction without an end", len(found)))
		}
		if left, err = p.write(ctx, found, known); err != nil {
			return Left{}, err
		}
		// The end was promised, and is there when the next session begins; or it was left out again.
		if err := p.Init(ctx); err != nil {
			return Left{}, err
		}
	}
}

// write writes the ends of transactions into the partitions in which they are missing.
func (p *Producer) write(ctx context.Context, found map[partition]int16, known Decisions) (Left, error) {
	var commit, abort []partition
	for which, epoch := range found {
		of := Session{p.state.session.ProducerID, epoch}
		committed, ok := known[of]
		if !ok {
			var err error
			if committed, err = p.decided(which, of); err != nil {
				return Left{}, err
			}
			known[of] = committed
		}
		if committed {
			commit = append(commit, which)
		} else {
			abort = append(abort, which)
		}
	}
	err := p.finish(ctx, commit, true)
	if err == nil {
		err = p.finish(ctx, abort, false)
	}
	if err != nil {
		p.state.phase = inDoubt
		return Left{}, p.classify(fmt.Errorf("ending what was left unended: %w", err))
	}
	return Left{Committed: len(commit), Aborted: len(abort)}, nil
}

// decided tells by the epochs whether a transaction that was left open is committed. One that was open when its producer
// ended was aborted by the next Init, with two steps; one that its producer gave up itself has a third.
func (p *Producer) decided(which partition, of Session) (committed bool, err error) {
	switch since := int(p.state.session.Epoch) - int(of.Epoch); since {
	case 1:
		return true, nil
	case 2, 3:
		return false, nil
	default:
		return false, fault.Halt("target.transaction_hanging",
			fmt.Errorf("partition %v holds a transaction without an end, and what was decided about it is forgotten (epoch %d, now %d)",
				which, of.Epoch, p.state.session.Epoch), RemedyHanging)
	}
}

// finish writes the end of a transaction into partitions.
func (p *Producer) finish(ctx context.Context, which []partition, commit bool) error {
	if len(which) == 0 {
		return nil
	}
	if err := p.addPartitions(ctx, which); err != nil {
		return err
	}
	if _, err := p.end(ctx, commit); err != nil {
		return err
	}
	p.state.ended()
	return nil
}

// unended are the partitions in which records of this producer have no end, and the epoch of these records.
func (p *Producer) unended(ctx context.Context) (map[partition]int16, error) {
	var found map[partition]int16
	err := p.persist(ctx, func() error {
		found = map[partition]int16{}
		leaders, err := p.leaders(ctx)
		if err != nil {
			return err
		}
		stable, err := p.offsets(ctx, leaders, committed)
		if err != nil {
			return err
		}
		end, err := p.offsets(ctx, leaders, uncommitted)
		if err != nil {
			return err
		}
		for which, from := range stable {
			if from >= end[which] {
				continue
			}
			s := scan{cluster: p.cluster, which: which, next: from, end: end[which], producer: p.state.session.ProducerID}
			epoch, open, err := s.run(ctx)
			if err != nil {
				return err
			}
			if open {
				found[which] = epoch
			}
		}
		return nil
	})
	return found, err
}

// leaders groups the partitions of the producer's topics by the brokers that lead them. Topics that are gone are left out.
func (p *Producer) leaders(ctx context.Context) (map[int32][]partition, error) {
	topics, err := p.cluster.Topics(ctx, slices.Sorted(maps.Keys(p.topics))...)
	if err != nil {
		return nil, err
	}
	out := map[int32][]partition{}
	for _, t := range topics {
		if t.Error != nil && !errors.Is(t.Error, kafka.UnknownTopicOrPartition) {
			return nil, fmt.Errorf("looking for topic %s: %w", t.Name, t.Error)
		}
		for number, leader := range t.Leaders {
			which := partition{topic: t.Name, number: int32(number)}
			if leader == cluster.NoLeader {
				return nil, fmt.Errorf("partition %v: %w", which, kafka.LeaderNotAvailable)
			}
			out[leader] = append(out[leader], which)
		}
	}
	return out, nil
}

// offsets are the ends of partitions as an isolation level shows them.
func (p *Producer) offsets(ctx context.Context, leaders map[int32][]partition, isolation int8) (map[partition]int64, error) {
	out := map[partition]int64{}
	for leader, which := range leaders {
		req := &listoffsets.Request{ReplicaID: -1, IsolationLevel: isolation}
		for _, one := range which {
			if n := len(req.Topics); n == 0 || req.Topics[n-1].Topic != one.topic {
				req.Topics = append(req.Topics, listoffsets.RequestTopic{Topic: one.topic})
			}
			last := &req.Topics[len(req.Topics)-1]
			last.Partitions = append(last.Partitions, listoffsets.RequestPartition{Partition: one.number, CurrentLeaderEpoch: -1, Timestamp: latest})
		}
		msg, err := p.cluster.Ask(ctx, leader, req)
		if err != nil {
			return nil, fmt.Errorf("asking for the ends of partitions: %w", err)
		}
		for _, t := range msg.(*listoffsets.Response).Topics {
			for _, one := range t.Partitions {
				if one.ErrorCode != 0 {
					return nil, fmt.Errorf("asking for the end of %s/%d: %w", t.Topic, one.Partition, kafka.Error(one.ErrorCode))
				}
				out[partition{topic: t.Topic, number: one.Partition}] = one.Offset
			}
		}
	}
	return out, nil
}

// scan reads what a partition holds behind its last stable offset.
type scan struct {
	cluster   *cluster.Cluster
	which     partition
	next, end int64 // offsets
	producer  int64
}

// run tells whether records of the producer are open there, and of which epoch the last are. What stands first is open: the
// last stable offset is its beginning.
func (s *scan) run(ctx context.Context) (epoch int16, open bool, err error) {
	for first := true; s.next < s.end; {
		stream, err := s.fetch(ctx)
		if err != nil {
			return 0, false, err
		}
		for _, records := range stream {
			switch b := records.(type) {
			case *protocol.ControlBatch:
				open = open && b.ProducerID != s.producer
				s.next = max(s.next, b.BaseOffset+1)
			case *protocol.RecordBatch:
				if b.ProducerID == s.producer && b.Attributes.Transactional() {
					if epoch, open = b.ProducerEpoch, true; first {
						return epoch, true, nil
					}
				}
				if err := s.pass(b); err != nil {
					return 0, false, err
				}
			}
			first = false
		}
		if len(stream) == 0 {
			return epoch, open, nil // the rest was deleted
		}
	}
	return epoch, open, nil
}

// pass steps past a batch.
func (s *scan) pass(b *protocol.RecordBatch) error {
	s.next = max(s.next, b.BaseOffset+1)
	for {
		rec, err := b.ReadRecord()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading %v: %w", s.which, err)
		}
		s.next = max(s.next, rec.Offset+1)
	}
}

// fetch asks for the next batches.
func (s *scan) fetch(ctx context.Context) ([]protocol.RecordReader, error) {
	msg, err := s.cluster.RoundTrip(ctx, nil, &fetch.Request{
		ReplicaID: -1, MaxWaitTime: int32(scanWait / time.Millisecond), MinBytes: 1, MaxBytes: scanBytes, IsolationLevel: uncommitted, SessionEpoch: -1,
		Topics: []fetch.RequestTopic{{Topic: s.which.topic, Partitions: []fetch.RequestPartition{{
			Partition: s.which.number, CurrentLeaderEpoch: -1, FetchOffset: s.next, LogStartOffset: -1, PartitionMaxBytes: scanBytes,
		}}}},
	})
	if err != nil {
		return nil, fmt.Errorf("reading %v: %w", s.which, err)
	}
	for _, t := range msg.(*fetch.Response).Topics {
		for i := range t.Partitions {
			one := &t.Partitions[i]
			if one.ErrorCode != 0 {
				return nil, fmt.Errorf("reading %v: %w", s.which, kafka.Error(one.ErrorCode))
			}
			if stream, ok := one.RecordSet.Records.(*protocol.RecordStream); ok {
				return stream.Records, nil
			}
		}
	}
	return nil, nil
}
