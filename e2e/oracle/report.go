package oracle

import (
	"fmt"
	"strings"
	"sync"
)

// Class is what kind of wrong a violation is.
type Class string

// The classes.
const (
	Lost      Class = "lost"      // a change the source committed is missing
	Doubled   Class = "doubled"   // a change is there again, or never was committed
	Reordered Class = "reordered" // changes are there in another order
	Torn      Class = "torn"      // a reader could see a part of a transaction
	Wrong     Class = "wrong"     // a value differs, or a line cannot be read
	Acked     Class = "acked"     // the source was told more than the target holds
	Leaked    Class = "leaked"    // something was left behind
	Shown     Class = "shown"     // a secret or a value is where it must not be
)

// Classes lists every class, in the order of reports.
var Classes = []Class{Lost, Doubled, Reordered, Torn, Wrong, Acked, Leaked, Shown}

// kept is how many violations of a class are kept as text.
const kept = 10

// Report collects violations. It is safe for use by several goroutines; the zero value is empty.
type Report struct {
	mu     sync.Mutex // guards the rest
	counts map[Class]int
	texts  map[Class][]string
	looks  map[string]int
}

// Add notes a violation.
func (r *Report) Add(c Class, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.counts == nil {
		r.counts, r.texts = map[Class]int{}, map[Class][]string{}
	}
	r.counts[c]++
	if len(r.texts[c]) < kept {
		r.texts[c] = append(r.texts[c], fmt.Sprintf(format, args...))
	}
}

// Looked notes that an oracle looked at something, so that a report can say what "nothing found" rests on.
func (r *Report) Looked(oracle string, times int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.looks == nil {
		r.looks = map[string]int{}
	}
	r.looks[oracle] += times
}

// Looks is how often an oracle looked.
func (r *Report) Looks(oracle string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.looks[oracle]
}

// Count is how many violations of a class there are.
func (r *Report) Count(c Class) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts[c]
}

// Clean tells whether nothing was found.
func (r *Report) Clean() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.counts) == 0
}

// String lists what was found, the first few of each class in words.
func (r *Report) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	for _, c := range Classes {
		if n := r.counts[c]; n > 0 {
			fmt.Fprintf(&b, "%s: %d\n", c, n)
			for _, text := range r.texts[c] {
				fmt.Fprintf(&b, "  %s\n", text)
			}
			if n > kept {
				fmt.Fprintf(&b, "  and %d more\n", n-kept)
			}
		}
	}
	return b.String()
}
