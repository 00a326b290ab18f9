package sourcetest

import (
	"context"
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/sources"
)

// patience bounds what a case waits for.
const patience = 60 * time.Second

// pause is how long a case waits for what must not happen.
const pause = 300 * time.Millisecond

// run is one case under way: the database, the open stream, and the target that takes what it brings.
type run struct {
	t      *testing.T
	waived bool
	failed bool
	db     Database

	stream sources.Stream
	model  *model
	phases []schema.Phase
	mute   bool                  // do not ack positions of the stream
	each   func(schema.Position) // after every transaction
	seen   func(b *schema.Batch) // before a batch is taken
}

// stop is thrown by fatalf in a waived case.
type stop struct{}

// fatalf ends the case as failed.
func (r *run) fatalf(format string, args ...any) {
	r.t.Helper()
	r.failed = true
	if r.waived {
		r.t.Logf(format, args...)
		panic(stop{})
	}
	r.t.Fatalf(format, args...)
}

// recoverWaived ends a waived case that failed.
func (r *run) recoverWaived() {
	if p := recover(); p != nil {
		if _, ok := p.(stop); !ok {
			panic(p)
		}
	}
}

// end closes what the case left open.
func (r *run) end() {
	if r.stream != nil {
		_ = r.stream.Close()
	}
}

// context bounds a few calls.
func (r *run) context() (context.Context, context.CancelFunc) {
	return context.WithTimeout(r.t.Context(), patience)
}

// open opens a stream where the model stands.
func (r *run) open() {
	r.t.Helper()
	ctx, cancel := r.context()
	defer cancel()
	stream, err := r.db.Source(r.t).Stream(ctx, r.model.at, r.model.states())
	if err != nil {
		r.fatalf("Stream from %v: got %v, want a stream", r.model.at, err)
	}
	r.stream = stream
}

// close ends the stream.
func (r *run) close() {
	r.t.Helper()
	if err := r.stream.Close(); err != nil {
		r.fatalf("Close: got %v, want nil", err)
	}
	r.stream = nil
}

// step takes the next batch and acks what it moves.
func (r *run) step(ctx context.Context) {
	r.t.Helper()
	upto, phase := r.take(ctx)
	if upto.IsZero() || r.mute && phase == schema.PhaseStream {
		return
	}
	if err := r.stream.Ack(ctx, upto); err != nil {
		r.fatalf("Ack: got %v, want nil", err)
	}
}

// take takes the next batch without an ack, and says what it moves.
func (r *run) take(ctx context.Context) (schema.Position, schema.Phase) {
	r.t.Helper()
	b, err := r.stream.Next(ctx)
	if err != nil {
		r.fatalf("Next: got %v, want a batch (phases %v)", err, r.phases)
	}
	if b.Phase != "" && (len(r.phases) == 0 || r.phases[len(r.phases)-1] != b.Phase) {
		r.phases = append(r.phases, b.Phase)
	}
	if r.seen != nil {
		r.seen(b)
	}
	each := r.each
	if each == nil {
		each = func(schema.Position) {}
	}
	upto, phase := b.Upto, b.Phase
	if err := r.model.take(b, each); err != nil {
		r.fatalf("taking a batch: %v", err)
	}
	b.Release()
	return upto, phase
}

// until takes batches until done.
func (r *run) until(done func() bool) {
	r.t.Helper()
	ctx, cancel := r.context()
	defer cancel()
	for !done() {
		r.step(ctx)
	}
}

// streaming tells whether the copy is done.
func (r *run) streaming() bool { return r.model.phase == schema.PhaseStream }

// reaches takes batches until the model holds these rows.
func (r *run) reaches(want map[int64]string) {
	r.t.Helper()
	ctx, cancel := r.context()
	defer cancel()
	for !maps.Equal(r.model.rows, want) {
		if ctx.Err() != nil {
			r.fatalf("rows (-want +got):\n%s", cmp.Diff(want, r.model.rows))
		}
		r.step(ctx)
	}
}

// equals checks the model's rows.
func (r *run) equals(want map[int64]string) {
	r.t.Helper()
	if !maps.Equal(r.model.rows, want) {
		r.fatalf("rows (-want +got):\n%s", cmp.Diff(want, r.model.rows))
	}
}

// seed fills the table.
func (r *run) seed(rows int64) {
	r.t.Helper()
	var ops []Op
	for key := range rows {
		ops = append(ops, Op{Op: schema.OpCreate, Key: key, Text: "seed"})
	}
	r.db.Apply(r.t, ops...)
}
