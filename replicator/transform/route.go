// Package transform changes batches on their way from source to target. It is pure: no clock, no goroutine, no
// I/O.
package transform

import (
	"errors"
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
// whatever their order. All errors are joined; each names its rule by the index.
func NewRoute(rules []Rename) (Route, error) {
	r := Route{schemas: map[string]string{}, tables: map[name]name{}}
	targets := map[name]name{}
	var errs []error
	for i, rule := range rules {
		if err := r.add(rule, targets); err != nil {
			errs = append(errs, fmt.Errorf("rename %d: %w", i, err))
		}
	}
	if errs != nil {
		return Route{}, errors.Join(errs...)
	}
	return r, nil
}

// add takes one rule in; targets holds the names that rules before it have given away.
func (r Route) add(rule Rename, targets map[name]name) error {
	if rule.To == "" || (rule.Schema == "") == (rule.Table == "") {
		return errors.New("give either schema or table, and to")
	}
	if rule.Schema != "" {
		if _, twice := r.schemas[rule.Schema]; twice {
			return fmt.Errorf("schema %s is renamed twice", rule.Schema)
		}
		r.schemas[rule.Schema] = rule.To
		return nil
	}
	from, err := parseName(rule.Table)
	if err != nil {
		return fmt.Errorf("table %w", err)
	}
	to, err := parseName(rule.To)
	if err != nil {
		return fmt.Errorf("to %w", err)
	}
	if _, twice := r.tables[from]; twice {
		return fmt.Errorf("table %s is renamed twice", rule.Table)
	}
	if other, taken := targets[to]; taken {
		return fmt.Errorf("%s and %s would both become %s", other, from, rule.To)
	}
	r.tables[from], targets[to] = to, from
	return nil
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
