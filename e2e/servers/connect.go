package servers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rowferry/rowferry/e2e/install"
)

// Connect is a worker of Kafka Connect, a process of its own, that has Debezium's connector for Postgres. Sources
// deliver exactly once; records are JSON without schemas, unless a connector is told otherwise. Its methods have one caller
// at a time.
type Connect struct {
	Dir string // holds settings and log

	url      string
	process  *os.Process
	watchdog *watchdog
}

// StartConnect installs Connect when it is missing, starts a worker for a Kafka and waits until it answers. It is
// removed by Remove or after the end of this process. java are options of its Java; a heap has 2 GiB.
func StartConnect(ctx context.Context, k *Kafka, java ...string) (*Connect, error) {
	return startConnect(ctx, k, worker{setting: "exactly.once.source.support=enabled", java: java})
}

// StartConnectAtLeastOnce is StartConnect for a worker as most are: sources deliver at least once. What was written is noted
// every second, where workers note it once a minute unless told otherwise.
func StartConnectAtLeastOnce(ctx context.Context, k *Kafka) (*Connect, error) {
	return startConnect(ctx, k, worker{setting: "offset.flush.interval.ms=1000"})
}

// StartConnectWithSink is StartConnectAtLeastOnce for a worker that has Debezium's JDBC sink, too, which is installed when it
// is missing. Sinks note what they have read every second.
func StartConnectWithSink(ctx context.Context, k *Kafka) (*Connect, error) {
	sink, err := install.Sink(ctx)
	if err != nil {
		return nil, err
	}
	return startConnect(ctx, k, worker{setting: "offset.flush.interval.ms=1000", plugins: []string{sink}})
}

// worker is what sets a worker apart from others.
type worker struct {
	setting string
	java    []string
	plugins []string // folders with further plugins
}

func startConnect(ctx context.Context, k *Kafka, w worker) (*Connect, error) {
	home, err := install.Connect(ctx)
	if err != nil {
		return nil, err
	}
	var plugins []string
	for _, folder := range append([]string{home}, w.plugins...) {
		plugins = append(plugins, filepath.Join(folder, "plugins"))
	}
	dir, err := os.MkdirTemp("", "rowferry-connect-")
	if err != nil {
		return nil, fmt.Errorf("making Connect's folder: %w", err)
	}
	c := &Connect{Dir: dir}
	if c.watchdog, err = startWatchdog(kafkaWatchdog, dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	settings := []string{"bootstrap.servers=" + k.Addr(), "plugin.path=" + strings.Join(plugins, ","), w.setting}
	if err := c.launch(ctx, home, settings, w.java); err != nil {
		return nil, errors.Join(fmt.Errorf("starting Kafka Connect: %w", err), c.Remove())
	}
	return c, nil
}

// launch starts the worker in a folder under its own, where the watchdog looks for it.
func (c *Connect) launch(ctx context.Context, home string, settings, java []string) error {
	work := filepath.Join(c.Dir, "worker")
	port, err := FreePorts(1)
	if err == nil {
		err = os.Mkdir(work, 0o755)
	}
	if err == nil {
		err = os.Chmod(c.Dir, 0o755)
	}
	if err != nil {
		return err
	}
	c.url = "http://127.0.0.1:" + strconv.Itoa(port)
	properties := strings.Join(append([]string{
		"listeners=" + c.url, "plugin.discovery=service_load",
		"group.id=connect", "config.storage.topic=connect-config", "offset.storage.topic=connect-offset", "status.storage.topic=connect-status",
		"config.storage.replication.factor=1", "offset.storage.replication.factor=1", "status.storage.replication.factor=1",
		"offset.storage.partitions=1", "status.storage.partitions=1", "topic.creation.enable=true", "scheduled.rebalance.max.delay.ms=0",
		"key.converter=org.apache.kafka.connect.json.JsonConverter", "value.converter=org.apache.kafka.connect.json.JsonConverter",
		"key.converter.schemas.enable=false", "value.converter.schemas.enable=false", "connector.client.config.override.policy=All",
	}, settings...), "\n") + "\n"
	file := filepath.Join(work, "connect.properties")
	if err := os.WriteFile(file, []byte(properties), 0o644); err != nil {
		return fmt.Errorf("writing the worker's settings: %w", err)
	}
	if err := own(work); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(c.Dir, "log"))
	if err != nil {
		return fmt.Errorf("opening the worker's log: %w", err)
	}
	defer log.Close()
	args := append([]string{"-Xmx2g", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"}, java...)
	args = append(args, "-cp", filepath.Join(home, "lib")+"/*", "org.apache.kafka.connect.cli.ConnectDistributed", file)
	cmd := exec.Command(filepath.Join(home, "java"), args...)
	confine(cmd, work)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("launching the worker: %w", err)
	}
	c.process = cmd.Process
	err = poll(brokerStart, "the worker to answer", func() bool {
		return ctx.Err() != nil || !alive(c.process.Pid) || c.call(ctx, http.MethodGet, "/connectors", nil, nil) == nil
	})
	switch {
	case err != nil:
		return errors.Join(err, errors.New(c.Log()))
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case !alive(c.process.Pid):
		return fmt.Errorf("the worker ended:\n%s", c.Log())
	}
	return nil
}

// connectLimit bounds each change of connectors.
const connectLimit = time.Minute

// errConnect is an answer of the worker that is no success.
var errConnect = errors.New("the worker refuses")

// call asks the worker's REST interface.
func (c *Connect) call(ctx context.Context, method, path string, body, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return fmt.Errorf("writing a request: %w", err)
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, c.url+path, bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("asking for %s: %w", path, err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("asking for %s: %w", path, err)
	}
	defer response.Body.Close()
	text, err = io.ReadAll(io.LimitReader(response.Body, 1<<20))
	switch {
	case err != nil:
		return fmt.Errorf("asking for %s: %w", path, err)
	case response.StatusCode >= http.StatusBadRequest:
		return fmt.Errorf("asking for %s: %w: %s: %.500s", path, errConnect, response.Status, text)
	case answer == nil:
		return nil
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("reading the answer to %s: %w", path, err)
	}
	return nil
}

// Create makes a connector and waits until its task runs.
func (c *Connect) Create(ctx context.Context, name string, config map[string]string) error {
	if err := c.call(ctx, http.MethodPut, "/connectors/"+name+"/config", config, nil); err != nil {
		return fmt.Errorf("making connector %s: %w", name, err)
	}
	var broken error
	err := poll(connectLimit, "connector "+name+" to run", func() bool {
		running, err := c.Running(ctx, name)
		switch {
		case errors.Is(err, errTask):
			broken = err
		case err != nil:
			broken = context.Cause(ctx) // a connector is not known at once
		}
		return broken != nil || running
	})
	if err = errors.Join(err, broken); err != nil {
		return fmt.Errorf("running connector %s: %w", name, err)
	}
	return nil
}

// errTask is a task that has failed, for good.
var errTask = errors.New("its task failed")

// Running tells whether a connector's task runs. One that has failed is an error that says why.
func (c *Connect) Running(ctx context.Context, name string) (bool, error) {
	var status struct {
		Tasks []struct {
			State, Trace string
		}
	}
	if err := c.call(ctx, http.MethodGet, "/connectors/"+name+"/status", nil, &status); err != nil {
		return false, fmt.Errorf("asking for connector %s: %w", name, err)
	}
	if len(status.Tasks) == 0 {
		return false, nil
	}
	if t := status.Tasks[0]; t.State == "FAILED" {
		return false, fmt.Errorf("connector %s: %w: %.5000s", name, errTask, t.Trace)
	}
	return status.Tasks[0].State == "RUNNING", nil
}

// Delete ends a connector. What it holds at its source it lets go of a moment later.
func (c *Connect) Delete(ctx context.Context, name string) error {
	if err := c.call(ctx, http.MethodDelete, "/connectors/"+name, nil, nil); err != nil {
		return fmt.Errorf("deleting connector %s: %w", name, err)
	}
	return nil
}

// Usage is what the worker has used so far: CPU, and peak memory in bytes.
func (c *Connect) Usage() (cpu time.Duration, peak int64, err error) {
	const tick = time.Second / 100 // USER_HZ, on every Linux that Go runs on
	folder := fmt.Sprintf("/proc/%d/", c.process.Pid)
	stat, err := os.ReadFile(folder + "stat")
	if err != nil {
		return 0, 0, fmt.Errorf("asking what the worker used: %w", err)
	}
	// Behind the name in parentheses: user and system time are the 12th and 13th.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	for _, field := range fields[11:13] {
		ticks, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("asking what the worker used: %w", err)
		}
		cpu += time.Duration(ticks) * tick
	}
	status, err := os.ReadFile(folder + "status")
	if err != nil {
		return 0, 0, fmt.Errorf("asking what the worker used: %w", err)
	}
	for line := range strings.Lines(string(status)) {
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &peak); err == nil {
			return cpu, peak << 10, nil
		}
	}
	return 0, 0, errors.New("asking what the worker used: no peak is told")
}

// Log is the end of what the worker wrote.
func (c *Connect) Log() string {
	text, err := os.ReadFile(filepath.Join(c.Dir, "log"))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}

// Kill ends the worker as a crash would. One that has ended stays so.
func (c *Connect) Kill() error {
	if c.process == nil {
		return nil
	}
	err := c.process.Signal(syscall.SIGKILL)
	if err == nil {
		_, err = c.process.Wait()
	}
	c.process = nil
	if err != nil {
		return fmt.Errorf("killing the worker: %w", err)
	}
	return nil
}

// Remove ends the worker and removes its folder.
func (c *Connect) Remove() error {
	return errors.Join(c.Kill(), c.watchdog.release(), os.RemoveAll(c.Dir))
}
