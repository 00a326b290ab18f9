package oracle

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// node is a schema of Kafka Connect, as a record has it beside its payload.
type node struct {
	Type       string
	Name       string
	Field      string
	Parameters map[string]string
	Fields     []node
	Items      *node
}

// Envelopes reads records of the format debezium-json with schemas. It remembers each topic's last schemas, which are most of
// such a record. The zero Envelopes is ready; one goroutine uses it.
type Envelopes struct {
	seen map[string]*seenSchema // by topic, and what it is of
}

// seenSchema is what a key or a value began with, up to its payload.
type seenSchema struct {
	head   []byte
	schema node
}

// open takes a key or a value apart.
func (e *Envelopes) open(of string, text []byte) (*node, []byte, error) {
	if s := e.seen[of]; s != nil && bytes.HasPrefix(text, s.head) && len(text) > len(s.head) {
		return &s.schema, text[len(s.head) : len(text)-1], nil
	}
	var parts struct {
		Schema  node
		Payload json.RawMessage
	}
	if err := json.Unmarshal(text, &parts); err != nil {
		return nil, nil, fmt.Errorf("reading what has its schema beside it: %w", err)
	}
	if head, ok := bytes.CutSuffix(text, append(parts.Payload, '}')); ok {
		if e.seen == nil {
			e.seen = map[string]*seenSchema{}
		}
		e.seen[of] = &seenSchema{head: head, schema: parts.Schema}
	}
	return &parts.Schema, parts.Payload, nil
}

// unavailable stands for a value that was not sent.
const unavailable = "__debezium_unavailable_value"

// Plain is a record of the format debezium-json, with schemas, as it would be in the format json; other records it leaves as
// they are. It goes by the schema that stands beside each value, as Debezium's readers do, and shares nothing with what
// writes it. Of an image before it keeps the
// key alone, if there is one: what else it holds may be made up for what the source did not send.
func (e *Envelopes) Plain(r *kgo.Record) (*kgo.Record, error) {
	if !bytes.HasPrefix(r.Value, []byte(`{"schema":`)) {
		return r, nil
	}
	schema, payload, err := e.open(r.Topic, r.Value)
	if err != nil {
		return nil, err
	}
	var change map[string]json.RawMessage
	if err := json.Unmarshal(payload, &change); err != nil {
		return nil, fmt.Errorf("reading an envelope: %w", err)
	}
	var key []string
	if r.Key != nil {
		keys, _, err := e.open(r.Topic+" key", r.Key)
		if err != nil {
			return nil, err
		}
		for _, f := range keys.Fields {
			key = append(key, f.Field)
		}
	}
	for _, f := range schema.Fields {
		if f.Field != "before" && f.Field != "after" {
			continue
		}
		row, unchanged, err := f.row(change[f.Field])
		if err != nil {
			return nil, fmt.Errorf("reading the image %s: %w", f.Field, err)
		}
		if f.Field == "after" && len(unchanged) > 0 {
			if change["unchanged"], err = json.Marshal(unchanged); err != nil {
				return nil, fmt.Errorf("naming what was not sent: %w", err)
			}
		}
		for name := range row {
			if f.Field == "before" && key != nil && !slices.Contains(key, name) {
				delete(row, name)
			}
		}
		if change[f.Field], err = json.Marshal(row); err != nil {
			return nil, fmt.Errorf("writing the image %s: %w", f.Field, err)
		}
	}
	out := *r
	out.Headers = slices.Clone(r.Headers)
	for i, h := range out.Headers {
		if half, ok := strings.CutPrefix(h.Key, "__debezium."); ok && (half == "newkey" || half == "oldkey") {
			out.Headers[i].Key = "rowferry." + half
		}
	}
	out.Value, err = json.Marshal(change)
	return &out, err
}

// row reads an image; nil is none. What was not sent is named beside it.
func (n *node) row(payload json.RawMessage) (row map[string]json.RawMessage, unchanged []string, err error) {
	var image map[string]json.RawMessage
	if err := json.Unmarshal(payload, &image); err != nil || image == nil {
		return nil, nil, err
	}
	row = map[string]json.RawMessage{}
	for i := range n.Fields {
		f := &n.Fields[i]
		raw, ok := image[f.Field]
		switch {
		case !ok:
			return nil, nil, fmt.Errorf("column %s is missing", f.Field)
		case f.absent(raw):
			unchanged = append(unchanged, f.Field)
			continue
		}
		if row[f.Field], err = f.value(raw); err != nil {
			return nil, nil, fmt.Errorf("reading column %s: %w", f.Field, err)
		}
	}
	if len(image) != len(n.Fields) {
		return nil, nil, fmt.Errorf("%d values for %d columns", len(image), len(n.Fields))
	}
	return row, unchanged, nil
}

// absent tells whether a value stands for one that was not sent.
func (n *node) absent(raw json.RawMessage) bool {
	if n.Type == "string" {
		return string(raw) == `"`+unavailable+`"`
	}
	var elements []int64
	if n.Type != "array" || json.Unmarshal(raw, &elements) != nil {
		return false
	}
	return slices.EqualFunc(elements, []byte(unavailable), func(n int64, b byte) bool { return n == int64(b) })
}

// value is a value as the json format has it.
func (n *node) value(raw json.RawMessage) (json.RawMessage, error) {
	if string(raw) == "null" {
		return raw, nil
	}
	switch n.Type {
	case "float", "double":
		f, err := strconv.ParseFloat(string(raw), 64)
		if err != nil || math.Abs(f) >= 1e15 || f != 0 && math.Abs(f) < 1e-4 {
			return raw, err
		}
		return strconv.AppendFloat(nil, f, 'f', -1, map[string]int{"float": 32, "double": 64}[n.Type]), nil
	case "array":
		return n.literal(raw)
	}
	var text string
	switch n.Name {
	case "org.apache.kafka.connect.data.Decimal", "io.debezium.time.ZonedTimestamp", "io.debezium.data.Json":
		if err := json.Unmarshal(raw, &text); err != nil {
			return nil, err
		}
	}
	switch n.Name {
	case "org.apache.kafka.connect.data.Decimal":
		return n.decimal(text)
	case "io.debezium.time.ZonedTimestamp":
		at, err := time.Parse(time.RFC3339Nano, text)
		return json.RawMessage(at.UTC().Format(`"2006-01-02 15:04:05.999999+00"`)), err
	case "io.debezium.data.Json":
		return json.RawMessage(text), nil
	}
	return raw, nil
}

// decimal is a number whose digits come as two's complement.
func (n *node) decimal(text string) (json.RawMessage, error) {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, err
	}
	scale, err := strconv.Atoi(n.Parameters["scale"])
	digits := new(big.Int).SetBytes(b)
	if len(b) > 0 && b[0] >= 0x80 {
		digits.Sub(digits, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	number := new(big.Rat).SetFrac(digits, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil))
	return json.RawMessage(`"` + number.FloatString(scale) + `"`), err
}

// literal is an array as Postgres prints it.
func (n *node) literal(raw json.RawMessage) (json.RawMessage, error) {
	var elements []json.RawMessage
	if err := json.Unmarshal(raw, &elements); err != nil {
		return nil, err
	}
	texts := make([]string, len(elements))
	for i, raw := range elements {
		one, err := n.Items.value(raw)
		if err != nil {
			return nil, err
		}
		texts[i] = string(one)
		if texts[i] == "null" {
			texts[i] = "NULL"
			continue
		}
		if texts[i][0] != '"' {
			continue
		}
		var text string
		if err := json.Unmarshal(one, &text); err != nil {
			return nil, err
		}
		if texts[i] = text; text == "" || strings.EqualFold(text, "NULL") || strings.ContainsAny(text, "{},\"\\ \t\n\r\v\f") {
			texts[i] = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
		}
	}
	return json.Marshal("{" + strings.Join(texts, ",") + "}")
}
