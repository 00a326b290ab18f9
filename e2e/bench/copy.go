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

// measureCopy measures the first copy of one table, from the start of the process until the pipeline streams, against
// COPY TO piped into COPY FROM. Both targets have the primary key from the beginning. Rowferry copies with its default of
// four workers, the pipe is one; both have the same two servers. Starting up, making publication and slot, and going
// over to streaming take some 0.1 s whatever the size, so that small scales say little.
func (b *bench) measureCopy(ctx context.Context) error {
	st := &stage{bench: b, scenario: scenario{name: "copied", rows: b.options.rows(1_500_000), applied: true}, source: b.source.URL("copied")}
	if err := do(ctx, b.source.URL("postgres"), "CREATE DATABASE copied"); err != nil {
		return err
	}
	err := do(ctx, st.source, narrow, `CREATE TABLE marker (id int PRIMARY KEY)`,
		fmt.Sprintf(`INSERT INTO acc SELECT g, g, g %% 1000, md5(g::text) FROM generate_series(1, %d) g`, st.rows), `VACUUM ANALYZE acc`, `CHECKPOINT`)
	if err != nil {
		return err
	}
	var ours, theirs []sample
	for n := range b.options.rounds {
		other, err := st.pipe(ctx)
		if err != nil {
			return fmt.Errorf("COPY | COPY: %w", err)
		}
		mine, err := st.copy(ctx, n)
		if err != nil {
			return err
		}
		theirs, ours = append(theirs, other), append(ours, mine)
	}
	b.add("copy", ours, theirs)
	return nil
}

// emptyTarget makes a target database with the tables.
func (st *stage) emptyTarget(ctx context.Context, name string) (string, error) {
	err := do(ctx, st.bench.target.URL("postgres"), "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)", "CREATE DATABASE "+name, "CHECKPOINT")
	if err != nil {
		return "", err
	}
	url := st.bench.target.URL(name)
	return url, do(ctx, url, narrow, `CREATE TABLE marker (id int PRIMARY KEY)`)
}

// pipe is psql into psql.
func (st *stage) pipe(ctx context.Context) (sample, error) {
	url, err := st.emptyTarget(ctx, "piped")
	if err != nil {
		return sample{}, err
	}
	out := exec.CommandContext(ctx, st.tool("psql"), "-qX", "-d", st.source, "-c", `COPY acc TO STDOUT`)
	in := exec.CommandContext(ctx, st.tool("psql"), "-qX", "-d", url, "-c", `COPY acc FROM STDIN`)
	read, write, err := os.Pipe()
	if err != nil {
		return sample{}, fmt.Errorf("making a pipe: %w", err)
	}
	out.Stdout, in.Stdin = write, read
	began := time.Now()
	if err := out.Start(); err != nil {
		return sample{}, fmt.Errorf("starting psql: %w", err)
	}
	if err := in.Start(); err != nil {
		return sample{}, fmt.Errorf("starting psql: %w", err)
	}
	_, _ = write.Close(), read.Close() // the children have them
	if err := out.Wait(); err != nil {
		return sample{}, fmt.Errorf("copying out: %w", err)
	}
	if err := in.Wait(); err != nil {
		return sample{}, fmt.Errorf("copying in: %w", err)
	}
	r := took{wall: time.Since(began)}
	content, err := st.equal(ctx, url)
	return r.sample(st.rows, content), err
}

// copy is Rowferry's first copy.
func (st *stage) copy(ctx context.Context, n int) (sample, error) {
	url, err := st.emptyTarget(ctx, "copied")
	if err != nil {
		return sample{}, err
	}
	name := fmt.Sprintf("copied_%d", n)
	began := time.Now()
	d, err := daemon.Start(daemon.Options{
		Binary: st.options.binary, Folder: filepath.Join(st.folder, name), LogLevel: "info",
		Pipelines: []daemon.Pipeline{{Name: name, Source: st.source, Target: url}},
	})
	if err != nil {
		return sample{}, err
	}
	ledger := &oracle.PostgresLedger{URL: url, Pipeline: name}
	defer ledger.Close()
	for n := 1; ; n++ {
		token, err := ledger.Token(ctx)
		if err != nil {
			d.Kill()
			return sample{}, err
		}
		if _, phase, err := oracle.ParseToken(token); err == nil && phase == "stream" {
			break
		}
		if n%50 == 0 {
			if err := halted(ctx, d); err != nil {
				return sample{}, err
			}
		}
		if err := sleep(ctx, 5*time.Millisecond); err != nil {
			d.Kill()
			return sample{}, err
		}
	}
	r := took{wall: time.Since(began)}
	if _, err := d.Stop(30 * time.Second); err != nil {
		return sample{}, err
	}
	r.cpu, r.peak = d.Usage()
	content, err := st.equal(ctx, url)
	if err != nil {
		return sample{}, err
	}
	return r.sample(st.rows, content), st.drop(ctx, "rowferry_"+name)
}
