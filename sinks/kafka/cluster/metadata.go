package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/metadata"
)

// Topic is what is known of a topic.
type Topic struct {
	Name    string
	Error   error   // kafka.UnknownTopicOrPartition, kafka.TopicAuthorizationFailed, …
	Leaders []int32 // by partition; -1 where there is none at present
}

// NoLeader stands for a partition without a leader.
const NoLeader = -1

// Topics looks topics up, asking the cluster for those not asked for before or whose last answer was an error. They
// are followed from now on. None is ever created by this.
func (c *Cluster) Topics(ctx context.Context, names ...string) ([]Topic, error) {
	c.mu.Lock()
	old, missing := time.Since(c.asked) > c.cfg.MetadataAge, c.asked.IsZero()
	for _, name := range names {
		t, known := c.layout.Topics[name]
		missing = missing || !known || t.Error != 0
		c.wanted[name] = true
	}
	c.mu.Unlock()
	if old || missing {
		if err := c.Refresh(ctx); err != nil && (missing || ctx.Err() != nil) {
			return nil, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	topics := make([]Topic, len(names))
	for i, name := range names {
		topics[i] = c.topic(name)
	}
	return topics, nil
}

// Forget ends following topics, as after they were deleted.
func (c *Cluster) Forget(names ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.layout.Topics = maps.Clone(c.layout.Topics) // requests under way read the old one
	for _, name := range names {
		delete(c.wanted, name)
		delete(c.layout.Topics, name)
	}
}

// Leader is the broker that leads a partition as far as is known, or NoLeader.
func (c *Cluster) Leader(topic string, partition int32) int32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.layout.Topics[topic].Partitions[partition]
	if !ok {
		return NoLeader
	}
	return p.Leader
}

// topic describes one topic of the layout. mu is held.
func (c *Cluster) topic(name string) Topic {
	t, known := c.layout.Topics[name]
	if !known {
		return Topic{Name: name, Error: kafka.UnknownTopicOrPartition}
	}
	out := Topic{Name: name, Leaders: make([]int32, len(t.Partitions))}
	if t.Error != 0 {
		out.Error = kafka.Error(t.Error)
	}
	for i := range out.Leaders {
		out.Leaders[i] = NoLeader
		if p, ok := t.Partitions[int32(i)]; ok {
			out.Leaders[i] = p.Leader
		}
	}
	return out
}

// Refresh asks the cluster who its brokers are and who leads the partitions of the topics followed.
func (c *Cluster) Refresh(ctx context.Context) error {
	c.mu.Lock()
	names := make([]string, 0, len(c.wanted)) // an empty list asks for no topic, a missing one for all
	for name := range c.wanted {
		names = append(names, name)
	}
	addresses := c.addresses()
	c.mu.Unlock()
	slices.Sort(names)

	var all []error
	for _, address := range addresses {
		msg, err := c.send(ctx, address, control, &metadata.Request{TopicNames: names})
		if err == nil {
			return c.learn(address, msg.(*metadata.Response))
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		all = append(all, err)
	}
	if len(all) == 0 {
		return errors.New("no broker is configured")
	}
	return fmt.Errorf("reading the cluster's metadata: %w", worst(all))
}

// addresses are all that are known, in the order to ask them: first who answered last, because it may take long to find
// out that another does not. mu is held.
func (c *Cluster) addresses() []string {
	var all []string
	add := func(a string) {
		if a != "" && !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	add(c.answered)
	for _, a := range c.cfg.Brokers {
		add(a)
	}
	for _, b := range c.layout.Brokers {
		add(addressOf(b))
	}
	return all
}

// learn takes an answer over.
func (c *Cluster) learn(address string, res *metadata.Response) error {
	layout := protocol.Cluster{
		ClusterID: res.ClusterID, Controller: res.ControllerID,
		Brokers: make(map[int32]protocol.Broker, len(res.Brokers)),
		Topics:  make(map[string]protocol.Topic, len(res.Topics)),
	}
	for _, b := range res.Brokers {
		layout.Brokers[b.NodeID] = protocol.Broker{Rack: b.Rack, Host: b.Host, Port: b.Port, ID: b.NodeID}
	}
	for _, t := range res.Topics {
		topic := protocol.Topic{Name: t.Name, Error: t.ErrorCode, Partitions: map[int32]protocol.Partition{}}
		for _, p := range t.Partitions {
			topic.Partitions[p.PartitionIndex] = protocol.Partition{
				ID: p.PartitionIndex, Error: p.ErrorCode, Leader: p.LeaderID,
				Replicas: p.ReplicaNodes, ISR: p.IsrNodes, Offline: p.OfflineReplicas,
			}
		}
		layout.Topics[t.Name] = topic
	}
	if len(layout.Brokers) == 0 { // a broker that has not heard of the cluster yet
		return connectError(address, errors.New("the broker knows of no broker"))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.layout.ClusterID != "" && layout.ClusterID != c.layout.ClusterID {
		return connectError(address, fmt.Errorf("the broker belongs to cluster %s, others to %s",
			layout.ClusterID, c.layout.ClusterID))
	}
	c.layout, c.asked, c.answered = layout, time.Now(), address
	c.closeGone()
	return nil
}

// known makes sure there is a layout, and that it names the topics given.
func (c *Cluster) known(ctx context.Context, topics []string) (protocol.Cluster, error) {
	if _, err := c.Topics(ctx, topics...); err != nil {
		return protocol.Cluster{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.layout, nil
}

// addressOf is where a broker listens.
func addressOf(b protocol.Broker) string {
	return net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
}
