package topic

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks/kafka/cluster"
)

// Spec is a topic as it is to be made.
type Spec struct {
	Name        string
	Partitions  int // 0 for the brokers' default
	Replication int // 0 for the brokers' default
	Configs     map[string]string
}

// Command is the command that makes the topic, for people.
func (s *Spec) Command() string {
	var b strings.Builder
	fmt.Fprintf(&b, "kafka-topics.sh --bootstrap-server HOST:PORT --create --topic %s", s.Name)
	if s.Partitions > 0 {
		fmt.Fprintf(&b, " --partitions %d", s.Partitions)
	}
	if s.Replication > 0 {
		fmt.Fprintf(&b, " --replication-factor %d", s.Replication)
	}
	for _, key := range slices.Sorted(maps.Keys(s.Configs)) {
		fmt.Fprintf(&b, " --config %s=%s", key, s.Configs[key])
	}
	return b.String()
}

// Missing is the halt for topics that are not there and that nobody may make.
func Missing(specs []Spec) error {
	names, commands := make([]string, len(specs)), make([]string, len(specs))
	for i := range specs {
		names[i], commands[i] = specs[i].Name, specs[i].Command()
	}
	return fault.Halt("target.topic_not_found",
		fmt.Errorf("missing topics: %s; create_topics.enabled is false", strings.Join(names, ", ")),
		strings.Join(commands, "\n")+"\nor set create_topics.enabled of the target")
}

const (
	settle     = 50 * time.Millisecond // between two looks at a topic just made
	settleTime = 30 * time.Second      // until it has to be known everywhere
)

// Partitions looks up how many partitions topics have. Those that do not exist are left out.
func Partitions(ctx context.Context, c *cluster.Cluster, names []string) (map[string]int32, error) {
	topics, err := c.Topics(ctx, names...)
	if err != nil {
		return nil, cluster.Classify(err)
	}
	counts := make(map[string]int32, len(topics))
	for i := range topics {
		t := &topics[i]
		switch {
		case errors.Is(t.Error, kafka.UnknownTopicOrPartition):
		case t.Error != nil:
			return nil, cluster.Classify(fmt.Errorf("looking at topic %s: %w", t.Name, t.Error))
		case len(t.Leaders) > 0:
			counts[t.Name] = int32(len(t.Leaders))
		}
	}
	return counts, nil
}

// Create makes topics, of which some may exist by now, and waits until the cluster knows them all.
func Create(ctx context.Context, c *cluster.Cluster, specs []Spec) (map[string]int32, error) {
	request := kafka.CreateTopicsRequest{}
	names := make([]string, len(specs))
	for i := range specs {
		s := &specs[i]
		names[i] = s.Name
		config := kafka.TopicConfig{Topic: s.Name, NumPartitions: -1, ReplicationFactor: -1}
		if s.Partitions > 0 {
			config.NumPartitions = s.Partitions
		}
		if s.Replication > 0 {
			config.ReplicationFactor = s.Replication
		}
		for _, key := range slices.Sorted(maps.Keys(s.Configs)) {
			config.ConfigEntries = append(config.ConfigEntries, kafka.ConfigEntry{ConfigName: key, ConfigValue: s.Configs[key]})
		}
		request.Topics = append(request.Topics, config)
	}
	answer, err := c.Client().CreateTopics(ctx, &request)
	if err != nil {
		return nil, cluster.Classify(fmt.Errorf("making topics: %w", err))
	}
	for i := range specs {
		err := answer.Errors[specs[i].Name]
		if err == nil || errors.Is(err, kafka.TopicAlreadyExists) {
			continue
		}
		return nil, refused(&specs[i], err)
	}
	return settled(ctx, c, names)
}

// refused marks the error of a topic that cannot be made.
func refused(s *Spec, err error) error {
	err = fmt.Errorf("making topic %s: %w", s.Name, err)
	for _, code := range []kafka.Error{
		kafka.InvalidTopic, kafka.InvalidPartitionNumber, kafka.InvalidReplicationFactor, kafka.InvalidConfiguration,
		kafka.PolicyViolation, kafka.InvalidReplicaAssignment,
	} {
		if errors.Is(err, code) {
			return fault.Halt("target.topic_refused", err, "correct create_topics of the target, or make the topic by hand:\n"+s.Command())
		}
	}
	return cluster.Classify(err)
}

// settled waits until every topic is known with a leader for each partition: CreateTopics is answered before.
func settled(ctx context.Context, c *cluster.Cluster, names []string) (map[string]int32, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, settleTime, fault.Wait("target.cluster_moving",
		fmt.Errorf("topics just made have no leader after %s: %s", settleTime, strings.Join(names, ", "))))
	defer cancel()
	for {
		topics, err := c.Topics(ctx, names...)
		if err != nil {
			return nil, cluster.Classify(err)
		}
		counts := make(map[string]int32, len(names))
		for i := range topics {
			if t := &topics[i]; t.Error == nil && len(t.Leaders) > 0 && !slices.Contains(t.Leaders, cluster.NoLeader) {
				counts[t.Name] = int32(len(t.Leaders))
			}
		}
		if len(counts) == len(names) {
			return counts, nil
		}
		if err := cluster.Pause(ctx, settle); err != nil {
			return nil, err
		}
		if err := c.Refresh(ctx); err != nil {
			return nil, cluster.Classify(err)
		}
	}
}

// Configs reads the settings of a topic that matter.
func Configs(ctx context.Context, c *cluster.Cluster, name string, keys ...string) (map[string]string, error) {
	answer, err := c.Client().DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{
		Resources: []kafka.DescribeConfigRequestResource{{
			ResourceType: kafka.ResourceTypeTopic, ResourceName: name, ConfigNames: keys,
		}},
	})
	if err != nil {
		return nil, cluster.Classify(fmt.Errorf("reading the settings of topic %s: %w", name, err))
	}
	out := map[string]string{}
	for _, r := range answer.Resources {
		if r.Error != nil {
			return nil, cluster.Classify(fmt.Errorf("reading the settings of topic %s: %w", name, r.Error))
		}
		for _, e := range r.ConfigEntries {
			out[e.ConfigName] = e.ConfigValue
		}
	}
	return out, nil
}

// Delete deletes a topic, and waits until the cluster has forgotten it.
func Delete(ctx context.Context, c *cluster.Cluster, name string) error {
	answer, err := c.Client().DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{name}})
	if err != nil {
		return cluster.Classify(fmt.Errorf("deleting topic %s: %w", name, err))
	}
	switch err := answer.Errors[name]; {
	case errors.Is(err, kafka.TopicDeletionDisabled), errors.Is(err, kafka.InvalidRequest):
		return fault.Halt("target.topic_refused", fmt.Errorf("deleting topic %s: %w", name, err),
			"set delete.topic.enable at the brokers, or delete the topic by hand")
	case err != nil && !errors.Is(err, kafka.UnknownTopicOrPartition):
		return cluster.Classify(fmt.Errorf("deleting topic %s: %w", name, err))
	}
	ctx, cancel := context.WithTimeoutCause(ctx, settleTime, fault.Wait("target.cluster_moving",
		fmt.Errorf("topic %s was deleted and is still there after %s", name, settleTime)))
	defer cancel()
	for {
		if err := c.Refresh(ctx); err != nil {
			return cluster.Classify(err)
		}
		counts, err := Partitions(ctx, c, []string{name})
		if err != nil || counts[name] == 0 {
			return err
		}
		if err := cluster.Pause(ctx, settle); err != nil {
			return err
		}
	}
}
