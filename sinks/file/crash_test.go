package file

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/failpoint"
	"github.com/rowferry/rowferry/schema/setting"
	"github.com/rowferry/rowferry/sinks"
)

// crashDir is the environment variable that makes the test program write a file and die at a failpoint.
const crashDir = "ROWFERRY_TEST_CRASH_DIR"

// The points a file's commit passes.
var points = []string{
	"apply.before_cas", "apply.after_cas", "apply.mid", "apply.before_commit", "apply.commit_sent_no_reply",
	"apply.after_commit", "state.tmp_written", "state.before_rename", "state.after_rename",
}

// TestCrashAtEveryPoint kills, or breaks, a process that writes a file at every point it passes, at the first and
// at later times, and starts it again until it is done: every line is there once, in order.
func TestCrashAtEveryPoint(t *testing.T) {
	if !failpoint.Enabled {
		t.Skip("built without -tags failpoints")
	}
	for _, point := range points {
		for _, action := range []string{"kill", "error", "hang"} {
			t.Run(point+" "+action, func(t *testing.T) {
				t.Parallel()
				for nth := 1; nth <= 16; nth += 3 {
					crash(t, fmt.Sprintf("%s=%s@%d", point, action, nth))
				}
			})
		}
	}
}

// crash plays one armed failpoint.
func crash(t *testing.T, armed string) {
	dir := t.TempDir()
	path := filepath.Join(dir, "events.jsonl")
	for starts := 0; ; starts++ {
		if starts > 4 {
			t.Fatalf("%s: still not done after %d starts", armed, starts)
		}
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), crashDir+"="+dir, "ROWFERRY_FAILPOINTS="+armed)
		if starts > 0 {
			cmd.Env = append(os.Environ(), crashDir+"="+dir)
		}
		out, err := cmd.CombinedOutput()
		if err == nil {
			break
		}
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() == 2 {
			t.Fatalf("%s: %v\n%s", armed, err, out)
		}
	}
	want := ""
	for i := range 3 {
		want += fmt.Sprintf("copy%d ", i)
	}
	for i := 4; i < 12; i++ {
		want += fmt.Sprintf("tx%d ", i)
	}
	got := names(t, readCounted(t, path))
	if got+" " != want {
		t.Errorf("%s:\ngot  %s\nwant %s", armed, got, want)
	}
	if text, _ := os.ReadFile(path); int64(len(text)) != lengthOf(t, path) {
		t.Errorf("%s: the file has bytes of no commit after a clean end", armed)
	}
}

func lengthOf(t *testing.T, path string) int64 {
	s, _ := readLedger(t, path)
	return s.Data.Length
}

// crashChild copies three rows, begins the copy anew if it was interrupted, and then streams, as the engine does:
// after any error it starts again from what is held.
func crashChild() int {
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) {
		err := childAttempt()
		if err == nil {
			return 0
		}
		fmt.Fprintln(os.Stderr, err)
	}
	return 2
}

// childAttempt is one attempt, from opening to the end.
func childAttempt() (err error) {
	t := &childTB{}
	defer t.recover(&err)
	path := filepath.Join(os.Getenv(crashDir), "events.jsonl")
	s, err := New(Config{URL: "file:" + path, Rotate: Rotate{Size: setting.Size(400)}},
		sinks.Runtime{Pipeline: claim.Pipeline, Log: zerolog.Nop()})
	if err != nil {
		return err
	}
	c, cancel := t.timeout(300 * time.Millisecond)
	w, held, err := s.Open(c, claim)
	cancel()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	seq := held.Seq
	send := func(g sinks.Group) error {
		c, cancel := t.timeout(300 * time.Millisecond)
		defer cancel()
		return w.Commit(c, g)
	}
	if held.Phase != schema.PhaseStream {
		for _, phase := range []schema.Phase{schema.PhaseCreating, schema.PhaseCopy} {
			seq++
			g := group(t, w, seq, phase, "")
			g.Upto.Token = "0"
			if err := send(g); err != nil {
				return err
			}
		}
		for i := range 3 {
			g := group(t, w, 0, schema.PhaseCopy, fmt.Sprintf("copy%d", i))
			if err := send(g); err != nil {
				return err
			}
		}
		seq++
		g := group(t, w, seq, schema.PhaseStream, "")
		g.Upto.Token = "3"
		if err := send(g); err != nil {
			return err
		}
		held.Position.Token = "3"
	}
	done := 0
	if _, err := fmt.Sscan(held.Position.Token, &done); err != nil {
		return err
	}
	for i := done + 1; i < 12; i++ {
		seq++
		g := group(t, w, seq, schema.PhaseStream, fmt.Sprintf("tx%d", i))
		g.Upto.Token = fmt.Sprint(i)
		if i%4 == 0 { // as a part, and an empty one that ends it
			c, cancel := t.timeout(300 * time.Millisecond)
			err := w.Stage(c, 0, g.Payloads[0])
			cancel()
			if err != nil {
				return err
			}
			g.Payloads = nil
		}
		if err := send(g); err != nil {
			return err
		}
	}
	return nil
}
