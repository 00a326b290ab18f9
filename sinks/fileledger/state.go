package fileledger

import (
	"errors"
	"maps"
	"slices"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/sinks"
)

// State is what a ledger says.
type State struct {
	Claim    sinks.Claim // of the last writer
	Epoch    int64       // counts writers; 0 when there never was one
	Seq      int64
	Position schema.Position
	Phase    schema.Phase
	Data     Extent
	Undo     *Extent // where the data stood when the copy under way began; nil when none is
	Moving   Move    // empty when no move is under way
	Made     []string
	Records  map[string][]byte // source state
	Counts   map[string]Tally
}

// Update is what a commit changes. Seq, Position and Phase keep their values when Position is zero.
type Update struct {
	Seq      int64
	Position schema.Position
	Phase    schema.Phase
	Data     Extent
	Undo     *Extent
	Moving   Move
	Made     []string
	State    []schema.State
	Counts   map[string]Tally // new values of those that changed
}

// Held is the state as a sink reports it, without limits.
func (s *State) Held() sinks.Held {
	h := sinks.Held{Position: s.Position, Phase: s.Phase, Seq: s.Seq, Made: slices.Clone(s.Made)}
	for _, key := range slices.Sorted(maps.Keys(s.Records)) {
		h.State = append(h.State, schema.State{Key: key, Value: s.Records[key]})
	}
	return h
}

// next is the frame that u makes of the state. Only what is new of made objects is in it.
func (s *State) next(u *Update) *frame {
	f := &frame{
		Epoch: s.Epoch, Seq: s.Seq, Phase: s.Phase, Data: u.Data, Undo: u.Undo, Moving: u.Moving, Counts: u.Counts,
	}
	at := s.Position
	if !u.Position.IsZero() {
		f.Seq, f.Phase, at = u.Seq, u.Phase, u.Position
	}
	if !at.IsZero() {
		f.Position = &position{at.Format, at.Token}
	}
	for _, name := range u.Made {
		if !slices.Contains(s.Made, name) && !slices.Contains(f.Made, name) {
			f.Made = append(f.Made, name)
		}
	}
	for _, r := range u.State {
		rec := record{Key: r.Key}
		if r.Value != nil {
			rec.Value = &r.Value
		}
		f.State = append(f.State, rec)
	}
	return f
}

// full is the frame that says everything.
func (s *State) full() *frame {
	f := s.next(&Update{Data: s.Data, Undo: s.Undo, Moving: s.Moving, Counts: s.Counts})
	f.Pipeline, f.Source = s.Claim.Pipeline, string(s.Claim.Source)
	f.Fingerprint, f.Holder = s.Claim.Fingerprint, s.Claim.Holder
	f.Made = s.Made
	for _, r := range s.Held().State {
		f.State = append(f.State, record{Key: r.Key, Value: &r.Value})
	}
	return f
}

// apply plays one frame. A first frame says everything; what comes later never goes back.
func (s *State) apply(f *frame, first bool) error {
	if f.Epoch < 1 || f.Seq < 0 || f.Data.Length < f.Data.From || f.Data.From < 0 {
		return errors.New("a frame holds impossible numbers")
	}
	if first {
		*s = State{
			Claim: sinks.Claim{
				Pipeline: f.Pipeline, Source: schema.SourceID(f.Source), Fingerprint: f.Fingerprint, Holder: f.Holder,
			},
			Records: map[string][]byte{}, Counts: map[string]Tally{},
		}
	} else if f.Epoch != s.Epoch || f.Seq < s.Seq {
		return errors.New("a frame is older than the one before it")
	}
	s.Epoch, s.Seq, s.Phase, s.Data, s.Undo, s.Moving = f.Epoch, f.Seq, f.Phase, f.Data, f.Undo, f.Moving
	s.Position = schema.Position{}
	if f.Position != nil {
		s.Position = schema.Position{Format: f.Position.Format, Token: f.Position.Token}
	}
	s.Made = append(s.Made, f.Made...)
	for _, r := range f.State {
		if r.Value == nil {
			delete(s.Records, r.Key)
		} else {
			s.Records[r.Key] = *r.Value
		}
	}
	maps.Copy(s.Counts, f.Counts)
	return nil
}
