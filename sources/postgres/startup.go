package postgres

import (
	"errors"
	"fmt"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
)

// beginning is how a stream starts.
type beginning uint8

const (
	beginNew    beginning = iota // nothing exists yet
	beginAgain                   // a slot of ours may exist, from a start or a copy that did not finish
	beginStream                  // the copy is done: read on from the position
)

// facts is what a stream's start depends on.
type facts struct {
	name       string // of the slot
	from       position
	server     server
	end        LSN  // of the server's log
	left       LSN  // where the server's history left the position's timeline; 0 when it is still on it, or never was
	recovering bool // the server replays another one's log
	slot       *slotInfo
}

// decide says how to begin, or why that is impossible. It is the start-up table: whatever the position and the
// slot disagree about is a gap, and a gap is never stepped over.
func decide(f facts) (beginning, error) {
	if f.from == (position{}) {
		if f.slot != nil {
			return 0, fault.Halt("source.slot_exists",
				fmt.Errorf("slot %s exists, and the target knows nothing of it", f.name), remedySlotExists)
		}
		return beginNew, nil
	}
	if f.from.system != f.server.system {
		return 0, fault.Halt("source.system_changed",
			fmt.Errorf("the target holds a position of cluster %d, the source is cluster %d", f.from.system, f.server.system),
			"correct the source's url, or `rowferry teardown` the pipeline and copy from the new cluster")
	}
	if f.slot != nil && (f.slot.kind != "logical" || f.slot.plugin != "pgoutput" || f.slot.database != f.server.database) {
		return 0, fault.Halt("source.slot_foreign",
			fmt.Errorf("slot %s is not ours: it is %s, plugin %q, database %q", f.name, f.slot.kind, f.slot.plugin, f.slot.database),
			"drop that slot if nobody needs it, or give the pipeline another one with source.slot.name")
	}
	if f.from.phase != schema.PhaseStream {
		return beginAgain, nil
	}
	return beginStream, checkStream(f)
}

// checkStream checks that the log from the position on is what the slot still keeps.
func checkStream(f facts) error {
	if f.server.timeline < f.from.timeline {
		return fault.Halt("source.timeline",
			fmt.Errorf("the server is on timeline %d, the target's position on %d: this is a former primary",
				f.server.timeline, f.from.timeline),
			"name the present primary in the source's url")
	}
	if f.slot == nil {
		return fault.Halt("source.slot_missing",
			fmt.Errorf("slot %s is gone: changes after %s cannot be read any more", f.name, f.from.lsn), remedyGap)
	}
	if reason, lost := f.slot.lost(); lost {
		return fault.Halt("source.slot_lost",
			fmt.Errorf("the server invalidated slot %s (%s): changes after %s cannot be read any more", f.name, reason, f.from.lsn),
			remedyGap)
	}
	if f.slot.confirmed > f.from.lsn {
		return fault.Halt("source.gap",
			fmt.Errorf("slot %s was moved to %s, %d bytes past the target's position %s",
				f.name, f.slot.confirmed, f.slot.confirmed-f.from.lsn, f.from.lsn), remedyGap)
	}
	// A slot that is older than the promotion and was read past it went along with a standby: its first positions may
	// still name the timeline before.
	along := f.slot.restart <= f.left && f.left < f.slot.confirmed
	if f.server.timeline > f.from.timeline && f.from.lsn > f.left && !along {
		return fault.Halt("source.behind",
			fmt.Errorf("the server's history left timeline %d at %s, before the target's position %s",
				f.from.timeline, f.left, f.from.lsn), remedyBehind)
	}
	if f.end < f.from.lsn {
		err := fmt.Errorf("the server's log ends at %s, before the target's position %s", f.end, f.from.lsn)
		if f.recovering && f.server.timeline == f.from.timeline {
			return fault.Wait("source.replaying", err)
		}
		return fault.Halt("source.behind", err, remedyBehind)
	}
	return nil
}

const remedyBehind = "the source lost transactions that the target has, as after a failover to a standby that was behind\n" +
	"to follow the source, `rowferry teardown` the pipeline, empty its target tables, and copy again"

// checkPublished compares what is published now with what the pipeline was copied with.
func checkPublished(before, now *published, exists func(uint32) bool, accept bool) ([]string, error) {
	if before == nil {
		return nil, nil
	}
	changes := before.diff(now, exists)
	if len(changes) == 0 || accept {
		return changes, nil
	}
	return changes, publicationChanged(now.Publication, changes)
}

// publicationChanged is the halt for a publication that is no longer what the pipeline was copied with.
func publicationChanged(name string, changes []string) error {
	return fault.Halt("source.publication_changed",
		fmt.Errorf("publication %s is not what the pipeline was copied with: %s", name, describe(changes)),
		"undo the change in the publication;\nor, if rows that are missing at the target do not matter or were copied by hand, "+
			"set source.publication.changed: accept for one start;\n"+
			"or `rowferry teardown` the pipeline, empty its target tables, and copy again")
}

// errNoTables says that nothing is to be replicated.
var errNoTables = errors.New("no table of the source matches the patterns, or none of them is in the publication")
