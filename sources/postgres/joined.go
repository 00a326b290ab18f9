package postgres

import (
	"context"
	_ "embed" // the queries
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowferry/rowferry/schema"
)

// A table that is made where it is published is followed from its first row on. One that existed before, and was attached
// below a published table, or moved into a published schema, or got a name that the patterns choose, brings rows that
// nobody copied, and nothing in the log says so.

var (
	//go:embed queries/partitions.sql
	partitionsSQL string
	//go:embed queries/joined.sql
	joinedSQL string
)

// lookLimit bounds the search for old rows: it may have to read large tables whole, and keeps their definitions from changing.
const lookLimit = 20 * time.Second

// errUnanswered says that a search for old rows was ended by its limit.
var errUnanswered = errors.New("not answered in time")

// readPartitions finds the tables that hold the rows of partitioned tables, by those tables' oids.
func readPartitions(ctx context.Context, q querier, roots []uint32) (map[uint32][]uint32, error) {
	if len(roots) == 0 {
		return nil, nil
	}
	rows, err := q.Query(ctx, partitionsSQL, roots)
	if err != nil {
		return nil, fmt.Errorf("reading partitions: %w", err)
	}
	leaves := map[uint32][]uint32{}
	var root, leaf uint32
	_, err = pgx.ForEachRow(rows, []any{&root, &leaf}, func() error {
		leaves[root] = append(leaves[root], leaf)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading partitions: %w", err)
	}
	return leaves, nil
}

// fillLeaves notes which tables hold the rows of the partitioned tables in scope.
func (s *published) fillLeaves(ctx context.Context, q querier, scope []scopedTable) error {
	var roots []uint32
	for _, t := range scope {
		if t.relation.kind == "p" {
			roots = append(roots, t.oid)
		}
	}
	leaves, err := readPartitions(ctx, q, roots)
	if err != nil {
		return err
	}
	for root, list := range leaves {
		t := s.Tables[root]
		t.Leaves = list
		s.Tables[root] = t
	}
	return nil
}

// leaves is every table that holds rows of a table in scope.
func (s *published) leaves() map[uint32]bool {
	all := make(map[uint32]bool, len(s.Tables))
	for oid, t := range s.Tables {
		all[oid] = true
		for _, leaf := range t.Leaves {
			all[leaf] = true
		}
	}
	return all
}

// arrived lists the tables that hold rows now and did not before. Those that the target was told of were followed, unless
// their rows belong to a table above by now.
func (s *published) arrived(now *published, told map[uint32]tableNames) []uint32 {
	before := s.leaves()
	var list []uint32
	for oid := range now.leaves() {
		_, itself := now.Tables[oid]
		if _, followed := told[oid]; !before[oid] && !(itself && followed) {
			list = append(list, oid)
		}
	}
	return list
}

// joined is a table that holds something, and when it became what it is.
type joined struct {
	schema, name string
	readable     bool
	made         bool   // it was made as what it is, by the same transaction
	xid          string // of that transaction
	command      int64  // its number there
}

// brought is what tables came in with, in words for a message.
type brought struct {
	rows   []string // those that hold rows from before
	unsure []string // those that may: looking for such rows took too long
}

// all is both. Whoever will not look again counts what was not answered.
func (b brought) all() []string { return slices.Concat(b.rows, b.unsure) }

// filled looks in some tables for rows from before they were what they are. renamed tells whether a name counts that a table got
// after it was made.
func (s *Source) filled(ctx context.Context, conn *pgx.Conn, oids []uint32, renamed bool) (brought, error) {
	var b brought
	if len(oids) == 0 {
		return b, nil
	}
	rows, err := conn.Query(ctx, joinedSQL, oids, renamed)
	if err != nil {
		return b, classify(fmt.Errorf("asking when tables were attached: %w", err))
	}
	tables, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (j joined, err error) {
		return j, row.Scan(&j.schema, &j.name, &j.readable, &j.made, &j.xid, &j.command)
	})
	if err != nil {
		return b, classify(fmt.Errorf("asking when tables were attached: %w", err))
	}
	limit := s.looks
	if deadline, bounded := ctx.Deadline(); bounded {
		limit = min(limit, time.Until(deadline)*3/4)
	}
	end := time.Now().Add(limit)
	for _, j := range tables {
		name := schema.QuoteName(j.schema) + "." + schema.QuoteName(j.name)
		older, err := !j.made, error(nil)
		if j.readable {
			older, err = j.older(ctx, conn, time.Until(end))
		}
		switch {
		case errors.Is(err, errUnanswered):
			b.unsure = append(b.unsure, name+" came into it and may hold rows that were not copied: looking for them took too long")
		case err != nil:
			return b, err
		case older:
			b.rows = append(b.rows, name+" came into it with rows that were not copied")
		}
	}
	return b, nil
}

// older looks for a row from before, for as long as limit. Half of it may go by waiting for who changes the table's definition. It
// begins at the front, also where another scan of the table is under way, which it would else join.
func (j *joined) older(ctx context.Context, conn *pgx.Conn, limit time.Duration) (bool, error) {
	if limit < 2*time.Millisecond { // the server reads 0 as no limit
		return false, errUnanswered
	}
	name := quoteTable(j.schema, j.name)
	tx, err := conn.Begin(ctx)
	if err != nil {
		return false, classify(fmt.Errorf("looking for old rows of %s: %w", name, err))
	}
	defer func() { _ = tx.Rollback(ctx) }()
	_, err = tx.Exec(ctx, `SELECT set_config('statement_timeout', $1, true), set_config('lock_timeout', $2, true),
		set_config('synchronize_seqscans', 'off', true)`,
		strconv.FormatInt(limit.Milliseconds(), 10), strconv.FormatInt(limit.Milliseconds()/2, 10))
	var found bool
	if err == nil {
		err = tx.QueryRow(ctx, j.question(), j.xid, j.command).Scan(&found)
	}
	if err != nil {
		return false, classifyLook(fmt.Errorf("looking for old rows of %s: %w", name, err))
	}
	return found, nil
}

// question asks whether the table holds a row from before. What is older lies at the front, so that the answer yes comes at
// once. A table that was made as what it is can only have been filled before by the transaction that made it.
func (j *joined) question() string {
	const same = "r.xmin = $1::text::xid AND r.cmin::text::bigint < $2"
	from := " FROM ONLY " + quoteTable(j.schema, j.name)
	if j.made {
		return "SELECT EXISTS (SELECT FROM (SELECT xmin, cmin" + from + " LIMIT 1000) r WHERE " + same + ")"
	}
	return "SELECT EXISTS (SELECT" + from + " r WHERE age(r.xmin) > age($1::text::xid) OR age(r.xmin) < 0 OR " + same + ")"
}
