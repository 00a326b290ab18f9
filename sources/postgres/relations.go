package postgres

import (
	"context"
	"fmt"
	"maps"

	"github.com/rowferry/rowferry/schema"
)

// relationResolver turns a Relation message into a version of a table. It is asked once for each that a change follows.
type relationResolver interface {
	// resolve gives the table's version and whether the pipeline wants it. Every column of the message is in the
	// table, which may have more. ctx bounds what it asks the catalog.
	resolve(ctx context.Context, r *relation) (t *schema.Table, inScope bool, err error)
}

// maxTypeNames bounds what is kept of Type messages; the server sends them again before each relation.
const maxTypeNames = 10_000

// relations is what the log has said about tables so far, in the order of commits. Messages inside a transaction
// that is still in progress do not reach it before the commit.
type relations struct {
	resolver relationResolver
	known    map[uint32]*knownRelation
	told     map[uint32]tableNames // what the target knows tables as
	unseen   map[uint32]bool       // tables in scope that were described since the numbers of their columns were looked at
	types    map[uint32]string
	last     *knownRelation // the one asked for last
}

// knownRelation is one table as the log describes it now.
type knownRelation struct {
	oid      uint32
	table    *schema.Table
	inScope  bool
	layout   layout
	announce bool          // its first change has to be preceded by an OpSchema
	previous *schema.Table // the version before, nil for a table that is new to the pipeline; no more than its name after a restart
	// described is what the server said of it last, until a change follows: transactions that the target has bring
	// descriptions too, of tables as they were long ago.
	described *relation
}

// newRelations starts with the tables that were announced before the stream, by oid, and with the names that the target
// was ever told.
func newRelations(resolver relationResolver, announced map[uint32]*schema.Table, told map[uint32]tableNames) *relations {
	r := &relations{
		resolver: resolver, known: make(map[uint32]*knownRelation, len(announced)), types: make(map[uint32]string),
		told: make(map[uint32]tableNames, len(told)), unseen: map[uint32]bool{},
	}
	maps.Copy(r.told, told)
	for oid, table := range announced {
		r.known[oid] = &knownRelation{oid: oid, table: table, inScope: true}
	}
	return r
}

// get finds a relation that a change refers to. One that was announced but never described cannot be decoded.
func (r *relations) get(ctx context.Context, oid uint32) (*knownRelation, error) {
	if r.last != nil && r.last.oid == oid {
		return r.last, nil
	}
	k, err := r.find(ctx, oid)
	if err != nil {
		return nil, err
	}
	if k == nil {
		return nil, protocolFault("a change names relation %d, which was never described", oid)
	}
	r.last = k
	return k, nil
}

// find finds a relation by what it was described as last; nil for one that never was.
func (r *relations) find(ctx context.Context, oid uint32) (*knownRelation, error) {
	k := r.known[oid]
	if k != nil && k.described != nil {
		return r.settle(ctx, k)
	}
	if k == nil || k.layout.key == nil {
		return nil, nil
	}
	return k, nil
}

// learnType keeps the name of a type that is not built in.
func (r *relations) learnType(m *message) {
	if len(r.types) >= maxTypeNames {
		clear(r.types)
	}
	r.types[m.relation] = schema.QuoteName(string(m.space)) + "." + schema.QuoteName(string(m.name))
}

// learn takes in a Relation message.
func (r *relations) learn(m *message) error {
	rel, err := m.relationOf(r.types)
	if err != nil {
		return err
	}
	k := r.known[rel.oid]
	if k == nil {
		k = &knownRelation{oid: rel.oid}
		r.known[rel.oid] = k
	}
	k.described, r.last = rel, nil
	return nil
}

// settle makes what a table was described as its version. It stays the same object when nothing in it changed.
func (r *relations) settle(ctx context.Context, before *knownRelation) (*knownRelation, error) {
	rel := before.described
	table, inScope, err := r.resolver.resolve(ctx, rel)
	if err != nil {
		return nil, fmt.Errorf("resolving relation %s.%s: %w", schema.QuoteName(rel.namespace), schema.QuoteName(rel.name), err)
	}
	k := &knownRelation{oid: rel.oid, table: table, inScope: inScope}
	k.layout.key = make([]bool, len(rel.columns))
	for i := range rel.columns {
		k.layout.key[i] = rel.columns[i].key
	}
	if inScope {
		if err := k.place(rel); err != nil {
			return nil, err
		}
		k.compare(before)
		r.unseen[rel.oid] = true
		if name, told := r.told[rel.oid]; told && k.announce && k.previous == nil {
			k.previous = name.version()
		}
	}
	r.known[rel.oid] = k
	return k, nil
}

// place finds each column of the message in the table.
func (k *knownRelation) place(rel *relation) error {
	columns := k.table.Columns
	k.layout.width = len(columns)
	ordinals := make([]int, len(rel.columns))
	same := true
	for i := range rel.columns {
		at := i
		if at >= len(columns) || columns[at].Name != rel.columns[i].name {
			at = ordinalOf(columns, rel.columns[i].name)
		}
		if at < 0 {
			return fmt.Errorf("placing column %s: table %s of version %s has none of that name",
				schema.QuoteName(rel.columns[i].name), k.table, k.table.Version)
		}
		ordinals[i] = at
		same = same && at == i
	}
	if !same {
		k.layout.ordinals = ordinals
	}
	return nil
}

// ordinalOf finds a column by its name, -1 for none.
func ordinalOf(columns []schema.Column, name string) int {
	for i := range columns {
		if columns[i].Name == name {
			return i
		}
	}
	return -1
}

// compare decides whether the target has to hear of this version before its first change.
func (k *knownRelation) compare(before *knownRelation) {
	switch {
	case !before.inScope:
		k.announce = true
	case before.announce: // the version before it was never told
		k.announce, k.previous = true, before.previous
		if before.previous != nil && before.previous.Version == k.table.Version {
			k.announce, k.table, k.previous = false, before.previous, nil
		}
	case before.table.Version == k.table.Version:
		k.table = before.table
	default:
		k.announce, k.previous = true, before.table
	}
}
