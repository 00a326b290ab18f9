package debezium

import (
	"bytes"
	"encoding/base64"
	"math/bits"
	"strconv"

	"github.com/rowferry/rowferry/schema/wire"
)

// decimal is a decimal number as its text gives it: digits before and after the point.
type decimal struct {
	negative bool
	whole    []byte
	fraction []byte
}

// parseDecimal takes a number without an exponent apart; ok is false for NaN, infinite ones, and what is no number.
func parseDecimal(text []byte) (d decimal, ok bool) {
	if len(text) > 0 && text[0] == '-' {
		d.negative, text = true, text[1:]
	}
	d.whole = text
	if at := bytes.IndexByte(text, '.'); at >= 0 {
		d.whole, d.fraction = text[:at], text[at+1:]
	}
	return d, len(d.whole)+len(d.fraction) > 0 && allDigits(d.whole) && allDigits(d.fraction)
}

func allDigits(text []byte) bool {
	for _, c := range text {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// powers of ten that fit a limb.
var tens = func() (t [20]uint64) {
	t[0] = 1
	for i := 1; i < len(t); i++ {
		t[i] = t[i-1] * 10
	}
	return t
}()

// chunkDigits is how many digits are taken at once.
const chunkDigits = 18

// takeDigits sets s.limbs to limbs·10^n + digits, with the lowest limb first.
func (s *scratch) takeDigits(digits []byte) {
	for len(digits) > 0 {
		n := min(len(digits), chunkDigits)
		value := uint64(0)
		for _, c := range digits[:n] {
			value = value*10 + uint64(c-'0')
		}
		s.shift(n, value)
		digits = digits[n:]
	}
}

// shift multiplies the limbs by 10^n, n up to 19, and adds a number.
func (s *scratch) shift(n int, carry uint64) {
	for i, limb := range s.limbs {
		high, low := bits.Mul64(limb, tens[n])
		low, over := bits.Add64(low, carry, 0)
		s.limbs[i], carry = low, high+over
	}
	if carry > 0 {
		s.limbs = append(s.limbs, carry)
	}
}

// appendUnscaled appends the number without its point, with scale digits behind it, as the base64 of the big-endian
// two's complement that Java's BigInteger gives. The number has no more digits behind the point than scale.
func (s *scratch) appendUnscaled(dst []byte, d decimal, scale int) []byte {
	if len(d.whole)+scale <= chunkDigits {
		return s.appendSmall(dst, d, scale)
	}
	s.limbs = s.limbs[:0]
	s.takeDigits(d.whole)
	s.takeDigits(d.fraction)
	for missing := scale - len(d.fraction); missing > 0; missing -= chunkDigits {
		s.shift(min(missing, chunkDigits), 0)
	}
	negative := d.negative && len(s.limbs) > 0
	if negative { // -n is the complement of n-1
		for i := range s.limbs {
			s.limbs[i]--
			if s.limbs[i] != ^uint64(0) {
				break
			}
		}
	}
	for n := len(s.limbs); n > 0 && s.limbs[n-1] == 0; n-- {
		s.limbs = s.limbs[:n-1]
	}
	s.raw = append(s.raw[:0], 0)
	for i := len(s.limbs) - 1; i >= 0; i-- {
		for shift := 56; shift >= 0; shift -= 8 {
			s.raw = append(s.raw, byte(s.limbs[i]>>shift))
		}
	}
	first := 0 // a byte is needed when it is not 0, or when the next one's top bit says something else
	for first < len(s.raw)-1 && s.raw[first] == 0 && s.raw[first+1] < 0x80 {
		first++
	}
	if negative {
		for i := range s.raw {
			s.raw[i] = ^s.raw[i]
		}
	}
	dst = append(dst, '"')
	return append(base64.StdEncoding.AppendEncode(dst, s.raw[first:]), '"')
}

// appendSmall does it for numbers of few digits.
func (s *scratch) appendSmall(dst []byte, d decimal, scale int) []byte {
	n := uint64(0)
	for _, c := range d.whole {
		n = n*10 + uint64(c-'0')
	}
	for _, c := range d.fraction {
		n = n*10 + uint64(c-'0')
	}
	n *= tens[scale-len(d.fraction)]
	if d.negative {
		n = -n
	}
	size := 8 // less where the bytes before say no more than the sign
	for size > 1 && int64(n)<<(72-8*size)>>(72-8*size) == int64(n) {
		size--
	}
	s.raw = s.raw[:0]
	for shift := 8*size - 8; shift >= 0; shift -= 8 {
		s.raw = append(s.raw, byte(n>>shift))
	}
	return appendBase64(dst, s.raw)
}

// writeDecimal writes a number with the scale of its column as bytes. NaN and infinite ones have none.
func writeDecimal(s *scratch, dst, text []byte, c *column) ([]byte, bool) {
	d, ok := parseDecimal(text)
	if !ok || len(d.fraction) > c.scale {
		return dst, false
	}
	return s.appendUnscaled(dst, d, c.scale), true
}

// writeVariable writes a number of a column without a scale, which stands beside it.
func writeVariable(s *scratch, dst, text []byte, _ *column) ([]byte, bool) {
	d, ok := parseDecimal(text)
	if !ok {
		return dst, false
	}
	d.fraction = bytes.TrimRight(d.fraction, "0")
	dst = strconv.AppendInt(append(dst, `{"scale":`...), int64(len(d.fraction)), 10)
	dst = s.appendUnscaled(append(dst, `,"value":`...), d, len(d.fraction))
	return append(dst, '}'), true
}

// writeDecimalText writes a number as a text.
func writeDecimalText(_ *scratch, dst, text []byte, c *column) ([]byte, bool) {
	if name, special := specialNames[string(text)]; special {
		return append(dst, name...), !c.element // Debezium cannot read an array with one
	}
	d, ok := parseDecimal(text)
	if !ok || c.scale >= 0 && len(d.fraction) > c.scale {
		return dst, false
	}
	dst = append(append(dst, '"'), text...)
	if missing := c.scale - len(d.fraction); missing > 0 {
		if len(d.fraction) == 0 {
			dst = append(dst, '.')
		}
		for range missing {
			dst = append(dst, '0')
		}
	}
	return append(dst, '"'), true
}

// specialNames is how Java calls what is no number.
var specialNames = map[string]string{
	"NaN": `"NAN"`, "Infinity": `"POSITIVE_INFINITY"`, "-Infinity": `"NEGATIVE_INFINITY"`,
}

// writeDecimalDouble writes a number rounded to a double.
func writeDecimalDouble(_ *scratch, dst, text []byte, c *column) ([]byte, bool) {
	if _, special := specialNames[string(text)]; special && c.element {
		return dst, false
	}
	f, err := parseFloat(text, 64)
	if err != nil && f == 0 {
		return dst, false
	}
	return appendDouble(dst, f), true
}

// money finds the number in an amount of money, whose text depends on the server's locale.
func (s *scratch) money(text []byte) (d decimal, ok bool) {
	s.raw = s.raw[:0]
	negative := false
	for _, c := range text {
		switch {
		case c >= '0' && c <= '9', c == '.':
			s.raw = append(s.raw, c)
		case c == '-', c == '(':
			negative = true
		}
	}
	s.text = append(s.text[:0], s.raw...)
	d, ok = parseDecimal(s.text)
	d.negative = negative
	return d, ok
}

// writeMoney writes an amount as bytes, rounded half up to the digits asked for.
func writeMoney(s *scratch, dst, text []byte, c *column) ([]byte, bool) {
	d, ok := s.money(text)
	if !ok {
		return dst, false
	}
	if len(d.fraction) > c.scale {
		up := d.fraction[c.scale] >= '5'
		d.fraction = d.fraction[:c.scale]
		if up {
			d = s.increment(d)
		}
	}
	return s.appendUnscaled(dst, d, c.scale), true
}

// increment adds one to the last digit.
func (s *scratch) increment(d decimal) decimal {
	scale := len(d.fraction)
	s.raw = append(append(append(s.raw[:0], '0'), d.whole...), d.fraction...)
	for i := len(s.raw) - 1; i >= 0; i-- {
		if s.raw[i] < '9' {
			s.raw[i]++
			break
		}
		s.raw[i] = '0'
	}
	s.text = append(s.text[:0], s.raw...)
	at := len(s.text) - scale
	return decimal{negative: d.negative, whole: s.text[:at], fraction: s.text[at:]}
}

// writeMoneyText writes an amount as a plain number in a text.
func writeMoneyText(s *scratch, dst, text []byte, _ *column) ([]byte, bool) {
	d, ok := s.money(text)
	if !ok {
		return dst, false
	}
	return append(appendPlain(append(dst, '"'), d), '"'), true
}

// writeMoneyDouble writes an amount rounded to a double.
func writeMoneyDouble(s *scratch, dst, text []byte, c *column) ([]byte, bool) {
	d, ok := s.money(text)
	if !ok {
		return dst, false
	}
	s.raw = appendPlain(s.raw[:0], d)
	return writeDecimalDouble(s, dst, s.raw, c)
}

// appendPlain appends a number's digits.
func appendPlain(dst []byte, d decimal) []byte {
	if d.negative {
		dst = append(dst, '-')
	}
	dst = append(dst, d.whole...)
	if len(d.fraction) > 0 {
		dst = append(append(dst, '.'), d.fraction...)
	}
	return dst
}

// writeFloat writes a float4 or float8. Java shows at least two digits, of the many that mean the same number those
// nearest to it, where Postgres needs but one: 4.9E-324 for 5e-324.
func writeFloat(s *scratch, dst, text []byte, c *column) ([]byte, bool) {
	switch string(text) {
	case "NaN", "Infinity", "-Infinity":
		return wire.AppendString(dst, text), true
	}
	at := bytes.IndexByte(text, 'e')
	if at < 0 {
		if _, ok := parseDecimal(text); !ok {
			return dst, false
		}
		dst = append(dst, text...)
		if bytes.IndexByte(text, '.') < 0 {
			dst = append(dst, ".0"...)
		}
		return dst, true
	}
	if bytes.IndexByte(text[:at], '.') >= 0 {
		return append(dst, text...), true
	}
	f, err := parseFloat(text, c.scale)
	if err != nil {
		return dst, false
	}
	return strconv.AppendFloat(dst, f, 'e', 1, c.scale), true
}

// appendDouble appends a number that is no text yet.
func appendDouble(dst []byte, f float64) []byte {
	start := len(dst)
	dst = appendJava(dst, f)
	if c := dst[len(dst)-1]; c < '0' || c > '9' { // NaN, Infinity
		dst = append(dst, `""`...)
		copy(dst[start+1:], dst[start:len(dst)-2])
		dst[start], dst[len(dst)-1] = '"', '"'
	}
	return dst
}

// appendJava appends a double as Java spells it.
func appendJava(dst []byte, f float64) []byte {
	start := len(dst)
	dst = strconv.AppendFloat(dst, f, 'e', -1, 64)
	text := dst[start:]
	switch string(text) {
	case "NaN":
		return dst
	case "+Inf":
		return append(dst[:start], "Infinity"...)
	case "-Inf":
		return append(dst[:start], "-Infinity"...)
	}
	at := bytes.IndexByte(text, 'e')
	if bytes.IndexByte(text[:at], '.') < 0 {
		dst = strconv.AppendFloat(dst[:start], f, 'e', 1, 64)
		text = dst[start:]
		at = bytes.IndexByte(text, 'e')
	}
	exponent, _ := strconv.Atoi(string(text[at+1:]))
	if f == 0 || exponent >= -3 && exponent < 7 {
		dst = strconv.AppendFloat(dst[:start], f, 'f', -1, 64)
		if bytes.IndexByte(dst[start:], '.') < 0 {
			dst = append(dst, ".0"...)
		}
		return dst
	}
	dst = append(dst[:start+at], 'E')
	return strconv.AppendInt(dst, int64(exponent), 10)
}
