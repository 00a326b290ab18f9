package postgres

import (
	"context"
	_ "embed" // the query
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sources"
)

//go:embed queries/old_transactions.sql
var oldTransactionsSQL string

// pinned is how long a transaction may be open before it is reported.
const pinned = 5 * time.Minute

// lookCost bounds the share of time that is spent on looking at the whole catalog: one part in so many.
const lookCost = 50

// Observe implements sources.Observer. A finding that is a problem means that the stream may not go on.
func (s *Source) Observe(ctx context.Context) (sources.Observation, error) {
	conn, err := s.open(ctx)
	if err != nil {
		return sources.Observation{}, err
	}
	defer closeConn(conn.PgConn())
	published := s.currentPublished()
	slot, err := readSlot(ctx, conn, s.cfg.Slot.Name)
	if err != nil {
		return sources.Observation{}, err
	}
	end, _, err := readServer(ctx, conn)
	if err != nil {
		return sources.Observation{}, err
	}
	settings, err := readSettings(ctx, conn, end)
	if err != nil {
		return sources.Observation{}, err
	}
	o := sources.Observation{RetentionLimit: settings.limit(int64(s.cfg.RetainedWAL.Limit))}
	if slot != nil {
		o.Active = slot.active
		o.RetainedBytes = distance(slot.restart, end)
		o.BehindBytes = distance(slot.confirmed, end)
	}
	if published != nil {
		o.Findings = append(o.Findings, s.observeSlot(slot, &o)...)
		old, err := s.observeTransactions(ctx, conn)
		if err != nil {
			return o, err
		}
		o.Findings = append(o.Findings, old...)
		var confirmed LSN
		if slot != nil {
			confirmed = slot.confirmed
		}
		drift, err := s.observePublication(ctx, conn, published, confirmed)
		if err != nil {
			return o, err
		}
		o.Findings = append(o.Findings, drift...)
	}
	if s.currentPublished() != published { // the stream was begun again meanwhile, perhaps with another slot
		o.Findings = nil
	}
	return o, nil
}

// distance is the log between two places, 0 when it is not known.
func distance(from, to LSN) int64 {
	if from == 0 || to < from {
		return 0
	}
	return int64(to - from)
}

// observeSlot judges the slot of a stream that is open.
func (s *Source) observeSlot(slot *slotInfo, o *sources.Observation) []schema.Finding {
	f := schema.Finding{Area: "source", Name: "replication slot", Severity: schema.Problem}
	if slot == nil {
		f.Text, f.Code, f.Fix = fmt.Sprintf("slot %s is gone", s.cfg.Slot.Name), "source.slot_missing", remedyGap
		return []schema.Finding{f}
	}
	if reason, lost := slot.lost(); lost {
		f.Text, f.Code, f.Fix = fmt.Sprintf("the server invalidated slot %s (%s)", s.cfg.Slot.Name, reason), "source.slot_lost", remedyGap
		return []schema.Finding{f}
	}
	if slot.twoPhase {
		f.Text, f.Code = fmt.Sprintf("slot %s was altered to two_phase", s.cfg.Slot.Name), "source.two_phase"
		f.Fix = "let the pipeline make its own slot, or on Postgres 18 ALTER_REPLICATION_SLOT … (TWO_PHASE false)"
		return []schema.Finding{f}
	}
	f.Severity, f.Code = schema.Warning, "source.retained_wal"
	f.Fix = "let the pipeline catch up, or raise max_slot_wal_keep_size and source.retained_wal.limit"
	switch {
	case slot.walStatus == "unreserved":
		f.Text = fmt.Sprintf("slot %s passed max_slot_wal_keep_size: the next checkpoint may remove what it needs", s.cfg.Slot.Name)
	case o.RetentionLimit > 0 && o.RetainedBytes >= o.RetentionLimit/100*int64(s.cfg.RetainedWAL.WarnPercent):
		f.Text = fmt.Sprintf("slot %s holds back %s of log, the limit is %s", s.cfg.Slot.Name,
			approximate(o.RetainedBytes), approximate(o.RetentionLimit))
	default:
		return nil
	}
	return []schema.Finding{f}
}

// observeTransactions reports an old transaction: the server keeps its log from its first change on.
func (s *Source) observeTransactions(ctx context.Context, conn *pgx.Conn) ([]schema.Finding, error) {
	var text string
	err := conn.QueryRow(ctx, oldTransactionsSQL, s.pinned.Seconds()).Scan(&text)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, classify(fmt.Errorf("asking for old transactions: %w", err))
	}
	return []schema.Finding{{
		Area: "source", Name: "open transaction", Severity: schema.Warning, Code: "source.old_transaction",
		Text: "an old transaction makes the server keep its log: " + text, Fix: "end that transaction",
	}}, nil
}

// observePublication compares what is published now with what the stream began with. Reading a large catalog, or
// looking for old rows, takes a while, so that is not done on every call then.
func (s *Source) observePublication(ctx context.Context, conn *pgx.Conn, before *published, confirmed LSN) ([]schema.Finding, error) {
	s.mu.Lock()
	again := s.lookAgain
	s.mu.Unlock()
	began := time.Now()
	if began.Before(again) {
		return nil, nil
	}
	defer func() { // also after a look that took too long
		s.mu.Lock()
		defer s.mu.Unlock()
		s.lookAgain = began.Add(time.Since(began) * lookCost)
	}()
	heard := s.heard()
	planner, err := s.newPlanner(ctx, conn, versionOf(conn.PgConn()))
	if err != nil {
		return nil, err
	}
	f := schema.Finding{Area: "source", Name: "publication", Severity: schema.Problem}
	if planner.given == nil {
		f.Text, f.Code = fmt.Sprintf("publication %s is gone", s.cfg.Publication.Name), "source.publication_missing"
		f.Fix = remedyPublicationMissing
		return []schema.Finding{f}, nil
	}
	var findings []schema.Finding
	now := planner.given.record(s.cfg.Publication.Name, planner.given.scope(s.rt.Tables, planner.relations))
	exists := func(oid uint32) bool { return planner.byOID[oid] != nil }
	changes, err := checkPublished(before, now, exists, s.cfg.Publication.Changed == "accept")
	if len(changes) > 0 {
		f.Text, f.Code = "the publication changed: "+describe(changes), "source.publication_changed"
		if err == nil {
			f.Severity = schema.Warning
		} else {
			f.Fix = fault.Of(err).Remedy
		}
		findings = append(findings, f)
	}
	if err := now.fillLeaves(ctx, conn, planner.given.scope(s.rt.Tables, planner.relations)); err != nil {
		return nil, classify(err)
	}
	oids, err := s.ripe(ctx, conn, before.arrived(now, heard), confirmed)
	if err != nil {
		return nil, err
	}
	s.forget(heard, now)
	brought, err := s.observeJoined(ctx, conn, oids)
	if err != nil {
		return nil, err
	}
	return append(append(findings, brought...), s.newTables(planner)...), nil
}

// observeJoined reports tables that came into the publication with rows that were not copied. Each is looked into until the answer is
// known. One that is not known is no problem yet: the search goes on at the next look, and a start gives it more time.
func (s *Source) observeJoined(ctx context.Context, conn *pgx.Conn, oids []uint32) ([]schema.Finding, error) {
	brought, err := s.filled(ctx, conn, oids, true)
	if err != nil {
		return nil, err
	}
	f := schema.Finding{Area: "source", Name: "publication", Severity: schema.Warning, Code: "source.publication_changed"}
	switch {
	case len(brought.rows) > 0 && s.cfg.Publication.Changed != "accept":
		f.Severity = schema.Problem
	case len(brought.unsure) == 0:
		s.settle(oids)
	}
	all := brought.all()
	if len(all) == 0 {
		return nil, nil
	}
	f.Text = "the publication changed: " + describe(all)
	f.Fix = fault.Of(publicationChanged(s.cfg.Publication.Name, all)).Remedy
	return []schema.Finding{f}, nil
}

// newTables reports tables that match the patterns and are not published.
func (s *Source) newTables(p *planner) []schema.Finding {
	var names []string
	for _, r := range p.unpublished() {
		names = append(names, r.String())
	}
	if len(names) == 0 {
		return nil
	}
	f := schema.Finding{
		Area: "tables", Name: "not published", Severity: schema.Warning, Code: "source.new_table",
		Text: fmt.Sprintf("match source.tables but are not in publication %s: %s", s.cfg.Publication.Name, listed(names)),
		Fix:  "exclude them, or add them to the publication and copy the pipeline again",
	}
	if s.cfg.NewTables == "halt" {
		f.Severity = schema.Problem
	}
	return []schema.Finding{f}
}
