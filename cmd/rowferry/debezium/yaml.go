package debezium

import (
	"bytes"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// tree is a section of the file that is written, in order.
type tree struct{ node *yaml.Node }

func newTree() tree { return tree{&yaml.Node{Kind: yaml.MappingNode}} }

// set adds a key: a text, a number or a flag as their spelling says, a list of texts, or a section. Empty texts, lists and
// sections are left out.
func (t tree) set(key string, value any) {
	var node yaml.Node
	switch v := value.(type) {
	case string:
		if v == "" {
			return
		}
		node.SetString(v)
	case plain:
		if v == "" {
			return
		}
		node = yaml.Node{Kind: yaml.ScalarNode, Value: string(v)}
	case bool:
		node = yaml.Node{Kind: yaml.ScalarNode, Value: fmt.Sprint(v)}
	case []string:
		if v == nil {
			return
		}
		node.Kind, node.Style = yaml.SequenceNode, yaml.FlowStyle
		for _, one := range v {
			item := &yaml.Node{}
			item.SetString(one)
			item.Style = yaml.DoubleQuotedStyle
			if strings.ContainsRune(one, '\\') {
				item.Style = yaml.SingleQuotedStyle
			}
			node.Content = append(node.Content, item)
		}
		if len(v) > 2 {
			node.Style = 0
		}
	case tree:
		if len(v.node.Content) == 0 {
			return
		}
		node = *v.node
	default:
		panic(fmt.Sprintf("a value of type %T", value))
	}
	t.node.Content = append(t.node.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: key}, &node)
}

// plain is a number, or a word of ours, that needs no quotes.
type plain string

// write puts the file together: the pipeline, and what was not carried over.
func (im *importer) write(source, target tree) (string, error) {
	pipeline, pipelines, root := newTree(), newTree(), newTree()
	pipeline.set("source", source)
	pipeline.set("target", target)
	pipelines.set(im.pipeline, pipeline)
	root.set("version", plain("1"))
	state := newTree()
	state.set("path", "/var/lib/rowferry")
	root.set("state", state)
	root.set("pipelines", pipelines)
	var out bytes.Buffer
	fmt.Fprintf(&out, "# Made from %s, the configuration of a Debezium connector.\n", oneLine(im.options.File))
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(root.node); err != nil {
		return "", fmt.Errorf("writing YAML: %w", err)
	}
	if err := encoder.Close(); err != nil {
		return "", fmt.Errorf("writing YAML: %w", err)
	}
	comment := func(title string, notes []Note) {
		if len(notes) == 0 {
			return
		}
		fmt.Fprintf(&out, "\n# %s\n", title)
		for _, n := range notes {
			fmt.Fprintf(&out, "#   %s: %s\n", oneLine(n.Setting), oneLine(n.Text))
		}
	}
	comment("Not carried over as it was. Look at each:", im.notes)
	comment("Not carried over, and nothing to do about it:", im.spare)
	return out.String(), nil
}

// oneLine keeps a text from ending a comment.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
