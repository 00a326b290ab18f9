package postgres

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/rowferry/rowferry/e2e/servers"
	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sources"
)

// streamed runs a first start until it streams, stops it, and gives the reader as it stands.
func streamed(t testing.TB, url string, change func(*Config, *sources.Runtime)) (*Source, *reader) {
	t.Helper()
	servers.Exec(t, url, `CREATE TABLE t (id int PRIMARY KEY, v text)`, `INSERT INTO t VALUES (1, 'a')`)
	s := newSource(t, url, change)
	r := newReader(t)
	if err := r.open(s); err != nil {
		t.Fatal(err)
	}
	r.until(r.streaming)
	servers.Exec(t, url, `INSERT INTO t VALUES (2, 'b')`)
	r.until(func() bool { return len(r.log) >= 1 })
	r.close()
	return s, r
}

func TestRestartFaults(t *testing.T) {
	slotOf := func(url string) string { return "rowferry_" + databaseOf(t, url) }
	tests := []struct {
		name   string
		break_ func(url string, r *reader)
		code   string
		class  fault.Class
		says   string
	}{
		{
			name: "slot dropped",
			break_: func(url string, _ *reader) {
				servers.Exec(t, url, `SELECT pg_drop_replication_slot('`+slotOf(url)+`')`)
			},
			code: "source.slot_missing", class: fault.Terminal,
		},
		{
			name: "slot advanced",
			break_: func(url string, _ *reader) {
				servers.Exec(t, url, `INSERT INTO t VALUES (3, 'lost')`,
					`SELECT pg_replication_slot_advance('`+slotOf(url)+`', pg_current_wal_lsn())`)
			},
			code: "source.gap", class: fault.Terminal, says: "bytes past",
		},
		{
			name: "slot made again by hand",
			break_: func(url string, _ *reader) {
				servers.Exec(t, url, `SELECT pg_drop_replication_slot('`+slotOf(url)+`')`,
					`SELECT pg_create_logical_replication_slot('`+slotOf(url)+`', 'pgoutput')`)
			},
			code: "source.gap", class: fault.Terminal,
		},
		{
			name: "slot of another plugin",
			break_: func(url string, _ *reader) {
				servers.Exec(t, url, `SELECT pg_drop_replication_slot('`+slotOf(url)+`')`,
					`SELECT pg_create_logical_replication_slot('`+slotOf(url)+`', 'test_decoding')`)
			},
			code: "source.slot_foreign", class: fault.Terminal,
		},
		{
			name:   "state lost at the target",
			break_: func(_ string, r *reader) { r.held = schema.Position{} },
			code:   "source.slot_exists", class: fault.Terminal,
		},
		{
			name: "another cluster",
			break_: func(_ string, r *reader) {
				p, _ := decodePosition(r.held)
				p.system++
				r.held = p.encode()
			},
			code: "source.system_changed", class: fault.Terminal,
		},
		{
			name: "a later timeline was seen",
			break_: func(_ string, r *reader) {
				p, _ := decodePosition(r.held)
				p.timeline++
				r.held = p.encode()
			},
			code: "source.timeline", class: fault.Terminal,
		},
		{
			name: "the target is ahead",
			break_: func(_ string, r *reader) {
				p, _ := decodePosition(r.held)
				p.lsn += 1 << 40
				r.held = p.encode()
			},
			code: "source.behind", class: fault.Terminal,
		},
		{
			name:   "publication dropped",
			break_: func(url string, _ *reader) { servers.Exec(t, url, `DROP PUBLICATION `+slotOf(url)) },
			code:   "source.publication_missing", class: fault.Terminal,
		},
		{
			name: "publication made again",
			break_: func(url string, _ *reader) {
				servers.Exec(t, url, `DROP PUBLICATION `+slotOf(url), `CREATE PUBLICATION `+slotOf(url)+` FOR TABLE t`)
			},
			code: "source.publication_changed", class: fault.Terminal, says: "made again",
		},
		{
			name: "a table left and another joined",
			break_: func(url string, _ *reader) {
				servers.Exec(t, url, `CREATE TABLE u (id int PRIMARY KEY)`, `ALTER PUBLICATION `+slotOf(url)+` SET TABLE u`)
			},
			code: "source.publication_changed", class: fault.Terminal, says: "public.t left it; public.u joined it",
		},
		{
			name: "a table left and came back",
			break_: func(url string, _ *reader) {
				servers.Exec(t, url, `ALTER PUBLICATION `+slotOf(url)+` DROP TABLE t`, `INSERT INTO t VALUES (3, 'unseen')`,
					`ALTER PUBLICATION `+slotOf(url)+` ADD TABLE t`)
			},
			code: "source.publication_changed", class: fault.Terminal, says: "public.t left it and came back",
		},
		{
			name: "a filter", // on 15 and later
			break_: func(url string, _ *reader) {
				servers.Exec(t, url, `ALTER PUBLICATION `+slotOf(url)+` SET TABLE t WHERE (id > 5)`)
			},
			code: "source.publication_changed", class: fault.Terminal, says: "row filter of public.t",
		},
		{
			name:   "read by another",
			break_: func(url string, _ *reader) { occupy(t, url, slotOf(url), "another") },
			code:   "source.slot_active", class: fault.Retryable, says: "another",
		},
	}
	for _, major := range majors {
		for _, test := range tests {
			t.Run(fmt.Sprintf("%d/%s", major, test.name), func(t *testing.T) {
				url := servers.ForTest(t, major).NewDatabase(t)
				s, r := streamed(t, url, nil)
				test.break_(url, r)
				err := r.open(s)
				wantFault(t, err, test.code, test.class)
				if !strings.Contains(err.Error(), test.says) {
					t.Errorf("got %v, want it to say %q", err, test.says)
				}
			})
		}
	}
}

// occupy reads a slot as another program would, until the test ends.
func occupy(t testing.TB, url, slot, application string) {
	t.Helper()
	c, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	c.RuntimeParams["replication"] = "database"
	c.RuntimeParams["application_name"] = application
	c.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	conn, err := pgx.ConnectConfig(within(t, 10*time.Second), c)
	if err != nil {
		t.Fatal(err)
	}
	started := conn.PgConn().Exec(context.Background(), `START_REPLICATION SLOT `+quoteName(slot)+
		` LOGICAL 0/0 (proto_version '1', publication_names 'x')`)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = conn.PgConn().Conn().Close()
		_ = started.Close()
		_ = conn.Close(ctx)
	})
	deadline := time.After(10 * time.Second)
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for value(t, url, `SELECT active::text FROM pg_replication_slots WHERE slot_name = $1`, slot) != "true" {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatal("the slot was not taken")
		}
	}
}

// TestReaderLeftBehindIsEnded: a walsender of a dead process of ours keeps the slot until the server notices.
func TestReaderLeftBehindIsEnded(t *testing.T) {
	url := servers.ForTest(t, 15).NewDatabase(t)
	s, r := streamed(t, url, nil)
	occupy(t, url, s.cfg.Slot.Name, s.cfg.ApplicationName)
	if err := r.open(s); err != nil {
		t.Fatal(err)
	}
	servers.Exec(t, url, `INSERT INTO t VALUES (3, 'c')`)
	r.until(func() bool { return strings.Contains(strings.Join(r.log, "\n"), "3 c") })
	r.close()
}

func TestInvalidatedSlot(t *testing.T) {
	server := servers.StartForTest(t, 15, "max_slot_wal_keep_size=1MB", "max_wal_size=32MB", "min_wal_size=32MB")
	url := server.NewDatabase(t)
	s, r := streamed(t, url, nil)
	for i := 0; value(t, url, `SELECT wal_status FROM pg_replication_slots`) != "lost"; i++ {
		if i == 50 {
			t.Fatal("the slot was not invalidated")
		}
		servers.Exec(t, url, `INSERT INTO t SELECT 1000000 * `+fmt.Sprint(i+1)+` + i, repeat('x', 1000) FROM generate_series(1, 5000) i`,
			`SELECT pg_switch_wal()`, `CHECKPOINT`)
	}
	wantFault(t, r.open(s), "source.slot_lost", fault.Terminal)
	s.setPublished(&published{})
	o, err := s.Observe(within(t, 60*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if !has(o.Findings, schema.Problem, "source.slot_lost") || o.RetentionLimit != 1<<20 {
		t.Errorf("got %+v, want a lost slot and a limit of 1 MiB", o)
	}
}

func TestAcceptedChangeGoesOn(t *testing.T) {
	url := servers.ForTest(t, 15).NewDatabase(t)
	accept := func(c *Config, _ *sources.Runtime) { c.Publication.Changed = "accept" }
	s, r := streamed(t, url, accept)
	servers.Exec(t, url, `CREATE TABLE u (id int PRIMARY KEY)`, `ALTER PUBLICATION `+s.cfg.Publication.Name+` ADD TABLE u`)
	if err := r.open(s); err != nil {
		t.Fatal(err)
	}
	servers.Exec(t, url, `INSERT INTO u VALUES (7)`)
	r.until(func() bool { return strings.Contains(strings.Join(r.log, "\n"), "1 public.u 7") })
	r.close()
	if r.known["public.u"] == nil {
		t.Error("the table that joined was not announced")
	}
	// What was accepted is what the next start compares with.
	strict := newSource(t, url, nil)
	if err := r.open(strict); err != nil {
		t.Fatal(err)
	}
	r.close()
}

// TestTableJoinsMidStream: rows of a table that joined may never have been copied.
func TestTableJoinsMidStream(t *testing.T) {
	tests := []struct {
		name, publication string
		ddl               []string
		halts             bool
	}{
		{name: "named by the publication", publication: `FOR TABLE t`,
			ddl: []string{`CREATE TABLE u (id int PRIMARY KEY)`, `ALTER PUBLICATION pub ADD TABLE u`}, halts: true},
		{name: "made while all tables are published", publication: `FOR ALL TABLES`,
			ddl: []string{`CREATE TABLE u (id int PRIMARY KEY)`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			url := servers.ForTest(t, 15).NewDatabase(t)
			servers.Exec(t, url, `CREATE TABLE t (id int PRIMARY KEY)`, `CREATE PUBLICATION pub `+test.publication)
			s := newSource(t, url, given("pub"))
			r := newReader(t)
			if err := r.open(s); err != nil {
				t.Fatal(err)
			}
			r.until(r.streaming)
			servers.Exec(t, url, append(test.ddl, `INSERT INTO u VALUES (7)`)...)
			var err error
			for ctx := within(t, 30*time.Second); err == nil && !strings.Contains(strings.Join(r.log, "\n"), "1 public.u 7"); {
				err = r.step(ctx)
			}
			if test.halts {
				wantFault(t, err, "source.publication_changed", fault.Terminal)
			} else if err != nil {
				t.Error(err)
			}
			r.close()
		})
	}
}

// TestLogIsOlderThanTheCatalog: what was written before a change of the table is decoded as it was then.
func TestLogIsOlderThanTheCatalog(t *testing.T) {
	for _, major := range majors {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			url := servers.ForTest(t, major).NewDatabase(t)
			s, r := streamed(t, url, nil)
			r.log = nil
			servers.Exec(t, url, `INSERT INTO t VALUES (3, 'old')`, `ALTER TABLE t ADD COLUMN n numeric(5,1) DEFAULT 1.5`,
				`INSERT INTO t VALUES (4, 'new', 2)`, `ALTER TABLE t DROP COLUMN v`, `INSERT INTO t VALUES (5, 3)`,
				`ALTER TABLE t RENAME COLUMN n TO m`, `UPDATE t SET m = 4 WHERE id = 5`)
			if err := r.open(s); err != nil {
				t.Fatal(err)
			}
			r.until(func() bool { return strings.Contains(strings.Join(r.log, "\n"), "2 public.t 5 4.0") })
			r.close()
			want := []string{
				"6 public.t", "1 public.t 3 old", "6 public.t", "1 public.t 4 new 2.0", "6 public.t", "1 public.t 5 3.0",
				"6 public.t", "2 public.t 5 4.0",
			}
			if diff := cmp.Diff(want, r.log); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSlotCreationNamesWhoItWaitsFor(t *testing.T) {
	server := servers.ForTest(t, 15)
	url := server.NewDatabase(t)
	servers.Exec(t, url, `CREATE TABLE t (id int PRIMARY KEY)`)
	s := newSource(t, url, func(c *Config, _ *sources.Runtime) { c.Slot.CreateTimeout = 500e6 })
	ctx := within(t, 30*time.Second)
	writer, err := pgx.Connect(ctx, url+"&application_name=slow_writer")
	if err != nil {
		writer, err = pgx.Connect(ctx, url+"?application_name=slow_writer")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close(ctx)
	tx, err := writer.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(ctx, `INSERT INTO t VALUES (1)`); err != nil {
		t.Fatal(err)
	}
	r := newReader(t)
	err = r.fails(s)
	wantFault(t, err, "source.slot_blocked", fault.Retryable)
	if !strings.Contains(err.Error(), "slow_writer") {
		t.Errorf("got %v, want it to name slow_writer", err)
	}
	r.close()
	if err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	again := newReader(t)
	again.held, again.state = r.held, r.state
	if err := again.open(s); err != nil {
		t.Fatal(err)
	}
	again.until(again.streaming)
	again.close()
	if diff := cmp.Diff([]string{"1"}, again.tables["public.t"]); diff != "" {
		t.Errorf("copied (-want +got):\n%s", diff)
	}
}

// A promoted server goes on in its log, but not for a target that holds more than the promoted server had: what it
// writes at the same offsets would be passed over.
func TestPromotedServer(t *testing.T) {
	server := servers.StartForTest(t, 15)
	url := server.NewDatabase(t)
	s, r := streamed(t, url, nil)
	signal := filepath.Join(value(t, url, `SHOW data_directory`), "standby.signal")
	if err := os.WriteFile(signal, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Dir(signal))
	if err != nil {
		t.Fatal(err)
	}
	owner := info.Sys().(*syscall.Stat_t)
	if err := os.Chown(signal, int(owner.Uid), int(owner.Gid)); err != nil {
		t.Fatal(err)
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	gone, release, err := s.Lock(within(t, 60*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	servers.Exec(t, url, `SELECT pg_promote()`)
	select {
	case <-gone:
	case <-time.After(10 * time.Second):
		t.Error("the promotion of the standby did not end the lock")
	}
	release()
	servers.Exec(t, url, `INSERT INTO t VALUES (3, 'c')`)
	lost, err := decodePosition(r.held)
	if err != nil {
		t.Fatal(err)
	}
	if lost.lsn, err = parseLSN(value(t, url, `SELECT pg_current_wal_lsn()::text`)); err != nil {
		t.Fatal(err)
	}
	servers.Exec(t, url, `INSERT INTO t VALUES (4, 'd')`)
	ahead := newReader(t)
	ahead.held, ahead.state = lost.encode(), r.state
	wantFault(t, ahead.fails(s), "source.behind", fault.Terminal)

	history := filepath.Join(filepath.Dir(signal), "pg_wal", "00000002.history")
	if err := os.Rename(history, history+".away"); err != nil {
		t.Fatal(err)
	}
	wantFault(t, r.open(s), "source.timeline_history", fault.Terminal)
	if err := os.Rename(history+".away", history); err != nil {
		t.Fatal(err)
	}

	before := len(r.log)
	if err := r.open(s); err != nil {
		t.Fatal(err)
	}
	r.until(func() bool { return len(r.log) >= before+2 })
	r.close()
	if at, err := decodePosition(r.held); err != nil || at.timeline != 2 {
		t.Errorf("got position %s, %v, want one on timeline 2", r.held, err)
	}
}
