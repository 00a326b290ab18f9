package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/rs/zerolog"

	"github.com/rowferry/rowferry/replicator/config"
	"github.com/rowferry/rowferry/replicator/transform"
	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks"
	"github.com/rowferry/rowferry/sources"
)

// sortedNames lists a file's pipelines in order.
func sortedNames(file *config.File) []string { return slices.Sorted(maps.Keys(file.Pipelines)) }

// ends is one pipeline's source and target, made from the configuration and not yet connected.
type ends struct {
	name       string
	source     sources.Source
	sink       sinks.Sink
	sourceText string
	targetText string
}

// endsOptions is what making the ends of a pipeline needs beside the file.
type endsOptions struct {
	stateDir string // of the pipeline
	takeOver bool
	log      zerolog.Logger
}

// makeEnds makes both ends of a pipeline. Nothing is connected.
func (a *app) makeEnds(file *config.File, name string, o endsOptions) (*ends, error) {
	p := file.Pipelines[name]
	from, to := a.connectors.source(p.Source.Kind), a.connectors.target(p.Target.Kind)
	log := o.log.With().Str("pipeline", name).Logger()
	e := &ends{
		name:       name,
		sourceText: endText(from.Name, from.url(p.Source.Config)),
		targetText: endText(to.Name, to.url(p.Target.Config)),
	}
	var err error
	e.source, err = from.open(p.Source.Config, sources.Runtime{
		Pipeline: name, StateDir: o.stateDir, Tables: p.Source.Tables, Snapshot: p.Snapshot, TakeOver: o.takeOver, Log: log,
	})
	if err != nil {
		return nil, invalid(fmt.Errorf("pipelines.%s.source: %w", name, err))
	}
	e.sink, err = to.open(p.Target.Config, sinks.Runtime{Pipeline: name, StateDir: o.stateDir, Log: log})
	if err != nil {
		return nil, invalid(fmt.Errorf("pipelines.%s.target: %w", name, err))
	}
	return e, nil
}

// invalid marks what a connector refuses about its own configuration.
func invalid(err error) error {
	if fault.Of(err).Code != "" {
		return exitWith(exitUsage, err)
	}
	return exitWith(exitUsage, fault.Halt("config.invalid_value", err, "Correct the configuration, then look at it with: rowferry config check"))
}

// stateDir is where the files of a pipeline are.
func stateDir(file *config.File, pipeline string) string {
	return filepath.Join(file.State.Path, pipeline)
}

// makeStateDir makes a private folder, with those above it. One that others may enter is closed to them.
func makeStateDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return stateError(err, "making the state folder")
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return stateError(err, "closing the state folder to others")
	}
	return nil
}

func stateError(err error, doing string) error {
	return exitWith(exitEnvironment, fault.Halt("state.unusable", fmt.Errorf("%s: %w", doing, err),
		"Give the user that runs rowferry a folder of its own, and name it in the configuration: state: { path: … }"))
}

// renamed gives tables the names they have at the target.
func renamed(p *config.Pipeline, tables []*schema.Table) []*schema.Table {
	route, err := transform.NewRoute(p.Renames())
	if err != nil || route.Empty() {
		return tables // the configuration was checked
	}
	out := make([]*schema.Table, len(tables))
	for i, t := range tables {
		c := *t
		c.Schema, c.Name = route.Name(t.Schema, t.Name)
		out[i] = c.WithVersion()
	}
	return out
}
