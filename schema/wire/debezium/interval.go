package debezium

import (
	"bytes"
	"math"
	"strconv"
)

// interval is what Postgres prints of one: 1 year 2 mons -3 days 04:05:06.789.
type interval struct {
	years, months, days, hours, minutes int64
	micros                              int64 // of the seconds
}

// parseInterval takes Postgres' own style.
func parseInterval(text []byte) (v interval, ok bool) {
	for len(text) > 0 {
		word, rest, _ := bytes.Cut(text, []byte(" "))
		if bytes.IndexByte(word, ':') >= 0 {
			return v, v.clock(word) && len(rest) == 0
		}
		n, valid := signed(word)
		unit, rest, _ := bytes.Cut(rest, []byte(" "))
		switch {
		case !valid:
			return v, false
		case bytes.HasPrefix(unit, []byte("year")):
			v.years = n
		case bytes.HasPrefix(unit, []byte("mon")):
			v.months = n
		case bytes.HasPrefix(unit, []byte("day")):
			v.days = n
		default:
			return v, false
		}
		text = rest
	}
	return v, true
}

// clock takes [-]HH:MM:SS[.ffffff], whose sign holds for all of it.
func (v *interval) clock(text []byte) bool {
	negative := len(text) > 0 && text[0] == '-'
	if len(text) > 0 && (negative || text[0] == '+') {
		text = text[1:]
	}
	micros, rest, ok := parseClock(text)
	v.hours, v.minutes, v.micros = micros/3600/microsASec, micros/60/microsASec%60, micros%(60*microsASec)
	if negative {
		v.hours, v.minutes, v.micros = -v.hours, -v.minutes, -v.micros
	}
	return ok && len(rest) == 0
}

// signed reads a whole number with a sign or without.
func signed(text []byte) (int64, bool) {
	negative := len(text) > 0 && text[0] == '-'
	if len(text) > 0 && (negative || text[0] == '+') {
		text = text[1:]
	}
	n, rest, ok := number(text)
	if negative {
		n = -n
	}
	return n, ok && len(rest) == 0
}

// writeMicroDuration writes an interval in microseconds, with months of 30.4375 days. It is reckoned in doubles, in the
// order in which Debezium does it, so that what is lost by rounding is the same.
func writeMicroDuration(_ *scratch, dst, text []byte, _ *column) ([]byte, bool) {
	v, ok := parseInterval(text)
	const month = 365.25 / 12
	// Products are rounded before anything is added to them: no machine may do both at once.
	days := float64(float64(v.years*12+v.months)*month) + float64(v.days)
	minutes := float64((float64(days*24)+float64(v.hours))*60) + float64(v.minutes)
	seconds := float64(minutes*60) + (float64(v.micros/microsASec) + float64(v.micros%microsASec)/microsASec)
	total := seconds * microsASec
	var n int64
	switch {
	case total >= math.MaxInt64:
		n = math.MaxInt64
	case total <= math.MinInt64:
		n = math.MinInt64
	default:
		n = int64(total)
	}
	return strconv.AppendInt(dst, n, 10), ok
}

// writeISOInterval writes an interval as ISO 8601 text, with all its parts.
func writeISOInterval(_ *scratch, dst, text []byte, _ *column) ([]byte, bool) {
	v, ok := parseInterval(text)
	for _, part := range [...]struct {
		before string
		n      int64
	}{{`"P`, v.years}, {"Y", v.months}, {"M", v.days}, {"DT", v.hours}, {"H", v.minutes}} {
		dst = strconv.AppendInt(append(dst, part.before...), part.n, 10)
	}
	dst = append(dst, 'M')
	micros := v.micros
	if micros < 0 {
		dst, micros = append(dst, '-'), -micros
	}
	dst = strconv.AppendInt(dst, micros/microsASec, 10)
	if fraction := micros % microsASec; fraction > 0 {
		dst = bytes.TrimRight(appendPadded(append(dst, '.'), fraction, 6), "0")
	}
	return append(dst, `S"`...), ok
}
