package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/produce"
	"github.com/segmentio/kafka-go/protocol/rawproduce"
)

const (
	// inFlight is how many produce requests are sent before the first is answered. A request has one batch of each partition,
	// and brokers can tell a repetition of a producer's last five batches of a partition, no older one.
	inFlight = 5
	// oneByOne is for how long after a broker asked for silence requests are sent one after the other. A broker that keeps
	// silence does not read either, and what is sent meanwhile waits with its time limit running.
	oneByOne = time.Minute
	// lateAnswers is how long answers are read on when a request could not be sent. They are there already, or not at all.
	lateAnswers = 100 * time.Millisecond
)

// pipeline sends the requests that next gives, and hands over their answers in the same order. Requests are sent while
// fewer than inFlight are unanswered. It returns when next has none to give and nothing is unanswered; next is asked again
// after each answer. After an error the answers not handed over are lost, and the connection with them.
func (ch *channel) pipeline(ctx context.Context, next func() (*rawproduce.Request, error), answered func(*produce.Response)) error {
	if err := ch.takeTurn(ctx); err != nil {
		return err
	}
	defer ch.endTurn()
	waiting := int32(0) // requests without an answer
	take := func(limit time.Duration) error {
		res, err := ch.read(ctx, ch.link.sent-waiting, limit)
		if err != nil {
			return err
		}
		waiting--
		ch.heed(res)
		answered(res)
		return nil
	}
	for {
		for waiting == 0 || waiting < inFlight && ch.mayGoOn() {
			req, err := next()
			if err != nil && waiting > 0 {
				ch.drop()
			}
			if err != nil {
				return err
			}
			if req == nil {
				break
			}
			if waiting == 0 {
				if err := ch.ready(ctx); err != nil {
					return err
				}
			}
			if err := ch.write(ctx, req); err != nil {
				for errors.Is(err, os.ErrDeadlineExceeded) && waiting > 0 && take(lateAnswers) == nil {
				}
				ch.drop()
				return ch.broken(ctx, "sending a request", err)
			}
			waiting++
		}
		if waiting == 0 {
			return nil
		}
		if err := take(max(0, time.Until(ch.quiet)) + ch.cfg.RequestTimeout); err != nil {
			ch.drop()
			return ch.broken(ctx, "awaiting the answer to a request", err)
		}
	}
}

// write sends a request of a pipeline.
func (ch *channel) write(ctx context.Context, req *rawproduce.Request) error {
	if err := ch.link.supports(protocol.Produce, ch.address); err != nil {
		return err
	}
	return ch.link.bounded(ctx, ch.cfg.RequestTimeout, func() error {
		number := ch.link.sent
		ch.link.sent++
		return protocol.WriteRequest(ch.link.conn, ch.link.chosen[protocol.Produce], number, ch.cfg.ClientID, req)
	})
}

// read awaits the answer to a request of a pipeline.
func (ch *channel) read(ctx context.Context, number int32, limit time.Duration) (*produce.Response, error) {
	var res *produce.Response
	err := ch.link.bounded(ctx, limit, func() error {
		id, msg, err := protocol.ReadResponse(ch.link.conn, protocol.Produce, ch.link.chosen[protocol.Produce])
		if err != nil {
			return err
		}
		if id != number {
			return fmt.Errorf("the answer is to request %d, not to %d", id, number)
		}
		res = msg.(*produce.Response)
		return nil
	})
	return res, err
}

// mayGoOn tells whether another request may be sent before those under way are answered.
func (ch *channel) mayGoOn() bool { return !ch.expired() && time.Since(ch.quiet) > oneByOne }
