package apply

import (
	"bytes"

	"github.com/cespare/xxhash/v2"
)

// index numbers keys in the order they are first seen. It is emptied at no cost and keeps its memory, so that in
// the long run it allocates nothing.
type index struct {
	slots []slot // a power of two of them, at most half of them used
	refs  []ref
	text  []byte
	round uint32 // slots of earlier rounds count as free
}

type slot struct {
	round uint32
	entry int32
}

type ref struct {
	hash       uint64
	start, end int
}

// clear forgets all keys.
func (x *index) clear() {
	x.refs, x.text = x.refs[:0], x.text[:0]
	x.round++
	if x.round == 0 { // wrapped: old marks could count again
		clear(x.slots)
		x.round = 1
	}
}

// number returns the number of key, and whether it was known. A new key gets the next number.
func (x *index) number(key []byte) (n int, known bool) {
	if x.round == 0 {
		x.round = 1
	}
	if 2*len(x.refs) >= len(x.slots) {
		x.grow()
	}
	hash := xxhash.Sum64(key)
	mask := uint64(len(x.slots) - 1)
	at := hash & mask
	for x.slots[at].round == x.round {
		r := &x.refs[x.slots[at].entry]
		if r.hash == hash && bytes.Equal(x.text[r.start:r.end], key) {
			return int(x.slots[at].entry), true
		}
		at = (at + 1) & mask
	}
	n = len(x.refs)
	x.slots[at] = slot{round: x.round, entry: int32(n)}
	start := len(x.text)
	x.text = append(x.text, key...)
	x.refs = append(x.refs, ref{hash: hash, start: start, end: len(x.text)})
	return n, false
}

// grow doubles the slots and places the keys anew.
func (x *index) grow() {
	x.slots = make([]slot, max(64, 2*len(x.slots)))
	mask := uint64(len(x.slots) - 1)
	for n := range x.refs {
		at := x.refs[n].hash & mask
		for x.slots[at].round == x.round {
			at = (at + 1) & mask
		}
		x.slots[at] = slot{round: x.round, entry: int32(n)}
	}
}
