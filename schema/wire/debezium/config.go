package debezium

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// Version is the version of Debezium whose records these are, as source.version says.
const Version = "3.6.1.Final"

// Config says in which of Debezium's forms changes are written. Every default is Debezium's own, but for two that lose
// something: Skip and NullAsDefault.
type Config struct {
	// Schemas writes each key and each value with its schema beside it, as {"schema":…,"payload":…}.
	Schemas bool `yaml:"schemas" default:"true"`
	// Name is what source.name says, Debezium's topic.prefix; the pipeline's name when empty.
	Name string `yaml:"name"`
	// Decimals: precise writes their unscaled number as bytes and loses NaN and infinite ones; string; double rounds.
	Decimals string `yaml:"decimals" default:"precise"`
	// Times are numbers in the unit that a column's precision asks for (adaptive, adaptive_time_microseconds), in one unit
	// (connect: milliseconds, microseconds, nanoseconds), or ISO 8601 texts (isostring). Times with a zone are always texts.
	Times string `yaml:"times" default:"adaptive"`
	// Binary: bytes, which JSON has in base64, or texts: base64, base64_url_safe, hex.
	Binary string `yaml:"binary" default:"bytes"`
	// Intervals: numeric is microseconds, with months of 30.4375 days; string is ISO 8601.
	Intervals string `yaml:"intervals" default:"numeric"`
	// Hstore: json is a text with a JSON object, map an object of texts.
	Hstore string `yaml:"hstore" default:"json"`
	// UnknownTypes writes columns of types that Debezium does not know as the bytes of their text. Otherwise they are
	// left out of every record.
	UnknownTypes bool `yaml:"unknown_types" default:"false"`
	// MoneyDigits is how many digits of money follow the point.
	MoneyDigits int `yaml:"money_digits" default:"2"`
	// SchemaNames: none, or names that Avro allows. avro makes other characters _, avro_unicode _uXXXX.
	SchemaNames string `yaml:"schema_names" default:"none"`
	// FieldNames does the same to the names of columns.
	FieldNames string `yaml:"field_names" default:"none"`
	// Placeholder stands for a value that an update did not touch and the source did not send. hex: before it means bytes.
	Placeholder string `yaml:"placeholder" default:"__debezium_unavailable_value"`
	// Skip leaves changes out: create, update, delete, truncate. Nothing is left out unless it is named here; Debezium's own
	// default is truncate.
	Skip []string `yaml:"skip"`
	// NullAsDefault writes the default of a column where it is NULL, as Debezium does unless its converter is told otherwise.
	// Readers then cannot tell the two apart, so it is off unless it is asked for.
	NullAsDefault bool `yaml:"null_as_default" default:"false"`
}

// settings with a fixed set of words; the first is the default.
func (c *Config) words() []struct {
	path  string
	value *string
	words []string
} {
	names := []string{"none", "avro", "avro_unicode"}
	return []struct {
		path  string
		value *string
		words []string
	}{
		{"decimals", &c.Decimals, []string{"precise", "string", "double"}},
		{"times", &c.Times, []string{
			"adaptive", "adaptive_time_microseconds", "connect", "isostring", "microseconds", "nanoseconds",
		}},
		{"binary", &c.Binary, []string{"bytes", "base64", "base64_url_safe", "hex"}},
		{"intervals", &c.Intervals, []string{"numeric", "string"}},
		{"hstore", &c.Hstore, []string{"json", "map"}},
		{"schema_names", &c.SchemaNames, names},
		{"field_names", &c.FieldNames, names},
	}
}

// skippable are the operations that may be left out.
var skippable = []string{"create", "update", "delete", "truncate"}

// Validate tells everything that is wrong with the settings, each with its path.
func (c Config) Validate() []error {
	var errs []error
	for _, w := range c.words() {
		if *w.value != "" && !slices.Contains(w.words, *w.value) {
			errs = append(errs, fmt.Errorf("%s: %q is none of %s", w.path, *w.value, strings.Join(w.words, ", ")))
		}
	}
	for _, op := range c.Skip {
		if !slices.Contains(skippable, op) {
			errs = append(errs, fmt.Errorf("skip: %q is none of %s", op, strings.Join(skippable, ", ")))
		}
	}
	if c.MoneyDigits < 0 || c.MoneyDigits > 18 {
		errs = append(errs, fmt.Errorf("money_digits: %d is not between 0 and 18", c.MoneyDigits))
	}
	if digits, ok := strings.CutPrefix(c.Placeholder, "hex:"); ok {
		if _, err := hex.DecodeString(digits); err != nil {
			errs = append(errs, fmt.Errorf("placeholder: %q is no hex", digits))
		}
	}
	return errs
}

// WithDefaults fills the words that a zero Config leaves out.
func (c Config) WithDefaults(pipeline string) Config {
	for _, w := range c.words() {
		if *w.value == "" {
			*w.value = w.words[0]
		}
	}
	if c.Name == "" {
		c.Name = pipeline
	}
	if c.Placeholder == "" {
		c.Placeholder = "__debezium_unavailable_value"
	}
	return c
}

// Skips tells whether an operation is left out.
func (c *Config) Skips(op string) bool { return slices.Contains(c.Skip, op) }

// placeholder is what stands for a value that was not sent.
func (c *Config) placeholder() []byte {
	if digits, ok := strings.CutPrefix(c.Placeholder, "hex:"); ok {
		if raw, err := hex.DecodeString(digits); err == nil {
			return raw
		}
	}
	return []byte(c.Placeholder)
}

// adjusted makes a name one that Avro allows, if mode asks for it. dots says whether a name may have them: those of
// schemas may, those of fields may not.
func adjusted(name, mode string, dots bool) string {
	if mode == "none" || mode == "" {
		return name
	}
	unicode := mode == "avro_unicode"
	var out strings.Builder
	if !dots && !unicode && name != "" && name[0] >= '0' && name[0] <= '9' {
		name = "_" + name
	}
	for i, r := range name {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '_' && !unicode
		later := i > 0 && (r >= '0' && r <= '9' || r == '.' && dots)
		switch {
		case letter, later:
			out.WriteRune(r)
		case !unicode:
			out.WriteString(strings.Repeat("_", units(r)))
		case r > 0xffff: // Java has two characters for it
			r -= 0x10000
			fmt.Fprintf(&out, "_u%04x_u%04x", 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			fmt.Fprintf(&out, "_u%04x", r)
		}
	}
	return out.String()
}

// units is how many characters a character is in Java.
func units(r rune) int {
	if r > 0xffff {
		return 2
	}
	return 1
}
