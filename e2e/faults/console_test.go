package faults

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rowferry/rowferry/e2e/daemon"
	"github.com/rowferry/rowferry/e2e/load"
	"github.com/rowferry/rowferry/e2e/oracle"
	"github.com/rowferry/rowferry/e2e/servers"
	"github.com/rowferry/rowferry/e2e/trial"
)

// TestKafkaConsoleConsumer: Kafka's own console consumer reads along, committed records only, while Rowferry is killed in the
// middle of transactions and the broker, too. It prints each record that our reader sees, in the order of its partition, and
// nothing of what was aborted; the oracles compare what our reader sees with the source.
func TestKafkaConsoleConsumer(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	k := servers.StartKafkaForTest(t, servers.KafkaOptions{})
	tr := kafkaTrial(t, 30, k, trial.Options{
		Binary: build(t, "failpoints"), InKafka: daemon.Settings{"format": daemon.Settings{"value": "debezium-json"}},
	})
	reader := oracle.KafkaReader{Client: k.Client(t)}
	for _, table := range load.Tables {
		reader.Topics = append(reader.Topics, tr.Topic(table))
	}
	console, err := servers.StartConsole(ctx, k, strings.Join(reader.Topics, "|"), tr.Topic("console"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := console.Remove(); err != nil {
			t.Errorf("removing the console consumer: %v", err)
		}
	})
	for i, point := range []string{"before_end=kill@40", "mid=kill@60", "end_sent_no_reply=kill@20", "before_end=kill@30"} {
		if err := tr.Start("ROWFERRY_FAILPOINTS=kafka." + point); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			tr.Begin(ctx)
		}
		if err := eventually(ctx, "the daemon to be killed", func() (bool, string) { return !tr.Daemon.Alive(), point }); err != nil {
			t.Fatal(err)
		}
	}
	if err := tr.Start(); err != nil {
		t.Fatal(err)
	}
	if err := tr.AwaitFollowing(ctx); err != nil {
		t.Fatal(err)
	}
	if err := k.KillBroker(1); err != nil {
		t.Fatal(err)
	}
	if err := k.StartBroker(ctx, 1); err != nil {
		t.Fatal(err)
	}
	more(ctx, t, tr, 60)
	finish(ctx, t, tr)
	want := committed(ctx, t, reader)
	readAll(ctx, t, console, reader)
	lines, err := console.Lines()
	if err != nil {
		t.Fatal(err)
	}
	compareLines(t, want, lines)
}

// committed is what readers of committed records see. There has to be something else.
func committed(ctx context.Context, t *testing.T, reader oracle.KafkaReader) []*kgo.Record {
	t.Helper()
	reader.Markers = true
	all, err := reader.All(ctx)
	if err != nil {
		t.Fatal(err)
	}
	partitions, err := reader.Partitions(ctx)
	if err != nil {
		t.Fatal(err)
	}
	aborted := -int64(len(all))
	for _, p := range partitions {
		aborted += p.Written - p.Start
	}
	if aborted <= 0 {
		t.Error("the topics hold no record of an aborted transaction: nothing was shown")
	}
	records := slices.DeleteFunc(all, func(r *kgo.Record) bool { return r.Attrs.IsControl() })
	t.Logf("%d committed records, %d that were aborted", len(records), aborted)
	return records
}

// readAll waits until the console consumer has noted the end of each partition, behind whatever was aborted, and ends it.
func readAll(ctx context.Context, t *testing.T, console *servers.Console, reader oracle.KafkaReader) {
	t.Helper()
	partitions, err := reader.Partitions(ctx)
	if err != nil {
		t.Fatal(err)
	}
	err = eventually(ctx, "the console consumer to have read everything", func() (bool, string) {
		at, err := servers.KafkaCommitted(ctx, reader.Client, console.Group)
		if err != nil || !console.Alive() {
			return false, fmt.Sprint(err)
		}
		for _, p := range partitions {
			if got := at[servers.KafkaPlace{Topic: p.Topic, Partition: p.Partition}]; got < p.Stable {
				return false, fmt.Sprintf("at %d of %d in partition %d of %s", got, p.Stable, p.Partition, p.Topic)
			}
		}
		return true, ""
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, console.Log())
	}
	if err := console.Stop(); err != nil {
		t.Fatal(err)
	}
}

// compareLines wants each record printed once, those of a partition in their order.
func compareLines(t *testing.T, want []*kgo.Record, lines []string) {
	t.Helper()
	records := map[string]*kgo.Record{}
	for _, r := range want {
		records[servers.ConsoleLine(r)] = r
	}
	if len(records) != len(want) {
		t.Fatalf("%d of %d records print like others", len(want)-len(records), len(want))
	}
	last := map[partition]int64{}
	for _, line := range lines {
		r := records[line]
		if r == nil {
			t.Errorf("printed twice, or seen by no reader of committed records: %.300s", line)
			continue
		}
		delete(records, line)
		at := partition{r.Topic, r.Partition}
		if before, some := last[at]; some && r.Offset <= before {
			t.Errorf("in %v the record at %d is printed behind that at %d", at, r.Offset, before)
		}
		last[at] = r.Offset
	}
	for line := range records {
		t.Errorf("not printed: %.300s", line)
	}
}
