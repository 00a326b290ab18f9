package main

import (
	_ "embed"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rowferry/rowferry/replicator/config"
)

// skeleton is what `config init` prints.
//
//go:embed skeleton.yaml
var skeleton string

// checkedConfig is what `config check --json` prints.
type checkedConfig struct {
	File     string          `json:"file"`
	OK       bool            `json:"ok"`
	Problems config.Problems `json:"problems"`
}

func (a *app) configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "config", Short: "write, check and show the configuration", GroupID: groupConfigure, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		&cobra.Command{
			Use: "check", Short: "read the file and report everything that is wrong with it; connects to nothing",
			Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error { return a.configCheck() },
		},
		&cobra.Command{
			Use: "show", Short: "print every setting as it counts, with where it comes from; secrets are masked",
			Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error { return a.configShow() },
		},
		&cobra.Command{
			Use: "schema [KEY]", Short: "print the JSON Schema of the file, or what one key means",
			Example: "  rowferry config schema > rowferry.schema.json\n  rowferry config schema source.slot.name",
			Args:    cobra.MaximumNArgs(1), RunE: func(_ *cobra.Command, args []string) error { return a.configSchema(args) },
		},
		&cobra.Command{
			Use: "init", Short: "print a commented configuration to begin with", Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error {
				if a.json {
					return a.printJSON(map[string]string{"yaml": skeleton})
				}
				a.print("%s", skeleton)
				return nil
			},
		},
		a.importCommand(),
	)
	return cmd
}

// configCheck prints every problem; warnings alone are no failure.
func (a *app) configCheck() error {
	_, problems := config.Load(a.configFile(), a.connectors.kinds())
	failed := problems.Errors() > 0
	var exit error
	if failed {
		exit = exitWith(exitUsage, nil)
	}
	if a.json {
		if problems == nil {
			problems = config.Problems{}
		}
		return errors.Join(exit, a.printJSON(checkedConfig{a.configFile(), !failed, problems}))
	}
	for i := range problems {
		problems[i].Print(a.out)
	}
	summary := fmt.Sprintf("%s, %s.", plural(problems.Errors(), "error"), plural(len(problems)-problems.Errors(), "warning"))
	if failed {
		a.print("%s Nothing was connected or changed.\n", summary)
		return exit
	}
	if !a.quiet {
		a.print("%s: fine. %s\n", a.configFile(), summary)
		a.say("Next: rowferry check\n")
	}
	return nil
}

// configShow prints the effective settings.
func (a *app) configShow() error {
	file, err := a.load(false)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(map[string]any{"file": a.configFile(), "settings": file.Effective()})
	}
	return file.PrintEffective(a.out)
}

// configSchema prints the schema, or explains keys.
func (a *app) configSchema(args []string) error {
	kinds := a.connectors.kinds()
	if len(args) == 0 {
		return a.printJSON(config.Schema(kinds, comments))
	}
	keys := config.Describe(kinds, comments)
	found := config.Find(keys, args[0])
	if len(found) == 0 {
		var last []string
		for _, k := range keys {
			last = append(last, k.Path[strings.LastIndexByte(k.Path, '.')+1:])
		}
		asked := args[0][strings.LastIndexByte(args[0], '.')+1:]
		if near := config.Nearest(asked, last); near != "" && near != asked {
			return usageError("there is no setting %q; did you mean %s?", args[0], near)
		}
		return usageError("there is no setting %q; `rowferry config show` lists those in use", args[0])
	}
	if a.json {
		return a.printJSON(found)
	}
	p := a.ink(a.outTerminal)
	for i, k := range found {
		if i > 0 {
			a.print("\n")
		}
		a.print("%s  %s\n", p.bold(k.Path), p.dim(keyLine(k)))
		for _, line := range wrap(k.Doc, 100) {
			a.print("  %s\n", line)
		}
		if k.Section {
			a.printInside(keys, k)
		}
	}
	return nil
}

// keyLine is what is known of a key beside its comment.
func keyLine(k config.Key) string {
	parts := []string{k.Type}
	if k.Kind != "" {
		parts = append(parts, k.Kind)
	}
	if k.Default != "" {
		parts = append(parts, "default "+k.Default)
	}
	if k.Required {
		parts = append(parts, "required")
	}
	return strings.Join(parts, ", ")
}

// printInside lists the keys directly under a section.
func (a *app) printInside(keys []config.Key, section config.Key) {
	var rows [][]string
	for _, k := range keys {
		rest, inside := strings.CutPrefix(k.Path, section.Path)
		rest = strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(rest, "[]"), ".NAME"), ".")
		if inside && rest != "" && !strings.ContainsAny(rest, ".[") && (section.Kind == "" || k.Kind == section.Kind) {
			rows = append(rows, []string{"  " + rest, keyLine(k), firstSentence(k.Doc)})
		}
	}
	a.print("%s", columns(rows, nil))
}

// firstSentence is a comment up to its first full stop.
func firstSentence(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if i := strings.Index(text, ". "); i >= 0 {
		return text[:i+1]
	}
	return text
}
