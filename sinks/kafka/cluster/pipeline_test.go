package cluster

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/produce"
	"github.com/segmentio/kafka-go/protocol/rawproduce"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/rowferry/rowferry/sinks/kafka/batch"
)

// appendings are n requests to append one record each to t/0, as a source for Produce, and what is known of them.
func appendings(n int) (next func() (*rawproduce.Request, error), answered func(*produce.Response), most *int) {
	given, unanswered := 0, 0
	most = new(int)
	next = func() (*rawproduce.Request, error) {
		if given == n {
			return nil, nil
		}
		given++
		unanswered++
		*most = max(*most, unanswered)
		var b batch.Builder
		b.Append(&batch.Record{Value: []byte("v")})
		return &rawproduce.Request{Acks: -1, Timeout: 1000, Topics: []rawproduce.RequestTopic{{
			Topic: "t", Partitions: []rawproduce.RequestPartition{{RecordSet: protocol.RawRecordSet{Reader: bytes.NewReader(b.AppendTo(nil, nil))}}},
		}}}, nil
	}
	return next, func(*produce.Response) { unanswered-- }, most
}

// throttled has a broker answer produce requests with a wish for silence.
func throttled(k *kfake.Cluster, pause time.Duration) {
	k.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		k.KeepControl()
		res := req.ResponseKind().(*kmsg.ProduceResponse)
		res.ThrottleMillis = int32(pause.Milliseconds())
		return res, nil, true
	})
}

// TestProduceKeepsFiveUnderWay counts the requests without an answer, over a way that takes longer than the broker does.
func TestProduceKeepsFiveUnderWay(t *testing.T) {
	_, c, ctx := fake(t, Config{}, kfake.NumBrokers(1))
	if _, err := c.Topics(ctx, "t"); err != nil {
		t.Fatal(err)
	}
	for range 2 { // on the same connection
		next, answered, most := appendings(50)
		if err := c.Produce(ctx, c.Leader("t", 0), next, answered); err != nil || *most != 5 {
			t.Errorf("got %d under way, want 5; %v", *most, err)
		}
	}
}

// TestProduceIsSilentWhenAsked has a quota: nothing is sent until it may, several are no longer sent at once, and nobody waits
// when nothing is left to send.
func TestProduceIsSilentWhenAsked(t *testing.T) {
	const pause = 200 * time.Millisecond
	k, c, ctx := fake(t, Config{}, kfake.NumBrokers(1))
	if _, err := c.Topics(ctx, "t"); err != nil {
		t.Fatal(err)
	}
	throttled(k, time.Hour)
	next, answered, _ := appendings(1)
	short, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := c.Produce(short, c.Leader("t", 0), next, answered); err != nil {
		t.Fatalf("the last request's answer asks for silence: %v", err)
	}
	k, c, ctx = fake(t, Config{}, kfake.NumBrokers(1))
	if _, err := c.Topics(ctx, "t"); err != nil {
		t.Fatal(err)
	}
	throttled(k, pause)
	next, answered, _ = appendings(1)
	if err := c.Produce(ctx, c.Leader("t", 0), next, answered); err != nil {
		t.Fatal(err)
	}
	next, answered, most := appendings(2)
	begun := time.Now()
	if err := c.Produce(ctx, c.Leader("t", 0), next, answered); err != nil || *most != 1 {
		t.Errorf("got %d under way, want 1; %v", *most, err)
	}
	if d := time.Since(begun); d < 2*pause*9/10 {
		t.Errorf("two requests were sent within %v, want %v", d, 2*pause)
	}
}
