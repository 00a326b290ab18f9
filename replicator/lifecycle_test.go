package replicator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/rowferry/rowferry/replicator/progress"
	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sources"
)

// watched is a source that can be observed.
type watched struct {
	fakeSource
	mu  sync.Mutex // guards see
	see sources.Observation
}

func (w *watched) Observe(context.Context) (sources.Observation, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.see, nil
}

func (w *watched) show(o sources.Observation) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.see = o
}

// lines is a log to look at.
type lines struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), what)
}

func TestObserving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(20)
		w.transactions = []int{1}
		source := &watched{fakeSource: fakeSource{w}}
		spec := w.spec()
		spec.Source = source
		log := &lines{}
		d := NewDaemon([]Spec{spec}, Options{Log: zerolog.New(log)})
		done := make(chan error, 1)
		go func() { done <- d.Run(context.Background()) }()
		until(t, "complete", w.complete)
		source.show(sources.Observation{RetainedBytes: 60, RetentionLimit: 100, Findings: []schema.Finding{{Severity: schema.Warning, Code: "source.old_transaction", Text: "an old one"}}})
		time.Sleep(time.Minute)
		if p := d.Report().Pipelines[0]; p.RetainedBytes != 60 || p.RetentionLimit != 100 {
			t.Errorf("got %d of %d retained, want 60 of 100", p.RetainedBytes, p.RetentionLimit)
		}
		for _, what := range []string{"keeps much log", "source.old_transaction"} {
			if n := log.count(what); n != 1 {
				t.Errorf("%q is logged %d times in a minute, want once", what, n)
			}
		}
		source.show(sources.Observation{Findings: []schema.Finding{{Severity: schema.Problem, Code: "source.publication_changed", Text: "it lost a table", Fix: "ALTER PUBLICATION"}}})
		if err := <-done; err != nil { // the only pipeline halts, so that the daemon ends
			t.Fatal(err)
		}
		p := d.Report().Pipelines[0]
		if p.State != progress.Halted || p.Halt.Code != "source.publication_changed" || p.Halt.Remedy[0] != "ALTER PUBLICATION" {
			t.Errorf("got %s, %+v, want halted by the finding", p.State, p.Halt)
		}
		for _, wrong := range w.verdict() {
			t.Error(wrong)
		}
	})
}

func TestFiniteSourceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(21)
		w.transactions, w.finite = []int{1, 2, 30, 4}, true
		d := NewDaemon([]Spec{w.spec()}, Options{Log: zerolog.Nop()})
		if err := d.Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		if !w.complete() || state(d) != progress.Stopped {
			t.Errorf("got %s, complete %v", state(d), w.complete())
		}
		for _, wrong := range w.verdict() {
			t.Error(wrong)
		}
	})
}

// TestHungUpSourceIsNoFiniteOne fails the reading with an error of a connection that wraps io.EOF.
func TestHungUpSourceIsNoFiniteOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(22)
		w.transactions = []int{1, 2, 3}
		w.faults(func(call string) error {
			if call == "next" {
				return fault.Wait("source.connect", fmt.Errorf("connecting: %w", io.EOF))
			}
			return nil
		})
		d, stop := run(t, Options{}, w.spec())
		time.Sleep(time.Hour)
		if got := state(d); got != progress.Retrying {
			t.Errorf("got %s, want retrying", got)
		}
		w.faults(none)
		until(t, "complete", w.complete)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestSoftStopDropsATransactionInParts stops after some parts were staged, and goes on later.
func TestSoftStopDropsATransactionInParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(22)
		w.transactions, w.parts, w.barrier = []int{1, 1, 100, 1}, 5, true
		w.faults(func(call string) error {
			if call == "stage" {
				time.Sleep(time.Second)
			}
			return nil
		})
		spec := w.spec()
		spec.QueueBytes = 2000
		_, stop := run(t, Options{}, spec)
		time.Sleep(3500 * time.Millisecond)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		w.mu.Lock()
		applied, acked := len(w.applied), w.acked
		w.mu.Unlock()
		if applied != 2 || acked != 2 {
			t.Errorf("got %d transactions, acknowledged up to %d, want 2 and 2", applied, acked)
		}
		w.faults(none)
		_, stop = run(t, Options{}, spec)
		until(t, "complete", w.complete)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		for _, wrong := range w.verdict() {
			t.Error(wrong)
		}
	})
}

// TestSoftStopFinishesWhatWasRead stops while commits are slow: what is in hand becomes durable.
func TestSoftStopFinishesWhatWasRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(23)
		w.transactions = []int{1, 1, 1, 1, 1, 1}
		w.faults(func(call string) error {
			if call == "commit" {
				time.Sleep(2 * time.Second)
			}
			return nil
		})
		_, stop := run(t, Options{}, w.spec())
		time.Sleep(7 * time.Second) // creating, copy and stream took six
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if !w.complete() || w.acked != 6 {
			t.Errorf("got place %d, acknowledged %d, want 6 and 6", placeOf(w.held.Position), w.acked)
		}
	})
}

// TestFaultKeepsWhatWasReadBefore lets the target stand right before a batch that cannot be encoded.
func TestFaultKeepsWhatWasReadBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(24)
		w.transactions, w.perBatch = []int{1, 1, 1, 1, 1}, 1
		n := 0 // batches: creating, copy, stream, and then the transactions
		var mu sync.Mutex
		w.faults(func(call string) error {
			mu.Lock()
			defer mu.Unlock()
			switch call {
			case "encode":
				if n++; n == 7 {
					return fault.Record("target.type", errors.New("public.a id 4: no"), "look")
				}
			case "commit":
				mu.Unlock()
				time.Sleep(time.Second)
				mu.Lock()
			}
			return nil
		})
		d, _ := run(t, Options{}, w.spec())
		until(t, "halted", func() bool { return state(d) == progress.Halted })
		if h := d.Report().Pipelines[0].Halt; h.Position != "fake/1:3" || h.Happened != "public.a id 4: no" {
			t.Errorf("got %q at %s, want the fault at fake/1:3", h.Happened, h.Position)
		}
	})
}

func TestStatusFileHasOneWriter(t *testing.T) {
	dir := t.TempDir()
	one := &statusFile{dir: dir, version: "one", log: zerolog.Nop()}
	two := &statusFile{dir: dir, version: "two", log: zerolog.Nop()}
	version := func() string {
		r, _, err := progress.Read(dir)
		if err != nil {
			t.Fatal(err)
		}
		return r.Version
	}
	two.write(progress.Pipeline{State: progress.Starting})
	if version() != "two" {
		t.Error("the first one does not write")
	}
	two.write(progress.Pipeline{State: progress.Standby})
	one.write(progress.Pipeline{State: progress.Streaming})
	if version() != "one" {
		t.Error("a standby does not let the other one write")
	}
	two.write(progress.Pipeline{State: progress.Retrying})
	if version() != "one" {
		t.Error("two write")
	}
	one.close()
	two.write(progress.Pipeline{State: progress.Streaming})
	if version() != "two" {
		t.Error("nobody took the file over")
	}
	two.close()
	missing := &statusFile{dir: filepath.Join(dir, "missing"), log: zerolog.Nop()}
	missing.write(progress.Pipeline{})
	missing.halt(progress.Halt{})
	if !missing.failed {
		t.Error("a missing folder went unnoticed")
	}
}

func TestStatusFileIsKeptFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(25)
		w.transactions = []int{1}
		spec := w.spec()
		spec.StateDir = t.TempDir()
		_, stop := run(t, Options{Version: "9"}, spec)
		until(t, "complete", w.complete)
		read := func() progress.Pipeline {
			r, ok, err := progress.Read(spec.StateDir)
			if err != nil || !ok {
				t.Fatal(ok, err)
			}
			return r.Pipelines[0]
		}
		for range 5 {
			time.Sleep(11 * time.Second)
			if p := read(); time.Since(p.At) > 10*time.Second || p.State != progress.Streaming {
				t.Errorf("got %s, %s old", p.State, time.Since(p.At))
			}
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if p := read(); p.State != progress.Stopped || p.Position != "fake/1:1" {
			t.Errorf("got %s at %s, want stopped at fake/1:1", p.State, p.Position)
		}
	})
}

// TestPanicTellsNothingOfItsValue looks for a canary outside the private file.
func TestPanicTellsNothingOfItsValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(26)
		w.faults(func(call string) error {
			if call == "encode" {
				panic("canary-4711")
			}
			return nil
		})
		spec := w.spec()
		spec.StateDir = t.TempDir()
		log := &lines{}
		d := NewDaemon([]Spec{spec}, Options{Log: zerolog.New(log)})
		if err := d.Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		if log.count("canary") > 0 || strings.Contains(d.Report().Pipelines[0].Halt.Happened, "canary") {
			t.Error("the value of a panic is in the log or the halt")
		}
		files, err := filepath.Glob(filepath.Join(spec.StateDir, "panic-*.txt"))
		if err != nil || len(files) != 1 {
			t.Fatal(files, err)
		}
		text, err := os.ReadFile(files[0])
		if err != nil || !bytes.Contains(text, []byte("canary-4711")) || !bytes.Contains(text, []byte("fake_test.go")) {
			t.Errorf("got %s, %v, want value and stack", text, err)
		}
		info, err := os.Stat(files[0])
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("got %v, %v, want a private file", info, err)
		}
	})
}

// TestInvariant8_takenOverDaemonStaysHalted opens a newer writer behind a running daemon's back.
func TestInvariant8_takenOverDaemonStaysHalted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(27)
		w.transactions = []int{1}
		d, stop := run(t, Options{}, w.spec())
		until(t, "complete", w.complete)
		w.mu.Lock()
		w.epoch++
		w.transactions = append(w.transactions, 1)
		close(w.lost) // has the stream opened again, which fences the newer one: an operator's affair
		w.mu.Unlock()
		until(t, "complete again", w.complete)
		w.mu.Lock()
		w.epoch++
		w.mu.Unlock()
		w.wakeUp(1)
		until(t, "halted", func() bool { return state(d) == progress.Halted })
		time.Sleep(time.Hour)
		if h := d.Report().Pipelines[0].Halt; h.Code != "target.fenced" || state(d) != progress.Halted {
			t.Errorf("got %+v, want target.fenced", h)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	})
}
