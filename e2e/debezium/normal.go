package debezium

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// byTopic sorts records by what follows the prefix in their topic's name, and makes equal what has to differ: the prefix
// wherever it stands, positions, times, and numbers of transactions, never in a key, before or after.
func byTopic(records []Record, prefix string) map[string][]any {
	out := map[string][]any{}
	for _, r := range records {
		headers := object{values: map[string]any{}}
		for name, value := range r.Headers {
			if !strings.HasPrefix(name, "__debezium.context.") { // those of the run
				headers.keys, headers.values[name] = append(headers.keys, name), value
			}
		}
		slices.Sort(headers.keys)
		topic := strings.TrimPrefix(r.Topic, prefix)
		key, value := parse(r.Key), parse(r.Value)
		if payload, ok := payloadOf(key).(*object); ok && topic == ".transaction" {
			payload.mask("id")
		}
		masked(payloadOf(value))
		renamed(at(key, "schema"), prefix)
		renamed(at(value, "schema"), prefix)
		out[topic] = append(out[topic], &object{keys: []string{"key", "value", "headers"},
			values: map[string]any{"key": key, "value": value, "headers": &headers}})
	}
	return out
}

// payloadOf is what a key or a value says, which is all of it where no schema stands beside it.
func payloadOf(x any) any {
	if o, ok := x.(*object); ok && slices.Equal(o.keys, []string{"schema", "payload"}) {
		return o.values["payload"]
	}
	return x
}

// masked hides what has to differ in the payload of a value.
func masked(payload any) {
	p, ok := payload.(*object)
	if !ok {
		return
	}
	p.mask("ts_ms", "ts_us", "ts_ns")
	if source, ok := p.values["source"].(*object); ok {
		source.mask("version", "name", "lsn", "sequence", "txId", "xmin", "ts_ms", "ts_us", "ts_ns", "db")
	}
	if transaction, ok := p.values["transaction"].(*object); ok {
		transaction.mask("id")
	}
	if _, ok := p.values["status"]; ok {
		p.mask("id")
	}
}

// renamed replaces the prefix in the names of schemas.
func renamed(x any, prefix string) any {
	switch x := x.(type) {
	case *object:
		for k, v := range x.values {
			x.values[k] = renamed(v, prefix)
		}
	case []any:
		for i := range x {
			x[i] = renamed(x[i], prefix)
		}
	case string:
		if rest, ok := strings.CutPrefix(x, prefix); ok && (rest == "" || rest[0] == '.') {
			return "PREFIX" + rest
		}
	}
	return x
}

// object is a JSON object that knows the order of its keys.
type object struct {
	keys   []string
	values map[string]any
}

// mask hides values that are not null.
func (o *object) mask(names ...string) {
	for _, name := range names {
		if o.values[name] != nil {
			o.values[name] = "<masked>"
		}
	}
}

// at is a field of an object, nil where there is none.
func at(x any, name string) any {
	if o, ok := x.(*object); ok {
		return o.values[name]
	}
	return nil
}

// parse reads JSON; what is none is a text of its own, which no recording has.
func parse(text []byte) any {
	if len(text) == 0 {
		return nil
	}
	from := json.NewDecoder(bytes.NewReader(text))
	from.UseNumber()
	x, err := parseNext(from)
	if err == nil {
		if _, more := from.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("something follows")
		}
	}
	if err != nil {
		return fmt.Sprintf("<no JSON: %v: %.200q>", err, text)
	}
	return x
}

func parseNext(from *json.Decoder) (any, error) {
	token, err := from.Token()
	if err != nil {
		return nil, err
	}
	switch token {
	case json.Delim('{'):
		o := &object{values: map[string]any{}}
		for from.More() {
			key, err := from.Token()
			if err != nil {
				return nil, err
			}
			name, _ := key.(string)
			if _, twice := o.values[name]; twice {
				return nil, fmt.Errorf("the key %q comes twice", name)
			}
			o.keys = append(o.keys, name)
			if o.values[name], err = parseNext(from); err != nil {
				return nil, err
			}
		}
		_, err = from.Token()
		return o, err
	case json.Delim('['):
		list := []any{}
		for from.More() {
			x, err := parseNext(from)
			if err != nil {
				return nil, err
			}
			list = append(list, x)
		}
		_, err = from.Token()
		return list, err
	}
	return token, nil
}
