package null

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"sync"
	"time"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/failpoint"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/schema/wire"
	"github.com/rowferry/rowferry/sinks"
	"github.com/rowferry/rowferry/sinks/fileledger"
)

// How long frames may wait for the disk, and the result for its file.
const (
	syncEvery   = 10 * time.Second
	resultEvery = time.Second
)

// writer sums what it is given.
type writer struct {
	json    *wire.JSON // nil unless every change is encoded too
	pool    sync.Pool  // of *scratch
	results sync.Pool  // of *payload

	mu      sync.Mutex // guards everything below; held through each Stage and Commit
	result  string
	ledger  *fileledger.Ledger
	staged  map[string]fileledger.Tally // what parts without their commit brought
	synced  time.Time
	written time.Time
	failed  error
}

// scratch is the memory of one Encode.
type scratch struct {
	hasher hasher
	lines  []byte
}

// payload is what a batch adds to the sums.
type payload struct {
	tallies []tally
	rows    int
}

// tally is what a batch adds for one operation on one table.
type tally struct {
	table *schema.Table
	op    schema.Op
	fileledger.Tally
}

// Rows counts changes.
func (p *payload) Rows() int { return p.rows }

// Bytes is nothing: the rows are gone.
func (p *payload) Bytes() int { return 0 }

// Encode decodes and hashes every value of a batch.
func (w *writer) Encode(b *schema.Batch) (sinks.Payload, error) {
	if b.Copy != nil && b.Copy.Raw != nil {
		if err := schema.DecodeCopy(b); err != nil {
			return nil, fmt.Errorf("decoding copied rows: %w", err)
		}
	}
	s, ok := w.pool.Get().(*scratch)
	if !ok {
		s = &scratch{}
	}
	defer w.pool.Put(s)
	p, ok := w.results.Get().(*payload)
	if !ok {
		p = &payload{}
	}
	p.tallies, p.rows = p.tallies[:0], b.Rows()
	for i := range b.Changes {
		if err := p.add(&s.hasher, b, &b.Changes[i]); err != nil {
			return nil, err
		}
	}
	if w.json != nil {
		lines, err := w.json.AppendBatch(s.lines[:0], b)
		if err != nil {
			return nil, err
		}
		s.lines = lines
	}
	return p, nil
}

// add adds one change.
func (p *payload) add(h *hasher, b *schema.Batch, c *schema.Change) error {
	switch c.Op {
	case schema.OpMessage, schema.OpSchema:
		return nil
	case schema.OpTruncate:
		for _, t := range c.Truncate.Tables {
			p.tallyOf(t, c.Op).Rows++
		}
		return nil
	}
	row := c.After
	if row.Count == 0 {
		row = c.Before
	}
	sum, err := h.row(c.Table, b.Row(row), b.Arena)
	if err != nil {
		return err
	}
	t := p.tallyOf(c.Table, c.Op)
	t.Rows++
	t.Sum += sum
	return nil
}

// tallyOf finds or makes the tally of one operation on one table. Changes come in runs, so the last ones are looked
// at first, and only a few: two entries for one table are added up later.
func (p *payload) tallyOf(t *schema.Table, op schema.Op) *tally {
	for i := len(p.tallies) - 1; i >= max(0, len(p.tallies)-8); i-- {
		if x := &p.tallies[i]; x.table == t && x.op == op {
			return x
		}
	}
	p.tallies = append(p.tallies, tally{table: t, op: op})
	return &p.tallies[len(p.tallies)-1]
}

// Stage keeps what a part brings until its commit.
func (w *writer) Stage(ctx context.Context, _ int, p sinks.Payload) error {
	return w.do(ctx, func() error {
		w.collect(w.staged, p)
		return failpoint.Hit(ctx, "apply.mid")
	})
}

// Commit adds a group to the sums, together with its position.
func (w *writer) Commit(ctx context.Context, g sinks.Group) error {
	return w.do(ctx, func() error {
		state := &w.ledger.State
		if g.Copy == nil && g.Seq != state.Seq+1 {
			return fault.Halt("target.out_of_order", fmt.Errorf("group %d came after group %d", g.Seq, state.Seq),
				"report it, with the log around it\nstart the pipeline again: it goes on from the ledger")
		}
		if err := failpoint.Hit(ctx, "apply.before_cas"); err != nil {
			return err
		}
		if err := w.ledger.Verify(); err != nil {
			return err
		}
		if err := failpoint.Hit(ctx, "apply.after_cas"); err != nil {
			return err
		}
		counts := w.staged
		for _, p := range g.Payloads {
			w.collect(counts, p)
		}
		if err := failpoint.Hit(ctx, "apply.mid"); err != nil {
			return err
		}
		if g.Phase == schema.PhaseCreating && g.Copy == nil {
			for key := range state.Counts { // a copy that was under way is undone
				counts[key] = fileledger.Tally{}
			}
		}
		return w.record(ctx, &g, counts)
	})
}

// collect adds a payload to sums that start from what the ledger says.
func (w *writer) collect(counts map[string]fileledger.Tally, p sinks.Payload) {
	part := p.(*payload)
	for _, t := range part.tallies {
		key := tallyKey(t.table, t.op)
		sum, ok := counts[key]
		if !ok {
			sum = w.ledger.State.Counts[key]
		}
		counts[key] = fileledger.Tally{Rows: sum.Rows + t.Rows, Sum: sum.Sum + t.Sum}
	}
	w.results.Put(part)
}

// record notes the group in the ledger.
func (w *writer) record(ctx context.Context, g *sinks.Group, counts map[string]fileledger.Tally) error {
	if err := failpoint.Hit(ctx, "apply.before_commit"); err != nil {
		return err
	}
	moved := g.Copy == nil && g.Phase != w.ledger.State.Phase
	err := w.ledger.Write(ctx, &fileledger.Update{
		Seq: g.Seq, Position: g.Upto, Phase: g.Phase, Made: g.Made, State: g.State, Counts: counts,
	})
	if err == nil {
		err = failpoint.Hit(ctx, "apply.commit_sent_no_reply")
	}
	if err == nil && (moved || time.Since(w.synced) > syncEvery) {
		err, w.synced = w.ledger.Sync(), time.Now()
	}
	if err != nil {
		var marked *fault.Error
		if err = fileledger.Classify(err); errors.As(err, &marked) {
			return err
		}
		return fault.Unknown(err)
	}
	clear(w.staged)
	if moved || time.Since(w.written) > resultEvery {
		if err := w.writeResult(); err != nil {
			return err
		}
	}
	return failpoint.Hit(ctx, "apply.after_commit")
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

// Result is what null.json says of one table.
type Result struct {
	Rows int64  `json:"rows"` // changes that brought or removed a row
	Sum  uint64 `json:"sum"`  // of the hashes of these rows
	// Ops tells the same apart by operation: r, c, u, d, and t, which has no rows and so no sum.
	Ops map[string]fileledger.Tally `json:"ops"`
}

// Results turns a ledger's tallies into one result for each table.
func Results(counts map[string]fileledger.Tally) map[string]Result {
	out := map[string]Result{}
	for key, t := range counts {
		op, table := key[:1], key[2:]
		r, ok := out[table]
		if !ok {
			r.Ops = map[string]fileledger.Tally{}
		}
		r.Ops[op] = t
		if op != "t" {
			r.Rows, r.Sum = r.Rows+t.Rows, r.Sum+t.Sum
		}
		out[table] = r
	}
	return out
}

// writeResult replaces null.json.
func (w *writer) writeResult() error {
	w.written = time.Now()
	text, err := json.Marshal(Results(maps.Clone(w.ledger.State.Counts)))
	if err != nil {
		return fmt.Errorf("encoding the result: %w", err)
	}
	tmp := w.result + ".tmp"
	if err := os.WriteFile(tmp, append(text, '\n'), 0o600); err != nil {
		return fileledger.Classify(fmt.Errorf("writing the result: %w", err))
	}
	if err := os.Rename(tmp, w.result); err != nil {
		return fileledger.Classify(fmt.Errorf("writing the result: %w", err))
	}
	return nil
}

// Close writes the result and gives the ledger back.
func (w *writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ledger == nil {
		return nil
	}
	var err error
	if w.ledger.Verify() == nil {
		err = errors.Join(w.ledger.Sync(), w.writeResult())
	}
	w.ledger.Close()
	w.ledger, w.failed = nil, errors.New("the writer is closed")
	return err
}
