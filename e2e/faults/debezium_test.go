package faults

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.yaml.in/yaml/v3"

	"github.com/rowferry/rowferry/e2e/daemon"
	"github.com/rowferry/rowferry/e2e/oracle"
	"github.com/rowferry/rowferry/e2e/servers"
)

// connectorFile is the connector that is run, and imported. A test of the import has it, too.
var connectorFile = filepath.Join("..", "..", "cmd", "rowferry", "debezium", "testdata", "kafka-e2e.json")

// changeover is a source under load, and Debezium that Rowferry takes over from.
type changeover struct {
	*pair
	kafka     *servers.Kafka
	worker    *servers.Connect
	connector map[string]string
	reader    oracle.KafkaReader
	file      string // of the connector, as it was made
}

// TestKafkaAfterDebezium stops a connector of Debezium under load, imports its configuration, adopts its slot, and goes on into
// the same topics. An independent reader of committed records misses no change, and what comes twice is what Debezium had
// written and not acknowledged to the slot.
func TestKafkaAfterDebezium(t *testing.T) {
	deleted := func(c *changeover) error { return c.worker.Delete(c.ctx, "shop") }
	killed := func(c *changeover) error { return c.worker.Kill() }
	exactly := func(ctx context.Context, k *servers.Kafka) (*servers.Connect, error) {
		return servers.StartConnect(ctx, k)
	}
	for _, tt := range []struct {
		name  string
		start func(context.Context, *servers.Kafka) (*servers.Connect, error)
		stop  func(*changeover) error
	}{
		{"at least once, deleted", servers.StartConnectAtLeastOnce, deleted},
		{"at least once, killed", servers.StartConnectAtLeastOnce, killed},
		{"exactly once, deleted", exactly, deleted},
	} {
		t.Run(tt.name, func(t *testing.T) { changeOver(newChangeover(t, tt.start), tt.stop) })
	}
}

// changeOver plays one changeover, with Debezium being stopped by stop.
func changeOver(c *changeover, stop func(c *changeover) error) {
	t := c.t
	if err := c.worker.Create(c.ctx, "shop", c.connector); err != nil {
		t.Fatalf("%v\n%s", err, c.worker.Log())
	}
	writer := c.write()
	c.eventually("Debezium to stream", func() (bool, string) {
		records, _ := c.records()
		return len(records) > 500, fmt.Sprintf("%d records", len(records))
	})
	c.imported()
	file, err := c.WriteConfig("off")
	if err != nil {
		t.Fatal(err)
	}
	adopt := []string{"adopt", "shop", "--slot", c.connector["slot.name"], "--yes", "-c", file}
	_, messages, err := command(c.ctx, c.Binary, c.Env, adopt...)
	if err == nil || !strings.Contains(messages, "Debezium") || !strings.Contains(messages, "server process") || !strings.Contains(messages, "source.adopt_active") {
		t.Errorf("adopting while Debezium reads: got %v, %q; want it refused, with its name and process", err, messages)
	}
	if err := stop(c); err != nil {
		t.Fatal(err)
	}
	var confirmed uint64
	c.eventually("Debezium to let go of its slot", func() (bool, string) {
		var active bool
		active, confirmed = c.slot()
		return !active, ""
	})
	theirs, ends := c.records()
	c.eventually("what was sent last to be in the topics", func() (bool, string) {
		before := len(theirs)
		theirs, ends = c.records()
		return len(theirs) == before, ""
	})
	if _, messages, err = command(c.ctx, c.Binary, c.Env, adopt...); err != nil {
		t.Fatalf("adopting: %v\n%s", err, messages)
	}
	c.follow()
	n := writer()
	var all []*kgo.Record
	c.eventually("the last transaction in the topics", func() (bool, string) {
		all, _ = c.records()
		last := fmt.Sprintf(`"id":%d,`, n)
		return slices.ContainsFunc(all, func(r *kgo.Record) bool {
			return bytes.Contains(r.Value, []byte(last)) && strings.HasSuffix(r.Topic, "lines")
		}), ""
	})
	c.stop()
	all, _ = c.records()
	var ours []*kgo.Record
	for _, r := range all {
		if r.Offset >= ends[partition{r.Topic, r.Partition}] {
			ours = append(ours, r)
		}
	}
	if len(theirs)+len(ours) != len(all) {
		t.Fatalf("got %d records, %d by Debezium and %d by Rowferry", len(all), len(theirs), len(ours))
	}
	c.judge(n, confirmed, c.events(theirs), c.events(ours))
}

// newChangeover makes the servers, the tables, and the connector's settings.
func newChangeover(t *testing.T, start func(context.Context, *servers.Kafka) (*servers.Connect, error)) *changeover {
	t.Helper()
	k := servers.StartKafkaForTest(t, servers.KafkaOptions{})
	server := servers.ForTest(t, servers.Major(t))
	c := &changeover{kafka: k, pair: pairOf(t, build(t), server.NewDatabase(t), "kafka://"+k.Addr())}
	ctx, cancel := context.WithTimeout(t.Context(), 5*limit)
	t.Cleanup(cancel)
	c.ctx = ctx
	var err error
	if c.worker, err = start(ctx, k); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.worker.Remove(); err != nil {
			t.Errorf("removing Connect: %v", err)
		}
	})
	servers.Exec(t, c.source, `CREATE TABLE lines (id bigint PRIMARY KEY, price numeric(10,2))`)
	c.reader = oracle.KafkaReader{Client: k.Client(t), Topics: []string{"shop.public.items", "shop.public.lines"}}
	text, err := os.ReadFile(connectorFile)
	if err != nil {
		t.Fatal(err)
	}
	var made struct {
		Name   string            `json:"name"`
		Config map[string]string `json:"config"`
	}
	if err := json.Unmarshal(text, &made); err != nil {
		t.Fatal(err)
	}
	at, err := url.Parse(c.source)
	if err != nil {
		t.Fatal(err)
	}
	c.connector = made.Config
	c.connector["database.port"], c.connector["database.dbname"] = at.Port(), strings.TrimPrefix(at.Path, "/")
	c.connector["database.user"] = at.User.Username()
	c.connector["slot.name"] += "_" + strings.ToLower(strings.TrimPrefix(at.Path, "/")) // slots belong to the whole server
	if len(c.connector["slot.name"]) > 63 {
		c.connector["slot.name"] = c.connector["slot.name"][:63]
	}
	if text, err = json.Marshal(made); err != nil {
		t.Fatal(err)
	}
	c.file = filepath.Join(c.Folder, "connector.json")
	if err := os.WriteFile(c.file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return c
}

// write changes the source until the function it returns is called, which says how many transactions there were. Transaction n
// inserts item and line 1000+n, updates item 990+n and deletes item 980+n.
func (c *changeover) write() (end func() int) {
	c.t.Helper()
	conn, err := pgx.Connect(c.ctx, c.source)
	if err != nil {
		c.t.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan error, 1)
	n := 1000
	go func() {
		defer func() { _ = conn.Close(context.WithoutCancel(c.ctx)) }()
		for ; ; n++ {
			batch := &pgx.Batch{}
			batch.Queue(`INSERT INTO items VALUES ($1, 'new')`, n)
			batch.Queue(`UPDATE items SET name = 'changed' WHERE id = $1`, n-10)
			batch.Queue(`DELETE FROM items WHERE id = $1`, n-20)
			batch.Queue(`INSERT INTO lines VALUES ($1, 1.10)`, n)
			if err := conn.SendBatch(c.ctx, batch).Close(); err != nil { // one transaction
				done <- err
				return
			}
			select {
			case <-stop:
				done <- nil
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	}()
	ended := false
	end = func() int {
		c.t.Helper()
		if !ended {
			ended = true
			close(stop)
			if err := <-done; err != nil {
				c.t.Fatal(err)
			}
		}
		return n
	}
	c.t.Cleanup(func() { end() })
	return end
}

// imported gives the daemon what an import of the connector's file prints.
func (c *changeover) imported() {
	c.t.Helper()
	out, messages, err := command(c.ctx, c.Binary, nil, "config", "import", "debezium", c.file, "--brokers", c.kafka.Addr())
	if err != nil || !strings.Contains(messages, "set the environment variable SHOP_SOURCE_PASSWORD") {
		c.t.Fatalf("importing: %v\n%s", err, messages)
	}
	var file struct {
		Pipelines map[string]struct{ Source, Target daemon.Settings }
	}
	if err := yaml.Unmarshal([]byte(out), &file); err != nil {
		c.t.Fatal(err)
	}
	p := file.Pipelines["shop"]
	c.Pipelines = []daemon.Pipeline{{Name: "shop", InSource: p.Source, InTarget: p.Target}}
	c.Env = []string{"SHOP_SOURCE_PASSWORD=none"}
}

// slot tells whether the slot is read, and up to where it was.
func (c *changeover) slot() (active bool, confirmed uint64) {
	c.t.Helper()
	conn, err := pgx.Connect(c.ctx, c.source)
	if err != nil {
		c.t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(c.ctx))
	var text int64
	err = conn.QueryRow(c.ctx, `SELECT active, (confirmed_flush_lsn - '0/0')::bigint FROM pg_replication_slots WHERE slot_name = $1`,
		c.connector["slot.name"]).Scan(&active, &text)
	if err != nil {
		c.t.Fatal(err)
	}
	return active, uint64(text)
}

// partition is a partition of a topic.
type partition struct {
	topic  string
	number int32
}

// records reads everything that is committed, and says where each partition ends. Topics that are not there yet hold nothing.
func (c *changeover) records() ([]*kgo.Record, map[partition]int64) {
	c.t.Helper()
	ends := map[partition]int64{}
	partitions, err := c.reader.Partitions(c.ctx)
	if err != nil {
		return nil, ends
	}
	all, err := c.reader.All(c.ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, p := range partitions {
		ends[partition{p.Topic, p.Partition}] = p.Stable
	}
	return all, ends
}

// event is a record as its readers take it.
type event struct {
	what string // table, operation, key, and the row before and after
	key  string
	at   partition
	lsn  uint64 // 0 for a row that was copied
	txID uint64
}

// events takes records apart. Tombstones say nothing of their own, but that they are there.
func (c *changeover) events(records []*kgo.Record) []event {
	c.t.Helper()
	var out []event
	for i, r := range records {
		e := event{key: string(r.Key), at: partition{r.Topic, r.Partition}}
		if r.Value == nil {
			before := records[i-1] // in the order of a partition
			if string(before.Key) != e.key || !bytes.Contains(before.Value, []byte(`"op":"d"`)) {
				c.t.Errorf("a tombstone of %s in %v does not follow its delete", r.Key, e.at)
			}
			continue
		}
		var v struct {
			Op     string          `json:"op"`
			Before json.RawMessage `json:"before"`
			After  json.RawMessage `json:"after"`
			Source struct {
				LSN  uint64 `json:"lsn"`
				TxID uint64 `json:"txId"`
			} `json:"source"`
		}
		if err := json.Unmarshal(r.Value, &v); err != nil {
			c.t.Fatalf("%s: %v", r.Value, err)
		}
		if v.Op != "r" { // a copied row names the transaction that read it, which is none of the log
			e.lsn, e.txID = v.Source.LSN, v.Source.TxID
		}
		e.what = fmt.Sprintf("%s %s %s %s %s", strings.TrimPrefix(r.Topic, "shop.public."), v.Op, r.Key, v.Before, v.After)
		out = append(out, e)
	}
	return out
}

// judge compares what was read with what was committed, transactions 1000 to n.
func (c *changeover) judge(n int, confirmed uint64, theirs, ours []event) {
	c.t.Helper()
	count := map[string]int{}
	places := map[string]map[partition]bool{}
	for _, e := range slices.Concat(theirs, ours) {
		count[e.what]++
		if places[e.key+e.at.topic] == nil {
			places[e.key+e.at.topic] = map[partition]bool{}
		}
		places[e.key+e.at.topic][e.at] = true
	}
	missing := 0
	for _, want := range expected(n) {
		if count[want] == 0 {
			missing++
			c.t.Errorf("no reader sees %q", want)
		}
	}
	if missing == 0 && len(ours) == 0 {
		c.t.Error("Rowferry wrote nothing: the load ended too early")
	}
	for key, in := range places {
		if len(in) != 1 {
			c.t.Errorf("the changes of %s are in %d partitions", key, len(in))
		}
	}
	c.judgeRepeats(confirmed, theirs, ours)
	c.judgeOrder(ours)
}

// expected is what readers have to see of transactions 1000 to n.
func expected(n int) []string {
	var want []string
	for i := 1000; i <= n; i++ {
		want = append(want, fmt.Sprintf(`items c {"id":%d} null {"id":%d,"name":"new"}`, i, i),
			fmt.Sprintf(`lines c {"id":%d} null {"id":%d,"price":"1.10"}`, i, i))
		if i >= 1010 {
			want = append(want, fmt.Sprintf(`items u {"id":%d} null {"id":%d,"name":"changed"}`, i-10, i-10))
		}
		if i >= 1020 {
			want = append(want, fmt.Sprintf(`items d {"id":%d} {"id":%d,"name":null} null`, i-20, i-20))
		}
	}
	return want
}

// judgeRepeats finds what comes twice: whole transactions, the last that Debezium wrote, of which none but the first may begin
// before the position that Debezium acknowledged.
func (c *changeover) judgeRepeats(confirmed uint64, theirs, ours []event) {
	c.t.Helper()
	first, written := map[uint64]uint64{}, []uint64{} // the first change of each of their transactions, and their order
	places := map[string]uint64{}
	for _, e := range theirs {
		places[e.what] = e.lsn
		if lsn, known := first[e.txID]; e.txID != 0 && (!known || e.lsn < lsn) {
			first[e.txID] = e.lsn
		}
	}
	for id := range first {
		written = append(written, id)
	}
	slices.SortFunc(written, func(a, b uint64) int { return cmp.Compare(first[a], first[b]) })
	again, seen := map[uint64]bool{}, map[string]bool{}
	for _, e := range ours {
		if seen[e.what] {
			c.t.Errorf("Rowferry wrote %q twice", e.what)
		}
		seen[e.what] = true
		if lsn, twice := places[e.what]; twice && lsn != e.lsn {
			c.t.Errorf("%q came from %X, and again from %X", e.what, lsn, e.lsn)
		}
		if _, known := first[e.txID]; known {
			again[e.txID] = true
		}
	}
	since := len(written)
	for i, id := range written {
		switch {
		case again[id] && since == len(written):
			since = i
		case !again[id] && since < len(written):
			c.t.Errorf("transaction %d came once, after %d came twice", id, written[since])
		}
		if again[id] && i > since && first[id] < confirmed {
			c.t.Errorf("transaction %d came twice, and its first change is at %X, before what Debezium acknowledged, %X", id, first[id], confirmed)
		}
	}
	c.t.Logf("Debezium wrote %d records in %d transactions, and acknowledged up to %X; Rowferry wrote %d records, %d transactions of them again",
		len(theirs), len(written), confirmed, len(ours), len(again))
}

// judgeOrder: in each partition our records are in the order of the log.
func (c *changeover) judgeOrder(ours []event) {
	c.t.Helper()
	last := map[partition]uint64{}
	for _, e := range ours {
		if e.lsn < last[e.at] {
			c.t.Errorf("in %v a change at %X follows one at %X", e.at, e.lsn, last[e.at])
		}
		last[e.at] = e.lsn
	}
}
