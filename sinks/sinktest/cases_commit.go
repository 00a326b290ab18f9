package sinktest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
)

// openOfNothing: a target that never saw the pipeline holds no position.
func openOfNothing(r *run) {
	r.open()
	r.checkHeld(r.held)
	if len(r.held.State) != 0 || len(r.held.Made) != 0 {
		r.fatalf("held of nothing: got %d state records and %d objects, want none", len(r.held.State), len(r.held.Made))
	}
	r.reopen()
}

// commitMovesThePosition: rows, position and seq come back exactly as committed.
func commitMovesThePosition(r *run) {
	r.begin(schema.PhaseStream)
	r.commit(r.transaction(insert(Accounts, "1", "ada", Null)))
	r.commit(r.transaction(insert(Accounts, "2", "grace", "x"), insert(Entries, "7", "12.50", "t")))
	r.reopen()
	r.commit(r.transaction(update(Accounts, "1", "ada", "now with a note")))
	r.reopen()
}

// barrierMovesThePosition: an empty batch moves the position and nothing else.
func barrierMovesThePosition(r *run) {
	r.begin(schema.PhaseStream)
	r.commit(r.transaction(insert(Accounts, "1", "ada", Null)))
	r.commit(r.barrier(schema.PhaseStream))
	r.reopen()
	r.commit(r.barrier(schema.PhaseStream))
	r.reopen()
}

// beginsWithTheStream: a pipeline that is adopted has no other phase, and begins with a position alone.
func beginsWithTheStream(r *run) {
	r.open()
	r.commit(r.barrier(schema.PhaseStream))
	r.reopen()
	r.commit(r.transaction(insert(Accounts, "1", "ada", Null), insert(Entries, "7", "12.50", "t")))
	r.reopen()
}

// everyOperation: inserts, updates, deletes, a change of key and truncates, with awkward texts.
func everyOperation(r *run) {
	r.begin(schema.PhaseStream)
	odd := "tab\t newline\n quote\" backslash\\ é ☃ \u2028 'x' {} \\N"
	r.commit(r.transaction(insert(Accounts, "1", odd, ""), insert(Accounts, "2", "", Null), insert(Accounts, "3", "c", "n")))
	r.commit(r.transaction(update(Accounts, "1", odd, "changed"), remove(Accounts, "3")))
	r.commit(r.transaction(rekey(Accounts, "2", "20", "moved", Null)))
	r.commit(r.transaction(insert(Entries, "9007199254740993", "-0.05", "t"), insert(Entries, "2", "0.00", Null)))
	r.checkContent()
	r.commit(r.transaction(truncate(Accounts, Entries), insert(Accounts, "4", "after", Null)))
	r.reopen()
}

// groupsInOrder: many groups, one after the other, all there and in order.
func groupsInOrder(r *run) {
	r.begin(schema.PhaseStream)
	for i := range 40 {
		id := strconv.Itoa(i % 7)
		if i < 7 {
			r.commit(r.transaction(insert(Accounts, id, "row "+id, strconv.Itoa(i))))
		} else {
			r.commit(r.transaction(update(Accounts, id, "row "+id, strconv.Itoa(i))))
		}
	}
	r.reopen()
}

// severalBatchesInAGroup: a group of several transactions moves to the last one's position.
func severalBatchesInAGroup(r *run) {
	r.begin(schema.PhaseStream)
	batches := make([]*scripted, 6)
	for i := range batches {
		batches[i] = r.transaction(insert(Entries, strconv.Itoa(i), "1.00", "f"))
	}
	r.commit(batches...)
	r.commit(r.transaction(remove(Entries, "0")), r.transaction(insert(Entries, "0", "2.00", "t")), r.barrier(schema.PhaseStream))
	r.reopen()
}

// encodeInParallel: Encode runs for several batches at once and beside a Commit.
func encodeInParallel(r *run) {
	r.begin(schema.PhaseStream)
	batches := make([]*scripted, 8)
	for i := range batches {
		steps := make([]step, 200)
		for n := range steps {
			steps[n] = insert(Accounts, strconv.Itoa(i*1000+n), "name", strings.Repeat("x", n))
		}
		batches[i] = r.transaction(steps...)
	}
	var wg sync.WaitGroup
	errs := make([]error, len(batches))
	for i, b := range batches {
		wg.Go(func() { _, errs[i] = r.w.Encode(b.Batch) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		r.fatalf("Encode: got %v, want nil", err)
	}
	r.commit(r.transaction(insert(Accounts, "1", "one", Null)))
	r.reopen()
}

// messagesAndSchemaChangesPass: logical messages, new table versions the target can take, and columns of a table without rows that take
// the names of others disturb nothing.
func messagesAndSchemaChangesPass(r *run) {
	r.begin(schema.PhaseStream)
	b := r.transaction(insert(Accounts, "1", "ada", Null))
	prefix := len(b.Arena)
	b.Arena = append(b.Arena, "audithello \x00 world"...)
	first := len(b.Values)
	b.Values = append(b.Values, schema.TextAt(prefix, 5), schema.TextAt(prefix+5, 13))
	b.Changes = append(b.Changes,
		schema.Change{Op: schema.OpMessage, After: schema.Row{First: int32(first), Count: 2}, Offset: b.offset()},
		schema.Change{Op: schema.OpSchema, Table: Accounts, Previous: Accounts, Offset: b.offset() + 1})
	b.Transactions[0].Count = int32(len(b.Changes))
	b.Takeovers = []schema.Takeover{{Table: Accounts, Columns: []string{Accounts.Columns[1].Name}}}
	r.commit(b)
	r.commit(r.transaction(insert(Accounts, "2", "bob", Null)))
	r.reopen()
}

// killLeavesNothingHalfDone: what was encoded or staged but not committed is gone after a kill.
func killLeavesNothingHalfDone(r *run) {
	r.begin(schema.PhaseStream)
	r.commit(r.transaction(insert(Accounts, "1", "ada", Null)))
	if _, err := r.w.Encode(r.transaction(insert(Accounts, "2", "lost", Null)).Batch); err != nil {
		r.fatalf("Encode: got %v, want nil", err)
	}
	r.kill()
	r.reopen()
	r.commit(r.transaction(insert(Accounts, "3", "kept", Null)))
	r.kill()
	r.reopen()
}

// cancelledCommitIsWholeOrNothing: whenever a commit is interrupted, the ledger tells the truth about it.
func cancelledCommitIsWholeOrNothing(r *run) {
	r.begin(schema.PhaseStream)
	for i := range 12 {
		steps := make([]step, 300)
		for n := range steps {
			steps[n] = insert(Accounts, strconv.Itoa(i*1000+n), fmt.Sprintf("round %d", i), strings.Repeat("y", 50))
		}
		b := r.transaction(steps...)
		ctx, cancel := context.WithCancel(r.t.Context())
		timer := time.AfterFunc(time.Duration(i*i)*100*time.Microsecond, cancel)
		err := r.commitOn(ctx, r.w, b)
		timer.Stop()
		cancel()
		if err == nil {
			r.note(b)
			continue
		}
		r.kill()
		r.open()
		if r.held.Seq == r.seq+1 {
			r.note(b)
		}
		r.checkHeld(r.held)
		r.checkContent()
	}
	r.reopen()
}

// cancelledContextReturns: a call with a dead context returns at once, and what it did is whole or nothing.
func cancelledContextReturns(r *run) {
	r.begin(schema.PhaseStream)
	ctx, cancel := context.WithCancel(r.t.Context())
	cancel()
	b := r.transaction(insert(Accounts, "1", "ada", Null))
	done := make(chan error, 1)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { done <- r.commitOn(ctx, r.w, b) })
	select {
	case err := <-done:
		if err == nil {
			r.note(b)
		} else if c := fault.ClassOf(err); c == fault.Terminal || c == fault.Fenced {
			r.fatalf("Commit with a cancelled context: got class %v (%v), want one that starts again", c, err)
		}
	case <-time.After(patience):
		r.fatalf("Commit with a cancelled context did not return")
	}
	if _, _, err := r.target.Open(ctx, claim); err == nil {
		r.fatalf("Open with a cancelled context: got a writer, want an error")
	}
	_ = r.w.Close()
	r.w = nil
	r.open()
	if r.held.Seq == r.seq+1 {
		r.note(b)
	}
	r.reopen()
}
