package oracle

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/cespare/xxhash/v2"
	"github.com/jackc/pgx/v5"
)

// File judges a file of changes in the json format line by line, and folds it into tables. It finds lines that do
// not parse or come twice, keys that are written before they exist, old images that are not the image before,
// positions that fall, transactions that are interleaved, and states between transactions that break the load's
// invariants.
type File struct {
	// Spread is over how many partitions of topics keys are spread; 0 for all there are.
	Spread int32

	report *Report
	tables map[string]*folded
	load   *invariants

	line    int
	copied  bool                // copied rows have ended
	current uint64              // the transaction being read, 0 for none
	changes map[uint64]int      // row changes by transaction
	order   []uint64            // transactions in order of their first line
	seen    map[uint64]struct{} // hashes of whole lines
}

// change is one line.
type change struct {
	Op        string                     `json:"op"`
	Before    map[string]json.RawMessage `json:"before"`
	After     map[string]json.RawMessage `json:"after"`
	Unchanged []string                   `json:"unchanged"`
	Source    struct {
		Schema string `json:"schema"`
		Table  string `json:"table"`
		LSN    uint64 `json:"lsn"`
		TxID   uint64 `json:"txId"`
	} `json:"source"`
}

// NewFile judges changes of these tables. The load's invariants are checked when its tables are among them.
func NewFile(r *Report, tables []Table) *File {
	f := &File{report: r, tables: map[string]*folded{}, changes: map[uint64]int{}, seen: map[uint64]struct{}{}}
	for _, t := range tables {
		f.tables[t.Name] = newFolded(t)
	}
	if f.tables["bank"] != nil && f.tables["txn_b"] != nil {
		f.load = newInvariants(f)
	}
	return f
}

// Read judges everything in from. It may be called once for each file of a rotated set, oldest first.
func (f *File) Read(from io.Reader) error {
	in := bufio.NewReaderSize(from, 1<<20)
	for {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			if len(line) > 0 {
				f.report.Add(Torn, "line %d has no end", f.line+1)
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading line %d: %w", f.line+1, err)
		}
		f.line++
		f.judge(line)
	}
}

// ReadFile judges one file.
func (f *File) ReadFile(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("opening the file of changes: %w", err)
	}
	defer file.Close()
	return f.Read(file)
}

// Lines is how many lines were read.
func (f *File) Lines() int { return f.line }

// End closes the last transaction.
func (f *File) End() {
	f.endTransaction()
	f.report.Looked("file lines", f.line)
}

func (f *File) judge(line []byte) {
	hash := xxhash.Sum64(line)
	if _, again := f.seen[hash]; again {
		f.report.Add(Doubled, "line %d was there before", f.line)
	}
	f.seen[hash] = struct{}{}
	var c change
	if err := json.Unmarshal(line, &c); err != nil {
		f.report.Add(Wrong, "line %d does not parse: %v", f.line, err)
		return
	}
	if c.Op == "m" {
		return
	}
	t := f.tables[c.Source.Table]
	if t == nil || c.Source.Schema != "public" {
		f.report.Add(Wrong, "line %d is about %s.%s, which was not asked for", f.line, c.Source.Schema, c.Source.Table)
		return
	}
	f.frame(&c)
	if c.Op != "r" && c.Op != "t" {
		f.changes[c.Source.TxID]++
	}
	f.fold(t, &c)
}

// frame sees where transactions begin and end.
func (f *File) frame(c *change) {
	if c.Op == "r" {
		if f.copied {
			f.report.Add(Reordered, "line %d: a copied row comes after changes", f.line)
		}
		return
	}
	if !f.copied {
		f.copied = true
		f.load.between(f.line)
	}
	xid := c.Source.TxID
	if xid == 0 {
		f.report.Add(Wrong, "line %d has no txId", f.line)
	}
	if xid == f.current {
		return
	}
	f.endTransaction()
	f.current = xid
	if _, again := f.changes[xid]; again {
		f.report.Add(Torn, "line %d: transaction %d goes on after another began", f.line, xid)
		return
	}
	f.changes[xid] = 0
	f.order = append(f.order, xid)
}

func (f *File) endTransaction() {
	if f.current != 0 {
		f.load.between(f.line)
	}
}

// fold applies a change to its table, and finds what cannot be.
func (f *File) fold(t *folded, c *change) {
	switch c.Op {
	case "t":
		t.rows = map[string][]*string{}
	case "r", "c":
		row, key := f.image(t, c.After, nil)
		if t.rows[key] != nil {
			f.report.Add(Doubled, "line %d writes %s %s, which exists", f.line, t.Name, key)
		}
		f.position(t, key, c.Source.LSN)
		f.load.change(f.line, t, nil, row)
		t.rows[key] = row
	case "u":
		f.update(t, c)
	case "d":
		_, key := f.image(t, c.Before, nil)
		old := t.rows[key]
		if old == nil {
			f.report.Add(Lost, "line %d deletes %s %s, which does not exist", f.line, t.Name, key)
			return
		}
		f.sameAsBefore(t, key, c, old)
		f.position(t, key, c.Source.LSN)
		f.load.change(f.line, t, old, nil)
		delete(t.rows, key)
	default:
		f.report.Add(Wrong, "line %d has the operation %q", f.line, c.Op)
	}
}

func (f *File) update(t *folded, c *change) {
	_, key := f.image(t, c.After, nil)
	oldKey := key
	if len(c.Before) > 0 {
		_, oldKey = f.image(t, c.Before, nil)
	}
	old := t.rows[oldKey]
	if old == nil {
		f.report.Add(Lost, "line %d updates %s %s, which does not exist", f.line, t.Name, oldKey)
		return
	}
	f.sameAsBefore(t, oldKey, c, old)
	keep := map[string]bool{}
	for _, name := range c.Unchanged {
		keep[name] = true
	}
	row, _ := f.image(t, c.After, func(name string, i int) *string {
		if keep[name] && i < len(old) {
			return old[i]
		}
		return nil
	})
	f.position(t, oldKey, c.Source.LSN)
	if key != oldKey {
		f.position(t, key, c.Source.LSN)
		if t.rows[key] != nil {
			f.report.Add(Doubled, "line %d moves %s %s onto %s, which exists", f.line, t.Name, oldKey, key)
		}
		delete(t.rows, oldKey)
	}
	f.load.change(f.line, t, old, row)
	t.rows[key] = row
}

// sameAsBefore compares the columns of a before image with the row as it was.
func (f *File) sameAsBefore(t *folded, key string, c *change, old []*string) {
	for name, raw := range c.Before {
		i := t.column(name)
		var was *string
		if i < len(old) {
			was = old[i]
		}
		if got := f.value(raw); show(got) != show(was) || (got == nil) != (was == nil) {
			f.report.Add(Lost, "line %d: %s %s had %s = %s before, the image before was %s", f.line, t.Name, key, name, cut(show(got)), cut(show(was)))
		}
	}
}

// position sees that the place in the source's log never falls for a key.
func (f *File) position(t *folded, key string, lsn uint64) {
	if lsn < t.lsn[key] {
		f.report.Add(Reordered, "line %d: %s %s goes back in the log", f.line, t.Name, key)
	}
	t.lsn[key] = lsn
}

// image turns an image into a row and its key; other gives columns that the image does not hold.
func (f *File) image(t *folded, image map[string]json.RawMessage, other func(name string, i int) *string) ([]*string, string) {
	row := make([]*string, len(t.names), len(t.names)+len(image))
	for name, raw := range image {
		i := t.column(name)
		for len(row) <= i {
			row = append(row, nil)
		}
		row[i] = f.value(raw)
	}
	if other != nil {
		for i, name := range t.names {
			if _, ok := image[name]; !ok && i < len(row) {
				row[i] = other(name, i)
			}
		}
	}
	return row, t.key(row)
}

// value is the canonical text of a JSON value.
func (f *File) value(raw json.RawMessage) *string {
	s := string(raw)
	switch {
	case s == "null":
		return nil
	case s[0] == '"':
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			f.report.Add(Wrong, "line %d holds a value that does not parse: %v", f.line, err)
		}
		return &text
	}
	return &s
}

// Compare compares the folded tables with the source's, at rest.
func (f *File) Compare(ctx context.Context, source *pgx.Conn) error {
	if _, err := source.PgConn().Exec(ctx, settings).ReadAll(); err != nil {
		return fmt.Errorf("setting up the comparison: %w", err)
	}
	for _, t := range f.tables {
		want, err := read(ctx, source, t.Table)
		if err != nil {
			return err
		}
		f.report.Looked("equal", 1)
		differences(f.report, t.Name, want, t.content())
	}
	return nil
}
