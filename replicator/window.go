package replicator

import "github.com/rowferry/rowferry/schema"

// window is the ack window: which groups are on their way, and up to where all of them are durable. It is pure.
// Copied rows have no place in it, as they move no position.
type window struct {
	entries []windowEntry // on their way, in order of seq without gaps
}

type windowEntry struct {
	seq  int64
	upto schema.Position
	done bool
}

// begin notes a group on its way. Groups begin in order of Seq.
func (w *window) begin(seq int64, upto schema.Position) {
	if n := len(w.entries); n > 0 && w.entries[n-1].seq+1 != seq {
		broken(1, "group %d follows group %d", seq, w.entries[n-1].seq)
	}
	w.entries = append(w.entries, windowEntry{seq: seq, upto: upto})
}

// end notes that a group is durable. moved tells whether the lower edge moved: everything up to upto is durable.
func (w *window) end(seq int64) (upto schema.Position, moved bool) {
	if len(w.entries) == 0 || seq < w.entries[0].seq || seq-w.entries[0].seq >= int64(len(w.entries)) {
		broken(1, "group %d ended and is not on its way", seq)
	}
	e := &w.entries[seq-w.entries[0].seq]
	if e.done {
		broken(1, "group %d ended twice", seq)
	}
	e.done = true
	n := 0
	for n < len(w.entries) && w.entries[n].done {
		upto, moved = w.entries[n].upto, true
		n++
	}
	w.entries = w.entries[:copy(w.entries, w.entries[n:])]
	return upto, moved
}
