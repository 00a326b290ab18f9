// Package transform changes batches on their way from source to target. It is pure: no clock, no goroutine, no
// I/O.
package transform

import (
	"fmt"
	"strings"
)

// Rename is one rule of a pipeline's route: where the tables of a schema, or one table, go at the target.
type Rename struct {
	// Schema is a schema of the source; all its tables that no other rule names go to the schema To.
	Schema string `yaml:"schema"`
	// Table is one table of the source as "schema.table", with odd names quoted as in public."Odd.Name".
	Table string `yaml:"table"`
	// To is the new name: a schema when Schema is given, "schema.table" when Table is.
	To string `yaml:"to"`
}

// Route says which name every table of the source has at the target. The zero Route renames nothing. It is a value
// that may be shared; a [Router] applies it to the batches of one stream.
type Route struct {
	schemas map[string]string
	tables  map[name]name
}

// name is a table's name in its two parts.
type name struct{ schema, table string }

// NewRoute checks the rules and makes a route of them. A rule for a table goes before one for its schema,
// whatever their order. Errors name the rule by its index.
func NewRoute(rules []Rename) (Route, error) {
	r := Route{schemas: map[string]string{}, tables: map[name]name{}}
	targets := map[name]name{}
	for i, rule := range rules {
		if rule.To == "" || (rule.Schema == "") == (rule.Table == "") {
			return Route{}, fmt.Errorf("rename %d: give either schema or table, and to", i)
		}
		if rule.Schema != "" {
			if _, twice := r.schemas[rule.Schema]; twice {
				return Route{}, fmt.Errorf("rename %d: schema %s is renamed twice", i, rule.Schema)
			}
			r.schemas[rule.Schema] = rule.To
			continue
		}
		from, err := parseName(rule.Table)
		if err != nil {
			return Route{}, fmt.Errorf("rename %d: table %w", i, err)
		}
		to, err := parseName(rule.To)
		if err != nil {
			return Route{}, fmt.Errorf("rename %d: to %w", i, err)
		}
		if _, twice := r.tables[from]; twice {
			return Route{}, fmt.Errorf("rename %d: table %s is renamed twice", i, rule.Table)
		}
		if other, taken := targets[to]; taken {
			return Route{}, fmt.Errorf("rename %d: %s and %s would both become %s", i, other, from, rule.To)
		}
		r.tables[from], targets[to] = to, from
	}
	return r, nil
}

// Name is what a table of the source is called at the target.
func (r Route) Name(schema, table string) (toSchema, toTable string) {
	if to, ok := r.tables[name{schema, table}]; ok {
		return to.schema, to.table
	}
	if to, ok := r.schemas[schema]; ok {
		return to, table
	}
	return schema, table
}

// Empty tells whether the route renames nothing.
func (r Route) Empty() bool { return len(r.schemas) == 0 && len(r.tables) == 0 }

// parseName reads schema.table, either part quoted with doubled quotes inside.
func parseName(text string) (name, error) {
	var parts []string
	rest := text
	for {
		part, after, err := parsePart(rest)
		if err != nil {
			return name{}, fmt.Errorf("%q: %w", text, err)
		}
		parts = append(parts, part)
		if after == "" {
			break
		}
		rest = after[1:]
	}
	if len(parts) != 2 || parts[0] == "" || parts[1] == "" {
		return name{}, fmt.Errorf("%q: write schema.table", text)
	}
	return name{parts[0], parts[1]}, nil
}

// parsePart takes one part off text; after is empty or begins with the dot.
func parsePart(text string) (part, after string, err error) {
	if !strings.HasPrefix(text, `"`) {
		if i := strings.IndexByte(text, '.'); i >= 0 {
			return text[:i], text[i:], nil
		}
		return text, "", nil
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		if text[i] != '"' {
			b.WriteByte(text[i])
			continue
		}
		if i+1 < len(text) && text[i+1] == '"' {
			b.WriteByte('"')
			i++
			continue
		}
		after = text[i+1:]
		if after != "" && after[0] != '.' {
			return "", "", fmt.Errorf("a dot has to follow the closing quote")
		}
		return b.String(), after, nil
	}
	return "", "", fmt.Errorf("the quote is not closed")
}
