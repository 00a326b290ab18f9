package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/rowferry/rowferry/e2e/daemon"
	"github.com/rowferry/rowferry/e2e/oracle"
)

// scenario is a stretch of the source's log to be read, again and again.
type scenario struct {
	name    string // of the database, the pipeline and its slots
	rows    int
	each    int  // rows in one transaction
	wide    bool // rows of 1 KB in 10 columns instead of 100 B in 4
	update  bool // of rows that are there before, instead of inserts
	applied bool // into Postgres instead of null
	kafka   bool // into Kafka instead
}

// stage is a scenario whose log was written: a source database, a slot before the changes that each run gets a copy
// of, and what Rowferry knew at that point.
type stage struct {
	*bench
	scenario
	source string // URL
	base   string // slot at the beginning
	end    string // a place in the log after the changes, inside the transaction that follows them
	state  string // folder with the state of the pipeline at the beginning
	copied string // name of the target's database at the beginning, or of the run of topics
	via    string // URL of the target, where it is not the usual one
}

const narrow = `CREATE TABLE acc (id bigint PRIMARY KEY, a int NOT NULL, b int NOT NULL, pad char(84) NOT NULL)`

const wide = `CREATE TABLE acc (id bigint PRIMARY KEY, a int NOT NULL, b bigint NOT NULL, c numeric(12,2), d timestamptz, e boolean,
	f text, g text, h text, i text)`

// prepare writes the log of a scenario.
func (b *bench) prepare(ctx context.Context, s scenario) (*stage, error) {
	st := &stage{bench: b, scenario: s, source: b.source.URL(s.name), base: "base_" + s.name, copied: s.name + "_begin"}
	if err := do(ctx, b.source.URL("postgres"), "CREATE DATABASE "+s.name); err != nil {
		return nil, err
	}
	definition := narrow
	if s.wide {
		definition = wide
	}
	setup := []string{definition, `CREATE TABLE marker (id int PRIMARY KEY)`}
	if s.update {
		setup = append(setup, `INSERT INTO acc SELECT g, g, 0, 'x' FROM generate_series(1, `+fmt.Sprint(s.rows)+`) g`, `ANALYZE`)
	}
	if err := do(ctx, st.source, setup...); err != nil {
		return nil, err
	}
	if s.applied {
		if err := do(ctx, b.target.URL("postgres"), "CREATE DATABASE "+st.copied); err != nil {
			return nil, err
		}
	}
	if err := st.first(ctx); err != nil {
		return nil, err
	}
	return st, st.generate(ctx)
}

// first lets Rowferry begin: copy what is there, which makes slot and publication, and stop.
func (st *stage) first(ctx context.Context) error {
	var inTarget daemon.Settings
	if st.kafka {
		inTarget = st.topics(st.copied)
	}
	d, err := st.start(st.targetURL(st.copied), inTarget)
	if err != nil {
		return err
	}
	err = d.Await(ctx, daemon.Following)
	if _, stopErr := d.Stop(30 * time.Second); err == nil {
		err = stopErr
	}
	if err != nil {
		return fmt.Errorf("beginning: %w", err)
	}
	st.state = filepath.Join(st.folder, st.name+"-begin")
	if err := os.Rename(d.State(), st.state); err != nil {
		return fmt.Errorf("keeping the state: %w", err)
	}
	return do(ctx, st.source,
		fmt.Sprintf(`SELECT pg_copy_logical_replication_slot('%s', '%s')`, st.slot(), st.base),
		fmt.Sprintf(`SELECT pg_drop_replication_slot('%s')`, st.slot()))
}

// generate makes the changes, and the transaction after them.
func (st *stage) generate(ctx context.Context) error {
	change := `INSERT INTO acc SELECT g, g, g % 1000, md5(g::text) FROM generate_series(i, i + each - 1) g`
	switch {
	case st.wide:
		change = `INSERT INTO acc SELECT g, g, g * 1000003, g / 100.0, timestamptz '2026-01-01 00:00:00+00' + g * interval '1 s', g % 2 = 0,
			repeat(md5(g::text), 8), repeat(md5((g + 1)::text), 8), repeat(md5((g + 2)::text), 7), md5((g + 3)::text)
			FROM generate_series(i, i + each - 1) g`
	case st.update:
		change = `UPDATE acc SET b = b + 1, pad = 'y' WHERE id BETWEEN i AND i + each - 1`
	}
	// The last transaction is committed durably, and with it all before it.
	err := do(ctx, st.source, `SET synchronous_commit = off`, fmt.Sprintf(`DO $$
DECLARE each int := %d; i bigint := 1;
BEGIN
  WHILE i <= %d LOOP
    %s;
    COMMIT;
    i := i + each;
  END LOOP;
END $$`, st.each, st.rows, change))
	if err != nil {
		return err
	}
	return do(ctx, st.source, st.mark())
}

// mark makes the transaction that ends every run, and leaves the place in marker's comment.
func (st *stage) mark() string {
	return `DO $$ BEGIN INSERT INTO marker VALUES (1); EXECUTE format('COMMENT ON TABLE marker IS %L', pg_current_wal_insert_lsn()::text); END $$`
}

// slot is what Rowferry calls the pipeline's slot.
func (st *stage) slot() string { return "rowferry_" + st.name }

// targetURL is the URL of the pipeline's target: null, a database of the target's server, or the broker.
func (st *stage) targetURL(database string) string {
	switch {
	case st.applied:
		return st.bench.target.URL(database)
	case st.via != "":
		return st.via
	case st.kafka:
		return "kafka://" + st.bench.broker.Addr()
	}
	return "null:"
}

// start starts Rowferry in the stage's folder.
func (st *stage) start(target string, inTarget daemon.Settings) (*daemon.Daemon, error) {
	if inTarget == nil {
		inTarget = daemon.Settings{}
	}
	if st.applied {
		inTarget["tables"] = daemon.Settings{"create": true}
	}
	return daemon.Start(daemon.Options{
		Binary: st.options.binary, Folder: filepath.Join(st.folder, st.name), LogLevel: "info",
		Pipelines: []daemon.Pipeline{{Name: st.name, Source: st.source, Target: target, InTarget: inTarget}},
	})
}

// endLSN is the place before which everything must have arrived.
func (st *stage) endLSN(ctx context.Context) (uint64, error) {
	if st.end == "" {
		end, err := value(ctx, st.source, `SELECT obj_description('marker'::regclass)`)
		if err != nil {
			return 0, err
		}
		st.end = end
	}
	return oracle.ParseLSN(st.end)
}

// branch makes a slot at the beginning, for one run.
func (st *stage) branch(ctx context.Context, name string) error {
	return do(ctx, st.source, fmt.Sprintf(`SELECT pg_copy_logical_replication_slot('%s', '%s')`, st.base, name))
}

// drop drops a run's slot, once its reader has gone.
func (st *stage) drop(ctx context.Context, name string) error {
	var err error
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err = do(ctx, st.source, fmt.Sprintf(`SELECT pg_drop_replication_slot('%s')`, name)); err == nil {
			return nil
		}
	}
	return err
}

// close lets go of the log that the stage kept.
func (st *stage) close(ctx context.Context) error {
	return st.drop(ctx, st.base)
}

// ours runs Rowferry from the beginning to the end of the log. done tells, asked again and again, whether everything
// has arrived.
func (st *stage) ours(ctx context.Context, target string, inTarget daemon.Settings, arrived func(context.Context, *daemon.Daemon) (bool, error)) (took, error) {
	folder := filepath.Join(st.folder, st.name, "state")
	if err := os.RemoveAll(folder); err != nil {
		return took{}, fmt.Errorf("taking the state back: %w", err)
	}
	if out, err := exec.CommandContext(ctx, "cp", "-a", st.state, folder).CombinedOutput(); err != nil {
		return took{}, fmt.Errorf("taking the state back: %w: %s", err, out)
	}
	if err := st.branch(ctx, st.slot()); err != nil {
		return took{}, err
	}
	began := time.Now()
	d, err := st.start(target, inTarget)
	if err != nil {
		return took{}, err
	}
	r := took{}
	for n := 1; ; n++ {
		ok, err := arrived(ctx, d)
		if err != nil {
			d.Kill()
			return took{}, fmt.Errorf("%w\n%s", err, d.LogEnd())
		}
		if ok {
			break
		}
		if n%50 == 0 {
			if err := halted(ctx, d); err != nil {
				return took{}, err
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	r.wall = time.Since(began)
	if _, err := d.Stop(30 * time.Second); err != nil {
		return took{}, err
	}
	r.cpu, r.peak = d.Usage()
	return r, st.drop(ctx, st.slot())
}

// halted tells whether the daemon cannot go on.
func halted(ctx context.Context, d *daemon.Daemon) error {
	if !d.Alive() {
		return fmt.Errorf("%w:\n%s", daemon.ErrEnded, d.LogEnd())
	}
	if ctx.Err() != nil {
		d.Kill()
		return context.Cause(ctx)
	}
	report, err := d.Status(ctx)
	if err != nil {
		return nil // it does not listen yet
	}
	for _, p := range report.Pipelines {
		if p.Halt != nil {
			d.Kill()
			return fmt.Errorf("%w: %s: %s", daemon.ErrHalted, p.Halt.Code, p.Halt.Happened)
		}
	}
	return nil
}

// took is what a run took.
type took struct {
	wall time.Duration
	cpu  time.Duration
	peak int64
}

// sample turns a run into rows a second.
func (r took) sample(rows int, content bool) sample {
	return sample{
		value: float64(rows) / r.wall.Seconds(), cpu: float64(r.cpu.Microseconds()) / float64(rows),
		peak: float64(r.peak) / (1 << 20), content: content,
	}
}
