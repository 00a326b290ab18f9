package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"os"
	"regexp"
	"slices"
	"strings"
)

// record is one record of a topic.
type record struct {
	Topic   string            `json:"topic"`
	Offset  int64             `json:"offset"`
	Key     json.RawMessage   `json:"key"`
	Value   json.RawMessage   `json:"value"`
	Headers map[string]string `json:"headers,omitempty"`
}

// prefixOf is what the names of a recording's topics begin with.
func prefixOf(records []record) string {
	shortest := records[0].Topic
	for _, r := range records {
		if len(r.Topic) < len(shortest) {
			shortest = r.Topic
		}
	}
	prefix, _, _ := strings.Cut(shortest, ".")
	return prefix
}

// byTopic sorts records by what follows the prefix in their topic's name, and makes equal what has to differ: the prefix
// wherever it stands, positions, times, and numbers of transactions, never in a key, before or after.
func byTopic(records []record, prefix string) map[string][]any {
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
		if payload, ok := at(key, "payload").(*object); ok && topic == ".transaction" {
			payload.mask("id")
		}
		masked(at(value, "payload"))
		renamed(at(key, "schema"), prefix)
		renamed(at(value, "schema"), prefix)
		out[topic] = append(out[topic], &object{keys: []string{"key", "value", "headers"},
			values: map[string]any{"key": key, "value": value, "headers": &headers}})
	}
	return out
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

// allowance is a difference that is accepted, by patterns of topic and path.
type allowance struct {
	topic, path string
	sometimes   bool // it depends on who is quicker
	used        int
}

// allowedLine is a line of the table on the page of differences: | `topic` | `path` | reason |
var allowedLine = regexp.MustCompile("^\\| `([^`]+)` \\| `([^`]+)` \\| (At times: )?\\S")

// readAllowed reads the page that lists accepted differences.
func readAllowed(file string) ([]*allowance, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the accepted differences: %w", err)
	}
	var out []*allowance
	for line := range strings.SplitSeq(string(text), "\n") {
		if found := allowedLine.FindStringSubmatch(line); found != nil {
			out = append(out, &allowance{topic: found[1], path: found[2], sometimes: found[3] != ""})
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("reading the accepted differences: %s has no line of the table", file)
	}
	return out, nil
}

// allows tells whether a difference is accepted. In patterns * stands for any text.
func (a *allowance) allows(topic, path string) bool {
	return glob(a.topic, topic) && glob(a.path, path)
}

// glob matches a text with a pattern of which only * is special.
func glob(pattern, text string) bool {
	quoted := strings.NewReplacer(`\*`, ".*").Replace(regexp.QuoteMeta(pattern))
	return regexp.MustCompile("^" + quoted + "$").MatchString(text)
}

// comparison counts.
type comparison struct {
	allowed      []*allowance
	differences  []string
	equal, total int
}

// all compares records topic by topic, each in its order.
func (c *comparison) all(recorded, ours map[string][]any) {
	topics := maps.Clone(recorded)
	maps.Copy(topics, ours)
	for _, topic := range slices.Sorted(maps.Keys(topics)) {
		theirs, mine := recorded[topic], ours[topic]
		c.total += len(theirs)
		if len(theirs) != len(mine) && !c.accepted(topic, "{count}") {
			c.differences = append(c.differences, fmt.Sprintf("%s: %d records recorded, %d ours", topic, len(theirs), len(mine)))
		}
		for i := range min(len(theirs), len(mine)) {
			before := len(c.differences)
			walk(theirs[i], mine[i], "", func(path string, a, b any) {
				if !c.accepted(topic, path) {
					c.differences = append(c.differences, fmt.Sprintf("%s #%d %s: recorded %s, ours %s", topic, i, path, show(a), show(b)))
				}
			})
			if len(c.differences) == before {
				c.equal++
			}
		}
	}
}

// accepted tells whether a difference is on the page.
func (c *comparison) accepted(topic, path string) bool {
	for _, a := range c.allowed {
		if a.allows(topic, path) {
			a.used++
			return true
		}
	}
	return false
}

// javaObject is the id of a Java object, which Debezium prints where it should print an array.
var javaObject = regexp.MustCompile(`(\[L[\w.]+;|[\w.$]{8,})@[0-9a-f]{4,8}$`)

// absent is what is not there, which is not null.
type absent struct{}

// walk tells every difference of two values, each with its path.
func walk(a, b any, where string, tell func(path string, a, b any)) {
	switch x := a.(type) {
	case *object:
		y, ok := b.(*object)
		if !ok {
			tell(where, a, b)
			return
		}
		walkObjects(x, y, where, tell)
		return
	case []any:
		y, ok := b.([]any)
		if !ok {
			tell(where, a, b)
			return
		}
		walkLists(x, y, where, tell)
		return
	case string:
		if javaObject.MatchString(x) {
			return
		}
	}
	if !sameScalar(a, b) {
		tell(where, a, b)
	}
}

func walkObjects(a, b *object, where string, tell func(path string, a, b any)) {
	if !slices.Equal(a.keys, b.keys) && slices.Equal(slices.Sorted(slices.Values(a.keys)), slices.Sorted(slices.Values(b.keys))) {
		tell(where+"{order}", fmt.Sprint(a.keys), fmt.Sprint(b.keys))
	}
	keys := slices.Clone(a.keys)
	for _, k := range b.keys {
		if !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	for _, k := range keys {
		x, inA := a.values[k]
		y, inB := b.values[k]
		switch {
		case !inA:
			tell(where+"."+k, absent{}, y)
		case !inB:
			tell(where+"."+k, x, absent{})
		default:
			walk(x, y, where+"."+k, tell)
		}
	}
}

// walkLists goes by place; a field of a schema is called by its name where both agree on it.
func walkLists(a, b []any, where string, tell func(path string, a, b any)) {
	if len(a) != len(b) {
		tell(where+"[len]", len(a), len(b))
	}
	for i := range min(len(a), len(b)) {
		name := fmt.Sprint(i)
		if field, ok := at(a[i], "field").(string); ok && field == at(b[i], "field") {
			name = field
		}
		walk(a[i], b[i], where+"["+name+"]", tell)
	}
}

// sameScalar compares what is no object and no list. Numbers are equal when they mean the same one.
func sameScalar(a, b any) bool {
	x, isNumber := a.(json.Number)
	y, both := b.(json.Number)
	if !isNumber || !both {
		return a == b
	}
	if x == y {
		return true
	}
	p, okP := new(big.Rat).SetString(string(x))
	q, okQ := new(big.Rat).SetString(string(y))
	return okP && okQ && p.Cmp(q) == 0
}

// show spells a value for people.
func show(x any) string {
	switch x := x.(type) {
	case absent:
		return "<absent>"
	case *object:
		return fmt.Sprintf("object %v", x.keys)
	}
	return fmt.Sprintf("%.160q", fmt.Sprint(x))
}
