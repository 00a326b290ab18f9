package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/rowferry/rowferry/e2e/oracle"
)

// Phase is when a kill came.
type Phase string

// The phases.
const (
	Copy      Phase = "copy"
	CatchUp   Phase = "catch-up"
	Streaming Phase = "streaming"
	Idle      Phase = "idle"
	Stop      Phase = "stop"
)

// Phases are all of them. A run without a kill in each proves too little.
var Phases = []Phase{Copy, CatchUp, Streaming, Idle, Stop}

// tally adds up over rounds.
type tally struct {
	rounds        int
	copied        int64
	changed       int64
	kills         map[Phase]int
	brokers       int // killed
	breaks        int // sessions ended at a server, tables held
	counts        map[oracle.Class]int
	reads, orders int // looks of the reader, lines of files and topics
	acks          int
	uses          int // comparisons of goroutines and open files
}

func newTally() *tally { return &tally{kills: map[Phase]int{}, counts: map[oracle.Class]int{}} }

func (t *tally) add(r *oracle.Report, copied, changed int64) {
	t.rounds++
	t.copied += copied
	t.changed += changed
	for _, c := range oracle.Classes {
		t.counts[c] += r.Count(c)
	}
	t.reads += r.Looks("reader")
	t.orders += r.Looks("file lines")
	t.acks += r.Looks("ack")
	t.uses += r.Looks("use")
}

// killed is how many kills there were, in all phases.
func (t *tally) killed() (total int) {
	for _, n := range t.kills {
		total += n
	}
	return total
}

// print says everything, one subject a line.
func (t *tally) print(w io.Writer, took time.Duration) {
	fmt.Fprintf(w, "rounds     %d in %v\n", t.rounds, took.Round(time.Second))
	fmt.Fprintf(w, "rows       %d copied, %d changed\n", t.copied, t.changed)
	var kills []string
	for _, p := range Phases {
		kills = append(kills, fmt.Sprintf("%s %d", p, t.kills[p]))
	}
	fmt.Fprintf(w, "kills      %d: %s; %d of brokers; %d other breaks\n", t.killed(), strings.Join(kills, ", "), t.brokers, t.breaks)
	fmt.Fprintf(w, "watched    %d snapshots of the database, %d acknowledgements, %d lines of files and topics, %d looks at what a daemon holds\n",
		t.reads, t.acks, t.orders, t.uses)
	for _, c := range summary {
		fmt.Fprintf(w, "%-10s %d\n", c, t.counts[c])
	}
	var rest []string
	for _, c := range oracle.Classes[len(summary):] {
		rest = append(rest, fmt.Sprintf("%s %d", c, t.counts[c]))
	}
	fmt.Fprintf(w, "besides    %s\n", strings.Join(rest, ", "))
}

var errPhase = errors.New("no kill fell into a phase")

// complete tells whether every phase had its kill.
func (t *tally) complete() error {
	var missing []string
	for _, p := range Phases {
		if t.kills[p] == 0 {
			missing = append(missing, string(p))
		}
	}
	if missing != nil {
		return fmt.Errorf("%w: %s", errPhase, strings.Join(missing, ", "))
	}
	return nil
}
