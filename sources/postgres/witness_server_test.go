package postgres

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/rowferry/rowferry/e2e/servers"
	"github.com/rowferry/rowferry/sources"
)

// TestServerTableChangedWhileTheSlotIsMade commits a new column in the first round of a slot's making, and begins in the
// second a transaction that writes the table: what the server says of its row is right under a witness, and shows why there
// is one without.
func TestServerTableChangedWhileTheSlotIsMade(t *testing.T) {
	for _, major := range logMajors {
		// A server of its own: what other slots' decoders store would stand in for the witness.
		server := servers.StartForTest(t, major)
		for _, attended := range []bool{true, false} {
			t.Run(fmt.Sprintf("%d/attended=%v", major, attended), func(t *testing.T) { playSlotRounds(t, server, attended) })
		}
	}
}

func playSlotRounds(t *testing.T, server *servers.Server, attended bool) {
	d := &logged{t: t, url: server.NewDatabase(t), slot: fmt.Sprintf("rounds_%v", attended)}
	d.conn = session(t, d.url)
	d.exec(`CREATE TABLE o (id int)`, `CREATE TABLE g (id int PRIMARY KEY)`, `CREATE PUBLICATION p FOR TABLE g`)
	s := newSource(t, d.url, func(c *Config, _ *sources.Runtime) { c.Slot.Name, c.Publication.Name = d.slot, "p" })

	held := d.writer()
	next := func() { // the server waits for one writer after the other
		d.awaitWaiting(held)
		after := d.writer()
		held.commit()
		held = after
	}
	type answer struct {
		slot createdSlot
		err  error
	}
	made := make(chan answer, 1)
	create := func(ctx context.Context) (createdSlot, error) { return s.createSlot(ctx, d.conn) }
	if !attended {
		create = func(ctx context.Context) (createdSlot, error) {
			keeper, err := s.connect(ctx, nil)
			if err != nil {
				return createdSlot{}, err
			}
			return s.createSlotOn(ctx, keeper)
		}
	}
	go func() {
		slot, err := create(t.Context())
		made <- answer{slot, err}
	}()
	if attended {
		next() // the first round of the witness
		next() // its second
	}
	d.awaitWaiting(held)
	first := held
	held = d.writer()
	d.exec(`ALTER TABLE g ADD COLUMN early int`)
	first.commit() // ends the first round
	d.awaitWaiting(held)
	late := session(t, d.url)
	for _, sql := range []string{`BEGIN`, `ALTER TABLE g ADD COLUMN late int`, `INSERT INTO g VALUES (1, 2, 3)`} {
		if _, err := late.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	held.commit() // ends the second round
	got := <-made
	if got.err != nil {
		t.Fatal(got.err)
	}
	closeConn(got.slot.keeper)
	if _, err := late.Exec(t.Context(), `COMMIT`); err != nil {
		t.Fatal(err)
	}
	d.mark()
	read := lines(readMarked(t, d.open(got.slot.lsn, nil, nil), false))
	want := []string{"schema public.g(id,early,late)", "insert public.g after [1 2 3]"}
	diff := cmp.Diff(want, read)
	switch {
	case attended && diff != "":
		t.Errorf("changes (-want +got):\n%s", diff)
	case !attended && diff == "":
		t.Error("this server decodes the row rightly without a witness: it may not be needed any more")
	}
}

// heldWriter is a session with an open transaction that has written.
type heldWriter struct {
	d    *logged
	conn *pgx.Conn
	pid  uint32
}

func session(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func (d *logged) writer() *heldWriter {
	d.t.Helper()
	w := &heldWriter{d: d, conn: session(d.t, d.url)}
	w.pid = w.conn.PgConn().PID()
	if _, err := w.conn.Exec(d.t.Context(), `BEGIN; INSERT INTO o VALUES (1)`); err != nil {
		d.t.Fatal(err)
	}
	return w
}

func (w *heldWriter) commit() {
	w.d.t.Helper()
	if _, err := w.conn.Exec(w.d.t.Context(), `COMMIT`); err != nil {
		w.d.t.Fatal(err)
	}
}

// awaitWaiting waits until a walsender waits for the writer to end.
func (d *logged) awaitWaiting(w *heldWriter) {
	d.t.Helper()
	eventually(d.t, "the wait for a writer", func() bool {
		return d.text(fmt.Sprintf(`SELECT count(*)::text FROM pg_locks l JOIN pg_stat_activity waits USING (pid), pg_stat_activity writes
			WHERE l.locktype = 'transactionid' AND NOT l.granted AND waits.backend_type = 'walsender'
			AND writes.pid = %d AND l.transactionid = writes.backend_xid`, w.pid)) == "1"
	})
}
