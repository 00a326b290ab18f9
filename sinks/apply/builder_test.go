package apply

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rowferry/rowferry/schema"
)

// build runs a script through a builder.
func build(b *Builder, changes string, tables map[string]*Table) (string, error) {
	batch := script(changes, tables)
	for i := range batch.Changes {
		c := &batch.Changes[i]
		for _, t := range tables {
			if t.Source != c.Table {
				continue
			}
			if c.Op == schema.OpTruncate {
				b.Truncate(c.Truncate, []*Table{t}, batch, i)
			} else if err := b.Add(t, batch, i); err != nil {
				return "", err
			}
		}
	}
	return render(b.Steps()), nil
}

func TestBuilder(t *testing.T) {
	unique := LayoutKey{Columns: []string{"u"}}
	free, coupled, none := layoutOf(primary), layoutOf(primary), layoutOf()
	coupled.Coupled = true
	triggered := coupled
	triggered.RowByRow = true
	second := layoutOf(primary, unique)
	secondCoupled := second
	secondCoupled.Coupled = true
	fixed := layoutOf(primary)
	fixed.Columns[1].Fixed = true
	computed := layoutOf(primary)
	computed.Columns[2].Computed = true

	tests := []struct {
		name          string
		layout        Layout
		exact         bool
		changes, want string
	}{
		{"net effects", free, false, `
			a+ 1 1 x
			a~ 2 2 y
			a- 3
			a~ 1 5 -
			a~ 2 - z
			a+ 4 1 q
			a- 4
			a- 5
			a+ 5 9 w
			a~ 6 1 r
			a- 6`, `
			delete a bulk (3:) (5:) (6:)
			update a bulk (2:u=2 v=z)
			insert a bulk (id=1 u=5 v=x) (id=5 u=9 v=w)`},
		{"shapes are told apart", free, false, `
			a~ 1 1 x
			a~ 2 - x
			a~ 3 3 y
			a~ 4 - .`, `
			update a bulk (1:u=1 v=x) (3:u=3 v=y)
			update a bulk (2:v=x) (4:v=.)`},
		{"a key change settles what came before", free, false, `
			a~ 1 1 x
			a> 1 2 7 y
			a> 2 3 7 z
			a~ 3 8 -
			a+ 1 0 n`, `
			update a bulk (1:u=1 v=x)
			update of the key a (1:id=2 u=7 v=y) (2:id=3 u=7 v=z)
			update a bulk (3:u=8)
			insert a bulk (id=1 u=0 v=n)`},
		{"a key sent but not changed is none", free, false, `a> 1 1 5 x`, `update a bulk (1:u=5 v=x)`},
		{"truncate is a barrier for all tables", free, false, `
			a+ 1 1 x
			b+ 1 1 x
			a!
			b~ 1 2 y
			a+ 1 3 z`, `
			insert a bulk (id=1 u=1 v=x)
			insert b bulk (id=1 u=1 v=x)
			truncate a
			update b bulk (1:u=2 v=y)
			insert a bulk (id=1 u=3 v=z)`},
		{"tables are independent", free, false, `
			a+ 1 1 x
			b+ 1 1 x
			a+ 2 1 x
			b+ 2 1 x`, `
			insert a bulk (id=1 u=1 v=x) (id=2 u=1 v=x)
			insert b bulk (id=1 u=1 v=x) (id=2 u=1 v=x)`},
		{"coupled tables keep their order", coupled, false, `
			a+ 1 1 x
			b+ 1 1 x
			b+ 2 1 x
			b~ 1 2 x
			b~ 2 2 x
			b~ 1 3 x
			a- 1`, `
			insert a bulk (id=1 u=1 v=x)
			insert b bulk (id=1 u=1 v=x) (id=2 u=1 v=x)
			update b bulk (1:u=2 v=x) (2:u=2 v=x)
			update b bulk (1:u=3 v=x)
			delete a bulk (1:)`},
		{"triggers see single rows", triggered, false, `
			a+ 1 1 x
			a+ 2 1 x
			a~ 1 2 x`, `
			insert a (id=1 u=1 v=x) (id=2 u=1 v=x)
			update a (1:u=2 v=x)`},
		{"other unique keys do not hinder folding", second, false, `
			a~ 1 2 x
			a~ 2 1 x`, `
			update a bulk (1:u=2 v=x) (2:u=1 v=x)`},
		{"but they do where order is kept", secondCoupled, false, `
			a~ 1 2 x
			a~ 2 1 x
			a- 1
			a- 2`, `
			update a (1:u=2 v=x) (2:u=1 v=x)
			delete a bulk (1:) (2:)`},
		{"without a unique key every row for itself", none, false, `
			a+ 1 1 x
			a+ 2 1 x
			a~ 1 2 x
			a- 2`, `
			insert a bulk (id=1 u=1 v=x) (id=2 u=1 v=x)
			update a (1:u=2 v=x)
			delete a (2:)`},
		{"fixed columns have statements of their own", fixed, false, `
			a~ 1 2 x
			a~ 2 - x`, `
			update a (1:u=2 v=x)
			update a bulk (2:v=x)`},
		{"computed columns are left out", computed, false, `
			a+ 1 1 x
			a~ 2 2 x`, `
			update a bulk (2:u=2)
			insert a bulk (id=1 u=1)`},
		{"an update of nothing still looks for the row", free, false, `a~ 1 - -`, `update a (1:)`},
		{"exactly as they came", free, true, `
			a+ 1 1 x
			a~ 1 2 -
			a- 1`, `
			insert a (id=1 u=1 v=x)
			update a (1:u=2)
			delete a (1:)`},
	}
	b := NewBuilder()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tables := map[string]*Table{}
			for _, name := range []string{"a", "b"} {
				table, err := NewTable(testTable(name), tt.layout)
				if err != nil {
					t.Fatal(err)
				}
				tables[name] = table
			}
			for range 2 { // the memory of a builder is used again
				b.Reset()
				b.Exact = tt.exact
				got, err := build(b, tt.changes, tables)
				if err != nil {
					t.Fatal(err)
				}
				want := strings.TrimSpace(strings.ReplaceAll(tt.want, "\t", "")) + "\n"
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestBuilderRefusesContradictions(t *testing.T) {
	for _, changes := range []string{
		"a+ 1 1 x\na+ 1 2 y", "a- 1\na~ 1 2 y", "a- 1\na- 1", "a~ 1 1 x\na+ 1 1 x", "a+ 1 1 x\na- 1\na- 1", "a+ 1 1 x\na- 1\na~ 1 1 x",
	} {
		table, err := NewTable(testTable("a"), layoutOf(primary))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := build(NewBuilder(), changes, map[string]*Table{"a": table}); !errors.Is(err, errSequence) {
			t.Errorf("%q: got %v, want a contradiction", changes, err)
		}
	}
}

func TestNewTable(t *testing.T) {
	column := func(name string, ident bool) schema.Column { return schema.Column{Name: name, Ident: ident} }
	source := func(identity schema.Identity, columns ...schema.Column) *schema.Table {
		return &schema.Table{Schema: "s", Name: "t", Identity: identity, Columns: columns}
	}
	key := func(notNull bool, columns ...string) LayoutKey { return LayoutKey{Columns: columns, NotNull: notNull} }
	three := []schema.Column{column("a", true), column("b", true), column("c", false)}
	all := []schema.Column{column("a", true), column("b", true), column("c", true)}
	tests := []struct {
		name          string
		source        *schema.Table
		keys          []LayoutKey
		match         []int
		unique, whole bool
	}{
		{"the source's key is the target's", source(schema.IdentityDefault, three...), []LayoutKey{key(true, "b", "a")}, []int{0, 1}, true, false},
		{"a smaller key will do", source(schema.IdentityDefault, three...), []LayoutKey{key(true, "b")}, []int{0, 1}, true, false},
		{"a wider key will not", source(schema.IdentityDefault, three...), []LayoutKey{key(true, "a", "b", "c")}, []int{0, 1}, false, false},
		{"another index of the source", source(schema.IdentityIndex, three...), nil, []int{0, 1}, false, false},
		{"full, by the target's key", source(schema.IdentityFull, all...), []LayoutKey{key(true, "c")}, []int{2}, true, false},
		{"full, keys that can be NULL do not count", source(schema.IdentityFull, all...), []LayoutKey{key(false, "c")}, []int{0, 1, 2}, false, true},
		{"full, keys of columns the source lacks do not count", source(schema.IdentityFull, all...), []LayoutKey{key(true, "x")}, []int{0, 1, 2}, false, true},
		{"full, no key", source(schema.IdentityFull, all...), nil, []int{0, 1, 2}, false, true},
		{"nothing", source(schema.IdentityNothing, three...), []LayoutKey{key(true, "a")}, nil, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			layout := Layout{Keys: tt.keys}
			for _, name := range []string{"x", "c", "b", "a"} {
				layout.Columns = append(layout.Columns, LayoutColumn{Name: name})
			}
			got, err := NewTable(tt.source, layout)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.match, got.Match); diff != "" || got.Unique != tt.unique || got.Whole != tt.whole {
				t.Errorf("got match %v, unique %v, whole %v; want %v, %v, %v", got.Match, got.Unique, got.Whole, tt.match, tt.unique, tt.whole)
			}
		})
	}
	_, err := NewTable(source(schema.IdentityDefault, three...), Layout{Columns: []LayoutColumn{{Name: "a"}}})
	var missing *MissingError
	if !errors.As(err, &missing) || !cmp.Equal(missing.Columns, []int{1, 2}) || !strings.Contains(err.Error(), "no column b, c") {
		t.Errorf("got %v, want columns b and c missing", err)
	}
}

// wideBatch is n changes of distinct rows of ten columns.
func wideBatch(op schema.Op, n int) (*Table, *schema.Batch) {
	source := &schema.Table{Schema: "s", Name: "wide"}
	layout := Layout{Keys: []LayoutKey{{Columns: []string{"c0"}, NotNull: true}}}
	for i := range 10 {
		name := "c" + string(rune('0'+i))
		source.Columns = append(source.Columns, schema.Column{Name: name, Ident: i == 0})
		layout.Columns = append(layout.Columns, LayoutColumn{Name: name})
	}
	t, err := NewTable(source, layout)
	if err != nil {
		panic(err)
	}
	b := schema.NewBatch(nil)
	for i := range n {
		first := len(b.Values)
		for c := range 10 {
			start := len(b.Arena)
			b.Arena = append(b.Arena, byte('a'+c), byte('0'+i%10), byte('0'+i/10%10), byte('0'+i/100%10), byte('0'+i/1000%10))
			b.Values = append(b.Values, schema.TextAt(start, 5))
		}
		b.Changes = append(b.Changes, schema.Change{Op: op, Table: source, After: schema.Row{First: int32(first), Count: 10}})
	}
	return t, b
}

// BenchmarkBuilder measures what a change costs before it reaches a connection.
func BenchmarkBuilder(b *testing.B) {
	for name, op := range map[string]schema.Op{"inserts": schema.OpCreate, "updates": schema.OpUpdate} {
		b.Run(name, func(b *testing.B) {
			t, batch := wideBatch(op, 1000)
			builder := NewBuilder()
			b.ReportAllocs()
			for b.Loop() {
				builder.Reset()
				for i := range batch.Changes {
					if err := builder.Add(t, batch, i); err != nil {
						b.Fatal(err)
					}
				}
				builder.Steps()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/row")
		})
	}
}
