package replicator

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/rowferry/rowferry/replicator/metrics"
	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/sinks"
)

// word makes an item of a script's word:
//
//	5      a batch of whole transactions with five changes     0      a barrier
//	m4 l4  a part, the last part, of four changes              c7     seven copied rows
//	t2     two changes after an announcement                   pcopy  a change of phase
//	s3     three changes, a new version of a table among them o0     columns that took others' names
func word(n int, text string) *item {
	b := schema.NewBatch(nil)
	b.Phase = schema.PhaseStream
	b.Upto = at(n)
	kind, count := byte(' '), 0
	var counts []metrics.Count
	if text[0] < '0' || text[0] > '9' {
		kind, text = text[0], text[1:]
	}
	if kind == 'p' {
		b.Phase = schema.Phase(text)
	} else if _, err := fmt.Sscan(text, &count); err != nil {
		panic(err)
	}
	switch kind {
	case 'm':
		b.Part, b.Upto = schema.PartMore, schema.Position{}
	case 'l':
		b.Part = schema.PartLast
	case 't':
		b.Tables = []*schema.Table{tableA}
	case 'o':
		b.Takeovers = []schema.Takeover{{Table: tableA}}
	case 'c':
		b.Copy, b.Upto = &schema.Copy{Table: tableA, Rows: count}, schema.Position{}
		return newItem(int64(n), b, nil, time.Time{})
	case 's':
		counts = []metrics.Count{{Table: tableA, Op: schema.OpSchema, N: 1}}
	}
	if count > 0 {
		b.Changes = make([]schema.Change, count)
		b.Transactions = []schema.Transaction{{Count: int32(count)}}
	}
	return newItem(int64(n), b, counts, time.Time{})
}

// group folds a script without a pause and writes the units down: kind, rows of each batch, "!" when it runs alone.
func group(g *grouper, script string) (out []string, err error) {
	take := func() {
		u := g.take()
		var rows []string
		for _, it := range u.items {
			rows = append(rows, fmt.Sprint(it.rows))
		}
		s := fmt.Sprintf("%s(%s)", [...]string{"commit", "stage", "copy"}[u.kind], strings.Join(rows, " "))
		if u.alone {
			s += "!"
		}
		out = append(out, s)
	}
	for n, w := range strings.Fields(script) {
		for {
			ok, err := g.add(word(n+1, w), time.Time{})
			if err != nil {
				return out, err
			}
			if ok {
				break
			}
			take()
		}
	}
	if g.open != nil && !g.open.torn {
		take()
	}
	return out, nil
}

func TestGrouper(t *testing.T) {
	tests := []struct {
		name, script string
		limits       sinks.Limits
		want         []string
	}{
		{
			name: "folds up to the rows", script: "4 4 4 1", limits: sinks.Limits{Rows: 10},
			want: []string{"commit(4 4)", "commit(4 1)"},
		},
		{
			name: "a single batch may exceed", script: "1 99 1", limits: sinks.Limits{Rows: 10},
			want: []string{"commit(1)", "commit(99)", "commit(1)"},
		},
		{
			name: "no limits", script: "4 400 0 1", want: []string{"commit(4 400 0 1)"},
		},
		{
			name: "bytes", script: "4 4 4", limits: sinks.Limits{Bytes: 8 * 72},
			want: []string{"commit(4 4)", "commit(4)"},
		},
		{
			name: "announcements and phases run alone", script: "pcreating pcopy c5 c6 pstream 1 t2 0 3",
			want: []string{"commit(0)!", "commit(0)!", "copy(5)", "copy(6)", "commit(0)!", "commit(1)", "commit(2)!", "commit(0 3)"},
		},
		{
			name: "new versions run alone", script: "3 s3 3 3", want: []string{"commit(3)", "commit(3)!", "commit(3 3)"},
		},
		{
			name: "takeovers run alone", script: "3 o0 0 3", want: []string{"commit(3)", "commit(0)!", "commit(0 3)"},
		},
		{
			name: "parts are staged", script: "1 m4 m4 l2 1 1", limits: sinks.Limits{Stage: true},
			want: []string{"commit(1)", "stage(4)!", "stage(4)!", "commit(2)!", "commit(1 1)"},
		},
		{
			name: "parts stay together", script: "1 m4 m4 l2 1 1", limits: sinks.Limits{Rows: 3},
			want: []string{"commit(1)", "commit(4 4 2)!", "commit(1 1)"},
		},
		{
			name: "a transaction cut off", script: "1 m4 m4", want: []string{"commit(1)"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := group(newGrouper(sinks.Held{Phase: schema.PhaseStream, Limits: tt.limits}), tt.script)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

// TestInvariant2_grouperKeepsOrder folds random scripts, taking what is open at random moments.
func TestInvariant2_grouperKeepsOrder(t *testing.T) {
	words := rapid.SampledFrom([]string{"0", "1", "3", "9", "c4", "t1", "m3 m3 l1", "m2 l2"})
	rapid.Check(t, func(t *rapid.T) {
		script := strings.Fields(strings.Join(rapid.SliceOf(words).Draw(t, "script"), " "))
		limits := sinks.Limits{Rows: rapid.IntRange(0, 12).Draw(t, "rows"), Stage: rapid.Bool().Draw(t, "stage")}
		g := newGrouper(sinks.Held{Seq: 7, Phase: schema.PhaseStream, Position: at(1000), Limits: limits})
		seq, number := int64(7), int64(0)
		position := at(1000)
		take := func() {
			u := g.take()
			whole := 0
			for _, it := range u.items {
				number++
				if it.number != number {
					t.Fatalf("item %d follows %d", it.number, number-1)
				}
				if !it.batch.Upto.IsZero() {
					position = it.batch.Upto
				}
				if it.batch.Part == schema.Whole {
					whole++
				}
			}
			if whole > 1 && limits.Rows > 0 && u.rows > limits.Rows {
				t.Fatalf("%d rows in a group", u.rows)
			}
			if u.kind != commitUnit {
				return
			}
			if seq++; u.seq != seq || u.upto != position {
				t.Fatalf("got group %d at %v, want %d at %v", u.seq, u.upto, seq, position)
			}
		}
		for n, w := range script {
			for {
				ok, err := g.add(word(n+1, w), time.Time{})
				if err != nil {
					t.Fatal(err)
				}
				if ok {
					break
				}
				take()
			}
			if g.open != nil && !g.open.torn && rapid.Bool().Draw(t, "take") {
				take()
			}
		}
		if g.open != nil {
			take()
		}
		if int(number) != len(script) {
			t.Fatalf("got %d items, want %d", number, len(script))
		}
	})
}

func TestInvariant4_grouperRefusesWhatTears(t *testing.T) {
	for _, stage := range []bool{true, false} {
		err := protect(func() error {
			_, err := group(newGrouper(sinks.Held{Limits: sinks.Limits{Stage: stage}}), "1 m4 1")
			return err
		})
		if err == nil || !strings.Contains(err.Error(), "invariant 4") {
			t.Errorf("stage %v: got %v, want invariant 4", stage, err)
		}
	}
}

func TestInvariant3_grouperRefusesAGroupWithoutPosition(t *testing.T) {
	it := word(1, "1")
	it.batch.Upto = schema.Position{}
	err := protect(func() error {
		_, err := newGrouper(sinks.Held{}).add(it, time.Time{})
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "invariant 3") {
		t.Errorf("got %v, want invariant 3", err)
	}
	// With a ledger behind it, the position stays.
	g := newGrouper(sinks.Held{Position: at(5), Phase: schema.PhaseStream})
	if _, err := g.add(it, time.Time{}); err != nil || g.take().upto != at(5) {
		t.Errorf("got %v, want the ledger's position", err)
	}
}

// TestInvariant7_gate starts random units as the gate admits them and ends them at random.
func TestInvariant7_gate(t *testing.T) {
	kinds := []unit{{}, {}, {alone: true}, {kind: stageUnit, alone: true}, {kind: copyUnit}, {kind: copyUnit}}
	rapid.Check(t, func(t *rapid.T) {
		g := gate{lanes: rapid.IntRange(1, 4).Draw(t, "lanes")}
		running := []*unit{}
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			u := kinds[rapid.IntRange(0, len(kinds)-1).Draw(t, "unit")]
			if g.admits(&u) {
				g.start(&u)
				running = append(running, &u)
			} else if len(running) == 0 {
				t.Fatal("nothing runs, and the next may not start")
			}
			moving, copying, alone := 0, 0, 0
			for _, r := range running {
				switch {
				case r.kind == copyUnit:
					copying++
				default:
					moving++
				}
				if r.alone {
					alone++
				}
			}
			if moving > g.lanes || moving > 0 && copying > 0 || alone > 0 && len(running) > 1 {
				t.Fatalf("%d moving, %d copying, %d alone", moving, copying, alone)
			}
			if len(running) > 0 && rapid.Bool().Draw(t, "end") {
				i := rapid.IntRange(0, len(running)-1).Draw(t, "which")
				g.end(running[i])
				running = append(running[:i], running[i+1:]...)
			}
			if g.idle() != (len(running) == 0) {
				t.Fatal("idle is wrong")
			}
		}
	})
}
