// Package sinktest is the conformance suite of sinks: what [sinks.Sink] and [sinks.Writer] promise, as tests that
// every target passes. A connector calls [Run] from one of its own tests.
package sinktest

import (
	"context"
	"testing"

	"github.com/rowferry/rowferry/sinks"
)

// Style says how a reader sees the target.
type Style uint8

// The styles.
const (
	Rows   Style = iota // tables: the rows as they are now
	Events              // every change, in the order it was written
	Counts              // only how many changes of each kind came to each table
)

// Harness is what a connector brings.
type Harness struct {
	Style Style
	// New makes a fresh target that holds nothing and has never been opened. It creates tables when they are
	// announced.
	New func(t *testing.T) Target
	// Waivers names the cases this target cannot pass, each with the reason. A waived case that passes fails the
	// suite.
	Waivers map[string]string
}

// Target is one target, for the length of one case.
type Target struct {
	// Open opens the target as a new process would: with a Sink of its own.
	Open func(ctx context.Context, c sinks.Claim) (sinks.Writer, sinks.Held, error)
	// Kill ends a writer as the death of its process would: nothing is flushed, nothing finished. Without it Close
	// stands in.
	Kill func(t testing.TB, w sinks.Writer)
	// Steal is set by targets that refuse to be opened while another live writer has them. It makes the next Open
	// pass nevertheless, as if the lock had been lost.
	Steal func(t testing.TB)
	// Read is what a reader of the target finds: rows in any order, or events in theirs. Counts leaves Values nil.
	Read func(t testing.TB) []Event
	// Inspector reads the ledger from outside; nil when the sink has none.
	Inspector sinks.Inspector
}

// kase is one case of the suite.
type kase struct {
	name string
	run  func(r *run)
	luck bool // how it ends depends on timing: its waiver does not go stale
}

// Run plays every case against h, each on a fresh target.
func Run(t *testing.T, h Harness) {
	known := map[string]bool{}
	for _, c := range cases() {
		known[c.name] = true
		t.Run(c.name, func(t *testing.T) {
			reason, waived := h.Waivers[c.name]
			r := &run{t: t, style: h.Style, waived: waived, target: h.New(t)}
			defer r.end()
			func() {
				defer r.recoverWaived()
				c.run(r)
			}()
			switch {
			case waived && !r.failed && !c.luck:
				t.Errorf("the case passes: remove its waiver %q", reason)
			case waived:
				t.Skipf("waived: %s", reason)
			}
		})
	}
	for name := range h.Waivers {
		if !known[name] {
			t.Errorf("waiver for %q: there is no such case", name)
		}
	}
}

// cases lists the suite.
func cases() []kase {
	return []kase{
		{name: "open_of_nothing", run: openOfNothing},
		{name: "commit_moves_the_position", run: commitMovesThePosition},
		{name: "barrier_moves_the_position", run: barrierMovesThePosition},
		{name: "begins_with_the_stream", run: beginsWithTheStream},
		{name: "every_operation", run: everyOperation},
		{name: "groups_in_order", run: groupsInOrder},
		{name: "several_batches_in_a_group", run: severalBatchesInAGroup},
		{name: "encode_in_parallel", run: encodeInParallel},
		{name: "messages_and_schema_changes_pass", run: messagesAndSchemaChangesPass},
		{name: "kill_leaves_nothing_half_done", run: killLeavesNothingHalfDone},
		{name: "cancelled_commit_is_whole_or_nothing", run: cancelledCommitIsWholeOrNothing, luck: true},
		{name: "cancelled_context_returns", run: cancelledContextReturns},
		{name: "second_writer_shuts_out_the_first", run: secondWriterShutsOutTheFirst},
		{name: "other_source_is_refused", run: otherSourceIsRefused},
		{name: "other_scope_is_refused", run: otherScopeIsRefused},
		{name: "stage_is_invisible_until_commit", run: stageIsInvisibleUntilCommit},
		{name: "stage_is_dropped_by_close", run: stageIsDroppedByClose},
		{name: "copy_on_lanes", run: copyOnLanes},
		{name: "copied_rows_as_changes", run: copiedRowsAsChanges},
		{name: "creating_undoes_the_copy", run: creatingUndoesTheCopy},
		{name: "state_round_trip", run: stateRoundTrip},
		{name: "made_round_trip", run: madeRoundTrip},
		{name: "inspect_shuts_out_nobody", run: inspectShutsOutNobody},
		{name: "forget", run: forget},
		{name: "close_leaves_nothing", run: closeLeavesNothing},
	}
}
