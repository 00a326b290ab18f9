package postgres

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rowferry/rowferry/e2e/servers"
	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sources"
)

// reader plays the engine and a target that holds what it is told: rows as text by table.
type reader struct {
	t      testing.TB
	stream sources.Stream
	held   schema.Position
	state  map[string][]byte
	made   []string
	phases []schema.Phase
	tables map[string][]string // rows that were copied, by table
	plan   []schema.CopyPlan
	known  map[string]*schema.Table // announced
	log    []string                 // changes of the stream, and takeovers
}

func newReader(t testing.TB) *reader {
	return &reader{t: t, state: map[string][]byte{}, tables: map[string][]string{}, known: map[string]*schema.Table{}}
}

// open starts where the reader stands.
func (r *reader) open(s *Source) error {
	var state []schema.State
	for key, value := range r.state {
		state = append(state, schema.State{Key: key, Value: value})
	}
	stream, err := s.Stream(within(r.t, 30*time.Second), r.held, state)
	if err == nil {
		r.stream = stream
		r.t.Cleanup(func() { _ = stream.Close() })
	}
	return err
}

// close ends the stream.
func (r *reader) close() {
	if err := r.stream.Close(); err != nil {
		r.t.Errorf("closing: %v", err)
	}
}

// step takes one batch and acks what it moves.
func (r *reader) step(ctx context.Context) error {
	b, err := r.stream.Next(ctx)
	if err != nil {
		return err
	}
	upto := b.Upto
	r.take(b)
	if upto.IsZero() {
		return nil
	}
	r.held = upto
	return r.stream.Ack(ctx, upto)
}

// take records a batch and releases it.
func (r *reader) take(b *schema.Batch) {
	if b.Phase != "" && (len(r.phases) == 0 || r.phases[len(r.phases)-1] != b.Phase) {
		r.phases = append(r.phases, b.Phase)
	}
	r.made = append(r.made, b.Made...)
	for _, s := range b.State {
		if s.Value == nil {
			delete(r.state, s.Key)
		} else {
			r.state[s.Key] = s.Value
		}
	}
	for _, t := range b.Tables {
		r.known[t.String()] = t
	}
	if b.Plan != nil {
		r.plan = b.Plan
	}
	if b.Copy != nil && b.Copy.Raw != nil {
		table := b.Copy.Table.String()
		text := strings.TrimSuffix(string(b.Copy.Raw), "\n")
		if b.Copy.Rows > 0 {
			r.tables[table] = append(r.tables[table], strings.Split(text, "\n")...)
		}
	}
	for _, t := range b.Takeovers {
		r.log = append(r.log, "takeover "+t.Table.String()+" "+strings.Join(t.Columns, " "))
	}
	for i := range b.Changes {
		c := &b.Changes[i]
		r.log = append(r.log, fmt.Sprintf("%d %s%s", c.Op, c.Table, r.row(b, c)))
	}
	b.Release()
}

// row spells a change's new row, or its old one.
func (r *reader) row(b *schema.Batch, c *schema.Change) string {
	values := b.Row(c.After)
	if values == nil {
		values = b.Row(c.Before)
	}
	var text strings.Builder
	for _, v := range values {
		text.WriteString(" ")
		if v.IsNull() {
			text.WriteString("NULL")
		}
		text.Write(v.AppendText(nil, b.Arena))
	}
	return text.String()
}

// until steps until done.
func (r *reader) until(done func() bool) {
	r.t.Helper()
	ctx := within(r.t, 60*time.Second)
	for !done() {
		if err := r.step(ctx); err != nil {
			r.t.Fatalf("reading on: %v (phases %v, log %v)", err, r.phases, r.log)
		}
	}
}

// streaming tells whether the copy is done.
func (r *reader) streaming() bool {
	return len(r.phases) > 0 && r.phases[len(r.phases)-1] == schema.PhaseStream
}

// fails opens and reads until an error, and gives it.
func (r *reader) fails(s *Source) error {
	r.t.Helper()
	ctx := within(r.t, 60*time.Second)
	err := r.open(s)
	for err == nil {
		err = r.step(ctx)
	}
	if ctx.Err() != nil {
		r.t.Fatal("no error came")
	}
	return err
}

// wantFault checks an error's code.
func wantFault(t testing.TB, err error, code string, class fault.Class) {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) || f.Code != code || f.Class != class {
		t.Fatalf("got %v, want %s (%s)", err, code, class)
	}
	if class == fault.Terminal && f.Remedy == "" {
		t.Errorf("%s has no remedy", code)
	}
}

// majors are the servers that behaviour is tested on.
var majors = []int{15, 18}

func TestFirstStart(t *testing.T) {
	for _, major := range []int{14, 15, 16, 17, 18} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			url := servers.ForTest(t, major).NewDatabase(t)
			servers.Exec(t, url,
				`CREATE TABLE a (id int PRIMARY KEY, v text)`, `INSERT INTO a SELECT i, 'v' || i FROM generate_series(1, 1000) i`,
				`CREATE TABLE empty (id int PRIMARY KEY)`)
			s := newSource(t, url, func(_ *Config, rt *sources.Runtime) { rt.Snapshot.ChunkSize = 8192 })
			r := newReader(t)
			if err := r.open(s); err != nil {
				t.Fatal(err)
			}
			ctx := within(t, 30*time.Second)
			b, err := r.stream.Next(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if b.Phase != schema.PhaseCreating || b.Upto.IsZero() {
				t.Fatalf("got first batch %+v, want phase creating", b)
			}
			if got := value(t, url, `SELECT count(*)::text FROM pg_replication_slots WHERE database = current_database()`); got != "0" {
				t.Errorf("got %s slots before the ack, want none", got)
			}
			if got := value(t, url, `SELECT count(*)::text FROM pg_publication`); got != "0" {
				t.Errorf("got %s publications before the ack, want none", got)
			}
			r.held = b.Upto
			r.take(b)
			if err := r.stream.Ack(ctx, r.held); err != nil {
				t.Fatal(err)
			}
			for len(r.phases) < 2 {
				if err := r.step(ctx); err != nil {
					t.Fatal(err)
				}
			}
			servers.Exec(t, url, `INSERT INTO a VALUES (2000, 'later')`, `UPDATE a SET v = 'new' WHERE id = 1`)
			r.until(r.streaming)
			r.until(func() bool { return len(r.log) >= 2 })
			want := []string{"1 public.a 2000 later", "2 public.a 1 new"}
			if diff := cmp.Diff(want, r.log); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
			if got := len(r.tables["public.a"]); got != 1000 {
				t.Errorf("got %d copied rows, want 1000", got)
			}
			name := "rowferry_" + databaseOf(t, url)
			sort.Strings(r.made)
			if diff := cmp.Diff([]string{"publication:" + name, "slot:" + name}, r.made); diff != "" {
				t.Errorf("made (-want +got):\n%s", diff)
			}
			if len(r.plan) != 2 || len(r.known) != 2 {
				t.Errorf("got %d plans and %d tables, want 2 and 2", len(r.plan), len(r.known))
			}
			r.close()

			servers.Exec(t, url, `DELETE FROM a WHERE id = 2000`)
			r.log = nil
			if err := r.open(s); err != nil {
				t.Fatal(err)
			}
			r.until(func() bool { return len(r.log) >= 2 })
			want = []string{"6 public.a", "3 public.a 2000 "}
			if diff := cmp.Diff(want, r.log); diff != "" {
				t.Errorf("changes after a restart (-want +got):\n%s", diff)
			}
			r.close()
		})
	}
}
