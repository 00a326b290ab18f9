package schema

import (
	"os"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// orders has something in every field a version rests on.
func orders() *Table {
	return &Table{Schema: "public", Name: "orders", Identity: IdentityIndex, Columns: []Column{
		{Name: "region", Kind: KindEnum, Native: "public.region", Base: "public.region", Labels: []string{"eu", "us"}, Precision: -1, NotNull: true, Ident: true, KeyPart: 2},
		{Name: "id", Kind: KindInt64, Native: "bigint", Base: "bigint", Precision: -1, NotNull: true, Always: true, Ident: true, KeyPart: 1},
		{Name: "total", Kind: KindDecimal, Native: "public.money2", Base: "numeric(12,2)", Precision: 12, Scale: 2},
		{Name: "tags", Kind: KindArray, Elem: KindText, Native: "text[]", Base: "text[]", Precision: -1},
		{Name: "gross", Kind: KindDecimal, Native: "numeric", Base: "numeric", Precision: -1, Generated: true},
	}}
}

// TestVersionGolden: the version of a definition is kept by targets and must be the same for ever.
func TestVersionGolden(t *testing.T) {
	got := orders().WithVersion().Version + "\n" + (&Table{}).WithVersion().Version + "\n"
	const golden = "testdata/version.want"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestVersionCoversEveryField changes every field of a table and of a column in turn: each makes another version.
func TestVersionCoversEveryField(t *testing.T) {
	seen := map[string]string{orders().WithVersion().Version: "unchanged"}
	check := func(name string, table *Table) {
		t.Helper()
		v := table.WithVersion().Version
		if other, ok := seen[v]; ok {
			t.Errorf("%s: got the version of %q, want another", name, other)
		}
		seen[v] = name
	}
	change := func(v reflect.Value) {
		switch v.Kind() {
		case reflect.String:
			v.SetString(v.String() + "x")
		case reflect.Bool:
			v.SetBool(!v.Bool())
		case reflect.Slice:
			v.Set(reflect.ValueOf(append(slices.Clone(v.Interface().([]string)), "x")))
		case reflect.Uint8:
			v.SetUint(v.Uint() + 1)
		default:
			v.SetInt(v.Int() + 1)
		}
	}
	for i := range reflect.TypeFor[Column]().NumField() {
		if name := reflect.TypeFor[Column]().Field(i).Name; slices.Contains([]string{"Initial", "Default", "UniquePart"}, name) { // no part of the definition
			continue
		}
		table := orders()
		change(reflect.ValueOf(&table.Columns[0]).Elem().Field(i))
		check("column."+reflect.TypeFor[Column]().Field(i).Name, table)
	}
	for _, name := range []string{"Schema", "Name", "Identity"} {
		table := orders()
		change(reflect.ValueOf(table).Elem().FieldByName(name))
		check(name, table)
	}
	initial := orders()
	initial.Columns[0].Initial, initial.Columns[0].Default, initial.Columns[0].UniquePart = Initial{Known: true}, "7", 1
	if got, want := initial.WithVersion().Version, orders().WithVersion().Version; got != want {
		t.Errorf("an initial value: got version %s, want %s", got, want)
	}
	swapped := orders()
	swapped.Columns[0], swapped.Columns[1] = swapped.Columns[1], swapped.Columns[0]
	check("order of columns", swapped)
	moved := orders()
	moved.Schema, moved.Name = "publi", "corders"
	check("letters moved between fields", moved)
	labels := orders()
	labels.Columns[0].Labels = []string{"eu,us"}
	check("labels joined", labels)
}

func TestKeys(t *testing.T) {
	if got, want := orders().Key(), []int{1, 0}; !slices.Equal(got, want) {
		t.Errorf("key: got %v, want %v: its own order, not the columns'", got, want)
	}
	if got, want := orders().IdentKey(), []int{0, 1}; !slices.Equal(got, want) {
		t.Errorf("identity: got %v, want %v", got, want)
	}
	if got := (&Table{}).Key(); got != nil {
		t.Errorf("key of none: got %v, want none", got)
	}
}

func TestQuoteName(t *testing.T) {
	tests := []struct{ in, want string }{
		{"orders", "orders"},
		{"_a1", "_a1"},
		{"1a", `"1a"`},
		{"Orders", `"Orders"`},
		{`a"; DROP TABLE x--`, `"a""; DROP TABLE x--"`},
		{"a.b", `"a.b"`},
		{"é", `"é"`},
		{"", `""`},
	}
	for _, tt := range tests {
		if got := QuoteName(tt.in); got != tt.want {
			t.Errorf("%q: got %s, want %s", tt.in, got, tt.want)
		}
	}
	if got := (&Table{Schema: "public", Name: "Odd.Name"}).String(); got != `public."Odd.Name"` {
		t.Errorf("got %s, want public.\"Odd.Name\"", got)
	}
}
