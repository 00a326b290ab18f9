package main

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/rowferry/rowferry/e2e/servers"
)

// What Debezium is told beside its defaults: for throughput, and for latency.
var (
	throughput = map[string]string{
		"max.batch.size": "20480", "max.queue.size": "81920", "poll.interval.ms": "50",
		"producer.override.batch.size": "1000000", "producer.override.linger.ms": "20", "producer.override.compression.type": "lz4",
	}
	promptness = map[string]string{"poll.interval.ms": "10", "producer.override.linger.ms": "0"}
)

// measureDebezium measures Rowferry beside Debezium in Kafka Connect, both exactly once, with the same log, the same
// broker and readers, one after the other in each round.
func (b *bench) measureDebezium(ctx context.Context) (err error) {
	if err := b.startBroker(ctx); err != nil {
		return err
	}
	worker, err := servers.StartConnect(ctx, b.broker)
	if err != nil {
		return err
	}
	defer func() {
		if removeErr := worker.Remove(); err == nil {
			err = removeErr
		}
	}()
	fmt.Println("bench: Debezium in one worker of Kafka Connect, Java with -Xmx2g")
	if b.wants("debezium_rows", "debezium_cpu", "debezium_memory") {
		if err := b.beside(ctx, worker); err != nil {
			return fmt.Errorf("throughput: %w", err)
		}
	}
	if b.wants("debezium_p50", "debezium_p99") {
		if err := b.besideLatency(ctx, worker); err != nil {
			return fmt.Errorf("latency: %w", err)
		}
	}
	return nil
}

// connector is the configuration of a Debezium connector that reads a slot from where it is into topics of a run.
func (b *bench) connector(database, slot, publication, run string, tuned map[string]string) map[string]string {
	config := map[string]string{
		"connector.class": "io.debezium.connector.postgresql.PostgresConnector", "tasks.max": "1",
		"database.hostname": "127.0.0.1", "database.port": strconv.Itoa(b.source.Port), "database.user": "postgres", "database.password": "none",
		"database.dbname": database, "topic.prefix": run, "plugin.name": "pgoutput", "slot.name": slot,
		"publication.name": publication, "publication.autocreate.mode": "disabled", "snapshot.mode": "no_data",
		"exactly.once.support": "required", "transaction.boundary": "poll",
		"topic.creation.default.replication.factor": "1", "topic.creation.default.partitions": "1",
	}
	maps.Copy(config, tuned)
	return config
}

// beside measures throughput.
func (b *bench) beside(ctx context.Context, worker *servers.Connect) error {
	st, err := b.prepare(ctx, scenario{name: "beside", rows: b.options.rows(1_000_000), each: 100, kafka: true})
	if err != nil {
		return err
	}
	want, err := st.sequence(ctx)
	if err != nil {
		return err
	}
	if _, err := st.debezium(ctx, worker, "warm", want); err != nil { // Java compiles what is run often
		return err
	}
	var rows, cpus, peaks, theirRows, theirCPUs, theirPeaks []sample
	for n := range b.options.rounds {
		run := fmt.Sprintf("beside_%d", n)
		other, err := st.debezium(ctx, worker, run+"_debezium", want)
		if err != nil {
			return fmt.Errorf("round %d of Debezium: %w\n%s", n, err, worker.Log())
		}
		once, err := st.intoKafka(ctx, run, "exactly_once", want)
		if err != nil {
			return err
		}
		s := once.took.sample(st.rows, once.content)
		s.value = once.arrival.steady()
		rows, theirRows = append(rows, s), append(theirRows, other)
		s.value = 1e6 / s.cpu
		cpus, theirCPUs = append(cpus, s), append(theirCPUs, sample{value: 1e6 / other.cpu})
		s.value = s.peak
		peaks, theirPeaks = append(peaks, s), append(theirPeaks, sample{value: other.peak})
	}
	b.add("debezium_rows", rows, theirRows)
	b.add("debezium_cpu", cpus, theirCPUs)
	b.add("debezium_memory", peaks, theirPeaks)
	return st.close(ctx)
}

// steady is how many rows a second arrived, from the first that were seen on.
func (a *arrival) steady() float64 { return float64(a.rows-a.early) / a.last.Sub(a.first).Seconds() }

// debezium runs a connector over the log. What Connect takes to start it is left out.
func (st *stage) debezium(ctx context.Context, worker *servers.Connect, run string, want sequence) (sample, error) {
	if err := st.branch(ctx, run); err != nil {
		return sample{}, err
	}
	if err := worker.Create(ctx, run, st.connector(st.name, run, "rowferry_"+st.name, run, throughput)); err != nil {
		return sample{}, err
	}
	a := arrival{bench: st.bench, run: run}
	var before, after time.Duration
	var peak int64
	deadline := time.Now().Add(5*time.Minute + time.Duration(st.rows)*100*time.Microsecond)
	for there := false; !there; {
		if err := sleep(ctx, between); err != nil {
			return sample{}, err
		}
		was := a.first
		var err error
		if there, err = a.look(ctx); err != nil {
			return sample{}, err
		}
		if after, peak, err = worker.Usage(); err != nil {
			return sample{}, err
		}
		if was.IsZero() {
			before = after
		}
		if time.Now().After(deadline) {
			return sample{}, fmt.Errorf("waiting for the end of the log: %w: readers see %d of %d rows", context.DeadlineExceeded, a.rows, st.rows)
		}
	}
	content, err := st.arrived(ctx, topicOf(run, "acc"), want, false)
	if err != nil {
		return sample{}, err
	}
	if !content {
		return sample{}, fmt.Errorf("the other side delivered something else than was sent: %w", errGate)
	}
	if err := worker.Delete(ctx, run); err != nil {
		return sample{}, err
	}
	if err := st.drop(ctx, run); err != nil {
		return sample{}, err
	}
	s := sample{value: a.steady(), cpu: float64((after - before).Microseconds()) / float64(a.rows-a.early), peak: float64(peak) / (1 << 20), content: true}
	return s, st.deleteTopics(ctx, topicOf(run, "acc"), topicOf(run, "marker"))
}
