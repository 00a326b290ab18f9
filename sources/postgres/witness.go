package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/rowferry/rowferry/schema/fault"
)

// witness is a temporary slot that is made before the pipeline's own, and then reads the log in which that one was made.
//
// The server needs two rounds of waiting for open transactions until a new slot knows the catalog. A change to a
// table that is committed in the first round stays unknown until the second has ended, but transactions that begin
// meanwhile are decoded: their rows come without new columns, or by a table that is no more, without an error. So it is
// again whenever the slot is read from where it was made. A slot that finds the state of another decoder stored at that
// place takes it over instead, and needs no rounds. The witness, whose own rounds are over by then, stores it there.
type witness struct {
	conn *pgconn.PgConn
	slot string
}

const (
	witnessAsks     = 5 * time.Second // how often it is asked how far it has read
	witnessPatience = time.Minute     // without a word from it for so long, the slot is made anew
)

// newWitness makes the temporary slot. Like every slot, it waits for transactions that are writing.
func (s *Source) newWitness(ctx context.Context) (*witness, error) {
	conn, err := s.connect(ctx, nil)
	if err != nil {
		return nil, err
	}
	w := &witness{conn: conn, slot: fmt.Sprintf("rowferry_witness_%d", conn.PID())}
	bounded, cancel := s.slotPatience(ctx)
	defer cancel()
	_, err = pglogrepl.CreateReplicationSlot(bounded, conn, w.slot, "pgoutput",
		pglogrepl.CreateReplicationSlotOptions{Temporary: true, SnapshotAction: "NOEXPORT_SNAPSHOT"})
	if err == nil {
		return w, nil
	}
	w.close()
	if errors.Is(context.Cause(bounded), errSlotPatience) {
		return nil, errSlotPatience
	}
	return nil, classify(fmt.Errorf("making the temporary slot %s: %w", w.slot, err))
}

// attend reads the log up to a position, and drops what it reads.
func (w *witness) attend(ctx context.Context, publication string, upto LSN) error {
	cfg := tailConfig{publications: []string{publication}}
	err := pglogrepl.StartReplication(ctx, w.conn, w.slot, 0,
		pglogrepl.StartReplicationOptions{Mode: pglogrepl.LogicalReplication, PluginArgs: pluginArgs(&cfg)})
	if err != nil {
		return disturbed(fmt.Errorf("reading the temporary slot %s: %w", w.slot, err))
	}
	for heard := time.Now(); ; {
		at, err := w.read(ctx)
		switch {
		case err == nil && at >= upto:
			return nil
		case err == nil:
			heard = time.Now()
		case !pgconn.Timeout(err) || ctx.Err() != nil || time.Since(heard) > witnessPatience:
			return disturbed(fmt.Errorf("reading the temporary slot %s: %w", w.slot, err))
		default:
			err := pglogrepl.SendStandbyStatusUpdate(ctx, w.conn, pglogrepl.StandbyStatusUpdate{ReplyRequested: true})
			if err != nil {
				return classify(fmt.Errorf("asking the temporary slot %s: %w", w.slot, err))
			}
		}
	}
}

// read reads one message, and tells how far in the log the server has come with it.
func (w *witness) read(ctx context.Context) (LSN, error) {
	bounded, cancel := context.WithTimeout(ctx, witnessAsks)
	defer cancel()
	message, err := w.conn.ReceiveMessage(bounded)
	if err != nil {
		return 0, err
	}
	data, ok := message.(*pgproto3.CopyData)
	if !ok || len(data.Data) == 0 {
		if refusal, ok := message.(*pgproto3.ErrorResponse); ok {
			return 0, pgconn.ErrorResponseToPgError(refusal)
		}
		return 0, nil
	}
	if data.Data[0] == pglogrepl.XLogDataByteID {
		change, err := pglogrepl.ParseXLogData(data.Data[1:])
		return LSN(change.WALStart), err
	}
	alive, err := pglogrepl.ParsePrimaryKeepaliveMessage(data.Data[1:])
	return LSN(alive.ServerWALEnd), err
}

func (w *witness) close() { closeConn(w.conn) }

// disturbed classifies what ends the reading of a witness. It may itself be caught between its rounds: then the server
// cannot decode what it reads, and both slots are made anew.
func disturbed(err error) error {
	var server *pgconn.PgError
	if errors.As(err, &server) && server.Code == "XX000" {
		return fault.Wait("source.slot_disturbed", redact(err, server))
	}
	return classify(err)
}
