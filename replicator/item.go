package replicator

import (
	"slices"
	"time"

	"github.com/rowferry/rowferry/replicator/metrics"
	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/sinks"
)

// item is a batch on its way, or the error that ended the reading.
type item struct {
	number   int64 // counts up by the order of reading
	batch    *schema.Batch
	payload  sinks.Payload
	err      error
	ready    chan struct{} // closed when payload or err is set; nil when they are from the start
	bytes    int           // of the batch, as limits and budget count them
	rows     int
	wrote    int64 // rows and bytes of the payload, which is the writer's again once its call has returned
	size     int64
	received time.Time
	counts   []metrics.Count // by the target's names

	transactions   int64  // that end in the batch
	oldest, newest int64  // commit times, microseconds; 0 when it has no transaction
	table          string // of copied rows
	last           bool   // the last copied rows of their table
	alters         bool   // has a new version of a table
}

// newItem measures a routed batch. What is asked of an item after its batch was released is kept here.
func newItem(number int64, b *schema.Batch, counts []metrics.Count, now time.Time) *item {
	it := &item{number: number, batch: b, bytes: b.Bytes(), rows: b.Rows(), received: now, counts: counts}
	if n := len(b.Transactions); n > 0 {
		it.oldest, it.newest = b.Transactions[0].CommitTime, b.Transactions[n-1].CommitTime
		if b.Part != schema.PartMore {
			it.transactions = int64(n)
		}
	}
	if b.Copy != nil {
		it.table, it.last = b.Copy.Table.String(), b.Copy.Done
	}
	it.alters = slices.ContainsFunc(counts, func(c metrics.Count) bool { return c.Op == schema.OpSchema })
	return it
}

// structural tells whether the batch changes more than rows and position. What comes before it is durable first, so
// that a target which cannot take it stands right before it, with the rows of the version before.
func (it *item) structural() bool {
	b := it.batch
	return it.alters || len(b.Tables) > 0 || len(b.Takeovers) > 0 || len(b.Plan) > 0 || len(b.Made) > 0
}

// unitKind is which call a unit becomes.
type unitKind uint8

const (
	commitUnit unitKind = iota // Commit of a group that moves the position
	stageUnit                  // Stage of a part
	copyUnit                   // Commit of copied rows
)

// unit is what one call of the writer takes: a group, or a part of a huge transaction.
type unit struct {
	kind    unitKind
	seq     int64 // of a commitUnit, set when it is taken
	lane    int   // set when it starts
	items   []*item
	rows    int
	bytes   int
	upto    schema.Position
	phase   schema.Phase
	since   time.Time // when its first batch came
	alone   bool      // nothing may be on its way before it starts, nothing starts until it is done
	closed  bool      // takes no further batch
	torn    bool      // holds the beginning of a transaction, and not its end
	streams bool      // ends the first copy
}

// group is what Commit is given.
func (u *unit) group() sinks.Group {
	g := sinks.Group{Seq: u.seq, Lane: u.lane, Upto: u.upto, Phase: u.phase, Payloads: make([]sinks.Payload, 0, len(u.items))}
	for _, it := range u.items {
		b := it.batch
		g.Payloads = append(g.Payloads, it.payload)
		g.Copy = b.Copy
		g.Tables = append(g.Tables, b.Tables...)
		g.Takeovers = append(g.Takeovers, b.Takeovers...)
		g.Plan = append(g.Plan, b.Plan...)
		g.Made = append(g.Made, b.Made...)
		g.State = append(g.State, b.State...)
	}
	if u.kind == copyUnit {
		g.Upto = schema.Position{} // copied rows move no position
	}
	return g
}

// tail is its last item.
func (u *unit) tail() *item { return u.items[len(u.items)-1] }
