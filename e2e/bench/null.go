package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/jackc/pgx/v5"

	"github.com/rowferry/rowferry/e2e/daemon"
	"github.com/rowferry/rowferry/e2e/oracle"
)

// measureNull measures reading the log: Rowferry decodes every value and sums hashes, pg_recvlogical throws the bytes
// away.
func (b *bench) measureNull(ctx context.Context) error {
	scenarios := []struct {
		figure string
		scenario
	}{
		{"stream_null_100", scenario{name: "null_100", rows: b.options.rows(800_000), each: 100}},
		{"stream_null_10k", scenario{name: "null_10k", rows: b.options.rows(800_000), each: 10_000}},
		{"stream_null_1", scenario{name: "null_1", rows: b.options.rows(250_000), each: 1}},
		{"stream_null_1kb", scenario{name: "null_1kb", rows: b.options.rows(150_000), each: 100, wide: true}},
	}
	var all []sample
	for _, s := range scenarios {
		with := s.figure == "stream_null_100" && b.wants("cpu_json", "allocations")
		if !b.wants(s.figure) && !with && !b.wants("memory_streaming") {
			continue
		}
		st, err := b.prepare(ctx, s.scenario)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		ours, err := b.nullRounds(ctx, st, s.figure, with)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		all = append(all, ours...)
		if err := st.close(ctx); err != nil {
			return err
		}
	}
	memory := sample{content: true}
	for _, s := range all {
		memory.value, memory.peak, memory.cpu = max(memory.value, s.peak), max(memory.peak, s.peak), s.cpu
		memory.content = memory.content && s.content
	}
	b.add("memory_streaming", []sample{memory}, nil)
	return nil
}

// nullRounds plays the rounds of a scenario, and adds its figures.
func (b *bench) nullRounds(ctx context.Context, st *stage, figure string, with bool) ([]sample, error) {
	want, err := st.sum(ctx)
	if err != nil {
		return nil, err
	}
	var ours, theirs, rendered, received, allocations []sample
	for range b.options.rounds {
		other, err := st.receive(ctx)
		if err != nil {
			return nil, err
		}
		theirs = append(theirs, other.sample(st.rows, true))
		r, allocs, err := st.null(ctx, "hash", want)
		if err != nil {
			return nil, err
		}
		ours = append(ours, r)
		allocations = append(allocations, sample{value: allocs, cpu: r.cpu, peak: r.peak, content: r.content})
		if with {
			r, _, err := st.null(ctx, "json", want)
			if err != nil {
				return nil, err
			}
			r.value = r.cpu
			rendered = append(rendered, r)
			received = append(received, sample{value: theirs[len(theirs)-1].cpu})
		}
	}
	b.add(figure, ours, theirs)
	if with {
		b.add("cpu_json", rendered, received)
		b.add("allocations", allocations, nil)
	}
	return append(ours, rendered...), nil
}

// receive runs pg_recvlogical over the log.
func (st *stage) receive(ctx context.Context) (took, error) {
	const slot = "received"
	if _, err := st.endLSN(ctx); err != nil {
		return took{}, err
	}
	if err := st.branch(ctx, slot); err != nil {
		return took{}, err
	}
	cmd := exec.CommandContext(ctx, st.tool("pg_recvlogical"), "-d", st.source, "--slot", slot, "--start", "--no-loop",
		"--endpos", st.end, "-o", "proto_version=1", "-o", "publication_names=rowferry_"+st.name, "-F", "0", "-f", "/dev/null")
	began := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		return took{}, fmt.Errorf("running pg_recvlogical: %w: %s", err, out)
	}
	r := took{wall: time.Since(began)}
	usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	r.cpu, r.peak = time.Duration(usage.Utime.Nano()+usage.Stime.Nano()), usage.Maxrss<<10
	return r, st.drop(ctx, slot)
}

// seldom is how often the daemon is asked while it is far from the end, at full size: an answer takes time and memory
// of the daemon that is measured.
const seldom = 80 * time.Millisecond

// null runs Rowferry into its null target and compares what that summed up. allocs is the heap allocations a row.
func (st *stage) null(ctx context.Context, format string, want tally) (s sample, allocs float64, err error) {
	end, err := st.endLSN(ctx)
	if err != nil {
		return sample{}, 0, err
	}
	var first, last memory // first stays empty when it is too fast to be looked at twice: then a start's allocations count, too
	var rows int64
	r, err := st.ours(ctx, "null:", daemon.Settings{"format": format}, func(ctx context.Context, d *daemon.Daemon) (bool, error) {
		if rows < int64(st.rows)*9/10 {
			if err := sleep(ctx, max(time.Duration(st.options.scale*float64(seldom)), seldom/4)); err != nil {
				return false, err
			}
		}
		report, err := d.Status(ctx)
		if err != nil || len(report.Pipelines) == 0 {
			return false, nil // it does not listen yet
		}
		p := report.Pipelines[0]
		rows = p.Rows
		switch {
		case first.rows == 0 && rows > int64(st.rows/20):
			first, err = look(ctx, d)
		case first.rows > 0 && last.rows == 0 && rows > int64(st.rows)*8/10:
			last, err = look(ctx, d)
		}
		if err != nil {
			return false, err
		}
		_, token, _ := strings.Cut(p.Position, ":")
		at, _, err := oracle.ParseToken(token)
		if err != nil || at <= end {
			return false, nil // it has not begun, or is not there
		}
		if last.rows == 0 {
			last, err = look(ctx, d)
		}
		return true, err
	})
	if err != nil {
		return sample{}, 0, err
	}
	got, err := st.nullResult()
	if err != nil {
		return sample{}, 0, err
	}
	if last.rows > first.rows {
		allocs = (last.mallocs - first.mallocs) / float64(last.rows-first.rows)
	}
	return r.sample(st.rows, got == want), allocs, nil
}

// memory is how much the daemon had allocated at some number of rows.
type memory struct {
	mallocs float64
	rows    int64
}

func look(ctx context.Context, d *daemon.Daemon) (memory, error) {
	page, err := d.Metrics(ctx)
	if err != nil {
		return memory{}, err
	}
	report, err := d.Status(ctx)
	if err != nil {
		return memory{}, err
	}
	mallocs, ok := oracle.Metric(page, "go_memstats_mallocs_total")
	if !ok {
		return memory{}, fmt.Errorf("reading the metrics: go_memstats_mallocs_total: %w", fs.ErrNotExist)
	}
	return memory{mallocs, report.Pipelines[0].Rows}, nil
}

// tally is a number of rows, and the sum of their hashes.
type tally struct {
	Rows int64  `json:"rows"`
	Sum  uint64 `json:"sum"`
}

// nullResult is what the null target summed up for the table.
func (st *stage) nullResult() (tally, error) {
	var found string
	err := filepath.WalkDir(filepath.Join(st.folder, st.name, "state"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == "null.json" {
			found = path
		}
		return err
	})
	if err != nil {
		return tally{}, fmt.Errorf("looking for the result: %w", err)
	}
	text, err := os.ReadFile(found)
	if err != nil {
		return tally{}, fmt.Errorf("reading the result: %w", err)
	}
	var results map[string]tally
	if err := json.Unmarshal(text, &results); err != nil {
		return tally{}, fmt.Errorf("reading the result: %w", err)
	}
	return results["public.acc"], nil
}

// sum is what the null target must come to: of each row the XXH64 of its columns, each one byte for "text" and its
// canonical text, or one byte for NULL.
func (st *stage) sum(ctx context.Context) (tally, error) {
	const isText, isNull = 0xff, 0xfe
	conn, err := pgx.Connect(ctx, st.source)
	if err != nil {
		return tally{}, fmt.Errorf("connecting: %w", err)
	}
	defer conn.Close(ctx)
	if err := do(ctx, st.source, `ALTER DATABASE `+st.name+` SET TimeZone = 'UTC'`); err != nil {
		return tally{}, err
	}
	reader := conn.PgConn().ExecParams(ctx, `SELECT * FROM acc`, nil, nil, nil, nil) // in text form
	var t tally
	var row []byte
	for reader.NextRow() {
		row = row[:0]
		for _, v := range reader.Values() {
			if v == nil {
				row = append(row, isNull)
				continue
			}
			row = append(append(row, isText), v...)
		}
		t.Rows++
		t.Sum += xxhash.Sum64(row)
	}
	if _, err := reader.Close(); err != nil {
		return tally{}, fmt.Errorf("reading the table: %w", err)
	}
	return t, nil
}
