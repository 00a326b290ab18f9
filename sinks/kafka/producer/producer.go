package producer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/rowferry/rowferry/schema/failpoint"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks/kafka/batch"
	"github.com/rowferry/rowferry/sinks/kafka/cluster"
)

// Config is what a Producer can be told. Zero values stand for the defaults.
type Config struct {
	TransactionalID    string           // empty: idempotent, without transactions
	TransactionTimeout time.Duration    // after which the broker aborts an open transaction; 1 minute
	RetryFor           time.Duration    // how long one step is repeated without progress before it is an error; 45 seconds
	RequestBytes       int              // of one produce request; a single batch may exceed it; 8 MiB
	RenewAfter         time.Duration    // of silence; 1 hour
	Now                func() time.Time // time.Now
}

// Batch is a batch and where it goes. The producer stamps it, and reads it until Produce has returned.
type Batch struct {
	Topic     string
	Partition int32
	Batch     batch.Batch
}

func (b *Batch) partition() partition { return partition{topic: b.Topic, number: b.Partition} }

// Producer writes batches. Its methods have one caller at a time.
type Producer struct {
	cluster *cluster.Cluster
	cfg     Config
	state   state
	used    time.Time // when a broker last confirmed something
	linger  bool      // a request got no answer and may still be on its way

	lost      int64           // connections, when nothing was left unended
	topics    map[string]bool // that were used
	decisions Decisions
}

// New makes a producer; nothing is sent.
func New(c *cluster.Cluster, cfg Config) *Producer {
	cfg.TransactionTimeout = cmp.Or(cfg.TransactionTimeout, time.Minute)
	cfg.RetryFor = cmp.Or(cfg.RetryFor, 45*time.Second)
	cfg.RequestBytes = cmp.Or(cfg.RequestBytes, 8<<20)
	cfg.RenewAfter = cmp.Or(cfg.RenewAfter, time.Hour)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Producer{cluster: c, cfg: cfg, state: state{session: none}, topics: map[string]bool{}, decisions: Decisions{}}
}

// Session is who the producer is at present: -1, -1 before Init.
func (p *Producer) Session() Session { return p.state.session }

// Open tells whether a transaction is open, or failed and not aborted yet, and since when.
func (p *Producer) Open() (since time.Time, yes bool) {
	return p.state.opened, p.state.phase == open || p.state.phase == inDoubt
}

// Init makes the producer known to the brokers. The first time it takes the transactional id over: the transaction of
// an older producer is completed or aborted, and that producer is fenced. When it returns, all of that is written, so
// that what read_committed shows is final. Called again it keeps its claim and raises the epoch; then it may be fenced
// itself. A transaction that is open then is aborted, but by a broker before 4.0 with the answer that the producer is
// fenced: only a new producer goes on there.
func (p *Producer) Init(ctx context.Context) error {
	err := p.prove(ctx)
	session := none
	lost := p.cluster.Lost()
	if err == nil {
		session, err = p.initialise(ctx, p.state.session)
	}
	if err != nil {
		if p.state.phase != fresh {
			p.state.phase = inDoubt
		}
		return p.classify(fmt.Errorf("initialising the producer: %w", err))
	}
	first := p.state.phase == fresh
	p.state.initialised(session)
	p.used, p.linger = p.cfg.Now(), false
	if first || !p.transactional() {
		p.lost = lost // the caller of the first one calls Settle, or has nothing to settle
	}
	return nil
}

// Produce appends batches, and returns when all in-sync replicas have them. It begins a transaction if none is open.
// The order of batches of one partition is that of the slice; their records are in the slice's memory until it
// returns.
func (p *Producer) Produce(ctx context.Context, batches []Batch) error {
	if err := p.state.writable(); err != nil {
		return fmt.Errorf("producing: %w", err)
	}
	if len(batches) == 0 {
		return nil
	}
	if err := p.produce(ctx, batches); err != nil {
		p.state.phase = inDoubt
		return p.classify(fmt.Errorf("producing: %w", err))
	}
	p.used = p.cfg.Now()
	return nil
}

// produce does what Produce says.
func (p *Producer) produce(ctx context.Context, batches []Batch) error {
	if p.state.phase == ready {
		if err := p.renew(ctx); err != nil {
			return err
		}
	}
	if p.transactional() {
		if err := p.join(ctx, p.state.missing(batches)); err != nil {
			return err
		}
	}
	p.state.stamp(batches, p.transactional())
	return p.send(ctx, batches)
}

// Commit ends the transaction: its records become visible together. Without an open transaction it does nothing.
func (p *Producer) Commit(ctx context.Context) error {
	switch p.state.phase {
	case fresh, inDoubt:
		return fmt.Errorf("committing: %w", p.state.writable())
	case ready:
		return nil
	}
	if !p.transactional() {
		p.state.ended()
		return nil
	}
	if err := failpoint.Hit(ctx, "kafka.before_end"); err != nil {
		return err
	}
	sent, err := p.end(ctx, true)
	if err == nil {
		err = failpoint.Hit(ctx, "kafka.end_sent_no_reply")
	}
	if err != nil {
		p.state.phase = inDoubt
		err = fmt.Errorf("committing: %w", err)
		if sent && fault.ClassOf(p.classify(err)) != fault.Fenced {
			return fault.Unknown(err)
		}
		return p.classify(err)
	}
	p.state.ended()
	p.used = p.cfg.Now()
	return failpoint.Hit(ctx, "kafka.after_end")
}

func (p *Producer) transactional() bool { return p.cfg.TransactionalID != "" }

// renew raises the epoch before a transaction where that is needed: the brokers may have forgotten the producer, or a
// request of an earlier transaction may still be on its way. It was answered when it was sent again; should it arrive
// now, an EndTxn would end this transaction before its time, and an AddPartitionsToTxn open one that nobody ends.
func (p *Producer) renew(ctx context.Context) error {
	if !p.linger && p.cfg.Now().Sub(p.used) < p.cfg.RenewAfter {
		return nil
	}
	return p.resettle(ctx)
}

// lingers notes an error that leaves open whether a broker received, or will receive, a request.
func (p *Producer) lingers(err error) {
	var code kafka.Error
	if err != nil && !errors.As(err, &code) {
		p.linger = true
	}
}

// errTooOld is the cause when a transaction was open for longer than the broker allows.
var errTooOld = errors.New("the transaction took longer than its timeout")

// classify marks an error for the engine. A broker that says the epoch is old does not say why: another producer
// took over, or it aborted the transaction for its age. The age is measured from before the broker began to, so a
// transaction that is younger here than the timeout was not aborted for it.
func (p *Producer) classify(err error) error {
	var code kafka.Error
	if errors.As(err, &code) && cluster.React(code) == cluster.Outdated && p.tooOld() {
		err = &fault.Error{
			Code: "target.transaction_timeout", Err: fmt.Errorf("%w (%v): %w", errTooOld, p.cfg.TransactionTimeout, err),
			Remedy: "raise transaction.timeout of the target",
		}
	}
	return cluster.Classify(err)
}

// tooOld tells whether the broker may have aborted the transaction.
func (p *Producer) tooOld() bool {
	since, yes := p.Open()
	return yes && p.cfg.Now().Sub(since) >= p.cfg.TransactionTimeout
}
