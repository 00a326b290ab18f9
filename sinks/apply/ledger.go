package apply

import (
	"fmt"
	"slices"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks"
)

// LedgerRow is one lane's row in a target's ledger.
type LedgerRow struct {
	Lane        int
	Epoch       int64 // raised by every writer that opens; a transaction of an older one finds no row
	Seq         int64 // of the last group this lane made durable, 0 for none
	Source      schema.SourceID
	Fingerprint string
	Phase       schema.Phase
	Position    schema.Position
	Holder      string
	Made        []string
}

// The faults of a claim that the ledger contradicts.
const (
	CodeOtherSource  = "target.other_source"
	CodeScopeChanged = "target.scope_changed"
)

// VerifyClaim tells whether a writer may continue what rows say. It has to be asked before any epoch is raised: a
// wrong configuration must not shut out the right one.
func VerifyClaim(rows []LedgerRow, c sinks.Claim) error {
	for i := range rows {
		if r := &rows[i]; r.Source != c.Source {
			return fault.Halt(CodeOtherSource, fmt.Errorf(
				"the target holds pipeline %q of source %s, but this source is %s", c.Pipeline, r.Source, c.Source),
				"give this pipeline a name of its own,\n"+
					"or remove what the target holds of the old one with `rowferry teardown "+c.Pipeline+"` and copy again")
		}
		if r := &rows[i]; r.Fingerprint != c.Fingerprint {
			return fault.Halt(CodeScopeChanged, fmt.Errorf(
				"tables, filters or mapping of pipeline %q are not those its position was made with", c.Pipeline),
				"put the old settings back,\n"+
					"or remove what the target holds with `rowferry teardown "+c.Pipeline+"` and copy again")
		}
	}
	return nil
}

// HeldOf is what rows say of a pipeline: the position is that of the highest seq.
func HeldOf(rows []LedgerRow) sinks.Held {
	var h sinks.Held
	for i := range rows {
		r := &rows[i]
		if r.Seq > h.Seq {
			h.Seq, h.Position, h.Phase = r.Seq, r.Position, r.Phase
		}
		for _, made := range r.Made {
			if !slices.Contains(h.Made, made) {
				h.Made = append(h.Made, made)
			}
		}
	}
	return h
}
