package postgres

import (
	"context"
	_ "embed" // the queries
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rowferry/rowferry/schema/failpoint"
	"github.com/rowferry/rowferry/schema/fault"
)

var (
	//go:embed queries/slot.sql
	slotSQL string
	//go:embed queries/server.sql
	serverSQL string
	//go:embed queries/blockers.sql
	blockersSQL string
)

// slotInfo is a replication slot as the server has it.
type slotInfo struct {
	plugin, kind, database string
	active                 bool
	pid                    int32
	application, client    string // of the reader
	confirmed, restart     LSN
	walStatus              string
	invalid                string // why it was invalidated
	twoPhase               bool
}

// readSlot reads a slot; nil when there is none of that name.
func readSlot(ctx context.Context, conn *pgx.Conn, name string) (*slotInfo, error) {
	s := &slotInfo{}
	var plugin, database *string
	var pid *int32
	var confirmed, restart string
	err := conn.QueryRow(ctx, slotSQL, name).Scan(&plugin, &s.kind, &database, &s.active, &pid, &s.application, &s.client,
		&confirmed, &restart, &s.walStatus, &s.invalid, &s.twoPhase)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, classify(fmt.Errorf("reading the slot: %w", err))
	}
	if plugin != nil {
		s.plugin, s.database = *plugin, *database
	}
	if pid != nil {
		s.pid = *pid
	}
	if s.confirmed, err = parseLSN(confirmed); err != nil {
		return nil, fmt.Errorf("reading the slot: %w", err)
	}
	if s.restart, err = parseLSN(restart); err != nil {
		return nil, fmt.Errorf("reading the slot: %w", err)
	}
	return s, nil
}

// lost tells whether the slot can no longer be read, and why.
func (s *slotInfo) lost() (reason string, lost bool) {
	switch {
	case s.invalid != "":
		return s.invalid, true
	case s.walStatus == "lost":
		return "wal_removed", true
	}
	return "", false
}

// reader names who reads the slot.
func (s *slotInfo) reader() string {
	name := s.application
	if name == "" {
		name = "a session without a name"
	}
	return fmt.Sprintf("%s from %s, server process %d", name, s.client, s.pid)
}

// readServer asks where the server's log ends.
func readServer(ctx context.Context, conn *pgx.Conn) (end LSN, recovering bool, err error) {
	var text, database string
	if err := conn.QueryRow(ctx, serverSQL).Scan(&text, &recovering, &database); err != nil {
		return 0, false, classify(fmt.Errorf("asking where the log ends: %w", err))
	}
	end, err = parseLSN(text)
	return end, recovering, err
}

// freeSlot ends a reader that a dead process of ours left behind: only its application name, seen while we hold
// the source's lock, allows that. Any other reader is waited for.
func (s *Source) freeSlot(ctx context.Context, conn *pgx.Conn, slot *slotInfo) error {
	if !slot.active {
		return nil
	}
	busy := fault.Wait("source.slot_active", fmt.Errorf("slot %s is read by %s", s.cfg.Slot.Name, slot.reader()))
	if slot.application != s.cfg.ApplicationName || slot.pid == 0 {
		return busy
	}
	s.log.Warn().Int32("server_pid", slot.pid).Msg("ending the reader that an earlier process left behind")
	if _, err := conn.Exec(ctx, "SELECT pg_terminate_backend($1)", slot.pid); err != nil {
		return classify(fmt.Errorf("ending the reader that was left behind: %w", err))
	}
	limit, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for ticker := time.NewTicker(20 * time.Millisecond); ; {
		now, err := readSlot(limit, conn, s.cfg.Slot.Name)
		if err != nil || now == nil || !now.active {
			ticker.Stop()
			return err
		}
		select {
		case <-ticker.C:
		case <-limit.Done():
			ticker.Stop()
			return busy
		}
	}
}

// dropSlot drops the slot of a copy that did not finish.
func (s *Source) dropSlot(ctx context.Context, conn *pgx.Conn) error {
	slot, err := readSlot(ctx, conn, s.cfg.Slot.Name)
	if err != nil || slot == nil {
		return err
	}
	if err := s.freeSlot(ctx, conn, slot); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "SELECT pg_drop_replication_slot($1)", s.cfg.Slot.Name); err != nil {
		return classify(fmt.Errorf("dropping the slot of the unfinished copy: %w", err))
	}
	s.log.Info().Str("slot", s.cfg.Slot.Name).Msg("dropped the slot of the unfinished copy")
	return nil
}

// createdSlot is a new slot and the snapshot that shows exactly what was committed before it.
type createdSlot struct {
	lsn      LSN
	snapshot string
	keeper   *pgconn.PgConn // its next command, or its end, ends the snapshot
}

// createSlot makes the slot, under a witness. The server waits until every transaction that is writing now has ended,
// for each of the two; one attempt is bounded, and an attempt that ran out names who was waited for.
func (s *Source) createSlot(ctx context.Context, conn *pgx.Conn) (createdSlot, error) {
	if err := failpoint.Hit(ctx, "snap.before_slot"); err != nil {
		return createdSlot{}, err
	}
	slot, err := s.createWitnessed(ctx)
	if errors.Is(err, errSlotPatience) {
		return createdSlot{}, s.blocked(ctx, conn)
	}
	return slot, err
}

// createWitnessed makes a witness and the slot, and lets the one read the log in which the other was made.
func (s *Source) createWitnessed(ctx context.Context) (createdSlot, error) {
	w, err := s.newWitness(ctx)
	if err != nil {
		return createdSlot{}, err
	}
	defer w.close()
	keeper, err := s.connect(ctx, nil)
	if err != nil {
		return createdSlot{}, err
	}
	slot, err := s.createSlotOn(ctx, keeper)
	if err == nil {
		err = w.attend(ctx, s.cfg.Publication.Name, slot.lsn)
	}
	if err != nil {
		closeConn(keeper)
		return createdSlot{}, err
	}
	return slot, nil
}

// errSlotPatience says that making the slot took longer than one attempt may.
var errSlotPatience = errors.New("making the slot took too long")

// slotPatience bounds one attempt to make a slot.
func (s *Source) slotPatience(ctx context.Context) (context.Context, context.CancelFunc) {
	limit := time.Duration(s.cfg.Slot.CreateTimeout)
	if limit <= 0 {
		limit = time.Minute
	}
	return context.WithTimeoutCause(ctx, limit, errSlotPatience)
}

// slotCommand makes the slot, on a replication connection, and exports what it sees for the copy.
func (s *Source) slotCommand(version int) string {
	option := "(SNAPSHOT 'export')"
	if version < 150000 {
		option = "EXPORT_SNAPSHOT"
	}
	return "CREATE_REPLICATION_SLOT " + quoteName(s.cfg.Slot.Name) + " LOGICAL pgoutput " + option
}

// createSlotOn sends the command and reads its answer.
func (s *Source) createSlotOn(ctx context.Context, keeper *pgconn.PgConn) (createdSlot, error) {
	bounded, cancel := s.slotPatience(ctx)
	defer cancel()
	results, err := keeper.Exec(bounded, s.slotCommand(versionOf(keeper))).ReadAll()
	if err != nil {
		if errors.Is(context.Cause(bounded), errSlotPatience) {
			return createdSlot{}, errSlotPatience
		}
		return createdSlot{}, classify(fmt.Errorf("making the slot: %w", err))
	}
	if len(results) != 1 || len(results[0].Rows) != 1 || len(results[0].Rows[0]) < 3 {
		return createdSlot{}, fault.Wait("source.connect", errors.New("the server's answer to making the slot is not understood"))
	}
	row := results[0].Rows[0]
	lsn, err := parseLSN(string(row[1]))
	if err != nil {
		return createdSlot{}, fmt.Errorf("making the slot: %w", err)
	}
	if err := failpoint.Hit(ctx, "snap.after_slot"); err != nil {
		return createdSlot{}, err
	}
	return createdSlot{lsn: lsn, snapshot: string(row[2]), keeper: keeper}, nil
}

// blocked is the fault that names what making the slot waits for.
func (s *Source) blocked(ctx context.Context, conn *pgx.Conn) error {
	who, err := readBlockers(ctx, conn)
	if err != nil {
		return err
	}
	if len(who) == 0 {
		who = []string{"transactions that have ended meanwhile"}
	}
	return fault.Wait("source.slot_blocked",
		fmt.Errorf("making slot %s waits for transactions that are writing: %s", s.cfg.Slot.Name, strings.Join(who, "; ")))
}

// readBlockers names the transactions that a new slot has to wait for.
func readBlockers(ctx context.Context, conn *pgx.Conn) ([]string, error) {
	rows, err := conn.Query(ctx, blockersSQL)
	if err != nil {
		return nil, classify(fmt.Errorf("asking who writes: %w", err))
	}
	who, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, classify(fmt.Errorf("asking who writes: %w", err))
	}
	return who, nil
}
