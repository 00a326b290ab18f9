package load

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// Profile is how a load is made up.
type Profile struct {
	Weights map[Kind]int // how often each kind comes, relative to the others
	BigRows int          // rows of a big unit
	Columns int          // how many columns one worker adds at most
	// WipeFrom is which of a worker's transactions is the first that may hold a TRUNCATE: a copy begins again when a
	// table is wiped meanwhile.
	WipeFrom int64
	// Old is how many rows Setup made in old; Change touches them.
	Old int
	// Canary, when not empty, is put into values that no log may show.
	Canary string
}

// Full is every kind, in a mix where the rare ones stay rare.
func Full() Profile {
	return Profile{
		Weights: map[Kind]int{
			Transfer: 1200, Append: 1000, Hot: 600, Doc: 560, Move: 400, Refill: 240, Sub: 480, Change: 320,
			Big: 40, AddColumn: 40, Wipe: 3, // a copy begins again when a table is wiped meanwhile: not at every turn
		},
		BigRows: 3000, Columns: 4,
	}
}

// model is what a worker knows of its own rows. It is copied at savepoints, and the copy comes back with a rollback.
type model struct {
	docs, keyed, big, ledgers []int64
	columns                   int
	appended                  int
}

func (m *model) clone() *model {
	c := *m
	c.docs, c.keyed, c.big, c.ledgers = slices.Clone(m.docs), slices.Clone(m.keyed), slices.Clone(m.big), slices.Clone(m.ledgers)
	return &c
}

// Generator walks a weighted state machine: outside a transaction, inside one, inside savepoints three deep. Each
// walk from BEGIN to its end is one [Transaction]. It is pure; the zero value is not usable.
type Generator struct {
	profile Profile
	worker  int64
	rand    *rand.Rand
	model   *model
	kinds   []Kind // in a fixed order, for determinism
	weight  int
	number  int64 // transactions so far
	lastID  int64 // rows so far; never taken back, so that a rolled-back row has an id of its own
}

// NewGenerator makes the generator of one worker. Workers of the same seed differ, and touch rows of their own but
// for the bank, the lists, the hot row and the tables that are wiped.
func NewGenerator(p Profile, seed uint64, worker int) *Generator {
	g := &Generator{profile: p, worker: int64(worker), rand: rand.New(rand.NewPCG(seed, uint64(worker))), model: &model{}}
	for k, w := range p.Weights {
		if w > 0 {
			g.kinds = append(g.kinds, k)
			g.weight += w
		}
	}
	slices.Sort(g.kinds)
	return g
}

// The walk inside a transaction, out of 100 at each step; what is left over is a unit of work.
const (
	endWeight       = 28
	savepointWeight = 8
	rollbackWeight  = 7 // only inside a savepoint
	releaseWeight   = 4 // only inside a savepoint
	maxDepth        = 3
	maxUnits        = 40
)

// walk is a transaction being made.
type walk struct {
	*Generator
	statements []Statement
	saved      []*model // one for each open savepoint
}

// Next makes the worker's next transaction.
func (g *Generator) Next() Transaction {
	g.number++
	id := g.worker<<40 | g.number
	before := g.model
	g.model = before.clone()
	w := &walk{Generator: g}
	if g.rand.IntN(4) == 0 {
		w.unit() // one small transaction in four
		w.ledger(id, 1)
		return Transaction{ID: id, Statements: w.statements, Commit: true}
	}
	w.unit()
	for range maxUnits {
		if !w.step() {
			break
		}
	}
	for len(w.saved) > 0 {
		w.release()
	}
	w.ledger(id, 2+w.rand.IntN(5))
	commit := g.rand.IntN(20) != 0
	if !commit {
		w.add(Sub, 1, "INSERT INTO subs VALUES (%d, true, 0)", w.id())
		g.model = before
	}
	return Transaction{ID: id, Statements: w.statements, Commit: commit}
}

// step takes one step of the walk; false ends it.
func (w *walk) step() bool {
	n := w.rand.IntN(100)
	depth := len(w.saved)
	switch {
	case n < endWeight:
		return false
	case n < endWeight+savepointWeight && depth < maxDepth:
		w.statements = append(w.statements, Statement{SQL: fmt.Sprintf("SAVEPOINT s%d", depth)})
		w.saved = append(w.saved, w.model.clone())
	case n < endWeight+savepointWeight+rollbackWeight && depth > 0:
		w.rollback()
	case n < endWeight+savepointWeight+rollbackWeight+releaseWeight && depth > 0:
		w.release()
	default:
		w.unit()
	}
	return true
}

// rollback leaves a row behind that must never be seen, and goes back to the innermost savepoint.
func (w *walk) rollback() {
	depth := len(w.saved) - 1
	w.add(Sub, 1, "INSERT INTO subs VALUES (%d, true, %d)", w.id(), depth+1)
	w.statements = append(w.statements, Statement{SQL: fmt.Sprintf("ROLLBACK TO SAVEPOINT s%d", depth)})
	w.model = w.saved[depth]
	w.saved = w.saved[:depth]
	// The savepoint itself outlives a rollback to it: the walk leaves it too.
	w.statements = append(w.statements, Statement{SQL: fmt.Sprintf("RELEASE SAVEPOINT s%d", depth)})
}

func (w *walk) release() {
	depth := len(w.saved) - 1
	w.statements = append(w.statements, Statement{SQL: fmt.Sprintf("RELEASE SAVEPOINT s%d", depth)})
	w.saved = w.saved[:depth]
}

// ledger ends a transaction with k rows over two tables, all of one number, and takes old ones away.
func (w *walk) ledger(id int64, k int) {
	w.add("", 1, "INSERT INTO txn_a SELECT %d, g, %d FROM generate_series(1, %d) g", id, k, max(k-1, 1))
	if k > 1 {
		w.add("", 1, "INSERT INTO txn_b VALUES (%d, %d, %d)", id, k, k)
	}
	w.model.ledgers = append(w.model.ledgers, id)
	if len(w.model.ledgers) > 50 {
		gone := w.model.ledgers[0]
		w.model.ledgers = w.model.ledgers[1:]
		w.add("", 1, "DELETE FROM txn_b WHERE txn = %d", gone)
		w.add("", 1, "DELETE FROM txn_a WHERE txn = %d", gone)
	}
}

// add appends a statement.
func (w *walk) add(kind Kind, factor int, format string, args ...any) {
	w.statements = append(w.statements, Statement{Kind: kind, Factor: factor, SQL: fmt.Sprintf(format, args...)})
}

// id is a new row's number, unique over all workers.
func (g *Generator) id() int64 {
	g.lastID++
	return g.worker<<40 | g.lastID
}
