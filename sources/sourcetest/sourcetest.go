// Package sourcetest is the conformance suite of sources: what [sources.Source] and [sources.Stream] promise, as
// tests that every source passes. A connector calls [Run] from one of its own tests.
//
// The suite needs one table of the source with an integer key and a text, and the harness to change it. A strict
// model stands in for the target: a row that comes twice, or is missing when it changes, fails the case. So an
// exact cut between copy and stream, and an exact continuation from every position, show as equality.
package sourcetest

import (
	"testing"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/sources"
)

// Op is one change of the table.
type Op struct {
	Op  schema.Op // OpCreate, OpUpdate or OpDelete
	Key int64
	// To is the key an update gives the row; the same as Key when the key stays.
	To   int64
	Text string
}

// Harness is what a connector brings.
type Harness struct {
	// New makes a database of its own for one case, with the table, which is empty.
	New func(t *testing.T) Database
	// Waivers names the cases this source cannot pass, each with the reason. A waived case that passes fails the
	// suite.
	Waivers map[string]string
}

// Database is one source database, for the length of one case.
type Database struct {
	// Source makes a source as a new process would: of the same pipeline, over the one table.
	Source func(t testing.TB) sources.Source
	// Apply makes the changes in one transaction. It may be called beside everything else, by one caller.
	Apply func(t testing.TB, ops ...Op)
	// Read is what the table holds now.
	Read func(t testing.TB) map[int64]string
	// Made lists what a pipeline made at the source and that exists now, spelled as in [schema.Batch.Made].
	Made func(t testing.TB) []string
	// Acked is the offset up to which the database believes that it may forget its log.
	Acked func(t testing.TB) uint64
}

// kase is one case of the suite.
type kase struct {
	name string
	run  func(r *run)
}

// Run plays every case against h, each on a fresh database.
func Run(t *testing.T, h Harness) {
	known := map[string]bool{}
	for _, c := range cases() {
		known[c.name] = true
		t.Run(c.name, func(t *testing.T) {
			reason, waived := h.Waivers[c.name]
			r := &run{t: t, waived: waived, db: h.New(t), model: newModel()}
			defer r.end()
			func() {
				defer r.recoverWaived()
				c.run(r)
			}()
			switch {
			case waived && !r.failed:
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
		{"identity_is_stable", identityIsStable},
		{"phases_in_order", phasesInOrder},
		{"nothing_is_made_before_the_ack", nothingIsMadeBeforeTheAck},
		{"no_rows_before_the_ack", noRowsBeforeTheAck},
		{"exact_cut_under_writes", exactCutUnderWrites},
		{"empty_table", emptyTable},
		{"interrupted_copy_begins_again", interruptedCopyBeginsAgain},
		{"every_position_continues_exactly", everyPositionContinuesExactly},
		{"acks_never_pass", acksNeverPass},
		{"barriers_come_when_idle", barriersComeWhenIdle},
		{"big_transaction_in_parts", bigTransactionInParts},
		{"damaged_position_is_refused", damagedPositionIsRefused},
		{"lock_is_exclusive", lockIsExclusive},
		{"two_streams", twoStreams},
		{"cancelled_next_returns", cancelledNextReturns},
		{"close_leaves_nothing", closeLeavesNothing},
	}
}
