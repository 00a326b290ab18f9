package replicator

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/rs/zerolog"

	"github.com/rowferry/rowferry/replicator/metrics"
	"github.com/rowferry/rowferry/replicator/progress"
	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks"
	"github.com/rowferry/rowferry/sources"
)

// ErrForced tells that a stop was not waited for: what was on its way was dropped, to be read again.
var ErrForced = errors.New("stopped by force")

// steady is how long an attempt has to run in the stream phase to count as healthy without a transaction.
const steady = time.Minute

// pipeline runs one source into one target, attempt after attempt.
type pipeline struct {
	spec    Spec
	holder  string // this process, for the ledger
	log     zerolog.Logger
	codes   map[string]fault.Code
	bar     bool
	track   *progress.Tracker
	meter   *metrics.Pipeline
	file    *statusFile
	changed chan struct{} // gets a token when the status file is out of date

	flow   atomic.Pointer[flow] // of the running attempt
	opened atomic.Bool          // a stream was open once: there is something to observe
	read   bool                 // the ledger was read once, in the phase it was in; of the goroutine that attempts
	phase  schema.Phase
}

// run blocks until the pipeline is stopped, at its end, or halted. soft ends when it should stop, hard when it has to.
func (p *pipeline) run(hard, soft context.Context) error {
	hard, fail := context.WithCancelCause(hard)
	defer fail(nil)
	soft, stop := context.WithCancelCause(soft)
	defer stop(nil)
	defer context.AfterFunc(hard, func() { stop(context.Cause(hard)) })()

	watching, unwatch := context.WithCancelCause(context.WithoutCancel(hard))
	watchers := &crew{cancel: func(err error) {
		if err != nil {
			fail(err)
		}
	}}
	watchers.run(func() error { return p.watch(watching) })
	watchers.run(func() error { return p.observe(watching) })

	err := p.attempts(hard, soft)
	switch {
	case err == nil:
		p.enter(progress.Stopped, "")
	case errors.Is(err, ErrForced):
		p.enter(progress.Stopped, ErrForced.Error())
	default:
		p.halt(err)
	}
	unwatch(nil)
	_ = watchers.wait() // what they found has come through hard
	p.file.write(p.track.Snapshot(time.Now()))
	p.file.close()
	if errors.Is(err, ErrForced) {
		return err
	}
	return nil
}

// attempts is the one retry loop of the program. It returns nil after a stop, ErrForced, or the error to halt with.
func (p *pipeline) attempts(hard, soft context.Context) error {
	w := newWaits(p.spec.Retry)
	rules := policy{unknownLimit: p.spec.Retry.Unknown}
	operation := func() error {
		var healthy bool
		err := protect(func() (err error) {
			healthy, err = p.attempt(hard, soft)
			return err
		})
		if cause := context.Cause(hard); cause != nil {
			err = cause
		}
		switch {
		case errors.Is(err, ErrForced):
			return backoff.Permanent(err)
		case err == nil:
			return nil
		case gravity(err) > 0:
			return backoff.Permanent(p.failed(err, false))
		case soft.Err() != nil:
			return p.cut(err)
		}
		now := time.Now()
		r := rules.judge(fault.Of(err), healthy, now)
		w.react(r, healthy, now)
		switch r {
		case halt, tryLimit:
			return backoff.Permanent(p.failed(err, false))
		case standBy:
			p.enter(progress.Standby, fault.Of(err).Err.Error())
			return err
		default:
			_ = p.failed(err, true)
			p.track.Retried()
			p.enter(progress.Retrying, err.Error())
			return err
		}
	}
	err := backoff.Retry(operation, backoff.WithContext(w, soft))
	switch {
	case err != nil && soft.Err() == nil:
		return err
	case context.Cause(hard) != nil:
		return context.Cause(hard)
	case err != nil && gravity(err) > 0:
		return err
	default:
		return nil // the stop came between two attempts
	}
}

// cut notes an error that a stop makes harmless.
func (p *pipeline) cut(err error) error {
	p.log.Warn().Err(err).Msg("stopped before everything read was committed; it will be read again")
	return nil
}

// failed counts an error and returns it.
func (p *pipeline) failed(err error, again bool) error {
	e := fault.Of(err)
	component := "engine"
	for _, c := range []string{"source", "target"} {
		if len(e.Code) > len(c) && e.Code[:len(c)+1] == c+"." {
			component = c
		}
	}
	p.meter.Failed(component, e.Code, again)
	return err
}

// attempt is one run from the top: identify, lock, open, stream, until the first error. It leaves nothing open.
// healthy tells whether it got somewhere.
func (p *pipeline) attempt(hard, soft context.Context) (healthy bool, err error) {
	limit := p.spec.Timeouts.Open
	var id schema.SourceID
	if err = timed(soft, limit, "identifying the source", func(ctx context.Context) (err error) {
		id, err = p.spec.Source.Identify(ctx)
		return err
	}); err != nil {
		return false, fmt.Errorf("identifying the source: %w", err)
	}
	var lost <-chan struct{}
	var release func()
	if err = timed(soft, limit, "locking the source", func(ctx context.Context) (err error) {
		lost, release, err = p.spec.Source.Lock(ctx)
		return err
	}); err != nil {
		return false, fmt.Errorf("locking the source: %w", err)
	}
	defer release()
	if p.track.State() == progress.Standby {
		p.enter(progress.Starting, "")
	}
	return p.open(hard, soft, id, lost)
}

// open is the part of an attempt that holds the lock.
func (p *pipeline) open(hard, soft context.Context, id schema.SourceID, lost <-chan struct{}) (healthy bool, err error) {
	defer func() { p.track.Connected(false, false, time.Now()) }()
	var writer sinks.Writer
	var held sinks.Held
	claim := sinks.Claim{Pipeline: p.spec.Name, Source: id, Fingerprint: p.spec.Fingerprint, Holder: p.holder}
	if err = timed(soft, p.spec.Timeouts.Open, "opening the target", func(ctx context.Context) (err error) {
		writer, held, err = p.spec.Sink.Open(ctx, claim)
		return err
	}); err != nil {
		return false, fmt.Errorf("opening the target: %w", err)
	}
	writing := true
	closeWriter := func() {
		if writing {
			writing = false
			p.closed("target", protect(writer.Close))
		}
	}
	defer closeWriter()
	p.track.Connected(false, true, time.Now())
	p.track.Opened(held.Position.String())
	p.read, p.phase = true, held.Phase

	var stream sources.Stream
	if err = timed(soft, p.spec.Timeouts.Open, "opening the source's stream", func(ctx context.Context) (err error) {
		stream, err = p.spec.Source.Stream(ctx, held.Position, held.State)
		return err
	}); err != nil {
		return false, fmt.Errorf("opening the source's stream: %w", err)
	}
	defer func() { p.closed("source", protect(stream.Close)) }()
	p.track.Connected(true, true, time.Now())
	p.opened.Store(true)
	p.begun(held)

	began := time.Now()
	f := newFlow(p, stream, writer, held)
	p.flow.Store(f)
	defer p.flow.Store(nil)
	// The writer goes first: only then may batches it still holds go back to the stream, and only then the stream.
	defer f.budget.releaseAll()
	defer closeWriter()
	err = f.run(hard, soft, lost)
	return f.healthy || held.Phase == schema.PhaseStream && time.Since(began) >= steady, err
}

// begun moves to the state a fresh stream is in.
func (p *pipeline) begun(held sinks.Held) {
	if held.Phase == schema.PhaseStream {
		p.enter(progress.CatchingUp, "")
		return
	}
	p.enter(progress.Starting, "")
}

// closed logs what closing an end came to: nothing depends on it any more.
func (p *pipeline) closed(end string, err error) {
	if err != nil {
		p.log.Warn().Err(err).Str("end", end).Msg("closing was not clean")
	}
}

// enter moves to a state.
func (p *pipeline) enter(s progress.State, reason string) {
	if p.track.SetState(s, reason, time.Now()) {
		p.announce()
	}
}

// announce logs the present state, and has the status file written.
func (p *pipeline) announce() {
	now := p.track.Snapshot(time.Now())
	event := p.log.Info()
	if now.State == progress.Retrying {
		event = p.log.Warn()
	}
	if now.Waiting != "" {
		event = event.Str("reason", now.Waiting)
	}
	event.Str("state", string(now.State)).Str("position", now.Position).Msg("pipeline " + string(now.State))
	p.note()
}

// note has the status file written.
func (p *pipeline) note() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}
