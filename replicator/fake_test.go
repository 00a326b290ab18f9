package replicator

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks"
	"github.com/rowferry/rowferry/sources"
)

// world is a source's database and a target's, which outlive every attempt and every daemon. It checks the engine's
// side of both contracts as it goes.
type world struct {
	mu sync.Mutex // guards everything below
	// the source
	transactions []int // rows of each; transaction i has id i+1
	parts        int   // transactions of more rows leave in parts of so many
	perBatch     int   // at most so many transactions in a batch
	chunks       int   // of existing rows, over two tables
	padding      int   // bytes of every batch beside its rows: large ones are encoded by other goroutines
	finite       bool  // io.EOF after the last transaction
	barrier      bool  // a stop brings a last barrier
	locked       bool
	lost         chan struct{}
	slot         bool
	acked        int
	more         chan struct{} // closed and replaced when transactions are added
	out          int           // batches not released
	// the target
	limits  sinks.Limits
	epoch   int
	held    sinks.Held
	applied []int       // ids, in the order they became durable
	copied  map[int]int // chunk → how often it is there
	tables  int         // announcements
	groups  int
	largest int // rows of a group with more than one batch

	random *rand.Rand
	inject func(call string) error // may sleep; called at every call of either contract, without the lock
	broken []string                // what the engine did wrong
	wake   chan struct{}           // closed and replaced at every durable group
}

func newWorld(seed int64) *world {
	w := &world{
		random: rand.New(rand.NewPCG(uint64(seed), 0)), perBatch: 3, parts: 10, copied: map[int]int{},
		limits: sinks.Limits{Lanes: 1, CopyLanes: 2, Stage: true},
		inject: none, acked: -3,
	}
	w.enter()
	return w
}

// enter makes the channels belong to the bubble of the caller.
func (w *world) enter() {
	w.wake, w.more = make(chan struct{}), make(chan struct{})
}

// fault is what happens at a call.
func (w *world) fault(call string) error {
	w.mu.Lock()
	inject := w.inject
	w.mu.Unlock()
	return inject(call)
}

// faults replaces what happens at calls.
func (w *world) faults(inject func(call string) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.inject = inject
}

// none lets every call succeed.
func none(string) error { return nil }

func (w *world) wrong(format string, args ...any) {
	w.broken = append(w.broken, fmt.Sprintf(format, args...))
}

func (w *world) intn(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.random.IntN(n)
}

const (
	creating = -2
	copying  = -1
)

func at(n int) schema.Position { return schema.Position{Format: "fake/1", Token: strconv.Itoa(n)} }

func placeOf(p schema.Position) int {
	if p.IsZero() {
		return -3
	}
	n, err := strconv.Atoi(p.Token)
	if err != nil {
		panic(err)
	}
	return n
}

var (
	tableA = (&schema.Table{Schema: "public", Name: "a", Columns: []schema.Column{{Name: "id", Kind: schema.KindInt64}}}).WithVersion()
	tableB = (&schema.Table{Schema: "public", Name: "b", Columns: []schema.Column{{Name: "id", Kind: schema.KindInt64}}}).WithVersion()
)

// source half

type fakeSource struct{ *world }

func (s fakeSource) Identify(context.Context) (schema.SourceID, error) {
	return "fake", s.fault("identify")
}

func (s fakeSource) Lock(context.Context) (<-chan struct{}, func(), error) {
	if err := s.fault("lock"); err != nil {
		return nil, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.locked {
		return nil, nil, fault.InUse("somebody")
	}
	s.locked = true
	s.lost = make(chan struct{})
	return s.lost, func() { s.mu.Lock(); s.locked = false; s.mu.Unlock() }, nil
}

func (s fakeSource) Stream(_ context.Context, from schema.Position, _ []schema.State) (sources.Stream, error) {
	if err := s.fault("stream"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acked = placeOf(from)
	if s.acked < 0 {
		s.acked = -3 // from nothing, or from a copy that has to begin anew
	}
	return &fakeStream{world: s.world, next: placeOf(from), acks: make(chan struct{}, 1)}, nil
}

type fakeStream struct {
	*world
	next    int // place to continue after
	step    int // of the first copy
	inPart  int // rows of the next transaction already handed over
	acks    chan struct{}
	closed  bool
	stopped bool // gave its last barrier
}

func (s *fakeStream) Next(ctx context.Context) (*schema.Batch, error) {
	if err := s.fault("next"); err != nil {
		return nil, err
	}
	if s.next < 0 {
		return s.first(ctx)
	}
	s.mu.Lock()
	more := s.next < len(s.transactions)
	s.mu.Unlock()
	if !more {
		if s.finite {
			return nil, io.EOF
		}
		select {
		case <-s.fresh():
			return s.Next(ctx)
		case <-ctx.Done():
			if s.barrier && !s.stopped {
				s.stopped = true
				b := s.batch()
				b.Upto, b.Phase = at(s.next), schema.PhaseStream
				return b, nil
			}
			return nil, sources.Paused(ctx)
		}
	}
	if ctx.Err() != nil && s.inPart > 0 {
		return nil, sources.Paused(ctx)
	}
	b := s.batch()
	b.Phase = schema.PhaseStream
	s.mu.Lock()
	rows := s.transactions[s.next]
	s.mu.Unlock()
	if rows > s.parts {
		n := min(s.parts, rows-s.inPart)
		s.fill(b, s.next+1, n)
		s.inPart += n
		b.Part = schema.PartMore
		if s.inPart == rows {
			b.Part, s.inPart = schema.PartLast, 0
			s.next++
			b.Upto = at(s.next)
		}
		return b, nil
	}
	for n := 1 + s.intn(s.perBatch); n > 0; n-- {
		s.mu.Lock()
		if s.next == len(s.transactions) || s.transactions[s.next] > s.parts {
			s.mu.Unlock()
			break
		}
		rows := s.transactions[s.next]
		s.mu.Unlock()
		s.next++
		s.fill(b, s.next, rows)
	}
	b.Upto = at(s.next)
	if s.intn(8) == 0 {
		b.Tables = []*schema.Table{tableA}
	}
	return b, nil
}

// fresh is closed when there are more transactions.
func (w *world) fresh() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.more
}

// wakeUp commits a transaction at the source.
func (w *world) wakeUp(rows int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.transactions = append(w.transactions, rows)
	close(w.more)
	w.more = make(chan struct{})
}

// first plays the first copy, or plays it again.
func (s *fakeStream) first(ctx context.Context) (*schema.Batch, error) {
	b := s.batch()
	step := s.step
	s.step++
	switch {
	case step == 0:
		b.Phase, b.Upto, b.Made = schema.PhaseCreating, at(creating), []string{"slot:x"}
	case step == 1:
		if err := s.awaitAck(ctx, creating); err != nil {
			b.Release()
			return nil, err
		}
		s.mu.Lock()
		s.slot = true
		s.mu.Unlock()
		b.Phase, b.Upto = schema.PhaseCopy, at(copying)
		b.Tables = []*schema.Table{tableA, tableB}
		b.Plan = []schema.CopyPlan{{Table: tableA, Rows: 10, Bytes: 100}, {Table: tableB, Rows: -1, Bytes: -1}}
	case step-2 < s.chunks:
		if err := s.awaitAck(ctx, copying); err != nil {
			b.Release()
			return nil, err
		}
		chunk := step - 2
		b.Copy = &schema.Copy{Table: tableA, Chunk: int64(chunk), Lane: chunk % 3, Rows: 5, Raw: []byte(strconv.Itoa(chunk))}
	default:
		b.Phase, b.Upto = schema.PhaseStream, at(0)
		s.next = 0
	}
	return b, nil
}

func (s *fakeStream) awaitAck(ctx context.Context, place int) error {
	for {
		s.mu.Lock()
		ok := s.acked >= place
		s.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-s.acks:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (s *fakeStream) batch() *schema.Batch {
	s.mu.Lock()
	s.out++
	s.mu.Unlock()
	return schema.NewBatch(func(b *schema.Batch) {
		// Whoever still looks at the batch will see that it is gone.
		clear(b.Values)
		b.Copy = nil
		s.mu.Lock()
		s.out--
		s.mu.Unlock()
	})
}

// fill appends rows of a transaction.
func (s *fakeStream) fill(b *schema.Batch, id, rows int) {
	b.Transactions = append(b.Transactions, schema.Transaction{
		ID: uint64(id), CommitTime: time.Now().UnixMicro(), First: int32(len(b.Changes)), Count: int32(rows),
	})
	b.Arena = make([]byte, s.padding)
	for range rows {
		b.Changes = append(b.Changes, schema.Change{
			Op: schema.OpCreate, Table: tableA, After: schema.Row{First: int32(len(b.Values)), Count: 1},
		})
		b.Values = append(b.Values, schema.IntValue(int64(id)))
	}
}

func (s *fakeStream) Ack(_ context.Context, upto schema.Position) error {
	if err := s.fault("ack"); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := placeOf(upto)
	if n > placeOf(s.held.Position) {
		s.wrong("acknowledged %d, the ledger is at %d", n, placeOf(s.held.Position))
	}
	if n < s.acked {
		s.wrong("acknowledged %d after %d", n, s.acked)
	}
	s.acked = n
	select {
	case s.acks <- struct{}{}:
	default:
	}
	return nil
}

func (s *fakeStream) Close() error {
	if s.closed {
		s.mu.Lock()
		s.wrong("stream closed twice")
		s.mu.Unlock()
	}
	s.closed = true
	return s.fault("stream.close")
}

// phase is the ledger's.
func (w *world) phase() schema.Phase {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.held.Phase
}

// complete tells whether the target holds all of the source.
func (w *world) complete() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.held.Phase == schema.PhaseStream && placeOf(w.held.Position) == len(w.transactions)
}

// verdict lists everything that is not as it should be once the target is complete.
func (w *world) verdict() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := slices.Clone(w.broken)
	for i, id := range w.applied {
		if id != i+1 {
			out = append(out, fmt.Sprintf("transaction %d stands at place %d", id, i+1))
		}
	}
	if len(w.applied) != len(w.transactions) {
		out = append(out, fmt.Sprintf("got %d transactions, want %d", len(w.applied), len(w.transactions)))
	}
	for chunk := range w.chunks {
		if w.copied[chunk] != 1 {
			out = append(out, fmt.Sprintf("chunk %d is there %d times", chunk, w.copied[chunk]))
		}
	}
	if w.out != 0 {
		out = append(out, fmt.Sprintf("%d batches were not released", w.out))
	}
	if w.locked {
		out = append(out, "the lock is held")
	}
	return out
}
