package debezium

import (
	"bytes"

	"github.com/rowferry/rowferry/schema/wire"
)

// arrayScanner takes an array literal of Postgres apart, one element at a time, without allocating.
type arrayScanner struct {
	rest  []byte
	begun bool
}

// openArray skips the bounds a literal may begin with, [0:2]=, and its first brace.
func openArray(text []byte) (a arrayScanner, ok bool) {
	if len(text) > 0 && text[0] == '[' {
		at := bytes.IndexByte(text, '=')
		if at < 0 {
			return a, false
		}
		text = text[at+1:]
	}
	if len(text) < 2 || text[0] != '{' || text[len(text)-1] != '}' {
		return a, false
	}
	return arrayScanner{rest: text[1 : len(text)-1]}, true
}

// The sorts of elements.
const (
	elementText  = iota
	elementNull  // NULL without quotes
	elementArray // an array inside: its literal
)

// next gives the next element, with its escapes undone in buf, which is used again. more is false behind the last.
func (a *arrayScanner) next(buf []byte) (element []byte, sort int, more, ok bool) {
	if len(a.rest) == 0 {
		return buf, elementText, false, true
	}
	if a.begun {
		if a.rest[0] != ',' {
			return buf, elementText, false, false
		}
		a.rest = a.rest[1:]
	}
	a.begun = true
	if len(a.rest) == 0 {
		return buf, elementText, false, false
	}
	switch a.rest[0] {
	case '{':
		return a.inner(buf)
	case '"':
		return a.quoted(buf)
	}
	end := 0
	for end < len(a.rest) && a.rest[end] != ',' {
		if a.rest[end] == '\\' && end+1 < len(a.rest) {
			end++
		}
		buf = append(buf, a.rest[end])
		end++
	}
	a.rest = a.rest[end:]
	if string(buf) == "NULL" {
		return buf, elementNull, true, true
	}
	return buf, elementText, true, end > 0
}

// quoted takes an element in quotes.
func (a *arrayScanner) quoted(buf []byte) (element []byte, sort int, more, ok bool) {
	for i := 1; i < len(a.rest); i++ {
		switch c := a.rest[i]; {
		case c == '"':
			a.rest = a.rest[i+1:]
			return buf, elementText, true, true
		case c == '\\' && i+1 < len(a.rest):
			i++
			buf = append(buf, a.rest[i])
		default:
			buf = append(buf, c)
		}
	}
	return buf, elementText, false, false
}

// inner takes an array inside, as it is.
func (a *arrayScanner) inner(buf []byte) (element []byte, sort int, more, ok bool) {
	depth, inQuotes := 0, false
	for i := 0; i < len(a.rest); i++ {
		switch c := a.rest[i]; {
		case c == '\\':
			i++
		case c == '"':
			inQuotes = !inQuotes
		case inQuotes:
		case c == '{':
			depth++
		case c == '}':
			if depth--; depth == 0 {
				buf = append(buf, a.rest[:i+1]...)
				a.rest = a.rest[i+1:]
				return buf, elementArray, true, true
			}
		}
	}
	return buf, elementText, false, false
}

// writeArray writes an array. Elements that are arrays themselves are null, as Debezium has them, or their literal where
// it prints the id of a Java object. An array is null as a whole when an element is null that may not be, or has no form.
func writeArray(s *scratch, dst, text []byte, c *column) ([]byte, bool) {
	a, ok := openArray(text)
	if !ok {
		return dst, false
	}
	elem := c.elem
	dst = append(dst, '[')
	for first := true; ; first = false {
		element, sort, more, ok := a.next(s.elem[:0])
		s.elem = element
		if !ok {
			return dst, false
		}
		if !more {
			return append(dst, ']'), true
		}
		if !first {
			dst = append(dst, ',')
		}
		null := sort == elementNull || sort == elementArray && !elem.text
		if null {
			if !elem.optional {
				return dst, false
			}
			dst = append(dst, "null"...)
			continue
		}
		if sort == elementArray {
			dst = wire.AppendString(dst, element)
			continue
		}
		if dst, ok = elem.write(s, dst, element, elem); !ok {
			return dst, false
		}
	}
}
