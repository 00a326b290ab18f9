// Package daemon builds the binary and runs it as a child, for tests: starts it with a configuration, kills or stops
// it, asks for its status and metrics, and keeps what it prints.
package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/rowferry/rowferry/replicator/progress"
)

// Options say what to run.
type Options struct {
	Binary    string
	Folder    string // of this daemon alone: configuration, state, log
	Pipelines []Pipeline
	Memory    Settings // limits of the whole daemon; nil for the defaults
	Env       []string // besides the caller's
	Args      []string // of "run", besides the configuration
	LogLevel  string   // debug when empty
}

// Daemon is a running child. It ends when the process that started it does.
type Daemon struct {
	options Options
	listen  string
	cmd     *exec.Cmd
	ended   chan struct{}
	peak    int64 // bytes of memory, as the system told it last
	client  *http.Client
}

// LogName is the file under the daemon's folder that holds all it printed, over several starts.
const LogName = "log"

// Start starts a daemon. The caller ends it with Kill or Stop.
func Start(o Options) (*Daemon, error) {
	if err := os.MkdirAll(o.Folder, 0o700); err != nil {
		return nil, fmt.Errorf("making the daemon's folder: %w", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("looking for a free port: %w", err)
	}
	listen := listener.Addr().String()
	if err := listener.Close(); err != nil {
		return nil, fmt.Errorf("looking for a free port: %w", err)
	}
	config, err := o.WriteConfig(listen)
	if err != nil {
		return nil, err
	}
	log, err := os.OpenFile(filepath.Join(o.Folder, LogName), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the daemon's log: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(o.Binary, append([]string{"run", "-c", config}, o.Args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), o.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", o.Binary, err)
	}
	d := &Daemon{
		options: o, listen: listen, cmd: cmd, ended: make(chan struct{}),
		client: &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}},
	}
	go func() { // Kill and Stop wait for it
		_ = cmd.Wait() // ProcessState says how it ended
		close(d.ended)
	}()
	return d, nil
}

// Pid is the child's process id.
func (d *Daemon) Pid() int { return d.cmd.Process.Pid }

// Address is where the daemon serves status and metrics.
func (d *Daemon) Address() string { return d.listen }

// Ended is closed when the child has ended.
func (d *Daemon) Ended() <-chan struct{} { return d.ended }

// Alive tells whether the child runs.
func (d *Daemon) Alive() bool {
	select {
	case <-d.ended:
		return false
	default:
		return true
	}
}

// Kill ends the child by SIGKILL and waits for it. One that has ended stays so.
func (d *Daemon) Kill() {
	d.notePeak()
	_ = d.cmd.Process.Kill() // it may have ended by itself
	<-d.ended
}

// Signal sends a signal to the child.
func (d *Daemon) Signal(s syscall.Signal) error {
	if err := d.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("sending %v: %w", s, err)
	}
	return nil
}

// ErrStuck is a child that did not end when it was asked to.
var ErrStuck = errors.New("the daemon did not stop in time")

// Stop asks the child to end and returns its exit code. One that does not in time is killed.
func (d *Daemon) Stop(limit time.Duration) (int, error) {
	d.notePeak()
	if err := d.Signal(syscall.SIGTERM); err != nil && d.Alive() {
		return 0, err
	}
	late := time.After(limit)
	for {
		select {
		case <-d.ended:
			return d.ExitCode(), nil
		case <-time.After(20 * time.Millisecond):
			d.notePeak()
		case <-late:
			d.Kill()
			return d.ExitCode(), fmt.Errorf("%w: %v", ErrStuck, limit)
		}
	}
}

// notePeak asks how much memory the child has had at most. It leaves what was noted when the child has ended.
func (d *Daemon) notePeak() {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.Pid()))
	if err != nil {
		return
	}
	for line := range strings.Lines(string(text)) {
		var kib int64
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kib); err == nil {
			d.peak = kib << 10
		}
	}
}

// ExitCode is how the child ended, -1 for a signal.
func (d *Daemon) ExitCode() int {
	<-d.ended
	return d.cmd.ProcessState.ExitCode()
}

// Usage is what the child used, once it has ended: CPU and peak memory. What the system tells of the peak afterwards is
// not below the memory that the parent had when it started the child, so that is used only for one that ended by itself.
func (d *Daemon) Usage() (cpu time.Duration, peak int64) {
	<-d.ended
	usage := d.cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if peak = d.peak; peak == 0 {
		peak = usage.Maxrss << 10
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), peak
}

// Status is what the daemon says of itself.
func (d *Daemon) Status(ctx context.Context) (progress.Report, error) {
	var report progress.Report
	body, err := d.get(ctx, "/api/v1/status")
	if err != nil {
		return report, err
	}
	if err := json.Unmarshal(body, &report); err != nil {
		return report, fmt.Errorf("reading the status: %w", err)
	}
	return report, nil
}

// Metrics is the page of metrics.
func (d *Daemon) Metrics(ctx context.Context) ([]byte, error) { return d.get(ctx, "/metrics") }

func (d *Daemon) get(ctx context.Context, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.listen+path, nil)
	if err != nil {
		return nil, fmt.Errorf("asking for %s: %w", path, err)
	}
	response, err := d.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("asking for %s: %w", path, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 16<<20))
	if err != nil || response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("asking for %s: %s: %w", path, response.Status, err)
	}
	return body, nil
}

// ErrHalted is a pipeline that waits for an operator.
var ErrHalted = errors.New("halted")

// ErrEnded is a daemon that ended by itself.
var ErrEnded = errors.New("the daemon ended by itself")

// Await asks for the status until every pipeline is as wanted. A halt or the daemon's end is an error.
func (d *Daemon) Await(ctx context.Context, wanted func(progress.Pipeline) bool) error {
	var last progress.Report
	for {
		asked := time.Now()
		report, err := d.Status(ctx)
		if err == nil {
			last = report
			all := len(report.Pipelines) > 0
			for _, p := range report.Pipelines {
				if p.Halt != nil {
					return fmt.Errorf("pipeline %s: %w: %s: %s", p.Name, ErrHalted, p.Halt.Code, p.Halt.Happened)
				}
				all = all && wanted(p)
			}
			if all {
				return nil
			}
		}
		select {
		case <-d.ended:
			return fmt.Errorf("%w, exit code %d:\n%s", ErrEnded, d.ExitCode(), d.LogEnd())
		case <-ctx.Done():
			return fmt.Errorf("waiting for the pipelines: %w; %s\n%s", context.Cause(ctx), describe(last), d.LogEnd())
		case <-time.After(max(20*time.Millisecond, 20*time.Since(asked))): // a status of many tables is long
		}
	}
}

// AwaitHalt waits for a pipeline to halt and returns why.
func (d *Daemon) AwaitHalt(ctx context.Context) (progress.Halt, error) {
	var halt *progress.Halt
	err := d.Await(ctx, func(p progress.Pipeline) bool { return false })
	if !errors.Is(err, ErrHalted) {
		return progress.Halt{}, err
	}
	report, err := d.Status(ctx)
	if err != nil {
		return progress.Halt{}, err
	}
	for _, p := range report.Pipelines {
		if p.Halt != nil {
			halt = p.Halt
		}
	}
	if halt == nil {
		return progress.Halt{}, fmt.Errorf("reading the halt: %w", os.ErrNotExist)
	}
	return *halt, nil
}

// Following tells that a pipeline follows its source: the copy is done and changes flow.
func Following(p progress.Pipeline) bool {
	return p.State == progress.Streaming || p.State == progress.CatchingUp
}

func describe(r progress.Report) string {
	var parts []string
	for _, p := range r.Pipelines {
		parts = append(parts, strings.TrimSpace(fmt.Sprintf("%s is %s at %s %s", p.Name, p.State, p.Position, p.Waiting)))
	}
	return strings.Join(parts, "; ")
}

// Log is all that the daemon printed, over all starts.
func (d *Daemon) Log() string {
	text, err := os.ReadFile(filepath.Join(d.options.Folder, LogName))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// LogEnd is the end of the log.
func (d *Daemon) LogEnd() string {
	lines := strings.Split(strings.TrimSpace(d.Log()), "\n")
	return strings.Join(lines[max(0, len(lines)-12):], "\n")
}

// State is the folder that the daemon keeps its state in.
func (d *Daemon) State() string { return filepath.Join(d.options.Folder, "state") }
