package postgres

import (
	"context"
	_ "embed" // the queries
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/failpoint"
	"github.com/rowferry/rowferry/schema/fault"
)

var (
	//go:embed queries/copy_check.sql
	copyCheckSQL string
)

const (
	copyBatch   = 4 << 20 // a batch of rows is handed over when it is this long
	copyBuffers = 2       // batches in flight for each worker: one being filled, one being applied
)

// copyTable is the copy of one table.
type copyTable struct {
	oid     uint32
	version tableVersion
	filter  string
	columns []int // every ordinal of the version

	mu   sync.Mutex // guards left, and the order of a range's last batch and the table's
	left int        // ranges that are not yet read
}

// copyRange is what one worker reads in one transaction: some pages of a table, or of one of its partitions.
type copyRange struct {
	table *copyTable
	leaf  leaf
	chunk int64
	from  int64 // first page
	to    int64 // first page of the next range; 0 for "to the end"
}

// copier reads existing rows with several workers under one snapshot.
type copier struct {
	source   *Source
	snapshot string
	offset   uint64 // of every copied row: no change that the slot sends lies before it
	workers  int
	plans    []schema.CopyPlan
	ranges   []copyRange
	taken    atomic.Int64 // ranges that workers have taken

	out     chan *schema.Batch
	buffers chan []byte // room for rows; what is not here is in batches
	cancel  context.CancelFunc
	done    chan struct{}
	err     error // of the workers; read after out or done is closed
}

// plan is what is known of the tables before they are copied.
func (c *copier) plan() []schema.CopyPlan { return c.plans }

// start lets the workers run until every range is read, one of them fails, or stop is called, which waits for them.
func (c *copier) start() {
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	c.done = make(chan struct{})
	c.out = make(chan *schema.Batch, c.workers)
	c.buffers = make(chan []byte, c.workers*copyBuffers)
	for range cap(c.buffers) {
		c.buffers <- nil
	}
	go func() {
		defer close(c.done)
		c.err = c.run(ctx)
		close(c.out)
	}()
}

// stop ends the workers and waits for them.
func (c *copier) stop() {
	if c.cancel == nil {
		return
	}
	c.cancel()
	for range c.out { // batches nobody asked for; workers that wait for a place go on and see the end
	}
	<-c.done
}

// next hands over the next batch of rows, in no order; nil after the last. Only nil means that all were read: a
// worker's error may wrap io.EOF, as that of a server that hangs up before it has answered does.
func (c *copier) next(ctx context.Context) (*schema.Batch, error) {
	select {
	case b, ok := <-c.out:
		if ok {
			return b, nil
		}
		return nil, c.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// run runs the workers.
func (c *copier) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for lane := range c.workers {
		group.Go(func() error { return c.work(ctx, lane) })
	}
	return group.Wait()
}

// work reads ranges, one after the other, on a connection of its own.
func (c *copier) work(ctx context.Context, lane int) error {
	var conn *pgx.Conn
	for {
		n := c.taken.Add(1) - 1
		if n >= int64(len(c.ranges)) {
			return nil
		}
		if conn == nil {
			var err error
			if conn, err = c.source.open(ctx); err != nil {
				return err
			}
			defer func() { closeConn(conn.PgConn()) }()
		}
		if err := c.read(ctx, conn, &c.ranges[n], lane); err != nil {
			return fmt.Errorf("copying %s: %w", c.ranges[n].table.version.table, err)
		}
	}
}

// read copies one range in a transaction of its own, so that its locks last no longer than it.
func (c *copier) read(ctx context.Context, conn *pgx.Conn, r *copyRange, lane int) error {
	if r.leaf.oid == 0 { // a partitioned table without partitions
		return (&rowWriter{copier: c, r: r, lane: lane}).finish(ctx)
	}
	tx, err := importSnapshot(ctx, conn, c.snapshot)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(ctx) }()
	w := &rowWriter{copier: c, r: r, lane: lane}
	write := writeFunc(func(row []byte) (int, error) { return len(row), w.write(ctx, row) })
	if _, err := conn.PgConn().CopyTo(ctx, write, r.statement()); err != nil {
		w.drop()
		return copyFault(err)
	}
	if err := r.check(ctx, tx); err != nil {
		w.drop()
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		w.drop()
		return classify(fmt.Errorf("ending the copy of a range: %w", err))
	}
	return w.finish(ctx)
}

// copyFault marks an error of a COPY. A table or column that is gone was there when the snapshot was taken: the
// copy begins again with a snapshot that knows the change.
func copyFault(err error) error {
	var server *pgconn.PgError
	if errors.As(err, &server) {
		switch server.Code {
		case "42P01", "42703", "42704", "42809": // undefined table, column, object; wrong kind of object
			return fault.Wait("source.copy_changed", redact(err, server))
		}
	}
	return classify(err)
}

// check compares the table's storage and the names of its columns in the snapshot with those of now. TRUNCATE and ALTER
// do not wait for old snapshots: a COPY that comes after one reads an empty or a rewritten table, or another column of
// the same name. While this transaction runs no other can, because the COPY's lock is held.
func (r *copyRange) check(ctx context.Context, tx pgx.Tx) error {
	var same bool
	err := tx.QueryRow(ctx, copyCheckSQL, r.leaf.oid, quoteTable(r.leaf.schema, r.leaf.name)).Scan(&same)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return classify(fmt.Errorf("checking the storage of %s: %w", r.table.version.table, err))
	}
	if err != nil || !same {
		return fault.Wait("source.copy_changed",
			fmt.Errorf("table %s was truncated, rewritten or given other columns since the copy began", r.table.version.table))
	}
	return nil
}

// statement is the COPY of the range.
func (r *copyRange) statement() string {
	var sql strings.Builder
	sql.WriteString("COPY (SELECT ")
	for i := range r.table.version.columns {
		if i > 0 {
			sql.WriteString(", ")
		}
		sql.WriteString(quoteName(r.table.version.columns[i].Name))
	}
	sql.WriteString(" FROM ONLY ")
	sql.WriteString(quoteTable(r.leaf.schema, r.leaf.name))
	var conditions []string
	if r.table.filter != "" {
		conditions = append(conditions, "("+r.table.filter+")")
	}
	if r.from > 0 {
		conditions = append(conditions, "ctid >= '("+strconv.FormatInt(r.from, 10)+",0)'::tid")
	}
	if r.to > 0 {
		conditions = append(conditions, "ctid < '("+strconv.FormatInt(r.to, 10)+",0)'::tid")
	}
	if len(conditions) > 0 {
		sql.WriteString(" WHERE ")
		sql.WriteString(strings.Join(conditions, " AND "))
	}
	sql.WriteString(") TO STDOUT")
	return sql.String()
}

// snapshotNames is what the server calls exported snapshots: they are named in a statement without parameters.
var snapshotNames = regexp.MustCompile(`^[0-9A-Fa-f-]{1,64}$`)

// importSnapshot begins a transaction that sees what the exported snapshot shows.
func importSnapshot(ctx context.Context, conn *pgx.Conn, snapshot string) (pgx.Tx, error) {
	if !snapshotNames.MatchString(snapshot) {
		return nil, fault.Wait("source.snapshot_lost", fmt.Errorf("the server named its snapshot %q", snapshot))
	}
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, classify(fmt.Errorf("beginning to copy: %w", err))
	}
	_, err = tx.Exec(ctx, "SET TRANSACTION SNAPSHOT "+quoteLiteral(snapshot), pgx.QueryExecModeSimpleProtocol)
	if err == nil {
		return tx, nil
	}
	_ = tx.Rollback(ctx)
	var server *pgconn.PgError
	if errors.As(err, &server) && (server.Code == "22023" || server.Code == "42704" || server.Code == "55000") {
		return nil, fault.Wait("source.snapshot_lost",
			fmt.Errorf("the copy's snapshot is gone with the connection that exported it: %w", redact(err, server)))
	}
	return nil, classify(fmt.Errorf("importing the snapshot: %w", err))
}

// writeFunc is a function as an io.Writer.
type writeFunc func(p []byte) (int, error)

// Write calls f.
func (f writeFunc) Write(p []byte) (int, error) { return f(p) }

// rowWriter takes the rows of one range, one at a time, and hands them over in batches cut between rows.
type rowWriter struct {
	copier *copier
	r      *copyRange
	lane   int
	buf    []byte
	rows   int
	held   bool // buf belongs to us
}

// write takes one row with its newline. It costs one copy.
func (w *rowWriter) write(ctx context.Context, row []byte) error {
	if int64(len(row)) > int64(w.copier.source.cfg.MaxValueBytes) {
		if err := w.refuseLarge(row); err != nil {
			return err
		}
	}
	if w.held && len(w.buf)+len(row) > copyBatch && w.rows > 0 {
		if err := w.send(ctx, false); err != nil {
			return err
		}
	}
	if err := w.take(ctx); err != nil {
		return err
	}
	w.buf = append(w.buf, row...)
	w.rows++
	return nil
}

// take waits for room to put rows into.
func (w *rowWriter) take(ctx context.Context) error {
	if w.held {
		return nil
	}
	select {
	case w.buf = <-w.copier.buffers:
		w.buf, w.rows, w.held = w.buf[:0], 0, true
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// send hands the rows over. The buffer comes back when the batch is released.
func (w *rowWriter) send(ctx context.Context, done bool) error {
	if err := w.take(ctx); err != nil { // an empty last batch
		return err
	}
	buf, buffers := w.buf, w.copier.buffers
	b := schema.NewBatch(func(*schema.Batch) { giveBack(buffers, buf) })
	b.Phase = schema.PhaseCopy
	b.Copy = &schema.Copy{
		Table: w.r.table.version.table, Chunk: w.r.chunk, Lane: w.lane, Rows: w.rows, Raw: buf,
		Columns: w.r.table.columns, Offset: w.copier.offset, Done: done,
	}
	w.buf, w.rows, w.held = nil, 0, false
	select {
	case w.copier.out <- b:
		return nil
	case <-ctx.Done():
		b.Release()
		return context.Cause(ctx)
	}
}

// finish hands over what is left of the range, and ends the table with it when it was the table's last.
func (w *rowWriter) finish(ctx context.Context) error {
	t := w.r.table
	t.mu.Lock()
	defer t.mu.Unlock()
	t.left--
	if t.left > 0 {
		if w.rows == 0 {
			w.drop()
			return nil
		}
		return w.send(ctx, false)
	}
	if err := w.send(ctx, true); err != nil {
		return err
	}
	return failpoint.Hit(ctx, "snap.table.done")
}

// drop gives the buffer back.
func (w *rowWriter) drop() {
	if w.held {
		giveBack(w.copier.buffers, w.buf)
		w.buf, w.held = nil, false
	}
}

// giveBack returns a buffer for more rows; one that grew for a huge row is left to the garbage collector.
func giveBack(buffers chan<- []byte, buf []byte) {
	if cap(buf) > 2*copyBatch {
		buf = nil
	}
	buffers <- buf
}

// refuseLarge halts for a value above the limit. Escapes do not count: they are not part of the value.
func (w *rowWriter) refuseLarge(row []byte) error {
	limit := int64(w.copier.source.cfg.MaxValueBytes)
	columns := w.r.table.version.columns
	fields := strings.Split(strings.TrimSuffix(string(row), "\n"), "\t")
	for i, field := range fields {
		length := int64(len(field)) - escapes(field)
		if length <= limit || i >= len(columns) {
			continue
		}
		return valueTooLarge(w.r.table.version.table, columns[i].Name, length, keyText(w.r.table.version.table, fields))
	}
	return nil
}

// escapes counts the bytes that COPY's backslashes add to a field.
func escapes(field string) int64 {
	var n int64
	for i := 0; i < len(field); i++ {
		if field[i] == '\\' {
			n++
			i++
		}
	}
	return n
}

// keyText spells a row's primary key for a message.
func keyText(t *schema.Table, fields []string) string {
	var parts []string
	for _, i := range t.Key() {
		if i < len(fields) && len(fields[i]) <= 200 {
			parts = append(parts, schema.QuoteName(t.Columns[i].Name)+"="+fields[i])
		}
	}
	if len(parts) == 0 {
		return "no key"
	}
	return strings.Join(parts, ", ")
}

// valueTooLarge is the halt for a value above max_value_bytes.
func valueTooLarge(t *schema.Table, column string, length int64, key string) error {
	return fault.Halt("source.value_too_large",
		fmt.Errorf("a value of column %s of table %s has %d bytes (row with %s)", schema.QuoteName(column), t, length, key),
		"raise source.max_value_bytes, leave the column out with a column list in the publication, or shorten the value")
}
