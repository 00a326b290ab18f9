package cluster

import (
	"context"
	"fmt"
	"net"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"
	"github.com/segmentio/kafka-go/protocol/findcoordinator"
	"github.com/segmentio/kafka-go/protocol/listoffsets"
	"github.com/segmentio/kafka-go/protocol/metadata"
	"github.com/segmentio/kafka-go/protocol/produce"
	"github.com/segmentio/kafka-go/protocol/rawproduce"
)

var _ kafka.RoundTripper = (*Cluster)(nil)

// RoundTrip sends a request to the broker it belongs to and is what kafka.Client calls. The address is ignored: a
// Cluster is one cluster. Requests that go to several brokers go one after the other.
func (c *Cluster) RoundTrip(ctx context.Context, _ net.Addr, req kafka.Request) (kafka.Response, error) {
	layout, err := c.known(ctx, topicsOf(req))
	if err != nil {
		return nil, err
	}
	splitter, ok := req.(protocol.Splitter)
	if !ok {
		return c.route(ctx, layout, req)
	}
	parts, merger, err := splitter.Split(layout)
	if err != nil {
		return nil, err
	}
	results := make([]any, len(parts))
	for i, part := range parts {
		res, err := c.route(ctx, layout, part)
		results[i] = res
		if err != nil {
			results[i] = err
		}
	}
	return merger.Merge(parts, results)
}

// route sends one request to one broker.
func (c *Cluster) route(ctx context.Context, layout protocol.Cluster, req protocol.Message) (protocol.Message, error) {
	switch r := req.(type) {
	case protocol.BrokerMessage:
		b, err := r.Broker(layout)
		if err != nil {
			return nil, err
		}
		if b.Host != "" {
			return c.send(ctx, addressOf(b), control, req)
		}
	case protocol.GroupMessage:
		return c.Coordinate(ctx, r.Group(), kafka.CoordinatorKeyTypeConsumer, req)
	case protocol.TransactionalMessage:
		if r.Transaction() != "" {
			return c.Coordinate(ctx, r.Transaction(), kafka.CoordinatorKeyTypeTransaction, req)
		}
	}
	return c.any(ctx, req)
}

// any sends a request that every broker can answer.
func (c *Cluster) any(ctx context.Context, req protocol.Message) (protocol.Message, error) {
	if _, err := c.known(ctx, nil); err != nil {
		return nil, err
	}
	var all []error
	c.mu.Lock()
	addresses := c.addresses()
	c.mu.Unlock()
	for _, address := range addresses {
		res, err := c.send(ctx, address, control, req)
		if err == nil || ctx.Err() != nil {
			return res, err
		}
		all = append(all, err)
	}
	return nil, worst(all)
}

// Coordinate sends a request to the broker that coordinates a group or a transactional id. Where that is changes: an
// answer with NotCoordinatorForGroup or GroupCoordinatorNotAvailable, or none, asks for ForgetCoordinator.
func (c *Cluster) Coordinate(ctx context.Context, key string, kind kafka.CoordinatorKeyType, req protocol.Message,
) (protocol.Message, error) {
	id, err := c.coordinator(ctx, coordinator{key: key, kind: kind})
	if err != nil {
		return nil, err
	}
	return c.to(ctx, id, control, req)
}

// ForgetCoordinator lets the next request look for the coordinator again.
func (c *Cluster) ForgetCoordinator(key string, kind kafka.CoordinatorKeyType) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.coordinators, coordinator{key: key, kind: kind})
}

// coordinator finds who coordinates.
func (c *Cluster) coordinator(ctx context.Context, who coordinator) (int32, error) {
	c.mu.Lock()
	id, known := c.coordinators[who]
	c.mu.Unlock()
	if known {
		return id, nil
	}
	msg, err := c.any(ctx, &findcoordinator.Request{Key: who.key, KeyType: int8(who.kind)})
	if err != nil {
		return 0, fmt.Errorf("looking for the coordinator: %w", err)
	}
	res := msg.(*findcoordinator.Response)
	if res.ErrorCode != 0 {
		return 0, fmt.Errorf("looking for the coordinator: %w", kafka.Error(res.ErrorCode))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.coordinators[who] = res.NodeID
	return res.NodeID, nil
}

// Produce sends record batches to the leader of their partitions: the requests that next gives, each once, in order and
// behind earlier ones to the same broker. Up to five are sent before the first is answered; answered is told the answers in
// the order of the requests. It returns when next gives no request and every one is answered; next is asked again after
// each answer. After an error it is unknown what became of the requests whose answers were not told. Both functions run
// in the caller's goroutine.
func (c *Cluster) Produce(ctx context.Context, leader int32, next func() (*rawproduce.Request, error), answered func(*produce.Response)) error {
	ch, err := c.toBroker(leader, records)
	if err != nil {
		return err
	}
	return ch.pipeline(ctx, next, func(res *produce.Response) {
		c.heed(res)
		answered(res)
	})
}

// Ask sends a request to a broker by its number, in one piece.
func (c *Cluster) Ask(ctx context.Context, broker int32, req protocol.Message) (protocol.Message, error) {
	return c.to(ctx, broker, control, req)
}

// to sends a request to a broker by its number.
func (c *Cluster) to(ctx context.Context, id int32, l lane, req protocol.Message) (protocol.Message, error) {
	ch, err := c.toBroker(id, l)
	if err != nil {
		return nil, err
	}
	return c.sendOn(ctx, ch, req)
}

// toBroker returns the connection of a kind to a broker by its number, connected or not.
func (c *Cluster) toBroker(id int32, l lane) (*channel, error) {
	c.mu.Lock()
	b, ok := c.layout.Brokers[id]
	c.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("broker %d: %w", id, kafka.BrokerNotAvailable)
	}
	return c.channel(addressOf(b), l)
}

// topicsOf names the topics a request's route depends on.
func topicsOf(req kafka.Request) []string {
	var names []string
	switch r := req.(type) {
	case *fetch.Request:
		for i := range r.Topics {
			names = append(names, r.Topics[i].Topic)
		}
	case *listoffsets.Request:
		for i := range r.Topics {
			names = append(names, r.Topics[i].Topic)
		}
	case *metadata.Request: // an answer of its own
	}
	return names
}
