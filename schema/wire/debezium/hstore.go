package debezium

import (
	"bytes"
	"unicode/utf8"

	"github.com/rowferry/rowferry/schema/wire"
)

// pair is one entry of an hstore: places in scratch.pairText.
type pair struct {
	key, value [2]int32
	null       bool
	hash       uint32
}

// parseHstore takes an hstore apart: "a"=>"1", "b"=>NULL. Postgres quotes everything.
func (s *scratch) parseHstore(text []byte) bool {
	s.pairs, s.pairText = s.pairs[:0], s.pairText[:0]
	for len(text) > 0 {
		var p pair
		var ok bool
		if p.key, text, ok = s.hstoreText(text); !ok {
			return false
		}
		if !bytes.HasPrefix(text, []byte("=>")) {
			return false
		}
		text = text[2:]
		if bytes.HasPrefix(text, []byte("NULL")) {
			p.null, text = true, text[4:]
		} else if p.value, text, ok = s.hstoreText(text); !ok {
			return false
		}
		p.hash = javaHash(s.pairText[p.key[0]:p.key[1]])
		s.pairs = append(s.pairs, p)
		text = bytes.TrimPrefix(text, []byte(", "))
	}
	s.sortAsJava()
	return true
}

// hstoreText takes a text in quotes.
func (s *scratch) hstoreText(text []byte) (place [2]int32, rest []byte, ok bool) {
	if len(text) == 0 || text[0] != '"' {
		return place, text, false
	}
	start := len(s.pairText)
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			return [2]int32{int32(start), int32(len(s.pairText))}, text[i+1:], true
		case c == '\\' && i+1 < len(text):
			i++
			s.pairText = append(s.pairText, text[i])
		default:
			s.pairText = append(s.pairText, c)
		}
	}
	return place, text, false
}

// javaHash is the hash that Java's HashMap takes of a text.
func javaHash(text []byte) uint32 {
	h := uint32(0)
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		text = text[n:]
		if r > 0xffff {
			r -= 0x10000
			h = 31*h + uint32(0xd800+r>>10)
			r = 0xdc00 + r&0x3ff
		}
		h = 31*h + uint32(r)
	}
	return h ^ h>>16
}

// buckets is how many buckets Java's HashMap has for so many entries.
func buckets(entries int) uint32 {
	n := uint32(16)
	for entries > int(n)*3/4 {
		n *= 2
	}
	return n
}

// sortAsJava puts entries into the order in which Java's HashMap goes through them, which is by bucket. Entries are few
// and mostly in order.
func (s *scratch) sortAsJava() {
	mask := buckets(len(s.pairs)) - 1
	for i := 1; i < len(s.pairs); i++ {
		for k := i; k > 0 && s.pairs[k].hash&mask < s.pairs[k-1].hash&mask; k-- {
			s.pairs[k], s.pairs[k-1] = s.pairs[k-1], s.pairs[k]
		}
	}
}

// appendPairs appends the entries as a JSON object.
func (s *scratch) appendPairs(dst []byte) []byte {
	dst = append(dst, '{')
	for i := range s.pairs {
		if i > 0 {
			dst = append(dst, ',')
		}
		p := &s.pairs[i]
		dst = append(wire.AppendString(dst, s.pairText[p.key[0]:p.key[1]]), ':')
		if p.null {
			dst = append(dst, "null"...)
		} else {
			dst = wire.AppendString(dst, s.pairText[p.value[0]:p.value[1]])
		}
	}
	return append(dst, '}')
}

// writeHstoreMap writes an hstore as an object.
func writeHstoreMap(s *scratch, dst, text []byte, _ *column) ([]byte, bool) {
	ok := s.parseHstore(text)
	return s.appendPairs(dst), ok
}

// writeHstoreText writes an hstore as a text that holds an object.
func writeHstoreText(s *scratch, dst, text []byte, _ *column) ([]byte, bool) {
	ok := s.parseHstore(text)
	s.raw = s.appendPairs(s.raw[:0])
	return wire.AppendString(dst, s.raw), ok
}
