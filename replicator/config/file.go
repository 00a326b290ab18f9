package config

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/rowferry/rowferry/replicator/transform"
	"github.com/rowferry/rowferry/schema/setting"
	"github.com/rowferry/rowferry/sources"
)

// File is a configuration file, read and checked.
type File struct {
	// Version is the version of the file's grammar. It is 1, and has to be given.
	Version int `yaml:"version" required:"true"`
	// State says where the daemon keeps what is its own.
	State State `yaml:"state"`
	// Server is the listener for metrics, health and status.
	Server Server `yaml:"server"`
	// Log says what is logged, and how.
	Log Log `yaml:"log"`
	// Memory limits what the daemon holds.
	Memory Memory `yaml:"memory"`
	// Pipelines are the replications this daemon runs, by name. A name may hold letters, digits, _ and -, and is
	// the default for the names of slot and publication.
	Pipelines map[string]Pipeline `yaml:"pipelines" required:"true"`

	effective *yaml.Node
}

// State says where the daemon keeps what is its own.
type State struct {
	// Path is a folder for files of the daemon: transactions spilled while they are open, the last status, the
	// ledger of targets that cannot keep one. It is made when missing, for its owner only. A relative path counts
	// from the folder of the configuration file.
	Path string `yaml:"path" default:"/var/lib/rowferry"`
}

// Server is the listener for metrics, health and status.
type Server struct {
	// Listen is the address to serve /metrics, /livez, /readyz and /api/v1/status on: host:port with a loopback
	// address, or off. Port 0 takes a free one, which the log and the status files tell.
	Listen string `yaml:"listen" default:"127.0.0.1:7611"`
}

// Log says what is logged, and how.
type Log struct {
	// Level is the least important level that is logged: debug, info, warn or error.
	Level string `yaml:"level" default:"info"`
	// Format is text, json, or auto: text on a terminal and json otherwise. Logs go to standard error.
	Format string `yaml:"format" default:"auto"`
}

// Memory limits what the daemon holds.
type Memory struct {
	// Queue is how much of one pipeline's changes may wait between its source and its target. Beyond it the
	// source is read no further until the target has caught up.
	Queue setting.Size `yaml:"queue" default:"64MiB"`
}

// Pipeline is one replication, from one source to one target.
type Pipeline struct {
	// Source is the database to read.
	Source Source `yaml:"source" required:"true"`
	// Snapshot says how existing rows are copied before changes are followed.
	Snapshot sources.Snapshot `yaml:"snapshot"`
	// Timeouts bound single calls of source and target that neither answer nor fail.
	Timeouts Timeouts `yaml:"timeouts"`
	// OnError says what follows an error that may pass.
	OnError OnError `yaml:"on_error"`
	// Intervals are the pipeline's clocks.
	Intervals Intervals `yaml:"intervals"`
	// Transforms change what is replicated on its way, in the order given.
	Transforms []Transform `yaml:"transforms"`
	// Target is where rows and changes go.
	Target Target `yaml:"target" required:"true"`
}

// Source is the database to read. Config holds the connector's own settings.
type Source struct {
	// Type is the connector. It follows from the url and is only needed where the url does not say.
	Type string `yaml:"type"`
	// Tables selects the tables to replicate.
	Tables setting.Tables `yaml:"tables" required:"true"`

	Kind   string `yaml:"-"`
	Config any    `yaml:"-"` // what [Kind.New] made, filled
}

// Target is where rows and changes go. Config holds the connector's own settings.
type Target struct {
	// Type is the connector. It follows from the url and is only needed where the url does not say.
	Type string `yaml:"type"`

	Kind   string `yaml:"-"`
	Config any    `yaml:"-"` // what [Kind.New] made, filled
}

// Transform is one step between source and target. Exactly one of its keys is given.
type Transform struct {
	// Rename gives a schema or a table another name at the target.
	Rename *transform.Rename `yaml:"rename"`
}

// Validate checks what no single value shows.
func (f *File) Validate() (errs []error) {
	if f.Version != 1 {
		errs = append(errs, fmt.Errorf("version: this program reads version 1, not %d", f.Version))
	}
	folders := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(f.Pipelines)) {
		if !pipelineName.MatchString(name) {
			errs = append(errs, fmt.Errorf("pipelines.%s: a pipeline's name begins with a letter or digit and holds only letters, digits, _ and -, at most 48", quoteKey(name)))
		}
		folded := strings.ReplaceAll(strings.ToLower(name), "-", "_")
		if other, taken := folders[folded]; taken {
			errs = append(errs, fmt.Errorf("pipelines.%s: too close to %q: slots and folders of the two would have one name", quoteKey(name), other))
		}
		folders[folded] = name
	}
	if len(f.Pipelines) == 0 {
		errs = append(errs, errors.New("pipelines: there is none"))
	}
	return errs
}

var pipelineName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,47}$`)

// Validate checks that nobody but this machine can reach the listener.
func (s *Server) Validate() []error {
	if s.Listen == "off" {
		return nil
	}
	host, port, err := net.SplitHostPort(s.Listen)
	if err != nil {
		return []error{fmt.Errorf("listen: %q is no host:port; write 127.0.0.1:7611, or off", s.Listen)}
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return []error{fmt.Errorf("listen: %q is no port", port)}
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return []error{fmt.Errorf("listen: %q is not a loopback address, and the listener has no authentication; put a proxy with one before it", host)}
	}
	return nil
}

// Validate checks the words.
func (l *Log) Validate() (errs []error) {
	if levels := []string{"debug", "info", "warn", "error"}; !slices.Contains(levels, l.Level) {
		errs = append(errs, fmt.Errorf("level: %q is none of %s", l.Level, strings.Join(levels, ", ")))
	}
	if formats := []string{"auto", "text", "json"}; !slices.Contains(formats, l.Format) {
		errs = append(errs, fmt.Errorf("format: %q is none of %s", l.Format, strings.Join(formats, ", ")))
	}
	return errs
}

// Validate checks the limit.
func (m *Memory) Validate() []error {
	if m.Queue < 1<<20 {
		return []error{fmt.Errorf("queue: %s is too little, give at least 1MiB", m.Queue)}
	}
	return nil
}

// Validate checks the whole of a pipeline's own settings.
func (p *Pipeline) Validate() (errs []error) {
	if p.Snapshot.Workers < 1 || p.Snapshot.Workers > 64 {
		errs = append(errs, fmt.Errorf("snapshot.workers: %d is not between 1 and 64", p.Snapshot.Workers))
	}
	if p.Snapshot.ChunkSize < 64<<10 {
		errs = append(errs, fmt.Errorf("snapshot.chunk_size: %s is too little, give at least 64KiB", p.Snapshot.ChunkSize))
	}
	if len(p.Source.Tables.Include) == 0 {
		errs = append(errs, errors.New(`source.tables: nothing is included; write include: ["public.*"]`))
	}
	_, err := transform.NewRoute(p.Renames())
	for _, err := range parts(err) {
		text := err.Error()
		if m := renameIndex.FindStringSubmatch(text); m != nil {
			text = "transforms[" + m[1] + "].rename: " + m[2]
		}
		errs = append(errs, errors.New(text))
	}
	return errs
}

// parts are the errors that one error joins.
func parts(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return nil
}

// renameIndex is how [transform.NewRoute] names the rule it complains about.
var renameIndex = regexp.MustCompile(`(?s)^rename (\d+): (.*)$`)

// Renames lists the pipeline's rules for names, in the order given.
func (p *Pipeline) Renames() []transform.Rename {
	var rules []transform.Rename
	for _, t := range p.Transforms {
		if t.Rename != nil {
			rules = append(rules, *t.Rename)
		}
	}
	return rules
}

// Validate checks that the step does one thing.
func (t *Transform) Validate() []error {
	if t.Rename == nil {
		return []error{errors.New("a transform needs its kind, as in rename: { table: …, to: … }")}
	}
	return nil
}
