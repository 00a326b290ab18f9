package oracle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rowferry/rowferry/e2e/load"
)

// Reader reads a Postgres target while changes flow. Every pass is one snapshot, which must show a state that the
// source had: the bank's total, ledger numbers whole, lists that are a beginning of the source's lists.
type Reader struct {
	Source, Target string // URLs
	Pipeline       string
	Every          time.Duration // between two passes
}

// Run reads until the context ends. A target that is away is waited for; a violation is no error.
func (rd Reader) Run(ctx context.Context, r *Report) error {
	for ctx.Err() == nil {
		err := rd.pass(ctx, r)
		var pg *pgconn.PgError
		if errors.As(err, &pg) && ctx.Err() == nil && pg.Code[:2] != "57" && pg.Code != "42P01" && pg.Code != "3D000" && pg.Code[:2] != "40" {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(rd.Every):
		}
	}
	return nil
}

// snapshot is what one pass sees.
type snapshot struct {
	phase  string
	total  int64
	torn   []string
	ghosts int64
	loose  int64 // entries that do not stand in their list where they say, or elements without an entry
	lists  map[int64][]int64
}

// pass looks once.
func (rd Reader) pass(ctx context.Context, r *Report) error {
	target, err := pgx.Connect(ctx, rd.Target)
	if err != nil {
		return err
	}
	defer target.Close(context.WithoutCancel(ctx))
	s, err := take(ctx, target, rd.Pipeline)
	if err != nil {
		return err
	}
	if s.phase != "stream" {
		r.Looked("reader, before the stream", 1)
		return nil
	}
	// The source is read after the target: its lists have only grown since.
	source, err := pgx.Connect(ctx, rd.Source)
	if err != nil {
		return err
	}
	defer source.Close(context.WithoutCancel(ctx))
	lists, err := readLists(ctx, source)
	if err != nil {
		return err
	}
	s.judge(r, lists)
	return nil
}

// take reads everything in one snapshot.
func take(ctx context.Context, conn *pgx.Conn, pipeline string) (*snapshot, error) {
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	s := &snapshot{}
	err = tx.QueryRow(ctx, `SELECT coalesce((SELECT phase FROM rowferry.ledger WHERE pipeline = $1 ORDER BY seq DESC LIMIT 1), '')`, pipeline).
		Scan(&s.phase)
	if err != nil || s.phase != "stream" {
		return s, err
	}
	err = tx.QueryRow(ctx, `SELECT (SELECT coalesce(sum(balance), 0)::bigint FROM bank), (SELECT count(*) FROM subs WHERE ghost)`).
		Scan(&s.total, &s.ghosts)
	if err != nil {
		return nil, fmt.Errorf("reading the bank: %w", err)
	}
	err = tx.QueryRow(ctx, `SELECT (SELECT count(*) FROM entries e LEFT JOIN lists USING (key) WHERE items[seq] IS DISTINCT FROM item)
		+ abs((SELECT count(*) FROM entries) - (SELECT coalesce(sum(cardinality(items)), 0) FROM lists))::bigint`).Scan(&s.loose)
	if err != nil {
		return nil, fmt.Errorf("comparing lists with entries: %w", err)
	}
	rows, err := tx.Query(ctx, `SELECT format('%s: %s of %s rows', txn, count(*), k)
		FROM (SELECT txn, k FROM txn_a UNION ALL SELECT txn, k FROM txn_b) both_tables GROUP BY txn, k HAVING count(*) <> k LIMIT 20`)
	if err != nil {
		return nil, fmt.Errorf("reading the ledger tables: %w", err)
	}
	if s.torn, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
		return nil, fmt.Errorf("reading the ledger tables: %w", err)
	}
	s.lists, err = readLists(ctx, tx)
	return s, err
}

type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func readLists(ctx context.Context, q querier) (map[int64][]int64, error) {
	rows, err := q.Query(ctx, `SELECT key, items FROM lists`)
	if err != nil {
		return nil, fmt.Errorf("reading the lists: %w", err)
	}
	defer rows.Close()
	lists := map[int64][]int64{}
	for rows.Next() {
		var key int64
		var items []int64
		if err := rows.Scan(&key, &items); err != nil {
			return nil, fmt.Errorf("reading the lists: %w", err)
		}
		lists[key] = items
	}
	return lists, rows.Err()
}

// judge compares a snapshot with what must hold, and with the source's lists as they were later.
func (s *snapshot) judge(r *Report, later map[int64][]int64) {
	r.Looked("reader", 1)
	if s.total != load.Total {
		r.Add(Torn, "the bank holds %d, not %d", s.total, load.Total)
	}
	if s.ghosts > 0 {
		r.Add(Doubled, "%d rows are visible that were rolled back", s.ghosts)
	}
	if s.loose > 0 {
		r.Add(Torn, "%d list elements do not agree with their rows", s.loose)
	}
	for _, text := range s.torn {
		r.Add(Torn, "ledger number %s", text)
	}
	for key, got := range s.lists {
		judgeList(r, key, got, later[key])
	}
}

// judgeList tells why got is not a beginning of want.
func judgeList(r *Report, key int64, got, want []int64) {
	if len(got) <= len(want) && slices.Equal(got, want[:len(got)]) {
		return
	}
	seen := map[int64]bool{}
	for _, item := range got {
		if seen[item] {
			r.Add(Doubled, "list %d has %d twice", key, item)
			return
		}
		seen[item] = true
	}
	for i, item := range got {
		if i < len(want) && item == want[i] {
			continue
		}
		switch {
		case !slices.Contains(want, item):
			r.Add(Doubled, "list %d has %d, which the source does not have", key, item)
		case i < len(want) && !seen[want[i]]:
			r.Add(Lost, "list %d lacks %d, but has what came after it", key, want[i])
		default:
			r.Add(Reordered, "list %d has %d at %d, out of its order", key, item, i+1)
		}
		return
	}
}
