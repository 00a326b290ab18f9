package main

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// python is a call of the driver. When ctx ends, the driver is asked to end first, so that it stops the
// replicator of the case at hand, which runs in a session of its own and would outlive it.
func (h *harness) python(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "python3", append([]string{"-B", filepath.Join(h.driver, "run.py")}, args...)...)
	cmd.Env = append(os.Environ(), "PGBIN="+h.bin)
	cmd.Dir = h.logs
	// Away from the terminal: its interrupt comes to us, and from us as the end of ctx.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 30 * time.Second
	return cmd
}

// freePair returns the first port from base on that is free together with the next one.
func freePair(base int) int {
	for port := base; port < base+1000; port += 20 {
		if free(port) && free(port+1) {
			return port
		}
	}
	return base
}

func free(port int) bool {
	l, err := net.Listen("tcp4", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}
