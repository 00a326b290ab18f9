package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/produce"
	"github.com/segmentio/kafka-go/protocol/rawproduce"
)

// inFlight is how many produce requests are sent before the first is answered. A request has one batch of each partition,
// and brokers can tell a repetition of a producer's last five batches of a partition, no older one.
const inFlight = 5

// pipeline sends the requests that next gives, and hands over their answers in the same order. Requests are sent while
// fewer than inFlight are unanswered. It returns when next has none to give and nothing is unanswered; next is asked again
// after each answer. After an error the answers not handed over are lost, and the connection with them.
func (ch *channel) pipeline(ctx context.Context, next func() (*rawproduce.Request, error), answered func(*produce.Response)) error {
	if err := ch.takeTurn(ctx); err != nil {
		return err
	}
	defer ch.endTurn()
	first, waiting := int32(0), int32(0) // number of the oldest request that waits for an answer, and how many do
	for {
		for waiting < inFlight && (waiting == 0 || ch.mayGoOn()) {
			if waiting == 0 {
				if err := ch.ready(ctx); err != nil {
					return err
				}
			}
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
			if err := ch.write(ctx, first+waiting, req); err != nil {
				return err
			}
			waiting++
		}
		if waiting == 0 {
			return nil
		}
		res, err := ch.read(ctx, first)
		if err != nil {
			return err
		}
		first, waiting = first+1, waiting-1
		ch.heed(res)
		answered(res)
	}
}

// write sends a request of a pipeline.
func (ch *channel) write(ctx context.Context, number int32, req *rawproduce.Request) error {
	if err := ch.link.supports(protocol.Produce, ch.address); err != nil {
		return err
	}
	return ch.bounded(ctx, protocol.Produce, func() error {
		return protocol.WriteRequest(ch.link.conn, ch.link.chosen[protocol.Produce], number, ch.cfg.ClientID, req)
	})
}

// read awaits the answer to a request of a pipeline.
func (ch *channel) read(ctx context.Context, number int32) (*produce.Response, error) {
	var res *produce.Response
	err := ch.bounded(ctx, protocol.Produce, func() error {
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
func (ch *channel) mayGoOn() bool { return !ch.expired() && time.Until(ch.quiet) <= 0 }
