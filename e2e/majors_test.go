package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/rowferry/rowferry/e2e/daemon"
	"github.com/rowferry/rowferry/e2e/load"
	"github.com/rowferry/rowferry/e2e/servers"
	"github.com/rowferry/rowferry/e2e/trial"
)

// TestEveryMajor copies and follows a load on each major version into a database and a file, with one SIGKILL on
// the way. The versions that everything else is tested on get more of it.
func TestEveryMajor(t *testing.T) {
	binary, err := daemon.Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		source, target int
		transactions   int // of each worker
	}{
		{14, 14, 60},
		{15, 15, 250},
		{16, 16, 60},
		{17, 17, 60},
		{18, 18, 250},
		{14, 18, 60}, // what a move to a newer server looks like
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%d to %d", tt.source, tt.target), func(t *testing.T) {
			t.Parallel()
			follow(t, trial.Options{
				Binary: binary, Folder: filepath.Join(t.TempDir(), "trial"),
				Source: servers.ForTest(t, tt.source).NewDatabase(t), Target: servers.ForTest(t, tt.target).NewDatabase(t),
				Targets: []trial.Target{trial.Postgres, trial.File}, Old: 3000,
				Load: &load.Runner{Profile: load.Full(), Seed: uint64(tt.source), Workers: 3, Limit: tt.transactions},
			})
		})
	}
}

// follow plays a trial with a kill in the middle of the load.
func follow(t *testing.T, o trial.Options) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*limit)
	defer cancel()
	trial, err := trial.New(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := trial.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := trial.End(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the end of the daemon's log:\n%s", trial.Daemon.LogEnd())
		}
	}()
	if err := trial.AwaitFollowing(ctx); err != nil {
		t.Fatal(err)
	}
	trial.Begin(ctx)
	all := o.Load.Workers * o.Load.Limit
	awaitLoad(ctx, t, o.Load, all/2)
	trial.Daemon.Kill()
	if err := trial.Start(); err != nil {
		t.Fatal(err)
	}
	awaitLoad(ctx, t, o.Load, all)
	if err := trial.Finish(ctx); err != nil {
		t.Fatal(err)
	}
	if !trial.Report.Clean() {
		t.Error(trial.Report)
	}
}

// awaitLoad waits until a number of transactions have ended, one way or the other.
func awaitLoad(ctx context.Context, t *testing.T, l *load.Runner, transactions int) {
	t.Helper()
	for {
		if committed, _, undone := l.Log().Totals(); committed+undone >= transactions {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waiting for %d transactions of the load: too long", transactions)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
