package replicator

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/rowferry/rowferry/replicator/progress"
	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// spec is a pipeline between the two halves of a world.
func (w *world) spec() Spec {
	return Spec{
		Name: "p", Source: fakeSource{w}, Sink: fakeSink{w}, SourceText: "fake", TargetText: "fake",
		Retry: Retry{Initial: 10 * time.Millisecond, Max: 50 * time.Millisecond},
	}
}

// run starts a daemon of the specs; stop stops it softly and returns what Run returned.
func run(t *testing.T, o Options, specs ...Spec) (d *Daemon, stop func() error) {
	t.Helper()
	o.Log = zerolog.Nop()
	d = NewDaemon(specs, o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	stopped := false
	stop = func() error {
		stopped = true
		cancel()
		return <-done
	}
	t.Cleanup(func() {
		cancel()
		if !stopped {
			<-done
		}
	})
	return d, stop
}

// until waits for a condition, in the bubble's time.
func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for range 1_000_000 {
		if condition() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("%s: did not happen", what)
}

func state(d *Daemon) progress.State { return d.Report().Pipelines[0].State }

func TestCopyThenStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(1)
		w.chunks, w.transactions, w.barrier = 7, []int{1, 2, 25, 1, 10, 11, 3}, true
		d, stop := run(t, Options{}, w.spec())
		until(t, "complete", w.complete)
		until(t, "streaming", func() bool { return state(d) == progress.Streaming })
		seq := w.held.Seq
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if w.held.Seq != seq+1 {
			t.Errorf("got group %d after the stop, want %d with the last barrier", w.held.Seq, seq+1)
		}
		for _, wrong := range w.verdict() {
			t.Error(wrong)
		}
		if w.acked != len(w.transactions) {
			t.Errorf("acknowledged up to %d, want %d", w.acked, len(w.transactions))
		}
		p := d.Report().Pipelines[0]
		if p.State != progress.Stopped || p.Transactions != 7 || p.Rows != 53+35 {
			t.Errorf("got %s, %d transactions, %d rows, want stopped, 7, 88", p.State, p.Transactions, p.Rows)
		}
		if p.Copy == nil || p.Copy.Ratio != 1 || p.Copy.Rows != 35 || len(p.Copy.Tables) != 2 {
			t.Errorf("got copy %+v, want all 35 rows of two tables", p.Copy)
		}
	})
}

// TestInvariant1_everyFaultAtEveryCall runs random loads with random errors, delays, fences and crashes at random
// calls. Every oracle of world has to agree: exactly once, in order, acknowledged never beyond the ledger, nothing
// leaked. It covers invariants 1 to 8.
func TestInvariant1_everyFaultAtEveryCall(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rapid.Int64().Draw(rt, "seed"))
		w.transactions = rapid.SliceOfN(rapid.IntRange(1, 40), 0, 60).Draw(rt, "transactions")
		w.chunks = rapid.IntRange(0, 12).Draw(rt, "chunks")
		w.perBatch = rapid.IntRange(1, 5).Draw(rt, "perBatch")
		w.parts = rapid.IntRange(3, 50).Draw(rt, "parts")
		w.barrier = rapid.Bool().Draw(rt, "barrier")
		w.padding = rapid.SampledFrom([]int{0, inlineBytes}).Draw(rt, "padding")
		w.limits = sinks.Limits{
			Rows: rapid.SampledFrom([]int{0, 1, 20, 1000}).Draw(rt, "rows"), Bytes: 1 << 20,
			Age:      rapid.SampledFrom([]time.Duration{0, 0, 20 * time.Millisecond}).Draw(rt, "age"),
			Interval: rapid.SampledFrom([]time.Duration{0, 0, 5 * time.Millisecond}).Draw(rt, "interval"),
			Lanes:    rapid.IntRange(1, 4).Draw(rt, "lanes"), CopyLanes: rapid.IntRange(1, 4).Draw(rt, "copyLanes"),
			Stage: rapid.Bool().Draw(rt, "stage"),
		}
		w.faults(chaos(w.random.Int64(), rapid.IntRange(0, 15).Draw(rt, "percent of calls that fail")))
		spec := w.spec()
		spec.QueueBytes = int64(rapid.SampledFrom([]int{1, 5000, 1 << 20}).Draw(rt, "queue"))
		spec.Retry.Unknown = time.Hour
		var wrong []string
		synctest.Test(t, func(*testing.T) {
			w.enter()
			for life := 0; !w.complete() && life < 200; life++ {
				wrong = append(wrong, live(w, spec)...)
			}
			w.faults(none)
			wrong = append(wrong, live(w, spec)...)
		})
		for _, what := range append(wrong, w.verdict()...) {
			rt.Error(what)
		}
	})
}

// chaos fails or delays calls.
func chaos(seed int64, percent int) func(string) error {
	random := rand.New(rand.NewPCG(uint64(seed), 0))
	lock := make(chan struct{}, 1)
	return func(call string) error {
		lock <- struct{}{}
		n, delay := random.IntN(100), random.IntN(3)
		kind := random.IntN(4)
		<-lock
		if call == "commit" || call == "commit.reply" || call == "encode" || call == "stage" {
			time.Sleep(time.Duration(delay) * time.Millisecond)
		}
		if n >= percent {
			return nil
		}
		switch kind {
		case 0:
			return fault.Wait("fake.down", errors.New(call))
		case 1:
			return fault.Unknown(errors.New(call))
		default:
			return errors.New(call)
		}
	}
}

// live runs a daemon for a while, or until all is done, and ends it softly or by force. It lists what went wrong.
func live(w *world, spec Spec) (wrong []string) {
	d := NewDaemon([]Spec{spec}, Options{Log: zerolog.Nop(), Grace: time.Second})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	limit := time.Duration(50+w.intn(5000)) * time.Millisecond
	for began := time.Now(); !w.complete() && time.Since(began) < limit; {
		time.Sleep(time.Millisecond)
	}
	if w.intn(2) == 0 {
		d.Abort()
	}
	cancel()
	if err := <-done; err != nil && !errors.Is(err, ErrForced) {
		wrong = append(wrong, err.Error())
	}
	if p := d.Report().Pipelines[0]; p.Halt != nil {
		wrong = append(wrong, fmt.Sprintf("halted: %+v", p.Halt))
	}
	return wrong
}

// TestItemReadyBetweenLookAndWait lets an item become ready after the sequence looked at it and before it waits, with
// nothing else on its way that could wake it: it has to go on.
func TestItemReadyBetweenLookAndWait(t *testing.T) {
	f := &flow{items: make(chan *item), done: make(chan *unit), budget: newBudget(1), grouper: newGrouper(sinks.Held{})}
	it := word(1, "1")
	it.ready = make(chan struct{})
	f.next = it
	f.fold()
	close(it.ready)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := f.await(ctx, nil); err != nil {
		t.Fatalf("got %v, want the item", err)
	}
	if f.fold(); f.grouper.open == nil {
		t.Error("the item is not in the open group")
	}
}

func TestInvariant4_partsRunAloneOrStayTogether(t *testing.T) {
	for _, stage := range []bool{true, false} {
		t.Run(fmt.Sprint("stage ", stage), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(2)
				w.limits = sinks.Limits{Lanes: 3, CopyLanes: 1, Stage: stage, Bytes: 1 << 20}
				w.transactions = []int{1, 100, 1, 1, 35, 1}
				_, stop := run(t, Options{}, w.spec())
				until(t, "complete", w.complete)
				if err := stop(); err != nil {
					t.Fatal(err)
				}
				for _, wrong := range w.verdict() {
					t.Error(wrong)
				}
			})
		})
	}
}

func TestTransactionTooLargeToKeepTogetherHalts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(2)
		w.limits = sinks.Limits{Lanes: 1, CopyLanes: 1, Bytes: 2000}
		w.transactions = []int{1, 100, 1}
		d, _ := run(t, Options{}, w.spec())
		until(t, "halted", func() bool { return state(d) == progress.Halted })
		h := d.Report().Pipelines[0].Halt
		if h.Code != "target.transaction_too_large" || h.Position != "fake/1:1" {
			t.Errorf("got %s at %s, want target.transaction_too_large at fake/1:1", h.Code, h.Position)
		}
	})
}

// TestInvariant6_readingWaitsForTheBudget holds commits back and looks at how much is read meanwhile.
func TestInvariant6_readingWaitsForTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(3)
		w.perBatch = 1
		for range 200 {
			w.transactions = append(w.transactions, 5)
		}
		hold := make(chan struct{})
		w.faults(func(call string) error {
			if call == "commit" && w.phase() == schema.PhaseStream {
				<-hold
			}
			return nil
		})
		spec := w.spec()
		spec.QueueBytes = 20_000
		_, stop := run(t, Options{}, spec)
		time.Sleep(time.Second)
		w.mu.Lock()
		out := w.out
		w.mu.Unlock()
		if out < 5 || out > 20 {
			t.Errorf("got %d batches of about 1,500 bytes in a budget of 20,000", out)
		}
		close(hold)
		until(t, "complete", w.complete)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		for _, wrong := range w.verdict() {
			t.Error(wrong)
		}
	})
}

func TestGroupsGrowUnderLoadAndGoAtOnceWhenIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(4)
		w.perBatch = 1
		w.faults(func(call string) error {
			switch call {
			case "commit":
				time.Sleep(50 * time.Millisecond)
			case "next":
				time.Sleep(time.Millisecond)
			}
			return nil
		})
		for range 500 {
			w.transactions = append(w.transactions, 1)
		}
		_, stop := run(t, Options{}, w.spec())
		until(t, "complete", w.complete)
		if w.groups > 150 || w.largest < 5 {
			t.Errorf("got %d groups, the largest of %d rows, of 500 transactions that came 50 to a commit", w.groups, w.largest)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestStandbyTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(5)
		w.transactions = []int{1, 1}
		w.locked = true
		d, stop := run(t, Options{}, w.spec())
		until(t, "standby", func() bool { return state(d) == progress.Standby })
		if p := d.Report().Pipelines[0]; p.Waiting != "held by somebody" {
			t.Errorf("got %q, want the holder", p.Waiting)
		}
		time.Sleep(30 * time.Second)
		var asked atomic.Int32
		w.faults(func(call string) error {
			if call == "lock" {
				asked.Add(1)
			}
			return nil
		})
		time.Sleep(10 * time.Second)
		if n := asked.Load(); n < 9 || n > 11 {
			t.Errorf("asked %d times in 10 s, want once a second after a while", n)
		}
		w.mu.Lock()
		w.locked = false
		w.mu.Unlock()
		until(t, "complete", w.complete)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestLostLockBeginsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(6)
		w.transactions = []int{1, 1}
		d, stop := run(t, Options{}, w.spec())
		until(t, "complete", w.complete)
		close(w.lost)
		until(t, "retry", func() bool { return d.Report().Pipelines[0].Retries == 1 && state(d) == progress.Streaming })
		w.mu.Lock()
		w.transactions = append(w.transactions, 1)
		w.mu.Unlock()
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestInvariant9_othersGoOn halts one pipeline by a panic and lets the other one work.
func TestInvariant9_othersGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad, good := newWorld(7), newWorld(8)
		bad.transactions, good.transactions = []int{1}, []int{1, 2, 3}
		bad.faults(func(call string) error {
			if call == "commit" {
				panic("secret row")
			}
			return nil
		})
		one, two := bad.spec(), good.spec()
		one.Name, one.StateDir = "bad", t.TempDir()
		d, stop := run(t, Options{}, one, two)
		until(t, "halted", func() bool { return state(d) == progress.Halted })
		until(t, "complete", good.complete)
		h, err := progress.ReadHalt(one.StateDir)
		if err != nil || h == nil || h.Code != "engine.panic" {
			t.Fatalf("got %+v, %v, want engine.panic", h, err)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if r, ok, err := progress.Read(one.StateDir); err != nil || !ok || r.Pipelines[0].Halt == nil {
			t.Errorf("got %+v, %v, %v, want the halt in the status file", r, ok, err)
		}
	})
}

func TestErrorsThatHalt(t *testing.T) {
	tests := []struct {
		name, call, code string
		err              error
		after            time.Duration // at least so long
		stands           string        // what is said of the target
	}{
		{name: "terminal", call: "stream", err: fault.Halt("source.slot_lost", errors.New("gone"), "one\ntwo"), code: "source.slot_lost", stands: "The first copy is not done"},
		{name: "fenced", call: "commit", err: fault.Fence(errors.New("newer")), code: "target.fenced", stands: "The first copy is not done"},
		{name: "record", call: "encode", err: fault.Record("target.row_missing", errors.New("key 1"), "look"), code: "target.row_missing", stands: "The first copy is not done"},
		{name: "unknown", call: "open", err: errors.New("odd"), code: "engine.unknown_error", after: 15 * time.Minute, stands: "Where the target stands was not read yet."},
		{name: "in the stream", call: "ack", err: fault.Halt("source.odd", errors.New("odd"), "one"), code: "source.odd", stands: "The target is exact up to "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(9)
				w.transactions = []int{1}
				w.faults(func(call string) error {
					if call == tt.call && (call != "ack" || w.phase() == schema.PhaseStream) {
						return tt.err
					}
					return nil
				})
				began := time.Now()
				d, stop := run(t, Options{}, w.spec())
				until(t, "halted", func() bool { return state(d) == progress.Halted })
				if took := time.Since(began); took < tt.after || took > tt.after+time.Minute {
					t.Errorf("halted after %s, want %s", took, tt.after)
				}
				if err := stop(); err != nil {
					t.Fatal(err)
				}
				h := d.Report().Pipelines[0].Halt
				if h.Code != tt.code || len(h.Remedy) == 0 || h.Lost == "" || h.Happened == "" {
					t.Errorf("got %+v, want code %s", h, tt.code)
				}
				if !strings.Contains(h.Lost, tt.stands) {
					t.Errorf("got %q, want it to say %q", h.Lost, tt.stands)
				}
			})
		})
	}
}

func TestEndlessErrorsAreRetriedForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(10)
		w.transactions = []int{1}
		w.faults(func(call string) error {
			if call == "open" {
				return fault.Wait("target.unreachable", errors.New("connection refused"))
			}
			return nil
		})
		spec := w.spec()
		spec.Retry = Retry{}
		d, stop := run(t, Options{}, spec)
		time.Sleep(3 * time.Hour)
		p := d.Report().Pipelines[0]
		if p.State != progress.Retrying || p.Waiting == "" {
			t.Errorf("got %s, %q, want retrying with a reason", p.State, p.Waiting)
		}
		w.faults(none)
		until(t, "complete", w.complete)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestHangingCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(11)
		w.transactions = []int{1, 1}
		var hung atomic.Bool
		hold := make(chan struct{})
		w.faults(func(call string) error {
			if call == "commit" && hung.CompareAndSwap(false, true) {
				<-hold
				return errors.New("cancelled")
			}
			return nil
		})
		spec := w.spec()
		spec.Timeouts.Commit = 2 * time.Second
		d, stop := run(t, Options{Grace: time.Second}, spec)
		time.AfterFunc(3*time.Second, func() { close(hold) })
		until(t, "complete", w.complete)
		if n := d.Report().Pipelines[0].Retries; n != 1 {
			t.Errorf("got %d retries, want 1", n)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestInterval: groups that are not full begin so far apart, and the first after a silence begins at once.
func TestInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(15) // one that announces no table
		w.transactions = []int{1}
		w.limits.Rows, w.limits.Interval = 1000, 50*time.Millisecond
		began := time.Now()
		var starts []time.Duration // the lane's; read while it rests
		w.faults(func(call string) error {
			if call == "commit" {
				starts = append(starts, time.Since(began))
			}
			return nil
		})
		spec := w.spec()
		spec.QueueBytes = 1 << 20 // or groups begin for want of room
		_, stop := run(t, Options{Grace: time.Second}, spec)
		until(t, "complete", w.complete)
		time.Sleep(time.Second)
		began, starts = time.Now(), nil
		for range 10 {
			w.wakeUp(1)
			time.Sleep(10 * time.Millisecond)
		}
		until(t, "complete", w.complete)
		if diff := cmp.Diff([]time.Duration{0, 50 * time.Millisecond, 100 * time.Millisecond}, starts); diff != "" {
			t.Errorf("commits begin at -want +got\n%s", diff)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestHangingRead: a call that outlives its limit is given up, and the pipeline begins again; waiting for changes that
// nobody makes is no such call.
func TestHangingRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(13)
		w.transactions = []int{1}
		var arm atomic.Bool
		w.faults(func(call string) error {
			if call == "next" && arm.CompareAndSwap(true, false) {
				time.Sleep(3 * time.Second)
				return errors.New("cancelled")
			}
			return nil
		})
		spec := w.spec()
		spec.Timeouts.Read = 2 * time.Second
		spec.Retry.Initial = time.Minute
		d, stop := run(t, Options{Grace: time.Second}, spec)
		until(t, "complete", w.complete)
		time.Sleep(time.Minute)
		if n := d.Report().Pipelines[0].Retries; n != 0 {
			t.Errorf("got %d retries while there was nothing to read, want none", n)
		}
		arm.Store(true)
		w.wakeUp(1)
		w.wakeUp(1)
		time.Sleep(4 * time.Second)
		if p := d.Report().Pipelines[0]; p.State != progress.Retrying || p.Waiting != "reading from the source: engine.call_timeout: one step took longer than 2s" {
			t.Errorf("got %s, %q; want a retry for the limit", p.State, p.Waiting)
		}
		until(t, "complete", w.complete)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestGracePeriodEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(12)
		w.transactions = []int{1}
		w.faults(func(call string) error {
			if call == "commit" {
				time.Sleep(time.Hour)
			}
			return nil
		})
		_, stop := run(t, Options{Grace: 5 * time.Second}, w.spec())
		time.Sleep(time.Second)
		if err := stop(); !errors.Is(err, ErrForced) {
			t.Errorf("got %v, want %v", err, ErrForced)
		}
	})
}
