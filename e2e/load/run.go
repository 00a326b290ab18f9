package load

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"
)

// Runner plays a load. Make one with its fields set, then call Run once.
type Runner struct {
	URL     string // of the source database, as Setup left it
	Profile Profile
	Seed    uint64
	Workers int
	// Rate is how many transactions a second all workers make together, 0 for as many as they can.
	Rate float64
	// Limit is how many transactions each worker makes; 0 for no limit, until the context ends.
	Limit int

	gate  gate
	log   Log
	marks int64
}

// Log is what the load did. It may be read while the load runs.
func (r *Runner) Log() *Log { return &r.log }

// Pause makes every worker finish its transaction and wait; it returns when all of them do. Only one caller at a
// time may pause and resume.
func (r *Runner) Pause() { r.gate.close() }

// Resume lets the workers go on.
func (r *Runner) Resume() { r.gate.open() }

// Run plays until the context ends or every worker has reached its limit. A transaction that was begun is ended.
// A lost connection, a deadlock and the like are not errors: the transaction is tried again, unless the source
// says that it had committed.
func (r *Runner) Run(ctx context.Context) error {
	r.gate.open()
	group, ctx := errgroup.WithContext(ctx)
	for n := range r.Workers {
		w := &worker{runner: r, generator: NewGenerator(r.Profile, r.Seed, n+1), number: n + 1}
		group.Go(func() error { return w.run(ctx) })
	}
	return group.Wait()
}

// Mark makes one more transaction, as worker 0, and returns a position in the source's log that lies before its end
// and after the end of everything the load has committed. Nobody else may call it at the same time.
func (r *Runner) Mark(ctx context.Context) (string, error) {
	r.marks++
	conn, err := dial(ctx, r.URL)
	if err != nil {
		return "", fmt.Errorf("marking the end: %w", err)
	}
	defer conn.Close(ctx)
	results, err := conn.Exec(ctx, fmt.Sprintf(`BEGIN; INSERT INTO txn_a VALUES (%d, 1, 1);
SELECT pg_current_xact_id(), pg_current_wal_insert_lsn(); COMMIT`, r.marks)).ReadAll()
	if err != nil {
		return "", fmt.Errorf("marking the end: %w", err)
	}
	row := results[2].Rows[0]
	xid, err := strconv.ParseUint(string(row[0]), 10, 64)
	if err != nil {
		return "", fmt.Errorf("reading the transaction id: %w", err)
	}
	r.log.add(Entry{ID: r.marks, Xid: xid, Changes: 1})
	return string(row[1]), nil
}

// worker plays one generator over one connection.
type worker struct {
	runner    *Runner
	generator *Generator
	number    int
	conn      *pgconn.PgConn
	pid       uint32
}

// statementLimit bounds one statement, so that a frozen source ends the load instead of hanging it.
const statementLimit = 2 * time.Minute

func (w *worker) run(ctx context.Context) error {
	defer w.hangUp()
	var tick <-chan time.Time
	if w.runner.Rate > 0 {
		ticker := time.NewTicker(time.Duration(float64(w.runner.Workers) / w.runner.Rate * float64(time.Second)))
		defer ticker.Stop()
		tick = ticker.C
	}
	for n := 0; w.runner.Limit == 0 || n < w.runner.Limit; n++ {
		if tick != nil {
			select {
			case <-tick:
			case <-ctx.Done():
				return nil
			}
		}
		if !w.runner.gate.enter(ctx) {
			return nil
		}
		err := w.play(w.generator.Next())
		w.runner.gate.leave()
		if err != nil {
			return fmt.Errorf("worker %d: %w", w.number, err)
		}
	}
	return nil
}

// play makes the transaction happen exactly once, or not at all when it is one to be rolled back.
func (w *worker) play(t Transaction) error {
	deadline := time.Now().Add(statementLimit)
	for {
		done, err := w.attempt(t)
		if done || err != nil && !again(err) {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("transaction %d: %w", t.ID, err)
		}
		if err != nil {
			time.Sleep(20 * time.Millisecond) // the server is away, or another worker holds what we need
		}
	}
}

// attempt tries the transaction once. done tells that its outcome is settled.
func (w *worker) attempt(t Transaction) (done bool, err error) {
	// The load ends between transactions only: a deadline of its own bounds this one.
	ctx, cancel := context.WithTimeout(context.Background(), statementLimit)
	defer cancel()
	if w.conn == nil {
		if w.conn, err = dial(ctx, w.runner.URL); err != nil {
			return false, err
		}
		w.pid = w.conn.PID()
	}
	results, err := w.exec(ctx, body(t))
	if err != nil {
		w.rollBack(ctx)
		return false, err
	}
	entry := Entry{ID: t.ID, Worker: w.number, Kinds: t.Kinds(), Changes: changes(t, results)}
	if entry.Xid, err = strconv.ParseUint(string(results[len(results)-1].Rows[0][0]), 10, 64); err != nil {
		return true, fmt.Errorf("reading the transaction id: %w", err)
	}
	if !t.Commit {
		w.rollBack(ctx)
		w.runner.log.rolledBack()
		return true, nil
	}
	results, err = w.exec(ctx, "COMMIT; SELECT pg_current_wal_insert_lsn()")
	if err != nil {
		w.hangUp()
		committed, err := w.outcome(ctx, entry)
		if committed {
			w.runner.log.add(entry)
		}
		return committed, err
	}
	entry.After = string(results[1].Rows[0][0])
	w.runner.log.add(entry)
	return true, nil
}

// dial connects as a worker. Deadlocks are part of the load, and looked for soon.
func dial(ctx context.Context, url string) (*pgconn.PgConn, error) {
	c, err := pgconn.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("reading the source's URL: %w", err)
	}
	c.RuntimeParams["deadlock_timeout"] = "50ms"
	c.RuntimeParams["application_name"] = "load"
	return pgconn.ConnectConfig(ctx, c)
}

// body is everything up to the end of the transaction; its last result is the transaction's id.
func body(t Transaction) string {
	var b strings.Builder
	b.WriteString("BEGIN;")
	for _, s := range t.Statements {
		b.WriteString(s.SQL)
		b.WriteString(";")
	}
	b.WriteString("SELECT pg_current_xact_id()")
	return b.String()
}

// changes counts the row changes that the transaction leaves in the log, less what savepoints took back.
func changes(t Transaction, results []*pgconn.Result) int {
	total := 0
	var saved []int
	for i, s := range t.Statements {
		switch {
		case strings.HasPrefix(s.SQL, "SAVEPOINT"):
			saved = append(saved, total)
		case strings.HasPrefix(s.SQL, "ROLLBACK TO"):
			total = saved[len(saved)-1]
		case strings.HasPrefix(s.SQL, "RELEASE"):
			saved = saved[:len(saved)-1]
		default:
			total += s.Factor * int(results[i+1].CommandTag.RowsAffected())
		}
	}
	return total
}

func (w *worker) exec(ctx context.Context, sql string) ([]*pgconn.Result, error) {
	return w.conn.Exec(ctx, sql).ReadAll()
}

// outcome asks the source whether a transaction whose COMMIT got no answer is committed: its row in the ledger table
// says so, once its backend is gone. (The xid cannot tell: a server that crashed may hand it out again.)
func (w *worker) outcome(ctx context.Context, e Entry) (bool, error) {
	ask := fmt.Sprintf(`SELECT (SELECT count(*) FROM pg_stat_activity WHERE pid = %d AND backend_xid = '%d');
SELECT count(*) FROM txn_a WHERE txn = %d`, w.pid, e.Xid&0xffffffff, e.ID)
	for {
		conn, err := dial(ctx, w.runner.URL)
		if err == nil {
			var results []*pgconn.Result
			results, err = conn.Exec(ctx, ask).ReadAll()
			if err == nil && string(results[0].Rows[0][0]) == "0" {
				w.conn, w.pid = conn, conn.PID()
				return string(results[1].Rows[0][0]) != "0", nil
			}
			_ = conn.Close(ctx)
		}
		if ctx.Err() != nil {
			return false, fmt.Errorf("asking for the outcome of transaction %d: %w", e.ID, errors.Join(err, ctx.Err()))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// rollBack ends the transaction, or the connection when that fails.
func (w *worker) rollBack(ctx context.Context) {
	if _, err := w.exec(ctx, "ROLLBACK"); err != nil {
		w.hangUp()
	}
}

func (w *worker) hangUp() {
	if w.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = w.conn.Close(ctx)
	w.conn = nil
}

// again tells whether an error may go away: anything but the server refusing a statement for what it says.
func again(err error) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return true
	}
	switch pg.Code[:2] {
	case "40", "57", "53", "08", "55", "58":
		return true
	}
	return false
}

// gate lets workers through, or holds them.
type gate struct {
	mu     sync.Mutex // guards the rest
	shut   chan struct{}
	inside int
	empty  *sync.Cond
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut != nil {
		close(g.shut)
		g.shut = nil
	}
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.empty == nil {
		g.empty = sync.NewCond(&g.mu)
	}
	if g.shut == nil {
		g.shut = make(chan struct{})
	}
	for g.inside > 0 {
		g.empty.Wait()
	}
}

// enter waits until the gate is open; false when the context ended first.
func (g *gate) enter(ctx context.Context) bool {
	for ctx.Err() == nil {
		g.mu.Lock()
		shut := g.shut
		if shut == nil {
			g.inside++
			g.mu.Unlock()
			return true
		}
		g.mu.Unlock()
		select {
		case <-shut:
		case <-ctx.Done():
		}
	}
	return false
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	if g.inside == 0 && g.empty != nil {
		g.empty.Broadcast()
	}
}
