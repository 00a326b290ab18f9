package debezium

import (
	"regexp"
	"slices"
	"strings"

	"github.com/rowferry/rowferry/schema"
)

// Debezium reads defaults out of their expressions without evaluating them: a literal in quotes counts up to its first
// quote, a call of a function stands for a value that says nothing, as do the words for now, and what is none of these is
// taken as it is.
var (
	literalDefault  = regexp.MustCompile(`'(.*?)'`)
	functionDefault = regexp.MustCompile(`^[(]?[A-Za-z0-9_.]+\((?:.+(?:, ?.+)*)?\)`)
)

var nowDefaults = []string{"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"}

// ofFunctions is what a call of a function stands for, by type. Types that are not here have no default.
var ofFunctions = map[string]string{
	"bit": "00", "bit varying": "0", "boolean": "f", "bpchar": "", "character": "", "character varying": "", "text": "",
	"numeric": "0.0", "real": "0", "double precision": "0", "smallint": "0", "integer": "0", "bigint": "0",
	"json": "{}", "jsonb": "{}", "xml": "", "uuid": "00000000-0000-0000-0000-000000000000",
	"date": "1970-01-01", "time without time zone": "00:00:00", "timestamp without time zone": "1970-01-01",
	"timestamp with time zone": "1970-01-01 00:00:00+00", "interval": "",
}

// defaultText is the default of a column as a value's canonical text. ok is false when it has none that Debezium tells.
func defaultText(c *schema.Column, t typeName) (text string, ok bool) {
	expression := c.Default
	if expression == "" || c.Generated || t.array || c.Native != c.Base || strings.HasPrefix(expression, "NULL::") {
		return "", false
	}
	name := t.name
	if strings.HasPrefix(name, "interval") {
		name = "interval"
	}
	ofFunction, known := ofFunctions[name]
	if !known && c.Kind != schema.KindEnum || known && t.qualified {
		return "", false
	}
	if functionDefault.MatchString(expression) || slices.Contains(nowDefaults, strings.ToLower(expression)) {
		return ofFunction, known
	}
	if text, ok = literal(expression); !ok {
		return "", false
	}
	switch name {
	case "boolean":
		return map[bool]string{true: "t", false: "f"}[strings.EqualFold(text, "true")], true
	case "numeric":
		return paddedDecimal(text, t)
	case "time with time zone":
		return "", false
	}
	return text, true
}

// literal is what stands in the first quotes, or the whole where there are none.
func literal(expression string) (string, bool) {
	if !strings.Contains(expression, "'") {
		return expression, true
	}
	found := literalDefault.FindStringSubmatch(expression)
	if found == nil {
		return "", false
	}
	return found[1], true
}

// paddedDecimal cuts the zeros that a column's scale has no room for. Other digits beyond it make it no default.
func paddedDecimal(text string, t typeName) (string, bool) {
	whole, fraction, _ := strings.Cut(text, ".")
	if len(t.modifiers) > 1 {
		scale := t.modifiers[1] & 0x7ff
		for len(fraction) > scale {
			if fraction[len(fraction)-1] != '0' {
				return "", false
			}
			fraction = fraction[:len(fraction)-1]
		}
	}
	if fraction != "" {
		whole += "." + fraction
	}
	return whole, true
}
