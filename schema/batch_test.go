package schema

import (
	"testing"
	"time"
)

func TestBatchRelease(t *testing.T) {
	released := 0
	b := NewBatch(func(*Batch) { released++ })
	b.Release()
	if released != 1 {
		t.Errorf("got %d releases, want 1", released)
	}
	NewBatch(nil).Release()
}

// TestBatchReset: nothing of the old contents shows, and the memory stays.
func TestBatchReset(t *testing.T) {
	released := false
	b := NewBatch(func(*Batch) { released = true })
	b.Arena = append(make([]byte, 0, 1000), "x"...)
	b.Values = append(make([]Value, 0, 100), NullValue)
	b.Changes = append(b.Changes, Change{})
	b.Transactions = append(b.Transactions, Transaction{})
	b.Upto, b.Phase, b.Part = Position{"f", "t"}, PhaseStream, PartLast
	b.Tables, b.Copy, b.Plan, b.Takeovers = []*Table{{}}, &Copy{}, []CopyPlan{{}}, []Takeover{{}}
	b.Made, b.State = []string{"x"}, []State{{}}
	b.PositionAt = func(int) Position { return Position{} }
	b.Reset()
	if b.Rows() != 0 || b.Bytes() != 0 || !b.Upto.IsZero() || b.Phase != "" || b.Part != Whole || len(b.Transactions) != 0 ||
		b.Tables != nil || b.Takeovers != nil || b.Copy != nil || b.Plan != nil || b.Made != nil || b.State != nil || b.PositionAt != nil {
		t.Errorf("got %+v, want an empty batch", b)
	}
	if cap(b.Arena) != 1000 || cap(b.Values) != 100 {
		t.Errorf("got room for %d bytes and %d values, want 1000 and 100", cap(b.Arena), cap(b.Values))
	}
	if b.Release(); !released {
		t.Error("the batch forgot whom it belongs to")
	}
}

func TestBatchCounts(t *testing.T) {
	b := NewBatch(nil)
	if b.Row(Row{}) != nil {
		t.Error("no image: got values, want nil")
	}
	b.Values = []Value{NullValue, IntValue(1), IntValue(2)}
	b.Changes = make([]Change, 2)
	b.Arena = make([]byte, 10)
	if got := b.Row(Row{First: 1, Count: 2}); len(got) != 2 || got[0] != IntValue(1) {
		t.Errorf("got %v, want the last two values", got)
	}
	if b.Rows() != 2 || b.Bytes() < 10+3*16+2*64 {
		t.Errorf("got %d rows and %d bytes", b.Rows(), b.Bytes())
	}
	b.Copy = &Copy{Rows: 7, Raw: make([]byte, 1000)}
	if b.Rows() != 7 || b.Bytes() < 1010 {
		t.Errorf("copied rows: got %d rows and %d bytes, want 7 and at least 1010", b.Rows(), b.Bytes())
	}
}

func TestTransactionTime(t *testing.T) {
	tx := Transaction{CommitTime: 1_700_000_000_123_456}
	if got, want := tx.Time(), time.Date(2023, 11, 14, 22, 13, 20, 123_456_000, time.UTC); !got.Equal(want) || got.Location() != time.UTC {
		t.Errorf("got %v, want %v", got, want)
	}
}
