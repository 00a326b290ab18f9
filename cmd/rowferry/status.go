package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/rowferry/rowferry/replicator/config"
	"github.com/rowferry/rowferry/replicator/progress"
	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/sinks"
)

// statusReport is what `status --json` prints.
type statusReport struct {
	Live      bool             `json:"live"` // a daemon answered; else this is what it last wrote down
	Version   string           `json:"version,omitempty"`
	Started   time.Time        `json:"started,omitzero"`
	Pipelines []pipelineStatus `json:"pipelines"`
}

// pipelineStatus is a pipeline as the daemon tells, or as it last did, with what the target says of itself.
type pipelineStatus struct {
	progress.Pipeline
	Ledger *ledgerStatus `json:"ledger,omitempty"`
}

// ledgerStatus is what the target's ledger holds, read without a daemon.
type ledgerStatus struct {
	Phase    schema.Phase `json:"phase,omitempty"`
	Position string       `json:"position"`
	Seq      int64        `json:"seq"`
	Made     []string     `json:"made,omitempty"`
	Error    string       `json:"error,omitempty"`
}

func (a *app) statusCommand() *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "status [pipeline...]", Short: "what is running, how far behind, what needs you", GroupID: groupOperate,
		Long: "Ask the daemon how its pipelines are. While none answers, show what it last wrote into its state folder and\n" +
			"where the targets' ledgers stand, and say how old that is. With a pipeline's name, show everything about it.",
		ValidArgsFunction: a.completePipelines,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.status(cmd.Context(), args, timeout) },
	}
	cmd.Flags().StringVar(&a.serverURL, "server", "", "address of the daemon (ROWFERRY_SERVER, else server.listen of the configuration)")
	cmd.Flags().DurationVar(&timeout, "timeout", 3*time.Second, "how long to wait for the daemon, and for each target")
	return cmd
}

func (a *app) status(ctx context.Context, args []string, timeout time.Duration) error {
	address := a.serverURL
	if address == "" {
		address = a.getenv("ROWFERRY_SERVER")
	}
	var file *config.File
	var names []string
	var report progress.Report
	var err error
	if address == "" {
		if file, err = a.load(false); err != nil {
			return err
		}
		if names, err = pick(file, args); err != nil {
			return err
		}
		report, err = askConfigured(ctx, file, names, timeout)
	} else {
		report, err = askDaemon(ctx, address, timeout)
	}
	switch {
	case err != nil && file == nil:
		return exitWith(exitEnvironment, fmt.Errorf("asking the daemon at %s: %w", address, err))
	case err != nil:
		return a.printStatus(a.offlineStatus(ctx, file, names, timeout), len(args) > 0)
	}
	out := statusReport{Live: true, Version: report.Version, Started: report.Started, Pipelines: []pipelineStatus{}}
	for _, p := range report.Pipelines {
		if len(args) == 0 || contains(args, p.Name) {
			out.Pipelines = append(out.Pipelines, pipelineStatus{Pipeline: p})
		}
	}
	return a.printStatus(out, len(args) > 0)
}

func contains(list []string, text string) bool {
	for _, s := range list {
		if s == text {
			return true
		}
	}
	return false
}

// askConfigured reads the status of the daemon that a configuration is about. One that listens where the system chose
// wrote the address down; another may have it by now.
func askConfigured(ctx context.Context, file *config.File, names []string, timeout time.Duration) (progress.Report, error) {
	address := file.Server.Listen
	if !strings.HasSuffix(address, ":0") {
		report, err := askDaemon(ctx, address, timeout)
		if err == nil && !sameDaemon(report, file) {
			err = fmt.Errorf("what answers at %s runs none of these pipelines", address)
		}
		return report, err
	}
	var last progress.Report // of the daemon that was started last
	for _, name := range names {
		report, ok, err := progress.Read(stateDir(file, name))
		if err == nil && ok && report.Started.After(last.Started) {
			last = report
		}
	}
	if last.Address == "" {
		return last, errors.New("no daemon wrote down where it listens")
	}
	report, err := askDaemon(ctx, last.Address, timeout)
	if err == nil && !report.Started.Equal(last.Started) {
		err = fmt.Errorf("what answers at %s is another daemon", last.Address)
	}
	return report, err
}

// sameDaemon tells whether a report is about the configuration's pipelines at all.
func sameDaemon(r progress.Report, file *config.File) bool {
	for _, p := range r.Pipelines {
		if _, ok := file.Pipelines[p.Name]; ok {
			return true
		}
	}
	return false
}

// askDaemon reads the status a running daemon gives.
func askDaemon(ctx context.Context, address string, timeout time.Duration) (progress.Report, error) {
	var report progress.Report
	if address == "off" {
		return report, errors.New("the daemon does not listen")
	}
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(address, "/")+"/api/v1/status", nil)
	if err != nil {
		return report, fmt.Errorf("making the request: %w", err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return report, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return report, fmt.Errorf("the answer is %s", response.Status)
	}
	const longest = 64 << 20
	if err := json.NewDecoder(http.MaxBytesReader(nil, response.Body, longest)).Decode(&report); err != nil {
		return report, fmt.Errorf("decoding the answer: %w", err)
	}
	return report, nil
}

// offlineStatus puts together what state folders and ledgers tell while no daemon answers.
func (a *app) offlineStatus(ctx context.Context, file *config.File, names []string, timeout time.Duration) statusReport {
	out := statusReport{Pipelines: []pipelineStatus{}}
	for _, name := range names {
		status := lastStatus(stateDir(file, name), name)
		e, err := a.makeEnds(file, name, endsOptions{stateDir: stateDir(file, name), log: zerolog.Nop()})
		if err != nil {
			status.Ledger = &ledgerStatus{Error: describe(err).Message}
		} else {
			status.Source, status.Target = e.sourceText, e.targetText
			status.Ledger = inspect(ctx, e, timeout)
		}
		out.Pipelines = append(out.Pipelines, status)
	}
	return out
}

// lastStatus is what a daemon last wrote about a pipeline.
func lastStatus(dir, name string) pipelineStatus {
	report, ok, err := progress.Read(dir)
	if err == nil && ok {
		for _, p := range report.Pipelines {
			if p.Name == name {
				return pipelineStatus{Pipeline: p}
			}
		}
	}
	return pipelineStatus{Pipeline: progress.Pipeline{Name: name}} // it is information only: an unreadable one counts as none
}

// inspect asks a target what its ledger holds, nil when it has none to ask.
func inspect(ctx context.Context, e *ends, timeout time.Duration) *ledgerStatus {
	inspector, ok := e.sink.(sinks.Inspector)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	held, err := inspector.Inspect(ctx, e.name)
	if err != nil {
		return &ledgerStatus{Error: describe(err).Message}
	}
	return &ledgerStatus{Phase: held.Phase, Position: held.Position.String(), Seq: held.Seq, Made: held.Made}
}

// printStatus prints the table, or all about pipelines that were asked for by name.
func (a *app) printStatus(r statusReport, detail bool) error {
	exit := error(nil)
	for i := range r.Pipelines {
		if r.Pipelines[i].Halt != nil {
			exit = exitWith(exitFound, nil)
		}
	}
	if a.json {
		return errors.Join(exit, a.printJSON(r))
	}
	view := statusView{app: a, report: r, now: time.Now(), ink: a.ink(a.outTerminal)}
	if !detail {
		view.table()
		return exit
	}
	for i := range r.Pipelines {
		if i > 0 {
			a.print("\n")
		}
		view.detail(&r.Pipelines[i])
	}
	return exit
}
