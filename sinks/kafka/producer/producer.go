package producer

import (
	"context"
	"time"

	"github.com/rowferry/rowferry/sinks/kafka/batch"
	"github.com/rowferry/rowferry/sinks/kafka/cluster"
)

// Config is what a Producer can be told. Zero values stand for the defaults.
type Config struct {
	TransactionalID    string        // empty: idempotent, without transactions
	TransactionTimeout time.Duration // after which the broker aborts an open transaction; 1 minute
	RetryFor           time.Duration // how long one step is repeated before it is an error; 30 seconds
	RequestBytes       int           // of one produce request; a single batch may exceed it; 8 MiB
	RenewAfter         time.Duration // of silence; 1 hour
}

// Batch is a batch and where it goes. The producer stamps it, and reads it until Produce has returned.
type Batch struct {
	Topic     string
	Partition int32
	Batch     batch.Batch
}

// Session identifies a producer at the brokers.
type Session struct {
	ProducerID int64
	Epoch      int16
}

// Producer writes batches. Its methods have one caller at a time.
type Producer struct {
	cluster *cluster.Cluster
	cfg     Config
}

// Init makes the producer known to the brokers.
func (p *Producer) Init(ctx context.Context) error { return ctx.Err() }

// Produce appends batches.
func (p *Producer) Produce(ctx context.Context, batches []Batch) error { return ctx.Err() }

// Commit ends the transaction.
func (p *Producer) Commit(ctx context.Context) error { return ctx.Err() }

// Abort drops the transaction.
func (p *Producer) Abort(ctx context.Context) error { return ctx.Err() }

// Session is who the producer is at present.
func (p *Producer) Session() Session { return Session{} }

// New makes a producer; nothing is sent.
func New(c *cluster.Cluster, cfg Config) *Producer { return &Producer{cluster: c, cfg: cfg} }
