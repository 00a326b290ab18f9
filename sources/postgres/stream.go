package postgres

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/failpoint"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sources"
)

// step is what Next does next.
type step uint8

const (
	stepCreating step = iota // say that slot and publication are about to be made
	stepMake                 // make them, once that is durable
	stepCopy                 // begin the copy, once its position is durable
	stepRows                 // hand over existing rows, then say where the stream goes on
	stepOpen                 // open the log
	stepAnnounce             // name the tables that the target has not heard of
	stepTail                 // hand over changes
)

// stream is the contract's Stream. Next has one caller; Ack may run beside it.
type stream struct {
	source *Source
	log    zerolog.Logger
	server server
	conn   *pgx.Conn // for questions to the catalog; used by Next only
	step   step

	at     position // where the stream goes on: the last position the target holds, then the slot's
	again  bool     // a slot of ours may be left of a copy that did not finish
	plan   *plan
	made   []string // objects of ours, "slot:name"
	slot   createdSlot
	scope  []scopedTable
	tables []tableVersion  // of scope, in its order
	hidden map[uint32]bool // tables that are not in scope
	found  map[uint32]takeover
	unseen map[uint32]bool // tables whose columns' numbers are to be looked at
	fresh  []*schema.Table // empty tables in scope that the target has not heard of
	state  []schema.State  // to be recorded with the next positioned batch
	copier *copier

	acks chan struct{} // has room for one: something was acked
	mu   sync.Mutex    // guards last and tail
	last position      // acked last
	tail *tail
}

// open connects, and decides where to begin.
func (st *stream) open(ctx context.Context, at position, state []schema.State) error {
	s := st.source
	before, err := decodePublished(state)
	var told map[uint32]tableNames
	if err == nil {
		told, err = decodeTold(before, state)
	}
	if err != nil {
		return fault.Halt("source.state", err, "the target's ledger holds state of another version: use the version that wrote it")
	}
	control, err := s.connect(ctx, nil)
	if err != nil {
		return err
	}
	var left LSN
	st.server, err = identify(ctx, control)
	if err == nil && at.phase == schema.PhaseStream && st.server.timeline > at.timeline {
		left, err = leftAt(ctx, control, st.server.timeline, at.timeline)
	}
	closeConn(control)
	if err != nil {
		return err
	}
	if st.conn, err = s.open(ctx); err != nil {
		return err
	}
	slot, err := readSlot(ctx, st.conn, s.cfg.Slot.Name)
	if err != nil {
		return err
	}
	end, recovering, err := readServer(ctx, st.conn)
	if err != nil {
		return err
	}
	if recovering && st.server.version < 160000 {
		return fault.Halt("source.in_recovery", errors.New("the source is a standby"), remedyInRecovery)
	}
	begin, err := decide(facts{
		name: s.cfg.Slot.Name, from: at, server: st.server, end: end, left: left, recovering: recovering, slot: slot,
	})
	if err != nil {
		return err
	}
	st.at = at
	if begin == beginStream {
		st.state = settled(state)
		return st.openStream(ctx, slot, before, told)
	}
	st.again = begin == beginAgain
	return st.openCopy(ctx, state)
}

// openCopy plans what a first start makes, and refuses before anything is made.
func (st *stream) openCopy(ctx context.Context, state []schema.State) error {
	s := st.source
	var level string
	if err := st.conn.QueryRow(ctx, "SHOW wal_level").Scan(&level); err != nil {
		return classify(fmt.Errorf("asking for wal_level: %w", err))
	}
	if level != "logical" && st.server.version < 190000 {
		return fault.Halt("source.wal_level", fmt.Errorf("wal_level is %s", level), remedyWALLevel)
	}
	planner, err := s.newPlanner(ctx, st.conn, st.server.version)
	if err != nil {
		return err
	}
	st.plan = planner.plan()
	if err := st.plan.err(); err != nil {
		return err
	}
	for _, text := range st.plan.skipped {
		s.log.Warn().Msg("left out: " + text)
	}
	st.made = append(madeBefore(state), "slot:"+s.cfg.Slot.Name)
	if st.plan.create {
		st.made = append(st.made, "publication:"+s.cfg.Publication.Name)
	}
	slices.Sort(st.made)
	st.made = slices.Compact(st.made)
	st.step = stepCreating
	return nil
}

// openStream reads what is published, compares it with what was copied, and frees the slot.
func (st *stream) openStream(ctx context.Context, slot *slotInfo, before *published, told map[uint32]tableNames) error {
	s := st.source
	if err := s.freeSlot(ctx, st.conn, slot); err != nil {
		return err
	}
	var relations []*relationInfo
	var now *published
	locked, err := readLocked(ctx, st.conn, nil)
	if err != nil {
		return err
	}
	err = atOnce(ctx, st.conn, func(q querier) (err error) {
		if relations, err = readRelations(ctx, q, nil); err != nil {
			return classify(err)
		}
		now, err = st.readScope(ctx, q, relations)
		return err
	})
	if err != nil {
		return err
	}
	byOID := indexRelations(relations)
	exists := func(oid uint32) bool { return byOID[oid] != nil }
	changes, err := checkPublished(before, now, exists, s.cfg.Publication.Changed == "accept")
	if err != nil {
		return err
	}
	if before != nil {
		brought, err := s.filled(ctx, st.conn, before.arrived(now, told), true)
		if err != nil {
			return err
		}
		if all := brought.all(); len(all) > 0 && s.cfg.Publication.Changed != "accept" {
			return publicationChanged(now.Publication, all)
		}
		changes = append(changes, brought.all()...)
	}
	if len(changes) > 0 {
		s.log.Warn().Strs("changes", changes).Msg("the publication changed, accepted as configured")
	}
	if st.fresh, err = st.unheard(ctx, now, told); err != nil {
		return err
	}
	for i := range st.scope {
		if names, known := told[st.scope[i].oid]; known {
			st.tables[i].doubt(names)
		}
	}
	now.carry(told)
	if err := st.takeovers(ctx, now, locked); err != nil {
		return err
	}
	s.setPublished(now)
	st.state = append(st.state, now.encode())
	st.step = stepOpen
	return nil
}

// readScope reads the publication, the tables in scope and their versions.
func (st *stream) readScope(ctx context.Context, q querier, relations []*relationInfo) (*published, error) {
	s := st.source
	given, err := readPublication(ctx, q, st.server.version, s.cfg.Publication.Name)
	if err != nil {
		return nil, classify(err)
	}
	if given == nil {
		return nil, fault.Halt("source.publication_missing",
			fmt.Errorf("publication %s does not exist", s.cfg.Publication.Name), remedyPublicationMissing)
	}
	st.scope = given.scope(s.rt.Tables, relations)
	if st.tables, err = readTables(ctx, q, definitions(st.scope), st.source.cfg.computes()); err != nil {
		return nil, classify(err)
	}
	now := given.record(s.cfg.Publication.Name, st.scope)
	st.hidden = map[uint32]bool{}
	for _, r := range relations {
		if _, followed := now.Tables[r.oid]; !followed {
			st.hidden[r.oid] = true
		}
	}
	for i := range st.scope {
		t := now.Tables[st.scope[i].oid]
		t.Told = namesOf(st.tables[i].table).numbered(st.tables[i].numbers())
		now.Tables[st.scope[i].oid] = t
	}
	if err := now.fillLeaves(ctx, q, st.scope); err != nil {
		return nil, classify(err)
	}
	return now, nil
}

// Next implements sources.Stream.
func (st *stream) Next(ctx context.Context) (*schema.Batch, error) {
	for {
		switch st.step {
		case stepCreating:
			st.step = stepMake
			return st.creating(), nil
		case stepMake:
			if err := st.make(ctx); err != nil {
				return nil, err
			}
			st.step = stepCopy
			return st.beginCopy(), nil
		case stepCopy:
			if err := st.await(ctx, st.at); err != nil {
				return nil, err
			}
			st.copier.start()
			st.step = stepRows
		case stepRows:
			if b, err := st.copier.next(ctx); b != nil || err != nil {
				return b, err
			}
			st.step = stepOpen
			return st.endCopy(), nil
		case stepOpen:
			if err := st.openTail(ctx); err != nil {
				return nil, err
			}
			st.step = stepAnnounce
		case stepAnnounce:
			st.step = stepTail
			if b := st.announce(); b != nil {
				return b, nil
			}
		case stepTail:
			return st.tail.Next(ctx)
		}
	}
}

// creating is the batch that tells the target what is about to be made.
func (st *stream) creating() *schema.Batch {
	st.at = position{system: st.server.system, timeline: st.server.timeline, phase: schema.PhaseCreating}
	b := schema.NewBatch(nil)
	b.Upto, b.Phase, b.Made = st.at.encode(), schema.PhaseCreating, st.made
	b.State = []schema.State{encodeMade(st.made)}
	return b
}

// make makes publication and slot, after the target has recorded that it may find them, and plans the copy under
// the snapshot that shows exactly what was committed before the slot's first change.
func (st *stream) make(ctx context.Context) error {
	s := st.source
	if err := st.await(ctx, st.at); err != nil {
		return err
	}
	if st.again {
		if err := s.dropSlot(ctx, st.conn); err != nil {
			return err
		}
	}
	if err := st.plan.execute(ctx, s, st.conn); err != nil {
		return err
	}
	var err error
	if st.slot, err = s.createSlot(ctx, st.conn); err != nil {
		return err
	}
	s.log.Info().Str("slot", s.cfg.Slot.Name).Stringer("lsn", st.slot.lsn).Msg("made the slot")
	tx, err := importSnapshot(ctx, st.conn, st.slot.snapshot)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(ctx) }()
	if err := failpoint.Hit(ctx, "snap.after_export"); err != nil {
		return err
	}
	relations, err := readRelations(ctx, tx, nil)
	if err != nil {
		return classify(err)
	}
	now, err := st.readScope(ctx, tx, relations)
	if err != nil {
		return err
	}
	s.setPublished(now)
	st.copier, err = newCopier(ctx, tx, st)
	return err
}

// beginCopy is the batch that names the tables to copy.
func (st *stream) beginCopy() *schema.Batch {
	st.at.lsn, st.at.phase = st.slot.lsn, schema.PhaseCopy
	b := schema.NewBatch(nil)
	b.Upto, b.Phase = st.at.encode(), schema.PhaseCopy
	for i := range st.tables {
		b.Tables = append(b.Tables, st.tables[i].table)
	}
	b.Plan = st.copier.plan()
	b.State = []schema.State{st.source.currentPublished().encode()}
	return b
}

// endCopy is the batch that says that every row was handed over. The snapshot is no longer needed.
func (st *stream) endCopy() *schema.Batch {
	closeConn(st.slot.keeper)
	st.slot.keeper = nil
	st.at.phase = schema.PhaseStream
	b := schema.NewBatch(nil)
	b.Upto, b.Phase = st.at.encode(), schema.PhaseStream
	st.fresh = nil // they were named when the copy began
	st.unseen = make(map[uint32]bool, len(st.scope))
	for _, t := range st.scope {
		st.unseen[t.oid] = true
	}
	return b
}

// openTail opens the log after the position.
func (st *stream) openTail(ctx context.Context) error {
	s := st.source
	r := &resolver{
		source: s, query: st.catalog, version: st.server.version,
		scope: make(map[uint32]tableVersion, len(st.scope)), outside: map[uint32]string{}, derived: map[string]*derived{},
		owners: make(map[string]uint32, len(st.scope)), leaves: s.currentPublished().leaves(),
		hidden: st.hidden,
	}
	announced := map[uint32]*schema.Table{}
	for i, t := range st.scope {
		r.scope[t.oid] = st.tables[i]
		r.note(&st.tables[i])
		r.owners[t.relation.String()] = t.oid
		if st.copier != nil || slices.Contains(st.fresh, st.tables[i].table) {
			announced[t.oid] = st.tables[i].table
		}
	}
	var complete func(context.Context, *schema.Batch) error
	if s.cfg.computes() {
		complete = r.complete
	}
	at := st.at
	tail, err := openTail(ctx, tailConfig{
		complete: complete,
		connect:  s.connect, serverVersion: st.server.version, slot: s.cfg.Slot.Name,
		publications: []string{s.cfg.Publication.Name}, from: at.lsn, relations: r, announced: announced,
		told: s.currentPublished().told(), follow: s.follow, numbers: r, found: st.found, unseen: st.unseen, lookEvery: s.pause,
		positionAt: func(lsn LSN) schema.Position {
			return position{system: st.server.system, timeline: st.server.timeline, lsn: lsn, phase: schema.PhaseStream}.encode()
		},
		streaming: s.cfg.Streaming, pace: s.cfg.PaceReads, spillDir: filepath.Join(s.rt.StateDir, "spill"),
		spillLimit: int64(s.cfg.SpillLimit), maxValue: int64(s.cfg.MaxValueBytes), log: st.log,
	})
	if err != nil {
		return err
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.tail = tail
	if st.last.phase == schema.PhaseStream {
		tail.Ack(st.last.lsn)
	}
	return nil
}

// announce is the first batch of a stream that goes on: it moves nothing, records what is published now, and names
// the empty tables that joined since. Tables the target knows are not named again: the catalog may be ahead of the log,
// and the log names each version before its first change.
func (st *stream) announce() *schema.Batch {
	if len(st.state) == 0 {
		return nil
	}
	b := schema.NewBatch(nil)
	b.Upto, b.Phase, b.State, b.Tables = st.at.encode(), schema.PhaseStream, st.state, st.fresh
	st.state = nil
	return b
}

// catalog is the connection for questions, opened again when it broke while nobody asked.
func (st *stream) catalog(ctx context.Context) (*pgx.Conn, error) {
	if st.conn != nil && !st.conn.IsClosed() {
		return st.conn, nil
	}
	conn, err := st.source.open(ctx)
	if err != nil {
		return nil, err
	}
	st.conn = conn
	return conn, nil
}

// Ack implements sources.Stream.
func (st *stream) Ack(_ context.Context, upto schema.Position) error {
	p, err := decodePosition(upto)
	if err != nil {
		return err
	}
	st.mu.Lock()
	st.last = p
	if st.tail != nil && p.phase == schema.PhaseStream {
		st.tail.Ack(p.lsn)
	}
	st.mu.Unlock()
	select {
	case st.acks <- struct{}{}:
	default:
	}
	return nil
}

// await waits until a position is acked.
func (st *stream) await(ctx context.Context, want position) error {
	for {
		st.mu.Lock()
		last := st.last
		st.mu.Unlock()
		if last == want {
			return nil
		}
		select {
		case <-st.acks:
		case <-ctx.Done():
			return sources.Paused(ctx)
		}
	}
}

// Counts implements sources.Counter.
func (st *stream) Counts() sources.Counts {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.tail == nil {
		return sources.Counts{}
	}
	return st.tail.Counts()
}

// Close implements sources.Stream.
func (st *stream) Close() error {
	if st.copier != nil {
		st.copier.stop()
	}
	st.mu.Lock()
	tail := st.tail
	st.mu.Unlock()
	var err error
	if tail != nil {
		err = tail.Close()
	}
	if st.slot.keeper != nil {
		closeConn(st.slot.keeper)
		st.slot.keeper = nil
	}
	if st.conn != nil {
		closeConn(st.conn.PgConn())
		st.conn = nil
	}
	st.source.setPublished(nil)
	return err
}
