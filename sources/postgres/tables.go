package postgres

import (
	"context"

	"github.com/rowferry/rowferry/schema"
)

// Tables implements sources.Lister: the tables in scope now, as a stream would announce them.
func (s *Source) Tables(ctx context.Context) ([]*schema.Table, error) {
	conn, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	defer closeConn(conn.PgConn())
	p, err := s.newPlanner(ctx, conn, versionOf(conn.PgConn()))
	if err != nil {
		return nil, err
	}
	var wanted []definition
	if p.given != nil {
		wanted = definitions(p.given.scope(p.patterns, p.relations))
	} else {
		for _, r := range p.toPublish(&plan{}) {
			wanted = append(wanted, definition{relation: r})
		}
	}
	versions, err := readTables(ctx, conn, wanted, s.cfg.computes())
	if err != nil {
		return nil, classify(err)
	}
	tables := make([]*schema.Table, len(versions))
	for i := range versions {
		tables[i] = versions[i].table
	}
	return tables, nil
}
