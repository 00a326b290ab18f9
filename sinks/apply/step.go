package apply

import (
	"github.com/rowferry/rowferry/schema"
)

// Op is what a step does.
type Op uint8

// The operations of steps.
const (
	Insert   Op = iota
	Update      // the row keeps the values it is matched by, or is matched by all its old values
	Move        // as Update, but the values it is matched by change
	Delete      //
	Truncate    // Step.Truncate names the tables
)

var opNames = [...]string{"insert", "update", "update of the key", "delete", "truncate"}

// String is the operation in messages.
func (o Op) String() string { return opNames[o] }

// Step is one kind of statement for one or many rows of one table.
type Step struct {
	Op    Op
	Table *Table
	Shape *Shape // columns written; nil for deletes and truncates
	// Bulk tells that all rows may be written by one statement; else each has its own, in order.
	Bulk     bool
	Rows     []Row
	Truncate *schema.Truncate
	Tables   []*Table // of a truncate
}

// Row is one row of a step. Old and New are images in Batch: New holds what is written, Old, when not empty, the
// values the row is matched by; without it New holds those too.
type Row struct {
	Batch    *schema.Batch
	Old, New schema.Row
	// From and Change say which change the row came from; of several folded into one, the last.
	From   *schema.Batch
	Change int32
}

// Match is the image the row is matched by, as values of r.Batch.
func (r *Row) Match() []schema.Value {
	if r.Old.Count > 0 {
		return r.Batch.Row(r.Old)
	}
	return r.Batch.Row(r.New)
}

// Values is the image that is written, as values of r.Batch.
func (r *Row) Values() []schema.Value { return r.Batch.Row(r.New) }
