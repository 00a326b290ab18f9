package sinktest

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"go.uber.org/goleak"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
)

// stageIsInvisibleUntilCommit: the parts of a big transaction show together with their position, or not at all.
func stageIsInvisibleUntilCommit(r *run) {
	r.begin(schema.PhaseStream)
	r.needStage()
	r.commit(r.transaction(insert(Accounts, "1", "before", Null)))
	parts := r.bigTransaction(100)
	r.stage(parts[0])
	r.checkContent()
	r.stage(parts[1])
	r.checkContent()
	r.commit(parts[2])
	r.want = append(r.want[:len(r.want)-len(parts[2].events)],
		append(append(parts[0].events, parts[1].events...), parts[2].events...)...)
	r.checkContent()
	r.commit(r.transaction(update(Accounts, "1", "after", Null)))
	r.reopen()
}

// stageIsDroppedByClose: parts staged and never committed are gone, after Close and after a kill.
func stageIsDroppedByClose(r *run) {
	r.begin(schema.PhaseStream)
	r.needStage()
	r.commit(r.transaction(insert(Accounts, "1", "before", Null)))
	for i, end := range []func(){r.close, r.kill} {
		parts := r.bigTransaction(100 * (i + 1))
		r.stage(parts[0])
		r.stage(parts[1])
		end()
		r.reopen()
	}
	parts := r.bigTransaction(100)
	r.stage(parts[0])
	r.commit(parts[2])
	r.want = append(r.want[:len(r.want)-len(parts[2].events)], append(parts[0].events, parts[2].events...)...)
	r.reopen()
}

// needStage skips the case for targets that cannot stage.
func (r *run) needStage() {
	if !r.held.Limits.Stage {
		r.t.Skip("the sink does not stage")
	}
}

// bigTransaction is one transaction in three parts, with ids from first on.
func (r *run) bigTransaction(first int) []*scripted {
	pieces := make([][]step, 3)
	for p := range pieces {
		for i := range 20 {
			pieces[p] = append(pieces[p], insert(Entries, strconv.Itoa(first*1000+p*100+i), "3.00", "t"))
		}
	}
	return r.parts(pieces...)
}

// stage sends one part on lane 0.
func (r *run) stage(b *scripted) {
	r.t.Helper()
	ctx, cancel := r.context()
	defer cancel()
	p, err := r.w.Encode(b.Batch)
	if err == nil {
		err = r.w.Stage(ctx, 0, p)
	}
	if err != nil {
		r.fatalf("Stage: got %v, want nil", err)
	}
}

// copyOnLanes: copied rows come on all lanes at once, then changes follow.
func copyOnLanes(r *run) {
	r.begin(schema.PhaseCopy)
	lanes := min(r.held.Limits.CopyLanes, 4)
	var batches []*scripted
	for i := range 3 * lanes {
		table, row := Accounts, []string{strconv.Itoa(i), "copied", Null}
		if i%2 == 1 {
			table, row = Entries, []string{strconv.Itoa(i), "1.25", "t"}
		}
		batches = append(batches, r.copied(table, i%lanes, row))
	}
	var wg sync.WaitGroup
	errs := make([]error, lanes)
	for lane := range lanes {
		wg.Go(func() {
			for i := lane; i < len(batches) && errs[lane] == nil; i += lanes {
				errs[lane] = r.commitCopy(lane, batches[i])
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		r.fatalf("Commit of copied rows: got %v, want nil", err)
	}
	r.reorderCopied(batches)
	r.checkContent()
	r.commit(r.barrier(schema.PhaseStream))
	r.commit(r.transaction(update(Accounts, "0", "changed", "after the copy"), insert(Accounts, "100", "new", Null)))
	r.reopen()
}

// reorderCopied notes copied rows in the order the target shows them: between lanes there is none.
func (r *run) reorderCopied(batches []*scripted) {
	left := map[string]Event{}
	for _, b := range batches {
		for _, e := range b.events {
			left[e.Table+" "+e.Values[0]] = e
		}
	}
	if r.style == Events {
		for _, e := range r.target.Read(r.t) {
			if want, ok := left[e.Table+" "+e.Values[0]]; ok {
				r.want = append(r.want, want)
				delete(left, e.Table+" "+e.Values[0])
			}
		}
	}
	for _, e := range left {
		r.want = append(r.want, e)
	}
}

// copiedRowsAsChanges: rows of a copy may come decoded instead of as COPY text.
func copiedRowsAsChanges(r *run) {
	r.begin(schema.PhaseCopy)
	b := r.copied(Accounts, 0, []string{"1", "tab\tand \\ and\nnewline", Null}, []string{"2", "", "\u00e9"})
	if err := schema.DecodeCopy(b.Batch); err != nil {
		r.fatalf("decoding COPY text: %v", err)
	}
	if err := r.commitCopy(0, b); err != nil {
		r.fatalf("Commit: got %v, want nil", err)
	}
	r.want = append(r.want, b.events...)
	empty := r.copied(Entries, 0)
	if err := r.commitCopy(0, empty); err != nil {
		r.fatalf("Commit of an empty table's last batch: got %v, want nil", err)
	}
	r.commit(r.barrier(schema.PhaseStream))
	r.reopen()
}

// creatingUndoesTheCopy: an interrupted copy is undone by the commit of phase creating, and can be done again.
func creatingUndoesTheCopy(r *run) {
	r.begin(schema.PhaseCopy)
	for round := range 3 {
		for i := range 5 {
			b := r.copied(Accounts, 0, []string{strconv.Itoa(i), fmt.Sprintf("round %d", round), Null})
			if err := r.commitCopy(0, b); err != nil {
				r.fatalf("Commit of copied rows: got %v, want nil", err)
			}
			r.want = append(r.want, b.events...)
		}
		if round == 2 {
			break
		}
		r.kill()
		r.open()
		r.commit(r.barrier(schema.PhaseCreating))
		r.want = nil
		if round == 0 {
			r.reopen()
		}
		b := r.barrier(schema.PhaseCopy)
		b.Tables = []*schema.Table{Accounts, Entries}
		r.commit(b)
		r.checkContent()
	}
	r.commit(r.barrier(schema.PhaseStream))
	r.commit(r.transaction(insert(Accounts, "50", "streamed", Null)))
	r.reopen()
}

// closeLeavesNothing: opening, committing and closing leaves no goroutine and no descriptor behind.
func closeLeavesNothing(r *run) {
	r.begin(schema.PhaseStream)
	r.close()
	before := openFiles(r)
	ignore := goleak.IgnoreCurrent()
	for i := range 5 {
		r.open()
		r.commit(r.transaction(insert(Accounts, strconv.Itoa(i), "ada", Null)))
		if r.held.Limits.Stage && i%2 == 1 {
			r.stage(r.bigTransaction(i)[0])
		}
		r.close()
	}
	if err := goleak.Find(ignore); err != nil {
		r.fatalf("goroutines left behind: %v", err)
	}
	noMoreFiles(r, before, "after Close")
	c := claim
	c.Source = "test:other"
	if _, _, err := r.tryOpen(c); fault.ClassOf(err) != fault.Terminal {
		r.fatalf("Open by another source: got %v, want a halt", err)
	}
	noMoreFiles(r, before, "after a refused Open")
	r.reopen()
}

// noMoreFiles waits until no more descriptors are open than before: what a library, or a server in this process,
// closes in the background may be closed late.
func noMoreFiles(r *run, before int, when string) {
	ctx, cancel := r.context()
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for openFiles(r) > before && ctx.Err() == nil {
		<-tick.C
	}
	if after := openFiles(r); after > before {
		r.fatalf("descriptors %s: got %d open, want %d", when, after, before)
	}
}

// openFiles counts this process' descriptors.
func openFiles(r *run) int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		r.t.Skip("no /proc to count descriptors in")
	}
	return len(entries)
}
