package schema

import "time"

// Op is what a change does.
type Op uint8

// The operations.
const (
	OpRead     Op = iota // an existing row, from the first copy
	OpCreate             // insert
	OpUpdate             //
	OpDelete             //
	OpTruncate           // Change.Truncate names the tables
	OpMessage            // a logical message: After holds prefix and content
	OpSchema             // Change.Table is the new version of a table, Change.Previous the one before
)

// Row is a run of values in [Batch.Values], one for each column of the change's table, in column order.
// The zero Row is "no image".
type Row struct{ First, Count int32 }

// Change is one event of a transaction. It has no pointer into the batch but its offsets.
type Change struct {
	Op     Op
	Table  *Table
	Before Row // the old row as far as the source sends it: key columns, or all of them, or nothing
	After  Row // the new row; columns the source left out are [Unchanged]
	// Offset is where the change stands in the source's log (a Postgres LSN). It is for readers and messages:
	// within one key it never falls, between transactions it has no order.
	Offset   uint64
	Previous *Table    // OpSchema: nil when the table is new; no more than its names where that is all that is known
	Truncate *Truncate // OpTruncate
}

// Truncate is a TRUNCATE of several tables at once.
type Truncate struct {
	Tables          []*Table
	Cascade         bool
	RestartIdentity bool
}

// Transaction is one committed transaction of the source, whole or, in a batch that is a part, the one it is of.
type Transaction struct {
	ID         uint64 // the source's number of it (a Postgres xid), for readers
	End        uint64 // offset just after its commit record, for readers
	CommitTime int64  // microseconds since 1970 UTC
	Origin     string // replication origin it came from, empty when it began here
	First      int32  // its first change in Batch.Changes
	Count      int32
}

// Part marks a batch that is a piece of one transaction too big for a batch.
type Part uint8

// The parts.
const (
	Whole    Part = iota // whole transactions
	PartMore             // a piece; more of the same transaction follows
	PartLast             // the last piece; Upto moves past the transaction
)

// Batch is what a source hands over: whole transactions in commit order, or one part of a single transaction,
// or rows of the first copy, or nothing but a position. Never two of these.
//
// The source owns a batch until Next returns it, then the caller, until it calls Release.
type Batch struct {
	// Upto becomes durable with this batch. It is zero for copied rows and for parts but the last.
	Upto  Position
	Phase Phase
	Part  Part

	Transactions []Transaction
	Changes      []Change
	Values       []Value
	Arena        []byte // grows by append only; below 4 GiB

	// Tables are announced before their first change, so that an empty table exists at the target too.
	// In the batch that begins the copy they are exactly the tables to be copied.
	Tables []*Table
	// Takeovers tell what no change does: columns became others under their old names. It concerns rows that are older
	// than that and did not come since. Everything the log says of them up to Upto was handed over before.
	Takeovers []Takeover
	// Copy is set when the batch holds existing rows of one table.
	Copy *Copy
	// Plan is set in the batch that begins the copy.
	Plan []CopyPlan
	// Made names objects the source is about to create at the source, "slot:name" or "publication:name".
	// The target records them; a teardown drops only those.
	Made []string
	// State is the source's own bookkeeping, durable with Upto and handed back when the stream opens again.
	State []State
	// PositionAt gives the position just after transaction i, nil for batches without transactions.
	PositionAt func(i int) Position

	release func(*Batch)
}

// State is one record of source state; a nil Value deletes the key.
type State struct {
	Key   string
	Value []byte
}

// Takeover names columns of a table whose names other columns have taken: as a rule each was dropped and added again. A
// target that keeps rows has values of the columns before in them.
type Takeover struct {
	Table   *Table // no more than its names
	Columns []string
}

// Copy says whose existing rows a batch holds.
type Copy struct {
	Table *Table
	Chunk int64 // number of the range of the table, from 0
	Lane  int   // which of the source's copying workers read it
	Rows  int
	// Raw, when not nil, holds the rows as Postgres COPY text for Columns, and Changes is empty.
	// Such text passes through to a Postgres target as it is; DecodeCopy turns it into changes.
	Raw     []byte
	Columns []int // ordinals in Table.Columns, in the order of Raw's fields
	Offset  uint64
	// Done marks the last batch of the table.
	Done bool
}

// CopyPlan is what is known of a table before it is copied. Estimates come from the source's statistics; -1 is
// "not known".
type CopyPlan struct {
	Table *Table
	Rows  int64
	Bytes int64
}

// NewBatch makes an empty batch; release is called once by [Batch.Release] and may be nil.
func NewBatch(release func(*Batch)) *Batch { return &Batch{release: release} }

// Release gives the batch back to whoever made it. Nothing of it may be used afterwards.
func (b *Batch) Release() {
	if b.release != nil {
		b.release(b)
	}
}

// Reset empties the batch and keeps its memory. Only its maker calls it.
func (b *Batch) Reset() {
	*b = Batch{
		Transactions: b.Transactions[:0], Changes: b.Changes[:0], Values: b.Values[:0], Arena: b.Arena[:0],
		release: b.release,
	}
}

// Row is the run of values a change's image refers to; nil for no image.
func (b *Batch) Row(r Row) []Value {
	if r.Count == 0 {
		return nil
	}
	return b.Values[r.First : r.First+r.Count]
}

// Rows counts what the batch brings to a target: changes, or copied rows.
func (b *Batch) Rows() int {
	if b.Copy != nil {
		return b.Copy.Rows
	}
	return len(b.Changes)
}

// Bytes is the memory the batch's contents take.
func (b *Batch) Bytes() int {
	const value, change = 16, 72
	n := len(b.Arena) + len(b.Values)*value + len(b.Changes)*change
	if b.Copy != nil {
		n += len(b.Copy.Raw)
	}
	return n
}

// Time turns a commit time into a time.Time in UTC.
func (t *Transaction) Time() time.Time { return time.UnixMicro(t.CommitTime).UTC() }
