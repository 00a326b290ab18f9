package postgres

import (
	"testing"
	"time"
)

// clock is the time of a test of the pace.
type clock struct {
	now time.Time
	p   pace
}

// reads plays n reads of size bytes, each after a wait, and gives the time spent in pauses.
func (c *clock) reads(n, size int, wait time.Duration) (paused time.Duration) {
	for range n {
		if d := c.p.before(c.p.lastBytes(size), c.now); d > 0 {
			paused += d
			c.now = c.now.Add(d)
			// What came in the meantime is read at once.
			c.p.read(int(float64(size)*float64(d)/float64(wait+1)), 0, c.now)
		}
		c.now = c.now.Add(wait)
		c.p.read(size, wait, c.now)
	}
	return paused
}

// lastBytes is the size of the read before, none before the first.
func (p *pace) lastBytes(size int) int {
	if p.lastRead.IsZero() {
		return 0
	}
	return size
}

func TestPace(t *testing.T) {
	const rush = 20 * time.Microsecond
	tests := []struct {
		name string
		off  bool
		lag  time.Duration
		n    int
		size int
		wait time.Duration
		want bool
	}{
		{name: "catching up", lag: time.Minute, n: 20_000, size: 300, wait: rush, want: true},
		{name: "catching up, switched off", off: true, lag: time.Minute, n: 20_000, size: 300, wait: rush},
		{name: "busy, but in the present", lag: 50 * time.Millisecond, n: 20_000, size: 300, wait: rush},
		{name: "a thousand small transactions a second", lag: time.Minute, n: 3000, size: 100, wait: time.Millisecond},
		{name: "idle", lag: time.Minute, n: 50, size: 5000, wait: time.Second},
		{name: "large reads need no pause", lag: time.Minute, n: 2000, size: 64 << 10, wait: rush},
		{name: "too short to tell", lag: time.Minute, n: 200, size: 300, wait: rush},
		{name: "a server that stops and goes", lag: time.Minute, n: 400, size: 2000, wait: 60 * time.Millisecond},
		{name: "fast, with an odd stall", lag: time.Minute, n: 2000, size: 300, wait: 40 * time.Microsecond, want: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := &clock{now: time.Unix(1000, 0), p: pace{off: tt.off}}
			c.p.lag(tt.lag)
			paused := c.reads(tt.n, tt.size, tt.wait)
			if (paused > 0) != tt.want {
				t.Errorf("got %s of pauses, want any: %v", paused, tt.want)
			}
			if paused != c.p.total || (c.p.pauses > 0) != tt.want {
				t.Errorf("counted %s in %d pauses, were %s", c.p.total, c.p.pauses, paused)
			}
		})
	}
}

func TestPaceEndsWhenAPauseBringsLittle(t *testing.T) {
	c := &clock{now: time.Unix(1000, 0)}
	c.p.lag(time.Minute)
	for c.p.pauses == 0 {
		c.now = c.now.Add(20 * time.Microsecond)
		c.p.read(300, 20*time.Microsecond, c.now)
		c.now = c.now.Add(c.p.before(300, c.now))
	}
	c.p.read(5000, 0, c.now) // all that came in 10 ms
	if d := c.p.before(5000, c.now); d != 0 {
		t.Errorf("after a pause that brought 5000 bytes: got another of %s", d)
	}
	if d := c.p.before(300, c.now); d != 0 {
		t.Errorf("and then: got a pause of %s without a new rush", d)
	}
}

func TestPaceCountsTimeSpentOnRows(t *testing.T) {
	c := &clock{now: time.Unix(1000, 0)}
	c.p.lag(time.Minute)
	c.reads(20_000, 300, 20*time.Microsecond)
	c.p.read(100<<10, 0, c.now)
	c.p.read(300, 0, c.now)
	if d := c.p.before(300, c.now.Add(7*time.Millisecond)); d != 3*time.Millisecond {
		t.Errorf("7 ms after the read: got %s, want 3ms", d)
	}
	c.p.read(100<<10, 0, c.now)
	if d := c.p.before(300, c.now.Add(time.Second)); d != 0 {
		t.Errorf("a second after the read: got %s, want none", d)
	}
}

func TestPaceLag(t *testing.T) {
	var p pace
	for _, tt := range []struct {
		lag  time.Duration
		want bool
	}{{0, false}, {499 * time.Millisecond, false}, {time.Second, true}, {200 * time.Millisecond, true}, {99 * time.Millisecond, false}, {-time.Hour, false}} {
		if p.lag(tt.lag); p.behind != tt.want {
			t.Errorf("lag %s: got %v, want %v", tt.lag, p.behind, tt.want)
		}
	}
}
