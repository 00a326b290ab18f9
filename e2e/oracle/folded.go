package oracle

import (
	"slices"
	"strings"
)

// folded is a table rebuilt from changes. Columns stand in the order in which they came up, the source's first.
type folded struct {
	Table
	names   []string
	ordinal map[string]int
	rows    map[string][]*string
	lsn     map[string]uint64 // by key, of rows that are gone too
}

func newFolded(t Table) *folded {
	f := &folded{Table: t, ordinal: map[string]int{}, rows: map[string][]*string{}, lsn: map[string]uint64{}}
	for _, name := range t.Columns {
		f.column(name)
	}
	return f
}

// column is the ordinal of a column, which it gets when it first comes up.
func (t *folded) column(name string) int {
	if i, ok := t.ordinal[name]; ok {
		return i
	}
	i := len(t.names)
	t.ordinal[name] = i
	t.names = append(t.names, name)
	return i
}

// get is a value of a row by column name.
func (t *folded) get(row []*string, name string) string {
	i, ok := t.ordinal[name]
	if !ok || i >= len(row) || row[i] == nil {
		return ""
	}
	return *row[i]
}

// content is the table in the form that a database's is read in.
func (t *folded) content() Rows {
	sorted := slices.Clone(t.names)
	slices.SortFunc(sorted, strings.Compare)
	rows := make(Rows, len(t.rows))
	values := make([]*string, len(sorted))
	for key, row := range t.rows {
		for i, name := range sorted {
			values[i] = nil
			if at := t.ordinal[name]; at < len(row) {
				values[i] = row[at]
			}
		}
		rows[key] = text(sorted, values)
	}
	return rows
}
