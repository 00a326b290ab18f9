package producer

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/produce"
	"github.com/segmentio/kafka-go/protocol/rawproduce"

	"github.com/rowferry/rowferry/schema/failpoint"
	"github.com/rowferry/rowferry/sinks/kafka/cluster"
)

// queue holds the batches of one partition that are not acknowledged, in order. It belongs to one goroutine at a time.
type queue struct {
	partition
	left   []batchBytes
	sent   int   // how many of left are under way: the first ones
	known  bool  // the leader has a batch of this session, and refuses one whose predecessor it does not have
	err    error // why the first of left was not acknowledged the last time
	taken  bool  // a batch was acknowledged
	silent bool  // something that was sent got no answer
}

type batchBytes []byte

// send appends stamped batches. It goes in rounds: each leader is sent to by a goroutine of its own, until everything
// it leads is acknowledged or in trouble; then who leads what is asked again, after a pause, for what is left.
func (p *Producer) send(ctx context.Context, batches []Batch) error {
	queues := p.queuesOf(batches)
	if err := p.lookUp(ctx, queues); err != nil {
		return err
	}
	progress := p.cfg.Now()
	for repeated, pause := false, shortestPause; ; repeated, pause = true, min(2*pause, longestPause) {
		before := count(queues)
		p.round(ctx, queues)
		left := queues[:0]
		var trouble error
		for _, q := range queues {
			p.linger = p.linger || q.silent
			if q.taken {
				p.state.known[q.partition], q.taken = p.cfg.Now(), false
			}
			if len(q.left) == 0 {
				continue
			}
			left = append(left, q)
			if trouble == nil || !passes(q.err) {
				trouble = fmt.Errorf("appending to %v: %w", q.partition, q.err)
			}
		}
		queues = left
		if len(queues) == 0 {
			return nil
		}
		if !passes(trouble) || ctx.Err() != nil {
			return trouble
		}
		if count(queues) < before {
			progress, pause = p.cfg.Now(), shortestPause
		}
		if repeated && p.cfg.Now().Sub(progress) >= p.cfg.RetryFor { // one round alone may take that long
			return fmt.Errorf("after %v of trying: %w", p.cfg.RetryFor, trouble)
		}
		if err := cluster.Pause(ctx, pause); err != nil {
			return err
		}
		if anyMoves(queues) {
			if err := p.cluster.Refresh(ctx); err != nil && !passes(err) {
				return err
			}
		}
	}
}

// lookUp makes sure that the leaders of what is to be sent are known.
func (p *Producer) lookUp(ctx context.Context, queues []*queue) error {
	topics := map[string]bool{}
	var names []string
	for _, q := range queues {
		if !topics[q.topic] {
			topics[q.topic] = true
			names = append(names, q.topic)
		}
	}
	return p.persist(ctx, func() error {
		_, err := p.cluster.Topics(ctx, names...)
		return err
	})
}

// round sends what every leader leads, leaders side by side.
func (p *Producer) round(ctx context.Context, queues []*queue) {
	byLeader := map[int32][]*queue{}
	for _, q := range queues {
		q.known = q.known && q.err == nil // a batch that was refused is alone until it is taken
		q.err, q.sent = nil, 0
		leader := p.cluster.Leader(q.topic, q.number)
		if leader == cluster.NoLeader {
			q.err = p.whyNoLeader(ctx, q.partition)
			continue
		}
		byLeader[leader] = append(byLeader[leader], q)
	}
	var wg sync.WaitGroup
	for leader, led := range byLeader {
		if len(byLeader) == 1 {
			p.drain(ctx, leader, led)
			break
		}
		wg.Go(func() { p.drain(ctx, leader, led) })
	}
	wg.Wait()
}

// whyNoLeader tells a partition that is between leaders from one that does not exist.
func (p *Producer) whyNoLeader(ctx context.Context, which partition) error {
	topics, err := p.cluster.Topics(ctx, which.topic)
	switch {
	case err != nil:
		return err
	case topics[0].Error != nil:
		return topics[0].Error
	case int(which.number) >= len(topics[0].Leaders):
		return fmt.Errorf("the topic has %d partitions: %w", len(topics[0].Leaders), kafka.UnknownTopicOrPartition)
	}
	return kafka.LeaderNotAvailable
}

// drain sends to one leader until its queues are empty or in trouble, which is noted in them. Each request carries the
// next batch of each queue, as many as fit, and several requests are under way. From a queue in trouble nothing more is
// sent; what of it is under way behind the trouble is refused, or it is sent again and the broker knows it.
func (p *Producer) drain(ctx context.Context, leader int32, queues []*queue) {
	var flying [][]*queue // what the requests without an answer carry a batch of, oldest first
	next := func() (*rawproduce.Request, error) {
		now := p.pick(queues)
		if len(now) == 0 {
			return nil, nil
		}
		if err := failpoint.Hit(ctx, "kafka.mid"); err != nil {
			return nil, err
		}
		req := p.produceRequest(now)
		for _, q := range now {
			q.sent++
		}
		flying = append(flying, now)
		return req, nil
	}
	err := p.cluster.Produce(ctx, leader, next, func(res *produce.Response) {
		settle(flying[0], res)
		flying = flying[1:]
	})
	if err == nil {
		return
	}
	for _, now := range flying {
		for _, q := range now {
			q.silent = true
		}
	}
	for _, q := range queues {
		if q.err == nil && len(q.left) > 0 {
			q.err = err
		}
	}
}

// pick are the queues whose next batch goes into the next request. A leader that has no batch of this session takes
// whichever comes first for the first, so that one is alone.
func (p *Producer) pick(queues []*queue) []*queue {
	var now []*queue
	bytes := 0
	for _, q := range queues {
		if q.err != nil || q.sent == len(q.left) || q.sent > 0 && !q.known {
			continue
		}
		if n := len(q.left[q.sent]); len(now) == 0 || bytes+n <= p.cfg.RequestBytes {
			now = append(now, q)
			bytes += n
		}
	}
	return now
}

// produceRequest asks to append the next batch of each queue.
func (p *Producer) produceRequest(queues []*queue) *rawproduce.Request {
	req := &rawproduce.Request{
		TransactionalID: p.cfg.TransactionalID, Acks: -1,
		Timeout: int32((p.cluster.RequestTimeout() * 2 / 3) / time.Millisecond), // before we give up on it
	}
	at := map[string]int{}
	for _, q := range queues {
		i, ok := at[q.topic]
		if !ok {
			i = len(req.Topics)
			at[q.topic] = i
			req.Topics = append(req.Topics, rawproduce.RequestTopic{Topic: q.topic})
		}
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, rawproduce.RequestPartition{
			Partition: q.number, RecordSet: protocol.RawRecordSet{Reader: bytes.NewReader(q.left[q.sent])},
		})
	}
	return req
}

// settle takes an answer over: what was appended leaves its queue, what was not is noted there.
func settle(queues []*queue, res *produce.Response) {
	for _, q := range queues {
		if q.err != nil {
			continue // an answer about what came behind the trouble says nothing of its own
		}
		q.err = fmt.Errorf("the answer leaves the partition out: %w", kafka.Unknown)
		for i := range res.Topics {
			if res.Topics[i].Topic != q.topic {
				continue
			}
			for j := range res.Topics[i].Partitions {
				if r := &res.Topics[i].Partitions[j]; r.Partition == q.number {
					q.settle(r)
				}
			}
		}
	}
}

// settle takes the answer about the first batch over. The broker's own words are not passed on: they may quote a
// record.
func (q *queue) settle(r *produce.ResponsePartition) {
	q.err = asError(r.ErrorCode)
	if q.err == nil {
		q.left, q.sent, q.known, q.taken = q.left[1:], q.sent-1, true, true
	}
}

// queuesOf sorts batches by partition and keeps their order.
func (p *Producer) queuesOf(batches []Batch) []*queue {
	var queues []*queue
	at := map[partition]*queue{}
	for i := range batches {
		which := batches[i].partition()
		q := at[which]
		if q == nil {
			q = &queue{partition: which, known: p.cfg.Now().Sub(p.state.known[which]) < p.cfg.RenewAfter}
			at[which] = q
			queues = append(queues, q)
		}
		q.left = append(q.left, batchBytes(batches[i].Batch))
	}
	return queues
}

// count is the number of batches not acknowledged.
func count(queues []*queue) int {
	n := 0
	for _, q := range queues {
		n += len(q.left)
	}
	return n
}

func anyMoves(queues []*queue) bool {
	for _, q := range queues {
		if moves(q.err) {
			return true
		}
	}
	return false
}
