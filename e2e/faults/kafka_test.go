package faults

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rowferry/rowferry/e2e/daemon"
	"github.com/rowferry/rowferry/e2e/oracle"
	"github.com/rowferry/rowferry/e2e/servers"
	"github.com/rowferry/rowferry/e2e/trial"
)

// TestFault14_FrozenKafkaWriter: a daemon that is frozen while another takes over is fenced by the brokers, and writes
// nothing when it is back.
func TestFault14_FrozenKafkaWriter(t *testing.T) {
	t.Parallel()
	replaced(t, kafkaTrial(t, 14, sharedKafka(t), trial.Options{}))
}

// TestFault02_KilledInATransactionInParts: parts of a large transaction are in topics when the daemon is killed. No
// reader ever sees them, and they come again.
func TestFault02_KilledInATransactionInParts(t *testing.T) {
	t.Parallel()
	p := newKafkaPair(t, sharedKafka(t), "failpoints")
	p.start("ROWFERRY_FAILPOINTS=kafka.mid=kill@22") // behind the copy, and more requests than are under way at once
	p.awaitFollowing()
	p.equal()
	p.exec(`INSERT INTO items SELECT g, repeat('part ', 40) FROM generate_series(1001, 201000) g`)
	p.eventually("the daemon to be killed", func() (bool, string) { return !p.Alive(), "" })
	if n := p.written(); n < 1000 {
		t.Errorf("the topic holds %d records at least: no part of it was there", n)
	}
	p.follow()
	p.equal()
}

// written is how far the topic's partitions reach, together, for readers that do not ask for committed records only.
func (p *kafkaPair) written() (n int64) {
	p.t.Helper()
	partitions, err := oracle.KafkaReader{Client: p.client, Topics: []string{p.items()}}.Partitions(p.ctx)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, one := range partitions {
		n += one.Written
	}
	return n
}

// TestFault78_BrokerKilled kills the only broker under a load, again and again, and starts it again.
func TestFault78_BrokerKilled(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	k := servers.StartKafkaForTest(t, servers.KafkaOptions{})
	tr := kafkaTrial(t, 78, k, trial.Options{})
	flow(ctx, t, tr)
	for _, end := range []func(int) error{k.KillBroker, k.StopBroker, k.KillBroker} {
		more(ctx, t, tr, 60)
		if err := end(1); err != nil {
			t.Fatal(err)
		}
		if err := k.StartBroker(ctx, 1); err != nil {
			t.Fatal(err)
		}
		if err := tr.AwaitFollowing(ctx); err != nil {
			t.Fatal(err)
		}
	}
	more(ctx, t, tr, 60)
	finish(ctx, t, tr)
}

// TestFault78_LeadersAndCoordinatorsMove: with three brokers, leaders move, and one broker after the other dies,
// whatever it leads and coordinates. With two of them away, fewer replicas are in sync than the topics ask for: the
// pipeline waits.
func TestFault78_LeadersAndCoordinatorsMove(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	k := servers.StartKafkaForTest(t, servers.KafkaOptions{Brokers: 3, Settings: []string{"default.replication.factor=3"}})
	tr := kafkaTrial(t, 781, k, trial.Options{InKafka: daemon.Settings{
		"create_topics": daemon.Settings{"partitions": 2, "replication": 3, "configs": daemon.Settings{"min.insync.replicas": "2"}},
	}})
	flow(ctx, t, tr)
	for _, topic := range []string{"txn_a", "bank", "ledger"} {
		more(ctx, t, tr, 20)
		name := tr.Topic(topic)
		k.MoveLeader(t, name, 0, k.Leader(t, name, 0)%3+1)
	}
	for node := 1; node <= 3; node++ {
		more(ctx, t, tr, 20)
		if err := k.KillBroker(node); err != nil {
			t.Fatal(err)
		}
		more(ctx, t, tr, 20)
		if err := tr.AwaitFollowing(ctx); err != nil {
			t.Fatal(err)
		}
		if err := k.StartBroker(ctx, node); err != nil {
			t.Fatal(err)
		}
	}
	more(ctx, t, tr, 20)
	finish(ctx, t, tr)
}

// TestFault78_TooFewReplicas: with fewer replicas in sync than the topic asks for nothing is written, and the pipeline
// says why. It goes on when they are back.
func TestFault78_TooFewReplicas(t *testing.T) {
	t.Parallel()
	k := servers.StartKafkaForTest(t, servers.KafkaOptions{Brokers: 3})
	p := newKafkaPair(t, k)
	p.Pipelines[0].Besides["timeouts"] = daemon.Settings{"commit": "1m"}
	p.set(daemon.Settings{"create_topics": daemon.Settings{
		"partitions": 2, "replication": 3, "configs": daemon.Settings{"min.insync.replicas": "3"},
	}})
	p.follow()
	p.equal()
	if err := k.StopBroker(3); err != nil {
		t.Fatal(err)
	}
	p.exec(`INSERT INTO items VALUES (1000, 'waits')`)
	p.waiting("replicas")
	if err := k.StartBroker(p.ctx, 3); err != nil {
		t.Fatal(err)
	}
	p.equal()
}

// TestFault80_Fenced: somebody else uses the transactional id. The pipeline halts and stays halted; it takes nothing
// back.
func TestFault80_Fenced(t *testing.T) {
	t.Parallel()
	p := newKafkaPair(t, sharedKafka(t))
	p.follow()
	p.equal()
	other := p.kafka.Client(t, kgo.TransactionalID(p.prefix+"writer"))
	if err := other.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := other.ProducerID(p.ctx); err != nil {
		t.Fatal(err)
	}
	p.exec(`INSERT INTO items VALUES (1000, 'fenced')`)
	p.halted("target.fenced")
	p.unread()
	pause(p.ctx, 2*time.Second)
	p.unread()
	p.Kill()
	p.follow()
	p.equal()
}

// TestFault81_TransactionTimeout: a stall longer than the transaction's timeout. The brokers abort it, and it is
// begun again.
func TestFault81_TransactionTimeout(t *testing.T) {
	t.Parallel()
	k := servers.StartKafkaForTest(t, servers.KafkaOptions{
		Settings: []string{"transaction.abort.timed.out.transaction.cleanup.interval.ms=200"},
	})
	p := newKafkaPair(t, k, "failpoints")
	p.set(daemon.Settings{"transaction": daemon.Settings{"id": p.prefix + "writer", "timeout": "1s"}})
	p.Pipelines[0].Besides["timeouts"] = daemon.Settings{"commit": "1m"}
	p.follow()
	p.equal()
	p.stop()
	p.start("ROWFERRY_FAILPOINTS=kafka.before_end=delay:4s@1")
	p.exec(`INSERT INTO items VALUES (1000, 'late')`)
	p.logged("target.transaction_timeout")
	p.equal()
	p.exec(`INSERT INTO items VALUES (1001, 'in time')`)
	p.equal()
}

// TestFault82_ExpiredWhileIdle: brokers forget an idle producer and its transactional id. The next change finds that
// out and loses nothing.
func TestFault82_ExpiredWhileIdle(t *testing.T) {
	t.Parallel()
	k := servers.StartKafkaForTest(t, servers.KafkaOptions{Settings: []string{
		"transactional.id.expiration.ms=1000", "transaction.remove.expired.transaction.cleanup.interval.ms=200",
		"producer.id.expiration.ms=1000", "producer.id.expiration.check.interval.ms=200",
	}})
	p := newKafkaPair(t, k)
	p.follow()
	p.equal()
	for i := range 3 {
		pause(p.ctx, 2500*time.Millisecond)
		p.exec(fmt.Sprintf(`INSERT INTO items VALUES (%d, 'after silence'); UPDATE items SET name = 'again' WHERE id = %d`, 1000+i, i+1))
		p.equal()
	}
	p.Kill()
	pause(p.ctx, 2500*time.Millisecond)
	p.follow()
	p.exec(`DELETE FROM items WHERE id < 10`)
	p.equal()
}

// TestFault83_MessageTooLarge: a topic that takes less than the pipeline believes halts it; nothing is left out, and
// it goes on when the topic takes more.
func TestFault83_MessageTooLarge(t *testing.T) {
	t.Parallel()
	p := newKafkaPair(t, sharedKafka(t))
	p.kafka.CreateTopic(t, p.items(), 2, "max.message.bytes=20000")
	p.set(daemon.Settings{"compression": "none"})
	p.follow()
	p.equal()
	p.exec(`INSERT INTO items VALUES (1000, repeat('c4nary', 10000))`)
	p.halted("target.record_too_large", p.items())
	p.unread()
	p.stop()
	if strings.Contains(p.Log(), "c4nary") {
		t.Error("the log holds a value of the row")
	}
	p.kafka.AlterTopic(t, p.items(), "max.message.bytes=200000")
	p.follow()
	p.equal()
}

// TestFault83_AboveMaxMessage: a record above max_message halts before anything is sent, and passes with claim_check.
func TestFault83_AboveMaxMessage(t *testing.T) {
	t.Parallel()
	p := newKafkaPair(t, sharedKafka(t))
	p.set(daemon.Settings{"max_message": "20kB", "compression": "none"})
	p.follow()
	p.equal()
	p.exec(`INSERT INTO items VALUES (1000, 'before')`, `INSERT INTO items VALUES (1001, repeat('c4nary', 10000))`)
	p.halted("target.record_too_large", "public.items", "claim_check")
	p.unread()
	p.stop()
	if strings.Contains(p.Log(), "c4nary") {
		t.Error("the log holds a value of the row")
	}
	p.set(daemon.Settings{"max_message": "200kB"})
	p.follow()
	p.equal()
}

// TestFault83_NoSuchTopic: a topic that is not there and may not be made halts with the command that makes it.
func TestFault83_NoSuchTopic(t *testing.T) {
	t.Parallel()
	p := newKafkaPair(t, sharedKafka(t))
	p.kafka.CreateTopic(t, p.ledger(), 1, "cleanup.policy=compact")
	p.set(daemon.Settings{"create_topics": daemon.Settings{"enabled": false}})
	p.start()
	p.halted("target.topic_not_found", "kafka-topics.sh", p.items())
	p.Kill()
	p.kafka.CreateTopic(t, p.items(), 2)
	p.follow()
	p.equal()
}

// TestFault83_TopicDeleted: a topic that was written to is deleted, while the daemon runs and while it does not. It is
// never made again silently.
func TestFault83_TopicDeleted(t *testing.T) {
	t.Parallel()
	for _, running := range []bool{true, false} {
		t.Run(fmt.Sprintf("running %v", running), func(t *testing.T) {
			t.Parallel()
			p := newKafkaPair(t, sharedKafka(t))
			p.follow()
			p.equal()
			if !running {
				p.stop()
			}
			p.kafka.DeleteTopics(t, p.items())
			p.exec(`INSERT INTO items VALUES (1000, 'nowhere to go')`)
			if !running {
				p.start()
			}
			p.halted("target.topic_gone", p.items(), "teardown")
			p.Kill()
			p.start()
			p.halted("target.topic_gone", p.items())
		})
	}
}

// TestFault83_Quota: brokers slow the client down. It takes longer, without a retry.
func TestFault83_Quota(t *testing.T) {
	t.Parallel()
	p := newKafkaPair(t, sharedKafka(t))
	p.set(daemon.Settings{"compression": "none"})
	p.Pipelines[0].Besides["timeouts"] = daemon.Settings{"commit": "1m"}
	p.follow()
	p.equal()
	p.kafka.LimitClient(t, p.prefix+"client", 100_000)
	t.Cleanup(func() { p.kafka.LimitClient(t, p.prefix+"client", 0) })
	begun := time.Now()
	for i := range 5 {
		p.exec(fmt.Sprintf(`INSERT INTO items SELECT g, repeat('x', 200) FROM generate_series(%d, %d) g`, 1000+1000*i, 1999+1000*i))
	}
	p.equal()
	if n := p.retries(); n > 0 {
		t.Errorf("got %d retries, want none", n)
	}
	if took := time.Since(begun); took < 2*time.Second {
		t.Errorf("it took %v: nobody slowed it down", took)
	}
}

// TestFault84_PartitionsAdded: more partitions would let changes of a row overtake each other: halts. By setting the
// pipeline goes on with those it knows, or with all.
func TestFault84_PartitionsAdded(t *testing.T) {
	t.Parallel()
	p := newKafkaPair(t, sharedKafka(t))
	p.follow()
	p.equal()
	p.kafka.AddPartitions(t, p.items(), 5)
	p.spread = 2
	p.exec(`UPDATE items SET name = 'still in its place' WHERE id < 50`)
	p.equal() // nobody looks at the number in the middle of work: keys stay where they were
	p.stop()
	p.exec(`UPDATE items SET name = 'waits' WHERE id < 60`)
	p.start()
	p.halted("target.partitions_added", p.items(), "added_partitions")
	p.Kill()
	p.set(daemon.Settings{"added_partitions": "keep"})
	p.follow()
	p.exec(`UPDATE items SET name = 'kept' WHERE id > 30`)
	p.equal()
}

// TestFault85_LedgerTouched: a ledger that is gone or unfit never makes a pipeline begin anew beside its slot.
func TestFault85_LedgerTouched(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		touch   func(p *kafkaPair)
		running bool
		code    string
		text    string
	}{
		{"deleted while stopped", func(p *kafkaPair) { p.kafka.DeleteTopics(p.t, p.ledger()) }, false, "source.slot_exists", ""},
		{"deleted while running", func(p *kafkaPair) { p.kafka.DeleteTopics(p.t, p.ledger()) }, true, "source.slot_exists", ""},
		{"cleanup.policy delete", func(p *kafkaPair) { p.kafka.AlterTopic(p.t, p.ledger(), "cleanup.policy=delete") }, false,
			"target.ledger_topic", "cleanup.policy"},
		{"records deleted", func(p *kafkaPair) {
			p.kafka.AlterTopic(p.t, p.ledger(), "cleanup.policy=delete")
			p.kafka.DeleteRecords(p.t, p.ledger(), 0)
			p.kafka.AlterTopic(p.t, p.ledger(), "cleanup.policy=compact")
		}, false, "target.ledger_topic_damaged", ""},
		{"written by somebody", func(p *kafkaPair) {
			record := &kgo.Record{Topic: p.ledger(), Key: []byte("position"), Value: []byte("here")}
			if err := p.client.ProduceSync(p.ctx, record).FirstErr(); err != nil {
				p.t.Fatal(err)
			}
		}, false, "target.ledger_topic_damaged", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newKafkaPair(t, sharedKafka(t))
			p.t = t
			p.follow()
			p.exec(`INSERT INTO items VALUES (1000, 'there')`)
			p.equal()
			if !tt.running {
				p.stop()
			}
			tt.touch(p)
			p.exec(`UPDATE items SET name = 'must wait' WHERE id = 1000`)
			if !tt.running {
				p.start()
			}
			p.halted(tt.code, tt.text)
			p.unread()
		})
	}
}

// TestKafkaOldest is a load with kills into the oldest Kafka that is supported.
func TestKafkaOldest(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	killed(ctx, t, kafkaTrial(t, 39, servers.KafkaForTest(t, servers.KafkaOldest), trial.Options{}))
}

// TestKafkaDefaultFormat is a load with kills in the format that a target has when nothing is said of it.
func TestKafkaDefaultFormat(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	killed(ctx, t, kafkaTrial(t, 40, sharedKafka(t), trial.Options{InKafka: daemon.Settings{"format": daemon.Settings{}}}))
}

// killed plays a load with kills.
func killed(ctx context.Context, t *testing.T, tr *trial.Trial) {
	t.Helper()
	flow(ctx, t, tr)
	for range 3 {
		more(ctx, t, tr, 60)
		tr.Daemon.Kill()
		if err := tr.Start(); err != nil {
			t.Fatal(err)
		}
		if err := tr.AwaitFollowing(ctx); err != nil {
			t.Fatal(err)
		}
	}
	more(ctx, t, tr, 60)
	finish(ctx, t, tr)
}
