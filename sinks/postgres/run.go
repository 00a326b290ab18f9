package postgres

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/failpoint"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks/apply"
)

const (
	bulkRows   = 4       // from how many rows on one statement writes them all
	copyMin    = 500     // from how many inserted rows on COPY is worth the round trip
	chunkRows  = 1000    // rows of one bulk statement, so that the server works while the next is built
	chunkBytes = 1 << 20 // bytes of one bulk statement, unless a single row has more
)

// statementKey tells the statements of a plan apart.
type statementKey struct {
	op    apply.Op
	shape *apply.Shape
	bulk  bool
}

// Run executes steps in order and waits for all their results.
func (l *lane) Run(ctx context.Context, steps []apply.Step) error {
	l.steps = steps
	for n := range steps {
		if err := l.step(ctx, n); err != nil {
			return err
		}
		if failpoint.Enabled && n == (len(steps)-1)/2 {
			if err := l.drain(); err != nil {
				return err
			}
			if err := failpoint.Hit(ctx, "apply.mid"); err != nil {
				return err
			}
		}
	}
	return l.drain()
}

// step sends one step.
func (l *lane) step(ctx context.Context, n int) error {
	s := &l.steps[n]
	if s.Op == apply.Truncate {
		plans := make([]*plan, len(s.Tables))
		for i, t := range s.Tables {
			p, err := l.plan(ctx, t.Source)
			if err != nil {
				return err
			}
			plans[i] = p
		}
		l.query(ctx, truncateTables(plans, s.Truncate.RestartIdentity), want{kind: wantAny, step: n})
		return nil
	}
	p := l.plans[s.Table.Source]
	if p == nil {
		return fmt.Errorf("table %s has no plan", s.Table.Source)
	}
	switch {
	case !s.Bulk || len(s.Rows) < bulkRows || s.Shape != nil && len(s.Shape.Columns) == 0:
		return l.singles(ctx, n, p)
	case s.Op == apply.Insert && len(s.Rows) >= l.w.copyMin:
		return l.copyRows(ctx, n, p)
	}
	return l.bulk(ctx, n, p)
}

// statementFor finds or makes the statement for a step.
func (l *lane) statementFor(p *plan, s *apply.Step, bulk bool) *statement {
	key := statementKey{op: s.Op, shape: s.Shape, bulk: bulk}
	if st := p.statements[key]; st != nil {
		return st
	}
	var columns []int
	if s.Shape != nil {
		columns = s.Shape.Columns
	}
	var sql string
	switch {
	case s.Op == apply.Insert && bulk:
		sql = insertRows(p, columns)
	case s.Op == apply.Insert:
		sql = insertRow(p, columns)
	case s.Op == apply.Delete && bulk:
		sql = deleteRows(p)
	case s.Op == apply.Delete:
		sql = deleteRow(p)
	case s.Shape.Special:
		sql = replaceRow(p, columns)
	case bulk:
		sql = updateRows(p, columns)
	default:
		sql = updateRow(p, columns)
	}
	st := l.statement(sql, nil)
	st.order, st.written = order(p, s), len(columns)
	if bulk {
		for _, i := range st.order {
			st.oids = append(st.oids, p.bind[i].arrayOID)
		}
	}
	p.statements[key] = st
	return st
}

// singles sends one statement for each row.
func (l *lane) singles(ctx context.Context, n int, p *plan) error {
	s := &l.steps[n]
	st := l.statementFor(p, s, false)
	w := want{kind: wantRows, rows: 1, step: n}
	if s.Op == apply.Delete && s.Table.Cascaded() {
		w.kind = wantUpTo
	}
	for i := range s.Rows {
		row := &s.Rows[i]
		l.values, l.buffer = l.values[:0], l.buffer[:0]
		size := 0
		arena := row.Batch.Arena
		for k, ordinal := range st.order {
			values := row.Values()
			if k >= st.written {
				values = row.Match()
			}
			value := l.param(values[ordinal], arena)
			l.values = append(l.values, value)
			size += len(value) + 4
		}
		w.row = i
		if err := l.send(ctx, st, l.values, size, w); err != nil {
			return err
		}
	}
	return nil
}

// empty is a value without bytes that is not NULL.
var empty = []byte{}

// param is a value as a parameter: NULL is nil. Text is not copied.
func (l *lane) param(v schema.Value, arena []byte) []byte {
	switch v.Form() {
	case schema.Text:
		if text := v.Bytes(arena); len(text) > 0 {
			return text
		}
		return empty
	case schema.Null, schema.NotCaptured, schema.Unchanged:
		return nil
	}
	// Earlier parameters stay valid when the buffer moves: they keep the memory they were given.
	start := len(l.buffer)
	l.buffer = v.AppendText(l.buffer, arena)
	return l.buffer[start:len(l.buffer):len(l.buffer)]
}

// bulk sends one statement for each chunk of rows.
func (l *lane) bulk(ctx context.Context, n int, p *plan) error {
	s := &l.steps[n]
	st := l.statementFor(p, s, true)
	for len(l.columns) < len(st.order) {
		l.columns = append(l.columns, nil)
	}
	columns := l.columns[:len(st.order)]
	for first := 0; first < len(s.Rows); {
		for k := range columns {
			columns[k] = append(columns[k][:0], '{')
		}
		end, size := first, 0
		for end < len(s.Rows) && end-first < chunkRows && size < chunkBytes {
			row := &s.Rows[end]
			size = 0
			values, match, arena := row.Values(), row.Match(), row.Batch.Arena
			for k, ordinal := range st.order {
				if end > first {
					columns[k] = append(columns[k], ',')
				}
				if k < st.written {
					columns[k] = appendElement(columns[k], values[ordinal], arena)
				} else {
					columns[k] = appendElement(columns[k], match[ordinal], arena)
				}
				size += len(columns[k])
			}
			end++
		}
		for k := range columns {
			columns[k] = append(columns[k], '}')
		}
		w := want{kind: wantRows, rows: int64(end - first), step: n, row: -1}
		if end-first == 1 {
			w.row = first
		}
		if err := l.send(ctx, st, columns, size, w); err != nil {
			return err
		}
		first = end
	}
	for k := range columns {
		if cap(columns[k]) > 4*chunkBytes {
			columns[k] = nil
		}
	}
	return nil
}

// copyRows sends rows by COPY, after everything before it was answered.
func (l *lane) copyRows(ctx context.Context, n int, p *plan) error {
	if err := l.drain(); err != nil {
		return err
	}
	s := &l.steps[n]
	source := &rowReader{rows: s.Rows, columns: s.Shape.Columns, buffer: l.buffer[:0]}
	err := l.copyFrom(ctx, source, copyRows(p, s.Shape.Columns), int64(len(s.Rows)))
	if l.buffer = source.buffer[:0]; cap(l.buffer) > 4*chunkBytes {
		l.buffer = nil
	}
	if err != nil && ofRows(err) {
		return &apply.Rejected{Step: n, Row: -1, Err: err}
	}
	return err
}

// copyFrom runs a COPY and checks that all rows arrived.
func (l *lane) copyFrom(ctx context.Context, r io.Reader, sql string, rows int64) error {
	ctx, clock := watchFor(ctx, time.Duration(l.w.cfg.ReplyTimeout))
	defer clock.stop()
	tag, err := l.conn.CopyFrom(ctx, &watchedReader{r: r, clock: clock}, sql)
	if err != nil {
		return broken(context.Cause(ctx), err)
	}
	if got := tag.RowsAffected(); got != rows {
		return fault.Halt("target.trigger_refused", fmt.Errorf("%d of %d copied rows arrived", got, rows), remedyTrigger)
	}
	return nil
}

// watchedReader tells a watch that data is flowing.
type watchedReader struct {
	r     io.Reader
	clock *watch
}

// Read reads on.
func (w *watchedReader) Read(p []byte) (int, error) {
	w.clock.progress()
	return w.r.Read(p)
}

// rowReader writes rows as COPY text while they are read. It holds one piece of text at a time.
type rowReader struct {
	rows    []apply.Row
	columns []int
	buffer  []byte
	ready   []byte // what of buffer was not read yet
}

// Read gives the next piece.
func (r *rowReader) Read(p []byte) (int, error) {
	if len(r.ready) == 0 {
		if len(r.rows) == 0 {
			return 0, io.EOF
		}
		r.buffer = r.buffer[:0]
		for len(r.rows) > 0 && len(r.buffer) < len(p) {
			row := &r.rows[0]
			values, arena := row.Values(), row.Batch.Arena
			for k, i := range r.columns {
				if k > 0 {
					r.buffer = append(r.buffer, '\t')
				}
				r.buffer = appendCopyField(r.buffer, values[i], arena)
			}
			r.buffer = append(r.buffer, '\n')
			r.rows = r.rows[1:]
		}
		r.ready = r.buffer
	}
	n := copy(p, r.ready)
	r.ready = r.ready[n:]
	return n, nil
}
