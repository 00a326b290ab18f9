package postgres

import (
	"strconv"
	"strings"

	"github.com/rowferry/rowferry/sinks/apply"
)

// The builders of statements that depend on a table. They are pure. Placeholders are numbered in the order of the
// values the writer binds: written columns first, then those that name the row.

// insertRow inserts one row.
func insertRow(p *plan, columns []int) string {
	if len(columns) == 0 {
		return "INSERT INTO " + p.name + " DEFAULT VALUES"
	}
	var b strings.Builder
	b.WriteString("INSERT INTO " + p.name + " (")
	p.list(&b, columns)
	b.WriteString(") OVERRIDING SYSTEM VALUE VALUES (")
	for n := range columns {
		comma(&b, n)
		b.WriteString("$" + strconv.Itoa(n+1))
	}
	b.WriteString(")")
	return b.String()
}

// insertRows inserts many rows from one array for each column.
func insertRows(p *plan, columns []int) string {
	var b strings.Builder
	b.WriteString("INSERT INTO " + p.name + " (")
	p.list(&b, columns)
	b.WriteString(") OVERRIDING SYSTEM VALUE SELECT ")
	for n, i := range columns {
		comma(&b, n)
		b.WriteString(p.element(i, n))
	}
	b.WriteString(" FROM ")
	unnest(&b, len(columns))
	return b.String()
}

// copyRows receives rows as COPY text.
func copyRows(p *plan, columns []int) string {
	var b strings.Builder
	b.WriteString("COPY " + p.name + " (")
	p.list(&b, columns)
	b.WriteString(") FROM STDIN")
	return b.String()
}

// updateRow updates the row that the values of p.Match name. Without columns to set it only looks for the row.
func updateRow(p *plan, columns []int) string {
	var b strings.Builder
	if len(columns) == 0 {
		b.WriteString("SELECT FROM " + p.only() + " AS t WHERE ")
		p.where(&b, 0)
		return b.String()
	}
	b.WriteString("UPDATE " + p.only() + " AS t SET ")
	for n, i := range columns {
		comma(&b, n)
		b.WriteString(p.column(i) + " = $" + strconv.Itoa(n+1))
	}
	b.WriteString(" WHERE ")
	p.where(&b, len(columns))
	return b.String()
}

// replaceRow updates a row where a column would be given a value that it only takes when a row is inserted. A row
// that has those values already is updated; any other is deleted and inserted again with all it had.
func replaceRow(p *plan, columns []int) string {
	var b strings.Builder
	written := map[int]int{}
	free := []int{}
	for n, i := range columns {
		written[i] = n + 1
		if !p.table.Fixed(i) {
			free = append(free, i)
		}
	}
	equal := func(b *strings.Builder) {
		n := 0
		for _, i := range columns {
			if p.table.Fixed(i) {
				if n > 0 {
					b.WriteString(" AND ")
				}
				b.WriteString("t." + p.column(i) + " = $" + strconv.Itoa(written[i]))
				n++
			}
		}
	}
	b.WriteString("WITH same AS (")
	if len(free) == 0 {
		b.WriteString("SELECT 1 FROM " + p.only() + " AS t WHERE ")
	} else {
		b.WriteString("UPDATE " + p.only() + " AS t SET ")
		for n, i := range free {
			comma(&b, n)
			b.WriteString(p.column(i) + " = $" + strconv.Itoa(written[i]))
		}
		b.WriteString(" WHERE ")
	}
	p.where(&b, len(columns))
	b.WriteString(" AND ")
	equal(&b)
	if len(free) > 0 {
		b.WriteString(" RETURNING 1")
	}
	b.WriteString("), old AS (DELETE FROM " + p.only() + " AS t WHERE ")
	p.where(&b, len(columns))
	b.WriteString(" AND NOT (")
	equal(&b)
	b.WriteString(") RETURNING t.*), new AS (INSERT INTO " + p.name + " (")
	n := 0
	for c := range p.columns {
		if !p.columns[c].computed {
			comma(&b, n)
			b.WriteString(quoteName(p.columns[c].name))
			n++
		}
	}
	b.WriteString(") OVERRIDING SYSTEM VALUE SELECT ")
	n = 0
	for c := range p.columns {
		if p.columns[c].computed {
			continue
		}
		comma(&b, n)
		n++
		if at := written[p.columns[c].ordinal]; at > 0 && p.columns[c].ordinal >= 0 {
			b.WriteString("$" + strconv.Itoa(at))
		} else {
			b.WriteString("old." + quoteName(p.columns[c].name))
		}
	}
	b.WriteString(" FROM old RETURNING 1) SELECT 1 FROM same UNION ALL SELECT 1 FROM new")
	return b.String()
}

// updateRows updates many rows, each named by its key.
func updateRows(p *plan, columns []int) string {
	var b strings.Builder
	b.WriteString("UPDATE " + p.only() + " AS t SET ")
	for n, i := range columns {
		comma(&b, n)
		b.WriteString(p.column(i) + " = " + p.element(i, n))
	}
	b.WriteString(" FROM ")
	unnest(&b, len(columns)+len(p.table.Match))
	p.join(&b, len(columns))
	return b.String()
}

// deleteRow deletes the row that the values of p.Match name.
func deleteRow(p *plan) string {
	var b strings.Builder
	b.WriteString("DELETE FROM " + p.only() + " AS t WHERE ")
	p.where(&b, 0)
	return b.String()
}

// deleteRows deletes many rows, each named by its key.
func deleteRows(p *plan) string {
	var b strings.Builder
	b.WriteString("DELETE FROM " + p.only() + " AS t USING ")
	unnest(&b, len(p.table.Match))
	p.join(&b, 0)
	return b.String()
}

// truncateTables empties tables at once.
func truncateTables(tables []*plan, restart bool) string {
	var b strings.Builder
	b.WriteString("TRUNCATE ")
	for n, p := range tables {
		comma(&b, n)
		b.WriteString(p.only())
	}
	if restart {
		b.WriteString(" RESTART IDENTITY")
	}
	return b.String()
}

// list writes columns, quoted.
func (p *plan) list(b *strings.Builder, columns []int) {
	for n, i := range columns {
		comma(b, n)
		b.WriteString(p.column(i))
	}
}

// column is the quoted name of a source's column, which is that of the target's.
func (p *plan) column(ordinal int) string { return quoteName(p.table.Source.Columns[ordinal].Name) }

// only is the table's name in statements on its own rows: not those of tables that inherit from it, which the
// source sends under their own names. A partitioned table has none of its own.
func (p *plan) only() string {
	if p.partitioned {
		return p.name
	}
	return "ONLY " + p.name
}

// element is value number n of the arrays, as the column's type. An array of arrays does not exist, and types with
// a separator of their own are not risked: these come as text and are cast. The cast is to the type without its
// length, so that a value too long is an error at assignment instead of being cut.
func (p *plan) element(ordinal, n int) string {
	text := "u.c" + strconv.Itoa(n+1)
	if c := p.bind[ordinal]; c.asText() {
		return text + "::" + c.castName
	}
	return text
}

// unnest writes the source of rows for many of them at once.
func unnest(b *strings.Builder, n int) {
	b.WriteString("unnest(")
	for i := range n {
		comma(b, i)
		b.WriteString("$" + strconv.Itoa(i+1))
	}
	b.WriteString(") AS u(")
	for i := range n {
		comma(b, i)
		b.WriteString("c" + strconv.Itoa(i+1))
	}
	b.WriteString(")")
}

// join writes which row belongs to which element; the key's arrays come after skip others.
func (p *plan) join(b *strings.Builder, skip int) {
	b.WriteString(" WHERE ")
	for n, i := range p.table.Match {
		if n > 0 {
			b.WriteString(" AND ")
		}
		b.WriteString("t." + p.column(i) + " = " + p.element(i, skip+n))
	}
}

// where writes the condition that names one row; its placeholders come after skip others.
func (p *plan) where(b *strings.Builder, skip int) {
	if p.table.Whole {
		p.whereWhole(b, skip)
		return
	}
	for n, i := range p.table.Match {
		if n > 0 {
			b.WriteString(" AND ")
		}
		b.WriteString("t." + p.column(i) + " = $" + strconv.Itoa(skip+n+1))
	}
}

// whereWhole names any one of the rows that are equal to the old values. Columns whose type has no equality are
// compared as text. Values may be equal and yet print differently (1.0 and 1.00): a row that prints the same is
// preferred.
func (p *plan) whereWhole(b *strings.Builder, skip int) {
	id := "t.ctid = (SELECT r.ctid"
	if p.partitioned {
		id = "(t.tableoid, t.ctid) = (SELECT r.tableoid, r.ctid"
	}
	b.WriteString(id + " FROM " + p.only() + " AS r")
	exact := []string{}
	for n, i := range p.table.Match {
		if n == 0 {
			b.WriteString(" WHERE ")
		} else {
			b.WriteString(" AND ")
		}
		c, param := p.bind[i], "$"+strconv.Itoa(skip+n+1)
		asText := "r." + p.column(i) + `::text COLLATE "C" IS NOT DISTINCT FROM (` + param + "::" + c.castName + `)::text COLLATE "C"`
		switch {
		case c.equality == noEquality:
			b.WriteString(asText)
		case c.notNull:
			b.WriteString("r." + p.column(i) + " = " + param + "::" + c.castName)
		default:
			b.WriteString("r." + p.column(i) + " IS NOT DISTINCT FROM " + param + "::" + c.castName)
		}
		if c.equality == looseEquality {
			exact = append(exact, "("+asText+")")
		}
	}
	if len(exact) > 0 {
		b.WriteString(" ORDER BY (" + strings.Join(exact, " AND ") + ") DESC")
	}
	b.WriteString(" LIMIT 1)")
}

// comma separates the elements of a list.
func comma(b *strings.Builder, n int) {
	if n > 0 {
		b.WriteString(", ")
	}
}

// order lists the ordinals of the values a step's statement takes: those written, then those of the key.
func order(p *plan, s *apply.Step) []int {
	var ordinals []int
	if s.Shape != nil {
		ordinals = append(ordinals, s.Shape.Columns...)
	}
	if s.Op != apply.Insert {
		ordinals = append(ordinals, p.table.Match...)
	}
	return ordinals
}
