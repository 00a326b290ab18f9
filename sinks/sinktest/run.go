package sinktest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/sinks"
)

// patience bounds every call the suite makes.
const patience = 30 * time.Second

// claim is what the suite says of itself unless a case is about claims.
var claim = sinks.Claim{Pipeline: "suite", Source: "test:1/db/slot", Fingerprint: "scope-1", Holder: "sinktest"}

// run is one case under way: the writer, and what the target has to hold.
type run struct {
	t      *testing.T
	style  Style
	waived bool
	failed bool
	target Target

	w     sinks.Writer // the open writer, nil when none is
	held  sinks.Held   // as Open returned it
	want  []Event      // everything committed, in order
	seq   int64        // of the last group committed
	at    schema.Position
	phase schema.Phase
	tick  int // makes positions, transactions and offsets
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
	if r.w != nil {
		_ = r.w.Close()
	}
}

// context bounds one call.
func (r *run) context() (context.Context, context.CancelFunc) {
	return context.WithTimeout(r.t.Context(), patience)
}

// open opens the target with the usual claim; the case ends when it cannot.
func (r *run) open() {
	r.t.Helper()
	w, held, err := r.tryOpen(claim)
	if err != nil {
		r.fatalf("Open: got %v, want a writer", err)
	}
	if held.Limits.Lanes < 1 || held.Limits.CopyLanes < 1 {
		r.fatalf("Open: got limits %+v, want at least one lane of each kind", held.Limits)
	}
	r.w, r.held = w, held
}

// tryOpen opens the target with any claim.
func (r *run) tryOpen(c sinks.Claim) (sinks.Writer, sinks.Held, error) {
	ctx, cancel := r.context()
	defer cancel()
	return r.target.Open(ctx, c)
}

// close closes the open writer.
func (r *run) close() {
	r.t.Helper()
	if err := r.w.Close(); err != nil {
		r.fatalf("Close: got %v, want nil", err)
	}
	r.w = nil
}

// kill ends the open writer without a word.
func (r *run) kill() {
	if r.target.Kill == nil {
		_ = r.w.Close()
	} else {
		r.target.Kill(r.t, r.w)
	}
	r.w = nil
}

// reopen closes, opens and checks that the target holds exactly what was committed.
func (r *run) reopen() {
	r.t.Helper()
	if r.w != nil {
		r.close()
	}
	r.open()
	r.checkHeld(r.held)
	r.checkContent()
}

// checkHeld compares what the ledger says with what was committed.
func (r *run) checkHeld(held sinks.Held) {
	r.t.Helper()
	if held.Seq != r.seq || held.Position != r.at || held.Phase != r.phase {
		r.fatalf("held: got seq %d, position %v, phase %q; want seq %d, position %v, phase %q",
			held.Seq, held.Position, held.Phase, r.seq, r.at, r.phase)
	}
}

// checkContent compares what a reader sees with what was committed.
func (r *run) checkContent() {
	r.t.Helper()
	if diff := r.diff(r.want); diff != "" {
		r.fatalf("content differs (-want +got):\n%s", diff)
	}
}

// diff is the difference between the target and the events given, by the target's style.
func (r *run) diff(events []Event) string {
	got := r.target.Read(r.t)
	switch r.style {
	case Rows:
		return cmp.Diff(sorted(fold(events)), sorted(got))
	case Counts:
		return cmp.Diff(count(events), count(got))
	}
	return cmp.Diff(lines(events), lines(got))
}

// commit encodes the batches, commits them as one group and notes what they bring.
func (r *run) commit(batches ...*scripted) {
	r.t.Helper()
	if err := r.tryCommit(batches...); err != nil {
		r.fatalf("Commit: got %v, want nil", err)
	}
	r.note(batches...)
}

// tryCommit commits the batches as the next group.
func (r *run) tryCommit(batches ...*scripted) error {
	ctx, cancel := r.context()
	defer cancel()
	return r.commitOn(ctx, r.w, batches...)
}

// commitOn commits the batches as the next group of any writer.
func (r *run) commitOn(ctx context.Context, w sinks.Writer, batches ...*scripted) error {
	g := sinks.Group{Seq: r.seq + 1}
	for _, b := range batches {
		p, err := w.Encode(b.Batch)
		if err != nil {
			return fmt.Errorf("encoding: %w", err)
		}
		g.Payloads = append(g.Payloads, p)
		g.Upto, g.Phase = b.Upto, b.Phase
		g.Tables, g.Plan = append(g.Tables, b.Tables...), append(g.Plan, b.Plan...)
		g.Takeovers = append(g.Takeovers, b.Takeovers...)
		g.Made, g.State = append(g.Made, b.Made...), append(g.State, b.State...)
	}
	return w.Commit(ctx, g)
}

// note says that the batches were committed.
func (r *run) note(batches ...*scripted) {
	r.seq++
	for _, b := range batches {
		r.want = append(r.want, b.events...)
		r.at, r.phase = b.Upto, b.Phase
	}
}

// commitCopy commits one batch of copied rows on a lane.
func (r *run) commitCopy(lane int, b *scripted) error {
	ctx, cancel := r.context()
	defer cancel()
	p, err := r.w.Encode(b.Batch)
	if err != nil {
		return fmt.Errorf("encoding: %w", err)
	}
	return r.w.Commit(ctx, sinks.Group{
		Lane: lane, Payloads: []sinks.Payload{p}, Phase: schema.PhaseCopy, Copy: b.Copy,
	})
}

// begin takes a new pipeline to the phase given: creating, copy with the suite's tables, stream.
func (r *run) begin(upto schema.Phase) {
	r.t.Helper()
	r.open()
	for _, phase := range []schema.Phase{schema.PhaseCreating, schema.PhaseCopy, schema.PhaseStream} {
		b := r.barrier(phase)
		if phase == schema.PhaseCopy {
			b.Tables = []*schema.Table{Accounts, Entries}
			b.Plan = []schema.CopyPlan{{Table: Accounts, Rows: -1, Bytes: -1}, {Table: Entries, Rows: -1, Bytes: -1}}
		}
		r.commit(b)
		if phase == upto {
			return
		}
	}
}

// sorted orders rows for a comparison that does not care for order.
func sorted(events []Event) []string {
	out := make([]string, len(events))
	for i, e := range events {
		out[i] = e.Table + " " + strings.Join(e.Values, "|")
	}
	slices.Sort(out)
	return out
}

// lines writes events for comparison in order.
func lines(events []Event) []string {
	out := make([]string, len(events))
	for i, e := range events {
		out[i] = fmt.Sprintf("%d %s %s", e.Op, e.Table, strings.Join(e.Values, "|"))
	}
	return out
}

// count counts events by table and operation.
func count(events []Event) map[string]int {
	out := map[string]int{}
	for _, e := range events {
		out[fmt.Sprintf("%d %s", e.Op, e.Table)]++
	}
	return out
}
