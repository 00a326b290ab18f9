package faults

import (
	"context"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/rowferry/rowferry/e2e/servers"
	"github.com/rowferry/rowferry/e2e/trial"
)

// TestFault69_TransactionsThatHaveToBeRepeated: the target makes us the victim of a deadlock, cannot serialize, and
// does not give a lock in time. Each is tried again, and what follows waits its turn.
func TestFault69_TransactionsThatHaveToBeRepeated(t *testing.T) {
	t.Parallel()
	p := newPair(t, build(t))
	p.follow()
	p.equal()
	refuseTimes(t, p.target, "40P01", "40001", "55P03")
	p.exec(`INSERT INTO items VALUES (1000, 'first')`, `UPDATE items SET name = 'second' WHERE id = 1000`, `UPDATE items SET id = 1001 WHERE id = 1000`)
	p.equal()
	p.onTarget(`SELECT (last_value >= 4)::text FROM refused`, "true")
}

// TestFault69_Deadlock is a real one: another session of the target holds the row we need next, and wants ours.
func TestFault69_Deadlock(t *testing.T) {
	t.Parallel()
	p := newPair(t, build(t))
	alterDatabase(t, p.target, `SET deadlock_timeout = '100ms'`)
	p.follow()
	p.equal()
	other, err := pgx.Connect(p.ctx, p.target)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close(context.WithoutCancel(p.ctx))
	for _, sql := range []string{`SET deadlock_timeout = '60s'`, `BEGIN`, `SELECT 1 FROM items WHERE id = 50 FOR UPDATE`} {
		if _, err := other.Exec(p.ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	p.exec(`BEGIN; UPDATE items SET name = 'a' WHERE id = 49; UPDATE items SET id = 149 WHERE id = 49; UPDATE items SET name = 'b' WHERE id = 50; COMMIT`)
	waitsForLock(p)
	// The ledger's row is ours too; with it the circle is closed whatever was written first.
	if _, err := other.Exec(p.ctx, `SELECT 1 FROM rowferry.ledger FOR UPDATE`); err != nil {
		t.Fatalf("the other session became the victim: %v", err)
	}
	if _, err := other.Exec(p.ctx, `ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	p.equal()
	report, err := p.Status(p.ctx)
	if err != nil || report.Pipelines[0].Retries == 0 {
		t.Errorf("got no retry, %v: there was no deadlock", err)
	}
}

// TestFault71_TargetCrashes kills the target's server while changes flow.
func TestFault71_TargetCrashes(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	server := servers.StartForTest(t, servers.Major(t))
	tr := newTrial(t, 71, trial.Options{
		Source: servers.ForTest(t, servers.Major(t)).NewDatabase(t), Target: server.NewDatabase(t), Targets: []trial.Target{trial.Postgres},
	})
	flow(ctx, t, tr)
	for _, crash := range []func() error{server.Kill, func() error { return server.Stop(syscall.SIGINT) }} {
		more(ctx, t, tr, 60)
		if err := crash(); err != nil {
			t.Fatal(err)
		}
		if err := server.Restart(ctx); err != nil {
			t.Fatal(err)
		}
		if err := tr.AwaitFollowing(ctx); err != nil {
			t.Fatal(err)
		}
	}
	more(ctx, t, tr, 60)
	finish(ctx, t, tr)
}

// TestFault71_TargetGoesBack: a target that lost commits which the source was told of, as after a failover to a
// replica that was behind, is a gap. One that lost commits the source was not told of gets them again.
func TestFault71_TargetGoesBack(t *testing.T) {
	t.Parallel()
	t.Run("past what the source keeps", func(t *testing.T) {
		t.Parallel()
		p := newPair(t, build(t))
		p.follow()
		p.equal()
		p.stop()
		back := backUp(t, p.target)
		p.follow()
		p.exec(`INSERT INTO items VALUES (1000, 'lost by the target')`)
		p.equal()
		p.stop()
		back()
		p.start()
		p.halted("source.gap", p.slot, "teardown")
		p.onTarget(`SELECT count(*)::text FROM items`, "100")
	})
	t.Run("within it", func(t *testing.T) {
		t.Parallel()
		p := newPair(t, build(t, "failpoints"))
		p.follow()
		p.equal()
		p.stop()
		back := backUp(t, p.target)
		p.start("ROWFERRY_FAILPOINTS=ack.before=hang") // the source is told nothing
		p.exec(`INSERT INTO items VALUES (1000, 'first')`)
		p.eventually("the row to be committed, and nobody told", func() (bool, string) {
			n, err := query(p.ctx, p.target, `SELECT count(*)::text FROM items`)
			return err == nil && n == "101", n
		})
		p.Kill()
		p.exec(`INSERT INTO items VALUES (1001, 'second')`)
		back()
		p.follow()
		p.equal()
	})
}

// backUp copies a database that nobody uses; the function given back puts the copy in its place.
func backUp(t *testing.T, url string) (restore func()) {
	t.Helper()
	at := strings.LastIndex(url, "/")
	name, _, _ := strings.Cut(url[at+1:], "?")
	admin := servers.ForTest(t, servers.Major(t)).URL("postgres")
	quoted, kept := pgx.Identifier{name}.Sanitize(), pgx.Identifier{name + "_b"}.Sanitize()
	alone := `SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE datname = '` + name + `'`
	servers.Exec(t, admin, alone, `CREATE DATABASE `+kept+` TEMPLATE `+quoted)
	t.Cleanup(func() { servers.Exec(t, admin, `DROP DATABASE IF EXISTS `+kept+` WITH (FORCE)`) })
	return func() {
		t.Helper()
		servers.Exec(t, admin, `DROP DATABASE `+quoted+` WITH (FORCE)`, `ALTER DATABASE `+kept+` RENAME TO `+quoted)
	}
}

// TestFault72_TargetTakesNothing: a target that takes no writes is waited for with the reason, and the source is told
// nothing meanwhile.
func TestFault72_TargetTakesNothing(t *testing.T) {
	t.Parallel()
	end := `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'rowferry%'`
	refuse := func(state string) func(*pair) {
		return func(p *pair) {
			servers.Exec(p.t, p.target, `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
				BEGIN RAISE EXCEPTION 'could not' USING ERRCODE = '`+state+`'; END $$`,
				`CREATE TRIGGER refuse AFTER INSERT ON items FOR EACH STATEMENT EXECUTE FUNCTION refuse()`,
				`ALTER TABLE items ENABLE ALWAYS TRIGGER refuse`)
		}
	}
	accept := func(p *pair) { servers.Exec(p.t, p.target, `DROP TRIGGER refuse ON items`) }
	tests := []struct {
		name, text string
		away, back func(*pair)
	}{
		{"read-only", "read_only", func(p *pair) {
			alterDatabase(p.t, p.target, `SET default_transaction_read_only = on`)
			servers.Exec(p.t, p.target, end)
		}, func(p *pair) {
			servers.Exec(p.t, servers.ForTest(p.t, servers.Major(p.t)).URL("postgres"), `ALTER DATABASE `+nameOf(p.target)+` RESET default_transaction_read_only`)
		}},
		{"no connection allowed", "not currently accepting connections", func(p *pair) {
			admin := servers.ForTest(p.t, servers.Major(p.t)).URL("postgres")
			servers.Exec(p.t, admin, `ALTER DATABASE `+nameOf(p.target)+` ALLOW_CONNECTIONS false`,
				strings.Replace(end, "current_database()", "'"+nameOf(p.target)+"'", 1))
		}, func(p *pair) {
			servers.Exec(p.t, servers.ForTest(p.t, servers.Major(p.t)).URL("postgres"), `ALTER DATABASE `+nameOf(p.target)+` ALLOW_CONNECTIONS true`)
		}},
		{"disk full", "53100", refuse("53100"), accept},
		{"connection limit", "53300", refuse("53300"), accept},
		{"statement cancelled", "57014", refuse("57014"), accept},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, build(t))
			p.follow()
			p.equal()
			tt.away(p)
			const told = `SELECT (confirmed_flush_lsn - '0/0'::pg_lsn)::bigint::text FROM pg_replication_slots WHERE slot_name = $1`
			p.exec(`INSERT INTO items VALUES (1000, 'waits')`)
			border := ask(t, p.source, `SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint::text`)
			p.waiting(tt.text)
			if got := ask(t, p.source, `SELECT (`+border+` > (`+strings.Replace(told, "$1", "'"+p.slot+"'", 1)+`)::bigint)::text`); got != "true" {
				t.Error("the source was told of what the target does not have")
			}
			tt.back(p)
			p.exec(`UPDATE items SET name = 'arrived' WHERE id = 1000`)
			p.equal()
		})
	}
}

// nameOf is the name of a URL's database. Those of tests need no quotes.
func nameOf(url string) string {
	name, _, _ := strings.Cut(url[strings.LastIndex(url, "/")+1:], "?")
	return name
}

// TestFault73_Tampering: a row that somebody removed, or put in the way, halts; nothing is healed silently, and the
// pipeline goes on when the row is right again.
func TestFault73_Tampering(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, tamper, change, code, text, mend string }{
		{"row missing for an update", `DELETE FROM items WHERE id = 5`, `UPDATE items SET name = 'x' WHERE id = 5`,
			"target.row_missing", `update of public.items with key id="5"`, `INSERT INTO items VALUES (5, 'old')`},
		{"row missing for a delete", `DELETE FROM items WHERE id = 5`, `DELETE FROM items WHERE id = 5`,
			"target.row_missing", `delete of public.items with key id="5"`, `INSERT INTO items VALUES (5, 'old')`},
		{"row in the way", `INSERT INTO items VALUES (1000, 'theirs')`, `INSERT INTO items SELECT g, 'ours' FROM generate_series(990, 1010) g`,
			"target.row_exists", `insert of public.items with key id="1000"`, `DELETE FROM items WHERE id = 1000`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, build(t))
			p.follow()
			p.equal()
			servers.Exec(t, p.target, tt.tamper)
			before := ask(t, p.target, itemsSQL)
			p.exec(tt.change)
			p.halted(tt.code, tt.text)
			p.onTarget(itemsSQL, before)
			p.stop()
			servers.Exec(t, p.target, tt.mend)
			p.follow()
			p.equal()
		})
	}
}

// TestFault74_TargetWithAMindOfItsOwn: triggers of the target do not take effect; what it computes and counts by
// itself is left to it, or given to it.
func TestFault74_TargetWithAMindOfItsOwn(t *testing.T) {
	t.Parallel()
	p := pairWith(t, []string{`CREATE TABLE made (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int, twice int GENERATED ALWAYS AS (n * 2) STORED)`,
		`INSERT INTO made (n) SELECT generate_series(1, 20)`},
		[]string{`CREATE TABLE made (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int, twice int GENERATED ALWAYS AS (n * 2) STORED)`,
			`CREATE TABLE items (id int PRIMARY KEY, name text)`,
			`CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.name := 'meddled'; RETURN NEW; END $$`,
			`CREATE TRIGGER meddle BEFORE INSERT OR UPDATE ON items FOR EACH ROW EXECUTE FUNCTION meddle()`})
	p.follow()
	p.same("items", "made")
	p.exec(`INSERT INTO items VALUES (1000, 'mine')`, `UPDATE items SET name = 'still mine' WHERE id < 5`,
		`INSERT INTO made (n) SELECT generate_series(100, 120)`, `UPDATE made SET n = n + 1 WHERE id % 2 = 0`,
		`INSERT INTO made (id, n) OVERRIDING SYSTEM VALUE VALUES (5000, 1)`, `DELETE FROM made WHERE id = 3`)
	p.same("items", "made")
}

// TestFault74_RefusedByTheTarget: what the target refuses halts with the row named, and check says it beforehand.
func TestFault74_RefusedByTheTarget(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, alter, code, text, mend string }{
		{"a column more, NOT NULL", `ALTER TABLE items ADD extra int NOT NULL DEFAULT 1; ALTER TABLE items ALTER extra DROP DEFAULT`,
			"target.null_refused", "extra", `ALTER TABLE items ALTER extra SET DEFAULT 0`},
		{"a trigger that raises", `CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no to %'', NEW.name; END';
			CREATE TRIGGER no BEFORE INSERT ON items FOR EACH ROW EXECUTE FUNCTION no(); ALTER TABLE items ENABLE ALWAYS TRIGGER no`,
			"target.trigger_refused", `insert of public.items with key id="1000"`, `ALTER TABLE items DISABLE TRIGGER no`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, build(t))
			p.follow()
			p.equal()
			servers.Exec(t, p.target, tt.alter)
			p.exec(`INSERT INTO items VALUES (1000, 'c4nary')`)
			p.halted(tt.code, tt.text)
			p.stop()
			if strings.Contains(p.Log(), "c4nary") {
				t.Error("the log holds a value of a row")
			}
			servers.Exec(t, p.target, tt.mend)
			p.start()
			p.eventually("the row", func() (bool, string) {
				n, err := query(p.ctx, p.target, `SELECT count(*)::text FROM items WHERE id = 1000 AND name = 'c4nary'`)
				return err == nil && n == "1", n
			})
		})
	}
}

// TestFault75_PoisonRow: among many good rows one the target cannot take halts the pipeline with that row named, what
// was committed before it kept and nothing of its own transaction applied.
func TestFault75_PoisonRow(t *testing.T) {
	t.Parallel()
	const wide = `CREATE TABLE wide (id bigint PRIMARY KEY, v text, j text)`
	tests := []struct{ name, row, mend string }{
		{"too long", `(5000, 'c4nary-too-long', '{}')`, `ALTER TABLE wide ALTER v TYPE text`},
		{"out of range", `(5000000000, 'ok', '{}')`, `ALTER TABLE wide ALTER id TYPE bigint`},
		{"invalid JSON", `(5000, 'ok', '{c4nary')`, `ALTER TABLE wide ALTER j TYPE text`},
		{"escaped NUL", `(5000, 'ok', '{"c4nary": "\u0000"}')`, `ALTER TABLE wide ALTER j TYPE text`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := pairWith(t, []string{wide}, []string{`CREATE TABLE wide (id int PRIMARY KEY, v varchar(10), j jsonb)`})
			p.follow()
			p.equal()
			p.exec(`INSERT INTO wide SELECT g, 'before', '{}' FROM generate_series(1, 50) g`)
			p.eventually("the rows before", func() (bool, string) { // one group with the others would fail with them
				n, err := query(p.ctx, p.target, `SELECT count(*)::text FROM wide`)
				return err == nil && n == "50", n
			})
			p.exec(`BEGIN; INSERT INTO wide SELECT g, 'with', '{}' FROM generate_series(101, 150) g; INSERT INTO wide VALUES `+tt.row+
				`; INSERT INTO wide SELECT g, 'with', '{}' FROM generate_series(151, 200) g; COMMIT`,
				`INSERT INTO wide VALUES (300, 'after', '{}')`)
			p.halted("target.value_refused", `insert of public.wide with key id="5000`)
			p.onTarget(`SELECT count(*) || ' ' || coalesce(max(id), 0) FROM wide`, "50 50")
			p.stop()
			if strings.Contains(p.Log(), "c4nary") {
				t.Error("the log holds a value of the row")
			}
			servers.Exec(t, p.target, tt.mend)
			p.follow()
			p.eventually("the rows", func() (bool, string) {
				n, err := query(p.ctx, p.target, `SELECT count(*)::text FROM wide`)
				return err == nil && n == "152", n
			})
		})
	}
}

// TestFault76_TargetAltered: a column that the target's owner dropped halts with what differs.
func TestFault76_TargetAltered(t *testing.T) {
	t.Parallel()
	p := newPair(t, build(t))
	p.follow()
	p.equal()
	servers.Exec(t, p.target, `ALTER TABLE items DROP name`)
	p.exec(`INSERT INTO items VALUES (1000, 'x')`)
	p.halted("target.schema_mismatch", "public", "items", `"name"`)
	p.stop()
	p.Pipelines[0].InTarget["schema_changes"] = "add_columns" // it was not the source's change: not healed either
	p.start()
	p.halted("target.schema_mismatch", `"name"`)
	p.onTarget(`SELECT count(*)::text FROM items`, "100")
}

// TestFault77_LedgerTouched: a ledger that a person edited stops the pipeline, running or not, and so does a table
// that came back from a backup.
func TestFault77_LedgerTouched(t *testing.T) {
	t.Parallel()
	moved := `UPDATE rowferry.ledger SET token = regexp_replace(token, '/[0-9A-F]+/stream', '/%s/stream')`
	tests := []struct {
		name, edit string
		stopped    bool
		code, text string
	}{
		{"deleted while running", `DELETE FROM rowferry.ledger`, false, "target.fenced", ""},
		{"sequence changed while running", `UPDATE rowferry.ledger SET seq = seq + 1`, false, "target.fenced", ""},
		{"deleted while stopped", `DELETE FROM rowferry.ledger`, true, "source.slot_exists", ""},
		{"position moved back", strings.Replace(moved, "%s", "1", 1), true, "source.gap", ""},
		{"position moved on", strings.Replace(moved, "%s", "FFFFFFF00000000", 1), true, "source.behind", ""},
		{"position made unreadable", `UPDATE rowferry.ledger SET token = 'here'`, true, "source.position", ""},
		{"table restored", `DELETE FROM items WHERE id > 100`, true, "target.row_missing", `key id="1000"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, build(t))
			p.follow()
			p.exec(`INSERT INTO items VALUES (1000, 'there')`)
			p.equal()
			if tt.stopped {
				p.stop()
			}
			servers.Exec(t, p.target, tt.edit)
			before := ask(t, p.target, itemsSQL)
			p.exec(`UPDATE items SET name = 'must wait' WHERE id = 1000`)
			if tt.stopped {
				p.start()
			}
			p.halted(tt.code, tt.text)
			p.onTarget(itemsSQL, before)
		})
	}
}
