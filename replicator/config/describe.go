package config

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/rowferry/rowferry/schema/setting"
)

// Comments documents settings: import path, type and field to the field's comment. A generator takes them from
// the source text, so that the program can explain every key.
type Comments map[string]string

// Key is one setting, described.
type Key struct {
	Path     string `json:"path"` // "pipelines.NAME.source.slot.name"
	Kind     string `json:"kind,omitempty"`
	Type     string `json:"type"`
	Default  string `json:"default,omitempty"`
	Required bool   `json:"required,omitempty"`
	Doc      string `json:"doc"`
	Section  bool   `json:"section,omitempty"` // holds other settings
}

// Describe lists every setting there is, sections before what they hold, each connector's after the common ones.
func Describe(kinds Kinds, comments Comments) []Key {
	d := describer{kinds: kinds, comments: comments}
	d.structs([]reflect.Type{reflect.TypeFor[File]()}, "", "")
	return d.keys
}

type describer struct {
	kinds    Kinds
	comments Comments
	keys     []Key
}

// structs describes the settings of structs that share a mapping.
func (d *describer) structs(types []reflect.Type, path, kind string) {
	for _, f := range typeFields(types, path) {
		d.keys = append(d.keys, Key{
			Path: f.path, Kind: kind, Type: typeName(f.typ), Default: f.fallback, Required: f.required,
			Doc: d.comments[f.owner], Section: isSection(f.typ),
		})
		d.inside(f.typ, f.path, kind)
	}
}

// inside describes what a setting holds.
func (d *describer) inside(t reflect.Type, path, kind string) {
	switch {
	case t == reflect.TypeFor[Source]():
		d.connectors(t, d.kinds.Sources, path)
	case t == reflect.TypeFor[Target]():
		d.connectors(t, d.kinds.Targets, path)
	case isText(t):
	case t.Kind() == reflect.Struct:
		d.structs([]reflect.Type{t}, path, kind)
	case t.Kind() == reflect.Pointer:
		d.inside(t.Elem(), path, kind)
	case t.Kind() == reflect.Map:
		d.inside(t.Elem(), path+".NAME", kind)
	case t.Kind() == reflect.Slice:
		d.inside(t.Elem(), path+"[]", kind)
	}
}

// connectors describes the common settings, then those of each connector.
func (d *describer) connectors(common reflect.Type, kinds []Kind, path string) {
	d.structs([]reflect.Type{common}, path, "")
	for _, k := range kinds {
		d.structs([]reflect.Type{reflect.TypeOf(k.New()).Elem()}, path, k.Name)
	}
}

// typeField is a field of a type, without a value.
type typeField struct {
	field
	typ reflect.Type
}

// typeFields lists the settings of types that share a mapping.
func typeFields(types []reflect.Type, path string) []typeField {
	var out []typeField
	for _, t := range types {
		for _, f := range fieldsOf([]reflect.Value{reflect.New(t).Elem()}, path) {
			out = append(out, typeField{f, f.value.Type()})
		}
	}
	return out
}

// isText tells whether values of the type are written as one text.
func isText(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// isSection tells whether a setting holds others.
func isSection(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Struct:
		return !isText(t)
	case reflect.Map, reflect.Slice, reflect.Pointer:
		return isSection(t.Elem())
	}
	return false
}

// typeName says in words what a setting takes.
func typeName(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[setting.Duration]():
		return "duration"
	case reflect.TypeFor[setting.Size]():
		return "size"
	case reflect.TypeFor[setting.Span]():
		return "durations, from..to"
	case reflect.TypeFor[setting.Secret]():
		return "secret"
	case reflect.TypeFor[setting.Pattern]():
		return "table pattern"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "whole number"
	case reflect.Float32, reflect.Float64:
		return "number"
	case reflect.Slice:
		return "list of " + typeName(t.Elem())
	case reflect.Map:
		return typeName(t.Elem()) + " by name"
	case reflect.Pointer:
		return typeName(t.Elem())
	case reflect.Struct:
		if !isText(t) {
			return "section"
		}
	}
	return "text"
}

// Find gives the keys a user may mean by text: a whole path, with real names or NAME in the place of names, or
// the end of one.
func Find(keys []Key, text string) []Key {
	var found []Key
	for _, k := range keys {
		if pathMatches(k.Path, text) {
			found = append(found, k)
		}
	}
	return found
}

// pathMatches compares paths from their ends, part by part.
func pathMatches(path, text string) bool {
	parts, asked := strings.Split(strings.ReplaceAll(path, "[]", ""), "."), strings.Split(dropIndexes(text), ".")
	if len(asked) > len(parts) {
		return false
	}
	for i := range asked {
		part, want := parts[len(parts)-1-i], asked[len(asked)-1-i]
		if part != want && part != "NAME" {
			return false
		}
	}
	return true
}

// dropIndexes takes [0] and [] out of a path.
func dropIndexes(text string) string {
	for {
		open := strings.IndexByte(text, '[')
		if open < 0 {
			return text
		}
		end := strings.IndexByte(text[open:], ']')
		if end < 0 {
			return text
		}
		text = text[:open] + text[open+end+1:]
	}
}

// Undocumented lists settings without a comment: the generator refuses to go on with any.
func Undocumented(keys []Key) []string {
	var out []string
	for _, k := range keys {
		if strings.TrimSpace(k.Doc) == "" {
			out = append(out, fmt.Sprintf("%s %s", k.Path, k.Kind))
		}
	}
	return slices.Compact(out)
}
