package postgres

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/rowferry/rowferry/schema"
)

// model is a source's tables in memory: it makes changes as a source would send them, and knows what they lead to.
type model struct {
	t      *rapid.T
	r      *rand.Rand
	tables []*modelTable
}

type modelTable struct {
	*schema.Table
	rows   []row
	key    int  // ordinal of a single-column key, -1 for none
	unique int  // ordinal of another unique column, -1 for none
	full   bool // updates and deletes bring all old values
	toast  int  // ordinal of a column that updates may leave out, -1 for none
}

const propertyDDL = `
	CREATE TABLE outside (id int PRIMARY KEY);
	CREATE TABLE plain (id int PRIMARY KEY, u int UNIQUE, a text, b text, extra text DEFAULT 'x',
		o int REFERENCES outside);
	CREATE TABLE bare (a int, b numeric, c json);
	CREATE TABLE fixed (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text, w text GENERATED ALWAYS AS (v || '!') STORED);
	CREATE TABLE side (k text PRIMARY KEY, n int GENERATED ALWAYS AS IDENTITY, v text);
	CREATE TABLE whole (id int PRIMARY KEY, v text, c json, o int REFERENCES outside);
`

func newModel(t *rapid.T) *model {
	r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
	return &model{t: t, r: r, tables: []*modelTable{
		{Table: tableOf("plain", "*id integer", "u integer", "a text", "b text"), key: 0, unique: 1, toast: 3},
		{Table: full(tableOf("bare", "a integer", "b numeric", "c json")), key: -1, unique: -1, full: true, toast: -1},
		{Table: tableOf("fixed", "*id integer", "v text"), key: 0, unique: -1, toast: 1},
		{Table: tableOf("side", "*k text", "n integer", "v text"), key: 0, unique: -1, toast: 2},
		{Table: full(tableOf("whole", "*id integer", "v text", "c json")), key: 0, unique: -1, full: true, toast: -1},
	}}
}

// pick draws one of the values.
func (m *model) pick(values ...any) any { return values[m.r.IntN(len(values))] }

// value draws a value for a column.
func (m *model) value(t *modelTable, column int) any {
	switch native := t.Columns[column].Native; {
	case column == t.key && native == "text":
		return m.pick("a", "b", `q"uo\te`, "", "NULL", "{,}", "c", "d", "é")
	case column == t.key:
		return m.r.IntN(20)
	case column == t.unique:
		return m.pick(nil, m.r.IntN(8), m.r.IntN(8))
	case t.Name == "side" && column == 1:
		return m.r.IntN(4)
	case native == "integer":
		return m.r.IntN(3)
	case native == "numeric":
		return m.pick("1.0", "1.00", "2", nil, "NaN")
	case native == "json":
		return m.pick(`{"a": 1}`, `{"a":1}`, nil)
	}
	return m.pick(nil, "", "x", "y\tz\\", `"{}"`, "ünï\n", strings.Repeat("long", 50))
}

// collides tells whether a row may not stand beside the others, leaving out one of them.
func (t *modelTable) collides(r row, but int) bool {
	for i, other := range t.rows {
		if i != but && (t.key >= 0 && other[t.key] == r[t.key] ||
			t.unique >= 0 && r[t.unique] != nil && other[t.unique] == r[t.unique]) {
			return true
		}
	}
	return false
}

// old is the image a source sends of an old row; key tells whether the key changes.
func (t *modelTable) old(r row, key bool) row {
	if t.full {
		return r
	}
	if !key {
		return nil
	}
	image := make(row, len(r))
	for i := range image {
		image[i] = absent
	}
	image[t.key] = r[t.key]
	return image
}

// step makes one change, if it can.
func (m *model) step(b *batch) {
	t := m.tables[m.r.IntN(len(m.tables))]
	op := m.r.IntN(201)
	at := -1
	if len(t.rows) > 0 {
		at = m.r.IntN(len(t.rows))
	}
	switch {
	case op == 200:
		tables := []*modelTable{t}
		if m.r.IntN(2) == 0 && t != m.tables[0] {
			tables = append(tables, m.tables[0])
		}
		tr := schema.Truncate{RestartIdentity: m.r.IntN(2) == 0}
		for _, t := range tables {
			tr.Tables, t.rows = append(tr.Tables, t.Table), nil
		}
		b.truncate(tr)
	case op < 80 || at < 0:
		r := make(row, len(t.Columns))
		for i := range r {
			r[i] = m.value(t, i)
		}
		if !t.collides(r, -1) {
			t.rows = append(t.rows, r)
			b.insert(t.Table, r...)
		}
	case op < 110:
		b.delete(t.Table, t.old(t.rows[at], true)...)
		t.rows = slices.Delete(t.rows, at, at+1)
	default:
		m.update(b, t, at)
	}
}

// update changes a row: some columns, sometimes its key, sometimes leaving a long value out.
func (m *model) update(b *batch, t *modelTable, at int) {
	before := t.rows[at]
	after := slices.Clone(before)
	for i := range after {
		changes := m.r.IntN(20)
		if i == t.key && changes < 18 || changes < 6 {
			continue
		}
		after[i] = m.value(t, i)
	}
	if t.collides(after, at) {
		return
	}
	t.rows[at] = after
	sent := slices.Clone(after)
	if t.toast >= 0 && after[t.toast] == before[t.toast] && m.r.IntN(2) == 0 {
		sent[t.toast] = unchanged
	}
	moved := t.key >= 0 && before[t.key] != after[t.key]
	b.updateFrom(t.Table, t.old(before, moved), sent...)
}

// want is what the table has to hold.
func (t *modelTable) want() []string {
	out := []string{}
	for _, r := range t.rows {
		line := ""
		for i, v := range r {
			if i > 0 {
				line += "|"
			}
			if v == nil {
				v = "<NULL>"
			}
			line += fmt.Sprint(v)
		}
		out = append(out, line)
	}
	slices.Sort(out)
	return out
}

// TestFoldedGroupsLeadToTheSameRows applies random transactions in random groups, and compares the tables with what
// the changes lead to one by one.
func TestFoldedGroupsLeadToTheSameRows(t *testing.T) {
	modes := []struct {
		name   string
		change func(*Config)
	}{
		{"as a replica", nil},
		{"with triggers in effect", func(c *Config) { c.FireTriggers = true }},
	}
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			d := newDB(t, 15, propertyDDL)
			rapid.Check(t, func(rt *rapid.T) {
				s := d.stream(mode.change)
				defer s.w.Close()
				s.w.copyMin = 5
				m := newModel(rt)
				clean := newBatch()
				for _, table := range m.tables {
					clean.truncate(schema.Truncate{Tables: []*schema.Table{table.Table}})
				}
				s.must(clean)
				groups := rapid.IntRange(1, 4).Draw(rt, "groups")
				for range groups {
					var batches []*batch
					for range rapid.IntRange(1, 4).Draw(rt, "batches") {
						b := newBatch()
						for range rapid.SampledFrom([]int{0, 1, 5, 30, 150}).Draw(rt, "changes") {
							m.step(b)
						}
						batches = append(batches, b)
					}
					commit := s.commit
					if rapid.Bool().Draw(rt, "staged") {
						commit = s.stage
					}
					if err := commit(batches...); err != nil {
						rt.Fatalf("Commit: got %v, want nil", err)
					}
					m.compare(s.db)
				}
			})
		})
	}
}

// compare holds the target against the model.
func (m *model) compare(d *db) {
	for _, t := range m.tables {
		columns := ""
		for i := range t.Columns {
			if i > 0 {
				columns += ", "
			}
			columns += quoteName(t.Columns[i].Name)
		}
		got := d.lines(`SELECT ` + columns + ` FROM public.` + t.Name)
		slices.Sort(got)
		if diff := cmp.Diff(t.want(), got); diff != "" {
			m.t.Fatalf("table %s (-want +got):\n%s", t.Name, diff)
		}
	}
}
