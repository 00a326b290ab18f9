// Bench measures Rowferry against the limits of the same machine in the same minutes: what Postgres' own tools do
// with the same data. It writes build/bench.jsonl, one figure a line, and exits with 1 when a gate is missed or a
// figure is missing.
//
//	make bench              everything but debezium, about 35 minutes on two cores
//	make bench SET=null     one set: null, apply, copy, big, latency, kafka; or figures by name, separated by commas
//	make bench SET=debezium the set that is not part of everything: beside Debezium in Kafka Connect, about 10 minutes
//
// A figure is the median over interleaved rounds; its ratio the median of the rounds' ratios, so that a busy minute
// hits both sides. Every run's content is checked: a fast wrong run fails.
package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/rowferry/rowferry/e2e/daemon"
)

//go:embed gates.json
var gatesText []byte

func main() {
	var o options
	var set string
	flag.StringVar(&set, "set", "", "sets or names of figures, separated by commas; all but debezium when empty")
	flag.StringVar(&o.binary, "binary", "", "what to measure, build/rowferry when empty")
	flag.IntVar(&o.rounds, "rounds", 5, "interleaved rounds of each comparison")
	flag.Float64Var(&o.scale, "scale", 1, "share of the full number of rows")
	flag.StringVar(&o.format, "format", debeziumFormat, "format of records in Kafka: debezium-json, without schemas, or json")
	flag.IntVar(&o.major, "postgres", 15, "major version of the servers")
	flag.Parse()
	o.set = strings.FieldsFunc(set, func(r rune) bool { return r == ',' })
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	set    []string
	binary string
	rounds int
	scale  float64
	major  int
	format string // of records in Kafka
}

// debeziumFormat is the format of records in Kafka that is measured unless another is asked for.
const debeziumFormat = "debezium-json"

// rows scales a number of rows.
func (o options) rows(n int) int { return max(int(float64(n)*o.scale), 1000) }

func run(ctx context.Context, o options) error {
	began := time.Now()
	root, err := daemon.Root()
	if err != nil {
		return err
	}
	if o.binary == "" {
		o.binary = filepath.Join(root, "build", "rowferry")
	}
	gates, err := readGates()
	if err != nil {
		return err
	}
	wanted := slices.DeleteFunc(gates, func(g gate) bool { return !o.wants(g) })
	if len(wanted) == 0 {
		return fmt.Errorf("nothing is called %v: the sets are null, apply, copy, big, latency, kafka, debezium", o.set)
	}
	b, err := begin(ctx, o, wanted)
	if err != nil {
		return err
	}
	err = b.measure(ctx)
	if endErr := b.end(); err == nil {
		err = endErr
	}
	if writeErr := b.write(filepath.Join(root, "build", "bench.jsonl"), commit(root)); err == nil {
		err = writeErr
	}
	b.print(os.Stdout, time.Since(began))
	if err != nil {
		return err
	}
	return b.judge()
}

// apart is the set that only runs when it is named: it downloads another system, and needs a Java with much memory.
const apart = "debezium"

// wants tells whether a figure was asked for, by its set or its name.
func (o options) wants(g gate) bool {
	return len(o.set) == 0 && g.Set != apart || slices.Contains(o.set, g.Set) || slices.Contains(o.set, g.Name)
}

func readGates() ([]gate, error) {
	var gates []gate
	if err := json.Unmarshal(gatesText, &gates); err != nil {
		return nil, fmt.Errorf("reading gates.json: %w", err)
	}
	return gates, nil
}

// commit is what was measured.
func commit(root string) string {
	out, err := exec.Command("git", "-C", root, "describe", "--always", "--dirty", "--abbrev=12").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
