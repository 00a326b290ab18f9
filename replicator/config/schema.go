package config

import (
	"reflect"
	"strings"

	"github.com/rowferry/rowferry/schema/setting"
)

// object is a piece of a JSON Schema.
type object = map[string]any

const reference = `^.*\$\{(env|file|credential):[^}]*\}.*$`

// Schema is the JSON Schema (2020-12) of a configuration file, made from the structs that read it.
func Schema(kinds Kinds, comments Comments) map[string]any {
	s := schemer{kinds: kinds, comments: comments, defs: object{}}
	root := s.structs([]reflect.Type{reflect.TypeFor[File]()})
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "Rowferry configuration"
	root["patternProperties"] = object{"^x-": object{"description": "A place for YAML anchors; it is not read."}}
	root["properties"].(object)["version"] = object{"const": 1, "description": comments[ownerOf(reflect.TypeFor[File](), "Version")]}
	s.defs["duration"] = text(`^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h|d))+$|^0$`, "A length of time with its unit: 250ms, 10s, 5m, 2h, 7d.")
	s.defs["size"] = text(`^[0-9]+(\.[0-9]+)? *(B|[kK]B|MB|GB|TB|KiB|MiB|GiB|TiB)$|^0$`, "A number of bytes with its unit: 64MiB or 64MB.")
	s.defs["span"] = text(`^[0-9.]+[a-zµ0-9.]*\.\.[0-9.]+[a-zµ0-9.]*$`, "Two lengths of time, the shorter first: 100ms..30s.")
	root["$defs"] = s.defs
	return root
}

// text is a schema for texts of a form, or with a reference in them; 0 may be written as a number.
func text(pattern, description string) object {
	return object{"description": description, "anyOf": []any{
		object{"type": "string", "pattern": pattern}, object{"type": "string", "pattern": reference}, object{"const": 0},
	}}
}

type schemer struct {
	kinds    Kinds
	comments Comments
	defs     object
}

// structs is the schema of a mapping that fills these structs.
func (s *schemer) structs(types []reflect.Type) object {
	properties, required := object{}, []string{}
	for _, f := range typeFields(types, "") {
		schema := s.of(f.typ)
		if doc := s.comments[f.owner]; doc != "" {
			schema["description"] = strings.ReplaceAll(doc, "\n", " ")
		}
		if f.fallback != "" {
			schema["default"] = f.fallback
		}
		properties[f.key] = schema
		if f.required {
			required = append(required, f.key)
		}
	}
	out := object{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		out["required"] = required
	}
	return out
}

// of is the schema of one setting.
func (s *schemer) of(t reflect.Type) object {
	switch t {
	case reflect.TypeFor[Source]():
		return s.connectors("source", t, s.kinds.Sources)
	case reflect.TypeFor[Target]():
		return s.connectors("target", t, s.kinds.Targets)
	case reflect.TypeFor[setting.Duration]():
		return object{"$ref": "#/$defs/duration"}
	case reflect.TypeFor[setting.Size]():
		return object{"$ref": "#/$defs/size"}
	case reflect.TypeFor[setting.Span]():
		return object{"$ref": "#/$defs/span"}
	}
	if isText(t) {
		return object{"type": []any{"string", "number", "boolean"}}
	}
	switch t.Kind() {
	case reflect.Struct:
		return s.structs([]reflect.Type{t})
	case reflect.Pointer:
		return s.of(t.Elem())
	case reflect.Slice:
		return object{"type": "array", "items": s.of(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": s.of(t.Elem())}
	case reflect.Bool:
		return object{"anyOf": []any{object{"type": "boolean"}, object{"type": "string", "pattern": reference}}}
	case reflect.String:
		return object{"type": []any{"string", "number", "boolean"}}
	case reflect.Float32, reflect.Float64:
		return object{"anyOf": []any{object{"type": "number"}, object{"type": "string", "pattern": reference}}}
	}
	return object{"anyOf": []any{object{"type": "integer"}, object{"type": "string", "pattern": reference}}}
}

// connectors is a choice: the type, or else the scheme of the url, says whose settings these are.
func (s *schemer) connectors(role string, common reflect.Type, kinds []Kind) object {
	var choices []any
	for _, k := range kinds {
		name := role + "_" + k.Name
		s.defs[name] = s.structs([]reflect.Type{common, reflect.TypeOf(k.New()).Elem()})
		byType := object{"properties": object{"type": object{"const": k.Name}}, "required": []string{"type"}}
		byURL := object{
			"properties": object{"url": object{"type": "string", "pattern": "^(" + strings.Join(k.Schemes, "|") + "):"}},
			"required":   []string{"url"}, "not": object{"required": []string{"type"}},
		}
		choices = append(choices, object{
			"if": object{"anyOf": []any{byType, byURL}}, "then": object{"$ref": "#/$defs/" + name},
		})
	}
	return object{
		"type": "object", "allOf": choices,
		"anyOf": []any{object{"required": []string{"url"}}, object{"required": []string{"type"}}},
	}
}
