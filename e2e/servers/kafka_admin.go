package servers

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// adminLimit bounds each change made to a cluster.
const adminLimit = time.Minute

// admin runs a change on a client of its own.
func (k *Kafka) admin(tb testing.TB, what string, change func(ctx context.Context, client *kgo.Client) error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), adminLimit)
	defer cancel()
	client, err := k.client()
	if err != nil {
		tb.Fatal(err)
	}
	defer client.Close()
	if err := change(ctx, client); err != nil {
		tb.Fatalf("%s: %v", what, err)
	}
}

// code is the error of an answer: what went wrong as a whole, or for the thing it was about.
func code(err error, codes ...int16) error {
	for _, c := range codes {
		if err == nil {
			err = kerr.ErrorForCode(c)
		}
	}
	return err
}

// CreateTopic makes a topic and waits until every partition has a leader. It has a replica on each of up to three
// brokers; configs read name=value.
func (k *Kafka) CreateTopic(tb testing.TB, topic string, partitions int32, configs ...string) {
	tb.Helper()
	k.admin(tb, "creating topic "+topic, func(ctx context.Context, client *kgo.Client) error {
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = topic, partitions, int16(max(1, min(len(k.brokers), 3)))
		for _, config := range configs {
			name, value, _ := strings.Cut(config, "=")
			c := kmsg.NewCreateTopicsRequestTopicConfig()
			c.Name, c.Value = name, &value
			t.Configs = append(t.Configs, c)
		}
		request := kmsg.NewPtrCreateTopicsRequest()
		request.TimeoutMillis, request.Topics = int32(adminLimit.Milliseconds()), []kmsg.CreateTopicsRequestTopic{t}
		answer, err := request.RequestWith(ctx, client)
		if err != nil {
			return err
		}
		if err := code(nil, answer.Topics[0].ErrorCode); err != nil {
			return err
		}
		return led(ctx, client, topic, partitions)
	})
}

// led waits until a topic has so many partitions and each a leader.
func led(ctx context.Context, client *kgo.Client, topic string, partitions int32) error {
	return await(ctx, func() (bool, error) {
		found, err := leaders(ctx, client, topic)
		if err != nil || len(found) != int(partitions) {
			return false, err
		}
		for _, leader := range found {
			if leader < 0 {
				return false, nil
			}
		}
		return true, nil
	})
}

// AddPartitions grows a topic to so many partitions and waits until each has a leader.
func (k *Kafka) AddPartitions(tb testing.TB, topic string, partitions int32) {
	tb.Helper()
	k.admin(tb, "adding partitions to "+topic, func(ctx context.Context, client *kgo.Client) error {
		t := kmsg.NewCreatePartitionsRequestTopic()
		t.Topic, t.Count = topic, partitions
		request := kmsg.NewPtrCreatePartitionsRequest()
		request.TimeoutMillis, request.Topics = int32(adminLimit.Milliseconds()), []kmsg.CreatePartitionsRequestTopic{t}
		answer, err := request.RequestWith(ctx, client)
		if err != nil {
			return err
		}
		if err := code(nil, answer.Topics[0].ErrorCode); err != nil {
			return err
		}
		return led(ctx, client, topic, partitions)
	})
}

// DeleteTopics deletes the topics whose names begin with the prefix, and waits until a broker knows none any more.
func (k *Kafka) DeleteTopics(tb testing.TB, prefix string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), adminLimit)
	defer cancel()
	if err := k.deleteTopics(ctx, prefix); err != nil {
		tb.Fatalf("deleting the topics of %s: %v", prefix, err)
	}
}

func (k *Kafka) deleteTopics(ctx context.Context, prefix string) error {
	client, err := k.client()
	if err != nil {
		return err
	}
	defer client.Close()
	names, err := KafkaTopics(ctx, client, prefix)
	if err != nil || len(names) == 0 {
		return err
	}
	request := kmsg.NewPtrDeleteTopicsRequest()
	request.TimeoutMillis, request.TopicNames = int32(adminLimit.Milliseconds()), names
	for _, name := range names {
		t := kmsg.NewDeleteTopicsRequestTopic()
		t.Topic = &name
		request.Topics = append(request.Topics, t)
	}
	deleted, err := request.RequestWith(ctx, client)
	if err != nil {
		return err
	}
	for _, topic := range deleted.Topics {
		err = code(err, topic.ErrorCode)
	}
	if err != nil {
		return err
	}
	return await(ctx, func() (bool, error) {
		left, err := KafkaTopics(ctx, client, prefix)
		return len(left) == 0, err
	})
}

// KafkaTopics lists the topics whose names begin with the prefix.
func KafkaTopics(ctx context.Context, client *kgo.Client, prefix string) ([]string, error) {
	all := kmsg.NewPtrMetadataRequest()
	all.Topics = nil // means all
	answer, err := all.RequestWith(ctx, client)
	if err != nil {
		return nil, fmt.Errorf("listing topics: %w", err)
	}
	var names []string
	for _, topic := range answer.Topics {
		if topic.Topic != nil && strings.HasPrefix(*topic.Topic, prefix) {
			names = append(names, *topic.Topic)
		}
	}
	return names, nil
}

// Leader is the broker that leads a partition, or -1.
func (k *Kafka) Leader(tb testing.TB, topic string, partition int32) int {
	tb.Helper()
	leader := int32(-1)
	k.admin(tb, "asking for the leader of "+topic, func(ctx context.Context, client *kgo.Client) error {
		found, err := leaders(ctx, client, topic)
		if id, ok := found[partition]; ok {
			leader = id
		}
		return err
	})
	return int(leader)
}

// MoveLeader makes another broker lead a partition, which it must have a replica of, and waits until it does.
func (k *Kafka) MoveLeader(tb testing.TB, topic string, partition int32, node int) {
	tb.Helper()
	k.admin(tb, "moving the leader of "+topic, func(ctx context.Context, client *kgo.Client) error {
		// A broker leads by right when it is the first of the replicas.
		p := kmsg.NewAlterPartitionAssignmentsRequestTopicPartition()
		p.Partition, p.Replicas = partition, []int32{int32(node)}
		for _, b := range k.brokers {
			if b.node != node && len(p.Replicas) < 3 {
				p.Replicas = append(p.Replicas, int32(b.node))
			}
		}
		t := kmsg.NewAlterPartitionAssignmentsRequestTopic()
		t.Topic, t.Partitions = topic, []kmsg.AlterPartitionAssignmentsRequestTopicPartition{p}
		assign := kmsg.NewPtrAlterPartitionAssignmentsRequest()
		assign.TimeoutMillis, assign.Topics = int32(adminLimit.Milliseconds()), []kmsg.AlterPartitionAssignmentsRequestTopic{t}
		answer, err := assign.RequestWith(ctx, client)
		if err != nil {
			return err
		}
		if err := code(nil, answer.ErrorCode, answer.Topics[0].Partitions[0].ErrorCode); err != nil {
			return err
		}
		e := kmsg.NewElectLeadersRequestTopic()
		e.Topic, e.Partitions = topic, []int32{partition}
		elect := kmsg.NewPtrElectLeadersRequest()
		elect.TimeoutMillis, elect.Topics = int32(adminLimit.Milliseconds()), []kmsg.ElectLeadersRequestTopic{e}
		// It cannot be elected before it has caught up, so the election is held again until it is.
		return await(ctx, func() (bool, error) {
			if _, err := elect.RequestWith(ctx, client); err != nil {
				return false, err
			}
			found, err := leaders(ctx, client, topic)
			return found[partition] == int32(node), err
		})
	})
}

// LimitClient lets clients of that id write only so many bytes a second, from a moment later on; 0 lifts the limit.
func (k *Kafka) LimitClient(tb testing.TB, clientID string, bytesPerSecond int) {
	tb.Helper()
	k.admin(tb, "limiting client "+clientID, func(ctx context.Context, client *kgo.Client) error {
		entity := kmsg.NewAlterClientQuotasRequestEntryEntity()
		entity.Type, entity.Name = "client-id", &clientID
		op := kmsg.NewAlterClientQuotasRequestEntryOp()
		op.Key, op.Value, op.Remove = "producer_byte_rate", float64(bytesPerSecond), bytesPerSecond == 0
		entry := kmsg.NewAlterClientQuotasRequestEntry()
		entry.Entity = []kmsg.AlterClientQuotasRequestEntryEntity{entity}
		entry.Ops = []kmsg.AlterClientQuotasRequestEntryOp{op}
		request := kmsg.NewPtrAlterClientQuotasRequest()
		request.Entries = []kmsg.AlterClientQuotasRequestEntry{entry}
		answer, err := request.RequestWith(ctx, client)
		if err != nil {
			return err
		}
		return code(nil, answer.Entries[0].ErrorCode)
	})
}

// DenyWrites forbids KafkaUser to write to a topic of a secure Kafka.
func (k *Kafka) DenyWrites(tb testing.TB, topic string) {
	tb.Helper()
	k.admin(tb, "denying writes to "+topic, func(ctx context.Context, client *kgo.Client) error {
		rule := kmsg.NewCreateACLsRequestCreation()
		rule.ResourceType, rule.ResourceName = kmsg.ACLResourceTypeTopic, topic
		rule.Principal, rule.Host = "User:"+KafkaUser, "*"
		rule.Operation, rule.PermissionType = kmsg.ACLOperationWrite, kmsg.ACLPermissionTypeDeny
		request := kmsg.NewPtrCreateACLsRequest()
		request.Creations = []kmsg.CreateACLsRequestCreation{rule}
		answer, err := request.RequestWith(ctx, client)
		if err != nil {
			return err
		}
		return code(nil, answer.Results[0].ErrorCode)
	})
}

// leaders is who leads each partition of a topic, as the brokers say now.
func leaders(ctx context.Context, client *kgo.Client, topic string) (map[int32]int32, error) {
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = &topic
	request := kmsg.NewPtrMetadataRequest()
	request.Topics = []kmsg.MetadataRequestTopic{t}
	answer, err := request.RequestWith(ctx, client)
	if err != nil {
		return nil, fmt.Errorf("asking for the leaders of %s: %w", topic, err)
	}
	found := map[int32]int32{}
	for _, p := range answer.Topics[0].Partitions {
		found[p.Partition] = p.Leader
	}
	return found, nil
}

// await asks until the answer is yes.
func await(ctx context.Context, done func() (bool, error)) error {
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
