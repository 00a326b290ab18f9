package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/rowferry/rowferry/schema"
)

// The target knows tables and columns by name only, the source by oid. What the target was told of each oid is kept in the
// ledger, so that a table or a column which was renamed while nobody read the log is seen to be renamed, and is not a new
// one. The state "published" has the names of a stream's start; what the log announces later has a key
// of its own until the next start, so that little is written when one table of thousands changes.

// toldPrefix begins the keys of what the log announced; the oid follows.
const toldPrefix = "told:"

// tableNames is what the target was told of a table.
type tableNames struct {
	Schema  string   `json:"schema"`
	Table   string   `json:"table"`
	Columns []string `json:"columns,omitempty"` // but computed ones
	// Numbers is those of the columns that the target has under these names.
	Numbers columnNumbers `json:"numbers,omitempty"`
	// Gone is columns that the source has dropped, and the target still has, with their numbers.
	Gone map[string]int16 `json:"gone,omitempty"`
	// Taken is names that columns of other numbers have at the source, where the log was read past the place at which they took them.
	Taken map[string]int16 `json:"taken,omitempty"`
}

// namesOf is the names in a version.
func namesOf(t *schema.Table) tableNames {
	n := tableNames{Schema: t.Schema, Table: t.Name}
	for i := range t.Columns {
		if !t.Columns[i].Generated {
			n.Columns = append(n.Columns, t.Columns[i].Name)
		}
	}
	return n
}

// same tells whether two are equal.
func (n tableNames) same(o tableNames) bool {
	return n.Schema == o.Schema && n.Table == o.Table && slices.Equal(n.Columns, o.Columns) && slices.Equal(n.Numbers, o.Numbers) &&
		maps.Equal(n.Gone, o.Gone) && maps.Equal(n.Taken, o.Taken)
}

// version is what is known of the version before a restart: its names.
func (n tableNames) version() *schema.Table {
	t := &schema.Table{Schema: n.Schema, Name: n.Table, Columns: make([]schema.Column, len(n.Columns))}
	for i, name := range n.Columns {
		t.Columns[i].Name = name
	}
	return t.WithVersion()
}

// encode writes the names for the ledger.
func (n tableNames) encode(oid uint32) schema.State {
	value, err := json.Marshal(n)
	if err != nil { // strings always marshal
		panic(err)
	}
	return schema.State{Key: toldPrefix + strconv.FormatUint(uint64(oid), 10), Value: value}
}

// decodeTold gives the names that the target was told, by oid: those of the last start, and what came after.
func decodeTold(before *published, states []schema.State) (map[uint32]tableNames, error) {
	told := map[uint32]tableNames{}
	if before != nil {
		told = before.told()
	}
	for _, state := range states {
		text, ours := strings.CutPrefix(state.Key, toldPrefix)
		if !ours {
			continue
		}
		oid, err := strconv.ParseUint(text, 10, 32)
		var name tableNames
		if err == nil {
			err = json.Unmarshal(state.Value, &name)
		}
		if err != nil {
			return nil, fmt.Errorf("decoding the state %q: %w", state.Key, err)
		}
		told[uint32(oid)] = name
	}
	return told, nil
}

// carry takes over the names that the target was told.
func (s *published) carry(told map[uint32]tableNames) {
	for oid, t := range s.Tables {
		if name, known := told[oid]; known {
			t.Told = name.numbered(t.Told.numbers())
			s.Tables[oid] = t
		}
	}
}

// told is the names of the tables in scope that the target was told.
func (s *published) told() map[uint32]tableNames {
	told := make(map[uint32]tableNames, len(s.Tables))
	for oid, t := range s.Tables {
		if t.Told.Table != "" {
			told[oid] = t.Told
		}
	}
	return told
}

// unheard lists the tables in scope that the target is to be told of: those it was never told of, and that are empty. The rows
// of another are in the log, which names the table before the first of them, as it was then. Made as the catalog has it now, it
// would give them NULL in columns that came with a default, or had no place for them under its new name.
func (st *stream) unheard(ctx context.Context, now *published, told map[uint32]tableNames) ([]*schema.Table, error) {
	var places []int
	var oids []uint32
	for i, t := range st.scope {
		if _, known := told[t.oid]; !known {
			places = append(places, i)
			oids = append(append(oids, t.oid), now.Tables[t.oid].Leaves...)
		}
	}
	holding, err := readHolding(ctx, st.conn, oids)
	if err != nil {
		return nil, classify(err)
	}
	var empty []*schema.Table
	for _, i := range places {
		oid := st.scope[i].oid
		t := now.Tables[oid]
		if holding[oid] || slices.ContainsFunc(t.Leaves, func(leaf uint32) bool { return holding[leaf] }) {
			t.Told = tableNames{}
			now.Tables[oid] = t
			continue
		}
		empty = append(empty, st.tables[i].table)
	}
	return empty, nil
}

// readHolding finds those of some tables that have storage for rows.
func readHolding(ctx context.Context, q querier, oids []uint32) (map[uint32]bool, error) {
	if len(oids) == 0 {
		return nil, nil
	}
	rows, err := q.Query(ctx, "SELECT oid FROM unnest($1::oid[]) AS oid WHERE pg_relation_size(oid) > 0", oids)
	if err != nil {
		return nil, fmt.Errorf("asking which tables are empty: %w", err)
	}
	holding := map[uint32]bool{}
	var oid uint32
	_, err = pgx.ForEachRow(rows, []any{&oid}, func() error {
		holding[oid] = true
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("asking which tables are empty: %w", err)
	}
	return holding, nil
}

// settled removes the keys of what is part of the state "published" now.
func settled(states []schema.State) []schema.State {
	var gone []schema.State
	for _, state := range states {
		if strings.HasPrefix(state.Key, toldPrefix) {
			gone = append(gone, schema.State{Key: state.Key})
		}
	}
	return gone
}

// naming is a name that the log announces in the open transaction, or in one that is gathered.
type naming struct {
	oid   uint32
	table *schema.Table
	state schema.State
	left  bool // the announcement was handed over, in a part of its transaction
}

// record adds the names a batch announces, and the numbers learned before it, to the state it makes durable. Those of a transaction in parts are durable
// with its last one.
func (t *tail) record(b *schema.Batch) {
	if notes := t.lookout.notes; len(notes) > 0 && !b.Upto.IsZero() {
		b.State, t.lookout.notes = append(notes, b.State...), nil
	}
	rest := t.namings[:0]
	for _, n := range t.namings {
		n.left = n.left || slices.ContainsFunc(b.Changes, func(c schema.Change) bool {
			return c.Op == schema.OpSchema && c.Table == n.table
		})
		if n.left && !b.Upto.IsZero() {
			b.State = append(b.State, n.state)
		} else {
			rest = append(rest, n)
		}
	}
	t.namings = rest
}
