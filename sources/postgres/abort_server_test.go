package postgres

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rowferry/rowferry/e2e/servers"
	"github.com/rowferry/rowferry/sources"
)

// TestServerRelationInsideARolledBackPart: the server describes a table once to a transaction that it streams. When that
// stood in a part that was rolled back later, what the transaction writes to the table afterwards follows the
// description all the same.
func TestServerRelationInsideARolledBackPart(t *testing.T) {
	onServers(t, func(t *testing.T, d *logged) {
		d.exec(`CREATE TABLE s (id int PRIMARY KEY, v text)`, `CREATE TABLE u (id int PRIMARY KEY, old text)`)
		d.begin()
		d.exec(`INSERT INTO u VALUES (1, 'x')`, `ALTER TABLE u RENAME old TO fresh`)
		tail := d.open(d.from, map[string]string{"logical_decoding_work_mem": "64kB"}, nil)
		read := make(chan []txText)
		go func() { read <- readMarked(t, tail, true) }()
		d.exec(`BEGIN`, fmt.Sprintf(filler, 1, 1000))
		eventually(t, "the stream", func() bool { return tail.Counts().SpilledBytes > 0 })
		before := tail.Counts().SpilledBytes
		d.exec(`SAVEPOINT a`, `INSERT INTO u SELECT g, repeat('f', 200) FROM generate_series(1001, 6000) g`)
		eventually(t, "the stream of the part", func() bool { return tail.Counts().SpilledBytes > before+700_000 })
		d.exec(`ROLLBACK TO a`, `INSERT INTO u VALUES (2, 'y')`, fmt.Sprintf(filler, 1001, 2000), `COMMIT`)
		d.mark()
		var got []string
		for _, line := range lines(<-read) {
			if !strings.HasPrefix(line, "insert public.s") {
				got = append(got, line)
			}
		}
		want := []string{
			"schema public.u(id,old)", "insert public.u after [1 x]", "-",
			"schema public.s(id,v)",
			"schema public.u(id,fresh) was public.u(id,old)", "insert public.u after [2 y]",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("changes (-want +got):\n%s", diff)
		}
	})
}

// TestColumnOfARolledBackPart: a column that was added in a part of a transaction that was rolled back, and later for good, is the
// one that was added later. What its old rows hold is known.
func TestColumnOfARolledBackPart(t *testing.T) {
	for _, major := range majors {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			url := servers.ForTest(t, major).NewDatabase(t)
			servers.Exec(t, url, `CREATE TABLE s (id int PRIMARY KEY, v text)`, `CREATE TABLE u (id int PRIMARY KEY)`,
				`ALTER DATABASE `+quoteName(databaseOf(t, url))+` SET logical_decoding_work_mem = '64kB'`)
			s := newSource(t, url, nil)
			r := newReader(t)
			if err := r.open(s); err != nil {
				t.Fatal(err)
			}
			r.until(r.streaming)
			writer := session(t, url)
			write := func(statements ...string) {
				for _, sql := range statements {
					if _, err := writer.Exec(t.Context(), sql); err != nil {
						t.Fatal(err)
					}
				}
			}
			read := make(chan error, 1)
			go func() { read <- r.upTo("1 public.s 9001 ") }()
			write(`BEGIN`, `INSERT INTO u VALUES (1)`, fmt.Sprintf(filler, 1, 2000))
			eventually(t, "the stream", func() bool { return r.stream.(sources.Counter).Counts().SpilledBytes > 0 })
			before := r.stream.(sources.Counter).Counts().SpilledBytes
			write(`SAVEPOINT a`, `ALTER TABLE u ADD w int`, `INSERT INTO u VALUES (2, 2)`, fmt.Sprintf(filler, 2001, 6000))
			eventually(t, "the stream of the part", func() bool { return r.stream.(sources.Counter).Counts().SpilledBytes > before+500_000 })
			write(`ROLLBACK TO a`, `INSERT INTO s VALUES (9001, '')`, `COMMIT`)
			if err := <-read; err != nil {
				t.Fatal(err)
			}
			write(`ALTER TABLE u ADD w int`, `INSERT INTO u VALUES (3, 3)`)
			if err := r.upTo("1 public.u 3 3"); err != nil {
				t.Fatal(err)
			}
			r.close()
			table := r.latest["public.u"]
			if w := table.Columns[len(table.Columns)-1]; w.Name != "w" || !w.Initial.Known {
				t.Errorf("what old rows of %s hold in %s: got %+v, want it known", table, w.Name, w.Initial)
			}
		})
	}
}
