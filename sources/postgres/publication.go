package postgres

import (
	"context"
	_ "embed" // the queries
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/setting"
)

var (
	//go:embed queries/publication.sql
	publicationSQL string
	//go:embed queries/publication_schemas.sql
	publicationSchemasSQL string
	//go:embed queries/publication_tables.sql
	publicationTablesSQL string
)

// publication is what the server sends, as the catalog has it now.
type publication struct {
	oid       uint32
	all       bool // every table of the database
	viaRoot   bool
	generated bool   // stored generated columns too
	publish   string // "insert, update, delete, truncate"
	schemas   []string
	entries   []uint32 // catalog entries of schemas
	tables    []publishedTable
}

// publishedTable is one table of a publication.
type publishedTable struct {
	oid          uint32
	schema, name string
	columns      []string // in column order; nil before Postgres 15: all but generated ones
	filter       string   // an SQL condition, empty for none
	entry        uint32   // its catalog entry in the publication; another one when it left and came back
	explicit     bool     // named by the publication itself, not through a schema, a parent or ALL TABLES
	listed       bool     // with a column list
}

// readPublication reads a publication; nil when there is none of that name.
func readPublication(ctx context.Context, q querier, version int, name string) (*publication, error) {
	rows, err := q.Query(ctx, publicationSQL, name)
	if err != nil {
		return nil, fmt.Errorf("reading the publication: %w", err)
	}
	p, err := pgx.CollectExactlyOneRow(rows, func(row pgx.CollectableRow) (*publication, error) {
		p := &publication{}
		return p, row.Scan(&p.oid, &p.all, &p.viaRoot, &p.publish, &p.generated)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the publication: %w", err)
	}
	if version >= 150000 {
		rows, err = q.Query(ctx, publicationSchemasSQL, name)
		if err == nil {
			var name string
			var entry uint32
			_, err = pgx.ForEachRow(rows, []any{&name, &entry}, func() error {
				p.schemas, p.entries = append(p.schemas, name), append(p.entries, entry)
				return nil
			})
		}
		if err != nil {
			return nil, fmt.Errorf("reading the publication's schemas: %w", err)
		}
	}
	rows, err = q.Query(ctx, publicationTablesSQL, name)
	if err != nil {
		return nil, fmt.Errorf("reading the publication's tables: %w", err)
	}
	p.tables, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (t publishedTable, err error) {
		return t, row.Scan(&t.oid, &t.schema, &t.name, &t.columns, &t.filter, &t.entry, &t.explicit, &t.listed)
	})
	if err != nil {
		return nil, fmt.Errorf("reading the publication's tables: %w", err)
	}
	return p, nil
}

// scopedTable is a table the pipeline replicates.
type scopedTable struct {
	relation *relationInfo
	publishedTable
}

// selected tells whether the patterns choose a table, by its own name or by that of a partitioned table above it.
// An exclude of its own name wins. Our own ledger is never replicated.
func selected(patterns setting.Tables, r *relationInfo, byOID map[uint32]*relationInfo) bool {
	if r.schema == "rowferry" {
		return false
	}
	if patterns.Match(r.schema, r.name) {
		return true
	}
	for _, p := range patterns.Exclude {
		if p.Match(r.schema, r.name) {
			return false
		}
	}
	for _, oid := range r.ancestors {
		if a := byOID[oid]; a != nil && patterns.Match(a.schema, a.name) {
			return true
		}
	}
	return false
}

// indexRelations keys tables by oid.
func indexRelations(relations []*relationInfo) map[uint32]*relationInfo {
	byOID := make(map[uint32]*relationInfo, len(relations))
	for _, r := range relations {
		byOID[r.oid] = r
	}
	return byOID
}

// scope is the tables of the publication that the patterns choose.
func (p *publication) scope(patterns setting.Tables, relations []*relationInfo) []scopedTable {
	byOID := indexRelations(relations)
	var scope []scopedTable
	for _, t := range p.tables {
		if r := byOID[t.oid]; r != nil && selected(patterns, r, byOID) {
			scope = append(scope, scopedTable{relation: r, publishedTable: t})
		}
	}
	return scope
}

// definitions asks for the definitions of tables in scope.
func definitions(scope []scopedTable) []definition {
	wanted := make([]definition, len(scope))
	for i, t := range scope {
		wanted[i] = definition{relation: t.relation, columns: t.columns}
	}
	return wanted
}

// publishedKey is where the state holds what the pipeline was copied with.
const publishedKey = "published"

// published is what a pipeline was copied with: kept in the target's ledger and compared at each start, so that a
// table that left the publication and came back, or a filter that changed while nobody read, is no silent hole.
type published struct {
	Publication string                    `json:"publication"`
	OID         uint32                    `json:"oid"`
	All         bool                      `json:"all,omitempty"`
	ViaRoot     bool                      `json:"via_root,omitempty"`
	Publish     string                    `json:"publish"`
	Schemas     []string                  `json:"schemas,omitempty"`
	Entries     []uint32                  `json:"entries,omitempty"` // of Schemas in the catalog
	Tables      map[uint32]publishedState `json:"tables"`
}

// publishedState is one table in scope.
type publishedState struct {
	Name     string   `json:"name"` // for messages
	Filter   string   `json:"filter,omitempty"`
	Columns  []string `json:"columns,omitempty"` // only under a column list
	Explicit bool     `json:"explicit,omitempty"`
	Entry    uint32   `json:"entry,omitempty"` // in the publication's catalog; 0 when not explicit
	// Told is what the target knows of the table. The log may be behind Name, and the target behind the log.
	Told   tableNames `json:"told"`
	Leaves []uint32   `json:"leaves,omitempty"` // that hold the rows of a partitioned table
}

// record makes the state of a publication and the tables in scope.
func (p *publication) record(name string, scope []scopedTable) *published {
	s := &published{
		Publication: name, OID: p.oid, All: p.all, ViaRoot: p.viaRoot, Publish: p.publish, Schemas: p.schemas, Entries: p.entries,
		Tables: make(map[uint32]publishedState, len(scope)),
	}
	for _, t := range scope {
		state := publishedState{Name: t.relation.String(), Filter: t.filter, Explicit: t.explicit, Entry: t.entry}
		if t.listed {
			state.Columns = t.columns
		}
		s.Tables[t.oid] = state
	}
	return s
}

// encode writes the state for the ledger: the same publication is always the same bytes.
func (s *published) encode() schema.State {
	value, err := json.Marshal(s)
	if err != nil { // strings, numbers and maps of them always marshal
		panic(err)
	}
	return schema.State{Key: publishedKey, Value: value}
}

// decodePublished finds the state among what the target holds; nil when there is none.
func decodePublished(states []schema.State) (*published, error) {
	for _, state := range states {
		if state.Key != publishedKey {
			continue
		}
		s := &published{}
		if err := json.Unmarshal(state.Value, s); err != nil {
			return nil, fmt.Errorf("decoding the state %q: %w", publishedKey, err)
		}
		return s, nil
	}
	return nil, nil
}

// diff says in words how what is published now differs from s in a way that can leave a hole. exists tells
// whether a table is still there: one that was dropped is no hole, and one that came in through a schema, a parent
// or ALL TABLES was in the stream from its first row on, unless it took the name of a table that was copied.
func (s *published) diff(now *published, exists func(oid uint32) bool) []string {
	var changes []string
	if s.OID != now.OID {
		changes = append(changes, fmt.Sprintf("publication %s was dropped and made again", s.Publication))
	}
	if s.Publish != now.Publish {
		changes = append(changes, fmt.Sprintf("it published %q and now publishes %q", s.Publish, now.Publish))
	}
	if s.ViaRoot != now.ViaRoot {
		changes = append(changes, fmt.Sprintf("publish_via_partition_root was %t and is %t", s.ViaRoot, now.ViaRoot))
	}
	if s.All != now.All || !slices.Equal(s.Schemas, now.Schemas) {
		changes = append(changes, "the schemas it holds whole changed")
	} else if len(s.Entries) > 0 && !slices.Equal(s.Entries, now.Entries) {
		changes = append(changes, "a schema left it and came back")
	}
	for oid, before := range s.Tables {
		after, still := now.Tables[oid]
		switch {
		case !still && exists(oid):
			changes = append(changes, before.Name+" left it")
		case still && before.Filter != after.Filter:
			changes = append(changes, "the row filter of "+after.Name+" changed")
		case still && !slices.Equal(before.Columns, after.Columns):
			changes = append(changes, "the column list of "+after.Name+" changed")
		case still && before.Entry != 0 && before.Entry != after.Entry:
			changes = append(changes, before.Name+" left it and came back")
		}
	}
	owners := make(map[string]uint32, len(s.Tables))
	for oid, before := range s.Tables {
		owners[before.Name] = oid
	}
	for oid, after := range now.Tables {
		if _, before := s.Tables[oid]; !before && after.Explicit {
			changes = append(changes, after.Name+" joined it")
		}
		if owner, taken := owners[after.Name]; taken && owner != oid {
			changes = append(changes, anotherTable(after.Name))
		}
	}
	slices.Sort(changes)
	return changes
}

// anotherTable says that a name passed to another table: one that was made again, or swapped with it. The target's
// table of that name holds the rows of the one before.
func anotherTable(name string) string {
	return name + " is another table now than the one that was copied"
}

// describe joins changes for a message.
func describe(changes []string) string { return strings.Join(changes, "; ") }

// madeKey is where the state holds what the pipeline made at the source, so that a start that begins again still
// names what an earlier one made.
const madeKey = "made"

// encodeMade writes the list for the ledger.
func encodeMade(made []string) schema.State {
	return schema.State{Key: madeKey, Value: []byte(strings.Join(made, "\n"))}
}

// madeBefore is the list an earlier start recorded.
func madeBefore(states []schema.State) []string {
	for _, state := range states {
		if state.Key == madeKey && len(state.Value) > 0 {
			return strings.Split(string(state.Value), "\n")
		}
	}
	return nil
}
