package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks"
	"github.com/rowferry/rowferry/sinks/kafka/cluster"
	"github.com/rowferry/rowferry/sinks/kafka/ledger"
	"github.com/rowferry/rowferry/sinks/kafka/producer"
	"github.com/rowferry/rowferry/sinks/kafka/topic"
)

// Sink is a Kafka cluster as a target.
type Sink struct {
	cfg    Config
	rt     sinks.Runtime
	notice sync.Once
	// decided is what is known of transactions that the brokers left without an end. Only Open uses it.
	decided producer.Decisions

	mu   sync.Mutex // guards late
	late int64      // Seq before the transaction that last outlived its timeout; -1 for none
}

var (
	_ sinks.Sink      = (*Sink)(nil)
	_ sinks.Checker   = (*Sink)(nil)
	_ sinks.Inspector = (*Sink)(nil)
)

// New makes the target of a pipeline. It connects to nothing.
func New(cfg Config, rt sinks.Runtime) (*Sink, error) {
	if errs := cfg.Validate(); len(errs) > 0 {
		return nil, configError(errors.Join(errs...))
	}
	return &Sink{cfg: cfg.withDefaults(rt.Pipeline), rt: rt, late: -1, decided: producer.Decisions{}}, nil
}

// Open reads the ledger and checks the claim, which changes nothing, then takes the transactional id over, which shuts
// out every older writer and ends its transaction, and reads the ledger again: only now it says what is final.
func (s *Sink) Open(ctx context.Context, c sinks.Claim) (sinks.Writer, sinks.Held, error) {
	k, err := s.cfg.connect()
	if err != nil {
		return nil, sinks.Held{}, err
	}
	w, err := s.open(ctx, k, c)
	if err != nil {
		_ = k.Close()
		if cause := context.Cause(ctx); cause != nil {
			return nil, sinks.Held{}, cause
		}
		return nil, sinks.Held{}, cluster.Classify(err)
	}
	held := w.state.Held()
	held.Limits = s.limits()
	return w, held, nil
}

// open does the work of Open on a cluster.
func (s *Sink) open(ctx context.Context, k *cluster.Cluster, c sinks.Claim) (*writer, error) {
	name := s.cfg.Ledger.Topic
	found, err := ledger.Find(ctx, k, name)
	if err != nil {
		return nil, err
	}
	if !found {
		if err := ledger.Make(ctx, k, s.ledgerSpec(), s.cfg.CreateTopics.Enabled); err != nil {
			return nil, err
		}
	}
	state, err := ledger.Read(ctx, k, name)
	if err != nil {
		return nil, err
	}
	if err := state.Verify(c); err != nil {
		return nil, err
	}
	events, err := s.cfg.newEvents(c.Source)
	if err != nil {
		return nil, err
	}
	p := producer.New(k, s.producer())
	if err := p.Init(ctx); err != nil {
		return nil, err
	}
	if state, err = s.settled(ctx, k, p, state.Topics); err != nil {
		return nil, err
	}
	if err := state.Verify(c); err != nil {
		return nil, err
	}
	w := &writer{
		sink: s, cluster: k, producer: p, claim: c, state: state,
		encoder: newEncoder(&s.cfg, c.Pipeline, events, state.Position), tables: map[string]*copied{}, looked: map[*schema.Table]bool{},
	}
	if err := w.resume(ctx); err != nil {
		return nil, err
	}
	if s.cfg.Delivery == atLeastOnce {
		s.notice.Do(func() {
			s.rt.Log.Info().Msg("delivery is at_least_once: after a crash, changes since the last position come again")
		})
	}
	return w, nil
}

// settled reads the ledger after what the brokers left unended was ended. topics are those known so far; a transaction that is
// ended by that may bring more.
func (s *Sink) settled(ctx context.Context, k *cluster.Cluster, p *producer.Producer, topics map[string]int32) (ledger.State, error) {
	next := append(slices.Collect(maps.Keys(topics)), s.cfg.Ledger.Topic)
	for {
		left, err := p.Settle(ctx, next, s.decided)
		if err != nil {
			return ledger.State{}, err
		}
		if left != (producer.Left{}) {
			s.rt.Log.Warn().Int("committed", left.Committed).Int("aborted", left.Aborted).
				Msg("the brokers had decided about a transaction and not written its end into every partition: written now")
		}
		state, err := ledger.Read(ctx, k, s.cfg.Ledger.Topic)
		if err != nil {
			return ledger.State{}, err
		}
		next = next[:0]
		for name := range state.Topics {
			if topics[name] == 0 {
				next = append(next, name)
			}
		}
		if len(next) == 0 {
			return state, nil
		}
		topics = state.Topics
	}
}

// producer is how records are produced.
func (s *Sink) producer() producer.Config {
	cfg := producer.Config{TransactionTimeout: time.Duration(s.cfg.Transaction.Timeout)}
	if s.cfg.Delivery == exactlyOnce {
		cfg.TransactionalID = s.cfg.Transaction.ID
	}
	return cfg
}

// ledgerSpec is the ledger's topic.
func (s *Sink) ledgerSpec() topic.Spec {
	replication := s.cfg.Ledger.Replication
	if replication == 0 {
		replication = s.cfg.CreateTopics.Replication
	}
	return ledger.Spec(s.cfg.Ledger.Topic, replication)
}

// limits is what a writer can take. A transactional id has one transaction at a time, so one lane.
func (s *Sink) limits() sinks.Limits {
	return sinks.Limits{
		Rows: s.cfg.Batch.MaxRows, Bytes: int(s.cfg.Batch.MaxBytes), Age: time.Duration(s.cfg.Batch.MaxWait),
		Interval: time.Duration(s.cfg.Batch.MinInterval),
		// One transaction is being committed, the next gathers.
		Lanes: 1, CopyLanes: 1, Queue: 2 * int(s.cfg.Batch.MaxBytes), Stage: true,
	}
}

// overdue turns the error of a transaction that outlived its timeout into a halt when it happens to the same
// transaction again: a stall passes, but one that takes too long by itself would be begun for ever.
func (s *Sink) overdue(err error, seq int64) error {
	if fault.Of(err).Code != "target.transaction_timeout" {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.late != seq {
		s.late = seq
		return err
	}
	return fault.Halt("target.transaction_too_long",
		fmt.Errorf("the transaction after group %d does not end within transaction.timeout (%s): %w", seq, s.cfg.Transaction.Timeout, fault.Of(err).Err),
		"raise transaction.timeout of the target, and transaction.max.timeout.ms of the brokers where it is above that")
}

// Inspect reads the ledger and shuts out nobody. What is being committed at this moment may be missing.
func (s *Sink) Inspect(ctx context.Context, pipeline string) (sinks.Held, error) {
	k, err := s.cfg.connect()
	if err != nil {
		return sinks.Held{}, err
	}
	defer func() { _ = k.Close() }()
	state, _, err := s.inspect(ctx, k, pipeline)
	return state.Held(), err
}

// inspect reads the ledger if there is one. The state is zero when it is another pipeline's.
func (s *Sink) inspect(ctx context.Context, k *cluster.Cluster, pipeline string) (ledger.State, bool, error) {
	found, err := ledger.Find(ctx, k, s.cfg.Ledger.Topic)
	if err != nil || !found {
		return ledger.State{}, false, err
	}
	state, err := ledger.Read(ctx, k, s.cfg.Ledger.Topic)
	if err != nil {
		return ledger.State{}, true, err
	}
	if state.Claim.Pipeline != "" && state.Claim.Pipeline != pipeline {
		return ledger.State{}, false, nil
	}
	return state, true, nil
}

// Forget shuts out a writer that may live, and deletes the ledger's topic. Topics with changes stay.
func (s *Sink) Forget(ctx context.Context, pipeline string) error {
	k, err := s.cfg.connect()
	if err != nil {
		return err
	}
	defer func() { _ = k.Close() }()
	_, found, err := s.inspect(ctx, k, pipeline)
	if fault.Of(err).Code == "target.ledger_topic_damaged" {
		found, err = true, nil // this is how one gets rid of it
	}
	if err != nil || !found {
		return err
	}
	if s.cfg.Delivery == exactlyOnce {
		if err := producer.New(k, s.producer()).Init(ctx); err != nil {
			return cluster.Classify(err)
		}
	}
	return topic.Delete(ctx, k, s.cfg.Ledger.Topic)
}
