package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rowferry/rowferry/replicator/config"
)

// app is one run of the command line.
type app struct {
	*console
	connectors connectors
	configPath string
	serverURL  string
}

// The groups of commands in the help text.
const (
	groupRun       = "run"
	groupOperate   = "operate"
	groupConfigure = "configure"
	groupMore      = "more"
)

// execute runs one command line and gives its exit code.
func execute(args []string, c *console) int {
	a := &app{console: c, connectors: allConnectors()}
	return a.execute(context.Background(), args)
}

func (a *app) execute(ctx context.Context, args []string) int {
	root := a.rootCommand()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	var exit *exitError
	if !errors.As(err, &exit) || exit.err != nil {
		a.fail(err)
	}
	return codeOf(err)
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "rowferry",
		Short: "rowferry copies Postgres databases and replays every later change, exactly once.",
		Long: "rowferry copies Postgres databases and replays every later change into other databases and files,\n" +
			"exactly once and in order.\n\nStart here\n" +
			"  rowferry config init > rowferry.yaml  write a commented configuration\n" +
			"  rowferry check && rowferry run        look before you leap, then go",
		Version: thisBuild().Version, SilenceErrors: true, SilenceUsage: true,
		Args:              cobra.ArbitraryArgs,
		PersistentPreRunE: func(*cobra.Command, []string) error { return a.checkFlags() },
	}
	root.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		var names []string
		for _, c := range cmd.Commands() {
			names = append(names, c.Name())
		}
		if near := config.Nearest(args[0], names); near != "" {
			return usageError("there is no command %q; did you mean %s?", args[0], near)
		}
		return usageError("there is no command %q; rowferry --help lists them", args[0])
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SetVersionTemplate(versionLine(thisBuild()))
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError("%w; see %s --help", err, cmd.CommandPath())
	})
	root.SetHelpCommand(&cobra.Command{Hidden: true, Use: "no-help", GroupID: groupMore})
	root.AddGroup(
		&cobra.Group{ID: groupRun, Title: "Run"}, &cobra.Group{ID: groupOperate, Title: "Operate"},
		&cobra.Group{ID: groupConfigure, Title: "Configure"}, &cobra.Group{ID: groupMore, Title: "More"},
	)
	root.Flags().Bool("version", false, "print the version") // without a shorthand: -v means verbose elsewhere
	flags := root.PersistentFlags()
	flags.StringVarP(&a.configPath, "config", "c", "", "configuration `FILE` (ROWFERRY_CONFIG, else rowferry.yaml, /etc/rowferry/rowferry.yaml)")
	flags.BoolVar(&a.json, "json", false, "print data as JSON")
	flags.BoolVarP(&a.quiet, "quiet", "q", false, "print no messages but errors")
	flags.StringVar(&a.colorWhen, "color", "auto", "colour output `WHEN`: auto, always or never")
	root.SetCompletionCommandGroupID(groupMore)
	root.AddCommand(
		a.runCommand(), a.checkCommand(), a.statusCommand(), a.adoptCommand(), a.teardownCommand(), a.configCommand(),
		a.explainCommand(), a.versionCommand(), a.referenceCommand(),
	)
	for _, cmd := range root.Commands() {
		refuseStrayArguments(cmd)
	}
	return root
}

// refuseStrayArguments makes wrong arguments a usage error with an exit code of its own.
func refuseStrayArguments(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return usageError("%w; see %s --help", err, c.CommandPath())
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		refuseStrayArguments(sub)
	}
}

// checkFlags looks at the flags every command has.
func (a *app) checkFlags() error {
	if !slices.Contains([]string{"auto", "always", "never"}, a.colorWhen) {
		return usageError("--color is auto, always or never, not %q", a.colorWhen)
	}
	return nil
}

// configFile finds the configuration: the flag, the environment, the working folder, /etc.
func (a *app) configFile() string {
	if a.configPath != "" {
		return a.configPath
	}
	if path := a.getenv("ROWFERRY_CONFIG"); path != "" {
		return path
	}
	const local, system = "rowferry.yaml", "/etc/rowferry/rowferry.yaml"
	if _, err := os.Stat(local); errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(system); err == nil {
			return system
		}
	}
	return local
}

// load reads the configuration, shows what is wrong with it, and gives it when it can be used. Warnings are shown
// where the configuration is what a command is about, not each time it is read.
func (a *app) load(warnings bool) (*config.File, error) {
	file, problems := config.Load(a.configFile(), a.connectors.kinds())
	if err := a.judge(problems, warnings); err != nil {
		return nil, err
	}
	return file, nil
}

// judge shows what is wrong with the configuration, and fails when it cannot be used.
func (a *app) judge(problems config.Problems, warnings bool) error {
	if a.json && problems.Errors() > 0 {
		return errors.Join(exitWith(exitUsage, nil), a.printJSON(checkedConfig{File: a.configFile(), Problems: problems}))
	}
	for i := range problems {
		if !problems[i].Warning || (warnings && !a.quiet) {
			problems[i].Print(a.err)
		}
	}
	if problems.Errors() > 0 {
		return exitWith(exitUsage, fmt.Errorf("%s: %s in the configuration; nothing was started",
			a.configFile(), plural(problems.Errors(), "error")))
	}
	return nil
}

// pick gives the pipelines a command is about: those named, or all.
func pick(file *config.File, names []string) ([]string, error) {
	all := sortedNames(file)
	if len(names) == 0 {
		return all, nil
	}
	for _, name := range names {
		if slices.Contains(all, name) {
			continue
		}
		err := fmt.Errorf("there is no pipeline %q; there is %s", name, strings.Join(all, ", "))
		if near := config.Nearest(name, all); near != "" {
			err = fmt.Errorf("there is no pipeline %q; did you mean %s?", name, near)
		}
		return nil, exitWith(exitUsage, err)
	}
	return names, nil
}

// completePipelines offers pipeline names to the shell.
func (a *app) completePipelines(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	file, _ := config.Load(a.configFile(), a.connectors.kinds())
	return sortedNames(file), cobra.ShellCompDirectiveNoFileComp
}
