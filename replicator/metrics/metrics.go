// Package metrics turns what pipelines do into Prometheus series. Counters and histograms are written once for each
// batch or group; everything that is a state is read from the status when somebody asks.
package metrics

import (
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rowferry/rowferry/replicator/progress"
	"github.com/rowferry/rowferry/schema"
)

var (
	latencyBuckets = []float64{
		.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800,
	}
	commitBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
	rowBuckets    = []float64{1, 10, 50, 100, 500, 1e3, 5e3, 1e4, 5e4}
)

var opNames = [...]string{"read", "create", "update", "delete", "truncate", "message", "schema"}

// Set is the series of a daemon.
type Set struct {
	maxTables     int
	latency       *prometheus.HistogramVec
	commit        *prometheus.HistogramVec
	checkpoint    *prometheus.HistogramVec
	batchRows     *prometheus.HistogramVec
	retries       *prometheus.CounterVec
	errors        *prometheus.CounterVec
	sourceBytes   *prometheus.CounterVec
	sourceTx      *prometheus.CounterVec
	sourceChanges *prometheus.CounterVec
	targetBytes   *prometheus.CounterVec
	targetTx      *prometheus.CounterVec
	targetChanges *prometheus.CounterVec
	copyRows      *prometheus.CounterVec
	copyBytes     *prometheus.CounterVec
	schemaChanges *prometheus.CounterVec
	states        *states
}

// New registers the series. maxTables is how many tables of a pipeline have series of their own; the rest share
// table="_other".
func New(r *prometheus.Registry, version, revision string, maxTables int) *Set {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "rowferry_" + name, Help: help},
			append([]string{"pipeline"}, labels...))
		r.MustRegister(v)
		return v
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		v := prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "rowferry_" + name, Help: help, Buckets: buckets,
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100,
		}, append([]string{"pipeline"}, labels...))
		r.MustRegister(v)
		return v
	}
	s := &Set{
		maxTables: maxTables,
		latency: histogram("change_latency_seconds",
			"Age of the oldest change of a batch or group, by how far it had come.", latencyBuckets, "stage"),
		commit:     histogram("target_commit_duration_seconds", "Time a group took to become durable.", commitBuckets),
		checkpoint: histogram("checkpoint_duration_seconds", "Time from commit to acknowledgement.", commitBuckets),
		batchRows:  histogram("target_batch_rows", "Rows of one group.", rowBuckets),
		retries:    counter("target_retries_total", "Attempts that failed and were made again.", "reason"),
		errors:     counter("errors_total", "Errors that ended an attempt.", "component", "code"),
		sourceBytes: counter("source_bytes_total",
			"Memory of the batches the source handed over."),
		sourceTx: counter("source_transactions_total", "Transactions the source handed over."),
		sourceChanges: counter("source_changes_total", "Changes the source handed over, by its table names.",
			"table", "op"),
		targetBytes:   counter("target_bytes_total", "Bytes of payloads now durable."),
		targetTx:      counter("target_transactions_total", "Transactions of the source now durable."),
		targetChanges: counter("target_changes_total", "Changes now durable, by the target's table names.", "table", "op"),
		copyRows:      counter("snapshot_rows_total", "Rows the first copy made durable.", "table"),
		copyBytes:     counter("snapshot_bytes_total", "Bytes the first copy made durable.", "table"),
		schemaChanges: counter("schema_changes_total", "Changes of a table's definition now durable.", "table", "result"),
		states:        &states{},
	}
	r.MustRegister(s.states)
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "rowferry_build_info", Help: "What runs; always 1.",
		ConstLabels: prometheus.Labels{"version": version, "revision": revision, "goversion": runtime.Version()},
	})
	info.Set(1)
	r.MustRegister(info)
	return s
}

// Pipeline is the series of one pipeline.
type Pipeline struct {
	set    *Set
	name   string
	tables *tables // of the source
	target *tables

	receive, apply, total         prometheus.Observer
	commit, checkpoint, batchRows prometheus.Observer
	sourceBytes, sourceTx         prometheus.Counter
	targetBytes, targetTx         prometheus.Counter
}

// Pipeline makes the series of a pipeline whose status the tracker keeps. Series that begin at zero exist from now.
func (s *Set) Pipeline(name string, t *progress.Tracker, queueLimit int64) *Pipeline {
	s.states.add(&state{tracker: t, queueLimit: queueLimit, created: time.Now()})
	return &Pipeline{
		set: s, name: name,
		tables: &tables{max: s.maxTables}, target: &tables{max: s.maxTables},
		receive: s.latency.WithLabelValues(name, "receive"), apply: s.latency.WithLabelValues(name, "apply"),
		total: s.latency.WithLabelValues(name, "total"), commit: s.commit.WithLabelValues(name),
		checkpoint: s.checkpoint.WithLabelValues(name), batchRows: s.batchRows.WithLabelValues(name),
		sourceBytes: s.sourceBytes.WithLabelValues(name), sourceTx: s.sourceTx.WithLabelValues(name),
		targetBytes: s.targetBytes.WithLabelValues(name), targetTx: s.targetTx.WithLabelValues(name),
	}
}

// Received counts a batch the source handed over, before it is routed.
func (p *Pipeline) Received(b *schema.Batch, counts []Count, now time.Time) {
	p.sourceBytes.Add(float64(b.Bytes()))
	if n := transactions(b); n > 0 {
		p.sourceTx.Add(float64(n))
		p.receive.Observe(max(0, now.Sub(b.Transactions[0].Time()).Seconds()))
	}
	for _, c := range counts {
		p.set.sourceChanges.WithLabelValues(p.name, p.tables.label(c.Table), opName(c.Op)).Add(float64(c.N))
	}
}

// Applied counts one batch of a group now durable, by the names the target knows.
func (p *Pipeline) Applied(counts []Count, transactions, bytes int64) {
	p.targetBytes.Add(float64(bytes))
	p.targetTx.Add(float64(transactions))
	for _, c := range counts {
		table := p.target.label(c.Table)
		p.set.targetChanges.WithLabelValues(p.name, table, opName(c.Op)).Add(float64(c.N))
		if c.Op == schema.OpSchema {
			p.set.schemaChanges.WithLabelValues(p.name, table, "applied").Add(float64(c.N))
		}
	}
}

// Committed observes a group now durable: how long that took, its rows, and the age of its oldest change, which is
// zero when it has none.
func (p *Pipeline) Committed(took time.Duration, rows int, received, oldest, now time.Time) {
	p.commit.Observe(took.Seconds())
	if rows > 0 {
		p.batchRows.Observe(float64(rows))
		p.apply.Observe(max(0, now.Sub(received).Seconds()))
	}
	if !oldest.IsZero() {
		p.total.Observe(max(0, now.Sub(oldest).Seconds()))
	}
}

// Copied counts copied rows now durable.
func (p *Pipeline) Copied(table *schema.Table, rows, bytes int64) {
	label := p.target.label(table)
	p.set.copyRows.WithLabelValues(p.name, label).Add(float64(rows))
	p.set.copyBytes.WithLabelValues(p.name, label).Add(float64(bytes))
}

// Acked observes an acknowledgement that reached the source so long after its group was durable.
func (p *Pipeline) Acked(after time.Duration, now time.Time) {
	p.checkpoint.Observe(after.Seconds())
	p.set.states.acked(p.name, now)
}

// Failed counts an attempt that ended with an error; again tells whether another follows.
func (p *Pipeline) Failed(component, code string, again bool) {
	if code == "" {
		code = "unknown"
	}
	p.set.errors.WithLabelValues(p.name, component, code).Inc()
	if again {
		p.set.retries.WithLabelValues(p.name, code).Inc()
	}
}

// opName is the label of an operation.
func opName(op schema.Op) string {
	if int(op) < len(opNames) {
		return opNames[op]
	}
	return "other"
}

// transactions counts those that end in the batch.
func transactions(b *schema.Batch) int {
	if b.Part == schema.PartMore {
		return 0
	}
	return len(b.Transactions)
}
