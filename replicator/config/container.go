package config

import (
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

type entry struct{ key, value *yaml.Node }

// entries lists a mapping's keys, complains about doubled ones, and takes in merged mappings ("<<: *anchor").
func (d *decoder) entries(n *yaml.Node, path string) map[string]entry {
	found := map[string]entry{}
	if n == nil {
		return found
	}
	if n.Kind != yaml.MappingNode {
		d.report(n, Problem{
			Code: "config.wrong_type", Path: path, Text: fmt.Sprintf("%s is %s", sectionName(path), nodeName(n)),
			Hint: "write keys and values, one a line, indented",
		})
		return found
	}
	var merged []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Tag == "!!merge" {
			merged = append(merged, value)
			continue
		}
		if key.Kind != yaml.ScalarNode {
			d.report(key, Problem{Code: "config.wrong_type", Path: path, Text: "a key is " + nodeName(key), Hint: "keys are plain texts"})
			continue
		}
		if first, twice := found[key.Value]; twice {
			d.report(key, Problem{
				Code: "config.duplicate_key", Path: join(path, key.Value),
				Text: fmt.Sprintf("%s is given twice, first in line %d", join(path, key.Value), first.key.Line),
			})
			continue
		}
		found[key.Value] = entry{key, value}
	}
	for _, m := range merged {
		d.merge(found, m, path)
	}
	return found
}

// merge adds the keys of an aliased mapping that are not given already.
func (d *decoder) merge(found map[string]entry, n *yaml.Node, path string) {
	n = d.follow(n, path)
	if n == nil {
		return
	}
	if n.Kind == yaml.SequenceNode {
		for _, part := range n.Content {
			d.merge(found, part, path)
		}
		return
	}
	for key, e := range d.entries(n, path) {
		if _, given := found[key]; !given {
			found[key] = e
		}
	}
}

// decodeMap fills a map with text keys, in the order of the file.
func (d *decoder) decodeMap(n *yaml.Node, v reflect.Value, f field) *yaml.Node {
	out := &yaml.Node{Kind: yaml.MappingNode}
	if n == nil {
		out.Style = yaml.FlowStyle
		return out
	}
	v.Set(reflect.MakeMap(v.Type()))
	for key, e := range d.entries(n, f.path) {
		item := field{path: join(f.path, quoteKey(key)), key: key, owner: f.owner}
		d.keys[item.path] = e.key
		element := reflect.New(v.Type().Elem()).Elem()
		effective := d.decode(e.value, element, item)
		k := reflect.New(v.Type().Key()).Elem()
		if err := setText(k, key); err != nil {
			d.report(e.key, Problem{Code: "config.invalid_value", Path: item.path, Text: fmt.Sprintf("key %q: %v", key, err)})
			continue
		}
		v.SetMapIndex(k, element)
		if effective != nil {
			out.Content = append(out.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: key, Line: e.key.Line}, effective)
		}
	}
	sortPairs(out)
	return out
}

// decodeSlice fills a list.
func (d *decoder) decodeSlice(n *yaml.Node, v reflect.Value, f field) *yaml.Node {
	out := &yaml.Node{Kind: yaml.SequenceNode}
	if n == nil {
		if f.fallback == "" {
			out.Style = yaml.FlowStyle
		} else {
			for i, text := range strings.Split(f.fallback, ",") {
				item := field{path: fmt.Sprintf("%s[%d]", f.path, i), owner: f.owner, fallback: strings.TrimSpace(text)}
				element := reflect.New(v.Type().Elem()).Elem()
				out.Content = append(out.Content, d.decode(nil, element, item))
				v.Set(reflect.Append(v, element))
			}
		}
		return out
	}
	if n.Kind != yaml.SequenceNode {
		p := Problem{Code: "config.wrong_type", Path: f.path, Text: fmt.Sprintf("%s is %s, not a list", f.path, nodeName(n))}
		if n.Kind == yaml.ScalarNode {
			p.Hint = fmt.Sprintf("write  %s: [%q]", f.key, maskLine(n.Value))
		}
		d.report(n, p)
		return out
	}
	for i, item := range n.Content {
		element := reflect.New(v.Type().Elem()).Elem()
		at := field{path: fmt.Sprintf("%s[%d]", f.path, i), owner: f.owner, key: f.key}
		if effective := d.decode(item, element, at); effective != nil {
			out.Content = append(out.Content, effective)
		}
		v.Set(reflect.Append(v, element))
	}
	return out
}
