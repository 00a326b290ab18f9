package apply

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
)

// fakeTarget keeps what it was asked to do, and refuses what refuse says.
type fakeTarget struct {
	tables map[*schema.Table]*Table
	did    []string
	refuse func(run int, steps []Step) error
	runs   int
}

func (f *fakeTarget) Table(_ context.Context, t *schema.Table) (*Table, error) {
	return f.tables[t], nil
}

func (f *fakeTarget) Run(_ context.Context, steps []Step) error {
	f.runs++
	f.did = append(f.did, strings.TrimSpace(render(steps)))
	if f.refuse != nil {
		return f.refuse(f.runs, steps)
	}
	return nil
}

func (f *fakeTarget) Schema(_ context.Context, c *schema.Change) error {
	f.did = append(f.did, "schema of "+c.Table.Name)
	return nil
}

func (f *fakeTarget) Rewind(context.Context) error {
	f.did = append(f.did, "rewind")
	return nil
}

func TestApplier(t *testing.T) {
	refusal := func(step, row int) error {
		return &Rejected{Step: step, Row: row, Err: fault.Record("target.row_exists", errors.New("it is there"), "look")}
	}
	tests := []struct {
		name    string
		changes string
		refuse  func(run int, steps []Step) error
		did     string
		err     string
		careful bool
	}{
		{
			name: "folding passes", changes: "a+ 1 1 x\na~ 1 2 -",
			did: "insert a bulk (id=1 u=2 v=x)",
		},
		{
			name: "folding is refused, order passes", changes: "a~ 1 1 x\na~ 2 2 x",
			refuse: func(run int, _ []Step) error {
				if run == 1 {
					return refusal(0, -1)
				}
				return nil
			},
			did:     "update a bulk (1:u=1 v=x) (2:u=2 v=x)\nrewind\nupdate a (1:u=1 v=x)\nupdate a (2:u=2 v=x)",
			careful: true,
		},
		{
			name: "a change is refused", changes: "a+ 1 1 x\na+ 2 2 secret",
			refuse: func(run int, steps []Step) error { return refusal(len(steps)-1, 0) },
			did:    "insert a bulk (id=1 u=1 v=x) (id=2 u=2 v=secret)\nrewind\ninsert a (id=1 u=1 v=x)\ninsert a (id=2 u=2 v=secret)",
			err:    `target.row_exists: insert of s.a with key id="2" at log offset 0/0: it is there`,
		},
		{
			name: "contradictions are applied as they came", changes: "a+ 1 1 x\na+ 1 2 y",
			refuse: func(_ int, steps []Step) error { return refusal(1, 0) },
			did:    "rewind\ninsert a (id=1 u=1 v=x)\ninsert a (id=1 u=2 v=y)",
			err:    `target.row_exists: insert of s.a with key id="1" at log offset 0/0: it is there`,
		},
		{
			name: "what is not about rows is final", changes: "a+ 1 1 x",
			refuse: func(int, []Step) error { return fault.Wait("target.connect", errors.New("gone")) },
			did:    "insert a bulk (id=1 u=1 v=x)", err: "target.connect: gone",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			table, err := NewTable(testTable("a"), layoutOf(primary))
			if err != nil {
				t.Fatal(err)
			}
			target := &fakeTarget{tables: map[*schema.Table]*Table{table.Source: table}, refuse: tt.refuse}
			batch := script(tt.changes, map[string]*Table{"a": table})
			got := ""
			if err := NewApplier(zerolog.Nop()).Apply(t.Context(), target, []*schema.Batch{batch}); err != nil {
				got = err.Error()
			}
			if got != tt.err {
				t.Errorf("got error %q, want %q", got, tt.err)
			}
			if diff := cmp.Diff(tt.did, strings.Join(target.did, "\n")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if table.Careful != tt.careful {
				t.Errorf("careful: got %v, want %v", table.Careful, tt.careful)
			}
		})
	}
}

func TestApplierRunsWhatPrecedesASchemaChange(t *testing.T) {
	table, err := NewTable(testTable("a"), layoutOf(primary))
	if err != nil {
		t.Fatal(err)
	}
	target := &fakeTarget{tables: map[*schema.Table]*Table{table.Source: table}}
	batch := script("a+ 1 1 x\na~ 1 2 y", map[string]*Table{"a": table})
	batch.Changes = []schema.Change{
		batch.Changes[0], {Op: schema.OpSchema, Table: table.Source}, {Op: schema.OpMessage}, batch.Changes[1],
	}
	if err := NewApplier(zerolog.Nop()).Apply(t.Context(), target, []*schema.Batch{batch}); err != nil {
		t.Fatal(err)
	}
	want := []string{"insert a bulk (id=1 u=1 v=x)", "schema of a", "update a bulk (1:u=2 v=y)"}
	if diff := cmp.Diff(want, target.did); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
