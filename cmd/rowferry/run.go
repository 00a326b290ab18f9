package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/rowferry/rowferry/replicator"
	"github.com/rowferry/rowferry/replicator/config"
	"github.com/rowferry/rowferry/replicator/progress"
	"github.com/rowferry/rowferry/replicator/server"
	"github.com/rowferry/rowferry/replicator/transform"
)

type runFlags struct {
	takeOver   bool
	exitOnHalt bool
	grace      time.Duration
}

func (a *app) runCommand() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use: "run [pipeline...]", Short: "run the daemon in the foreground", GroupID: groupRun,
		Long: "Run the pipelines named, or all of the configuration, until SIGINT or SIGTERM: then what was read is finished\n" +
			"and everything is closed. A second signal closes at once; nothing is lost either way.",
		ValidArgsFunction: a.completePipelines,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.run(cmd.Context(), f, args) },
	}
	cmd.Flags().BoolVar(&f.takeOver, "take-over", false, "end another reader of the same pipeline instead of standing by, until this one has led once")
	cmd.Flags().BoolVar(&f.exitOnHalt, "exit-on-halt", false, "end with exit code 5 once every pipeline has halted, instead of staying up for status")
	cmd.Flags().DurationVar(&f.grace, "grace", 20*time.Second, "how long a stop may take to finish what was read")
	return cmd
}

func (a *app) run(ctx context.Context, f runFlags, args []string) error {
	file, problems := config.Load(a.configFile(), a.connectors.kinds())
	if err := a.judge(problems, problems.Errors() > 0); err != nil { // mere warnings go to the log
		return err
	}
	names, err := pick(file, args)
	if err != nil {
		return err
	}
	line := newStatusLine(a.console)
	log := a.logger(file.Log, line)
	for i := range problems {
		p := &problems[i]
		log.Warn().Str("code", p.Code).Str("place", p.Place()).Str("path", p.Path).Str("hint", p.Hint).Msg(p.Text)
	}
	specs, err := a.specs(file, names, f, log)
	if err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	build := thisBuild()
	daemon := replicator.NewDaemon(specs, replicator.Options{
		Log: log, Grace: f.grace, Registry: registry, Version: build.Version, Revision: build.Commit,
		Codes: a.connectors.codes(), Bar: line.terminal,
	})
	log.Info().Str("version", build.Version).Str("config", a.configFile()).Strs("pipelines", names).Msg("starting")
	err = a.runDaemon(ctx, daemonRun{
		file: file, flags: f, daemon: daemon, registry: registry, log: log, line: line,
	})
	if err == nil {
		log.Info().Msg("stopped")
	}
	return err
}

// specs makes the engine's pipelines.
func (a *app) specs(file *config.File, names []string, f runFlags, log zerolog.Logger) ([]replicator.Spec, error) {
	var specs []replicator.Spec
	for _, name := range names {
		dir := stateDir(file, name)
		if err := makeStateDir(dir); err != nil {
			return nil, err
		}
		e, err := a.makeEnds(file, name, endsOptions{stateDir: dir, takeOver: f.takeOver, log: log})
		if err != nil {
			return nil, err
		}
		p := file.Pipelines[name]
		route, err := transform.NewRoute(p.Renames())
		if err != nil {
			return nil, invalid(err)
		}
		specs = append(specs, replicator.Spec{
			Name: name, StateDir: dir, Source: e.source, Sink: e.sink, SourceText: e.sourceText, TargetText: e.targetText,
			Fingerprint: p.Fingerprint(), Route: route, QueueBytes: int64(file.Memory.Queue),
			Retry: replicator.Retry{
				Initial: time.Duration(p.OnError.Retries.Backoff.From), Max: time.Duration(p.OnError.Retries.Backoff.To),
				Unknown: time.Duration(p.OnError.Retries.GiveUpAfter),
			},
			Timeouts: replicator.Timeouts{
				Open: time.Duration(p.Timeouts.Open), Read: time.Duration(p.Timeouts.Read), Commit: time.Duration(p.Timeouts.Commit),
			},
			Intervals: replicator.Intervals{Observe: time.Duration(p.Intervals.Observe), Progress: time.Duration(p.Intervals.Progress)},
		})
	}
	return specs, nil
}

// logger writes to standard error, as the configuration says, past the progress lines at the foot of a terminal.
func (a *app) logger(l config.Log, w io.Writer) zerolog.Logger {
	level, err := zerolog.ParseLevel(l.Level)
	if err != nil {
		level = zerolog.InfoLevel // the configuration was checked
	}
	if a.quiet {
		level = max(level, zerolog.WarnLevel)
	}
	zerolog.TimeFieldFormat = "2006-01-02T15:04:05.000Z07:00"
	zerolog.TimestampFunc = func() time.Time { return time.Now().UTC() }
	if a.logsText(l) {
		w = zerolog.ConsoleWriter{Out: w, NoColor: !a.ink(a.errTerminal).on, TimeFormat: "15:04:05.000"}
	}
	return zerolog.New(w).Level(level).With().Timestamp().Logger()
}

// logsText tells whether people read the log, not a program.
func (a *app) logsText(l config.Log) bool {
	return l.Format == "text" || l.Format == "auto" && a.errTerminal
}

// daemonRun is a daemon with what surrounds it.
type daemonRun struct {
	file     *config.File
	flags    runFlags
	daemon   *replicator.Daemon
	registry *prometheus.Registry
	log      zerolog.Logger
	line     *statusLine
}

// runDaemon runs the daemon, the listener and the watcher, and answers signals. It returns when all have ended.
func (a *app) runDaemon(ctx context.Context, r daemonRun) error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)

	soft, stop := context.WithCancel(ctx)
	defer stop()
	side, stopSide := context.WithCancel(context.WithoutCancel(ctx)) // outlives the soft stop: status stays readable
	ended := make(chan error, 1)
	go func() { ended <- r.daemon.Run(soft) }()
	served, watched := make(chan struct{}), make(chan struct{})
	go func() { defer close(served); a.serve(side, r) }()
	go func() { defer close(watched); a.watch(side, r) }()
	defer func() { stopSide(); <-served; <-watched }()

	const patience = 5 * time.Second
	var forced os.Signal
	var overdue <-chan time.Time
	var parked <-chan struct{} // not nil once no pipeline is left to run
	for stopping := false; ; {
		select {
		case <-parked:
			return nil
		case err := <-ended:
			switch {
			case forced != nil:
				return forcedExit(forced)
			case err != nil:
				return fmt.Errorf("running: %w", err)
			case stopping || soft.Err() != nil || !anyHalted(r.daemon.Report()):
				return nil
			case r.flags.exitOnHalt:
				return exitWith(exitRefused, nil)
			}
			parked = soft.Done()
			r.log.Warn().Msg("no pipeline is left to run; staying up for status until stopped")
		case <-overdue:
			r.log.Error().Msg("something does not close; ending without it")
			return forcedExit(forced)
		case s := <-signals:
			if parked != nil {
				return nil
			}
			if stopping {
				forced = s
				r.log.Warn().Str("signal", s.String()).Msg("second signal: closing at once")
				r.daemon.Abort()
				if overdue == nil {
					overdue = time.After(patience)
				}
				continue
			}
			stopping = true
			r.log.Info().Str("signal", s.String()).Msg("stopping: finishing what was read; a second signal closes at once")
			stop()
		}
	}
}

// forcedExit is the exit code of a stop cut short by a second signal.
func forcedExit(s os.Signal) error {
	if s == syscall.SIGINT {
		return exitWith(exitInterrupt, nil)
	}
	return exitWith(exitTerminate, nil)
}

// serve answers HTTP until ctx ends. While another process holds the address, most likely the daemon this one
// stands by for, it asks again from time to time.
func (a *app) serve(ctx context.Context, r daemonRun) {
	address := r.file.Server.Listen
	if address == "off" {
		return
	}
	const again = 2 * time.Second
	for warned := false; ; {
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
		if err == nil {
			r.daemon.Listening(listener.Addr().String())
			r.log.Info().Str("address", listener.Addr().String()).Msg("listening")
			if err := server.Serve(ctx, listener, server.Handler(r.daemon.Report, r.registry)); err != nil {
				r.log.Error().Err(err).Msg("the listener ended")
			}
			return
		}
		if ctx.Err() != nil {
			return
		}
		if !warned {
			r.log.Warn().Err(err).Str("address", address).Msg("no metrics and status: cannot listen; asking again until it is free")
			warned = true
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(again):
		}
	}
}

// watch shows halts and the progress of copies until ctx ends.
func (a *app) watch(ctx context.Context, r daemonRun) {
	const interval = 250 * time.Millisecond
	tick := time.NewTicker(interval)
	defer tick.Stop()
	shown := map[string]time.Time{}
	for {
		report := r.daemon.Report()
		a.showHalts(report, shown, r.file.Log, r.line)
		r.line.show(copyLines(report, a.console))
		select {
		case <-ctx.Done():
			a.showHalts(r.daemon.Report(), shown, r.file.Log, r.line)
			r.line.show(nil)
			return
		case <-tick.C:
		}
	}
}

// showHalts prints each halt once, for people: a log of JSON has all of it in one line.
func (a *app) showHalts(report progress.Report, shown map[string]time.Time, logs config.Log, w io.Writer) {
	for i := range report.Pipelines {
		p := &report.Pipelines[i]
		if p.Halt == nil || shown[p.Name].Equal(p.Halt.At) {
			continue
		}
		shown[p.Name] = p.Halt.At
		if a.logsText(logs) {
			fmt.Fprintf(w, "\n%s\n", haltText(p.Name, p.Halt, time.Now(), a.ink(a.errTerminal)))
		}
	}
}

// anyHalted tells whether a pipeline needs its operator.
func anyHalted(report progress.Report) bool {
	for i := range report.Pipelines {
		if report.Pipelines[i].State == progress.Halted {
			return true
		}
	}
	return false
}
