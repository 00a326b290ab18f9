package sourcetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sources"
)

func identityIsStable(r *run) {
	ctx, cancel := r.context()
	defer cancel()
	first, err := r.db.Source(r.t).Identify(ctx)
	if err != nil || first == "" {
		r.fatalf("Identify: got %q %v, want a name", first, err)
	}
	again, err := r.db.Source(r.t).Identify(ctx)
	if err != nil || again != first {
		r.fatalf("Identify again: got %q %v, want %q", again, err, first)
	}
	if made := r.db.Made(r.t); len(made) > 0 {
		r.fatalf("Identify made %v", made)
	}
}

func phasesInOrder(r *run) {
	r.seed(100)
	planned, announced := 0, 0
	r.seen = func(b *schema.Batch) { planned += len(b.Plan); announced += len(b.Tables) }
	r.open()
	r.until(r.streaming)
	want := []schema.Phase{schema.PhaseCreating, schema.PhaseCopy, schema.PhaseStream}
	if diff := cmp.Diff(want, r.phases); diff != "" {
		r.fatalf("phases (-want +got):\n%s", diff)
	}
	if planned != 1 || announced != 1 {
		r.fatalf("got %d plans and %d tables, want one of each", planned, announced)
	}
	r.equals(r.db.Read(r.t))
	for _, name := range r.db.Made(r.t) {
		if !r.model.made[name] {
			r.fatalf("%s was made and not announced: %v", name, r.model.made)
		}
	}
	r.close()
}

// notNext checks that Next waits.
func (r *run) notNext(why string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), pause)
	defer cancel()
	if b, err := r.stream.Next(ctx); err == nil {
		r.fatalf("Next gave a batch of phase %q %s", b.Phase, why)
	}
}

func nothingIsMadeBeforeTheAck(r *run) {
	r.seed(3)
	r.open()
	ctx, cancel := r.context()
	defer cancel()
	if _, phase := r.take(ctx); phase != schema.PhaseCreating {
		r.fatalf("got phase %q first, want creating", phase)
	}
	r.notNext("before the ack of phase creating")
	if made := r.db.Made(r.t); len(made) > 0 {
		r.fatalf("%v was made before the ack", made)
	}
	_ = r.stream.Close()
	r.open() // nothing was made: it begins again
	r.until(r.streaming)
	r.equals(r.db.Read(r.t))
}

func noRowsBeforeTheAck(r *run) {
	r.seed(3)
	r.open()
	ctx, cancel := r.context()
	defer cancel()
	r.step(ctx)
	if _, phase := r.take(ctx); phase != schema.PhaseCopy {
		r.fatalf("got phase %q, want copy", phase)
	}
	r.notNext("before the ack of phase copy")
}

// write makes n small transactions over keys above base.
func write(t testing.TB, db Database, base int64, n int) {
	for i := range int64(n) {
		key := base + i
		db.Apply(t, Op{Op: schema.OpCreate, Key: key, Text: "new"}, Op{Op: schema.OpUpdate, Key: i % 500, To: i % 500, Text: fmt.Sprint(key)})
		switch i % 4 {
		case 1:
			db.Apply(t, Op{Op: schema.OpUpdate, Key: key, To: key + 1_000_000, Text: "moved"})
		case 2:
			db.Apply(t, Op{Op: schema.OpDelete, Key: key})
		case 3:
			db.Apply(t, Op{Op: schema.OpDelete, Key: key}, Op{Op: schema.OpCreate, Key: key, Text: "again"})
		}
	}
}

func exactCutUnderWrites(r *run) {
	r.seed(2000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		write(r.t, r.db, 10_000, 300)
	}()
	defer func() { <-done }()
	r.open()
	r.until(r.streaming)
	<-done
	r.reaches(r.db.Read(r.t))
	r.close()
}

func emptyTable(r *run) {
	ended := false
	r.seen = func(b *schema.Batch) { ended = ended || b.Copy != nil && b.Copy.Done && b.Copy.Rows == 0 }
	r.open()
	r.until(r.streaming)
	if !ended {
		r.fatalf("the end of the empty table's copy was not told")
	}
	r.db.Apply(r.t, Op{Op: schema.OpCreate, Key: 1, Text: "first"})
	r.reaches(map[int64]string{1: "first"})
	r.close()
}

func interruptedCopyBeginsAgain(r *run) {
	for round, phase := range []schema.Phase{schema.PhaseCreating, schema.PhaseCopy} {
		r.seed0(round)
		r.open()
		r.until(func() bool { return r.model.phase == phase })
		if phase == schema.PhaseCopy {
			r.untilRow()
		}
		r.close()
	}
	r.db.Apply(r.t, Op{Op: schema.OpCreate, Key: -1, Text: "between"})
	r.phases = nil
	r.open()
	r.until(r.streaming)
	if r.phases[0] != schema.PhaseCreating {
		r.fatalf("got phases %v, want creating again", r.phases)
	}
	r.reaches(r.db.Read(r.t))
	for _, name := range r.db.Made(r.t) {
		if !r.model.made[name] {
			r.fatalf("%s was made and not announced: %v", name, r.model.made)
		}
	}
	r.close()
}

// seed0 fills the table in the first round.
func (r *run) seed0(round int) {
	if round == 0 {
		r.seed(1000)
	}
}

// untilRow takes batches until a row was copied.
func (r *run) untilRow() { r.until(func() bool { return len(r.model.rows) > 0 }) }

func everyPositionContinuesExactly(r *run) {
	r.seed(500)
	r.mute = true // the log stays, so that every position can be continued
	var places []*model
	r.each = func(schema.Position) { places = append(places, r.model.clone()) }
	r.open()
	r.until(r.streaming)
	places = append(places, r.model.clone())
	write(r.t, r.db, 10_000, 40)
	want := r.db.Read(r.t)
	r.reaches(want)
	r.close()
	r.each = nil
	for i, n := 0, len(places); i < n; i += max(n/8, 1) {
		r.model = places[i]
		r.model.phase = schema.PhaseStream
		r.open()
		r.reaches(want)
		r.close()
	}
}

func acksNeverPass(r *run) {
	r.open()
	r.until(r.streaming)
	r.mute = true
	var ends []uint64
	var places []*model
	r.seen = func(b *schema.Batch) {
		for i := range b.Transactions {
			ends = append(ends, b.Transactions[i].End)
		}
	}
	r.each = func(schema.Position) { places = append(places, r.model.clone()) }
	ctx, cancel := r.context()
	defer cancel()
	for key := range int64(10) {
		r.db.Apply(r.t, Op{Op: schema.OpCreate, Key: key, Text: "t"})
	}
	r.reaches(r.db.Read(r.t))
	if got := r.db.Acked(r.t); got >= ends[0] {
		r.fatalf("got %d acked, and nothing of the stream was (it begins at %d)", got, ends[0])
	}
	const fifth = 4
	if err := r.stream.Ack(ctx, places[fifth].at); err != nil {
		r.fatalf("Ack: got %v, want nil", err)
	}
	r.close() // sends the last acknowledgement
	if got := r.db.Acked(r.t); got > ends[fifth] {
		r.fatalf("got %d acked, want at most %d", got, ends[fifth])
	}
	r.model, r.each, r.seen = places[fifth], nil, nil
	r.model.phase = schema.PhaseStream
	r.open()
	r.reaches(r.db.Read(r.t))
	r.close()
}

func barriersComeWhenIdle(r *run) {
	r.open()
	r.until(r.streaming)
	// Whatever empty batches come, they move the position and hold nothing, and the stream goes on behind them.
	ctx, cancel := context.WithTimeout(r.t.Context(), pause)
	defer cancel()
	for {
		b, err := r.stream.Next(ctx)
		if err != nil {
			if !errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
				r.fatalf("Next while idle: got %v", err)
			}
			break
		}
		if len(b.Changes) > 0 || b.Upto.IsZero() {
			r.fatalf("got %d changes and position %v while nothing happened", len(b.Changes), b.Upto)
		}
		r.model.move(b)
		if err := r.stream.Ack(r.t.Context(), b.Upto); err != nil {
			r.fatalf("Ack: got %v, want nil", err)
		}
		b.Release()
	}
	r.close()
	r.db.Apply(r.t, Op{Op: schema.OpCreate, Key: 1, Text: "after"})
	r.open()
	r.reaches(map[int64]string{1: "after"})
	r.close()
}

func bigTransactionInParts(r *run) {
	r.open()
	r.until(r.streaming)
	text := make([]byte, 2000)
	for i := range text {
		text[i] = 'x'
	}
	var ops []Op
	for key := range int64(20_000) {
		ops = append(ops, Op{Op: schema.OpCreate, Key: key, Text: string(text)})
	}
	r.db.Apply(r.t, Op{Op: schema.OpCreate, Key: -1, Text: "before"})
	r.db.Apply(r.t, ops...)
	r.db.Apply(r.t, Op{Op: schema.OpCreate, Key: -2, Text: "behind"})
	parts := 0
	r.seen = func(b *schema.Batch) {
		if b.Part != schema.Whole {
			parts++
		}
		if b.Bytes() > 32<<20 {
			r.fatalf("got a batch of %d bytes", b.Bytes())
		}
	}
	r.reaches(r.db.Read(r.t))
	if parts < 2 {
		r.fatalf("got %d parts of a transaction of 40 MB, want several", parts)
	}
	r.close()
}

func damagedPositionIsRefused(r *run) {
	r.open()
	r.until(r.streaming)
	r.close()
	good := r.model.at
	ctx, cancel := r.context()
	defer cancel()
	for _, p := range []schema.Position{
		{Format: good.Format, Token: good.Token + " "}, {Format: good.Format, Token: ""},
		{Format: good.Format + "0", Token: good.Token}, {Format: "", Token: good.Token},
	} {
		stream, err := r.db.Source(r.t).Stream(ctx, p, r.model.states())
		if err == nil {
			_ = stream.Close()
		}
		if fault.ClassOf(err) != fault.Terminal {
			r.fatalf("Stream from %q: got %v, want a halt", p, err)
		}
	}
}

func lockIsExclusive(r *run) {
	ctx, cancel := r.context()
	defer cancel()
	lost, release, err := r.db.Source(r.t).Lock(ctx)
	if err != nil {
		r.fatalf("Lock: got %v, want it", err)
	}
	if _, _, err := r.db.Source(r.t).Lock(ctx); fault.ClassOf(err) != fault.Busy {
		r.fatalf("Lock while it is held: got %v, want busy", err)
	}
	select {
	case <-lost:
		r.fatalf("the lock is lost without a reason")
	case <-time.After(pause):
	}
	release()
	_, release, err = r.db.Source(r.t).Lock(ctx)
	if err != nil {
		r.fatalf("Lock after the release: got %v, want it", err)
	}
	release()
}

// twoStreams: safety is the sink's, but a source never feeds two streams of one pipeline at once.
func twoStreams(r *run) {
	r.seed(10)
	r.open()
	r.until(r.streaming)
	r.db.Apply(r.t, Op{Op: schema.OpCreate, Key: 100, Text: "one"})
	r.reaches(r.db.Read(r.t))
	first := r.stream
	defer func() { _ = first.Close() }()
	ctx, cancel := r.context()
	defer cancel()
	second, err := r.db.Source(r.t).Stream(ctx, r.model.at, r.model.states())
	r.db.Apply(r.t, Op{Op: schema.OpCreate, Key: 101, Text: "two"})
	if err != nil { // the first one keeps the log
		if class := fault.ClassOf(err); class != fault.Retryable && class != fault.Busy {
			r.fatalf("a second stream: got %v, want it to be tried again", err)
		}
		r.reaches(r.db.Read(r.t))
		return
	}
	r.stream = second
	r.reaches(r.db.Read(r.t))
	for { // what the first one still held may come; then it has to end
		b, err := first.Next(ctx)
		if err != nil {
			if ctx.Err() != nil {
				r.fatalf("the first stream lives on beside the second")
			}
			return
		}
		b.Release()
	}
}

func cancelledNextReturns(r *run) {
	r.open()
	r.until(r.streaming)
	ctx, cancel := context.WithCancel(r.t.Context())
	time.AfterFunc(pause, cancel)
	began := time.Now()
	for {
		b, err := r.stream.Next(ctx)
		if err != nil {
			if errors.Is(err, io.EOF) {
				r.fatalf("Next: got io.EOF when cancelled")
			}
			if !errors.Is(err, sources.ErrPaused) {
				r.fatalf("Next: got %v when cancelled, want an error that wraps ErrPaused", err)
			}
			break
		}
		b.Release()
	}
	if took := time.Since(began); took > 5*time.Second {
		r.fatalf("Next returned %s after it was cancelled", took)
	}
	r.close()
}

func closeLeavesNothing(r *run) {
	r.seed(2000)
	before := goleak.IgnoreCurrent()
	stages := []func() bool{
		func() bool { return r.model.phase == schema.PhaseCreating },
		func() bool { return r.model.phase == schema.PhaseCopy },
		func() bool { return len(r.model.rows) > 0 },
		r.streaming,
		func() bool { return slices.Contains(r.phases, schema.PhaseStream) },
	}
	for i, stage := range stages {
		r.open()
		r.until(stage)
		r.close()
		if err := goleak.Find(before); err != nil {
			r.fatalf("stage %d leaves: %v", i, err)
		}
	}
}
