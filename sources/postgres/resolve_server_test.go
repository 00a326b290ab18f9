package postgres

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowferry/rowferry/e2e/servers"
)

// TestPresentVersionWhileColumnsAreAdded: what is published of a table and which columns it has are read at one moment. A column
// that comes in between is not one that is left out.
func TestPresentVersionWhileColumnsAreAdded(t *testing.T) {
	for _, major := range majors {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			url := servers.ForTest(t, major).NewDatabase(t)
			servers.Exec(t, url, `CREATE TABLE t (id int PRIMARY KEY)`, `CREATE PUBLICATION pub FOR TABLE t`)
			s := newSource(t, url, given("pub"))
			conn := session(t, url)
			r := &resolver{source: s, version: versionOf(conn.PgConn()), query: func(context.Context) (*pgx.Conn, error) { return conn, nil }}
			infos, err := readRelations(t.Context(), conn, nil)
			if err != nil || len(infos) != 1 {
				t.Fatalf("got %d relations, %v", len(infos), err)
			}
			adder, added := session(t, url), make(chan error, 1)
			end := time.Now().Add(time.Second)
			go func() {
				var err error
				for n := 0; n < 1000 && err == nil && time.Now().Before(end); n++ {
					_, err = adder.Exec(t.Context(), fmt.Sprintf(`ALTER TABLE t ADD COLUMN c%d int`, n))
				}
				added <- err
			}()
			for time.Now().Before(end) {
				v, err := r.current(t.Context(), conn, infos)
				if err != nil {
					t.Fatal(err)
				}
				if len(v.columns) != len(v.live) {
					t.Errorf("the version has %d columns of %d", len(v.columns), len(v.live))
					break
				}
			}
			if err := <-added; err != nil {
				t.Fatal(err)
			}
		})
	}
}
