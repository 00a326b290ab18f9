package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowferry/rowferry/e2e/daemon"
	"github.com/rowferry/rowferry/e2e/servers"
)

// typeCase is one case of pg_types.json: rows with values of many types, and how each has to look at the target.
type typeCase struct {
	Case, Table string
	Statements  []string
	Columns     []struct{ Name, Type string }
	Rows        []map[string]*string `json:"expected_rows"`
}

// typesLimit is how long values may take to arrive.
const typesLimit = 45 * time.Second

// types plays every type through the copy, where all rows are there before the start, and through the stream,
// into a database and a file at once.
func (h *harness) types(ctx context.Context, want int) error {
	text, err := os.ReadFile(filepath.Join(h.driver, "pg_types", "pg_types.json"))
	if err != nil {
		return fmt.Errorf("reading the types: %w", err)
	}
	var file struct{ Cases []typeCase }
	if err := json.Unmarshal(text, &file); err != nil {
		return fmt.Errorf("reading the types: %w", err)
	}
	script, err := os.ReadFile(filepath.Join(h.driver, "pg_types", "pg_types.sql"))
	if err != nil {
		return fmt.Errorf("reading the types: %w", err)
	}
	definitions, _, _ := strings.Cut(string(script), "\nINSERT ")
	server, err := servers.Start(ctx, 15, "")
	if err != nil {
		return err
	}
	errs := []error{}
	for _, phase := range []string{"copy", "stream"} {
		t := typesRun{phase: phase, cases: file.Cases, definitions: definitions, logs: h.logs, server: server}
		errs = append(errs, t.run(ctx, want))
	}
	return errors.Join(append(errs, server.Remove())...)
}

// typesRun is one phase.
type typesRun struct {
	phase, definitions, logs string
	cases                    []typeCase
	server                   *servers.Server
}

func (t *typesRun) run(ctx context.Context, want int) error {
	began := time.Now()
	source, target := t.server.URL("source_"+t.phase), t.server.URL("target_"+t.phase)
	if err := execute(ctx, t.server.URL("postgres"), "CREATE DATABASE source_"+t.phase, "CREATE DATABASE target_"+t.phase); err != nil {
		return err
	}
	for _, url := range []string{source, target} {
		if err := execute(ctx, url, t.definitions); err != nil {
			return err
		}
	}
	folder := filepath.Join(t.logs, "pg-types-"+t.phase)
	events := filepath.Join(folder, "events.jsonl")
	start := func() (*daemon.Daemon, error) {
		return daemon.Start(daemon.Options{
			Binary: filepath.Join(filepath.Dir(t.logs), "rowferry"), Folder: folder,
			Pipelines: []daemon.Pipeline{
				{Name: t.phase + "_db", Source: source, Target: target, Include: []string{"*.*"}},
				{Name: t.phase + "_file", Source: source, Target: "file:" + events, Include: []string{"*.*"}},
			},
		})
	}
	insert := func() error {
		for _, c := range t.cases {
			if err := execute(ctx, source, append([]string{"SET timezone = 'UTC'; SET datestyle = 'ISO, MDY'"}, c.Statements...)...); err != nil {
				return fmt.Errorf("case %s: %w", c.Case, err)
			}
		}
		return nil
	}
	if t.phase == "copy" {
		if err := insert(); err != nil {
			return err
		}
	}
	d, err := start()
	if err != nil {
		return err
	}
	defer d.Kill()
	if t.phase == "stream" {
		if err := awaitStreaming(ctx, d, 2); err != nil {
			return fmt.Errorf("pg-types stream: %w; see %s", err, folder)
		}
		if err := insert(); err != nil {
			return err
		}
	}
	failed, err := t.await(ctx, target, events)
	if err != nil {
		return fmt.Errorf("pg-types %s: %w; see %s", t.phase, err, folder)
	}
	for _, name := range slices.Sorted(maps.Keys(failed)) {
		fmt.Printf("  pg-types %s: %s: %s\n", t.phase, name, failed[name])
	}
	passed := len(t.cases) - len(failed)
	fmt.Printf("%-9s %-12s %d/%d passed, in %s\n", "pg-types", t.phase, passed, want, time.Since(began).Round(time.Second))
	if passed != want {
		return fmt.Errorf("pg-types %s: %d cases passed, expected are %d; see %s", t.phase, passed, want, folder)
	}
	return nil
}

// await looks until every case passes or the time is over, and returns the cases that do not pass.
func (t *typesRun) await(ctx context.Context, target, events string) (map[string]string, error) {
	deadline := time.Now().Add(typesLimit)
	for {
		failed := map[string]string{}
		inFile := fileRows(events)
		for _, c := range t.cases {
			inDatabase, err := databaseRows(ctx, target, c.Table)
			if err != nil {
				return nil, err
			}
			for _, row := range c.Rows {
				if reason := c.find(row, inDatabase); reason != "" {
					failed[c.Case] = "in the database: " + reason
				} else if reason := c.find(row, inFile[c.Table]); reason != "" {
					failed[c.Case] = "in the file: " + reason
				}
			}
		}
		if len(failed) == 0 || time.Now().After(deadline) {
			return failed, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// find looks for a row and says what is wrong with the nearest one, which has the same first column.
func (c *typeCase) find(want map[string]*string, rows []map[string]*string) string {
	reason := "the row is not there"
	for _, got := range rows {
		wrong := []string{}
		for _, column := range c.Columns {
			if w, g := spell(want[column.Name], column.Type), spell(got[column.Name], column.Type); w != g {
				wrong = append(wrong, fmt.Sprintf("%s is %s, want %s", column.Name, g, w))
			}
		}
		if len(wrong) == 0 {
			return ""
		}
		if first := c.Columns[0].Name; spell(want[first], "") == spell(got[first], "") {
			reason = strings.Join(wrong, "; ")
		}
	}
	return reason
}

// spell makes texts of equal values equal: JSON without its optional spaces.
func spell(value *string, typeName string) string {
	if value == nil {
		return "NULL"
	}
	if typeName == "json" || typeName == "jsonb" {
		var compact bytes.Buffer
		if json.Compact(&compact, []byte(*value)) == nil {
			return compact.String()
		}
	}
	return "'" + *value + "'"
}

// databaseRows reads a table as text.
func databaseRows(ctx context.Context, url, table string) ([]map[string]*string, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("connecting to the target: %w", err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "SET timezone = 'UTC'"); err != nil {
		return nil, fmt.Errorf("reading %s: %w", table, err)
	}
	if !strings.HasPrefix(table, `"`) {
		table = pgx.Identifier{table}.Sanitize()
	}
	var rows []map[string]*string
	result := conn.PgConn().ExecParams(ctx, "SELECT * FROM "+table, nil, nil, nil, nil)
	for result.NextRow() {
		row := map[string]*string{}
		for i, field := range result.FieldDescriptions() {
			if value := result.Values()[i]; value != nil {
				text := string(value)
				row[field.Name] = &text
			} else {
				row[field.Name] = nil
			}
		}
		rows = append(rows, row)
	}
	if _, err := result.Close(); err != nil {
		return nil, fmt.Errorf("reading %s: %w", table, err)
	}
	return rows, nil
}

// fileRows reads the rows that were copied or inserted, by table, with values as Postgres spells them. What the file
// does not hold yet is not there.
func fileRows(path string) map[string][]map[string]*string {
	tables := map[string][]map[string]*string{}
	f, err := os.Open(path)
	if err != nil {
		return tables
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var event struct {
			After  map[string]json.RawMessage
			Source struct{ Schema, Table string }
		}
		if json.Unmarshal(lines.Bytes(), &event) != nil {
			continue // the end of it is not written yet
		}
		row := map[string]*string{}
		for column, value := range event.After {
			row[column] = valueText(value)
		}
		table := event.Source.Table
		if event.Source.Schema != "public" {
			table = pgx.Identifier{event.Source.Schema, table}.Sanitize()
		}
		tables[table] = append(tables[table], row)
	}
	return tables
}

func valueText(value json.RawMessage) *string {
	var text string
	switch string(value) {
	case "null":
		return nil
	case "true", "false":
		text = string(value[:1])
	default:
		text = string(value)
		if value[0] == '"' && json.Unmarshal(value, &text) != nil {
			text = string(value)
		}
	}
	return &text
}

// execute runs statements on a connection of their own.
func execute(ctx context.Context, url string, statements ...string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	defer conn.Close(ctx)
	for _, statement := range statements {
		if _, err := conn.PgConn().Exec(ctx, statement).ReadAll(); err != nil {
			return fmt.Errorf("running a statement: %w", err)
		}
	}
	return nil
}

// awaitStreaming waits until all pipelines have copied what was there.
func awaitStreaming(ctx context.Context, d *daemon.Daemon, all int) error {
	for deadline := time.Now().Add(typesLimit); ; {
		report, err := d.Status(ctx)
		streaming := 0
		for _, p := range report.Pipelines {
			if p.State == "streaming" {
				streaming++
			}
		}
		if err == nil && streaming == all {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.Join(fmt.Errorf("%d of %d pipelines stream after %s", streaming, all, typesLimit), err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-d.Ended():
			return errors.New("the daemon ended")
		case <-time.After(100 * time.Millisecond):
		}
	}
}
