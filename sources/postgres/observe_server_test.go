package postgres

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowferry/rowferry/e2e/servers"
	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sources"
)

// TestLookingForOldRowsIsBounded: a look that did not come to an end is not begun again at once.
func TestLookingForOldRowsIsBounded(t *testing.T) {
	url := servers.ForTest(t, 15).NewDatabase(t)
	servers.Exec(t, url, `CREATE TABLE t (id int PRIMARY KEY)`, `CREATE PUBLICATION pub FOR ALL TABLES`,
		`CREATE SCHEMA attic`, `CREATE TABLE attic.u (id int PRIMARY KEY)`, `INSERT INTO attic.u VALUES (1)`)
	s := newSource(t, url, given("pub"))
	r := newReader(t)
	if err := r.open(s); err != nil {
		t.Fatal(err)
	}
	r.until(r.streaming)
	servers.Exec(t, url, `ALTER TABLE attic.u SET SCHEMA public`)
	if o, err := s.Observe(within(t, 30*time.Second)); err != nil || len(o.Findings) > 0 {
		t.Fatalf("before the reader is there: got %+v, %v, want nothing", o.Findings, err)
	}
	if err := catchUp(t, s, r, "t", "1"); err != nil {
		t.Fatal(err)
	}
	lookNow(s)
	ctx := within(t, 30*time.Second)
	blocker, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer blocker.Close(ctx)
	if _, err := blocker.Exec(ctx, `BEGIN; LOCK TABLE u IN ACCESS EXCLUSIVE MODE`, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if _, err := s.Observe(within(t, time.Second)); err == nil {
		t.Error("got no error, want that of a look without an end")
	}
	s.mu.Lock()
	pause := s.lookAgain.Sub(began)
	s.mu.Unlock()
	if least := lookCost / 2 * time.Second; pause < least {
		t.Errorf("got the next look after %s, want at least %s", pause, least)
	}
	r.close()
}

// lookNow lets the next Observe read the catalog.
func lookNow(s *Source) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lookAgain = time.Time{}
}

// catchUp writes a row, with the number n, and lets the reader confirm it. The error is the reader's.
func catchUp(t *testing.T, s *Source, r *reader, table, n string) error {
	t.Helper()
	end := value(t, s.cfg.URL, `SELECT pg_current_wal_insert_lsn()::text`)
	servers.Exec(t, s.cfg.URL, `INSERT INTO `+table+` VALUES (`+n+`)`)
	ctx := within(t, 30*time.Second)
	for !strings.Contains(strings.Join(r.log, "\n"), "public."+table+" "+n) {
		if err := r.step(ctx); err != nil {
			return err
		}
	}
	const there = `SELECT (confirmed_flush_lsn >= $2::text::pg_lsn)::text FROM pg_replication_slots WHERE slot_name = $1`
	for value(t, s.cfg.URL, there, s.cfg.Slot.Name, end) != "true" {
		if ctx.Err() != nil {
			t.Fatal("the reader confirms nothing")
		}
	}
	return nil
}

// observeRipe observes until the reader has passed what the first look saw, for which a row is written. The error is the reader's.
func observeRipe(t *testing.T, s *Source, r *reader, table, n string) (sources.Observation, error) {
	t.Helper()
	first, err := s.Observe(within(t, 30*time.Second))
	if err != nil || has(first.Findings, schema.Problem, "source.publication_changed") {
		t.Fatalf("before the reader is there: got %+v, %v, want no problem", first.Findings, err)
	}
	if err := catchUp(t, s, r, table, n); err != nil {
		return sources.Observation{}, err
	}
	lookNow(s)
	o, err := s.Observe(within(t, 30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return o, nil
}

// TestObserveLeavesToTheLog: a table whose rows all come by the log may be renamed at any time; one that it made known is looked
// at nevertheless when its rows go below another.
func TestObserveLeavesToTheLog(t *testing.T) {
	url := servers.ForTest(t, 15).NewDatabase(t)
	servers.Exec(t, url, `CREATE TABLE t (id int PRIMARY KEY)`, `CREATE TABLE parted (id int PRIMARY KEY) PARTITION BY RANGE (id)`,
		`CREATE PUBLICATION pub FOR ALL TABLES WITH (publish_via_partition_root = true)`)
	s := newSource(t, url, given("pub"))
	r := newReader(t)
	if err := r.open(s); err != nil {
		t.Fatal(err)
	}
	r.until(r.streaming)
	servers.Exec(t, url, `CREATE TABLE a (id int PRIMARY KEY)`, `INSERT INTO a VALUES (1)`, `ALTER TABLE a RENAME TO b`)
	for _, n := range []string{"1", "2"} {
		if o, err := observeRipe(t, s, r, "t", n); err != nil || len(o.Findings) > 0 {
			t.Errorf("look %s: got %+v, %v, want nothing", n, o.Findings, err)
		}
		lookNow(s)
	}
	r.until(func() bool { return strings.Contains(strings.Join(r.log, "\n"), "1 public.a 1") })
	servers.Exec(t, url, `ALTER TABLE parted ATTACH PARTITION b FOR VALUES FROM (0) TO (10)`)
	if o, err := observeRipe(t, s, r, "t", "3"); err != nil || !has(o.Findings, schema.Problem, "source.publication_changed") {
		t.Errorf("attached: got %+v, %v, want a problem", o.Findings, err)
	}
	r.close()
}

// TestPartitionThatComesBack: a table that was looked into, and left, is looked into again when it comes back.
func TestPartitionThatComesBack(t *testing.T) {
	url := servers.ForTest(t, 15).NewDatabase(t)
	servers.Exec(t, url, `CREATE TABLE t (id int PRIMARY KEY)`, `CREATE TABLE parted (id int PRIMARY KEY) PARTITION BY RANGE (id)`,
		`CREATE PUBLICATION pub FOR ALL TABLES WITH (publish_via_partition_root = true)`)
	s := newSource(t, url, func(c *Config, rt *sources.Runtime) {
		given("pub")(c, rt)
		rt.Tables.Include = patterns(t, "public.t", "public.parted")
	})
	r := newReader(t)
	if err := r.open(s); err != nil {
		t.Fatal(err)
	}
	r.until(r.streaming)
	const attach = `ALTER TABLE parted ATTACH PARTITION p FOR VALUES FROM (0) TO (10)`
	for _, step := range []struct {
		n    string
		ddl  []string
		want bool
	}{
		{n: "1", ddl: []string{`CREATE TABLE p (id int PRIMARY KEY)`, attach, `INSERT INTO parted VALUES (1)`}},
		{n: "2", ddl: []string{`ALTER TABLE parted DETACH PARTITION p`, `INSERT INTO p VALUES (2)`}},
		{n: "3", ddl: []string{attach}, want: true},
	} {
		servers.Exec(t, url, step.ddl...)
		lookNow(s)
		o, err := observeRipe(t, s, r, "t", step.n)
		if got := has(o.Findings, schema.Problem, "source.publication_changed"); err != nil || got != step.want {
			t.Errorf("step %s: got %+v, %v, want a problem: %t", step.n, o.Findings, err, step.want)
		}
	}
	r.close()
}

// TestOldRowsAreLookedForFromTheFront: a scan of a large table begins where another one is, unless it is told not to.
func TestOldRowsAreLookedForFromTheFront(t *testing.T) {
	url := servers.ForTest(t, 15).NewDatabase(t)
	servers.Exec(t, url, `CREATE TABLE parted (id int PRIMARY KEY) PARTITION BY RANGE (id)`,
		`CREATE PUBLICATION pub FOR ALL TABLES WITH (publish_via_partition_root = true)`)
	s := newSource(t, url, given("pub"))
	r := newReader(t)
	if err := r.open(s); err != nil {
		t.Fatal(err)
	}
	r.until(r.streaming)
	r.close()
	servers.Exec(t, url, `BEGIN; CREATE TABLE p (id int PRIMARY KEY) WITH (fillfactor = 10); INSERT INTO p VALUES (1);
		ALTER TABLE parted ATTACH PARTITION p FOR VALUES FROM (0) TO (1000000); COMMIT`,
		`INSERT INTO p SELECT generate_series(2, 150000)`, // more than a quarter of shared_buffers
		`SET max_parallel_workers_per_gather = 0`, `SELECT FROM p OFFSET 50000 LIMIT 1`)
	wantFault(t, r.open(s), "source.publication_changed", fault.Terminal)
	r.close()
}

// TestLookIsGivenUp: a search for old rows that does not end in time is tried again while the pipeline runs. A start halts for it,
// and to accept what changed leads out.
func TestLookIsGivenUp(t *testing.T) {
	url := servers.ForTest(t, 15).NewDatabase(t)
	servers.Exec(t, url, `CREATE TABLE t (id int PRIMARY KEY)`, `CREATE TABLE parted (id int PRIMARY KEY) PARTITION BY RANGE (id)`,
		`CREATE PUBLICATION pub FOR ALL TABLES WITH (publish_via_partition_root = true)`)
	s := newSource(t, url, given("pub"))
	r := newReader(t)
	if err := r.open(s); err != nil {
		t.Fatal(err)
	}
	r.until(r.streaming)
	servers.Exec(t, url, `CREATE TABLE p (id int PRIMARY KEY)`, `ALTER TABLE parted ATTACH PARTITION p FOR VALUES FROM (0) TO (1000000)`)
	look := func(limit time.Duration) []schema.Finding {
		t.Helper()
		s.looks = limit
		lookNow(s)
		o, err := s.Observe(within(t, 30*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		return o.Findings
	}
	look(lookLimit)
	if err := catchUp(t, s, r, "t", "1"); err != nil {
		t.Fatal(err)
	}
	servers.Exec(t, url, `INSERT INTO p SELECT generate_series(1, 400000)`)
	const short = 4 * time.Millisecond
	for range 2 {
		if found := look(short); len(found) != 1 || !has(found, schema.Warning, "source.publication_changed") {
			t.Errorf("not answered: got %+v, want a warning", found)
		}
	}
	if found := look(lookLimit); len(found) > 0 {
		t.Errorf("answered: got %+v, want nothing", found)
	}
	if found := look(short); len(found) > 0 {
		t.Errorf("after the answer: got %+v, want nothing", found)
	}
	r.close()
	s.looks = short
	err := r.open(s)
	wantFault(t, err, "source.publication_changed", fault.Terminal)
	if err != nil && !strings.Contains(err.Error(), "public.p came into it and may hold rows") {
		t.Errorf("got %v, want it to name public.p", err)
	}
	s.cfg.Publication.Changed = "accept"
	if err := r.open(s); err != nil {
		t.Fatal(err)
	}
	if err := r.step(t.Context()); err != nil { // what the start says is recorded with its first batch
		t.Fatal(err)
	}
	r.close()
	s.cfg.Publication.Changed = "halt"
	if err := r.open(s); err != nil {
		t.Errorf("after it was accepted: got %v, want none", err)
	} else {
		r.close()
	}
}

// TestRenamedTwiceBehindTheReader: a table whose name the log has, and the catalog has no more, is known by what it was before.
func TestRenamedTwiceBehindTheReader(t *testing.T) {
	tests := []struct {
		name   string
		before []string // the stream
		behind []string
		halts  bool
	}{
		{name: "there before the stream", before: []string{`CREATE TABLE hidden (id int PRIMARY KEY)`, `INSERT INTO hidden VALUES (1)`},
			behind: []string{`ALTER TABLE hidden RENAME TO u`, `INSERT INTO u VALUES (2)`, `ALTER TABLE u RENAME TO u2`}, halts: true},
		{name: "read under another name", behind: []string{`CREATE TABLE hidden (id int PRIMARY KEY)`, `INSERT INTO hidden VALUES (1)`,
			`ALTER TABLE hidden RENAME TO u`, `INSERT INTO u VALUES (2)`, `ALTER TABLE u RENAME TO u2`}, halts: true},
		{name: "followed from the first row on", behind: []string{`CREATE TABLE u (id int PRIMARY KEY)`, `INSERT INTO u VALUES (2)`,
			`ALTER TABLE u RENAME TO u2`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			url := servers.ForTest(t, 15).NewDatabase(t)
			servers.Exec(t, url, append(test.before, `CREATE TABLE t (id int PRIMARY KEY)`, `CREATE PUBLICATION pub FOR ALL TABLES`)...)
			s := newSource(t, url, func(c *Config, rt *sources.Runtime) {
				given("pub")(c, rt)
				rt.Tables.Include = patterns(t, "public.t", "public.u", "public.u2")
			})
			r := newReader(t)
			if err := r.open(s); err != nil {
				t.Fatal(err)
			}
			r.until(r.streaming)
			servers.Exec(t, url, append(test.behind, `INSERT INTO t VALUES (1)`)...)
			var err error
			for ctx := within(t, 30*time.Second); err == nil && !strings.Contains(strings.Join(r.log, "\n"), "public.t 1"); {
				err = r.step(ctx)
			}
			if test.halts {
				wantFault(t, err, "source.publication_changed", fault.Terminal)
			} else if err != nil {
				t.Errorf("got %v, want none", err)
			}
			r.close()
		})
	}
}
