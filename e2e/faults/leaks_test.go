package faults

import (
	"context"
	"testing"

	"github.com/rowferry/rowferry/e2e/daemon"
	"github.com/rowferry/rowferry/e2e/oracle"
	"github.com/rowferry/rowferry/e2e/servers"
	"github.com/rowferry/rowferry/e2e/trial"
	"github.com/rowferry/rowferry/replicator/progress"
)

// TestLeaks_Retries: pipelines that began again many times hold at rest what they held before, and a stop after it
// leaves no session, no slot in use, no transaction and no file behind.
func TestLeaks_Retries(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 4*limit)
	t.Cleanup(cancel)
	tr := newTrial(t, 160, trial.Options{
		Besides: daemon.Settings{"on_error": daemon.Settings{"retries": daemon.Settings{"backoff": "10ms..100ms"}}},
	})
	flow(ctx, t, tr)
	if err := tr.Retries(ctx, 8, tr.Disconnect); err != nil {
		t.Fatal(err)
	}
	finish(ctx, t, tr)
}

// TestLeaks_Halts: a pipeline that halted holds nothing: of two pipelines a daemon holds what it does for one.
func TestLeaks_Halts(t *testing.T) {
	t.Parallel()
	p := farPair(t, build(t))
	servers.Exec(t, p.source, `CREATE TABLE others (id int PRIMARY KEY)`)
	p.Pipelines[0].Include = []string{"public.others"}
	p.follow()
	one := p.held()
	p.stop()

	second := p.Pipelines[0]
	second.Name, second.Include = "halting", []string{"public.items"}
	second.InSource = daemon.Settings{"slot": daemon.Settings{"name": p.slot + "_h"}}
	p.Pipelines = append(p.Pipelines, second)
	p.follow()
	if both := p.held(); both.Within(one, 1) {
		t.Fatalf("two pipelines hold %v, one %v: nothing would be seen", both, one)
	}
	p.exec(`ALTER TABLE items ADD COLUMN more int`, `INSERT INTO items VALUES (1000, 'halts', 1)`)
	p.halted("target.schema_mismatch", "items")
	p.eventually("the daemon to hold what it does for one pipeline", func() (bool, string) {
		now := p.held()
		return now.Within(one, 3), now.String() + ", not " + one.String() // connections of questions like this one come and go
	})
	const sessions = `SELECT count(*)::text FROM pg_stat_activity WHERE application_name LIKE 'rowferry%halting%'`
	for _, url := range []string{p.source, p.target} {
		p.eventually("the halted pipeline to have no session", func() (bool, string) { // one that looks at the source comes and goes
			n, err := query(p.ctx, url, sessions)
			return err == nil && n == "0", n
		})
	}
	report, err := p.Status(p.ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range report.Pipelines {
		if s.Name == "shop" && (s.State == progress.Halted || s.Retries > 0) {
			t.Errorf("the other pipeline: got %s after %d retries, want one that goes on", s.State, s.Retries)
		}
	}
	p.stop()
}

// held is what the daemon holds.
func (p *pair) held() oracle.Use {
	p.t.Helper()
	page, err := p.Metrics(p.ctx)
	if err != nil {
		p.t.Fatal(err)
	}
	use, err := oracle.ReadUse(page)
	if err != nil {
		p.t.Fatal(err)
	}
	return use
}
