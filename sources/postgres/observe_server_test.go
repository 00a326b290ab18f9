package postgres

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowferry/rowferry/e2e/servers"
)

// TestLookingForOldRowsIsBounded: a look that did not come to an end is not begun again at once.
func TestLookingForOldRowsIsBounded(t *testing.T) {
	url := servers.ForTest(t, 15).NewDatabase(t)
	servers.Exec(t, url, `CREATE TABLE t (id int PRIMARY KEY)`, `CREATE PUBLICATION pub FOR ALL TABLES`)
	s := newSource(t, url, given("pub"))
	r := newReader(t)
	if err := r.open(s); err != nil {
		t.Fatal(err)
	}
	r.until(r.streaming)
	servers.Exec(t, url, `CREATE TABLE u (id int PRIMARY KEY)`, `INSERT INTO u VALUES (1)`)
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
