package config

import (
	"fmt"
	"time"

	"github.com/rowferry/rowferry/schema/setting"
)

// Timeouts bound single calls of source and target that neither answer nor fail. A call that takes longer is given
// up, and the pipeline begins again from the target's ledger.
type Timeouts struct {
	// Open bounds what comes before changes flow: identifying and locking the source, opening the target, and one
	// acknowledgement to the source.
	Open setting.Duration `yaml:"open" default:"2m"`
	// Read bounds one step of reading the source: making the slot, the wait for the next rows of a copy, work on
	// what arrived. Waiting for changes that nobody makes does not count.
	Read setting.Duration `yaml:"read" default:"10m"`
	// Commit bounds one commit at the target, and one part of a transaction that is sent in parts. A commit that announces
	// tables, which the target may have to make, has a second more for each of them.
	Commit setting.Duration `yaml:"commit" default:"10m"`
}

// OnError says what follows an error that may pass.
type OnError struct {
	// Retries says how a pipeline begins again after an error that may pass.
	Retries Retries `yaml:"retries"`
}

// Retries says how a pipeline begins again after an error that may pass.
type Retries struct {
	// Backoff is the first and the longest wait between two attempts; each wait is about twice the one before.
	Backoff setting.Span `yaml:"backoff" default:"100ms..30s"`
	// GiveUpAfter is how long an error of no known kind is retried without progress before the pipeline halts.
	// Lost connections, full disks, failovers and the like are retried for as long as they last.
	GiveUpAfter setting.Duration `yaml:"give_up_after" default:"15m"`
}

// Intervals are a pipeline's clocks.
type Intervals struct {
	// Observe is the time between two looks at what the reader costs the source, such as log that it keeps.
	Observe setting.Duration `yaml:"observe" default:"10s"`
	// Progress is the time between two log lines about a copy, and how old the status in the state folder may be.
	Progress setting.Duration `yaml:"progress" default:"10s"`
}

// shortest is the least that a time limit or a clock may be set to.
const shortest = 100 * time.Millisecond

// Validate checks the limits.
func (t *Timeouts) Validate() []error {
	return atLeast(shortest, named{"open", t.Open}, named{"read", t.Read}, named{"commit", t.Commit})
}

// Validate checks the waits.
func (r *Retries) Validate() []error {
	return append(atLeast(time.Millisecond, named{"backoff", r.Backoff.From}), atLeast(shortest, named{"give_up_after", r.GiveUpAfter})...)
}

// Validate checks the clocks.
func (i *Intervals) Validate() []error {
	return atLeast(shortest, named{"observe", i.Observe}, named{"progress", i.Progress})
}

// named is a duration under its key.
type named struct {
	key   string
	value setting.Duration
}

// atLeast complains about durations that are too short.
func atLeast(least time.Duration, values ...named) (errs []error) {
	for _, v := range values {
		if time.Duration(v.value) < least {
			errs = append(errs, fmt.Errorf("%s: %s is too little, give at least %s", v.key, v.value, least))
		}
	}
	return errs
}
