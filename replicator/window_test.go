package replicator

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestWindow plays scripts: "b3" begins group 3, "e3" ends it; what is to be acknowledged follows each end.
func TestWindow(t *testing.T) {
	tests := []struct{ name, script, want string }{
		{name: "in order", script: "b1 e1 b2 e2", want: "1 2"},
		{name: "out of order", script: "b1 b2 b3 e3 e2 e1", want: "- - 3"},
		{name: "a gap stays", script: "b1 b2 b3 e1 e3 b4 e4 e2", want: "1 - - 4"},
		{name: "continues after the ledger", script: "b41 b42 e42 e41", want: "- 42"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var w window
			var got []string
			for _, step := range strings.Fields(tt.script) {
				var seq int64
				if _, err := fmt.Sscan(step[1:], &seq); err != nil {
					t.Fatal(err)
				}
				if step[0] == 'b' {
					w.begin(seq, at(int(seq)))
					continue
				}
				if upto, moved := w.end(seq); moved {
					got = append(got, upto.Token)
				} else {
					got = append(got, "-")
				}
			}
			if s := strings.Join(got, " "); s != tt.want {
				t.Errorf("got %s, want %s", s, tt.want)
			}
		})
	}
}

// TestInvariant1_windowNeverPassesAnOpenGroup compares with the plain definition.
func TestInvariant1_windowNeverPassesAnOpenGroup(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w window
		open, done := map[int64]bool{}, int64(0)
		last := rapid.Int64Range(0, 100).Draw(t, "seq")
		done = last
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			if len(open) == 0 || rapid.Bool().Draw(t, "begin") {
				last++
				open[last] = true
				w.begin(last, at(int(last)))
				continue
			}
			keys := rapid.Permutation(mapKeys(open, done, last)).Draw(t, "which")
			delete(open, keys[0])
			upto, moved := w.end(keys[0])
			edge := done
			for edge < last && !open[edge+1] {
				edge++
			}
			if moved != (edge > done) || moved && placeOf(upto) != int(edge) {
				t.Fatalf("got %v, %v, want %d after %d", upto, moved, edge, done)
			}
			done = edge
		}
	})
}

// mapKeys lists the open groups in order.
func mapKeys(open map[int64]bool, from, to int64) (keys []int64) {
	for k := from + 1; k <= to; k++ {
		if open[k] {
			keys = append(keys, k)
		}
	}
	return keys
}

func TestInvariant1_windowPanicsWhenMisled(t *testing.T) {
	tests := map[string]func(w *window){
		"a gap":         func(w *window) { w.begin(1, at(1)); w.begin(3, at(3)) },
		"ended twice":   func(w *window) { w.begin(1, at(1)); w.begin(2, at(2)); w.end(2); w.end(2) },
		"never started": func(w *window) { w.begin(1, at(1)); w.end(2) },
	}
	for name, f := range tests {
		err := protect(func() error { f(&window{}); return nil })
		if err == nil || !strings.Contains(err.Error(), "invariant 1") {
			t.Errorf("%s: got %v, want invariant 1", name, err)
		}
	}
}
