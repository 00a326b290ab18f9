package setting

import (
	"fmt"
	"regexp"
	"strings"
)

// Tables selects tables by pattern. Exclude wins over Include; an empty Include selects nothing.
type Tables struct {
	// Include lists the tables to replicate: "schema.table", with * and ? as wildcards that do not cross the
	// dot, a quoted part for odd names as in public."Odd.Name", or "re:" and a regular expression that has to
	// match the whole of schema.table.
	Include []Pattern `yaml:"include"`
	// Exclude lists tables to leave out although Include selects them. Same patterns.
	Exclude []Pattern `yaml:"exclude"`
}

// Match tells whether the table is selected.
func (t Tables) Match(schema, name string) bool {
	for _, p := range t.Exclude {
		if p.Match(schema, name) {
			return false
		}
	}
	for _, p := range t.Include {
		if p.Match(schema, name) {
			return true
		}
	}
	return false
}

// Pattern is one table pattern, kept with its source text.
type Pattern struct {
	text         string
	schema, name *regexp.Regexp // both parts, or
	whole        *regexp.Regexp // schema.table as one
}

// ParsePattern reads a pattern.
func ParsePattern(text string) (Pattern, error) {
	p := Pattern{text: text}
	if expr, ok := strings.CutPrefix(text, "re:"); ok {
		re, err := regexp.Compile(`^(?:` + expr + `)$`)
		if err != nil {
			return Pattern{}, fmt.Errorf("pattern %q: %w", text, err)
		}
		p.whole = re
		return p, nil
	}
	parts, err := splitPattern(text)
	if err != nil {
		return Pattern{}, err
	}
	if len(parts) != 2 {
		return Pattern{}, fmt.Errorf(`pattern %q has %d parts: write "schema.table", for example "public.*"`, text, len(parts))
	}
	p.schema, p.name = regexp.MustCompile(parts[0]), regexp.MustCompile(parts[1])
	return p, nil
}

// splitPattern turns each dotted part into a regular expression.
func splitPattern(text string) ([]string, error) {
	parts, part, quoted := []string{}, "", false
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '"' && quoted && i+1 < len(text) && text[i+1] == '"':
			part += `"`
			i++
		case c == '"':
			quoted = !quoted
		case c == '.' && !quoted:
			parts, part = append(parts, "(?s)^"+part+"$"), ""
		case c == '*' && !quoted:
			part += ".*"
		case c == '?' && !quoted:
			part += "."
		default:
			part += regexp.QuoteMeta(text[i : i+1]) // bytes of longer runes pass as they are
		}
	}
	if quoted {
		return nil, fmt.Errorf("pattern %q: the quote is not closed", text)
	}
	return append(parts, "(?s)^"+part+"$"), nil
}

// Match tells whether the pattern selects the table.
func (p Pattern) Match(schema, name string) bool {
	if p.whole != nil {
		return p.whole.MatchString(schema + "." + name)
	}
	return p.schema != nil && p.schema.MatchString(schema) && p.name.MatchString(name)
}

// UnmarshalText reads a pattern.
func (p *Pattern) UnmarshalText(text []byte) (err error) {
	*p, err = ParsePattern(string(text))
	return err
}

// MarshalText writes the pattern as it was read.
func (p Pattern) MarshalText() ([]byte, error) { return []byte(p.text), nil }

// String is the pattern as it was read.
func (p Pattern) String() string { return p.text }
