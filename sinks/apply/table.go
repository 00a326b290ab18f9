package apply

import (
	"fmt"

	"github.com/rowferry/rowferry/schema"
)

// Layout is what a target says of one of its tables, as far as the choice of statements depends on it.
type Layout struct {
	Columns []LayoutColumn
	// Keys are the unique indexes that are valid, hold for all rows, and rest on plain columns. The primary key
	// comes first, if there is one.
	Keys []LayoutKey
	// Exclusive tells whether constraints beyond Keys (partial or expression indexes, exclusion constraints) can
	// make two rows collide.
	Exclusive bool
	// Coupled tells whether foreign keys or triggers that take effect tie this table to others.
	Coupled bool
	// RowByRow asks for one statement for each row: triggers could tell the difference.
	RowByRow bool
	// Cascaded tells whether rows of this table vanish by themselves with a row they refer to.
	Cascaded bool
}

// LayoutColumn is one column of a target's table.
type LayoutColumn struct {
	Name     string
	Computed bool // the target computes it: never written
	Fixed    bool // it takes a value when a row is inserted, but no other later (GENERATED ALWAYS AS IDENTITY)
}

// LayoutKey is a unique index.
type LayoutKey struct {
	Columns []string
	NotNull bool // none of its columns can be NULL
}

// Table says how the rows of one version of a source's table are written to a target's.
type Table struct {
	Source *schema.Table
	// Match lists the ordinals of the columns that name the row to change. Empty: rows are only ever inserted.
	Match []int
	// Unique tells that at most one row of the target can match.
	Unique bool
	// Whole tells that a row is named by all its old values, and any one of equal rows is meant.
	Whole bool
	// Careful makes the builder keep the order of this table's changes. It is set where the layout asks for it, and
	// by the [Applier] when folding has once led to a refusal that order avoids.
	Careful bool

	layout    Layout
	secondary bool   // other unique or exclusion constraints exist
	writable  []bool // by ordinal: the target takes values of the column
	fixed     []bool // by ordinal: the column takes no new value in an update
	matched   []bool // by ordinal: part of Match
	missing   []int  // ordinals of computed source columns the target lacks: no value may come for them
	shapes    map[string]*Shape
	recent    [3]*Shape // last shape for inserts, updates, moves
	scratch   []byte
}

// Shape is a set of columns that statements of one kind write.
type Shape struct {
	Columns []int // ordinals, ascending
	// Special tells that an update sets a fixed column, which takes a statement of its own kind.
	Special bool
	present []bool
	number  int // counts the shapes of a table
}

// MissingError says that a target's table lacks columns.
type MissingError struct {
	Table   *schema.Table
	Columns []int // ordinals in Table.Columns
}

// Error names the columns.
func (e *MissingError) Error() string {
	names := ""
	for i, ordinal := range e.Columns {
		if i > 0 {
			names += ", "
		}
		names += schema.QuoteName(e.Table.Columns[ordinal].Name)
	}
	return fmt.Sprintf("the target's table %s has no column %s", e.Table, names)
}

// NewTable decides how rows of source are written to a table with the given layout. It returns a *[MissingError]
// when the target cannot take the rows.
func NewTable(source *schema.Table, layout Layout) (*Table, error) {
	t := &Table{
		Source: source, layout: layout, shapes: map[string]*Shape{},
		writable: make([]bool, len(source.Columns)),
		fixed:    make([]bool, len(source.Columns)),
		matched:  make([]bool, len(source.Columns)),
	}
	target := make(map[string]*LayoutColumn, len(layout.Columns))
	for i := range layout.Columns {
		target[layout.Columns[i].Name] = &layout.Columns[i]
	}
	lacking := &MissingError{Table: source}
	for i := range source.Columns {
		c := target[source.Columns[i].Name]
		switch {
		case c != nil:
			t.writable[i], t.fixed[i] = !c.Computed, c.Fixed
		case source.Columns[i].Generated:
			t.missing = append(t.missing, i)
		default:
			lacking.Columns = append(lacking.Columns, i)
		}
	}
	if len(lacking.Columns) > 0 {
		return nil, lacking
	}
	t.chooseMatch(target)
	for _, i := range t.Match {
		t.matched[i] = true
	}
	t.secondary = layout.Exclusive
	for _, key := range layout.Keys {
		if !t.covers(key) {
			t.secondary = true
		}
	}
	t.Careful = layout.Coupled || layout.RowByRow || !t.Unique
	return t, nil
}

// chooseMatch picks the columns that name a row. A source that sends only its key names rows by that; one that
// sends all old values lets the target's own key choose, since its columns are among them.
func (t *Table) chooseMatch(target map[string]*LayoutColumn) {
	if t.Source.Identity == schema.IdentityNothing {
		return
	}
	if t.Source.Identity != schema.IdentityFull {
		t.Match = t.Source.IdentKey()
		for _, i := range t.Match {
			t.matched[i] = true
		}
		for _, key := range t.layout.Keys {
			t.Unique = t.Unique || t.covers(key)
		}
		return
	}
	for _, key := range t.layout.Keys {
		if ordinals := t.ordinals(key); key.NotNull && ordinals != nil {
			t.Match, t.Unique = ordinals, true
			return
		}
	}
	t.Whole = true
	for i := range t.Source.Columns {
		if target[t.Source.Columns[i].Name] != nil && !target[t.Source.Columns[i].Name].Computed {
			t.Match = append(t.Match, i)
		}
	}
}

// covers tells whether all columns of key are among those matched.
func (t *Table) covers(key LayoutKey) bool {
	ordinals := t.ordinals(key)
	for _, i := range ordinals {
		if !t.matched[i] {
			return false
		}
	}
	return ordinals != nil
}

// ordinals translates a key's columns; nil when the source lacks one of them.
func (t *Table) ordinals(key LayoutKey) []int {
	ordinals := make([]int, 0, len(key.Columns))
	for _, name := range key.Columns {
		found := false
		for i := range t.Source.Columns {
			if t.Source.Columns[i].Name == name {
				ordinals, found = append(ordinals, i), true
			}
		}
		if !found {
			return nil
		}
	}
	return ordinals
}

// Writable tells whether the target takes values of the column.
func (t *Table) Writable(ordinal int) bool { return t.writable[ordinal] }

// Fixed tells whether the column takes a value only when a row is inserted.
func (t *Table) Fixed(ordinal int) bool { return t.fixed[ordinal] }

// Cascaded tells whether a row may have vanished with one it refers to before its own delete comes.
func (t *Table) Cascaded() bool { return t.layout.Cascaded }

// The kinds of shapes.
const (
	shapeInsert = iota
	shapeUpdate // without the columns matched
	shapeMove   // with them
)

// shape finds the columns that values brings for a statement of the kind. It costs one look at each value, and
// allocates only for sets never seen before.
func (t *Table) shape(kind int, values []schema.Value) *Shape {
	if s := t.recent[kind]; s != nil && t.fits(s, kind, values) {
		return s
	}
	t.scratch = append(t.scratch[:0], byte(kind))
	for i := range values {
		present := byte('0')
		if t.wanted(kind, i, values) {
			present = '1'
		}
		t.scratch = append(t.scratch, present)
	}
	s := t.shapes[string(t.scratch)]
	if s == nil {
		s = &Shape{present: make([]bool, len(values)), number: len(t.shapes)}
		for i := range values {
			if t.wanted(kind, i, values) {
				s.Columns, s.present[i] = append(s.Columns, i), true
				s.Special = s.Special || kind != shapeInsert && t.fixed[i]
			}
		}
		t.shapes[string(t.scratch)] = s
	}
	t.recent[kind] = s
	return s
}

// fits tells whether values brings exactly the columns of s.
func (t *Table) fits(s *Shape, kind int, values []schema.Value) bool {
	for i := range values {
		if s.present[i] != t.wanted(kind, i, values) {
			return false
		}
	}
	return true
}

// wanted tells whether a statement of the kind writes column i.
func (t *Table) wanted(kind, i int, values []schema.Value) bool {
	return t.writable[i] && !values[i].Absent() && (kind != shapeUpdate || !t.matched[i])
}
