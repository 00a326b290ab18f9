package apply

// queue gathers the changes of one table, or of the tables that keep an order among them, between two barriers.
type queue struct {
	runs    []run
	rows    []Row
	entries []entry
	index   index
	net     *Table // the table whose net changes entries hold
	listed  bool   // among the builder's active queues
	used    bool   // among those to reset
	counts  []int
}

// run is a stretch of rows with equal statements.
type run struct {
	op         Op
	table      *Table
	shape      *Shape
	first, end int
}

// bulk tells whether one statement may write all rows of the run. Updates that touch other unique values may not
// when order is to be kept: one statement can collide with itself where single ones would not.
func (r *run) bulk() bool {
	t := r.table
	switch {
	case t.layout.RowByRow || r.op == Move:
		return false
	case r.op == Insert:
		return true
	case !t.Unique:
		return false
	case r.op == Update:
		return !r.shape.Special && len(r.shape.Columns) > 0 && (!t.Careful || !t.secondary)
	}
	return !t.Cascaded()
}

// continues tells whether such a row belongs to the last run.
func (q *queue) continues(op Op, t *Table, shape *Shape) bool {
	if len(q.runs) == 0 {
		return false
	}
	r := &q.runs[len(q.runs)-1]
	return r.op == op && r.table == t && r.shape == shape
}

// begin starts a run.
func (q *queue) begin(op Op, t *Table, shape *Shape) {
	q.runs = append(q.runs, run{op: op, table: t, shape: shape, first: len(q.rows), end: len(q.rows)})
}

// append adds a row to the last run, or to a new one.
func (q *queue) append(op Op, t *Table, shape *Shape, row Row) {
	if !q.continues(op, t, shape) {
		q.begin(op, t, shape)
	}
	q.rows = append(q.rows, row)
	q.runs[len(q.runs)-1].end++
}

// settle turns the net changes gathered so far into runs: deletes, updates by shape, inserts by shape.
func (q *queue) settle(t *Table) {
	if len(q.entries) == 0 {
		return
	}
	for i := range q.entries {
		if e := &q.entries[i]; e.state == deleted || e.state == replaced {
			q.append(Delete, t, nil, e.old)
		}
	}
	q.scatter(Update, updated, updated)
	q.scatter(Insert, inserted, replaced)
	q.entries = q.entries[:0]
	q.index.clear()
}

// scatter appends the entries in one of two states, those of equal shape together. Within a shape they keep the
// order in which their keys came.
func (q *queue) scatter(op Op, one, other state) {
	t := q.net
	q.counts = append(q.counts[:0], make([]int, len(t.shapes)+1)...)
	for i := range q.entries {
		e := &q.entries[i]
		if e.state == one || e.state == other {
			e.shape = t.shapeOf(op, &e.row)
			for len(q.counts) <= e.shape.number+1 {
				q.counts = append(q.counts, 0)
			}
			q.counts[e.shape.number+1]++
		}
	}
	base, total := len(q.rows), 0
	for i, n := range q.counts {
		total += n
		q.counts[i] = total // where the next shape begins; shifted by one, so this one's start is at i
	}
	for range total {
		q.rows = append(q.rows, Row{})
	}
	shapes := make([]*Shape, len(q.counts))
	for i := range q.entries {
		e := &q.entries[i]
		if e.state == one || e.state == other {
			at := &q.counts[e.shape.number]
			q.rows[base+*at] = e.row
			shapes[e.shape.number] = e.shape
			*at++
		}
	}
	first := base
	for n, s := range shapes {
		if s != nil {
			q.runs = append(q.runs, run{op: op, table: t, shape: s, first: first, end: base + q.counts[n]})
			first = base + q.counts[n]
		}
	}
}

// rest empties the queue but for its rows, which the steps refer to.
func (q *queue) rest() {
	q.runs, q.entries, q.listed, q.net = q.runs[:0], q.entries[:0], false, nil
	q.index.clear()
}

// reset empties the queue and keeps its memory.
func (q *queue) reset() {
	q.rest()
	q.used = false
	clear(q.rows)
	q.rows = q.rows[:0]
}
