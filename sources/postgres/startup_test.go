package postgres

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
)

func TestDecide(t *testing.T) {
	here := server{system: 7, timeline: 2, database: "shop", version: 150018}
	at := position{system: 7, timeline: 2, lsn: 1000, phase: schema.PhaseStream}
	ours := func(change func(*slotInfo)) *slotInfo {
		s := &slotInfo{plugin: "pgoutput", kind: "logical", database: "shop", confirmed: 1000, restart: 900, walStatus: "reserved"}
		if change != nil {
			change(s)
		}
		return s
	}
	before := position{system: 7, timeline: 1, lsn: 1000, phase: schema.PhaseStream}
	phase := func(p schema.Phase) position { q := at; q.phase = p; return q }
	tests := []struct {
		name  string
		facts facts
		want  beginning
		code  string
		class fault.Class
	}{
		{name: "nothing anywhere", facts: facts{}, want: beginNew},
		{name: "a slot nobody told us of", facts: facts{slot: ours(nil)}, code: "source.slot_exists", class: fault.Terminal},
		{name: "creating, no slot", facts: facts{from: phase(schema.PhaseCreating)}, want: beginAgain},
		{name: "creating, our slot", facts: facts{from: phase(schema.PhaseCreating), slot: ours(nil)}, want: beginAgain},
		{
			name:  "creating, a slot of another plugin",
			facts: facts{from: phase(schema.PhaseCreating), slot: ours(func(s *slotInfo) { s.plugin = "wal2json" })},
			code:  "source.slot_foreign", class: fault.Terminal,
		},
		{
			name:  "creating, a physical slot",
			facts: facts{from: phase(schema.PhaseCreating), slot: &slotInfo{kind: "physical"}},
			code:  "source.slot_foreign", class: fault.Terminal,
		},
		{
			name:  "creating, a slot of another database",
			facts: facts{from: phase(schema.PhaseCreating), slot: ours(func(s *slotInfo) { s.database = "other" })},
			code:  "source.slot_foreign", class: fault.Terminal,
		},
		{name: "copy, our slot", facts: facts{from: phase(schema.PhaseCopy), slot: ours(nil)}, want: beginAgain},
		{name: "copy, no slot", facts: facts{from: phase(schema.PhaseCopy)}, want: beginAgain},
		{name: "stream, slot behind", facts: facts{from: at, end: 5000, slot: ours(func(s *slotInfo) { s.confirmed = 500 })}, want: beginStream},
		{name: "stream, slot level", facts: facts{from: at, end: 1000, slot: ours(nil)}, want: beginStream},
		{name: "stream, no slot", facts: facts{from: at, end: 5000}, code: "source.slot_missing", class: fault.Terminal},
		{
			name:  "stream, slot ahead",
			facts: facts{from: at, end: 5000, slot: ours(func(s *slotInfo) { s.confirmed = 1001 })},
			code:  "source.gap", class: fault.Terminal,
		},
		{
			name:  "stream, log removed",
			facts: facts{from: at, end: 5000, slot: ours(func(s *slotInfo) { s.walStatus = "lost" })},
			code:  "source.slot_lost", class: fault.Terminal,
		},
		{
			name:  "stream, invalidated",
			facts: facts{from: at, end: 5000, slot: ours(func(s *slotInfo) { s.invalid = "idle_timeout" })},
			code:  "source.slot_lost", class: fault.Terminal,
		},
		{
			name:  "stream, another cluster",
			facts: facts{from: position{system: 8, timeline: 2, lsn: 1000, phase: schema.PhaseStream}, end: 5000, slot: ours(nil)},
			code:  "source.system_changed", class: fault.Terminal,
		},
		{
			name:  "creating, another cluster",
			facts: facts{from: position{system: 8, timeline: 2, phase: schema.PhaseCreating}},
			code:  "source.system_changed", class: fault.Terminal,
		},
		{
			name:  "stream, failed over",
			facts: facts{from: before, end: 5000, left: 1000, slot: ours(nil)},
			want:  beginStream,
		},
		{
			name:  "stream, failed over to a standby that was behind and wrote on",
			facts: facts{from: before, end: 5000, left: 999, slot: ours(func(s *slotInfo) { s.confirmed = 950 })},
			code:  "source.behind", class: fault.Terminal,
		},
		{
			name:  "stream, failed over, slot made there",
			facts: facts{from: before, end: 5000, left: 980, slot: ours(func(s *slotInfo) { s.restart, s.confirmed = 985, 990 })},
			code:  "source.behind", class: fault.Terminal,
		},
		{
			name:  "stream, another branch",
			facts: facts{from: before, end: 5000, left: 0, slot: ours(nil)},
			code:  "source.behind", class: fault.Terminal,
		},
		{
			name:  "stream, read on while the standby was promoted",
			facts: facts{from: before, end: 5000, left: 980, slot: ours(func(s *slotInfo) { s.restart = 970 })},
			want:  beginStream,
		},
		{
			name:  "stream, a former primary",
			facts: facts{from: position{system: 7, timeline: 3, lsn: 1000, phase: schema.PhaseStream}, end: 5000, slot: ours(nil)},
			code:  "source.timeline", class: fault.Terminal,
		},
		{name: "stream, source behind", facts: facts{from: at, end: 999, slot: ours(nil)}, code: "source.behind", class: fault.Terminal},
		{
			name:  "stream, standby still replaying",
			facts: facts{from: at, end: 999, recovering: true, slot: ours(nil)}, code: "source.replaying", class: fault.Retryable,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.facts.name, test.facts.server = "rowferry_shop", here
			got, err := decide(test.facts)
			if test.code != "" {
				wantFault(t, err, test.code, test.class)
				return
			}
			if err != nil || got != test.want {
				t.Errorf("got %v %v, want %v", got, err, test.want)
			}
		})
	}
}

func TestDecideNamesTheGap(t *testing.T) {
	_, err := decide(facts{
		name: "s", from: position{system: 7, timeline: 1, lsn: 0x1000, phase: schema.PhaseStream}, end: 0x9000,
		server: server{system: 7, timeline: 1, database: "d"},
		slot:   &slotInfo{kind: "logical", plugin: "pgoutput", database: "d", confirmed: 0x3000},
	})
	for _, want := range []string{"8192 bytes", "0/1000", "0/3000"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to say %s", err, want)
		}
	}
}

func TestPublishedDiff(t *testing.T) {
	base := func(change func(*published)) *published {
		p := &published{
			Publication: "p", OID: 9, Publish: "insert, update, delete, truncate", Entries: []uint32{11},
			Tables: map[uint32]publishedState{1: {Name: "public.a", Explicit: true, Entry: 5}, 2: {Name: "public.b", Filter: "(x > 1)"}},
		}
		if change != nil {
			change(p)
		}
		return p
	}
	tests := []struct {
		name string
		now  *published
		gone []uint32 // tables that do not exist any more
		want []string
	}{
		{name: "the same", now: base(nil)},
		{name: "made again", now: base(func(p *published) { p.OID = 10 }), want: []string{"publication p was dropped and made again"}},
		{
			name: "fewer operations", now: base(func(p *published) { p.Publish = "insert" }),
			want: []string{`it published "insert, update, delete, truncate" and now publishes "insert"`},
		},
		{
			name: "root", now: base(func(p *published) { p.ViaRoot = true }),
			want: []string{"publish_via_partition_root was false and is true"},
		},
		{
			name: "a table and a schema that left and came back",
			now: base(func(p *published) {
				p.Entries = []uint32{12}
				t := p.Tables[1]
				t.Entry++
				p.Tables[1] = t
			}),
			want: []string{"a schema left it and came back", "public.a left it and came back"},
		},
		{name: "schemas", now: base(func(p *published) { p.Schemas = []string{"s"} }), want: []string{"the schemas it holds whole changed"}},
		{name: "a table left", now: base(func(p *published) { delete(p.Tables, 1) }), want: []string{"public.a left it"}},
		{name: "a table was dropped", now: base(func(p *published) { delete(p.Tables, 1) }), gone: []uint32{1}},
		{
			name: "a table joined", now: base(func(p *published) { p.Tables[3] = publishedState{Name: "public.c", Explicit: true} }),
			want: []string{"public.c joined it"},
		},
		{name: "a table was made in a published schema", now: base(func(p *published) { p.Tables[3] = publishedState{Name: "public.c"} })},
		{
			name: "filter", now: base(func(p *published) { p.Tables[2] = publishedState{Name: "public.b", Filter: "(x > 2)"} }),
			want: []string{"the row filter of public.b changed"},
		},
		{
			name: "column list", now: base(func(p *published) {
				p.Tables[1] = publishedState{Name: "public.a", Explicit: true, Columns: []string{"id"}}
			}),
			want: []string{"the column list of public.a changed"},
		},
		{
			name: "swapped", now: base(func(p *published) {
				p.Tables[1] = publishedState{Name: "public.b", Explicit: true, Entry: 5}
				p.Tables[2] = publishedState{Name: "public.a", Filter: "(x > 1)"}
			}),
			want: []string{
				"public.a is another table now than the one that was copied", "public.b is another table now than the one that was copied",
			},
		},
		{
			name: "made again", gone: []uint32{2},
			now: base(func(p *published) {
				delete(p.Tables, 2)
				p.Tables[3] = publishedState{Name: "public.b"}
			}),
			want: []string{"public.b is another table now than the one that was copied"},
		},
		{name: "renamed", now: base(func(p *published) { p.Tables[1] = publishedState{Name: "public.z", Explicit: true, Entry: 5} })},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			exists := func(oid uint32) bool {
				for _, gone := range test.gone {
					if gone == oid {
						return false
					}
				}
				return true
			}
			got := base(nil).diff(test.now, exists)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
			_, err := checkPublished(base(nil), test.now, exists, false)
			if (err != nil) != (len(test.want) > 0) {
				t.Errorf("got %v, want an error only for changes", err)
			}
			if _, err := checkPublished(base(nil), test.now, exists, true); err != nil {
				t.Errorf("accepted: got %v", err)
			}
		})
	}
}

func TestPublishedStateRoundTrip(t *testing.T) {
	want := &published{
		Publication: "p", OID: 9, All: true, ViaRoot: true, Publish: "insert", Schemas: []string{"a", `odd "one"`},
		Tables: map[uint32]publishedState{1: {Name: "x", Filter: "(a = 'b')", Columns: []string{"c"}, Explicit: true}},
	}
	state := want.encode()
	got, err := decodePublished([]schema.State{{Key: "other"}, state})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
	if again := want.encode(); string(again.Value) != string(state.Value) {
		t.Errorf("got other bytes for the same state: %s and %s", again.Value, state.Value)
	}
	if _, err := decodePublished([]schema.State{{Key: publishedKey, Value: []byte("{")}}); err == nil {
		t.Error("got no error for damaged state")
	}
	if none, err := decodePublished(nil); none != nil || err != nil {
		t.Errorf("got %v %v for no state, want nothing", none, err)
	}
}

func TestParseHistory(t *testing.T) {
	const text = "1\t0/3000158\tno recovery target specified\n\n# by hand\n12\tA/4000000\tbefore 2026-01-01 00:00:00+00\n"
	for timeline, want := range map[uint32]LSN{1: 0x3000158, 12: 0xA_0400_0000, 2: 0} {
		if got, err := parseHistory(text, timeline); err != nil || got != want {
			t.Errorf("timeline %d: got %s, %v, want %s", timeline, got, err, want)
		}
	}
	if _, err := parseHistory("1\tnowhere\n", 1); err == nil {
		t.Error("got no error for a place that is none")
	}
}
