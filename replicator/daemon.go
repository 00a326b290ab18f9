package replicator

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rowferry/rowferry/replicator/metrics"
	"github.com/rowferry/rowferry/replicator/progress"
	"github.com/rowferry/rowferry/schema/fault"
)

// Daemon runs pipelines side by side. One that halts leaves the others alone.
type Daemon struct {
	options   Options
	pipelines []*pipeline
	started   time.Time
	abort     chan struct{} // closed by Abort
	abortOnce sync.Once
	address   atomic.Value // string, what Listening was told
}

// NewDaemon makes a daemon of the pipelines; Run runs it, once. It registers its metrics.
func NewDaemon(specs []Spec, o Options) *Daemon {
	o = o.withDefaults()
	d := &Daemon{options: o, started: time.Now().UTC(), abort: make(chan struct{})}
	set := metrics.New(o.Registry, o.Version, o.Revision, o.MaxTables)
	codes := map[string]fault.Code{}
	for _, c := range append(append([]fault.Code{}, o.Codes...), Codes...) {
		codes[c.Name] = c
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	holder := fmt.Sprintf("%s, pid %d, since %s", host, os.Getpid(), d.started.Format(time.RFC3339))
	for _, s := range specs {
		s = s.withDefaults()
		log := o.Log.With().Str("pipeline", s.Name).Logger()
		track := progress.NewTracker(s.Name, s.SourceText, s.TargetText, d.started)
		d.pipelines = append(d.pipelines, &pipeline{
			spec: s, holder: holder, log: log, codes: codes, bar: o.Bar, track: track,
			meter:   set.Pipeline(s.Name, track, s.QueueBytes),
			file:    &statusFile{dir: s.StateDir, version: o.Version, started: d.started, log: log},
			changed: make(chan struct{}, 1),
		})
	}
	return d
}

// Run blocks until every pipeline has ended: stopped, at the end of a finite source, or halted. ctx cancelled is a
// soft stop: reading ends, what was read is committed and acknowledged. After the grace period, or Abort, it becomes
// a hard one, and Run returns ErrForced if that cut anything off. A halt is no error of Run: see Report.
func (d *Daemon) Run(ctx context.Context) error {
	hard, force := context.WithCancelCause(context.WithoutCancel(ctx))
	defer force(nil)
	ended := make(chan struct{})
	var limits sync.WaitGroup
	limits.Go(func() { d.limit(ctx, ended, force) })
	defer limits.Wait()
	defer close(ended)

	errs := make([]error, len(d.pipelines))
	var running sync.WaitGroup
	for i, p := range d.pipelines {
		running.Go(func() { errs[i] = p.run(hard, ctx) })
	}
	running.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// limit turns a soft stop into a hard one when its time is up, or when asked.
func (d *Daemon) limit(ctx context.Context, ended <-chan struct{}, force context.CancelCauseFunc) {
	stop := ctx.Done()
	var late <-chan time.Time
	for {
		select {
		case <-stop:
			stop = nil
			grace := time.NewTimer(d.options.Grace)
			defer grace.Stop()
			late = grace.C
		case <-late:
			force(fmt.Errorf("%w: the grace period of %s is over", ErrForced, d.options.Grace))
			return
		case <-d.abort:
			force(fmt.Errorf("%w: asked to stop at once", ErrForced))
			return
		case <-ended:
			return
		}
	}
}

// Abort turns the stop into a hard one: nothing is finished, everything is closed. It may be called at any time,
// more than once.
func (d *Daemon) Abort() { d.abortOnce.Do(func() { close(d.abort) }) }

// Listening notes where the daemon answers, for its report and the pipelines' status files. It may be called at any time.
func (d *Daemon) Listening(address string) {
	d.address.Store(address)
	for _, p := range d.pipelines {
		p.file.listening(address)
		p.note()
	}
}

// Report says how every pipeline is. It may be called at any time, before and after Run, too.
func (d *Daemon) Report() progress.Report {
	now := time.Now().UTC()
	r := progress.Report{Version: d.options.Version, Started: d.started, Pipelines: []progress.Pipeline{}}
	r.Address, _ = d.address.Load().(string)
	for _, p := range d.pipelines {
		r.Pipelines = append(r.Pipelines, p.track.Snapshot(now))
	}
	return r
}
