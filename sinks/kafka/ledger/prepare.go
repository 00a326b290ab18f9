package ledger

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks/kafka/cluster"
	"github.com/rowferry/rowferry/sinks/kafka/topic"
)

// Spec is the ledger's topic as it is to be made. Its segments are small, so that compaction, which leaves the active
// one alone, keeps a start from reading more than a few megabytes.
func Spec(name string, replication int) topic.Spec {
	return topic.Spec{
		Name: name, Partitions: 1, Replication: replication,
		Configs: map[string]string{
			"cleanup.policy": "compact", "segment.bytes": "8388608", "min.cleanable.dirty.ratio": "0.1",
			"compression.type": "producer",
		},
	}
}

// Find tells whether the ledger's topic exists, and halts when it is not fit to be one.
func Find(ctx context.Context, c *cluster.Cluster, name string) (bool, error) {
	counts, err := topic.Partitions(ctx, c, []string{name})
	if err != nil || counts[name] == 0 {
		return false, err
	}
	if n := counts[name]; n != 1 {
		return false, unfit(name, fmt.Errorf("topic %s has %d partitions; a ledger has 1", name, n))
	}
	configs, err := topic.Configs(ctx, c, name, "cleanup.policy")
	switch {
	case fault.Of(err).Code == "target.acl":
		return true, nil // not allowed to look: what is in it tells enough
	case err != nil:
		return false, err
	}
	if policy := strings.TrimSpace(configs["cleanup.policy"]); policy != "compact" {
		return false, unfit(name, fmt.Errorf("topic %s has cleanup.policy=%s: it would lose the position", name, policy))
	}
	return true, nil
}

// Make makes the ledger's topic.
func Make(ctx context.Context, c *cluster.Cluster, spec topic.Spec, allowed bool) error {
	if !allowed {
		return topic.Missing([]topic.Spec{spec})
	}
	if _, err := topic.Create(ctx, c, []topic.Spec{spec}); err != nil {
		return err
	}
	found, err := Find(ctx, c, spec.Name)
	if err == nil && !found {
		err = fault.Wait("target.cluster_moving", errors.New("the ledger's topic was made and is not to be found"))
	}
	return err
}

// unfit is the halt for a topic that cannot hold a ledger.
func unfit(name string, err error) error {
	return fault.Halt("target.ledger_topic", err,
		"kafka-configs.sh --bootstrap-server HOST:PORT --alter --topic "+name+" --add-config cleanup.policy=compact\n"+
			"or name another topic in ledger.topic of the target")
}
