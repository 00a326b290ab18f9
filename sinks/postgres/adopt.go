package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks/apply"
)

// adopt looks at the target's table and decides how rows of t are written to it. A table that is missing is made,
// and columns that t has gained over previous are added, where the settings say so. Nothing may be on its way.
func (l *lane) adopt(ctx context.Context, t, previous *schema.Table) (*plan, error) {
	if err := checkNames(t); err != nil {
		return nil, err
	}
	r, err := l.look(ctx, t.Schema, t.Name)
	if errors.Is(err, errNoTable) {
		if previous != nil && (previous.Schema != t.Schema || previous.Name != t.Name) {
			return nil, renamedTable(t, previous)
		}
		if previous != nil {
			return nil, fault.Halt("target.table_missing", fmt.Errorf("table %s is gone from the target", t),
				"restore the table with its rows; an empty one in its place would lack them,\n"+
					"or `rowferry teardown` the pipeline and copy again")
		}
		if !l.w.cfg.Tables.Create {
			return nil, fault.Halt("target.table_missing", fmt.Errorf("the target has no table %s", t),
				"create it as the source has it (pg_dump --schema-only --table='"+t.String()+"'),\n"+
					"or set tables.create to have Rowferry make it")
		}
		if err := l.create(ctx, t); err != nil {
			return nil, fmt.Errorf("creating table %s: %w", t, err)
		}
		r, err = l.look(ctx, t.Schema, t.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("looking at table %s: %w", t, err)
	}
	if previous != nil {
		if err := changedHands(t, previous, r); err != nil {
			return nil, err
		}
	}
	p, err := newPlan(t, r)
	var missing *apply.MissingError
	if !errors.As(err, &missing) {
		return p, err
	}
	may := l.w.cfg.SchemaChanges == "add_columns"
	if may && previous != nil && len(previous.Columns) > 0 {
		if gone := vanished(t, previous); len(gone) > 0 {
			return nil, renamedColumns(t, gone, missing)
		}
		may = gained(t, previous, missing.Columns)
	} else if may {
		if may, err = l.neverHad(ctx, t, r); err != nil {
			return nil, fmt.Errorf("looking at table %s: %w", t, err)
		}
	}
	if !may {
		return nil, l.mismatch(ctx, missing)
	}
	if err := l.initials(ctx, r, missing); err != nil {
		return nil, err
	}
	if err := l.addColumns(ctx, t, missing.Columns); err != nil {
		return nil, fmt.Errorf("adding columns to %s: %w", t, err)
	}
	if r, err = l.look(ctx, t.Schema, t.Name); err != nil {
		return nil, fmt.Errorf("looking at table %s: %w", t, err)
	}
	return newPlan(t, r)
}

// renamedTable is the halt for a table that has another name at the source now. A new table of that name would lack
// all rows of the old one.
func renamedTable(t, previous *schema.Table) error {
	remedy := "rename the table at the target, too:"
	if previous.Schema != t.Schema {
		remedy += "\nALTER TABLE " + quoteTable(previous.Schema, previous.Name) + " SET SCHEMA " + quoteName(t.Schema) + ";"
	}
	if previous.Name != t.Name {
		remedy += "\nALTER TABLE " + quoteTable(t.Schema, previous.Name) + " RENAME TO " + quoteName(t.Name) + ";"
	}
	return fault.Halt("target.table_missing",
		fmt.Errorf("the source renamed table %s to %s, and the target has no table of that name", previous, t), remedy)
}

// changedHands halts when a name passed from one column to another. Columns never change their order: a new one is the last. So
// two that stand the other way round than before have swapped their names, or one was dropped and added again, and the rows
// that are there have the values of another column. It was done at the target as well if its columns stand like that, too.
func changedHands(t, previous *schema.Table, r *relation) error {
	var before, here []string
	for i := range previous.Columns {
		before = append(before, previous.Columns[i].Name)
	}
	for i := range r.columns {
		here = append(here, r.columns[i].name)
	}
	var last string
	highest := -1
	for i := range t.Columns {
		name := t.Columns[i].Name
		at := slices.Index(before, name)
		if at < 0 || t.Columns[i].Generated {
			continue
		}
		if at < highest && slices.Index(here, name) < slices.Index(here, last) {
			return fault.Halt("target.schema_mismatch",
				fmt.Errorf("columns %s and %s of table %s changed places at the source: a name passed from one to the other, or one was dropped and added again",
					schema.QuoteName(name), schema.QuoteName(last), t),
				"do the same at the target: swap the names of its columns (ALTER TABLE … RENAME COLUMN …),\n"+
					"or drop the column, add it again and give it the source's values;\nor `rowferry teardown` the pipeline and copy again")
		}
		if at > highest {
			highest, last = at, name
		}
	}
	return nil
}

// vanished lists the columns of previous that t does not have.
func vanished(t, previous *schema.Table) []string {
	var gone []string
	for i := range previous.Columns {
		name := previous.Columns[i].Name
		if !slices.ContainsFunc(t.Columns, func(c schema.Column) bool { return c.Name == name }) {
			gone = append(gone, name)
		}
	}
	return gone
}

// renamedColumns is the halt for a version that lost columns and gained others. The log does not tell a column that
// was renamed from one that was dropped beside one that was added; taken for added, the old rows would have NULL.
func renamedColumns(t *schema.Table, gone []string, e *apply.MissingError) error {
	remedy := "if the source renamed a column, rename it at the target, too:"
	for n, i := range e.Columns {
		remedy += "\nALTER TABLE " + quoteTable(t.Schema, t.Name) + " RENAME COLUMN " + quoteName(gone[min(n, len(gone)-1)]) +
			" TO " + quoteName(t.Columns[i].Name) + ";"
	}
	return fault.Halt("target.schema_mismatch", fmt.Errorf("%w; it had %s before", e, strings.Join(gone, ", ")),
		remedy+"\nif it dropped one and added another, add the new column at the target")
}

// gained tells whether the columns are new in t, so that no row written before had them.
func gained(t, previous *schema.Table, columns []int) bool {
	for _, i := range columns {
		for n := range previous.Columns {
			if previous.Columns[n].Name == t.Columns[i].Name {
				return false
			}
		}
	}
	return true
}

// initials halts when the target has rows that need a value for a new column which nobody knows: that of a default which was
// computed for each row, or one that the source has forgotten.
func (l *lane) initials(ctx context.Context, r *relation, missing *apply.MissingError) error {
	t := missing.Table
	unknown := slices.DeleteFunc(slices.Clone(missing.Columns), func(i int) bool { return t.Columns[i].Initial.Known })
	if len(unknown) == 0 {
		return nil
	}
	rows, err := l.oneRow(ctx, t, r)
	if err != nil || len(rows) == 0 {
		return err
	}
	remedy := "add the column at the target, and give the rows that are there the values they have at the source:"
	for _, i := range unknown {
		typ, err := l.typeFor(ctx, &t.Columns[i])
		if err != nil {
			return err
		}
		remedy += "\n" + addColumn(t, i, typ) + ";"
	}
	return fault.Halt("target.schema_mismatch",
		fmt.Errorf("%w; what the rows that are there hold in %s cannot be known: the source computed a default for each of them, or rewrote the table since",
			missing, columnNames(t, unknown)),
		remedy+"\nor `rowferry teardown` the pipeline, empty its target tables, and copy again")
}

// oneRow asks for a row of a table: there is none when it is empty.
func (l *lane) oneRow(ctx context.Context, t *schema.Table, r *relation) ([][]string, error) {
	name := quoteTable(t.Schema, t.Name)
	if !r.partitioned {
		name = "ONLY " + name
	}
	rows, err := l.rows(ctx, "SELECT FROM "+name+" LIMIT 1")
	if err != nil {
		return nil, fmt.Errorf("looking at table %s: %w", t, err)
	}
	return rows, nil
}

// columnNames lists columns for a message.
func columnNames(t *schema.Table, columns []int) string {
	names := make([]string, len(columns))
	for n, i := range columns {
		names[n] = schema.QuoteName(t.Columns[i].Name)
	}
	return strings.Join(names, ", ")
}

// neverHad tells whether the target's table cannot have had the columns it lacks, so that the source must have gained
// them while nobody looked: between the end of one run and the next, or before an interrupted copy began again. The
// table had every column when its copy began. A column that was dropped or renamed at the target since leaves a trace:
// a dropped attribute, or a column that the source does not have. An empty table has lost nothing either way.
func (l *lane) neverHad(ctx context.Context, t *schema.Table, r *relation) (bool, error) {
	rows, err := l.rows(ctx, "SELECT EXISTS (SELECT FROM "+quoteTable(t.Schema, t.Name)+`),
		EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = $1::pg_catalog.oid AND attisdropped)`, r.oid)
	if err != nil {
		return false, err
	}
	if rows[0][0] == "f" {
		return true, nil
	}
	for i := range r.columns {
		known := func(c schema.Column) bool { return c.Name == r.columns[i].name }
		if !slices.ContainsFunc(t.Columns, known) {
			return false, nil
		}
	}
	return rows[0][1] == "f", nil
}

// mismatch is the halt for a table that lacks columns, with the statement that mends it.
func (l *lane) mismatch(ctx context.Context, e *apply.MissingError) error {
	remedy := "make the target's table as the source's:"
	for _, i := range e.Columns {
		typ, err := l.typeFor(ctx, &e.Table.Columns[i])
		if err != nil {
			return err
		}
		remedy += "\n" + addColumn(e.Table, i, typ) + ";"
	}
	return fault.Halt("target.schema_mismatch", e, remedy+"\nor set schema_changes: add_columns for columns added from now on")
}

// addColumn is the statement that adds one column. It is never NOT NULL: rows that are there have no value for it.
func addColumn(t *schema.Table, i int, typ string) string {
	return "ALTER TABLE " + quoteTable(t.Schema, t.Name) + " ADD COLUMN " + quoteName(t.Columns[i].Name) + " " + typ
}

// initialColumn is the statements that add one column with a value for the rows that are there. Values of new rows come
// from the source alone.
func initialColumn(t *schema.Table, i int, typ, text string) []string {
	return []string{
		addColumn(t, i, typ) + " DEFAULT CAST(" + quoteLiteral(text) + " AS " + typ + ")",
		"ALTER TABLE " + quoteTable(t.Schema, t.Name) + " ALTER COLUMN " + quoteName(t.Columns[i].Name) + " DROP DEFAULT",
	}
}

// addColumns alters the target's table inside the transaction that brings the first rows with the columns. A default gives
// the rows that are there what they have at the source, and goes again.
func (l *lane) addColumns(ctx context.Context, t *schema.Table, columns []int) error {
	l.altered = true
	for _, i := range columns {
		typ, err := l.typeFor(ctx, &t.Columns[i])
		if err != nil {
			return err
		}
		statements := []string{addColumn(t, i, typ)}
		if text := t.Columns[i].Initial.Text; text != nil {
			statements = initialColumn(t, i, typ, *text)
		}
		for _, sql := range statements {
			if _, err := l.exec(ctx, sql); err != nil {
				return err
			}
		}
		l.w.rt.Log.Info().Str("table", t.String()).Str("column", t.Columns[i].Name).Str("type", typ).Msg("added a column at the target")
	}
	return nil
}

// create makes the table, and its schema if that is missing.
func (l *lane) create(ctx context.Context, t *schema.Table) error {
	l.altered = true
	types := make([]string, len(t.Columns))
	for i := range t.Columns {
		typ, err := l.typeFor(ctx, &t.Columns[i])
		if err != nil {
			return err
		}
		types[i] = typ
	}
	if err := l.createSchema(ctx, t.Schema); err != nil {
		return err
	}
	if _, err := l.exec(ctx, createTable(t, types)); err != nil {
		return err
	}
	note(&l.seen.made, t, true)
	l.w.made("table:" + t.String())
	l.w.rt.Log.Info().Str("table", t.String()).Msg("created a table at the target")
	return nil
}

// createSchema makes a table's schema if it is missing.
func (l *lane) createSchema(ctx context.Context, name string) error {
	if l.seen.schemas[name] {
		return nil
	}
	rows, err := l.rows(ctx, `SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1`, name)
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		if _, err := l.exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+quoteName(name)); err != nil {
			return err
		}
		l.w.made("schema:" + schema.QuoteName(name))
	}
	note(&l.seen.schemas, name, true)
	return nil
}

// createTable is the statement that makes a table: columns, NOT NULL, and the key that names its rows.
func createTable(t *schema.Table, types []string) string {
	var b strings.Builder
	b.WriteString("CREATE TABLE " + quoteTable(t.Schema, t.Name) + " (")
	for i := range t.Columns {
		comma(&b, i)
		b.WriteString(quoteName(t.Columns[i].Name) + " " + types[i])
		if t.Columns[i].NotNull {
			b.WriteString(" NOT NULL")
		}
	}
	key, word := t.Key(), "PRIMARY KEY"
	if len(key) == 0 && t.Identity == schema.IdentityIndex {
		key, word = t.IdentKey(), "UNIQUE"
	}
	if len(key) > 0 {
		b.WriteString(", " + word + " (")
		for n, i := range key {
			comma(&b, n)
			b.WriteString(quoteName(t.Columns[i].Name))
		}
		b.WriteString(")")
	}
	b.WriteString(")")
	return b.String()
}

// checkNames refuses names the target would change.
func checkNames(t *schema.Table) error {
	names := []string{t.Schema, t.Name}
	for i := range t.Columns {
		names = append(names, t.Columns[i].Name)
	}
	for _, name := range names {
		if name == "" || len(name) > maxNameBytes || strings.ContainsRune(name, 0) {
			return fault.Halt("target.schema_mismatch", fmt.Errorf("the name %.100q in %s cannot be a name at the target", name, t),
				"rename the table on the way with a transform, or leave it out")
		}
	}
	return nil
}
