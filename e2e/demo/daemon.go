package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowferry/rowferry/e2e/servers"
	"github.com/rowferry/rowferry/replicator/progress"
)

const config = `version: 1
state: { path: %q }
server: { listen: %q }
pipelines:
  warehouse:
    source: { url: %[3]q, tables: { include: ["public.*"] } }
    target: { url: %[4]q, tables: { create: true } }
  events:
    source: { url: %[3]q, tables: { include: ["public.*"] } }
    target: { url: %[5]q }
`

const kafkaConfig = `  topics:
    source: { url: %q, tables: { include: ["public.*"] } }
    target: { url: %q, create_topics: { partitions: 3 } }
`

const configName, logName, addressName = "rowferry.yaml", "rowferry.log", "address"

// configure writes what Rowferry is told, into the demo's folder.
func (d *demo) configure() error {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("finding a port for the status: %w", err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		return fmt.Errorf("finding a port for the status: %w", err)
	}
	text := fmt.Sprintf(config, filepath.Join(d.folder, "state"), address, d.shop, d.copied, "file:"+d.events)
	if d.kafka != nil {
		text += fmt.Sprintf(kafkaConfig, d.shop, "kafka://"+d.kafka.Addr())
	}
	if err := os.WriteFile(filepath.Join(d.folder, configName), []byte(text), 0o600); err != nil {
		return fmt.Errorf("writing the configuration: %w", err)
	}
	return os.WriteFile(filepath.Join(d.folder, addressName), []byte(address), 0o600)
}

// daemon is a running Rowferry.
type daemon struct{ cmd *exec.Cmd }

// startDaemon starts Rowferry as the configuration says. It ends with this program, however that ends.
func (d *demo) startDaemon() error {
	log, err := os.OpenFile(filepath.Join(d.folder, logName), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("opening the log: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(filepath.Join("build", "rowferry"), "run", "-c", filepath.Join(d.folder, configName))
	cmd.Stdout, cmd.Stderr = log, log
	// The system kills it when the thread that started it ends, so that thread is the program's main one. An
	// interrupt of the terminal comes to us alone.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting Rowferry: %w", err)
	}
	d.daemon = &daemon{cmd: cmd}
	return nil
}

// kill ends the daemon as a crash does; one that has ended stays so.
func (p *daemon) kill() {
	if p.cmd.ProcessState != nil {
		return
	}
	_ = p.cmd.Process.Kill() // it may have ended by itself, which Wait tells as well
	_ = p.cmd.Wait()         // killed, as asked
}

// stop asks the daemon to end and waits for it.
func (p *daemon) stop(ctx context.Context) error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stopping Rowferry: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = p.cmd.Process.Kill() })
	defer stop()
	// 143 says that a signal asked for the end.
	if err := p.cmd.Wait(); err != nil && p.cmd.ProcessState.ExitCode() != 128+int(syscall.SIGTERM) {
		return fmt.Errorf("stopping Rowferry: %w", err)
	}
	return nil
}

// alive tells whether the daemon still runs, without waiting for it.
func (p *daemon) alive() error {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err == nil && !strings.Contains(string(text), ") Z ") {
		return nil
	}
	return errors.New("the daemon ended by itself")
}

// awaitStreaming waits until all pipelines follow their source.
func (d *demo) awaitStreaming(ctx context.Context) error {
	wanted := 2
	if d.kafka != nil {
		wanted = 3
	}
	var last progress.Report
	err := await(ctx, func() (bool, error) {
		if err := d.daemon.alive(); err != nil {
			return false, err
		}
		if report, err := d.status(ctx); err == nil { // else it does not listen yet
			last = report
		}
		streaming := 0
		for _, p := range last.Pipelines {
			if p.Halt != nil {
				return false, fmt.Errorf("pipeline %s halted: %s (%s)", p.Name, p.Halt.Happened, p.Halt.Code)
			}
			// A pipeline that keeps a few changes behind follows as well.
			if p.State == progress.Streaming || p.State == progress.CatchingUp && p.LagSeconds < 1 && p.Transactions > 0 {
				streaming++
			}
		}
		return streaming == wanted, nil
	})
	if err == nil {
		return nil
	}
	var states []string
	for _, p := range last.Pipelines {
		states = append(states, strings.TrimSpace(fmt.Sprintf("%s is %s %s", p.Name, p.State, p.Waiting)))
	}
	return fmt.Errorf("waiting for the pipelines: %w (%s)", err, strings.Join(states, "; "))
}

func (d *demo) status(ctx context.Context) (report progress.Report, err error) {
	address, err := os.ReadFile(filepath.Join(d.folder, addressName))
	if err != nil {
		return report, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+string(address)+"/api/v1/status", nil)
	if err != nil {
		return report, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return report, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return report, errors.New(response.Status)
	}
	return report, json.NewDecoder(response.Body).Decode(&report)
}

// awaitLast makes one more change and waits until all targets have it.
func (d *demo) awaitLast(ctx context.Context, server *servers.Server) error {
	shop, err := pgx.Connect(ctx, d.shop)
	if err != nil {
		return fmt.Errorf("connecting to the shop: %w", err)
	}
	defer shop.Close(ctx)
	const last = "the-last@example.org"
	if _, err := shop.Exec(ctx, `INSERT INTO customers (name, email) VALUES ('The last one', $1)`, last); err != nil {
		return fmt.Errorf("making the last change: %w", err)
	}
	copied, err := pgx.Connect(ctx, server.URL("warehouse"))
	if err != nil {
		return fmt.Errorf("connecting to the warehouse: %w", err)
	}
	defer copied.Close(ctx)
	err = await(ctx, func() (bool, error) {
		if err := d.daemon.alive(); err != nil {
			return false, err
		}
		var there bool
		err := copied.QueryRow(ctx, `SELECT EXISTS (SELECT FROM customers WHERE email = $1)`, last).Scan(&there)
		if !there || err != nil || !endsWith(d.events, last) {
			return false, err
		}
		return d.topicHolds(ctx, "customers", last)
	})
	if err != nil {
		return fmt.Errorf("waiting for the last change: %w", err)
	}
	return nil
}

// endsWith tells whether text stands near the end of a file.
func endsWith(path, text string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false
	}
	end := make([]byte, min(info.Size(), 64<<10))
	n, _ := f.ReadAt(end, info.Size()-int64(len(end))) // what could not be read does not hold it
	return strings.Contains(string(end[:n]), text)
}

// await asks until it is so.
func await(ctx context.Context, so func() (bool, error)) error {
	for {
		if yes, err := so(); yes || err != nil {
			return err
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

// logEnd is the end of what Rowferry wrote.
func logEnd(folder string) string {
	text, err := os.ReadFile(filepath.Join(folder, logName))
	if err != nil {
		return "It did not come as far as starting Rowferry."
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return "The last of what Rowferry wrote:\n  " + strings.Join(lines[max(0, len(lines)-15):], "\n  ")
}
