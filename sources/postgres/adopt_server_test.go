package postgres

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pglogrepl"

	"github.com/rowferry/rowferry/e2e/servers"
	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sources"
)

// TestAdopt goes on from the slot of another reader: with what that one acknowledged behind it, and everything after.
func TestAdopt(t *testing.T) {
	url := servers.ForTest(t, servers.Major(t)).NewDatabase(t)
	slot := "other_" + databaseOf(t, url)
	servers.Exec(t, url, `CREATE TABLE t (id int PRIMARY KEY, v text)`, `CREATE PUBLICATION theirs FOR TABLE t`,
		`SELECT pg_create_logical_replication_slot('`+slot+`', 'pgoutput')`,
		`INSERT INTO t VALUES (1, 'theirs')`, `SELECT pg_replication_slot_advance('`+slot+`', pg_current_wal_lsn())`,
		`INSERT INTO t VALUES (2, 'ours')`)
	s := newSource(t, url, func(c *Config, rt *sources.Runtime) {
		given("theirs")(c, rt)
		c.Slot.Name = slot
	})
	adoption, err := s.Adopt(t.Context(), slot)
	if err != nil {
		t.Fatal(err)
	}
	var facts []string
	for _, f := range adoption.Facts {
		facts = append(facts, f.What+" "+f.Text)
	}
	if text := strings.Join(facts, "\n"); !strings.Contains(text, "slot "+slot) || !strings.Contains(text, "publication theirs is used as it is, for public.t") {
		t.Errorf("got %s; want the slot, and the publication with its table", text)
	}
	servers.Exec(t, url, `INSERT INTO t VALUES (3, 'later')`)
	r := newReader(t)
	r.held = adoption.Position
	if err := r.open(s); err != nil {
		t.Fatal(err)
	}
	r.until(func() bool { return len(r.log) >= 3 })
	r.close()
	want := []string{"6 public.t", "1 public.t 2 ours", "1 public.t 3 later"} // the table is described before its first row
	if diff := cmp.Diff(want, r.log); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	if len(r.tables) > 0 || len(r.made) > 0 || len(r.phases) != 1 || r.phases[0] != schema.PhaseStream {
		t.Errorf("got tables %v copied, %v made and phases %v; want the stream alone", r.tables, r.made, r.phases)
	}
}

func TestAdoptRefuses(t *testing.T) {
	server := servers.ForTest(t, servers.Major(t))
	url := server.NewDatabase(t)
	slot := "other_" + databaseOf(t, url)
	servers.Exec(t, url, `CREATE TABLE t (id int PRIMARY KEY)`, `CREATE TABLE u (id int PRIMARY KEY)`,
		`CREATE PUBLICATION theirs FOR TABLE t`, `SELECT pg_create_logical_replication_slot('`+slot+`', 'pgoutput')`)
	tests := []struct {
		name   string
		change func(*Config, *sources.Runtime)
		slot   string
		code   string
		says   string
	}{
		{name: "a slot that the pipeline does not read", slot: "another", code: "source.adopt_slot", says: "another"},
		{name: "no publication", change: given("nobodys"), code: "source.publication_missing", says: "nobodys"},
		{
			name: "tables that are not published", code: "source.no_tables",
			change: func(_ *Config, rt *sources.Runtime) { rt.Tables.Include = patterns(t, "public.u") },
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newSource(t, url, func(c *Config, rt *sources.Runtime) {
				given("theirs")(c, rt)
				c.Slot.Name = slot
				if tt.change != nil {
					tt.change(c, rt)
				}
			})
			name := tt.slot
			if name == "" {
				name = slot
			}
			_, err := s.Adopt(t.Context(), name)
			if e := fault.Of(err); err == nil || e.Code != tt.code || e.Remedy == "" || !strings.Contains(e.Error(), tt.says) {
				t.Errorf("got %v, want %s with a remedy that says %q", err, tt.code, tt.says)
			}
		})
	}
	t.Run("a slot that is read", func(t *testing.T) {
		s := newSource(t, url, func(c *Config, rt *sources.Runtime) {
			given("theirs")(c, rt)
			c.Slot.Name = slot
		})
		conn, err := s.connect(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer closeConn(conn)
		err = pglogrepl.StartReplication(t.Context(), conn, slot, 0, pglogrepl.StartReplicationOptions{
			PluginArgs: []string{"proto_version '1'", "publication_names 'theirs'"},
		})
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Adopt(t.Context(), slot)
		if e := fault.Of(err); e.Code != "source.adopt_active" || !strings.Contains(e.Error(), "rowferry:") || !strings.Contains(e.Error(), "server process") {
			t.Errorf("got %v, want source.adopt_active that names application and process", err)
		}
	})
}
