package replicator

import (
	"context"
	"sync"
)

// overhead is what a batch without contents counts for, so that their number is limited too.
const overhead = 1 << 10

// leastAhead is what may always be read ahead of a transaction in parts, within the limit.
const leastAhead = 4 << 20

// budget limits the memory of batches on their way, and knows which they are. One batch may exceed it.
type budget struct {
	limit   int64
	ahead   int64         // the limit while a transaction comes in parts
	pressed chan struct{} // gets a token when the reader begins to wait

	mu    sync.Mutex // guards what follows
	used  int64
	live  map[*item]struct{}
	below int64         // what the reader waits for
	freed chan struct{} // closed when used falls below it, while the reader waits
}

func newBudget(limit int64) *budget {
	return &budget{limit: limit, ahead: limit, pressed: make(chan struct{}, 1), live: map[*item]struct{}{}}
}

// stages says that parts are taken one by one: a few of them, read ahead, keep the target as busy as many would.
func (b *budget) stages() { b.ahead = min(b.limit, max(b.limit/4, leastAhead)) }

// wait blocks until there is room: for the next part of a transaction, or for anything else. It has one caller.
func (b *budget) wait(ctx context.Context, part bool) error {
	limit := b.limit
	if part {
		limit = b.ahead
	}
	for {
		b.mu.Lock()
		if b.used < limit {
			b.mu.Unlock()
			return nil
		}
		if b.freed == nil {
			b.freed = make(chan struct{})
		}
		b.below = limit
		freed := b.freed
		b.mu.Unlock()
		select {
		case b.pressed <- struct{}{}:
		default:
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// hold counts a batch.
func (b *budget) hold(it *item) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.live[it] = struct{}{}
	b.used += int64(it.bytes) + overhead
}

// release gives batches back to their source. Invariant 5: the call that took their payloads has returned.
func (b *budget) release(items ...*item) {
	for _, it := range items {
		b.mu.Lock()
		if _, ok := b.live[it]; !ok {
			b.mu.Unlock()
			broken(5, "a batch is released twice")
		}
		delete(b.live, it)
		b.used -= int64(it.bytes) + overhead
		if b.used < b.below && b.freed != nil {
			close(b.freed)
			b.freed = nil
		}
		b.mu.Unlock()
		it.batch.Release()
	}
}

// releaseAll gives back what an attempt left behind. The writer is closed.
func (b *budget) releaseAll() {
	b.mu.Lock()
	items := make([]*item, 0, len(b.live))
	for it := range b.live {
		items = append(items, it)
	}
	b.mu.Unlock()
	b.release(items...)
}

// bytes is the memory held now.
func (b *budget) bytes() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}
