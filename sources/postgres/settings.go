package postgres

import (
	"context"
	_ "embed" // the query
	"fmt"

	"github.com/jackc/pgx/v5"
)

//go:embed queries/settings.sql
var settingsSQL string

// serverSettings is what a server allows, and how much of it is used.
type serverSettings struct {
	walLevel             string
	slots, slotsUsed     int
	senders, sendersUsed int
	keep                 int64 // max_slot_wal_keep_size in bytes, negative for no limit
	idleTimeout          string
	idle                 []string // slots that nobody reads, with what they hold
}

// readSettings asks the server. end is where its log ends.
func readSettings(ctx context.Context, conn *pgx.Conn, end LSN) (serverSettings, error) {
	var s serverSettings
	err := conn.QueryRow(ctx, settingsSQL, end.String()).Scan(&s.walLevel, &s.slots, &s.slotsUsed, &s.senders,
		&s.sendersUsed, &s.keep, &s.idleTimeout, &s.idle)
	if err != nil {
		return serverSettings{}, classify(fmt.Errorf("reading the server's settings: %w", err))
	}
	return s, nil
}

// limit is the amount of log after which the slot is in danger or our budget is used up; 0 for none.
func (s *serverSettings) limit(budget int64) int64 {
	switch {
	case s.keep <= 0:
		return budget
	case budget <= 0:
		return s.keep
	}
	return min(s.keep, budget)
}
