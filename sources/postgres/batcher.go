package postgres

import (
	"sync"
	"unsafe"

	"github.com/rowferry/rowferry/schema"
)

const (
	defaultBatchBytes = 1 << 20
	wholeLimit        = 8 << 20 // a transaction larger than this leaves in parts
	poolBatches       = 64      // batches kept for reuse
	poolBytes         = 8 << 20 // memory they may hold, all together
	poolLargest       = 3 << 20 // and each
	originNames       = 1000    // names of origins kept, so that each is made once
)

// batcher gathers changes into batches: several whole transactions, or parts of a large one. It has one user, but
// batches may be released from anywhere.
type batcher struct {
	positionAt func(LSN) schema.Position
	target     int // bytes at which a batch is full
	whole      int // bytes at which a transaction is taken apart

	cur      *schema.Batch // nil when nothing is gathered
	open     bool          // a transaction has begun and not ended
	parted   bool          // a part of it has left already
	alters   bool          // it holds a new version of a table
	tx       schema.Transaction
	txBegin  mark // where it begins in cur
	finished LSN  // end of the last whole transaction in cur
	origins  map[string]string

	pool pool
}

// mark is a place in a batch.
type mark struct{ changes, values, arena int }

func newBatcher(positionAt func(LSN) schema.Position, target int) *batcher {
	if target <= 0 {
		target = defaultBatchBytes
	}
	return &batcher{
		positionAt: positionAt, target: target, whole: max(wholeLimit, target), origins: make(map[string]string),
	}
}

// batch is the one being gathered.
func (b *batcher) batch() *schema.Batch {
	if b.cur == nil {
		b.cur = b.pool.get(b.positionAt)
	}
	return b.cur
}

// begin opens a transaction. Its end is filled in by commit.
func (b *batcher) begin(tx schema.Transaction) {
	cur := b.batch()
	b.tx, b.open, b.parted, b.alters = tx, true, false, false
	b.txBegin = mark{len(cur.Changes), len(cur.Values), len(cur.Arena)}
}

// origin says where the open transaction began.
func (b *batcher) origin(name []byte) {
	known, ok := b.origins[string(name)]
	if !ok {
		if len(b.origins) >= originNames {
			clear(b.origins)
		}
		known = string(name)
		b.origins[known] = known
	}
	b.tx.Origin = known
}

// roll gives a batch that is full while its transaction is open, nil when there is none: the whole transactions
// before it, or a part of it. Before a new version of a table it is full at any size: the target may be unable to
// take that, and has to hold by then what came before.
func (b *batcher) roll() *schema.Batch {
	size := b.cur.Bytes()
	switch {
	case b.alters && len(b.cur.Transactions) > 0:
		return b.cut()
	case size < b.target:
		return nil
	case len(b.cur.Transactions) > 0:
		return b.cut()
	case b.parted || size >= b.whole:
		b.parted = true
		return b.take(schema.PartMore)
	}
	return nil
}

// cut parts the whole transactions from the open one, whose changes move to a batch of their own. What moves is
// less than one batch's target and one change.
func (b *batcher) cut() *schema.Batch {
	from := b.cur
	next := b.pool.get(b.positionAt)
	next.Changes = append(next.Changes, from.Changes[b.txBegin.changes:]...)
	for _, v := range from.Values[b.txBegin.values:] {
		if v.Form() == schema.Text {
			text := v.Bytes(from.Arena)
			v = schema.TextAt(len(next.Arena), len(text))
			next.Arena = append(next.Arena, text...)
		}
		next.Values = append(next.Values, v)
	}
	for i := range next.Changes {
		c := &next.Changes[i]
		c.Before = moved(c.Before, b.txBegin.values)
		c.After = moved(c.After, b.txBegin.values)
	}
	clear(from.Changes[b.txBegin.changes:])
	from.Changes = from.Changes[:b.txBegin.changes]
	from.Values = from.Values[:b.txBegin.values]
	from.Arena = from.Arena[:b.txBegin.arena]
	from.Upto = b.positionAt(b.finished)
	b.cur, b.txBegin = next, mark{}
	return from
}

// moved is a row whose values moved towards the front.
func moved(r schema.Row, by int) schema.Row {
	if r.Count > 0 {
		r.First -= int32(by)
	}
	return r
}

// take hands over what is gathered as one part of the open transaction.
func (b *batcher) take(part schema.Part) *schema.Batch {
	out := b.cur
	b.pool.full(out, b.target)
	b.cur, b.txBegin = nil, mark{}
	tx := b.tx
	tx.Count = int32(len(out.Changes))
	out.Part = part
	out.Transactions = append(out.Transactions, tx)
	if part == schema.PartLast {
		out.Upto = b.positionAt(LSN(tx.End))
	} else {
		out.PositionAt = nil
		b.batch() // the transaction goes on
	}
	return out
}

// commit ends the open transaction at end. It gives a batch when that is the last part of one; a transaction
// without a change leaves no trace and gives false.
func (b *batcher) commit(end LSN, at int64) (out *schema.Batch, some bool) {
	b.tx.End, b.tx.CommitTime = uint64(end), at
	b.open = false
	if b.parted {
		b.parted = false
		return b.take(schema.PartLast), true
	}
	b.tx.First = int32(b.txBegin.changes)
	b.tx.Count = int32(len(b.cur.Changes) - b.txBegin.changes)
	if b.tx.Count == 0 {
		return nil, false
	}
	b.cur.Transactions = append(b.cur.Transactions, b.tx)
	b.finished = end
	return nil, true
}

// holds tells whether whole transactions wait to be handed over.
func (b *batcher) holds() bool { return b.cur != nil && len(b.cur.Transactions) > 0 }

// full tells whether they are enough for a batch.
func (b *batcher) full() bool { return b.cur.Bytes() >= b.target }

// flush hands over the whole transactions, while none is open.
func (b *batcher) flush() *schema.Batch {
	out := b.cur
	b.pool.full(out, b.target)
	b.cur = nil
	out.Upto = b.positionAt(b.finished)
	return out
}

// rest hands over the whole transactions gathered, nil when there are none. The open transaction is given up.
func (b *batcher) rest() *schema.Batch {
	switch {
	case !b.holds():
		return nil
	case b.open:
		return b.cut()
	}
	return b.flush()
}

// barrier is a batch that holds nothing but a position.
func (b *batcher) barrier(at LSN) *schema.Batch {
	out := b.pool.get(nil)
	out.Upto = b.positionAt(at)
	return out
}

// pool keeps released batches, a limited number of limited size.
type pool struct {
	sizes mark // of a batch that was full: a new one gets room for as much at once, instead of growing into it

	mu   sync.Mutex // guards what follows
	free []*slab
	held int // bytes of free
}

// slab is a batch with the functions it needs, made once.
type slab struct {
	batch      *schema.Batch
	positionAt func(int) schema.Position
	room       int // bytes, while it is free
}

// full notes what a batch that leaves holds, if it leaves because it is full.
func (p *pool) full(b *schema.Batch, target int) {
	p.sizes = mark{}
	if size := b.Bytes(); size >= target && size <= 2*target {
		p.sizes = mark{changes: len(b.Changes), values: len(b.Values), arena: len(b.Arena)}
	}
}

// get gives an empty batch. positionAt may be nil for one without transactions.
func (p *pool) get(positionAt func(LSN) schema.Position) *schema.Batch {
	p.mu.Lock()
	var s *slab
	if n := len(p.free); n > 0 {
		s, p.free = p.free[n-1], p.free[:n-1]
		p.held -= s.room
	}
	p.mu.Unlock()
	if s == nil {
		s = &slab{}
		s.batch = schema.NewBatch(func(*schema.Batch) { p.put(s) })
	}
	if b := s.batch; cap(b.Arena) == 0 && p.sizes.arena > 0 {
		const spare = 16 // a sixteenth more: batches are not equal to the byte
		b.Changes = make([]schema.Change, 0, p.sizes.changes+p.sizes.changes/spare)
		b.Values = make([]schema.Value, 0, p.sizes.values+p.sizes.values/spare)
		b.Arena = make([]byte, 0, p.sizes.arena+p.sizes.arena/spare)
	}
	s.batch.Phase = schema.PhaseStream
	if positionAt != nil {
		if s.positionAt == nil {
			s.positionAt = func(i int) schema.Position { return positionAt(LSN(s.batch.Transactions[i].End)) }
		}
		s.batch.PositionAt = s.positionAt
	}
	return s.batch
}

// put takes a batch back. Pointers to tables are cleared, so that old versions can be freed.
func (p *pool) put(s *slab) {
	b := s.batch
	clear(b.Changes)
	b.Reset()
	s.room = room(b)
	if s.room > poolLargest {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free) < poolBatches && p.held+s.room <= poolBytes {
		p.free, p.held = append(p.free, s), p.held+s.room
	}
}

// room is the memory that a batch has, used or not.
func room(b *schema.Batch) int {
	const value, change = int(unsafe.Sizeof(schema.Value{})), int(unsafe.Sizeof(schema.Change{}))
	return cap(b.Arena) + cap(b.Values)*value + cap(b.Changes)*change
}
