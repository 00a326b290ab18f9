package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks"
)

var accounts = tableOf("accounts", "*id integer", "owner text", "email text")

const accountsDDL = `CREATE TABLE accounts (id int PRIMARY KEY, owner text, email varchar(40) UNIQUE)`

// canary is a value that may show up nowhere but in the target's tables.
const canary = "canary-7f3e9"

// TestRefusalsNameTheChange: whatever is wrong with a row, alone or among many, the error names table, operation,
// key, place and transaction, has the right code, and shows no other value.
func TestRefusalsNameTheChange(t *testing.T) {
	many := func(b *batch, from, to int) *batch {
		for i := from; i < to; i++ {
			b.insert(accounts, i, canary, fmt.Sprint(canary, i))
		}
		return b
	}
	manyUpdates := func(b *batch, from, to int) *batch {
		for i := from; i < to; i++ {
			b.update(accounts, i, canary, fmt.Sprint(canary, "u", i))
		}
		return b
	}
	tests := []struct {
		name       string
		changes    func(b *batch) *batch
		code, text string
	}{
		{"insert of a row that is there", func(b *batch) *batch { return b.insert(accounts, 1, canary, nil) },
			"target.row_exists", `insert of public.accounts with key id="1"`},
		{"the same among many", func(b *batch) *batch { return many(b, 100, 900).insert(accounts, 1, canary, nil) },
			"target.row_exists", `insert of public.accounts with key id="1"`},
		{"unique value that is taken", func(b *batch) *batch { return many(b, 100, 120).insert(accounts, 99, canary, "taken"+canary) },
			"target.row_exists", `insert of public.accounts with key id="99"`},
		{"update of a row that is not there", func(b *batch) *batch { return b.update(accounts, 77, canary, nil) },
			"target.row_missing", `update of public.accounts with key id="77"`},
		{"the same among many", func(b *batch) *batch {
			return manyUpdates(many(b, 100, 120).insert(accounts, 200, canary, nil), 2, 20).update(accounts, 77, canary, nil)
		}, "target.row_missing", `update of public.accounts with key id="77"`},
		{"delete of a row that is not there", func(b *batch) *batch {
			for i := 2; i < 12; i++ {
				b.delete(accounts, i, absent, absent)
			}
			return b.delete(accounts, 78, absent, absent)
		}, "target.row_missing", `delete of public.accounts with key id="78"`},
		{"key change of a row that is not there", func(b *batch) *batch {
			return b.updateFrom(accounts, row{55, absent, absent}, 56, canary, nil)
		}, "target.row_missing", `update of the key of public.accounts with key id="55"`},
		{"value too long", func(b *batch) *batch {
			return many(b, 100, 900).insert(accounts, 5000, canary, strings.Repeat(canary, 9))
		},
			"target.value_refused", `insert of public.accounts with key id="5000"`},
		{"value of the wrong kind", func(b *batch) *batch { return many(b, 100, 120).insert(accounts, "5000x", canary, canary) },
			"target.value_refused", `insert of public.accounts with key id="5000x"`},
		{"NUL byte", func(b *batch) *batch { return many(b, 100, 120).insert(accounts, 5001, canary+"\x00", nil) },
			"target.value_refused", `insert of public.accounts with key id="5001"`},
		{"NULL where none may be", func(b *batch) *batch { return b.insert(tableOf("strict", "*id integer", "v text"), 9, nil) },
			"target.null_refused", `insert of public.strict with key id="9"`},
		{"CHECK", func(b *batch) *batch { return b.insert(tableOf("strict", "*id integer", "v text"), 10, canary) },
			"target.value_refused", `constraint "strict_v_check"`},
		{"trigger", func(b *batch) *batch { return b.insert(tableOf("guarded", "*id integer", "v text"), 11, canary) },
			"target.trigger_refused", `insert of public.guarded with key id="11"`},
		{"row without a key", func(b *batch) *batch {
			return b.delete(full(tableOf("bag", "a integer", "b text")), 1, canary)
		}, "target.row_missing", `delete of public.bag (a row without a key)`},
		{"update without a key", func(b *batch) *batch {
			x := tableOf("bag", "a integer", "b text")
			return b.update(x, 1, canary)
		}, "target.change_unusable", `an update of public.bag does not say which row`},
	}
	d := newDB(t, 15, accountsDDL, `INSERT INTO accounts SELECT i, 'o', i::text FROM generate_series(1, 20) i`,
		`UPDATE accounts SET email = 'taken`+canary+`' WHERE id = 3`,
		`CREATE TABLE strict (id int PRIMARY KEY, v text NOT NULL CHECK (v = 'x'))`, `CREATE TABLE bag (a int, b text)`,
		`CREATE TABLE guarded (id int PRIMARY KEY, v text);
		CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no %'', NEW.v; END';
		CREATE TRIGGER guard BEFORE INSERT ON guarded FOR EACH ROW EXECUTE FUNCTION guard();
		ALTER TABLE guarded ENABLE ALWAYS TRIGGER guard`)
	before := d.lines(`SELECT * FROM accounts ORDER BY id`)
	for _, tt := range tests {
		for _, staged := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, staged %v", tt.name, staged), func(t *testing.T) {
				s := (&db{t, d.url, d.conn}).stream(nil)
				var err error
				if staged {
					err = s.stage(newBatch().insert(accounts, 4000, canary, nil), tt.changes(newBatch()))
				} else {
					err = s.commit(newBatch().insert(accounts, 4000, canary, nil), tt.changes(newBatch()))
				}
				if err == nil {
					t.Fatal("Commit: got nil, want a refusal")
				}
				f := fault.Of(err)
				if f.Code != tt.code || f.Class != fault.PerRecord || f.Remedy == "" {
					t.Errorf("got code %s, class %s, remedy %q; want %s, per_record and a remedy (%v)", f.Code, f.Class, f.Remedy, tt.code, err)
				}
				if !strings.Contains(err.Error(), tt.text) || !strings.Contains(err.Error(), "log offset 16/B374D") ||
					!strings.Contains(err.Error(), "in transaction 771") {
					t.Errorf("got %q, want it to name %q, the offset and the transaction", err, tt.text)
				}
				if strings.Contains(err.Error(), canary) {
					t.Errorf("got %q, which shows a value of the row", err)
				}
				_ = s.w.Close()
				if diff := cmp.Diff(before, d.lines(`SELECT * FROM accounts ORDER BY id`)); diff != "" {
					t.Errorf("rows changed (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// TestSchemaFaultsHalt: what only an operator can mend halts with the statement that mends it.
// TestContradictionIsNamedOnAWarmLane: changes of one row that cannot follow each other are found before anything of
// their group was answered.
func TestContradictionIsNamedOnAWarmLane(t *testing.T) {
	for _, staged := range []bool{false, true} {
		t.Run(fmt.Sprintf("staged %t", staged), func(t *testing.T) {
			s := newDB(t, 15, accountsDDL).stream(nil)
			s.must(newBatch().insert(accounts, 1, "a", nil))
			apply := func(b *batch) error { return s.commit(b) }
			if staged {
				apply = func(b *batch) error { return s.stage(newBatch().insert(accounts, 3, "c", nil), b) }
			}
			err := apply(newBatch().insert(accounts, 2, "b", nil).insert(accounts, 2, canary, nil))
			got := fault.Of(err)
			if got.Code != "target.row_exists" || !containsAll(got.Error(), `insert of public.accounts with key id="2"`) {
				t.Errorf("got %v, want target.row_exists naming the row", err)
			}
		})
	}
}

func TestSchemaFaultsHalt(t *testing.T) {
	wider := tableOf("accounts", "*id integer", "owner text", "email text", "born date")
	tests := []struct {
		name         string
		changes      *batch
		code, remedy string
	}{
		{"missing table", newBatch().insert(tableOf("nowhere", "*id integer"), 1), "target.table_missing", "tables.create"},
		{"missing column", newBatch().insert(wider, 1, "x", "y", "2020-01-01"), "target.schema_mismatch",
			`ALTER TABLE "public"."accounts" ADD COLUMN "born" date;`},
		{"a view", newBatch().insert(tableOf("seen", "*id integer"), 1), "target.table_missing", "rename"},
		{"a name too long", newBatch().insert(tableOf(strings.Repeat("n", 64), "*id integer"), 1), "target.schema_mismatch", "rename"},
	}
	d := newDB(t, 15, accountsDDL, `CREATE VIEW seen AS SELECT id FROM accounts`)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := fault.Of((&db{t, d.url, d.conn}).stream(nil).commit(tt.changes))
			if f.Code != tt.code || f.Class != fault.Terminal || !strings.Contains(f.Remedy, tt.remedy) {
				t.Errorf("got %s, %s, remedy %q; want %s, terminal, a remedy with %q", f.Code, f.Class, f.Remedy, tt.code, tt.remedy)
			}
		})
	}
}

// TestSecondWriterFences: of two writers only the younger commits, on every lane and in every kind of group.
func TestSecondWriterFences(t *testing.T) {
	d := newDB(t, 15, accountsDDL)
	first := d.stream(nil)
	first.must(newBatch().insert(accounts, 1, "first", nil))
	second := d.stream(nil)
	if err := first.commit(newBatch().insert(accounts, 2, "first", nil)); fault.ClassOf(err) != fault.Fenced {
		t.Errorf("got %v, want fenced", err)
	}
	second.must(newBatch().insert(accounts, 3, "second", nil))

	third, _ := d.open(nil)
	p, _ := second.w.Encode(newBatch().insert(accounts, 4, "second", nil).Batch)
	if err := second.w.Stage(testContext(t), 0, p); fault.ClassOf(err) != fault.Fenced {
		t.Errorf("staging: got %v, want fenced", err)
	}
	_ = third.Close()
	if diff := cmp.Diff([]string{"1|first|<NULL>", "3|second|<NULL>"}, d.lines(`SELECT * FROM accounts ORDER BY id`)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestEditedLedgerFences: a row that people removed or changed stops the writer.
func TestEditedLedgerFences(t *testing.T) {
	for _, edit := range []string{`DELETE FROM rowferry.ledger`, `UPDATE rowferry.ledger SET seq = seq - 1`} {
		t.Run(edit, func(t *testing.T) {
			d := newDB(t, 15, accountsDDL)
			s := d.stream(nil)
			d.exec(edit)
			if err := s.commit(newBatch().insert(accounts, 1, "x", nil)); fault.ClassOf(err) != fault.Fenced {
				t.Errorf("got %v, want fenced", err)
			}
		})
	}
}

// TestZombieIsWaitedFor: a writer that stalls in its transaction holds the ledger's row. The next one waits, and what
// the zombie then commits counts.
func TestZombieIsWaitedFor(t *testing.T) {
	d := newDB(t, 15, accountsDDL)
	zombie := d.stream(nil)
	p, _ := zombie.w.Encode(newBatch().insert(accounts, 1, "zombie", nil).Batch)
	if err := zombie.w.Stage(testContext(t), 0, p); err != nil {
		t.Fatal(err)
	}
	type opened struct {
		held sinks.Held
		err  error
	}
	done := make(chan opened, 1)
	go func() {
		w, held, err := d.sink(nil).Open(testContext(t), testClaim)
		if err == nil {
			_ = w.Close()
		}
		done <- opened{held, err}
	}()
	waitFor(t, func() bool {
		return len(d.lines(`SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'rowferry:test'
			AND datname = current_database()`)) > 0
	})
	zombie.must(newBatch())
	got := <-done
	if got.err != nil || got.held.Seq != zombie.seq {
		t.Errorf("Open: got seq %d, %v; want %d, the zombie's", got.held.Seq, got.err, zombie.seq)
	}
	if err := zombie.commit(newBatch()); fault.ClassOf(err) != fault.Fenced {
		t.Errorf("got %v, want fenced", err)
	}
}

// TestFrozenZombieIsEnded: a writer that does nothing with its open transaction does not keep the next one out.
func TestFrozenZombieIsEnded(t *testing.T) {
	d := newDB(t, 15, accountsDDL)
	zombie := d.stream(nil)
	before := zombie.seq
	p, _ := zombie.w.Encode(newBatch().insert(accounts, 1, "zombie", nil).Batch)
	if err := zombie.w.Stage(testContext(t), 0, p); err != nil {
		t.Fatal(err)
	}
	w, held, err := d.sink(nil).Open(testContext(t), testClaim)
	if err != nil {
		t.Fatal(err)
	}
	if held.Seq != before {
		t.Errorf("got seq %d, want %d: what the zombie did is rolled back", held.Seq, before)
	}
	if err := zombie.commit(newBatch()); err == nil {
		t.Error("the zombie's commit went through, want an error")
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if rows := d.lines(`SELECT 1 FROM accounts`); len(rows) != 0 {
		t.Errorf("got %d rows, want none", len(rows))
	}
}

// waitFor waits until the condition holds.
func waitFor(t *testing.T, condition func() bool) {
	t.Helper()
	deadline, pause := time.After(patience), time.NewTicker(10*time.Millisecond)
	defer pause.Stop()
	for !condition() {
		select {
		case <-deadline:
			t.Fatal("the condition does not come true")
		case <-pause.C:
		}
	}
}

// TestLostCommitIsUnknown: when the connection breaks after COMMIT was sent, the outcome is unknown and the ledger
// tells it.
func TestLostCommitIsUnknown(t *testing.T) {
	d := newDB(t, 15, accountsDDL, `CREATE FUNCTION stall() RETURNS trigger LANGUAGE plpgsql AS
			'BEGIN PERFORM pg_advisory_xact_lock(42); RETURN NULL; END';
		CREATE TABLE stalls (id int PRIMARY KEY);
		CREATE CONSTRAINT TRIGGER stall AFTER INSERT ON stalls DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION stall();
		ALTER TABLE stalls ENABLE ALWAYS TRIGGER stall`)
	d.exec(`SELECT pg_advisory_lock(42)`)
	s := d.stream(func(c *Config) { c.LockTimeout = 1e11; c.ReplyTimeout = 2e11 })
	ctx, cancel := context.WithCancelCause(testContext(t))
	why := errors.New("the test ends it")
	done := make(chan error, 1)
	go func() { done <- s.commitContext(ctx, newBatch().insert(tableOf("stalls", "*id integer"), 1)) }()
	waitFor(t, func() bool {
		return len(d.lines(`SELECT 1 FROM pg_stat_activity WHERE query = 'COMMIT' AND wait_event_type = 'Lock'
		AND datname = current_database()`)) > 0
	})
	cancel(why)
	err := <-done
	if fault.ClassOf(err) != fault.OutcomeUnknown || !errors.Is(err, why) {
		t.Fatalf("got %v, want the outcome unknown because %q", err, why)
	}
	d.exec(`SELECT pg_advisory_unlock(42)`)
	_ = s.w.Close()
	_, held := d.open(nil)
	rows := int64(len(d.lines(`SELECT * FROM stalls`)))
	if held.Seq != s.seq+rows {
		t.Errorf("got seq %d and %d rows after seq %d: position and rows differ", held.Seq, rows, s.seq)
	}
}

// TestSilentServerIsGivenUp: a server that does not answer is left after reply_timeout.
func TestSilentServerIsGivenUp(t *testing.T) {
	d := newDB(t, 15, accountsDDL)
	s := d.stream(func(c *Config) { c.LockTimeout = 1e9; c.ReplyTimeout = 2e9 })
	s.must(newBatch().insert(accounts, 1, "x", nil))
	s.w.cfg.ReplyTimeout = 3e8
	d.exec(`BEGIN; LOCK TABLE accounts`)
	err := s.commit(newBatch().update(accounts, 1, "y", nil))
	d.exec(`ROLLBACK`)
	if f := fault.Of(err); f.Code != "target.connect" || !f.Endless || !errors.Is(err, errNoAnswer) {
		t.Errorf("got %v, want target.connect because the server did not answer", err)
	}
}

// TestLockTimeoutIsRetried: a lock others hold is a matter of waiting, not of rows.
func TestLockTimeoutIsRetried(t *testing.T) {
	d := newDB(t, 15, accountsDDL)
	s := d.stream(func(c *Config) { c.LockTimeout = 1e8 })
	s.must(newBatch().insert(accounts, 1, "x", nil))
	d.exec(`BEGIN; LOCK TABLE accounts`)
	err := s.commit(newBatch().update(accounts, 1, "y", nil))
	d.exec(`ROLLBACK`)
	if f := fault.Of(err); f.Code != "target.contention" || !f.Endless {
		t.Errorf("got %v, want target.contention, without end", err)
	}
}

// TestReadOnlyTargetIsRefused: a target that takes no writes is waited for, with the reason.
func TestReadOnlyTargetIsRefused(t *testing.T) {
	d := newDB(t, 15)
	d.exec(`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$`)
	_, _, err := d.sink(nil).Open(testContext(t), testClaim)
	if f := fault.Of(err); f.Code != "target.read_only" || !f.Endless {
		t.Errorf("got %v, want target.read_only, without end", err)
	}
}

// TestAddedColumns: a column the source gained is added when asked for, in the transaction that brings it.
func TestAddedColumns(t *testing.T) {
	wider := tableOf("accounts", "*id integer", "owner text", "email text", "born date", "mood mood")
	narrower := tableOf("accounts", "*id integer", "owner text")
	d := newDB(t, 15, accountsDDL)
	s := d.stream(func(c *Config) { c.SchemaChanges = "add_columns" })
	s.must(newBatch().insert(accounts, 1, "a", nil).schema(wider, accounts).insert(wider, 2, "b", nil, "2020-01-02", "ok").
		update(wider, 1, "a", nil, "1999-09-09", nil).schema(narrower, wider).insert(narrower, 3, "c"))
	want := []string{"1|a|<NULL>|1999-09-09|<NULL>", "2|b|<NULL>|2020-01-02|ok", "3|c|<NULL>|<NULL>|<NULL>"}
	if diff := cmp.Diff(want, d.lines(`SELECT * FROM accounts ORDER BY id`)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	needed := tableOf("accounts", "*id integer", "owner text", "grade integer")
	needed.Columns[2].NotNull, needed.Columns[2].Initial = true, schema.Initial{}
	err := s.commit(newBatch().schema(needed, narrower).insert(needed, 4, "d", 1))
	if fault.Of(err).Code != "target.schema_mismatch" {
		t.Errorf("a column with a default: got %v, want target.schema_mismatch", err)
	}
	_ = s.w.Close()
	s = d.stream(func(c *Config) { c.SchemaChanges = "add_columns" })
	renamed := tableOf("accounts", "*id integer", "holder text")
	err = s.commit(newBatch().schema(renamed, narrower).insert(renamed, 4, "d"))
	if f := fault.Of(err); f.Code != "target.schema_mismatch" || !strings.Contains(f.Remedy, `RENAME COLUMN "owner" TO "holder"`) {
		t.Errorf("a column that may have been renamed: got %v, want target.schema_mismatch with the statement", err)
	}
	_ = s.w.Close()
	s = d.stream(func(c *Config) { c.SchemaChanges = "add_columns" })
	other := tableOf("accounts", "*id integer", "nick text")
	if err := s.commit(newBatch().insert(other, 5, "e")); fault.Of(err).Code != "target.schema_mismatch" {
		t.Errorf("a column that is not known to be new: got %v, want target.schema_mismatch", err)
	}
}

// TestRenamedTableIsNotMadeAnew: rows that came under the old name are part of the table.
func TestRenamedTableIsNotMadeAnew(t *testing.T) {
	d := newDB(t, 15, accountsDDL)
	s := d.stream(nil)
	renamed := tableOf("customers", "*id integer", "owner text", "email text")
	change := func() *batch { return newBatch().schema(renamed, accounts).insert(renamed, 2, "b", nil) }
	s.must(newBatch().insert(accounts, 1, "a", nil))
	err := s.commit(change())
	if got := fault.Of(err); got.Code != "target.table_missing" ||
		!containsAll(got.Error()+got.Remedy, "public.accounts", `ALTER TABLE "public"."accounts" RENAME TO "customers";`) {
		t.Fatalf("got %v, want target.table_missing with both names", err)
	}
	_ = s.w.Close()
	d.exec(fault.Of(err).Remedy[strings.IndexByte(fault.Of(err).Remedy, '\n'):])
	s = d.stream(nil)
	s.must(change())
	if diff := cmp.Diff([]string{"1|a|<NULL>", "2|b|<NULL>"}, d.lines(`SELECT * FROM customers ORDER BY id`)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestColumnsThatChangePlacesHalt: each column of the target has the other's values then.
func TestColumnsThatChangePlacesHalt(t *testing.T) {
	d := newDB(t, 15, accountsDDL)
	s := d.stream(nil)
	s.must(newBatch().insert(accounts, 1, "a", "x"))
	swapped := tableOf("accounts", "*id integer", "email text", "owner text")
	change := func() *batch { return newBatch().schema(swapped, accounts).insert(swapped, 2, "b", "y") }
	err := s.commit(change())
	if got := fault.Of(err); got.Code != "target.schema_mismatch" || !containsAll(got.Error(), "owner", "email", "public.accounts") {
		t.Fatalf("got %v, want target.schema_mismatch with both names", err)
	}
	_ = s.w.Close()
	d.exec(`ALTER TABLE accounts RENAME owner TO other; ALTER TABLE accounts RENAME email TO owner; ALTER TABLE accounts RENAME other TO email`)
	s = d.stream(nil)
	s.must(change())
	if diff := cmp.Diff([]string{"1|a|x", "2|b|y"}, d.lines(`SELECT id, email, owner FROM accounts ORDER BY id`)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestTableThatIsGoneIsNotMadeAnew: the target was told of the table before, so that it had rows.
func TestTableThatIsGoneIsNotMadeAnew(t *testing.T) {
	s := newDB(t, 15).stream(func(c *Config) { c.Tables.Create = true })
	known := &schema.Table{Schema: accounts.Schema, Name: accounts.Name}
	err := s.commit(newBatch().schema(accounts, known).insert(accounts, 2, "b", nil))
	if got := fault.Of(err); got.Code != "target.table_missing" || !containsAll(got.Error(), "public.accounts is gone") {
		t.Errorf("got %v, want target.table_missing", err)
	}
}

// TestMadeInPartsIsRecorded: what a transaction in parts makes at the target is listed like anything else.
func TestMadeInPartsIsRecorded(t *testing.T) {
	d := newDB(t, 15)
	s := d.stream(func(c *Config) { c.Tables.Create = true })
	other := tableOf("other", "*id integer")
	first := newBatch().schema(accounts, nil).insert(accounts, 1, "a", nil)
	if err := s.stage(first, newBatch().insert(accounts, 2, "b", nil), newBatch().schema(other, nil).insert(other, 1)); err != nil {
		t.Fatal(err)
	}
	_ = s.w.Close()
	_, held := d.open(nil)
	if diff := cmp.Diff([]string{"table:public.accounts", "table:public.other"}, held.Made); diff != "" {
		t.Errorf("made (-want +got):\n%s", diff)
	}
}

// TestColumnsThatFitNeverHalt: halt decides only about altering the target.
func TestColumnsThatFitNeverHalt(t *testing.T) {
	wider := tableOf("accounts", "*id integer", "owner text", "email text", "born date")
	d := newDB(t, 15, accountsDDL, `ALTER TABLE accounts ADD born date`)
	s := d.stream(nil)
	s.must(newBatch().insert(accounts, 1, "a", nil).schema(wider, accounts).insert(wider, 2, "b", nil, "2020-01-02"))
	want := []string{"1|a|<NULL>|<NULL>", "2|b|<NULL>|2020-01-02"}
	if diff := cmp.Diff(want, d.lines(`SELECT * FROM accounts ORDER BY id`)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestSpecialTables: tables that need statements of their own kind, in single rows and in bulk.
func TestSpecialTables(t *testing.T) {
	d := newDB(t, 15, `
		CREATE TABLE nothing ();
		CREATE TABLE defaults (extra int DEFAULT 7);
		CREATE TABLE "Odd.""Name" ("the ""key""" int PRIMARY KEY, "select" text);
		CREATE TYPE mood AS ENUM ('sad', 'ok');
		CREATE DOMAIN short AS varchar(4) CHECK (VALUE <> 'no');
		CREATE TYPE pair AS (a int, b text);
		CREATE TABLE types (id short PRIMARY KEY, m mood, ms mood[], p pair, ia int[], j json, jb jsonb, x xml, bx box, c char(5),
			b bit(3), by bytea, ts timestamptz, f float8, n numeric(20,5), ss short[], r int4range, nn "char", mo money);
		CREATE TABLE parent (id int PRIMARY KEY, v text); CREATE TABLE child (CHECK (id > 100)) INHERITS (parent);
		CREATE TABLE swapped (id int PRIMARY KEY, u int UNIQUE DEFERRABLE);
		CREATE TABLE parts (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
		CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (10);
		CREATE TABLE parts_high PARTITION OF parts FOR VALUES FROM (10) TO (100)`)
	s := d.stream(nil)
	nothing, defaults := tableOf("nothing"), tableOf("defaults")
	b := newBatch()
	for range 6 {
		b.change(schema.OpCreate, nothing, nil, row{}).change(schema.OpCreate, defaults, nil, row{})
	}
	odd := tableOf(`Odd."Name`, `*k integer`, "select text")
	odd.Columns[0].Name = `the "key"`
	types := tableOf("types", "*id short", "m mood", "ms mood[]", "p pair", "ia integer[]", "j json", "jb jsonb", "x xml",
		"bx box", "c character(5)", "b bit(3)", "by bytea", "ts timestamptz", "f float8", "n numeric", "ss short[]", "r int4range",
		"nn char", "mo money")
	for _, id := range []string{"a", "b", "c", "d", "e"} {
		b.insert(odd, int(id[0]), `quo"ted\`)
		b.insert(types, id, "sad", "{ok,NULL,sad}", `(1,"a ""b"" (,) \\")`, "{{1,2},{3,4}}", `{"a" : [1]}`, `{"a": 1}`, "<a/>",
			"(1,1),(0,0)", "ab", "101", `\x00ff`, "2020-01-01 00:00:00+00", "NaN", "1.50000", "{xy}", "[1,5)", "x", "$1.50")
	}
	for _, id := range []string{"a", "b", "c", "d", "e"} {
		b.update(odd, int(id[0]), "now")
	}
	parent, child := tableOf("parent", "*id integer", "v text"), tableOf("child", "*id integer", "v text")
	b.insert(parent, 1, "p").insert(child, 101, "c").update(parent, 1, "q")
	swapped := tableOf("swapped", "*id integer", "u integer")
	b.insert(swapped, 1, 1).insert(swapped, 2, 2)
	parts := full(tableOf("parts", "id integer", "v text"))
	b.insert(parts, 1, "low").insert(parts, 11, "high")
	s.must(b)
	// Two rows change their unique values with each other, and a row moves between partitions.
	s.must(newBatch().update(swapped, 1, 2).update(swapped, 2, 1).updateFrom(parts, row{1, "low"}, 12, "moved"))

	checks := map[string][]string{
		`SELECT count(*) FROM nothing`:               {"6"},
		`SELECT count(*), max(extra) FROM defaults`:  {"6|7"},
		`SELECT DISTINCT "select" FROM "Odd.""Name"`: {"now"},
		`SELECT tableoid::regclass, * FROM parent`:   {"parent|1|q", "child|101|c"},
		`SELECT * FROM swapped ORDER BY id`:          {"1|2", "2|1"},
		`SELECT tableoid::regclass, * FROM parts`:    {"parts_high|11|high", "parts_high|12|moved"},
		`SELECT * FROM types WHERE id = 'c' AND by = '\x00ff'`: {
			`c|sad|{ok,NULL,sad}|(1,"a ""b"" (,) \\")|{{1,2},{3,4}}|{"a" : [1]}|{"a": 1}|<a/>|(1,1),(0,0)|ab   |101|\x00ff|` +
				`2020-01-01 00:00:00+00|NaN|1.50000|{xy}|[1,5)|x|$1.50`},
		`SELECT count(*) FROM types`: {"5"},
	}
	d.exec(`SET TimeZone = 'UTC'`)
	for query, want := range checks {
		if diff := cmp.Diff(want, d.lines(query)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", query, diff)
		}
	}
	// Too long for the domain: refused, never cut.
	long := make(row, len(types.Columns))
	long[0] = "abcde"
	b = newBatch()
	for _, id := range []string{"f", "g", "h", "i"} {
		r := append(row{}, long...)
		r[0] = id
		b.insert(types, r...)
	}
	if err := s.commit(b.insert(types, long...)); fault.Of(err).Code != "target.value_refused" {
		t.Errorf("got %v, want target.value_refused", err)
	}
}

// TestConstraintsWaitAfterARestart: the log names a table's version again before its first change then, and rows that collide
// for a moment are no less in order.
func TestConstraintsWaitAfterARestart(t *testing.T) {
	d := newDB(t, 15, `CREATE TABLE swapped (id int PRIMARY KEY, u int UNIQUE DEFERRABLE)`)
	fire := func(c *Config) { c.FireTriggers = true }
	swapped := tableOf("swapped", "*id integer", "u integer")
	s := d.stream(fire)
	s.must(newBatch().insert(swapped, 1, 1).insert(swapped, 2, 2))
	_ = s.w.Close()
	s = d.stream(fire)
	s.must(newBatch().schema(swapped, swapped).update(swapped, 1, 2).update(swapped, 2, 1))
	if diff := cmp.Diff([]string{"1|2", "2|1"}, d.lines(`SELECT * FROM swapped ORDER BY id`)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestForeignKeysKeepOrder: without the right to apply as a replica, rows of tables that refer to each other are
// written in the order of the source, and cascades are not taken for missing rows.
func TestForeignKeysKeepOrder(t *testing.T) {
	d := newDB(t, 15, `CREATE TABLE p (id int PRIMARY KEY, v text);
		CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p ON DELETE CASCADE)`)
	s := d.stream(func(c *Config) { c.FireTriggers = true })
	p, c := tableOf("p", "*id integer", "v text"), tableOf("c", "*id integer", "p integer")
	b := newBatch()
	for i := range 20 {
		b.insert(p, i, "v").insert(c, i, i)
	}
	s.must(b)
	b = newBatch()
	for i := range 10 {
		b.update(c, i, 10+i)
		b.delete(p, i, absent)
	}
	// The source deleted children by its cascade; here they are gone with the parents.
	b.delete(p, 15, absent).delete(c, 5, absent).delete(c, 15, absent)
	s.must(b)
	if diff := cmp.Diff([]string{"18"}, d.lines(`SELECT count(*) FROM c`)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	err := s.commit(newBatch().insert(c, 500, 500))
	if fault.Of(err).Code != "target.foreign_key" || !strings.Contains(err.Error(), `insert of public.c with key id="500"`) {
		t.Errorf("got %v, want target.foreign_key naming the row", err)
	}
}

// TestNothingIsLeftOnTheServer: Close gives back every session, also after a cancelled call.
func TestNothingIsLeftOnTheServer(t *testing.T) {
	d := newDB(t, 15, accountsDDL)
	s := d.stream(nil)
	d.exec(`BEGIN; LOCK TABLE accounts`)
	ctx, cancel := context.WithTimeout(testContext(t), 200*time.Millisecond)
	defer cancel()
	if err := s.commitContext(ctx, newBatch().insert(accounts, 1, "x", nil)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the context's end", err)
	}
	_ = s.w.Close()
	d.exec(`ROLLBACK`)
	waitFor(t, func() bool {
		return len(d.lines(`SELECT 1 FROM pg_stat_activity WHERE application_name = 'rowferry:test' AND datname = current_database()`)) == 0
	})
}
