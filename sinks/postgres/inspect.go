package postgres

import (
	"context"
	"fmt"

	"github.com/rowferry/rowferry/sinks"
	"github.com/rowferry/rowferry/sinks/apply"
)

// Inspect reads what the target holds of a pipeline and shuts out nobody. A standby will do.
func (s *Sink) Inspect(ctx context.Context, pipeline string) (sinks.Held, error) {
	conn, err := s.cfg.connectAny(ctx)
	if err != nil {
		return sinks.Held{}, err
	}
	defer closeConn(conn.conn)
	found, err := conn.hasLedger(ctx)
	if err != nil || !found {
		return sinks.Held{}, err
	}
	rows, err := conn.ledger(ctx, pipeline, "")
	if err != nil {
		return sinks.Held{}, fmt.Errorf("reading the ledger: %w", err)
	}
	held := apply.HeldOf(rows)
	if held.State, err = conn.state(ctx, pipeline); err != nil {
		return sinks.Held{}, fmt.Errorf("reading the source's state: %w", err)
	}
	held.Limits = s.limits()
	return held, nil
}

// Forget removes the pipeline's rows from the ledger, in one transaction. A writer that is still open finds itself
// shut out.
func (s *Sink) Forget(ctx context.Context, pipeline string) error {
	conn, err := s.cfg.connect(ctx)
	if err != nil {
		return err
	}
	defer closeConn(conn.conn)
	found, err := conn.hasLedger(ctx)
	if err != nil || !found {
		return err
	}
	for _, step := range []struct {
		sql  string
		args []string
	}{
		{"BEGIN", nil},
		{`DELETE FROM rowferry.ledger WHERE pipeline = $1`, []string{pipeline}},
		{`DELETE FROM rowferry.copy WHERE pipeline = $1`, []string{pipeline}},
		{`DELETE FROM rowferry.state WHERE pipeline = $1`, []string{pipeline}},
		{"COMMIT", nil},
	} {
		if _, err := conn.exec(ctx, step.sql, step.args...); err != nil {
			return fmt.Errorf("removing pipeline %s from the ledger: %w", pipeline, err)
		}
	}
	return nil
}
