package postgres

import (
	"context"
	"testing"

	"github.com/rs/zerolog"

	"github.com/rowferry/rowferry/sinks"
	"github.com/rowferry/rowferry/sinks/sinktest"
)

func TestSinkSuite(t *testing.T) {
	for _, major := range []int{15, 18} {
		name := map[int]string{15: "Postgres 15", 18: "Postgres 18"}[major]
		t.Run(name, func(t *testing.T) {
			sinktest.Run(t, sinktest.Harness{Style: sinktest.Rows, New: func(t *testing.T) sinktest.Target { return newTarget(t, major) }})
		})
	}
}

// newTarget makes a database for one case of the suite.
func newTarget(t *testing.T, major int) sinktest.Target {
	d := newDB(t, major)
	newSink := func() *Sink {
		s, err := New(Config{URL: d.url, Tables: Tables{Create: true}}, sinks.Runtime{Pipeline: "suite", Log: zerolog.Nop()})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	return sinktest.Target{
		Open: func(ctx context.Context, c sinks.Claim) (sinks.Writer, sinks.Held, error) {
			return newSink().Open(ctx, c)
		},
		Kill:      func(_ testing.TB, w sinks.Writer) { w.(*Writer).kill() },
		Inspector: newSink(),
		Read: func(testing.TB) []sinktest.Event {
			var events []sinktest.Event
			for _, table := range []string{"accounts", "entries"} {
				if len(d.lines(`SELECT 1 FROM pg_class WHERE relname = '`+table+`'`)) == 0 {
					continue
				}
				for _, line := range d.lines(`SELECT * FROM public.` + table) {
					events = append(events, sinktest.Event{Table: "public." + table, Values: split(line)})
				}
			}
			return events
		},
	}
}

// split takes a line of [db.lines] apart.
func split(line string) []string {
	values := []string{""}
	for _, r := range line {
		if r == '|' {
			values = append(values, "")
		} else {
			values[len(values)-1] += string(r)
		}
	}
	return values
}

// kill ends the writer's connections as the death of its process would.
func (w *Writer) kill() {
	for _, l := range w.lanes {
		if l != nil {
			_ = l.conn.Conn().Close()
		}
	}
	_ = w.Close()
}
