package file

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/schema/setting"
	"github.com/rowferry/rowferry/sinks"
	"github.com/rowferry/rowferry/sinks/fileledger"
	"github.com/rowferry/rowferry/sinks/sinktest"
)

type (
	ctx    = context.Context
	opener = func(ctx, sinks.Claim) (sinks.Writer, sinks.Held, error)
)

var claim = sinks.Claim{Pipeline: "suite", Source: "postgres:1/shop/s", Fingerprint: "f", Holder: "host 1"}

func readLedger(t testing.TB, path string) (fileledger.State, bool) {
	t.Helper()
	s, err := fileledger.Read(ledgerPath(path), claim.Pipeline)
	if err != nil {
		t.Fatal(err)
	}
	return s, s.Epoch > 0
}

// group is a group of one transaction that inserts one account, or of copied accounts when seq is 0.
func group(t testing.TB, w sinks.Writer, seq int64, phase schema.Phase, name string) sinks.Group {
	t.Helper()
	b := schema.NewBatch(nil)
	g := sinks.Group{Seq: seq, Phase: phase}
	if seq > 0 {
		g.Upto = schema.Position{Format: "postgres/1", Token: name + "/" + string(phase)}
	} else {
		b.Copy = &schema.Copy{Table: sinktest.Accounts, Rows: 1}
		g.Copy = b.Copy
	}
	if name != "" {
		b.Arena = append(b.Arena, "1"+name...)
		b.Values = []schema.Value{schema.TextAt(0, 1), schema.TextAt(1, len(name)), schema.NullValue}
		b.Changes = []schema.Change{{Op: schema.OpCreate, Table: sinktest.Accounts, After: schema.Row{Count: 3}}}
	}
	p, err := w.Encode(b)
	if err != nil {
		t.Fatal(err)
	}
	g.Payloads = []sinks.Payload{p}
	return g
}

// open opens the file, or fails the test.
func open(t testing.TB, cfg Config) (*writer, sinks.Held) {
	t.Helper()
	w, held, err := newFile(t, cfg, runtimeOf(t)).Open(t.Context(), claim)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w.(*writer), held
}

func commit(t testing.TB, w sinks.Writer, g sinks.Group) {
	t.Helper()
	if err := w.Commit(t.Context(), g); err != nil {
		t.Fatal(err)
	}
}

// names lists the names inserted, in order.
func names(t testing.TB, text []byte) string {
	t.Helper()
	var out []string
	for _, e := range events(t, text) {
		out = append(out, e.Values[1])
	}
	return strings.Join(out, " ")
}

func TestRotation(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "events.jsonl")
	if err := os.WriteFile(filepath.Join(dir, "events-000007.jsonl"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w, _ := open(t, Config{URL: "file://" + path, Rotate: Rotate{Size: 100}})
	commit(t, w, group(t, w, 1, schema.PhaseStream, "a"))
	commit(t, w, group(t, w, 2, schema.PhaseStream, "b"))
	commit(t, w, group(t, w, 3, schema.PhaseStream, "c"))
	got := map[string]string{}
	for _, name := range []string{"events-000008.jsonl", "events-000009.jsonl", "events.jsonl"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		got[name] = names(t, text)
	}
	want := map[string]string{"events-000008.jsonl": "a", "events-000009.jsonl": "b", "events.jsonl": "c"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := os.WriteFile(filepath.Join(dir, "events-000010.jsonl"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(t.Context(), group(t, w, 4, schema.PhaseStream, "d")); fault.Of(err).Code != "target.file_exists" {
		t.Errorf("a name that is taken: got %v, want target.file_exists", err)
	}
}

func TestRotationByAge(t *testing.T) {
	x := fileledger.Extent{Length: 1, Since: 1000}
	if r := (Rotate{Age: setting.Duration(1)}); !r.due(x) || r.due(fileledger.Extent{Since: 1000}) {
		t.Error("an old file: want it rotated, an empty one not")
	}
	if (Rotate{}).due(x) {
		t.Error("without a setting: want no rotation")
	}
}

// TestRefusals: what the file may look like when the daemon starts, and what it then says.
func TestRefusals(t *testing.T) {
	tests := []struct {
		name    string
		prepare func(t *testing.T, path string)
		cfg     Config
		code    string // empty when it starts
		says    string
	}{
		{name: "nothing there"},
		{name: "empty file", prepare: write("")},
		{name: "something there", prepare: write("x\n"), code: "target.file_not_empty", says: "holds 2 bytes"},
		{name: "something there, append", prepare: write("{}\n"), cfg: Config{Existing: "append"}},
		{name: "half a line there, append", prepare: write("{"), cfg: Config{Existing: "append"}, code: "target.file_not_empty"},
		{name: "no folder", cfg: Config{URL: "file:/nonexistent/x.jsonl"}, code: "target.file_access", says: "/nonexistent"},
		{name: "a folder", cfg: Config{URL: "file:/tmp"}, code: "target.file_access"},
		{name: "cut", prepare: tamper(func(b []byte) []byte { return b[:len(b)-1] }), code: "target.file_damaged", says: "the ledger says"},
		{name: "gone", prepare: tamper(nil), code: "target.file_damaged", says: "is gone"},
		{name: "edited", prepare: tamper(func(b []byte) []byte { b[20] ^= 1; return b }), code: "target.file_damaged", says: "not those that were written"},
		{name: "longer", prepare: tamper(func(b []byte) []byte { return append(b, "{\"half"...) })},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "events.jsonl")
			if tt.prepare != nil {
				tt.prepare(t, path)
			}
			if tt.cfg.URL == "" {
				tt.cfg.URL = "file:" + path
			}
			before, _ := os.ReadFile(path)
			w, _, err := newFile(t, tt.cfg, runtimeOf(t)).Open(t.Context(), claim)
			if err == nil {
				defer w.Close()
			}
			e := fault.Of(err)
			if tt.code == "" && err != nil || tt.code != "" && (e.Code != tt.code || e.Class != fault.Terminal || e.Remedy == "") {
				t.Fatalf("got %v, want %q", err, tt.code)
			}
			if err != nil {
				after, _ := os.ReadFile(path)
				if !strings.Contains(err.Error(), tt.says) || !bytes.Equal(before, after) {
					t.Errorf("got %q, want %q named and the file untouched", err, tt.says)
				}
			}
		})
	}
}

func write(text string) func(*testing.T, string) {
	return func(t *testing.T, path string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// tamper commits one line and then changes the file; nil removes it.
func tamper(change func([]byte) []byte) func(*testing.T, string) {
	return func(t *testing.T, path string) {
		w, _ := open(t, Config{URL: "file:" + path})
		commit(t, w, group(t, w, 1, schema.PhaseStream, "a"))
		_ = w.Close()
		text, err := os.ReadFile(path)
		if err == nil && change == nil {
			err = os.Remove(path)
		} else if err == nil {
			err = os.WriteFile(path, change(text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestTamperingWhileRunning: a file that changes under the writer is noticed before the next commit.
func TestTamperingWhileRunning(t *testing.T) {
	tests := []struct {
		name   string
		tamper func(path string) error
		class  fault.Class
	}{
		{"appended to", func(path string) error {
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err == nil {
				_, err = f.WriteString("x")
				_ = f.Close()
			}
			return err
		}, fault.Retryable},
		{"moved", func(path string) error { return os.Rename(path, path+".old") }, fault.Terminal},
		{"ledger removed", func(path string) error { return os.Remove(ledgerPath(path)) }, fault.Terminal},
		{"ledger replaced", func(path string) error {
			text, err := os.ReadFile(ledgerPath(path))
			_ = os.Remove(ledgerPath(path))
			_ = os.WriteFile(path+".keep", nil, 0o600) // so that the old inode's number is not given out again
			if err == nil {
				err = os.WriteFile(ledgerPath(path), text, 0o600)
			}
			return err
		}, fault.Fenced},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "events.jsonl")
			w, _ := open(t, Config{URL: "file:" + path})
			commit(t, w, group(t, w, 1, schema.PhaseStream, "a"))
			if err := tt.tamper(path); err != nil {
				t.Fatal(err)
			}
			err := w.Commit(t.Context(), group(t, w, 2, schema.PhaseStream, "b"))
			if err == nil || fault.ClassOf(err) != tt.class {
				t.Errorf("got %v, want class %v", err, tt.class)
			}
			if err := w.Commit(t.Context(), group(t, w, 2, schema.PhaseStream, "b")); err == nil {
				t.Error("after an error: got nil, want nothing more to be done")
			}
		})
	}
}

func TestGroupsOutOfOrderHalt(t *testing.T) {
	w, _ := open(t, Config{URL: "file:" + filepath.Join(t.TempDir(), "events.jsonl")})
	err := w.Commit(t.Context(), group(t, w, 2, schema.PhaseStream, "a"))
	if e := fault.Of(err); e.Code != "target.out_of_order" || e.Class != fault.Terminal {
		t.Errorf("got %v, want target.out_of_order", err)
	}
}

// TestFullDisk: a write that finds no space is waited out; what was half written is gone when space is back.
func TestFullDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("no /dev/full")
	}
	path := filepath.Join(t.TempDir(), "events.jsonl")
	w, _ := open(t, Config{URL: "file:" + path})
	commit(t, w, group(t, w, 1, schema.PhaseStream, "a"))
	g := group(t, w, 2, schema.PhaseStream, "b")
	kept := w.data.file
	w.data.file = full
	err = w.data.write([]byte("x"))
	if e := fault.Of(err); e.Code != "target.disk_full" || !e.Endless || e.Class != fault.Retryable {
		t.Fatalf("got %v, want target.disk_full, waited out without end", err)
	}
	w.data.file = kept
	_, _ = kept.WriteString("{\"half") // what fitted
	_ = full.Close()
	kill(w)
	w, held := open(t, Config{URL: "file:" + path})
	if held.Seq != 1 {
		t.Fatalf("got seq %d, want 1", held.Seq)
	}
	commit(t, w, g)
	text, _ := os.ReadFile(path)
	if got := names(t, text); got != "a b" {
		t.Errorf("got %q, want a b", got)
	}
}

// TestStdoutWithoutAReader: a pipe nobody reads is given up when the context ends, and the line that broke off is
// ended before the next one.
func TestStdoutWithoutAReader(t *testing.T) {
	read, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if err := read.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	s := &Stdout{out: out}
	c, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { cancelWhenFull(c, cancel, read) })
	long := bytes.Repeat([]byte("x"), 1<<20)
	if err := s.write(c, append([]byte("1\n"), long...)); !errors.Is(err, context.Canceled) {
		t.Errorf("nobody reads and the context ends: got %v, want its error", err)
	}
	got := make([]byte, 1<<20)
	n, err := read.Read(got)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.write(t.Context(), []byte("2\n")); err != nil {
		t.Fatal(err)
	}
	m, err := read.Read(got[n:])
	if err != nil || !bytes.HasPrefix(got, []byte("1\nxx")) || string(got[n:n+m]) != "\n2\n" {
		t.Errorf("got %q behind %d bytes, %v; want the broken line ended first", got[n:n+m], n, err)
	}
	_ = read.Close()
	if err := s.write(t.Context(), long); fault.Of(err).Code != "target.stdout_closed" {
		t.Errorf("the reader is gone: got %v, want target.stdout_closed", err)
	}
}

// cancelWhenFull cancels once a pipe holds what a pipe holds.
func cancelWhenFull(c ctx, cancel func(), read *os.File) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	raw, err := read.SyscallConn()
	for c.Err() == nil && err == nil {
		<-tick.C
		err = raw.Control(func(fd uintptr) {
			if n, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ); err != nil || n >= 64<<10 {
				cancel()
			}
		})
	}
}

func TestConfig(t *testing.T) {
	tests := []struct {
		url, want string
	}{
		{"file:/a/b.jsonl", "/a/b.jsonl"},
		{"file:///a/b.jsonl", "/a/b.jsonl"},
		{"file://host/a", ""},
		{"file:", ""},
		{"file:/a/", ""},
		{"/a/b", ""},
	}
	for _, tt := range tests {
		got, err := pathOf(tt.url)
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%s: got %q, %v; want %q", tt.url, got, err, tt.want)
		}
	}
	bad := Config{URL: "x", Existing: "drop", Batch: Batch{MaxRows: -1}}
	if errs := bad.Validate(); len(errs) != 3 {
		t.Errorf("got %v, want three errors", errs)
	}
}

func TestCheck(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	s := newFile(t, Config{URL: "file:" + path}, runtimeOf(t))
	problems := func() int {
		t.Helper()
		findings, err := s.Check(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, f := range findings {
			if f.Severity == schema.Problem {
				n++
			}
		}
		return n
	}
	if n := problems(); n != 0 {
		t.Errorf("fresh: got %d problems, want none", n)
	}
	if names, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); len(names) != 0 {
		t.Errorf("the check left %q behind", names)
	}
	write("x")(t, path)
	if n := problems(); n != 1 {
		t.Errorf("something there: got %d problems, want one", n)
	}
	write("x")(t, ledgerPath(path))
	if n := problems(); n != 1 {
		t.Errorf("damaged ledger: got %d problems, want one", n)
	}
}

func TestPrivateModes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	w, _ := open(t, Config{URL: "file:" + path})
	commit(t, w, group(t, w, 1, schema.PhaseStream, "a"))
	for name, most := range map[string]os.FileMode{path: 0o640, ledgerPath(path): 0o600, ledgerPath(path) + ".lock": 0o600} {
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm()&^most != 0 {
			t.Errorf("%s: got mode %v, %v; want at most %v", name, info.Mode(), err, most)
		}
	}
}

func BenchmarkCommit(b *testing.B) {
	w, _ := open(b, Config{URL: "file:" + filepath.Join(b.TempDir(), "events.jsonl")})
	b.ReportAllocs()
	seq := int64(0)
	for b.Loop() {
		seq++
		commit(b, w, group(b, w, seq, schema.PhaseStream, "a"))
	}
}
