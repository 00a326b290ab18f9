package schema

import "fmt"

// Kind is a canonical column type. Every native type of every source maps to exactly one kind, or to
// [KindOpaque], which keeps the native type name and whatever text the server prints.
type Kind uint8

// The kinds. Their order is part of the hash of a table version: append only.
const (
	KindInvalid     Kind = iota
	KindBool             // t | f
	KindInt8             // decimal digits, like all integers
	KindInt16            //
	KindInt24            //
	KindInt32            //
	KindInt64            //
	KindUint8            //
	KindUint16           //
	KindUint24           //
	KindUint32           //
	KindUint64           //
	KindFloat32          // shortest text that reads back to the same bits; NaN, Infinity, -Infinity
	KindFloat64          //
	KindDecimal          // exact, with the scale the source prints; NaN, Infinity, -Infinity
	KindText             // UTF-8
	KindBytes            // \x followed by lower-case hex
	KindDate             // YYYY-MM-DD, with " BC"; infinity, -infinity
	KindTime             // HH:MM:SS[.ffffff]
	KindTimeTZ           // HH:MM:SS[.ffffff]+hh[:mm]
	KindTimestamp        // YYYY-MM-DD HH:MM:SS[.ffffff]
	KindTimestampTZ      // the same in UTC, followed by +00
	KindInterval         // Postgres style: 1 year 2 mons 3 days 04:05:06
	KindUUID             // lower-case, with hyphens
	KindJSON             // the text as the source keeps it
	KindEnum             // the label
	KindSet              // labels, comma-separated
	KindBits             // 0s and 1s
	KindArray            // Postgres array literal
	KindRange            // Postgres range or multirange literal
	KindComposite        // Postgres row literal
	KindGeometry         // the source's text form: WKB as hex for spatial types, Postgres syntax for its own
	KindVector           // [1,2,3]
	KindNetwork          // inet, cidr, macaddr, macaddr8
	KindXML              //
	KindOpaque           // anything else: what the server prints, under its native type name
	kindEnd              //
)

var kindNames = [kindEnd]string{
	"invalid", "bool", "int8", "int16", "int24", "int32", "int64", "uint8", "uint16", "uint24", "uint32", "uint64",
	"float32", "float64", "decimal", "text", "bytes", "date", "time", "timetz", "timestamp", "timestamptz", "interval",
	"uuid", "json", "enum", "set", "bits", "array", "range", "composite", "geometry", "vector", "network", "xml", "opaque",
}

// String is the kind's name, as docs and messages spell it.
func (k Kind) String() string {
	if k >= kindEnd {
		return fmt.Sprintf("kind(%d)", uint8(k))
	}
	return kindNames[k]
}

// Integer tells whether values of the kind are decimal digits with an optional sign.
func (k Kind) Integer() bool { return k >= KindInt8 && k <= KindUint64 }

// Float tells whether values of the kind are binary floating-point numbers.
func (k Kind) Float() bool { return k == KindFloat32 || k == KindFloat64 }
