package null

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/rowferry/rowferry/schema"
)

// HashCopyText counts and sums the rows of Postgres COPY text (COPY t TO STDOUT) as the target does when every
// column is sent, in the same order. columns is how many there are.
func HashCopyText(r io.Reader, columns int) (rows int64, sum uint64, err error) {
	c := &schema.Copy{Table: &schema.Table{Columns: make([]schema.Column, columns)}}
	for i := range columns {
		c.Columns = append(c.Columns, i)
	}
	b := schema.NewBatch(nil)
	var h hasher
	in := bufio.NewReaderSize(r, 1<<20)
	for {
		line, err := readLine(in, c.Raw[:0])
		if errors.Is(err, io.EOF) {
			return rows, sum, nil
		}
		if err != nil {
			return rows, sum, fmt.Errorf("reading COPY text: %w", err)
		}
		b.Reset()
		b.Copy, c.Raw = c, line
		if err := schema.DecodeCopy(b); err != nil {
			return rows, sum, fmt.Errorf("row %d: %w", rows, err)
		}
		one, err := h.row(c.Table, b.Row(b.Changes[0].After), b.Arena)
		if err != nil {
			return rows, sum, err
		}
		rows, sum, c.Raw = rows+1, sum+one, line
	}
}

// readLine reads one line of any length, with its newline.
func readLine(in *bufio.Reader, line []byte) ([]byte, error) {
	for {
		piece, err := in.ReadSlice('\n')
		line = append(line, piece...)
		switch {
		case err == nil:
			return line, nil
		case errors.Is(err, io.EOF) && len(line) > 0:
			return append(line, '\n'), nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return line, err
		}
	}
}
