package servers

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// AlterTopic sets configs of a topic, which read name=value.
func (k *Kafka) AlterTopic(tb testing.TB, topic string, configs ...string) {
	tb.Helper()
	k.admin(tb, "altering topic "+topic, func(ctx context.Context, client *kgo.Client) error {
		r := kmsg.NewIncrementalAlterConfigsRequestResource()
		r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, topic
		for _, config := range configs {
			name, value, _ := strings.Cut(config, "=")
			c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
			c.Name, c.Value, c.Op = name, &value, kmsg.IncrementalAlterConfigOpSet
			r.Configs = append(r.Configs, c)
		}
		request := kmsg.NewPtrIncrementalAlterConfigsRequest()
		request.Resources = []kmsg.IncrementalAlterConfigsRequestResource{r}
		answer, err := request.RequestWith(ctx, client)
		if err != nil {
			return err
		}
		return code(nil, answer.Resources[0].ErrorCode)
	})
}

// DeleteRecords deletes all records of a partition that readers of committed records can see, as retention does. Only
// topics whose cleanup.policy is delete allow it.
func (k *Kafka) DeleteRecords(tb testing.TB, topic string, partition int32) {
	tb.Helper()
	k.admin(tb, "deleting the records of "+topic, func(ctx context.Context, client *kgo.Client) error {
		p := kmsg.NewDeleteRecordsRequestTopicPartition()
		p.Partition, p.Offset = partition, -1 // means all
		t := kmsg.NewDeleteRecordsRequestTopic()
		t.Topic, t.Partitions = topic, []kmsg.DeleteRecordsRequestTopicPartition{p}
		request := kmsg.NewPtrDeleteRecordsRequest()
		request.TimeoutMillis, request.Topics = int32(adminLimit.Milliseconds()), []kmsg.DeleteRecordsRequestTopic{t}
		answer, err := request.RequestWith(ctx, client)
		if err != nil {
			return err
		}
		if len(answer.Topics) != 1 || len(answer.Topics[0].Partitions) != 1 {
			return errors.New("the answer leaves the partition out")
		}
		return code(nil, answer.Topics[0].Partitions[0].ErrorCode)
	})
}
