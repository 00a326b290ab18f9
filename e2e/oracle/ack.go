package oracle

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// AckWatch compares what the source's slot was told with what the target holds, again and again: an
// acknowledgement must never pass the ledger. It reads the slot first and the ledger second, so that only a real
// violation shows: the ledger can only have moved on in between.
type AckWatch struct {
	Source string // URL
	Slot   string
	Ledger Ledger
	Every  time.Duration
}

// Run watches until the context ends. A source or target that is away is waited for.
func (a AckWatch) Run(ctx context.Context, r *Report) error {
	var source *pgx.Conn
	defer a.Ledger.Close()
	defer func() {
		if source != nil {
			_ = source.Close(context.WithoutCancel(ctx))
		}
	}()
	for ctx.Err() == nil {
		if source == nil {
			if c, err := pgx.Connect(ctx, a.Source); err == nil {
				source = c
			}
		}
		if source != nil {
			if err := a.look(ctx, r, source); err != nil {
				_ = source.Close(context.WithoutCancel(ctx))
				source = nil
				if errors.Is(err, errToken) {
					return err
				}
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(a.Every):
		}
	}
	return nil
}

// look compares once.
func (a AckWatch) look(ctx context.Context, r *Report, source *pgx.Conn) error {
	var confirmed string
	err := source.QueryRow(ctx, `SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = $1 AND confirmed_flush_lsn IS NOT NULL`, a.Slot).
		Scan(&confirmed)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil // no slot yet
	}
	if err != nil {
		return err
	}
	token, err := a.Ledger.Token(ctx)
	if err != nil {
		return err
	}
	return judgeAck(r, confirmed, token)
}

var errToken = errors.New("no postgres/1 token")

// judgeAck compares a slot's confirmed position with a ledger's token.
func judgeAck(r *Report, confirmed, token string) error {
	if token == "" || strings.HasSuffix(token, "/creating") {
		return nil // the slot is being made: it begins where it begins
	}
	held, _, err := ParseToken(token)
	if err != nil {
		return err
	}
	told, err := ParseLSN(confirmed)
	if err != nil {
		return err
	}
	r.Looked("ack", 1)
	if told > held {
		r.Add(Acked, "the slot is confirmed up to %s, the ledger holds %s", confirmed, token)
	}
	return nil
}

// ParseLSN reads Postgres' text form of a position in its log: 16/B374D848.
func ParseLSN(s string) (uint64, error) {
	high, low, ok := strings.Cut(s, "/")
	a, errA := strconv.ParseUint(high, 16, 32)
	b, errB := strconv.ParseUint(low, 16, 32)
	if err := errors.Join(errA, errB); !ok || err != nil {
		return 0, fmt.Errorf("reading the position %q: %w", s, err)
	}
	return a<<32 | b, nil
}

// ParseToken reads the token of a position of format postgres/1, systemid/timeline/LSN/phase: where in the log it
// stands, and in which phase.
func ParseToken(token string) (lsn uint64, phase string, err error) {
	fields := strings.Split(token, "/")
	if len(fields) != 4 {
		return 0, "", fmt.Errorf("%w: %q", errToken, token)
	}
	lsn, err = strconv.ParseUint(fields[2], 16, 64)
	if err != nil {
		return 0, "", fmt.Errorf("%w: %q", errToken, token)
	}
	return lsn, fields[3], nil
}

// A Ledger reads the position's token from a target; it is empty when the target holds none.
type Ledger interface {
	Token(ctx context.Context) (string, error)
	Close()
}

// PostgresLedger is the ledger of a pipeline in a Postgres target. It keeps one connection; it has one user.
type PostgresLedger struct {
	URL, Pipeline string

	conn *pgx.Conn
}

// Token implements [Ledger].
func (l *PostgresLedger) Token(ctx context.Context) (token string, err error) {
	if l.conn == nil {
		if l.conn, err = pgx.Connect(ctx, l.URL); err != nil {
			return "", err
		}
	}
	err = l.conn.QueryRow(ctx, `SELECT token FROM rowferry.ledger WHERE pipeline = $1 ORDER BY seq DESC LIMIT 1`, l.Pipeline).Scan(&token)
	var pg *pgconn.PgError
	if errors.Is(err, pgx.ErrNoRows) || errors.As(err, &pg) && pg.Code == "42P01" {
		return "", nil
	}
	if err != nil {
		l.Close()
	}
	return token, err
}

// Close implements [Ledger].
func (l *PostgresLedger) Close() {
	if l.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = l.conn.Close(ctx)
		l.conn = nil
	}
}
