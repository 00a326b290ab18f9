package postgres

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/rowferry/rowferry/e2e/servers"
	"github.com/rowferry/rowferry/sources"
)

// settled reads until a line that begins with last has come, and all was looked at and said, and gives what was said since the last call.
// Messages in the log keep the reader from waiting for what nobody writes.
func (r *reader) settled(url, last string) []string {
	r.t.Helper()
	ctx := within(r.t, 120*time.Second)
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	st, ok := r.stream.(*stream)
	if !ok {
		r.t.Fatal("the stream is another one's")
	}
	came := func(line string) bool { return strings.HasPrefix(line, last) }
	for st.tail == nil || !slices.ContainsFunc(r.log, came) || st.tail.watches() || len(st.tail.lookout.found) > 0 || st.tail.lookout.last != nil {
		<-ticker.C
		if _, err := conn.Exec(ctx, `SELECT pg_logical_emit_message(true, 'beat', '')`); err != nil {
			r.t.Fatal(err)
		}
		if err := r.step(ctx); err != nil {
			r.t.Fatalf("reading on: %v (log %v)", err, r.log)
		}
	}
	var said []string
	for _, line := range r.log {
		if strings.HasPrefix(line, "takeover ") {
			said = append(said, line)
		}
	}
	r.log = nil
	return said
}

const again = `ALTER TABLE t DROP COLUMN v; ALTER TABLE t ADD COLUMN v text DEFAULT 'x'`

// TestColumnsThatTakeTheNamesOfOthers: only the catalog's numbers tell. Each case is played while the stream is read, while it is not, and
// before the table is named for the first time.
func TestColumnsThatTakeTheNamesOfOthers(t *testing.T) {
	tests := []struct {
		name   string
		before []string // instead of t (id, v)
		ddl    []string
		last   string // a row that comes last, on columns id and v
		change func(*Config)
		want   []string
	}{
		{name: "dropped and added again", ddl: []string{again}, want: []string{"takeover public.t v"}},
		{name: "with rows around it", ddl: []string{`INSERT INTO t VALUES (10, 'a')`, again, `INSERT INTO t VALUES (11, 'b')`},
			want: []string{"takeover public.t v"}},
		{name: "twice in one transaction, after a row of it", ddl: []string{`BEGIN; INSERT INTO t VALUES (10, 'a'); ` + again +
			`; INSERT INTO t VALUES (11, 'b'); ` + again + `; COMMIT`}, want: []string{"takeover public.t v"}},
		{name: "gone while rows came", ddl: []string{`ALTER TABLE t DROP COLUMN v`, `INSERT INTO t VALUES (10)`,
			`ALTER TABLE t ADD COLUMN v text DEFAULT 'x'`}, want: []string{"takeover public.t v"}},
		{name: "another type", ddl: []string{`ALTER TABLE t DROP COLUMN v; ALTER TABLE t ADD COLUMN v varchar(9)`}, want: []string{"takeover public.t v"}},
		{name: "with all that are behind it", before: []string{`CREATE TABLE t (id int PRIMARY KEY, v text, w text)`},
			ddl: []string{again + `; ALTER TABLE t DROP COLUMN w; ALTER TABLE t ADD COLUMN w text`}, want: []string{"takeover public.t v w"}},
		{name: "the name of one that is gone", before: []string{`CREATE TABLE t (id int PRIMARY KEY, v text, w text)`},
			ddl: []string{`ALTER TABLE t DROP COLUMN v; ALTER TABLE t RENAME w TO v`}, want: []string{"takeover public.t v"}},
		{name: "the name of one that was renamed", ddl: []string{`ALTER TABLE t RENAME v TO old; ALTER TABLE t ADD COLUMN v text`},
			want: []string{"takeover public.t v"}},
		{name: "identity full", before: []string{`CREATE TABLE t (id int, v text)`, `ALTER TABLE t REPLICA IDENTITY FULL`}, ddl: []string{again},
			want: []string{"takeover public.t v"}},
		{name: "below a partitioned table, by its name", before: []string{`CREATE TABLE t (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)`,
			`CREATE TABLE leaf (extra int, v text, id int NOT NULL)`, `ALTER TABLE leaf DROP COLUMN extra`,
			`ALTER TABLE t ATTACH PARTITION leaf FOR VALUES FROM (0) TO (1000)`}, ddl: []string{again}, want: []string{"takeover public.t v"}},
		{name: "below a partitioned table, by their own names", before: []string{`CREATE TABLE t (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)`,
			`CREATE TABLE leaf PARTITION OF t FOR VALUES FROM (0) TO (1000)`}, ddl: []string{again}, last: "1 public.leaf 99 z",
			change: func(c *Config) { c.Publication.ViaRoot = false }, want: []string{"takeover public.leaf v"}},
		{name: "one that others are computed from", before: []string{`CREATE TABLE t (id int PRIMARY KEY, v text)`},
			ddl:    []string{again + `; ALTER TABLE t ADD COLUMN twice text GENERATED ALWAYS AS (v || v) STORED`},
			change: func(c *Config) { c.GeneratedColumns = "compute" }, want: []string{"takeover public.t v"}},

		{name: "renamed", ddl: []string{`INSERT INTO t VALUES (10, 'a')`, `ALTER TABLE t RENAME v TO w`, `INSERT INTO t VALUES (11, 'b')`,
			`ALTER TABLE t RENAME w TO v`}},
		{name: "renamed twice at once", ddl: []string{`ALTER TABLE t RENAME v TO w; ALTER TABLE t RENAME w TO v`}},
		{name: "another type without dropping it", ddl: []string{`ALTER TABLE t ALTER v TYPE varchar(9)`}},
		{name: "in the middle", before: []string{`CREATE TABLE t (id int PRIMARY KEY, v text, w text)`}, ddl: []string{again}, last: "1 public.t 99 NULL z",
			want: []string{"takeover public.t v"}},
		{name: "two, in another order", before: []string{`CREATE TABLE t (id int PRIMARY KEY, v text, u int, w text)`},
			ddl:  []string{`ALTER TABLE t DROP COLUMN v, DROP COLUMN w; ALTER TABLE t ADD COLUMN w text, ADD COLUMN v text DEFAULT 'x'`},
			last: "1 public.t 99 NULL NULL z", want: []string{"takeover public.t v w"}},
		{name: "swapped", before: []string{`CREATE TABLE t (id int PRIMARY KEY, w text, v text)`},
			ddl:  []string{`BEGIN; ALTER TABLE t RENAME v TO s; ALTER TABLE t RENAME w TO v; ALTER TABLE t RENAME s TO w; COMMIT`},
			last: "1 public.t 99 z NULL"},
		{name: "looked after", ddl: []string{`INSERT INTO t VALUES (10, 'a')`, `ANALYZE t`, `INSERT INTO t VALUES (11, 'a')`, `VACUUM FULL t`,
			`INSERT INTO t VALUES (12, 'a')`, `ALTER TABLE t SET (fillfactor = 50)`}},
		{name: "added, and dropped for good", ddl: []string{`ALTER TABLE t ADD COLUMN w int`, `INSERT INTO t VALUES (10, 'a', 1)`, `ALTER TABLE t DROP COLUMN w`}},
		{name: "another partition with other numbers", before: []string{`CREATE TABLE t (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)`,
			`CREATE TABLE leaf PARTITION OF t FOR VALUES FROM (0) TO (50)`},
			ddl: []string{`CREATE TABLE other (extra int, v text, id int NOT NULL); ALTER TABLE other DROP COLUMN extra;
				ALTER TABLE t ATTACH PARTITION other FOR VALUES FROM (50) TO (1000)`}},
		{name: "under a column list", before: []string{`CREATE TABLE t (id int PRIMARY KEY, hidden text, v text)`,
			`CREATE PUBLICATION pub FOR TABLE t (id, v)`},
			ddl:    []string{`ALTER TABLE t DROP COLUMN hidden; ALTER TABLE t ADD COLUMN hidden text`},
			change: func(c *Config) { c.Publication.Name = "pub" }},
	}
	for _, major := range majors {
		for i, test := range tests {
			if major > 15 && i > 2 {
				break
			}
			if test.before == nil {
				test.before = []string{`CREATE TABLE t (id int PRIMARY KEY, v text)`}
			}
			if test.last == "" {
				test.last = "1 public.t 99 z"
				if strings.Contains(strings.Join(test.before, ""), "w text)") && test.name != "the name of one that is gone" {
					test.last += " NULL"
				}
			}
			if test.name == "the name of one that was renamed" {
				test.last = "1 public.t 99 NULL z"
			}
			for _, when := range []string{"while it is stopped", "while it is read", "before the first mention"} {
				if i > 4 && when == "before the first mention" {
					break
				}
				t.Run(fmt.Sprintf("%d/%s/%s", major, test.name, when), func(t *testing.T) {
					t.Parallel()
					url := servers.ForTest(t, major).NewDatabase(t)
					servers.Exec(t, url, append(test.before, `INSERT INTO t (id, v) VALUES (1, 'old')`)...)
					s := newSource(t, url, func(c *Config, _ *sources.Runtime) {
						if test.change != nil {
							test.change(c)
						}
					})
					s.pause = 10 * time.Millisecond
					r := newReader(t)
					if err := r.open(s); err != nil {
						t.Fatal(err)
					}
					r.until(r.streaming)
					if when != "before the first mention" {
						servers.Exec(t, url, `INSERT INTO t (id, v) VALUES (2, 'old')`)
						r.until(func() bool { return len(r.log) >= 1 })
					}
					if when == "while it is read" {
						if said := r.settled(url, "1 "); said != nil {
							t.Fatalf("got %v before anything happened", said)
						}
					} else {
						r.close()
					}
					servers.Exec(t, url, test.ddl...)
					servers.Exec(t, url, `INSERT INTO t (id, v) VALUES (99, 'z')`)
					if when != "while it is read" {
						if err := r.open(s); err != nil {
							t.Fatal(err)
						}
					}
					if diff := cmp.Diff(test.want, r.settled(url, test.last)); diff != "" {
						t.Errorf("said (-want +got):\n%s", diff)
					}
					r.close()
					// A target that goes on is told once.
					if err := r.open(s); err != nil {
						t.Fatal(err)
					}
					servers.Exec(t, url, `INSERT INTO t (id, v) VALUES (100, 'z')`)
					if said := r.settled(url, strings.Replace(test.last, "99", "100", 1)); said != nil {
						t.Errorf("said again: %v", said)
					}
					r.close()
				})
			}
		}
	}
}

// taking makes a table whose column v is dropped and added again while nobody reads, between rows, and gives the reader as it stands.
func taking(t *testing.T) (string, *Source, *reader) {
	t.Helper()
	url := servers.ForTest(t, 15).NewDatabase(t)
	s, r := streamed(t, url, nil)
	s.pause = 10 * time.Millisecond
	servers.Exec(t, url, `INSERT INTO t VALUES (10, 'a')`, again, `INSERT INTO t VALUES (11, 'b')`)
	r.log = nil
	return url, s, r
}

// sleepy is a catalog that does not answer at first.
type sleepy struct {
	numberer
	asked *int
}

func (s sleepy) look(ctx context.Context, oids []uint32) (sight, error) {
	if *s.asked++; *s.asked == 1 {
		return sight{}, context.DeadlineExceeded
	}
	return s.numberer.look(ctx, oids)
}

// TestTakeoverAfterALookThatFailed: the log is read on, and the catalog is asked again.
func TestTakeoverAfterALookThatFailed(t *testing.T) {
	t.Parallel()
	url := servers.ForTest(t, 15).NewDatabase(t)
	s, r := streamed(t, url, nil)
	s.pause = 10 * time.Millisecond
	if err := r.open(s); err != nil {
		t.Fatal(err)
	}
	servers.Exec(t, url, `INSERT INTO t VALUES (10, 'a')`)
	if said := r.settled(url, "1 public.t 10 a"); said != nil {
		t.Fatalf("got %v before anything happened", said)
	}
	st, ok := r.stream.(*stream)
	if !ok {
		t.Fatal("the stream is another one's")
	}
	asked := 0
	st.tail.cfg.numbers = sleepy{st.tail.cfg.numbers, &asked}
	servers.Exec(t, url, again, `INSERT INTO t VALUES (11, 'b')`)
	if diff := cmp.Diff([]string{"takeover public.t v"}, r.settled(url, "1 public.t 11 b")); diff != "" {
		t.Errorf("said (-want +got):\n%s", diff)
	}
	if asked < 2 {
		t.Errorf("the catalog was asked %d times, want twice", asked)
	}
	r.close()
}

// TestTakeoverIsSaidBehindAllRowsFromBefore: the catalog is ahead of the log. What is mended after the halt is not undone by rows from before.
func TestTakeoverIsSaidBehindAllRowsFromBefore(t *testing.T) {
	t.Parallel()
	_, s, r := taking(t)
	if err := r.open(s); err != nil {
		t.Fatal(err)
	}
	r.until(func() bool { return slices.Contains(r.log, "takeover public.t v") })
	want := []string{"6 public.t", "1 public.t 10 a", "1 public.t 11 b", "takeover public.t v"}
	if diff := cmp.Diff(want, r.log); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	r.close()
}

// TestTakeoverOfAnIdleTable: a start says it although no row came since.
func TestTakeoverOfAnIdleTable(t *testing.T) {
	t.Parallel()
	url := servers.ForTest(t, 15).NewDatabase(t)
	s, r := streamed(t, url, nil)
	servers.Exec(t, url, again)
	if err := r.open(s); err != nil {
		t.Fatal(err)
	}
	r.until(func() bool { return slices.Contains(r.log, "takeover public.t v") })
	r.close()
}

// TestTakeoverSinceTheCopy: so does the beginning of the stream.
func TestTakeoverSinceTheCopy(t *testing.T) {
	t.Parallel()
	url := servers.ForTest(t, 15).NewDatabase(t)
	servers.Exec(t, url, `CREATE TABLE t (id int PRIMARY KEY, v text)`, `INSERT INTO t VALUES (1, 'a')`)
	s, r := newSource(t, url, nil), newReader(t)
	if err := r.open(s); err != nil {
		t.Fatal(err)
	}
	r.until(r.streaming)
	servers.Exec(t, url, again)
	r.until(func() bool { return slices.Contains(r.log, "takeover public.t v") })
	r.close()
}

// TestTakeoverThatHalts plays a target that does not go on: it is told again at each start, before any other change, until one accepts it.
func TestTakeoverThatHalts(t *testing.T) {
	t.Parallel()
	url, s, r := taking(t)
	ctx := within(t, 60*time.Second)
	halts := func() (log []string) {
		t.Helper()
		if err := r.open(s); err != nil {
			t.Fatal(err)
		}
		r.log = nil
		for {
			b, err := r.stream.Next(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if len(b.Takeovers) > 0 {
				b.Release()
				r.close()
				return r.log
			}
			if upto := b.Upto; !upto.IsZero() {
				r.held = upto
			}
			r.take(b)
		}
	}
	if log := halts(); len(log) != 3 {
		t.Errorf("got %v before the first halt, want a version and two rows", log)
	}
	servers.Exec(t, url, `INSERT INTO t VALUES (12, 'c')`)
	for range 2 {
		if log := halts(); len(log) != 0 {
			t.Errorf("got %v before another halt, want nothing", log)
		}
	}
	for n, changed := range []string{"accept", "halt"} {
		id := fmt.Sprint(13 + n)
		s.cfg.Publication.Changed = changed
		if err := r.open(s); err != nil {
			t.Fatal(err)
		}
		servers.Exec(t, url, `INSERT INTO t VALUES (`+id+`, 'd')`)
		if said := r.settled(url, "1 public.t "+id); said != nil {
			t.Errorf("%s: said %v", changed, said)
		}
		r.close()
	}
	servers.Exec(t, url, again)
	halts() // another one is not covered by that
}

// TestTakeoverIsNotAcceptedBefore: rows from before it are still in the log, and would undo what was mended.
func TestTakeoverIsNotAcceptedBefore(t *testing.T) {
	t.Parallel()
	url, s, r := taking(t)
	s.cfg.Publication.Changed = "accept"
	if err := r.open(s); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"takeover public.t v"}, r.settled(url, "1 public.t 11")); diff != "" {
		t.Errorf("said (-want +got):\n%s", diff)
	}
	r.close()
}

// TestStateWithoutNumbers: what an earlier version recorded has none. It is no reason to halt, and is completed.
func TestStateWithoutNumbers(t *testing.T) {
	t.Parallel()
	url, s, r := taking(t)
	r.withoutNumbers()
	for _, want := range [][]string{nil, {"takeover public.t v"}} {
		if err := r.open(s); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, r.settled(url, "1 public.t 11")); diff != "" {
			t.Errorf("said (-want +got):\n%s", diff)
		}
		r.close()
		servers.Exec(t, url, `DELETE FROM t WHERE id = 11`, again, `INSERT INTO t VALUES (11, 'b')`)
	}
}

// TestStateIsCompletedByAStart: no change need come.
func TestStateIsCompletedByAStart(t *testing.T) {
	t.Parallel()
	url := servers.ForTest(t, 15).NewDatabase(t)
	s, r := streamed(t, url, nil)
	r.withoutNumbers()
	if err := r.open(s); err != nil {
		t.Fatal(err)
	}
	if err := r.step(within(t, 30*time.Second)); err != nil {
		t.Fatal(err)
	}
	r.close()
	servers.Exec(t, url, again)
	if err := r.open(s); err != nil {
		t.Fatal(err)
	}
	r.until(func() bool { return slices.Contains(r.log, "takeover public.t v") })
	r.close()
}

// withoutNumbers makes the state what an earlier version recorded.
func (r *reader) withoutNumbers() {
	for key, value := range r.state {
		r.state[key] = regexp.MustCompile(`,"(numbers|gone|taken)":[\[{][^\]}]*[\]}]`).ReplaceAll(value, nil)
	}
}

// TestTakeoverOnceItIsVisible: a table is looked at again while a transaction may be changing it.
func TestTakeoverOnceItIsVisible(t *testing.T) {
	t.Parallel()
	url := servers.ForTest(t, 15).NewDatabase(t)
	s, r := streamed(t, url, nil)
	s.pause = 10 * time.Millisecond
	ctx := within(t, 60*time.Second)
	tx, err := session(t, url).Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	servers.Exec(t, url, `INSERT INTO t VALUES (11, 'b')`)
	if _, err := tx.Exec(ctx, again); err != nil {
		t.Fatal(err)
	}
	r.log = nil
	if err := r.open(s); err != nil {
		t.Fatal(err)
	}
	r.until(func() bool { return slices.Contains(r.log, "1 public.t 11 b") })
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
		servers.Exec(t, url, `SELECT pg_logical_emit_message(true, 'beat', '')`)
		if err := r.step(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"takeover public.t v"}, r.settled(url, "1 public.t 11")); diff != "" {
		t.Errorf("said (-want +got):\n%s", diff)
	}
	r.close()
}
