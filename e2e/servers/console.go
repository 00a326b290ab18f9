package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rowferry/rowferry/e2e/install"
)

// Console is Kafka's console consumer, a process of its own that prints the committed records of topics from their beginning
// on, each as one line. Its methods have one caller at a time.
type Console struct {
	Group string // of consumers, that it is alone in

	dir      string
	process  *os.Process
	watchdog *watchdog
}

// StartConsole installs the console consumer when it is missing, and starts it. include is a regular
// expression that the whole name of each topic has to match. It is ended by Remove, or with this process.
func StartConsole(ctx context.Context, k *Kafka, include, group string) (*Console, error) {
	home, err := install.KafkaTools(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "rowferry-console-")
	if err != nil {
		return nil, fmt.Errorf("making the console consumer's folder: %w", err)
	}
	c := &Console{Group: group, dir: dir}
	if c.watchdog, err = startWatchdog(kafkaWatchdog, dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := c.launch(home, "--bootstrap-server", k.Addr(), "--include", include, "--group", group); err != nil {
		return nil, errors.Join(fmt.Errorf("starting the console consumer: %w", err), c.Remove())
	}
	return c, nil
}

// launch starts it in a folder under its own, where the watchdog looks for it.
func (c *Console) launch(home string, options ...string) error {
	work := filepath.Join(c.dir, "work")
	if err := os.Mkdir(work, 0o755); err != nil {
		return err
	}
	if err := os.Chmod(c.dir, 0o755); err != nil {
		return err
	}
	if err := own(work); err != nil {
		return err
	}
	lines, err := os.Create(filepath.Join(c.dir, "lines"))
	if err != nil {
		return err
	}
	defer lines.Close()
	log, err := os.Create(filepath.Join(c.dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	args := []string{
		"-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
		"-cp", filepath.Join(home, "lib") + "/*", "org.apache.kafka.tools.consumer.ConsoleConsumer",
		"--isolation-level", "read_committed", "--from-beginning",
	}
	for _, field := range []string{"partition", "offset", "headers", "key"} {
		args = append(args, "--property", "print."+field+"=true")
	}
	for _, property := range []string{"auto.commit.interval.ms=200", "metadata.max.age.ms=500"} {
		args = append(args, "--consumer-property", property)
	}
	cmd := exec.Command(filepath.Join(home, "java"), append(args, options...)...)
	confine(cmd, work)
	cmd.Stdout, cmd.Stderr = lines, log
	if err := cmd.Start(); err != nil {
		return err
	}
	c.process = cmd.Process
	return nil
}

// Lines are those it has printed, each whole, as [ConsoleLine] has them.
func (c *Console) Lines() ([]string, error) {
	text, err := os.ReadFile(filepath.Join(c.dir, "lines"))
	if err != nil {
		return nil, fmt.Errorf("reading what was printed: %w", err)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		// It tells of options that will have other names.
		if line, whole := strings.CutSuffix(line, "\n"); whole && !strings.HasPrefix(line, "Option --") {
			lines = append(lines, line)
		}
	}
	return lines, nil
}

// ConsoleLine is what it prints of a record.
func ConsoleLine(r *kgo.Record) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "Partition:%d\tOffset:%d\t", r.Partition, r.Offset)
	for i, h := range r.Headers {
		fmt.Fprintf(&b, "%s%s:%s", [2]string{"", ","}[min(i, 1)], h.Key, orNull(h.Value))
	}
	if len(r.Headers) == 0 {
		b.WriteString("NO_HEADERS")
	}
	fmt.Fprintf(&b, "\t%s\t%s", orNull(r.Key), orNull(r.Value))
	return b.String()
}

// orNull is bytes, or how none are printed.
func orNull(text []byte) []byte {
	if text == nil {
		return []byte("null")
	}
	return text
}

// Log is the end of what it said beside the records.
func (c *Console) Log() string {
	text, err := os.ReadFile(filepath.Join(c.dir, "log"))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}

// Alive tells whether it runs.
func (c *Console) Alive() bool { return c.process != nil && alive(c.process.Pid) }

// Stop asks it to end, as Ctrl-C does, and waits until it has.
func (c *Console) Stop() error {
	if c.process == nil {
		return nil
	}
	if err := c.process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stopping the console consumer: %w", err)
	}
	if err := poll(time.Minute, "the end of the console consumer", func() bool { return !alive(c.process.Pid) }); err != nil {
		return err
	}
	_, err := c.process.Wait()
	c.process = nil
	if err != nil {
		return fmt.Errorf("waiting for the console consumer's end: %w", err)
	}
	return nil
}

// Remove ends it, whatever it does, and removes its folder.
func (c *Console) Remove() error {
	var err error
	if c.process != nil {
		if err = c.process.Kill(); err == nil {
			_, err = c.process.Wait()
		}
		c.process = nil
	}
	return errors.Join(err, c.watchdog.release(), os.RemoveAll(c.dir))
}
