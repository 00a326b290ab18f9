package postgres

import (
	"context"
	_ "embed" // the queries
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowferry/rowferry/schema"
)

// A column that is dropped and added again under its name as the last one, with its type, looks the same in the log. The catalog's
// numbers tell, but not when it was: the catalog may be ahead of the log. So the log is read on to where it ended when the numbers were
// seen. Every row from before is at the target by then, and it is time to say that old rows have the values of another column.

var (
	//go:embed queries/locked.sql
	lockedSQL string
	//go:embed queries/numbers.sql
	numbersSQL string
)

const (
	lookShare  = 20   // one part in so many of the time is spent on looking at the numbers of tables that were described
	lookTables = 1000 // that one look takes
	lookTime   = 10 * time.Second
)

// takeover is names of a table that other columns have taken.
type takeover struct {
	columns map[string]int16 // with the numbers of those
	past    LSN              // a place in the log after that
}

// sight is what the catalog says of columns.
type sight struct {
	numbers map[uint32]map[string]int16 // by table and name
	locked  map[uint32]bool             // tables whose definition may have changed in the log, and not yet in the catalog
	end     LSN                         // where the log ended after that
}

// numberer tells the numbers of columns.
type numberer interface {
	// numbersOf is those of a table's version that was resolved last, as far as they are known.
	numbersOf(oid uint32) map[string]int16
	// look asks the catalog for those of now.
	look(ctx context.Context, oids []uint32) (sight, error)
}

// numbersOf implements numberer.
func (r *resolver) numbersOf(oid uint32) map[string]int16 {
	v := r.scope[oid]
	return v.numbers()
}

// look implements numberer. It takes no lock, and three short queries.
func (r *resolver) look(ctx context.Context, oids []uint32) (sight, error) {
	conn, err := r.query(ctx)
	if err != nil {
		return sight{}, err
	}
	s := sight{numbers: make(map[uint32]map[string]int16, len(oids))}
	if s.locked, err = readLocked(ctx, conn, oids); err != nil {
		return sight{}, err
	}
	rows, err := conn.Query(ctx, numbersSQL, oids)
	if err == nil {
		var oid uint32
		var name string
		var number int16
		_, err = pgx.ForEachRow(rows, []any{&oid, &name, &number}, func() error {
			if s.numbers[oid] == nil {
				s.numbers[oid] = map[string]int16{}
			}
			s.numbers[oid][name] = number
			return nil
		})
	}
	if err != nil {
		return sight{}, classify(fmt.Errorf("reading the numbers of columns: %w", err))
	}
	s.end, err = readInsertEnd(ctx, conn)
	return s, err
}

// readLocked finds the tables, of some or, if oids is nil, of all, that a transaction may be changing. Asked before the catalog is, it tells
// for which of them that may be older than the log.
func readLocked(ctx context.Context, q querier, oids []uint32) (map[uint32]bool, error) {
	rows, err := q.Query(ctx, lockedSQL, oids)
	locked := map[uint32]bool{}
	if err == nil {
		var oid uint32
		_, err = pgx.ForEachRow(rows, []any{&oid}, func() error {
			locked[oid] = true
			return nil
		})
	}
	if err != nil {
		return nil, classify(fmt.Errorf("asking which tables are being changed: %w", err))
	}
	return locked, nil
}

// lookout is what a tail has seen of columns that took the names of others.
type lookout struct {
	again time.Time             // when it looks next
	blind bool                  // the last look failed
	found map[uint32]takeover   // by table; not yet said
	ripe  LSN                   // where the first of them is to be said
	notes []schema.State        // to be recorded with the next position
	last  *schema.Batch         // says what was found, once it is durable that the log was read so far
	told  map[uint32]tableNames // what holds then
}

// ripen notes where the first of what was found is to be said.
func (l *lookout) ripen() {
	l.ripe = math.MaxUint64
	for _, found := range l.found {
		l.ripe = min(l.ripe, found.past)
	}
}

// ripe tells whether something is to be said now: no row that belongs before it may be on its way.
func (t *tail) ripe() bool {
	return t.lookout.ripe <= t.pending && !t.inTx && t.replay == nil && !t.batches.holds()
}

// watches tells whether tables wait for a look.
func (t *tail) watches() bool { return t.cfg.numbers != nil && len(t.relations.unseen) > 0 }

// look compares the numbers of columns of tables that were described since the last look. It is in no hurry: what a description
// belongs to is in the catalog for ever after, but for a transaction that is not over, whose tables wait for another look.
func (t *tail) look(ctx context.Context) {
	unseen := t.relations.unseen
	began := time.Now()
	if !t.watches() || began.Before(t.lookout.again) {
		return
	}
	oids := make([]uint32, 0, min(len(unseen), lookTables))
	for oid := range unseen {
		if oids = append(oids, oid); len(oids) == lookTables {
			break
		}
	}
	bounded, cancel := context.WithTimeout(ctx, lookTime)
	seen, err := t.cfg.numbers.look(bounded, oids)
	cancel()
	t.lookout.again = began.Add(max(t.cfg.lookEvery, time.Since(began)*lookShare))
	if err != nil { // it may be late: whatever ails the catalog, the log is read on
		if !t.lookout.blind && ctx.Err() == nil {
			t.cfg.log.Warn().Err(err).Msg("the numbers of columns cannot be compared now")
		}
		t.lookout.blind = true
		return
	}
	t.lookout.blind = false
	for _, oid := range oids {
		if !seen.locked[oid] {
			delete(unseen, oid)
			t.compare(oid, seen)
		}
	}
	t.lookout.ripen()
}

// compare looks at one table.
func (t *tail) compare(oid uint32, seen sight) {
	names, told := t.relations.told[oid]
	if !told {
		return
	}
	if known := names.numbered(seen.numbers[oid]); !known.same(names) {
		names = known
		t.relations.told[oid] = names
		t.amend(oid, names)
	}
	columns := names.taken(seen.numbers[oid])
	if columns == nil {
		delete(t.lookout.found, oid)
		return
	}
	if before, found := t.lookout.found[oid]; !found || !maps.Equal(before.columns, columns) {
		t.lookout.found[oid] = takeover{columns: columns, past: seen.end}
	}
}

// amend has numbers recorded that were not known when the table was announced.
func (t *tail) amend(oid uint32, names tableNames) {
	for i := len(t.namings) - 1; i >= 0; i-- {
		if t.namings[i].oid == oid {
			t.namings[i].state = names.encode(oid)
			return
		}
	}
	t.lookout.notes = append(t.lookout.notes, names.encode(oid))
}

// reveal says what was found and lies behind by now, in two batches. The first records that the log was read so far: a start after the
// second has halted the target then knows that what it accepts was mended late enough.
func (t *tail) reveal() *schema.Batch {
	if b := t.lookout.last; b != nil {
		maps.Copy(t.relations.told, t.lookout.told)
		t.lookout.last = nil
		return b
	}
	if !t.ripe() {
		return nil
	}
	var first, last *schema.Batch
	for _, oid := range slices.Sorted(maps.Keys(t.lookout.found)) {
		found := t.lookout.found[oid]
		if found.past > t.pending {
			continue
		}
		delete(t.lookout.found, oid)
		names := t.relations.told[oid]
		columns := names.still(found.columns)
		if len(columns) == 0 {
			continue
		}
		if first == nil {
			first, last = t.batches.barrier(t.pending), t.batches.barrier(t.pending)
			t.returned, t.urgent, t.lookout.told = t.pending, false, map[uint32]tableNames{}
		}
		t.relations.told[oid], t.lookout.told[oid] = names.seen(columns), names.accept(columns)
		first.State = append(first.State, names.seen(columns).encode(oid))
		last.State = append(last.State, names.accept(columns).encode(oid))
		said := schema.Takeover{Table: names.version(), Columns: slices.Sorted(maps.Keys(columns))}
		last.Takeovers = append(last.Takeovers, said)
		t.cfg.log.Warn().Stringer("table", said.Table).Strs("columns", said.Columns).
			Msg("columns were dropped and added again under their names, or took names of others: rows that are older have the values of the columns before at a target that keeps rows")
	}
	t.lookout.last = last
	t.lookout.ripen()
	return first
}

// still is those of some names that other columns have taken which the target knows as it did.
func (n *tableNames) still(columns map[string]int16) map[string]int16 {
	left := map[string]int16{}
	for name, number := range columns {
		if was := n.number(name); was != 0 && was != number {
			left[name] = number
		}
	}
	return left
}

// takeovers compares the columns that the target knows with those of now, and notes what to say once the log was read as far as it goes
// now. What it was read past at an earlier start is accepted, where that is configured, or said at once. Tables that were locked before the
// catalog was read are looked at again.
func (st *stream) takeovers(ctx context.Context, now *published, locked map[uint32]bool) error {
	accepts := st.source.cfg.Publication.Changed == "accept"
	st.found, st.unseen = map[uint32]takeover{}, map[uint32]bool{}
	for i := range st.scope {
		oid := st.scope[i].oid
		if locked[oid] {
			st.unseen[oid] = true
		}
		state := now.Tables[oid]
		columns := state.Told.taken(st.tables[i].numbers())
		if columns == nil {
			continue
		}
		past := map[string]int16{}
		for name, number := range columns {
			if state.Told.Taken[name] == number {
				past[name] = number
			}
		}
		found := takeover{columns: columns, past: math.MaxUint64}
		if len(past) == len(columns) {
			found.past = 0
		}
		if accepts && len(past) > 0 {
			st.log.Warn().Str("table", state.Name).Strs("columns", slices.Sorted(maps.Keys(past))).
				Msg("columns were dropped and added again under their names, or took names of others: accepted as configured")
			state.Told, found.columns = state.Told.accept(past), without(columns, past)
			now.Tables[oid] = state
		}
		if len(found.columns) > 0 {
			st.found[oid] = found
		}
	}
	if len(st.found) == 0 {
		return nil
	}
	end, err := readInsertEnd(ctx, st.conn)
	if err != nil {
		return err
	}
	for oid, found := range st.found {
		found.past = min(found.past, end)
		st.found[oid] = found
	}
	return nil
}
