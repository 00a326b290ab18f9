package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/rowferry/rowferry/replicator/progress"
	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
)

var update = flag.Bool("update", false, "rewrite testdata")

func TestMain(m *testing.M) {
	if os.Getenv("ROWFERRY_TEST_FAKE_MAIN") != "" {
		w := newWorld()
		w.block = os.Getenv("ROWFERRY_TEST_FAKE_MAIN") == "block"
		a := &app{console: standardConsole(), connectors: w.connectors()}
		os.Exit(a.execute(context.Background(), os.Args[1:]))
	}
	goleak.VerifyTestMain(m)
}

// buffer collects what a command prints, beside a test that reads it.
type buffer struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// shell runs command lines against one world and one folder.
type shell struct {
	t   *testing.T
	w   *world
	dir string
	env map[string]string
}

const fakeYAML = `version: 1
state: { path: state }
server: { listen: 127.0.0.1:0 }
pipelines:
  shop:
    source:
      url: "fake://rowferry:` + canary + `@db1:5432/shop"
      tables: { include: ["public.*"] }
    target: { url: "fake://rowferry@db2:5432/shop", password: "` + canary + `" }
`

func newShell(t *testing.T, yaml string) *shell {
	t.Helper()
	dir := t.TempDir()
	dir = filepath.Join(dir, strings.Repeat("d", max(1, 72-len(dir)))) // its length decides the width of columns
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s := &shell{t: t, w: newWorld(), dir: dir, env: map[string]string{"LANG": "C.UTF-8"}}
	if err := os.WriteFile(filepath.Join(s.dir, "rowferry.yaml"), []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// result is what came of a command line.
type result struct {
	code     int
	out, err string
}

// run runs a command line to its end.
func (s *shell) run(args ...string) result {
	s.t.Helper()
	var out, errs buffer
	code := s.start(context.Background(), &out, &errs, args...)
	return result{code, out.String(), errs.String()}
}

func (s *shell) start(ctx context.Context, out, errs *buffer, args ...string) int {
	s.t.Helper()
	c := &console{
		in: strings.NewReader(""), out: out, err: errs, width: func() int { return 80 },
		getenv: func(name string) string { return s.env[name] },
	}
	a := &app{console: c, connectors: s.w.connectors()}
	code := a.execute(ctx, append([]string{"--config", filepath.Join(s.dir, "rowferry.yaml")}, args...))
	for _, text := range []string{out.String(), errs.String()} {
		if strings.Contains(text, canary) {
			s.t.Errorf("%q prints the password:\n%s", args, text)
		}
	}
	return code
}

var moving = []*regexp.Regexp{
	regexp.MustCompile(`\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?Z`),
	regexp.MustCompile(`\(\d+(\.\d+)?[smhd]\)`), regexp.MustCompile(`\(\d+(\.\d+)?[smhd] ago;`),
	regexp.MustCompile(`\d+(\.\d+)?s ago`), regexp.MustCompile(`up \d+\.\ds`), regexp.MustCompile(`\b\d+\.\ds\b`),
}

// check compares a result with its golden, with folders and times taken out.
func (s *shell) check(name string, r result) {
	s.t.Helper()
	text := "exit " + string(rune('0'+r.code)) + "\n--- stdout\n" + r.out + "--- stderr\n" + r.err
	text = strings.ReplaceAll(text, s.dir, "DIR")
	for _, re := range moving {
		text = re.ReplaceAllStringFunc(text, func(found string) string {
			return strings.Map(func(c rune) rune {
				if c >= '0' && c <= '9' {
					return 'N'
				}
				return c
			}, found)
		})
	}
	golden := filepath.Join("testdata", name+".want")
	if *update {
		if err := os.WriteFile(golden, []byte(text), 0o644); err != nil {
			s.t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		s.t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), text); diff != "" {
		s.t.Errorf("%s: -want +got:\n%s", name, diff)
	}
}

func TestUsage(t *testing.T) {
	s := newShell(t, fakeYAML)
	tests := []struct {
		name string
		args []string
		code int
	}{
		{"help", []string{"--help"}, exitDone},
		{"unknown command", []string{"statsu"}, exitUsage},
		{"unknown subcommand", []string{"config", "chekc"}, exitUsage},
		{"unknown flag", []string{"run", "--takeover"}, exitUsage},
		{"bad color", []string{"version", "--color", "blue"}, exitUsage},
		{"unknown pipeline", []string{"run", "shp"}, exitUsage},
		{"missing argument", []string{"teardown"}, exitUsage},
		{"no file", []string{"--config", "/nowhere", "run"}, exitUsage},
		{"unknown code", []string{"explain", "fake.borken"}, exitUsage},
		{"wrong confirmation", []string{"teardown", "shop", "--confirm", "sho"}, exitRefused},
		{"no daemon", []string{"status", "--server", "127.0.0.1:1", "--timeout", "1s"}, exitEnvironment},
		{"version", []string{"version"}, exitDone},
		{"init", []string{"config", "init"}, exitDone},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s.t = t
			r := s.run(tt.args...)
			if r.code != tt.code {
				t.Errorf("got exit %d, want %d; %s", r.code, tt.code, r.err)
			}
			if (r.code == exitDone) != (r.err == "") && tt.code == exitDone {
				t.Errorf("got messages %q", r.err)
			}
			if r.code != exitDone && (r.out != "" || r.err == "") {
				t.Errorf("an error belongs on standard error alone; got %q and %q", r.out, r.err)
			}
			if r := s.run(append([]string{"--json"}, tt.args...)...); r.out != "" && tt.name != "help" && !json.Valid([]byte(r.out)) {
				t.Errorf("--json prints %q", r.out)
			}
		})
	}
}

func TestOutputs(t *testing.T) {
	s := newShell(t, fakeYAML)
	s.w.found = []schema.Finding{
		{Area: "source", Name: "connect", Text: "TLS verify-full, 3 ms"},
		{Area: "source", Name: "replication slots", Severity: schema.Problem, Text: "10 of 10 in use", Code: "source.no_free_slot",
			Fix: "drop one nobody reads: select pg_drop_replication_slot('old_dbz');\nor raise max_replication_slots (needs a restart)"},
		{Area: "tables", Name: "no key", Severity: schema.Warning, Text: "public.audit_log: updates and deletes cannot be matched"},
		{Area: "target", Name: "state", Severity: schema.Problem, Text: "the fake is broken", Code: "fake.broken"}, // its code has the remedy
	}
	for name, args := range map[string][]string{
		"check": {"check"}, "check-json": {"check", "--json"}, "status-never": {"status"}, "show": {"config", "show"},
		"explain": {"explain", "fake.broken"}, "explain-json": {"explain", "fake.broken", "--json"}, "teardown-nothing": {"teardown", "shop", "--confirm", "shop"},
		"config-check": {"config", "check"}, "key": {"config", "schema", "server"},
	} {
		s.check(name, s.run(args...))
	}
	if r := s.run("check", "--color", "always"); !strings.Contains(r.out, "\x1b[31m") {
		t.Errorf("--color always paints nothing: %q", r.out)
	}
	if _, err := os.Stat(filepath.Join(s.dir, "state")); !os.IsNotExist(err) {
		t.Errorf("looking made the state folder: %v", err)
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// daemon runs `run` beside the test.
type runningDaemon struct {
	out, err buffer
	cancel   context.CancelFunc
	ended    chan int
}

func (s *shell) daemon(args ...string) *runningDaemon {
	ctx, cancel := context.WithCancel(context.Background())
	d := &runningDaemon{cancel: cancel, ended: make(chan int, 1)}
	go func() { d.ended <- s.start(ctx, &d.out, &d.err, append([]string{"run"}, args...)...) }()
	s.t.Cleanup(func() { cancel() })
	return d
}

func (d *runningDaemon) end(t *testing.T) int {
	t.Helper()
	select {
	case code := <-d.ended:
		return code
	case <-time.After(15 * time.Second):
		t.Fatalf("the daemon does not end:\n%s", d.err.String())
		return -1
	}
}

var listening = regexp.MustCompile(`"address":"([^"]+)"`)

func TestRunStatusTeardown(t *testing.T) {
	s := newShell(t, fakeYAML)
	d := s.daemon()
	eventually(t, "streaming", func() bool {
		s.w.mu.Lock()
		defer s.w.mu.Unlock()
		return s.w.ledger["shop"].Phase == schema.PhaseStream
	})
	eventually(t, "the listener", func() bool { return listening.MatchString(d.err.String()) })
	address := listening.FindStringSubmatch(d.err.String())[1]

	eventually(t, "state streaming", func() bool {
		r := s.run("status", "--server", address, "--json")
		return r.code == exitDone && strings.Contains(r.out, `"state": "streaming"`) && strings.Contains(r.out, `"live": true`)
	})
	if r := s.run("teardown", "shop", "--confirm", "shop"); r.code != exitRefused || !strings.Contains(r.err, "stop it first") {
		t.Errorf("a teardown beside a daemon: got %+v", r)
	}
	info, err := os.Stat(filepath.Join(s.dir, "state", "shop"))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("state folder: got %v, %v, want mode 0700", info.Mode(), err)
	}
	d.cancel()
	if code := d.end(t); code != exitDone {
		t.Errorf("got exit %d, want 0:\n%s", code, d.err.String())
	}
	if d.out.String() != "" {
		t.Errorf("a daemon prints no data: %q", d.out.String())
	}
	s.check("status-stopped", s.run("status"))
	s.check("status-stopped-shop", s.run("status", "shop"))
	s.check("teardown-shown", s.run("teardown", "shop"))
	var shown teardownReport
	if r := s.run("teardown", "shop", "--json"); r.code != exitRefused || json.Unmarshal([]byte(r.out), &shown) != nil || shown.Removed || len(shown.Items) == 0 {
		t.Errorf("a teardown without confirmation as JSON: got %+v, want one document that removed nothing", r)
	}
	s.check("teardown-done", s.run("teardown", "shop", "--confirm", "shop"))
	if len(s.w.objects) != 0 || len(s.w.ledger) != 0 {
		t.Errorf("left behind: %v %v", s.w.objects, s.w.ledger)
	}
	s.check("teardown-nothing", s.run("teardown", "shop", "--confirm", "shop"))
}

// TestStatusFindsAFreePort: a daemon that listens where the system chose wrote down where that is. When it has ended,
// another with pipelines of these names may listen there.
func TestStatusFindsAFreePort(t *testing.T) {
	s := newShell(t, fakeYAML)
	live := func() bool { return strings.Contains(s.run("status", "--json").out, `"live": true`) }
	d := s.daemon()
	eventually(t, "status asks the daemon", live)
	d.cancel()
	if code := d.end(t); code != exitDone {
		t.Errorf("got exit %d, want 0:\n%s", code, d.err.String())
	}
	if live() {
		t.Error("a daemon that has ended answers")
	}
	dir := filepath.Join(s.dir, "state", "shop")
	report, ok, err := progress.Read(dir)
	if err != nil || !ok || report.Address == "" {
		t.Fatalf("got the address %q, %v, %v", report.Address, ok, err)
	}
	other := newShell(t, fakeYAML).daemon()
	eventually(t, "the other listens", func() bool { return listening.MatchString(other.err.String()) })
	report.Address = listening.FindStringSubmatch(other.err.String())[1]
	if err := progress.Write(dir, progress.StatusFile, report); err != nil {
		t.Fatal(err)
	}
	if live() {
		t.Error("another daemon's status is taken for this one's")
	}
	other.cancel()
	if code := other.end(t); code != exitDone {
		t.Errorf("got exit %d, want 0", code)
	}
}

func TestHalt(t *testing.T) {
	s := newShell(t, fakeYAML+"log: { format: text }\n")
	s.w.refuse = fault.Halt("fake.broken", context.DeadlineExceeded, "mend it\nrestart the daemon")
	d := s.daemon()
	eventually(t, "the halt on the screen", func() bool { return strings.Contains(d.err.String(), "What you can do") })
	for _, part := range []string{"HALTED  shop   fake.broken", "What happened", "Is data lost?", "What we did", "1  mend it", "rowferry explain fake.broken"} {
		if !strings.Contains(d.err.String(), part) {
			t.Errorf("a halt without %q:\n%s", part, d.err.String())
		}
	}
	eventually(t, "staying up", func() bool { return strings.Contains(d.err.String(), "staying up for status") })
	d.cancel()
	if code := d.end(t); code != exitDone {
		t.Errorf("got exit %d, want 0", code)
	}
	s.check("status-halted", s.run("status"))
	if code := s.daemon("--exit-on-halt").end(t); code != exitRefused {
		t.Errorf("--exit-on-halt: got exit %d, want %d", code, exitRefused)
	}
}

// TestHaltInJSONLog wants a log that is no terminal to hold nothing but JSON, one object a line, a halt and what is
// doubtful about the configuration included.
func TestHaltInJSONLog(t *testing.T) {
	s := newShell(t, fakeYAML)
	s.w.refuse = fault.Halt("fake.broken", context.DeadlineExceeded, "mend it\nrestart the daemon")
	d := s.daemon("--exit-on-halt")
	if code := d.end(t); code != exitRefused {
		t.Errorf("got exit %d, want %d", code, exitRefused)
	}
	halts, doubts := 0, 0
	for line := range strings.Lines(d.err.String()) {
		var entry struct{ State, Code, Lost, Path string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Errorf("a line that is no JSON: %q", line)
		}
		if entry.State == "halted" && entry.Code == "fake.broken" && entry.Lost != "" {
			halts++
		}
		if strings.HasPrefix(entry.Code, "config.") && entry.Path != "" {
			doubts++
		}
	}
	if halts != 1 || doubts == 0 {
		t.Errorf("got %d lines about the halt and %d about the configuration, want 1 and some:\n%s", halts, doubts, d.err.String())
	}
}

func TestSecondDaemonStandsBy(t *testing.T) {
	s := newShell(t, fakeYAML)
	first := s.daemon()
	eventually(t, "the first streams", func() bool {
		s.w.mu.Lock()
		defer s.w.mu.Unlock()
		return s.w.ledger["shop"].Phase == schema.PhaseStream
	})
	second := s.daemon()
	eventually(t, "the second stands by", func() bool { return strings.Contains(second.err.String(), "held by pid 1") })
	if r := s.run("status", "shop", "--json"); strings.Contains(r.out, "standby") || !strings.Contains(r.out, `"live": true`) {
		t.Errorf("the standby hides the first: %s", r.out)
	}
	first.cancel()
	if code := first.end(t); code != exitDone {
		t.Errorf("got exit %d, want 0", code)
	}
	eventually(t, "the second takes over", func() bool {
		r := s.run("status", "shop", "--json")
		return strings.Contains(r.out, `"state": "streaming"`)
	})
	second.cancel()
	if code := second.end(t); code != exitDone {
		t.Errorf("got exit %d, want 0", code)
	}
}
