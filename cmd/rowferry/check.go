package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
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

// checkReport is what `check --json` prints.
type checkReport struct {
	OK        bool            `json:"ok"`
	Pipelines []checkedResult `json:"pipelines"`
}

// checkedResult is what was found about one pipeline.
type checkedResult struct {
	Name     string           `json:"name"`
	Source   string           `json:"source"`
	Target   string           `json:"target"`
	Findings []checkedFinding `json:"findings"`

	exit int
}

// checkedFinding is one line of a check.
type checkedFinding struct {
	Area     string   `json:"area"`
	Name     string   `json:"name"`
	Severity string   `json:"severity"` // pass, warning, problem
	Text     string   `json:"text"`
	Code     string   `json:"code,omitempty"`
	Fix      []string `json:"fix,omitempty"`
}

func (a *app) checkCommand() *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "check [pipeline...]", Short: "test sources, targets, rights and types; changes nothing", GroupID: groupRun,
		Long: "Check the configuration, then connect to both ends of each pipeline and look for everything that would stop it:\n" +
			"settings, rights, tables, types. Nothing is changed. What has to be mended is printed with the exact statements.\n" +
			"Exit code 4 when a problem was found, 3 when a server could not be reached, 2 when a setting is wrong.",
		ValidArgsFunction: a.completePipelines,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.check(cmd.Context(), args, timeout) },
	}
	cmd.Flags().DurationVar(&timeout, "timeout", 60*time.Second, "how long one pipeline's check may take")
	return cmd
}

func (a *app) check(ctx context.Context, args []string, timeout time.Duration) error {
	file, err := a.load(true)
	if err != nil {
		return err
	}
	names, err := pick(file, args)
	if err != nil {
		return err
	}
	report, exit := checkReport{OK: true, Pipelines: []checkedResult{}}, exitDone
	for _, name := range names {
		result, err := a.checkPipeline(ctx, file, name, timeout)
		if err != nil {
			return err
		}
		report.Pipelines = append(report.Pipelines, result)
		exit = worse(exit, result.exit)
		if !a.json {
			a.printCheck(result)
		}
	}
	report.OK = exit == exitDone
	if a.json {
		if err := a.printJSON(report); err != nil {
			return err
		}
	} else if exit == exitDone {
		a.say("Next: rowferry run\n")
	}
	if exit != exitDone {
		return exitWith(exit, nil)
	}
	return nil
}

// checkPipeline asks both ends of a pipeline.
func (a *app) checkPipeline(ctx context.Context, file *config.File, name string, timeout time.Duration) (checkedResult, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	dir, remove, err := existingOrTemporary(stateDir(file, name))
	if err != nil {
		return checkedResult{}, err
	}
	defer remove()
	e, err := a.makeEnds(file, name, endsOptions{stateDir: dir, log: zerolog.Nop()})
	if err != nil {
		return checkedResult{}, err
	}
	r := checkedResult{Name: name, Source: e.sourceText, Target: e.targetText, Findings: []checkedFinding{}}
	if c, ok := e.source.(sources.Checker); ok {
		found, err := c.Check(ctx)
		r.add("source", found, err)
	}
	var tables []*schema.Table
	if l, ok := e.source.(sources.Lister); ok && r.exit != exitEnvironment && r.exit != exitUsage {
		if tables, err = l.Tables(ctx); err != nil {
			r.add("tables", nil, err)
		}
		p := file.Pipelines[name]
		tables = renamed(&p, tables)
	}
	if c, ok := e.sink.(sinks.Checker); ok {
		found, err := c.Check(ctx, tables)
		r.add("target", found, err)
	}
	r.complete(a.connectors.codes())
	return r, nil
}

// complete gives problems that bring no remedy of their own the one that their code documents.
func (r *checkedResult) complete(codes []fault.Code) {
	for i := range r.Findings {
		f := &r.Findings[i]
		if f.Severity != "problem" || len(f.Fix) > 0 {
			continue
		}
		if at := slices.IndexFunc(codes, func(c fault.Code) bool { return c.Name == f.Code }); at >= 0 {
			f.Fix = steps(codes[at].Remedy)
		}
	}
}

// existingOrTemporary gives the state folder when there is one; a check makes none.
func existingOrTemporary(dir string) (path string, remove func(), err error) {
	if _, err := os.Stat(dir); err == nil {
		return dir, func() {}, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", nil, stateError(err, "looking at the state folder")
	}
	path, err = os.MkdirTemp("", "rowferry-check-")
	if err != nil {
		return "", nil, stateError(err, "making a temporary folder")
	}
	return path, func() { _ = os.RemoveAll(path) }, nil
}

// add takes over findings, and an error as a finding of its own.
func (r *checkedResult) add(area string, found []schema.Finding, err error) {
	for _, f := range found {
		severity := [...]string{schema.Pass: "pass", schema.Warning: "warning", schema.Problem: "problem"}[f.Severity]
		switch {
		case f.Severity == schema.Problem && isConfigCode(f.Code):
			r.exit = worse(r.exit, exitUsage)
		case f.Severity == schema.Problem && f.Name == "connect":
			r.exit = worse(r.exit, exitEnvironment)
		case f.Severity == schema.Problem:
			r.exit = worse(r.exit, exitFound)
		}
		r.Findings = append(r.Findings, checkedFinding{
			Area: orText(f.Area, area), Name: f.Name, Severity: severity, Text: config.Redact(f.Text), Code: f.Code, Fix: steps(config.Redact(f.Fix)),
		})
	}
	if err == nil {
		return
	}
	d, f := describe(err), fault.Of(err)
	name, exit := "check", exitInternal
	switch {
	case isConfigCode(f.Code):
		exit = exitUsage
	case f.Endless || errors.Is(err, context.DeadlineExceeded):
		name, exit = "connect", exitEnvironment
	case f.Class == fault.Terminal || f.Class == fault.Busy:
		exit = exitFound
	}
	r.exit = worse(r.exit, exit)
	r.Findings = append(r.Findings, checkedFinding{Area: area, Name: name, Severity: "problem", Text: d.Message, Code: d.Code, Fix: d.Remedy})
}

func orText(text, fallback string) string {
	if text == "" {
		return fallback
	}
	return text
}

// printCheck prints one pipeline's findings, area by area.
func (a *app) printCheck(r checkedResult) {
	p := a.ink(a.outTerminal)
	pass, warning, problem, arrow := a.symbols()
	a.print("%s: %s %s %s   %s\n", p.bold(r.Name), r.Source, arrow, r.Target, p.dim("(read only, nothing will be changed)"))
	width := 0
	for _, f := range r.Findings {
		width = max(width, len([]rune(f.Name)))
	}
	width = min(width, 32)
	counts, last := map[string]int{}, ""
	for _, f := range r.Findings {
		counts[f.Severity]++
		if a.quiet && f.Severity == "pass" {
			continue
		}
		area := ""
		if !strings.EqualFold(f.Area, last) {
			last, area = f.Area, strings.ToUpper(f.Area[:1])+f.Area[1:]
		}
		mark := map[string]string{"pass": p.green(pass), "warning": p.yellow(warning), "problem": p.red(problem)}[f.Severity]
		lines := strings.Split(strings.TrimSpace(f.Text), "\n")
		line := fmt.Sprintf("%-8s %s %-*s  %s", area, mark, width, f.Name, lines[0])
		if f.Code != "" {
			line += "   " + p.dim(f.Code)
		}
		a.print("%s\n", strings.TrimRight(line, " "))
		for _, more := range lines[1:] {
			a.print("%*s%s\n", width+13, "", more)
		}
		for i, step := range f.Fix {
			lead := arrow
			if i > 0 {
				lead = strings.Repeat(" ", len([]rune(arrow)))
			}
			a.print("           %s %s\n", lead, step)
		}
	}
	summary := fmt.Sprintf("%d passed · %s · %s.", counts["pass"], plural(counts["warning"], "warning"), plural(counts["problem"], "problem"))
	if counts["problem"] > 0 {
		summary += " Fix the " + problem + " lines, then run it again."
	}
	a.print("%s\n", summary)
}
