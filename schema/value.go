package schema

import (
	"math"
	"strconv"
)

// Form says what a [Value] holds. Three forms hold nothing, and they mean different things.
type Form uint8

// The forms of a value.
const (
	// NotCaptured: the source does not send this column here (a key image, a column list). The zero value.
	NotCaptured Form = iota
	// Unchanged: the change left the column as it was and the source did not send it (TOAST, NOBLOB).
	Unchanged
	// Null is SQL's NULL.
	Null
	// Text: the kind's canonical text, in the batch's arena.
	Text
	// Int is a signed integer, held inline.
	Int
	// Uint is an unsigned integer, held inline.
	Uint
	// Float is a 64-bit float, held inline.
	Float
	// Bool is a truth value, held inline.
	Bool
)

// Value is one column's value: 16 bytes, no pointer. Bytes lie in the arena of the [Batch] it belongs to, so a
// value says nothing without its batch.
type Value struct {
	bits uint64 // the number itself, or offset<<32 | length into the arena
	form Form
}

// NullValue is SQL's NULL.
var NullValue = Value{form: Null}

// UnchangedValue marks a column that the source left out because the change did not touch it.
var UnchangedValue = Value{form: Unchanged}

// TextAt is the value whose canonical text is arena[offset:offset+length]. Both are below 4 GiB.
func TextAt(offset, length int) Value {
	return Value{bits: uint64(offset)<<32 | uint64(uint32(length)), form: Text}
}

// IntValue holds a signed integer.
func IntValue(i int64) Value { return Value{bits: uint64(i), form: Int} }

// UintValue holds an unsigned integer.
func UintValue(u uint64) Value { return Value{bits: u, form: Uint} }

// FloatValue holds a float.
func FloatValue(f float64) Value { return Value{bits: math.Float64bits(f), form: Float} }

// BoolValue holds a truth value.
func BoolValue(b bool) Value {
	if b {
		return Value{bits: 1, form: Bool}
	}
	return Value{form: Bool}
}

// Form says what the value holds.
func (v Value) Form() Form { return v.form }

// IsNull tells whether the value is SQL's NULL; an absent value is not.
func (v Value) IsNull() bool { return v.form == Null }

// Absent tells whether the source did not send the value at all.
func (v Value) Absent() bool { return v.form <= Unchanged }

// Bytes is the canonical text of a [Text] value as a slice of arena: valid as long as the batch is, not to be
// written to. It is nil for every other form.
func (v Value) Bytes(arena []byte) []byte {
	if v.form != Text {
		return nil
	}
	offset, length := v.bits>>32, v.bits&math.MaxUint32
	return arena[offset : offset+length : offset+length]
}

// AppendText appends the canonical text of the value to dst, nothing for NULL and for absent values.
// It costs a copy and never allocates beyond dst's growth.
func (v Value) AppendText(dst, arena []byte) []byte {
	switch v.form {
	case Text:
		return append(dst, v.Bytes(arena)...)
	case Int:
		return strconv.AppendInt(dst, int64(v.bits), 10)
	case Uint:
		return strconv.AppendUint(dst, v.bits, 10)
	case Float:
		return AppendFloat(dst, math.Float64frombits(v.bits))
	case Bool:
		if v.bits != 0 {
			return append(dst, 't')
		}
		return append(dst, 'f')
	}
	return dst
}

// AppendFloat appends the canonical text of a float: the shortest that reads back to the same bits.
func AppendFloat(dst []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, "NaN"...)
	case math.IsInf(f, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(f, -1):
		return append(dst, "-Infinity"...)
	}
	return strconv.AppendFloat(dst, f, 'g', -1, 64)
}
