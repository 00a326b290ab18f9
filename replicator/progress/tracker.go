package progress

import (
	"sync"
	"time"
)

// How a pipeline moves between catching up and streaming.
const (
	settledAge  = 5 * time.Second  // a durable change this young means we are level with the source
	settledIdle = time.Second      // so does a source that had nothing more to give for so long
	behindAge   = 30 * time.Second // a change waiting for so long means we are not
)

// rateWindow is how far back rates look, in ticks of one second.
const rateWindow = 10

// Tracker keeps the status of one pipeline up to date. It has no clock of its own: callers say what time it is.
// Every method may be called from any goroutine; the cost is one short lock for each batch or group.
type Tracker struct {
	mu       sync.Mutex // guards everything below; nothing is called while it is held
	p        Pipeline
	pending  []waiting // read and not yet durable, in order
	lastRead time.Time
	emptied  time.Time // since when nothing is pending
	received int64     // commit time of the last transaction read, microseconds
	source   bool
	opened   time.Time // when the source's stream was last opened
	unread   time.Time // since when changes may wait at the source that nobody has read; zero while it is read
	target   bool
	samples  []sample // one each tick, the newest last
	copying  *copying
}

// waiting is a batch read and not yet durable.
type waiting struct {
	number int64
	oldest int64 // commit time, microseconds; 0 when it holds no transaction
}

type sample struct {
	at    time.Time
	rows  int64
	bytes int64
	ratio float64
}

// NewTracker begins the status of a pipeline, in state starting.
func NewTracker(name, source, target string, now time.Time) *Tracker {
	return &Tracker{unread: now, p: Pipeline{
		Name: name, Source: source, Target: target, State: Starting, Since: now, At: now, Position: "none",
	}}
}

// Name is the pipeline's name.
func (t *Tracker) Name() string { return t.p.Name }

// SetState moves to a state and says whether that, or its reason, is new.
func (t *Tracker) SetState(s State, reason string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.setState(s, reason, now)
}

func (t *Tracker) setState(s State, reason string, now time.Time) bool {
	if t.p.State == s && t.p.Waiting == reason {
		return false
	}
	if t.p.State != s {
		t.p.Since = now
		if s == CatchingUp {
			t.emptied = now
		}
		if t.p.State == Standby {
			t.unread = now // until then somebody else read
		}
	}
	t.p.State, t.p.Waiting = s, reason
	return true
}

// State is the present state.
func (t *Tracker) State() State {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.p.State
}

// Connected says which ends are open. What was read and not made durable is forgotten when the source closes: it
// will be read again. The lag goes on from what it was.
func (t *Tracker) Connected(source, target bool, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case source && !t.source:
		t.opened = now
	case !source && t.source:
		t.unread = now.Add(-t.lag(now))
	}
	t.source, t.target = source, target
	if !source {
		t.pending = t.pending[:0]
	}
}

// Opened says where the target stands.
func (t *Tracker) Opened(position string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.p.Position = position
}

// Read notes a batch on its way. Numbers rise by the order of reading; the times are commit times in microseconds
// of its oldest and newest transaction, 0 for none.
func (t *Tracker) Read(number, oldest, newest int64, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pending = append(t.pending, waiting{number: number, oldest: oldest})
	t.lastRead = now
	if newest != 0 {
		t.received, t.unread = newest, time.Time{}
	}
}

// Amount is what a group brought to the target.
type Amount struct{ Rows, Transactions, Bytes int64 }

// Durable notes that everything read up to a number is at the target, which now stands at position; newest is the
// commit time of the last transaction of it, 0 for none. It says whether the state changed.
func (t *Tracker) Durable(number int64, position string, newest int64, a Amount, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	done := 0
	for done < len(t.pending) && t.pending[done].number <= number {
		done++
	}
	t.pending = t.pending[:copy(t.pending, t.pending[done:])]
	if len(t.pending) == 0 {
		t.emptied = now
	}
	t.p.Position = position
	if newest != 0 {
		t.p.PositionTime = time.UnixMicro(newest).UTC()
	}
	t.add(a)
	return t.settle(now)
}

func (t *Tracker) add(a Amount) {
	t.p.Rows += a.Rows
	t.p.Transactions += a.Transactions
	t.p.Bytes += a.Bytes
}

// Retried counts one more attempt that failed.
func (t *Tracker) Retried() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.p.Retries++
}

// Observed notes what the reader costs the source.
func (t *Tracker) Observed(retained, limit int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.p.RetainedBytes, t.p.RetentionLimit = retained, limit
}

// Held notes what waits in memory and on disk.
func (t *Tracker) Held(queue, spilled int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.p.QueueBytes, t.p.SpilledBytes = queue, spilled
}

// Halted moves to the state halted and keeps the reason.
func (t *Tracker) Halted(h Halt, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.setState(Halted, "", now)
	t.p.Halt = &h
}

// Tick is to be called about once a second: rates come from it. It says whether the state changed.
func (t *Tracker) Tick(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := sample{at: now, rows: t.p.Rows, bytes: t.p.Bytes}
	if t.copying != nil {
		s.ratio = t.copying.ratio()
	}
	if len(t.samples) > rateWindow {
		t.samples = t.samples[:copy(t.samples, t.samples[1:])]
	}
	t.samples = append(t.samples, s)
	return t.settle(now)
}

// settle moves between catching up and streaming.
func (t *Tracker) settle(now time.Time) bool {
	switch t.p.State {
	case CatchingUp:
		idle := len(t.pending) == 0 && now.Sub(t.emptied) >= settledIdle
		level := !t.p.PositionTime.IsZero() && now.Sub(t.p.PositionTime) < settledAge
		if (idle || level) && t.lag(now) < behindAge {
			return t.setState(Streaming, "", now)
		}
	case Streaming:
		if t.lag(now) >= behindAge {
			return t.setState(CatchingUp, "", now)
		}
	}
	return false
}

// lag is the age of the oldest change read and not yet durable. While the source is not read nobody knows, and it
// grows from what it was; a stream just opened that gives nothing for a moment has nothing to give.
func (t *Tracker) lag(now time.Time) time.Duration {
	for _, w := range t.pending {
		if w.oldest != 0 {
			return max(0, now.Sub(time.UnixMicro(w.oldest)))
		}
	}
	if t.unread.IsZero() || t.p.State == Standby || t.source && now.Sub(t.opened) >= settledIdle {
		return 0
	}
	return max(0, now.Sub(t.unread))
}

// Live is what changes without an event of its own: for metrics.
type Live struct {
	SourceConnected, TargetConnected bool
	SourceLagSeconds                 float64   // commit to receipt of the last transaction read
	LastEvent                        time.Time // when something last came from the source
}

// Live says what the status does not hold.
func (t *Tracker) Live() Live {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := Live{SourceConnected: t.source, TargetConnected: t.target, LastEvent: t.lastRead}
	if t.received != 0 {
		l.SourceLagSeconds = max(0, t.lastRead.Sub(time.UnixMicro(t.received)).Seconds())
	}
	return l
}

// Snapshot is the status at this moment; the caller owns it.
func (t *Tracker) Snapshot(now time.Time) Pipeline {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.p
	p.At = now
	p.LagSeconds = t.lag(now).Seconds()
	if n := len(t.samples); n > 1 && t.running() {
		first, last := t.samples[0], t.samples[n-1]
		if span := last.at.Sub(first.at).Seconds(); span > 0 {
			p.RowsPerSecond = float64(last.rows-first.rows) / span
		}
	}
	if t.copying != nil {
		p.Copy = t.copying.snapshot(t.samples)
	}
	if t.p.Halt != nil {
		h := *t.p.Halt
		p.Halt = &h
	}
	return p
}

// running tells whether rows can be moving.
func (t *Tracker) running() bool {
	return t.p.State == Copying || t.p.State == CatchingUp || t.p.State == Streaming
}
