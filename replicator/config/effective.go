package config

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Effective is one setting as it counts, with where it comes from. Secrets are masked.
type Effective struct {
	Path   string `json:"path"`
	Value  string `json:"value"`
	Origin string `json:"origin"` // file:line, or default
}

// Effective lists every setting in the order of the documentation.
func (f *File) Effective() []Effective {
	out := []Effective{}
	flatten(&out, f.effective, "")
	return out
}

// flatten lists the leaves under a node.
func flatten(out *[]Effective, n *yaml.Node, path string) {
	if n == nil {
		return
	}
	switch {
	case n.Kind == yaml.MappingNode && len(n.Content) > 0:
		for i := 0; i+1 < len(n.Content); i += 2 {
			flatten(out, n.Content[i+1], join(path, quoteKey(n.Content[i].Value)))
		}
	case n.Kind == yaml.SequenceNode && len(n.Content) > 0:
		for i, item := range n.Content {
			flatten(out, item, fmt.Sprintf("%s[%d]", path, i))
		}
	case n.Kind == yaml.MappingNode:
		*out = append(*out, Effective{path, "{}", "default"})
	case n.Kind == yaml.SequenceNode:
		*out = append(*out, Effective{path, "[]", "default"})
	default:
		*out = append(*out, Effective{path, n.Value, n.LineComment})
	}
}

// PrintEffective writes the settings as YAML that can be read again, each with its origin beside it.
func (f *File) PrintEffective(w io.Writer) error {
	if f.effective == nil {
		return nil
	}
	var text bytes.Buffer
	encoder := yaml.NewEncoder(&text)
	encoder.SetIndent(2)
	if err := encoder.Encode(f.effective); err != nil {
		return fmt.Errorf("encoding the settings: %w", err)
	}
	if err := encoder.Close(); err != nil {
		return fmt.Errorf("encoding the settings: %w", err)
	}
	lines := strings.Split(strings.TrimSuffix(text.String(), "\n"), "\n")
	width := 0
	for _, line := range lines {
		if before, _, ok := cutOrigin(line); ok {
			width = max(width, min(len([]rune(before)), 60))
		}
	}
	for _, line := range lines {
		if before, origin, ok := cutOrigin(line); ok {
			line = before + strings.Repeat(" ", max(width-len([]rune(before)), 0)) + "  # " + origin
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}

// cutOrigin splits a line at the comment that names the origin.
func cutOrigin(line string) (before, origin string, ok bool) {
	i := strings.LastIndex(line, " # ")
	if i < 0 {
		return line, "", false
	}
	return strings.TrimRight(line[:i], " "), line[i+3:], true
}
