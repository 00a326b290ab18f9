package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
)

// report collects the findings of a check.
type report struct{ findings []schema.Finding }

// pass records what is as it should be.
func (r *report) pass(area, name, format string, args ...any) {
	r.findings = append(r.findings, schema.Finding{Area: area, Name: name, Text: fmt.Sprintf(format, args...)})
}

// warn records what works and should be looked at.
func (r *report) warn(area, name, code, text, fix string) {
	r.findings = append(r.findings, schema.Finding{Area: area, Name: name, Severity: schema.Warning, Text: text, Code: code, Fix: fix})
}

// fail records what keeps the pipeline from starting.
func (r *report) fail(area, name, code, text, fix string) {
	r.findings = append(r.findings, schema.Finding{Area: area, Name: name, Severity: schema.Problem, Text: text, Code: code, Fix: fix})
}

// failWith records an error.
func (r *report) failWith(area, name string, err error) {
	f := fault.Of(err)
	r.fail(area, name, f.Code, f.Err.Error(), f.Remedy)
}

// Check implements sources.Checker. What keeps it from looking further is a finding, not an error.
func (s *Source) Check(ctx context.Context) ([]schema.Finding, error) {
	r := &report{}
	began := time.Now()
	conn, err := s.open(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		r.failWith("source", "connect", err)
		return r.findings, nil
	}
	defer closeConn(conn.PgConn())
	r.pass("source", "connect", "Postgres %s, %s, %d ms", conn.PgConn().ParameterStatus("server_version"),
		s.protection(), time.Since(began).Milliseconds())
	version := versionOf(conn.PgConn())
	if err := s.checkReplication(ctx, r, conn); err != nil {
		return nil, err
	}
	slot, err := s.checkServer(ctx, r, conn)
	if err != nil {
		return nil, err
	}
	planner, err := s.newPlanner(ctx, conn, version)
	if err != nil {
		return nil, err
	}
	s.checkPublication(r, planner, version, slot == nil)
	err = s.checkTables(ctx, r, conn, planner)
	return r.findings, err
}

// protection says how the connection is protected.
func (s *Source) protection() string {
	text, err := s.cfg.connString()
	if err != nil {
		return "no TLS"
	}
	if _, mode, ok := strings.Cut(text, "sslmode="); ok {
		mode, _, _ = strings.Cut(mode, "&")
		if mode != "disable" {
			return "TLS " + mode
		}
	}
	return "no TLS"
}

// checkReplication opens a replication connection, which is the only sure test of pg_hba.conf and of the right to.
func (s *Source) checkReplication(ctx context.Context, r *report, conn *pgx.Conn) error {
	control, err := s.connect(ctx, nil)
	if err == nil {
		defer closeConn(control)
		var srv server
		if srv, err = identify(ctx, control); err == nil {
			r.pass("source", "replication", "system %d, timeline %d", srv.system, srv.timeline)
			return nil
		}
	}
	if ctx.Err() != nil {
		return err
	}
	f := fault.Of(err)
	fix := f.Remedy
	if f.Code == "source.privilege" {
		fix = fmt.Sprintf("ALTER ROLE %s REPLICATION;", quoteName(conn.Config().User))
	}
	r.fail("source", "replication", f.Code, f.Err.Error(), fix)
	return nil
}

// checkServer looks at the server's settings and the slot.
func (s *Source) checkServer(ctx context.Context, r *report, conn *pgx.Conn) (*slotInfo, error) {
	end, recovering, err := readServer(ctx, conn)
	if err != nil {
		return nil, err
	}
	settings, err := readSettings(ctx, conn, end)
	if err != nil {
		return nil, err
	}
	if recovering {
		text := "the source is a standby: the publication has to be made on the primary, and making the slot waits for its activity"
		if versionOf(conn.PgConn()) < 160000 {
			r.fail("source", "recovery", "source.in_recovery", "the source is a standby", remedyInRecovery)
		} else {
			r.warn("source", "recovery", "", text, "on the primary: SELECT pg_log_standby_snapshot();")
		}
	}
	if settings.walLevel == "logical" {
		r.pass("source", "wal_level", "logical")
	} else {
		r.fail("source", "wal_level", "source.wal_level", "is "+settings.walLevel, remedyWALLevel)
	}
	slot, err := readSlot(ctx, conn, s.cfg.Slot.Name)
	if err != nil {
		return nil, err
	}
	s.checkSlot(r, settings, slot, end)
	if slot == nil {
		who, err := readBlockers(ctx, conn)
		if err != nil {
			return nil, err
		}
		if len(who) > 0 {
			r.warn("source", "open transactions", "source.slot_blocked",
				"making the slot waits for them: "+strings.Join(who, "; "), "end them, or wait for them")
		}
	}
	switch {
	case settings.keep < 0:
		r.warn("source", "WAL limit", "source.retained_wal",
			"max_slot_wal_keep_size = -1: a stopped pipeline can fill the disk",
			"ALTER SYSTEM SET max_slot_wal_keep_size = '64GB'; SELECT pg_reload_conf();  -- what the disk can spare")
	default:
		r.pass("source", "WAL limit", "max_slot_wal_keep_size = %s", approximate(settings.keep))
	}
	if settings.idleTimeout != "0" && settings.idleTimeout != "0s" {
		r.warn("source", "idle slots", "source.idle_timeout",
			"idle_replication_slot_timeout = "+settings.idleTimeout+": a pipeline that is stopped for longer loses its slot",
			"ALTER SYSTEM SET idle_replication_slot_timeout = 0; SELECT pg_reload_conf();")
	}
	return slot, nil
}

// slotsToMake is how many slots, each with its walsender, are there while the pipeline's own is made: that and its witness.
const slotsToMake = 2

// checkSlot looks at the slot, or at the room for it.
func (s *Source) checkSlot(r *report, settings serverSettings, slot *slotInfo, end LSN) {
	const name = "replication slot"
	if slot == nil {
		if settings.slotsUsed+slotsToMake > settings.slots {
			fix := "raise max_replication_slots and restart the server"
			if len(settings.idle) > 0 {
				fix = "drop one nobody reads: " + strings.Join(settings.idle, ", ") + "\nSELECT pg_drop_replication_slot('…');\nor " + fix
			}
			r.fail("source", name, "source.no_free_slot", fmt.Sprintf("%d of %d in use, and making one takes %d", settings.slotsUsed, settings.slots, slotsToMake), fix)
		} else {
			r.pass("source", name, "%s will be made, %d of %d in use", s.cfg.Slot.Name, settings.slotsUsed, settings.slots)
		}
		if settings.sendersUsed+slotsToMake > settings.senders {
			r.fail("source", "walsenders", "source.no_free_slot",
				fmt.Sprintf("%d of %d in use, and making a slot takes %d", settings.sendersUsed, settings.senders, slotsToMake), "raise max_wal_senders and restart the server")
		}
		return
	}
	reason, lost := slot.lost()
	switch {
	case lost:
		r.fail("source", name, "source.slot_lost", fmt.Sprintf("%s was invalidated (%s)", s.cfg.Slot.Name, reason), remedyGap)
	case slot.kind != "logical" || slot.plugin != "pgoutput":
		r.fail("source", name, "source.slot_foreign",
			fmt.Sprintf("%s is %s, plugin %q", s.cfg.Slot.Name, slot.kind, slot.plugin), "set source.slot.name")
	case slot.active && slot.application != s.cfg.ApplicationName:
		r.fail("source", name, "source.slot_active", fmt.Sprintf("%s is read by %s", s.cfg.Slot.Name, slot.reader()), "stop that reader")
	default:
		r.pass("source", name, "%s exists and holds %s of log", s.cfg.Slot.Name, approximate(distance(slot.restart, end)))
	}
}

// checkPublication says what would be made, and what speaks against it.
func (s *Source) checkPublication(r *report, p *planner, version int, first bool) {
	made := p.plan()
	for _, problem := range made.problems {
		area := "source"
		if problem.code == "source.no_identity" || problem.code == "source.no_tables" {
			area = "tables"
		}
		r.fail(area, problem.name, problem.code, problem.text, problem.fix)
	}
	switch {
	case !made.create:
		r.pass("source", "publication", "%s exists and publishes %s", s.cfg.Publication.Name, p.given.publish)
		for _, operation := range []string{"insert", "update", "delete", "truncate"} {
			if !strings.Contains(p.given.publish, operation) {
				r.warn("source", "publication", "", s.cfg.Publication.Name+" does not publish "+operation+": the target will not follow it", "")
			}
		}
	case len(made.problems) == 0:
		r.pass("source", "publication", "%s will be made", s.cfg.Publication.Name)
	}
	if first && len(made.problems) == 0 {
		sql := append(slices.Clone(made.sql), s.slotCommand(version))
		text := "1 statement at the first start"
		if len(sql) > 1 {
			text = fmt.Sprintf("%d statements at the first start", len(sql))
		}
		r.findings = append(r.findings, schema.Finding{
			Area: "source", Name: "will run", Text: text, Fix: strings.Join(sql, ";\n") + ";",
		})
	}
	for _, text := range made.skipped {
		r.warn("tables", "left out", "", text, "")
	}
}

// checkTables looks at the tables in scope: whether they can be copied, and whether their rows can be named.
func (s *Source) checkTables(ctx context.Context, r *report, conn *pgx.Conn, p *planner) error {
	var scope []*relationInfo
	if p.given != nil {
		for _, t := range p.given.scope(p.patterns, p.relations) {
			scope = append(scope, t.relation)
		}
	} else {
		scope = p.toPublish(&plan{})
	}
	r.pass("tables", "matched", "%d tables", len(scope))
	inside := map[uint32]bool{}
	for _, t := range scope {
		inside[t.oid] = true
	}
	var unreadable, guarded, grants []string
	for _, t := range p.relations {
		held := inside[t.oid]
		for _, oid := range t.ancestors {
			held = held || inside[oid]
		}
		if !held {
			continue
		}
		if !t.readable {
			unreadable = append(unreadable, t.String())
			grants = append(grants, fmt.Sprintf("GRANT USAGE ON SCHEMA %s TO %s; GRANT SELECT ON %s TO %[2]s;",
				quoteName(t.schema), quoteName(p.rights.role), quoteTable(t.schema, t.name)))
		}
		if t.guarded && !p.rights.bypassRLS {
			guarded = append(guarded, t.String())
		}
		if p.given != nil && t.kind == "r" && !t.identified && strings.Contains(p.given.publish, "update") {
			r.warn("tables", t.String(), "source.no_identity",
				"has no usable replica identity: the application's updates and deletes of it fail while it is published",
				fmt.Sprintf("ALTER TABLE %s REPLICA IDENTITY FULL;  -- or add a primary key", quoteTable(t.schema, t.name)))
		}
	}
	if len(unreadable) > 0 {
		r.fail("tables", "rights", "source.privilege",
			fmt.Sprintf("role %s may not read %s", p.rights.role, listed(unreadable)), strings.Join(grants, "\n"))
	}
	if len(guarded) > 0 {
		r.fail("tables", "row-level security", "source.row_security", "would hide rows of "+listed(guarded),
			fmt.Sprintf("ALTER ROLE %s BYPASSRLS;", quoteName(p.rights.role)))
	}
	r.findings = append(r.findings, s.newTables(p)...)
	return s.checkSize(ctx, r, conn, scope)
}

// checkSize says how much there is to copy.
func (s *Source) checkSize(ctx context.Context, r *report, conn *pgx.Conn, scope []*relationInfo) error {
	oids := make([]uint32, len(scope))
	for i, t := range scope {
		oids[i] = t.oid
	}
	leaves, err := readLeaves(ctx, conn, oids)
	if err != nil {
		return classify(err)
	}
	var bytes int64
	for _, list := range leaves {
		for _, l := range list {
			bytes += l.total
		}
	}
	r.pass("copy", "size", "%s with %d workers", approximate(bytes), s.rt.Snapshot.Workers)
	return nil
}

// approximate rounds a number of bytes for people.
func approximate(bytes int64) string {
	for _, unit := range []struct {
		name string
		size int64
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if bytes >= unit.size {
			return fmt.Sprintf("%.1f %s", float64(bytes)/float64(unit.size), unit.name)
		}
	}
	return fmt.Sprintf("%d B", bytes)
}
