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

// PostgresServer returns the folder that holds postgres and initdb of the major version.
// A first call may download and unpack them, which takes seconds.
func PostgresServer(ctx context.Context, major int) (string, error) {
	return run(ctx, "server", strconv.Itoa(major))
}

// PostgresTools returns the folder that holds psql and pg_recvlogical.
func PostgresTools(ctx context.Context) (string, error) {
	return run(ctx, "tools")
}

func run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "bash", append([]string{"-s", "--"}, args...)...)
	cmd.Stdin = strings.NewReader(postgres)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("installing Postgres %s: %w", strings.Join(args, " "),
			errors.Join(err, errors.New(strings.TrimSpace(complaint.String()))))
	}
	return strings.TrimSpace(out.String()), nil
}
