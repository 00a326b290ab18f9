package faults

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/rowferry/rowferry/e2e/daemon"
	"github.com/rowferry/rowferry/e2e/servers"
)

// TestFault40_ColumnsChange changes columns in the stream, in one transaction with rows and at an idle table. What
// was written before a change is decoded as it was then.
func TestFault40_ColumnsChange(t *testing.T) {
	t.Parallel()
	p := pairWith(t, []string{`CREATE TABLE idle (id int PRIMARY KEY)`}, nil)
	p.Pipelines[0].InTarget["schema_changes"] = "add_columns"
	p.follow()
	p.equal()
	p.stop() // so that all of it is older than the catalog when it is read
	p.exec(`ALTER TABLE idle ADD note text`,
		`BEGIN; INSERT INTO items VALUES (1001, 'before'); ALTER TABLE items ADD price numeric(9,2);
			INSERT INTO items VALUES (1002, 'within', 7.5); UPDATE items SET price = 1 WHERE id = 1001; COMMIT`,
		`ALTER TABLE items ADD seen timestamptz`, `INSERT INTO items VALUES (1003, 'after', 8, '2020-02-03 04:05:06+00')`,
		`INSERT INTO idle VALUES (1, 'no longer idle')`)
	p.follow()
	p.same("items", "idle")
}

// TestFault40_ColumnsTheTargetCannotTake: a rename, another type and a column that is gone halt where the target
// cannot take the rows after the change, and go on when it can. The rows before are there.
func TestFault40_ColumnsTheTargetCannotTake(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, change, row, code, text, mend string }{
		{"column renamed", `ALTER TABLE items RENAME name TO title`, `(1002, 'after')`, "target.schema_mismatch", "title",
			`ALTER TABLE items RENAME name TO title`},
		{"type changed", `ALTER TABLE items ALTER id TYPE bigint`, `(5000000000, 'after')`, "target.value_refused", `id="5000000000"`,
			`ALTER TABLE items ALTER id TYPE bigint`},
		{"column added", `ALTER TABLE items ADD price int`, `(1002, 'after', 5)`, "target.schema_mismatch", `ADD COLUMN "price" integer`,
			`ALTER TABLE items ADD price int`},
		{"column dropped", `ALTER TABLE items DROP name`, `(1002)`, "", "", `ALTER TABLE items DROP name`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, build(t))
			p.follow()
			p.equal()
			p.exec(`INSERT INTO items VALUES (1001, 'before')`, tt.change, `INSERT INTO items VALUES `+tt.row)
			if tt.code != "" {
				p.halted(tt.code, tt.text)
				p.onTarget(`SELECT count(*) || ' ' || count(name) FILTER (WHERE id = 1001) FROM items`, "101 1")
				p.stop()
			} else { // the target has a column more: that is no reason to halt
				p.eventually("the row", func() (bool, string) {
					n, err := query(p.ctx, p.target, `SELECT count(*)::text FROM items WHERE id = 1002 AND name IS NULL`)
					return err == nil && n == "1", n
				})
			}
			servers.Exec(t, p.target, tt.mend)
			p.start()
			p.same("items")
		})
	}
}

// TestFault40_CommittedButNotVisible: a commit is in the log before others see it, here because it waits for a synchronous standby that
// is not there. What the catalog says of the new column is awaited.
func TestFault40_CommittedButNotVisible(t *testing.T) {
	t.Parallel()
	server := servers.StartForTest(t, servers.Major(t))
	p := pairOf(t, build(t), server.NewDatabase(t), targets(t).NewDatabase(t))
	p.Pipelines[0].InTarget["schema_changes"] = "add_columns"
	p.follow()
	p.equal()
	p.exec(`ALTER SYSTEM SET synchronous_standby_names = 'nobody'`, `SELECT pg_reload_conf()`)
	p.eventually("the server to wait for standbys", func() (bool, string) {
		names, err := query(p.ctx, p.source, `SHOW synchronous_standby_names`)
		return err == nil && names == "nobody", names
	})
	conn, err := pgx.Connect(p.ctx, p.source)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(p.ctx))
	done := make(chan error, 1)
	go func() {
		_, err := conn.Exec(p.ctx, `BEGIN; ALTER TABLE items ADD price int DEFAULT 7; INSERT INTO items VALUES (1001, 'after', 8); COMMIT`,
			pgx.QueryExecModeSimpleProtocol)
		done <- err
	}()
	p.waiting("source.catalog_behind", "source.table_locked")
	p.onTarget(`SELECT count(*)::text FROM items WHERE id > 1000`, "0")
	p.exec(`ALTER SYSTEM RESET synchronous_standby_names`, `SELECT pg_reload_conf()`)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	p.same("items")
}

// TestFault41_NamesChangeHands: a name that passes to another table does not mix their rows.
func TestFault41_NamesChangeHands(t *testing.T) {
	t.Parallel()
	again := []string{`DROP TABLE items`, `CREATE TABLE items (id int PRIMARY KEY, name text)`, `INSERT INTO items VALUES (2000, 'new')`}
	tests := []struct {
		name, publication, newTables string
		change                       []string
		stopped                      bool // while it happens
		code                         string
	}{
		{"swapped", "FOR TABLE items, other", "report", []string{`BEGIN; ALTER TABLE items RENAME TO spare; ALTER TABLE other RENAME TO items;
			ALTER TABLE spare RENAME TO other; COMMIT`, `INSERT INTO items VALUES (2000, 'of the other')`}, false, "source.publication_changed"},
		{"swapped while stopped", "FOR TABLE items, other", "report", []string{`ALTER TABLE items RENAME TO spare`,
			`ALTER TABLE other RENAME TO items`, `ALTER TABLE spare RENAME TO other`}, true, "source.publication_changed"},
		{"made again among all tables", "FOR ALL TABLES", "report", again, false, "source.publication_changed"},
		{"made again by itself", "FOR TABLE items, other", "halt", again, false, "source.new_table"},
		{"made again by itself, to be reported", "FOR TABLE items, other", "report", again, false, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := pairWith(t, []string{`CREATE TABLE other (id int PRIMARY KEY, name text)`, `CREATE PUBLICATION pub ` + tt.publication}, nil)
			p.Pipelines[0].InSource["publication"] = map[string]any{"name": "pub"}
			p.Pipelines[0].InSource["new_tables"] = tt.newTables
			p.follow()
			p.equal()
			if tt.stopped {
				p.stop()
			}
			p.exec(tt.change...)
			if tt.stopped {
				p.start()
			}
			if tt.code != "" {
				p.halted(tt.code, "public.items")
			} else {
				p.logged(`"source.new_table"`)
			}
			p.onTarget(`SELECT count(*)::text FROM items WHERE id = 2000`, "0")
		})
	}
}

// TestFault42_Truncates empties tables in every way Postgres knows, among rows of the same transaction.
func TestFault42_Truncates(t *testing.T) {
	t.Parallel()
	p := pairWith(t, []string{
		`CREATE TABLE parent (id int PRIMARY KEY)`, `CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent)`,
		`CREATE TABLE counted (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text)`,
		`INSERT INTO parent SELECT generate_series(1, 10)`, `INSERT INTO child SELECT g, g FROM generate_series(1, 10) g`,
		`INSERT INTO counted (note) SELECT 'old' FROM generate_series(1, 10)`,
	}, nil)
	p.follow()
	p.same("items", "parent", "child", "counted")
	p.exec(
		`BEGIN; INSERT INTO items VALUES (500, 'gone'); TRUNCATE items; INSERT INTO items VALUES (501, 'kept'); COMMIT`,
		`BEGIN; TRUNCATE parent CASCADE; INSERT INTO parent VALUES (77); INSERT INTO child VALUES (1, 77); COMMIT`,
		`TRUNCATE counted RESTART IDENTITY`, `INSERT INTO counted (note) VALUES ('first again')`,
	)
	p.same("items", "parent", "child", "counted")
	p.onTarget(`SELECT string_agg(id || note, ',') FROM counted`, "1first again")
	p.exec(`BEGIN; INSERT INTO items VALUES (502, 'gone'); TRUNCATE items, counted, child; INSERT INTO items VALUES (502, 'kept'); COMMIT`)
	p.same("items", "parent", "child", "counted")
	p.exec(`BEGIN; TRUNCATE items; ROLLBACK`, `BEGIN; SAVEPOINT a; TRUNCATE items; ROLLBACK TO a; INSERT INTO items VALUES (503, 'x'); COMMIT`)
	p.same("items")
	p.onTarget(`SELECT count(*)::text FROM items`, "2")
}

// TestFault43_IdentitySwitched changes a table's replica identity while it is followed.
func TestFault43_IdentitySwitched(t *testing.T) {
	t.Parallel()
	p := pairWith(t, []string{`ALTER TABLE items ADD code text`, `UPDATE items SET code = 'c' || id`, `ALTER TABLE items ALTER code SET NOT NULL`,
		`CREATE UNIQUE INDEX by_code ON items (code)`}, nil)
	p.follow()
	p.same("items")
	change := func() []string {
		return []string{`UPDATE items SET name = name || '.' WHERE id % 3 = 0`, `DELETE FROM items WHERE id = 1 + (SELECT min(id) FROM items)`,
			`UPDATE items SET id = id + 1000, code = code || 'm' WHERE id = (SELECT min(id) FROM items)`}
	}
	for _, identity := range []string{"FULL", "USING INDEX by_code", "DEFAULT", "FULL", "DEFAULT"} {
		p.exec(append([]string{`ALTER TABLE items REPLICA IDENTITY ` + identity}, change()...)...)
	}
	p.same("items")
	// With nothing, Postgres refuses updates and deletes to the application; inserts go on.
	p.exec(`ALTER TABLE items REPLICA IDENTITY NOTHING`, `INSERT INTO items VALUES (5000, 'n', 'n')`)
	p.same("items")
	p.exec(`ALTER TABLE items REPLICA IDENTITY DEFAULT`)
	p.exec(change()...)
	p.same("items")
}

// TestFault44_UnsentAndMovedRowsDuringTheCopy holds the copy at the target and changes rows that it has taken, or not
// yet: values that are not sent again, keys that move over the border between them, rows that go and come.
func TestFault44_UnsentAndMovedRowsDuringTheCopy(t *testing.T) {
	t.Parallel()
	const big = `CREATE TABLE big (id int PRIMARY KEY, n int, body text)`
	p := pairWith(t, []string{big, `ALTER TABLE big ALTER body SET STORAGE EXTERNAL`,
		`INSERT INTO big SELECT g, 0, repeat(md5(g::text), 150) FROM generate_series(1, 1000) g`}, []string{big})
	p.Pipelines[0].Snapshot = daemon.Settings{"workers": 2, "chunk_size": "1MiB"}
	release := lockTarget(p, `LOCK TABLE big IN SHARE MODE`) // read by who prepares the copy, not written
	p.start()
	waitsForLock(p)
	p.exec(
		`UPDATE big SET n = n + 1 WHERE id % 3 = 0`,
		`UPDATE big SET id = id + 5000 WHERE id % 10 = 1`, // copied as they were, then moved without their bodies
		`UPDATE big SET id = -id WHERE id % 10 = 2`,
		`BEGIN; UPDATE big SET id = 1 WHERE id = 5001; UPDATE big SET n = 7, body = 'short' WHERE id = 1; UPDATE big SET n = 8 WHERE id = 1; COMMIT`,
		`DELETE FROM big WHERE id % 10 = 3`, `INSERT INTO big SELECT g, 1, repeat('i', 5000) FROM generate_series(3, 103, 10) g`,
		`UPDATE big SET n = n + 1 WHERE id % 2 = 0`,
	)
	release()
	p.awaitFollowing()
	p.same("big")
	p.exec(
		`BEGIN; UPDATE big SET n = n + 1; UPDATE big SET body = body || 'x' WHERE id % 7 = 0; UPDATE big SET n = n + 1 WHERE id % 2 = 0; COMMIT`,
		`UPDATE big SET id = id + 100000, n = 3 WHERE id % 4 = 0`,
	)
	p.same("big")
}
