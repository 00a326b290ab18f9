package postgres

import (
	"context"
	"fmt"
	"maps"

	"github.com/jackc/pgx/v5"
)

// What Observe sees in the catalog, the reader hears of later. A table whose rows all come by the log may have been renamed since
// they were written, which says nothing about them. So a table that joined is judged when the reader has passed the place where
// the log ended as it was first seen, and one that the reader announced, having judged it, is not.

// arrival is a table that came in while the stream is open.
type arrival struct {
	seen   LSN  // where the log ended when it was first seen
	looked bool // it was looked into, and need not be again
}

// follow notes a table that the log announces. The reader calls it, beside Observe.
func (s *Source) follow(oid uint32, names tableNames) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.followed[oid] = names
}

// heard is the tables that the log announced so far.
func (s *Source) heard() map[uint32]tableNames {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.followed)
}

// forget drops the tables out of heard that are not in scope any more: they do not add up, and one that comes back is judged anew.
func (s *Source) forget(heard map[uint32]tableNames, now *published) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for oid := range heard {
		if _, inScope := now.Tables[oid]; !inScope {
			delete(s.followed, oid)
		}
	}
}

// ripe chooses the tables that can be judged now, out of all that joined. The slot's position was read before what the log
// announced was asked for, and the catalog was read before the end of the log is.
func (s *Source) ripe(ctx context.Context, conn *pgx.Conn, joined []uint32, confirmed LSN) ([]uint32, error) {
	arrivals := make(map[uint32]arrival, len(joined))
	var ripe []uint32
	if len(joined) > 0 {
		end, err := readInsertEnd(ctx, conn)
		if err != nil {
			return nil, err
		}
		for _, oid := range joined {
			arrivals[oid] = arrival{seen: end}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, oid := range joined {
		if before, known := s.arrivals[oid]; known {
			arrivals[oid] = before
		}
		if a := arrivals[oid]; !a.looked && a.seen <= confirmed {
			ripe = append(ripe, oid)
		}
	}
	s.arrivals = arrivals
	return ripe, nil
}

// settle notes tables that need not be looked into again.
func (s *Source) settle(oids []uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, oid := range oids {
		s.arrivals[oid] = arrival{looked: true}
	}
}

// longHeader is the bytes of the longest header of a page of the log.
const longHeader = 40

// readInsertEnd is the end of all log that is written at all: a commit may be seen before it is on disk.
func readInsertEnd(ctx context.Context, conn *pgx.Conn) (LSN, error) {
	var text string
	var block uint64
	err := conn.QueryRow(ctx, `SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
		ELSE pg_current_wal_insert_lsn() END::text, current_setting('wal_block_size')::bigint`).Scan(&text, &block)
	if err != nil {
		return 0, classify(fmt.Errorf("asking where the log ends: %w", err))
	}
	end, err := parseLSN(text)
	if err != nil {
		return 0, fmt.Errorf("asking where the log ends: %w", err)
	}
	if header := uint64(end) % block; header <= longHeader { // nothing was written behind the header of a page yet
		end -= LSN(header)
	}
	return end, nil
}
