package postgres

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
)

// LSN is an offset in Postgres' write-ahead log.
type LSN uint64

// String spells the offset as Postgres does: 0/16B3748.
func (l LSN) String() string { return fmt.Sprintf("%X/%X", uint32(l>>32), uint32(l)) }

// parseLSN reads what the server prints. Leading zeros are allowed: Postgres 19 pads.
func parseLSN(text string) (LSN, error) {
	high, low, ok := strings.Cut(text, "/")
	if !ok || len(high) == 0 || len(low) == 0 || len(high) > 8 || len(low) > 8 {
		return 0, fmt.Errorf("%q is no LSN", text)
	}
	h, err := strconv.ParseUint(high, 16, 32)
	if err != nil {
		return 0, fmt.Errorf("%q is no LSN", text)
	}
	l, err := strconv.ParseUint(low, 16, 32)
	if err != nil {
		return 0, fmt.Errorf("%q is no LSN", text)
	}
	return LSN(h<<32 | l), nil
}

// positionFormat names the grammar of this package's positions: system/timeline/LSN/phase, the numbers in decimal
// but for the LSN, which is one upper-case hexadecimal number, none with leading zeros.
const positionFormat = "postgres/1"

// position is a place in one cluster's log, with the phase of the pipeline that stands there.
type position struct {
	system   uint64 // the cluster's system identifier
	timeline uint32
	lsn      LSN // end of the last commit record that counts; 0 while creating
	phase    schema.Phase
}

// encode writes the position for the ledger.
func (p position) encode() schema.Position {
	token := make([]byte, 0, 64)
	token = strconv.AppendUint(token, p.system, 10)
	token = append(token, '/')
	token = strconv.AppendUint(token, uint64(p.timeline), 10)
	token = append(token, '/')
	token = appendHex(token, uint64(p.lsn))
	token = append(token, '/')
	token = append(token, p.phase...)
	return schema.Position{Format: positionFormat, Token: string(token)}
}

// appendHex appends n in upper-case hexadecimal.
func appendHex(dst []byte, n uint64) []byte {
	start := len(dst)
	dst = strconv.AppendUint(dst, n, 16)
	for i := start; i < len(dst); i++ {
		if dst[i] >= 'a' {
			dst[i] -= 'a' - 'A'
		}
	}
	return dst
}

// decodePosition reads a position back. It refuses whatever encode would not have written, so that two texts
// never mean the same place.
func decodePosition(from schema.Position) (position, error) {
	if from.Format != positionFormat {
		return position{}, positionFault(from, "its format is not "+positionFormat)
	}
	fields := strings.Split(from.Token, "/")
	if len(fields) != 4 {
		return position{}, positionFault(from, "it has not four parts")
	}
	system, err := strconv.ParseUint(fields[0], 10, 64)
	if err != nil {
		return position{}, positionFault(from, "its system identifier is no number")
	}
	timeline, err := strconv.ParseUint(fields[1], 10, 32)
	if err != nil {
		return position{}, positionFault(from, "its timeline is no number")
	}
	lsn, err := strconv.ParseUint(fields[2], 16, 64)
	if err != nil {
		return position{}, positionFault(from, "its LSN is no hexadecimal number")
	}
	p := position{system: system, timeline: uint32(timeline), lsn: LSN(lsn), phase: schema.Phase(fields[3])}
	switch p.phase {
	case schema.PhaseCreating, schema.PhaseCopy, schema.PhaseStream:
	default:
		return position{}, positionFault(from, "its phase is unknown")
	}
	if p.encode() != from {
		return position{}, positionFault(from, "it is not in the form this version writes")
	}
	return p, nil
}

// positionFault is the halt for a ledger that holds something else than our positions.
func positionFault(from schema.Position, why string) error {
	return fault.Halt("source.position", fmt.Errorf("the target's ledger holds the position %q: %s", from, why),
		"the ledger row was edited, or written by another version or connector: use the version that wrote it, "+
			"or `rowferry teardown` the pipeline and copy again")
}
