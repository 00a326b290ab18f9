package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/failpoint"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks/apply"
)

// lane is one connection that commits transactions one after the other. It has one user at a time.
type lane struct {
	*session
	w      *Writer
	number int
	epoch  int64
	seq    int64 // of the lane's row in the ledger, as this writer left it

	pipe     pipe
	mark     mark
	open     bool // a transaction has begun
	staged   bool // parts of a big transaction are in it
	saved    bool // it has a savepoint to rewind to
	altered  bool // it has changed tables
	seen     seen
	deferred bool // constraints are checked at its end

	plans      map[*schema.Table]*plan
	prepared   int // statements the server keeps for us
	names      int
	advance    *statement
	hold       *statement
	applier    *apply.Applier
	steps      []apply.Step
	columns    [][]byte // arrays under construction
	values     [][]byte
	buffer     []byte
	deferrable bool // a table seen has constraints that can wait
}

// seen is what a transaction was told of the target, or made there, and need not ask about again.
type seen struct {
	types   map[string]bool        // by name, whether they are there: asking takes a savepoint, each slower the more tables were made
	schemas map[string]bool        // that are there
	made    map[*schema.Table]bool // tables
}

// note sets what a map says, making it when it is first needed.
func note[K comparable](m *map[K]bool, key K, value bool) {
	if *m == nil {
		*m = map[K]bool{}
	}
	(*m)[key] = value
}

// mark is what a transaction sets in the ledger: a new position, or nothing but that the row is ours.
type mark struct {
	moves    bool
	seq      int64
	phase    schema.Phase
	position schema.Position
}

const (
	// keptStatements is how many statements the server may keep for a lane before they are given up all at once.
	keptStatements = 1000
	savepoint      = "rowferry_part"
)

// newLane puts a lane on a connection.
func newLane(w *Writer, s *session, number int, row apply.LedgerRow) *lane {
	l := &lane{
		session: s, w: w, number: number, epoch: row.Epoch, seq: row.Seq,
		plans: map[*schema.Table]*plan{}, applier: apply.NewApplier(w.rt.Log),
	}
	l.advance, l.hold = l.statement(checked(advanceSQL), nil), l.statement(checked(holdSQL), nil)
	return l
}

// statement names a statement to be prepared.
func (l *lane) statement(sql string, oids []uint32) *statement {
	l.names++
	return &statement{name: "rf" + strconv.Itoa(l.names), sql: sql, oids: oids}
}

// none is a want that is about no step.
func none(kind wantKind) want { return want{kind: kind, step: -1, row: -1} }

// begin starts a transaction with the compare-and-set on the lane's row. It only sends: the answers come with those
// of what follows.
func (l *lane) begin(ctx context.Context, m mark) error {
	if err := l.refresh(ctx); err != nil {
		return err
	}
	if err := failpoint.Hit(ctx, "apply.before_cas"); err != nil {
		return err
	}
	l.open, l.mark, l.saved, l.staged, l.altered, l.deferred = true, m, false, false, false, false
	l.seen = seen{}
	l.query(ctx, "BEGIN", none(wantAny))
	if err := l.claim(ctx, m); err != nil {
		return err
	}
	if l.deferrable {
		l.defers(ctx)
	}
	return nil
}

// claim sends the compare-and-set.
func (l *lane) claim(ctx context.Context, m mark) error {
	pipeline, lane := l.w.claim.Pipeline, strconv.Itoa(l.number)
	epoch, seq := strconv.FormatInt(l.epoch, 10), strconv.FormatInt(l.seq, 10)
	s, args := l.hold, []string{pipeline, lane, epoch, seq}
	if m.moves {
		s = l.advance
		args = append([]string{strconv.FormatInt(m.seq, 10), string(m.phase), m.position.Format, m.position.Token}, args...)
	}
	l.values = l.values[:0]
	for _, arg := range args {
		l.values = append(l.values, []byte(arg))
	}
	if err := l.send(ctx, s, l.values, 0, none(wantClaim)); err != nil {
		return err
	}
	if failpoint.Enabled {
		if err := l.drain(); err != nil {
			return err
		}
		return failpoint.Hit(ctx, "apply.after_cas")
	}
	return nil
}

// defers puts off the checks of constraints that can wait: a source that put them off sends rows that collide for
// a moment.
func (l *lane) defers(ctx context.Context) {
	if !l.deferred {
		l.query(ctx, "SET CONSTRAINTS ALL DEFERRED", none(wantAny))
		l.deferred = true
	}
}

// save marks the place a rewind goes back to.
func (l *lane) save(ctx context.Context) {
	l.query(ctx, "SAVEPOINT "+savepoint, none(wantAny))
	l.saved = true
}

// release gives the savepoint up: what was done since is part of the transaction.
func (l *lane) release(ctx context.Context) {
	if l.saved {
		l.query(ctx, "RELEASE SAVEPOINT "+savepoint, none(wantAny))
		l.saved = false
	}
}

// Rewind undoes what was applied since the transaction, or the part of one, began. A contradiction between changes is
// found before anything was sent: the answers to what began the transaction may still be on their way.
func (l *lane) Rewind(ctx context.Context) error {
	if err := l.drain(); err != nil {
		return err
	}
	if l.altered {
		clear(l.plans)
		l.seen = seen{}
	}
	if l.saved {
		if _, err := l.exec(ctx, "ROLLBACK TO SAVEPOINT "+savepoint); err != nil {
			return fmt.Errorf("going back to the savepoint: %w", err)
		}
		l.deferred = false // it is undone, too, if it came after the savepoint
		if l.deferrable {
			l.defers(ctx)
		}
		return nil
	}
	if _, err := l.exec(ctx, "ROLLBACK"); err != nil {
		return fmt.Errorf("rolling back: %w", err)
	}
	return l.begin(ctx, l.mark)
}

// commit ends the transaction. Everything sent before was answered and checked: a COMMIT is never sent on trust.
func (l *lane) commit(ctx context.Context) error {
	if err := l.drain(); err != nil {
		return err
	}
	if err := failpoint.Hit(ctx, "apply.before_commit"); err != nil {
		return err
	}
	if err := l.sendCommit(ctx); err != nil {
		return err
	}
	l.open, l.staged = false, false
	if l.mark.moves {
		l.seq = l.mark.seq
	}
	return failpoint.Hit(ctx, "apply.after_commit")
}

// sendCommit sends COMMIT and waits for the answer. Once it was sent, everything but a clear answer means that only
// the ledger knows.
func (l *lane) sendCommit(ctx context.Context) error {
	ctx, clock := watchFor(ctx, time.Duration(l.w.cfg.ReplyTimeout))
	defer clock.stop()
	p := l.conn.StartPipeline(ctx)
	p.SendQueryParams("COMMIT", nil, nil, nil, nil)
	if err := p.Sync(); err != nil {
		return fault.Unknown(fmt.Errorf("sending the commit: %w", broken(context.Cause(ctx), err)))
	}
	if err := failpoint.Hit(ctx, "apply.commit_sent_no_reply"); err != nil {
		_ = l.conn.Conn().Close()
		_ = p.Close()
		return fault.Unknown(err)
	}
	tag, err := commitTag(p)
	var server *pgconn.PgError
	switch {
	case errors.As(err, &server) && !severed(server):
		_ = p.Close()
		return fmt.Errorf("committing: %w", classify(err))
	case err != nil:
		_ = p.Close()
		return fault.Unknown(fmt.Errorf("waiting for the commit's answer: %w", broken(context.Cause(ctx), err)))
	}
	if err := p.Close(); err != nil && tag == "" {
		return fault.Unknown(fmt.Errorf("waiting for the commit's answer: %w", broken(context.Cause(ctx), err)))
	}
	if tag != "COMMIT" {
		return fmt.Errorf("committing: the server answered %s", tag)
	}
	return nil
}

// commitTag reads the answer to COMMIT.
func commitTag(p *pgconn.Pipeline) (string, error) {
	result, err := p.GetResults()
	if err != nil {
		return "", err
	}
	r, ok := result.(*pgconn.ResultReader)
	if !ok {
		return "", errors.New("the server gave no answer")
	}
	tag, err := r.Close()
	return tag.String(), err
}

// refresh gives up the statements the server keeps when there are many: tables come and go.
func (l *lane) refresh(ctx context.Context) error {
	if l.prepared < keptStatements {
		return nil
	}
	if _, err := l.exec(ctx, "DEALLOCATE ALL"); err != nil {
		return fmt.Errorf("giving up prepared statements: %w", err)
	}
	l.prepared = 0
	l.advance.ready, l.hold.ready = false, false
	clear(l.kept)
	clear(l.plans)
	return nil
}

// Table says how rows of a source's table are written, looking at the target when it is asked first.
func (l *lane) Table(ctx context.Context, t *schema.Table) (*apply.Table, error) {
	p, err := l.plan(ctx, t)
	if err != nil {
		return nil, err
	}
	return p.table, nil
}

// plan finds or makes the plan of a table.
func (l *lane) plan(ctx context.Context, t *schema.Table) (*plan, error) {
	if p := l.plans[t]; p != nil {
		return p, nil
	}
	if err := l.drain(); err != nil {
		return nil, err
	}
	p, err := l.adopt(ctx, t, nil)
	if err != nil {
		return nil, err
	}
	l.keep(ctx, t, p)
	return p, nil
}

// keep remembers a table's plan. Constraints that can wait do so from now on.
func (l *lane) keep(ctx context.Context, t *schema.Table, p *plan) {
	l.plans[t] = p
	if p.deferrable {
		l.deferrable = true
		if l.open {
			l.defers(ctx)
		}
	}
}

// Schema takes note of a new version of a table.
func (l *lane) Schema(ctx context.Context, c *schema.Change) error {
	if err := l.drain(); err != nil {
		return err
	}
	for t := range l.plans {
		if t.Schema == c.Table.Schema && t.Name == c.Table.Name {
			delete(l.plans, t)
		}
	}
	p, err := l.adopt(ctx, c.Table, c.Previous)
	if err != nil {
		return err
	}
	l.keep(ctx, c.Table, p)
	return nil
}
