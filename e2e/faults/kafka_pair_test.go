package faults

import (
	"context"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rowferry/rowferry/e2e/daemon"
	"github.com/rowferry/rowferry/e2e/oracle"
	"github.com/rowferry/rowferry/e2e/servers"
	"github.com/rowferry/rowferry/e2e/trial"
)

// kafkaPair is a pair whose target is a topic of two partitions, "items".
type kafkaPair struct {
	*pair
	kafka  *servers.Kafka
	prefix string // of everything it has in Kafka
	client *kgo.Client
	spread int32 // over how many partitions keys are spread; 0 for all there are
}

// newKafkaPair makes one. Kafka may be shared with other tests.
func newKafkaPair(t *testing.T, k *servers.Kafka, tags ...string) *kafkaPair {
	t.Helper()
	p := &kafkaPair{
		pair:  pairOf(t, build(t, tags...), servers.ForTest(t, servers.Major(t)).NewDatabase(t), "kafka://"+k.Addr()),
		kafka: k, prefix: k.Prefix(t), client: k.Client(t),
	}
	p.Pipelines[0].InTarget = daemon.Settings{
		"topic": p.prefix + "{table}", "ledger": daemon.Settings{"topic": p.ledger()},
		"messages": daemon.Settings{"topic": p.prefix + "message"}, "client_id": p.prefix + "client",
		"transaction":   daemon.Settings{"id": p.prefix + "writer"},
		"create_topics": daemon.Settings{"partitions": 2},
		"format":        daemon.Settings{"value": "json"},
	}
	// What stalls is given up soon.
	p.Pipelines[0].Besides = daemon.Settings{
		"timeouts": daemon.Settings{"commit": "5s"}, "on_error": daemon.Settings{"retries": daemon.Settings{"backoff": "100ms..1s"}},
	}
	return p
}

// sharedKafka is the broker that tests share which do not touch it.
func sharedKafka(t *testing.T) *servers.Kafka {
	t.Helper()
	return servers.KafkaForTest(t, servers.KafkaNewest)
}

func (p *kafkaPair) items() string  { return p.prefix + "items" }
func (p *kafkaPair) ledger() string { return p.prefix + "ledger" }

// set changes settings of the target.
func (p *kafkaPair) set(settings daemon.Settings) {
	for k, v := range settings {
		p.Pipelines[0].InTarget[k] = v
	}
}

// read judges the topic, and compares what it folds to with the source.
func (p *kafkaPair) read(ctx context.Context) *oracle.Report {
	p.t.Helper()
	source, err := pgx.Connect(ctx, p.source)
	if err != nil {
		p.t.Fatal(err)
	}
	defer source.Close(context.WithoutCancel(ctx))
	tables, err := oracle.Describe(ctx, source, []string{"items"})
	if err != nil {
		p.t.Fatal(err)
	}
	r := &oracle.Report{}
	file := oracle.NewFile(r, tables)
	file.Spread = p.spread
	if err := file.ReadKafka(ctx, oracle.KafkaReader{Client: p.client, Topics: []string{p.items()}}); err != nil {
		r.Add(oracle.Lost, "the topic cannot be read: %v", err)
		return r
	}
	file.End()
	if err := file.Compare(ctx, source); err != nil {
		p.t.Fatal(err)
	}
	return r
}

// equal waits until the topic folds to what the source holds. What is doubled, torn or out of order never passes.
func (p *kafkaPair) equal() {
	p.t.Helper()
	p.eventually("the topic to hold what the source does", func() (bool, string) {
		r := p.read(p.ctx)
		for _, class := range []oracle.Class{oracle.Reordered, oracle.Torn} {
			if r.Count(class) > 0 {
				p.t.Fatal(r)
			}
		}
		return r.Clean(), r.String()
	})
}

// unread waits for nothing: it wants the topic to lack what the source has.
func (p *kafkaPair) unread() {
	p.t.Helper()
	if p.read(p.ctx).Clean() {
		p.t.Error("the topic holds everything, want it to stand still")
	}
}

// retries is how often the pipeline began again.
func (p *kafkaPair) retries() int64 {
	p.t.Helper()
	report, err := p.Status(p.ctx)
	if err != nil {
		p.t.Fatal(err)
	}
	return report.Pipelines[0].Retries
}

// kafkaTrial is a trial into a Kafka.
func kafkaTrial(t *testing.T, seed uint64, k *servers.Kafka, o trial.Options) *trial.Trial {
	t.Helper()
	o.Kafka, o.Prefix = k.Addr(), k.Prefix(t)
	if !slices.Contains(o.Targets, trial.Kafka) {
		o.Targets = append(o.Targets, trial.Kafka)
	}
	if o.Source == "" {
		o.Source = servers.ForTest(t, servers.Major(t)).NewDatabase(t)
	}
	return newTrial(t, seed, o)
}
