package servers

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// KafkaPlace is a partition of a topic.
type KafkaPlace struct {
	Topic     string
	Partition int32
}

// KafkaCommitted is how far a group of consumers has noted to have read: the next offset of each partition that it noted
// anything of.
func KafkaCommitted(ctx context.Context, client *kgo.Client, group string) (map[KafkaPlace]int64, error) {
	request := kmsg.NewPtrOffsetFetchRequest()
	one := kmsg.NewOffsetFetchRequestGroup()
	one.Group, one.Topics = group, nil // means all
	request.Groups = []kmsg.OffsetFetchRequestGroup{one}
	answer, err := request.RequestWith(ctx, client)
	if err != nil {
		return nil, fmt.Errorf("asking how far group %s has read: %w", group, err)
	}
	offsets := map[KafkaPlace]int64{}
	for _, g := range answer.Groups {
		if err := code(nil, g.ErrorCode); err != nil {
			return nil, fmt.Errorf("asking how far group %s has read: %w", group, err)
		}
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				offsets[KafkaPlace{t.Topic, p.Partition}] = p.Offset
			}
		}
	}
	return offsets, nil
}
