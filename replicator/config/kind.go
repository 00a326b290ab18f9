package config

import (
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Kind is a connector as the configuration sees it.
type Kind struct {
	Name    string   // what `type` says: "postgres"
	Title   string   // one line for people
	Schemes []string // of the urls that mean it
	// New makes a pointer to the connector's own configuration struct, empty: the tags hold the defaults.
	New func() any
	// Claims names what a pipeline of this configuration needs for itself: a slot of a server, a file. Two pipelines
	// that claim the same are refused. May be nil.
	Claims func(cfg any, pipeline string) []string
}

// Kinds lists the connectors there are.
type Kinds struct{ Sources, Targets []Kind }

// decodeSource fills the common settings and those of the connector the file names.
func (d *decoder) decodeSource(n *yaml.Node, s *Source, path string) *yaml.Node {
	if n == nil {
		return nil
	}
	kind, ok := d.kindOf(n, d.kinds.Sources, path)
	if !ok {
		d.decodeTables(n, s, path)
		return nil
	}
	s.Kind, s.Config = kind.Name, kind.New()
	return d.decodeStruct(n, []reflect.Value{reflect.ValueOf(s).Elem(), reflect.ValueOf(s.Config).Elem()}, path)
}

// decodeTables fills the tables of a source whose connector is not known, so that what is wrong with them is told too.
func (d *decoder) decodeTables(n *yaml.Node, s *Source, path string) {
	quiet := &decoder{look: d.look, keys: map[string]*yaml.Node{}, values: map[string]*yaml.Node{}}
	if e, ok := quiet.entries(n, path)["tables"]; ok {
		f := field{path: join(path, "tables"), key: "tables"}
		d.keys[f.path] = e.key
		d.decode(e.value, reflect.ValueOf(&s.Tables).Elem(), f)
	}
}

// decodeTarget fills the common settings and those of the connector the file names.
func (d *decoder) decodeTarget(n *yaml.Node, t *Target, path string) *yaml.Node {
	if n == nil {
		return nil
	}
	kind, ok := d.kindOf(n, d.kinds.Targets, path)
	if !ok {
		return nil
	}
	t.Kind, t.Config = kind.Name, kind.New()
	return d.decodeStruct(n, []reflect.Value{reflect.ValueOf(t).Elem(), reflect.ValueOf(t.Config).Elem()}, path)
}

// kindOf finds the connector by type, or by the scheme of url.
func (d *decoder) kindOf(n *yaml.Node, kinds []Kind, path string) (Kind, bool) {
	quiet := &decoder{look: d.look, keys: map[string]*yaml.Node{}, values: map[string]*yaml.Node{}}
	entries := quiet.entries(n, path)
	if n.Kind != yaml.MappingNode {
		d.entries(n, path) // says so
		return Kind{}, false
	}
	if e, ok := entries["type"]; ok {
		value := quiet.follow(e.value, path)
		if value == nil || value.Kind != yaml.ScalarNode {
			d.report(e.key, Problem{Code: "config.wrong_type", Path: join(path, "type"), Text: join(path, "type") + " is not a text"})
			return Kind{}, false
		}
		return d.kindNamed(value, kinds, join(path, "type"))
	}
	e, ok := entries["url"]
	value := quiet.follow(e.value, path)
	if !ok || value == nil || value.Kind != yaml.ScalarNode {
		d.reportNoURL(entries, kinds, path)
		return Kind{}, false
	}
	text, err := d.look.expand(value.Value)
	if err != nil {
		var unused string
		d.decodeScalar(value, reflect.ValueOf(&unused).Elem(), field{path: join(path, "url")}) // reports it
		return Kind{}, false
	}
	scheme, _, found := strings.Cut(text, ":")
	for _, k := range kinds {
		for _, s := range k.Schemes {
			if found && strings.EqualFold(s, scheme) {
				return k, true
			}
		}
	}
	p := Problem{Code: "config.unknown_connector", Path: join(path, "url"), Text: join(path, "url") + " does not begin with a scheme that says what it is", Hint: "known here: " + strings.Join(schemes(kinds), " ")}
	if found && !strings.ContainsAny(scheme, " =/@") {
		p.Text = fmt.Sprintf("%s: nothing here speaks %q", join(path, "url"), scheme)
	}
	d.report(value, p)
	return Kind{}, false
}

// reportNoURL says that nothing names a connector, and knows the words other tools have for it.
func (d *decoder) reportNoURL(entries map[string]entry, kinds []Kind, path string) {
	d.report(d.nodeOf(path), Problem{
		Code: "config.missing", Path: join(path, "url"), Text: join(path, "url") + " is missing",
		Hint: "it says what to connect to: " + strings.Join(schemes(kinds), " "),
	})
	for key, e := range entries {
		if word, ok := foreignWords[strings.ToLower(key)]; ok {
			d.report(e.key, Problem{
				Code: "config.unknown_key", Path: join(path, key), Text: fmt.Sprintf("%s has no setting %q", sectionName(path), key),
				Hint: word.hint(),
			})
		}
	}
}

// kindNamed finds a connector by its name.
func (d *decoder) kindNamed(value *yaml.Node, kinds []Kind, path string) (Kind, bool) {
	text, err := d.look.expand(value.Value)
	if err != nil {
		text = value.Value
	}
	var names []string
	for _, k := range kinds {
		if k.Name == text {
			return k, true
		}
		names = append(names, k.Name)
	}
	hint := "known here: " + strings.Join(names, ", ")
	if near := nearest(text, names); near != "" {
		hint = "did you mean " + near + "?"
	}
	d.report(value, Problem{Code: "config.unknown_connector", Path: path, Text: fmt.Sprintf("%s: there is no connector %q", path, value.Value), Hint: hint})
	return Kind{}, false
}

// schemes lists what urls may begin with.
func schemes(kinds []Kind) []string {
	var out []string
	for _, k := range kinds {
		for _, s := range k.Schemes {
			out = append(out, s+":")
		}
	}
	return out
}
