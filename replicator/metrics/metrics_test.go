package metrics

import (
	"fmt"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rowferry/rowferry/replicator/progress"
	"github.com/rowferry/rowferry/schema"
)

func table(name string) *schema.Table { return &schema.Table{Schema: "public", Name: name} }

// scrape reads every series as "name{label=value,…} value"; of histograms their count.
func scrape(t *testing.T, g prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				if l.GetName() != "pipeline" && l.GetName() != "goversion" {
					labels = append(labels, l.GetName()+"="+l.GetValue())
				}
			}
			sort.Strings(labels)
			v := m.GetGauge().GetValue() + m.GetCounter().GetValue()
			if h := m.GetHistogram(); h != nil {
				v = float64(h.GetSampleCount())
			}
			out[strings.TrimSuffix(f.GetName()+"{"+strings.Join(labels, ",")+"}", "{}")] = v
		}
	}
	return out
}

func TestSeries(t *testing.T) {
	r := prometheus.NewRegistry()
	set := New(r, "1.2", "abc", 2)
	now := time.Now()
	tr := progress.NewTracker("p", "s", "t", now)
	p := set.Pipeline("p", tr, 1000)
	before := scrape(t, r)
	for _, name := range []string{
		"rowferry_target_transactions_total", "rowferry_source_bytes_total", "rowferry_change_latency_seconds{stage=total}",
		"rowferry_source_connected", "rowferry_spilled_bytes", "rowferry_target_commit_duration_seconds",
	} {
		if v, ok := before[name]; !ok || v != 0 {
			t.Errorf("%s before anything happened: got %v, %v, want 0", name, v, ok)
		}
	}
	if v := before["rowferry_checkpoint_last_success_timestamp_seconds"]; v < float64(now.Unix()) {
		t.Errorf("a checkpoint that never was: got %v, want the creation", v)
	}

	b := &schema.Batch{
		Transactions: []schema.Transaction{{CommitTime: now.Add(-time.Second).UnixMicro()}, {CommitTime: now.UnixMicro()}},
		Changes:      []schema.Change{{Op: schema.OpCreate, Table: table("a")}, {Op: schema.OpSchema, Table: table("b")}, {Op: schema.OpDelete, Table: table("c")}, {Op: schema.OpMessage}},
	}
	counts := Counts(nil, b)
	p.Received(b, counts, now)
	p.Applied(counts, 2, 500)
	p.Committed(time.Millisecond, 4, now, now.Add(-time.Second), now)
	p.Copied(table("a"), 7, 70)
	p.Acked(time.Millisecond, now.Add(time.Hour))
	p.Failed("source", "source.lost", true)
	p.Failed("engine", "", false)
	tr.BeginCopy([]progress.Planned{{Name: "a", Rows: 1, Bytes: 1}}, now)
	tr.Halted(progress.Halt{Code: "source.lost"}, now)
	tr.Observed(5, 50)
	tr.Held(100, 200)
	got := scrape(t, r)
	for name, want := range map[string]float64{
		"rowferry_build_info{revision=abc,version=1.2}":                1,
		"rowferry_source_transactions_total":                           2,
		"rowferry_source_changes_total{op=create,table=public.a}":      1,
		"rowferry_source_changes_total{op=schema,table=public.b}":      1,
		"rowferry_source_changes_total{op=delete,table=_other}":        1,
		"rowferry_source_changes_total{op=message,table=_other}":       1,
		"rowferry_target_changes_total{op=create,table=public.a}":      1,
		"rowferry_schema_changes_total{result=applied,table=public.b}": 1,
		"rowferry_target_transactions_total":                           2,
		"rowferry_target_bytes_total":                                  500,
		"rowferry_change_latency_seconds{stage=total}":                 1,
		"rowferry_change_latency_seconds{stage=receive}":               1,
		"rowferry_snapshot_rows_total{table=public.a}":                 7,
		"rowferry_snapshot_bytes_total{table=public.a}":                70,
		"rowferry_errors_total{code=source.lost,component=source}":     1,
		"rowferry_errors_total{code=unknown,component=engine}":         1,
		"rowferry_target_retries_total{reason=source.lost}":            1,
		"rowferry_pipeline_state{state=halted}":                        1,
		"rowferry_pipeline_state{state=streaming}":                     0,
		"rowferry_pipeline_halted_info{code=source.lost}":              1,
		"rowferry_source_retained_bytes":                               5,
		"rowferry_source_retention_limit_bytes":                        50,
		"rowferry_queue_bytes{queue=changes}":                          100,
		"rowferry_queue_limit_bytes{queue=changes}":                    1000,
		"rowferry_spilled_bytes":                                       200,
		"rowferry_snapshot_tables{state=waiting}":                      1,
		"rowferry_snapshot_eta_seconds":                                -1,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s: got %v, %v, want %v", name, v, ok, want)
		}
	}
	if v := got["rowferry_checkpoint_last_success_timestamp_seconds"]; v < float64(now.Add(59*time.Minute).Unix()) {
		t.Errorf("got a checkpoint at %v", v)
	}
}

func TestExactlyOneStateIsSet(t *testing.T) {
	r := prometheus.NewRegistry()
	tr := progress.NewTracker("p", "s", "t", time.Now())
	New(r, "", "", 1).Pipeline("p", tr, 1)
	for _, s := range progress.States {
		tr.SetState(s, "", time.Now())
		sum, got := 0.0, scrape(t, r)
		for _, other := range progress.States {
			sum += got[fmt.Sprintf("rowferry_pipeline_state{state=%s}", other)]
		}
		if sum != 1 || got[fmt.Sprintf("rowferry_pipeline_state{state=%s}", s)] != 1 {
			t.Errorf("%s: got %v set", s, sum)
		}
	}
}

func TestCounts(t *testing.T) {
	a, b := table("a"), table("b")
	batch := &schema.Batch{}
	for i := range 100 {
		batch.Changes = append(batch.Changes, schema.Change{Op: schema.OpUpdate, Table: []*schema.Table{a, b}[i%2]})
	}
	got := Counts(nil, batch)
	if len(got) != 2 || got[0].N != 50 || got[1].N != 50 {
		t.Errorf("got %+v, want 50 and 50", got)
	}
	merged := Merge(got, Counts(nil, batch))
	if len(merged) != 2 || merged[0].N != 100 {
		t.Errorf("got %+v, want 100 each", merged)
	}
	copied := Counts(nil, &schema.Batch{Copy: &schema.Copy{Table: a, Rows: 9}})
	if len(copied) != 1 || copied[0].N != 9 || copied[0].Op != schema.OpRead {
		t.Errorf("got %+v, want 9 read", copied)
	}
}

// BenchmarkCounts is the cost of counting 1,000 changes in runs of ten.
func BenchmarkCounts(b *testing.B) {
	tables := []*schema.Table{table("a"), table("b"), table("c")}
	batch := &schema.Batch{Changes: make([]schema.Change, 1000)}
	for i := range batch.Changes {
		batch.Changes[i].Table = tables[i/10%3]
	}
	counts := make([]Count, 0, 8)
	b.ReportAllocs()
	for b.Loop() {
		counts = Counts(counts[:0], batch)
	}
}
