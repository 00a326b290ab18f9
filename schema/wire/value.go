package wire

import (
	"encoding/binary"
	"unicode/utf8"

	"github.com/rowferry/rowferry/schema"
)

// appendValue appends a value that is neither NULL nor absent. whole is false when bytes that are no UTF-8 had to
// be replaced.
func appendValue(dst []byte, kind schema.Kind, v schema.Value, arena []byte) (_ []byte, whole bool) {
	switch v.Form() {
	case schema.Int, schema.Uint:
		return v.AppendText(dst, arena), true
	case schema.Bool:
		return appendBool(dst, v), true
	case schema.Float:
		start := len(dst)
		dst = v.AppendText(dst, arena)
		if !isNumber(dst[start:]) {
			dst = append(dst, `""`...)
			copy(dst[start+1:], dst[start:len(dst)-2])
			dst[start], dst[len(dst)-1] = '"', '"'
		}
		return dst, true
	}
	text := v.Bytes(arena)
	switch {
	case kind.Integer():
		if isInteger(text) {
			return append(dst, text...), true
		}
	case kind.Float():
		if isNumber(text) {
			return append(dst, text...), true
		}
	case kind == schema.KindBool:
		if len(text) == 1 && text[0] == 't' {
			return append(dst, "true"...), true
		}
		if len(text) == 1 && text[0] == 'f' {
			return append(dst, "false"...), true
		}
	case kind == schema.KindJSON:
		if out, ok := appendDocument(dst, text); ok {
			return out, true
		}
	}
	return appendString(dst, text)
}

// appendBool appends a truth value held inline.
func appendBool(dst []byte, v schema.Value) []byte {
	if v == schema.BoolValue(true) {
		return append(dst, "true"...)
	}
	return append(dst, "false"...)
}

// isInteger tells whether text is an integer as JSON spells it.
func isInteger(text []byte) bool {
	if len(text) > 0 && text[0] == '-' {
		text = text[1:]
	}
	if len(text) == 0 || text[0] == '0' && len(text) > 1 {
		return false
	}
	for _, c := range text {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// isNumber tells whether text is a number as JSON spells it.
func isNumber(text []byte) bool { return len(text) > 0 && cutNumber(text) == len(text) }

// cutNumber is the length of the JSON number text begins with, 0 when it begins with none.
func cutNumber(text []byte) int {
	i := 0
	if i < len(text) && text[i] == '-' {
		i++
	}
	digits := func() bool {
		first := i
		for i < len(text) && text[i] >= '0' && text[i] <= '9' {
			i++
		}
		return i > first
	}
	first := i
	if !digits() || text[first] == '0' && i > first+1 {
		return 0
	}
	if i < len(text) && text[i] == '.' {
		i++
		if !digits() {
			return 0
		}
	}
	if i < len(text) && (text[i] == 'e' || text[i] == 'E') {
		i++
		if i < len(text) && (text[i] == '+' || text[i] == '-') {
			i++
		}
		if !digits() {
			return 0
		}
	}
	return i
}

const hexDigits = "0123456789abcdef"

// safe marks the ASCII characters that a JSON string holds as they are.
var safe = func() (t [256]bool) {
	for c := range utf8.RuneSelf {
		t[c] = c >= ' ' && c != '"' && c != '\\'
	}
	return t
}()

// plain tells whether none of eight characters has to be escaped or looked at closer: no control character, quote,
// backslash, or part of a character beyond ASCII. A word is tested as a whole: subtracting n from each byte borrows
// into the top bit where the byte is below n. A borrow can spread, which makes it say no where yes were right.
func plain(w uint64) bool {
	const each, top = 0x0101010101010101, 0x8080808080808080
	quote, backslash := w^each*'"', w^each*'\\'
	return (w|(w-each*' ')|(quote-each)&^quote|(backslash-each)&^backslash)&top == 0
}

// appendString appends text as a JSON string. whole is false when bytes that are no UTF-8 had to be replaced. It
// costs one pass, and copies runs of characters that need nothing.
func appendString(dst, text []byte) (_ []byte, whole bool) {
	dst, whole = append(dst, '"'), true
	done, closer := 0, 0 // text before closer is looked at byte by byte
	for i := 0; i < len(text); {
		if i >= closer && len(text)-i >= 8 {
			if plain(binary.LittleEndian.Uint64(text[i:])) {
				i += 8
				continue
			}
			closer = i + 8
		}
		c := text[i]
		if safe[c] {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRune(text[i:])
			if r != utf8.RuneError || n > 1 {
				i += n
				continue
			}
			dst = append(append(dst, text[done:i]...), `\ufffd`...)
			whole = false
		} else {
			dst = appendEscape(append(dst, text[done:i]...), c)
		}
		i++
		done = i
	}
	return append(append(dst, text[done:]...), '"'), whole
}

// appendEscape appends a quote, a backslash or a control character.
func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}
