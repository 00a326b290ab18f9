package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowferry/rowferry/e2e/daemon"
	"github.com/rowferry/rowferry/e2e/oracle"
)

// measureApply measures streaming from Postgres to Postgres against Postgres' own subscription: the same log, the
// same target server, both committing with synchronous_commit = on.
func (b *bench) measureApply(ctx context.Context) error {
	scenarios := []scenario{
		{name: "apply_insert_100", rows: b.options.rows(300_000), each: 100},
		{name: "apply_update_100", rows: b.options.rows(200_000), each: 100, update: true},
		{name: "apply_insert_1", rows: b.options.rows(80_000), each: 1},
		{name: "apply_update_1", rows: b.options.rows(60_000), each: 1, update: true},
	}
	for _, s := range scenarios {
		if !b.wants(s.name) {
			continue
		}
		s.applied = true
		st, err := b.prepare(ctx, s)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		var ours, theirs []sample
		for range b.options.rounds {
			other, err := st.subscribe(ctx)
			if err != nil {
				return fmt.Errorf("%s, subscription: %w", s.name, err)
			}
			mine, err := st.apply(ctx)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			theirs, ours = append(theirs, other), append(ours, mine)
		}
		b.add(s.name, ours, theirs)
		if err := st.close(ctx); err != nil {
			return err
		}
	}
	return nil
}

// fresh makes a target database as it was at the beginning of the log.
func (st *stage) fresh(ctx context.Context, name string) (string, error) {
	err := do(ctx, st.bench.target.URL("postgres"), "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)", "CREATE DATABASE "+name+" TEMPLATE "+st.copied, "CHECKPOINT")
	return st.bench.target.URL(name), err
}

// subscribe runs a subscription over the log.
func (st *stage) subscribe(ctx context.Context) (sample, error) {
	const name = "subscribed"
	url, err := st.fresh(ctx, name)
	if err != nil {
		return sample{}, err
	}
	if err := st.branch(ctx, name); err != nil {
		return sample{}, err
	}
	err = do(ctx, url, "SET synchronous_commit = on", fmt.Sprintf(`CREATE SUBSCRIPTION %s CONNECTION 'host=127.0.0.1 port=%d user=postgres dbname=%s' PUBLICATION rowferry_%s
		WITH (create_slot = false, slot_name = '%s', copy_data = false, enabled = false, synchronous_commit = 'on')`,
		name, st.bench.source.Port, st.name, st.name, name))
	if err != nil {
		return sample{}, err
	}
	began := time.Now()
	if err := do(ctx, url, "ALTER SUBSCRIPTION "+name+" ENABLE"); err != nil {
		return sample{}, err
	}
	seen, err := newMarker(ctx, url)
	if err != nil {
		return sample{}, err
	}
	defer seen.close()
	for {
		there, err := seen.look(ctx)
		if err != nil {
			return sample{}, err
		}
		if there {
			break
		}
		if err := sleep(ctx, 5*time.Millisecond); err != nil {
			return sample{}, err
		}
	}
	r := took{wall: time.Since(began)}
	content, err := st.equal(ctx, url)
	if err != nil {
		return sample{}, err
	}
	if err := do(ctx, url, "ALTER SUBSCRIPTION "+name+" DISABLE", "ALTER SUBSCRIPTION "+name+" SET (slot_name = NONE)", "DROP SUBSCRIPTION "+name); err != nil {
		return sample{}, err
	}
	return r.sample(st.rows, content), st.drop(ctx, name)
}

// apply runs Rowferry over the log.
func (st *stage) apply(ctx context.Context) (sample, error) {
	url, err := st.fresh(ctx, "applied")
	if err != nil {
		return sample{}, err
	}
	seen, err := newMarker(ctx, url)
	if err != nil {
		return sample{}, err
	}
	defer seen.close()
	r, err := st.ours(ctx, url, nil, func(ctx context.Context, _ *daemon.Daemon) (bool, error) { return seen.look(ctx) })
	if err != nil {
		return sample{}, err
	}
	content, err := st.equal(ctx, url)
	return r.sample(st.rows, content), err
}

// equal compares a target with the source.
func (st *stage) equal(ctx context.Context, url string) (bool, error) {
	return st.equalTables(ctx, url, []string{"acc", "marker"})
}

func (st *stage) equalTables(ctx context.Context, url string, tables []string) (bool, error) {
	source, err := pgx.Connect(ctx, st.source)
	if err != nil {
		return false, fmt.Errorf("connecting: %w", err)
	}
	defer source.Close(ctx)
	target, err := pgx.Connect(ctx, url)
	if err != nil {
		return false, fmt.Errorf("connecting: %w", err)
	}
	defer target.Close(ctx)
	r := &oracle.Report{}
	if err := oracle.Equal(ctx, r, source, target, tables); err != nil {
		return false, err
	}
	if !r.Clean() {
		fmt.Print(r)
	}
	return r.Clean(), nil
}

// marker looks for the transaction that ends the log at a target.
type marker struct{ conn *pgx.Conn }

func newMarker(ctx context.Context, url string) (marker, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return marker{}, fmt.Errorf("connecting: %w", err)
	}
	return marker{conn}, nil
}

func (m marker) look(ctx context.Context) (there bool, err error) {
	if err := m.conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM marker)`).Scan(&there); err != nil {
		return false, fmt.Errorf("looking for the end: %w", err)
	}
	return there, nil
}

func (m marker) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = m.conn.Close(ctx)
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
