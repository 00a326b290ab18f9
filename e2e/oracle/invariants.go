package oracle

import (
	"strconv"
	"strings"

	"github.com/rowferry/rowferry/e2e/load"
)

// invariants checks the load's invariants between any two transactions of a file. A nil one checks nothing.
type invariants struct {
	file    *File
	total   int64
	ledgers map[string]int // rows by ledger number
	of      map[string]int // how many there must be
	touched map[string]bool
	entries []entry // written by the transaction at hand
}

type entry struct{ key, seq, item string }

func newInvariants(f *File) *invariants {
	return &invariants{file: f, ledgers: map[string]int{}, of: map[string]int{}, touched: map[string]bool{}}
}

// change sees one row change; before or after is nil where there is no row.
func (v *invariants) change(line int, t *folded, before, after []*string) {
	if v == nil {
		return
	}
	switch t.Name {
	case "bank":
		v.total += number(t.get(after, "balance")) - number(t.get(before, "balance"))
	case "txn_a", "txn_b":
		if before != nil {
			v.ledgers[t.get(before, "txn")]--
			v.touched[t.get(before, "txn")] = true
		}
		if after != nil {
			id := t.get(after, "txn")
			v.ledgers[id]++
			v.touched[id] = true
			v.of[id] = int(number(t.get(after, "k")))
		}
	case "lists":
		was, is := t.get(before, "items"), t.get(after, "items")
		if before != nil && after != nil && !strings.HasPrefix(is, strings.TrimSuffix(was, "}")+",") {
			v.file.report.Add(Reordered, "line %d: list %s does not grow at its end", line, t.get(after, "key"))
		}
	case "entries":
		if after != nil {
			v.entries = append(v.entries, entry{t.get(after, "key"), t.get(after, "seq"), t.get(after, "item")})
		}
	case "subs":
		if t.get(after, "ghost") == "true" {
			v.file.report.Add(Doubled, "line %d brings a row that was rolled back", line)
		}
	}
}

// between checks a state that readers may see.
func (v *invariants) between(line int) {
	if v == nil {
		return
	}
	r := v.file.report
	r.Looked("file transactions", 1)
	if v.total != load.Total {
		r.Add(Torn, "line %d: the bank holds %d between transactions, not %d", line, v.total, load.Total)
	}
	for id := range v.touched {
		n := v.ledgers[id]
		if n != 0 && n != v.of[id] {
			r.Add(Torn, "line %d: ledger number %s has %d of %d rows between transactions", line, id, n, v.of[id])
		}
		if n == 0 {
			delete(v.ledgers, id)
			delete(v.of, id)
		}
	}
	clear(v.touched)
	lists := v.file.tables["lists"]
	for _, e := range v.entries {
		items := strings.Split(strings.Trim(lists.get(lists.rows[e.key], "items"), "{}"), ",")
		seq := int(number(e.seq))
		if seq < 1 || seq > len(items) || items[seq-1] != e.item {
			r.Add(Torn, "line %d: list %s does not hold its entry %s between transactions", line, e.key, e.seq)
		}
	}
	v.entries = v.entries[:0]
}

func number(s string) int64 {
	n, _ := strconv.ParseInt(s, 10, 64) // no number counts as none
	return n
}
