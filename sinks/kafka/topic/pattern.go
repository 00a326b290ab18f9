package topic

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rowferry/rowferry/schema"
)

// maxName is the longest name Kafka takes.
const maxName = 249

// Pattern makes a topic's name: text with {pipeline}, {schema} and {table} in it.
type Pattern string

var placeholders = []string{"{pipeline}", "{schema}", "{table}"}

// Validate tells what is wrong with the pattern.
func (p Pattern) Validate() error {
	rest := string(p)
	if rest == "" {
		return errors.New("a pattern may not be empty")
	}
	for _, name := range placeholders {
		rest = strings.ReplaceAll(rest, name, "")
	}
	if i := strings.IndexAny(rest, "{}"); i >= 0 {
		return fmt.Errorf("%q holds a placeholder that is none of %s", p, strings.Join(placeholders, ", "))
	}
	if clean := Clean("x" + rest); clean != "x"+rest {
		return fmt.Errorf("%q holds characters that topics cannot have: only letters, digits, dot, _ and - are allowed", p)
	}
	return nil
}

// PerTable tells whether every table has a topic of its own.
func (p Pattern) PerTable() bool {
	return slices.ContainsFunc(placeholders[1:], func(name string) bool { return strings.Contains(string(p), name) })
}

// Name is the topic of a table; t may be nil where the pattern names no table.
func (p Pattern) Name(pipeline string, t *schema.Table) string {
	pairs := []string{"{pipeline}", pipeline}
	if t != nil {
		pairs = append(pairs, "{schema}", t.Schema, "{table}", t.Name)
	}
	return Clean(strings.NewReplacer(pairs...).Replace(string(p)))
}

// Clean makes a name Kafka takes: other characters than letters, digits, dot, _ and - become _, and what is longer
// than 249 is cut off.
func Clean(name string) string {
	out := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
			return r
		}
		return '_'
	}, name)
	if out == "." || out == ".." {
		out = strings.Repeat("_", len(out))
	}
	return out[:min(len(out), maxName)]
}
