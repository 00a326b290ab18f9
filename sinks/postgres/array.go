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

// appendQuoted appends a text between double quotes. Most texts hold nothing to escape, and finding that out costs
// less than looking at each byte.
func appendQuoted(dst, text []byte) []byte {
	dst = append(dst, '"')
	if bytes.IndexByte(text, '"') < 0 && bytes.IndexByte(text, '\\') < 0 {
		return append(append(dst, text...), '"')
	}
	for _, c := range text {
		if c == '"' || c == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, c)
	}
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
	if bytes.IndexByte(text, '\\') < 0 && bytes.IndexByte(text, '\n') < 0 && bytes.IndexByte(text, '\t') < 0 &&
		bytes.IndexByte(text, '\r') < 0 {
		return append(dst, text...)
	}
	for _, c := range text {
		switch c {
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\t':
			dst = append(dst, '\\', 't')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\\':
			dst = append(dst, '\\', '\\')
		default:
			dst = append(dst, c)
		}
	}
	return dst
}
