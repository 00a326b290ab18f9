package postgres

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rowferry/rowferry/e2e/servers"
)

// TestTablesMadeWhileStopped: a table that was made, filled and changed while nobody read the log is named by the log, as it was
// then, however often the stream begins before its rows come. One without rows is named at once.
func TestTablesMadeWhileStopped(t *testing.T) {
	url := servers.ForTest(t, 15).NewDatabase(t)
	servers.Exec(t, url, `CREATE TABLE t (id int PRIMARY KEY)`,
		`CREATE PUBLICATION pub FOR ALL TABLES WITH (publish_via_partition_root = true)`)
	s := newSource(t, url, given("pub"))
	r := newReader(t)
	if err := r.open(s); err != nil {
		t.Fatal(err)
	}
	r.until(r.streaming)
	r.close()
	servers.Exec(t, url, `CREATE TABLE idle (id int PRIMARY KEY)`, `CREATE TABLE u (id int PRIMARY KEY)`, `INSERT INTO u VALUES (1)`,
		`ALTER TABLE u ADD c int NOT NULL DEFAULT 5`, `INSERT INTO u VALUES (2, 6)`,
		`CREATE TABLE parted (id int PRIMARY KEY) PARTITION BY RANGE (id)`, `CREATE TABLE low PARTITION OF parted FOR VALUES FROM (0) TO (10)`,
		`INSERT INTO parted VALUES (3)`)
	for range 2 { // what the first start says is all that the target hears of it
		if err := r.open(s); err != nil {
			t.Fatal(err)
		}
		if err := r.step(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.close()
	}
	if err := r.open(s); err != nil {
		t.Fatal(err)
	}
	r.until(func() bool { return strings.Contains(strings.Join(r.log, "\n"), "1 public.parted 3") })
	r.close()
	for name, want := range map[string]bool{"public.idle": true, "public.u": false, "public.parted": false} {
		if _, named := r.known[name]; named != want {
			t.Errorf("%s was named at the start: got %t, want %t", name, named, want)
		}
	}
	want := []string{
		"6 public.u", "1 public.u 1", "6 public.u", "1 public.u 2 6", "6 public.parted", "1 public.parted 3",
	}
	if diff := cmp.Diff(want, r.log); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}
