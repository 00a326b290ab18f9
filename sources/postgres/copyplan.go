package postgres

import (
	"context"
	_ "embed" // the query
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/rowferry/rowferry/schema"
)

//go:embed queries/leaves.sql
var leavesSQL string

// pageBytes is the size of a page on every server that was not compiled otherwise. Only the size of ranges
// depends on it.
const pageBytes = 8 << 10

// leaf is a table that holds rows: a table in scope itself, or a partition below it.
type leaf struct {
	oid          uint32
	schema, name string
	kind         string
	main, total  int64 // bytes of its rows, and with what lies beside them
	rows         float64
}

// readRestart asks where the server begins to read the log for the slot. A transaction that was under way when the slot
// was made, and committed after, has changes before the slot's first LSN, but none before this.
func readRestart(ctx context.Context, tx pgx.Tx, slot string) (LSN, error) {
	var text string
	if err := tx.QueryRow(ctx, `SELECT restart_lsn::text FROM pg_replication_slots WHERE slot_name = $1`, slot).Scan(&text); err != nil {
		return 0, classify(fmt.Errorf("asking where the slot's log begins: %w", err))
	}
	return parseLSN(text)
}

// newCopier cuts the tables in scope into ranges, as the snapshot of tx shows them.
func newCopier(ctx context.Context, tx pgx.Tx, st *stream) (*copier, error) {
	c := &copier{source: st.source, snapshot: st.slot.snapshot}
	offset, err := readRestart(ctx, tx, st.source.cfg.Slot.Name)
	if err != nil {
		return nil, err
	}
	c.offset = uint64(offset)
	oids := make([]uint32, len(st.scope))
	for i, t := range st.scope {
		oids[i] = t.oid
	}
	leaves, err := readLeaves(ctx, tx, oids)
	if err != nil {
		return nil, classify(err)
	}
	pages := max(int64(st.source.rt.Snapshot.ChunkSize)/pageBytes, 1)
	type sized struct {
		ranges []copyRange
		bytes  int64
	}
	tables := make([]sized, len(st.scope))
	for i, t := range st.scope {
		table := &copyTable{oid: t.oid, version: st.tables[i], filter: t.filter}
		for n := range table.version.columns {
			table.columns = append(table.columns, n)
		}
		var held []leaf
		for _, l := range leaves[t.oid] {
			if l.kind != "r" {
				st.log.Warn().Str("table", quoteTable(l.schema, l.name)).Msg("left out of the copy: it is not an ordinary table")
				continue
			}
			held = append(held, l)
		}
		tables[i].ranges = table.cut(held, pages)
		for _, l := range held {
			tables[i].bytes += l.total
		}
		c.plans = append(c.plans, table.plan(held))
	}
	// The largest first: the last ranges to be read are then short, and no worker waits long for another.
	slices.SortStableFunc(tables, func(a, b sized) int {
		switch {
		case a.bytes > b.bytes:
			return -1
		case a.bytes < b.bytes:
			return 1
		}
		return 0
	})
	for _, t := range tables {
		c.ranges = append(c.ranges, t.ranges...)
	}
	c.workers = max(min(st.source.rt.Snapshot.Workers, len(c.ranges)), 1)
	return c, nil
}

// cut makes the ranges of a table. A table without a single page has one range, and so has a partitioned table
// without partitions, whose range has no leaf: they are copied too, so that their end is told.
func (t *copyTable) cut(leaves []leaf, pages int64) []copyRange {
	var ranges []copyRange
	for _, l := range leaves {
		total := (l.main + pageBytes - 1) / pageBytes
		for from := int64(0); ; from += pages {
			r := copyRange{table: t, leaf: l, chunk: int64(len(ranges)), from: from}
			if from+pages < total {
				r.to = from + pages
			}
			ranges = append(ranges, r)
			if r.to == 0 { // open-ended: pages that were added since the size was taken are in it
				break
			}
		}
	}
	if len(ranges) == 0 {
		ranges = append(ranges, copyRange{table: t})
	}
	t.left = len(ranges)
	return ranges
}

// plan sums up what the server's statistics say.
func (t *copyTable) plan(leaves []leaf) schema.CopyPlan {
	p := schema.CopyPlan{Table: t.version.table}
	for _, l := range leaves {
		p.Bytes += l.total
		switch {
		case l.rows < 0 && l.main > 0: // never analysed
			p.Rows = -1
		case p.Rows >= 0 && l.rows > 0:
			p.Rows += int64(l.rows)
		}
	}
	return p
}

// readLeaves finds the tables that hold the rows of the tables given, by those tables' oids.
func readLeaves(ctx context.Context, q querier, oids []uint32) (map[uint32][]leaf, error) {
	rows, err := q.Query(ctx, leavesSQL, oids)
	if err != nil {
		return nil, fmt.Errorf("reading partitions: %w", err)
	}
	leaves := map[uint32][]leaf{}
	var root uint32
	var l leaf
	_, err = pgx.ForEachRow(rows, []any{&root, &l.oid, &l.schema, &l.name, &l.kind, &l.main, &l.total, &l.rows}, func() error {
		leaves[root] = append(leaves[root], l)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading partitions: %w", err)
	}
	return leaves, nil
}
