package load

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/rowferry/rowferry/e2e/servers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func scripts(p Profile, seed uint64, worker, n int) string {
	var b strings.Builder
	g := NewGenerator(p, seed, worker)
	for range n {
		t := g.Next()
		b.WriteString(t.Script())
	}
	return b.String()
}

func TestGeneratorRepeatsItself(t *testing.T) {
	p := Full()
	p.Old = 1000
	if diff := cmp.Diff(scripts(p, 7, 1, 300), scripts(p, 7, 1, 300)); diff != "" {
		t.Errorf("the same seed gave something else (-first +second):\n%s", diff)
	}
	if scripts(p, 7, 1, 300) == scripts(p, 8, 1, 300) {
		t.Error("two seeds gave the same load")
	}
	if scripts(p, 7, 1, 300) == scripts(p, 7, 2, 300) {
		t.Error("two workers gave the same load")
	}
}

// Everything that the load promises to do comes up in a few hundred transactions.
func TestGeneratorReachesEverything(t *testing.T) {
	p := Full()
	p.Old = 1000
	p.Weights[Wipe] = 60
	text := scripts(p, 1, 1, 2000)
	for _, want := range []string{
		"SAVEPOINT s0", "SAVEPOINT s2", "ROLLBACK TO SAVEPOINT s1", "RELEASE SAVEPOINT s0", "ROLLBACK;", "TRUNCATE wiped, wiped_too",
		"UPDATE keyed SET id", "UPDATE docs SET n = n + 1", "ALTER TABLE grown ADD COLUMN w1_0 int", "INSERT INTO big", "DELETE FROM big",
		"INSERT INTO txn_b", "DELETE FROM txn_a", "UPDATE hot", "INSERT INTO entries", "UPDATE bank", "UPDATE old",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("2000 transactions without %q", want)
		}
	}
}

func TestTransactionsCountTheirChanges(t *testing.T) {
	url := prepared(t, 100)
	p := Full()
	p.Old = 100
	r := Runner{URL: url, Profile: p, Seed: 3, Workers: 3, Limit: 60}
	servers.Exec(t, url, `SELECT pg_create_logical_replication_slot('counts', 'test_decoding')`)
	if err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	committed, changes, _ := r.Log().Totals()
	if committed < 150 {
		t.Errorf("got %d committed transactions, want nearly 180", committed)
	}
	got := query(t, url, `SELECT count(*) FROM pg_logical_slot_get_changes('counts', NULL, NULL)
		WHERE data LIKE 'table %' AND data NOT LIKE '%TRUNCATE:%'`)
	if want := fmt.Sprint(changes); got != want {
		t.Errorf("the log holds %s row changes, the load counted %s", got, want)
	}
}

func TestInvariantsHoldAtTheSource(t *testing.T) {
	url := prepared(t, 100)
	r := Runner{URL: url, Profile: Full(), Seed: 4, Workers: 4}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := r.Run(ctx); err != nil {
		t.Fatal(err)
	}
	for sql, want := range map[string]string{
		`SELECT sum(balance) FROM bank`:                                                    fmt.Sprint(Total),
		`SELECT count(*) FROM subs WHERE ghost`:                                            "0",
		`SELECT sum(cardinality(items)) - (SELECT count(*) FROM entries) FROM lists`:       "0",
		`SELECT count(*) FROM entries e JOIN lists USING (key) WHERE items[seq] <> e.item`: "0",
	} {
		if got := query(t, url, sql); got != want {
			t.Errorf("%s: got %s, want %s", sql, got, want)
		}
	}
	if committed, _, _ := r.Log().Totals(); committed == 0 {
		t.Error("nothing was committed")
	}
}

// A server that crashes under the load costs no transaction and doubles none: the log and the tables agree.
func TestLoadSurvivesItsServer(t *testing.T) {
	server := servers.StartForTest(t, servers.Major(t))
	url := server.NewDatabase(t)
	setup(t, url, 10)
	p := Full()
	p.Weights = map[Kind]int{Sub: 1}
	r := Runner{URL: url, Profile: p, Seed: 5, Workers: 3, Limit: 400}
	done := make(chan error, 1)
	go func() { done <- r.Run(t.Context()) }()
	await(t, func() bool { n, _, _ := r.Log().Totals(); return n > 100 })
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	committed, _, undone := r.Log().Totals()
	if got, want := committed+undone, 1200; got != want {
		t.Errorf("got %d transactions, want %d", got, want)
	}
	live := map[string]bool{}
	for _, id := range strings.Split(query(t, url, `SELECT string_agg(DISTINCT txn::text, ',') FROM txn_a`), ",") {
		live[id] = true
	}
	logged := map[string]bool{}
	newest := map[int]int64{}
	for _, e := range r.Log().Entries() {
		logged[fmt.Sprint(e.ID)] = true
		newest[e.Worker] = max(newest[e.Worker], e.ID)
	}
	for _, id := range newest {
		if !live[fmt.Sprint(id)] {
			t.Errorf("transaction %d is in the log, but not in the database", id)
		}
	}
	for id := range live {
		if !logged[id] {
			t.Errorf("transaction %s is in the database, but not in the log", id)
		}
	}
}

func TestPauseHoldsEveryWorker(t *testing.T) {
	url := prepared(t, 10)
	r := Runner{URL: url, Profile: Full(), Seed: 6, Workers: 3}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	await(t, func() bool { n, _, _ := r.Log().Totals(); return n > 20 })
	r.Pause()
	before := query(t, url, `SELECT pg_current_wal_insert_lsn()`)
	time.Sleep(50 * time.Millisecond) // what must not happen has had its chance
	n, _, _ := r.Log().Totals()
	if got := query(t, url, `SELECT count(*) FROM pg_stat_activity WHERE application_name = 'load' AND state = 'active' AND datname = current_database()`); got != "0" {
		t.Errorf("%s workers at work while paused (log at %s)", got, before)
	}
	r.Resume()
	await(t, func() bool { m, _, _ := r.Log().Totals(); return m > n })
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func prepared(t *testing.T, existing int) string {
	t.Helper()
	url := servers.ForTest(t, servers.Major(t)).NewDatabase(t)
	setup(t, url, existing)
	return url
}

func setup(t *testing.T, url string, existing int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if err := Setup(t.Context(), conn, existing); err != nil {
		t.Fatal(err)
	}
}

func query(t *testing.T, url, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	results, err := conn.PgConn().Exec(t.Context(), sql).ReadAll()
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	if len(results[0].Rows) == 0 {
		return ""
	}
	return string(results[0].Rows[0][0])
}

func await(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); {
		if time.Now().After(deadline) {
			t.Fatal("it did not come in 20 s")
		}
		time.Sleep(5 * time.Millisecond)
	}
}
