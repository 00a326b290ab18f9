package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/rowferry/rowferry/e2e/daemon"
)

// The load of the latency figures.
const (
	writers   = 4
	perSecond = 1000
	warmUp    = 2 * time.Second
	counted   = 8 * time.Second
)

// ticks is the table that the load is written into.
const ticks = `CREATE TABLE ticks (writer int, n int, pad text, PRIMARY KEY (writer, n))`

// measureLatency measures the time from a commit's answer at the source until a reader of the target sees the row.
// The reader asks once a millisecond, so up to a millisecond of each value is its own.
func (b *bench) measureLatency(ctx context.Context) error {
	source, target := b.source.URL("latency"), b.target.URL("latency")
	if err := do(ctx, b.source.URL("postgres"), "CREATE DATABASE latency"); err != nil {
		return err
	}
	if err := do(ctx, b.target.URL("postgres"), "CREATE DATABASE latency"); err != nil {
		return err
	}
	if err := do(ctx, source, ticks); err != nil {
		return err
	}
	d, err := daemon.Start(daemon.Options{
		Binary: b.options.binary, Folder: filepath.Join(b.folder, "latency"), LogLevel: "info",
		Pipelines: []daemon.Pipeline{{Name: "latency", Source: source, Target: target, InTarget: daemon.Settings{"tables": daemon.Settings{"create": true}}}},
	})
	if err != nil {
		return err
	}
	defer d.Kill()
	if err := d.Await(ctx, daemon.Following); err != nil {
		return err
	}
	var p50, p99 []sample
	for n := range b.options.rounds {
		l := &latency{source: source, target: target, base: n * 1_000_000, warm: warmUp, counted: counted}
		if err := l.round(ctx, l.watch); err != nil {
			return err
		}
		p50 = append(p50, sample{value: l.percentile(0.50), content: true})
		p99 = append(p99, sample{value: l.percentile(0.99), content: true})
	}
	st := &stage{bench: b, source: source}
	content, err := st.equalTables(ctx, target, []string{"ticks"})
	if err != nil {
		return err
	}
	if _, err := d.Stop(30 * time.Second); err != nil {
		return err
	}
	cpu, peak := d.Usage()
	rows := float64(b.options.rounds) * perSecond * (warmUp + counted).Seconds()
	for i := range p50 {
		p50[i].content, p99[i].content = content, content
		p50[i].cpu, p50[i].peak = float64(cpu.Microseconds())/rows, float64(peak)/(1<<20)
		p99[i].cpu, p99[i].peak = p50[i].cpu, p50[i].peak
	}
	b.add("latency_p50", p50, nil)
	b.add("latency_p99", p99, nil)
	return nil
}

// latency is one round.
type latency struct {
	source, target string
	base           int // numbers of this round begin after it
	warm, counted  time.Duration
	committed      [writers][]time.Time
	count          [writers]atomic.Int64 // how many of committed are there
	millis         []float64
}

// total is how many rows each writer writes.
func (l *latency) total() int { return int(perSecond * (l.warm + l.counted).Seconds() / writers) }

// skipped is how many of them do not count.
func (l *latency) skipped(total int) int {
	return int(float64(total) * l.warm.Seconds() / (l.warm + l.counted).Seconds())
}

// round writes the load, and lets watch read it until it has seen so many rows of each writer.
func (l *latency) round(ctx context.Context, watch func(ctx context.Context, total int) error) error {
	total := l.total()
	group, ctx := errgroup.WithContext(ctx)
	for w := range writers {
		l.committed[w] = make([]time.Time, total)
		group.Go(func() error { return l.write(ctx, w, total) })
	}
	group.Go(func() error { return watch(ctx, total) })
	return group.Wait()
}

// write commits one row at a time, evenly spread; what comes late is caught up.
func (l *latency) write(ctx context.Context, w, total int) error {
	conn, err := pgx.Connect(ctx, l.source)
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	step := time.Second * writers / perSecond
	next := time.Now().Add(step * time.Duration(w) / writers)
	for n := range total {
		if err := sleep(ctx, time.Until(next)); err != nil {
			return err
		}
		next = next.Add(step)
		if _, err := conn.Exec(ctx, `INSERT INTO ticks VALUES ($1, $2, 'a short text of some thirty bytes')`, w, l.base+n+1); err != nil {
			return fmt.Errorf("writing: %w", err)
		}
		l.committed[w][n] = time.Now()
		l.count[w].Store(int64(n + 1))
	}
	return nil
}

// watch reads the target until it has seen everything.
func (l *latency) watch(ctx context.Context, total int) error {
	conn, err := pgx.Connect(ctx, l.target)
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	skip := l.skipped(total)
	var seen [writers]int
	deadline := time.Now().Add(l.warm + l.counted + 30*time.Second)
	for left := writers; left > 0; {
		var newest [writers]int
		err := conn.QueryRow(ctx, `SELECT coalesce((SELECT max(n) FROM ticks WHERE writer = 0), 0), coalesce((SELECT max(n) FROM ticks WHERE writer = 1), 0),
			coalesce((SELECT max(n) FROM ticks WHERE writer = 2), 0), coalesce((SELECT max(n) FROM ticks WHERE writer = 3), 0)`).
			Scan(&newest[0], &newest[1], &newest[2], &newest[3])
		if err != nil {
			return fmt.Errorf("reading the target: %w", err)
		}
		now := time.Now()
		left = 0
		for w := range writers {
			l.see(w, &seen[w], newest[w]-l.base, skip, now)
			if seen[w] < total {
				left++
			}
		}
		if now.After(deadline) {
			return fmt.Errorf("reading the target: %w: it has %v of %d rows of each writer", context.DeadlineExceeded, seen, total)
		}
		if err := sleep(ctx, time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// see notes rows that came up. A row may be seen before its writer has noted the commit's answer: that is no delay.
func (l *latency) see(w int, seen *int, newest, skip int, now time.Time) {
	for ; *seen < newest; *seen++ {
		if *seen < skip {
			continue
		}
		if int64(*seen) >= l.count[w].Load() {
			l.millis = append(l.millis, 0)
			continue
		}
		l.millis = append(l.millis, max(0, now.Sub(l.committed[w][*seen]).Seconds()*1000))
	}
}

// percentile of the delays, in milliseconds.
func (l *latency) percentile(p float64) float64 {
	slices.Sort(l.millis)
	return l.millis[min(int(p*float64(len(l.millis))), len(l.millis)-1)]
}
