package postgres

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks/apply"
)

var (
	//go:embed queries/table.sql
	tableQuery string
	//go:embed queries/columns.sql
	columnsQuery string
	//go:embed queries/keys.sql
	keysQuery string
)

// relation is a table as the target has it.
type relation struct {
	oid         string
	partitioned bool
	triggered   bool // triggers or rules take effect
	coupled     bool // these or foreign keys do
	cascaded    bool
	deferrable  bool
	columns     []column
	keys        []apply.LayoutKey
	exclusive   bool
}

// column is one column of the target's table.
type column struct {
	name       string
	typeName   string
	notNull    bool
	always     bool // GENERATED ALWAYS AS IDENTITY
	computed   bool // GENERATED ALWAYS AS (expression)
	hasDefault bool
	baseOID    uint32
	arrayOID   uint32
	delimiter  string
	category   string
	castName   string
	exactText  bool // texts are equal only if their bytes are
	ordinal    int  // in the source's table, -1 for a column only the target has
}

// equality says how values of a type are compared when all of a row's values name it.
type equality uint8

const (
	noEquality    equality = iota // the type has none that is known to be there: compared as text
	exactEquality                 // values that are equal print the same
	looseEquality                 // values that are equal may print differently
)

// equalities lists the types that are compared by their own operator.
var equalities = map[uint32]equality{
	16: exactEquality, 20: exactEquality, 21: exactEquality, 23: exactEquality, 26: exactEquality, // bool, integers, oid
	17: exactEquality, 19: exactEquality, 25: exactEquality, 1043: exactEquality, // bytea, name, text, varchar
	1082: exactEquality, 1083: exactEquality, 1114: exactEquality, 1184: exactEquality, // date, time, timestamps
	2950: exactEquality, 869: exactEquality, 650: exactEquality, 829: exactEquality, 790: exactEquality,
	700: looseEquality, 701: looseEquality, 1700: looseEquality, // floats have two zeros, numerics trailing ones
	1042: looseEquality, 1186: looseEquality, 1266: looseEquality, 3802: looseEquality, // bpchar, interval, timetz, jsonb
}

// binding is how values of one of the source's columns reach the target's.
type binding struct {
	arrayOID uint32
	textual  bool // travels in an array of text, and is cast
	castName string
	equality equality
	notNull  bool
}

func (b *binding) asText() bool { return b.textual }

// textArrayOID is text[].
const textArrayOID = 1009

// plan is how rows of one version of a source's table are written to this target's.
type plan struct {
	table *apply.Table
	relation
	name       string // quoted
	bind       []binding
	statements map[statementKey]*statement
}

// errNoTable says that the target has no table of the name.
var errNoTable = errors.New("there is no such table")

// look reads a table's definition from the target's catalog.
func (s *session) look(ctx context.Context, namespace, name string) (*relation, error) {
	rows, err := s.known(ctx, tableQuery, namespace, name)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, errNoTable
	}
	row := rows[0]
	if row[1] != "r" && row[1] != "p" {
		return nil, fault.Halt("target.table_missing",
			fmt.Errorf("%s at the target is no table but a relation of kind %q", quoteTable(namespace, name), row[1]),
			"give the target a table of this name, or rename the source's on the way with a transform")
	}
	r := &relation{oid: row[0], partitioned: row[1] == "p", deferrable: row[8] == "t"}
	if s.replica {
		r.triggered = row[5] == "t" || row[7] == "t"
		r.coupled = r.triggered
	} else {
		r.triggered = row[4] == "t" || row[6] == "t"
		r.coupled = r.triggered || row[2] == "t"
		r.cascaded = row[3] == "t"
	}
	if err := s.lookColumns(ctx, r); err != nil {
		return nil, err
	}
	return r, s.lookKeys(ctx, r)
}

// lookColumns reads a table's columns.
func (s *session) lookColumns(ctx context.Context, r *relation) error {
	rows, err := s.known(ctx, columnsQuery, r.oid)
	if err != nil {
		return err
	}
	for _, row := range rows {
		baseOID, err := strconv.ParseUint(row[6], 10, 32)
		if err != nil {
			return fmt.Errorf("reading a type's number: %w", err)
		}
		arrayOID, err := strconv.ParseUint(row[7], 10, 32)
		if err != nil {
			return fmt.Errorf("reading a type's number: %w", err)
		}
		r.columns = append(r.columns, column{
			name: row[0], typeName: row[1], notNull: row[2] == "t", always: row[3] == "t", computed: row[4] == "t",
			hasDefault: row[5] == "t", baseOID: uint32(baseOID), arrayOID: uint32(arrayOID), delimiter: row[8],
			category: row[9], castName: row[10], exactText: row[11] == "t", ordinal: -1,
		})
	}
	return nil
}

// lookKeys reads the indexes that can refuse a row.
func (s *session) lookKeys(ctx context.Context, r *relation) error {
	rows, err := s.known(ctx, keysQuery, r.oid)
	if err != nil {
		return err
	}
	last := ""
	for _, row := range rows {
		if row[1] != "t" {
			r.exclusive = true
			continue
		}
		if row[0] != last {
			last = row[0]
			r.keys = append(r.keys, apply.LayoutKey{NotNull: true})
		}
		key := &r.keys[len(r.keys)-1]
		key.Columns = append(key.Columns, row[2])
		key.NotNull = key.NotNull && row[3] == "t"
	}
	return nil
}

// newPlan decides how rows of source are written to r.
func newPlan(source *schema.Table, r *relation) (*plan, error) {
	layout := apply.Layout{
		Keys: r.keys, Exclusive: r.exclusive, Coupled: r.coupled, RowByRow: r.triggered, Cascaded: r.cascaded,
	}
	for i := range r.columns {
		c := &r.columns[i]
		layout.Columns = append(layout.Columns, apply.LayoutColumn{Name: c.name, Computed: c.computed, Fixed: c.always})
	}
	table, err := apply.NewTable(source, layout)
	if err != nil {
		return nil, err
	}
	p := &plan{
		table: table, relation: *r, name: quoteTable(source.Schema, source.Name),
		bind: make([]binding, len(source.Columns)), statements: map[statementKey]*statement{},
	}
	for i := range source.Columns {
		for n := range p.columns {
			if c := &p.columns[n]; c.name == source.Columns[i].Name {
				c.ordinal = i
				p.bind[i] = bindingOf(c)
			}
		}
	}
	return p, nil
}

// bindingOf decides how values reach a column.
func bindingOf(c *column) binding {
	b := binding{arrayOID: c.arrayOID, castName: c.castName, equality: equalities[c.baseOID], notNull: c.notNull}
	if b.equality == exactEquality && !c.exactText {
		b.equality = looseEquality
	}
	if c.arrayOID == 0 || c.category == "A" || c.delimiter != "," {
		b.arrayOID, b.textual = textArrayOID, true
	}
	return b
}
