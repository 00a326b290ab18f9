package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// compareDatabases reads each table of both in the order of its key and compares every row. It returns how many.
func compareDatabases(ctx context.Context, sourceURL, targetURL string) (int64, error) {
	source, err := pgx.Connect(ctx, sourceURL)
	if err != nil {
		return 0, err
	}
	defer source.Close(ctx)
	target, err := pgx.Connect(ctx, targetURL)
	if err != nil {
		return 0, err
	}
	defer target.Close(ctx)
	var total int64
	for _, t := range tables {
		key := strings.Join(t.key, ", ")
		query := fmt.Sprintf(`SELECT (%s)::text, r::text FROM %s r ORDER BY %s`, "ROW("+key+")", t.name, key)
		rows, err := compareQueries(ctx, source, target, query)
		if err != nil {
			return 0, fmt.Errorf("table %s: %w", t.name, err)
		}
		total += rows
	}
	return total, nil
}

func compareQueries(ctx context.Context, source, target *pgx.Conn, query string) (n int64, err error) {
	want := source.PgConn().ExecParams(ctx, query, nil, nil, nil, nil)
	got := target.PgConn().ExecParams(ctx, query, nil, nil, nil, nil)
	for {
		wantMore, gotMore := want.NextRow(), got.NextRow()
		switch {
		case wantMore && !gotMore:
			err = fmt.Errorf("row %s is missing, and maybe more after it", want.Values()[0])
		case !wantMore && gotMore:
			err = fmt.Errorf("row %s should not be there, and maybe more after it", got.Values()[0])
		case wantMore && !bytes.Equal(want.Values()[1], got.Values()[1]):
			err = fmt.Errorf("got %s, want %s", got.Values()[1], want.Values()[1])
		}
		if err != nil || !wantMore {
			break
		}
		n++
	}
	if _, failed := want.Close(); failed != nil {
		return 0, failed
	}
	if _, failed := got.Close(); failed != nil {
		return 0, failed
	}
	return n, err
}

// compareFile replays the file and compares what it gives with the tables of the source, keys and values. It
// returns how many lines and rows there were.
func compareFile(ctx context.Context, url, path string) (lines, rows int64, err error) {
	folded, lines, err := foldFile(path)
	if err != nil {
		return 0, 0, err
	}
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return 0, 0, err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, `SET timezone = 'UTC'`); err != nil { // as the file spells times
		return 0, 0, err
	}
	for _, t := range tables {
		n, err := compareTable(ctx, conn, t, folded[t.name])
		if err != nil {
			return 0, 0, fmt.Errorf("table %s: %w", t.name, err)
		}
		rows += n
	}
	return lines, rows, nil
}

// compareTable takes every row of the source out of folded, which must be empty then.
func compareTable(ctx context.Context, conn *pgx.Conn, t table, folded map[string]row) (n int64, err error) {
	result := conn.PgConn().ExecParams(ctx, `SELECT * FROM `+t.name, nil, nil, nil, nil)
	fields := result.FieldDescriptions()
	for result.NextRow() && err == nil {
		want := row{}
		for i, value := range result.Values() {
			want[fields[i].Name] = columnText(fields[i], value)
		}
		key := want.key(t)
		got, found := folded[key]
		switch {
		case !found:
			err = fmt.Errorf("row %s is missing", key)
		case len(got) != len(want):
			err = fmt.Errorf("row %s has %d columns, want %d", key, len(got), len(want))
		}
		for column, value := range want {
			if found && got[column] != value && err == nil {
				err = fmt.Errorf("row %s, column %s: got %s, want %s", key, column, got[column], value)
			}
		}
		delete(folded, key)
		n++
	}
	if _, failed := result.Close(); failed != nil {
		return 0, failed
	}
	for key := range folded {
		if err == nil {
			err = fmt.Errorf("row %s should not be there", key)
		}
	}
	return n, err
}

// columnText spells a value of Postgres as fold spells one of the file.
func columnText(field pgconn.FieldDescription, value []byte) string {
	switch {
	case value == nil:
		return null
	case field.DataTypeOID == pgtype.BoolOID && string(value) == "t":
		return "true"
	case field.DataTypeOID == pgtype.BoolOID:
		return "false"
	case field.DataTypeOID == pgtype.JSONBOID:
		var compact bytes.Buffer
		if json.Compact(&compact, value) == nil {
			return compact.String()
		}
	}
	return string(value)
}
