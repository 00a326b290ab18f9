package producer

import (
	"testing"
	"time"

	"github.com/rowferry/rowferry/e2e/servers"
	"github.com/rowferry/rowferry/schema/fault"
)

// TestBrokerLeftEndsOut: records whose transaction the coordinator knows as complete, and whose partitions have no end of it. A
// broker that takes records of a transaction it was not asked about makes such ones: nobody ends them. The coordinator
// stands where it would stand after it had left the markers out.
func TestBrokerLeftEndsOut(t *testing.T) {
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			k, err := servers.StartKafka(t.Context(), servers.KafkaOptions{
				Version: version, Settings: []string{"transaction.partition.verification.enable=false"},
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := k.Remove(); err != nil {
					t.Error(err)
				}
			})
			b := &bed{TB: t, seeds: []string{k.Addr()}}
			k.CreateTopic(t, "t", 3)
			k.CreateTopic(t, "later", 1)
			topics := []string{"t", "gone"}
			hang := func(value string) *Producer {
				p := b.producer(Config{TransactionalID: "x"})
				b.must(p.Produce(b.limit(), []Batch{one("t", 0, "before-"+value)}))
				b.must(p.Commit(b.limit()))
				p = b.producer(Config{TransactionalID: "x"}) // when the end is written
				p.state.begin(time.Now())
				p.state.added[partition{"t", 0}], p.state.added[partition{"t", 1}] = true, true // which is not true
				b.must(p.Produce(b.limit(), []Batch{one("t", 0, value), one("t", 1, value)}))
				return p
			}
			settle := func(want Left) {
				t.Helper()
				p := b.producer(Config{TransactionalID: "x"})
				if got, err := p.Settle(b.limit(), topics, Decisions{}); got != want || err != nil {
					t.Errorf("got %+v, %v, want %+v", got, err, want)
				}
			}
			settle(Left{})
			hang("committed")
			other := b.producer(Config{TransactionalID: "y"}) // of somebody else, open behind it and before
			b.must(other.Produce(b.limit(), []Batch{one("t", 1, "other"), one("t", 2, "other")}))
			settle(Left{Committed: 2})
			settle(Left{})
			b.must(other.Commit(b.limit()))
			b.want("t", "0: before-committed committed", "1: committed other", "2: other")

			hang("aborted")
			b.producer(Config{TransactionalID: "x"})
			settle(Left{Aborted: 2})
			b.want("t", "0: before-committed committed before-aborted", "1: committed other", "2: other")

			p := hang("of this session")
			p.state.ended()
			p.topics["t"] = true
			p.lost-- // connection
			b.must(p.Produce(b.limit(), []Batch{one("t", 0, "dropped")}))
			settle(Left{})
			b.want("t", "0: before-committed committed before-aborted before-of this session of this session",
				"1: committed other of this session", "2: other")

			p = hang("in a topic that is known later")
			p.state.added[partition{"later", 0}] = true
			b.must(p.Produce(b.limit(), []Batch{one("later", 0, "x")}))
			p = b.producer(Config{TransactionalID: "x"})
			decisions := Decisions{}
			for i, want := range []Left{{Committed: 2}, {Committed: 1}} {
				if got, err := p.Settle(b.limit(), []string{[]string{"t", "later"}[i]}, decisions); got != want || err != nil {
					t.Errorf("got %+v, %v, want %+v", got, err, want)
				}
			}
			b.want("later", "0: x")

			hang("kept in mind")
			known := Decisions{}
			p = b.producer(Config{TransactionalID: "x"})
			known[Session{p.Session().ProducerID, p.Session().Epoch - 1}] = true
			p = b.producer(Config{TransactionalID: "x"})
			if got, err := p.Settle(b.limit(), topics, known); got != (Left{Committed: 2}) || err != nil {
				t.Errorf("got %+v, %v, want two that are committed", got, err)
			}

			hang("forgotten")
			b.producer(Config{TransactionalID: "x"})
			b.producer(Config{TransactionalID: "x"})
			b.producer(Config{TransactionalID: "x"})
			p = b.producer(Config{TransactionalID: "x"})
			if _, err := p.Settle(b.limit(), topics, Decisions{}); fault.Of(err).Code != "target.transaction_hanging" || fault.ClassOf(err) != fault.Terminal {
				t.Errorf("got %v, want a halt", err)
			}
		})
	}
}

// TestEpochTellsTheDecision: Settle relies on how far the brokers raise the epoch.
func TestEpochTellsTheDecision(t *testing.T) {
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			b, prefix, k := onBroker(t, version)
			k.CreateTopic(t, prefix+"t", 1)
			for name, how := range map[string]struct {
				end  func(p *Producer) error
				want bool
			}{
				"committed":             {func(p *Producer) error { return p.Commit(b.limit()) }, true},
				"killed":                {func(*Producer) error { return nil }, false},
				"given up by its owner": {func(p *Producer) error { _ = p.Init(b.limit()); return nil }, false},
			} {
				id := Config{TransactionalID: prefix + name}
				p := b.producer(id)
				of := p.Session()
				b.must(p.Produce(b.limit(), []Batch{one(prefix+"t", 0, name)}))
				b.must(how.end(p))
				if got, err := b.producer(id).decided(partition{prefix + "t", 0}, of); got != how.want || err != nil {
					t.Errorf("%s: got %v, %v, want %v", name, got, err, how.want)
				}
			}
		})
	}
}
