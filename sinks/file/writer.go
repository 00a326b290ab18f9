package file

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/failpoint"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks"
	"github.com/rowferry/rowferry/sinks/fileledger"
)

// writer is the only one that may write the file, until another is opened.
type writer struct {
	rotate  Rotate
	encoder *encoder

	mu     sync.Mutex // guards everything below; held through each Stage and Commit
	ledger *fileledger.Ledger
	data   *data
	staged bool  // the file holds a part of a transaction that is not committed
	failed error // why nothing more may be done but Close
}

// Encode writes a batch's lines into memory.
func (w *writer) Encode(b *schema.Batch) (sinks.Payload, error) { return w.encoder.encode(b) }

// Stage appends a part of a big transaction. The ledger does not count it, so it is cut off unless its commit comes.
func (w *writer) Stage(ctx context.Context, _ int, p sinks.Payload) error {
	return w.do(ctx, func() error {
		if !w.staged {
			if err := w.enter(ctx); err != nil {
				return err
			}
		}
		w.staged = true
		if err := w.data.append(p.(*payload).lines); err != nil {
			return err
		}
		if err := w.data.flush(); err != nil {
			return err
		}
		w.encoder.recycle(p)
		return failpoint.Hit(ctx, "apply.mid")
	})
}

// Commit appends a group's lines and then the ledger's frame about them, each synced.
func (w *writer) Commit(ctx context.Context, g sinks.Group) error {
	return w.do(ctx, func() error {
		if err := inOrder(&g, w.ledger.State.Seq); err != nil {
			return err
		}
		if !w.staged {
			if err := w.enter(ctx); err != nil {
				return err
			}
		}
		if err := w.appendAll(ctx, g.Payloads); err != nil {
			return err
		}
		if err := failpoint.Hit(ctx, "apply.before_commit"); err != nil {
			return err
		}
		if err := w.record(ctx, &g); err != nil {
			return err
		}
		w.staged = false
		w.encoder.recycle(g.Payloads...)
		return failpoint.Hit(ctx, "apply.after_commit")
	})
}

// do runs one call alone. After an error nothing more is done.
func (w *writer) do(ctx context.Context, call func() error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed != nil {
		return fmt.Errorf("after an earlier error: %w", w.failed)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	w.failed = call()
	return w.failed
}

// inOrder checks a group's number against the last one's; copied rows have none.
func inOrder(g *sinks.Group, last int64) error {
	if g.Copy != nil && g.Seq == 0 && g.Upto.IsZero() || g.Copy == nil && g.Seq == last+1 && !g.Upto.IsZero() {
		return nil
	}
	return fault.Halt("target.out_of_order",
		fmt.Errorf("group %d, position %s, came after group %d", g.Seq, g.Upto, last),
		"report it, with the log around it\nstart the pipeline again: it goes on from the ledger")
}

// enter makes sure that this is still the only writer, and begins a new file when that is due. Nothing of a commit
// has been written before.
func (w *writer) enter(ctx context.Context) error {
	if err := failpoint.Hit(ctx, "apply.before_cas"); err != nil {
		return err
	}
	if err := w.ledger.Verify(); err != nil {
		return err
	}
	if err := w.data.verify(); err != nil {
		return err
	}
	if err := failpoint.Hit(ctx, "apply.after_cas"); err != nil {
		return err
	}
	if w.rotate.due(w.ledger.State.Data) {
		return w.begin(ctx)
	}
	return nil
}

// appendAll appends the lines of payloads.
func (w *writer) appendAll(ctx context.Context, payloads []sinks.Payload) error {
	for i, p := range payloads {
		lines := p.(*payload).lines
		if failpoint.Enabled && i == 0 {
			half := len(lines) / 2
			if err := errors.Join(w.data.append(lines[:half]), w.data.flush()); err != nil {
				return err
			}
			if err := failpoint.Hit(ctx, "apply.mid"); err != nil {
				return err
			}
			lines = lines[half:]
		}
		if err := w.data.append(lines); err != nil {
			return err
		}
	}
	return nil
}

// record makes what was appended count, together with the group's position and state.
func (w *writer) record(ctx context.Context, g *sinks.Group) error {
	x, err := w.data.sync(w.ledger.State.Data)
	if err != nil {
		return err
	}
	u := &fileledger.Update{
		Seq: g.Seq, Position: g.Upto, Phase: g.Phase, Data: x, Undo: w.ledger.State.Undo, Made: g.Made, State: g.State,
	}
	if g.Copy == nil {
		switch {
		case g.Phase == schema.PhaseStream:
			u.Undo = nil
		case g.Phase == schema.PhaseCreating && u.Undo == nil:
			u.Undo = &x
		case g.Phase == schema.PhaseCreating && *u.Undo != x:
			return w.undo(ctx, u)
		}
	}
	return w.note(ctx, u)
}

// note writes one frame to the ledger, and waits until it is durable.
func (w *writer) note(ctx context.Context, u *fileledger.Update) error {
	if err := w.ledger.Write(ctx, u); err != nil {
		return unknown(err)
	}
	if err := failpoint.Hit(ctx, "apply.commit_sent_no_reply"); err != nil {
		return fault.Unknown(err)
	}
	return unknown(w.ledger.Sync())
}

// unknown marks an error after which only the ledger can tell what was committed, unless it is marked already.
func unknown(err error) error {
	var marked *fault.Error
	if err = fileledger.Classify(err); err == nil || errors.As(err, &marked) {
		return err
	}
	return fault.Unknown(err)
}

// undo takes everything back that was written since the copy began. The frame that says so counts from the moment
// it is durable: what is left to do after a crash, opening does.
func (w *writer) undo(ctx context.Context, u *fileledger.Update) error {
	begin := *u.Undo
	u.Moving = fileledger.Undoing
	if err := w.note(ctx, u); err != nil {
		return err
	}
	x, err := finishUndo(w.data.path, u.Data, begin)
	if err != nil {
		return unknown(err)
	}
	return w.reopen(ctx, x)
}

// begin gives the file its number and begins a new one.
func (w *writer) begin(ctx context.Context) error {
	x := w.ledger.State.Data
	if err := checkNumber(w.data.path, x.File); err != nil {
		return err
	}
	if err := w.note(ctx, &fileledger.Update{Data: x, Undo: w.ledger.State.Undo, Moving: fileledger.Rotating}); err != nil {
		return err
	}
	x, err := finishRotation(ctx, w.data.path, x)
	if err != nil {
		return unknown(err)
	}
	return w.reopen(ctx, x)
}

// reopen opens the file a move has left, and notes that the move is done.
func (w *writer) reopen(ctx context.Context, x fileledger.Extent) error {
	d, err := openData(w.data.path, x)
	if err != nil {
		return unknown(err)
	}
	_ = w.data.file.Close()
	w.data = d
	return w.note(ctx, &fileledger.Update{Data: x, Undo: w.ledger.State.Undo})
}

// Close gives the file back. What was staged is cut off, if this is still the only writer.
func (w *writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ledger == nil {
		return nil
	}
	if w.ledger.Verify() == nil {
		w.data.cut(w.ledger.State.Data)
	}
	_ = w.data.file.Close()
	w.ledger.Close()
	w.ledger, w.failed = nil, errors.New("the writer is closed")
	return nil
}
