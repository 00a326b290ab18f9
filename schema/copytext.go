package schema

import (
	"bytes"
	"errors"
	"fmt"
)

// ErrCopyText is a line that is not Postgres COPY text for the columns announced.
var ErrCopyText = errors.New("not COPY text for these columns")

// DecodeCopy turns b.Copy.Raw into changes, one OpRead for each row, and clears Raw. The text form is that of
// Postgres' COPY TO STDOUT: fields between tabs, \N for NULL, backslash escapes. Columns the copy leaves out are
// [NotCaptured].
func DecodeCopy(b *Batch) error {
	c := b.Copy
	raw := c.Raw
	width := len(c.Table.Columns)
	for n := 0; len(raw) > 0; n++ {
		end := bytes.IndexByte(raw, '\n')
		if end < 0 {
			return fmt.Errorf("%w: row %d of %s has no end", ErrCopyText, n, c.Table)
		}
		first := len(b.Values)
		for range width {
			b.Values = append(b.Values, Value{})
		}
		if err := b.decodeCopyLine(raw[:end], b.Values[first:first+width]); err != nil {
			return fmt.Errorf("%w: row %d of %s", err, n, c.Table)
		}
		b.Changes = append(b.Changes, Change{
			Op: OpRead, Table: c.Table, After: Row{First: int32(first), Count: int32(width)}, Offset: c.Offset,
		})
		raw = raw[end+1:]
	}
	c.Raw = nil
	return nil
}

// decodeCopyLine fills row from one line, without its newline.
func (b *Batch) decodeCopyLine(line []byte, row []Value) error {
	columns := b.Copy.Columns
	if len(columns) == 0 {
		if len(line) != 0 {
			return ErrCopyText
		}
		return nil
	}
	for i, column := range columns {
		field := line
		if tab := bytes.IndexByte(line, '\t'); tab >= 0 {
			if i == len(columns)-1 {
				return ErrCopyText
			}
			field, line = line[:tab], line[tab+1:]
		} else if i < len(columns)-1 {
			return ErrCopyText
		}
		if len(field) == 2 && field[0] == '\\' && field[1] == 'N' {
			row[column] = NullValue
			continue
		}
		start := len(b.Arena)
		b.Arena = appendUnescaped(b.Arena, field)
		row[column] = TextAt(start, len(b.Arena)-start)
	}
	return nil
}

// appendUnescaped undoes COPY's backslash escapes. The server writes only \b \f \n \r \t \v and \\.
func appendUnescaped(dst, field []byte) []byte {
	for {
		i := bytes.IndexByte(field, '\\')
		if i < 0 || i == len(field)-1 {
			return append(dst, field...)
		}
		dst = append(dst, field[:i]...)
		c := field[i+1]
		switch c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'v':
			c = '\v'
		}
		dst = append(dst, c)
		field = field[i+2:]
	}
}
