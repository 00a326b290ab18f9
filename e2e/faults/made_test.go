package faults

import "testing"

// TestFault40_MadeAndChangedWhileStopped makes a table while nobody reads the log, and changes it before the log is read. Its
// first rows are older than the catalog: they get what the source gave them.
func TestFault40_MadeAndChangedWhileStopped(t *testing.T) {
	t.Parallel()
	p := newPair(t, build(t))
	p.exec(`CREATE PUBLICATION pub FOR ALL TABLES`)
	p.Pipelines[0].InSource["publication"] = map[string]any{"name": "pub"}
	p.Pipelines[0].InTarget["schema_changes"] = "add_columns"
	p.follow()
	p.equal()
	p.stop()
	p.exec(`CREATE TABLE more (id int PRIMARY KEY)`, `INSERT INTO more VALUES (1)`, `ALTER TABLE more ADD price int DEFAULT 7`,
		`INSERT INTO more VALUES (2, 8)`, `CREATE TABLE strict (id int PRIMARY KEY)`, `INSERT INTO strict VALUES (1)`,
		`ALTER TABLE strict ADD price int NOT NULL DEFAULT 7`, `INSERT INTO strict VALUES (2, 8)`, `CREATE TABLE empty (id int PRIMARY KEY)`)
	p.follow()
	p.same("more", "strict", "empty")
}
