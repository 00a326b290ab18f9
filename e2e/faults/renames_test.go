package faults

import (
	"strings"
	"testing"

	"github.com/rowferry/rowferry/e2e/servers"
)

// TestFault41_RenamedWhileStopped renames tables while nobody reads the log. The target's table keeps its rows: it is not
// taken for another one, and no empty one is made in its place.
func TestFault41_RenamedWhileStopped(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name         string
		later        bool // the table is made after the copy
		change, mend string
		remedy       string
	}{
		{
			name: "copied", change: `ALTER TABLE items RENAME TO things`, mend: `ALTER TABLE items RENAME TO things`,
			remedy: `ALTER TABLE "public"."items" RENAME TO "things"`,
		},
		{
			name: "moved to another schema", change: `CREATE SCHEMA depot; ALTER TABLE items SET SCHEMA depot; ALTER TABLE depot.items RENAME TO things`,
			mend:   `CREATE SCHEMA depot; ALTER TABLE items SET SCHEMA depot; ALTER TABLE depot.items RENAME TO things`,
			remedy: `ALTER TABLE "public"."items" SET SCHEMA "depot"`,
		},
		{
			name: "made while it was followed", later: true,
			change: `ALTER TABLE items RENAME TO things`, mend: `ALTER TABLE items RENAME TO things`,
			remedy: `ALTER TABLE "public"."items" RENAME TO "things"`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, build(t))
			p.exec(`CREATE PUBLICATION pub FOR ALL TABLES`)
			p.Pipelines[0].InSource["publication"] = map[string]any{"name": "pub"}
			p.Pipelines[0].Include = []string{"public.items", "*.things"}
			if tt.later {
				p.exec(`ALTER TABLE items RENAME TO unused`)
			}
			p.follow()
			if tt.later {
				p.exec(`CREATE TABLE items (id int PRIMARY KEY, name text)`, `INSERT INTO items SELECT g, 'new' FROM generate_series(1, 10) g`)
			}
			p.equal()
			p.stop()
			p.follow() // the names outlive a start in which nothing was written
			p.stop()
			p.exec(tt.change)
			name := "things"
			if strings.Contains(tt.change, "depot") {
				name = "depot.things"
			}
			p.follow()
			p.exec(`INSERT INTO ` + name + ` VALUES (5000, 'after')`)
			p.halted("target.table_missing", "public.items", tt.remedy)
			p.stop()
			p.start() // and a start that halted
			p.halted("target.table_missing", "public.items", tt.remedy)
			p.stop()
			servers.Exec(t, p.target, tt.mend)
			p.follow()
			p.same(name)
			p.stop()
			p.follow() // the new name is known now
			p.exec(`UPDATE ` + name + ` SET name = 'later'`)
			p.same(name)
		})
	}
}

// TestFault41_TargetTableGone drops a table at the target while nobody looks. An empty one would lack its rows.
func TestFault41_TargetTableGone(t *testing.T) {
	t.Parallel()
	p := newPair(t, build(t))
	p.follow()
	p.equal()
	p.stop()
	servers.Exec(t, p.target, `DROP TABLE items`)
	p.follow()
	p.exec(`INSERT INTO items VALUES (5000, 'after')`)
	p.halted("target.table_missing", "public.items", "rows")
	p.stop()
}

// TestFault40_ColumnsSwappedWhileStopped: a name that passed to another column halts, and again, until the target's did.
func TestFault40_ColumnsSwappedWhileStopped(t *testing.T) {
	t.Parallel()
	const swap = `BEGIN; ALTER TABLE items RENAME name TO spare; ALTER TABLE items RENAME note TO name; ALTER TABLE items RENAME spare TO note; COMMIT`
	p := pairWith(t, []string{`ALTER TABLE items ADD note text DEFAULT 'n'`}, nil)
	p.follow()
	p.same("items")
	p.stop()
	p.exec(swap, `INSERT INTO items VALUES (5000, 'after', 'x')`)
	for range 2 {
		p.start()
		p.halted("target.schema_mismatch", "name", "note")
		p.stop()
	}
	servers.Exec(t, p.target, swap)
	p.follow()
	p.same("items")
}
