package debezium

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/wire"
)

// column is how the values of one column, or of the elements of its arrays, are written.
type column struct {
	label     string // its name as a field
	name      []byte // "name":
	schema    connectSchema
	write     writer
	null      []byte // what stands for NULL
	unchanged []byte // what stands for a value that was not sent
	scale     int    // digits behind the point, bits of a float, or nanoseconds of a unit
	binary    binaryForm
	optional  bool
	text      bool // a text that Debezium takes as it comes
	element   bool // of an array
	elem      *column
	zero      string // what stands for NULL where that is not allowed: a canonical text
	zeroJSON  string // the same as it is written, where it has no such text
	toast     toastForm
}

// toastForm is what becomes of the placeholder for a value that was not sent.
type toastForm uint8

const (
	toastNull    toastForm = iota // it does not fit the type, and NULL stands there
	toastText                     // itself
	toastBytes                    // its bytes, or itself where bytes are hex; the other forms of bytes have none
	toastTexts                    // an array with itself as the only element
	toastNumbers                  // an array with its bytes as numbers
	toastPair                     // an hstore with itself as key and value
)

// typeName is a type as Postgres spells it, taken apart.
type typeName struct {
	name      string // without schema, quotes and modifiers
	modifiers []int
	array     bool
	qualified bool // in a schema: not built in
}

// parseType reads what format_type printed: public."Mood"[], numeric(10,2), timestamp(3) without time zone.
func parseType(text string) typeName {
	var t typeName
	text, t.array = strings.CutSuffix(text, "[]")
	if open := strings.IndexByte(text, '('); open >= 0 && !strings.HasSuffix(text, `"`) {
		if end := strings.IndexByte(text[open:], ')'); end > 0 {
			for part := range strings.SplitSeq(text[open+1:open+end], ",") {
				n, _ := strconv.Atoi(strings.TrimSpace(part))
				t.modifiers = append(t.modifiers, n)
			}
			text = text[:open] + text[open+end+1:]
		}
	}
	quoted := false
	for i := len(text) - 1; i >= 0; i-- {
		if text[i] == '"' {
			quoted = !quoted
		}
		if text[i] == '.' && !quoted {
			text, t.qualified = text[i+1:], true
			break
		}
	}
	if strings.HasPrefix(text, `"`) && strings.HasSuffix(text, `"`) && len(text) > 1 {
		text = strings.ReplaceAll(text[1:len(text)-1], `""`, `"`)
	}
	t.name = text
	return t
}

// modifier is the first modifier, or what holds without one.
func (t *typeName) modifier(otherwise int) int {
	if len(t.modifiers) == 0 {
		return otherwise
	}
	return t.modifiers[0]
}

// compile decides how a column is written. ok is false for one that is left out.
func (c *Config) compile(from *schema.Column) (out column, ok bool) {
	t := parseType(from.Base)
	if t.array {
		out, ok = c.array(from, t)
	} else {
		out, ok = c.scalar(t, from.Kind, from.Labels)
	}
	if !ok {
		return out, false
	}
	out.label = adjusted(from.Name, c.FieldNames, false)
	out.name = append(wire.AppendString(nil, []byte(out.label)), ':')
	out.optional = !from.NotNull
	out.schema.optional = out.optional
	c.settle(&out, from, t)
	return out, true
}

// settle decides what stands for NULL and for what was not sent, and the default that the schema tells.
func (c *Config) settle(out *column, from *schema.Column, t typeName) {
	var s scratch
	var fallback []byte
	if text, ok := defaultText(from, t); ok && out.schema.kind != "struct" {
		if written, ok := out.write(&s, nil, []byte(text), out); ok {
			fallback = written
		}
	}
	out.schema.fallback = fallback
	switch {
	case fallback != nil && (c.NullAsDefault || !out.optional):
		out.null = fallback
	case out.optional:
		out.null = []byte("null")
	default:
		out.null = []byte(out.zeroJSON)
		if out.zeroJSON == "" {
			written, ok := out.write(&s, nil, []byte(out.zero), out)
			if !ok {
				written = []byte("null")
			}
			out.null = written
		}
	}
	out.unchanged = c.unchanged(out)
}

// unchanged is what stands for a value that was not sent.
func (c *Config) unchanged(out *column) []byte {
	placeholder := c.placeholder()
	quoted := wire.AppendString(nil, placeholder)
	switch out.toast {
	case toastText:
		return quoted
	case toastBytes:
		switch c.Binary {
		case "bytes":
			return appendBase64(nil, placeholder)
		case "hex":
			return quoted
		}
	case toastTexts:
		return append(append([]byte("["), quoted...), ']')
	case toastNumbers:
		list := []byte("[")
		for i, b := range placeholder {
			if i > 0 {
				list = append(list, ',')
			}
			list = strconv.AppendInt(list, int64(int8(b)), 10)
		}
		return append(list, ']')
	case toastPair:
		object := append(append(append(append([]byte("{"), quoted...), ':'), quoted...), '}')
		if c.Hstore == "json" {
			return wire.AppendString(nil, object)
		}
		return object
	}
	return out.null
}

// string is a column of texts that are written as they come.
func stringColumn(name string) column {
	out := column{schema: plain("string"), write: writeText, text: true, zeroJSON: `""`, toast: toastText}
	if name != "" {
		out.schema = named("string", name)
	}
	return out
}

// stringTypes are the types that become texts, with the names Debezium gives those of some.
var stringTypes = map[string]string{
	"text": "", "character varying": "", "character": "", "bpchar": "", "char": "", "name": "",
	"inet": "", "cidr": "", "macaddr": "", "macaddr8": "",
	"tsrange": "", "tstzrange": "", "daterange": "", "int4range": "", "numrange": "", "int8range": "",
	"json": "io.debezium.data.Json", "jsonb": "io.debezium.data.Json", "xml": "io.debezium.data.Xml",
	"uuid": "io.debezium.data.Uuid", "tsvector": "io.debezium.data.Tsvector",
}

// extensionTypes are those of extensions that become texts.
var extensionTypes = map[string]string{"citext": "", "isbn": "", "ltree": "io.debezium.data.Ltree"}

// integerTypes are the types that become whole numbers.
var integerTypes = map[string]string{"smallint": "int16", "integer": "int32", "bigint": "int64", "oid": "int64"}

// shapes are Postgres' own geometry, beside points.
var shapes = map[string]bool{"box": true, "circle": true, "line": true, "lseg": true, "path": true, "polygon": true}

// scalar is how a type that is no array is written.
func (c *Config) scalar(t typeName, kind schema.Kind, labels []string) (column, bool) {
	if kind == schema.KindEnum {
		out := stringColumn("io.debezium.data.Enum")
		out.schema.parameters = [][2]string{{"allowed", strings.Join(labels, ",")}}
		return out, true
	}
	if t.qualified {
		return c.extension(t)
	}
	if name, ok := stringTypes[t.name]; ok {
		out := stringColumn(name)
		if t.name == "uuid" {
			out.write = writeSafe
		}
		return out, true
	}
	if kind, ok := integerTypes[t.name]; ok {
		return column{schema: plain(kind), write: writeInteger, zero: "0"}, true
	}
	switch t.name {
	case "boolean":
		return column{schema: plain("boolean"), write: writeBool, zero: "f"}, true
	case "real":
		return column{schema: plain("float"), write: writeFloat, scale: 32, zero: "0"}, true
	case "double precision":
		return column{schema: plain("double"), write: writeFloat, scale: 64, zero: "0"}, true
	case "numeric":
		return c.numeric(t), true
	case "money":
		return c.money(), true
	case "bytea":
		out := c.bytes()
		out.write, out.zero = writeBytes, `\x`
		return out, true
	case "bit", "bit varying":
		return bitColumn(t), true
	case "point":
		out := column{write: writePoint, zero: "(0,0)"}
		out.schema = structure("io.debezium.data.geometry.Point", "Geometry (POINT)",
			connectField{"x", plain("double")}, connectField{"y", plain("double")},
			connectField{"wkb", plain("bytes").asOptional()}, connectField{"srid", plain("int32").asOptional()})
		return out, true
	}
	if out, ok := c.temporal(t); ok {
		return out, true
	}
	return c.unknown(t)
}

// structure is a schema with fields.
func structure(name, doc string, fields ...connectField) connectSchema {
	return connectSchema{kind: "struct", name: name, version: 1, doc: doc, fields: fields}
}

// extension is how a type that is not built in is written.
func (c *Config) extension(t typeName) (column, bool) {
	if name, ok := extensionTypes[t.name]; ok {
		return stringColumn(name), true
	}
	switch t.name {
	case "hstore":
		if c.Hstore == "json" {
			out := stringColumn("io.debezium.data.Json")
			out.write, out.zeroJSON, out.toast = writeHstoreText, `"{}"`, toastPair
			return out, true
		}
		key, value := plain("string"), plain("string").asOptional()
		return column{
			schema: connectSchema{kind: "map", keys: &key, values: &value}, write: writeHstoreMap, toast: toastPair,
		}, true
	case "geometry", "geography":
		name := map[string]string{"geometry": "Geometry", "geography": "Geography"}[t.name]
		return column{write: writeGeometry, zeroJSON: "null", schema: structure("io.debezium.data.geometry."+name, name,
			connectField{"wkb", plain("bytes")}, connectField{"srid", plain("int32").asOptional()})}, true
	case "vector", "halfvec":
		kind, name := "double", "io.debezium.data.DoubleVector"
		if t.name == "halfvec" {
			kind, name = "float", "io.debezium.data.FloatVector"
		}
		item := plain(kind)
		out := column{schema: named("array", name), write: writeVector, zero: "[]"}
		out.schema.items = &item
		return out, true
	}
	return c.unknown(t)
}

// bytes is a column of binary values.
func (c *Config) bytes() column {
	out := column{schema: plain("string"), toast: toastBytes, zeroJSON: `""`}
	switch c.Binary {
	case "bytes":
		out.schema = plain("bytes")
	case "base64_url_safe":
		out.binary = binaryURL
	case "hex":
		out.binary = binaryHex
	}
	return out
}

// unknown is a column of a type that Debezium does not know.
func (c *Config) unknown(t typeName) (column, bool) {
	out := c.bytes()
	out.write = writeUnknown
	if shapes[t.name] && !t.qualified {
		out.write = writeShape
	}
	return out, c.UnknownTypes
}

// numeric is a column of decimal numbers.
func (c *Config) numeric(t typeName) column {
	variable := len(t.modifiers) == 0
	scale := 0
	if len(t.modifiers) > 1 {
		scale = t.modifiers[1] & 0x7ff // a negative one stays as the catalog has it, in eleven bits
	}
	switch {
	case c.Decimals == "double":
		return column{schema: plain("double"), write: writeDecimalDouble, zero: "0"}
	case c.Decimals == "string" && variable:
		return column{schema: plain("string"), write: writeDecimalText, scale: -1, zero: "0", toast: toastText}
	case c.Decimals == "string":
		return column{schema: plain("string"), write: writeDecimalText, scale: scale, zero: "0", toast: toastText}
	case variable:
		return column{write: writeVariable, zero: "0", schema: structure("io.debezium.data.VariableScaleDecimal",
			"Variable scaled decimal", connectField{"scale", plain("int32")}, connectField{"value", plain("bytes")})}
	}
	return column{write: writeDecimal, scale: scale, zero: "0", schema: named("bytes", "org.apache.kafka.connect.data.Decimal",
		[2]string{"scale", strconv.Itoa(scale)}, [2]string{"connect.decimal.precision", strconv.Itoa(t.modifiers[0])})}
}

// money is a column of amounts.
func (c *Config) money() column {
	switch c.Decimals {
	case "double":
		return column{schema: plain("double"), write: writeMoneyDouble, zero: "0"}
	case "string":
		zero := decimal{whole: []byte("0"), fraction: bytes.Repeat([]byte("0"), c.MoneyDigits)}
		return column{schema: plain("string"), write: writeMoneyText, zeroJSON: string(append(appendPlain([]byte(`"`), zero), '"')), toast: toastText}
	}
	return column{write: writeMoney, scale: c.MoneyDigits, zero: "0",
		schema: named("bytes", "org.apache.kafka.connect.data.Decimal", [2]string{"scale", strconv.Itoa(c.MoneyDigits)})}
}

// bitColumn is a column of bits: one alone is a truth value.
func bitColumn(t typeName) column {
	length := t.modifier(1)
	if t.name == "bit varying" {
		length = t.modifier(1<<31 - 1)
	}
	if length <= 1 {
		return column{schema: plain("boolean"), write: writeBit, zero: "0"}
	}
	return column{write: writeBits, zero: "0",
		schema: named("bytes", "io.debezium.data.Bits", [2]string{"length", strconv.Itoa(length)})}
}
