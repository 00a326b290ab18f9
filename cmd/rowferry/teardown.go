package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
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

// teardownReport is what `teardown --json` prints.
type teardownReport struct {
	Pipeline string         `json:"pipeline"`
	Removed  bool           `json:"removed"` // false when this was only shown, or there was nothing
	Items    []teardownItem `json:"items"`
	Kept     string         `json:"kept"`
}

// teardownItem is one thing a teardown removes.
type teardownItem struct {
	Where string `json:"where"` // source, target, here
	What  string `json:"what"`
	How   string `json:"how"` // the statement, for display

	remove func(ctx context.Context) error
}

const keptByTeardown = "replicated rows and tables at the target, everything else at the source"

func (a *app) teardownCommand() *cobra.Command {
	var confirm string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "teardown PIPELINE", Short: "remove a pipeline's slot, publication and ledger, after saying which", GroupID: groupConfigure,
		Long: "List what a pipeline made: replication slot and publication at the source, its rows of the ledger at the target,\n" +
			"its files here. With --confirm and the pipeline's name, or after asking on a terminal, remove them. Only what the\n" +
			"pipeline itself made is dropped; replicated rows and tables stay. It refuses while a daemon runs the pipeline.",
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.completePipelines,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			return a.teardown(ctx, args[0], confirm)
		},
	}
	cmd.Flags().StringVar(&confirm, "confirm", "", "the pipeline's `NAME` once more: remove, do not only show")
	cmd.Flags().DurationVar(&timeout, "timeout", 60*time.Second, "how long it may take")
	return cmd
}

func (a *app) teardown(ctx context.Context, name, confirm string) (err error) {
	file, err := a.load(false)
	if err != nil {
		return err
	}
	if _, err := pick(file, []string{name}); err != nil {
		return err
	}
	if confirm != "" && confirm != name {
		return exitWith(exitRefused, fmt.Errorf("--confirm says %q, the pipeline is %q; nothing was removed", confirm, name))
	}
	dir := stateDir(file, name)
	folder, remove, err := existingOrTemporary(dir)
	if err != nil {
		return err
	}
	defer remove()
	e, err := a.makeEnds(file, name, endsOptions{stateDir: folder, log: zerolog.Nop()})
	if err != nil {
		return err
	}
	release, err := lockStopped(ctx, e)
	if err != nil {
		return err
	}
	defer release()
	items, err := leftovers(ctx, e, dir)
	if err != nil {
		return err
	}
	report := teardownReport{Pipeline: name, Items: items, Kept: keptByTeardown}
	if len(items) == 0 {
		report.Items = []teardownItem{}
		return a.teardownDone(report, fmt.Sprintf("Nothing is left of %s.\n", name))
	}
	a.showLeftovers(report)
	if confirm == "" && !a.confirmed(name) {
		if a.json {
			if err := a.printJSON(report); err != nil {
				return err
			}
			return exitWith(exitRefused, nil) // "removed": false says the rest; one document is enough
		}
		return exitWith(exitRefused, fmt.Errorf("nothing was removed; to remove all of this: rowferry teardown %s --confirm %s", name, name))
	}
	for _, item := range items {
		if err := item.remove(ctx); err != nil {
			return fmt.Errorf("removing %s: %w", item.What, err)
		}
		a.say("removed  %s\n", item.What)
	}
	report.Removed = true
	return a.teardownDone(report, fmt.Sprintf("%s is gone. What stays: %s.\n", name, keptByTeardown))
}

// teardownDone reports the end.
func (a *app) teardownDone(r teardownReport, text string) error {
	if a.json {
		return a.printJSON(r)
	}
	a.print("%s", text)
	return nil
}

// lockStopped takes the pipeline's lock at the source, so that no daemon runs it meanwhile.
func lockStopped(ctx context.Context, e *ends) (release func(), err error) {
	_, release, err = e.source.Lock(ctx)
	if fault.ClassOf(err) == fault.Busy && err != nil {
		return nil, exitWith(exitRefused, fmt.Errorf("a daemon runs %s: stop it first (%w)", e.name, err))
	}
	if err != nil {
		return nil, fmt.Errorf("locking the source: %w", err)
	}
	return release, nil
}

// leftovers lists what there is to remove, in the order in which it is removed: an interrupted teardown can be
// run again, because the ledger that says what we made goes after it.
func leftovers(ctx context.Context, e *ends, dir string) ([]teardownItem, error) {
	var items []teardownItem
	inspector, inspects := e.sink.(sinks.Inspector)
	held := sinks.Held{}
	if inspects {
		var err error
		if held, err = inspector.Inspect(ctx, e.name); err != nil {
			return nil, fmt.Errorf("reading the target's ledger: %w", err)
		}
	}
	if remover, ok := e.source.(sources.Remover); ok && len(held.Made) > 0 {
		found, err := remover.Leftovers(ctx, madeAtSource(held.Made))
		if err != nil {
			return nil, fmt.Errorf("looking for what was made at the source: %w", err)
		}
		for _, l := range found {
			items = append(items, teardownItem{
				Where: "source", What: l.Name, How: l.SQL,
				remove: func(ctx context.Context) error { return remover.Remove(ctx, l) },
			})
		}
	}
	if inspects && (!held.Position.IsZero() || held.Phase != schema.Phase("") || held.Seq > 0 || len(held.Made) > 0) {
		items = append(items, teardownItem{
			Where: "target", What: "ledger", How: fmt.Sprintf("the pipeline's rows; the position %s is forgotten", held.Position),
			remove: func(ctx context.Context) error { return inspector.Forget(ctx, e.name) },
		})
	}
	if _, err := os.Stat(dir); err == nil {
		items = append(items, teardownItem{
			Where: "here", What: dir, How: "the folder and its files",
			remove: func(context.Context) error { return os.RemoveAll(dir) },
		})
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, stateError(err, "looking at "+filepath.Base(dir))
	}
	return items, nil
}

// madeAtSource leaves out what the target recorded of itself: its tables and schemas hold replicated rows, and stay.
func madeAtSource(made []string) []string {
	return slices.DeleteFunc(slices.Clone(made), func(name string) bool {
		return strings.HasPrefix(name, "table:") || strings.HasPrefix(name, "schema:")
	})
}

// showLeftovers prints what would go.
func (a *app) showLeftovers(r teardownReport) {
	if a.json {
		return
	}
	a.print("A teardown of %s removes:\n", a.ink(a.outTerminal).bold(r.Pipeline))
	var rows [][]string
	for _, item := range r.Items {
		rows = append(rows, []string{"  " + item.Where, item.What, strings.ReplaceAll(config.Redact(item.How), "\n", " ")})
	}
	a.print("%sIt keeps: %s.\n", columns(rows, nil), r.Kept)
}

// confirmed asks on a terminal for the pipeline's name.
func (a *app) confirmed(name string) bool {
	return a.asks(fmt.Sprintf("Type %s to remove all of this: ", name), func(answer string) bool { return answer == name })
}

// asks puts a question on a terminal, and tells whether the answer will do. Elsewhere nobody is asked, and none will.
func (a *app) asks(question string, will func(answer string) bool) bool {
	if !a.inTerminal || !a.errTerminal || a.json {
		return false
	}
	fmt.Fprint(a.err, question)
	answer, err := bufio.NewReader(a.in).ReadString('\n')
	return err == nil && will(strings.TrimSpace(answer))
}
