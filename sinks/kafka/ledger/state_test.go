package ledger

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var claim = sinks.Claim{Pipeline: "shop", Source: "1/db/slot", Fingerprint: "f", Holder: "h"}

// TestStateRoundTrip: what updates write, a reader of the records finds.
func TestStateRoundTrip(t *testing.T) {
	s := NewState()
	updates := []Update{
		{Claim: &claim, Seq: 1, Position: schema.Position{Format: "t/1", Token: "a"}, Phase: schema.PhaseCreating, Made: []string{"slot:a/b", "slot:c"}},
		{Copies: map[string]*Copy{`public."a/b"`: {Schema: "public", Table: "a/b", Topic: "x"}, "public.o": {Schema: "public", Table: "o"}}},
		{State: []schema.State{{Key: "k/1", Value: []byte("\x00\xff")}, {Key: "empty", Value: []byte{}}, {Key: "gone", Value: []byte("x")}}, Topics: map[string]int32{"x": 3, "y": 1}},
		{Seq: 2, Position: schema.Position{Format: "t/1", Token: "b"}, Phase: schema.PhaseStream, State: []schema.State{{Key: "gone"}}, Copies: map[string]*Copy{"public.o": nil}, Topics: map[string]int32{"y": 0}, Made: []string{"slot:c"}},
	}
	for i := range updates {
		if err := s.Play(&updates[i]); err != nil {
			t.Fatal(err)
		}
	}
	want := State{
		Claim: claim, Seq: 2, Position: schema.Position{Format: "t/1", Token: "b"}, Phase: schema.PhaseStream,
		Made:   []string{"slot:a/b", "slot:c"},
		State:  map[string][]byte{"k/1": []byte("\x00\xff"), "empty": {}},
		Copies: map[string]Copy{`public."a/b"`: {Schema: "public", Table: "a/b", Topic: "x"}},
		Topics: map[string]int32{"x": 3},
	}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Errorf("state differs (-want +got):\n%s", diff)
	}
	held := s.Held()
	if held.Seq != 2 || len(held.State) != 2 || held.State[0].Key != "empty" || held.State[0].Value == nil {
		t.Errorf("held: got %+v", held)
	}
}

func TestDamage(t *testing.T) {
	tests := []struct{ key, value, code string }{
		{"position", "{", "target.ledger_topic_damaged"},
		{"claim", `{"version":2}`, "target.ledger_version"},
		{"other", "x", "target.ledger_topic_damaged"},
		{"topic/a", "x", "target.ledger_topic_damaged"},
		{"copy/a", "x", "target.ledger_topic_damaged"},
	}
	for _, tt := range tests {
		s := NewState()
		err := s.Apply(Record{Key: []byte(tt.key), Value: []byte(tt.value)})
		if e := fault.Of(err); e.Code != tt.code || e.Class != fault.Terminal || e.Remedy == "" {
			t.Errorf("%s = %s: got %v, want a halt with %s", tt.key, tt.value, err, tt.code)
		}
	}
}

func TestVerify(t *testing.T) {
	s := NewState()
	if err := s.Verify(claim); err != nil {
		t.Errorf("a new ledger: got %v", err)
	}
	s.Claim = claim
	tests := []struct {
		change func(c *sinks.Claim)
		code   string
	}{
		{func(*sinks.Claim) {}, ""},
		{func(c *sinks.Claim) { c.Holder = "other" }, ""},
		{func(c *sinks.Claim) { c.Pipeline = "other" }, "target.other_pipeline"},
		{func(c *sinks.Claim) { c.Source = "other" }, "target.other_source"},
		{func(c *sinks.Claim) { c.Fingerprint = "other" }, "target.scope_changed"},
	}
	for _, tt := range tests {
		c := claim
		tt.change(&c)
		if got := fault.Of(s.Verify(c)); tt.code == "" && got.Err != nil || got.Code != tt.code {
			t.Errorf("%+v: got %v, want code %q", c, got.Code, tt.code)
		}
	}
}
