package faults

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/rowferry/rowferry/e2e/servers"
)

// nameAgain drops the last column of items and adds it again: no message of the log is another one for it.
const nameAgain = `ALTER TABLE items DROP COLUMN name; ALTER TABLE items ADD COLUMN name text DEFAULT 'x'`

// TestFault40_ColumnAddedAgain: rows that were not written since have other values at the source, which no change says. The pipeline halts,
// and again, until what the target has was mended and is accepted; changes made meanwhile are not lost.
func TestFault40_ColumnAddedAgain(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		stopped bool // while it happens
		change  []string
	}{
		{"while it runs", false, []string{`INSERT INTO items VALUES (1000, 'before')`, nameAgain, `INSERT INTO items VALUES (1001, 'after')`}},
		{"while stopped", true, []string{`INSERT INTO items VALUES (1000, 'before')`, nameAgain, `INSERT INTO items VALUES (1001, 'after')`}},
		{"among rows of one transaction", false, []string{`BEGIN; INSERT INTO items VALUES (1000, 'before'); ` + nameAgain + `;
			INSERT INTO items VALUES (1001, 'after'); COMMIT`}},
		{"while stopped, and nothing was added since", true, []string{`INSERT INTO items VALUES (1000, 'before'), (1001, 'after')`, nameAgain,
			`UPDATE items SET name = 'after' WHERE id = 1001`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, build(t))
			p.follow()
			p.equal()
			if tt.stopped {
				p.stop()
			}
			p.exec(tt.change...)
			if tt.stopped {
				p.start()
			}
			for range 2 {
				p.halted("target.schema_mismatch", "public.items", "under the names name:", "source.publication.changed: accept")
				p.onTarget(`SELECT count(*)::text FROM items WHERE id >= 1000`, "2")
				p.stop()
				p.start()
			}
			p.halted("target.schema_mismatch")
			p.stop()
			servers.Exec(t, p.target, `UPDATE items SET name = 'x' WHERE id <> 1001`)
			p.exec(`INSERT INTO items VALUES (1002, 'meanwhile')`, `UPDATE items SET name = 'changed' WHERE id = 5`, `DELETE FROM items WHERE id = 6`)
			p.Pipelines[0].InSource["publication"] = map[string]any{"changed": "accept"}
			p.follow()
			p.same("items")
			p.stop()
			delete(p.Pipelines[0].InSource, "publication")
			p.follow()
			p.exec(`UPDATE items SET name = 'later' WHERE id < 10`)
			p.same("items")
			p.unhalted()
		})
	}
}

// TestFault40_ColumnAddedAgainIntoEvents: events of old rows stay what they were, and new ones come.
func TestFault40_ColumnAddedAgainIntoEvents(t *testing.T) {
	t.Parallel()
	p := newPair(t, build(t))
	path := p.intoFile()
	p.follow()
	p.exec(nameAgain, `INSERT INTO items VALUES (1001, 'after')`)
	p.logged("took names of others")
	p.exec(`INSERT INTO items VALUES (1002, 'after')`)
	p.eventually("the row to be in the file", func() (bool, string) {
		text := content(t, path)
		return strings.Contains(text, `"id":1002,`), text[max(0, len(text)-100):]
	})
	p.unhalted()
	p.stop()
}

// TestFault40_ColumnAddedAgainButNotVisible: the transaction that does it is in the log, and waits for a synchronous standby that is not
// there. It is seen as soon as the source shows it.
func TestFault40_ColumnAddedAgainButNotVisible(t *testing.T) {
	t.Parallel()
	server := servers.StartForTest(t, servers.Major(t))
	p := pairOf(t, build(t), server.NewDatabase(t), targets(t).NewDatabase(t))
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
		_, err := conn.Exec(p.ctx, `BEGIN; `+nameAgain+`; INSERT INTO items VALUES (1001, 'after'); COMMIT`, pgx.QueryExecModeSimpleProtocol)
		done <- err
	}()
	p.eventually("the row", func() (bool, string) {
		n, err := query(p.ctx, p.target, `SELECT count(*)::text FROM items WHERE id = 1001`)
		return err == nil && n == "1", n
	})
	p.unhalted()
	p.exec(`ALTER SYSTEM RESET synchronous_standby_names`, `SELECT pg_reload_conf()`)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	p.halted("target.schema_mismatch", "public.items", "under the names name:")
	p.stop()
}
