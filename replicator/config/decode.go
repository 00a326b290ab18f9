package config

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxNodes bounds how many values a file may hold once its aliases are followed.
const maxNodes = 100_000

// decoder turns nodes into typed values. It notes problems and goes on, so that all are found in one pass.
type decoder struct {
	name     string
	lines    []string
	look     Lookup
	kinds    Kinds
	problems Problems
	keys     map[string]*yaml.Node // where each path's key stands
	values   map[string]*yaml.Node // where each path's value stands
	nodes    int
}

// validator is a configuration struct that can look itself over.
type validator interface{ Validate() []error }

// report notes a problem at a node.
func (d *decoder) report(at *yaml.Node, p Problem) {
	p.File = d.name
	if at != nil && at.Line > 0 {
		p.Line, p.Column = at.Line, at.Column
		p.width = len([]rune(at.Value))
		if at.Kind != yaml.ScalarNode || strings.Contains(at.Value, "\n") {
			p.width = 1
		} else if at.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0 {
			p.width += 2
		}
		if p.Line <= len(d.lines) {
			p.source = maskLine(d.lines[p.Line-1])
			p.width = min(p.width, max(1, len([]rune(p.source))-p.Column+1))
		}
	}
	d.problems = append(d.problems, p)
}

// decode fills v from n, nil for "not given", and returns the effective value with its origin as a comment.
func (d *decoder) decode(n *yaml.Node, v reflect.Value, f field) *yaml.Node {
	n = d.follow(n, f.path)
	if n != nil {
		d.values[f.path] = n
	}
	switch target := v.Addr().Interface().(type) {
	case *Source:
		return d.decodeSource(n, target, f.path)
	case *Target:
		return d.decodeTarget(n, target, f.path)
	case encoding.TextUnmarshaler:
		return d.decodeScalar(n, v, f)
	}
	switch v.Kind() {
	case reflect.Struct:
		return d.decodeStruct(n, []reflect.Value{v}, f.path)
	case reflect.Map:
		return d.decodeMap(n, v, f)
	case reflect.Slice:
		return d.decodeSlice(n, v, f)
	case reflect.Pointer:
		if n == nil {
			return nil
		}
		v.Set(reflect.New(v.Type().Elem()))
		return d.decode(n, v.Elem(), f)
	}
	return d.decodeScalar(n, v, f)
}

// follow resolves aliases and turns "key:" with nothing behind it into "not given", which it says.
func (d *decoder) follow(n *yaml.Node, path string) *yaml.Node {
	for n != nil && n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n == nil {
		return nil
	}
	if d.nodes++; d.nodes == maxNodes {
		d.report(n, Problem{Code: "config.syntax", Path: path, Text: "the file holds too many values once its aliases are followed"})
	}
	if d.nodes >= maxNodes {
		return nil
	}
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" && n.Value != "" {
		d.report(n, Problem{Code: "config.wrong_type", Path: path, Text: path + " is null", Hint: `leave the key out, or write "" for an empty text`})
		return nil
	}
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		key := n
		if at := d.keys[path]; at != nil {
			key = at
		}
		d.report(key, Problem{Code: "config.wrong_type", Path: path, Text: path + " has no value", Hint: `give it one, or leave the key out`})
		return nil
	}
	return n
}

// decodeStruct fills structs that share one mapping: usually one, for a connector the common keys and its own.
func (d *decoder) decodeStruct(n *yaml.Node, structs []reflect.Value, path string) *yaml.Node {
	fields := fieldsOf(structs, path)
	entries := d.entries(n, path)
	known := make([]string, 0, len(fields))
	out := &yaml.Node{Kind: yaml.MappingNode}
	for _, f := range fields {
		known = append(known, f.key)
		var value *yaml.Node
		if e, ok := entries[f.key]; ok {
			value, d.keys[f.path] = e.value, e.key
			delete(entries, f.key)
		} else if f.required && n != nil && n.Kind == yaml.MappingNode {
			d.report(n, Problem{Code: "config.missing", Path: f.path, Text: f.path + " is missing"})
		}
		if effective := d.decode(value, f.value, f); effective != nil {
			out.Content = append(out.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: f.key}, effective)
		}
	}
	for _, e := range entries {
		if path == "" && strings.HasPrefix(e.key.Value, "x-") {
			continue // a place for anchors
		}
		d.report(e.key, Problem{
			Code: "config.unknown_key", Path: join(path, e.key.Value),
			Text: fmt.Sprintf("%s has no setting %q", sectionName(path), e.key.Value), Hint: suggestKey(e.key.Value, known),
		})
	}
	if n != nil && n.Kind == yaml.MappingNode {
		d.validate(structs, path)
	}
	return out
}

// validate calls the structs' own checks and shows what they find at the key they name. What is about a value that
// could not be read is left out: it was reported.
func (d *decoder) validate(structs []reflect.Value, path string) {
	for _, s := range structs {
		check, ok := s.Addr().Interface().(validator)
		if !ok || (len(structs) == 1 && s.Type().PkgPath() != ownPath) {
			continue // a connector's configuration checks the sections in it itself
		}
		for _, err := range check.Validate() {
			text, at := err.Error(), path
			if key, _, found := strings.Cut(text, ": "); found && (d.keys[join(path, key)] != nil || !strings.Contains(key, " ")) {
				at = join(path, key)
			}
			if path != "" && d.failedBelow(at) || d.failedAt(at) {
				continue // the whole file's checks are about keys: they count whatever is wrong below them
			}
			p := Problem{Code: "config.invalid_value", Path: at, Text: Redact(join(path, text))}
			if at == path {
				p.Text = Redact(strings.TrimPrefix(path+": "+text, ": "))
			}
			d.report(d.nodeOf(at), p)
		}
	}
}

// ownPath is this package's import path.
var ownPath = reflect.TypeFor[File]().PkgPath()

// failedBelow tells whether an error was found at path or under it.
func (d *decoder) failedBelow(path string) bool {
	for i := range d.problems {
		p := &d.problems[i]
		inside := path == "" || p.Path == path || strings.HasPrefix(p.Path, path+".") || strings.HasPrefix(p.Path, path+"[")
		if inside && !p.Warning {
			return true
		}
	}
	return false
}

// failedAt tells whether an error was found at path itself.
func (d *decoder) failedAt(path string) bool {
	for i := range d.problems {
		if p := &d.problems[i]; p.Path == path && !p.Warning {
			return true
		}
	}
	return false
}

// nodeOf finds the place of a path, or of the nearest path above it that is in the file.
func (d *decoder) nodeOf(path string) *yaml.Node {
	for {
		if n := d.values[path]; n != nil && n.Kind == yaml.ScalarNode {
			return n
		}
		if n := d.keys[path]; n != nil {
			return n
		}
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			return d.values[""]
		}
		path = path[:cut]
	}
}

// decodeScalar fills one plain value.
func (d *decoder) decodeScalar(n *yaml.Node, v reflect.Value, f field) *yaml.Node {
	if n == nil {
		if f.fallback != "" && v.IsZero() {
			if err := setText(v, f.fallback); err != nil {
				panic(fmt.Sprintf("%s: default %q: %v", f.path, f.fallback, err)) // every prototype is loaded by a test
			}
		}
		return scalarNode(v, displayText(v), "default")
	}
	if n.Kind != yaml.ScalarNode {
		d.report(n, Problem{Code: "config.wrong_type", Path: f.path, Text: fmt.Sprintf("%s is %s, not %s", f.path, nodeName(n), wanted(v))})
		return nil
	}
	text, err := d.look.expand(n.Value)
	if err != nil {
		code := "config.invalid_value"
		if errors.Is(err, errUnset) {
			code = "config.secret_unset"
		}
		d.report(n, Problem{Code: code, Path: f.path, Text: f.path + ": " + err.Error()})
		return nil
	}
	if err := setText(v, text); err != nil {
		d.report(n, Problem{Code: "config.wrong_type", Path: f.path, Text: f.path + ": " + Redact(hideExpanded(err.Error(), n.Value, text))})
		return nil
	}
	d.warnInlineSecret(n, v, f)
	return scalarNode(v, shownText(n, v), fmt.Sprintf("%s:%d", d.name, n.Line))
}

// warnInlineSecret advises against a password written into the file itself.
func (d *decoder) warnInlineSecret(n *yaml.Node, v reflect.Value, f field) {
	inURL := Redact(n.Value) != n.Value && !hasReference(n.Value)
	inline := isSecret(v) && n.Value != "" && !hasReference(n.Value)
	if !inURL && !inline {
		return
	}
	d.report(n, Problem{
		Code: "config.inline_secret", Path: f.path, Warning: true, Text: f.path + " holds a password in plain text",
		Hint: `keep it elsewhere: password: "${env:NAME}", "${file:/run/secrets/name}" or "${credential:name}"`,
	})
}
