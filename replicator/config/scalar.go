package config

import (
	"cmp"
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/rowferry/rowferry/schema/setting"
)

// field is one setting: where it stands, what it is when not given.
type field struct {
	key      string
	path     string
	owner    string // import path, type and field, as the table of comments names it
	fallback string
	required bool
	value    reflect.Value
}

// fieldsOf lists the settings of structs in the order they are declared. A struct without a key of its own
// (embedded, or tagged ",inline") adds its fields to its parent's.
func fieldsOf(structs []reflect.Value, path string) []field {
	var out []field
	for _, s := range structs {
		for i := range s.NumField() {
			sf := s.Type().Field(i)
			key, option, _ := strings.Cut(sf.Tag.Get("yaml"), ",")
			if option == "inline" {
				out = append(out, fieldsOf([]reflect.Value{s.Field(i)}, path)...)
				continue
			}
			if key == "" || key == "-" || !sf.IsExported() {
				continue
			}
			out = append(out, field{
				key: key, path: join(path, key), owner: ownerOf(s.Type(), sf.Name), fallback: sf.Tag.Get("default"),
				required: sf.Tag.Get("required") == "true", value: s.Field(i),
			})
		}
	}
	return out
}

// ownerOf names a field in the table of comments.
func ownerOf(t reflect.Type, name string) string { return t.PkgPath() + "." + t.Name() + "." + name }

// join adds a key to a path.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// quoteKey keeps a map's key with dots readable inside a path.
func quoteKey(key string) string {
	if strings.ContainsAny(key, `. []"`) || key == "" {
		return strconv.Quote(key)
	}
	return key
}

// sectionName is how messages call the mapping at a path.
func sectionName(path string) string {
	if path == "" {
		return "the file"
	}
	return path
}

// nodeName says what was written.
func nodeName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	return "a plain value"
}

// wanted says what a field takes.
func wanted(v reflect.Value) string {
	switch v.Interface().(type) {
	case setting.Duration:
		return "a duration such as 10s"
	case setting.Size:
		return "a size such as 64MiB"
	case setting.Span:
		return "a range such as 100ms..30s"
	}
	switch v.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number"
	case reflect.Float32, reflect.Float64:
		return "a number"
	}
	return "a text"
}

// setText parses text for v's type.
func setText(v reflect.Value, text string) error {
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(text))
	}
	unfit := func() error { return fmt.Errorf("%q is not %s", text, wanted(v)) }
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		if text != "true" && text != "false" {
			return unfit()
		}
		v.SetBool(text == "true")
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, v.Type().Bits())
		if err != nil {
			return numberError(err, unfit)
		}
		v.SetInt(n)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, err := strconv.ParseUint(text, 10, v.Type().Bits())
		if err != nil {
			return numberError(err, unfit)
		}
		v.SetUint(n)
	case reflect.Float32, reflect.Float64:
		n, err := strconv.ParseFloat(text, v.Type().Bits())
		if err != nil {
			return numberError(err, unfit)
		}
		v.SetFloat(n)
	default:
		panic("a configuration field cannot be of type " + v.Type().String())
	}
	return nil
}

// numberError tells a number too big from what is no number at all.
func numberError(err error, unfit func() error) error {
	if errors.Is(err, strconv.ErrRange) {
		return errors.New("the number is too big")
	}
	return unfit()
}

// isSecret tells whether v never prints itself.
func isSecret(v reflect.Value) bool { return v.Type() == reflect.TypeFor[setting.Secret]() }

// displayText is a decoded value as text.
func displayText(v reflect.Value) string {
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		text, err := m.MarshalText()
		if err == nil {
			return string(text)
		}
	}
	return fmt.Sprint(v.Interface())
}

// shownText is a given value as `config show` prints it: references as they were written, passwords as stars.
func shownText(n *yaml.Node, v reflect.Value) string {
	switch {
	case isSecret(v) && !onlyReferences(n.Value):
		return displayText(v)
	case hasReference(n.Value):
		return maskLine(n.Value)
	}
	return Redact(n.Value)
}

// hideExpanded keeps what a reference brought in out of an error's text.
func hideExpanded(message, raw, expanded string) string {
	if raw == expanded {
		return message
	}
	return strings.ReplaceAll(strings.ReplaceAll(message, strconv.Quote(expanded), "its value"), expanded, "its value")
}

// scalarNode is an effective value with its origin.
func scalarNode(v reflect.Value, text, origin string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Value: text, LineComment: origin}
	if v.Kind() == reflect.String || text == "" {
		n.Tag = "!!str"
	}
	return n
}

// sortPairs puts a mapping's pairs in the order of their lines.
func sortPairs(n *yaml.Node) {
	type pair struct{ key, value *yaml.Node }
	pairs := make([]pair, 0, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		pairs = append(pairs, pair{n.Content[i], n.Content[i+1]})
	}
	slices.SortStableFunc(pairs, func(a, b pair) int {
		return cmp.Or(cmp.Compare(a.key.Line, b.key.Line), cmp.Compare(a.key.Value, b.key.Value))
	})
	n.Content = n.Content[:0]
	for _, p := range pairs {
		n.Content = append(n.Content, p.key, p.value)
	}
}
