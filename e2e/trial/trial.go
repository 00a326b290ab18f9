// Package trial puts the parts of an end-to-end test together: a source database with a load, a daemon that
// replicates it into a second database, a file of changes, topics of Kafka, or several of them, and the oracles that
// watch all of it.
//
// A trial goes: New, Start, Begin (load and watchers), whatever the test does to the daemon, Finish.
package trial

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rowferry/rowferry/e2e/daemon"
	"github.com/rowferry/rowferry/e2e/load"
	"github.com/rowferry/rowferry/e2e/oracle"
	"github.com/rowferry/rowferry/replicator/progress"
)

// Target is what kind of target a pipeline has.
type Target string

// The targets. A pipeline is named after its target.
const (
	Postgres Target = "postgres"
	File     Target = "file"
	Kafka    Target = "kafka"
)

// Password and Canary must never be printed, shown or kept: a password that the configuration refers to, and a text
// that stands in rows.
const (
	Password = "s3cr3t-of-the-trial"
	Canary   = "c4nary-in-a-row"
)

// Options say what to try.
type Options struct {
	Binary  string
	Folder  string // of this trial alone
	Source  string // URL of an empty database
	Target  string // URL of an empty database, for Postgres
	Kafka   string // host:port of brokers, for Kafka
	Prefix  string // what names in Kafka begin with; one of this trial's own when empty
	Targets []Target
	Load    *load.Runner // URL is filled in
	Old     int          // rows the first copy finds
	// SourceVia, TargetVia and KafkaVia are what the daemon connects to in place of Source, Target and Kafka, such as a
	// proxy.
	SourceVia, TargetVia, KafkaVia string
	// InSource, InTarget and InKafka are further settings of the sources, of the Postgres target and of Kafka.
	InSource, InTarget, InKafka daemon.Settings
	Besides                     daemon.Settings // further settings of the pipelines
	Args                        []string        // of the daemon
}

// Trial is one.
type Trial struct {
	Report *oracle.Report
	Daemon *daemon.Daemon // the last that was started

	options Options
	id      string
	runner  *load.Runner
	cancel  []context.CancelFunc
	group   sync.WaitGroup
	loaded  chan struct{} // closed when the load has ended

	mu   sync.Mutex // guards errs
	errs []error
}

// New fills the source.
func New(ctx context.Context, o Options) (*Trial, error) {
	conn, err := pgx.Connect(ctx, o.Source)
	if err != nil {
		return nil, fmt.Errorf("connecting to the source: %w", err)
	}
	defer conn.Close(ctx)
	if err := load.Setup(ctx, conn, o.Old); err != nil {
		return nil, err
	}
	if o.SourceVia == "" {
		o.SourceVia = o.Source
	}
	if o.TargetVia == "" {
		o.TargetVia = o.Target
	}
	if o.KafkaVia == "" {
		o.KafkaVia = o.Kafka
	}
	id := fmt.Sprintf("%08x", rand.Uint32())
	if o.Prefix == "" {
		o.Prefix = "trial-" + id + "-"
	}
	runner := o.Load
	runner.URL = o.Source
	runner.Profile.Old = o.Old
	runner.Profile.Canary = Canary
	return &Trial{Report: &oracle.Report{}, options: o, id: id, runner: runner}, nil
}

// Start starts a daemon with these variables in its environment.
func (t *Trial) Start(env ...string) error {
	d, err := t.Beside(t.options.Folder, t.options.Args, env...)
	if err != nil {
		return err
	}
	t.Daemon = d
	return nil
}

// Beside starts a further daemon for the same pipelines, in a folder of its own. The caller ends it.
func (t *Trial) Beside(folder string, args []string, env ...string) (*daemon.Daemon, error) {
	o := daemon.Options{
		Binary: t.options.Binary, Folder: folder, Args: args,
		Env: append([]string{"TRIAL_PASSWORD=" + Password}, env...),
	}
	for _, target := range t.options.Targets {
		p := daemon.Pipeline{
			Name: string(target), Source: t.options.SourceVia,
			InSource: daemon.Settings{"password": "${env:TRIAL_PASSWORD}", "slot": daemon.Settings{"name": t.Slot(target)}},
			Snapshot: daemon.Settings{"workers": 2, "chunk_size": "1MiB"}, Besides: t.options.Besides,
		}
		for k, v := range t.options.InSource {
			p.InSource[k] = v
		}
		switch target {
		case Postgres:
			p.Target = t.options.TargetVia
			p.InTarget = daemon.Settings{
				"tables": daemon.Settings{"create": true}, "schema_changes": "add_columns", "password": "${env:TRIAL_PASSWORD}",
			}
			for k, v := range t.options.InTarget {
				p.InTarget[k] = v
			}
		case File:
			p.Target = "file:" + t.Events()
		case Kafka:
			t.intoKafka(&p)
		}
		o.Pipelines = append(o.Pipelines, p)
	}
	return daemon.Start(o)
}

// Events is the file of changes.
func (t *Trial) Events() string { return filepath.Join(t.options.Folder, "events.jsonl") }

// Load is what makes the changes.
func (t *Trial) Load() *load.Runner { return t.runner }

// Begin starts the load and everything that watches while it runs.
func (t *Trial) Begin(ctx context.Context) {
	t.loaded = make(chan struct{})
	t.run(ctx, "the load", func(ctx context.Context) error {
		defer close(t.loaded)
		return t.runner.Run(ctx)
	})
	for _, target := range t.options.Targets {
		if target == Postgres {
			reader := oracle.Reader{Source: t.options.Source, Target: t.options.Target, Pipeline: string(target), Every: 150 * time.Millisecond}
			t.run(ctx, "the reader", func(ctx context.Context) error { return reader.Run(ctx, t.Report) })
		}
		watch := oracle.AckWatch{Source: t.options.Source, Slot: t.Slot(target), Ledger: t.ledger(target), Every: 20 * time.Millisecond}
		if target == Kafka {
			watch.Every = 100 * time.Millisecond // each look takes several requests
		}
		t.run(ctx, "the watch of acknowledgements", func(ctx context.Context) error { return watch.Run(ctx, t.Report) })
	}
}

// run keeps f running until Finish.
func (t *Trial) run(ctx context.Context, what string, f func(context.Context) error) {
	ctx, cancel := context.WithCancel(ctx)
	t.cancel = append(t.cancel, cancel)
	t.group.Go(func() {
		if err := f(ctx); err != nil && ctx.Err() == nil {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.errs = append(t.errs, fmt.Errorf("%s: %w", what, err))
		}
	})
}

// End stops load and watchers, kills a daemon that still runs, and returns what went wrong with them. Finish calls it;
// a test that gives up does.
func (t *Trial) End() error {
	t.quiet()
	if t.Daemon != nil {
		t.Daemon.Kill()
	}
	return errors.Join(t.errs...)
}

// Stuck is End for a daemon that did not get where it should: it leaves its stacks in the log.
func (t *Trial) Stuck() error {
	if t.Daemon != nil && t.Daemon.Signal(syscall.SIGQUIT) == nil {
		select {
		case <-t.Daemon.Ended():
		case <-time.After(5 * time.Second):
		}
	}
	return t.End()
}

// quiet ends load and watchers.
func (t *Trial) quiet() {
	for _, cancel := range t.cancel {
		cancel()
	}
	t.group.Wait()
	t.cancel = nil
}

// Finish ends the load, lets the daemon catch up, stops it, and looks at everything at rest.
func (t *Trial) Finish(ctx context.Context) error {
	if len(t.cancel) > 0 {
		t.cancel[0]() // the load, which ends what it has begun; the watchers go on
		<-t.loaded
	}
	if err := t.CatchUp(ctx); err != nil {
		return errors.Join(err, t.End())
	}
	if err := t.shown(ctx); err != nil {
		return errors.Join(err, t.End())
	}
	const limit = time.Minute
	code, err := t.Daemon.Stop(limit)
	if err != nil {
		return errors.Join(err, t.End())
	}
	if code != 0 {
		t.Report.Add(oracle.Wrong, "a stop that was asked for ended with exit code %d", code)
	}
	if err := t.End(); err != nil {
		return err
	}
	return t.judge(ctx)
}

// CatchUp makes a last transaction and waits until every target has it. The load must have ended, or be paused.
func (t *Trial) CatchUp(ctx context.Context) error {
	mark, err := t.runner.Mark(ctx)
	if err != nil {
		return err
	}
	want, err := oracle.ParseLSN(mark)
	if err != nil {
		return err
	}
	for _, target := range t.options.Targets {
		if err := t.awaitPosition(ctx, target, want); err != nil {
			return fmt.Errorf("catching up to %s: %w", mark, err)
		}
	}
	return nil
}

// awaitPosition waits until a target is past a position. One that is away is waited for.
func (t *Trial) awaitPosition(ctx context.Context, target Target, past uint64) error {
	ledger := t.ledger(target)
	defer ledger.Close()
	for {
		token, reading := ledger.Token(ctx)
		if at, phase, err := oracle.ParseToken(token); reading == nil && err == nil && at > past && phase == "stream" {
			return nil
		}
		if err := t.stillGoing(ctx); err != nil {
			return errors.Join(fmt.Errorf("%s being at %q: %w", target, token, err), reading)
		}
	}
}

// stillGoing waits a moment; a halt and the daemon's end are errors.
func (t *Trial) stillGoing(ctx context.Context) error {
	select {
	case <-t.Daemon.Ended():
		return fmt.Errorf("%w with exit code %d:\n%s", daemon.ErrEnded, t.Daemon.ExitCode(), t.Daemon.LogEnd())
	case <-ctx.Done():
		return fmt.Errorf("%w\n%s", context.Cause(ctx), t.Daemon.LogEnd())
	case <-time.After(20 * time.Millisecond):
	}
	report, err := t.Daemon.Status(ctx)
	if err != nil {
		return nil // it does not listen yet
	}
	for _, p := range report.Pipelines {
		if p.Halt != nil {
			return fmt.Errorf("pipeline %s: %w: %s: %s", p.Name, daemon.ErrHalted, p.Halt.Code, p.Halt.Happened)
		}
	}
	return nil
}

func (t *Trial) ledger(target Target) oracle.Ledger {
	switch target {
	case File:
		return oracle.LedgerOfFile(t.Events())
	case Kafka:
		return &oracle.KafkaLedger{Client: t.client(), Topic: t.Topic("ledger")}
	}
	return &oracle.PostgresLedger{URL: t.options.Target, Pipeline: string(target)}
}

// Slot is the name of a pipeline's slot. Slots are the server's, so it is unique among trials.
func (t *Trial) Slot(target Target) string {
	return fmt.Sprintf("trial_%s_%s", target, t.id)
}

// AwaitFollowing waits until every pipeline follows its source.
func (t *Trial) AwaitFollowing(ctx context.Context) error {
	return t.Daemon.Await(ctx, daemon.Following)
}

// States are the states of the pipelines; nil while the daemon does not answer.
func (t *Trial) States(ctx context.Context) map[string]progress.State {
	report, err := t.Daemon.Status(ctx)
	if err != nil {
		return nil
	}
	states := map[string]progress.State{}
	for _, p := range report.Pipelines {
		states[p.Name] = p.State
	}
	return states
}

// shown looks for secrets in what a running daemon answers, and for transactions it holds open at rest.
func (t *Trial) shown(ctx context.Context) error {
	if err := t.idle(ctx); err != nil {
		return err
	}
	page, err := t.Daemon.Metrics(ctx)
	if err != nil {
		return err
	}
	oracle.SecretsIn(t.Report, t.canaries(), "metrics", page)
	return nil
}

func (t *Trial) canaries() []string { return []string{Password, Canary} }

// judge looks at everything at rest.
func (t *Trial) judge(ctx context.Context) error {
	source, err := pgx.Connect(ctx, t.options.Source)
	if err != nil {
		return fmt.Errorf("connecting to the source: %w", err)
	}
	defer source.Close(ctx)
	var slots []string
	for _, target := range t.options.Targets {
		slots = append(slots, t.Slot(target))
	}
	if err := awaitNone(ctx, source); err != nil {
		return err
	}
	if err := oracle.Leaks(ctx, t.Report, source, slots...); err != nil {
		return err
	}
	for _, target := range t.options.Targets {
		if err := t.judgeTarget(ctx, source, target); err != nil {
			return err
		}
	}
	if err := oracle.Files(t.Report, t.options.Folder); err != nil {
		return err
	}
	oracle.Races(t.Report, []byte(t.Daemon.Log()))
	return oracle.Secrets(t.Report, t.canaries(), filepath.Join(t.options.Folder, "state"), filepath.Join(t.options.Folder, daemon.LogName))
}

// awaitNone gives the sessions of an ended daemon a moment to end at the server too.
func awaitNone(ctx context.Context, conn *pgx.Conn) error {
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		var left int
		err := conn.QueryRow(ctx, `SELECT count(*) FROM pg_stat_activity WHERE application_name ILIKE '%rowferry%' AND datname = current_database()`).Scan(&left)
		if err != nil || left == 0 {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil
}

func (t *Trial) judgeTarget(ctx context.Context, source *pgx.Conn, target Target) error {
	if target == Postgres {
		conn, err := pgx.Connect(ctx, t.options.Target)
		if err != nil {
			return fmt.Errorf("connecting to the target: %w", err)
		}
		defer conn.Close(ctx)
		if err := awaitNone(ctx, conn); err != nil {
			return err
		}
		if err := oracle.Leaks(ctx, t.Report, conn); err != nil {
			return err
		}
		return oracle.Equal(ctx, t.Report, source, conn, load.Tables)
	}
	if target == Kafka {
		return t.judgeKafka(ctx, source)
	}
	tables, err := oracle.Describe(ctx, source, load.Tables)
	if err != nil {
		return err
	}
	file := oracle.NewFile(t.Report, tables)
	if err := file.ReadFile(t.Events()); err != nil {
		return err
	}
	file.End()
	file.Silence(t.runner.Log().Entries())
	if err := oracle.Settled(t.Report, t.Events()); err != nil {
		return err
	}
	return file.Compare(ctx, source)
}

// Databases makes the two databases of a trial on a server and returns their URLs and what drops them.
func Databases(ctx context.Context, server, name string) (source, target string, drop func(context.Context) error, err error) {
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return "", "", nil, fmt.Errorf("connecting to the server: %w", err)
	}
	defer conn.Close(ctx)
	urls := make([]string, 2)
	for i, suffix := range []string{"_source", "_target"} {
		if _, err := conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name + suffix}.Sanitize()+" TEMPLATE template0"); err != nil {
			return "", "", nil, fmt.Errorf("making a database: %w", err)
		}
		u, err := url.Parse(server)
		if err != nil {
			return "", "", nil, fmt.Errorf("reading the server's URL: %w", err)
		}
		u.Path = "/" + name + suffix
		urls[i] = u.String()
	}
	return urls[0], urls[1], func(ctx context.Context) error { return dropDatabases(ctx, server, name) }, nil
}

func dropDatabases(ctx context.Context, server, name string) error {
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return fmt.Errorf("connecting to the server: %w", err)
	}
	defer conn.Close(ctx)
	for _, suffix := range []string{"_source", "_target"} {
		if _, err := conn.Exec(ctx, `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = $1 AND NOT active`, name+suffix); err != nil {
			return fmt.Errorf("dropping slots: %w", err)
		}
		if _, err := conn.Exec(ctx, "DROP DATABASE IF EXISTS "+pgx.Identifier{name + suffix}.Sanitize()+" WITH (FORCE)"); err != nil {
			return fmt.Errorf("dropping a database: %w", err)
		}
	}
	return nil
}

// Remove removes the trial's folder.
func (t *Trial) Remove() error { return os.RemoveAll(t.options.Folder) }
