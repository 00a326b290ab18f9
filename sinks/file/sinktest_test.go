package file

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/setting"
	"github.com/rowferry/rowferry/sinks"
	"github.com/rowferry/rowferry/sinks/sinktest"
)

func TestMain(m *testing.M) {
	if os.Getenv(crashDir) != "" {
		os.Exit(crashChild())
	}
	goleak.VerifyTestMain(m)
}

func runtimeOf(t testing.TB) sinks.Runtime {
	return sinks.Runtime{Pipeline: "suite", StateDir: t.TempDir(), Log: zerolog.Nop()}
}

// newFile makes a file target; further calls make it again, as another process would.
func newFile(t testing.TB, cfg Config, rt sinks.Runtime) *Sink {
	t.Helper()
	s, err := New(cfg, rt)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformance(t *testing.T) {
	for name, rotate := range map[string]Rotate{"one file": {}, "rotated": {Size: setting.Size(300)}} {
		t.Run(name, func(t *testing.T) {
			sinktest.Run(t, sinktest.Harness{
				Style: sinktest.Events,
				New: func(t *testing.T) sinktest.Target {
					path, rt := filepath.Join(t.TempDir(), "events.jsonl"), runtimeOf(t)
					cfg := Config{URL: "file:" + path, Rotate: rotate}
					return sinktest.Target{
						Open:      newOpener(t, cfg, rt),
						Kill:      func(_ testing.TB, w sinks.Writer) { kill(w.(*writer)) },
						Steal:     func(t testing.TB) { steal(t, path) },
						Read:      func(t testing.TB) []sinktest.Event { return events(t, readCounted(t, path)) },
						Inspector: newFile(t, cfg, rt),
					}
				},
			})
		})
	}
}

func TestStdoutConformance(t *testing.T) {
	reason := "what was printed cannot be taken back: standard output is at-least-once"
	sinktest.Run(t, sinktest.Harness{
		Style: sinktest.Events,
		New: func(t *testing.T) sinktest.Target {
			rt := runtimeOf(t)
			out := newReader(t)
			again := func() *Stdout {
				s, err := NewStdout(StdoutConfig{URL: "stdout:"}, rt)
				if err != nil {
					t.Fatal(err)
				}
				s.out = out.write
				return s
			}
			return sinktest.Target{
				Open:      again().Open,
				Steal:     func(t testing.TB) { remove(t, again().ledgerPath()+".lock") },
				Read:      func(t testing.TB) []sinktest.Event { return events(t, out.text()) },
				Inspector: again(),
			}
		},
		Waivers: map[string]string{
			"stage_is_invisible_until_commit":      reason,
			"stage_is_dropped_by_close":            reason,
			"creating_undoes_the_copy":             reason,
			"close_leaves_nothing":                 reason,
			"cancelled_commit_is_whole_or_nothing": reason,
		},
	})
}

// newOpener opens the target with a Sink of its own each time.
func newOpener(t testing.TB, cfg Config, rt sinks.Runtime) opener {
	return func(ctx ctx, c sinks.Claim) (sinks.Writer, sinks.Held, error) {
		return newFile(t, cfg, rt).Open(ctx, c)
	}
}

// kill ends a writer as the death of its process does: descriptors and lock are gone, nothing else happened.
func kill(w *writer) {
	_ = w.data.file.Close()
	w.ledger.Close()
	w.ledger = nil
}

// steal makes the next Open pass although a writer lives.
func steal(t testing.TB, path string) { remove(t, ledgerPath(path)+".lock") }

func remove(t testing.TB, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// readCounted is what a reader finds who reads the files with numbers and then as much as the ledger says counts.
func readCounted(t testing.TB, path string) []byte {
	t.Helper()
	var all []byte
	for n := 1; ; n++ {
		text, err := os.ReadFile(numbered(path, n))
		if err != nil {
			break
		}
		all = append(all, text...)
	}
	text, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	state, found := readLedger(t, path)
	if found {
		text = text[:state.Data.Length]
	}
	return append(all, text...)
}

// events reads lines.
func events(t testing.TB, text []byte) []sinktest.Event {
	t.Helper()
	columns := map[string][]schema.Column{"accounts": sinktest.Accounts.Columns, "entries": sinktest.Entries.Columns}
	var out []sinktest.Event
	for l := range bytes.Lines(text) {
		var e struct {
			Op            string
			Before, After map[string]any
			Source        struct{ Schema, Table string }
		}
		d := json.NewDecoder(bytes.NewReader(l))
		d.UseNumber()
		if err := d.Decode(&e); err != nil {
			t.Fatalf("%q: %v", l, err)
		}
		event := sinktest.Event{Table: e.Source.Schema + "." + e.Source.Table}
		row := e.After
		switch e.Op {
		case "c":
			event.Op = schema.OpCreate
		case "u":
			event.Op = schema.OpUpdate
		case "d":
			event.Op, row = schema.OpDelete, e.Before
		case "t":
			event.Op = schema.OpTruncate
		case "m":
			continue
		}
		for _, c := range columns[e.Source.Table] {
			if row != nil {
				event.Values = append(event.Values, valueOf(row, c.Name))
			}
		}
		out = append(out, event)
	}
	return out
}

// valueOf spells one value of a row as the suite does.
func valueOf(row map[string]any, name string) string {
	v, ok := row[name]
	switch {
	case !ok:
		return sinktest.Absent
	case v == nil:
		return sinktest.Null
	case v == true:
		return "t"
	case v == false:
		return "f"
	}
	return fmt.Sprint(v)
}

// reader collects what is written into a pipe.
type reader struct {
	write *os.File
	mu    sync.Mutex
	got   []byte
}

// newReader reads from a pipe for as long as the test runs.
func newReader(t testing.TB) *reader {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{write: write}
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 64<<10)
		for {
			n, err := read.Read(buf)
			r.mu.Lock()
			r.got = append(r.got, buf[:n]...)
			r.mu.Unlock()
			if err != nil {
				return
			}
		}
	})
	t.Cleanup(func() {
		_ = write.Close()
		wg.Wait()
		_ = read.Close()
	})
	return r
}

// text is everything written so far: a mark written last has to come out of the pipe.
func (r *reader) text() []byte {
	const mark = "\x00"
	_, _ = io.WriteString(r.write, mark)
	for {
		r.mu.Lock()
		done := bytes.HasSuffix(r.got, []byte(mark))
		out := bytes.ReplaceAll(r.got, []byte(mark), nil)
		r.mu.Unlock()
		if done {
			return out
		}
	}
}
