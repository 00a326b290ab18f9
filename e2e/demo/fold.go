package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// null is how a NULL is spelled here; no value of the shop is.
const null = "NULL"

// A row holds the text of each column: what Postgres prints, with true and false for booleans and without
// spaces for JSON.
type row map[string]string

// key spells the row's primary key.
func (r row) key(t table) string {
	values := make([]string, len(t.key))
	for i, column := range t.key {
		values[i] = r[column]
	}
	return strings.Join(values, "/")
}

// event is one line of the file.
type event struct {
	Op     string
	Before map[string]json.RawMessage
	After  map[string]json.RawMessage
	Source struct {
		Table string
		LSN   int64
	}
}

// foldFile replays the file: what is left are the rows by table and key. A line that cannot follow the lines
// before it (an insert of a row that is there, an update of one that is not, a step back in the log for a
// key) is an error: something was lost, doubled or reordered.
func foldFile(path string) (state map[string]map[string]row, lines int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	state = map[string]map[string]row{}
	byName := map[string]table{}
	for _, t := range tables {
		state[t.name], byName[t.name] = map[string]row{}, t
	}
	seen := map[string]int64{} // the last place in the log, by table and key
	in := bufio.NewReaderSize(f, 1<<20)
	for {
		line, err := in.ReadBytes('\n')
		if len(line) == 0 {
			return state, lines, nil
		}
		lines++
		var e event
		if err != nil {
			return nil, 0, fmt.Errorf("line %d has no end", lines)
		}
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, 0, fmt.Errorf("line %d: %w", lines, err)
		}
		t, known := byName[e.Source.Table]
		if !known {
			return nil, 0, fmt.Errorf("line %d: there is no table %q", lines, e.Source.Table)
		}
		if err := e.apply(t, state[t.name], seen); err != nil {
			return nil, 0, fmt.Errorf("line %d, table %s: %w", lines, t.name, err)
		}
	}
}

// apply changes one table as the event says.
func (e *event) apply(t table, rows map[string]row, seen map[string]int64) error {
	after := textRow(e.After)
	newKey := after.key(t)
	oldKey := newKey
	if e.Before != nil {
		oldKey = textRow(e.Before).key(t)
	}
	old, exists := rows[oldKey]
	switch e.Op {
	case "r", "c":
		if exists {
			return fmt.Errorf("row %s is inserted, and is there already", newKey)
		}
		rows[newKey] = after
	case "u":
		if !exists {
			return fmt.Errorf("row %s is updated, and is not there", oldKey)
		}
		delete(rows, oldKey)
		if _, taken := rows[newKey]; taken {
			return fmt.Errorf("row %s becomes %s, which is there already", oldKey, newKey)
		}
		for column, value := range old { // what was not sent is what it was
			if _, sent := after[column]; !sent {
				after[column] = value
			}
		}
		rows[newKey] = after
	case "d":
		if !exists {
			return fmt.Errorf("row %s is deleted, and is not there", oldKey)
		}
		newKey = oldKey
		delete(rows, oldKey)
	default:
		return fmt.Errorf("operation %q", e.Op)
	}
	place := t.name + "/" + newKey
	if e.Source.LSN < seen[place] {
		return fmt.Errorf("row %s goes back in the log", newKey)
	}
	seen[place] = e.Source.LSN
	return nil
}

// textRow spells a row of the file as Postgres does.
func textRow(values map[string]json.RawMessage) row {
	r := make(row, len(values))
	for column, value := range values {
		r[column] = text(value)
	}
	return r
}

func text(value json.RawMessage) string {
	switch {
	case bytes.Equal(value, []byte("null")):
		return null
	case len(value) > 0 && value[0] == '"':
		var s string
		if json.Unmarshal(value, &s) == nil {
			return s
		}
	case len(value) > 0 && (value[0] == '{' || value[0] == '['):
		var compact bytes.Buffer
		if json.Compact(&compact, value) == nil {
			return compact.String()
		}
	}
	return string(value)
}
