package postgres

import (
	"os"
	"strings"
	"testing"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
)

// TestPositionGolden keeps every grammar that was ever written to a ledger readable.
func TestPositionGolden(t *testing.T) {
	text, err := os.ReadFile("testdata/position/postgres-1.txt")
	if err != nil {
		t.Fatal(err)
	}
	want := []position{
		{system: 7710919609784755906, timeline: 1, lsn: 0x16B374D848, phase: schema.PhaseStream},
		{system: 7710919609784755906, timeline: 3, lsn: 0x16B374D848, phase: schema.PhaseCopy},
		{system: 18446744073709551615, timeline: 4294967295, lsn: 0xFFFFFFFFFFFFFFFF, phase: schema.PhaseStream},
		{system: 1, timeline: 1, lsn: 0, phase: schema.PhaseCreating},
	}
	for i, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		from := schema.Position{Format: "postgres/1", Token: line}
		got, err := decodePosition(from)
		if err != nil {
			t.Fatalf("line %d: %v", i+1, err)
		}
		if got != want[i] {
			t.Errorf("line %d: got %+v, want %+v", i+1, got, want[i])
		}
		if back := got.encode(); back != from {
			t.Errorf("line %d: got %v back, want %v", i+1, back, from)
		}
	}
}

func TestPositionRefused(t *testing.T) {
	tests := []struct{ name, format, token string }{
		{"another format", "mysql/1", "1/1/0/stream"},
		{"a later format", "postgres/2", "1/1/0/stream"},
		{"empty", positionFormat, ""},
		{"three parts", positionFormat, "1/1/0"},
		{"five parts", positionFormat, "1/1/0/16B3748/stream"},
		{"an unknown phase", positionFormat, "1/1/0/streaming"},
		{"lower-case LSN", positionFormat, "1/1/16b3748/stream"},
		{"leading zero", positionFormat, "01/1/0/stream"},
		{"LSN with leading zero", positionFormat, "1/1/00/stream"},
		{"a sign", positionFormat, "+1/1/0/stream"},
		{"underscores", positionFormat, "1_0/1/0/stream"},
		{"hex prefix", positionFormat, "1/1/0x1/stream"},
		{"a timeline too large", positionFormat, "1/4294967296/0/stream"},
		{"a space", positionFormat, "1/1/0/stream "},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := decodePosition(schema.Position{Format: test.format, Token: test.token})
			wantFault(t, err, "source.position", fault.Terminal)
		})
	}
}

func FuzzPosition(f *testing.F) {
	f.Add("7710919609784755906/1/16B374D848/stream")
	f.Add("1/1/0/creating")
	f.Fuzz(func(t *testing.T, token string) {
		from := schema.Position{Format: positionFormat, Token: token}
		p, err := decodePosition(from)
		if err != nil {
			return
		}
		if back := p.encode(); back != from {
			t.Fatalf("got %v back, want %v", back, from)
		}
	})
}

func TestLSN(t *testing.T) {
	tests := []struct {
		text string
		want LSN
		back string
	}{
		{"0/0", 0, "0/0"},
		{"0/16B3748", 0x16B3748, "0/16B3748"},
		{"16/B374D848", 0x16B374D848, "16/B374D848"},
		{"16/0000000A", 0x160000000A, "16/A"}, // Postgres 19 pads
		{"FFFFFFFF/FFFFFFFF", 0xFFFFFFFFFFFFFFFF, "FFFFFFFF/FFFFFFFF"},
	}
	for _, test := range tests {
		got, err := parseLSN(test.text)
		if err != nil || got != test.want || got.String() != test.back {
			t.Errorf("%s: got %v %v, want %v", test.text, got, err, test.back)
		}
	}
	for _, text := range []string{"", "0", "/", "0/", "/0", "0/G", "0/123456789", "-1/0", "0/0/0"} {
		if got, err := parseLSN(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
}
