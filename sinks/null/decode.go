package null

import (
	"errors"
	"fmt"
	"strconv"
	"unsafe"

	"github.com/cespare/xxhash/v2"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
)

// The bytes that begin a column in the text that is hashed.
const (
	tagText        = 0xff
	tagNull        = 0xfe
	tagUnchanged   = 0xfd
	tagNotCaptured = 0xfc
)

// errKind is a value that is not of its column's kind.
var errKind = errors.New("not of its kind")

// hasher hashes rows; its memory is kept between them.
type hasher struct{ text []byte }

// row hashes one row image. It costs a copy of the values and no allocation.
func (h *hasher) row(t *schema.Table, row []schema.Value, arena []byte) (uint64, error) {
	text := h.text[:0]
	for i, v := range row {
		switch v.Form() {
		case schema.Null:
			text = append(text, tagNull)
			continue
		case schema.Unchanged:
			text = append(text, tagUnchanged)
			continue
		case schema.NotCaptured:
			text = append(text, tagNotCaptured)
			continue
		case schema.Text:
			if !fits(t.Columns[i].Kind, v.Bytes(arena)) {
				return 0, notOfItsKind(t, i)
			}
		}
		text = v.AppendText(append(text, tagText), arena)
	}
	h.text = text
	return xxhash.Sum64(text), nil
}

// notOfItsKind is the fault for a value that cannot be read. The value itself is not told.
func notOfItsKind(t *schema.Table, column int) error {
	c := &t.Columns[column]
	return fault.Record("target.value_not_of_its_kind",
		fmt.Errorf("%s column %s of type %s: %w", t, schema.QuoteName(c.Name), c.Native, errKind),
		"report it, with the column's type")
}

// fits reads a text as its kind says, and tells whether that can be done. What has no other form than text fits.
func fits(kind schema.Kind, text []byte) bool {
	switch {
	case kind.Integer():
		return integer(text, kind)
	case kind.Float():
		bits := 64
		if kind == schema.KindFloat32 {
			bits = 32
		}
		_, err := strconv.ParseFloat(unsafe.String(unsafe.SliceData(text), len(text)), bits) // not kept
		return err == nil
	}
	switch kind {
	case schema.KindBool:
		return len(text) == 1 && (text[0] == 't' || text[0] == 'f')
	case schema.KindDate:
		return special(text) || shaped(text, "0-0-0")
	case schema.KindTimestamp, schema.KindTimestampTZ:
		return special(text) || shaped(text, "0-0-0 0:0:0")
	case schema.KindTime, schema.KindTimeTZ:
		return shaped(text, "0:0:0")
	case schema.KindUUID:
		return len(text) == 36 && text[8] == '-' && text[13] == '-' && text[18] == '-' && text[23] == '-'
	}
	return true
}

// integer reads an integer of the kind's range.
func integer(text []byte, kind schema.Kind) bool {
	s := unsafe.String(unsafe.SliceData(text), len(text)) // not kept
	var err error
	switch kind {
	case schema.KindInt8:
		_, err = strconv.ParseInt(s, 10, 8)
	case schema.KindInt16:
		_, err = strconv.ParseInt(s, 10, 16)
	case schema.KindInt24, schema.KindInt32:
		_, err = strconv.ParseInt(s, 10, 32)
	case schema.KindInt64:
		_, err = strconv.ParseInt(s, 10, 64)
	case schema.KindUint8:
		_, err = strconv.ParseUint(s, 10, 8)
	case schema.KindUint16:
		_, err = strconv.ParseUint(s, 10, 16)
	case schema.KindUint24, schema.KindUint32:
		_, err = strconv.ParseUint(s, 10, 32)
	default:
		_, err = strconv.ParseUint(s, 10, 64)
	}
	return err == nil
}

// special tells whether a date or timestamp is infinite.
func special(text []byte) bool { return string(text) == "infinity" || string(text) == "-infinity" }

// shaped tells whether text begins with digits and separators as shape has them, a 0 standing for one digit or
// more. What follows (fractions, zones, BC) is not looked at.
func shaped(text []byte, shape string) bool {
	at := 0
	for i := range len(shape) {
		if shape[i] != '0' {
			if at >= len(text) || text[at] != shape[i] {
				return false
			}
			at++
			continue
		}
		first := at
		for at < len(text) && text[at] >= '0' && text[at] <= '9' {
			at++
		}
		if at == first {
			return false
		}
	}
	return true
}
