package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rowferry/rowferry/e2e/daemon"
	"github.com/rowferry/rowferry/e2e/load"
	"github.com/rowferry/rowferry/e2e/oracle"
	"github.com/rowferry/rowferry/e2e/servers"
	"github.com/rowferry/rowferry/e2e/trial"
)

// consumers is a round into topics that Debezium's JDBC sink reads into a second database, the trial's target.
type consumers struct {
	*rounder
	worker *servers.Connect
	client *kgo.Client
	read   map[string][]string // tables by the connector that reads their topics

	records int // that it had to read
}

// The connectors. A TRUNCATE is in every partition of a topic, and a reader of several partitions meets it as often: only
// topics of one partition are read by a connector that follows truncates, and copies that begin anew.
const (
	ordered = "ordered"
	spread  = "spread"
)

// sinkPrefix is what names of topics begin with, and those of the tables that the sink makes of them.
const sinkPrefix = "read_"

// consumerSteps is how many kills and the like there are after the copy.
const consumerSteps = 16

// runConsumers plays one round.
func runConsumers(ctx context.Context, o options) (err error) {
	fmt.Printf("torture: Debezium's JDBC sink reads the topics, seed %d, Postgres %d\n", o.seed, o.major)
	o.targets, o.steps, o.rate, o.old = []trial.Target{trial.Kafka}, consumerSteps, 60, 10_000
	o.prefix = sinkPrefix
	o.inKafka = daemon.Settings{
		"format": daemon.Settings{"value": "debezium-json", "debezium": daemon.Settings{"intervals": "string", "hstore": "map"}},
		"create_topics": daemon.Settings{
			"partitions": 1, "rules": []daemon.Settings{{"tables": []string{"public." + typedTable}, "partitions": 3}},
		},
	}
	var s stage
	defer func() { err = errors.Join(err, s.remove()) }()
	if s.server, err = servers.Start(ctx, o.major, ""); err != nil {
		return err
	}
	k, err := servers.StartKafka(ctx, servers.KafkaOptions{})
	if err != nil {
		return err
	}
	s.kafka = []*servers.Kafka{k}
	t, drop, err := newRound(ctx, o, s, 0)
	if err != nil {
		return err
	}
	c := &consumers{
		rounder: &rounder{staged: t, kafka: k, options: o, rand: rand.New(rand.NewPCG(o.seed, 1)), tally: newTally(), began: time.Now()},
		read:    map[string][]string{ordered: load.Tables, spread: {typedTable}},
	}
	err = c.play(ctx)
	if err == nil && !t.Report.Clean() {
		err = errFound
	}
	if c.worker != nil {
		err = errors.Join(err, c.worker.Remove())
	}
	if err != nil {
		return errors.Join(err, t.End(), keep(t.folder, o.seed, t.Trial))
	}
	fmt.Printf("  %s, %d kills of Rowferry and %d of the broker; the sink read %d records, and every table is as at the source\n",
		c.line(), c.tally.killed(), c.tally.brokers, c.records)
	return errors.Join(t.Remove(), drop(ctx))
}

// play kills Rowferry in the copy and while changes flow, the broker and the worker now and then, and compares at rest.
func (c *consumers) play(ctx context.Context) (err error) {
	if c.client, err = kgo.NewClient(kgo.SeedBrokers(c.kafka.Addr())); err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	defer c.client.Close()
	if err := c.prepare(ctx); err != nil {
		return err
	}
	if err := c.sink(ctx); err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	c.Begin(ctx)
	for range 2 {
		if err := c.killInCopy(ctx); err != nil {
			return err
		}
	}
	if err := c.following(ctx); err != nil {
		return err
	}
	end := c.change(ctx)
	for n := range c.options.steps {
		if err := c.step(ctx); err != nil {
			return errors.Join(err, end())
		}
		if n == c.options.steps/2 {
			c.note("worker")
			if err := errors.Join(c.worker.Remove(), c.again(ctx)); err != nil {
				return errors.Join(err, end())
			}
		}
	}
	if err := errors.Join(c.following(ctx), end()); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, judgeLimit)
	defer cancel()
	if err := c.Finish(ctx); err != nil {
		return err
	}
	c.note("judged")
	if err := c.caughtUp(ctx); err != nil {
		return fmt.Errorf("%w\n%s", err, c.worker.Log())
	}
	c.note("read")
	return c.compare(ctx)
}

// prepare makes what source and target need beside the load's tables. A sink cannot leave a column as it is, so updates have
// to bring values that they left alone: all of the old row is in the log.
func (c *consumers) prepare(ctx context.Context) error {
	for _, table := range []string{"docs", "keyed"} {
		if err := execute(ctx, c.source, `ALTER TABLE `+table+` REPLICA IDENTITY FULL`); err != nil {
			return err
		}
	}
	for _, database := range []string{c.source, c.target} {
		if err := execute(ctx, database, typedBefore); err != nil {
			return err
		}
	}
	if err := execute(ctx, c.target, `CREATE SCHEMA sink`); err != nil {
		return err
	}
	return execute(ctx, c.source, typedDefinition())
}

// sink starts the worker and makes the connectors.
func (c *consumers) sink(ctx context.Context) error {
	if err := c.again(ctx); err != nil {
		return err
	}
	at, err := url.Parse(c.target)
	if err != nil {
		return fmt.Errorf("reading the target's URL: %w", err)
	}
	for name, tables := range c.read {
		config := map[string]string{
			"connector.class": "io.debezium.connector.jdbc.JdbcSinkConnector", "tasks.max": "1",
			"topics.regex":   c.Topic("(" + strings.Join(tables, "|") + ")"),
			"connection.url": "jdbc:postgresql://" + at.Host + at.Path, "connection.username": at.User.Username(), "connection.password": "none",
			"insert.mode": "upsert", "delete.enabled": "true", "primary.key.mode": "record_key",
			"schema.evolution": "basic", "collection.name.format": "sink.${topic}", "truncate.enabled": fmt.Sprint(name == ordered),
			"consumer.override.isolation.level": "read_committed", "consumer.override.auto.offset.reset": "earliest",
			"consumer.override.metadata.max.age.ms": "1000", "consumer.override.session.timeout.ms": "6000", // of one that was killed
		}
		for _, of := range []string{"key.converter", "value.converter"} {
			maps.Copy(config, map[string]string{
				of: "org.apache.kafka.connect.json.JsonConverter", of + ".schemas.enable": "true", of + ".replace.null.with.default": "false",
			})
		}
		if err := c.worker.Create(ctx, name, config); err != nil {
			return err
		}
	}
	return nil
}

// again starts a worker, which knows the connectors of the one before.
func (c *consumers) again(ctx context.Context) (err error) {
	c.worker, err = servers.StartConnectWithSink(ctx, c.kafka)
	return err
}

// change changes the table of many types until the function it returns is called.
func (c *consumers) change(ctx context.Context) (end func() error) {
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	var failed error
	group.Go(func() {
		random := rand.New(rand.NewPCG(c.options.seed, 2))
		for n := 1; ctx.Err() == nil && failed == nil; n++ {
			failed = execute(context.WithoutCancel(ctx), c.source, typedTransaction(random, n))
			_ = wait(ctx, 20*time.Millisecond) // it ends with the context
		}
	})
	return func() error {
		cancel()
		group.Wait()
		return failed
	}
}

// caughtUp waits until the connectors have noted the last committed record of each partition.
func (c *consumers) caughtUp(ctx context.Context) error {
	for _, name := range slices.Sorted(maps.Keys(c.read)) {
		reader := oracle.KafkaReader{Client: c.client}
		for _, table := range c.read[name] {
			reader.Topics = append(reader.Topics, c.Topic(table))
		}
		want := map[servers.KafkaPlace]int64{}
		for r, err := range reader.Records(ctx) {
			if err != nil {
				return err
			}
			want[servers.KafkaPlace{Topic: r.Topic, Partition: r.Partition}] = r.Offset + 1
			c.records++
		}
		behind, err := c.behind(ctx, name, want)
		for ; err == nil && behind != ""; behind, err = c.behind(ctx, name, want) {
			if err := wait(ctx, 200*time.Millisecond); err != nil {
				return fmt.Errorf("waiting for connector %s: %w: %s", name, err, behind)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// behind tells where a connector is that has not read everything; nothing once it has.
func (c *consumers) behind(ctx context.Context, name string, want map[servers.KafkaPlace]int64) (string, error) {
	if _, err := c.worker.Running(ctx, name); err != nil {
		return "", err
	}
	at, err := servers.KafkaCommitted(ctx, c.client, "connect-"+name)
	if err != nil {
		return "", err
	}
	for place, offset := range want {
		if at[place] < offset {
			return fmt.Sprintf("it is at %d of %d in %v", at[place], offset, place), nil
		}
	}
	return "", nil
}

// viewSQL writes the view by which a table that the sink made is seen with the source's types. A bit alone is a truth value
// to Debezium.
const viewSQL = `
SELECT format('CREATE VIEW public.%I AS SELECT %s FROM sink.%I', $1::text, string_agg(format('%1$I::%2$s AS %1$I', attname,
  CASE type WHEN 'bit(1)' THEN 'integer::bit(1)' ELSE type END), ', ' ORDER BY attnum), $2::text || $1)
FROM pg_attribute, format_type(atttypid, atttypmod) AS type WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped`

// compare compares the tables that the sink made with those of the source. The sink chooses types of its own for some
// columns; values are compared as what they are at the source.
func (c *consumers) compare(ctx context.Context) error {
	source, err := pgx.Connect(ctx, c.source)
	if err != nil {
		return fmt.Errorf("connecting to the source: %w", err)
	}
	defer source.Close(context.WithoutCancel(ctx))
	target, err := pgx.Connect(ctx, c.target)
	if err != nil {
		return fmt.Errorf("connecting to the target: %w", err)
	}
	defer target.Close(context.WithoutCancel(ctx))
	tables := append(slices.Clone(load.Tables), typedTable)
	for _, table := range tables {
		var view string
		err := source.QueryRow(ctx, viewSQL, table, sinkPrefix).Scan(&view)
		if err != nil {
			return fmt.Errorf("describing %s: %w", table, err)
		}
		if _, err := target.Exec(ctx, view); err != nil {
			return fmt.Errorf("looking at %s as the sink made it: %w", table, err)
		}
	}
	return oracle.Equal(ctx, c.Report, source, target, tables)
}
