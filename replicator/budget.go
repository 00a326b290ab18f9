package replicator

import (
	"context"
	"sync"
)

// overhead is what a batch without contents counts for, so that their number is limited too.
const overhead = 1 << 10

// budget limits the memory of batches on their way, and knows which they are. One batch may exceed it.
type budget struct {
	limit   int64
	pressed chan struct{} // gets a token when the reader begins to wait

	mu    sync.Mutex // guards what follows
	used  int64
	live  map[*item]struct{}
	freed chan struct{} // closed when used falls below limit, while somebody waits
}

func newBudget(limit int64) *budget {
	return &budget{limit: limit, pressed: make(chan struct{}, 1), live: map[*item]struct{}{}}
}

// wait blocks until there is room.
func (b *budget) wait(ctx context.Context) error {
	for {
		b.mu.Lock()
		if b.used < b.limit {
			b.mu.Unlock()
			return nil
		}
		if b.freed == nil {
			b.freed = make(chan struct{})
		}
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
		if b.used < b.limit && b.freed != nil {
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
