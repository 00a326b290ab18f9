package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rowferry/rowferry/e2e/daemon"
	"github.com/rowferry/rowferry/e2e/oracle"
	"github.com/rowferry/rowferry/e2e/trial"
	"github.com/rowferry/rowferry/replicator/progress"
)

// fighter is one of two daemons with the same pipelines, under a supervisor that starts it again whenever it ends.
type fighter struct {
	folder string

	mu     sync.Mutex // guards the rest
	daemon *daemon.Daemon
	starts int
	halted int // ends by itself, as after being fenced
}

// restartAfter is how long a supervisor waits.
const restartAfter = 500 * time.Millisecond

// supervise runs until the context ends, and leaves the last daemon alive.
func (f *fighter) supervise(ctx context.Context, t *trial.Trial) error {
	for ctx.Err() == nil {
		d, err := t.Beside(f.folder, []string{"--exit-on-halt"})
		if err != nil {
			return err
		}
		f.mu.Lock()
		f.daemon = d
		f.starts++
		f.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil
		case <-d.Ended():
		}
		if d.ExitCode() > 0 {
			f.mu.Lock()
			f.halted++
			f.mu.Unlock()
		}
		if err := wait(ctx, restartAfter); err != nil {
			return nil // the fight is over
		}
	}
	return nil
}

// now is the daemon that runs, or the last that did; nil before the first.
func (f *fighter) now() *daemon.Daemon {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.daemon
}

// follows tells whether the fighter's daemon says that all its pipelines follow their source.
func (f *fighter) follows(ctx context.Context) bool {
	d := f.now()
	if d == nil {
		return false
	}
	report, err := d.Status(ctx)
	if err != nil || len(report.Pipelines) == 0 {
		return false
	}
	for _, p := range report.Pipelines {
		if p.State != progress.Streaming && p.State != progress.CatchingUp {
			return false
		}
	}
	return true
}

// fight is two daemons that fight for one pipeline.
type fight struct {
	*trial.Trial
	fighters [2]*fighter
	rand     *rand.Rand
	options  options
	blows    map[string]int
	changes  int // of the leader
	calms    int
	leader   int // -1 before there was one
}

// duel plays a fight for the duration, then lets one of the two catch up, and judges.
func duel(ctx context.Context, o options, s stage) (err error) {
	t, drop, err := newRound(ctx, o, s, 0)
	if err != nil {
		return err
	}
	second, err := os.MkdirTemp("", "torture-*")
	if err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	f := &fight{
		Trial: t.Trial, fighters: [2]*fighter{{folder: t.folder}, {folder: second}}, options: o,
		rand: rand.New(rand.NewPCG(o.seed, 2)), blows: map[string]int{}, leader: -1,
	}
	err = f.play(ctx)
	f.print()
	if err == nil && !t.Report.Clean() {
		err = errFound
	}
	if err != nil {
		beside := os.CopyFS(filepath.Join(t.folder, "second"), os.DirFS(second))
		return errors.Join(err, t.End(), beside, os.RemoveAll(second), keep(t.folder, o.seed, t.Trial))
	}
	return errors.Join(t.Remove(), os.RemoveAll(second), drop(ctx))
}

func (f *fight) play(ctx context.Context) error {
	supervision, over := context.WithCancel(ctx)
	var supervisors sync.WaitGroup
	errs := make([]error, len(f.fighters))
	for i, one := range f.fighters {
		supervisors.Go(func() { errs[i] = one.supervise(supervision, f.Trial) })
	}
	f.Begin(ctx)
	err := f.rounds(ctx)
	over()
	supervisors.Wait()
	if err = errors.Join(err, errs[0], errs[1]); err != nil {
		for _, one := range f.fighters {
			if d := one.now(); d != nil {
				d.Kill()
			}
		}
		return err
	}
	f.Daemon = f.fighters[f.leader].now()
	f.fighters[1-f.leader].now().Kill()
	ctx, cancel := context.WithTimeout(ctx, 3*waitLimit)
	defer cancel()
	if err := f.AwaitFollowing(ctx); err != nil {
		return err
	}
	return f.Finish(ctx)
}

// rounds strikes until the time is up, with a calm after every few blows.
func (f *fight) rounds(ctx context.Context) error {
	if err := f.awaitLeader(ctx); err != nil {
		return err
	}
	for begun, n := time.Now(), 1; time.Since(begun) < f.options.duration; n++ {
		if err := f.strike(ctx); err != nil {
			return err
		}
		if n%8 != 0 {
			if err := wait(ctx, time.Duration(f.rand.Int64N(int64(2*time.Second)))); err != nil {
				return err
			}
			continue
		}
		if err := f.calm(ctx); err != nil {
			return err
		}
	}
	return f.calm(ctx)
}

// strike does something to one of the two, or to both.
func (f *fight) strike(ctx context.Context) error {
	one := f.fighters[f.rand.IntN(2)]
	kind := f.rand.IntN(10)
	frozen := 200*time.Millisecond + time.Duration(f.rand.Int64N(int64(4*time.Second)))
	switch {
	case kind < 3:
		f.blows["kill"]++
		one.now().Kill()
	case kind < 4:
		f.blows["kill both"]++
		f.fighters[0].now().Kill()
		f.fighters[1].now().Kill()
	case kind < 6:
		f.blows["sessions ended"]++
		return f.lenient(f.Disconnect(ctx))
	default:
		// The one that was frozen loses the source's lock meanwhile, and comes back as a zombie.
		f.blows["frozen, sessions ended"]++
		d := one.now()
		if d.Signal(syscall.SIGSTOP) != nil {
			return nil // it has just ended
		}
		defer func() { _ = d.Signal(syscall.SIGCONT) }() // it may have been replaced
		if err := f.lenient(f.Disconnect(ctx)); err != nil {
			return err
		}
		return wait(ctx, frozen)
	}
	return nil
}

// lenient passes over that there was no session to end.
func (f *fight) lenient(err error) error {
	if err != nil && strings.Contains(err.Error(), "there are none") {
		return nil
	}
	return err
}

// awaitLeader waits until one of the two follows and the other does not.
func (f *fight) awaitLeader(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, waitLimit)
	defer cancel()
	for {
		first, second := f.fighters[0].follows(ctx), f.fighters[1].follows(ctx)
		if first != second {
			leader := 0
			if second {
				leader = 1
			}
			if f.leader != leader {
				f.changes++
				f.leader = leader
			}
			return nil
		}
		if err := wait(ctx, 50*time.Millisecond); err != nil {
			return fmt.Errorf("waiting for one of the two to lead: %w", err)
		}
	}
}

// calm strikes nobody for a while: the leader stays what it is, and the other does not try.
func (f *fight) calm(ctx context.Context) error {
	f.calms++
	if err := f.awaitLeader(ctx); err != nil {
		return err
	}
	// What a zombie may still find out, and a supervisor still start, is over soon.
	if err := wait(ctx, 3*time.Second); err != nil {
		return err
	}
	if err := f.awaitLeader(ctx); err != nil {
		return err
	}
	leader, starts := f.leader, f.starts()
	for until := time.Now().Add(3 * time.Second); time.Now().Before(until); {
		if err := wait(ctx, 50*time.Millisecond); err != nil {
			return err
		}
		if f.fighters[1-leader].follows(ctx) {
			f.Report.Add(oracle.Wrong, "the one that stood by took over from one that nobody touched")
		}
		if !f.fighters[leader].follows(ctx) {
			f.Report.Add(oracle.Wrong, "the leader gave up though nobody touched it")
		}
	}
	if now := f.starts(); now != starts {
		f.Report.Add(oracle.Wrong, "daemons were started %d times though nobody touched them", now-starts)
	}
	return nil
}

func (f *fight) starts() (n int) {
	for _, one := range f.fighters {
		one.mu.Lock()
		n += one.starts
		one.mu.Unlock()
	}
	return n
}

// print says what happened.
func (f *fight) print() {
	halted := 0
	for _, one := range f.fighters {
		one.mu.Lock()
		halted += one.halted
		one.mu.Unlock()
	}
	committed, changes, _ := f.Load().Log().Totals()
	fmt.Printf("  %d transactions with %d changes; blows: %v\n", committed, changes, f.blows)
	fmt.Printf("  %d starts, %d of them after a halt; the leader was another %d times; %d calms; %d records judged\n",
		f.starts(), halted, f.changes, f.calms, f.Report.Looks("kafka records"))
}
