package postgres

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestNumbersAreAbridged: what is left out is told by what is kept.
func TestNumbersAreAbridged(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		numbers := rapid.SliceOf(rapid.Int16Range(0, 6)).Draw(t, "numbers")
		short := abridged(numbers)
		for i, want := range numbers {
			if got := short.at(i); got != want {
				t.Fatalf("number %d of %v, kept as %v: got %d, want %d", i, numbers, short, got, want)
			}
		}
	})
	if got := abridged([]int16{1, 2, 3, 4}); len(got) != 1 {
		t.Errorf("got %v of a table that lost no column, want one number", got)
	}
}

// named gives names columns and their numbers.
func named(columns []string, numbers ...int16) tableNames {
	return tableNames{Schema: "public", Table: "t", Columns: columns, Numbers: abridged(numbers)}
}

func TestTakenNames(t *testing.T) {
	abc := []string{"a", "b", "c"}
	tests := []struct {
		name  string
		told  tableNames
		now   map[string]int16
		taken map[string]int16
	}{
		{"nothing", named(abc, 1, 2, 3), map[string]int16{"a": 1, "b": 2, "c": 3}, nil},
		{"the last one", named(abc, 1, 2, 3), map[string]int16{"a": 1, "b": 2, "c": 4}, map[string]int16{"c": 4}},
		{"all", named(abc, 1, 2, 3), map[string]int16{"a": 4, "b": 5, "c": 6}, map[string]int16{"a": 4, "b": 5, "c": 6}},
		{"one in the middle", named(abc, 1, 2, 3), map[string]int16{"a": 1, "c": 3, "b": 4}, map[string]int16{"b": 4}},
		{"two, in another order", named(abc, 1, 2, 3), map[string]int16{"b": 2, "c": 4, "a": 5}, map[string]int16{"a": 5, "c": 4}},
		{"all have changed places", named(abc, 1, 2, 3), map[string]int16{"a": 2, "b": 3, "c": 1}, nil},
		{"one in the middle, and the last", named(abc, 1, 2, 3), map[string]int16{"a": 1, "b": 4, "c": 5}, map[string]int16{"b": 4, "c": 5}},
		{"swapped, and the first", named(abc, 1, 2, 3), map[string]int16{"c": 2, "b": 3, "a": 1}, nil},
		{"gone", named(abc, 1, 2, 3), map[string]int16{"a": 1, "b": 2}, nil},
		{"added", named(abc[:2], 1, 2), map[string]int16{"a": 1, "b": 2, "c": 3}, nil},
		{"not known", named(abc), map[string]int16{"a": 1, "b": 2, "c": 4}, nil},
		{"back", tableNames{Columns: abc[:1], Numbers: []int16{1}, Gone: map[string]int16{"b": 2}}, map[string]int16{"a": 1, "b": 3},
			map[string]int16{"b": 3}},
		{"back after it was renamed", tableNames{Columns: abc[:1], Numbers: []int16{1}, Gone: map[string]int16{"b": 2}},
			map[string]int16{"a": 1, "other": 2, "b": 3}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.taken, test.told.taken(test.now)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestNumbersOfANewVersion: under a name, the target has the column that it had.
func TestNumbersOfANewVersion(t *testing.T) {
	abc := []string{"a", "b", "c"}
	tests := []struct {
		name   string
		before tableNames
		now    []string
		live   map[string]int16
		want   tableNames
	}{
		{"first", tableNames{}, abc, map[string]int16{"a": 1, "b": 2, "c": 4}, named(abc, 1, 2, 4)},
		{"added", named(abc[:2], 1, 2), abc, map[string]int16{"a": 1, "b": 2, "c": 4}, named(abc, 1, 2, 4)},
		{"added again meanwhile", named(abc, 1, 2, 3), abc, map[string]int16{"a": 1, "b": 2, "c": 4}, named(abc, 1, 2, 3)},
		{"swapped", named(abc, 1, 2, 3), []string{"a", "c", "b"}, map[string]int16{"a": 1, "c": 2, "b": 3}, named([]string{"a", "c", "b"}, 1, 2, 3)},
		{"one in the middle, added again", named(abc, 1, 2, 3), []string{"a", "c", "b"}, map[string]int16{"a": 1, "c": 3, "b": 4},
			named([]string{"a", "c", "b"}, 1, 3, 2)},
		{"two, added again in another order", named(abc, 1, 2, 3), []string{"b", "c", "a"}, map[string]int16{"b": 2, "c": 4, "a": 5},
			named([]string{"b", "c", "a"}, 2, 3, 1)},
		{"renamed", named(abc, 1, 2, 3), []string{"a", "b", "d"}, map[string]int16{"a": 1, "b": 2, "d": 3}, named([]string{"a", "b", "d"}, 1, 2, 3)},
		{"gone", named(abc, 1, 2, 3), abc[:2], map[string]int16{"a": 1, "b": 2},
			tableNames{Schema: "public", Table: "t", Columns: abc[:2], Numbers: []int16{1}, Gone: map[string]int16{"c": 3}}},
		{"back", tableNames{Columns: abc[:2], Numbers: []int16{1}, Gone: map[string]int16{"c": 3}}, abc,
			map[string]int16{"a": 1, "b": 2, "c": 4}, named(abc, 1, 2, 3)},
		{"seen and not yet accepted", named(abc, 1, 2, 3).seen(map[string]int16{"c": 4}), abc, map[string]int16{"a": 1, "b": 2, "c": 4},
			named(abc, 1, 2, 3).seen(map[string]int16{"c": 4})},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := tableNames{Schema: "public", Table: "t", Columns: test.now}.succeed(test.before, test.live)
			if !got.same(test.want) {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

// TestAcceptedNumbers: what is accepted is not taken any more.
func TestAcceptedNumbers(t *testing.T) {
	now := map[string]int16{"a": 5, "b": 2, "c": 7}
	told := tableNames{Columns: []string{"a", "b"}, Numbers: []int16{1, 2}, Gone: map[string]int16{"c": 3, "d": 4}}
	told = told.seen(map[string]int16{"c": 7})
	if got := told.accept(map[string]int16{"c": 7}); got.Gone["d"] != 4 || len(got.Gone) != 1 || got.Taken != nil || told.Gone["c"] != 3 {
		t.Errorf("got %+v of %+v", got, told)
	}
	told = named([]string{"a", "b", "c"}, 1, 2, 3)
	now["a"] = 1
	if got := told.accept(told.taken(now)); got.taken(now) != nil || got.number("c") != 7 || told.number("c") != 3 {
		t.Errorf("got %+v of %+v", got, told)
	}
}
