package producer

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/rowferry/rowferry/sinks/kafka/cluster"
)

// valve is a network that keeps answers to produce requests back until as many requests were sent as were asked for, and
// counts what is sent before the first answer.
type valve struct {
	mu      sync.Mutex
	sent    int
	wanted  int
	reached chan struct{} // closed when as many were sent; nil: nothing is kept back
	passed  bool          // an answer has
	breaks  bool          // the first answer breaks the connection instead
}

func (v *valve) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &valveConn{Conn: conn, valve: v}, nil
}

// await has answers kept back until n requests were sent.
func (v *valve) await(n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.sent, v.wanted, v.reached, v.passed = 0, n, make(chan struct{}), false
}

func (v *valve) request() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.passed || v.reached == nil {
		return
	}
	v.sent++
	if v.sent == v.wanted {
		close(v.reached)
	}
}

// answer waits until an answer may pass, and tells whether it breaks the connection.
func (v *valve) answer() (breaks bool) {
	v.mu.Lock()
	reached, passed := v.reached, v.passed
	v.mu.Unlock()
	if reached == nil || passed {
		return false
	}
	select {
	case <-reached:
	case <-time.After(10 * time.Second): // it never comes to as many: the test says how many it came to
	}
	_ = cluster.Pause(context.Background(), 20*time.Millisecond) // who would send more than that, sends it now
	v.mu.Lock()
	defer v.mu.Unlock()
	v.passed = true
	return v.breaks
}

type valveConn struct {
	net.Conn
	valve    *valve
	produces bool
}

// Write is called once for each small request, and a connection of records carries nothing else.
func (c *valveConn) Write(p []byte) (int, error) {
	c.produces = binary.BigEndian.Uint16(p[4:]) == uint16(keyProduce)
	if c.produces {
		c.valve.request()
	}
	return c.Conn.Write(p)
}

func (c *valveConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.produces && c.valve.answer() {
		c.Close()
		return 0, net.ErrClosed
	}
	return n, err
}

// TestRequestsUnderWay counts them: one until a partition's leader knows the session, five from then on.
func TestRequestsUnderWay(t *testing.T) {
	b := fake(t, kfake.NumBrokers(1))
	ctx := b.limit()
	network := &valve{}
	p := New(b.cluster(cluster.Config{Dial: network.dial, RequestTimeout: 5 * time.Second}), Config{TransactionalID: "x", RetryFor: time.Millisecond})
	b.must(p.Init(ctx))
	var want []string
	batches := func(n int) (out []Batch) {
		for range n {
			value := fmt.Sprint(len(want))
			out, want = append(out, one("t", 0, value)), append(want, value)
		}
		return out
	}
	for _, tt := range []struct {
		batches, sent int // before the first answer
	}{
		{batches: 1, sent: 1},
		{batches: 3, sent: 3},
		{batches: 5, sent: 5},
		{batches: 12, sent: 5},
	} {
		network.await(tt.sent)
		b.must(p.Produce(ctx, batches(tt.batches)))
		if network.sent != tt.sent {
			t.Errorf("%d batches: %d requests were sent before the first answer, want %d", tt.batches, network.sent, tt.sent)
		}
	}
	b.must(p.Init(ctx))
	b.must(p.Init(ctx))
	want = nil
	network.await(1)
	b.must(p.Produce(ctx, batches(3)))
	if network.sent != 1 {
		t.Errorf("of a new session: %d requests were sent before the first answer, want 1", network.sent)
	}
	b.must(p.Commit(ctx))
	b.want("t", "0: "+strings.Join(want, " "))
}

// TestTheFirstOfASessionIsAlone refuses it once. A leader without a batch of the session might take the second in its place.
func TestTheFirstOfASessionIsAlone(t *testing.T) {
	b := fake(t, kfake.NumBrokers(1))
	p := b.producer(Config{TransactionalID: "x"})
	var seen []string
	b.fake.ControlKey(int16(keyProduce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		b.fake.KeepControl()
		seen = append(seen, string(req.(*kmsg.ProduceRequest).Topics[0].Partitions[0].Records))
		return nil, nil, false
	})
	b.fake.Fault(kfake.Fault{Keys: []kmsg.Key{keyProduce}, Err: kerr.NotEnoughReplicas, Count: 1})
	b.must(p.Produce(b.limit(), []Batch{one("t", 0, "a"), one("t", 0, "b"), one("t", 0, "c")}))
	b.must(p.Commit(b.limit()))
	b.want("t", "0: a b c")
	if len(seen) < 2 || seen[0] != seen[1] {
		t.Errorf("something else than the first was sent before it was taken: %q", seen)
	}
}

// TestTroubleAmongRequestsUnderWay has trouble with each of several batches of one partition in turn, of which the broker
// appends some all the same. What was under way behind it is sent again, in order; the other partition is not concerned.
func TestTroubleAmongRequestsUnderWay(t *testing.T) {
	const batches = 9
	for _, trouble := range []*kerr.Error{kerr.NotEnoughReplicas, kerr.NotEnoughReplicasAfterAppend, kerr.RequestTimedOut, kerr.NotLeaderForPartition} {
		for where := range batches {
			t.Run(fmt.Sprint(trouble.Message, " ", where), func(t *testing.T) {
				b := fake(t, kfake.NumBrokers(1))
				p := b.producer(Config{TransactionalID: "x"})
				b.must(p.Produce(b.limit(), []Batch{one("t", 0, "first"), one("t", 1, "first")}))
				var all []Batch
				want := []string{"first"}
				for i := range batches {
					value := fmt.Sprintf("value-%d", i)
					all, want = append(all, one("t", 0, value), one("t", 1, value)), append(want, value)
				}
				troubles := b.fake.Fault(kfake.Fault{
					Keys: []kmsg.Key{keyProduce}, Partitions: []int32{0}, Err: trouble, Count: 2,
					When: func(req kmsg.Request) bool { return carries(req, 0, fmt.Sprintf("value-%d", where)) },
				})
				b.must(p.Produce(b.limit(), all))
				b.must(p.Commit(b.limit()))
				b.want("t", "0: "+strings.Join(want, " "), "1: "+strings.Join(want, " "))
				if troubles.Hits() != 2 {
					t.Errorf("there was trouble %d times, want 2", troubles.Hits())
				}
			})
		}
	}
}

// TestWhatWasRefusedIsAlone refuses a batch twice. What is behind it is under way the first time, but not the second: should
// the leader have changed and know nothing of the session, it would take that first.
func TestWhatWasRefusedIsAlone(t *testing.T) {
	b := fake(t, kfake.NumBrokers(1))
	p := b.producer(Config{TransactionalID: "x"})
	b.must(p.Produce(b.limit(), []Batch{one("t", 0, "first")}))
	behind := b.fake.Fault(kfake.Fault{Keys: []kmsg.Key{keyProduce}, Observe: true, Count: -1, When: func(req kmsg.Request) bool {
		return carries(req, 0, "behind")
	}})
	b.fake.Fault(kfake.Fault{Keys: []kmsg.Key{keyProduce}, Err: kerr.NotLeaderForPartition, Count: 2, When: func(req kmsg.Request) bool {
		return carries(req, 0, "refused")
	}})
	b.must(p.Produce(b.limit(), []Batch{one("t", 0, "refused"), one("t", 0, "behind")}))
	b.must(p.Commit(b.limit()))
	b.want("t", "0: first refused behind")
	if behind.Hits() != 2 {
		t.Errorf("what was behind was sent %d times, want 2", behind.Hits())
	}
}

// carries tells whether a request has a batch of a partition with a value in it.
func carries(req kmsg.Request, number int32, value string) bool {
	for _, topic := range req.(*kmsg.ProduceRequest).Topics {
		for _, p := range topic.Partitions {
			if p.Partition == number && strings.Contains(string(p.Records), value) {
				return true
			}
		}
	}
	return false
}

// TestAnswersLostUnderWay breaks the connection when all requests are under way and the answer to the first arrives. What
// the broker had appended of them is there once, and the epoch is raised before the next transaction.
func TestAnswersLostUnderWay(t *testing.T) {
	b := fake(t, kfake.NumBrokers(1))
	ctx := b.limit()
	network := &valve{}
	p := New(b.cluster(cluster.Config{Dial: network.dial}), Config{TransactionalID: "x"})
	b.must(p.Init(ctx))
	b.must(p.Produce(ctx, []Batch{one("t", 0, "0")}))
	first := p.Session()
	network.await(5)
	network.breaks = true
	b.must(p.Produce(ctx, []Batch{one("t", 0, "1"), one("t", 0, "2"), one("t", 0, "3"), one("t", 0, "4"), one("t", 0, "5"), one("t", 0, "6")}))
	b.must(p.Commit(ctx))
	b.must(p.Produce(ctx, []Batch{one("t", 0, "7")}))
	b.must(p.Commit(ctx))
	b.want("t", "0: 0 1 2 3 4 5 6 7")
	if network.sent != 5 || p.Session() == first {
		t.Errorf("%d requests were under way, the session is %+v", network.sent, p.Session())
	}
}

// TestKnownForALimitedTime sends the first batch of a partition alone that had none for a long time: its leader may have
// forgotten the session, while other partitions kept the producer busy.
func TestKnownForALimitedTime(t *testing.T) {
	b := fake(t, kfake.NumBrokers(1))
	ctx := b.limit()
	now := time.Now()
	network := &valve{}
	p := New(b.cluster(cluster.Config{Dial: network.dial}), Config{TransactionalID: "x", Now: func() time.Time { return now }})
	b.must(p.Init(ctx))
	b.must(p.Produce(ctx, []Batch{one("t", 0, "0"), one("t", 1, "0")}))
	for range 3 {
		now = now.Add(30 * time.Minute)
		b.must(p.Produce(ctx, []Batch{one("t", 1, "busy")}))
	}
	network.await(1)
	b.must(p.Produce(ctx, []Batch{one("t", 0, "1"), one("t", 0, "2")}))
	if network.sent != 1 {
		t.Errorf("%d requests were sent before the first answer, want 1", network.sent)
	}
}
