// Package sinks holds the contract every sink keeps. The engine knows this file and no connector.
package sinks

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"github.com/rowferry/rowferry/schema"
)

// Sink is a target. Open checks the claim, shuts out older writers, and says what the target holds and can take.
// A claim that does not match what the ledger says (another source, another scope) halts before anything is fenced.
type Sink interface {
	Open(ctx context.Context, c Claim) (Writer, Held, error)
}

// Writer is the only one that may write for its pipeline, until a newer one is opened.
//
// Encode may run for several batches at once, beside everything else. Stage and Commit: at most Limits.Lanes
// calls run at once, each on a lane of its own; groups with Copy may also use lanes up to Limits.CopyLanes. After
// an error from Stage or Commit nothing more may be called but Close: the outcome is unknown, and opening again
// reads it.
type Writer interface {
	// Encode prepares a batch. It is pure: no I/O. The payload may alias the batch; both are released after the
	// Stage, Commit or Close that took the payload has returned.
	Encode(b *schema.Batch) (Payload, error)
	// Stage sends a part of one huge transaction: invisible until the Commit that ends it, on the same lane.
	Stage(ctx context.Context, lane int, p Payload) error
	// Commit makes a group's rows, state and position durable together, or nothing of it. Groups become durable
	// in the order of Seq; those with Copy in any order.
	Commit(ctx context.Context, g Group) error
	// Close drops what was staged and gives everything back. It says nothing about commits.
	Close() error
}

// Claim is what a writer says of itself.
type Claim struct {
	Pipeline    string
	Source      schema.SourceID
	Fingerprint string // hash of tables, filters and mapping: a change of scope needs an operator's word
	Holder      string // host, pid and start of this process, for people
}

// Held is what the target holds of a pipeline. A zero position means the pipeline has never committed here.
type Held struct {
	Position schema.Position
	Phase    schema.Phase
	Seq      int64 // of the last group that moved the position; the next one is Seq+1
	State    []schema.State
	Made     []string
	Limits   Limits
}

// Limits is what a writer can take. The engine stays within them.
type Limits struct {
	Rows      int           // of one group, 0 for any; a single batch may exceed it
	Bytes     int           // of one group's batches
	Age       time.Duration // how long a group may wait for more, once it holds something; 0 not at all
	Interval  time.Duration // between the starts of two groups that are not full; the first after a silence does not wait
	Lanes     int           // commits that may run at once, at least 1
	CopyLanes int           // commits of copied rows that may run at once, at least 1
	Queue     int           // bytes of batches, on their way or waiting, beyond which more bring nothing; 0 for what the configuration allows
	Stage     bool          // parts can be staged; else the engine keeps a transaction together up to Bytes and halts beyond
}

// Group is what one Commit makes durable.
type Group struct {
	Seq      int64 // 0 for copied rows
	Lane     int
	Payloads []Payload
	Upto     schema.Position // zero for copied rows
	Phase    schema.Phase    // of the last batch
	Copy     *schema.Copy    // set for copied rows; a group holds one batch of them
	Tables   []*schema.Table // announced here, before the payloads
	// Takeovers concern rows that the target keeps: one that does must not go on while they may be wrong.
	Takeovers []schema.Takeover
	Plan      []schema.CopyPlan
	Made      []string
	State     []schema.State
}

// Payload is an encoded batch.
type Payload interface {
	Rows() int
	Bytes() int
}

// Checker is a sink that can look itself over without changing anything.
type Checker interface {
	Check(ctx context.Context, tables []*schema.Table) ([]schema.Finding, error)
}

// Inspector is a sink whose ledger can be read, and removed, without a writer.
type Inspector interface {
	// Inspect reads what the target holds of a pipeline and shuts out nobody.
	Inspect(ctx context.Context, pipeline string) (Held, error)
	// Forget removes the pipeline's ledger rows and copy progress, never the replicated rows.
	Forget(ctx context.Context, pipeline string) error
}

// Runtime is what the program gives every sink beside its own configuration.
type Runtime struct {
	Pipeline string
	StateDir string // a private folder of this pipeline's; exists, mode 0700
	Log      zerolog.Logger
}
