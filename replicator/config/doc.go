// Package config reads the configuration file: YAML into typed structs, every problem at once with its place and
// a way out, secrets by reference. It knows no connector: the program hands it a [Kinds] table of prototypes.
//
// A field of a configuration struct has a `yaml` tag with its key and may have a `default` tag; its comment is its
// documentation. Values are read as text, references such as ${env:NAME} are replaced, and the text is parsed for
// the field's type: bool, integers, floats, strings, anything with UnmarshalText, and structs, slices, maps with
// text keys and pointers of these. A struct may check itself with `Validate() []error`; an error that begins with
// the path of a key, as in "slot.name: may hold only a-z, 0-9 and _", is shown at that key.
package config
