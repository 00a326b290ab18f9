package debezium

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/magiconair/properties"
)

// entry is one setting of a file: what it is called there, and its value.
type entry struct{ name, value string }

// settings are those of one connector, under the names that Kafka Connect has for them. The producer's begin with
// "producer.", whatever the file says before them.
type settings struct {
	server bool // the file is one of Debezium Server
	known  map[string]entry
}

// errShape says that a file is not what is read here.
var errShape = errors.New("this is no connector's configuration")

// read finds out what shape a file has, and reads it.
func read(text []byte) (*settings, error) {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	start := bytes.TrimLeft(text, " \t\r\n")
	switch {
	case len(start) == 0:
		return nil, fmt.Errorf("%w: the file is empty", errShape)
	case start[0] == '{':
		return readJSON(text)
	case start[0] == '[':
		return nil, fmt.Errorf("%w: line 1: it is a list; give the object of one connector", errShape)
	case bytes.HasPrefix(start, []byte("apiVersion:")) || bytes.HasPrefix(start, []byte("kind:")) || bytes.HasPrefix(start, []byte("---")):
		return nil, fmt.Errorf("%w: it is YAML; give what is under spec.config as JSON, or as properties", errShape)
	}
	return readProperties(text)
}

// readJSON reads the body of a request that makes a connector, or its config alone.
func readJSON(text []byte) (*settings, error) {
	var top map[string]json.RawMessage
	if err := decode(text, &top); err != nil {
		return nil, err
	}
	values, where := top, ""
	if inner, ok := top["config"]; ok {
		if values, where = nil, "config."; decode(inner, &values) != nil || values == nil {
			return nil, fmt.Errorf("%w: config: it is no object; give {\"name\": …, \"config\": {…}}", errShape)
		}
	}
	flat := make(map[string]string, len(values))
	for name, raw := range values {
		var value any
		number := json.NewDecoder(bytes.NewReader(raw))
		number.UseNumber()
		if err := number.Decode(&value); err != nil {
			return nil, fmt.Errorf("%w: %s%s: %w", errShape, where, name, err)
		}
		switch v := value.(type) {
		case nil: // as if it were not there
		case string:
			flat[name] = v
		case json.Number, bool:
			flat[name] = fmt.Sprint(v)
		default:
			return nil, fmt.Errorf("%w: %s%s: it is an object or a list; a connector's settings are texts. "+
				"Of an answer for several connectors, give what is under info of one", errShape, where, name)
		}
	}
	return fromConnect(flat), nil
}

// decode reads one JSON value, and says where it is broken.
func decode(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	err := d.Decode(into)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			line, column := place(text, d.InputOffset())
			return fmt.Errorf("%w: line %d, column %d: something follows the object; give one connector", errShape, line, column)
		}
		return nil
	}
	offset := int64(len(text))
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset
	case errors.As(err, &kind):
		offset = kind.Offset
	}
	line, column := place(text, offset)
	return fmt.Errorf("%w: line %d, column %d: it is no JSON: %w", errShape, line, column, err)
}

// place is the line and column of an offset, from 1.
func place(text []byte, offset int64) (line, column int) {
	before := text[:min(max(offset-1, 0), int64(len(text)))]
	return bytes.Count(before, []byte("\n")) + 1, len(before) - bytes.LastIndexByte(before, '\n')
}

// readProperties reads Java properties: those of Debezium Server, or of a connector for Connect's standalone worker.
func readProperties(text []byte) (*settings, error) {
	loader := properties.Loader{Encoding: properties.UTF8, DisableExpansion: true}
	p, err := loader.LoadBytes(text)
	if err != nil {
		return nil, fmt.Errorf("%w: it is neither JSON nor properties: %w", errShape, err)
	}
	flat := p.Map()
	for name := range flat {
		if strings.HasPrefix(name, "debezium.source.") {
			return fromServer(flat), nil
		}
	}
	return fromConnect(flat), nil
}

// fromConnect takes a connector's settings as they are, but for those of its producer.
func fromConnect(flat map[string]string) *settings {
	s := &settings{known: make(map[string]entry, len(flat))}
	for name, value := range flat {
		key := name
		if rest, ok := strings.CutPrefix(name, "producer.override."); ok {
			key = "producer." + rest
		}
		if name == "bootstrap.servers" {
			key = "producer." + name
		}
		s.known[key] = entry{name, value}
	}
	return s
}

// serverNames are the beginnings of Debezium Server's settings, and what stands for them here. The first that fits counts.
var serverNames = []struct{ theirs, ours string }{
	{"debezium.source.", ""},
	{"debezium.sink.kafka.producer.", "producer."},
	{"debezium.format.key.", "key.converter."},
	{"debezium.format.value.", "value.converter."},
	{"debezium.", ""},
}

// fromServer takes the settings of Debezium Server.
func fromServer(flat map[string]string) *settings {
	s := &settings{server: true, known: make(map[string]entry, len(flat))}
	for name, value := range flat {
		key := name
		for _, n := range serverNames {
			if rest, ok := strings.CutPrefix(name, n.theirs); ok {
				key = n.ours + rest
				break
			}
		}
		s.known[key] = entry{name, value}
	}
	return s
}

// value is a setting's value; ok tells whether the file has it, and it is not empty.
func (s *settings) value(key string) (value string, ok bool) {
	e := s.known[key]
	value = strings.TrimSpace(e.value)
	return value, value != ""
}

// name is what the file calls a setting, or would.
func (s *settings) name(key string) string {
	if e, ok := s.known[key]; ok {
		return e.name
	}
	if !s.server {
		rest, ok := strings.CutPrefix(key, "producer.")
		if ok && rest != "bootstrap.servers" {
			return "producer.override." + rest
		}
		return rest
	}
	for _, n := range serverNames {
		if rest, ok := strings.CutPrefix(key, n.ours); ok && n.ours != "" {
			return n.theirs + rest
		}
	}
	return "debezium.source." + key
}

// keys lists what the file has, in order.
func (s *settings) keys() []string {
	keys := make([]string, 0, len(s.known))
	for key := range s.known {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// connector checks that the settings are those of a Postgres connector.
func (s *settings) connector() error {
	class, ok := s.value("connector.class")
	short := class[strings.LastIndexByte(class, '.')+1:]
	switch {
	case !ok:
		return fmt.Errorf("%w: there is no %s; give the JSON of a connector, or the properties of Debezium Server or of Connect", errShape, s.name("connector.class"))
	case short == "PostgresConnector":
		return nil
	case strings.HasPrefix(short, "MySql"), strings.HasPrefix(short, "MariaDb"):
		return fmt.Errorf("%s is %s: MySQL sources are not there yet. Postgres connectors can be carried over; let this one run on in Debezium",
			s.name("connector.class"), strconv.Quote(class))
	}
	return fmt.Errorf("%s is %s: only Debezium's Postgres connector, io.debezium.connector.postgresql.PostgresConnector, can be carried over",
		s.name("connector.class"), strconv.Quote(class))
}
