package postgres

import (
	"bytes"

	"github.com/rowferry/rowferry/schema"
)

// appendElement appends one value as an element of an array literal. Text is always quoted, so that nothing in it
// can mean anything but itself. It costs a copy.
func appendElement(dst []byte, v schema.Value, arena []byte) []byte {
	switch v.Form() {
	case schema.Text:
		return appendQuoted(dst, v.Bytes(arena))
	case schema.Null, schema.NotCaptured, schema.Unchanged:
		return append(dst, "NULL"...)
	}
	return v.AppendText(dst, arena)
}

// appendQuoted appends a text between double quotes.
func appendQuoted(dst, text []byte) []byte {
	dst = append(dst, '"')
	for {
		i := bytes.IndexAny(text, `"\`)
		if i < 0 {
			break
		}
		dst = append(dst, text[:i]...)
		dst = append(dst, '\\', text[i])
		text = text[i+1:]
	}
	dst = append(dst, text...)
	return append(dst, '"')
}

// appendCopyField appends one value as a field of COPY text.
func appendCopyField(dst []byte, v schema.Value, arena []byte) []byte {
	switch v.Form() {
	case schema.Text:
	case schema.Null, schema.NotCaptured, schema.Unchanged:
		return append(dst, `\N`...)
	default:
		return v.AppendText(dst, arena)
	}
	text := v.Bytes(arena)
	for {
		i := bytes.IndexAny(text, "\\\n\t\r")
		if i < 0 {
			return append(dst, text...)
		}
		dst = append(dst, text[:i]...)
		c := text[i]
		switch c {
		case '\n':
			c = 'n'
		case '\t':
			c = 't'
		case '\r':
			c = 'r'
		}
		dst = append(dst, '\\', c)
		text = text[i+1:]
	}
}
