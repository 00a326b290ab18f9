package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startProcess runs this test binary as the program, with the fake connectors.
func startProcess(t *testing.T, mode string) (*exec.Cmd, *buffer) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "rowferry.yaml")
	if err := os.WriteFile(file, []byte(fakeYAML), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "run", "--config", file)
	cmd.Env = append(os.Environ(), "ROWFERRY_TEST_FAKE_MAIN="+mode)
	var out bytes.Buffer
	errs := &buffer{}
	cmd.Stdout, cmd.Stderr = &out, errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the process streams", func() bool { return strings.Contains(errs.String(), `"state":"catching_up"`) })
	return cmd, errs
}

// exitCode waits for the process.
func exitCode(t *testing.T, cmd *exec.Cmd) int {
	t.Helper()
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }() // the code says how it ended
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		_ = cmd.Process.Kill()
		<-done
		t.Fatal("the process does not end")
	}
	return cmd.ProcessState.ExitCode()
}

func TestSignals(t *testing.T) {
	tests := []struct {
		name, mode string
		signals    []syscall.Signal
		want       int
	}{
		{"one SIGTERM finishes", "plain", []syscall.Signal{syscall.SIGTERM}, exitDone},
		{"one SIGINT finishes", "plain", []syscall.Signal{syscall.SIGINT}, exitDone},
		{"a second SIGTERM cuts short", "block", []syscall.Signal{syscall.SIGINT, syscall.SIGTERM}, exitTerminate},
		{"a second SIGINT cuts short", "block", []syscall.Signal{syscall.SIGTERM, syscall.SIGINT}, exitInterrupt},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cmd, errs := startProcess(t, tt.mode)
			for i, s := range tt.signals {
				if i > 0 {
					eventually(t, "the first signal is heard", func() bool { return strings.Contains(errs.String(), "finishing what was read") })
				}
				if err := cmd.Process.Signal(s); err != nil {
					t.Fatal(err)
				}
			}
			if got := exitCode(t, cmd); got != tt.want {
				t.Errorf("got exit %d, want %d:\n%s", got, tt.want, errs.String())
			}
		})
	}
}
