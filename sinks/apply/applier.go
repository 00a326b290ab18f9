package apply

import (
	"context"
	"errors"
	"fmt"

	"github.com/rs/zerolog"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
)

// Target is one lane of a SQL target, inside a transaction of its own, as far as applying needs it. Its methods
// have one caller at a time.
type Target interface {
	// Table says how rows of a source's table are written. The answer stays the same until Schema or Rewind.
	Table(ctx context.Context, t *schema.Table) (*Table, error)
	// Run executes steps in order and holds each to its promise. What the target refuses because of rows comes back
	// as *[Rejected]; any other error ends the lane.
	Run(ctx context.Context, steps []Step) error
	// Schema takes note of a new version of a table.
	Schema(ctx context.Context, c *schema.Change) error
	// Rewind undoes what Run and Schema did since the group, or the part of a big transaction, began.
	Rewind(ctx context.Context) error
}

// Rejected says that a target refused something because of the rows.
type Rejected struct {
	Step int
	Row  int   // in the step, -1 when it is not known
	Err  error // a [fault.Error] without the name of the change
}

// Error is the refusal's text.
func (r *Rejected) Error() string { return r.Err.Error() }

// Unwrap is the refusal.
func (r *Rejected) Unwrap() error { return r.Err }

// CodeUnusable is the fault of a change that says too little to be applied.
const CodeUnusable = "target.change_unusable"

// Applier applies the batches of a group to a target. The zero value is not usable; see [NewApplier].
type Applier struct {
	builder *Builder
	log     zerolog.Logger
	tables  map[*schema.Table]*Table
}

// NewApplier makes an applier for one lane.
func NewApplier(log zerolog.Logger) *Applier {
	return &Applier{builder: NewBuilder(), log: log, tables: map[*schema.Table]*Table{}}
}

// Apply runs the changes of batches on t. When the target refuses something, they are undone and applied once more,
// change by change: either that passes, or the change that is refused is named by the error.
func (a *Applier) Apply(ctx context.Context, t Target, batches []*schema.Batch) error {
	rejected, err := a.pass(ctx, t, batches, false)
	if rejected == nil {
		return err
	}
	if err := t.Rewind(ctx); err != nil {
		return err
	}
	blamed := a.blame(rejected)
	again, err := a.pass(ctx, t, batches, true)
	if again != nil {
		return a.name(again)
	}
	if err == nil && blamed != nil && !blamed.Careful {
		blamed.Careful = true
		a.log.Info().Str("table", blamed.Source.String()).Str("reason", fault.Of(rejected).Code).
			Msg("changes of this table are applied in order from now on")
	}
	return err
}

// blame finds the table a refusal is about, if folding could be the reason. The lane keeps its tables over a
// rewind unless a schema change was undone, and then a new one starts innocent.
func (a *Applier) blame(r *Rejected) *Table {
	if r.Step < 0 || r.Step >= len(a.builder.steps) {
		return nil
	}
	return a.builder.steps[r.Step].Table
}

// pass applies the batches once. The refusal is nil unless the target, or the builder, refused a change.
func (a *Applier) pass(ctx context.Context, t Target, batches []*schema.Batch, exact bool) (*Rejected, error) {
	a.builder.Reset()
	a.builder.Exact = exact
	clear(a.tables)
	for _, b := range batches {
		for i := range b.Changes {
			err := a.take(ctx, t, b, i)
			if err == nil {
				continue
			}
			if errors.Is(err, errSequence) && !exact {
				return &Rejected{Step: -1, Row: -1, Err: err}, nil
			}
			return asRejected(err), err
		}
	}
	err := a.flush(ctx, t)
	return asRejected(err), err
}

// asRejected is err as a refusal, or nil.
func asRejected(err error) *Rejected {
	var r *Rejected
	if errors.As(err, &r) {
		return r
	}
	return nil
}

// take hands one change to the builder, or to the target where it is not about rows.
func (a *Applier) take(ctx context.Context, t Target, b *schema.Batch, i int) error {
	c := &b.Changes[i]
	switch c.Op {
	case schema.OpMessage:
		return nil
	case schema.OpSchema:
		if err := a.flush(ctx, t); err != nil {
			return err
		}
		clear(a.tables)
		return t.Schema(ctx, c)
	case schema.OpTruncate:
		tables := make([]*Table, len(c.Truncate.Tables))
		for n, source := range c.Truncate.Tables {
			table, err := a.table(ctx, t, source)
			if err != nil {
				return err
			}
			tables[n] = table
		}
		a.builder.Truncate(c.Truncate, tables, b, i)
		return nil
	}
	table, err := a.table(ctx, t, c.Table)
	if err != nil {
		return err
	}
	err = a.builder.Add(table, b, i)
	if err == nil || errors.Is(err, errSequence) {
		return err
	}
	var missing *MissingError
	if errors.As(err, &missing) {
		return err
	}
	return fault.Record(CodeUnusable, fmt.Errorf("%w, at %s", err, place(b, int32(i))), unusableRemedy)
}

const unusableRemedy = "give the source's table a primary key or REPLICA IDENTITY FULL,\n" +
	"or take the table out of the pipeline"

// table finds how a table is written.
func (a *Applier) table(ctx context.Context, t Target, source *schema.Table) (*Table, error) {
	if table := a.tables[source]; table != nil {
		return table, nil
	}
	table, err := t.Table(ctx, source)
	if err != nil {
		return nil, err
	}
	a.tables[source] = table
	return table, nil
}

// flush runs what the builder holds. Its steps are kept until the next change, so that a refusal can be named.
func (a *Applier) flush(ctx context.Context, t Target) error {
	if a.builder.Empty() {
		return nil
	}
	if err := t.Run(ctx, a.builder.Steps()); err != nil {
		return err
	}
	a.builder.Reset()
	return nil
}

// name says which change was refused.
func (a *Applier) name(r *Rejected) error {
	f := *fault.Of(r.Err)
	if r.Step >= 0 && r.Step < len(a.builder.steps) {
		step := &a.builder.steps[r.Step]
		f.Err = fmt.Errorf("%s: %w", Describe(step, max(r.Row, 0)), f.Err)
	}
	if f.Class == fault.Retryable {
		f.Class = fault.PerRecord
	}
	return &f
}
