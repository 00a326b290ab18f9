package postgres

import (
	"context"
	_ "embed" // the query
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
)

var (
	//go:embed queries/altering.sql
	alteringSQL string
	//go:embed queries/format_types.sql
	formatTypesSQL string
)

// resolver tells which version of a table a Relation message means. The log is older than the catalog: when the
// message and the catalog differ, the message is right, and the version is built from it alone.
type resolver struct {
	source  *Source
	query   func(ctx context.Context) (*pgx.Conn, error)
	version int
	scope   map[uint32]tableVersion // tables in scope and their last known versions
	derived map[string]*derived     // generated columns to compute, by the version of their table
	outside map[uint32]string       // tables known to be out of scope, with the names they had
	owners  map[string]uint32       // whose rows the target's table of a name holds
	leaves  map[uint32]bool         // tables that hold the rows of those in scope, as far as they are known
	hidden  map[uint32]bool         // tables that were there, and not in scope, when the stream began
}

// resolve implements relationResolver.
func (r *resolver) resolve(ctx context.Context, m *relation) (*schema.Table, bool, error) {
	name := quoteTable(m.namespace, m.name)
	if r.outside[m.oid] == name {
		return nil, false, nil
	}
	known, inScope := r.scope[m.oid]
	if inScope && known.matches(m) {
		return known.table, true, nil
	}
	conn, err := r.query(ctx)
	if err != nil {
		return nil, false, err
	}
	altering, err := r.altering(ctx, conn, m)
	if err != nil {
		return nil, false, err
	}
	info, err := r.lookUp(ctx, conn, m)
	if err != nil {
		return nil, false, err
	}
	if altering && len(info) == 0 {
		return nil, false, catalogBehind(name)
	}
	if !inScope {
		if inScope, err = r.admit(ctx, conn, m, info); err != nil {
			return nil, false, err
		}
		if !inScope {
			r.outside[m.oid] = name
			return nil, false, nil
		}
	}
	if err := r.own(m); err != nil {
		return nil, false, err
	}
	current, err := r.current(ctx, conn, info)
	if err != nil {
		return nil, false, err
	}
	if altering && !current.covers(m) {
		return nil, false, catalogBehind(name)
	}
	now := current
	if !current.matches(m) {
		before := known
		if before.table == nil {
			before = now
		}
		if current, err = r.fromMessage(ctx, conn, m, before); err != nil {
			return nil, false, err
		}
	}
	current.takeInitial(&known, &now)
	current.takeDefaults(&known, &now)
	r.scope[m.oid] = current
	r.note(&current)
	return current.table, true, nil
}

// own gives the name in a message to its table. The target knows tables by name only: one that takes over the name of another, as when
// two are swapped or one is made again, would mix its rows with the other's.
func (r *resolver) own(m *relation) error {
	name := (&relationInfo{schema: m.namespace, name: m.name}).String()
	if owner, taken := r.owners[name]; taken && owner != m.oid && r.source.cfg.Publication.Changed != "accept" {
		return publicationChanged(r.source.cfg.Publication.Name, []string{anotherTable(name)})
	}
	r.owners[name] = m.oid
	return nil
}

// altering tells whether a transaction that changes the table's definition is not over. Asked before the catalog is, it tells
// whether that may be older than the message: a commit is in the log before others see it, for long where it waits for a
// synchronous standby, and it keeps the table's lock until they do.
func (r *resolver) altering(ctx context.Context, conn *pgx.Conn, m *relation) (bool, error) {
	var found bool
	if err := conn.QueryRow(ctx, alteringSQL, m.oid).Scan(&found); err != nil {
		return false, classify(fmt.Errorf("asking for changes of relation %d: %w", m.oid, err))
	}
	return found, nil
}

// catalogBehind says that the catalog does not show yet what the log says.
func catalogBehind(name string) error {
	return fault.Wait("source.catalog_behind", fmt.Errorf("a change of table %s is committed and not visible yet", name))
}

// lookUp finds the message's table in the catalog, with the partitioned tables above it; none when it is gone.
func (r *resolver) lookUp(ctx context.Context, conn *pgx.Conn, m *relation) ([]*relationInfo, error) {
	infos, err := readRelations(ctx, conn, []uint32{m.oid})
	if err != nil {
		return nil, classify(err)
	}
	if len(infos) == 1 && len(infos[0].ancestors) > 0 {
		above, err := readRelations(ctx, conn, infos[0].ancestors)
		if err != nil {
			return nil, classify(err)
		}
		infos = append(infos, above...)
	}
	return infos, nil
}

// admit decides about a table that was not in scope when the stream began: one that the publication names itself
// joined it later, and may hold rows that no one copied.
func (r *resolver) admit(ctx context.Context, conn *pgx.Conn, m *relation, infos []*relationInfo) (bool, error) {
	named := &relationInfo{oid: m.oid, schema: m.namespace, name: m.name}
	if len(infos) > 0 {
		named.ancestors = infos[0].ancestors
	}
	if !selected(r.source.rt.Tables, named, indexRelations(infos)) {
		return false, nil
	}
	name := r.source.cfg.Publication.Name
	given, err := readPublication(ctx, conn, r.version, name)
	if err != nil {
		return false, classify(err)
	}
	if given == nil || r.source.cfg.Publication.Changed == "accept" {
		return true, nil
	}
	for _, t := range given.tables {
		if t.oid == m.oid && t.explicit {
			return false, publicationChanged(name, []string{named.String() + " joined it"})
		}
	}
	return true, r.joins(ctx, conn, m, infos)
}

// joins halts for a table that came with rows from before. A name that the message does not yet have was given later, and says
// nothing, unless the table is known to have had one that is not followed.
func (r *resolver) joins(ctx context.Context, conn *pgx.Conn, m *relation, infos []*relationInfo) error {
	if len(infos) == 0 || r.leaves[m.oid] {
		return nil
	}
	oids := []uint32{m.oid}
	if infos[0].kind == "p" {
		leaves, err := readPartitions(ctx, conn, oids)
		if err != nil {
			return classify(err)
		}
		oids = leaves[m.oid]
	}
	current := infos[0].schema == m.namespace && infos[0].name == m.name
	brought, err := r.source.filled(ctx, conn, oids, current || r.outside[m.oid] != "" || r.hidden[m.oid])
	if all := brought.all(); err == nil && len(all) > 0 {
		err = publicationChanged(r.source.cfg.Publication.Name, all)
	}
	r.leaves[m.oid] = true
	return err
}

// current reads the table's present version; the zero version when it is gone. A column that came between reading what is
// published and reading the columns would be taken for one that is not.
func (r *resolver) current(ctx context.Context, conn *pgx.Conn, infos []*relationInfo) (tableVersion, error) {
	if len(infos) == 0 {
		return tableVersion{}, nil
	}
	wanted := definition{relation: infos[0]}
	var versions []tableVersion
	err := atOnce(ctx, conn, func(q querier) error {
		given, err := readPublication(ctx, q, r.version, r.source.cfg.Publication.Name)
		if err != nil {
			return classify(err)
		}
		if given != nil {
			for _, t := range given.tables {
				if t.oid == infos[0].oid {
					wanted.columns = t.columns
				}
			}
		}
		versions, err = readTables(ctx, q, []definition{wanted}, r.source.cfg.computes())
		return classify(err)
	})
	if err != nil {
		return tableVersion{}, err
	}
	return versions[0], nil
}

// matches tells whether the version is the one a message describes.
func (v *tableVersion) matches(m *relation) bool {
	if v.table == nil || v.table.Schema != m.namespace || v.table.Name != m.name || v.identity != m.identity {
		return false
	}
	next := 0
	for i := range v.columns {
		c := &v.columns[i]
		if c.computed {
			continue
		}
		if next == len(m.columns) {
			return false
		}
		w := &m.columns[next]
		next++
		if c.Name != w.name || c.typ != w.typeOID || c.typmod != w.typmod || c.Ident != w.key {
			return false
		}
	}
	return next == len(m.columns)
}

// covers tells whether the version has every column of the message, with its type.
func (v *tableVersion) covers(m *relation) bool {
	for i := range m.columns {
		c := v.column(m.columns[i].name)
		if c == nil || c.typ != m.columns[i].typeOID {
			return false
		}
	}
	return true
}

// fromMessage builds a version out of a Relation message. What the message does not say is taken from the version
// before, column by column.
func (r *resolver) fromMessage(ctx context.Context, conn *pgx.Conn, m *relation, before tableVersion) (tableVersion, error) {
	oids, typmods := make([]uint32, len(m.columns)), make([]int32, len(m.columns))
	for i := range m.columns {
		oids[i], typmods[i] = m.columns[i].typeOID, m.columns[i].typmod
	}
	types, err := readTypes(ctx, conn, oids)
	if err != nil {
		return tableVersion{}, classify(err)
	}
	natives, err := formatTypes(ctx, conn, oids, typmods)
	if err != nil {
		return tableVersion{}, classify(err)
	}
	v := tableVersion{
		table:    &schema.Table{Schema: m.namespace, Name: m.name, Identity: identityOf(m.identity)},
		identity: m.identity,
		columns:  make([]columnInfo, len(m.columns)),
	}
	for i := range m.columns {
		w := &m.columns[i]
		c := &v.columns[i]
		c.table, c.typ, c.typmod = m.oid, w.typeOID, w.typmod
		c.Name, c.Ident = w.name, w.key
		native := natives[i]
		if types[w.typeOID] == nil {
			if native = m.typeNames[w.typeOID]; native == "" {
				native = fmt.Sprintf("oid %d", w.typeOID)
			}
		}
		types.fill(&c.Column, w.typeOID, w.typmod, native)
		if old := before.column(w.name); old != nil && old.typ == w.typeOID {
			c.NotNull, c.Generated, c.Always, c.Initial = old.NotNull, old.Generated, old.Always, old.Initial
			c.number = old.number
		}
	}
	v.carryComputed(before)
	v.setKey(before)
	for i := range v.columns {
		v.table.Columns = append(v.table.Columns, v.columns[i].Column)
	}
	v.table.WithVersion()
	return v, nil
}

// takeDefaults takes the defaults of columns, and their places in a unique index, by name: from the catalog as it is now, else
// from the version before. The log says nothing of them.
func (v *tableVersion) takeDefaults(known, now *tableVersion) {
	keyed := len(v.table.Key()) > 0
	for i := range v.columns {
		c, told := &v.columns[i], &v.table.Columns[i]
		old := now.column(c.Name)
		if old == nil {
			old = known.column(c.Name)
		}
		if old != nil && c.Default == "" {
			c.Default, told.Default = old.Default, old.Default
		}
		if old != nil && !keyed {
			c.UniquePart, told.UniquePart = old.UniquePart, old.UniquePart
		}
	}
}

// column finds a column by name.
func (v *tableVersion) column(name string) *columnInfo {
	for i := range v.columns {
		if v.columns[i].Name == name {
			return &v.columns[i]
		}
	}
	return nil
}

// setKey gives the columns their places in the primary key. Under the default identity the message names the key's
// columns, without their order; otherwise only the version before tells.
func (v *tableVersion) setKey(before tableVersion) {
	parts := map[string]int16{}
	for i := range before.columns {
		if part := before.columns[i].KeyPart; part > 0 {
			parts[before.columns[i].Name] = part
		}
	}
	if v.identity == 'd' {
		named := map[string]int16{}
		for i := range v.columns {
			if v.columns[i].Ident {
				named[v.columns[i].Name] = int16(len(named) + 1)
			}
		}
		if !slices.Equal(slices.Sorted(maps.Keys(named)), slices.Sorted(maps.Keys(parts))) {
			parts = named
		}
	}
	for name := range parts {
		if v.column(name) == nil {
			return // a column of the key is gone, and with it the key
		}
	}
	for i := range v.columns {
		v.columns[i].KeyPart = parts[v.columns[i].Name]
	}
}

// formatTypes spells types as the server does.
func formatTypes(ctx context.Context, q querier, oids []uint32, typmods []int32) ([]string, error) {
	rows, err := q.Query(ctx, formatTypesSQL, oids, typmods)
	if err != nil {
		return nil, fmt.Errorf("spelling types: %w", err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("spelling types: %w", err)
	}
	return names, nil
}
