package apply

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks"
)

func TestVerifyClaim(t *testing.T) {
	claim := sinks.Claim{Pipeline: "p", Source: "pg:1", Fingerprint: "f"}
	tests := []struct {
		name string
		rows []LedgerRow
		code string
	}{
		{"nothing yet", nil, ""},
		{"the same", []LedgerRow{{Source: "pg:1", Fingerprint: "f"}, {Source: "pg:1", Fingerprint: "f"}}, ""},
		{"another source", []LedgerRow{{Source: "pg:2", Fingerprint: "f"}}, CodeOtherSource},
		{"another scope", []LedgerRow{{Source: "pg:1", Fingerprint: "f"}, {Source: "pg:1", Fingerprint: "g"}}, CodeScopeChanged},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := VerifyClaim(tt.rows, claim)
			if tt.code == "" {
				if err != nil {
					t.Errorf("got %v, want nil", err)
				}
				return
			}
			if f := fault.Of(err); f.Code != tt.code || f.Class != fault.Terminal || f.Remedy == "" {
				t.Errorf("got %v, want a halt with code %s and a remedy", err, tt.code)
			}
		})
	}
}

func TestHeldOf(t *testing.T) {
	at := func(token string) schema.Position { return schema.Position{Format: "t/1", Token: token} }
	got := HeldOf([]LedgerRow{
		{Lane: 0, Seq: 7, Position: at("g"), Phase: schema.PhaseStream, Made: []string{"slot:s"}},
		{Lane: 1, Seq: 9, Position: at("i"), Phase: schema.PhaseStream, Made: []string{"slot:s", "table:t"}},
		{Lane: 2},
	})
	want := sinks.Held{Seq: 9, Position: at("i"), Phase: schema.PhaseStream, Made: []string{"slot:s", "table:t"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := HeldOf(nil); !got.Position.IsZero() {
		t.Errorf("got %v of no rows, want nothing", got.Position)
	}
}
