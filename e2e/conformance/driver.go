package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/rowferry/rowferry/e2e/servers"
)

// A mode is a way to play cases.
type mode struct {
	name   string // in expected.json, in MODE and in what is printed
	driver string // the driver's name of it; none for those that are played without it
	via    string // VIA, as start understands it
}

var allModes = []mode{
	{name: "pg-pg", driver: "pg-pg"},
	{name: "pg-events", driver: "pg-events"},
	{name: "pg-kafka", driver: "pg-events", via: "kafka"},
	{name: "pg-types"},
	{name: "pg-debezium", via: "kafka"},
}

// modes are those that MODE names, or all of them.
func modes() ([]mode, error) {
	only := os.Getenv("MODE")
	if only == "" {
		return allModes, nil
	}
	var found []mode
	for _, name := range strings.Split(only, ",") {
		i := slices.IndexFunc(allModes, func(m mode) bool { return m.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no mode %q", name)
		}
		found = append(found, allModes[i])
	}
	return found, nil
}

// giveKafka has start prepare for the modes that go by way of Kafka, and starts a broker for them, unless one is given.
// What is returned ends it.
func (h *harness) giveKafka(ctx context.Context, modes []mode) (func() error, error) {
	nothing := func() error { return nil }
	if !slices.ContainsFunc(modes, func(m mode) bool { return m.via == "kafka" }) {
		return nothing, nil
	}
	if out, err := exec.CommandContext(ctx, h.start, "--build").CombinedOutput(); err != nil {
		return nothing, fmt.Errorf("building what reads from Kafka: %w: %s", err, out)
	}
	if os.Getenv(givenKafka) != "" {
		return nothing, nil
	}
	kafka, err := servers.StartKafka(ctx, servers.KafkaOptions{})
	if err != nil {
		return nothing, err
	}
	return kafka.Remove, os.Setenv(givenKafka, kafka.Addr())
}

// givenKafka names a broker, here and for what the driver starts.
const givenKafka = "ROWFERRY_TEST_KAFKA"

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
