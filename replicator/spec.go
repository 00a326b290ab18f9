package replicator

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/rowferry/rowferry/replicator/transform"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks"
	"github.com/rowferry/rowferry/sources"
)

// Spec is one pipeline, ready to run.
type Spec struct {
	Name     string
	StateDir string // a private folder of this pipeline's; exists, mode 0700
	Source   sources.Source
	Sink     sinks.Sink
	// SourceText and TargetText name both ends for people, as in "postgres db1:5432/shop", without secrets.
	SourceText, TargetText string
	Fingerprint            string // of tables, filters and mapping: what the ledger compares
	Route                  transform.Route
	QueueBytes             int64 // budget for batches read and not yet durable; 0 means 64 MiB
	Retry                  Retry
	Intervals              Intervals
	Timeouts               Timeouts
}

// Retry says how long the engine waits between attempts. Zero values mean the defaults.
type Retry struct {
	Initial time.Duration // first wait, 100 ms
	Max     time.Duration // longest wait, 30 s
	Unknown time.Duration // how long errors of no known class are retried without progress before a halt, 15 min
}

// Intervals are the engine's clocks. Zero values mean the defaults.
type Intervals struct {
	Observe  time.Duration // between looks at what the reader costs the source, 10 s
	Progress time.Duration // between log lines of a copy, and the longest a status file may be old, 10 s
}

// Timeouts bound single calls of source and target that neither answer nor fail. Zero values mean the defaults.
type Timeouts struct {
	Open   time.Duration // identifying, locking, opening, acknowledging: 2 min
	Read   time.Duration // one Next of the stream, but for waiting while there is nothing to read: 10 min
	Commit time.Duration // one Stage or Commit: 10 min
}

// Options is what the pipelines of a daemon share.
type Options struct {
	Log      zerolog.Logger
	Grace    time.Duration        // how long a soft stop may take before it becomes a hard one; 0 means 20 s
	Registry *prometheus.Registry // where metrics go; nil for a private one
	Version  string               // of the program, for the report
	Revision string               // of the program's source, for the metrics
	// MaxTables is how many tables have series of their own; the rest count as "_other". 0 means 200.
	MaxTables int
	// Codes documents the faults of the connectors in use: a halt takes its answer to "is data lost?" from them.
	Codes []fault.Code
	// Bar tells that somebody shows the progress of a copy: no lines of it are logged.
	Bar bool
}

func (s Spec) withDefaults() Spec {
	s.QueueBytes = or(s.QueueBytes, 64<<20)
	s.Retry.Initial = or(s.Retry.Initial, 100*time.Millisecond)
	s.Retry.Max = or(s.Retry.Max, 30*time.Second)
	s.Retry.Unknown = or(s.Retry.Unknown, 15*time.Minute)
	s.Timeouts.Open = or(s.Timeouts.Open, 2*time.Minute)
	s.Timeouts.Read = or(s.Timeouts.Read, 10*time.Minute)
	s.Timeouts.Commit = or(s.Timeouts.Commit, 10*time.Minute)
	s.Intervals.Observe = or(s.Intervals.Observe, 10*time.Second)
	s.Intervals.Progress = or(s.Intervals.Progress, 10*time.Second)
	return s
}

func (o Options) withDefaults() Options {
	o.Grace = or(o.Grace, 20*time.Second)
	o.MaxTables = or(o.MaxTables, 200)
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	return o
}

// or is v, or d when v is zero.
func or[T comparable](v, d T) T {
	var zero T
	if v == zero {
		return d
	}
	return v
}
