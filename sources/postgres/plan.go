package postgres

import (
	"context"
	_ "embed" // the query
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/schema/setting"
)

//go:embed queries/rights.sql
var rightsSQL string

// rights is what our role may do.
type rights struct {
	role, database       string
	superuser, bypassRLS bool
	create               bool // make publications in this database
}

// readRights asks what our role may do.
func readRights(ctx context.Context, conn *pgx.Conn) (rights, error) {
	var r rights
	err := conn.QueryRow(ctx, rightsSQL).Scan(&r.role, &r.superuser, &r.bypassRLS, &r.create, &r.database)
	if err != nil {
		return rights{}, classify(fmt.Errorf("asking for our rights: %w", err))
	}
	return r, nil
}

// plan is what has to be made or altered before the slot, and what speaks against it.
type plan struct {
	create   bool     // the publication is to be made here
	sql      []string // in order
	skipped  []string // tables that match and cannot be replicated, with the reason
	problems []problem
}

// problem is why a pipeline cannot begin.
type problem struct {
	name, code, text, fix string
}

// err is the halt for the plan's problems, nil when there is none.
func (p *plan) err() error {
	if len(p.problems) == 0 {
		return nil
	}
	first := p.problems[0]
	text := first.text
	if more := len(p.problems) - 1; more > 0 {
		text += fmt.Sprintf(" (and %d more: see `rowferry check`)", more)
	}
	return fault.Halt(first.code, errors.New(text), first.fix)
}

// planner holds what a plan is made from.
type planner struct {
	cfg       Config
	patterns  setting.Tables
	relations []*relationInfo
	byOID     map[uint32]*relationInfo
	given     *publication // nil when there is none yet
	rights    rights
}

// newPlanner reads what a plan is made from.
func (s *Source) newPlanner(ctx context.Context, conn *pgx.Conn, version int) (*planner, error) {
	relations, err := readRelations(ctx, conn, nil)
	if err != nil {
		return nil, classify(err)
	}
	given, err := readPublication(ctx, conn, version, s.cfg.Publication.Name)
	if err != nil {
		return nil, classify(err)
	}
	r, err := readRights(ctx, conn)
	if err != nil {
		return nil, err
	}
	return &planner{
		cfg: s.cfg, patterns: s.rt.Tables, relations: relations, byOID: indexRelations(relations), given: given, rights: r,
	}, nil
}

// plan decides what to make. Nothing is made here.
func (p *planner) plan() *plan {
	made := &plan{create: p.given == nil}
	p.planIdentities(made)
	if p.given != nil {
		if len(p.given.scope(p.patterns, p.relations)) == 0 && !p.given.all && len(p.given.schemas) == 0 {
			made.refuse("tables", "source.no_tables", errNoTables.Error(), "correct source.tables, or add tables to the publication")
		}
		return made
	}
	tables := p.toPublish(made)
	if len(tables) == 0 {
		made.refuse("tables", "source.no_tables", errNoTables.Error(), "correct source.tables.include")
		return made
	}
	names := make([]string, len(tables))
	var foreign []string
	for i, t := range tables {
		names[i] = quoteTable(t.schema, t.name)
		if t.kind == "r" {
			names[i] = "ONLY " + names[i] // children of plain inheritance are tables of their own
		}
		if !t.owned {
			foreign = append(foreign, t.String())
		}
	}
	create := fmt.Sprintf("CREATE PUBLICATION %s FOR TABLE %s WITH (publish_via_partition_root = %t)",
		quoteName(p.cfg.Publication.Name), strings.Join(names, ", "), p.cfg.Publication.ViaRoot)
	p.refuseUnidentified(made, tables)
	switch {
	case !p.cfg.Publication.Create:
		made.refuse("publication", "source.publication_missing",
			fmt.Sprintf("publication %s does not exist, and source.publication.create is false", p.cfg.Publication.Name), create+";")
	case len(foreign) > 0 && !p.rights.superuser:
		made.refuse("publication", "source.publication_rights",
			fmt.Sprintf("role %s does not own %s, so it cannot publish them", p.rights.role, listed(foreign)),
			"-- as the owner of the tables\n"+create+";")
	case !p.rights.create:
		made.refuse("publication", "source.publication_rights",
			fmt.Sprintf("role %s may not create publications in database %s", p.rights.role, p.rights.database),
			fmt.Sprintf("GRANT CREATE ON DATABASE %s TO %s;\n-- or, as the owner of the tables\n%s;",
				quoteName(p.rights.database), quoteName(p.rights.role), create))
	}
	made.sql = append(made.sql, create+"; COMMENT ON PUBLICATION "+quoteName(p.cfg.Publication.Name)+" IS "+quoteLiteral(p.cfg.madeMark()))
	return made
}

// madeMark is the comment on a publication that Rowferry made, written with it. The ledger names a publication before it
// is made; only the mark tells whether what is there by that name later is ours to drop.
func (c *Config) madeMark() string { return "made by rowferry for slot " + c.Slot.Name }

// refuse adds a problem.
func (p *plan) refuse(name, code, text, fix string) {
	p.problems = append(p.problems, problem{name: name, code: code, text: text, fix: fix})
}

// toPublish lists the tables a publication made here names: those selected that are not below another one.
func (p *planner) toPublish(made *plan) []*relationInfo {
	var tables []*relationInfo
	for _, r := range p.relations {
		if !selected(p.patterns, r, p.byOID) {
			continue
		}
		switch {
		case r.persistence != "p":
			made.skipped = append(made.skipped, r.String()+": the server does not log changes of unlogged and temporary tables")
			continue
		case r.extension:
			made.skipped = append(made.skipped, r.String()+": it belongs to an extension")
			continue
		}
		below := false
		for _, oid := range r.ancestors {
			a := p.byOID[oid]
			below = below || a != nil && selected(p.patterns, a, p.byOID)
		}
		if !below {
			tables = append(tables, r)
		}
	}
	return tables
}

// identityWish is the replica identity set for a table, found by its own name or that of a partitioned table above.
func (p *planner) identityWish(r *relationInfo) string {
	for _, name := range sortedKeys(p.cfg.ReplicaIdentity) {
		pattern, err := setting.ParsePattern(name)
		if err != nil {
			continue
		}
		wish := p.cfg.ReplicaIdentity[name]
		if pattern.Match(r.schema, r.name) {
			return wish
		}
		for _, oid := range r.ancestors {
			// An index belongs to one table; full and default hold for partitions too.
			if a := p.byOID[oid]; a != nil && pattern.Match(a.schema, a.name) && (wish == "full" || wish == "default") {
				return wish
			}
		}
	}
	return ""
}

// planIdentities lists the statements that give tables the replica identity set for them.
func (p *planner) planIdentities(made *plan) {
	for _, r := range p.relations {
		wish := p.identityWish(r)
		var sql string
		switch {
		case wish == "", wish == "full" && r.identity == "f", wish == "default" && r.identity == "d":
			continue
		case wish == "full", wish == "default":
			sql = strings.ToUpper(wish)
		default:
			if r.identity == "i" {
				continue // which index it is shows in check; a running identity is not swapped
			}
			sql = "USING INDEX " + quoteName(wish)
		}
		statement := fmt.Sprintf("ALTER TABLE ONLY %s REPLICA IDENTITY %s", quoteTable(r.schema, r.name), sql)
		if !r.owned && !p.rights.superuser {
			made.refuse(r.String(), "source.publication_rights",
				fmt.Sprintf("role %s does not own %s, so it cannot set its replica identity", p.rights.role, r), statement+";")
			continue
		}
		made.sql = append(made.sql, statement)
	}
}

// refuseUnidentified refuses to publish tables whose updates and deletes would fail in the application once they
// are published. Every table that holds rows counts, not only the partitioned one above.
func (p *planner) refuseUnidentified(made *plan, tables []*relationInfo) {
	publish := make(map[uint32]bool, len(tables))
	for _, t := range tables {
		publish[t.oid] = true
	}
	for _, r := range p.relations {
		inside := publish[r.oid]
		for _, oid := range r.ancestors {
			inside = inside || publish[oid]
		}
		if r.kind != "r" || !inside || r.identified || p.identityWish(r) != "" {
			continue
		}
		made.refuse(r.String(), "source.no_identity",
			fmt.Sprintf("table %s has no usable replica identity: once it is published, the application's updates and deletes of it fail", r),
			fmt.Sprintf("ALTER TABLE %s ADD PRIMARY KEY (…);\n"+
				"or set source.replica_identity: { %q: full }, which logs whole old rows\n"+
				"or exclude it, or publish it yourself with publish = 'insert'", quoteTable(r.schema, r.name), r))
	}
}

// unpublished lists tables that match the patterns but that the publication does not send.
func (p *planner) unpublished() []*relationInfo {
	if p.given == nil {
		return nil
	}
	sent := make(map[uint32]bool, len(p.given.tables))
	for _, t := range p.given.tables {
		sent[t.oid] = true
		if r := p.byOID[t.oid]; r != nil {
			for _, oid := range r.ancestors { // leaves are sent in place of the tables above
				sent[oid] = true
			}
		}
	}
	var missing []*relationInfo
	for _, r := range p.relations {
		if r.persistence != "p" || r.extension || sent[r.oid] || !selected(p.patterns, r, p.byOID) {
			continue
		}
		above := false
		for _, oid := range r.ancestors {
			above = above || sent[oid]
		}
		if !above {
			missing = append(missing, r)
		}
	}
	return missing
}

// listed joins a few names and counts the rest.
func listed(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// execute makes what the plan says, each statement by itself: a publication is no use without the identities.
func (p *plan) execute(ctx context.Context, s *Source, conn *pgx.Conn) error {
	for _, sql := range p.sql {
		s.log.Info().Str("sql", shortened(sql)).Msg("altering the source as configured")
		if _, err := conn.PgConn().Exec(ctx, sql).ReadAll(); err != nil { // several at once are one transaction
			return classify(fmt.Errorf("running %s: %w", shortened(sql), err))
		}
	}
	return nil
}

// shortened keeps a statement readable in a log: a publication may name thousands of tables.
func shortened(sql string) string {
	const most = 400
	if len(sql) <= most {
		return sql
	}
	return strings.ToValidUTF8(sql[:most], "") + "…"
}
