package postgres

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rowferry/rowferry/e2e/servers"
	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
)

// logMajors are the servers the log reader is tested on.
var logMajors = []int{15, 18}

// onServers runs a test on each of them, with a database of its own.
func onServers(t *testing.T, test func(t *testing.T, db *logged)) {
	for _, major := range logMajors {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			db := &logged{t: t, url: servers.ForTest(t, major).NewDatabase(t)}
			conn, err := pgx.Connect(t.Context(), db.url)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close(context.Background()) })
			db.conn = conn
			test(t, db)
		})
	}
}

// logged is a database whose log is read.
type logged struct {
	t    *testing.T
	url  string
	conn *pgx.Conn
	slot string
	from LSN
}

// exec runs statements one by one.
func (d *logged) exec(statements ...string) {
	d.t.Helper()
	for _, s := range statements {
		if _, err := d.conn.Exec(d.t.Context(), s); err != nil {
			d.t.Fatalf("%s: %v", s, err)
		}
	}
}

// text asks for one value.
func (d *logged) text(query string) string {
	d.t.Helper()
	var s string
	if err := d.conn.QueryRow(d.t.Context(), query).Scan(&s); err != nil {
		d.t.Fatalf("%s: %v", query, err)
	}
	return s
}

func (d *logged) lsn(query string) LSN {
	d.t.Helper()
	l, err := parseLSN(d.text(query))
	if err != nil {
		d.t.Fatal(err)
	}
	return l
}

// begin publishes all tables and makes the slot.
func (d *logged) begin() {
	d.t.Helper()
	d.slot = "tail_" + strings.TrimPrefix(d.text(`SELECT oid::text FROM pg_database WHERE datname = current_database()`), "-")
	d.exec(`CREATE PUBLICATION p FOR ALL TABLES`)
	d.from = d.lsn(`SELECT lsn::text FROM pg_create_logical_replication_slot('` + d.slot + `', 'pgoutput')`)
}

// open opens a tail at from.
func (d *logged) open(from LSN, settings map[string]string, change func(*tailConfig)) *tail {
	d.t.Helper()
	cfg := tailConfig{
		connect: func(ctx context.Context, build func(*pgconn.Config)) (*pgconn.PgConn, error) {
			c, err := pgconn.ParseConfig(d.url)
			if err != nil {
				return nil, err
			}
			for k, v := range sessionSettings {
				c.RuntimeParams[k] = v
			}
			for k, v := range settings {
				c.RuntimeParams[k] = v
			}
			c.RuntimeParams["replication"] = "database"
			build(c)
			return pgconn.ConnectConfig(ctx, c)
		},
		slot: d.slot, publications: []string{"p"}, from: from, streaming: true, pace: true, relations: &fakeResolver{},
		positionAt: testPosition, spillDir: filepath.Join(d.t.TempDir(), "spill"), spillLimit: 1 << 30,
	}
	if change != nil {
		change(&cfg)
	}
	tail, err := openTail(d.t.Context(), cfg)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() {
		if err := tail.Close(); err != nil {
			d.t.Errorf("Close: %v", err)
		}
	})
	return tail
}

// mark writes the end of what a test reads.
func (d *logged) mark() { d.exec(`SELECT pg_logical_emit_message(true, 'mark', '')`) }

// txText is a transaction as text, without what differs from run to run.
type txText struct {
	lines []string
	end   LSN
	whole bool // in one batch
}

// readMarked reads transactions until the mark, and acknowledges them when asked to.
func readMarked(t *testing.T, tail *tail, ack bool) (txs []txText) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	var parts *txText
	for {
		b, err := tail.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, tx := range b.Transactions {
			one := txText{end: LSN(tx.End), whole: b.Part == schema.Whole}
			if tx.Origin != "" {
				one.lines = append(one.lines, "from "+tx.Origin)
			}
			for _, c := range b.Changes[tx.First : tx.First+tx.Count] {
				one.lines = append(one.lines, changeText(b, &c))
			}
			if parts != nil {
				one.lines, parts = append(parts.lines, one.lines...), nil
			}
			switch {
			case len(one.lines) > 0 && one.lines[len(one.lines)-1] == "message [mark ]":
				b.Release()
				return txs
			case b.Part == schema.PartMore:
				parts = &one
			default:
				txs = append(txs, one)
			}
		}
		if ack && !b.Upto.IsZero() {
			upto, err := parseLSN(b.Upto.Token)
			if err != nil {
				t.Fatal(err)
			}
			tail.Ack(upto)
		}
		b.Release()
	}
}

// lines joins transactions, a dash between them.
func lines(txs []txText) []string {
	var out []string
	for i, tx := range txs {
		if i > 0 {
			out = append(out, "-")
		}
		out = append(out, tx.lines...)
	}
	return out
}

func TestServerChanges(t *testing.T) {
	onServers(t, func(t *testing.T, d *logged) {
		d.exec(`CREATE TABLE plain (id int PRIMARY KEY, v text)`,
			`CREATE TABLE toasted (id int PRIMARY KEY, n int, big text)`,
			`ALTER TABLE toasted ALTER big SET STORAGE EXTERNAL`,
			`CREATE TABLE whole (id int, n int, big text)`,
			`ALTER TABLE whole ALTER big SET STORAGE EXTERNAL, REPLICA IDENTITY FULL`,
			`CREATE TABLE "Odd.Name" ("Ключ" int PRIMARY KEY, "a ""b" text)`,
			`SELECT pg_replication_origin_create('far_' || current_database())`)
		origin := d.text(`SELECT 'far_' || current_database()`)
		d.begin()
		d.exec(`INSERT INTO plain VALUES (1, 'a'), (2, NULL), (3, '')`,
			`INSERT INTO toasted VALUES (1, 1, repeat('z', 5000))`,
			`UPDATE toasted SET n = 2`,
			`UPDATE toasted SET id = 20`,
			`DELETE FROM toasted`,
			`INSERT INTO whole VALUES (1, NULL, repeat('z', 5000))`,
			`UPDATE whole SET n = 2`,
			`DELETE FROM whole`,
			`BEGIN; SELECT pg_logical_emit_message(true, 'why', 'because'); TRUNCATE plain, whole RESTART IDENTITY CASCADE; COMMIT`,
			`SELECT pg_logical_emit_message(false, 'beat', '1')`,
			`BEGIN; SAVEPOINT a; INSERT INTO plain VALUES (5, 'gone'); ROLLBACK TO a; INSERT INTO plain VALUES (6, 'kept'); COMMIT`,
			`ALTER TABLE plain ADD COLUMN w int DEFAULT 7`,
			`BEGIN; INSERT INTO plain VALUES (7, 'x', 1); ALTER TABLE plain DROP COLUMN v; INSERT INTO plain VALUES (8, 2); COMMIT`,
			`INSERT INTO "Odd.Name" VALUES (1, 'q')`)
		d.exec(`SELECT pg_replication_origin_session_setup('`+origin+`')`,
			`BEGIN; SELECT pg_replication_origin_xact_setup('0/1234', now()); INSERT INTO plain VALUES (9, 3); COMMIT`,
			`SELECT pg_replication_origin_session_reset()`)
		d.mark()
		got := lines(readMarked(t, d.open(d.from, nil, nil), true))
		want := []string{
			"schema public.plain(id,v)", "insert public.plain after [1 a]", "insert public.plain after [2 NULL]", "insert public.plain after [3 ]", "-",
			"schema public.toasted(id,n,big)", "insert public.toasted after [1 1 zzzz…5000]", "-",
			"update public.toasted after [1 2 ~]", "-",
			"update public.toasted before [1 - -] after [20 2 ~]", "-",
			"delete public.toasted before [20 - -]", "-",
			"schema public.whole(id,n,big)", "insert public.whole after [1 NULL zzzz…5000]", "-",
			"update public.whole before [1 NULL zzzz…5000] after [1 2 zzzz…5000]", "-",
			"delete public.whole before [1 2 zzzz…5000]", "-",
			"message [why because]", "truncate public.plain public.whole cascade=true restart=true", "-",
			"message [beat 1]", "-",
			"insert public.plain after [6 kept]", "-",
			"schema public.plain(id,v,w) was public.plain(id,v)", "insert public.plain after [7 x 1]",
			"schema public.plain(id,w) was public.plain(id,v,w)", "insert public.plain after [8 2]", "-",
			`schema public."Odd.Name"(Ключ,a "b)`, `insert public."Odd.Name" after [1 q]`, "-",
			"from " + origin, "insert public.plain after [9 3]",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("changes (-want +got):\n%s", diff)
		}
	})
}

// work is what a streamed transaction of the tests does: more than fits the server's memory for decoding.
const filler = `INSERT INTO s SELECT g, repeat('f', 200) FROM generate_series(%d, %d) g`

func TestServerStreamedSavepoints(t *testing.T) {
	onServers(t, func(t *testing.T, d *logged) {
		d.exec(`CREATE TABLE s (id int PRIMARY KEY, v text)`)
		d.begin()
		d.exec(`BEGIN`, fmt.Sprintf(filler, 1, 1000),
			`SAVEPOINT a`, fmt.Sprintf(filler, 1001, 2000),
			`SAVEPOINT b`, fmt.Sprintf(filler, 2001, 3000), `ROLLBACK TO b`, // b again, empty
			fmt.Sprintf(filler, 3001, 4000), `RELEASE a`,
			`SAVEPOINT c`, `SAVEPOINT d`, fmt.Sprintf(filler, 4001, 5000), `RELEASE d`, fmt.Sprintf(filler, 5001, 6000),
			`ROLLBACK TO c`,
			`SAVEPOINT e`, `ALTER TABLE s ADD COLUMN gone int`, `INSERT INTO s SELECT g, repeat('f', 200), g FROM generate_series(6001, 7000) g`,
			`ROLLBACK TO e`, fmt.Sprintf(filler, 7001, 8000), `COMMIT`)
		d.exec(`BEGIN`, fmt.Sprintf(filler, 10001, 12000), `ROLLBACK`)
		d.mark()
		tail := d.open(d.from, map[string]string{"logical_decoding_work_mem": "64kB"}, func(c *tailConfig) { c.batchBytes = 64 << 10 })
		txs := readMarked(t, tail, true)
		if len(txs) != 1 {
			t.Fatalf("got %d transactions, want 1", len(txs))
		}
		var want []string
		for _, r := range [][2]int{{1, 2000}, {3001, 4000}, {7001, 8000}} {
			for id := r[0]; id <= r[1]; id++ {
				want = append(want, fmt.Sprintf("insert public.s after [%d ffff…200]", id))
			}
		}
		want = append([]string{"schema public.s(id,v)"}, want...)
		if diff := cmp.Diff(want, txs[0].lines); diff != "" {
			t.Errorf("rows (-want +got):\n%.3000s", diff)
		}
		if n := d.text(`SELECT stream_count::text FROM pg_stat_replication_slots WHERE slot_name = '` + d.slot + `'`); n == "0" {
			t.Error("the server streamed nothing: the test tests nothing")
		}
		if c := tail.Counts(); c.SpilledBytes != 0 || c.OpenTransactions != 0 {
			t.Errorf("left behind: %+v", c)
		}
	})
}

func TestServerInterleavedStreams(t *testing.T) {
	onServers(t, func(t *testing.T, d *logged) {
		d.exec(`CREATE TABLE s (id int PRIMARY KEY, v text)`, `CREATE TABLE other (id int PRIMARY KEY, v text)`)
		d.begin()
		second, err := pgx.Connect(t.Context(), d.url)
		if err != nil {
			t.Fatal(err)
		}
		defer second.Close(context.Background())
		two := &logged{t: t, url: d.url, conn: second}
		// The first changes a table's shape and rolls back; the second, beside it, never sees that shape.
		d.exec(`BEGIN`, `ALTER TABLE other ADD COLUMN w int`, `INSERT INTO other SELECT g, repeat('o', 200), 1 FROM generate_series(1, 500) g`)
		two.exec(`BEGIN`, fmt.Sprintf(filler, 1, 500))
		d.exec(`INSERT INTO other SELECT g, repeat('o', 200), 1 FROM generate_series(501, 1000) g`)
		two.exec(fmt.Sprintf(filler, 501, 1000))
		d.exec(`ROLLBACK`)
		d.exec(`INSERT INTO other VALUES (1, 'between')`)
		two.exec(`INSERT INTO other VALUES (2, 'late')`, `COMMIT`)
		d.exec(`INSERT INTO other VALUES (3, 'after')`)
		d.mark()
		txs := readMarked(t, d.open(d.from, map[string]string{"logical_decoding_work_mem": "64kB"}, nil), true)
		if len(txs) != 3 {
			t.Fatalf("got %d transactions, want 3", len(txs))
		}
		first := []string{"schema public.other(id,v)", "insert public.other after [1 between]"}
		if diff := cmp.Diff(first, txs[0].lines); diff != "" {
			t.Errorf("first (-want +got):\n%s", diff)
		}
		if n, last := len(txs[1].lines), txs[1].lines[len(txs[1].lines)-1]; n != 1002 || last != "insert public.other after [2 late]" {
			t.Errorf("second: got %d lines, the last %q", n, last)
		}
		if diff := cmp.Diff([]string{"insert public.other after [3 after]"}, txs[2].lines); diff != "" {
			t.Errorf("third (-want +got):\n%s", diff)
		}
	})
}

func TestServerRestartFromEveryPosition(t *testing.T) {
	onServers(t, func(t *testing.T, d *logged) {
		d.exec(`CREATE TABLE s (id int PRIMARY KEY, v text)`)
		d.begin()
		d.exec(`INSERT INTO s SELECT g, 'copy' FROM generate_series(1, 300) g`, // rows that share places in the log
			`INSERT INTO s VALUES (1000, 'one')`, `BEGIN`, fmt.Sprintf(filler, 2001, 3000), `COMMIT`,
			`SELECT pg_logical_emit_message(false, 'beat', '')`, `UPDATE s SET v = 'x' WHERE id = 1000`)
		if _, err := d.conn.PgConn().CopyFrom(t.Context(), strings.NewReader("5001\ta\n5002\tb\n5003\tc\n"), `COPY s FROM STDIN`); err != nil {
			t.Fatal(err)
		}
		d.mark()
		settings := map[string]string{"logical_decoding_work_mem": "64kB"}
		// Nothing is acknowledged, so that the server still has all of it each time.
		read := func(from LSN) []txText {
			tail := d.open(from, settings, nil)
			defer func() { _ = tail.Close() }()
			return readMarked(t, tail, false)
		}
		all := read(d.from)
		if len(all) != 6 {
			t.Fatalf("got %d transactions, want 6", len(all))
		}
		for i := range all {
			rest := read(all[i].end)
			got, want := lines(rest), lines(all[i+1:])
			// The shape of a table is told again: this tail was told of none.
			if len(got) > 0 && strings.HasPrefix(got[0], "schema ") {
				got = got[1:]
			} else if len(got) > 2 && strings.HasPrefix(got[2], "schema ") {
				got = append(got[:2:2], got[3:]...)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("from the end of transaction %d (-want +got):\n%.2000s", i, diff)
			}
		}
	})
}

func TestServerBarriersMoveAnIdleSlot(t *testing.T) {
	onServers(t, func(t *testing.T, d *logged) {
		d.exec(`CREATE TABLE noise (v text)`, `CREATE TABLE quiet (id int PRIMARY KEY)`)
		d.begin()
		d.exec(`DROP PUBLICATION p`, `CREATE PUBLICATION p FOR TABLE quiet`)
		tail := d.open(d.lsn(`SELECT pg_current_wal_lsn()::text`), nil, func(c *tailConfig) { c.barrierEvery = 20 * time.Millisecond })
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
		defer cancel()
		for range 3 {
			d.exec(`INSERT INTO noise SELECT repeat('n', 100) FROM generate_series(1, 100)`)
			target := d.lsn(`SELECT pg_current_wal_insert_lsn()::text`)
			for upto := LSN(0); upto < target; {
				b, err := tail.Next(ctx)
				if err != nil {
					t.Fatal(err)
				}
				if len(b.Changes) > 0 || len(b.Transactions) > 0 {
					t.Errorf("got %s, want nothing but a position", batchText(b))
				}
				if upto, err = parseLSN(b.Upto.Token); err != nil {
					t.Fatal(err)
				}
				b.Release()
				tail.Ack(upto)
			}
			eventually(t, "the slot's move", func() bool {
				return d.lsn(`SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = '`+d.slot+`'`) >= target
			})
		}
	})
}

func TestServerShutsDownWithoutWaitingForABarrier(t *testing.T) {
	server := servers.StartForTest(t, 15)
	d := &logged{t: t, url: server.URL("postgres")}
	conn, err := pgx.Connect(t.Context(), d.url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	d.conn = conn
	d.exec(`CREATE TABLE noise (v text)`, `CREATE TABLE quiet (id int PRIMARY KEY)`)
	d.begin()
	d.exec(`DROP PUBLICATION p`, `CREATE PUBLICATION p FOR TABLE quiet`)
	tail := d.open(d.lsn(`SELECT pg_current_wal_lsn()::text`), nil, func(c *tailConfig) { c.barrierEvery = time.Hour })
	d.exec(`INSERT INTO noise VALUES ('n')`)
	ended := make(chan error, 1)
	go func() {
		for {
			b, err := tail.Next(t.Context())
			if err != nil {
				ended <- err
				return
			}
			if upto, err := parseLSN(b.Upto.Token); err == nil {
				tail.Ack(upto)
			}
			b.Release()
		}
	}()
	begun := time.Now()
	if err := server.Stop(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(begun); d > 60*time.Second {
		t.Errorf("the server took %s to shut down", d)
	}
	if err := <-ended; fault.Of(err).Code == "" || !fault.Of(err).Endless {
		t.Errorf("got %v, want a fault that waits", err)
	}
}

func TestServerLoses(t *testing.T) {
	onServers(t, func(t *testing.T, d *logged) {
		d.exec(`CREATE TABLE s (id int PRIMARY KEY)`)
		d.begin()
		tail := d.open(d.from, nil, nil)
		pid := d.text(`SELECT active_pid::text FROM pg_replication_slots WHERE slot_name = '` + d.slot + `'`)
		d.exec(`SELECT pg_terminate_backend(` + pid + `)`)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := tail.Next(ctx)
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || pg.Code != "57P01" {
			t.Errorf("got %v, want what the server said", err)
		}
	})
}
