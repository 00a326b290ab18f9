package producer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks/kafka/cluster"
)

// keys of the requests that faults are put on.
const (
	keyProduce = kmsg.Produce
	keyInit    = kmsg.InitProducerID
	keyAdd     = kmsg.AddPartitionsToTxn
	keyEnd     = kmsg.EndTxn
)

func TestTransactions(t *testing.T) {
	for _, version := range []string{"2.8", "3.5", "3.9", "4.0", "4.1"} {
		t.Run(version, func(t *testing.T) {
			b := fake(t, kfake.MaxVersions(kversion.FromString(version)))
			ctx := b.limit()
			p := b.producer(Config{TransactionalID: "x"})
			b.must(p.Produce(ctx, []Batch{one("t", 0, "a", "b"), one("t", 1, "c"), one("t", 0, "d"), one("t", 5, "e")}))
			b.want("t")
			b.must(p.Commit(ctx))
			b.must(p.Produce(ctx, []Batch{one("t", 0, "dropped"), one("t", 2, "dropped")}))
			b.must(p.Init(ctx))
			b.must(p.Produce(ctx, []Batch{one("t", 0, "f")}))
			b.must(p.Produce(ctx, []Batch{one("t", 0, "g"), one("t", 2, "h")}))
			b.must(p.Commit(ctx))
			b.must(p.Commit(ctx)) // nothing is open
			b.must(p.Init(ctx))
			b.want("t", "0: a b d f g", "1: c", "2: h", "5: e")
		})
	}
}

func TestIdempotentWithoutTransactions(t *testing.T) {
	b := fake(t)
	ctx := b.limit()
	p := b.producer(Config{})
	b.must(p.Produce(ctx, []Batch{one("t", 0, "a"), one("t", 0, "b"), one("t", 3, "c")}))
	b.want("t", "0: a b", "3: c")
	b.must(p.Commit(ctx))
	b.fake.Fault(kfake.Fault{Keys: []kmsg.Key{keyProduce}, Err: kerr.RequestTimedOut})
	b.must(p.Produce(ctx, []Batch{one("t", 0, "d")}))
	b.want("t", "0: a b d", "3: c")
}

func TestCallsOutOfOrder(t *testing.T) {
	b := fake(t)
	p := New(b.cluster(cluster.Config{}), Config{TransactionalID: "x"})
	if err := p.Produce(b.limit(), []Batch{one("t", 0, "a")}); !errors.Is(err, errNotReady) {
		t.Errorf("Produce before Init: got %v", err)
	}
	if err := p.Commit(b.limit()); !errors.Is(err, errNotReady) {
		t.Errorf("Commit before Init: got %v", err)
	}
	b.must(p.Init(b.limit()))
	b.must(p.Produce(b.limit(), nil))
	b.fake.Fault(kfake.Fault{Keys: []kmsg.Key{keyProduce}, Err: kerr.MessageTooLarge})
	if err := p.Produce(b.limit(), []Batch{one("t", 0, "a")}); err == nil {
		t.Fatal("got no error")
	}
	for _, err := range []error{p.Produce(b.limit(), []Batch{one("t", 0, "a")}), p.Commit(b.limit())} {
		if !errors.Is(err, errInDoubt) {
			t.Errorf("after an error: got %v, want %v", err, errInDoubt)
		}
	}
	b.must(p.Init(b.limit()))
	b.must(p.Produce(b.limit(), []Batch{one("t", 0, "b")}))
	b.must(p.Commit(b.limit()))
	b.want("t", "0: b")
}

// TestErrorsThatPass lets brokers answer every step with errors that pass by themselves.
func TestErrorsThatPass(t *testing.T) {
	tests := []struct {
		key  kmsg.Key
		errs []*kerr.Error
	}{
		{keyInit, []*kerr.Error{kerr.CoordinatorLoadInProgress, kerr.CoordinatorNotAvailable, kerr.NotCoordinator, kerr.ConcurrentTransactions}},
		{keyAdd, []*kerr.Error{kerr.CoordinatorLoadInProgress, kerr.NotCoordinator, kerr.ConcurrentTransactions}},
		{keyEnd, []*kerr.Error{kerr.CoordinatorLoadInProgress, kerr.NotCoordinator, kerr.ConcurrentTransactions}},
		{kmsg.FindCoordinator, []*kerr.Error{kerr.CoordinatorNotAvailable}},
		{keyProduce, []*kerr.Error{
			kerr.NotLeaderForPartition, kerr.LeaderNotAvailable, kerr.RequestTimedOut, kerr.NotEnoughReplicas,
			kerr.NotEnoughReplicasAfterAppend, kerr.UnknownTopicOrPartition, kerr.KafkaStorageError, kerr.CorruptMessage,
		}},
	}
	for _, tt := range tests {
		for _, e := range tt.errs {
			t.Run(kmsg.NameForKey(tt.key.Int16())+"/"+e.Message, func(t *testing.T) {
				b := fake(t)
				h := b.fake.Fault(kfake.Fault{Keys: []kmsg.Key{tt.key}, Err: e, Count: 4})
				ctx := b.limit()
				p := b.producer(Config{TransactionalID: "x"})
				b.must(p.Produce(ctx, []Batch{one("t", 0, "a"), one("t", 0, "b"), one("t", 1, "c")}))
				b.must(p.Commit(ctx))
				b.must(p.Produce(ctx, []Batch{one("t", 0, "d")}))
				b.must(p.Commit(ctx))
				b.want("t", "0: a b d", "1: c")
				if h.Hits() < 4 {
					t.Errorf("the fault was met %d times, want 4", h.Hits())
				}
			})
		}
	}
}

// TestErrorsThatDoNotPass checks the classes the engine acts on.
func TestErrorsThatDoNotPass(t *testing.T) {
	tests := []struct {
		key   kmsg.Key
		err   *kerr.Error
		class fault.Class
		code  string
	}{
		{keyProduce, kerr.MessageTooLarge, fault.Terminal, "target.record_too_large"},
		{keyProduce, kerr.TopicAuthorizationFailed, fault.Terminal, "target.acl"},
		{keyProduce, kerr.UnsupportedCompressionType, fault.Terminal, "target.broker_version"},
		{keyProduce, kerr.InvalidRecord, fault.Terminal, "target.request_refused"},
		{keyProduce, kerr.OutOfOrderSequenceNumber, fault.Retryable, "target.transaction_lost"},
		{keyProduce, kerr.InvalidTxnState, fault.Retryable, "target.transaction_lost"},
		{keyProduce, kerr.TransactionAbortable, fault.Retryable, "target.transaction_lost"},
		{keyProduce, kerr.UnknownProducerID, fault.Retryable, "target.transaction_lost"},
		{keyProduce, kerr.UnknownServerError, fault.Retryable, "target.transaction_lost"},
		{keyProduce, kerr.InvalidProducerEpoch, fault.Fenced, "target.fenced"},
		{keyAdd, kerr.ProducerFenced, fault.Fenced, "target.fenced"},
		{keyAdd, kerr.TransactionalIDAuthorizationFailed, fault.Terminal, "target.acl"},
		{keyEnd, kerr.ProducerFenced, fault.Fenced, "target.fenced"},
		{keyEnd, kerr.InvalidTxnState, fault.Retryable, "target.transaction_lost"},
		{keyEnd, kerr.UnknownServerError, fault.OutcomeUnknown, "target.outcome_unknown"},
	}
	for _, tt := range tests {
		t.Run(kmsg.NameForKey(tt.key.Int16())+"/"+tt.err.Message, func(t *testing.T) {
			b := fake(t)
			ctx := b.limit()
			p := b.producer(Config{TransactionalID: "x"})
			b.fake.Fault(kfake.Fault{Keys: []kmsg.Key{tt.key}, Err: tt.err, Count: -1})
			err := p.Produce(ctx, []Batch{one("t", 0, "a"), one("t", 1, "b")})
			if tt.key == keyEnd {
				b.must(err)
				err = p.Commit(ctx)
			}
			if f := fault.Of(err); f.Class != tt.class || f.Code != tt.code {
				t.Errorf("got %v (%s), want %v (%s): %v", f.Class, f.Code, tt.class, tt.code, err)
			}
			if _, yes := p.Open(); !yes {
				t.Error("the transaction is not open after the error")
			}
		})
	}
}

func TestGivesUpInTime(t *testing.T) {
	b := fake(t)
	p := b.producer(Config{TransactionalID: "x", RetryFor: 50 * time.Millisecond})
	b.fake.Fault(kfake.Fault{Keys: []kmsg.Key{keyProduce}, Err: kerr.NotEnoughReplicas, Count: -1})
	err := p.Produce(b.limit(), []Batch{one("t", 0, "a")})
	if f := fault.Of(err); f.Class != fault.Retryable || !f.Endless || f.Code != "target.replicas" {
		t.Errorf("got %+v: %v", f, err)
	}
	err = New(b.cluster(cluster.Config{}), Config{RetryFor: 50 * time.Millisecond}).Produce(b.limit(), nil)
	if !errors.Is(err, errNotReady) {
		t.Errorf("got %v", err)
	}
	q := b.producer(Config{TransactionalID: "y", RetryFor: 50 * time.Millisecond})
	err = q.Produce(b.limit(), []Batch{one("absent", 0, "a")})
	if f := fault.Of(err); f.Code != "target.topic_missing" {
		t.Errorf("a topic that does not exist: got %+v: %v", f, err)
	}
	b.must(q.Init(b.limit()))
	err = q.Produce(b.limit(), []Batch{one("t", 6, "a")})
	if f := fault.Of(err); f.Code != "target.topic_missing" {
		t.Errorf("a partition that does not exist: got %+v: %v", f, err)
	}
}

func TestFencedAtCommit(t *testing.T) {
	b := fake(t)
	ctx := b.limit()
	old := b.producer(Config{TransactionalID: "x"})
	b.must(old.Produce(ctx, []Batch{one("t", 0, "old")}))
	b.producer(Config{TransactionalID: "x"})
	if err := old.Commit(ctx); fault.ClassOf(err) != fault.Fenced {
		t.Errorf("got %v, want fenced", err)
	}
	b.want("t")
}

// TestTooOldIsNotFenced lets the clock pass the transaction's timeout: what the broker says of a transaction it aborted
// for its age is what it says to a producer that was fenced.
func TestTooOldIsNotFenced(t *testing.T) {
	b := fake(t)
	now := time.Now()
	p := b.producer(Config{TransactionalID: "x", TransactionTimeout: time.Minute, Now: func() time.Time { return now }})
	b.must(p.Produce(b.limit(), []Batch{one("t", 0, "a")}))
	now = now.Add(time.Minute)
	b.fake.Fault(kfake.Fault{Keys: []kmsg.Key{keyEnd}, Err: kerr.ProducerFenced})
	err := p.Commit(b.limit())
	if f := fault.Of(err); f.Class != fault.Retryable || f.Code != "target.transaction_timeout" || !errors.Is(err, errTooOld) {
		t.Errorf("got %+v: %v", f, err)
	}
}

// cut is a network whose connections break when told so.
type cut struct {
	broken atomic.Int64 // how many reads are to break
}

func (c *cut) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &cutConn{Conn: conn, cut: c}, nil
}

type cutConn struct {
	net.Conn
	cut *cut
}

// Read reads an answer, and loses it when a break is due: the broker has acted, nobody knows.
func (c *cutConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.cut.broken.Load() > 0 && c.cut.broken.Add(-1) >= 0 {
		c.Conn.Close()
		return 0, errors.New("connection reset")
	}
	return n, err
}

// TestLostAnswers loses the answer to each kind of request once, and checks that records are there once, and that
// the epoch is raised before the next transaction.
func TestLostAnswers(t *testing.T) {
	for _, step := range []string{"init", "produce", "commit", "abort"} {
		t.Run(step, func(t *testing.T) {
			b := fake(t)
			ctx := b.limit()
			network := &cut{}
			p := New(b.cluster(cluster.Config{Dial: network.dial}), Config{TransactionalID: "x"})
			lose := func(now string) {
				if now == step {
					network.broken.Store(1)
				}
			}
			_, err := p.cluster.Topics(ctx, "t")
			b.must(err)
			lose("init")
			b.must(p.Init(ctx))
			b.must(p.Produce(ctx, []Batch{one("t", 0, "a")}))
			first := p.Session()
			lose("produce")
			b.must(p.Produce(ctx, []Batch{one("t", 0, "b"), one("t", 0, "c")}))
			lose("commit")
			b.must(p.Commit(ctx))
			b.must(p.Produce(ctx, []Batch{one("t", 0, "dropped")}))
			lose("abort")
			b.must(p.Init(ctx))
			b.must(p.Produce(ctx, []Batch{one("t", 0, "d")}))
			b.must(p.Commit(ctx))
			b.want("t", "0: a b c d")
			if network.broken.Load() != 0 {
				t.Error("no answer was lost")
			}
			if step != "init" && p.Session() == first {
				t.Errorf("the session is still %+v", first)
			}
		})
	}
}

// TestUnknownOutcome loses every answer to a commit.
func TestUnknownOutcome(t *testing.T) {
	b := fake(t)
	ctx := b.limit()
	network := &cut{}
	p := New(b.cluster(cluster.Config{Dial: network.dial}), Config{TransactionalID: "x", RetryFor: 30 * time.Millisecond})
	b.must(p.Init(ctx))
	b.must(p.Produce(ctx, []Batch{one("t", 0, "a")}))
	network.broken.Store(math.MaxInt32)
	if err := p.Commit(ctx); fault.ClassOf(err) != fault.OutcomeUnknown {
		t.Errorf("got %v, want an unknown outcome", err)
	}
	network.broken.Store(0)
	q := b.producer(Config{TransactionalID: "x"})
	b.must(q.Produce(ctx, []Batch{one("t", 0, "b")}))
	b.must(q.Commit(ctx))
	b.want("t", "0: a b") // the first request had arrived
}

func TestCommitCancelled(t *testing.T) {
	b := fake(t)
	p := b.producer(Config{TransactionalID: "x"})
	b.must(p.Produce(b.limit(), []Batch{one("t", 0, "a")}))
	ctx, cancel := context.WithCancel(b.limit())
	hold := make(chan struct{})
	b.fake.ControlKey(int16(keyEnd), func(kmsg.Request) (kmsg.Response, error, bool) {
		cancel()
		b.fake.SleepControl(func() { <-hold })
		return nil, nil, false
	})
	begun := time.Now()
	err := p.Commit(ctx)
	close(hold)
	if fault.ClassOf(err) != fault.OutcomeUnknown || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want an unknown outcome for the context was cancelled", err)
	}
	if d := time.Since(begun); d > 5*time.Second {
		t.Errorf("it took %v", d)
	}
}

func TestLeadersMove(t *testing.T) {
	b := fake(t)
	ctx := b.limit()
	p := b.producer(Config{TransactionalID: "x"})
	var want []string
	for i := range 30 {
		var batches []Batch
		for number := range int32(6) {
			batches = append(batches, one("t", number, fmt.Sprint(i)), one("t", number, fmt.Sprint(i, "b")))
		}
		b.fake.ShufflePartitionLeaders()
		if i%5 == 0 {
			b.fake.RehashCoordinators()
		}
		b.must(p.Produce(ctx, batches))
		if i%3 == 0 {
			b.must(p.Commit(ctx))
		}
		want = append(want, fmt.Sprint(i), fmt.Sprint(i, "b"))
	}
	b.must(p.Commit(ctx))
	var lines []string
	for number := range 6 {
		lines = append(lines, fmt.Sprintf("%d: %s", number, strings.Join(want, " ")))
	}
	b.want("t", lines...)
}

// TestRepeatsAreIdentical looks at what the broker receives when it refuses a batch: the same bytes again, and nothing
// behind it before it was taken.
func TestRepeatsAreIdentical(t *testing.T) {
	b := fake(t, kfake.NumBrokers(1))
	p := b.producer(Config{TransactionalID: "x"})
	var seen [][]byte
	b.fake.Fault(kfake.Fault{Keys: []kmsg.Key{keyProduce}, Err: kerr.NotEnoughReplicas, Count: 3, When: func(req kmsg.Request) bool {
		seen = append(seen, req.(*kmsg.ProduceRequest).Topics[0].Partitions[0].Records)
		return true
	}})
	b.must(p.Produce(b.limit(), []Batch{one("t", 0, "a"), one("t", 0, "b")}))
	b.must(p.Commit(b.limit()))
	b.want("t", "0: a b")
	if len(seen) != 3 || string(seen[0]) != string(seen[1]) || string(seen[0]) != string(seen[2]) {
		t.Errorf("got %d requests, or other bytes: %x", len(seen), seen)
	}
}

// TestNothingBeforeItsPartitionIsConfirmed keeps AddPartitionsToTxn from being confirmed and looks for batches.
func TestNothingBeforeItsPartitionIsConfirmed(t *testing.T) {
	b := fake(t)
	p := b.producer(Config{TransactionalID: "x"})
	b.must(p.Produce(b.limit(), []Batch{one("t", 0, "a")}))
	b.must(p.Commit(b.limit()))
	var early atomic.Int64
	var refused atomic.Int64
	b.fake.Fault(kfake.Fault{Keys: []kmsg.Key{keyProduce}, Observe: true, When: func(kmsg.Request) bool {
		if refused.Load() < 5 {
			early.Add(1)
		}
		return true
	}})
	b.fake.Fault(kfake.Fault{Keys: []kmsg.Key{keyAdd}, Err: kerr.ConcurrentTransactions, Count: 5, When: func(kmsg.Request) bool {
		refused.Add(1)
		return true
	}})
	b.must(p.Produce(b.limit(), []Batch{one("t", 0, "b"), one("t", 1, "c")}))
	b.must(p.Commit(b.limit()))
	if early.Load() != 0 || refused.Load() != 5 {
		t.Errorf("%d batches were sent before their partition was confirmed, at %d refusals", early.Load(), refused.Load())
	}
	b.want("t", "0: a b", "1: c")
}

// TestPartitionsThatWereNotAttempted refuses one of several partitions: all the others are answered with an error that
// says nothing.
func TestPartitionsThatWereNotAttempted(t *testing.T) {
	for _, tt := range []struct {
		err  *kerr.Error
		want fault.Class
	}{{kerr.UnknownTopicOrPartition, fault.Retryable}, {kerr.TopicAuthorizationFailed, fault.Terminal}} {
		b := fake(t)
		p := b.producer(Config{TransactionalID: "x"})
		b.fake.ControlKey(int16(keyAdd), func(req kmsg.Request) (kmsg.Response, error, bool) {
			res := req.ResponseKind().(*kmsg.AddPartitionsToTxnResponse)
			topic := kmsg.NewAddPartitionsToTxnResponseTopic()
			topic.Topic = "t"
			for number, e := range []*kerr.Error{kerr.OperationNotAttempted, tt.err, kerr.OperationNotAttempted} {
				r := kmsg.NewAddPartitionsToTxnResponseTopicPartition()
				r.Partition, r.ErrorCode = int32(number), e.Code
				topic.Partitions = append(topic.Partitions, r)
			}
			res.Topics = append(res.Topics, topic)
			return res, nil, true
		})
		err := p.Produce(b.limit(), []Batch{one("t", 0, "a"), one("t", 1, "b"), one("t", 2, "c")})
		if fault.ClassOf(err) != tt.want || tt.want == fault.Retryable && err != nil {
			t.Errorf("%s: got %v", tt.err.Message, err)
		}
	}
}

func TestIdleProducersAreRenewed(t *testing.T) {
	b := fake(t)
	now := time.Now()
	p := b.producer(Config{TransactionalID: "x", RenewAfter: time.Hour, Now: func() time.Time { return now }})
	b.must(p.Produce(b.limit(), []Batch{one("t", 0, "a")}))
	b.must(p.Commit(b.limit()))
	first := p.Session()
	now = now.Add(59 * time.Minute)
	b.must(p.Produce(b.limit(), []Batch{one("t", 0, "b")}))
	if p.Session() != first {
		t.Errorf("renewed too soon: %+v after %+v", p.Session(), first)
	}
	now = now.Add(2 * time.Hour)
	b.must(p.Produce(b.limit(), []Batch{one("t", 0, "c")})) // within the transaction nothing is renewed
	b.must(p.Commit(b.limit()))
	now = now.Add(2 * time.Hour)
	b.must(p.Produce(b.limit(), []Batch{one("t", 0, "d")}))
	b.must(p.Commit(b.limit()))
	if p.Session() == first {
		t.Errorf("not renewed: %+v", p.Session())
	}
	b.want("t", "0: a b c d")
}

func TestForgottenProducerBeginsAnew(t *testing.T) {
	b := fake(t)
	p := b.producer(Config{TransactionalID: "x"})
	b.must(p.Produce(b.limit(), []Batch{one("t", 0, "a")}))
	b.must(p.Commit(b.limit()))
	first := p.Session()
	b.fake.Fault(kfake.Fault{Keys: []kmsg.Key{keyAdd}, Err: kerr.InvalidProducerIDMapping})
	b.must(p.Produce(b.limit(), []Batch{one("t", 0, "b")}))
	b.must(p.Commit(b.limit()))
	if p.Session() == first {
		t.Errorf("the session is still %+v", first)
	}
	b.want("t", "0: a b")
	// In the middle of a transaction it is lost.
	b.must(p.Produce(b.limit(), []Batch{one("t", 0, "c")}))
	b.fake.Fault(kfake.Fault{Keys: []kmsg.Key{keyAdd}, Err: kerr.InvalidProducerIDMapping})
	err := p.Produce(b.limit(), []Batch{one("t", 1, "d")})
	if f := fault.Of(err); f.Code != "target.transaction_lost" {
		t.Errorf("got %+v: %v", f, err)
	}
}

func TestManyBatchesInSmallRequests(t *testing.T) {
	b := fake(t)
	p := b.producer(Config{TransactionalID: "x", RequestBytes: 300})
	var batches []Batch
	var want []string
	for i := range 40 {
		for number := range int32(6) {
			batches = append(batches, one("t", number, fmt.Sprint(i)))
		}
		want = append(want, fmt.Sprint(i))
	}
	b.must(p.Produce(b.limit(), batches))
	b.must(p.Commit(b.limit()))
	var lines []string
	for number := range 6 {
		lines = append(lines, fmt.Sprintf("%d: %s", number, strings.Join(want, " ")))
	}
	b.want("t", lines...)
}

func TestSequencesWrap(t *testing.T) {
	tests := []struct {
		sequence int32
		n        int
		want     int32
	}{
		{0, 1, 1}, {5, 10, 15}, {math.MaxInt32, 1, 0}, {math.MaxInt32 - 2, 5, 2}, {math.MaxInt32, math.MaxInt32, math.MaxInt32 - 1},
	}
	for _, tt := range tests {
		if got := next(tt.sequence, tt.n); got != tt.want {
			t.Errorf("%d on from %d: got %d, want %d", tt.n, tt.sequence, got, tt.want)
		}
	}
}

func TestReactions(t *testing.T) {
	if got := cluster.React(kafka.Error(9999)); got != cluster.Fail {
		t.Errorf("an unknown code: got %v", got)
	}
}
