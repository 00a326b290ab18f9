// Package sources holds the contract every source keeps. The engine knows this file and no connector.
package sources

import (
	"context"
	"errors"
	"fmt"

	"github.com/rs/zerolog"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/setting"
)

// Source is one database's log and its existing rows. A context bounds the call it is given to; what Stream
// returns lives until its Close.
//
// The engine calls Identify, then Lock, then opens the sink, then Stream. After any error it closes all of them
// and begins again.
type Source interface {
	// Identify says which server, database and slot this is. It changes nothing.
	Identify(ctx context.Context) (schema.SourceID, error)
	// Lock makes this process the only live reader of the pipeline. It does not wait: fault.Busy names the
	// holder. The lock is for liveness only; lost is closed when it is gone, release gives it back.
	Lock(ctx context.Context) (lost <-chan struct{}, release func(), err error)
	// Stream continues after from, the position the target holds; zero means from nothing. state is what the
	// target holds of the source's own bookkeeping.
	Stream(ctx context.Context, from schema.Position, state []schema.State) (Stream, error)
}

// ErrPaused is wrapped by what [Stream] returns from Next when the call's context ended and nothing else is wrong.
var ErrPaused = errors.New("nothing to hand over yet")

// Paused is the error of a call of Next that may be repeated. ctx has ended.
func Paused(ctx context.Context) error {
	return fmt.Errorf("%w: %w", ErrPaused, context.Cause(ctx))
}

// Stream is existing rows and then changes, in one order. Next has one caller; Ack may run beside it.
type Stream interface {
	// Next blocks for the next batch; the caller owns it until Release. It returns io.EOF when the source is
	// finite, and may return early with an empty batch that moves the position (a barrier).
	// When ctx ends, it may return what it has, and a last barrier, before it returns the context's error: the
	// engine asks until then. A stream that is as it should be, and only has nothing to hand over yet, returns an
	// error that wraps ErrPaused: it may be called again. The engine bounds every call: what ends for want of time
	// with any other error has hung, and the attempt is given up.
	//
	// From nothing it first returns an empty batch in phase creating; slot and publication are made only after
	// that was acked. Then an empty batch in phase copy with the tables to copy; rows follow only after that was
	// acked. When all rows were handed over, an empty batch in phase stream follows.
	Next(ctx context.Context) (*schema.Batch, error)
	// Ack says that everything up to a position a batch carried is durable in the ledger, so that the database
	// may discard its log up to there. Positions come in the order Next returned them.
	Ack(ctx context.Context, upto schema.Position) error
	// Close ends the stream, sends the last acknowledgement and leaves nothing behind but the slot.
	Close() error
}

// Checker is a source that can look itself over without changing anything.
type Checker interface {
	Check(ctx context.Context) ([]schema.Finding, error)
}

// Lister is a source that can tell which tables it would replicate, as a stream would announce them, without
// changing anything.
type Lister interface {
	Tables(ctx context.Context) ([]*schema.Table, error)
}

// Observer is a source that can tell what its reader costs the database. It uses a connection of its own.
type Observer interface {
	Observe(ctx context.Context) (Observation, error)
}

// Observation is what an [Observer] sees.
type Observation struct {
	RetainedBytes  int64 // log the server keeps for us
	RetentionLimit int64 // bytes after which the server drops it, or our own budget; 0 for none
	BehindBytes    int64 // log written but not yet acknowledged by us
	Active         bool  // whether the reader is connected
	Findings       []schema.Finding
}

// Remover is a source that can remove what was made for a pipeline.
type Remover interface {
	// Leftovers lists which of made still exist, each with the statement that removes it.
	Leftovers(ctx context.Context, made []string) ([]Leftover, error)
	Remove(ctx context.Context, l Leftover) error
}

// Leftover is an object a teardown would drop.
type Leftover struct {
	Name string // "slot:rowferry_shop"
	SQL  string // what dropping it means, for display
}

// Adopter is a source that can go on where another program has stopped reading its log.
type Adopter interface {
	// Adopt gives the position at which that program's reader of the log stands. It changes nothing, and refuses a
	// reader that is in use, or that a stream from there could not use.
	Adopt(ctx context.Context, reader string) (Adoption, error)
}

// Adoption is where a source goes on instead of another program.
type Adoption struct {
	Position schema.Position // in phase stream
	Facts    []Fact          // what was looked at, for display
}

// Fact is a thing that was looked at, and what it is like.
type Fact struct{ What, Text string }

// Counter is a stream that can tell what it holds. It may be called beside Next and Ack.
type Counter interface {
	Counts() Counts
}

// Counts is what a [Counter] tells.
type Counts struct {
	SpilledBytes     int64  // on disk now
	OpenTransactions int    // streamed transactions not yet committed
	Received         uint64 // offset of the last message read
	Acked            uint64 // offset last acknowledged to the server
}

// Runtime is what the program gives every source beside its own configuration.
type Runtime struct {
	Pipeline string // the pipeline's name: default names of slot and publication derive from it
	StateDir string // a private folder of this pipeline's, for spill files; exists, mode 0700
	Tables   setting.Tables
	Snapshot Snapshot
	TakeOver bool // until Lock has succeeded once: end another reader that holds the lock, instead of waiting
	Log      zerolog.Logger
}

// Snapshot configures the first copy.
type Snapshot struct {
	// Workers is how many connections read existing rows at the same time.
	Workers int `yaml:"workers" default:"4"`
	// ChunkSize is how much of a table one worker reads at a time.
	ChunkSize setting.Size `yaml:"chunk_size" default:"64MiB"`
}
