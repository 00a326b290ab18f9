package wire

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// maxDepth is how deep a JSON document may nest and still be written as itself: parsers have limits of their own.
const maxDepth = 512

// appendDocument appends a JSON object or array, without the line breaks between its tokens. ok is false, and dst
// unchanged, for any other text.
func appendDocument(dst, text []byte) (_ []byte, ok bool) {
	body := bytes.TrimLeft(text, " \t\r\n")
	if len(body) == 0 || body[0] != '{' && body[0] != '[' || !validDocument(text) {
		return dst, false
	}
	if bytes.IndexByte(text, '\n') < 0 && bytes.IndexByte(text, '\r') < 0 {
		return append(dst, text...), true
	}
	for _, c := range text { // in a valid document line breaks stand between tokens only
		if c != '\n' && c != '\r' {
			dst = append(dst, c)
		}
	}
	return dst, true
}

// scanner reads one JSON document. It neither recurses nor allocates.
type scanner struct {
	text    []byte
	at      int
	depth   int
	objects [maxDepth / 64]uint64 // one bit a level: 1 in an object, 0 in an array
}

// validDocument tells whether text is one JSON document in UTF-8.
func validDocument(text []byte) bool {
	if !utf8.Valid(text) {
		return false
	}
	s := scanner{text: text}
	for {
		opened, ok := s.value()
		if !ok {
			return false
		}
		for !opened {
			s.space()
			if s.depth == 0 {
				return s.at == len(text)
			}
			more, ok := s.afterValue()
			if !ok {
				return false
			}
			if more {
				break
			}
		}
	}
}

// value takes a scalar, an empty container, or the beginning of a container: then opened is true, and the first
// value in it comes next.
func (s *scanner) value() (opened, ok bool) {
	s.space()
	if s.at >= len(s.text) {
		return false, false
	}
	c := s.text[s.at]
	if c != '{' && c != '[' {
		n := cutScalar(s.text[s.at:])
		s.at += n
		return false, n > 0
	}
	s.at++
	if s.depth == maxDepth {
		return false, false
	}
	s.space()
	if s.at < len(s.text) && s.text[s.at] == c+2 { // } is two after {, and ] after [
		s.at++
		return false, true
	}
	bit := uint64(1) << (s.depth % 64)
	s.objects[s.depth/64] &^= bit
	if c == '{' {
		s.objects[s.depth/64] |= bit
	}
	s.depth++
	return true, c == '[' || s.key()
}

// afterValue takes what follows a value inside a container: a comma, and the key after it, so that another value
// comes next, or the container's end.
func (s *scanner) afterValue() (more, ok bool) {
	if s.at >= len(s.text) {
		return false, false
	}
	object := s.objects[(s.depth-1)/64]>>((s.depth-1)%64)&1 == 1
	c := s.text[s.at]
	s.at++
	switch {
	case c == ',':
		return true, !object || s.key()
	case c == '}' && object, c == ']' && !object:
		s.depth--
		return false, true
	}
	return false, false
}

// key takes a key and its colon.
func (s *scanner) key() bool {
	s.space()
	n := cutString(s.text[s.at:])
	s.at += n
	s.space()
	if n == 0 || s.at >= len(s.text) || s.text[s.at] != ':' {
		return false
	}
	s.at++
	return true
}

// space skips white space.
func (s *scanner) space() {
	for s.at < len(s.text) {
		if c := s.text[s.at]; c != ' ' && c != '\t' && c != '\n' && c != '\r' {
			return
		}
		s.at++
	}
}

// cutScalar is the length of the JSON scalar text begins with, 0 when it begins with none.
func cutScalar(text []byte) int {
	switch text[0] {
	case '"':
		return cutString(text)
	case 't', 'f', 'n':
		for _, word := range [...]string{"true", "false", "null"} {
			if len(text) >= len(word) && string(text[:len(word)]) == word {
				return len(word)
			}
		}
		return 0
	}
	return cutNumber(text)
}

// cutString is the length of the JSON string text begins with, 0 when it begins with none.
func cutString(text []byte) int {
	if len(text) == 0 || text[0] != '"' {
		return 0
	}
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			return i + 1
		case c < ' ':
			return 0
		case c == '\\':
			i++
			if i >= len(text) {
				return 0
			}
			if text[i] == 'u' {
				if !fourHex(text[i+1:]) {
					return 0
				}
				i += 4
			} else if strings.IndexByte(`"\/bfnrt`, text[i]) < 0 {
				return 0
			}
		}
	}
	return 0
}

// fourHex tells whether text begins with four hexadecimal digits.
func fourHex(text []byte) bool {
	if len(text) < 4 {
		return false
	}
	for _, c := range text[:4] {
		if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'f') {
			return false
		}
	}
	return true
}
