package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks/apply"
)

// pipe sends statements without waiting for their results, and then holds each result to what was expected of it.
type pipe struct {
	p         *pgconn.Pipeline
	why       func() error // why the requests on their way have to end, nil while they need not
	clock     *watch
	wants     []want
	unflushed int
}

// want is what the next result has to be.
type want struct {
	kind      wantKind
	rows      int64
	step, row int // which row of which step, -1 for none and for many
	statement *statement
}

type wantKind uint8

const (
	wantAny      wantKind = iota // success is enough
	wantPrepared                 // a statement is prepared
	wantRows                     // so many rows are touched
	wantUpTo                     // at most so many
	wantClaim                    // the ledger's row is still ours
)

// statement is a statement that is prepared when it is first needed.
type statement struct {
	name, sql string
	oids      []uint32
	order     []int // ordinals of the values it takes
	written   int   // how many of them are written; the others name the row
	ready     bool
	asked     bool // to be prepared, without an answer yet
}

// flushBytes is how much is gathered before it is sent.
const flushBytes = 128 << 10

// watch ends a context when it was not told for too long that there is progress.
type watch struct {
	timer  *time.Timer
	limit  time.Duration
	cancel context.CancelCauseFunc
}

// watchFor derives a context that ends with errNoAnswer after limit without progress.
func watchFor(ctx context.Context, limit time.Duration) (context.Context, *watch) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watch{limit: limit, cancel: cancel}
	w.timer = time.AfterFunc(limit, func() { cancel(errNoAnswer) })
	return ctx, w
}

// progress begins the limit anew.
func (w *watch) progress() { w.timer.Reset(w.limit) }

// stop ends the watch.
func (w *watch) stop() {
	w.timer.Stop()
	w.cancel(nil)
}

// enter starts a pipeline unless one is open.
func (l *lane) enter(ctx context.Context) {
	if l.pipe.p != nil {
		return
	}
	ctx, l.pipe.clock = watchFor(ctx, time.Duration(l.w.cfg.ReplyTimeout))
	l.pipe.why = func() error { return context.Cause(ctx) }
	l.pipe.p = l.conn.StartPipeline(ctx)
}

// query sends a statement that is not worth preparing.
func (l *lane) query(ctx context.Context, sql string, w want, args ...string) {
	l.enter(ctx)
	l.pipe.p.SendQueryParams(sql, bytesOf(args), nil, nil, nil)
	l.pipe.wants = append(l.pipe.wants, w)
}

// send sends a prepared statement, preparing it on the way if need be. The values are copied before it returns.
func (l *lane) send(ctx context.Context, s *statement, values [][]byte, size int, w want) error {
	l.enter(ctx)
	if !s.ready && !s.asked {
		l.pipe.p.SendPrepare(s.name, s.sql, s.oids)
		l.pipe.wants = append(l.pipe.wants, want{kind: wantPrepared, step: w.step, row: w.row, statement: s})
		s.asked = true
		l.prepared++
	}
	l.pipe.p.SendQueryPrepared(s.name, values, nil, nil)
	l.pipe.wants = append(l.pipe.wants, w)
	l.pipe.unflushed += size + 32
	if l.pipe.unflushed < flushBytes {
		return nil
	}
	l.pipe.unflushed = 0
	l.pipe.clock.progress()
	if err := l.pipe.p.Flush(); err != nil {
		return broken(l.pipe.why(), err)
	}
	return nil
}

// drain waits for the results of everything sent, and checks them. The first that is not as expected is the error.
func (l *lane) drain() error {
	p := &l.pipe
	if p.p == nil {
		return nil
	}
	p.clock.progress()
	err := p.p.Sync()
	if err != nil {
		err = broken(p.why(), err)
	} else {
		err = l.collect()
	}
	if closed := p.p.Close(); err == nil && closed != nil {
		err = broken(p.why(), closed)
	}
	for i := range p.wants {
		if s := p.wants[i].statement; s != nil {
			s.asked = false
		}
	}
	p.clock.stop()
	*p = pipe{wants: p.wants[:0]}
	return err
}

// collect reads the results in order and returns the first disappointment. After an error of the server nothing more
// was done; after a count that is not as expected everything was, and statements prepared on the way are there.
func (l *lane) collect() error {
	var disappointed error
	for i := range l.pipe.wants {
		w := &l.pipe.wants[i]
		result, err := l.pipe.p.GetResults()
		l.pipe.clock.progress()
		if err == nil {
			err = l.accept(w, result, &disappointed)
		}
		if err != nil {
			if disappointed == nil {
				disappointed = l.refused(w, err)
			}
			return disappointed
		}
	}
	return disappointed
}

// accept takes one result. A count that is not as expected goes to disappointed, unless there is one already.
func (l *lane) accept(w *want, result any, disappointed *error) error {
	switch r := result.(type) {
	case *pgconn.StatementDescription:
		if w.kind != wantPrepared {
			return errors.New("the server's answers are out of step")
		}
		w.statement.ready = true
		return nil
	case *pgconn.ResultReader:
		tag, err := r.Close()
		if err != nil {
			return err
		}
		if err := l.check(w, tag.RowsAffected()); err != nil && *disappointed == nil {
			*disappointed = err
		}
		return nil
	}
	return fault.Wait("target.connect", fmt.Errorf("the server's answer is missing (%T)", result))
}

// check holds a count to what was expected.
func (l *lane) check(w *want, rows int64) error {
	switch {
	case w.kind == wantClaim && rows != 1:
		return fault.Fence(fmt.Errorf("lane %d of pipeline %q has another epoch or seq in the ledger than this writer left",
			l.number, l.w.claim.Pipeline))
	case w.kind == wantRows && rows != w.rows, w.kind == wantUpTo && rows > w.rows:
	default:
		return nil
	}
	text := fmt.Sprintf("%d of %d rows were found at the target", rows, w.rows)
	if w.rows == 1 {
		text = "there is no such row at the target"
		if rows > 1 {
			text = fmt.Sprintf("%d rows at the target are meant instead of one", rows)
		}
	}
	return &apply.Rejected{Step: w.step, Row: w.row, Err: fault.Record("target.row_missing", errors.New(text), remedyRowMissing)}
}

// refused sorts out a server's error: about rows, or about the connection.
func (l *lane) refused(w *want, err error) error {
	if w.step >= 0 && ofRows(err) {
		return &apply.Rejected{Step: w.step, Row: w.row, Err: classify(err)}
	}
	if w.step >= 0 {
		err = fmt.Errorf("applying the %s: %w", apply.Describe(&l.steps[w.step], len(l.steps[w.step].Rows)), err)
	}
	return broken(l.pipe.why(), err)
}

// broken is err as the engine has to see it: the reason a call had to end for, if there is one, comes before what
// that did to the connection.
func broken(reason, err error) error {
	var server *pgconn.PgError
	switch {
	case errors.As(err, &server), reason == nil:
		return classify(err)
	case errors.Is(reason, errNoAnswer):
		return fault.Wait("target.connect", errNoAnswer)
	}
	return reason
}
