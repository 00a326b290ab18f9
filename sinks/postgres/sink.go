package postgres

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks"
	"github.com/rowferry/rowferry/sinks/apply"
)

// Sink is a Postgres database as a target.
type Sink struct {
	cfg Config
	rt  sinks.Runtime
}

var (
	_ sinks.Sink      = (*Sink)(nil)
	_ sinks.Checker   = (*Sink)(nil)
	_ sinks.Inspector = (*Sink)(nil)
)

// New makes the target of a pipeline. It connects to nothing.
func New(cfg Config, rt sinks.Runtime) (*Sink, error) {
	cfg = cfg.withDefaults(rt.Pipeline)
	if errs := cfg.Validate(); len(errs) > 0 {
		return nil, fault.Halt("target.config", errors.Join(errs...), "correct the target's settings")
	}
	return &Sink{cfg: cfg, rt: rt}, nil
}

const (
	claimLockTimeout = "2s"
	claimAttempts    = 15 // a zombie is waited for so many times two seconds; then the engine's pause begins
	evictAfter       = 2  // from so many attempts on its session is ended, if it does nothing with its transaction
)

// Open connects, makes the ledger if there is none, checks the claim, and shuts out every older writer: their next
// compare-and-set finds another epoch.
func (s *Sink) Open(ctx context.Context, c sinks.Claim) (sinks.Writer, sinks.Held, error) {
	conn, err := s.cfg.connect(ctx)
	if err != nil {
		return nil, sinks.Held{}, err
	}
	w, held, err := s.open(ctx, conn, c)
	if err != nil {
		closeConn(conn.conn)
		if cause := context.Cause(ctx); cause != nil {
			return nil, sinks.Held{}, cause
		}
		return nil, sinks.Held{}, classify(err)
	}
	return w, held, nil
}

// open does the work of Open on a connection.
func (s *Sink) open(ctx context.Context, conn *session, c sinks.Claim) (*Writer, sinks.Held, error) {
	if err := conn.makeLedger(ctx); err != nil {
		return nil, sinks.Held{}, fmt.Errorf("making the ledger: %w", err)
	}
	// A first look waits for nobody: a wrong claim is told so even while another writer is at work.
	rows, err := conn.ledger(ctx, c.Pipeline, "")
	if err != nil {
		return nil, sinks.Held{}, fmt.Errorf("reading the ledger: %w", err)
	}
	if err := apply.VerifyClaim(rows, c); err != nil {
		return nil, sinks.Held{}, err
	}
	rows, err = s.claim(ctx, conn, c)
	if err != nil {
		return nil, sinks.Held{}, err
	}
	held := apply.HeldOf(rows)
	if held.State, err = conn.state(ctx, c.Pipeline); err != nil {
		return nil, sinks.Held{}, fmt.Errorf("reading the source's state: %w", err)
	}
	held.Limits = s.limits()
	w := &Writer{
		cfg: s.cfg, rt: s.rt, claim: c, rows: rows, phase: held.Phase,
		lanes: make([]*lane, s.cfg.CopyWorkers), copyMin: copyMin,
	}
	w.lanes[0] = newLane(w, conn, 0, rows[0])
	if !conn.replica && !s.cfg.FireTriggers {
		s.rt.Log.Info().Msg("the target's role may not apply as a replica: triggers and foreign keys take effect, and order is kept")
	}
	return w, held, nil
}

// limits is what a writer can take.
func (s *Sink) limits() sinks.Limits {
	return sinks.Limits{
		Rows: s.cfg.Batch.MaxRows, Bytes: int(s.cfg.Batch.MaxBytes), Age: time.Duration(s.cfg.Batch.MaxWait),
		Lanes: 1, CopyLanes: s.cfg.CopyWorkers, Stage: true,
	}
}

// claim raises the epochs. A row that an older writer holds is waited for: whatever it is about to commit counts,
// and after that it is out. One that is frozen in the middle of a transaction would hold its row until the server
// gives up on it, so its session is ended: that rolls back what it did, and the source's lock says that it is not to
// go on.
func (s *Sink) claim(ctx context.Context, conn *session, c sinks.Claim) ([]apply.LedgerRow, error) {
	if _, err := conn.exec(ctx, "SET lock_timeout = '"+claimLockTimeout+"'"); err != nil {
		return nil, fmt.Errorf("bounding the wait for locks: %w", err)
	}
	var err error
	for attempt := range claimAttempts {
		var rows []apply.LedgerRow
		if rows, err = s.claimOnce(ctx, conn, c); err == nil {
			_, err = conn.exec(ctx, "SET lock_timeout = '"+milliseconds(s.cfg.LockTimeout)+"'")
			return rows, err
		}
		if _, rollback := conn.exec(ctx, "ROLLBACK"); rollback != nil {
			return nil, err
		}
		if fault.Of(err).Code != "target.contention" {
			return nil, err
		}
		if attempt+1 < evictAfter {
			continue
		}
		ended, evict := conn.row(ctx, evictSQL, s.cfg.ApplicationName, ledgerTable)
		if evict != nil {
			return nil, fmt.Errorf("ending an older writer's session: %w", evict)
		}
		if ended[0] != "0" {
			s.rt.Log.Warn().Str("sessions", ended[0]).Msg("an older writer held the ledger without going on; its session was ended")
		}
	}
	return nil, fault.Wait("target.claim_blocked", fmt.Errorf("an older writer holds its row of the ledger: %w", err))
}

// claimOnce is one attempt, in one transaction. Rows are locked in the order of lanes, as everywhere.
func (s *Sink) claimOnce(ctx context.Context, conn *session, c sinks.Claim) ([]apply.LedgerRow, error) {
	if _, err := conn.exec(ctx, "BEGIN"); err != nil {
		return nil, err
	}
	lanes := strconv.Itoa(s.cfg.CopyWorkers)
	if _, err := conn.exec(ctx, claimRowsSQL, c.Pipeline, lanes, string(c.Source), c.Fingerprint, c.Holder); err != nil {
		return nil, fmt.Errorf("adding lanes to the ledger: %w", err)
	}
	rows, err := conn.ledger(ctx, c.Pipeline, " FOR UPDATE")
	if err != nil {
		return nil, fmt.Errorf("locking the ledger: %w", err)
	}
	if err := apply.VerifyClaim(rows, c); err != nil {
		return nil, err
	}
	for i := range rows {
		rows[i].Epoch++
		if i < s.cfg.CopyWorkers && rows[i].Lane != i {
			return nil, ledgerDamaged(fmt.Errorf("lane %d of pipeline %s is missing", i, c.Pipeline))
		}
	}
	if n, err := conn.exec(ctx, claimSQL, c.Pipeline, c.Holder); err != nil || int(n) != len(rows) {
		return nil, fmt.Errorf("raising epochs (%d of %d): %w", n, len(rows), err)
	}
	if _, err := conn.exec(ctx, "COMMIT"); err != nil {
		return nil, fmt.Errorf("committing the claim: %w", err)
	}
	return rows, nil
}

// makeLedger makes the schema rowferry, unless it is there.
func (s *session) makeLedger(ctx context.Context) error {
	found, err := s.hasLedger(ctx)
	if err != nil || found {
		return err
	}
	// Several pipelines may begin at once.
	statements := "BEGIN; SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('rowferry.ledger', 0));\n" +
		schemaSQL + "\nCOMMIT"
	if _, err := s.conn.Exec(ctx, statements).ReadAll(); err != nil {
		_, _ = s.exec(ctx, "ROLLBACK")
		return classify(err)
	}
	return nil
}

// hasLedger tells whether the ledger's tables are there: all of them, or none.
func (s *session) hasLedger(ctx context.Context) (bool, error) {
	row, err := s.row(ctx, `SELECT pg_catalog.num_nonnulls(pg_catalog.to_regclass($1), pg_catalog.to_regclass($2), pg_catalog.to_regclass($3))`,
		ledgerTable, copyTable, stateTable)
	if err != nil {
		return false, err
	}
	if row[0] != "0" && row[0] != "3" {
		return false, ledgerDamaged(fmt.Errorf("of %s, %s and %s only %s are there", ledgerTable, copyTable, stateTable, row[0]))
	}
	return row[0] == "3", nil
}

// ledgerDamaged is the halt for a ledger that people have changed.
func ledgerDamaged(err error) error {
	return fault.Halt("target.ledger_damaged", err, "restore the schema rowferry from a backup of the same moment as the rows,\n"+
		"or remove what is left of the pipeline with `rowferry teardown` and copy again")
}

// ledger reads a pipeline's rows, in the order of lanes.
func (s *session) ledger(ctx context.Context, pipeline, suffix string) ([]apply.LedgerRow, error) {
	rows, err := s.rows(ctx, ledgerSQL+suffix, pipeline)
	if err != nil {
		return nil, err
	}
	found := make([]apply.LedgerRow, len(rows))
	for i, row := range rows {
		r := &found[i]
		if r.Lane, err = strconv.Atoi(row[0]); err == nil {
			if r.Epoch, err = strconv.ParseInt(row[1], 10, 64); err == nil {
				r.Seq, err = strconv.ParseInt(row[2], 10, 64)
			}
		}
		if err == nil {
			err = json.Unmarshal([]byte(row[9]), &r.Made)
		}
		if err != nil {
			return nil, ledgerDamaged(fmt.Errorf("reading a row: %w", err))
		}
		r.Source, r.Fingerprint, r.Phase = schema.SourceID(row[3]), row[4], schema.Phase(row[5])
		r.Position = schema.Position{Format: row[6], Token: row[7]}
		r.Holder = row[8]
	}
	return found, nil
}

// state reads what the source keeps for itself.
func (s *session) state(ctx context.Context, pipeline string) ([]schema.State, error) {
	rows, err := s.rows(ctx, stateSQL, pipeline)
	if err != nil {
		return nil, err
	}
	var states []schema.State
	for _, row := range rows {
		value, err := hex.DecodeString(strings.TrimPrefix(row[1], `\x`))
		if err != nil {
			return nil, fmt.Errorf("reading %q: %w", row[0], err)
		}
		states = append(states, schema.State{Key: row[0], Value: value})
	}
	return states, nil
}
