package postgres

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/rowferry/rowferry/e2e/servers"
	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/schema/setting"
	"github.com/rowferry/rowferry/sources"
)

func TestLock(t *testing.T) {
	url := servers.ForTest(t, 15).NewDatabase(t)
	first, second := newSource(t, url, nil), newSource(t, url, nil)
	other := newSource(t, url, func(_ *Config, rt *sources.Runtime) { rt.Pipeline = "other" })
	ctx := within(t, 30*time.Second)
	lost, release, err := first.Lock(ctx)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = second.Lock(ctx)
	wantFault(t, err, "source.locked", fault.Busy)
	for _, want := range []string{first.cfg.ApplicationName, "server process", "since"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to name %s", err, want)
		}
	}
	_, releaseOther, err := other.Lock(ctx)
	if err != nil {
		t.Fatalf("another pipeline: %v", err)
	}
	releaseOther()
	select {
	case <-lost:
		t.Error("the lock is lost without a reason")
	default:
	}
	release()
	_, release, err = second.Lock(ctx)
	if err != nil {
		t.Fatalf("after the release: %v", err)
	}
	release()
}

func TestLockIsLostWithItsSession(t *testing.T) {
	url := servers.ForTest(t, 15).NewDatabase(t)
	s := newSource(t, url, nil)
	lost, release, err := s.Lock(within(t, 30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	servers.Exec(t, url, `SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`)
	select {
	case <-lost:
	case <-time.After(10 * time.Second):
		t.Error("the lock's loss was not noticed")
	}
}

func TestTakeOver(t *testing.T) {
	url := servers.ForTest(t, 15).NewDatabase(t)
	lost, release, err := newSource(t, url, nil).Lock(within(t, 30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	taker := newSource(t, url, func(_ *Config, rt *sources.Runtime) { rt.TakeOver = true })
	_, releaseTaker, err := taker.Lock(within(t, 30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer releaseTaker()
	select {
	case <-lost:
	case <-time.After(10 * time.Second):
		t.Error("the former holder was not told")
	}
}

// TestTakeOverOnce lets two that are both told to take over meet: the one that lost stands by.
func TestTakeOverOnce(t *testing.T) {
	url := servers.ForTest(t, 15).NewDatabase(t)
	told := func(_ *Config, rt *sources.Runtime) { rt.TakeOver = true }
	first, second := newSource(t, url, told), newSource(t, url, told)
	ctx := within(t, 30*time.Second)
	_, release, err := first.Lock(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	_, releaseSecond, err := second.Lock(ctx)
	if err != nil {
		t.Fatalf("one that never led: %v", err)
	}
	defer releaseSecond()
	_, _, err = first.Lock(ctx)
	wantFault(t, err, "source.locked", fault.Busy)
}

func TestIdentify(t *testing.T) {
	url := servers.ForTest(t, 15).NewDatabase(t)
	s := newSource(t, url, nil)
	got, err := s.Identify(within(t, 30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	system := value(t, url, `SELECT system_identifier::text FROM pg_control_system()`)
	if want := schema.SourceID("postgres:" + system + "/" + databaseOf(t, url) + "/" + s.cfg.Slot.Name); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestPoolerIsRefused puts something between us and the server that answers with another process number, as poolers do.
func TestPoolerIsRefused(t *testing.T) {
	url := servers.ForTest(t, 15).NewDatabase(t)
	c, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			poolConnection(client, fmt.Sprintf("%s:%d", c.Host, c.Port))
		}
	}()
	defer func() { listener.Close(); <-done }()
	pooled := strings.Replace(url, fmt.Sprintf(":%d", c.Port), fmt.Sprintf(":%d", listener.Addr().(*net.TCPAddr).Port), 1)
	_, err = newSource(t, pooled, nil).Identify(within(t, 60*time.Second))
	wantFault(t, err, "source.pooler", fault.Terminal)
}

// poolConnection forwards one connection and changes BackendKeyData's process number.
func poolConnection(client net.Conn, address string) {
	defer client.Close()
	server, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(server, client)
		server.Close()
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := server.Read(buf)
		if i := strings.Index(string(buf[:n]), "K\x00\x00\x00\x0c"); i >= 0 && i+9 <= n {
			buf[i+8] ^= 0xff
		}
		if n > 0 {
			if _, err := client.Write(buf[:n]); err != nil {
				break
			}
		}
		if err != nil {
			break
		}
	}
	client.Close()
	server.Close()
	<-ended
}

func TestUnreachableIsWaitedFor(t *testing.T) {
	s := newSource(t, "postgres://u@127.0.0.1:1/d", nil)
	_, err := s.Identify(within(t, 60*time.Second))
	wantFault(t, err, "source.connect", fault.Retryable)
	findings, err := s.Check(within(t, 60*time.Second))
	if err != nil || !has(findings, schema.Problem, "source.connect") {
		t.Errorf("got %+v %v, want a finding of the connection", findings, err)
	}
}

func TestTLS(t *testing.T) {
	server := servers.ForTest(t, 15)
	url := server.NewDatabase(t)
	if server.CAFile == "" {
		t.Skip("the server given has no certificate we know")
	}
	ca := func(c *Config, _ *sources.Runtime) { c.TLS.Mode, c.TLS.CAFile = "verify-full", server.CAFile }
	url = strings.Replace(url, "sslmode=disable", "", 1)
	s := newSource(t, url, ca)
	if _, err := s.Identify(within(t, 60*time.Second)); err != nil {
		t.Errorf("verify-full with the authority: %v", err)
	}
	findings, err := s.Check(within(t, 60*time.Second))
	if err != nil || !strings.Contains(findings[0].Text, "TLS verify-full") {
		t.Errorf("got %+v %v, want a connection by TLS verify-full", findings, err)
	}
	s = newSource(t, url, func(c *Config, _ *sources.Runtime) { c.TLS.Mode = "verify-full" })
	_, err = s.Identify(within(t, 60*time.Second))
	wantFault(t, err, "source.tls", fault.Retryable)
}

func TestObserve(t *testing.T) {
	url := servers.ForTest(t, 15).NewDatabase(t)
	servers.Exec(t, url, `CREATE TABLE t (id int PRIMARY KEY)`)
	s := newSource(t, url, func(c *Config, _ *sources.Runtime) { c.RetainedWAL.Limit = 1 << 10 })
	s.pinned = 0
	observe := func() sources.Observation {
		t.Helper()
		s.lookAgain = time.Time{}
		o, err := s.Observe(within(t, 60*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	if o := observe(); o.Active || len(o.Findings) != 0 {
		t.Errorf("got %+v before the start, want nothing", o)
	}
	r := newReader(t)
	if err := r.open(s); err != nil {
		t.Fatal(err)
	}
	r.until(r.streaming)
	servers.Exec(t, url, `INSERT INTO t SELECT generate_series(1, 1000)`)
	r.until(func() bool { return len(r.log) >= 1000 })
	o := observe()
	if !o.Active || o.RetainedBytes < 1<<10 || o.RetentionLimit != 1<<10 {
		t.Errorf("got %+v, want an active slot, some log and the limit of 1 KiB", o)
	}
	if !has(o.Findings, schema.Warning, "source.retained_wal") {
		t.Errorf("got %+v, want a warning of the log that is kept", o.Findings)
	}

	ctx := within(t, 60*time.Second)
	writer, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close(ctx)
	tx, err := writer.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(ctx, `INSERT INTO t VALUES (-1)`); err != nil {
		t.Fatal(err)
	}
	if o = observe(); !has(o.Findings, schema.Warning, "source.old_transaction") {
		t.Errorf("got %+v, want a warning of the open transaction", o.Findings)
	}
	if holder := fmt.Sprintf("server process %d ", writer.PgConn().PID()); !strings.Contains(fmt.Sprint(o.Findings), holder) {
		t.Errorf("got %+v, want it to name %s", o.Findings, holder)
	}
	if err := tx.Rollback(ctx); err != nil {
		t.Fatal(err)
	}

	servers.Exec(t, url, `CREATE TABLE fresh (id int PRIMARY KEY)`)
	if o = observe(); !has(o.Findings, schema.Warning, "source.new_table") {
		t.Errorf("got %+v, want a warning of the new table", o.Findings)
	}
	s.cfg.NewTables = "halt"
	if o = observe(); !has(o.Findings, schema.Problem, "source.new_table") {
		t.Errorf("got %+v, want a problem with the new table", o.Findings)
	}
	servers.Exec(t, url, `ALTER PUBLICATION `+s.cfg.Publication.Name+` ADD TABLE fresh`)
	if o = observe(); !has(o.Findings, schema.Problem, "source.publication_changed") {
		t.Errorf("got %+v, want a problem with the publication", o.Findings)
	}
	servers.Exec(t, url, `DROP PUBLICATION `+s.cfg.Publication.Name)
	if o = observe(); !has(o.Findings, schema.Problem, "source.publication_missing") {
		t.Errorf("got %+v, want a problem with the publication that is gone", o.Findings)
	}
	r.close()
	if o = observe(); o.Active || len(o.Findings) != 0 {
		t.Errorf("got %+v after the stop, want no findings", o)
	}
}

func TestLeftovers(t *testing.T) {
	url := servers.ForTest(t, 15).NewDatabase(t)
	servers.Exec(t, url, `CREATE TABLE t (id int PRIMARY KEY)`)
	s := newSource(t, url, nil)
	r := newReader(t)
	if err := r.open(s); err != nil {
		t.Fatal(err)
	}
	r.until(r.streaming)
	servers.Exec(t, url, `INSERT INTO t VALUES (1)`)
	r.until(func() bool { return len(r.log) > 0 }) // the slot is in use
	ctx := within(t, 60*time.Second)
	left, err := s.Leftovers(ctx, r.made)
	if err != nil {
		t.Fatal(err)
	}
	name := s.cfg.Slot.Name
	want := []sources.Leftover{
		{Name: "slot:" + name, SQL: "SELECT pg_drop_replication_slot('" + name + "')"},
		{Name: "publication:" + name, SQL: `DROP PUBLICATION "` + name + `"`},
	}
	if diff := cmp.Diff(want, left); diff != "" {
		t.Errorf("leftovers (-want +got):\n%s", diff)
	}
	wantFault(t, s.Remove(ctx, left[0]), "source.slot_active", fault.Retryable)
	r.close()
	for range 2 { // again is no error
		for _, l := range left {
			if err := s.Remove(ctx, l); err != nil {
				t.Errorf("removing %s: %v", l.Name, err)
			}
		}
	}
	if left, err = s.Leftovers(ctx, r.made); err != nil || len(left) != 0 {
		t.Errorf("got %v %v, want nothing left", left, err)
	}
	if _, err := s.Leftovers(ctx, []string{"trigger:x"}); err == nil {
		t.Error("got no error for an object of another version")
	}
}

// TestPublicationMadeByHandStays: after a crash between the ledger's record and the making, somebody may make a publication
// of the same name. It is theirs.
func TestPublicationMadeByHandStays(t *testing.T) {
	url := servers.ForTest(t, 15).NewDatabase(t)
	servers.Exec(t, url, `CREATE TABLE t (id int PRIMARY KEY)`)
	s := newSource(t, url, nil)
	r := newReader(t)
	if err := r.open(s); err != nil {
		t.Fatal(err)
	}
	r.until(func() bool { return len(r.made) > 0 })
	r.close()
	made := r.made
	servers.Exec(t, url, `CREATE PUBLICATION `+quoteName(s.cfg.Publication.Name)+` FOR TABLE t`)
	if err := r.open(s); err != nil {
		t.Fatal(err)
	}
	r.until(r.streaming)
	left, err := s.Leftovers(within(t, 30*time.Second), made)
	if err != nil {
		t.Fatal(err)
	}
	want := []sources.Leftover{{Name: "slot:" + s.cfg.Slot.Name, SQL: "SELECT pg_drop_replication_slot('" + s.cfg.Slot.Name + "')"}}
	if diff := cmp.Diff(want, left); diff != "" {
		t.Errorf("leftovers (-want +got):\n%s", diff)
	}
	if err := s.Remove(within(t, 30*time.Second), sources.Leftover{Name: "publication:" + s.cfg.Publication.Name}); err != nil {
		t.Error(err)
	}
	if n := value(t, url, `SELECT count(*)::text FROM pg_publication`); n != "1" {
		t.Error("a publication made by hand was dropped")
	}
	r.close()
}

func TestCheckChangesNothingAndPrintsTheSQL(t *testing.T) {
	for _, major := range []int{14, 15, 18} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			url := servers.ForTest(t, major).NewDatabase(t)
			servers.Exec(t, url, `CREATE TABLE t (id int PRIMARY KEY)`, `CREATE TABLE u (id int)`,
				`CREATE UNLOGGED TABLE ul (id int PRIMARY KEY)`)
			s := newSource(t, url, func(c *Config, _ *sources.Runtime) {
				c.ReplicaIdentity = map[string]string{"public.u": "full"}
			})
			findings, err := s.Check(within(t, 60*time.Second))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range findings {
				if f.Severity == schema.Problem {
					t.Errorf("got the problem %+v, want none", f)
				}
			}
			var sql, text string
			for _, f := range findings {
				if f.Name == "will run" {
					sql = f.Fix
				}
				text += f.Text + "\n"
			}
			want := `ALTER TABLE ONLY "public"."u" REPLICA IDENTITY FULL;` + "\n" + `CREATE PUBLICATION "` + s.cfg.Publication.Name +
				`" FOR TABLE ONLY "public"."t", ONLY "public"."u" WITH (publish_via_partition_root = true); COMMENT ON PUBLICATION "` + s.cfg.Publication.Name +
				`" IS 'made by rowferry for slot ` + s.cfg.Slot.Name + `';` + "\n" + `CREATE_REPLICATION_SLOT "` + s.cfg.Slot.Name + `" LOGICAL pgoutput ` +
				map[bool]string{true: "EXPORT_SNAPSHOT;", false: "(SNAPSHOT 'export');"}[major < 15]
			if diff := cmp.Diff(want, sql); diff != "" {
				t.Errorf("SQL (-want +got):\n%s", diff)
			}
			for _, want := range []string{"public.ul: the server does not log", "2 tables", "logical"} {
				if !strings.Contains(text, want) {
					t.Errorf("got\n%s\nwant %q", text, want)
				}
			}
			if got := value(t, url, `SELECT count(*)::text FROM pg_publication`); got != "0" {
				t.Errorf("got %s publications, want none", got)
			}
			copied(t, s)
			if got := value(t, url, `SELECT relreplident::text FROM pg_class WHERE relname = 'u'`); got != "f" {
				t.Errorf("got replica identity %s, want f", got)
			}
		})
	}
}

func TestPlanRefuses(t *testing.T) {
	server := servers.ForTest(t, 15)
	tests := []struct {
		name   string
		ddl    []string
		change func(*Config, *sources.Runtime)
		role   bool // run as a role that owns nothing
		code   string
		says   string
	}{
		{name: "no table", code: "source.no_tables"},
		{
			name: "no identity", ddl: []string{`CREATE TABLE t (id int)`}, code: "source.no_identity", says: "public.t",
		},
		{
			name: "identity nothing", ddl: []string{`CREATE TABLE t (id int PRIMARY KEY)`, `ALTER TABLE t REPLICA IDENTITY NOTHING`},
			code: "source.no_identity",
		},
		{
			name: "a partition without", ddl: []string{
				`CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id)`,
				`CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (9)`, `ALTER TABLE p1 REPLICA IDENTITY NOTHING`,
			}, code: "source.no_identity", says: "public.p1",
		},
		{
			name: "not to be created", ddl: []string{`CREATE TABLE t (id int PRIMARY KEY)`},
			change: func(c *Config, _ *sources.Runtime) { c.Publication.Create = false },
			code:   "source.publication_missing",
		},
		{
			name: "not the owner", ddl: []string{`CREATE TABLE t (id int PRIMARY KEY)`}, role: true,
			code: "source.publication_rights", says: "does not own public.t",
		},
		{
			name: "not in the publication", ddl: []string{`CREATE TABLE t (id int PRIMARY KEY)`, `CREATE TABLE u (id int PRIMARY KEY)`,
				`CREATE PUBLICATION pub FOR TABLE t`},
			change: func(c *Config, rt *sources.Runtime) {
				c.Publication.Name = "pub"
				rt.Tables.Include = nil
			}, code: "source.no_tables",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			url := server.NewDatabase(t)
			servers.Exec(t, url, test.ddl...)
			change := test.change
			if test.role {
				role := "plain_" + databaseOf(t, url)
				servers.Exec(t, url, `CREATE ROLE `+quoteName(role)+` LOGIN REPLICATION PASSWORD 'canary'`)
				t.Cleanup(func() { servers.Exec(t, url, `DROP OWNED BY `+quoteName(role), `DROP ROLE `+quoteName(role)) })
				change = func(c *Config, _ *sources.Runtime) {
					c.URL, c.Password = asRole(t, url, role), setting.Secret("canary")
				}
			}
			s := newSource(t, url, change)
			r := newReader(t)
			err := r.open(s)
			wantFault(t, err, test.code, fault.Terminal)
			if !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want it to say %q", err, test.says)
			}
			findings, err := s.Check(within(t, 60*time.Second))
			if err != nil || !has(findings, schema.Problem, test.code) {
				t.Errorf("got %+v %v, want the same from check", findings, err)
			}
			if got := value(t, url, `SELECT count(*)::text FROM pg_replication_slots WHERE database = current_database()`); got != "0" {
				t.Errorf("got %s slots, want none", got)
			}
		})
	}
}
