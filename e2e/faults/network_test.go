package faults

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/rowferry/rowferry/e2e/daemon"
	"github.com/rowferry/rowferry/e2e/load"
	"github.com/rowferry/rowferry/e2e/oracle"
	"github.com/rowferry/rowferry/e2e/proxy"
	"github.com/rowferry/rowferry/e2e/servers"
	"github.com/rowferry/rowferry/e2e/trial"
	"github.com/rowferry/rowferry/replicator/progress"
)

// via puts a proxy before a database and returns it with the database's URL through it.
func via(t *testing.T, of string) (*proxy.Proxy, string) {
	t.Helper()
	u, err := url.Parse(of)
	if err != nil {
		t.Fatal(err)
	}
	p := proxy.ForTest(t, u.Host)
	u.Host = p.Addr()
	return p, u.String()
}

// both sets a toxic in both directions.
func both(p *proxy.Proxy, toxic proxy.Toxic) {
	p.Set(proxy.ToServer, toxic)
	p.Set(proxy.ToClient, toxic)
}

// proxied is a trial whose daemon reaches source and target through proxies.
func proxied(t *testing.T, seed uint64, o trial.Options) (tr *trial.Trial, source, target *proxy.Proxy) {
	t.Helper()
	o.Source, o.Target = servers.ForTest(t, servers.Major(t)).NewDatabase(t), targets(t).NewDatabase(t)
	source, o.SourceVia = via(t, o.Source)
	target, o.TargetVia = via(t, o.Target)
	return newTrial(t, seed, o), source, target
}

// retrying waits until every pipeline that is asked for waits for something to pass.
func retrying(ctx context.Context, t *testing.T, tr *trial.Trial, pipelines ...trial.Target) {
	t.Helper()
	err := eventually(ctx, "the pipelines to notice", func() (bool, string) {
		states := tr.States(ctx)
		for _, p := range pipelines {
			if states[string(p)] != progress.Retrying {
				return false, fmt.Sprint(states)
			}
		}
		return true, ""
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestFault24_Reset resets every connection to the source and to the target, again and again.
func TestFault24_Reset(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	tr, source, target := proxied(t, 24, trial.Options{})
	flow(ctx, t, tr)
	for range 3 {
		for _, p := range []*proxy.Proxy{source, target} {
			more(ctx, t, tr, 25)
			p.Reset()
			if err := tr.AwaitFollowing(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	finish(ctx, t, tr)
}

// TestFault25_SilentSource: the network swallows everything between daemon and source, and tells neither. Both give
// the connection up by themselves, and the slot is free again when the network is back.
func TestFault25_SilentSource(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	tr, source, _ := proxied(t, 25, trial.Options{InSource: daemon.Settings{"connect_timeout": "1s"}})
	flow(ctx, t, tr)
	more(ctx, t, tr, 25)
	both(source, proxy.Toxic{BlackHole: true})
	retrying(ctx, t, tr, trial.Postgres, trial.File)
	if log := tr.Daemon.Log(); !strings.Contains(log, "source.silent") && !strings.Contains(log, "source.lock_lost") {
		t.Error("nobody noticed the silence itself")
	}
	source.Heal()
	if err := tr.AwaitFollowing(ctx); err != nil {
		t.Fatal(err)
	}
	more(ctx, t, tr, 25)
	finish(ctx, t, tr)
}

// TestFault26_SilentTarget: the target answers no more while it works for us.
func TestFault26_SilentTarget(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	tr, _, target := proxied(t, 26, trial.Options{
		Targets:  []trial.Target{trial.Postgres},
		InTarget: daemon.Settings{"lock_timeout": "500ms", "reply_timeout": "1s", "connect_timeout": "1s"},
	})
	flow(ctx, t, tr)
	for _, toxic := range []proxy.Direction{proxy.ToClient, proxy.ToServer} {
		more(ctx, t, tr, 25)
		target.Set(toxic, proxy.Toxic{BlackHole: true})
		retrying(ctx, t, tr, trial.Postgres)
		target.Heal()
		if err := tr.AwaitFollowing(ctx); err != nil {
			t.Fatal(err)
		}
	}
	finish(ctx, t, tr)
}

// TestFault26_CommitWithoutAnswer: the answer to a COMMIT is lost, and the COMMIT counts.
func TestFault26_CommitWithoutAnswer(t *testing.T) {
	t.Parallel()
	p := farPair(t, build(t))
	network, through := via(t, p.target)
	p.Pipelines[0].Target = through
	for k, v := range (daemon.Settings{"lock_timeout": "1s", "reply_timeout": "3s", "connect_timeout": "1s"}) {
		p.Pipelines[0].InTarget[k] = v
	}
	p.follow()
	p.equal()
	servers.Exec(t, p.target, `CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(1.5); RETURN NULL; END $$`,
		`CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON items DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.id = 1000) EXECUTE FUNCTION slow()`,
		`ALTER TABLE items ENABLE ALWAYS TRIGGER slow`)
	p.exec(`INSERT INTO items VALUES (1000, 'slow to commit')`)
	p.eventually("the COMMIT to be under way", func() (bool, string) {
		n, err := query(p.ctx, p.target, `SELECT count(*)::text FROM pg_stat_activity WHERE datname = current_database()
			AND application_name LIKE 'rowferry%' AND query = 'COMMIT' AND wait_event = 'PgSleep'`)
		return err == nil && n == "1", n
	})
	network.Set(proxy.ToClient, proxy.Toxic{BlackHole: true})
	p.waiting("waiting for the commit's answer")
	network.Heal()
	p.equal()
	p.exec(`INSERT INTO items VALUES (1001, 'after')`)
	p.equal()
}

// TestFault27_SlowNetwork: half a second there and back, and 100 kB a second. It takes longer, and that is all.
func TestFault27_SlowNetwork(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	tr, source, target := proxied(t, 27, trial.Options{
		Targets: []trial.Target{trial.Postgres},
		Load:    &load.Runner{Profile: load.Full(), Seed: 27, Workers: 1, Rate: 10},
	})
	if err := tr.Start(); err != nil {
		t.Fatal(err)
	}
	if err := tr.AwaitFollowing(ctx); err != nil {
		t.Fatal(err)
	}
	for _, p := range []*proxy.Proxy{source, target} {
		both(p, proxy.Toxic{Delay: 250 * time.Millisecond, Rate: 100_000})
	}
	tr.Begin(ctx)
	more(ctx, t, tr, 60)
	tr.Load().Pause()
	if err := tr.CatchUp(ctx); err != nil {
		t.Fatal(err)
	}
	page, err := tr.Daemon.Metrics(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(page), "rowferry_target_retries_total{"); n > 0 {
		t.Errorf("there were retries:\n%s", tr.Daemon.LogEnd())
	}
	for _, p := range []*proxy.Proxy{source, target} {
		p.Heal()
	}
	finish(ctx, t, tr)
}

// TestFault28_Partition cuts the daemon off from one side while the other is well: it does not pretend to be.
func TestFault28_Partition(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]int{"from the source": 0, "from the target": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := farPair(t, build(t))
			hasten(t, p.source)
			var sides [2]*proxy.Proxy
			sides[0], p.Pipelines[0].Source = via(t, p.source)
			sides[1], p.Pipelines[0].Target = via(t, p.target)
			p.Pipelines[0].InSource["connect_timeout"] = "1s"
			for k, v := range (daemon.Settings{"lock_timeout": "500ms", "reply_timeout": "1s", "connect_timeout": "1s"}) {
				p.Pipelines[0].InTarget[k] = v
			}
			p.follow()
			p.equal()
			both(sides[cut], proxy.Toxic{BlackHole: true})
			sides[cut].Refuse(true)
			p.exec(`INSERT INTO items VALUES (1000, 'cut off')`)
			p.eventually("the daemon to tell that it is cut off and behind", func() (bool, string) {
				page, err := p.Metrics(p.ctx)
				if err != nil {
					return false, err.Error()
				}
				value := func(series string) float64 {
					v, ok := oracle.Metric(page, series)
					if !ok {
						t.Fatalf("there is no metric %s", series)
					}
					return v
				}
				connected := value(`rowferry_` + []string{"source", "target"}[cut] + `_connected{pipeline="shop"}`)
				well := value(`rowferry_pipeline_state{pipeline="shop",state="streaming"}`) +
					value(`rowferry_pipeline_state{pipeline="shop",state="catching_up"}`)
				lag := value(`rowferry_lag_seconds{pipeline="shop"}`)
				return connected == 0 && well == 0 && lag > 1, fmt.Sprint(connected, well, lag)
			})
			sides[cut].Heal()
			p.equal()
			p.eventually("the lag to be gone", func() (bool, string) {
				report, err := p.Status(p.ctx)
				if err != nil {
					return false, err.Error()
				}
				s := report.Pipelines[0]
				return s.State == progress.Streaming && s.LagSeconds == 0, fmt.Sprint(s.State, s.LagSeconds)
			})
		})
	}
}
