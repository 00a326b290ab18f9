package main

import (
	"context"
	"fmt"

	"github.com/rowferry/rowferry/e2e/daemon"
)

// measureBig measures the memory that one huge transaction takes on its way to Postgres: one round, as memory does
// not depend on who else is at work.
func (b *bench) measureBig(ctx context.Context) error {
	rows := b.options.rows(10_000_000)
	st, err := b.prepare(ctx, scenario{name: "big", rows: rows, each: rows, applied: true})
	if err != nil {
		return err
	}
	url, err := st.fresh(ctx, "applied")
	if err != nil {
		return err
	}
	seen, err := newMarker(ctx, url)
	if err != nil {
		return err
	}
	defer seen.close()
	r, err := st.ours(ctx, url, nil, func(ctx context.Context, _ *daemon.Daemon) (bool, error) { return seen.look(ctx) })
	if err != nil {
		return err
	}
	content, err := st.equal(ctx, url)
	if err != nil {
		return err
	}
	s := r.sample(rows, content)
	fmt.Printf("  %d rows in one transaction in %v\n", rows, r.wall.Round(1e8))
	s.value = s.peak
	b.add("memory_big", []sample{s}, nil)
	return st.close(ctx)
}
