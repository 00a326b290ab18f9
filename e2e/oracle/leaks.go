package oracle

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Leaks looks at a server after a pipeline has stopped: no session of it may be left, no slot may be active, and
// only the slots in want may exist in this database.
func Leaks(ctx context.Context, r *Report, conn *pgx.Conn, want ...string) error {
	r.Looked("leaks", 1)
	rows, err := conn.Query(ctx, `
SELECT 'session ' || pid || ' of ' || application_name || ' is ' || coalesce(state, '?') FROM pg_stat_activity
WHERE application_name ILIKE '%rowferry%' AND datname = current_database()
UNION ALL
SELECT 'slot ' || slot_name || CASE WHEN active THEN ' is active' ELSE ' is left' END FROM pg_replication_slots
WHERE database = current_database() AND (active OR NOT slot_name = ANY ($1))
UNION ALL
SELECT 'prepared transaction ' || gid FROM pg_prepared_xacts WHERE database = current_database()`, append([]string{}, want...))
	if err != nil {
		return fmt.Errorf("looking for sessions and slots: %w", err)
	}
	left, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("looking for sessions and slots: %w", err)
	}
	for _, text := range left {
		r.Add(Leaked, "%s", text)
	}
	return nil
}

// IdleInTransaction looks for sessions of a running pipeline that have held a transaction open without using it.
func IdleInTransaction(ctx context.Context, r *Report, conn *pgx.Conn) error {
	r.Looked("idle in transaction", 1)
	var n int
	err := conn.QueryRow(ctx, `SELECT count(*) FROM pg_stat_activity
		WHERE application_name ILIKE '%rowferry%' AND datname = current_database()
		AND state LIKE 'idle in transaction%' AND state_change < now() - interval '5 s'`).Scan(&n)
	if err != nil {
		return fmt.Errorf("looking for idle transactions: %w", err)
	}
	if n > 0 {
		r.Add(Leaked, "%d sessions are idle in a transaction", n)
	}
	return nil
}

// Files looks for files under folder that a stopped pipeline may not leave: spill files, half-written state.
func Files(r *Report, folder string) error {
	r.Looked("files", 1)
	return filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := filepath.Base(path)
		inside := strings.TrimPrefix(path, folder)
		if !d.IsDir() && (strings.Contains(inside, "spill") || strings.HasSuffix(name, ".tmp")) {
			r.Add(Leaked, "file %s", path)
		}
		return nil
	})
}

// Races looks for reports of the race detector in what a daemon printed that was built with it.
func Races(r *Report, log []byte) {
	r.Looked("races", 1)
	if n := bytes.Count(log, []byte("WARNING: DATA RACE")); n > 0 {
		r.Add(Wrong, "%d data races are in the log", n)
	}
}

// Metric reads one sample without labels from a page of metrics, such as go_goroutines or process_open_fds.
func Metric(page []byte, name string) (float64, bool) {
	lines := bufio.NewScanner(bytes.NewReader(page))
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			f, err := strconv.ParseFloat(value, 64)
			return f, err == nil
		}
	}
	return 0, false
}

// Secrets looks for texts that must not be shown, such as passwords and row values, in what a pipeline printed and
// keeps. A path may be a folder.
func Secrets(r *Report, canaries []string, paths ...string) error {
	for _, root := range paths {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !d.Type().IsRegular() {
				return err
			}
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			SecretsIn(r, canaries, path, content)
			return nil
		})
		if err != nil {
			return fmt.Errorf("looking for secrets: %w", err)
		}
	}
	return nil
}

// SecretsIn looks for the texts in one piece of output.
func SecretsIn(r *Report, canaries []string, where string, content []byte) {
	r.Looked("secrets", 1)
	for i, c := range canaries {
		if at := bytes.Index(content, []byte(c)); at >= 0 {
			line := 1 + bytes.Count(content[:at], []byte("\n"))
			r.Add(Shown, "%s, line %d: secret %d is there", where, line, i)
		}
	}
}
