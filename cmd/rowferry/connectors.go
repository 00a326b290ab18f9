package main

import (
	"cmp"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/rowferry/rowferry/replicator"
	"github.com/rowferry/rowferry/replicator/config"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks"
	"github.com/rowferry/rowferry/sinks/file"
	"github.com/rowferry/rowferry/sinks/kafka"
	"github.com/rowferry/rowferry/sinks/null"
	pgsink "github.com/rowferry/rowferry/sinks/postgres"
	"github.com/rowferry/rowferry/sources"
	pgsource "github.com/rowferry/rowferry/sources/postgres"
)

// sourceConnector is a kind of source: how it is configured, made and named.
type sourceConnector struct {
	config.Kind
	codes []fault.Code
	open  func(cfg any, rt sources.Runtime) (sources.Source, error)
	url   func(cfg any) string
}

// targetConnector is a kind of target.
type targetConnector struct {
	config.Kind
	codes []fault.Code
	open  func(cfg any, rt sinks.Runtime) (sinks.Sink, error)
	url   func(cfg any) string
}

// connectors is the table of what this binary speaks to. Nothing else in the program knows a connector by name.
type connectors struct {
	sources []sourceConnector
	targets []targetConnector
}

// allConnectors is the table itself.
func allConnectors() connectors {
	postgresURLs, fileURLs := []string{"postgres", "postgresql"}, []string{"file"}
	return connectors{
		sources: []sourceConnector{
			sourceOf(config.Kind{Name: "postgres", Title: "a Postgres database, 14 to 18", Schemes: postgresURLs, Claims: slotClaim},
				pgsource.Codes, pgsource.New, func(c *pgsource.Config) string { return c.URL }),
		},
		targets: []targetConnector{
			targetOf(config.Kind{Name: "postgres", Title: "a Postgres database, 14 to 18", Schemes: postgresURLs},
				pgsink.Codes, pgsink.New, func(c *pgsink.Config) string { return c.URL }),
			targetOf(config.Kind{Name: "file", Title: "a file of JSON, one object a line", Schemes: fileURLs, Claims: fileClaim},
				file.Codes, file.New, func(c *file.Config) string { return c.URL }),
			targetOf(config.Kind{Name: "stdout", Title: "the same on standard output, at least once", Schemes: []string{"stdout"}, Claims: stdoutClaim},
				file.Codes, file.NewStdout, func(c *file.StdoutConfig) string { return c.URL }),
			targetOf(config.Kind{Name: "null", Title: "nowhere: decoded, summed and thrown away, for measuring", Schemes: []string{"null"}},
				null.Codes, null.New, func(c *null.Config) string { return c.URL }),
			targetOf(config.Kind{Name: "kafka", Title: "Kafka topics, 2.5 to 4.x, exactly once", Schemes: []string{"kafka"}, Claims: kafkaClaim},
				kafka.Codes, kafka.New, func(c *kafka.Config) string { return c.URL }),
		},
	}
}

// slotClaim names the slot a source reads. Slots belong to the whole server, whatever the database.
func slotClaim(cfg any, pipeline string) []string {
	c := cfg.(*pgsource.Config)
	slot := cmp.Or(c.Slot.Name, "rowferry_"+strings.ToLower(strings.ReplaceAll(pipeline, "-", "_")))
	server, _, _ := strings.Cut(endText("postgres", c.URL), "/")
	if !strings.Contains(server, ":") {
		server += ":5432"
	}
	return []string{fmt.Sprintf("the slot %s of %s", slot, server)}
}

// fileClaim names the file a target writes.
func fileClaim(cfg any, _ string) []string { return cfg.(*file.Config).Claims() }

// stdoutClaim names standard output: the lines of two pipelines could not be told apart there.
func stdoutClaim(any, string) []string { return []string{"standard output"} }

// kafkaClaim names what a target of Kafka writes with.
func kafkaClaim(cfg any, pipeline string) []string { return cfg.(*kafka.Config).Claims(pipeline) }

// sourceOf fills a row of the table from a connector's typed parts.
func sourceOf[C any, S sources.Source](k config.Kind, codes []fault.Code, open func(C, sources.Runtime) (S, error), url func(*C) string) sourceConnector {
	k.New = func() any { return new(C) }
	return sourceConnector{
		Kind: k, codes: codes, url: func(cfg any) string { return url(cfg.(*C)) },
		open: func(cfg any, rt sources.Runtime) (sources.Source, error) { return open(*cfg.(*C), rt) },
	}
}

// targetOf fills a row of the table from a connector's typed parts.
func targetOf[C any, S sinks.Sink](k config.Kind, codes []fault.Code, open func(C, sinks.Runtime) (S, error), url func(*C) string) targetConnector {
	k.New = func() any { return new(C) }
	return targetConnector{
		Kind: k, codes: codes, url: func(cfg any) string { return url(cfg.(*C)) },
		open: func(cfg any, rt sinks.Runtime) (sinks.Sink, error) { return open(*cfg.(*C), rt) },
	}
}

// kinds is the table as the configuration sees it.
func (c connectors) kinds() config.Kinds {
	var k config.Kinds
	for i := range c.sources {
		k.Sources = append(k.Sources, c.sources[i].Kind)
	}
	for i := range c.targets {
		k.Targets = append(k.Targets, c.targets[i].Kind)
	}
	return k
}

// source finds a row by its name, which the configuration has checked.
func (c connectors) source(name string) *sourceConnector {
	for i := range c.sources {
		if c.sources[i].Name == name {
			return &c.sources[i]
		}
	}
	panic("no source connector " + name)
}

// target finds a row by its name, which the configuration has checked.
func (c connectors) target(name string) *targetConnector {
	for i := range c.targets {
		if c.targets[i].Name == name {
			return &c.targets[i]
		}
	}
	panic("no target connector " + name)
}

// codes merges what every part of the program documents, by name. The first to document a code counts.
func (c connectors) codes() []fault.Code {
	all := slices.Clone(programCodes)
	all = append(all, config.Codes...)
	all = append(all, replicator.Codes...)
	for i := range c.sources {
		all = append(all, c.sources[i].codes...)
	}
	for i := range c.targets {
		all = append(all, c.targets[i].codes...)
	}
	slices.SortStableFunc(all, func(a, b fault.Code) int { return cmp.Compare(a.Name, b.Name) })
	return slices.CompactFunc(all, func(a, b fault.Code) bool { return a.Name == b.Name })
}

var dsnWord = regexp.MustCompile(`\b(host|port|dbname)\s*=\s*('(?:[^'\\]|\\.)*'|\S+)`)

// endText names one end of a pipeline for people: "postgres db1:5432/shop". Nothing of a user or a password, and
// nothing after a question mark, gets into it.
func endText(kind, location string) string {
	_, rest, isURL := strings.Cut(location, "://")
	if !isURL {
		words := map[string]string{}
		for _, m := range dsnWord.FindAllStringSubmatch(location, -1) {
			words[m[1]] = strings.Trim(m[2], "'")
		}
		if len(words) > 0 {
			return fmt.Sprintf("%s %s:%s/%s", kind, words["host"], cmp.Or(words["port"], "5432"), words["dbname"])
		}
		_, path, _ := strings.Cut(location, ":")
		return strings.TrimSpace(kind + " " + path)
	}
	authority, path, _ := strings.Cut(rest, "/")
	authority = authority[strings.LastIndexByte(authority, '@')+1:]
	path, _, _ = strings.Cut(path, "?")
	if plain, err := url.PathUnescape(path); err == nil {
		path = plain
	}
	return kind + " " + authority + "/" + path
}
