package replicator

import (
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/rowferry/rowferry/schema/fault"
)

// reaction is what follows an error.
type reaction uint8

const (
	again    reaction = iota // back off, then begin from the top
	standBy                  // another reader holds the source: ask until it is gone
	halt                     // until an operator acts
	tryLimit                 // halt, as nobody knows the error and retrying did not help
)

// policy turns the error that ended an attempt into a reaction. It is pure: it is told the time.
type policy struct {
	unknownLimit time.Duration
	lastUnknown  time.Time     // zero when the last error was of a known class
	unknownFor   time.Duration // without progress
}

// judge decides. healthy tells whether the attempt moved the target past transactions, or ran well for a while: then
// earlier errors no longer count. Only spans between two unknown errors in a row are summed up, so that an outage of
// the network between them does not use the time up.
func (p *policy) judge(e *fault.Error, healthy bool, now time.Time) reaction {
	last := p.lastUnknown
	p.lastUnknown = time.Time{}
	if healthy {
		p.unknownFor, last = 0, time.Time{}
	}
	switch {
	case e.Class == fault.Busy:
		return standBy
	case e.Class == fault.OutcomeUnknown, e.Class == fault.Retryable && e.Endless:
		return again
	case e.Class != fault.Retryable:
		return halt
	}
	if !last.IsZero() {
		p.unknownFor += now.Sub(last)
	}
	p.lastUnknown = now
	if p.unknownFor >= p.unknownLimit {
		return tryLimit
	}
	return again
}

// How a standby asks for the lock.
const (
	standbyEager = 10 * time.Second
	standbyFast  = 100 * time.Millisecond
	standbySlow  = time.Second
)

// waits is the engine's backoff.BackOff: exponential after errors, steady while standing by.
type waits struct {
	*backoff.ExponentialBackOff
	standing bool
	since    time.Time // when standing by began
}

func newWaits(r Retry) *waits {
	return &waits{ExponentialBackOff: backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(r.Initial), backoff.WithMaxInterval(r.Max), backoff.WithMultiplier(2),
		backoff.WithMaxElapsedTime(0),
	)}
}

// react prepares the next wait.
func (w *waits) react(r reaction, healthy bool, now time.Time) {
	if healthy {
		w.Reset()
	}
	if r == standBy && !w.standing {
		w.since = now
		w.Reset()
	}
	w.standing = r == standBy
}

// NextBackOff implements backoff.BackOff.
func (w *waits) NextBackOff() time.Duration {
	switch {
	case !w.standing:
		return w.ExponentialBackOff.NextBackOff()
	case time.Since(w.since) < standbyEager:
		return standbyFast
	default:
		return standbySlow
	}
}
