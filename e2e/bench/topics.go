package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/rowferry/rowferry/e2e/oracle"
	"github.com/rowferry/rowferry/e2e/servers"
)

// brokerJava is how the broker's Java runs: with a heap that is stated beside the figures, and compiling as it would
// in production, where it lives long.
var brokerJava = []string{"-Xmx512m", "-XX:TieredStopAtLevel=4"}

// startBroker starts the one broker that all sets into Kafka share, unless it runs.
func (b *bench) startBroker(ctx context.Context) error {
	if b.client != nil {
		return nil
	}
	var err error
	if b.broker, err = servers.StartKafka(ctx, servers.KafkaOptions{Java: brokerJava}); err != nil {
		return err
	}
	if b.client, err = kgo.NewClient(kgo.SeedBrokers(strings.Split(b.broker.Addr(), ",")...)); err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	fmt.Printf("bench: Kafka %s, one broker on this machine, Java with %s; topics with one partition, %s\n", b.broker.Version, strings.Join(brokerJava, " "), b.options.format)
	return nil
}

// topicOf is the topic of a table in a run.
func topicOf(run, table string) string { return run + ".public." + table }

func ledgerOf(run string) string { return run + ".ledger" }

// visible is how far readers of the topics' committed records get; 0 for a topic that does not exist. It is one
// request, so that asking costs the broker little.
func (b *bench) visible(ctx context.Context, topics ...string) ([]int64, error) {
	const latest, committed, theBroker = -1, 1, 1
	request := kmsg.NewPtrListOffsetsRequest()
	request.IsolationLevel = committed
	for _, name := range topics {
		part := kmsg.NewListOffsetsRequestTopicPartition()
		part.Timestamp = latest
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic, t.Partitions = name, []kmsg.ListOffsetsRequestTopicPartition{part}
		request.Topics = append(request.Topics, t)
	}
	answer, err := b.client.Broker(theBroker).Request(ctx, request)
	if err != nil {
		return nil, fmt.Errorf("asking how far topics reach: %w", err)
	}
	ends := make([]int64, len(topics))
	for _, t := range answer.(*kmsg.ListOffsetsResponse).Topics {
		for i, name := range topics {
			if name != t.Topic || len(t.Partitions) == 0 {
				continue
			}
			err := kerr.ErrorForCode(t.Partitions[0].ErrorCode)
			switch {
			case err == nil:
				ends[i] = t.Partitions[0].Offset
			case !kerr.IsRetriable(err): // that of a topic unknown yet is
				return nil, fmt.Errorf("asking how far topic %s reaches: %w", name, err)
			}
		}
	}
	return ends, nil
}

// arrival watches from outside how the rows of a run arrive, until the transaction that ends the log is there.
type arrival struct {
	bench *bench
	run   string

	rows  int64 // that readers see
	first time.Time
	early int64 // rows that were seen at first
	last  time.Time
}

// look tells whether everything is there.
func (a *arrival) look(ctx context.Context) (bool, error) {
	ends, err := a.bench.visible(ctx, topicOf(a.run, "acc"), topicOf(a.run, "marker"))
	if err != nil {
		return false, err
	}
	a.rows, a.last = ends[0], time.Now()
	if a.first.IsZero() && a.rows > 0 {
		a.first, a.early = a.last, a.rows
	}
	return ends[1] > 0, nil
}

// between is how often topics are asked for.
const between = 20 * time.Millisecond

// makeTopics makes the topics of a run before its time counts, as pg_recvlogical's slot is.
func (b *bench) makeTopics(ctx context.Context, run string) error {
	request := kmsg.NewPtrCreateTopicsRequest()
	for _, name := range []string{topicOf(run, "acc"), topicOf(run, "marker"), ledgerOf(run)} {
		policy := "delete"
		if name == ledgerOf(run) {
			policy = "compact"
		}
		config := kmsg.NewCreateTopicsRequestTopicConfig()
		config.Name, config.Value = "cleanup.policy", &policy
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor, t.Configs = name, 1, 1, []kmsg.CreateTopicsRequestTopicConfig{config}
		request.Topics = append(request.Topics, t)
	}
	answer, err := request.RequestWith(ctx, b.client)
	if err != nil {
		return fmt.Errorf("making topics: %w", err)
	}
	for _, t := range answer.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return fmt.Errorf("making topic %s: %w", t.Topic, err)
		}
	}
	return nil
}

// copyLedger gives a run the ledger as it was at the beginning of the log. What it says of topics is left out: the
// run has its own.
func (st *stage) copyLedger(ctx context.Context, run string) error {
	records, err := oracle.KafkaReader{Client: st.client, Topics: []string{ledgerOf(st.copied)}}.All(ctx)
	if err != nil {
		return fmt.Errorf("reading the ledger: %w", err)
	}
	for _, r := range records {
		if strings.HasPrefix(string(r.Key), "topic/") {
			continue
		}
		copied := &kgo.Record{Topic: ledgerOf(run), Key: r.Key, Value: r.Value}
		if err := st.client.ProduceSync(ctx, copied).FirstErr(); err != nil {
			return fmt.Errorf("writing a ledger: %w", err)
		}
	}
	return nil
}

// deleteTopics lets go of what a run wrote.
func (b *bench) deleteTopics(ctx context.Context, topics ...string) error {
	request := kmsg.NewPtrDeleteTopicsRequest()
	request.TopicNames = topics
	for _, name := range topics {
		t := kmsg.NewDeleteTopicsRequestTopic()
		t.Topic = &name
		request.Topics = append(request.Topics, t)
	}
	answer, err := request.RequestWith(ctx, b.client)
	if err != nil {
		return fmt.Errorf("deleting topics: %w", err)
	}
	for _, t := range answer.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return fmt.Errorf("deleting topic %s: %w", *t.Topic, err)
		}
	}
	return nil
}

// sequence is rows in their order: how many, and one hash over all of them.
type sequence struct {
	rows int
	sum  uint64
}

// rowText is how a row of the source reads in a record, made by Postgres and not by the program that is measured. A decimal
// of Debezium's is its unscaled number, in as few bytes as hold it with its sign, in base64.
func (st *stage) rowText() string {
	if st.wide {
		c, d := `c::text`, `d::text`
		if st.options.format == debeziumFormat {
			const unscaled, size = `(c * 100)::bigint`, `(length(to_hex((c * 200)::bigint)) + 1) / 2 * 2`
			c = `encode(decode(lpad(to_hex(` + unscaled + `), ` + size + `, '0'), 'hex'), 'base64')`
			d = `to_char(d, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`
		}
		return `format('{"id":%s,"a":%s,"b":%s,"c":"%s","d":"%s","e":%s,"f":%s,"g":%s,"h":%s,"i":%s}', id, a, b, ` + c + `, ` + d + `, to_json(e),
			to_json(f), to_json(g), to_json(h), to_json(i))`
	}
	return `format('{"id":%s,"a":%s,"b":%s,"pad":%s}', id, a, b, to_json(pad))`
}

// sequence is what a run's topic must hold: rows were inserted in the order of their keys.
func (st *stage) sequence(ctx context.Context) (sequence, error) {
	conn, err := pgx.Connect(ctx, st.source)
	if err != nil {
		return sequence{}, fmt.Errorf("connecting: %w", err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, `SET TimeZone = 'UTC'`); err != nil {
		return sequence{}, fmt.Errorf("setting the time zone: %w", err)
	}
	reader := conn.PgConn().ExecParams(ctx, `SELECT `+st.rowText()+` FROM acc ORDER BY id`, nil, nil, nil, nil)
	var got sequence
	hash := xxhash.New()
	for reader.NextRow() {
		got.rows++
		_, _ = hash.Write(reader.Values()[0]) // a hash takes everything
	}
	if _, err := reader.Close(); err != nil {
		return sequence{}, fmt.Errorf("reading the table: %w", err)
	}
	got.sum = hash.Sum64()
	return got, nil
}

// arrived reads a run's topic as committed readers see it: every row once and in order; whole tells that every
// transaction of the source must be inside one of Kafka.
func (b *bench) arrived(ctx context.Context, topic string, want sequence, whole bool) (bool, error) {
	var got sequence
	hash := xxhash.New()
	torn, ended, transaction := 0, false, uint64(0)
	for record, err := range (oracle.KafkaReader{Client: b.client, Topics: []string{topic}, Markers: true}).Records(ctx) {
		if err != nil {
			return false, err
		}
		if record.Attrs.IsControl() {
			ended = true
			continue
		}
		var change struct {
			Op     string          `json:"op"`
			After  json.RawMessage `json:"after"`
			Source struct {
				TxID uint64 `json:"txId"`
			} `json:"source"`
		}
		if err := json.Unmarshal(record.Value, &change); err != nil {
			return false, fmt.Errorf("reading record %d of %s: %w", record.Offset, topic, err)
		}
		if change.Op != "c" {
			return false, fmt.Errorf("reading record %d of %s: it is of op %q", record.Offset, topic, change.Op)
		}
		if ended && change.Source.TxID == transaction {
			torn++
		}
		ended, transaction = false, change.Source.TxID
		got.rows++
		_, _ = hash.Write(change.After)
	}
	got.sum = hash.Sum64()
	if got != want || whole && torn > 0 {
		fmt.Printf("  %s holds %d rows with hash %x, want %d with %x; %d transactions are torn\n", topic, got.rows, got.sum, want.rows, want.sum, torn)
		return false, nil
	}
	return true, nil
}
