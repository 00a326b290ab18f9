package debezium

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Options are what the file does not say.
type Options struct {
	// File is what messages call the file.
	File string
	// Pipeline is the pipeline's name; one like topic.prefix when empty.
	Pipeline string
	// Brokers are the target's, as host:port,host:port; those of the file when empty.
	Brokers string
}

// Note is a setting that was not carried over as it is, and what to do about it.
type Note struct {
	Setting string `json:"setting"` // as the file calls it
	Text    string `json:"text"`
}

// Import is what became of a configuration.
type Import struct {
	Pipeline string
	Slot     string // to adopt; empty when the connector's cannot be
	YAML     string
	Notes    []Note // those to act on first, then those that need nothing, each in the order of their names
}

// importer is an import under way.
type importer struct {
	*settings
	options  Options
	pipeline string
	prefix   string // of topics
	slot     string
	taken    map[string]bool
	notes    []Note // to act on
	spare    []Note // that need nothing
}

// From reads a configuration and writes Rowferry's.
func From(text []byte, o Options) (*Import, error) {
	s, err := read(text)
	if err == nil {
		err = s.connector()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.File, err)
	}
	im := &importer{settings: s, options: o, taken: map[string]bool{}}
	if err := im.begin(); err != nil {
		return nil, fmt.Errorf("%s: %w", o.File, err)
	}
	source := im.source()
	target := im.target()
	im.rest()
	out := &Import{Pipeline: im.pipeline, Slot: im.slot, Notes: append(sorted(im.notes), sorted(im.spare)...)}
	out.YAML, err = im.write(source, target)
	return out, err
}

// sorted orders notes by setting.
func sorted(notes []Note) []Note {
	slices.SortStableFunc(notes, func(a, b Note) int { return strings.Compare(a.Setting, b.Setting) })
	return notes
}

// required are the settings without which there is no connector.
var required = []string{"database.hostname", "database.user", "database.dbname"}

// begin checks that what has to be there is, and finds names.
func (im *importer) begin() error {
	for _, key := range required {
		if _, ok := im.value(key); !ok {
			return fmt.Errorf("%w: %s is missing; every Postgres connector has it", errShape, im.name(key))
		}
	}
	for _, key := range []string{"topic.prefix", "database.server.name"} { // the second is how it was called up to 1.9
		if im.prefix == "" {
			im.prefix, _ = im.value(key)
		}
		im.taken[key] = true
	}
	if im.prefix == "" {
		return fmt.Errorf("%w: %s is missing; every Postgres connector has it", errShape, im.name("topic.prefix"))
	}
	if strings.Contains(im.prefix, "${") {
		return fmt.Errorf("%s refers to %s: put the prefix itself in its place, topics are named by it", im.name("topic.prefix"), im.prefix)
	}
	if sink, ok := im.value("sink.type"); im.server && ok && sink != "kafka" {
		return fmt.Errorf("%s is %q: only the sink kafka can be carried over", im.name("sink.type"), sink)
	}
	im.pipeline = im.options.Pipeline
	if im.pipeline == "" {
		im.pipeline = pipelineName(im.prefix)
	}
	return nil
}

var notInNames = regexp.MustCompile(`[^A-Za-z0-9_-]+`)

// pipelineName makes a prefix of topics a name that a pipeline can have.
func pipelineName(prefix string) string {
	name := strings.TrimLeft(notInNames.ReplaceAllString(prefix, "-"), "_-")
	name = strings.TrimRight(name[:min(len(name), 48)], "-")
	if name == "" {
		return "debezium"
	}
	return name
}

var salt = regexp.MustCompile(`\.with\.salt\..*`)

// shownName is what the file calls a setting. Some have a secret in their names.
func (im *importer) shownName(key string) string {
	return salt.ReplaceAllString(im.name(key), ".with.salt.…")
}

// note tells of a setting that is not carried over.
func (im *importer) note(key, format string, args ...any) {
	im.notes = append(im.notes, Note{im.shownName(key), fmt.Sprintf(format, args...)})
}

// unneeded tells of a setting that has nothing to be carried over to.
func (im *importer) unneeded(key, text string) {
	im.spare = append(im.spare, Note{im.shownName(key), "not needed: " + text})
}

// take gives a setting's value, and counts it as dealt with.
func (im *importer) take(key string) (value string, ok bool) {
	im.taken[key] = true
	return im.value(key)
}

// flag takes a setting that is true or false.
func (im *importer) flag(key string, otherwise bool) bool {
	value, ok := im.take(key)
	switch strings.ToLower(value) {
	case "true":
		return true
	case "false":
		return false
	}
	if ok {
		im.note(key, "%s is neither true nor false: %t was taken", shown(value), otherwise)
	}
	return otherwise
}

// word takes a setting that is one of some words, and gives ours for it; "" where the file has none.
func (im *importer) word(key string, words map[string]string) string {
	value, ok := im.take(key)
	if !ok {
		return ""
	}
	word, known := words[strings.ToLower(value)]
	if !known {
		im.note(key, "%s is not known here: the default was taken; see `rowferry config schema target.format.debezium`", shown(value))
	}
	return word
}

// number takes a setting that is a number of at least least; "" where the file has none.
func (im *importer) number(key string, least int64) string {
	value, ok := im.take(key)
	if !ok {
		return ""
	}
	var n int64
	if _, err := fmt.Sscanf(value, "%d", &n); err != nil || n < least || fmt.Sprint(n) != value {
		im.note(key, "%s is no number of at least %d: the default was taken", shown(value), least)
		return ""
	}
	return value
}

// shown is a value in a message: shortened, and nothing of a reference but that it is one.
func shown(value string) string {
	if strings.Contains(value, "${") {
		return "a reference"
	}
	if runes := []rune(value); len(runes) > 60 {
		value = string(runes[:60]) + "…"
	}
	return fmt.Sprintf("%q", value)
}

var (
	variable  = regexp.MustCompile(`\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}`)
	named     = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)(?::([^}]*))?\}`)
	reference = regexp.MustCompile(`\$\{[^}]*\}`)
)

// text takes a setting that is any text, as a value of ours. References to the environment stay; one to something else becomes
// a variable that is named after ending.
func (im *importer) text(key, ending string) (string, bool) {
	value, ok := im.take(key)
	if !ok {
		return "", false
	}
	return im.translated(key, value, ending), true
}

// translated writes a value with our references.
func (im *importer) translated(key, value, ending string) string {
	var out strings.Builder
	last := 0
	for _, at := range reference.FindAllStringIndex(value, -1) {
		one := value[at[0]:at[1]]
		switch m := named.FindStringSubmatch(one); {
		case variable.FindString(one) == one:
		case m != nil && m[2] == "": // of Debezium Server, or of what fills in a file before it is sent to Connect
			one = "${env:" + m[1] + "}"
		case m != nil && im.server:
			one = "${env:" + m[1] + ":-" + m[2] + "}"
		default:
			name := im.variable(ending)
			im.note(key, "its value is kept elsewhere: set the environment variable %s to it, or write ${file:/path} in its place", name)
			return "${env:" + name + "}"
		}
		out.WriteString(strings.ReplaceAll(value[last:at[0]], "$", "$$") + one)
		last = at[1]
	}
	out.WriteString(strings.ReplaceAll(value[last:], "$", "$$"))
	return out.String()
}

// secret is like text for what must not be printed: a value that is written out becomes a variable, too.
func (im *importer) secret(key, value, ending string) string {
	if whole := reference.FindString(value); whole == value && whole != "" {
		if m := named.FindStringSubmatch(whole); m != nil && variable.FindString(whole) == "" && m[2] != "" && im.server {
			im.note(key, "secrets are not copied, and its default is one: set the environment variable %s", m[1])
			return "${env:" + m[1] + "}"
		}
		return im.translated(key, value, ending)
	}
	name := im.variable(ending)
	im.note(key, "secrets are not copied: set the environment variable %s to it, or write ${file:/path} in its place", name)
	return "${env:" + name + "}"
}

// variable is the name of an environment variable of this pipeline.
func (im *importer) variable(ending string) string {
	name := strings.ToUpper(strings.ReplaceAll(im.pipeline, "-", "_")) + "_" + ending
	if name[0] >= '0' && name[0] <= '9' {
		name = "P" + name
	}
	return name
}

// literal protects a text of the file that is no reference.
func literal(text string) string { return strings.ReplaceAll(text, "$", "$$") }
