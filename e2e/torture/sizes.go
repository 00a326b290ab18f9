package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowferry/rowferry/e2e/daemon"
	"github.com/rowferry/rowferry/e2e/servers"
	"github.com/rowferry/rowferry/e2e/trial"
	"github.com/rowferry/rowferry/replicator/progress"
)

// size is one thing that is large, at full size. A table of 1,600 columns is at full size among the tests of faults.
type size struct {
	name     string
	old, new string // statements before the copy and in the stream; %d is how many
	count    int64
	same     string // a query that gives one text, the same at source and target
	memory   int64  // the most the daemon may take, bytes
	settings daemon.Settings
}

// sizes are those of faults 16 and 98.
var sizes = []size{
	{
		name: "a transaction of 5 GB", count: 5_000_000,
		old:  `CREATE TABLE items (id bigint PRIMARY KEY, name text)`,
		new:  `INSERT INTO items SELECT g, repeat(md5(g::text), 32) FROM generate_series(1, %d) g`,
		same: `SELECT count(*) || ' ' || coalesce(sum(hashtext(i::text)), 0) FROM items i`, memory: 256 << 20,
	},
	{
		name: "a transaction of 10 million rows", count: 10_000_000,
		old:  `CREATE TABLE items (id bigint PRIMARY KEY, name text)`,
		new:  `INSERT INTO items SELECT g, md5(g::text) FROM generate_series(1, %d) g`,
		same: `SELECT count(*) || ' ' || coalesce(sum(hashtext(i::text)), 0) FROM items i`, memory: 256 << 20,
	},
	{
		name: "100,000 tables", count: 100_000,
		old:  `DO $$ BEGIN FOR i IN 1..%d LOOP EXECUTE format('CREATE TABLE many_%%s (id int PRIMARY KEY)', i); COMMIT; END LOOP; END $$`,
		new:  `DO $$ BEGIN FOR i IN 1..%d LOOP EXECUTE format('INSERT INTO many_%%s VALUES (1)', i); COMMIT; END LOOP; END $$`,
		same: countAll, memory: 1 << 30,
	},
	{
		name: "a value of 1 GB", count: 1_000_000_000,
		old:  `CREATE TABLE items (id int PRIMARY KEY, name text)`,
		new:  `INSERT INTO items VALUES (1, repeat('v', %d))`,
		same: `SELECT count(*) || ' ' || coalesce(sum(length(name)), 0) || ' ' || coalesce(min(md5(name)), '') FROM items`, memory: 8 << 30,
		settings: daemon.Settings{"max_value_bytes": "1GiB"},
	},
	{
		name: "tiny transactions, as many as the source can make", count: 600_000,
		old:  `CREATE TABLE items (id bigint PRIMARY KEY)`,
		new:  `DO $$ BEGIN SET synchronous_commit = off; FOR i IN 1..%d LOOP INSERT INTO items VALUES (i); COMMIT; END LOOP; END $$`,
		same: `SELECT count(*) || ' ' || coalesce(sum(id), 0) FROM items`, memory: 128 << 20,
	},
}

// countAll counts the rows of all tables.
const countAll = `SELECT count(*) || ' ' || coalesce(sum((xpath('/row/n/text()',
	query_to_xml('SELECT count(*) AS n FROM ' || oid::regclass, false, true, '')))[1]::text::int), 0)
	FROM pg_class WHERE relname LIKE 'many\_%' AND relkind = 'r'`

// runSizes plays each, or a share of it, on servers of its own.
func runSizes(ctx context.Context, o options) error {
	fmt.Printf("torture: sizes, Postgres %d, %g of the full ones\n", o.major, o.sizes)
	server, err := servers.Start(ctx, o.major, "", "max_locks_per_transaction=2048", "max_wal_size=8GB")
	if err != nil {
		return err
	}
	for i := range sizes {
		if err = sizes[i].play(ctx, o, server, i); err != nil {
			err = fmt.Errorf("%s: %w", sizes[i].name, err)
			break
		}
	}
	return errors.Join(err, server.Remove())
}

// play makes what is large, copies the tables, makes changes, and compares.
func (s *size) play(ctx context.Context, o options, server *servers.Server, n int) error {
	ctx, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	folder, err := os.MkdirTemp("", "torture-*")
	if err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	source, target, drop, err := trial.Databases(ctx, server.URL("postgres"), fmt.Sprintf("size_%d_%d", os.Getpid(), n))
	if err != nil {
		return err
	}
	count := max(1, int64(float64(s.count)*o.sizes))
	began := time.Now()
	if err := execute(ctx, source, fill(s.old, count)); err != nil {
		return err
	}
	d, err := daemon.Start(daemon.Options{
		Binary: o.binary, Folder: folder, LogLevel: "info", Pipelines: []daemon.Pipeline{s.pipeline(source, target, n)},
	})
	if err != nil {
		return err
	}
	defer d.Kill()
	if err := d.Await(ctx, daemon.Following); err != nil {
		return err
	}
	copied := time.Now()
	if err := execute(ctx, source, fill(s.new, count)); err != nil {
		return err
	}
	made := time.Now()
	if err := s.arrive(ctx, d, source, target); err != nil {
		return err
	}
	arrived := time.Now()
	if code, err := d.Stop(time.Minute); err != nil || code != 0 {
		return fmt.Errorf("stopping: exit code %d: %w", code, err)
	}
	_, peak := d.Usage()
	fmt.Printf("  %s: ready after %.0f s, made in %.0f s, there %.0f s later, %d MiB at most\n", s.name, copied.Sub(began).Seconds(),
		made.Sub(copied).Seconds(), arrived.Sub(made).Seconds(), peak>>20)
	if peak > s.memory {
		return fmt.Errorf("%w: %d MiB, at most %d are allowed", errMemory, peak>>20, s.memory>>20)
	}
	if left, err := filepath.Glob(filepath.Join(d.State(), "*", "spill", "*")); err != nil || len(left) > 0 {
		return fmt.Errorf("%w: %v", errLeft, left)
	}
	return errors.Join(os.RemoveAll(folder), drop(ctx))
}

var (
	errMemory = errors.New("the daemon took too much memory")
	errLeft   = errors.New("files were left")
)

// pipeline is the one that a size is played with.
func (s *size) pipeline(source, target string, n int) daemon.Pipeline {
	in := daemon.Settings{"slot": daemon.Settings{"name": fmt.Sprintf("size_%d_%d", os.Getpid(), n)}, "spill_limit": "20GiB"}
	for k, v := range s.settings {
		in[k] = v
	}
	return daemon.Pipeline{
		Name: "size", Source: source, Target: target, InSource: in,
		InTarget: daemon.Settings{"tables": daemon.Settings{"create": true}},
	}
}

// arrive waits until the target holds what the source does.
func (s *size) arrive(ctx context.Context, d *daemon.Daemon, source, target string) error {
	want, err := answer(ctx, source, s.same)
	if err != nil {
		return err
	}
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		got, err := answer(ctx, target, s.same)
		if err != nil {
			return err
		}
		if got == want {
			return nil
		}
		// A halt or the daemon's end is an error; otherwise it asks again after the wait.
		asking, cancel := context.WithTimeout(ctx, wait)
		err = d.Await(asking, func(progress.Pipeline) bool { return false })
		cancel()
		if errors.Is(err, daemon.ErrHalted) || errors.Is(err, daemon.ErrEnded) || ctx.Err() != nil {
			return fmt.Errorf("waiting for %q at the target, which holds %q: %w", want, got, err)
		}
	}
}

// fill puts how many into a statement, where it says so.
func fill(statement string, count int64) string {
	if !strings.Contains(statement, "%d") {
		return statement
	}
	return fmt.Sprintf(statement, count)
}

// execute runs one statement.
func execute(ctx context.Context, url, statement string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.PgConn().Exec(ctx, statement).ReadAll(); err != nil {
		return fmt.Errorf("running a statement: %w", err)
	}
	return nil
}

// answer asks for one text.
func answer(ctx context.Context, url, sql string) (text string, err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return "", fmt.Errorf("connecting: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if err := conn.QueryRow(ctx, sql).Scan(&text); err != nil {
		return "", fmt.Errorf("comparing: %w", err)
	}
	return text, nil
}
