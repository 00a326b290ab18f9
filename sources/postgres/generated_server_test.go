package postgres

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rowferry/rowferry/e2e/servers"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sources"
)

// TestGeneratedColumnsAreComputed: the same values from copy and from the log, whatever the row holds and however
// the table changed since.
func TestGeneratedColumnsAreComputed(t *testing.T) {
	for _, major := range majors {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			url := servers.ForTest(t, major).NewDatabase(t)
			servers.Exec(t, url,
				`CREATE TABLE t ("ID ""x""" int PRIMARY KEY, v text,
				   l int GENERATED ALWAYS AS (length(v)) STORED,
				   w varchar(4) GENERATED ALWAYS AS (upper(left(v, 4))) STORED,
				   b bool GENERATED ALWAYS AS ("ID ""x""" > 1) STORED)`,
				`INSERT INTO t VALUES (1, 'one')`)
			s := newSource(t, url, func(c *Config, _ *sources.Runtime) { c.GeneratedColumns = "compute" })
			r := newReader(t)
			if err := r.open(s); err != nil {
				t.Fatal(err)
			}
			r.until(r.streaming)
			servers.Exec(t, url, `INSERT INTO t VALUES (2, 'quote " slash \ , { NULL'), (3, NULL), (4, '')`,
				`UPDATE t SET v = 'changed' WHERE v = 'one'`, `ALTER TABLE t ADD COLUMN n int`,
				`INSERT INTO t VALUES (5, 'later', DEFAULT, DEFAULT, DEFAULT, 9)`, `DELETE FROM t WHERE n = 9`)
			r.until(func() bool { return strings.Contains(strings.Join(r.log, "\n"), "3 public.t") })
			r.close()
			if diff := cmp.Diff([]string{"1\tone\t3\tONE\tf"}, r.tables["public.t"]); diff != "" {
				t.Errorf("copied rows (-want +got):\n%s", diff)
			}
			got := r.log[:0:0]
			for _, line := range r.log {
				if !strings.HasPrefix(line, "6 ") { // the new version may stand before any of them
					got = append(got, line)
				}
			}
			want := []string{
				`1 public.t 2 quote " slash \ , { NULL 24 QUOT t`, `1 public.t 3 NULL NULL NULL t`, `1 public.t 4  0  t`,
				`2 public.t 1 changed 7 CHAN f`, `1 public.t 5 later 5 LATE t 9`, `3 public.t 5    t `,
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
		})
	}
}

// TestGeneratedColumnOfALargeValue: what the update left out cannot be computed from, unless nothing else is.
func TestGeneratedColumnOfALargeValue(t *testing.T) {
	url := servers.ForTest(t, 15).NewDatabase(t)
	servers.Exec(t, url,
		`CREATE TABLE t (id int PRIMARY KEY, v text, n int, l int GENERATED ALWAYS AS (length(v)) STORED)`,
		`CREATE TABLE u (id int PRIMARY KEY, v text, n int, l int GENERATED ALWAYS AS (length(v) + n) STORED)`,
		`ALTER TABLE t ALTER v SET STORAGE EXTERNAL`, `ALTER TABLE u ALTER v SET STORAGE EXTERNAL`,
		`INSERT INTO t VALUES (1, repeat('x', 5000), 1)`, `INSERT INTO u VALUES (1, repeat('x', 5000), 1)`)
	s := newSource(t, url, func(c *Config, _ *sources.Runtime) { c.GeneratedColumns = "compute" })
	r := newReader(t)
	if err := r.open(s); err != nil {
		t.Fatal(err)
	}
	r.until(r.streaming)
	servers.Exec(t, url, `UPDATE t SET n = 2`)
	r.until(func() bool { return strings.Contains(strings.Join(r.log, "\n"), "2 public.t 1  2 ") })
	servers.Exec(t, url, `UPDATE u SET n = 2`)
	var err error
	for ctx := t.Context(); err == nil; {
		err = r.step(ctx)
	}
	wantFault(t, err, "source.generated_incomplete", fault.Terminal)
	r.close()
}
