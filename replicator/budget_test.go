package replicator

import (
	"context"
	"testing"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/sinks"
)

// TestBudgetOfParts: of a transaction in parts less is read ahead than of anything else, where parts are taken one by
// one.
func TestBudgetOfParts(t *testing.T) {
	tests := []struct {
		name               string
		limit, held        int
		stages             bool
		wantPart, wantElse bool // whether there is room
	}{
		{name: "little held", limit: 64 << 20, held: 15 << 20, stages: true, wantPart: true, wantElse: true},
		{name: "a quarter held", limit: 64 << 20, held: 16 << 20, stages: true, wantElse: true},
		{name: "a quarter held, parts kept together", limit: 64 << 20, held: 16 << 20, wantPart: true, wantElse: true},
		{name: "all held", limit: 64 << 20, held: 64 << 20, stages: true},
		{name: "small limit, little held", limit: 6 << 20, held: 3 << 20, stages: true, wantPart: true, wantElse: true},
		{name: "small limit, more held", limit: 6 << 20, held: 5 << 20, stages: true, wantElse: true},
		{name: "tiny limit", limit: 1 << 20, held: 1 << 20, stages: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBudget(int64(tt.limit))
			if tt.stages {
				b.stages()
			}
			it := &item{batch: schema.NewBatch(nil), bytes: tt.held}
			b.hold(it)
			ended, cancel := context.WithCancel(t.Context())
			cancel()
			if got := b.wait(ended, true) == nil; got != tt.wantPart {
				t.Errorf("room for a part: got %v, want %v", got, tt.wantPart)
			}
			if got := b.wait(ended, false) == nil; got != tt.wantElse {
				t.Errorf("room for anything else: got %v, want %v", got, tt.wantElse)
			}
			done := make(chan error)
			go func() { done <- b.wait(t.Context(), true) }()
			b.release(it)
			if err := <-done; err != nil {
				t.Errorf("waiting until it is released: %v", err)
			}
		})
	}
}

func TestQueue(t *testing.T) {
	tests := []struct {
		name       string
		configured int64
		limits     sinks.Limits
		want       int64
		wantBytes  int // of a group
	}{
		{name: "as configured", configured: 64, limits: sinks.Limits{Bytes: 16, Stage: true}, want: 64, wantBytes: 16},
		{name: "no more than is of use", configured: 64, limits: sinks.Limits{Bytes: 8, Queue: 16, Stage: true}, want: 16, wantBytes: 8},
		{name: "no more than is configured", configured: 64, limits: sinks.Limits{Queue: 100, Stage: true}, want: 64},
		{name: "kept together", configured: 64, limits: sinks.Limits{}, want: 128, wantBytes: 64},
		{name: "kept together, larger than the queue", configured: 64, limits: sinks.Limits{Bytes: 50, Queue: 60}, want: 100, wantBytes: 50},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := tt.limits
			if got := queueOf(tt.configured, &l); got != tt.want || l.Bytes != tt.wantBytes {
				t.Errorf("got %d, groups of %d; want %d, groups of %d", got, l.Bytes, tt.want, tt.wantBytes)
			}
		})
	}
}
