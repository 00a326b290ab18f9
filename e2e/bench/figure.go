package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// gate is a line of gates.json: a figure's name, what it is compared with, and what it has to reach. Gate and goal
// are of the ratio to the comparator, or of the value where there is none.
type gate struct {
	Name    string  `json:"name"`
	Set     string  `json:"set"`
	Unit    string  `json:"unit"`
	Against string  `json:"against"`
	Better  string  `json:"better"` // "higher" or "lower"
	Gate    float64 `json:"gate"`
	Goal    float64 `json:"goal"`
	What    string  `json:"what"`
}

// figure is a line of bench.jsonl.
type figure struct {
	Name    string    `json:"name"`
	Value   float64   `json:"value"`
	Unit    string    `json:"unit"`
	Against string    `json:"against"`
	Other   float64   `json:"against_value"`
	Ratio   float64   `json:"ratio"`
	Rounds  []float64 `json:"rounds"` // ratios, or values where there is no comparator
	Better  string    `json:"better"`
	Gate    float64   `json:"gate"`
	Goal    float64   `json:"goal"`
	CPU     float64   `json:"cpu_us_per_row"` // of the daemon
	Peak    float64   `json:"peak_mib"`       // of the daemon
	Content bool      `json:"content_ok"`     // what arrived is what was sent, in every round
	Commit  string    `json:"commit"`
}

// sample is one run of one side in one round.
type sample struct {
	value   float64 // in the figure's unit
	cpu     float64 // µs a row
	peak    float64 // MiB
	content bool
}

// figureOf turns rounds into a figure; others is nil without a comparator.
func figureOf(g gate, ours, others []sample) figure {
	f := figure{Name: g.Name, Unit: g.Unit, Against: g.Against, Better: g.Better, Gate: g.Gate, Goal: g.Goal, Content: len(ours) > 0}
	var values, theirs, cpus []float64
	for i, s := range ours {
		values, cpus = append(values, s.value), append(cpus, s.cpu)
		f.Peak = max(f.Peak, s.peak)
		f.Content = f.Content && s.content
		if others != nil {
			theirs = append(theirs, others[i].value)
			f.Rounds = append(f.Rounds, round(s.value/others[i].value))
		} else {
			f.Rounds = append(f.Rounds, round(s.value))
		}
	}
	f.Value, f.CPU, f.Peak = round(median(values)), round(median(cpus)), round(f.Peak)
	if others != nil {
		f.Other, f.Ratio = round(median(theirs)), round(median(f.Rounds))
	}
	return f
}

// judged is what gate and goal are compared with.
func (f figure) judged() float64 {
	if f.Against != "" {
		return f.Ratio
	}
	return f.Value
}

// reaches tells whether the figure is at least as good as limit.
func (f figure) reaches(limit float64) bool {
	if f.Better == "lower" {
		return f.judged() <= limit
	}
	return f.judged() >= limit
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(values))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// round keeps four significant digits.
func round(v float64) float64 {
	var r float64
	if _, err := fmt.Sscan(fmt.Sprintf("%.4g", v), &r); err != nil {
		return v
	}
	return r
}

// add notes a figure when it was asked for.
func (b *bench) add(name string, ours, others []sample) {
	for _, g := range b.gates {
		if g.Name == name {
			f := figureOf(g, ours, others)
			b.figures = append(b.figures, f)
			fmt.Println(f.line())
		}
	}
}

// line says a figure to a person.
func (f figure) line() string {
	mark := "ok  "
	switch {
	case !f.Content:
		mark = "WRONG"
	case !f.reaches(f.Gate):
		mark = "MISS"
	case f.reaches(f.Goal):
		mark = "goal"
	}
	text := fmt.Sprintf("  %-5s %-18s %10.4g %s", mark, f.Name, f.Value, f.Unit)
	if f.Against != "" {
		text += fmt.Sprintf(", %.2f × %s (%.4g)", f.Ratio, f.Against, f.Other)
	}
	return text + fmt.Sprintf("; gate %g, goal %g; %.2f µs CPU a row, peak %.0f MiB", f.Gate, f.Goal, f.CPU, f.Peak)
}

// write writes the figures, one a line.
func (b *bench) write(path, commit string) error {
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	for _, f := range b.figures {
		f.Commit = commit
		if err := encoder.Encode(f); err != nil {
			return fmt.Errorf("writing figure %s: %w", f.Name, err)
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("writing the figures: %w", err)
	}
	return os.WriteFile(path, []byte(text.String()), 0o644)
}

func (b *bench) print(w io.Writer, took time.Duration) {
	fmt.Fprintf(w, "%d of %d figures in %v, written to build/bench.jsonl\n", len(b.figures), len(b.gates), took.Round(time.Second))
}

var errGate = errors.New("gates missed")

// judge tells what keeps the run from being good.
func (b *bench) judge() error {
	var bad []string
	for _, g := range b.gates {
		i := slices.IndexFunc(b.figures, func(f figure) bool { return f.Name == g.Name })
		switch {
		case i < 0:
			bad = append(bad, g.Name+" is missing")
		case !b.figures[i].Content:
			bad = append(bad, g.Name+" delivered something else than was sent")
		case !b.figures[i].reaches(g.Gate):
			bad = append(bad, fmt.Sprintf("%s is %.4g, its gate %g", g.Name, b.figures[i].judged(), g.Gate))
		}
	}
	if bad != nil {
		return fmt.Errorf("%w: %s", errGate, strings.Join(bad, "; "))
	}
	return nil
}
