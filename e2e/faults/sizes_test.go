package faults

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/rowferry/rowferry/e2e/daemon"
	"github.com/rowferry/rowferry/e2e/servers"
)

// TestFault97_MaliciousIdentifiers: names of schemas, tables and columns are names, whatever they hold, from the copy
// to the target's tables that were made for them.
func TestFault97_MaliciousIdentifiers(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ü", 31) + "x" // 63 bytes
	names := []struct{ schema, table, column string }{
		{"public", `a"; DROP TABLE items; --`, `b'); DROP TABLE items; --`},
		{`s"; DROP TABLE items; --`, "back`tick", `c\"d`},
		{"select", "table", "from"},
		{long, long, long},
		{"раураl", "іtems", "$1"}, // letters that look like others
		{"public", "Items", "{name}"},
		{"public", "100% %s\t\n", `\N`},
	}
	p := newPair(t, build(t))
	var tables, include []string
	for _, n := range names {
		table := pgx.Identifier{n.schema, n.table}.Sanitize()
		tables = append(tables, table)
		include = append(include, table)
		p.exec(`CREATE SCHEMA IF NOT EXISTS `+pgx.Identifier{n.schema}.Sanitize(),
			fmt.Sprintf(`CREATE TABLE %s (id int PRIMARY KEY, %s text)`, table, pgx.Identifier{n.column}.Sanitize()),
			fmt.Sprintf(`INSERT INTO %s VALUES (1, 'copied'), (2, 'copied')`, table))
	}
	p.Pipelines[0].Include = append(include, "public.items")
	p.follow()
	p.same(append(tables, "items")...)
	for i, table := range tables {
		column := pgx.Identifier{names[i].column}.Sanitize()
		p.exec(fmt.Sprintf(`BEGIN; INSERT INTO %[1]s VALUES (3, 'new'), (4, 'new'); UPDATE %[1]s SET %[2]s = 'changed' WHERE id = 1;
			UPDATE %[1]s SET id = 20 WHERE id = 2; DELETE FROM %[1]s WHERE id = 4; COMMIT`, table, column))
	}
	p.same(append(tables, "items")...)
	p.exec(`TRUNCATE ` + strings.Join(tables, ", "))
	p.same(append(tables, "items")...)
}

// TestFault98_Sizes is a hundredth of what a large source has, but for the columns, of which a table cannot have
// more: many tables, a large value, a large transaction, many small ones. Memory stays bounded.
func TestFault98_Sizes(t *testing.T) {
	t.Parallel()
	const tables, columns = 1000, 1600
	server := servers.StartForTest(t, servers.Major(t)) // long transactions would hold up the slots of other tests
	p := pairOf(t, build(t), server.NewDatabase(t), server.NewDatabase(t))
	ctx, cancel := context.WithTimeout(t.Context(), 4*limit)
	defer cancel()
	p.ctx = ctx
	p.exec(manyTables(tables), fmt.Sprintf(`DO $$ BEGIN EXECUTE (SELECT 'CREATE TABLE wide (' || string_agg(format('c%%s bool', i), ', ') || ', PRIMARY KEY (c1))'
			FROM generate_series(1, %d) i); END $$`, columns),
		`INSERT INTO wide (c1, c1600) VALUES (true, false)`, `CREATE TABLE large (id int PRIMARY KEY, body text)`,
		`INSERT INTO large VALUES (1, repeat('l', 10000000))`)
	p.Pipelines[0].Snapshot = daemon.Settings{"workers": 2}
	p.follow()
	p.exec(`INSERT INTO items SELECT g, 'a row of a transaction that is large ' || g FROM generate_series(1001, 101000) g`,
		`INSERT INTO large VALUES (2, repeat('m', 10000000))`, `UPDATE large SET id = 3 WHERE id = 1`,
		`UPDATE wide SET c1600 = true`, `INSERT INTO wide (c1, c800) VALUES (false, true)`,
		fmt.Sprintf(`DO $$ BEGIN FOR i IN 1..%d LOOP EXECUTE format('INSERT INTO many_%%s VALUES (1)', i); COMMIT; END LOOP; END $$`, tables))
	last := fmt.Sprintf("many_%d", tables)
	p.same("items", "large", "wide", "many_1", last)
	count := fmt.Sprintf(`SELECT sum((xpath('/row/n/text()', query_to_xml('SELECT count(*) AS n FROM ' || oid::regclass, false, true, '')))[1]::text::int)::text
		FROM pg_class WHERE relname LIKE 'many\_%%' AND relkind = 'r'`)
	p.onTarget(count, fmt.Sprint(tables))
	p.stop()
	if _, peak := p.Usage(); peak > 384<<20 {
		t.Errorf("the daemon took %d MiB, want at most 384", peak>>20)
	}
}

// manyTables makes empty tables many_1, many_2 and so on.
func manyTables(n int) string {
	return fmt.Sprintf(`DO $$ BEGIN FOR i IN 1..%d LOOP EXECUTE format('CREATE TABLE many_%%s (id int PRIMARY KEY)', i); COMMIT; END LOOP; END $$`, n)
}

// TestFault98_MakingTables: making many tables at the target is one commit, which takes as long as they are many. That is
// no call that hangs.
func TestFault98_MakingTables(t *testing.T) {
	t.Parallel()
	server := servers.StartForTest(t, servers.Major(t))
	p := pairOf(t, build(t), server.NewDatabase(t), server.NewDatabase(t))
	p.exec(manyTables(1000))
	p.Pipelines[0].Besides = daemon.Settings{"timeouts": daemon.Settings{"commit": "1s"}}
	p.follow()
	p.exec(`INSERT INTO many_1000 VALUES (1)`)
	p.same("many_1", "many_1000")
}

// TestFault98_ValueTooLarge: a value above the limit halts with table, column and key, in the copy and in the stream.
func TestFault98_ValueTooLarge(t *testing.T) {
	t.Parallel()
	for _, during := range []string{"copy", "stream"} {
		t.Run(during, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, build(t))
			p.Pipelines[0].InSource["max_value_bytes"] = "1MiB"
			const large = `INSERT INTO items VALUES (4711, repeat('v', 3000000))`
			if during == "copy" {
				p.exec(large)
				p.start()
			} else {
				p.follow()
				p.exec(large)
			}
			p.halted("source.value_too_large", "public.items", "name", "4711", "max_value_bytes")
			p.stop()
			p.Pipelines[0].InSource["max_value_bytes"] = "4MiB"
			p.follow()
			p.equal()
		})
	}
}
