package debezium

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"math"
	"strconv"
	"unsafe"

	"github.com/rowferry/rowferry/schema/wire"
)

// scratch is the memory that writing values needs. One goroutine uses it.
type scratch struct {
	text     []byte // a value that is held inline
	raw      []byte
	elem     []byte // an element of an array
	limbs    []uint64
	pairs    []pair
	pairText []byte
}

// writer writes a value, which is not null, given as its canonical text. It is false for a value that has no form here;
// what it appended is not valid then.
type writer func(s *scratch, dst, text []byte, c *column) ([]byte, bool)

// parseFloat reads a number without a copy of its text, which nothing keeps.
func parseFloat(text []byte, bits int) (float64, error) {
	return strconv.ParseFloat(unsafe.String(unsafe.SliceData(text), len(text)), bits)
}

// writeText writes a text as it is.
func writeText(_ *scratch, dst, text []byte, _ *column) ([]byte, bool) {
	return wire.AppendString(dst, text), true
}

// writeSafe writes a text that holds no character with a meaning in JSON.
func writeSafe(_ *scratch, dst, text []byte, _ *column) ([]byte, bool) {
	return append(append(append(dst, '"'), text...), '"'), true
}

// writeInteger writes decimal digits.
func writeInteger(_ *scratch, dst, text []byte, _ *column) ([]byte, bool) {
	digits := text
	if len(digits) > 0 && digits[0] == '-' {
		digits = digits[1:]
	}
	if len(digits) == 0 || !allDigits(digits) || digits[0] == '0' && len(digits) > 1 {
		return dst, false
	}
	return append(dst, text...), true
}

// writeBool writes t or f.
func writeBool(_ *scratch, dst, text []byte, _ *column) ([]byte, bool) {
	switch string(text) {
	case "t":
		return append(dst, "true"...), true
	case "f":
		return append(dst, "false"...), true
	}
	return dst, false
}

// writeBit writes a single bit as a truth value.
func writeBit(_ *scratch, dst, text []byte, _ *column) ([]byte, bool) {
	return strconv.AppendBool(dst, bytes.IndexByte(text, '1') >= 0), true
}

// writeBits writes bits as bytes, the lowest first, without those at the end that are 0.
func writeBits(s *scratch, dst, text []byte, _ *column) ([]byte, bool) {
	text = bytes.TrimLeft(text, "0")
	s.raw = s.raw[:0]
	for i := len(text) - 1; i >= 0; i-- {
		bit := len(text) - 1 - i
		if bit%8 == 0 {
			s.raw = append(s.raw, 0)
		}
		if text[i] != '0' && text[i] != '1' {
			return dst, false
		}
		s.raw[bit/8] |= (text[i] - '0') << (bit % 8)
	}
	return appendBase64(dst, s.raw), true
}

func appendBase64(dst, raw []byte) []byte {
	return append(base64.StdEncoding.AppendEncode(append(dst, '"'), raw), '"')
}

// The forms of binary values.
type binaryForm uint8

const (
	binaryBase64 binaryForm = iota // also of bytes, which JSON has so
	binaryURL
	binaryHex
)

// appendBinary appends bytes in the form asked for.
func appendBinary(dst, raw []byte, form binaryForm) []byte {
	switch form {
	case binaryHex:
		return append(hex.AppendEncode(append(dst, '"'), raw), '"')
	case binaryURL:
		return append(base64.URLEncoding.AppendEncode(append(dst, '"'), raw), '"')
	}
	return appendBase64(dst, raw)
}

// writeBytes writes a bytea.
func writeBytes(s *scratch, dst, text []byte, c *column) ([]byte, bool) {
	digits, ok := bytes.CutPrefix(text, []byte(`\x`))
	if !ok {
		return dst, false
	}
	if c.binary == binaryHex {
		return append(append(append(dst, '"'), digits...), '"'), true
	}
	var err error
	s.raw, err = hex.AppendDecode(s.raw[:0], digits)
	return appendBinary(dst, s.raw, c.binary), err == nil
}

// writeUnknown writes the text of a type that Debezium does not know, as bytes.
func writeUnknown(_ *scratch, dst, text []byte, c *column) ([]byte, bool) {
	return appendBinary(dst, text, c.binary), true
}

// writeShape does the same with Postgres' own geometry, whose numbers Java spells its own way: 1.0 for 1.
func writeShape(s *scratch, dst, text []byte, c *column) ([]byte, bool) {
	s.raw = s.raw[:0]
	for len(text) > 0 {
		n := 0
		for n < len(text) && bytes.IndexByte([]byte("()[]<>{},"), text[n]) < 0 {
			n++
		}
		if n == 0 {
			s.raw, text = append(s.raw, text[0]), text[1:]
			continue
		}
		f, err := parseFloat(text[:n], 64)
		if err != nil {
			return dst, false
		}
		s.raw, text = appendJava(s.raw, f), text[n:]
	}
	return appendBinary(dst, s.raw, c.binary), true
}

// writePoint writes a point with its well-known binary beside it.
func writePoint(s *scratch, dst, text []byte, _ *column) ([]byte, bool) {
	body, opened := bytes.CutPrefix(text, []byte("("))
	body, closed := bytes.CutSuffix(body, []byte(")"))
	left, right, found := bytes.Cut(body, []byte(","))
	x, errX := parseFloat(left, 64)
	y, errY := parseFloat(right, 64)
	if !opened || !closed || !found || errX != nil || errY != nil {
		return dst, false
	}
	dst = appendDouble(append(dst, `{"x":`...), x)
	dst = appendDouble(append(dst, `,"y":`...), y)
	s.raw = append(s.raw[:0], 1, 1, 0, 0, 0)
	s.raw = binary.LittleEndian.AppendUint64(s.raw, javaBits(x))
	s.raw = binary.LittleEndian.AppendUint64(s.raw, javaBits(y))
	return append(appendBase64(append(dst, `,"wkb":`...), s.raw), `,"srid":null}`...), true
}

// javaBits are those of a double in Java, which has one NaN.
func javaBits(f float64) uint64 {
	if math.IsNaN(f) {
		return 0x7ff8000000000000
	}
	return math.Float64bits(f)
}

// writeGeometry writes a spatial value of PostGIS: its extended well-known binary, and the reference system it names.
func writeGeometry(s *scratch, dst, text []byte, _ *column) ([]byte, bool) {
	var err error
	if s.raw, err = hex.AppendDecode(s.raw[:0], text); err != nil || len(s.raw) < 9 {
		return dst, false
	}
	var order binary.ByteOrder = binary.LittleEndian
	if s.raw[0] == 0 {
		order = binary.BigEndian
	}
	const named = 0x20000000
	dst = append(appendBase64(append(dst, `{"wkb":`...), s.raw), `,"srid":`...)
	if order.Uint32(s.raw[1:])&named == 0 {
		return append(dst, "null}"...), true
	}
	return append(strconv.AppendInt(dst, int64(int32(order.Uint32(s.raw[5:]))), 10), '}'), true
}

// writeVector writes [1,2,3] as an array of numbers.
func writeVector(_ *scratch, dst, text []byte, _ *column) ([]byte, bool) {
	body, opened := bytes.CutPrefix(text, []byte("["))
	body, closed := bytes.CutSuffix(body, []byte("]"))
	if !opened || !closed {
		return dst, false
	}
	dst = append(dst, '[')
	for first := true; len(body) > 0; first = false {
		number, rest, _ := bytes.Cut(body, []byte(","))
		f, err := parseFloat(number, 64)
		if err != nil {
			return dst, false
		}
		if !first {
			dst = append(dst, ',')
		}
		dst, body = appendDouble(dst, f), rest
	}
	return append(dst, ']'), true
}

// writeNothing is for types whose values Debezium cannot write although it has a schema for them.
func writeNothing(_ *scratch, dst, _ []byte, _ *column) ([]byte, bool) { return dst, false }
