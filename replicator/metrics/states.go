package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rowferry/rowferry/replicator/progress"
)

// states reads every gauge from the status of its pipeline at the moment of the scrape.
type states struct {
	mu   sync.Mutex // guards list and the lastAck of its members
	list []*state
}

type state struct {
	tracker    *progress.Tracker
	queueLimit int64
	created    time.Time
	lastAck    time.Time
}

func (s *states) add(st *state) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, st)
}

func (s *states) acked(pipeline string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.list {
		if st.tracker.Name() == pipeline {
			st.lastAck = now
		}
	}
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("rowferry_"+name, help, append([]string{"pipeline"}, labels...), nil)
}

var (
	stateDesc     = describe("pipeline_state", "What the pipeline does: exactly one state is 1.", "state")
	haltedDesc    = describe("pipeline_halted_info", "Why the pipeline is halted; always 1.", "code")
	sourceDesc    = describe("source_connected", "Whether the source's stream is open.")
	targetDesc    = describe("target_connected", "Whether the target is open.")
	lagDesc       = describe("lag_seconds", "Age of the oldest change read and not yet durable at the target; 0 if none. Grows while the source is not read.")
	sourceLagDesc = describe("source_lag_seconds", "Commit to receipt of the last transaction received.")
	eventDesc     = describe("source_last_event_timestamp_seconds", "When something last came from the source.")
	retainedDesc  = describe("source_retained_bytes", "Log the source's server keeps for this pipeline.")
	limitDesc     = describe("source_retention_limit_bytes", "Bytes after which the server stops keeping it; 0 for never.")
	queueDesc     = describe("queue_bytes", "Memory of batches read and not yet durable.", "queue")
	queueMaxDesc  = describe("queue_limit_bytes", "Budget of the queue.", "queue")
	spilledDesc   = describe("spilled_bytes", "Transactions in progress, on disk.")
	ackDesc       = describe("checkpoint_last_success_timestamp_seconds", "When a position was last acknowledged to the source.")
	tablesDesc    = describe("snapshot_tables", "Tables of the first copy.", "state")
	ratioDesc     = describe("snapshot_progress_ratio", "Share of the first copy that is done.")
	etaDesc       = describe("snapshot_eta_seconds", "Estimate of the rest of the first copy; -1 when not known.")
)

// Describe implements prometheus.Collector.
func (s *states) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		stateDesc, haltedDesc, sourceDesc, targetDesc, lagDesc, sourceLagDesc, eventDesc, retainedDesc, limitDesc,
		queueDesc, queueMaxDesc, spilledDesc, ackDesc, tablesDesc, ratioDesc, etaDesc,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (s *states) Collect(ch chan<- prometheus.Metric) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for _, st := range s.list {
		st.collect(ch, now)
	}
}

func (st *state) collect(ch chan<- prometheus.Metric, now time.Time) {
	p, live := st.tracker.Snapshot(now), st.tracker.Live()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, append([]string{p.Name}, labels...)...)
	}
	for _, s := range progress.States {
		gauge(stateDesc, boolean(p.State == s), string(s))
	}
	if p.Halt != nil {
		gauge(haltedDesc, 1, p.Halt.Code)
	}
	gauge(sourceDesc, boolean(live.SourceConnected))
	gauge(targetDesc, boolean(live.TargetConnected))
	gauge(lagDesc, p.LagSeconds)
	gauge(sourceLagDesc, live.SourceLagSeconds)
	gauge(eventDesc, seconds(live.LastEvent, st.created))
	gauge(retainedDesc, float64(p.RetainedBytes))
	gauge(limitDesc, float64(p.RetentionLimit))
	gauge(queueDesc, float64(p.QueueBytes), "changes")
	gauge(queueMaxDesc, float64(st.queueLimit), "changes")
	gauge(spilledDesc, float64(p.SpilledBytes))
	gauge(ackDesc, seconds(st.lastAck, st.created))
	if p.Copy == nil {
		return
	}
	done := 0
	for _, t := range p.Copy.Tables {
		if t.Done {
			done++
		}
	}
	gauge(tablesDesc, float64(done), "done")
	gauge(tablesDesc, float64(len(p.Copy.Tables)-done), "waiting")
	gauge(ratioDesc, p.Copy.Ratio)
	gauge(etaDesc, p.Copy.ETASeconds)
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// seconds is a moment as Prometheus writes it; what has not happened yet counts from the pipeline's creation.
func seconds(t, created time.Time) float64 {
	if t.IsZero() {
		t = created
	}
	return float64(t.UnixNano()) / 1e9
}
