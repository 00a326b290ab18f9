package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/rowferry/rowferry/replicator/config"
	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/schema/setting"
	"github.com/rowferry/rowferry/sinks"
	"github.com/rowferry/rowferry/sources"
)

// canary is the password of every configuration in these tests: it must never be printed.
const canary = "hunter2-canary"

// world stands for the servers both ends connect to.
type world struct {
	mu       sync.Mutex // guards what follows
	lockedBy string
	objects  map[string]bool
	ledger   map[string]sinks.Held
	found    []schema.Finding  // what a check of the source says
	refuse   error             // what Stream answers, when set
	block    bool              // Close of the stream never returns
	adopt    []schema.Position // what Adopt answers, one after the other, the last again and again
}

func newWorld() *world { return &world{objects: map[string]bool{}, ledger: map[string]sinks.Held{}} }

// fakeConfig is the configuration of both fake ends.
type fakeConfig struct {
	URL      string         `yaml:"url"`
	Password setting.Secret `yaml:"password"`
}

// connectors is a table of nothing but fakes.
func (w *world) connectors() connectors {
	code := fault.Code{Name: "fake.broken", Title: "the fake is broken", Meaning: "It was told to be.", DataLost: "No.", Remedy: "mend it\nrestart the daemon"}
	return connectors{
		sources: []sourceConnector{sourceOf(config.Kind{Name: "fake", Schemes: []string{"fake"}}, []fault.Code{code},
			func(c fakeConfig, rt sources.Runtime) (*fakeSource, error) { return &fakeSource{w, rt.Pipeline}, nil },
			func(c *fakeConfig) string { return c.URL })},
		targets: []targetConnector{targetOf(config.Kind{Name: "fake", Schemes: []string{"fake"}}, nil,
			func(c fakeConfig, rt sinks.Runtime) (*fakeSink, error) { return &fakeSink{w}, nil },
			func(c *fakeConfig) string { return c.URL })},
	}
}

type fakeSource struct {
	w        *world
	pipeline string
}

func (s *fakeSource) Identify(context.Context) (schema.SourceID, error) { return "fake:1", nil }

func (s *fakeSource) Lock(context.Context) (<-chan struct{}, func(), error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if s.w.lockedBy != "" {
		return nil, nil, fault.InUse(s.w.lockedBy)
	}
	s.w.lockedBy = "pid 1"
	return make(chan struct{}), func() {
		s.w.mu.Lock()
		defer s.w.mu.Unlock()
		s.w.lockedBy = ""
	}, nil
}

func (s *fakeSource) Stream(_ context.Context, from schema.Position, _ []schema.State) (sources.Stream, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if s.w.refuse != nil {
		return nil, s.w.refuse
	}
	return &fakeStream{w: s.w, fresh: from.IsZero(), slot: "slot:" + s.pipeline}, nil
}

func (s *fakeSource) Check(context.Context) ([]schema.Finding, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	return s.w.found, nil
}

func (s *fakeSource) Adopt(_ context.Context, reader string) (sources.Adoption, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if len(s.w.adopt) == 0 {
		return sources.Adoption{}, fault.Halt("fake.broken", fmt.Errorf("there is no slot %s", reader), "mend it")
	}
	at := s.w.adopt[0]
	if len(s.w.adopt) > 1 {
		s.w.adopt = s.w.adopt[1:]
	}
	return sources.Adoption{Position: at, Facts: []sources.Fact{{What: "slot " + reader, Text: "was read up to 0/7"}}}, nil
}

func (s *fakeSource) Leftovers(_ context.Context, made []string) (out []sources.Leftover, err error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	for _, name := range made {
		if !strings.HasPrefix(name, "slot:") {
			return nil, fmt.Errorf("%s is none of the source's", name)
		}
		if s.w.objects[name] {
			out = append(out, sources.Leftover{Name: name, SQL: "SELECT pg_drop_replication_slot('" + strings.TrimPrefix(name, "slot:") + "');"})
		}
	}
	return out, nil
}

func (s *fakeSource) Remove(_ context.Context, l sources.Leftover) error {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	delete(s.w.objects, l.Name)
	return nil
}

// fakeStream tells of a first start, then nothing.
type fakeStream struct {
	w     *world
	fresh bool
	step  int
	slot  string
}

func at(token string) schema.Position { return schema.Position{Format: "fake/1", Token: token} }

func (s *fakeStream) Next(ctx context.Context) (*schema.Batch, error) {
	s.step++
	if s.fresh && s.step <= 3 {
		b := schema.NewBatch(nil)
		switch s.step {
		case 1:
			b.Phase, b.Upto, b.Made = schema.PhaseCreating, at("0"), []string{s.slot, "table:public.orders"}
		case 2:
			b.Phase, b.Upto = schema.PhaseCopy, at("1")
		case 3:
			b.Phase, b.Upto = schema.PhaseStream, at("2")
		}
		return b, nil
	}
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

func (s *fakeStream) Ack(context.Context, schema.Position) error {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.w.objects[s.slot] = true
	return nil
}

func (s *fakeStream) Close() error {
	if s.w.block {
		select {}
	}
	return nil
}

type fakeSink struct{ w *world }

func (s *fakeSink) Open(_ context.Context, c sinks.Claim) (sinks.Writer, sinks.Held, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	held := s.w.ledger[c.Pipeline]
	held.Limits = sinks.Limits{Lanes: 1, CopyLanes: 1, Stage: true}
	return &fakeWriter{w: s.w, pipeline: c.Pipeline}, held, nil
}

func (s *fakeSink) Inspect(_ context.Context, pipeline string) (sinks.Held, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	return s.w.ledger[pipeline], nil
}

func (s *fakeSink) Forget(_ context.Context, pipeline string) error {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	delete(s.w.ledger, pipeline)
	return nil
}

func (s *fakeSink) Check(context.Context, []*schema.Table) ([]schema.Finding, error) {
	return []schema.Finding{{Area: "target", Name: "rights", Text: "INSERT UPDATE DELETE on public.*"}}, nil
}

type fakeWriter struct {
	w        *world
	pipeline string
}

type fakePayload struct{}

func (fakePayload) Rows() int  { return 0 }
func (fakePayload) Bytes() int { return 0 }

func (*fakeWriter) Encode(*schema.Batch) (sinks.Payload, error) { return fakePayload{}, nil }

func (*fakeWriter) Stage(context.Context, int, sinks.Payload) error {
	return errors.New("not staged here")
}

func (f *fakeWriter) Commit(_ context.Context, g sinks.Group) error {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	held := f.w.ledger[f.pipeline]
	if g.Seq != held.Seq+1 {
		return fmt.Errorf("group %d after %d", g.Seq, held.Seq)
	}
	held.Seq, held.Position, held.Phase = g.Seq, g.Upto, g.Phase
	held.Made = append(held.Made, g.Made...)
	f.w.ledger[f.pipeline] = held
	return nil
}

func (*fakeWriter) Close() error { return nil }
