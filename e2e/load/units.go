package load

import (
	"fmt"
	"slices"
)

// unit puts one unit of work of a random kind into the transaction.
func (w *walk) unit() {
	n := w.rand.IntN(w.weight)
	for _, k := range w.kinds {
		if n -= w.profile.Weights[k]; n < 0 {
			w.make(k)
			return
		}
	}
}

func (w *walk) make(k Kind) {
	switch k {
	case Transfer:
		w.transfer()
	case Append:
		w.appendList()
	case Hot:
		w.add(Hot, 1, "UPDATE hot SET n = n + 1 WHERE id = 1")
	case Doc:
		w.doc()
	case Move:
		w.move()
	case Wipe:
		if w.number >= w.profile.WipeFrom {
			w.wipe()
		} else {
			w.refill()
		}
	case Refill:
		w.refill()
	case Big:
		w.big()
	case Sub:
		w.add(Sub, 1, "INSERT INTO subs VALUES (%d, false, %d)", w.id(), len(w.saved))
	case AddColumn:
		w.addColumn()
	case Change:
		w.change()
	}
}

// transfer moves money in key order, so that two transfers seldom deadlock.
func (w *walk) transfer() {
	a, b := 1+w.rand.IntN(Accounts), 1+w.rand.IntN(Accounts)
	amount := 1 + w.rand.IntN(9)
	if a == b {
		b = a%Accounts + 1
	}
	if a > b {
		a, b, amount = b, a, -amount
	}
	w.add(Transfer, 1, "UPDATE bank SET balance = balance - (%d) WHERE id = %d", amount, a)
	w.add(Transfer, 1, "UPDATE bank SET balance = balance + (%d) WHERE id = %d", amount, b)
}

// appendList appends to one of four lists that all workers share for a while, then to the next four: lists stay short.
func (w *walk) appendList() {
	const shared, perList = 4, 60
	w.model.appended++
	key := int64(w.model.appended/perList*shared + w.rand.IntN(shared))
	w.add(Append, 2, `WITH l AS (
  INSERT INTO lists VALUES (%d, ARRAY[%d]) ON CONFLICT (key) DO UPDATE SET items = lists.items || EXCLUDED.items
  RETURNING key, cardinality(items) AS seq, items[cardinality(items)] AS item)
INSERT INTO entries SELECT key, seq, item FROM l`, key, w.id())
}

func (w *walk) doc() {
	m := w.model
	switch n := w.rand.IntN(10); {
	case len(m.docs) == 0 || n < 3 && len(m.docs) < 40:
		id := w.id()
		m.docs = append(m.docs, id)
		w.add(Doc, 1, "INSERT INTO docs VALUES (%d, 0, '%s' || repeat(md5('%d'), %d))", id, w.profile.Canary, id, 70+w.rand.IntN(200))
	case n == 9 && len(m.docs) > 5:
		i := w.rand.IntN(len(m.docs))
		w.add(Doc, 1, "DELETE FROM docs WHERE id = %d", m.docs[i])
		m.docs = slices.Delete(m.docs, i, i+1)
	case n == 8:
		w.add(Doc, 1, "UPDATE docs SET body = repeat(md5('%d'), 90) WHERE id = %d", w.rand.Int64(), m.docs[w.rand.IntN(len(m.docs))])
	case n == 7:
		w.add(Doc, 1, "UPDATE docs SET body = NULL, n = n + 1 WHERE id = %d", m.docs[w.rand.IntN(len(m.docs))])
	default:
		w.add(Doc, 1, "UPDATE docs SET n = n + 1 WHERE id = %d", m.docs[w.rand.IntN(len(m.docs))])
	}
}

// move changes a key, sometimes twice in a row, sometimes of a row with an out-of-line value.
func (w *walk) move() {
	m := w.model
	if len(m.keyed) < 10 {
		id := w.id()
		m.keyed = append(m.keyed, id)
		w.add(Move, 1, "INSERT INTO keyed VALUES (%d, 0, repeat(md5('%d'), 80))", id, id)
		return
	}
	i := w.rand.IntN(len(m.keyed))
	if w.rand.IntN(8) == 0 {
		w.add(Move, 1, "DELETE FROM keyed WHERE id = %d", m.keyed[i])
		m.keyed = slices.Delete(m.keyed, i, i+1)
		return
	}
	id := w.id()
	w.add(Move, 1, "UPDATE keyed SET id = %d, moves = moves + 1 WHERE id = %d", id, m.keyed[i])
	m.keyed[i] = id
}

func (w *walk) refill() {
	w.add(Refill, 1, "INSERT INTO wiped VALUES (%d, 'note')", w.id())
	w.add(Refill, 1, "INSERT INTO wiped_too VALUES (%d, 'note')", w.id())
}

func (w *walk) wipe() {
	if w.rand.IntN(2) == 0 {
		w.add(Wipe, 0, "TRUNCATE wiped")
	} else {
		w.add(Wipe, 0, "TRUNCATE wiped, wiped_too")
	}
	w.add(Wipe, 1, "INSERT INTO wiped VALUES (%d, 'after')", w.id())
}

func (w *walk) big() {
	m := w.model
	if len(m.big) >= 2 {
		w.add(Big, 1, "DELETE FROM big WHERE txn = %d", m.big[0])
		m.big = m.big[1:]
		return
	}
	id := w.id()
	m.big = append(m.big, id)
	w.add(Big, 1, "INSERT INTO big SELECT %d, g, md5(g::text) FROM generate_series(1, %d) g", id, w.profile.BigRows)
}

func (w *walk) addColumn() {
	if w.model.columns >= w.profile.Columns {
		w.add(AddColumn, 1, "INSERT INTO grown VALUES (%d, 'plain')", w.id())
		return
	}
	name := fmt.Sprintf("w%d_%d", w.worker, w.model.columns)
	w.model.columns++
	w.add(AddColumn, 0, "ALTER TABLE grown ADD COLUMN %s int", name)
	w.add(AddColumn, 1, "INSERT INTO grown (id, note, %s) VALUES (%d, 'first', %d)", name, w.id(), w.rand.IntN(1000))
}

// change updates a few rows that the first copy found, or was still copying.
func (w *walk) change() {
	if w.profile.Old == 0 {
		w.add(Change, 1, "UPDATE old SET pad = 'none' WHERE false")
		return
	}
	id := 1 + w.rand.IntN(w.profile.Old)
	w.add(Change, 1, "UPDATE old SET pad = md5('%d'), price = price + 0.01 WHERE id BETWEEN %d AND %d", w.rand.Int64(), id, id+w.rand.IntN(4))
}
