package main

import (
	"context"
	"fmt"
	"time"

	"github.com/rowferry/rowferry/e2e/daemon"
	"github.com/rowferry/rowferry/e2e/proxy"
	"github.com/rowferry/rowferry/e2e/servers"
)

// measureKafka measures writing into Kafka exactly once, against pg_recvlogical and against Rowferry's own delivery at
// least once. Every side reads the same log, one after the other in each round; time counts from the start of the
// process until a reader of committed records can see the last one.
func (b *bench) measureKafka(ctx context.Context) error {
	scenarios := []scenario{
		{name: "kafka_100", rows: b.options.rows(1_000_000), each: 100, kafka: true},
		{name: "kafka_1kb", rows: b.options.rows(200_000), each: 100, wide: true, kafka: true},
		{name: "kafka_1", rows: b.options.rows(300_000), each: 1, kafka: true},
	}
	for _, s := range scenarios {
		with := s.name == "kafka_100" && b.wants("kafka_allocations")
		if !b.wants(s.name, s.name+"_own") && !with {
			continue
		}
		if err := b.startBroker(ctx); err != nil {
			return err
		}
		st, err := b.prepare(ctx, s)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if err := st.kafkaRounds(ctx, with); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if err := st.close(ctx); err != nil {
			return err
		}
	}
	if b.wants("kafka_100_far") {
		if err := b.measureFar(ctx, scenario{name: "kafka_100_far", rows: b.options.rows(1_000_000), each: 100, kafka: true}); err != nil {
			return fmt.Errorf("kafka_100_far: %w", err)
		}
	}
	if b.wants("json_encode", "json_allocations") {
		if err := b.measureEncode(); err != nil {
			return err
		}
	}
	if b.wants("debezium_json_cpu") {
		return b.measureFormat()
	}
	return nil
}

// kafkaRounds plays the rounds of a scenario, and adds its figures.
func (st *stage) kafkaRounds(ctx context.Context, with bool) error {
	want, err := st.sequence(ctx)
	if err != nil {
		return err
	}
	var ours, received, own, allocations []sample
	for n := range st.options.rounds {
		other, err := st.receive(ctx)
		if err != nil {
			return err
		}
		received = append(received, other.sample(st.rows, true))
		run := fmt.Sprintf("%s_%d", st.name, n)
		once, err := st.intoKafka(ctx, run+"_once", "exactly_once", want)
		if err != nil {
			return err
		}
		ours = append(ours, once.took.sample(st.rows, once.content))
		allocations = append(allocations, sample{value: once.allocations, cpu: ours[n].cpu, peak: ours[n].peak, content: once.content})
		if !st.wants(st.name + "_own") {
			continue
		}
		least, err := st.intoKafka(ctx, run+"_least", "at_least_once", want)
		if err != nil {
			return err
		}
		if !least.content {
			return fmt.Errorf("%s delivered something else than was sent: %w", run, errGate)
		}
		own = append(own, least.took.sample(st.rows, true))
	}
	st.add(st.name, ours, received)
	if own != nil {
		st.add(st.name+"_own", ours, own)
	}
	if with {
		st.add("kafka_allocations", allocations, nil)
	}
	return nil
}

// farAway is what each direction of the way to the broker takes longer in kafka_100_far.
const farAway = 10 * time.Millisecond

// measureFar measures what a long way to the broker costs: exactly once, against the same way without a delay.
func (b *bench) measureFar(ctx context.Context, s scenario) error {
	if err := b.startBroker(ctx); err != nil {
		return err
	}
	proxies, err := b.broker.Proxies()
	if err != nil {
		return err
	}
	for _, p := range proxies {
		defer p.Close()
	}
	st, err := b.prepare(ctx, s)
	if err != nil {
		return err
	}
	want, err := st.sequence(ctx)
	if err != nil {
		return err
	}
	st.via = "kafka://" + b.broker.AddrOf(servers.KafkaProxied)
	var far, near []sample
	for n := range b.options.rounds {
		for _, r := range []struct {
			name    string
			delay   time.Duration
			samples *[]sample
		}{{"near", 0, &near}, {"far", farAway, &far}} {
			for _, p := range proxies {
				p.Set(proxy.ToServer, proxy.Toxic{Delay: r.delay})
				p.Set(proxy.ToClient, proxy.Toxic{Delay: r.delay})
			}
			d, err := st.intoKafka(ctx, fmt.Sprintf("%s_%d_%s", s.name, n, r.name), "exactly_once", want)
			if err != nil {
				return err
			}
			*r.samples = append(*r.samples, d.took.sample(st.rows, d.content))
		}
	}
	b.add(s.name, far, near)
	return st.close(ctx)
}

// delivered is a run into Kafka.
type delivered struct {
	took        took
	arrival     arrival
	allocations float64 // on the heap, a row
	content     bool
}

// intoKafka runs Rowferry from the beginning to the end of the log, into topics of the run's own.
func (st *stage) intoKafka(ctx context.Context, run, delivery string, want sequence) (delivered, error) {
	if _, err := st.endLSN(ctx); err != nil {
		return delivered{}, err
	}
	if err := st.makeTopics(ctx, run); err != nil {
		return delivered{}, err
	}
	if err := st.copyLedger(ctx, run); err != nil {
		return delivered{}, err
	}
	d := delivered{arrival: arrival{bench: st.bench, run: run}}
	settings := st.topics(run)
	settings["delivery"] = delivery
	var first, last memory
	var err error
	d.took, err = st.ours(ctx, st.targetURL(""), settings, func(ctx context.Context, child *daemon.Daemon) (bool, error) {
		if err := sleep(ctx, between); err != nil {
			return false, err
		}
		there, err := d.arrival.look(ctx)
		if err != nil {
			return false, err
		}
		switch rows := d.arrival.rows; { // rows after which the daemon says what it has allocated; an answer costs it some
		case first.rows == 0 && rows > int64(st.rows)/10:
			first, err = look(ctx, child)
		case last.rows == 0 && first.rows > 0 && (there || rows > int64(st.rows)*8/10):
			last, err = look(ctx, child)
		}
		return there, err
	})
	if err != nil {
		return delivered{}, err
	}
	if last.rows > first.rows {
		d.allocations = (last.mallocs - first.mallocs) / float64(last.rows-first.rows)
	}
	if d.content, err = st.arrived(ctx, topicOf(run, "acc"), want, delivery == "exactly_once"); err != nil {
		return delivered{}, err
	}
	return d, st.deleteTopics(ctx, topicOf(run, "acc"), topicOf(run, "marker"), ledgerOf(run))
}

// topics are the settings of a target that writes a run.
func (st *stage) topics(run string) daemon.Settings {
	return daemon.Settings{
		"topic": topicOf(run, "{table}"), "ledger": daemon.Settings{"topic": ledgerOf(run)}, "transaction": daemon.Settings{"id": run},
		"format": st.options.inKafka(),
	}
}

// inKafka is how records are written: in Debezium's format, which is the default, without schemas, as the connector beside
// which it is measured is told; or in the one that was asked for.
func (o options) inKafka() daemon.Settings {
	return daemon.Settings{"value": o.format, "debezium": daemon.Settings{"schemas": false}}
}
