package config

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFileBytes bounds a configuration file.
const maxFileBytes = 16 << 20

// Load reads the file at path with the connectors of kinds. The File is usable when no problem is an error.
func Load(path string, kinds Kinds) (*File, Problems) {
	text, err := readBounded(path)
	if err != nil {
		return &File{}, Problems{{File: path, Code: "config.unreadable", Text: err.Error(), Hint: "name the file with --config FILE; `rowferry config init` writes one"}}
	}
	f, problems := Parse(path, text, kinds, Lookup{Getenv: os.LookupEnv, ReadFile: os.ReadFile})
	if dir := filepath.Dir(path); f.State.Path != "" && !filepath.IsAbs(f.State.Path) {
		if full, err := filepath.Abs(filepath.Join(dir, f.State.Path)); err == nil {
			f.State.Path = full
		}
	}
	return f, problems
}

// readBounded reads a file that is not too big to be a configuration.
func readBounded(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxFileBytes+1))
	if err == nil && len(text) > maxFileBytes {
		err = errors.New("the file is bigger than 16 MiB")
	}
	return text, err
}

// Parse reads a configuration from text; name is what messages call it.
func Parse(name string, text []byte, kinds Kinds, look Lookup) (*File, Problems) {
	d := &decoder{
		name: name, lines: strings.Split(string(text), "\n"), look: look, kinds: kinds,
		keys: map[string]*yaml.Node{}, values: map[string]*yaml.Node{},
	}
	f := &File{}
	root, ok := d.root(text)
	if !ok {
		return f, d.problems.sorted()
	}
	f.effective = d.decode(root, reflect.ValueOf(f).Elem(), field{})
	d.checkClaims(f)
	return f, d.problems.sorted()
}

var yamlPlace = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// root parses the text and gives its one document.
func (d *decoder) root(text []byte) (root *yaml.Node, ok bool) {
	reader := yaml.NewDecoder(bytes.NewReader(text))
	var doc, second yaml.Node
	err := reader.Decode(&doc)
	if errors.Is(err, io.EOF) {
		d.report(nil, Problem{Code: "config.missing", Text: "the file is empty", Hint: "`rowferry config init` writes one to begin with"})
		return nil, false
	}
	if err != nil {
		d.reportSyntax(err)
		return nil, false
	}
	switch err := reader.Decode(&second); {
	case err == nil:
		d.report(&second, Problem{Code: "config.syntax", Text: "a second document begins here", Hint: "put every pipeline under one pipelines:"})
	case !errors.Is(err, io.EOF):
		d.reportSyntax(err)
		return nil, false
	}
	return doc.Content[0], true
}

// reportSyntax turns the parser's error into a problem with a place.
func (d *decoder) reportSyntax(err error) {
	at, message := &yaml.Node{Column: 1}, err.Error()
	if m := yamlPlace.FindStringSubmatch(message); m != nil {
		message = m[2]
		at.Line, _ = strconv.Atoi(m[1])
	}
	p := Problem{Code: "config.syntax", Text: "this is no YAML: " + message}
	if strings.Contains(message, "mapping values are not allowed") {
		p.Hint = `a value with ": " in it or ":" at its end needs quotes`
	}
	if strings.Contains(message, "expected ',' or") {
		p.Hint = "inside { } and [ ], values that hold ${…}, a comma or a colon need quotes"
	}
	d.report(at, p)
}
