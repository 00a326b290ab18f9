// Diff plays a script on a Postgres server that a connector of Debezium, in Kafka Connect, and a pipeline of Rowferry read
// side by side, and compares every record they write: key, value, headers, schemas, and their order.
//
//	make debezium-diff SQL=file.sql CONFIG=mode.json                 differences; 1 is the exit code when there are any
//	make debezium-diff SQL=file.sql CONFIG="a.json b.json" RECORD=e2e/debezium/testdata
//
// A configuration is that of the connector beyond addresses and names, as Kafka Connect takes it. What stands in the script
// before a line "-- stream" runs before the connector begins. Several configurations run at once. A recording is called
// after script and configuration; what Debezium wrote, the configuration and the script go into the folder.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/rowferry/rowferry/e2e/daemon"
	"github.com/rowferry/rowferry/e2e/debezium"
	"github.com/rowferry/rowferry/e2e/install"
	"github.com/rowferry/rowferry/e2e/servers"
)

// limit ends a run that hangs.
const limit = 20 * time.Minute

// errDiffers says that a difference is not accepted.
var errDiffers = errors.New("what the two wrote differs")

type options struct {
	script  string
	configs []string
	record  string
	major   int
	root    string
}

func main() {
	var o options
	flag.StringVar(&o.script, "sql", "", "script to play")
	configs := flag.String("config", "", "configurations of the connector, as JSON, separated by spaces or commas")
	flag.StringVar(&o.record, "record", "", "folder to write recordings into")
	flag.IntVar(&o.major, "postgres", 15, "major version of the server")
	flag.Parse()
	o.configs = strings.FieldsFunc(*configs, func(r rune) bool { return r == ' ' || r == ',' })
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("the time limit of %s was reached", limit))
	err := o.run(ctx)
	cancel()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "debezium-diff:", err)
		if errors.Is(err, errDiffers) {
			os.Exit(1)
		}
		os.Exit(2)
	}
}

// run reads what is asked for, starts what it takes, and ends it.
func (o options) run(ctx context.Context) (err error) {
	if o.script == "" || len(o.configs) == 0 {
		return errors.New("SQL=FILE and CONFIG=FILE have to be given")
	}
	if o.root, err = daemon.Root(); err != nil {
		return err
	}
	recordings, err := o.recordings()
	if err != nil {
		return err
	}
	allowed, err := debezium.ReadAllowed(filepath.Join(o.root, debezium.Page))
	if err != nil {
		return err
	}
	stage, end, err := o.stage(ctx)
	defer func() { err = errors.Join(err, end()) }()
	if err != nil {
		return err
	}
	differ := false
	var failures []error
	for _, group := range debezium.Groups(recordings) {
		played, err := stage.Play(ctx, group)
		if err != nil {
			return err
		}
		for _, p := range played {
			c := p.Compare(allowed)
			tell(p.Name, c)
			failures = append(failures, p.Failure)
			differ = differ || len(c.Refused()) > 0
			if err := o.save(p); err != nil {
				return err
			}
		}
	}
	if err := errors.Join(failures...); err != nil {
		return err
	}
	if differ {
		return fmt.Errorf("%w; what Rowferry wrote is in %s", errDiffers, stage.Folder)
	}
	return nil
}

// recordings are those to be made.
func (o options) recordings() ([]*debezium.Recording, error) {
	script, err := debezium.ReadScript(o.script)
	if err != nil {
		return nil, err
	}
	var out []*debezium.Recording
	for _, file := range o.configs {
		config, err := debezium.ReadConfig(file)
		if err != nil {
			return nil, err
		}
		mode := strings.TrimSuffix(strings.TrimSuffix(filepath.Base(file), ".json"), ".config")
		name := script.Name + "." + strings.TrimPrefix(mode, script.Name+".")
		out = append(out, &debezium.Recording{Name: name, Config: config, Script: script})
	}
	return out, nil
}

// stage starts servers, a broker and Connect.
func (o options) stage(ctx context.Context) (stage *debezium.Stage, end func() error, err error) {
	stage = &debezium.Stage{Binary: filepath.Join(o.root, "build", "rowferry"), Folder: filepath.Join(o.root, "build", "debezium-diff")}
	var ends []func() error
	end = func() error {
		var errs []error
		for i := len(ends); i > 0; i-- {
			errs = append(errs, ends[i-1]())
		}
		return errors.Join(errs...)
	}
	if err := os.RemoveAll(stage.Folder); err != nil {
		return nil, end, fmt.Errorf("clearing what an earlier run left: %w", err)
	}
	tools, err := install.PostgresTools(ctx)
	if err != nil {
		return nil, end, err
	}
	stage.Psql = filepath.Join(tools, "psql")
	if stage.Server, err = servers.Start(ctx, o.major, ""); err != nil {
		return nil, end, err
	}
	ends = append(ends, stage.Server.Remove)
	broker, err := servers.StartKafka(ctx, servers.KafkaOptions{})
	if err != nil {
		return nil, end, err
	}
	ends = append(ends, broker.Remove)
	stage.Brokers = broker.Addr()
	if stage.Connect, err = servers.StartConnect(ctx, broker); err != nil {
		return nil, end, err
	}
	ends = append(ends, stage.Connect.Remove)
	return stage, end, nil
}

// tell prints what a comparison found.
func tell(name string, c *debezium.Comparison) {
	fmt.Printf("%s: %d of %d records are the same\n", name, c.Equal, c.Total)
	times := map[string]int{} // by reason
	for _, d := range c.Differences {
		if times[d.Reason]++; d.Reason == "" || times[d.Reason] == 1 {
			fmt.Printf("  %s\n", d)
		}
		if d.Reason != "" && times[d.Reason] == 1 {
			fmt.Printf("    because: %s\n", d.Reason)
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(times)) {
		if n := times[reason]; reason != "" && n > 1 {
			fmt.Printf("  %d times more: %s\n", n-1, reason)
		}
	}
}

// save writes a recording, if that is asked for.
func (o options) save(p *debezium.Played) error {
	if o.record == "" {
		return nil
	}
	text, err := os.ReadFile(o.script)
	if err == nil {
		err = os.MkdirAll(o.record, 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(o.record, p.Script.Name+".sql"), text, 0o644)
	}
	if err != nil {
		return fmt.Errorf("writing the script: %w", err)
	}
	return p.Save(o.record)
}
