package debezium

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"os"
	"regexp"
	"slices"
	"strings"
)

// Page lists the differences from Debezium that are accepted, each with its reason, in the repository.
const Page = "docs/reference/debezium-differences.md"

// Allowed are the differences that are accepted.
type Allowed struct{ lines []*allowance }

// allowance is a difference that is accepted, by patterns of topic and path.
type allowance struct {
	topic, path, reason string
	sometimes           bool // it depends on who is quicker
	used                int
}

// allowedLine is a line of the table on the page of differences: | `topic` | `path` | reason |
var allowedLine = regexp.MustCompile("^\\| `([^`]+)` \\| `([^`]+)` \\| (At times: )?(\\S.*) \\|$")

// ReadAllowed reads the page that lists accepted differences.
func ReadAllowed(file string) (*Allowed, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the accepted differences: %w", err)
	}
	out := &Allowed{}
	for line := range strings.SplitSeq(string(text), "\n") {
		if found := allowedLine.FindStringSubmatch(line); found != nil {
			out.lines = append(out.lines, &allowance{topic: found[1], path: found[2], sometimes: found[3] != "", reason: found[4]})
		}
	}
	if len(out.lines) == 0 {
		return nil, fmt.Errorf("reading the accepted differences: %s has no line of the table", file)
	}
	return out, nil
}

// Unused are the lines that no record needed, though each should.
func (a *Allowed) Unused() []string {
	var unused []string
	for _, line := range a.lines {
		if line.used == 0 && !line.sometimes {
			unused = append(unused, line.topic+" "+line.path)
		}
	}
	return unused
}

// reason is why a difference is accepted; empty for one that is not. In patterns * stands for any text.
func (a *Allowed) reason(topic, path string) string {
	for _, line := range a.lines {
		if glob(line.topic, topic) && glob(line.path, path) {
			line.used++
			return line.reason
		}
	}
	return ""
}

// glob matches a text with a pattern of which only * is special.
func glob(pattern, text string) bool {
	quoted := strings.NewReplacer(`\*`, ".*").Replace(regexp.QuoteMeta(pattern))
	return regexp.MustCompile("^" + quoted + "$").MatchString(text)
}

// Difference is one.
type Difference struct {
	Topic        string // without its prefix
	Record       int    // of the topic; -1 for their number
	Path         string
	Theirs, Ours string
	Reason       string // why it is accepted; empty for one that is not
}

// String tells it in a line.
func (d Difference) String() string {
	text := fmt.Sprintf("%s #%d %s: Debezium %s, Rowferry %s", d.Topic, d.Record, d.Path, d.Theirs, d.Ours)
	if d.Record < 0 {
		text = fmt.Sprintf("%s: %s records of Debezium, %s of Rowferry", d.Topic, d.Theirs, d.Ours)
	}
	if d.Reason != "" {
		return "accepted: " + text
	}
	return text
}

// Comparison is what one found.
type Comparison struct {
	Differences  []Difference
	Equal, Total int // records, those with accepted differences among the equal ones

	allowed *Allowed
}

// Refused are the differences that are not accepted.
func (c *Comparison) Refused() []Difference {
	return slices.DeleteFunc(slices.Clone(c.Differences), func(d Difference) bool { return d.Reason != "" })
}

// all compares records topic by topic, each in its order.
func (c *Comparison) all(theirs, ours map[string][]any) {
	topics := maps.Clone(theirs)
	maps.Copy(topics, ours)
	for _, topic := range slices.Sorted(maps.Keys(topics)) {
		a, b := theirs[topic], ours[topic]
		c.Total += len(a)
		if len(a) != len(b) {
			c.add(Difference{Topic: topic, Record: -1, Path: "{count}", Theirs: fmt.Sprint(len(a)), Ours: fmt.Sprint(len(b))})
		}
		for i := range min(len(a), len(b)) {
			equal := true
			walk(a[i], b[i], "", func(path string, x, y any) {
				equal = c.add(Difference{Topic: topic, Record: i, Path: path, Theirs: show(x), Ours: show(y)}) && equal
			})
			if equal {
				c.Equal++
			}
		}
	}
}

// add takes a difference, and tells whether it is accepted.
func (c *Comparison) add(d Difference) bool {
	d.Reason = c.allowed.reason(d.Topic, d.Path)
	c.Differences = append(c.Differences, d)
	return d.Reason != ""
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
