package postgres

import (
	"context"
	_ "embed" // the queries
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/rowferry/rowferry/schema"
)

var (
	//go:embed queries/relations.sql
	relationsSQL string
	//go:embed queries/columns.sql
	columnsSQL string
	//go:embed queries/unique.sql
	uniqueSQL string
	//go:embed queries/types.sql
	typesSQL string
)

// querier is a connection or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// atOnce reads what has to agree, as the catalog was at one moment: between two statements it may change. Asking what is
// published takes a lock on each table from Postgres 18 on; one that is being changed is not waited for in silence.
func atOnce(ctx context.Context, conn *pgx.Conn, read func(q querier) error) error {
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return classify(fmt.Errorf("beginning to read the catalog: %w", err))
	}
	defer func() { _ = tx.Rollback(ctx) }()
	if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = '3s'"); err != nil {
		return classify(fmt.Errorf("beginning to read the catalog: %w", err))
	}
	return read(tx)
}

// relationInfo is what the catalog says of a table beside its columns.
type relationInfo struct {
	oid          uint32
	schema, name string
	kind         string // r, or p for a partitioned table
	persistence  string // p permanent, u unlogged, t temporary
	identity     string // d, f, i, n
	owned        bool   // our role may alter it
	readable     bool   // our role may read at least some columns
	guarded      bool   // row-level security holds for our role, unless it bypasses it
	identified   bool   // updates and deletes can be published
	extension    bool   // belongs to an extension
	rows         float64
	ancestors    []uint32 // partitioned tables above it, nearest first
}

// String is the table's name for messages.
func (r *relationInfo) String() string {
	return schema.QuoteName(r.schema) + "." + schema.QuoteName(r.name)
}

// readRelations reads tables by oid, or every table there is when oids is nil.
func readRelations(ctx context.Context, q querier, oids []uint32) ([]*relationInfo, error) {
	rows, err := q.Query(ctx, relationsSQL, oids)
	if err != nil {
		return nil, fmt.Errorf("reading tables: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (*relationInfo, error) {
		r := &relationInfo{}
		return r, row.Scan(&r.oid, &r.schema, &r.name, &r.kind, &r.persistence, &r.identity, &r.owned, &r.readable,
			&r.guarded, &r.identified, &r.extension, &r.rows, &r.ancestors)
	})
	if err != nil {
		return nil, fmt.Errorf("reading tables: %w", err)
	}
	return list, nil
}

// definition asks for one table's definition; columns, when not nil, are those that are published.
type definition struct {
	relation *relationInfo
	columns  []string
}

// columnInfo is one column as the catalog has it.
type columnInfo struct {
	schema.Column
	table      uint32
	typ        uint32
	typmod     int32
	number     int16   // pg_attribute.attnum
	highest    int16   // number the table ever gave
	expression string  // of a stored generated column
	inputs     []int16 // numbers of the columns the expression refers to
	computed   bool    // not published: its value comes from the expression
}

// tableVersion is a table's present version, with what a Relation message says of it.
type tableVersion struct {
	table    *schema.Table
	identity byte
	columns  []columnInfo // those that are published
	live     []int16      // numbers of all columns there are
	highest  int16        // number the table ever gave to a column
}

// readTables builds the tables' present versions, in the order asked for. compute adds stored generated columns that
// are not published, where all they are computed from is.
func readTables(ctx context.Context, q querier, wanted []definition, compute bool) ([]tableVersion, error) {
	oids := make([]uint32, len(wanted))
	for i, w := range wanted {
		oids[i] = w.relation.oid
	}
	columns, err := readColumns(ctx, q, oids)
	if err != nil {
		return nil, err
	}
	var typeOIDs []uint32
	for _, list := range columns {
		for i := range list {
			typeOIDs = append(typeOIDs, list[i].typ)
		}
	}
	types, err := readTypes(ctx, q, typeOIDs)
	if err != nil {
		return nil, err
	}
	if err := readUnique(ctx, q, columns); err != nil {
		return nil, err
	}
	tables := make([]tableVersion, len(wanted))
	for i, w := range wanted {
		tables[i] = buildTable(w, columns[w.relation.oid], types, compute)
	}
	return tables, nil
}

// readUnique gives the columns of tables without a primary key their places in the first unique index.
func readUnique(ctx context.Context, q querier, columns map[uint32][]columnInfo) error {
	var oids []uint32
	for oid, list := range columns {
		if !slices.ContainsFunc(list, func(c columnInfo) bool { return c.KeyPart > 0 }) {
			oids = append(oids, oid)
		}
	}
	for some := range slices.Chunk(oids, columnsAtOnce) {
		rows, err := q.Query(ctx, uniqueSQL, some)
		if err != nil {
			return fmt.Errorf("reading unique indexes: %w", err)
		}
		var oid uint32
		var numbers []int16
		_, err = pgx.ForEachRow(rows, []any{&oid, &numbers}, func() error {
			part := int16(0)
			for _, number := range numbers {
				for i := range columns[oid] {
					if c := &columns[oid][i]; c.number == number {
						part++
						c.UniquePart = part
					}
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("reading unique indexes: %w", err)
		}
	}
	return nil
}

// columnsAtOnce is how many tables' columns are asked for at a time: the server takes tables that were never analyzed for
// few, and for many of them chooses a way that takes minutes.
const columnsAtOnce = 1000

// readColumns reads the columns of tables, by the tables' oids.
func readColumns(ctx context.Context, q querier, oids []uint32) (map[uint32][]columnInfo, error) {
	columns := make(map[uint32][]columnInfo, len(oids))
	var c columnInfo
	var part int16
	var initial, text string
	for some := range slices.Chunk(oids, columnsAtOnce) {
		rows, err := q.Query(ctx, columnsSQL, some)
		if err != nil {
			return nil, fmt.Errorf("reading columns: %w", err)
		}
		_, err = pgx.ForEachRow(rows, []any{&c.table, &c.Name, &c.typ, &c.typmod, &c.Native, &c.NotNull, &c.Always,
			&c.Generated, &part, &c.Ident, &c.number, &c.expression, &c.inputs, &c.highest, &initial, &text, &c.Default}, func() error {
			c.Initial = initialOf(initial, text)
			c.KeyPart = part + 1
			c.inputs = slices.Clone(c.inputs)
			columns[c.table] = append(columns[c.table], c)
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("reading columns: %w", err)
		}
	}
	return columns, nil
}

// readTypes reads types and what their arrays and ranges hold.
func readTypes(ctx context.Context, q querier, oids []uint32) (typeSet, error) {
	types := typeSet{}
	for range 2 { // the types, then their elements
		missing := missingTypes(types, oids)
		if len(missing) == 0 {
			break
		}
		rows, err := q.Query(ctx, typesSQL, missing)
		if err != nil {
			return nil, fmt.Errorf("reading types: %w", err)
		}
		var oid uint32
		var class string
		var n nativeType
		var element *uint32
		_, err = pgx.ForEachRow(rows, []any{&oid, &n.base, &n.typmod, &n.baseName, &n.name, &class, &element, &n.array,
			&n.labels}, func() error {
			found := n
			found.class = class[0]
			found.labels = slices.Clone(n.labels)
			if element != nil {
				found.element = *element
			}
			types[oid] = &found
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("reading types: %w", err)
		}
		for _, n := range types {
			if n.array || n.class == 'r' || n.class == 'm' {
				oids = append(oids, n.element)
			}
		}
	}
	return types, nil
}

// missingTypes lists each oid once that is not yet known.
func missingTypes(types typeSet, oids []uint32) []uint32 {
	var missing []uint32
	for _, oid := range oids {
		if types[oid] == nil && oid != 0 {
			missing = append(missing, oid)
		}
	}
	slices.Sort(missing)
	return slices.Compact(missing)
}

// buildTable puts a version together. A key that is not published in full is none.
func buildTable(w definition, columns []columnInfo, types typeSet, compute bool) tableVersion {
	v := tableVersion{
		table:    &schema.Table{Schema: w.relation.schema, Name: w.relation.name, Identity: identityOf(w.relation.identity[0])},
		identity: w.relation.identity[0],
	}
	whole := true
	sent := func(c *columnInfo) bool {
		if w.columns != nil {
			return slices.Contains(w.columns, c.Name)
		}
		return !c.Generated
	}
	for i := range columns {
		c := columns[i]
		v.live, v.highest = append(v.live, c.number), c.highest
		if !sent(&c) {
			c.computed = compute && c.computable(columns, sent)
		}
		if !c.computed && !sent(&c) {
			whole = whole && c.KeyPart == 0 && c.UniquePart == 0
			continue
		}
		types.fill(&c.Column, c.typ, c.typmod, c.Native)
		v.columns = append(v.columns, c)
	}
	for i := range v.columns {
		if !whole {
			v.columns[i].KeyPart, v.columns[i].UniquePart = 0, 0
		}
		v.table.Columns = append(v.table.Columns, v.columns[i].Column)
	}
	v.table.WithVersion()
	return v
}

// identityOf reads pg_class.relreplident.
func identityOf(letter byte) schema.Identity {
	switch letter {
	case 'f':
		return schema.IdentityFull
	case 'i':
		return schema.IdentityIndex
	case 'n':
		return schema.IdentityNothing
	}
	return schema.IdentityDefault
}
