package sinktest

import (
	"errors"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks"
)

// secondWriterShutsOutTheFirst: of two open writers only the newer can commit, and the older learns that it was
// shut out. A target that refuses the second while the first lives is forced, and has to hold all the same.
func secondWriterShutsOutTheFirst(r *run) {
	r.begin(schema.PhaseStream)
	r.commit(r.transaction(insert(Accounts, "1", "first", Null)))
	if r.target.Steal != nil {
		w, _, err := r.tryOpen(claim)
		if err == nil {
			_ = w.Close()
			r.fatalf("a second Open beside a live writer: got a writer, want it refused")
		}
		if c := fault.ClassOf(err); c != fault.Busy && c != fault.Retryable {
			r.fatalf("a second Open beside a live writer: got class %v (%v), want one that waits", c, err)
		}
		r.commit(r.transaction(insert(Accounts, "2", "still first", Null)))
		r.target.Steal(r.t)
	}
	old := r.w
	defer func() { _ = old.Close() }()
	r.w = nil
	r.open()
	r.checkHeld(r.held)

	lost := r.transaction(insert(Accounts, "3", "of the old writer", Null))
	ctx, cancel := r.context()
	defer cancel()
	err := r.commitOn(ctx, old, lost)
	if c := fault.ClassOf(err); err == nil || c != fault.Fenced {
		r.fatalf("Commit of the older writer: got %v (class %v), want fenced", err, c)
	}
	r.checkContent()
	r.commit(r.transaction(insert(Accounts, "4", "of the new writer", Null)))
	if err := old.Close(); err != nil {
		r.fatalf("Close of the older writer: got %v, want nil", err)
	}
	r.reopen()
}

// otherSourceIsRefused: another source under the same name halts before anything is changed.
func otherSourceIsRefused(r *run) {
	c := claim
	c.Source = "test:2/other/slot"
	refused(r, c)
}

// otherScopeIsRefused: another set of tables or rules under the same name halts before anything is changed.
func otherScopeIsRefused(r *run) {
	c := claim
	c.Fingerprint = "scope-2"
	refused(r, c)
}

// refused opens with a claim that does not match, and then goes on as if nothing had been.
func refused(r *run, c sinks.Claim) {
	r.begin(schema.PhaseStream)
	r.commit(r.transaction(insert(Accounts, "1", "ada", Null)))
	live := r.w
	if r.target.Steal != nil {
		r.close() // such a target cannot be asked while a writer lives
		live = nil
	}
	w, _, err := r.tryOpen(c)
	if err == nil {
		_ = w.Close()
		r.fatalf("Open with claim %+v: got a writer, want a halt", c)
	}
	var e *fault.Error
	if !errors.As(err, &e) || e.Class != fault.Terminal || e.Remedy == "" || e.Code == "" {
		r.fatalf("Open with claim %+v: got %v, want a halt with a code and a remedy", c, err)
	}
	if live == nil {
		r.open()
	}
	r.commit(r.transaction(insert(Accounts, "2", "bob", Null))) // the refusal shut out nobody
	r.reopen()
}

// stateRoundTrip: source state is durable with the group it came in; a nil value deletes.
func stateRoundTrip(r *run) {
	r.begin(schema.PhaseStream)
	check := func(want map[string]string) {
		r.t.Helper()
		r.reopen()
		got := map[string]string{}
		for _, s := range r.held.State {
			got[s.Key] = string(s.Value)
		}
		if len(got) != len(want) {
			r.fatalf("state: got %q, want %q", got, want)
		}
		for k, v := range want {
			if got[k] != v {
				r.fatalf("state %q: got %q, want %q", k, got[k], v)
			}
		}
	}
	b := r.barrier(schema.PhaseStream)
	b.State = []schema.State{{Key: "a", Value: []byte("1")}, {Key: "b", Value: []byte("\x00\xff{}\n")}}
	r.commit(b)
	check(map[string]string{"a": "1", "b": "\x00\xff{}\n"})

	tx := r.transaction(insert(Accounts, "1", "ada", Null))
	tx.State = []schema.State{{Key: "a", Value: []byte("2")}, {Key: "c", Value: []byte{}}}
	r.commit(tx)
	check(map[string]string{"a": "2", "b": "\x00\xff{}\n", "c": ""})

	b = r.barrier(schema.PhaseStream)
	b.State = []schema.State{{Key: "b"}, {Key: "never was"}}
	r.commit(b)
	check(map[string]string{"a": "2", "c": ""})
}

// madeRoundTrip: the objects made for the pipeline are remembered, each once.
func madeRoundTrip(r *run) {
	r.open()
	b := r.barrier(schema.PhaseCreating)
	b.Made = []string{"publication:p", "slot:s"}
	r.commit(b)
	again := r.barrier(schema.PhaseCreating)
	again.Made = []string{"slot:s"}
	r.commit(again)
	r.reopen()
	made := map[string]int{}
	for _, name := range r.held.Made {
		made[name]++
	}
	if made["publication:p"] != 1 || made["slot:s"] != 1 {
		r.fatalf("made: got %q, want publication:p and slot:s, each once", r.held.Made)
	}
}

// inspectShutsOutNobody: the ledger can be read beside a live writer.
func inspectShutsOutNobody(r *run) {
	if r.target.Inspector == nil {
		r.t.Skip("the sink has no Inspector")
	}
	ctx, cancel := r.context()
	defer cancel()
	held, err := r.target.Inspector.Inspect(ctx, claim.Pipeline)
	if err != nil || !held.Position.IsZero() {
		r.fatalf("Inspect of nothing: got %+v, %v; want a zero position", held, err)
	}
	r.begin(schema.PhaseStream)
	for i := range 3 {
		r.commit(r.transaction(insert(Accounts, string(rune('1'+i)), "ada", Null)))
		held, err = r.target.Inspector.Inspect(ctx, claim.Pipeline)
		if err != nil {
			r.fatalf("Inspect: got %v, want nil", err)
		}
		r.checkHeld(held)
	}
	r.reopen()
}

// forget: the ledger is removed, the replicated rows stay, and nothing is left of the position.
func forget(r *run) {
	if r.target.Inspector == nil {
		r.t.Skip("the sink has no Inspector")
	}
	r.begin(schema.PhaseStream)
	r.commit(r.transaction(insert(Accounts, "1", "ada", Null)))
	r.close()
	ctx, cancel := r.context()
	defer cancel()
	for range 2 { // the second time there is nothing to remove
		if err := r.target.Inspector.Forget(ctx, claim.Pipeline); err != nil {
			r.fatalf("Forget: got %v, want nil", err)
		}
	}
	held, err := r.target.Inspector.Inspect(ctx, claim.Pipeline)
	if err != nil || !held.Position.IsZero() || held.Seq != 0 {
		r.fatalf("Inspect after Forget: got %+v, %v; want nothing", held, err)
	}
	r.checkContent()
}
