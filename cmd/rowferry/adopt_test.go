package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks"
)

func TestAdopt(t *testing.T) {
	s := newShell(t, fakeYAML)
	s.w.adopt = []schema.Position{at("7")}
	s.check("adopt-shown", s.run("adopt", "shop", "--slot", "theirs"))
	var shown adoptReport
	if r := s.run("adopt", "shop", "--slot", "theirs", "--json"); r.code != exitRefused || json.Unmarshal([]byte(r.out), &shown) != nil || shown.Adopted {
		t.Errorf("without a word as JSON: got %+v, want one document that wrote nothing", r)
	}
	if _, err := os.Stat(filepath.Join(s.dir, "state", "shop")); len(s.w.ledger) > 0 || err == nil {
		t.Errorf("after a look: got ledger %v, state folder %v; want neither", s.w.ledger, err)
	}
	s.check("adopt-done", s.run("adopt", "shop", "--slot", "theirs", "--yes"))
	want := sinks.Held{Position: at("7"), Phase: schema.PhaseStream, Seq: 1}
	if diff := cmp.Diff(want, s.w.ledger["shop"]); diff != "" {
		t.Errorf("ledger (-want +got):\n%s", diff)
	}
	s.check("adopt-begun", s.run("adopt", "shop", "--slot", "theirs", "--yes"))
}

func TestAdoptRefuses(t *testing.T) {
	tests := []struct {
		name    string
		prepare func(s *shell)
		args    []string
		code    int
		says    string
	}{
		{name: "no slot named", args: []string{"adopt", "shop"}, code: exitUsage, says: "--slot"},
		{name: "no such pipeline", args: []string{"adopt", "shp", "--slot", "theirs"}, code: exitUsage, says: "shop"},
		{name: "a slot the source refuses", args: []string{"adopt", "shop", "--slot", "theirs", "--yes"}, code: exitRefused, says: "fake.broken"},
		{
			name: "a daemon that runs the pipeline", args: []string{"adopt", "shop", "--slot", "theirs", "--yes"}, code: exitRefused, says: "stop it first",
			prepare: func(s *shell) { s.w.adopt, s.w.lockedBy = []schema.Position{at("7")}, "pid 2" },
		},
		{
			name: "a slot that moves meanwhile", args: []string{"adopt", "shop", "--slot", "theirs", "--yes"}, code: exitRefused, says: "source.adopt_moved",
			prepare: func(s *shell) { s.w.adopt = []schema.Position{at("7"), at("8")} },
		},
		{
			name: "a pipeline that has begun", args: []string{"adopt", "shop", "--slot", "theirs", "--yes"}, code: exitRefused, says: "target.adopt_begun",
			prepare: func(s *shell) {
				s.w.adopt = []schema.Position{at("7")}
				s.w.ledger["shop"] = sinks.Held{Position: at("1"), Phase: schema.PhaseCopy, Seq: 2}
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newShell(t, fakeYAML)
			if tt.prepare != nil {
				tt.prepare(s)
			}
			before := s.w.ledger["shop"]
			r := s.run(tt.args...)
			if r.code != tt.code || !strings.Contains(r.err, tt.says) {
				t.Errorf("got exit %d, %q; want %d and %q", r.code, r.err, tt.code, tt.says)
			}
			if diff := cmp.Diff(before, s.w.ledger["shop"]); diff != "" {
				t.Errorf("ledger (-before +after):\n%s", diff)
			}
		})
	}
}

// TestAdoptCodes: what adopt says has an explanation.
func TestAdoptCodes(t *testing.T) {
	known := map[string]fault.Code{}
	for _, c := range allConnectors().codes() {
		known[c.Name] = c
	}
	for _, name := range []string{"source.adopt_slot", "source.adopt_missing", "source.adopt_active", "source.adopt_moved", "target.adopt_begun"} {
		if _, explained := known[name]; !explained {
			t.Errorf("%s has no explanation", name)
		}
	}
}
