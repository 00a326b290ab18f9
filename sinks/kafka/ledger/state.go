package ledger

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks"
)

// version of the records. A program refuses a ledger with a newer one.
const version = 1

// State is what a ledger says.
type State struct {
	Claim    sinks.Claim // of the last writer; zero when nothing was ever committed
	Seq      int64
	Position schema.Position
	Phase    schema.Phase
	Made     []string
	State    map[string][]byte // of the source
	Copies   map[string]Copy   // by the table's full name; empty unless a copy is under way
	Topics   map[string]int32  // partitions by topic
}

// NewState is a state that says nothing.
func NewState() State {
	return State{State: map[string][]byte{}, Copies: map[string]Copy{}, Topics: map[string]int32{}}
}

// Copy is a table whose existing rows are being copied.
type Copy struct {
	Schema string `json:"schema"`
	Table  string `json:"table"`
	Topic  string `json:"topic"`
}

// Record is one record of the ledger. A nil Value removes the key.
type Record struct{ Key, Value []byte }

type claimValue struct {
	Version     int    `json:"version"`
	Pipeline    string `json:"pipeline"`
	Source      string `json:"source"`
	Fingerprint string `json:"fingerprint"`
	Holder      string `json:"holder"`
}

type positionValue struct {
	Seq    int64        `json:"seq"`
	Phase  schema.Phase `json:"phase"`
	Format string       `json:"format"`
	Token  string       `json:"token"`
}

type topicValue struct {
	Partitions int32 `json:"partitions"`
}

// The keys, and the beginnings of keys.
const (
	keyClaim    = "claim"
	keyPosition = "position"
	atMade      = "made/"
	atState     = "state/"
	atCopy      = "copy/"
	atTopic     = "topic/"
)

// Update is what a commit changes.
type Update struct {
	Claim    *sinks.Claim // set in a writer's first commit
	Seq      int64
	Position schema.Position // zero leaves seq, position and phase as they are
	Phase    schema.Phase
	Made     []string
	State    []schema.State
	Copies   map[string]*Copy // nil removes
	Topics   map[string]int32 // 0 removes
}

// Empty tells whether the update changes nothing.
func (u *Update) Empty() bool {
	return u.Claim == nil && u.Position.IsZero() && len(u.Made) == 0 && len(u.State) == 0 && len(u.Copies) == 0 && len(u.Topics) == 0
}

// Records are the records an update is written as. The position comes last: where there are no transactions, what is
// cut off behind a position is written again.
func (u *Update) Records() []Record {
	var out []Record
	add := func(key string, value any) {
		text, err := json.Marshal(value)
		if err != nil {
			panic(err) // texts and numbers only
		}
		out = append(out, Record{Key: []byte(key), Value: text})
	}
	remove := func(key string) { out = append(out, Record{Key: []byte(key)}) }
	if c := u.Claim; c != nil {
		add(keyClaim, claimValue{version, c.Pipeline, string(c.Source), c.Fingerprint, c.Holder})
	}
	for _, name := range u.Made {
		add(atMade+name, true)
	}
	for _, s := range u.State {
		out = append(out, Record{Key: []byte(atState + s.Key), Value: s.Value})
	}
	for _, name := range slices.Sorted(maps.Keys(u.Copies)) {
		if c := u.Copies[name]; c != nil {
			add(atCopy+name, c)
		} else {
			remove(atCopy + name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(u.Topics)) {
		if n := u.Topics[name]; n > 0 {
			add(atTopic+name, topicValue{n})
		} else {
			remove(atTopic + name)
		}
	}
	if !u.Position.IsZero() {
		add(keyPosition, positionValue{u.Seq, u.Phase, u.Position.Format, u.Position.Token})
	}
	return out
}

// Apply plays one record.
func (s *State) Apply(r Record) error {
	key := string(r.Key)
	gone := r.Value == nil
	begin, name, _ := strings.Cut(key, "/")
	switch begin + "/" {
	case atMade:
		s.Made = slices.DeleteFunc(s.Made, func(made string) bool { return made == name })
		if !gone {
			s.Made = append(s.Made, name)
		}
	case atState:
		delete(s.State, name)
		if !gone {
			s.State[name] = slices.Clone(r.Value)
		}
	case atCopy:
		delete(s.Copies, name)
		if !gone {
			var c Copy
			if err := read(key, r.Value, &c); err != nil {
				return err
			}
			s.Copies[name] = c
		}
	case atTopic:
		delete(s.Topics, name)
		if !gone {
			var t topicValue
			if err := read(key, r.Value, &t); err != nil {
				return err
			}
			s.Topics[name] = t.Partitions
		}
	default:
		return s.applyHead(key, r.Value)
	}
	return nil
}

// applyHead plays a claim or a position.
func (s *State) applyHead(key string, value []byte) error {
	switch key {
	case keyClaim:
		var c claimValue
		if value != nil {
			if err := read(key, value, &c); err != nil {
				return err
			}
			if c.Version != version {
				return fault.Halt("target.ledger_version", fmt.Errorf("the ledger has version %d, this program writes %d", c.Version, version),
					"run the release that wrote it")
			}
		}
		s.Claim = sinks.Claim{
			Pipeline: c.Pipeline, Source: schema.SourceID(c.Source), Fingerprint: c.Fingerprint, Holder: c.Holder,
		}
	case keyPosition:
		var p positionValue
		if value != nil {
			if err := read(key, value, &p); err != nil {
				return err
			}
		}
		s.Seq, s.Phase, s.Position = p.Seq, p.Phase, schema.Position{Format: p.Format, Token: p.Token}
	default:
		return Damaged(fmt.Errorf("a record has the key %q", key))
	}
	return nil
}

// read decodes a value.
func read(key string, value []byte, into any) error {
	if err := json.Unmarshal(value, into); err != nil {
		return Damaged(fmt.Errorf("reading the record %q: %w", key, err))
	}
	return nil
}

// Play plays an update as Records would.
func (s *State) Play(u *Update) error {
	for _, r := range u.Records() {
		if err := s.Apply(r); err != nil {
			return err
		}
	}
	return nil
}

// Held is the state as a sink reports it, without limits.
func (s *State) Held() sinks.Held {
	h := sinks.Held{Position: s.Position, Phase: s.Phase, Seq: s.Seq, Made: slices.Clone(s.Made)}
	for _, key := range slices.Sorted(maps.Keys(s.State)) {
		h.State = append(h.State, schema.State{Key: key, Value: s.State[key]})
	}
	return h
}

// Verify compares a claim with the last writer's. Nothing has been changed by then.
func (s *State) Verify(c sinks.Claim) error {
	was := s.Claim
	switch {
	case was == (sinks.Claim{}):
		return nil
	case was.Pipeline != c.Pipeline:
		return fault.Halt("target.other_pipeline", fmt.Errorf("the ledger belongs to pipeline %q, not to %q", was.Pipeline, c.Pipeline),
			"give this pipeline a ledger topic of its own (ledger.topic of the target)\n"+
				"or run `rowferry teardown "+was.Pipeline+"` if the other one is gone")
	case was.Source != c.Source:
		return fault.Halt("target.other_source", fmt.Errorf("the topics were written from source %s, this is %s", was.Source, c.Source),
			"point the pipeline at the source it came from\nor run `rowferry teardown "+was.Pipeline+
				"`, give it topics of their own, and copy from the new source")
	case was.Fingerprint != c.Fingerprint:
		return fault.Halt("target.scope_changed",
			fmt.Errorf("tables, filters or renames of pipeline %q are not those its topics were written with", was.Pipeline),
			"undo the change in the configuration\nor run `rowferry teardown "+was.Pipeline+"`, and copy again with the new scope")
	}
	return nil
}

// Damaged is the halt for a ledger that cannot be believed.
func Damaged(err error) error {
	return fault.Halt("target.ledger_topic_damaged", err,
		"look who writes to the ledger topic, or changed its cleanup.policy\n"+
			"or remove what is left of the pipeline with `rowferry teardown` and copy again")
}
