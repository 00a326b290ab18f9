package postgres

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rowferry/rowferry/schema"
)

// TestCheck: each thing that would go wrong later is found, with its code and the statement that mends it.
func TestCheck(t *testing.T) {
	d := newDB(t, 15, accountsDDL, `
		CREATE TABLE strict (id int PRIMARY KEY, v text NOT NULL, extra int NOT NULL);
		CREATE TABLE small (id smallint PRIMARY KEY, v varchar(3));
		CREATE TABLE keyless (id int, v text);
		CREATE TABLE guarded (id int PRIMARY KEY);
		CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
		CREATE TRIGGER guard BEFORE INSERT ON guarded FOR EACH ROW EXECUTE FUNCTION guard()`)
	role := "checker_" + strings.ReplaceAll(d.lines(`SELECT md5(current_database())`)[0], "-", "")[:8]
	d.exec(`CREATE ROLE `+role+` LOGIN PASSWORD 'x'`, `GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO `+role,
		`GRANT ALL ON accounts TO `+role)
	t.Cleanup(func() { d.exec(`DROP OWNED BY `+role, `DROP ROLE `+role) })

	long := tableOf("small", "*id integer", "v character varying(5)")
	tables := []*schema.Table{
		accounts, tableOf("nowhere", "*id integer"), tableOf("strict", "*id integer", "v text"), long, tableOf("keyless", "*id integer", "v text"),
		tableOf("guarded", "*id integer"), tableOf("accounts", "*id integer", "lost text"),
	}
	at := strings.Index(d.url, "//")
	s := d.sink(func(c *Config) {
		c.URL = "postgres://" + role + ":x@" + d.url[at+2:][strings.Index(d.url[at+2:], "@")+1:]
	})
	found, err := s.Check(testContext(t), tables)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range found {
		if f.Severity == schema.Problem || f.Severity == schema.Warning {
			got[fmt.Sprintf("%d %s %s", f.Severity, f.Name, f.Code)] = strings.SplitN(f.Fix, "\n", 3)[min(1, strings.Count(f.Fix, "\n"))]
		}
	}
	quoted := `"` + role + `";`
	want := map[string]string{
		"1 public.accounts.email target.value_refused": `ALTER TABLE "public"."accounts" ALTER COLUMN "email" TYPE text;`,
		"2 ledger target.privilege":                    `GRANT CREATE ON DATABASE "` + d.lines(`SELECT current_database()`)[0] + `" TO ` + quoted,
		"1 replica role target.foreign_key":            "GRANT SET ON PARAMETER session_replication_role TO " + quoted,
		"2 public.nowhere target.table_missing":        "create it as the source has it, or set tables.create",
		"1 public.strict.v target.null_refused":        `ALTER TABLE "public"."strict" ALTER COLUMN "v" DROP NOT NULL;`,
		"2 public.strict.extra target.null_refused":    `ALTER TABLE "public"."strict" ALTER COLUMN "extra" DROP NOT NULL;`,
		"1 public.small.id target.value_refused":       `ALTER TABLE "public"."small" ALTER COLUMN "id" TYPE integer;`,
		"1 public.small.v target.value_refused":        `ALTER TABLE "public"."small" ALTER COLUMN "v" TYPE character varying(5);`,
		"1 public.keyless ":                            "give the target's table a primary key",
		"1 public.guarded target.trigger_refused":      `ALTER TABLE "public"."guarded" DISABLE TRIGGER …;`,
		"2 public.accounts target.schema_mismatch":     `ALTER TABLE "public"."accounts" ADD COLUMN "lost" text;`,
		"2 public.strict target.privilege":             `GRANT UPDATE, DELETE, TRUNCATE ON "public"."strict" TO ` + quoted,
		"2 public.small target.privilege":              `GRANT UPDATE, DELETE, TRUNCATE ON "public"."small" TO ` + quoted,
		"2 public.keyless target.privilege":            `GRANT UPDATE, DELETE, TRUNCATE ON "public"."keyless" TO ` + quoted,
		"2 public.guarded target.privilege":            `GRANT UPDATE, DELETE, TRUNCATE ON "public"."guarded" TO ` + quoted,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if n := d.lines(`SELECT count(*) FROM pg_namespace WHERE nspname = 'rowferry'`); n[0] != "0" {
		t.Error("the check has made the ledger")
	}

	// A ledger that the role may not look at hides nothing else.
	d.exec(`CREATE SCHEMA rowferry`)
	found, err = s.Check(testContext(t), tables)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(found, func(f schema.Finding) bool { return f.Name == "ledger" })
	if i < 0 || !strings.HasPrefix(found[i].Fix, "GRANT USAGE ON SCHEMA rowferry TO ") || found[len(found)-1].Name == "ledger" {
		t.Errorf("got %+v, want the grant for the ledger and what else is to be found", found)
	}
	d.exec(`DROP SCHEMA rowferry`)

	// The owner has everything, and no fault is found in what fits.
	found, err = d.sink(nil).Check(testContext(t), []*schema.Table{tableOf("accounts", "*id integer", "owner text", "email character varying(40)")})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if f.Severity != schema.Pass {
			t.Errorf("got %+v, want only what is in order", f)
		}
	}
}

// TestCheckOfNoServer: a server that cannot be reached is a finding.
func TestCheckOfNoServer(t *testing.T) {
	s, err := New(Config{URL: "postgres://u@127.0.0.1:1/d"}, testRuntime)
	if err != nil {
		t.Fatal(err)
	}
	found, err := s.Check(testContext(t), nil)
	if err != nil || len(found) != 1 || found[0].Severity != schema.Problem || found[0].Code != "target.connect" {
		t.Errorf("got %+v, %v; want one problem, target.connect", found, err)
	}
}
