package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFigureIsTheMedianOfRatios(t *testing.T) {
	g := gate{Name: "x", Unit: "rows/s", Against: "other", Better: "higher", Gate: 1, Goal: 3}
	ours := []sample{{value: 200, cpu: 1, peak: 10, content: true}, {value: 100, cpu: 3, peak: 30, content: true}, {value: 900, cpu: 2, peak: 20, content: true}}
	others := []sample{{value: 100}, {value: 100}, {value: 100}}
	got := figureOf(g, ours, others)
	want := figure{Name: "x", Value: 200, Unit: "rows/s", Against: "other", Other: 100, Ratio: 2, Rounds: []float64{2, 1, 9}, Better: "higher",
		Gate: 1, Goal: 3, CPU: 2, Peak: 30, Content: true}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("figure (-want +got):\n%s", diff)
	}
	if !got.reaches(got.Gate) || got.reaches(got.Goal) {
		t.Error("want the gate reached and the goal not")
	}
}

func TestJudge(t *testing.T) {
	lower := gate{Name: "memory", Better: "lower", Gate: 128}
	higher := gate{Name: "speed", Against: "other", Better: "higher", Gate: 1}
	good := []sample{{value: 100, content: true}}
	tests := []struct {
		name   string
		gates  []gate
		figure []figure
		want   string
	}{
		{"all is well", []gate{lower, higher}, []figure{figureOf(lower, good, nil), figureOf(higher, good, good)}, ""},
		{"missing", []gate{lower, higher}, []figure{figureOf(lower, good, nil)}, "speed is missing"},
		{"too much", []gate{lower}, []figure{figureOf(lower, []sample{{value: 129, content: true}}, nil)}, "memory is 129"},
		{"too slow", []gate{higher}, []figure{figureOf(higher, good, []sample{{value: 101}})}, "speed is 0.9901"},
		{"fast and wrong", []gate{higher}, []figure{figureOf(higher, []sample{{value: 900}}, good)}, "something else"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := bench{gates: test.gates, figures: test.figure}
			err := b.judge()
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// The lines hold exactly the fields that readers of the file were promised.
func TestFieldsOfALine(t *testing.T) {
	text, err := json.Marshal(figure{})
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		t.Fatal(err)
	}
	want := "name value unit against against_value ratio rounds better gate goal cpu_us_per_row peak_mib content_ok commit"
	for _, name := range strings.Fields(want) {
		if _, ok := fields[name]; !ok {
			t.Errorf("no field %q", name)
		}
		delete(fields, name)
	}
	if len(fields) > 0 {
		t.Errorf("more fields than promised: %v", fields)
	}
}

func TestGatesAreComplete(t *testing.T) {
	gates, err := readGates()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, g := range gates {
		limits := g.Better == "lower" && g.Gate >= 0 && g.Goal >= 0 || g.Better == "higher" && g.Gate > 0 && g.Goal > 0
		if seen[g.Name] || g.Name == "" || g.Set == "" || g.Unit == "" || g.What == "" || !limits {
			t.Errorf("gate %+v is incomplete or comes twice", g)
		}
		seen[g.Name] = true
		if f := (figure{Better: g.Better, Value: g.Goal, Against: ""}); !f.reaches(g.Gate) {
			t.Errorf("the goal of %s does not reach its gate", g.Name)
		}
	}
	if len(gates) != 31 {
		t.Errorf("got %d gates, want 31", len(gates))
	}
}

func TestDebeziumOnlyWhenNamed(t *testing.T) {
	gates, err := readGates()
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range gates {
		if got, want := (options{}).wants(g), g.Set != "debezium"; got != want {
			t.Errorf("%s is part of everything: got %v, want %v", g.Name, got, want)
		}
		if named := (options{set: []string{g.Name}}); !named.wants(g) || !(options{set: []string{g.Set}}).wants(g) {
			t.Errorf("%s is not there when it or its set is named", g.Name)
		}
	}
}
