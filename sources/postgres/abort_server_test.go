package postgres

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
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
