// The kafka program lets e2e/conformance/start play a case by way of Kafka, for drivers that know files only.
//
//	kafka broker FOLDER                          prints host:port of a broker, started when none runs
//	kafka keep FOLDER                            is that broker, until nobody has used it for a while
//	kafka read BROKER FOLDER PIPELINE FILE PID   keeps FILE as the pipeline's topics are, while PID is the parent
//
// The broker outlives whoever asked for it, and whatever kills them. The reader is independent of Rowferry: it has
// another client library, reads committed records only, and everything from the start each time.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "conformance, Kafka:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	switch {
	case len(args) == 2 && args[0] == "broker":
		address, err := find(ctx, args[1])
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(os.Stdout, address)
		return err
	case len(args) == 2 && args[0] == "keep":
		return keep(ctx, args[1])
	case len(args) == 6 && args[0] == "read":
		return follow(ctx, args[1:])
	}
	return errors.New("what to do is not said as the program's comment has it")
}

// follow runs a reader, and holds on to the broker meanwhile. A broker without a folder is not ours.
func follow(ctx context.Context, args []string) error {
	address, folder := args[0], args[1]
	parent, err := strconv.Atoi(args[4])
	if err != nil {
		return fmt.Errorf("reading the process id: %w", err)
	}
	if folder != "" {
		use, err := lock(folder, useName, syscall.LOCK_SH)
		if err != nil {
			return err
		}
		defer use.Close()
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.MetadataMinAge(between))
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	defer client.Close()
	r := reader{client: client, pipeline: args[2], into: args[3], parent: parent}
	if err := r.run(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
