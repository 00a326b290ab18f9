package faults

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rowferry/rowferry/e2e/servers"
)

// pairWith is newPair with further statements at the source, and others at the target, before the daemon starts.
func pairWith(t *testing.T, source, target []string) *pair {
	t.Helper()
	p := newPair(t, build(t))
	p.exec(source...)
	servers.Exec(t, p.target, target...)
	return p
}

// same waits until each of the tables, written as SQL does, holds at the target what it does at the source.
func (p *pair) same(tables ...string) {
	p.t.Helper()
	for _, table := range tables {
		sql := fmt.Sprintf(`SELECT count(*) || ' rows, ' || coalesce(md5(string_agg(x::text, ',' ORDER BY x::text)), '') FROM %s x`, table)
		want := ask(p.t, p.source, sql)
		p.eventually("the target's "+table+" to hold "+want, func() (bool, string) {
			got, err := query(p.ctx, p.target, sql)
			if got != want {
				p.unhalted()
			}
			return got == want, fmt.Sprint(got, err)
		})
	}
}

// unhalted fails the test when the pipeline waits for an operator: what is awaited will not come.
func (p *pair) unhalted() {
	p.t.Helper()
	report, err := p.Status(p.ctx)
	if err != nil {
		return // it does not listen yet, or listens no more
	}
	for _, s := range report.Pipelines {
		if s.Halt != nil {
			p.t.Fatalf("the pipeline halted with %s: %s", s.Halt.Code, s.Halt.Happened)
		}
	}
}

// onTarget asks the target for one value and wants it.
func (p *pair) onTarget(sql, want string) {
	p.t.Helper()
	if got := ask(p.t, p.target, sql); got != want {
		p.t.Errorf("%s: the target says %s, want %s", sql, got, want)
	}
}

// alterDatabase changes the database of a URL.
func alterDatabase(t *testing.T, url, change string) {
	t.Helper()
	servers.Exec(t, url, `DO $do$ BEGIN EXECUTE format($$ALTER DATABASE %I `+change+`$$, current_database()); END $do$`)
}

// refuseTimes makes the target's table items refuse its next insert with these SQLSTATEs, one after the other, and
// then take it. A sequence does not roll back, so it counts what was refused.
func refuseTimes(t *testing.T, url string, states ...string) {
	t.Helper()
	list := ""
	for _, s := range states {
		list += `,"` + s + `"`
	}
	servers.Exec(t, url, `CREATE SEQUENCE public.refused`, fmt.Sprintf(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
		DECLARE states text[] := '{%s}'; n int := nextval('public.refused');
		BEGIN
			IF n <= cardinality(states) THEN RAISE EXCEPTION 'not now' USING ERRCODE = states[n]; END IF;
			RETURN NULL;
		END $$`, list[1:]),
		`CREATE TRIGGER refuse AFTER INSERT ON items FOR EACH STATEMENT EXECUTE FUNCTION refuse()`,
		`ALTER TABLE items ENABLE ALWAYS TRIGGER refuse`)
}

// hostOf is the host and port of a database's URL.
func hostOf(t *testing.T, of string) string {
	t.Helper()
	u, err := url.Parse(of)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// copyRows inserts n rows into the source's items by one COPY, from this id on.
func copyRows(p *pair, from, n int) {
	p.t.Helper()
	conn, err := pgconn.Connect(p.ctx, p.source)
	if err != nil {
		p.t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(p.ctx))
	var text strings.Builder
	for id := from; id < from+n; id++ {
		fmt.Fprintf(&text, "%d\trow %d of a long text that makes it a little larger\n", id, id)
	}
	if _, err := conn.CopyFrom(p.ctx, strings.NewReader(text.String()), `COPY items FROM STDIN`); err != nil {
		p.t.Fatal(err)
	}
}

// readSlotAs reads the pipeline's slot as another program, until the function given back is called.
func readSlotAs(p *pair, application string) (end func()) {
	p.t.Helper()
	config, err := pgconn.ParseConfig(p.source)
	if err != nil {
		p.t.Fatal(err)
	}
	config.RuntimeParams["replication"], config.RuntimeParams["application_name"] = "database", application
	conn, err := pgconn.ConnectConfig(p.ctx, config)
	if err != nil {
		p.t.Fatal(err)
	}
	reading := conn.Exec(p.ctx, fmt.Sprintf(`START_REPLICATION SLOT %s LOGICAL 0/0 (proto_version '1', publication_names 'rowferry_shop')`, p.slot))
	ended := false
	end = func() {
		if !ended {
			ended = true
			_ = conn.Conn().Close() // the server ends what it sends to nobody
			_ = reading.Close()
		}
	}
	p.t.Cleanup(end)
	p.eventually("the slot to be read", func() (bool, string) {
		active := ask(p.t, p.source, `SELECT active::text FROM pg_replication_slots WHERE slot_name = $1`, p.slot)
		return active == "true", active
	})
	return end
}

// lockTarget runs a statement in a transaction at the target that lasts until the function given back is called.
func lockTarget(p *pair, statement string) (release func()) {
	p.t.Helper()
	conn, err := pgconn.Connect(p.ctx, p.target)
	if err != nil {
		p.t.Fatal(err)
	}
	release = func() { _ = conn.Close(context.WithoutCancel(p.ctx)) } // and with it the lock; again does nothing
	p.t.Cleanup(release)
	if err := conn.Exec(p.ctx, `BEGIN; `+statement).Close(); err != nil {
		p.t.Fatal(err)
	}
	return release
}

// waitsForLock waits until the pipeline waits for a lock at the target.
func waitsForLock(p *pair) {
	p.t.Helper()
	p.eventually("the pipeline to wait for the lock", func() (bool, string) {
		n, err := query(p.ctx, p.target, `SELECT count(*)::text FROM pg_stat_activity
			WHERE application_name LIKE 'rowferry%' AND wait_event_type = 'Lock' AND datname = current_database()`)
		return err == nil && n != "0", n
	})
}
