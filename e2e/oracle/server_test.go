package oracle

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/rowferry/rowferry/e2e/load"
	"github.com/rowferry/rowferry/e2e/servers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair is a source with a load behind it and a target that equals it.
func pair(t *testing.T) (source, target string) {
	t.Helper()
	server := servers.ForTest(t, servers.Major(t))
	source = server.NewDatabase(t)
	conn := connect(t, source)
	if err := load.Setup(t.Context(), conn, 50); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close(t.Context())
	r := load.Runner{URL: source, Profile: load.Full(), Seed: 1, Workers: 2, Limit: 40}
	if err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	target = server.NewDatabase(t)
	servers.Exec(t, server.URL("postgres"), `DROP DATABASE `+name(t, target), `CREATE DATABASE `+name(t, target)+` TEMPLATE `+name(t, source))
	servers.Exec(t, target, `CREATE SCHEMA rowferry; CREATE TABLE rowferry.ledger (pipeline text, seq bigint, phase text, token text);
		INSERT INTO rowferry.ledger VALUES ('shop', 5, 'stream', '7/1/FF/stream')`)
	return source, target
}

func name(t *testing.T, text string) string {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return pgx.Identifier{u.Path[1:]}.Sanitize()
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// Each way of spoiling the target is found by the oracle that is there for it.
func TestOraclesSpeakAboutATarget(t *testing.T) {
	source, target := pair(t)
	rd := Reader{Source: source, Target: target, Pipeline: "shop"}
	tests := []struct {
		name, spoil   string
		equal, reader Class // what each oracle finds; empty: nothing
	}{
		{"nothing", `SELECT`, "", ""},
		{"a row is gone", `DELETE FROM old WHERE id = 7`, Lost, ""},
		{"a row too many", `INSERT INTO old VALUES (1000000, '')`, Doubled, ""},
		{"a value differs", `UPDATE old SET pad = 'x' WHERE id = 7`, Wrong, ""},
		{"half a transfer", `UPDATE bank SET balance = balance - 1 WHERE id = 1`, Wrong, Torn},
		{"half a ledger number", `DELETE FROM txn_b WHERE txn = (SELECT max(txn) FROM txn_b)`, Lost, Torn},
		{"a list lacks its middle", `UPDATE lists SET items = items[1:1] || items[3:] WHERE key = (SELECT min(key) FROM lists WHERE cardinality(items) > 3)`, Wrong, Lost},
		{"a list has an element twice", `UPDATE lists SET items = items[1:1] || items`, Wrong, Doubled},
		{"a list in another order", `UPDATE lists SET items = ARRAY[items[2], items[1]] || items[3:] WHERE key = (SELECT min(key) FROM lists WHERE cardinality(items) > 3)`, Wrong, Reordered},
		{"a rolled-back row", `INSERT INTO subs VALUES (1000000, true, 1)`, Doubled, Doubled},
		{"an entry without element", `UPDATE lists SET items = items[1:cardinality(items) - 1]`, Wrong, Torn},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			conn := connect(t, target)
			if _, err := conn.Exec(t.Context(), `CREATE SCHEMA saved`); err != nil {
				t.Fatal(err)
			}
			keep(t, conn, `CREATE TABLE saved.%s AS SELECT * FROM public.%[1]s`)
			if _, err := conn.Exec(t.Context(), test.spoil); err != nil {
				t.Fatal(err)
			}
			equal, reader := &Report{}, &Report{}
			if err := Equal(t.Context(), equal, connect(t, source), conn, load.Tables); err != nil {
				t.Fatal(err)
			}
			if err := rd.pass(t.Context(), reader); err != nil {
				t.Fatal(err)
			}
			expect(t, "equal", equal, test.equal)
			expect(t, "reader", reader, test.reader)
			keep(t, conn, `TRUNCATE public.%s; INSERT INTO public.%[1]s SELECT * FROM saved.%[1]s`)
			if _, err := conn.Exec(t.Context(), `DROP SCHEMA saved CASCADE`); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func expect(t *testing.T, oracle string, r *Report, want Class) {
	t.Helper()
	if want == "" && !r.Clean() {
		t.Errorf("%s spoke without a reason:\n%s", oracle, r)
	}
	if want != "" && r.Count(want) == 0 {
		t.Errorf("%s found nothing of class %q, but:\n%s", oracle, want, r)
	}
}

func keep(t *testing.T, conn *pgx.Conn, format string) {
	t.Helper()
	for _, table := range load.Tables {
		if _, err := conn.PgConn().Exec(t.Context(), fmt.Sprintf(format, table)).ReadAll(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReaderWaitsForTheStream(t *testing.T) {
	source, target := pair(t)
	servers.Exec(t, target, `UPDATE rowferry.ledger SET phase = 'copy'; DELETE FROM bank`)
	r := &Report{}
	if err := (Reader{Source: source, Target: target, Pipeline: "shop"}).pass(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if !r.Clean() || r.Looks("reader") != 0 || r.Looks("reader, before the stream") != 1 {
		t.Errorf("got a judgement of a copy that is under way:\n%s", r)
	}
}

func TestAckOracle(t *testing.T) {
	tests := []struct {
		confirmed, token string
		want             Class
		looked           int
	}{
		{"0/16B3748", "7/1/16B3748/stream", "", 1},
		{"0/16B3747", "7/1/16B3748/stream", "", 1},
		{"0/16B3749", "7/1/16B3748/stream", Acked, 1},
		{"1/0", "7/1/FFFFFFFF/copy", Acked, 1},
		{"1/0", "7/1/0/creating", "", 0},
		{"1/0", "", "", 0},
	}
	for _, test := range tests {
		r := &Report{}
		if err := judgeAck(r, test.confirmed, test.token); err != nil {
			t.Fatal(err)
		}
		expect(t, test.confirmed+" "+test.token, r, test.want)
		if got := r.Looks("ack"); got != test.looked {
			t.Errorf("%s against %q: looked %d times, want %d", test.confirmed, test.token, got, test.looked)
		}
	}
	if err := judgeAck(&Report{}, "0/1", "nonsense"); err == nil {
		t.Error("a token of no known form was taken")
	}
}

func TestAckWatchReadsSlotAndLedger(t *testing.T) {
	source, target := pair(t)
	servers.Exec(t, source, `SELECT pg_create_logical_replication_slot('acks', 'pgoutput')`)
	r := &Report{}
	watch := AckWatch{Source: source, Slot: "acks", Ledger: &PostgresLedger{URL: target, Pipeline: "shop"}, Every: time.Millisecond}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := watch.Run(ctx, r); err != nil {
		t.Fatal(err)
	}
	if r.Count(Acked) == 0 {
		t.Error("a slot far ahead of the ledger was not noticed")
	}
}

func TestLeakOracle(t *testing.T) {
	source, _ := pair(t)
	conn := connect(t, source)
	r := &Report{}
	servers.Exec(t, source, `SELECT pg_create_logical_replication_slot('wanted', 'pgoutput')`)
	if err := Leaks(t.Context(), r, conn, "wanted"); err != nil {
		t.Fatal(err)
	}
	expect(t, "leaks", r, "")
	servers.Exec(t, source, `SELECT pg_create_logical_replication_slot('left', 'pgoutput')`)
	left := connect(t, source+"&application_name=rowferry:shop")
	if err := Leaks(t.Context(), r, conn, "wanted"); err != nil {
		t.Fatal(err)
	}
	if r.Count(Leaked) != 2 {
		t.Errorf("want a session and a slot, got:\n%s", r)
	}
	_ = left.Close(t.Context())
}

func TestFilesAndSecrets(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("status.json", `{"state":"streaming"}`)
	r := &Report{}
	look := func() {
		t.Helper()
		if err := Files(r, dir); err != nil {
			t.Fatal(err)
		}
		if err := Secrets(r, []string{"hunter2"}, dir); err != nil {
			t.Fatal(err)
		}
	}
	look()
	expect(t, "files and secrets", r, "")
	write("spill/123.spill", "x")
	write("log", "one\npassword=hunter2\n")
	look()
	expect(t, "files", r, Leaked)
	expect(t, "secrets", r, Shown)
}

func TestMetric(t *testing.T) {
	page := []byte("# HELP go_goroutines x\ngo_goroutines 17\nprocess_open_fds 9\n")
	if got, ok := Metric(page, "go_goroutines"); !ok || got != 17 {
		t.Errorf("got %v %v, want 17", got, ok)
	}
	if _, ok := Metric(page, "process"); ok {
		t.Error("a part of a name was taken for the name")
	}
}
