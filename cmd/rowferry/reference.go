package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/rowferry/rowferry/replicator"
	"github.com/rowferry/rowferry/replicator/config"
)

// generatedNotice heads every page that is made from the source.
const generatedNotice = "<!-- Made from the source by `make generate`. Edit the comments there. -->\n\n"

// referenceCommand writes the reference pages. It is hidden: `make generate` calls it.
func (a *app) referenceCommand() *cobra.Command {
	return &cobra.Command{
		Use: "reference DIR", Short: "write the reference pages and the JSON Schema", Hidden: true, GroupID: groupMore,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			pages, err := a.referencePages(cmd.Root())
			if err != nil {
				return err
			}
			for _, name := range sortedKeys(pages) {
				if err := os.WriteFile(filepath.Join(args[0], name), pages[name], 0o644); err != nil {
					return fmt.Errorf("writing %s: %w", name, err)
				}
			}
			return nil
		},
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// referencePages makes every page, by file name.
func (a *app) referencePages(root *cobra.Command) (map[string][]byte, error) {
	kinds := a.connectors.kinds()
	keys := config.Describe(kinds, comments)
	if missing := config.Undocumented(keys); len(missing) > 0 {
		return nil, errors.New("settings without a comment: " + strings.Join(missing, ", "))
	}
	schema, err := json.MarshalIndent(config.Schema(kinds, comments), "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encoding the schema: %w", err)
	}
	return map[string][]byte{
		"config.md": configPage(kinds, keys), "cli.md": commandPage(root), "errors.md": a.errorsPage(),
		"metrics.md": metricsPage(), "schema.json": append(schema, '\n'),
	}, nil
}

// configPage documents every setting.
func configPage(kinds config.Kinds, keys []config.Key) []byte {
	var out bytes.Buffer
	out.WriteString("# Configuration\n\n" + generatedNotice)
	out.WriteString("One YAML file. Unknown keys are errors. Durations and sizes need their unit (`10s`, `64MiB`). " +
		"Values may refer to what is kept elsewhere: `${env:NAME}`, `${env:NAME:-default}`, `${file:/path}`, `${credential:name}`; " +
		"`$$` is a plain dollar sign. In the user part of a URL such a value is percent-encoded, so that a password may hold any character.\n\n" +
		"`rowferry config schema KEY` shows the same in a terminal. `NAME` stands for a name of your choice, `[]` for each element of a list.\n")
	writeKeys(&out, "Common settings", keys, func(k config.Key) bool { return k.Kind == "" })
	for _, k := range kinds.Sources {
		writeKeys(&out, "Source: "+k.Name, keys, connectorKeys("source", k.Name))
	}
	for _, k := range kinds.Targets {
		writeKeys(&out, "Target: "+k.Name, keys, connectorKeys("target", k.Name))
	}
	return out.Bytes()
}

// connectorKeys picks one connector's settings.
func connectorKeys(role, kind string) func(config.Key) bool {
	return func(k config.Key) bool {
		return k.Kind == kind && strings.HasPrefix(k.Path, "pipelines.NAME."+role+".")
	}
}

// writeKeys documents the settings that pick picks, as one table.
func writeKeys(out *bytes.Buffer, title string, keys []config.Key, pick func(config.Key) bool) {
	fmt.Fprintf(out, "\n## %s\n\n| Key | Type | Default | |\n|---|---|---|---|\n", title)
	for _, k := range keys {
		if !pick(k) {
			continue
		}
		value := k.Default
		switch {
		case value != "":
			value = "`" + value + "`"
		case k.Required:
			value = "required"
		}
		fmt.Fprintf(out, "| `%s` | %s | %s | %s |\n", k.Path, k.Type, value, cell(k.Doc))
	}
}

// cell makes a text fit for one cell of a table.
func cell(text string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "|", "\\|")
}

// commandPage documents every command.
func commandPage(root *cobra.Command) []byte {
	var out bytes.Buffer
	out.WriteString("# Commands\n\n" + generatedNotice)
	out.WriteString("Data goes to standard output, messages to standard error. Every command takes `--json`, whose shapes are stable: " +
		"fields may be added, never renamed. Colour follows `--color`, `NO_COLOR` and whether the output is a terminal.\n\n" +
		"| Exit code | Meaning |\n|---|---|\n" +
		"| 0 | done, or already so |\n| 1 | an error of no known kind |\n| 2 | wrong usage or configuration; do not restart |\n" +
		"| 3 | environment: unreachable, refused, disk |\n| 4 | ran fine and found something: a problem of a check, a halted pipeline in a status |\n" +
		"| 5 | refused for safety: no confirmation, a daemon still runs, every pipeline halted under `--exit-on-halt` |\n" +
		"| 130, 143 | a stop cut short by a second SIGINT or SIGTERM |\n\n" +
		"With several findings 3 goes before 2, 2 before 5, 5 before 4.\n")
	writeCommand(&out, root)
	return out.Bytes()
}

func writeCommand(out *bytes.Buffer, cmd *cobra.Command) {
	if cmd.Hidden || cmd.Name() == "completion" || cmd.Name() == "help" {
		return
	}
	text := cmd.Long
	if text == "" {
		text = cmd.Short
	}
	if cmd.HasParent() {
		fmt.Fprintf(out, "\n## %s\n\n%s\n\n```text\n%s\n", cmd.CommandPath(), cell(text), cmd.UseLine())
		if flags := cmd.LocalNonPersistentFlags().FlagUsages(); flags != "" {
			out.WriteString("\n" + flags)
		}
		if cmd.Example != "" {
			out.WriteString("\n" + cmd.Example + "\n")
		}
		out.WriteString("```\n")
	} else {
		fmt.Fprintf(out, "\n## Flags of every command\n\n```text\n%s```\n", cmd.PersistentFlags().FlagUsages())
	}
	for _, sub := range cmd.Commands() {
		writeCommand(out, sub)
	}
}

// errorsPage documents every code.
func (a *app) errorsPage() []byte {
	var out bytes.Buffer
	out.WriteString("# Errors\n\n" + generatedNotice)
	out.WriteString("Every error that asks something of somebody has a stable code. `rowferry explain CODE` shows the same in a terminal.\n")
	for _, c := range a.connectors.codes() {
		fmt.Fprintf(&out, "\n## %s\n\n**%s.** %s\n\n**Is data lost?** %s\n\n", c.Name, strings.TrimSuffix(c.Title, "."), cell(c.Meaning), cell(c.DataLost))
		for i, step := range steps(c.Remedy) {
			fmt.Fprintf(&out, "%d. %s\n", i+1, step)
		}
	}
	return out.Bytes()
}

// metricsPage documents what a daemon with one pipeline registers.
func metricsPage() []byte {
	registry := prometheus.NewRegistry()
	replicator.NewDaemon([]replicator.Spec{{Name: "shop", StateDir: os.TempDir()}}, replicator.Options{Registry: registry})
	described := make(chan *prometheus.Desc, 1000)
	registry.Describe(described)
	close(described)
	var rows []string
	for d := range described {
		name, help, labels := describedParts(d.String())
		if name != "" {
			rows = append(rows, fmt.Sprintf("| `%s` | %s | %s |\n", name, labels, cell(help)))
		}
	}
	slices.Sort(rows)
	var out bytes.Buffer
	out.WriteString("# Metrics\n\n" + generatedNotice)
	out.WriteString("Served at `/metrics` of `server.listen`, beside `go_*` and `process_*`. Names and labels are stable.\n\n| Metric | Labels | Meaning |\n|---|---|---|\n")
	out.WriteString(strings.Join(slices.Compact(rows), ""))
	return out.Bytes()
}

// describedParts reads a description's text, the only way its parts are told.
func describedParts(text string) (name, help, labels string) {
	part := func(key string) string {
		_, rest, found := strings.Cut(text, key+`: "`)
		if !found {
			return ""
		}
		value, _, _ := strings.Cut(rest, `", `)
		return strings.ReplaceAll(value, `\"`, `"`)
	}
	var names []string
	if _, rest, ok := strings.Cut(text, "constLabels: {"); ok {
		inner, _, _ := strings.Cut(rest, "}")
		for pair := range strings.SplitSeq(inner, ",") {
			if key, _, ok := strings.Cut(pair, "="); ok {
				names = append(names, "`"+key+"`")
			}
		}
	}
	if _, rest, ok := strings.Cut(text, "variableLabels: {"); ok {
		inner, _, _ := strings.Cut(rest, "}")
		for label := range strings.SplitSeq(inner, ",") {
			if label != "" {
				names = append(names, "`"+label+"`")
			}
		}
	}
	return part("fqName"), part("help"), strings.Join(names, ", ")
}
