//go:build failpoints

package failpoint

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// arms sets the environment and lets it be read anew.
func arms(t *testing.T, spec string) {
	t.Setenv("ROWFERRY_FAILPOINTS", spec)
	once = sync.Once{}
	t.Cleanup(func() { once, points = sync.Once{}, nil })
}

func TestErrorAtTheNthTime(t *testing.T) {
	arms(t, "a.b=error@3;c.d=error")
	if !Enabled {
		t.Error("got disabled, want enabled")
	}
	for i := 1; i <= 5; i++ {
		if err := Hit(t.Context(), "a.b"); (err != nil) != (i == 3) {
			t.Errorf("time %d: got %v", i, err)
		}
	}
	if err := Hit(t.Context(), "c.d"); err == nil || !strings.Contains(err.Error(), "c.d") {
		t.Errorf("got %v, want an error that names the point", err)
	}
	if err := Hit(t.Context(), "e.f"); err != nil {
		t.Errorf("a point that is not armed: got %v, want nil", err)
	}
}

func TestHangUntilTheContextEnds(t *testing.T) {
	arms(t, "a.b=hang")
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(time.Millisecond, func() { cancel(cause) })
	if err := Hit(ctx, "a.b"); !errors.Is(err, cause) {
		t.Errorf("got %v, want the context's cause", err)
	}
}

func TestDelay(t *testing.T) {
	arms(t, "a.b=delay:20ms")
	start := time.Now()
	if err := Hit(t.Context(), "a.b"); err != nil || time.Since(start) < 20*time.Millisecond {
		t.Errorf("got %v after %v, want nil after 20ms", err, time.Since(start))
	}
}

func TestPanics(t *testing.T) {
	for _, spec := range []string{"a.b=panic", "a.b=nonsense", "a.b=error@0", "a.b=delay:x"} {
		t.Run(spec, func(t *testing.T) {
			arms(t, spec)
			defer func() {
				if recover() == nil {
					t.Error("got no panic, want one")
				}
			}()
			_ = Hit(t.Context(), "a.b")
		})
	}
}

func TestKill(t *testing.T) {
	if os.Getenv("ROWFERRY_FAILPOINTS") == "a.b=kill" {
		_ = Hit(t.Context(), "a.b")
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKill$")
	cmd.Env = append(os.Environ(), "ROWFERRY_FAILPOINTS=a.b=kill")
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("got %v, want the process killed by SIGKILL", err)
	}
}
