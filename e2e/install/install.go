// Package install finds or installs the foreign programs that tests, benchmarks and the demo run.
// The work is done by shell scripts, which people and the Makefile call as well; they are part of the
// test binary, so that it does not matter where it runs.
package install

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

//go:embed postgres.sh
var postgres string

//go:embed kafka.sh
var kafka string

// PostgresServer returns the folder that holds postgres and initdb of the major version.
// A first call may download and unpack them, which takes seconds.
func PostgresServer(ctx context.Context, major int) (string, error) {
	return run(ctx, "Postgres", postgres, "server", strconv.Itoa(major))
}

// PostgresTools returns the folder that holds psql and pg_recvlogical.
func PostgresTools(ctx context.Context) (string, error) {
	return run(ctx, "Postgres", postgres, "tools")
}

// KafkaServer returns the folder that holds what a broker of the version, 4.4 or 3.9, is started from: jars, a Java,
// a formatted data folder and an archive of classes. A first call makes them, which takes half a minute.
func KafkaServer(ctx context.Context, version string) (string, error) {
	return run(ctx, "Kafka", kafka, "server", version)
}

// KafkaTools returns the folder that holds the jars of Kafka's client programs, and a Java. A first call downloads some 50 MB.
func KafkaTools(ctx context.Context) (string, error) {
	return run(ctx, "Kafka's tools", kafka, "tools")
}

// Connect returns the folder that holds what a worker of Kafka Connect is started from, with Debezium's connector for
// Postgres: jars, plugins and a Java. A first call downloads some 50 MB.
func Connect(ctx context.Context) (string, error) { return run(ctx, "Kafka Connect", kafka, "connect") }

// Sink returns the folder that holds plugins with Debezium's JDBC sink, for a worker of Kafka Connect. A first call downloads
// some 50 MB.
func Sink(ctx context.Context) (string, error) { return run(ctx, "the JDBC sink", kafka, "sink") }

func run(ctx context.Context, what, script string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "bash", append([]string{"-s", "--"}, args...)...)
	cmd.Stdin = strings.NewReader(script)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("installing %s %s: %w", what, strings.Join(args, " "),
			errors.Join(err, errors.New(strings.TrimSpace(complaint.String()))))
	}
	return strings.TrimSpace(out.String()), nil
}
