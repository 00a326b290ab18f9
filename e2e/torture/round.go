package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowferry/rowferry/e2e/load"
	"github.com/rowferry/rowferry/e2e/servers"
	"github.com/rowferry/rowferry/replicator/progress"
)

func (o options) load(seed uint64) *load.Runner {
	return &load.Runner{Profile: load.Full(), Seed: seed, Workers: 4, Rate: o.rate}
}

// rounder plays one round.
type rounder struct {
	*staged
	kafka   *servers.Kafka // nil when nothing goes there
	options options
	rand    *rand.Rand
	tally   *tally
	began   time.Time
	done    []string
}

// waitLimit bounds each wait for the daemon to get somewhere.
const waitLimit = 2 * time.Minute

// judgeLimit bounds the last wait and the comparison of all that was written with all that arrived, millions of changes on
// a machine that may have other things to do.
const judgeLimit = 15 * time.Minute

// play is the round: kills in the copy, then a random walk of kills, then everything at rest.
func (r *rounder) play(ctx context.Context) error {
	if err := r.Start(); err != nil {
		return err
	}
	r.Begin(ctx)
	for range 2 + r.rand.IntN(2) {
		if err := r.killInCopy(ctx); err != nil {
			return err
		}
	}
	if err := r.following(ctx); err != nil {
		return err
	}
	for range r.options.steps {
		if err := r.step(ctx); err != nil {
			return err
		}
	}
	r.note("rest")
	resting, cancel := context.WithTimeout(ctx, 3*waitLimit)
	err := r.Retries(resting, retries, r.Disconnect)
	cancel()
	if err != nil {
		return err
	}
	r.tally.breaks += retries
	r.note("end")
	defer r.note("judged")
	ctx, cancel = context.WithTimeout(ctx, judgeLimit)
	defer cancel()
	return r.Finish(ctx)
}

// retries is how often the last daemon of a round has to begin again without leaving anything behind.
const retries = 6

// step does one thing to the daemon. The weights make streaming the most common place to die in.
func (r *rounder) step(ctx context.Context) error {
	kinds := 20
	if r.kafka != nil {
		kinds = 24
	}
	switch n := r.rand.IntN(kinds); {
	case n < 8:
		return r.killStreaming(ctx)
	case n < 12:
		return r.killCatchingUp(ctx)
	case n < 14:
		return r.killIdle(ctx)
	case n < 17:
		return r.killStopping(ctx)
	case n < 18:
		return r.stall(ctx)
	case n < 20:
		return r.disconnect(ctx)
	default:
		return r.killBroker(ctx)
	}
}

// killBroker kills the broker while changes flow, sometimes the daemon too, and starts the broker again after a while.
func (r *rounder) killBroker(ctx context.Context) error {
	if err := r.following(ctx); err != nil {
		return err
	}
	before, away, both := r.pause(400*time.Millisecond), r.pause(2*time.Second), r.rand.IntN(3) == 0
	if err := wait(ctx, before); err != nil {
		return err
	}
	if err := r.kafka.KillBroker(1); err != nil {
		return err
	}
	r.tally.brokers++
	r.note("broker")
	if err := wait(ctx, away); err != nil {
		return err
	}
	if both {
		if err := r.kill(Streaming); err != nil {
			return err
		}
	}
	if err := r.kafka.StartBroker(ctx, 1); err != nil {
		return err
	}
	return r.following(ctx)
}

// killInCopy kills while rows are being copied, and begins again.
func (r *rounder) killInCopy(ctx context.Context) error {
	delay := r.pause(300 * time.Millisecond)
	err := r.await(ctx, func(states map[string]progress.State) bool {
		for _, s := range states {
			if s == progress.Copying {
				return true
			}
		}
		return false
	})
	if err != nil {
		return err
	}
	if err := wait(ctx, delay); err != nil {
		return err
	}
	phase := Streaming
	for _, s := range r.States(ctx) {
		if s == progress.Copying {
			phase = Copy
		}
	}
	return r.kill(phase)
}

// killStreaming kills while changes flow.
func (r *rounder) killStreaming(ctx context.Context) error {
	if err := r.following(ctx); err != nil {
		return err
	}
	if err := wait(ctx, r.pause(400*time.Millisecond)); err != nil {
		return err
	}
	return r.kill(Streaming)
}

// killCatchingUp lets changes pile up while the daemon is away, and kills it soon after it came back.
func (r *rounder) killCatchingUp(ctx context.Context) error {
	pile, delay := r.pause(time.Second), r.pause(150*time.Millisecond)
	r.Daemon.Kill()
	if err := wait(ctx, pile); err != nil {
		return err
	}
	if err := r.Start(); err != nil {
		return err
	}
	err := r.await(ctx, func(states map[string]progress.State) bool {
		for _, s := range states {
			if s == progress.CatchingUp || s == progress.Streaming {
				return true
			}
		}
		return false
	})
	if err != nil {
		return err
	}
	if err := wait(ctx, delay); err != nil {
		return err
	}
	return r.kill(CatchUp)
}

// killIdle kills when there is nothing to do, and nothing comes for a while.
func (r *rounder) killIdle(ctx context.Context) error {
	r.Load().Pause()
	defer r.Load().Resume()
	ctx, cancel := context.WithTimeout(ctx, waitLimit)
	defer cancel()
	if err := r.CatchUp(ctx); err != nil {
		return err
	}
	if err := wait(ctx, r.pause(300*time.Millisecond)); err != nil {
		return err
	}
	if err := r.kill(Idle); err != nil {
		return err
	}
	return r.following(ctx)
}

// killStopping asks the daemon to stop, and does not let it finish.
func (r *rounder) killStopping(ctx context.Context) error {
	if err := r.following(ctx); err != nil {
		return err
	}
	if err := wait(ctx, r.pause(200*time.Millisecond)); err != nil {
		return err
	}
	if err := r.Daemon.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := wait(ctx, r.pause(40*time.Millisecond)); err != nil {
		return err
	}
	return r.kill(Stop)
}

// stall holds a table at the target that every transaction writes, so that commits wait and acknowledgements must too.
func (r *rounder) stall(ctx context.Context) error {
	if err := r.following(ctx); err != nil || !strings.Contains(fmt.Sprint(r.options.targets), "postgres") {
		return err
	}
	conn, err := pgx.Connect(ctx, r.target)
	if err != nil {
		return fmt.Errorf("connecting to the target: %w", err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, `BEGIN; SET LOCAL lock_timeout = '10s'; LOCK TABLE txn_a IN EXCLUSIVE MODE`); err != nil {
		return fmt.Errorf("holding a table: %w", err)
	}
	r.note("stall")
	r.tally.breaks++
	return wait(ctx, 200*time.Millisecond+r.pause(600*time.Millisecond))
}

// disconnect ends a few of the daemon's sessions at the servers.
func (r *rounder) disconnect(ctx context.Context) error {
	if err := r.following(ctx); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, r.source)
	if err != nil {
		return fmt.Errorf("connecting to the source: %w", err)
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, fmt.Sprintf(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE application_name ILIKE '%%rowferry%%' AND hashint4(pid + %d) %% 2 = 0`, r.rand.IntN(100)))
	if err != nil {
		return fmt.Errorf("ending sessions: %w", err)
	}
	r.note("disconnect")
	r.tally.breaks++
	return wait(ctx, r.pause(200*time.Millisecond))
}

// kill is SIGKILL, and a new start.
func (r *rounder) kill(p Phase) error {
	r.Daemon.Kill()
	r.tally.kills[p]++
	r.note(string(p))
	return r.Start()
}

// note keeps what was done.
func (r *rounder) note(what string) {
	r.done = append(r.done, what)
	if r.options.verbose {
		fmt.Printf("    %6.1f s  %s\n", time.Since(r.began).Seconds(), what)
	}
}

func (r *rounder) line() string {
	committed, changes, undone := r.Load().Log().Totals()
	return fmt.Sprintf("%d transactions with %d changes, %d rolled back, %d steps", committed, changes, undone, len(r.done))
}

func (r *rounder) following(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, waitLimit)
	defer cancel()
	return r.AwaitFollowing(ctx)
}

// await waits for the pipelines' states to be as wanted; one that follows already may have gone past them.
func (r *rounder) await(ctx context.Context, wanted func(map[string]progress.State) bool) error {
	ctx, cancel := context.WithTimeout(ctx, waitLimit)
	defer cancel()
	for {
		states := r.States(ctx)
		following, halted := 0, false
		for _, s := range states {
			if s == progress.Streaming || s == progress.CatchingUp {
				following++
			}
			halted = halted || s == progress.Halted
		}
		if wanted(states) || halted || len(states) > 0 && following == len(states) {
			return nil // a halt is reported by whoever waits next
		}
		select {
		case <-r.Daemon.Ended():
			return errors.New("the daemon ended by itself:\n" + r.Daemon.LogEnd())
		case <-ctx.Done():
			return fmt.Errorf("waiting for the daemon: %w\n%s", context.Cause(ctx), r.Daemon.LogEnd())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// pause is a random time up to limit. It is drawn whether or not it is needed, so that plans repeat.
func (r *rounder) pause(limit time.Duration) time.Duration {
	return time.Duration(r.rand.Int64N(int64(limit)))
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
