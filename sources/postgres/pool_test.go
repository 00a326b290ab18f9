package postgres

import (
	"testing"

	"github.com/rowferry/rowferry/schema"
)

// TestPool: what is kept for reuse is limited all together, and a batch that grew large is not kept.
func TestPool(t *testing.T) {
	tests := []struct {
		name     string
		batches  int
		arena    int // of each
		wantKept int
	}{
		{name: "a few", batches: 3, arena: 1 << 20, wantKept: 3},
		{name: "many small ones", batches: 100, arena: 1 << 10, wantKept: poolBatches},
		{name: "many of a batch's size", batches: 20, arena: 1 << 20, wantKept: poolBytes >> 20},
		{name: "large ones", batches: 2, arena: poolLargest + 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var p pool
			var out []*schema.Batch
			for range tt.batches {
				b := p.get(nil)
				b.Arena = make([]byte, 0, tt.arena)
				out = append(out, b)
			}
			for _, b := range out {
				b.Release()
			}
			if len(p.free) != tt.wantKept || p.held != tt.wantKept*tt.arena {
				t.Errorf("got %d batches of %d bytes kept, want %d of %d", len(p.free), p.held, tt.wantKept, tt.wantKept*tt.arena)
			}
			for range tt.wantKept {
				p.get(nil)
			}
			if len(p.free) != 0 || p.held != 0 {
				t.Errorf("after taking them all: got %d batches of %d bytes", len(p.free), p.held)
			}
		})
	}
}

// TestPoolMakesRoom: the batch after one that was full has room for as much, and the one after a small one takes none.
func TestPoolMakesRoom(t *testing.T) {
	const target = 1 << 10
	for _, tt := range []struct {
		name  string
		arena int
		want  bool
	}{
		{name: "full", arena: target, want: true},
		{name: "small", arena: target / 2},
		{name: "much larger than full", arena: 8 * target},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var p pool
			b := p.get(nil)
			b.Arena = make([]byte, tt.arena)
			p.full(b, target)
			if got := cap(p.get(nil).Arena) >= tt.arena; got != tt.want {
				t.Errorf("room for as much: got %v, want %v", got, tt.want)
			}
		})
	}
}
