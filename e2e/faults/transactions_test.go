package faults

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rowferry/rowferry/e2e/daemon"
	"github.com/rowferry/rowferry/e2e/servers"
)

// TestFault45_SavepointsInALargeTransaction rolls parts of a transaction back that is far above what the source
// decodes in memory, and another one as a whole.
func TestFault45_SavepointsInALargeTransaction(t *testing.T) {
	t.Parallel()
	p := newPair(t, build(t))
	alterDatabase(t, p.source, `SET logical_decoding_work_mem = '64kB'`)
	p.follow()
	p.equal()
	const fill = `INSERT INTO items SELECT g, repeat('f', 200) FROM generate_series(%d, %d) g; `
	p.exec(`BEGIN; `+fmt.Sprintf(fill, 1001, 4000)+`SAVEPOINT a; `+fmt.Sprintf(fill, 4001, 6000)+`SAVEPOINT b; `+
		fmt.Sprintf(fill, 6001, 8000)+`UPDATE items SET name = 'gone' WHERE id < 5000; ROLLBACK TO b; `+fmt.Sprintf(fill, 6001, 6500)+
		`RELEASE a; SAVEPOINT c; DELETE FROM items; ROLLBACK TO c; UPDATE items SET name = 'kept' WHERE id < 50; COMMIT`,
		`BEGIN; `+fmt.Sprintf(fill, 20001, 24000)+`ROLLBACK`)
	p.equal()
	if n := ask(t, p.source, `SELECT stream_txns::text FROM pg_stat_replication_slots WHERE slot_name = $1`, p.slot); n == "0" {
		t.Error("the server streamed nothing: the test tests nothing")
	}
}

// TestFault49_PreparedTransactions: one that is prepared when the slot is made is waited for and named; one that is
// prepared later comes when it commits, and not at all when it does not.
func TestFault49_PreparedTransactions(t *testing.T) {
	t.Parallel()
	server := servers.StartForTest(t, servers.Major(t)) // what is prepared anywhere on a server holds up new slots
	p := pairOf(t, build(t), server.NewDatabase(t), server.NewDatabase(t))
	p.Pipelines[0].InSource["slot"] = daemon.Settings{"name": p.slot, "create_timeout": "1s"}
	p.exec(`BEGIN; INSERT INTO items VALUES (1000, 'prepared before'); PREPARE TRANSACTION 'early bird'`)
	p.start()
	p.waiting("early bird")
	p.exec(`COMMIT PREPARED 'early bird'`)
	p.awaitFollowing()
	p.equal()
	p.exec(`BEGIN; INSERT INTO items VALUES (1001, 'prepared'); PREPARE TRANSACTION 'late'`,
		`BEGIN; INSERT INTO items VALUES (1002, 'dropped'); PREPARE TRANSACTION 'never'`,
		`INSERT INTO items VALUES (1003, 'meanwhile')`)
	p.equal()
	p.Kill()
	p.follow()
	p.exec(`COMMIT PREPARED 'late'`, `ROLLBACK PREPARED 'never'`, `INSERT INTO items VALUES (1004, 'after')`)
	p.equal()
	p.onTarget(`SELECT count(*)::text FROM items`, "104")
}

// TestFault52_TargetSlowerThanTheSenderWaits: the source's server ends sessions that are silent for a second. A
// transaction that takes the target longer is no reason to be silent.
func TestFault52_TargetSlowerThanTheSenderWaits(t *testing.T) {
	t.Parallel()
	p := newPair(t, build(t))
	alterDatabase(t, p.source, `SET wal_sender_timeout = '1s'`)
	p.follow()
	p.equal()
	release := blocked(p, `INSERT INTO items VALUES (1000, 'slow')`)
	p.exec(`INSERT INTO items SELECT g, 'behind it' FROM generate_series(1001, 3000) g`)
	pause(p.ctx, 4*time.Second)
	release()
	p.equal()
	report, err := p.Status(p.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if n := report.Pipelines[0].Retries; n != 0 {
		t.Errorf("the pipeline began again %d times, want 0", n)
	}
}

// TestFault53_NoSuperuser runs a pipeline with roles as managed servers give them: replication and its own tables at
// the source, its own schema at the target, nothing more.
func TestFault53_NoSuperuser(t *testing.T) {
	t.Parallel()
	p := newPair(t, build(t))
	role := "plain" + strings.TrimPrefix(p.slot, "fault")
	p.exec(`CREATE ROLE ` + role + ` LOGIN REPLICATION`)
	t.Cleanup(func() {
		p.Kill()
		for _, url := range []string{p.source, p.target} {
			servers.Exec(t, url, `REASSIGN OWNED BY `+role+` TO postgres`, `DROP OWNED BY `+role)
		}
		servers.Exec(t, p.source, `DROP ROLE `+role)
	})
	as := func(url string) string { return strings.Replace(url, "//postgres@", "//"+role+"@", 1) }
	p.Pipelines[0].Source, p.Pipelines[0].Target = as(p.source), as(p.target)

	missing := func(code string, texts ...string) {
		t.Helper()
		p.start()
		p.halted(code, texts...)
		p.Kill()
	}
	missing("target.privilege", "CREATE on the database")
	alterDatabase(t, p.target, `OWNER TO `+role)
	missing("source.publication_rights", "public.items")
	p.exec(`CREATE PUBLICATION rowferry_shop FOR TABLE items`)
	missing("source.privilege", "items")
	p.exec(`GRANT SELECT ON items TO ` + role)
	p.follow()
	p.exec(`INSERT INTO items VALUES (1000, 'x')`, `UPDATE items SET name = 'y' WHERE id < 10`, `DELETE FROM items WHERE id = 11`)
	p.equal()
}

// TestFault53_RowSecurity: a policy that would hide rows from the copy halts it.
func TestFault53_RowSecurity(t *testing.T) {
	t.Parallel()
	p := newPair(t, build(t))
	role := "bound" + strings.TrimPrefix(p.slot, "fault")
	p.exec(`CREATE ROLE `+role+` LOGIN REPLICATION`, `GRANT SELECT ON items TO `+role, `ALTER TABLE items ENABLE ROW LEVEL SECURITY`,
		`CREATE POLICY part ON items USING (id < 50)`, `CREATE PUBLICATION rowferry_shop FOR TABLE items`)
	t.Cleanup(func() {
		p.Kill()
		servers.Exec(t, p.source, `DROP OWNED BY `+role, `DROP ROLE `+role)
	})
	p.Pipelines[0].Source = strings.Replace(p.source, "//postgres@", "//"+role+"@", 1)
	p.start()
	p.halted("source.row_security", "BYPASSRLS")
	p.Kill()
	p.exec(`ALTER ROLE ` + role + ` BYPASSRLS`)
	p.follow()
	p.equal()
}
