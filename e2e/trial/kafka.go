package trial

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rowferry/rowferry/e2e/daemon"
	"github.com/rowferry/rowferry/e2e/load"
	"github.com/rowferry/rowferry/e2e/oracle"
)

// partitions of each topic that is made: more than one, so that order between them shows.
const partitions = 2

// intoKafka makes topics a pipeline's target.
func (t *Trial) intoKafka(p *daemon.Pipeline) {
	p.Target = "kafka://" + t.options.KafkaVia
	p.InTarget = daemon.Settings{
		"topic": t.Topic("{table}"), "ledger": daemon.Settings{"topic": t.Topic("ledger")},
		"messages":      daemon.Settings{"topic": t.Topic("message")},
		"transaction":   daemon.Settings{"id": t.Topic("writer")},
		"create_topics": daemon.Settings{"partitions": partitions},
		"format":        daemon.Settings{"value": "json"}, // the whole old rows of which are judged, too
	}
	for k, v := range t.options.InKafka {
		p.InTarget[k] = v
	}
}

// Topic is the full name of a topic of this trial: a table's, or "ledger".
func (t *Trial) Topic(name string) string { return t.options.Prefix + name }

// client talks to the brokers themselves, past any proxy. The caller closes it.
func (t *Trial) client() *kgo.Client {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(t.options.Kafka, ",")...), kgo.MetadataMinAge(100*time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }),
	)
	if err != nil {
		panic(fmt.Sprintf("making a client of %s: %v", t.options.Kafka, err)) // the options are fixed, but for the address
	}
	return client
}

// judgeKafka reads every topic as a consumer does, and compares what it folds to with the source.
func (t *Trial) judgeKafka(ctx context.Context, source *pgx.Conn) error {
	tables, err := oracle.Describe(ctx, source, load.Tables)
	if err != nil {
		return err
	}
	client := t.client()
	defer client.Close()
	reader := oracle.KafkaReader{Client: client}
	for _, table := range load.Tables {
		reader.Topics = append(reader.Topics, t.Topic(table))
	}
	file := oracle.NewFile(t.Report, tables)
	if err := file.ReadKafka(ctx, reader); err != nil {
		return err
	}
	file.End()
	file.Silence(t.runner.Log().Entries())
	return file.Compare(ctx, source)
}
