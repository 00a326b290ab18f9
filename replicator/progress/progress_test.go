package progress

import (
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func after(d time.Duration) time.Time { return start.Add(d) }

func TestLagIsTheAgeOfTheOldestChangeNotDurable(t *testing.T) {
	tr := NewTracker("p", "s", "t", start)
	tr.Connected(true, true, start)
	lag := func(d time.Duration) float64 { return tr.Snapshot(after(d)).LagSeconds }
	if got := lag(time.Hour); got != 0 {
		t.Errorf("nothing read: got %v, want 0", got)
	}
	tr.Read(1, 0, 0, start) // a barrier has no age
	tr.Read(2, after(10*time.Second).UnixMicro(), after(11*time.Second).UnixMicro(), after(12*time.Second))
	tr.Read(3, after(15*time.Second).UnixMicro(), after(15*time.Second).UnixMicro(), after(16*time.Second))
	if got := lag(20 * time.Second); got != 10 {
		t.Errorf("got %v, want 10", got)
	}
	tr.Durable(2, "x:2", after(11*time.Second).UnixMicro(), Amount{Rows: 5, Transactions: 2, Bytes: 50}, after(21*time.Second))
	if got := lag(22 * time.Second); got != 7 {
		t.Errorf("got %v, want 7", got)
	}
	if got := lag(14 * time.Second); got != 0 {
		t.Errorf("a clock behind the source's: got %v, want 0", got)
	}
	p := tr.Snapshot(after(22 * time.Second))
	if p.Position != "x:2" || p.Rows != 5 || p.Transactions != 2 || p.Bytes != 50 || !p.PositionTime.Equal(after(11*time.Second)) {
		t.Errorf("got %+v", p)
	}
	if l := tr.Live(); l.SourceLagSeconds != 1 || !l.SourceConnected {
		t.Errorf("got %+v, want a source lag of 1 s", l)
	}
}

// TestLagGrowsWhileNobodyReads: what is not read may be waiting at the source.
func TestLagGrowsWhileNobodyReads(t *testing.T) {
	tr := NewTracker("p", "s", "t", start)
	want := func(at time.Duration, seconds float64) {
		t.Helper()
		if got := tr.Snapshot(after(at)).LagSeconds; got != seconds {
			t.Errorf("after %v: got %v, want %v", at, got, seconds)
		}
	}
	read := func(number int64, at time.Duration) {
		tr.Read(number, after(at).UnixMicro(), after(at).UnixMicro(), after(at))
	}
	want(3*time.Second, 3) // not open yet
	tr.Connected(false, true, after(3*time.Second))
	tr.Connected(true, true, after(4*time.Second))
	want(4*time.Second, 4) // open, and who knows what comes
	want(5*time.Second, 0) // nothing
	tr.Connected(false, false, after(10*time.Second))
	want(70*time.Second, 60)
	tr.Connected(false, true, after(70*time.Second))
	tr.Connected(false, false, after(75*time.Second))
	tr.Connected(true, true, after(80*time.Second))
	tr.Read(1, 0, 0, after(80*time.Second)) // a barrier tells nothing
	want(80*time.Second, 70)
	read(2, 80*time.Second)
	tr.Durable(2, "x", after(80*time.Second).UnixMicro(), Amount{}, after(80*time.Second))
	want(80*time.Second, 0)
	read(3, 85*time.Second)
	tr.Connected(false, false, after(90*time.Second)) // it was five seconds behind
	want(100*time.Second, 15)
	tr.SetState(Standby, "another", after(100*time.Second))
	want(200*time.Second, 0) // the other one reads
	tr.SetState(Starting, "", after(200*time.Second))
	want(202*time.Second, 2)
}

func TestCatchingUpBecomesStreamingAndBack(t *testing.T) {
	type step struct {
		at   time.Duration
		do   func(tr *Tracker, now time.Time) bool
		want State
	}
	tick := func(tr *Tracker, now time.Time) bool { return tr.Tick(now) }
	read := func(number int64, age time.Duration) func(*Tracker, time.Time) bool {
		return func(tr *Tracker, now time.Time) bool {
			at := now.Add(-age).UnixMicro()
			tr.Read(number, at, at, now)
			return tr.Tick(now)
		}
	}
	durable := func(number int64, age time.Duration) func(*Tracker, time.Time) bool {
		return func(tr *Tracker, now time.Time) bool {
			return tr.Durable(number, "x", now.Add(-age).UnixMicro(), Amount{}, now)
		}
	}
	tests := []struct {
		name  string
		steps []step
	}{
		{"nothing comes", []step{{0, read(1, 0), CatchingUp}, {0, durable(1, time.Hour), CatchingUp}, {2 * time.Second, tick, Streaming}}},
		{"the newest is young", []step{{0, read(1, time.Hour), CatchingUp}, {time.Second, durable(1, time.Second), Streaming}}},
		{"the newest is old", []step{{0, read(1, time.Hour), CatchingUp}, {time.Minute, durable(1, time.Hour), CatchingUp}, {time.Minute, read(2, time.Hour), CatchingUp}}},
		{"falls behind", []step{
			{0, read(1, 0), CatchingUp}, {0, durable(1, 0), Streaming}, {time.Second, read(2, 0), Streaming},
			{20 * time.Second, tick, Streaming}, {40 * time.Second, tick, CatchingUp}, {41 * time.Second, durable(2, 40*time.Second), CatchingUp},
			{50 * time.Second, tick, Streaming},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tr := NewTracker("p", "s", "t", start)
			tr.SetState(CatchingUp, "", start)
			for i, s := range tt.steps {
				before := tr.State()
				changed := s.do(tr, after(s.at))
				if got := tr.State(); got != s.want || changed != (got != before) {
					t.Fatalf("step %d: got %s, changed %v, want %s", i, got, changed, s.want)
				}
			}
		})
	}
}

func TestSetStateTellsWhatIsNew(t *testing.T) {
	tr := NewTracker("p", "s", "t", start)
	if !tr.SetState(Retrying, "a", after(time.Second)) || tr.SetState(Retrying, "a", after(2*time.Second)) {
		t.Error("got the same state and reason as new")
	}
	if !tr.SetState(Retrying, "b", after(3*time.Second)) {
		t.Error("got a new reason as old")
	}
	if p := tr.Snapshot(after(time.Minute)); !p.Since.Equal(after(time.Second)) {
		t.Errorf("got since %s, want when the state began", p.Since)
	}
}

func TestCopy(t *testing.T) {
	tr := NewTracker("p", "s", "t", start)
	tr.BeginCopy([]Planned{{Name: "a", Rows: 1000, Bytes: 3000}, {Name: "b", Rows: -1, Bytes: 1000}, {Name: "c", Rows: -1, Bytes: -1}}, start)
	tr.SetState(Copying, "", start)
	tr.Tick(start)
	c := tr.Snapshot(start).Copy
	if c.Ratio != 0 || c.ETASeconds != -1 || c.ExpectedRows != -1 {
		t.Errorf("got %+v, want nothing done and nothing known", c)
	}
	tr.CopyRead("a", false, start)
	tr.CopyRead("a", true, start)
	tr.Copied("a", 500, 1500)
	tr.Tick(after(10 * time.Second))
	c = tr.Snapshot(after(10 * time.Second)).Copy
	if want := 1500.0 / 4001; math.Abs(c.Ratio-want) > 1e-9 {
		t.Errorf("got ratio %v, want %v", c.Ratio, want)
	}
	if math.Abs(c.ETASeconds-16.67) > 0.1 || c.RowsPerSecond != 50 || c.BytesPerSecond != 150 {
		t.Errorf("got %v s left, %v rows/s, %v bytes/s, want 16.7, 50, 150", c.ETASeconds, c.RowsPerSecond, c.BytesPerSecond)
	}
	// More rows than expected: not done before its last batch is.
	tr.CopyRead("b", true, start)
	tr.Copied("b", 1, 5000)
	tr.Copied("a", 5000, 1500)
	c = tr.Snapshot(after(10 * time.Second)).Copy
	if c.Ratio >= 1 || !c.Tables[0].Done || !c.Tables[1].Done || c.Tables[2].Done {
		t.Errorf("got %+v, want a and b done and c not", c)
	}
	tr.EndCopy(after(20 * time.Second))
	c = tr.Snapshot(after(30 * time.Second)).Copy
	if c.Ratio != 1 || c.ETASeconds != 0 || !c.Tables[2].Done || c.Rows != 5501 || !c.Finished.Equal(after(20*time.Second)) {
		t.Errorf("got %+v, want all done", c)
	}
	// A copy begun anew forgets the one before.
	tr.BeginCopy([]Planned{{Name: "a", Rows: 10, Bytes: 10}}, after(time.Minute))
	if c = tr.Snapshot(after(time.Minute)).Copy; c.Rows != 0 || c.Ratio != 0 || len(c.Tables) != 1 {
		t.Errorf("got %+v, want a fresh copy", c)
	}
}

func TestNoEstimateBelowOnePercent(t *testing.T) {
	tr := NewTracker("p", "s", "t", start)
	tr.BeginCopy([]Planned{{Name: "a", Rows: 100_000, Bytes: 1}}, start)
	tr.SetState(Copying, "", start)
	tr.Tick(start)
	tr.CopyRead("a", false, start)
	tr.Copied("a", 999, 1)
	tr.Tick(after(time.Second))
	if got := tr.Snapshot(after(time.Second)).Copy.ETASeconds; got != -1 {
		t.Errorf("at 0.999 %%: got %v, want -1", got)
	}
	tr.Copied("a", 2, 1)
	tr.Tick(after(2 * time.Second))
	if got := tr.Snapshot(after(2 * time.Second)).Copy.ETASeconds; got <= 0 {
		t.Errorf("at 1.001 %%: got %v, want an estimate", got)
	}
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	if _, ok, err := Read(dir); ok || err != nil {
		t.Errorf("an empty folder: got %v, %v", ok, err)
	}
	if h, err := ReadHalt(dir); h != nil || err != nil {
		t.Errorf("an empty folder: got %v, %v", h, err)
	}
	tr := NewTracker("p", "s", "t", start)
	halt := Halt{Code: "a.b", Happened: "x", Lost: "no", Did: "y", Remedy: []string{"1", "2"}, At: start, Position: "z"}
	tr.Halted(halt, start)
	want := Report{Version: "1", Started: start, Pipelines: []Pipeline{tr.Snapshot(after(time.Second))}}
	if err := Write(dir, StatusFile, want); err != nil {
		t.Fatal(err)
	}
	if err := Write(dir, HaltFile, halt); err != nil {
		t.Fatal(err)
	}
	got, ok, err := Read(dir)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	h, err := ReadHalt(dir)
	if err != nil || !cmp.Equal(*h, halt) {
		t.Errorf("got %+v, %v", h, err)
	}
	info, err := os.Stat(filepath.Join(dir, StatusFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v, want a private file", info, err)
	}
	if err := os.WriteFile(filepath.Join(dir, StatusFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Read(dir); err == nil {
		t.Error("a damaged file: got no error")
	}
}
