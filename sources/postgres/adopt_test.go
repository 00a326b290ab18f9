package postgres

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
)

func TestAdoptable(t *testing.T) {
	here := server{system: 7, timeline: 2, database: "shop", version: 150018}
	slot := func(change func(*slotInfo)) *slotInfo {
		s := &slotInfo{plugin: "pgoutput", kind: "logical", database: "shop", confirmed: 1000, restart: 900, walStatus: "reserved"}
		if change != nil {
			change(s)
		}
		return s
	}
	tests := []struct {
		name string
		slot *slotInfo
		end  LSN
		code string
		says string
	}{
		{name: "a slot at rest", slot: slot(nil), end: 5000},
		{name: "a slot at the end of the log", slot: slot(nil), end: 1000},
		{name: "no slot", end: 5000, code: "source.adopt_missing"},
		{
			name: "a slot that is read", end: 5000, code: "source.adopt_active", says: "Debezium Streaming from 10.0.0.7, server process 4711",
			slot: slot(func(s *slotInfo) {
				s.active, s.pid, s.application, s.client = true, 4711, "Debezium Streaming", "10.0.0.7"
			}),
		},
		{name: "another plugin", slot: slot(func(s *slotInfo) { s.plugin = "decoderbufs" }), end: 5000, code: "source.slot_foreign", says: "decoderbufs"},
		{name: "another database", slot: slot(func(s *slotInfo) { s.database = "other" }), end: 5000, code: "source.slot_foreign", says: "other"},
		{name: "a physical slot", slot: slot(func(s *slotInfo) { s.kind, s.plugin, s.database = "physical", "", "" }), end: 5000, code: "source.slot_foreign"},
		{name: "a slot of prepared transactions", slot: slot(func(s *slotInfo) { s.twoPhase = true }), end: 5000, code: "source.two_phase"},
		{name: "a slot that was invalidated", slot: slot(func(s *slotInfo) { s.walStatus = "lost" }), end: 5000, code: "source.slot_lost"},
		{name: "a slot ahead of the log", slot: slot(nil), end: 900, code: "source.behind"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := facts{name: "debezium", server: here, end: tt.end, slot: tt.slot}
			got, err := adoptable(f)
			if tt.code != "" {
				if e := fault.Of(err); err == nil || e.Code != tt.code || e.Class != fault.Terminal || e.Remedy == "" || !strings.Contains(e.Error(), tt.says) {
					t.Errorf("got %v, want a halt %s with a remedy that says %q", err, tt.code, tt.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := position{system: 7, timeline: 2, lsn: 1000, phase: schema.PhaseStream}
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(position{})); diff != "" {
				t.Errorf("position (-want +got):\n%s", diff)
			}
			f.from = got
			if begin, err := decide(f); begin != beginStream || err != nil {
				t.Errorf("a start from there: got %v, %v; want the stream", begin, err)
			}
		})
	}
}
