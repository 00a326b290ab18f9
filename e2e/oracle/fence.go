package oracle

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Fence does to a Postgres target what a newer writer does first: it raises the epochs of the pipeline's lanes. From
// then on the writer that was there must not move the position, however long it is watched. The load must go on.
func Fence(ctx context.Context, r *Report, target, pipeline string, watched time.Duration) error {
	conn, err := pgx.Connect(ctx, target)
	if err != nil {
		return fmt.Errorf("connecting to the target: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, `UPDATE rowferry.ledger SET epoch = epoch + 1 WHERE pipeline = $1`, pipeline); err != nil {
		return fmt.Errorf("raising the epochs: %w", err)
	}
	at := func() (seq int64, err error) {
		err = conn.QueryRow(ctx, `SELECT max(seq) FROM rowferry.ledger WHERE pipeline = $1`, pipeline).Scan(&seq)
		return seq, err
	}
	before, err := at()
	if err != nil {
		return fmt.Errorf("reading the ledger: %w", err)
	}
	for end := time.Now().Add(watched); time.Now().Before(end); {
		r.Looked("fence", 1)
		seq, err := at()
		if err != nil {
			return fmt.Errorf("reading the ledger: %w", err)
		}
		if seq != before {
			r.Add(Doubled, "a writer that was fenced moved the position from group %d to %d", before, seq)
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}
