package postgres

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rowferry/rowferry/e2e/servers"
	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/schema/setting"
	"github.com/rowferry/rowferry/sources"
)

// given makes the source use a publication that exists.
func given(name string) func(*Config, *sources.Runtime) {
	return func(c *Config, _ *sources.Runtime) { c.Publication.Name, c.Publication.Create = name, false }
}

// copied runs a first start up to the stream and gives the copied rows, sorted.
func copied(t testing.TB, s *Source) map[string][]string {
	t.Helper()
	r := newReader(t)
	if err := r.open(s); err != nil {
		t.Fatal(err)
	}
	r.until(r.streaming)
	r.close()
	for _, rows := range r.tables {
		slices.Sort(rows)
	}
	return r.tables
}

func TestCopyFollowsThePublication(t *testing.T) {
	partitioned := []string{
		`CREATE TABLE p (id int, v text, PRIMARY KEY (id)) PARTITION BY RANGE (id)`,
		`CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10)`,
		`CREATE TABLE p2 (v text, extra int, id int NOT NULL)`, `ALTER TABLE p2 DROP COLUMN extra`,
		`ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM (10) TO (20)`,
		`INSERT INTO p VALUES (1, 'a'), (2, 'b'), (11, 'c')`,
	}
	tests := []struct {
		name  string
		since int // first version that has it
		ddl   []string
		want  map[string][]string
	}{
		{
			name: "filter and column list", since: 15,
			ddl: []string{
				`CREATE TABLE t (id int PRIMARY KEY, secret text, "odd ""col" text)`, `INSERT INTO t SELECT i, 's', 'v' || i FROM generate_series(1, 5) i`,
				`CREATE TABLE u (id int PRIMARY KEY)`, `INSERT INTO u VALUES (7)`,
				`CREATE PUBLICATION pub FOR TABLE t (id, "odd ""col") WHERE (id > 3 AND "odd ""col" <> 'it''s'), u`,
			},
			want: map[string][]string{"public.t": {"4\tv4", "5\tv5"}, "public.u": {"7"}},
		},
		{
			name: "all tables",
			ddl: []string{
				`CREATE TABLE t (id int PRIMARY KEY)`, `INSERT INTO t VALUES (1)`, `CREATE UNLOGGED TABLE ul (id int PRIMARY KEY)`,
				`CREATE PUBLICATION pub FOR ALL TABLES`,
			},
			want: map[string][]string{"public.t": {"1"}},
		},
		{
			name: "schema", since: 15,
			ddl: []string{
				`CREATE TABLE t (id int PRIMARY KEY)`, `INSERT INTO t VALUES (1)`, `CREATE SCHEMA other`,
				`CREATE TABLE other.t (id int PRIMARY KEY)`, `CREATE PUBLICATION pub FOR TABLES IN SCHEMA public, other`,
			},
			want: map[string][]string{"public.t": {"1"}},
		},
		{
			name: "partitions under the root's name",
			ddl:  append(partitioned[:len(partitioned):len(partitioned)], `CREATE PUBLICATION pub FOR TABLE p WITH (publish_via_partition_root)`),
			want: map[string][]string{"public.p": {"1\ta", "11\tc", "2\tb"}},
		},
		{
			name: "partitions under their own names",
			ddl:  append(partitioned[:len(partitioned):len(partitioned)], `CREATE PUBLICATION pub FOR TABLE p`),
			want: map[string][]string{"public.p1": {"1\ta", "2\tb"}, "public.p2": {"c\t11"}},
		},
		{
			name: "root's filter on partitions with another layout", since: 15,
			ddl: append(partitioned[:len(partitioned):len(partitioned)],
				`CREATE PUBLICATION pub FOR TABLE p (id) WHERE (id <> 1) WITH (publish_via_partition_root)`),
			want: map[string][]string{"public.p": {"11", "2"}},
		},
		{
			name: "a partitioned table without partitions",
			ddl: []string{
				`CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id)`, `CREATE TABLE t (id int PRIMARY KEY)`, `INSERT INTO t VALUES (1)`,
				`CREATE PUBLICATION pub FOR TABLE p, t WITH (publish_via_partition_root)`,
			},
			want: map[string][]string{"public.t": {"1"}},
		},
		{
			name: "inheritance", ddl: []string{
				`CREATE TABLE t (id int PRIMARY KEY)`, `CREATE TABLE c (PRIMARY KEY (id), more text) INHERITS (t)`,
				`INSERT INTO t VALUES (1)`, `INSERT INTO c VALUES (2, 'm')`, `CREATE PUBLICATION pub FOR TABLE t`,
			},
			want: map[string][]string{"public.t": {"1"}, "public.c": {"2\tm"}},
		},
		{
			name: "no columns", ddl: []string{
				`CREATE TABLE t ()`, `INSERT INTO t DEFAULT VALUES`, `INSERT INTO t DEFAULT VALUES`, `CREATE PUBLICATION pub FOR TABLE t`,
			},
			want: map[string][]string{"public.t": {"", ""}},
		},
		{
			name: "generated columns", since: 18, ddl: []string{
				`CREATE TABLE t (id int PRIMARY KEY, d int GENERATED ALWAYS AS (id * 2) STORED, v int GENERATED ALWAYS AS (id * 3) VIRTUAL)`,
				`INSERT INTO t VALUES (1)`, `CREATE PUBLICATION pub FOR TABLE t WITH (publish_generated_columns = stored)`,
			},
			want: map[string][]string{"public.t": {"1\t2"}},
		},
		{
			name: "escapes", ddl: []string{
				`CREATE TABLE t (id int PRIMARY KEY, v text)`, `INSERT INTO t VALUES (1, E'a\tb\nc\\d\b\f\x0b\r'), (2, NULL), (3, '\N'), (4, '')`,
				`CREATE PUBLICATION pub FOR TABLE t`,
			},
			want: map[string][]string{"public.t": {`1` + "\t" + `a\tb\nc\\d\b\f\v\r`, "2\t\\N", "3\t\\\\N", "4\t"}},
		},
	}
	for _, major := range majors {
		for _, test := range tests {
			if major < test.since {
				continue
			}
			t.Run(fmt.Sprintf("%d/%s", major, test.name), func(t *testing.T) {
				url := servers.ForTest(t, major).NewDatabase(t)
				servers.Exec(t, url, test.ddl...)
				got := copied(t, newSource(t, url, given("pub")))
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("copied (-want +got):\n%s", diff)
				}
			})
		}
	}
}

func TestCopyInManyRangesAndBatches(t *testing.T) {
	url := servers.ForTest(t, 15).NewDatabase(t)
	servers.Exec(t, url, `CREATE TABLE t (id int PRIMARY KEY, v text)`,
		`INSERT INTO t SELECT i, repeat(md5(i::text), 60) FROM generate_series(1, 10000) i`, `DELETE FROM t WHERE id % 100 = 0`,
		`ANALYZE t`)
	s := newSource(t, url, func(_ *Config, rt *sources.Runtime) {
		rt.Snapshot.ChunkSize, rt.Snapshot.Workers = 6<<20, 3
	})
	r := newReader(t)
	if err := r.open(s); err != nil {
		t.Fatal(err)
	}
	ctx := within(t, 60*time.Second)
	chunks, lanes, batches, done := map[int64]bool{}, map[int]bool{}, 0, 0
	for !r.streaming() {
		b, err := r.stream.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if b.Copy != nil {
			batches++
			chunks[b.Copy.Chunk], lanes[b.Copy.Lane] = true, true
			if b.Copy.Done {
				done++
			}
			if len(b.Copy.Raw) > copyBatch {
				t.Errorf("got a batch of %d bytes, want at most %d", len(b.Copy.Raw), copyBatch)
			}
			if rows := strings.Count(string(b.Copy.Raw), "\n"); rows != b.Copy.Rows {
				t.Errorf("got %d rows in a batch of %d", rows, b.Copy.Rows)
			}
			// A transaction that was under way when the slot was made has changes before the slot's first LSN.
			if restart, err := parseLSN(value(t, url, `SELECT restart_lsn::text FROM pg_replication_slots WHERE database = current_database()`)); err != nil || LSN(b.Copy.Offset) != restart {
				t.Errorf("got offset %v, want %v, where the slot's log begins (%v)", LSN(b.Copy.Offset), restart, err)
			}
			if b.Copy.Offset == 0 || !b.Upto.IsZero() || b.Copy.Lane >= 3 {
				t.Errorf("got offset %d, position %v, lane %d", b.Copy.Offset, b.Upto, b.Copy.Lane)
			}
		}
		upto := b.Upto
		r.take(b)
		if !upto.IsZero() {
			if err := r.stream.Ack(ctx, upto); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := len(r.tables["public.t"]); got != 9900 {
		t.Errorf("got %d rows, want 9900", got)
	}
	if rows := slices.Compact(slices.Sorted(slices.Values(r.tables["public.t"]))); len(rows) != 9900 {
		t.Errorf("got %d different rows, want 9900", len(rows))
	}
	if len(chunks) < 3 || batches <= len(chunks) || done != 1 {
		t.Errorf("got %d chunks in %d batches, %d times done; want several chunks, more batches, once done", len(chunks), batches, done)
	}
	if got := r.plan[0].Rows; got != 9900 {
		t.Errorf("got %d rows planned, want 9900", got)
	}
}

// TestTruncateDuringTheCopy: the snapshot does not see a TRUNCATE, so the copy has to begin again.
func TestTableChangesDuringTheCopy(t *testing.T) {
	tests := []struct{ name, sql string }{
		{"truncate", `TRUNCATE t`},
		{"rewrite", `ALTER TABLE t ALTER COLUMN v TYPE varchar(50)`},
		{"rewriting cast", `ALTER TABLE t ALTER COLUMN id TYPE bigint`},
		{"drop", `DROP TABLE t`},
		{"drop column", `ALTER TABLE t DROP COLUMN v`},
		{"rename", `ALTER TABLE t RENAME TO t3`},
		{"columns swapped", `ALTER TABLE t RENAME id TO x; ALTER TABLE t RENAME v TO id; ALTER TABLE t RENAME x TO v`},
		{"column made again", `ALTER TABLE t DROP v; ALTER TABLE t ADD v text DEFAULT 'new'`},
		{"swap", `ALTER TABLE t RENAME TO t3; ALTER TABLE t2 RENAME TO t; ALTER TABLE t3 RENAME TO t2`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			url := servers.ForTest(t, 15).NewDatabase(t)
			servers.Exec(t, url, `CREATE TABLE t (id int PRIMARY KEY, v text)`, `INSERT INTO t VALUES (1, 'a')`,
				`CREATE TABLE t2 (id int PRIMARY KEY, v text)`)
			s := newSource(t, url, nil)
			r := newReader(t)
			if err := r.open(s); err != nil {
				t.Fatal(err)
			}
			r.until(func() bool { return len(r.phases) == 2 })
			servers.Exec(t, url, strings.Split(test.sql, "; ")...)
			var err error
			for ctx := within(t, 30*time.Second); err == nil && !r.streaming(); {
				err = r.step(ctx)
			}
			if test.name == "rewrite" && err == nil {
				return // text to varchar(50) may be checked without a rewrite
			}
			wantFault(t, err, "source.copy_changed", fault.Retryable)
			r.close()

			// The next start makes everything anew, and arrives.
			again := newReader(t)
			again.held, again.state = r.held, r.state
			if err := again.open(s); err != nil {
				t.Fatal(err)
			}
			again.until(again.streaming)
			if again.phases[0] != schema.PhaseCreating {
				t.Errorf("got phases %v, want creating first", again.phases)
			}
			if diff := cmp.Diff(r.made, again.made); diff != "" {
				t.Errorf("made (-first +again):\n%s", diff)
			}
			again.close()
		})
	}
}

func TestInterruptedCopyBeginsAgain(t *testing.T) {
	for _, phase := range []schema.Phase{schema.PhaseCreating, schema.PhaseCopy} {
		t.Run(string(phase), func(t *testing.T) {
			url := servers.ForTest(t, 15).NewDatabase(t)
			servers.Exec(t, url, `CREATE TABLE t (id int PRIMARY KEY)`, `INSERT INTO t VALUES (1)`)
			s := newSource(t, url, nil)
			r := newReader(t)
			if err := r.open(s); err != nil {
				t.Fatal(err)
			}
			r.until(func() bool { return r.phases != nil && (phase == schema.PhaseCreating || len(r.phases) == 2) })
			if phase == schema.PhaseCreating { // the slot is made, and nobody hears of it
				if _, err := r.stream.Next(within(t, 60*time.Second)); err != nil {
					t.Fatal(err)
				}
			}
			r.close()
			const slots = `SELECT string_agg(slot_name || active, ',') FROM pg_replication_slots WHERE database = current_database()`
			first := value(t, url, slots)
			servers.Exec(t, url, `INSERT INTO t VALUES (2)`)
			again := newReader(t)
			again.held, again.state = r.held, r.state
			if err := again.open(s); err != nil {
				t.Fatal(err)
			}
			again.until(again.streaming)
			again.close()
			if diff := cmp.Diff(map[string][]string{"public.t": {"1", "2"}}, again.tables); diff != "" {
				t.Errorf("copied (-want +got):\n%s", diff)
			}
			if now := value(t, url, slots); now != first || strings.Contains(now, ",") {
				t.Errorf("got slots %s, want the one that was there: %s", now, first)
			}
		})
	}
}

func TestRowSecurityFailsTheCopy(t *testing.T) {
	server := servers.ForTest(t, 15)
	url := server.NewDatabase(t)
	role := "rls_" + databaseOf(t, url)
	servers.Exec(t, url, `CREATE TABLE t (id int PRIMARY KEY)`, `INSERT INTO t VALUES (1), (2)`,
		`ALTER TABLE t ENABLE ROW LEVEL SECURITY`, `CREATE POLICY p ON t USING (id = 1)`,
		`CREATE PUBLICATION pub FOR TABLE t`, `CREATE ROLE `+quoteName(role)+` LOGIN REPLICATION PASSWORD 'canary'`,
		`GRANT SELECT ON t TO `+quoteName(role))
	t.Cleanup(func() { servers.Exec(t, url, `DROP OWNED BY `+quoteName(role), `DROP ROLE `+quoteName(role)) })
	s := newSource(t, url, func(c *Config, rt *sources.Runtime) {
		given("pub")(c, rt)
		c.URL = asRole(t, url, role)
		c.Password = setting.Secret("canary")
	})
	r := newReader(t)
	err := r.fails(s)
	wantFault(t, err, "source.row_security", fault.Terminal)
	r.close()

	findings, err := s.Check(within(t, 60*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if !has(findings, schema.Problem, "source.row_security") {
		t.Errorf("got findings %+v, want one of row-level security", findings)
	}
	servers.Exec(t, url, `ALTER ROLE `+quoteName(role)+` BYPASSRLS`)
	again := newReader(t)
	again.held, again.state = r.held, r.state
	if err := again.open(s); err != nil {
		t.Fatal(err)
	}
	again.until(again.streaming)
	again.close()
	if got := len(again.tables["public.t"]); got != 2 {
		t.Errorf("got %d rows, want 2", got)
	}
}

// asRole puts another role into a URL.
func asRole(t testing.TB, url, role string) string {
	t.Helper()
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok {
		t.Fatalf("%s is no URL", url)
	}
	_, host, ok := strings.Cut(rest, "@")
	if !ok {
		host = rest
	}
	return scheme + "://" + role + "@" + host
}

// has tells whether a finding of the severity and the code is among them.
func has(findings []schema.Finding, severity schema.Severity, code string) bool {
	return slices.ContainsFunc(findings, func(f schema.Finding) bool { return f.Severity == severity && f.Code == code })
}

func TestLargeValueHaltsTheCopy(t *testing.T) {
	url := servers.ForTest(t, 15).NewDatabase(t)
	servers.Exec(t, url, `CREATE TABLE t (id int PRIMARY KEY, v text)`, `INSERT INTO t VALUES (41, repeat(E'\n', 4000)), (42, repeat('x', 5000))`)
	s := newSource(t, url, func(c *Config, _ *sources.Runtime) { c.MaxValueBytes = 4000 })
	r := newReader(t)
	err := r.fails(s)
	wantFault(t, err, "source.value_too_large", fault.Terminal)
	for _, want := range []string{"public.t", "column v", "id=42", "5000 bytes"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to name %s", err, want)
		}
	}
	r.close()
}

func TestOddIdentifiers(t *testing.T) {
	long := strings.Repeat("ü", 31) + "x" // 63 bytes
	tests := []struct{ schema, table, column string }{
		{`a"; DROP TABLE x--`, `b'; --`, `c\"d`},
		{"select", "table", "from"},
		{"Sch.ema", "Ta.ble", "Co.lumn"},
		{long, long, long},
		{"тест", "表", "🙂 x"},
		{" ", "\t", "\n"},
	}
	for _, major := range majors {
		url := servers.ForTest(t, major).NewDatabase(t)
		var include []setting.Pattern
		for _, n := range tests {
			servers.Exec(t, url, "CREATE SCHEMA "+quoteName(n.schema),
				fmt.Sprintf("CREATE TABLE %s (%s int PRIMARY KEY, \"v\" text)", quoteTable(n.schema, n.table), quoteName(n.column)),
				fmt.Sprintf("INSERT INTO %s VALUES (1, 'a')", quoteTable(n.schema, n.table)))
			include = append(include, patterns(t, quoteTable(n.schema, n.table))...)
		}
		s := newSource(t, url, func(c *Config, rt *sources.Runtime) {
			rt.Tables.Include = include
			c.Publication.Name = `Pub"; x.` + "ü"
			c.ApplicationName = `app'"\`
		})
		r := newReader(t)
		if err := r.open(s); err != nil {
			t.Fatal(err)
		}
		r.until(r.streaming)
		for _, n := range tests {
			servers.Exec(t, url, fmt.Sprintf("UPDATE %s SET v = 'b'", quoteTable(n.schema, n.table)))
		}
		r.until(func() bool { return len(r.log) >= len(tests) })
		if len(r.tables) != len(tests) {
			t.Errorf("%d: got %d tables, want %d: %v", major, len(r.tables), len(tests), r.tables)
		}
		r.close()
	}
}

// A worker that cannot connect has not read its rows. A server that hangs up before TLS leaves io.EOF in the
// error, which is not the end of the copy.
func TestHungUpWorkerDoesNotEndTheCopy(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = io.ReadFull(conn, make([]byte, 8)) // the request for TLS
			_ = conn.Close()
		}
	}()
	defer func() { _ = listener.Close(); <-served }()
	table := &copyTable{version: tableVersion{table: (&schema.Table{Schema: "public", Name: "t"}).WithVersion()}, left: 1}
	s := newSource(t, "postgres://u@"+listener.Addr().String()+"/db?sslmode=require", nil)
	st := &stream{source: s, step: stepRows, copier: &copier{
		source: s, workers: 1, ranges: []copyRange{{table: table, leaf: leaf{oid: 1, schema: "public", name: "t"}}},
	}}
	st.copier.start()
	defer st.copier.stop()
	b, err := st.Next(within(t, 60*time.Second))
	if !errors.Is(err, io.EOF) {
		t.Fatalf("got error %v, want one that wraps io.EOF", err)
	}
	wantFault(t, err, "source.connect", fault.Retryable)
	if b != nil || st.step != stepRows {
		t.Errorf("got a batch %v and step %d: the copy counts as done", b, st.step)
	}
}
