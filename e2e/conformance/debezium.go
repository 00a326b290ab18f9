package main

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rowferry/rowferry/e2e/daemon"
	"github.com/rowferry/rowferry/e2e/oracle"
	"github.com/rowferry/rowferry/e2e/servers"
)

// A recording is what Debezium wrote for given SQL, and how Rowferry is told to write the same.
type recording struct {
	name   string
	stream bool // the changes come after the start
	source daemon.Settings
	target daemon.Settings
	format daemon.Settings
}

var recordings = []recording{
	{name: "stream_default", stream: true},
	{
		name: "stream_modes", stream: true,
		target: daemon.Settings{"transaction_topic": "{pipeline}.transaction"},
		format: daemon.Settings{
			"decimals": "string", "times": "connect", "binary": "hex", "hstore": "map", "intervals": "string",
			"unknown_types": true, "skip": []string{},
		},
	},
	{name: "snapshot_default", source: daemon.Settings{"generated_columns": "compute"}},
}

// differencesPage lists the differences from Debezium that are accepted, each with its reason.
const differencesPage = "docs/reference/debezium-differences.md"

// debezium plays the recordings' SQL through Rowferry into topics, and compares what is there with what was recorded.
// The broker is the one that ROWFERRY_TEST_KAFKA names.
func (h *harness) debezium(ctx context.Context, want int) error {
	folder := filepath.Join(h.driver, "debezium", "postgres")
	if _, err := os.Stat(folder); err != nil {
		fmt.Printf("pg-debezium: skipped, there are no recordings in %s\n", folder)
		return nil
	}
	allowed, err := readAllowed(filepath.Join(filepath.Dir(filepath.Dir(h.logs)), differencesPage))
	if err != nil {
		return err
	}
	server, err := servers.Start(ctx, 15, "")
	if err != nil {
		return err
	}
	var errs []error
	passed := 0
	for _, r := range recordings {
		run := recordingRun{recording: r, harness: h, folder: folder, server: server, allowed: allowed}
		equal, err := run.play(ctx)
		passed += equal
		errs = append(errs, err)
	}
	if err := errors.Join(append(errs, server.Remove())...); err != nil {
		return err
	}
	for _, a := range allowed {
		if a.used == 0 && !a.sometimes {
			errs = append(errs, fmt.Errorf("pg-debezium: %s %s is accepted in %s and does not occur", a.topic, a.path, differencesPage))
		}
	}
	if passed != want {
		errs = append(errs, fmt.Errorf("pg-debezium: %d records are as recorded, expected are %d; see %s", passed, want, h.logs))
	}
	return errors.Join(errs...)
}

// recordingRun is one recording being played.
type recordingRun struct {
	recording
	harness *harness
	folder  string
	server  *servers.Server
	allowed []*allowance
}

// play returns how many records are as they were recorded.
func (r *recordingRun) play(ctx context.Context) (int, error) {
	began := time.Now()
	source, err := r.prepare(ctx)
	if err != nil {
		return 0, fmt.Errorf("pg-debezium %s: %w", r.name, err)
	}
	pipeline := "rec-" + strings.ReplaceAll(r.name, "_", "-") + "-" + randomID()
	folder := filepath.Join(r.harness.logs, "pg-debezium-"+r.name)
	format := daemon.Settings{"schemas": true, "skip": []string{"truncate"}, "null_as_default": true} // Debezium's defaults
	for k, v := range r.format {
		format[k] = v
	}
	target := daemon.Settings{
		"create_topics": daemon.Settings{"partitions": 1},
		"format":        daemon.Settings{"value": "debezium-json", "headers": false, "debezium": format},
	}
	for k, v := range r.target {
		target[k] = v
	}
	from := daemon.Settings{"publication": daemon.Settings{"name": "dbz_publication"}}
	for k, v := range r.source {
		from[k] = v
	}
	if !r.stream {
		if err := r.change(ctx, source); err != nil {
			return 0, err
		}
	}
	d, err := daemon.Start(daemon.Options{
		Binary: filepath.Join(filepath.Dir(r.harness.logs), "rowferry"), Folder: folder,
		Pipelines: []daemon.Pipeline{{
			Name: pipeline, Source: source, Target: "kafka://" + os.Getenv(givenKafka), Include: []string{"*.*"},
			InSource: from, InTarget: target, Snapshot: daemon.Settings{"workers": 1},
		}},
	})
	if err != nil {
		return 0, err
	}
	defer d.Kill()
	if err := awaitStreaming(ctx, d, 1); err != nil {
		return 0, fmt.Errorf("pg-debezium %s: %w; see %s", r.name, err, folder)
	}
	if r.stream {
		if err := r.change(ctx, source); err != nil {
			return 0, err
		}
	}
	equal, total, err := r.compare(ctx, pipeline, folder)
	fmt.Printf("%-11s %-16s %d/%d records as recorded, in %s\n", "pg-debezium", r.name, equal, total, time.Since(began).Round(time.Second))
	return equal, err
}

// prepare makes a database with the recordings' tables and their publication.
func (r *recordingRun) prepare(ctx context.Context) (string, error) {
	source := r.server.URL(r.name)
	if err := execute(ctx, r.server.URL("postgres"), "CREATE DATABASE "+r.name); err != nil {
		return "", err
	}
	for _, script := range []string{"types_ddl.sql", "ops_ddl.sql"} {
		if err := r.psql(ctx, source, script); err != nil {
			return "", err
		}
	}
	return source, execute(ctx, source, "CREATE PUBLICATION dbz_publication FOR ALL TABLES")
}

// change makes the changes that were recorded.
func (r *recordingRun) change(ctx context.Context, source string) error {
	return errors.Join(r.psql(ctx, source, "types_changes.sql"), r.psql(ctx, source, "ops_changes.sql"))
}

// psql runs a script, each statement in a transaction of its own unless it says otherwise.
func (r *recordingRun) psql(ctx context.Context, url, script string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(r.harness.bin, "psql"), "-X", "-q", "-o", "/dev/null", "-v", "ON_ERROR_STOP=1",
		"-d", url, "-f", filepath.Join(r.folder, script))
	cmd.Env = append(os.Environ(), "PGOPTIONS=-c timezone=UTC")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("running %s: %w: %s", script, err, out)
	}
	return nil
}

// randomID keeps the topics of runs with one broker apart.
func randomID() string {
	var id [4]byte
	_, _ = rand.Read(id[:]) // it never fails
	return hex.EncodeToString(id[:])
}

// looks is how often nothing new is seen, half a second apart, before what is there is taken for all.
const looks = 6

// compare reads the topics until nothing comes any more, and prints what differs.
func (r *recordingRun) compare(ctx context.Context, pipeline, folder string) (equal, total int, err error) {
	recorded, err := readRecording(filepath.Join(r.folder, r.name+".jsonl.gz"))
	if err != nil {
		return 0, 0, err
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(os.Getenv(givenKafka), ",")...))
	if err != nil {
		return 0, 0, fmt.Errorf("connecting to Kafka: %w", err)
	}
	defer client.Close()
	var ours []record
	for quiet := 0; quiet < looks; quiet++ {
		before := len(ours)
		if ours, err = readTopics(ctx, client, pipeline); err != nil {
			return 0, 0, err
		}
		if len(ours) != before {
			quiet = 0
		}
		select {
		case <-ctx.Done():
			return 0, 0, context.Cause(ctx)
		case <-time.After(500 * time.Millisecond):
		}
	}
	if err := writeRecords(filepath.Join(folder, "ours.jsonl"), ours); err != nil {
		return 0, 0, err
	}
	prefix := prefixOf(recorded)
	c := comparison{allowed: r.allowed}
	c.all(byTopic(recorded, prefix), byTopic(ours, pipeline))
	const most = 20
	for _, line := range c.differences[:min(most, len(c.differences))] {
		fmt.Printf("  pg-debezium %s: %s\n", r.name, line)
	}
	if err := os.WriteFile(filepath.Join(folder, "differences"), []byte(strings.Join(c.differences, "\n")), 0o600); err != nil {
		return 0, 0, fmt.Errorf("writing the differences: %w", err)
	}
	if n := len(c.differences); n > 0 {
		err = fmt.Errorf("pg-debezium %s: %d differences; see %s", r.name, n, folder)
	}
	return c.equal, c.total, err
}

// readRecording reads a recording.
func readRecording(path string) ([]record, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening a recording: %w", err)
	}
	defer f.Close()
	unpacked, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	lines := bufio.NewScanner(unpacked)
	lines.Buffer(nil, 1<<26)
	var out []record
	for lines.Scan() {
		var one record
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			return nil, fmt.Errorf("reading %s: %w", path, err)
		}
		out = append(out, one)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return out, nil
}

// readTopics reads what the pipeline wrote, but for its ledger, by topic and offset.
func readTopics(ctx context.Context, client *kgo.Client, pipeline string) ([]record, error) {
	topics, err := servers.KafkaTopics(ctx, client, pipeline+".")
	if err != nil {
		return nil, err
	}
	topics = slices.DeleteFunc(topics, func(name string) bool { return strings.HasSuffix(name, ".rowferry.ledger") })
	var out []record
	for r, err := range (oracle.KafkaReader{Client: client, Topics: topics}).Records(ctx) {
		if err != nil {
			return nil, fmt.Errorf("reading the topics: %w", err)
		}
		one := record{Topic: r.Topic, Offset: r.Offset, Key: r.Key, Value: r.Value, Headers: map[string]string{}}
		for _, h := range r.Headers {
			one.Headers[h.Key] = string(h.Value)
		}
		out = append(out, one)
	}
	return out, nil
}

// writeRecords keeps records as a recording, to be looked at.
func writeRecords(path string, records []record) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("keeping the records: %w", err)
	}
	to := json.NewEncoder(f)
	to.SetEscapeHTML(false)
	for _, r := range records {
		err = errors.Join(err, to.Encode(r))
	}
	return errors.Join(err, f.Close())
}
