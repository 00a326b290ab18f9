package trial

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowferry/rowferry/e2e/oracle"
)

// Retries breaks the pipelines so many times, waits each time until they have begun again by themselves, and compares
// what the daemon holds at rest before and after. The load has to run; it is paused to come to rest.
func (t *Trial) Retries(ctx context.Context, times int, broken func(context.Context) error) error {
	before, err := t.rest(ctx, nil)
	if err != nil {
		return err
	}
	for range times {
		if err := t.retry(ctx, broken); err != nil {
			return err
		}
	}
	after, err := t.rest(ctx, func(u oracle.Use) bool { return u.Within(before, times) })
	if err != nil {
		return err
	}
	t.Report.Looked("use", 1)
	if !after.Within(before, times) {
		t.Report.Add(oracle.Leaked, "the daemon held %v at rest, and %v after %d retries", before, after, times)
	}
	return nil
}

// retry breaks every pipeline once.
func (t *Trial) retry(ctx context.Context, broken func(context.Context) error) error {
	before, err := t.retried(ctx)
	if err != nil {
		return err
	}
	if err := broken(ctx); err != nil {
		return err
	}
	for all := false; !all; {
		now, err := t.retried(ctx)
		if err != nil {
			return err
		}
		all = true
		for name, n := range before {
			all = all && now[name] > n
		}
		if !all {
			if err := t.stillGoing(ctx); err != nil {
				return fmt.Errorf("waiting for a retry: %w", err)
			}
		}
	}
	return t.AwaitFollowing(ctx)
}

// retried is how often each pipeline began again.
func (t *Trial) retried(ctx context.Context) (map[string]int64, error) {
	report, err := t.Daemon.Status(ctx)
	if err != nil {
		return nil, err
	}
	retries := map[string]int64{}
	for _, p := range report.Pipelines {
		retries[p.Name] = p.Retries
	}
	return retries, nil
}

// rest pauses the load, waits until everything has arrived, and reads what the daemon holds then; until it is as
// wanted, for a while.
func (t *Trial) rest(ctx context.Context, wanted func(oracle.Use) bool) (use oracle.Use, err error) {
	t.runner.Pause()
	defer t.runner.Resume()
	if err := t.AwaitFollowing(ctx); err != nil {
		return use, err
	}
	if err := t.CatchUp(ctx); err != nil {
		return use, err
	}
	for deadline := time.Now().Add(5 * time.Second); ; {
		page, err := t.Daemon.Metrics(ctx)
		if err != nil {
			return use, err
		}
		if use, err = oracle.ReadUse(page); err != nil || wanted == nil || wanted(use) || time.Now().After(deadline) {
			return use, err
		}
		if err := t.stillGoing(ctx); err != nil {
			return use, err
		}
	}
}

// Disconnect ends every session that the daemon has at the source.
func (t *Trial) Disconnect(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, t.options.Source)
	if err != nil {
		return fmt.Errorf("connecting to the source: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var n int
	err = conn.QueryRow(ctx, `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
		WHERE application_name ILIKE '%rowferry%' AND datname = current_database()`).Scan(&n)
	if err != nil {
		return fmt.Errorf("ending sessions: %w", err)
	}
	if n == 0 {
		return errors.New("ending sessions: there are none")
	}
	return nil
}

// idle looks for transactions that a daemon at rest holds open.
func (t *Trial) idle(ctx context.Context) error {
	urls := []string{t.options.Source}
	for _, target := range t.options.Targets {
		if target == Postgres {
			urls = append(urls, t.options.Target)
		}
	}
	for _, url := range urls {
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			return fmt.Errorf("connecting to look for transactions: %w", err)
		}
		err = oracle.IdleInTransaction(ctx, t.Report, conn)
		_ = conn.Close(context.WithoutCancel(ctx))
		if err != nil {
			return err
		}
	}
	return nil
}
