package debezium

import (
	"bytes"
	"math"
	"strconv"
)

const (
	secondsADay  = 24 * 60 * 60
	microsASec   = 1_000_000
	microsADay   = secondsADay * microsASec
	infiniteDay  = -2147472692          // the day Java has for a date of infinity
	minusInfDay  = -2147472691          // the same for -infinity
	elementDay   = 106751991166         // the same for infinity in an array
	minusElemDay = 106748361128         // the same for -infinity in an array, whose sign is lost
	infiniteTime = 9223372036825200000  // microseconds of a timestamp of infinity
	minusInfTime = -9223372036832400000 // the same for -infinity
)

// The infinite timestamps as Java prints them.
const (
	infiniteISO = "+294247-01-10T04:00:25.2Z"
	minusInfISO = "-290308-12-21T19:59:27.6Z"
)

// moment is a date, a time of day, or both, as their text gives them.
type moment struct {
	infinite int   // 1 for infinity, -1 for -infinity
	day      int64 // since 1970
	micros   int64 // of the day
	zone     int64 // seconds east of Greenwich
}

// number takes the digits text begins with.
func number(text []byte) (n int64, rest []byte, ok bool) {
	i := 0
	for i < len(text) && i < 18 && text[i] >= '0' && text[i] <= '9' {
		n = n*10 + int64(text[i]-'0')
		i++
	}
	return n, text[i:], i > 0
}

// after takes a separator and the number behind it.
func after(text []byte, separator byte) (n int64, rest []byte, ok bool) {
	if len(text) == 0 || text[0] != separator {
		return 0, text, false
	}
	return number(text[1:])
}

// parseDate takes YYYY-MM-DD, without the BC that may stand at the end of the whole.
func parseDate(text []byte, bc bool) (day int64, rest []byte, ok bool) {
	year, text, ok := number(text)
	if !ok {
		return 0, text, false
	}
	month, text, ok := after(text, '-')
	if !ok {
		return 0, text, false
	}
	dayOfMonth, text, ok := after(text, '-')
	if bc {
		year = 1 - year
	}
	return daysOf(year, month, dayOfMonth), text, ok
}

// daysOf counts the days since 1970 in the Gregorian calendar, which reaches back for ever. The year begins in March, so
// that the day that leaps is its last.
func daysOf(year, month, day int64) int64 {
	if month <= 2 {
		year--
		month += 12
	}
	era := floorDiv(year, 400)
	ofEra := year - era*400
	ofYear := (153*(month-3)+2)/5 + day - 1
	return era*146097 + ofEra*365 + ofEra/4 - ofEra/100 + ofYear - 719468
}

// dateOf is the inverse of daysOf.
func dateOf(days int64) (year, month, day int64) {
	days += 719468
	era := floorDiv(days, 146097)
	ofEra := days - era*146097
	yearOfEra := (ofEra - ofEra/1460 + ofEra/36524 - ofEra/146096) / 365
	ofYear := ofEra - (365*yearOfEra + yearOfEra/4 - yearOfEra/100)
	shifted := (5*ofYear + 2) / 153
	day = ofYear - (153*shifted+2)/5 + 1
	month = shifted + 3
	year = yearOfEra + era*400
	if month > 12 {
		month -= 12
		year++
	}
	return year, month, day
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b != 0 && (a < 0) != (b < 0) {
		q--
	}
	return q
}

// parseClock takes HH:MM:SS[.ffffff].
func parseClock(text []byte) (micros int64, rest []byte, ok bool) {
	hour, text, ok := number(text)
	if !ok {
		return 0, text, false
	}
	minute, text, ok := after(text, ':')
	if !ok {
		return 0, text, false
	}
	second, text, ok := after(text, ':')
	if !ok {
		return 0, text, false
	}
	micros = ((hour*60+minute)*60 + second) * microsASec
	if len(text) > 0 && text[0] == '.' {
		unit := int64(microsASec / 10)
		for text = text[1:]; len(text) > 0 && text[0] >= '0' && text[0] <= '9'; text = text[1:] {
			micros += int64(text[0]-'0') * unit
			unit /= 10
		}
	}
	return micros, text, true
}

// parseZone takes +hh[:mm[:ss]].
func parseZone(text []byte) (seconds int64, rest []byte, ok bool) {
	if len(text) == 0 || text[0] != '+' && text[0] != '-' {
		return 0, text, false
	}
	sign := int64(1)
	if text[0] == '-' {
		sign = -1
	}
	hours, text, ok := number(text[1:])
	if !ok {
		return 0, text, false
	}
	minutes, text, _ := after(text, ':')
	seconds, text, _ = after(text, ':')
	return sign * (hours*3600 + minutes*60 + seconds), text, true
}

// parseMoment takes a date, a time of day, or both, with a zone or not.
func parseMoment(text []byte, date, clock bool) (m moment, ok bool) {
	switch string(text) {
	case "infinity":
		m.infinite = 1
		return m, date
	case "-infinity":
		m.infinite = -1
		return m, date
	}
	body, bc := bytes.CutSuffix(text, []byte(" BC"))
	if date {
		if m.day, body, ok = parseDate(body, bc); !ok {
			return m, false
		}
	}
	if date && clock {
		if len(body) == 0 { // midnight, in a default
			return m, true
		}
		body = body[1:]
	}
	if clock {
		if m.micros, body, ok = parseClock(body); !ok {
			return m, false
		}
		if len(body) > 0 {
			if m.zone, body, ok = parseZone(body); !ok {
				return m, false
			}
		}
	}
	return m, len(body) == 0 || date && !clock
}

// utc moves the moment to Greenwich.
func (m *moment) utc() {
	m.micros -= m.zone * microsASec
	shift := floorDiv(m.micros, microsADay)
	m.day, m.micros, m.zone = m.day+shift, m.micros-shift*microsADay, 0
}

// epochMicros is the microseconds since 1970. Beyond what fits, seconds stay at the largest number and what is left of a
// second is added, as in Java.
func (m *moment) epochMicros() int64 {
	switch m.infinite {
	case 1:
		return infiniteTime
	case -1:
		return minusInfTime
	}
	second := m.day*secondsADay + floorDiv(m.micros, microsASec)
	rest := m.micros - floorDiv(m.micros, microsASec)*microsASec
	micros := second * microsASec
	if second > math.MaxInt64/microsASec {
		micros = math.MaxInt64
	} else if second < math.MinInt64/microsASec {
		micros = math.MinInt64
	}
	return micros + rest
}

// epochMillis is the milliseconds since 1970.
func (m *moment) epochMillis() int64 {
	if m.infinite != 0 {
		return floorDiv(m.epochMicros(), 1000)
	}
	return m.day*secondsADay*1000 + floorDiv(m.micros, 1000)
}

// epochNanos is the nanoseconds since 1970. ok is false beyond what fits, the years 1677 to 2262.
func (m *moment) epochNanos() (nanos int64, ok bool) {
	switch m.infinite {
	case 1:
		return math.MaxInt64, true
	case -1:
		return math.MinInt64, true
	}
	if m.day < math.MinInt64/microsADay || m.day > math.MaxInt64/microsADay {
		return 0, false
	}
	micros := m.day*microsADay + m.micros
	return micros * 1000, micros >= math.MinInt64/1000 && micros <= math.MaxInt64/1000
}

// appendISODate appends a date as ISO 8601 has it: a year of more than four digits has its sign.
func appendISODate(dst []byte, day int64) []byte {
	year, month, dayOfMonth := dateOf(day)
	size := year
	if year < 0 {
		dst, size = append(dst, '-'), -year
	} else if year > 9999 {
		dst = append(dst, '+')
	}
	dst = appendPadded(dst, size, 4)
	dst = appendPadded(append(dst, '-'), month, 2)
	return appendPadded(append(dst, '-'), dayOfMonth, 2)
}

// appendISOClock appends a time of day. digits is how many of a second's fraction there are, -1 for no more than needed.
func appendISOClock(dst []byte, micros int64, digits int) []byte {
	second := micros / microsASec
	dst = appendPadded(dst, second/3600, 2)
	dst = appendPadded(append(dst, ':'), second/60%60, 2)
	dst = appendPadded(append(dst, ':'), second%60, 2)
	fraction := micros % microsASec
	if digits == 0 || digits < 0 && fraction == 0 {
		return dst
	}
	dst = appendPadded(append(dst, '.'), fraction, 6)
	if digits < 0 {
		return bytes.TrimRight(dst, "0")
	}
	return dst[:len(dst)-6+min(digits, 6)]
}

func appendPadded(dst []byte, n int64, width int) []byte {
	for limit := int64(tens[width-1]); n < limit && limit > 1; limit /= 10 {
		dst = append(dst, '0')
	}
	return strconv.AppendInt(dst, n, 10)
}

// parseDay takes a date. Infinite ones are a day like any other.
func parseDay(text []byte, c *column) (day int64, ok bool) {
	m, ok := parseMoment(text, true, false)
	switch {
	case m.infinite > 0 && c.element:
		return elementDay, ok
	case m.infinite > 0:
		return infiniteDay, ok
	case m.infinite < 0 && c.element:
		return minusElemDay, ok
	case m.infinite < 0:
		return minusInfDay, ok
	}
	return m.day, ok
}

// writeDay writes a date as days since 1970, of 32 bits.
func writeDay(_ *scratch, dst, text []byte, c *column) ([]byte, bool) {
	day, ok := parseDay(text, c)
	return strconv.AppendInt(dst, int64(int32(day)), 10), ok
}

// writeISODay writes a date as text.
func writeISODay(_ *scratch, dst, text []byte, c *column) ([]byte, bool) {
	day, ok := parseDay(text, c)
	return append(appendISODate(append(dst, '"'), day), `Z"`...), ok
}

// writeClock writes a time of day in units of c.scale nanoseconds. In arrays Debezium knows milliseconds only.
func writeClock(_ *scratch, dst, text []byte, c *column) ([]byte, bool) {
	m, ok := parseMoment(text, false, true)
	if c.element {
		m.micros -= m.micros % 1000
	}
	if c.scale == nanosecond {
		return strconv.AppendInt(dst, m.micros*1000, 10), ok
	}
	return strconv.AppendInt(dst, m.micros*1000/int64(c.scale), 10), ok
}

// writeISOClock writes a time of day as text. 24:00 is midnight.
func writeISOClock(_ *scratch, dst, text []byte, c *column) ([]byte, bool) {
	m, ok := parseMoment(text, false, true)
	if c.element {
		m.micros -= m.micros % 1000
	}
	return append(appendISOClock(append(dst, '"'), m.micros%microsADay, -1), `Z"`...), ok
}

// The units of times, in nanoseconds.
const (
	nanosecond  = 1
	microsecond = 1000
	millisecond = 1_000_000
)

// writeTimestamp writes a timestamp without a zone in units of c.scale nanoseconds since 1970.
func writeTimestamp(_ *scratch, dst, text []byte, c *column) ([]byte, bool) {
	m, ok := parseMoment(text, true, true)
	m.zone = 0
	var n int64
	fits := true
	switch c.scale {
	case millisecond:
		n = m.epochMillis()
	case microsecond:
		n = m.epochMicros()
	default:
		n, fits = m.epochNanos()
	}
	return strconv.AppendInt(dst, n, 10), ok && fits
}

// writeISOTimestamp writes a timestamp without a zone as text.
func writeISOTimestamp(_ *scratch, dst, text []byte, _ *column) ([]byte, bool) {
	m, ok := parseMoment(text, true, true)
	dst = append(dst, '"')
	switch m.infinite {
	case 1:
		dst = append(dst, infiniteISO...)
	case -1:
		dst = append(dst, minusInfISO...)
	default:
		dst = append(appendISODate(dst, m.day), 'T')
		dst = append(appendISOClock(dst, m.micros, -1), 'Z')
	}
	return append(dst, '"'), ok
}

// writeZoned writes a timestamp with a zone as text in UTC, with as many digits behind the point as the column has.
func writeZoned(_ *scratch, dst, text []byte, c *column) ([]byte, bool) {
	if usual(text) {
		dst = append(append(append(dst, '"'), text[:10]...), 'T')
		dst = append(dst, text[11:19]...)
		if c.scale > 0 {
			end := len(dst) + 1 + c.scale
			dst = append(dst, '.')
			if text[19] == '.' {
				dst = append(dst, text[20:len(text)-3]...)
			}
			for len(dst) < end {
				dst = append(dst, '0')
			}
		}
		return append(dst, `Z"`...), true
	}
	m, ok := parseMoment(text, true, true)
	switch {
	case m.infinite < 0 && c.element: // the one value that Debezium reads wrong in arrays
		return append(dst, `"+292269055-12-02T23:00:00.000000Z"`...), true
	case m.infinite != 0:
		return append(append(append(dst, '"'), text...), '"'), true
	}
	m.utc()
	dst = append(appendISODate(append(dst, '"'), m.day), 'T')
	return append(appendISOClock(dst, m.micros, c.scale), `Z"`...), ok
}

// usual tells whether a timestamp is YYYY-MM-DD HH:MM:SS[.ffffff]+00, as Postgres prints it for years of four digits to
// sessions in UTC.
func usual(text []byte) bool {
	return len(text) >= len("2006-01-02 15:04:05+00") && len(text) <= len("2006-01-02 15:04:05.999999+00") &&
		text[4] == '-' && text[10] == ' ' && string(text[len(text)-3:]) == "+00" && (len(text) == 22 || text[19] == '.')
}

// writeZonedClock writes a time of day with a zone as text in UTC. In arrays Debezium knows whole seconds only.
func writeZonedClock(_ *scratch, dst, text []byte, c *column) ([]byte, bool) {
	m, ok := parseMoment(text, false, true)
	m.utc()
	if c.element {
		m.micros -= m.micros % microsASec
	}
	return append(appendISOClock(append(dst, '"'), m.micros, -1), `Z"`...), ok
}
