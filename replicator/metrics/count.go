package metrics

import (
	"sync"

	"github.com/rowferry/rowferry/schema"
)

// Count is how many changes of one kind a batch has for a table.
type Count struct {
	Table *schema.Table
	Op    schema.Op
	N     int64
}

// maxCounts bounds the search for a run's entry: beyond it runs are not merged.
const maxCounts = 16

// Counts counts a batch's changes by table and operation into dst. It costs two comparisons for each change; one
// table and operation may have several entries.
func Counts(dst []Count, b *schema.Batch) []Count {
	if b.Copy != nil && b.Copy.Rows > 0 {
		return append(dst, Count{Table: b.Copy.Table, Op: schema.OpRead, N: int64(b.Copy.Rows)})
	}
	at := -1
	for i := range b.Changes {
		c := &b.Changes[i]
		if at < 0 || dst[at].Table != c.Table || dst[at].Op != c.Op {
			dst, at = find(dst, c.Table, c.Op)
		}
		dst[at].N++
	}
	return dst
}

// Merge adds counts to dst.
func Merge(dst, counts []Count) []Count {
	for _, c := range counts {
		found, at := find(dst, c.Table, c.Op)
		dst = found
		dst[at].N += c.N
	}
	return dst
}

func find(counts []Count, t *schema.Table, op schema.Op) ([]Count, int) {
	for i := len(counts) - 1; i >= max(0, len(counts)-maxCounts); i-- {
		if counts[i].Table == t && counts[i].Op == op {
			return counts, i
		}
	}
	return append(counts, Count{Table: t, Op: op}), len(counts)
}

// tables gives tables their labels, up to a number of them.
type tables struct {
	max    int
	mu     sync.Mutex // guards labels and seen
	labels map[*schema.Table]string
	seen   map[string]bool
}

// other is the label of tables beyond the limit, and of changes without a table.
const other = "_other"

// maxVersions bounds the memory of table versions.
const maxVersions = 4096

func (t *tables) label(table *schema.Table) string {
	if table == nil {
		return other
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if label, ok := t.labels[table]; ok {
		return label
	}
	if t.labels == nil || len(t.labels) > maxVersions {
		t.labels = map[*schema.Table]string{}
	}
	if t.seen == nil {
		t.seen = map[string]bool{}
	}
	label := table.String()
	if !t.seen[label] {
		if len(t.seen) >= t.max {
			label = other
		} else {
			t.seen[label] = true
		}
	}
	t.labels[table] = label
	return label
}
