package oracle

import "github.com/rowferry/rowferry/e2e/load"

// Silence compares a file with what the load committed: every transaction is there with all of its changes, in the
// order of each worker, and nothing else is. Transactions that the first copy already held are left out, which can
// only be those before a worker's first transaction in the file.
func (f *File) Silence(entries []load.Entry) {
	f.report.Looked("silence", len(entries))
	place := make(map[uint64]int, len(f.order))
	for i, xid := range f.order {
		place[xid] = i
	}
	known := make(map[uint64]bool, len(entries))
	last := map[int]int{} // place of the newest transaction by worker
	for _, e := range byWorker(entries) {
		xid := e.Xid & 0xffffffff // the log names transactions by their low half
		known[xid] = true
		n, there := f.changes[xid]
		before, streaming := last[e.Worker]
		switch {
		case e.Changes == 0:
			continue
		case !there && streaming:
			f.report.Add(Lost, "transaction %d (%d) of worker %d with %d changes is not there", e.ID, xid, e.Worker, e.Changes)
			continue
		case !there:
			continue
		case n < e.Changes:
			f.report.Add(Torn, "transaction %d (%d) has %d of %d changes", e.ID, xid, n, e.Changes)
		case n > e.Changes:
			f.report.Add(Doubled, "transaction %d (%d) has %d changes, not %d", e.ID, xid, n, e.Changes)
		}
		if streaming && place[xid] < before {
			f.report.Add(Reordered, "transaction %d (%d) comes before an older one of worker %d", e.ID, xid, e.Worker)
		}
		last[e.Worker] = place[xid]
	}
	for xid, n := range f.changes {
		if n > 0 && !known[xid] {
			f.report.Add(Doubled, "transaction %d with %d changes was never committed", xid, n)
		}
	}
}

// byWorker sorts entries by worker, each in its own order, which the log keeps.
func byWorker(entries []load.Entry) []load.Entry {
	workers := 0
	for _, e := range entries {
		workers = max(workers, e.Worker)
	}
	sorted := make([]load.Entry, 0, len(entries))
	for w := 0; w <= workers; w++ {
		for _, e := range entries {
			if e.Worker == w {
				sorted = append(sorted, e)
			}
		}
	}
	return sorted
}
