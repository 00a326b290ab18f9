package postgres

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
)

// leftAt asks a server on timeline now where its history left an earlier one, 0 when it never was on that. What was
// committed on the earlier timeline behind that place is not part of the server's log, and the same offsets mean
// other transactions there.
func leftAt(ctx context.Context, c *pgconn.PgConn, now, earlier uint32) (LSN, error) {
	answer, err := pglogrepl.TimelineHistory(ctx, c, int32(now))
	if err != nil {
		return 0, historyFault(fmt.Errorf("reading the history of timeline %d: %w", now, err))
	}
	left, err := parseHistory(string(answer.Content), earlier)
	if err != nil {
		return 0, fmt.Errorf("reading the history of timeline %d: %w", now, err)
	}
	return left, nil
}

// parseHistory finds where a history file leaves a timeline: each line holds a timeline, where it was left, and why.
func parseHistory(text string, timeline uint32) (LSN, error) {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if fields[0] == strconv.FormatUint(uint64(timeline), 10) {
			return parseLSN(fields[1])
		}
	}
	return 0, nil
}
