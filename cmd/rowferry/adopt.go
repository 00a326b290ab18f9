package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/rowferry/rowferry/replicator/config"
	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks"
	"github.com/rowferry/rowferry/sources"
)

// adoptReport is what `adopt --json` prints.
type adoptReport struct {
	Pipeline string     `json:"pipeline"`
	Adopted  bool       `json:"adopted"` // false when this was only shown
	Source   string     `json:"source"`
	Target   string     `json:"target"`
	Position string     `json:"position"`
	Found    []adoptRow `json:"found"`
	Next     string     `json:"next"`
}

// adoptRow is one thing an adoption looked at, or writes.
type adoptRow struct {
	Where string `json:"where"` // source, target
	What  string `json:"what"`
	Text  string `json:"text"`
}

// adoptOrder is what an adoption was asked for.
type adoptOrder struct {
	pipeline, slot string
	yes            bool
	timeout        time.Duration // of looking, and of doing it
}

func (a *app) adoptCommand() *cobra.Command {
	var o adoptOrder
	cmd := &cobra.Command{
		Use: "adopt PIPELINE --slot SLOT", Short: "go on where a stopped Debezium connector left its slot, without a copy", GroupID: groupConfigure,
		Long: "Write the position at which a replication slot stands into the target's ledger, so that `rowferry run` goes on from\n" +
			"there and copies nothing. Everything up to that position has to be at the target already, as it is where the slot's reader\n" +
			"wrote it, and had ended its snapshots. Slot and publication are used as they are, and never dropped. It shows what it will do and asks, or does it\n" +
			"with --yes. It refuses a slot that is still read, or is another database's or plugin's, and a pipeline that has a position.\n" +
			"Run it as the user that runs the daemon, whose state folder it makes.",
		Example: "  rowferry config import debezium connector.json > rowferry.yaml\n  rowferry adopt shop --slot debezium\n  rowferry run shop",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: a.completePipelines,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.pipeline = args[0]
			if o.slot == "" {
				return usageError("name the slot: rowferry adopt %s --slot SLOT", o.pipeline)
			}
			return a.adopt(cmd.Context(), o)
		},
	}
	cmd.Flags().StringVar(&o.slot, "slot", "", "the `SLOT` to read on from; source.slot.name says the same")
	cmd.Flags().BoolVarP(&o.yes, "yes", "y", false, "do it, do not ask")
	cmd.Flags().DurationVar(&o.timeout, "timeout", 60*time.Second, "how long looking may take, and how long writing the position")
	return cmd
}

// adopt looks, asks, looks again while nobody else can run the pipeline, and writes the position.
func (a *app) adopt(ctx context.Context, o adoptOrder) error {
	file, err := a.load(false)
	if err != nil {
		return err
	}
	if _, err := pick(file, []string{o.pipeline}); err != nil {
		return err
	}
	report, at, err := a.lookForAdoption(ctx, file, o)
	if err != nil {
		return refused(err)
	}
	a.showAdoption(report)
	if !o.yes && !a.agreed(o.pipeline) {
		if a.json {
			return errors.Join(exitWith(exitRefused, nil), a.printJSON(report))
		}
		return exitWith(exitRefused, fmt.Errorf("nothing was written; to do it: rowferry adopt %s --slot %s --yes", o.pipeline, o.slot))
	}
	if err := a.writeAdoption(ctx, file, o, at); err != nil {
		return refused(err)
	}
	report.Adopted = true
	if a.json {
		return a.printJSON(report)
	}
	a.print("%s goes on from %s.\n", o.pipeline, report.Position)
	a.say("Next: %s. Keep the other reader stopped: a slot that moves without this pipeline is a gap, and it halts.\n", report.Next)
	return nil
}

// refused gives what stands against an adoption the code of a refusal; what cannot be reached keeps its own.
func refused(err error) error {
	var exit *exitError
	if !errors.As(err, &exit) && fault.ClassOf(err) == fault.Terminal && !isConfigCode(fault.Of(err).Code) {
		return exitWith(exitRefused, err)
	}
	return err
}

// lookForAdoption says what an adoption would do. It changes nothing.
func (a *app) lookForAdoption(ctx context.Context, file *config.File, o adoptOrder) (adoptReport, schema.Position, error) {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	dir, remove, err := existingOrTemporary(stateDir(file, o.pipeline))
	if err != nil {
		return adoptReport{}, schema.Position{}, err
	}
	defer remove()
	e, err := a.makeEnds(file, o.pipeline, endsOptions{stateDir: dir, log: zerolog.Nop()})
	if err != nil {
		return adoptReport{}, schema.Position{}, err
	}
	adoption, err := adoptable(ctx, e, o.slot)
	if err != nil {
		return adoptReport{}, schema.Position{}, err
	}
	report := adoptReport{
		Pipeline: o.pipeline, Source: e.sourceText, Target: e.targetText, Position: adoption.Position.String(),
		Next: "rowferry run " + o.pipeline,
	}
	for _, f := range adoption.Facts {
		report.Found = append(report.Found, adoptRow{"source", f.What, f.Text})
	}
	report.Found = append(report.Found, adoptRow{"target", "ledger", "gets the position " + report.Position})
	return report, adoption.Position, nil
}

// adoptable asks both ends whether the pipeline is new, and where its source would go on.
func adoptable(ctx context.Context, e *ends, slot string) (sources.Adoption, error) {
	adopter, ok := e.source.(sources.Adopter)
	if !ok {
		return sources.Adoption{}, usageError("%s cannot go on for another reader", e.sourceText)
	}
	if inspector, ok := e.sink.(sinks.Inspector); ok {
		held, err := inspector.Inspect(ctx, e.name)
		if err != nil {
			return sources.Adoption{}, fmt.Errorf("reading the target's ledger: %w", err)
		}
		if err := unbegun(held); err != nil {
			return sources.Adoption{}, err
		}
	}
	adoption, err := adopter.Adopt(ctx, slot)
	if err != nil {
		return sources.Adoption{}, fmt.Errorf("looking at the slot: %w", err)
	}
	return adoption, nil
}

// unbegun refuses a pipeline that the target knows already.
func unbegun(held sinks.Held) error {
	if held.Position.IsZero() && held.Seq == 0 {
		return nil
	}
	return fault.Halt("target.adopt_begun", fmt.Errorf("the pipeline has a position already: %s, phase %s", held.Position, held.Phase),
		"run it, if it is to go on from there: rowferry run\n"+
			"or take the position away first, if it counts for nothing: rowferry teardown")
}

// writeAdoption writes the position, as the pipeline's first commit, while it holds the pipeline's lock.
func (a *app) writeAdoption(ctx context.Context, file *config.File, o adoptOrder, shown schema.Position) error {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	dir := stateDir(file, o.pipeline)
	if err := makeStateDir(dir); err != nil {
		return err
	}
	e, err := a.makeEnds(file, o.pipeline, endsOptions{stateDir: dir, log: zerolog.Nop()})
	if err != nil {
		return err
	}
	id, err := e.source.Identify(ctx)
	if err != nil {
		return fmt.Errorf("identifying the source: %w", err)
	}
	release, err := lockStopped(ctx, e)
	if err != nil {
		return err
	}
	defer release()
	adoption, err := adoptable(ctx, e, o.slot)
	if err != nil {
		return err
	}
	if adoption.Position != shown {
		return fault.Halt("source.adopt_moved", fmt.Errorf("slot %s stood at %s and is at %s now", o.slot, shown, adoption.Position),
			"stop whatever reads the slot, and see that nothing starts it again; then adopt once more")
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	p := file.Pipelines[o.pipeline]
	writer, held, err := e.sink.Open(ctx, sinks.Claim{
		Pipeline: o.pipeline, Source: id, Fingerprint: p.Fingerprint(),
		Holder: fmt.Sprintf("%s, pid %d, rowferry adopt", host, os.Getpid()),
	})
	if err != nil {
		return fmt.Errorf("opening the target: %w", err)
	}
	if err = unbegun(held); err == nil {
		err = writer.Commit(ctx, sinks.Group{Seq: held.Seq + 1, Upto: adoption.Position, Phase: schema.PhaseStream})
		if err != nil {
			err = fmt.Errorf("writing the position: %w", err)
		}
	}
	if closeErr := writer.Close(); err == nil && closeErr != nil {
		err = fmt.Errorf("closing the target: %w", closeErr)
	}
	return err
}

// showAdoption prints what would be done.
func (a *app) showAdoption(r adoptReport) {
	if a.json {
		return
	}
	a.print("Adopting for %s: %s → %s\n", a.ink(a.outTerminal).bold(r.Pipeline), r.Source, r.Target)
	var rows [][]string
	for _, row := range r.Found {
		rows = append(rows, []string{"  " + row.Where, row.What, row.Text})
	}
	a.print("%sNothing is copied: the target has to hold everything up to there. Nothing at the source is made, altered or dropped.\n",
		columns(rows, nil))
}

// agreed asks on a terminal.
func (a *app) agreed(name string) bool {
	return a.asks(fmt.Sprintf("Adopt it for %s? [y/N] ", name), func(answer string) bool {
		answer = strings.ToLower(answer)
		return answer == "y" || answer == "yes"
	})
}
