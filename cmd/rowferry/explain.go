package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rowferry/rowferry/replicator/config"
	"github.com/rowferry/rowferry/schema/fault"
)

// explanation is what `explain --json` prints.
type explanation struct {
	Code     string   `json:"code"`
	Title    string   `json:"title"`
	Meaning  string   `json:"meaning"`
	DataLost string   `json:"data_lost"`
	Remedy   []string `json:"remedy"`
}

func (a *app) explainCommand() *cobra.Command {
	return &cobra.Command{
		Use: "explain [CODE]", Short: "say what an error code means and what to do; without a code, list them", GroupID: groupMore,
		Args: cobra.MaximumNArgs(1), Example: "  rowferry explain source.slot_lost",
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return codeNames(a.connectors.codes()), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			codes := a.connectors.codes()
			if len(args) == 0 {
				return a.listCodes(codes)
			}
			return a.explain(codes, args[0])
		},
	}
}

// listCodes prints every code with its title.
func (a *app) listCodes(codes []fault.Code) error {
	if a.json {
		all := []explanation{}
		for _, c := range codes {
			all = append(all, explanationOf(c))
		}
		return a.printJSON(all)
	}
	var rows [][]string
	for _, c := range codes {
		rows = append(rows, []string{c.Name, c.Title})
	}
	a.print("%s", columns(rows, nil))
	return nil
}

// explain prints one code in full.
func (a *app) explain(codes []fault.Code, name string) error {
	i := slices.IndexFunc(codes, func(c fault.Code) bool { return c.Name == strings.ToLower(name) })
	if i < 0 {
		names := codeNames(codes)
		if near := config.Nearest(name, names); near != "" {
			return usageError("there is no code %q; did you mean %s?", name, near)
		}
		_, reason, _ := strings.Cut(name, ".")
		for _, n := range names {
			if reason != "" && strings.HasSuffix(n, "."+reason) {
				return usageError("there is no code %q; did you mean %s?", name, n)
			}
		}
		return usageError("there is no code %q; `rowferry explain` lists them", name)
	}
	e := explanationOf(codes[i])
	if a.json {
		return a.printJSON(e)
	}
	p := a.ink(a.outTerminal)
	a.print("%s  %s\n\n", p.bold(e.Code), e.Title)
	a.block("What it means", e.Meaning)
	a.block("Is data lost?", e.DataLost)
	for i, step := range e.Remedy {
		label := ""
		if i == 0 {
			label = "What you can do"
		}
		a.print("%s", labelled(label, step, unwrapped))
	}
	return nil
}

// block prints a label and a wrapped text beside it.
func (a *app) block(label, text string) {
	a.print("%s", labelled(label, text, 96))
}

func explanationOf(c fault.Code) explanation {
	e := explanation{c.Name, c.Title, c.Meaning, c.DataLost, steps(c.Remedy)}
	if e.Remedy == nil {
		e.Remedy = []string{}
	}
	return e
}

func codeNames(codes []fault.Code) []string {
	names := make([]string, 0, len(codes))
	for _, c := range codes {
		names = append(names, c.Name)
	}
	return names
}
