//go:build !race

// The race detector makes pools forget at random.
package wire

import (
	"testing"

	"github.com/rowferry/rowferry/schema"
)

func TestAppendBatchAllocatesNothing(t *testing.T) {
	batch := parse(t, "table public a id:int64 name:text\ntx 1 1700000000000000\nc 1 a after id=1 name=x\nu 2 a after id=1 name=~\n")
	j := NewJSON(schema.Position{Format: "postgres/1"})
	var dst []byte
	got := testing.AllocsPerRun(100, func() {
		var err error
		if dst, err = j.AppendBatch(dst[:0], batch); err != nil {
			t.Fatal(err)
		}
	})
	if got > 0 {
		t.Errorf("got %v allocations, want 0", got)
	}
}
