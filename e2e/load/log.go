package load

import (
	"maps"
	"sync"
)

// Entry is one committed transaction.
type Entry struct {
	ID      int64 // the number in the ledger tables
	Worker  int
	Xid     uint64 // the source's number of it
	Changes int    // row changes in it; truncates are not counted
	Kinds   map[Kind]int
	// After is where the source's log stood just after the commit, an upper bound of the commit's own place.
	// It is empty when the answer to the commit was lost.
	After string
}

// Log is what a load has done. It is safe for use by several goroutines.
type Log struct {
	mu      sync.Mutex // guards the rest
	entries []Entry
	kinds   map[Kind]int
	changes int64
	undone  int
}

func (l *Log) add(e Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, e)
	l.changes += int64(e.Changes)
	if l.kinds == nil {
		l.kinds = map[Kind]int{}
	}
	for k, n := range e.Kinds {
		l.kinds[k] += n
	}
}

func (l *Log) rolledBack() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.undone++
}

// Entries is a copy of what was committed so far, in the order in which the answers came.
func (l *Log) Entries() []Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Entry(nil), l.entries...)
}

// Totals says how many transactions committed, how many row changes they made and how many were rolled back.
func (l *Log) Totals() (committed int, changes int64, undone int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.entries), l.changes, l.undone
}

// Kinds counts the units of committed transactions by kind.
func (l *Log) Kinds() map[Kind]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.kinds)
}
