package faults

import (
	"context"
	"testing"
	"time"

	"github.com/rowferry/rowferry/e2e/load"
	"github.com/rowferry/rowferry/e2e/servers"
	"github.com/rowferry/rowferry/e2e/trial"
)

// newTrial is a source under a load, its targets, and every oracle. The options may name targets, settings and
// proxies; the rest is filled in. Every session of the source ends four seconds after its client fell silent.
func newTrial(t *testing.T, seed uint64, o trial.Options) *trial.Trial {
	t.Helper()
	if o.Binary == "" {
		o.Binary = build(t)
	}
	if o.Source == "" {
		o.Source, o.Target = servers.ForTest(t, servers.Major(t)).NewDatabase(t), targets(t).NewDatabase(t)
	}
	hasten(t, o.Source)
	profile := load.Full()
	profile.Weights[load.Wipe] = 20
	profile.WipeFrom = 200 // when the copy is over
	profile.BigRows = 800
	o.Folder, o.Old = newFolder(t), 500
	if o.Load == nil {
		o.Load = &load.Runner{Profile: profile, Seed: seed, Workers: 2, Rate: 100}
	}
	if len(o.Targets) == 0 {
		o.Targets = []trial.Target{trial.Postgres, trial.File}
	}
	tr, err := trial.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		end := tr.End
		if t.Failed() {
			end = tr.Stuck
		}
		if err := end(); err != nil {
			t.Error(err)
		}
		if t.Failed() && tr.Daemon != nil {
			t.Logf("the end of the daemon's log:\n%s", tr.Daemon.LogEnd())
		}
	})
	return tr
}

// hasten makes the sessions that read a database's log give up silent clients soon.
func hasten(t *testing.T, url string) {
	t.Helper()
	servers.Exec(t, url, `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET wal_sender_timeout = ''4s''', current_database()); END $$`)
}

// bounded is the context of a trial.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*limit)
	t.Cleanup(cancel)
	return ctx
}

// flow starts the daemon and the load and waits until changes flow.
func flow(ctx context.Context, t *testing.T, tr *trial.Trial) {
	t.Helper()
	if err := tr.Start(); err != nil {
		t.Fatal(err)
	}
	tr.Begin(ctx)
	if err := tr.AwaitFollowing(ctx); err != nil {
		t.Fatal(err)
	}
}

// finish lets everything catch up and wants every oracle silent.
func finish(ctx context.Context, t *testing.T, tr *trial.Trial) {
	t.Helper()
	if err := tr.Finish(ctx); err != nil {
		t.Fatal(err)
	}
	if !tr.Report.Clean() {
		t.Error(tr.Report)
	}
}

// more lets the load make so many further transactions.
func more(ctx context.Context, t *testing.T, tr *trial.Trial, transactions int) {
	t.Helper()
	committed, _, undone := tr.Load().Log().Totals()
	want := committed + undone + transactions
	err := eventually(ctx, "the load to go on", func() (bool, string) {
		committed, _, undone := tr.Load().Log().Totals()
		return committed+undone >= want, ""
	})
	if err != nil {
		t.Fatal(err)
	}
}

// pause waits. Only for what cannot be seen to have happened, such as nothing.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
