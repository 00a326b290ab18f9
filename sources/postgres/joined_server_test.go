package postgres

import (
	"strings"
	"testing"
	"time"

	"github.com/rowferry/rowferry/e2e/servers"
	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sources"
)

// TestTablesThatComeWithRows: a table that comes into a publication by what becomes of it, not by name, is followed only
// when it brings no rows that nobody copied, whether that happens while the pipeline runs or while it does not.
func TestTablesThatComeWithRows(t *testing.T) {
	tests := []struct {
		name  string
		ddl   []string
		write string // a row of what joined
		names string // in the halt; none for none
	}{
		{name: "attached with rows", ddl: []string{`CREATE TABLE p2 (id int PRIMARY KEY)`, `INSERT INTO p2 VALUES (15)`,
			`ALTER TABLE parted ATTACH PARTITION p2 FOR VALUES FROM (10) TO (20)`}, write: `INSERT INTO parted VALUES (11)`, names: "public.p2"},
		{name: "made, filled and attached at once", ddl: []string{`BEGIN; CREATE TABLE p2 (id int PRIMARY KEY); INSERT INTO p2 VALUES (15);
			ALTER TABLE parted ATTACH PARTITION p2 FOR VALUES FROM (10) TO (20); COMMIT`}, write: `INSERT INTO parted VALUES (11)`, names: "public.p2"},
		{name: "attached empty", ddl: []string{`CREATE TABLE p2 (id int PRIMARY KEY)`,
			`ALTER TABLE parted ATTACH PARTITION p2 FOR VALUES FROM (10) TO (20)`, `INSERT INTO parted VALUES (15)`}, write: `INSERT INTO parted VALUES (11)`},
		{name: "a partition made in place", ddl: []string{`CREATE TABLE p2 PARTITION OF parted FOR VALUES FROM (10) TO (20)`,
			`INSERT INTO parted VALUES (15)`}, write: `INSERT INTO parted VALUES (11)`},
		{name: "moved into the schema", ddl: []string{`ALTER TABLE attic.old SET SCHEMA public`},
			write: `INSERT INTO old VALUES (11)`, names: "public.old"},
		{name: "renamed into the patterns", ddl: []string{`ALTER TABLE hidden_u RENAME TO u`}, write: `INSERT INTO u VALUES (11)`, names: "public.u"},
		{name: "renamed empty into the patterns", ddl: []string{`TRUNCATE hidden_u`, `ALTER TABLE hidden_u RENAME TO u`, `INSERT INTO u VALUES (7)`},
			write: `INSERT INTO u VALUES (11)`},
		{name: "made and filled at once", ddl: []string{`BEGIN; CREATE TABLE u (id int PRIMARY KEY); INSERT INTO u VALUES (7); COMMIT`,
			`ALTER TABLE u ADD n int`, `UPDATE u SET n = 1`}, write: `INSERT INTO u VALUES (11)`},
	}
	begin := func(t *testing.T) (string, *Source, *reader) {
		url := servers.ForTest(t, 15).NewDatabase(t)
		servers.Exec(t, url, `CREATE TABLE parted (id int PRIMARY KEY) PARTITION BY RANGE (id)`,
			`CREATE TABLE p1 PARTITION OF parted FOR VALUES FROM (0) TO (10)`, `CREATE SCHEMA attic`,
			`CREATE TABLE attic.old (id int PRIMARY KEY)`, `INSERT INTO attic.old VALUES (1)`,
			`CREATE TABLE hidden_u (id int PRIMARY KEY)`, `INSERT INTO hidden_u VALUES (1)`,
			`CREATE PUBLICATION pub FOR ALL TABLES WITH (publish_via_partition_root = true)`)
		s := newSource(t, url, func(c *Config, rt *sources.Runtime) {
			given("pub")(c, rt)
			rt.Tables.Include = patterns(t, "public.parted", "public.old", "public.u")
		})
		r := newReader(t)
		if err := r.open(s); err != nil {
			t.Fatal(err)
		}
		r.until(r.streaming)
		return url, s, r
	}
	check := func(t *testing.T, err error, names string) {
		t.Helper()
		if names == "" {
			if err != nil {
				t.Errorf("got %v, want none", err)
			}
			return
		}
		wantFault(t, err, "source.publication_changed", fault.Terminal)
		if err != nil && !strings.Contains(err.Error(), names+" came") {
			t.Errorf("got %v, want it to name %s", err, names)
		}
	}
	for _, test := range tests {
		t.Run(test.name+"/while it runs", func(t *testing.T) {
			t.Parallel()
			url, s, r := begin(t)
			servers.Exec(t, url, test.ddl...)
			o, err := observeRipe(t, s, r, "parted", "9")
			if got := has(o.Findings, schema.Problem, "source.publication_changed"); err == nil && got != (test.names != "") {
				t.Errorf("got the findings %+v", o.Findings)
			}
			servers.Exec(t, url, test.write)
			for ctx := within(t, 30*time.Second); err == nil && !strings.Contains(strings.Join(r.log, "\n"), " 11"); {
				err = r.step(ctx)
			}
			check(t, err, test.names)
			r.close()
		})
		t.Run(test.name+"/while it is stopped", func(t *testing.T) {
			t.Parallel()
			url, s, r := begin(t)
			r.close()
			servers.Exec(t, url, test.ddl...)
			err := r.open(s)
			check(t, err, test.names)
			if err == nil {
				r.close()
			}
			if test.names != "" {
				s.cfg.Publication.Changed = "accept"
				if err := r.open(s); err != nil {
					t.Fatal(err)
				}
				r.close()
			}
		})
	}
}

// TestTableUnderRowSecurityIsFollowed: a table that is made while all are published comes by the log alone, so that no right to
// read it is needed.
func TestTableUnderRowSecurityIsFollowed(t *testing.T) {
	url := servers.ForTest(t, 15).NewDatabase(t)
	role := quoteName("rls_" + databaseOf(t, url))
	servers.Exec(t, url, `CREATE TABLE t (id int PRIMARY KEY)`, `CREATE PUBLICATION pub FOR ALL TABLES`,
		`CREATE ROLE `+role+` LOGIN REPLICATION PASSWORD 'canary'`, `GRANT SELECT ON t TO `+role, `CREATE SCHEMA closed`)
	t.Cleanup(func() { servers.Exec(t, url, `DROP OWNED BY `+role, `DROP ROLE `+role) })
	s := newSource(t, url, func(c *Config, rt *sources.Runtime) {
		given("pub")(c, rt)
		c.URL, c.Password = asRole(t, url, "rls_"+databaseOf(t, url)), "canary"
		rt.Tables.Include = patterns(t, "public.*", "closed.*")
	})
	r := newReader(t)
	if err := r.open(s); err != nil {
		t.Fatal(err)
	}
	r.until(r.streaming)
	for _, table := range []string{"public.guarded", "closed.inside"} {
		servers.Exec(t, url, `CREATE TABLE `+table+` (id int PRIMARY KEY)`, `ALTER TABLE `+table+` ENABLE ROW LEVEL SECURITY`,
			`GRANT SELECT ON `+table+` TO `+role, `INSERT INTO `+table+` VALUES (1)`)
	}
	servers.Exec(t, url, `ALTER TABLE closed.inside DISABLE ROW LEVEL SECURITY`, `INSERT INTO closed.inside VALUES (2)`)
	r.until(func() bool { return strings.Contains(strings.Join(r.log, "\n"), "1 closed.inside 2") })
	if o, err := s.Observe(within(t, 30*time.Second)); err != nil || has(o.Findings, schema.Problem, "source.publication_changed") {
		t.Errorf("got %+v, %v, want no problem", o.Findings, err)
	}
	r.close()
}
