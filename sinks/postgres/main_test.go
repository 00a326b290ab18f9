package postgres

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/rowferry/rowferry/e2e/servers"
	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/sinks"
)

// TestMain looks for goroutines left behind. Properties are checked on a real server, where each check is dear: fewer
// than usual, unless -rapid.checks says how many.
func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "rapid.checks" })
	if !given {
		_ = flag.Set("rapid.checks", "25")
	}
	goleak.VerifyTestMain(m)
}

// patience bounds what a test waits for.
const patience = 30 * time.Second

// testContext bounds one test's calls.
func testContext(tb testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	tb.Cleanup(cancel)
	return ctx
}

// db is a database of a test, with a connection to look at it.
type db struct {
	testing.TB
	url  string
	conn *pgx.Conn
}

// newDB makes a database on a server of the major version, and runs statements in it.
func newDB(tb testing.TB, major int, statements ...string) *db {
	tb.Helper()
	url := servers.ForTest(tb, major).NewDatabase(tb)
	servers.Exec(tb, url, statements...)
	conn, err := pgx.Connect(testContext(tb), url)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close(context.Background()) })
	return &db{TB: tb, url: url, conn: conn}
}

// exec runs statements on the looking connection.
func (d *db) exec(statements ...string) {
	d.Helper()
	for _, s := range statements {
		if _, err := d.conn.PgConn().Exec(testContext(d), s).ReadAll(); err != nil {
			d.Fatalf("running %q: %v", s, err)
		}
	}
}

// lines runs a query and gives each row as one line.
func (d *db) lines(query string, args ...any) []string {
	d.Helper()
	rows, err := d.conn.Query(testContext(d), query, append([]any{pgx.QueryExecModeSimpleProtocol}, args...)...)
	if err != nil {
		d.Fatalf("running %q: %v", query, err)
	}
	defer rows.Close()
	out := []string{}
	for rows.Next() {
		line := ""
		for i, v := range rows.RawValues() {
			if i > 0 {
				line += "|"
			}
			if v == nil {
				line += "<NULL>"
			} else {
				line += string(v)
			}
		}
		out = append(out, line)
	}
	if err := rows.Err(); err != nil {
		d.Fatalf("running %q: %v", query, err)
	}
	return out
}

// sink makes a target on the database; change alters its settings.
func (d *db) sink(change func(*Config)) *Sink {
	d.Helper()
	cfg := Config{URL: d.url, CopyWorkers: 2}
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg, testRuntime)
	if err != nil {
		d.Fatal(err)
	}
	return s
}

var testRuntime = sinks.Runtime{Pipeline: "test", Log: zerolog.Nop()}

var testClaim = sinks.Claim{Pipeline: "test", Source: "test:1/db/slot", Fingerprint: "scope", Holder: "a test"}

// open opens the target; the writer is closed with the test.
func (d *db) open(change func(*Config)) (*Writer, sinks.Held) {
	d.Helper()
	w, held, err := d.sink(change).Open(testContext(d), testClaim)
	if err != nil {
		d.Fatalf("Open: got %v, want a writer", err)
	}
	d.Cleanup(func() { _ = w.Close() })
	return w.(*Writer), held
}

// stream is a writer that commits changes in the phase of streaming.
type stream struct {
	*db
	w   *Writer
	seq int64
}

// stream opens the target and goes to streaming at once.
func (d *db) stream(change func(*Config)) *stream {
	d.Helper()
	w, held := d.open(change)
	s := &stream{db: d, w: w, seq: held.Seq}
	if err := s.commit(newBatch()); err != nil {
		d.Fatalf("Commit of a barrier: got %v, want nil", err)
	}
	return s
}

// commit commits batches as one group.
func (s *stream) commit(batches ...*batch) error {
	return s.commitContext(testContext(s), batches...)
}

func (s *stream) commitContext(ctx context.Context, batches ...*batch) error {
	g := sinks.Group{Seq: s.seq + 1, Phase: schema.PhaseStream}
	g.Upto = schema.Position{Format: "test/1", Token: fmt.Sprint(s.seq + 1)}
	for _, b := range batches {
		p, err := s.w.Encode(b.Batch)
		if err != nil {
			return err
		}
		g.Payloads = append(g.Payloads, p)
		g.Tables, g.Takeovers = append(g.Tables, b.Tables...), append(g.Takeovers, b.Takeovers...)
	}
	err := s.w.Commit(ctx, g)
	if err == nil {
		s.seq++
	}
	return err
}

// stage commits batches as the parts of one big transaction.
func (s *stream) stage(batches ...*batch) error {
	for len(batches) > 1 {
		p, err := s.w.Encode(batches[0].Batch)
		if err == nil {
			err = s.w.Stage(testContext(s), 0, p)
		}
		if err != nil {
			return err
		}
		batches = batches[1:]
	}
	return s.commit(batches...)
}

// must commits batches and fails the test if that fails.
func (s *stream) must(batches ...*batch) {
	s.Helper()
	if err := s.commit(batches...); err != nil {
		s.Fatalf("Commit: got %v, want nil", err)
	}
}

// batch builds a batch of one transaction. A value is nil for NULL, unchanged and absent for what was not sent,
// and text otherwise.
type batch struct{ *schema.Batch }

type special string

const (
	unchanged special = "unchanged"
	absent    special = "absent"
)

func newBatch() *batch {
	b := schema.NewBatch(nil)
	b.Transactions = []schema.Transaction{{ID: 771}}
	return &batch{Batch: b}
}

// row appends an image.
func (b *batch) row(t *schema.Table, values []any) schema.Row {
	if values == nil {
		return schema.Row{}
	}
	if len(values) != len(t.Columns) {
		panic(fmt.Sprintf("%d values for %d columns of %s", len(values), len(t.Columns), t))
	}
	first := len(b.Values)
	for _, v := range values {
		switch v := v.(type) {
		case nil:
			b.Values = append(b.Values, schema.NullValue)
		case special:
			if v == unchanged {
				b.Values = append(b.Values, schema.UnchangedValue)
			} else {
				b.Values = append(b.Values, schema.Value{})
			}
		default:
			start := len(b.Arena)
			b.Arena = fmt.Append(b.Arena, v)
			b.Values = append(b.Values, schema.TextAt(start, len(b.Arena)-start))
		}
	}
	return schema.Row{First: int32(first), Count: int32(len(values))}
}

func (b *batch) change(op schema.Op, t *schema.Table, before, after []any) *batch {
	c := schema.Change{Op: op, Table: t, Before: b.row(t, before), After: b.row(t, after)}
	c.Offset = 0x16_B374D800 + uint64(len(b.Changes))
	b.Changes = append(b.Changes, c)
	b.Transactions[0].Count++
	return b
}

type row = []any

func (b *batch) insert(t *schema.Table, values ...any) *batch {
	return b.change(schema.OpCreate, t, nil, values)
}
func (b *batch) update(t *schema.Table, values ...any) *batch {
	return b.change(schema.OpUpdate, t, nil, values)
}
func (b *batch) updateFrom(t *schema.Table, old row, values ...any) *batch {
	return b.change(schema.OpUpdate, t, old, values)
}
func (b *batch) delete(t *schema.Table, old ...any) *batch {
	return b.change(schema.OpDelete, t, old, nil)
}
func (b *batch) truncate(tr schema.Truncate) *batch {
	b.change(schema.OpTruncate, tr.Tables[0], nil, nil)
	b.Changes[len(b.Changes)-1].Truncate = &tr
	return b
}
func (b *batch) schema(t, previous *schema.Table) *batch {
	b.change(schema.OpSchema, t, nil, nil)
	b.Changes[len(b.Changes)-1].Previous = previous
	return b
}

// tableOf describes a source's table: "name type" for each column, with a leading * for those that name a row.
func tableOf(name string, columns ...string) *schema.Table {
	t := &schema.Table{Schema: "public", Name: name}
	part := int16(0)
	for _, text := range columns {
		c := schema.Column{Precision: -1, Initial: schema.Initial{Known: true}}
		if text[0] == '*' {
			part++
			c.Ident, c.KeyPart, c.NotNull, text = true, part, true, text[1:]
		}
		for i := range text {
			if text[i] == ' ' {
				c.Name, c.Native, c.Base = text[:i], text[i+1:], text[i+1:]
				break
			}
		}
		c.Kind = map[string]schema.Kind{
			"integer": schema.KindInt32, "bigint": schema.KindInt64, "text": schema.KindText, "numeric": schema.KindDecimal,
			"json": schema.KindJSON, "mood": schema.KindEnum,
		}[c.Native]
		if c.Kind == schema.KindInvalid {
			c.Kind = schema.KindOpaque
		}
		t.Columns = append(t.Columns, c)
	}
	return t.WithVersion()
}

// full makes the table one that sends all old values.
func full(t *schema.Table) *schema.Table {
	copied := *t
	copied.Columns = append([]schema.Column{}, t.Columns...)
	copied.Identity = schema.IdentityFull
	for i := range copied.Columns {
		copied.Columns[i].Ident, copied.Columns[i].KeyPart = true, 0
	}
	return copied.WithVersion()
}

// containsAll tells whether text holds all parts.
func containsAll(text string, parts ...string) bool {
	for _, part := range parts {
		if !strings.Contains(text, part) {
			return false
		}
	}
	return true
}
