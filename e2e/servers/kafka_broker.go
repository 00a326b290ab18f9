package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// broker is one process of a cluster.
type broker struct {
	kafka    *Kafka
	node     int
	dir      string // holds data, settings and log
	ports    map[Listener]int
	settings []string // of this broker alone
	process  *os.Process
}

const (
	pause  = syscall.SIGSTOP
	resume = syscall.SIGCONT
)

// format gives the broker a data folder that was formatted when Kafka was installed, under its own ids.
func (b *broker) format() error {
	data := filepath.Join(b.dir, "data")
	if err := os.CopyFS(data, os.DirFS(filepath.Join(b.kafka.home, "storage"))); err != nil {
		return fmt.Errorf("copying the formatted folder: %w", err)
	}
	ids := fmt.Sprintf("version=1\ncluster.id=%s\nnode.id=%d\ndirectory.id=%s\n", b.kafka.cluster, b.node, randomID())
	if err := os.WriteFile(filepath.Join(data, "meta.properties"), []byte(ids), 0o644); err != nil {
		return fmt.Errorf("writing the broker's ids: %w", err)
	}
	return filepath.WalkDir(filepath.Dir(b.dir), func(path string, _ os.DirEntry, err error) error {
		return errors.Join(err, own(path))
	})
}

// java is the command that runs the broker.
func (b *broker) java() *exec.Cmd {
	home := b.kafka.home
	args := []string{
		"-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-Xshare:auto",
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",
		"-Dorg.slf4j.simpleLogger.showDateTime=true", "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
	}
	if archive := filepath.Join(home, "classes.jsa"); exists(archive) {
		args = append(args, "-XX:SharedArchiveFile="+archive)
	}
	args = append(args, b.kafka.options.Java...)
	args = append(args, "-cp", filepath.Join(home, "lib")+"/*", "kafka.Kafka", filepath.Join(b.dir, "server.properties"))
	cmd := exec.Command(filepath.Join(home, "java"), args...)
	confine(cmd, b.dir)
	return cmd
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// launch starts the broker and waits until it serves.
func (b *broker) launch(ctx context.Context) error {
	properties := strings.Join(b.properties(), "\n") + "\n"
	if err := os.WriteFile(filepath.Join(b.dir, "server.properties"), []byte(properties), 0o644); err != nil {
		return fmt.Errorf("writing the broker's settings: %w", err)
	}
	log, err := os.Create(filepath.Join(b.dir, "log"))
	if err != nil {
		return fmt.Errorf("opening the broker's log: %w", err)
	}
	defer log.Close()
	cmd := b.java()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("launching broker %d: %w", b.node, err)
	}
	b.process = cmd.Process
	err = poll(brokerStart, fmt.Sprintf("broker %d to start", b.node), func() bool {
		return ctx.Err() != nil || !alive(b.process.Pid) || b.started()
	})
	switch {
	case err != nil:
		return errors.Join(err, errors.New(b.log()), b.kill())
	case ctx.Err() != nil:
		return errors.Join(context.Cause(ctx), b.kill())
	case !alive(b.process.Pid):
		text := b.log()
		if err := b.awaitEnd(time.Second); err != nil {
			return err
		}
		if strings.Contains(text, "Address already in use") {
			return errPortTaken
		}
		return fmt.Errorf("broker %d ended:\n%s", b.node, text)
	}
	return nil
}

// started tells whether the broker has said that it serves; the log is that of this very process.
func (b *broker) started() bool {
	text, err := os.ReadFile(filepath.Join(b.dir, "log"))
	return err == nil && strings.Contains(string(text), "Kafka Server started")
}

func (b *broker) stop() error {
	if b.process == nil {
		return nil
	}
	if err := b.process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stopping broker %d: %w", b.node, err)
	}
	return b.awaitEnd(90 * time.Second)
}

func (b *broker) kill() error {
	if b.process == nil {
		return nil
	}
	if err := b.process.Kill(); err != nil {
		return fmt.Errorf("killing broker %d: %w", b.node, err)
	}
	return b.awaitEnd(30 * time.Second)
}

func (k *Kafka) signal(node int, s syscall.Signal) error {
	b, err := k.broker(node)
	if err != nil {
		return err
	}
	if b.process == nil {
		return fmt.Errorf("sending %s to broker %d: it does not run", s, node)
	}
	if err := b.process.Signal(s); err != nil {
		return fmt.Errorf("sending %s to broker %d: %w", s, node, err)
	}
	return nil
}

// awaitEnd waits for the broker's end and takes note of it.
func (b *broker) awaitEnd(limit time.Duration) error {
	what := fmt.Sprintf("the end of broker %d", b.node)
	if err := poll(limit, what, func() bool { return !alive(b.process.Pid) }); err != nil {
		return err
	}
	_, err := b.process.Wait()
	b.process = nil
	if err != nil {
		return fmt.Errorf("waiting for %s: %w", what, err)
	}
	return nil
}

func (b *broker) log() string {
	text, err := os.ReadFile(filepath.Join(b.dir, "log"))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}
