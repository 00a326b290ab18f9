package null

import (
	"context"
	"errors"
	"path/filepath"
	"sync"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/wire"
	"github.com/rowferry/rowferry/sinks"
	"github.com/rowferry/rowferry/sinks/fileledger"
)

// Sink counts and sums, and keeps nothing else.
type Sink struct {
	cfg    Config
	rt     sinks.Runtime
	notice sync.Once
}

// New makes a null target.
func New(cfg Config, rt sinks.Runtime) (*Sink, error) {
	if err := errors.Join(cfg.Validate()...); err != nil {
		return nil, err
	}
	return &Sink{cfg: cfg, rt: rt}, nil
}

// ledgerPath is where the ledger stands.
func (s *Sink) ledgerPath() string { return filepath.Join(s.rt.StateDir, "null.ledger") }

// resultPath is where the sums are written for people and benchmarks.
func (s *Sink) resultPath() string { return filepath.Join(s.rt.StateDir, "null.json") }

// Open takes the ledger in the state folder.
func (s *Sink) Open(ctx context.Context, c sinks.Claim) (sinks.Writer, sinks.Held, error) {
	l, err := fileledger.Open(ctx, s.ledgerPath(), c)
	if err != nil {
		return nil, sinks.Held{}, err
	}
	if err := l.Take(ctx, c, l.State.Data); err != nil {
		l.Close()
		return nil, sinks.Held{}, err
	}
	s.notice.Do(func() { s.rt.Log.Info().Msg("the null target keeps no rows: it is for measuring") })
	w := &writer{result: s.resultPath(), ledger: l, staged: map[string]fileledger.Tally{}}
	if s.cfg.Format == "json" {
		w.json = wire.NewJSON(l.State.Position)
	}
	held := l.State.Held()
	held.Limits = s.cfg.limits()
	return w, held, nil
}

// Inspect reads the ledger beside whoever writes it.
func (s *Sink) Inspect(_ context.Context, pipeline string) (sinks.Held, error) {
	state, err := fileledger.Read(s.ledgerPath(), pipeline)
	return state.Held(), err
}

// Forget removes the ledger, and the sums with it.
func (s *Sink) Forget(_ context.Context, pipeline string) error {
	return fileledger.Remove(s.ledgerPath(), pipeline)
}

// tallyKey names the sum of one operation on one table.
func tallyKey(t *schema.Table, op schema.Op) string { return string("rcudt"[op]) + " " + t.String() }
