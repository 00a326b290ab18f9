package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rowferry/rowferry/e2e/debezium"
	"github.com/rowferry/rowferry/e2e/servers"
)

// recordings lie in the repository; those beside the driver are played, too.
const recordings = "e2e/debezium/testdata"

// debezium plays the recordings' SQL through Rowferry into topics, and compares what is there with what was recorded.
// The broker is the one that ROWFERRY_TEST_KAFKA names.
func (h *harness) debezium(ctx context.Context, want int) error {
	root := filepath.Dir(filepath.Dir(h.logs))
	var all []*debezium.Recording
	for _, folder := range []string{filepath.Join(h.driver, "debezium", "postgres"), filepath.Join(root, recordings)} {
		found, err := debezium.Find(folder)
		if err != nil {
			return fmt.Errorf("pg-debezium: %w", err)
		}
		all = append(all, found...)
	}
	allowed, err := debezium.ReadAllowed(filepath.Join(root, debezium.Page))
	if err != nil {
		return err
	}
	server, err := servers.Start(ctx, 15, "")
	if err != nil {
		return err
	}
	stage := &debezium.Stage{
		Server: server, Brokers: os.Getenv(givenKafka), Binary: filepath.Join(filepath.Dir(h.logs), "rowferry"),
		Psql: filepath.Join(h.bin, "psql"), Folder: filepath.Join(h.logs, "pg-debezium"),
	}
	var errs []error
	passed := 0
	for _, group := range debezium.Groups(all) {
		equal, err := h.recorded(ctx, stage, group, allowed)
		passed += equal
		errs = append(errs, err)
	}
	if err := errors.Join(append(errs, server.Remove())...); err != nil {
		return err
	}
	for _, line := range allowed.Unused() {
		errs = append(errs, fmt.Errorf("pg-debezium: %s is accepted in %s and does not occur", line, debezium.Page))
	}
	if passed != want {
		errs = append(errs, fmt.Errorf("pg-debezium: %d records are as recorded, expected are %d; see %s", passed, want, stage.Folder))
	}
	return errors.Join(errs...)
}

// recorded plays recordings that go together, and returns how many records are as they were recorded.
func (h *harness) recorded(ctx context.Context, stage *debezium.Stage, group []*debezium.Recording, allowed *debezium.Allowed) (int, error) {
	began := time.Now()
	played, err := stage.Play(ctx, group)
	if err != nil {
		return 0, fmt.Errorf("pg-debezium %s: %w", group[0].Name, err)
	}
	equal := 0
	var errs []error
	for _, p := range played {
		c := p.Compare(allowed)
		equal += c.Equal
		fmt.Printf("%-11s %-28s %d/%d records as recorded, in %s\n", "pg-debezium", p.Name, c.Equal, c.Total, time.Since(began).Round(time.Second))
		var lines []string
		for _, d := range c.Refused() {
			lines = append(lines, d.String())
		}
		if len(lines) == 0 {
			continue
		}
		const most = 20
		for _, line := range lines[:min(most, len(lines))] {
			fmt.Printf("  pg-debezium %s: %s\n", p.Name, line)
		}
		file := filepath.Join(stage.Folder, p.Name+".differences")
		if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
			errs = append(errs, fmt.Errorf("writing the differences: %w", err))
		}
		errs = append(errs, fmt.Errorf("pg-debezium %s: %d differences; see %s", p.Name, len(lines), file))
	}
	return equal, errors.Join(errs...)
}
