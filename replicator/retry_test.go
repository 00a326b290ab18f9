package replicator

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
)

func TestPolicy(t *testing.T) {
	odd := errors.New("odd")
	type step struct {
		after   time.Duration
		err     error
		healthy bool
		want    reaction
	}
	tests := []struct {
		name  string
		steps []step
	}{
		{name: "terminal", steps: []step{{err: fault.Halt("a.b", odd, "x"), want: halt}}},
		{name: "record", steps: []step{{err: fault.Record("a.b", odd, "x"), want: halt}}},
		{name: "fenced", steps: []step{{err: fault.Fence(odd), want: halt}}},
		{name: "busy", steps: []step{{err: fault.InUse("x"), want: standBy}}},
		{name: "endless", steps: []step{
			{err: fault.Wait("a.b", odd), want: again}, {after: time.Hour, err: fault.Wait("a.b", odd), want: again},
			{after: time.Hour, err: fault.Unknown(odd), want: again},
		}},
		{name: "unknown", steps: []step{
			{err: odd, want: again}, {after: 10 * time.Minute, err: odd, want: again},
			{after: 5 * time.Minute, err: odd, want: tryLimit},
		}},
		{name: "progress resets", steps: []step{
			{err: odd, want: again}, {after: 10 * time.Minute, err: odd, want: again},
			{after: 10 * time.Minute, err: odd, healthy: true, want: again},
			{after: 14 * time.Minute, err: odd, want: again}, {after: time.Minute, err: odd, want: tryLimit},
		}},
		{name: "an outage does not count", steps: []step{
			{err: odd, want: again}, {after: time.Minute, err: fault.Wait("a.b", odd), want: again},
			{after: 10 * time.Hour, err: odd, want: again}, {after: time.Minute, err: odd, want: again},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, now := policy{unknownLimit: 15 * time.Minute}, time.Unix(0, 0)
			for i, s := range tt.steps {
				now = now.Add(s.after)
				if got := p.judge(fault.Of(s.err), s.healthy, now); got != s.want {
					t.Fatalf("step %d: got %d, want %d", i, got, s.want)
				}
			}
		})
	}
}

func TestWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWaits(Spec{}.withDefaults().Retry)
		w.Reset()
		total := time.Duration(0)
		for range 100 {
			w.react(again, false, time.Now())
			d := w.NextBackOff()
			if d < 0 || d > 45*time.Second {
				t.Fatalf("got %s", d)
			}
			total += d
		}
		if total < 30*time.Minute {
			t.Errorf("100 waits took %s: the interval did not grow", total)
		}
		w.react(again, true, time.Now())
		if d := w.NextBackOff(); d > 150*time.Millisecond {
			t.Errorf("got %s after progress, want the first interval", d)
		}
		w.react(standBy, false, time.Now())
		if d := w.NextBackOff(); d != standbyFast {
			t.Errorf("got %s, want %s", d, standbyFast)
		}
		time.Sleep(standbyEager)
		w.react(standBy, false, time.Now())
		if d := w.NextBackOff(); d != standbySlow {
			t.Errorf("got %s, want %s", d, standbySlow)
		}
	})
}

func TestGuardSaysEachThingOnce(t *testing.T) {
	var g guard
	for i, tt := range []struct {
		retained, limit int64
		percent         int
		rose            bool
	}{
		{10, 100, 10, false}, {55, 100, 55, true}, {60, 100, 60, false}, {95, 100, 95, true}, {40, 100, 40, false},
		{51, 100, 51, true}, {51, 0, 0, false},
	} {
		if percent, rose := g.level(tt.retained, tt.limit); percent != tt.percent || rose != tt.rose {
			t.Errorf("step %d: got %d %v, want %d %v", i, percent, rose, tt.percent, tt.rose)
		}
	}
	warning := []schema.Finding{{Code: "source.x", Severity: schema.Warning}, {Severity: schema.Pass}}
	if n := len(g.fresh(warning)); n != 1 {
		t.Errorf("got %d, want 1", n)
	}
	if n := len(g.fresh(warning)); n != 0 {
		t.Errorf("got %d the second time, want 0", n)
	}
	g.fresh(nil)
	if n := len(g.fresh(warning)); n != 1 {
		t.Errorf("got %d after it had gone, want 1", n)
	}
}
