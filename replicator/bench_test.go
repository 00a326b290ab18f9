package replicator

import (
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/sinks"
	"github.com/rowferry/rowferry/sources"
)

// endless hands over the same batch again and again, and takes it.
type endless struct {
	batches int
	at      int
	changes []schema.Change
}

func (e *endless) Identify(context.Context) (schema.SourceID, error) { return "x", nil }
func (e *endless) Lock(context.Context) (<-chan struct{}, func(), error) {
	return nil, func() {}, nil
}
func (e *endless) Stream(context.Context, schema.Position, []schema.State) (sources.Stream, error) {
	return e, nil
}

func (e *endless) Next(context.Context) (*schema.Batch, error) {
	if e.at == e.batches {
		return nil, io.EOF
	}
	e.at++
	b := schema.NewBatch(nil)
	b.Upto, b.Phase, b.Changes = schema.Position{Format: "x", Token: "y"}, schema.PhaseStream, e.changes
	b.Transactions = []schema.Transaction{{CommitTime: time.Now().UnixMicro(), Count: int32(len(e.changes))}}
	return b, nil
}
func (e *endless) Ack(context.Context, schema.Position) error { return nil }
func (e *endless) Close() error                               { return nil }

type nowhere struct{}

func (nowhere) Open(context.Context, sinks.Claim) (sinks.Writer, sinks.Held, error) {
	return nowhere{}, sinks.Held{Phase: schema.PhaseStream, Position: at(1), Limits: sinks.Limits{Lanes: 1, CopyLanes: 1, Rows: 10_000, Bytes: 16 << 20, Stage: true}}, nil
}
func (nowhere) Encode(b *schema.Batch) (sinks.Payload, error)   { return fakePayload{b: b}, nil }
func (nowhere) Stage(context.Context, int, sinks.Payload) error { return nil }
func (nowhere) Commit(ctx context.Context, g sinks.Group) error { return nil }
func (nowhere) Close() error                                    { return nil }

// BenchmarkPipeline is what the engine itself costs for each batch, by the number of its changes.
func BenchmarkPipeline(b *testing.B) {
	table := tableA
	for _, n := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprint(n, " changes"), func(b *testing.B) {
			changes := make([]schema.Change, n)
			for i := range changes {
				changes[i].Table = table
			}
			e := &endless{batches: b.N, changes: changes}
			d := NewDaemon([]Spec{{Name: "p", Source: e, Sink: nowhere{}}}, Options{Log: zerolog.Nop()})
			b.ReportAllocs()
			if err := d.Run(context.Background()); err != nil {
				b.Fatal(err)
			}
			if p := d.Report().Pipelines[0]; p.Rows != int64(n)*int64(b.N) {
				b.Fatalf("got %d rows, want %d: %+v", p.Rows, n*b.N, p.Halt)
			}
		})
	}
}
