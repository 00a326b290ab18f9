package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sources"
)

// Adopt implements sources.Adopter: reader is a slot, and the position is the one up to which its reader acknowledged the
// log. What a start-up from there would halt for is refused here, by the same table.
func (s *Source) Adopt(ctx context.Context, reader string) (sources.Adoption, error) {
	if reader != s.cfg.Slot.Name {
		return sources.Adoption{}, fault.Halt("source.adopt_slot",
			fmt.Errorf("the pipeline reads slot %s, not %s", s.cfg.Slot.Name, reader),
			fmt.Sprintf("set source.slot.name: %s", reader))
	}
	control, err := s.connect(ctx, nil)
	if err != nil {
		return sources.Adoption{}, err
	}
	server, err := identify(ctx, control)
	closeConn(control)
	if err != nil {
		return sources.Adoption{}, err
	}
	conn, err := s.open(ctx)
	if err != nil {
		return sources.Adoption{}, err
	}
	defer closeConn(conn.PgConn())
	slot, err := readSlot(ctx, conn, reader)
	if err != nil {
		return sources.Adoption{}, err
	}
	end, recovering, err := readServer(ctx, conn)
	if err != nil {
		return sources.Adoption{}, err
	}
	at, err := adoptable(facts{name: reader, server: server, end: end, recovering: recovering, slot: slot})
	if err != nil {
		return sources.Adoption{}, err
	}
	publication, err := s.adoptable(ctx, conn, server.version)
	if err != nil {
		return sources.Adoption{}, err
	}
	return sources.Adoption{Position: at.encode(), Facts: []sources.Fact{
		{What: "slot " + reader, Text: fmt.Sprintf("was read up to %s, %s before the end of the log", at.lsn, approximate(distance(at.lsn, end)))},
		publication,
	}}, nil
}

// adoptable gives the position at which a slot stands, or why nobody else may go on from there. The facts lack where from.
func adoptable(f facts) (position, error) {
	slot := f.slot
	switch {
	case slot == nil:
		return position{}, fault.Halt("source.adopt_missing", fmt.Errorf("there is no slot %s", f.name),
			"name the slot of the reader before: SELECT slot_name, plugin, database FROM pg_replication_slots\n"+
				"or, if it is gone, let the pipeline make its own and copy: rowferry run")
	case slot.kind != "logical" || slot.plugin != "pgoutput" || slot.database != f.server.database:
		return position{}, fault.Halt("source.slot_foreign",
			fmt.Errorf("slot %s is %s, plugin %q, database %q; it takes a logical one, plugin \"pgoutput\", database %q",
				f.name, slot.kind, slot.plugin, slot.database, f.server.database),
			"correct the database in source.url\n"+
				"or, where the plugin is another, give the pipeline a slot of its own with source.slot.name and let it copy: rowferry run")
	case slot.active:
		return position{}, fault.Halt("source.adopt_active", fmt.Errorf("slot %s is read by %s", f.name, slot.reader()),
			"stop that reader, and see that nothing starts it again: for Debezium, PUT /connectors/NAME/stop, or delete the connector")
	case slot.twoPhase:
		return position{}, fault.Halt("source.two_phase", fmt.Errorf("slot %s was made with two_phase", f.name),
			"on Postgres 18, ALTER_REPLICATION_SLOT … (TWO_PHASE false)\n"+
				"or give the pipeline a slot of its own with source.slot.name and let it copy: rowferry run")
	}
	f.from = position{system: f.server.system, timeline: f.server.timeline, lsn: slot.confirmed, phase: schema.PhaseStream}
	_, err := decide(f)
	return f.from, err
}

// adoptable looks at the publication that a stream would read by: it is there already, and sends something.
func (s *Source) adoptable(ctx context.Context, conn *pgx.Conn, version int) (sources.Fact, error) {
	name := s.cfg.Publication.Name
	given, err := readPublication(ctx, conn, version, name)
	if err != nil {
		return sources.Fact{}, classify(err)
	}
	if given == nil {
		return sources.Fact{}, fault.Halt("source.publication_missing", fmt.Errorf("publication %s does not exist", name),
			"name the publication that the reader before used in source.publication.name: Debezium's is dbz_publication unless told otherwise\n"+
				"a new one would not do: the log is read as the catalog was when it was written")
	}
	relations, err := readRelations(ctx, conn, nil)
	if err != nil {
		return sources.Fact{}, classify(err)
	}
	scope := given.scope(s.rt.Tables, relations)
	if len(scope) == 0 {
		return sources.Fact{}, fault.Halt("source.no_tables", errNoTables, "correct source.tables, or add tables to the publication")
	}
	names := make([]string, len(scope))
	for i, t := range scope {
		names[i] = t.relation.String()
	}
	return sources.Fact{What: "publication " + name, Text: "is used as it is, for " + listed(names)}, nil
}
