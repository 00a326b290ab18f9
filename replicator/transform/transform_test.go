package transform

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
)

func TestRouteNames(t *testing.T) {
	route, err := NewRoute([]Rename{
		{Schema: "public", To: "archive"}, {Table: "public.cust", To: "crm.customers"},
		{Table: `public."Odd.""Name"`, To: `public."x.y"`}, {Schema: "Odd", To: "even"},
	})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ schema, table, want string }{
		{"public", "orders", "archive.orders"},
		{"public", "cust", "crm.customers"},
		{"public", `Odd."Name`, `public."x.y"`},
		{"Odd", "t", "even.t"},
		{"other", "cust", "other.cust"},
	}
	for _, tt := range tests {
		s, n := route.Name(tt.schema, tt.table)
		if got := (name{s, n}).String(); got != tt.want {
			t.Errorf("%s.%s: got %s, want %s", tt.schema, tt.table, got, tt.want)
		}
	}
	if !(Route{}).Empty() || route.Empty() {
		t.Error("Empty is wrong")
	}
}

func TestNewRouteRefuses(t *testing.T) {
	tests := []struct {
		name  string
		rules []Rename
		want  string
	}{
		{"nothing", []Rename{{To: "x"}}, "rename 0: give either schema or table"},
		{"both", []Rename{{Schema: "a", Table: "a.b", To: "x"}}, "give either schema or table"},
		{"no target", []Rename{{Schema: "a"}}, "and to"},
		{"schema twice", []Rename{{Schema: "a", To: "b"}, {Schema: "a", To: "c"}}, "rename 1: schema a is renamed twice"},
		{"table twice", []Rename{{Table: "a.b", To: "c.d"}, {Table: `a."b"`, To: "c.e"}}, "renamed twice"},
		{"one target", []Rename{{Table: "a.b", To: "c.d"}, {Table: "a.c", To: "c.d"}}, "a.b and a.c would both become c.d"},
		{"one part", []Rename{{Table: "b", To: "c.d"}}, "write schema.table"},
		{"three parts", []Rename{{Table: "a.b.c", To: "c.d"}}, "write schema.table"},
		{"open quote", []Rename{{Table: `a."b`, To: "c.d"}}, "not closed"},
		{"after the quote", []Rename{{Table: `"a"b.c`, To: "c.d"}}, "a dot has to follow"},
		{"empty part", []Rename{{Table: "a.", To: "c.d"}}, "write schema.table"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := NewRoute(tt.rules); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func table(schemaName, name string) *schema.Table {
	return (&schema.Table{Schema: schemaName, Name: name, Columns: []schema.Column{{Name: "id", Kind: schema.KindInt64}}}).WithVersion()
}

// TestRouterRewritesEveryPlace names tables wherever a batch can, and looks that the source's own slices stay.
func TestRouterRewritesEveryPlace(t *testing.T) {
	route, err := NewRoute([]Rename{{Schema: "a", To: "b"}, {Schema: "b", To: "c"}})
	if err != nil {
		t.Fatal(err)
	}
	router := route.Router()
	t1, t2, old := table("a", "one"), table("a", "two"), table("a", "old")
	announced := []*schema.Table{t1, t2}
	truncate := &schema.Truncate{Tables: []*schema.Table{t1, t2}, Cascade: true}
	made := func() *schema.Batch {
		return &schema.Batch{
			Tables: announced, Takeovers: []schema.Takeover{{Table: t2, Columns: []string{"id"}}}, Plan: []schema.CopyPlan{{Table: t1, Rows: 5}}, Copy: &schema.Copy{Table: t2, Chunk: 3},
			Changes: []schema.Change{
				{Table: t1}, {Table: t1}, {Table: t2}, {Table: t1, Previous: old}, {Op: schema.OpTruncate, Truncate: truncate},
				{Op: schema.OpMessage},
			},
		}
	}
	// Twice, as the source may use its slices again: nothing is renamed a second time.
	for range 2 {
		b := made()
		if err := router.Apply(b); err != nil {
			t.Fatal(err)
		}
		got := []string{
			b.Tables[0].String(), b.Tables[1].String(), b.Plan[0].Table.String(), b.Copy.Table.String(),
			b.Changes[0].Table.String(), b.Changes[2].Table.String(), b.Changes[3].Previous.String(),
			b.Changes[4].Truncate.Tables[1].String(), b.Takeovers[0].Table.String(),
		}
		want := []string{"b.one", "b.two", "b.one", "b.two", "b.one", "b.two", "b.old", "b.two", "b.two"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		if b.Changes[0].Table != b.Changes[3].Table || b.Changes[0].Table != b.Tables[0] || b.Changes[0].Table != router.Target(t1) {
			t.Error("one table has several pointers")
		}
		if b.Copy.Chunk != 3 || !b.Changes[4].Truncate.Cascade || b.Changes[5].Table != nil || b.Plan[0].Rows != 5 {
			t.Error("something else changed")
		}
		if b.Changes[0].Table.Version == t1.Version {
			t.Error("a table of another name has the same version")
		}
	}
	if announced[0] != t1 || truncate.Tables[0] != t1 {
		t.Error("the source's own slices changed")
	}
}

func TestRouterRefusesACollision(t *testing.T) {
	route, err := NewRoute([]Rename{{Schema: "a", To: "b"}})
	if err != nil {
		t.Fatal(err)
	}
	router := route.Router()
	if err := router.Apply(&schema.Batch{Changes: []schema.Change{{Table: table("a", "x")}}}); err != nil {
		t.Fatal(err)
	}
	// Another version of the same table is no collision.
	if err := router.Apply(&schema.Batch{Changes: []schema.Change{{Table: table("a", "x")}}}); err != nil {
		t.Fatal(err)
	}
	err = router.Apply(&schema.Batch{Tables: []*schema.Table{table("b", "x")}})
	if fault.ClassOf(err) != fault.Terminal || !strings.Contains(err.Error(), "a.x and b.x of the source would both be b.x") {
		t.Errorf("got %v, want a halt", err)
	}
}

// BenchmarkApply is the cost of routing 1,000 changes of two tables.
func BenchmarkApply(b *testing.B) {
	route, err := NewRoute([]Rename{{Schema: "a", To: "b"}})
	if err != nil {
		b.Fatal(err)
	}
	router := route.Router()
	tables := []*schema.Table{table("a", "one"), table("a", "two")}
	batch := &schema.Batch{Changes: make([]schema.Change, 1000)}
	b.ReportAllocs()
	for b.Loop() {
		for i := range batch.Changes {
			batch.Changes[i].Table = tables[i&1]
		}
		if err := router.Apply(batch); err != nil {
			b.Fatal(err)
		}
	}
}
