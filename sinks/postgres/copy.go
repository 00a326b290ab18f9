package postgres

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks/apply"
)

// undoCopy empties the tables that an interrupted copy has begun to fill, and forgets them. Only tables that were
// empty when it began, or that it emptied itself, are ever emptied.
func (l *lane) undoCopy(ctx context.Context) error {
	if err := l.drain(); err != nil {
		return err
	}
	rows, err := l.rows(ctx, copyListSQL, l.w.claim.Pipeline)
	if err != nil {
		return fmt.Errorf("reading the copy's progress: %w", err)
	}
	var tables []*relationName
	var mixed []string
	for _, row := range rows {
		name := (&schema.Table{Schema: row[0], Name: row[1]}).String()
		if row[2] == "t" {
			tables = append(tables, &relationName{schema: row[0], name: row[1]})
		} else if row[3] == "t" {
			mixed = append(mixed, name)
		}
	}
	if len(mixed) > 0 {
		return fault.Halt("target.copy_interrupted", fmt.Errorf(
			"a copy beside existing rows was interrupted: %s", strings.Join(mixed, ", ")),
			"remove the copied rows from the tables named, by hand;\n"+
				"then `rowferry teardown "+l.w.claim.Pipeline+"` and start again")
	}
	if err := l.empty(ctx, tables); err != nil {
		return fmt.Errorf("emptying what the interrupted copy has filled: %w", err)
	}
	if _, err := l.exec(ctx, copyClearSQL, l.w.claim.Pipeline); err != nil {
		return fmt.Errorf("forgetting the interrupted copy: %w", err)
	}
	return nil
}

// relationName names a table of the target.
type relationName struct {
	schema, name string
	partitioned  bool
}

// empty truncates those of the tables that exist, all at once, so that those that refer to each other can be.
func (l *lane) empty(ctx context.Context, tables []*relationName) error {
	var names []string
	for _, t := range tables {
		rows, err := l.known(ctx, tableQuery, t.schema, t.name)
		if err != nil {
			return err
		}
		switch {
		case len(rows) == 0:
		case rows[0][1] == "p":
			names = append(names, quoteTable(t.schema, t.name))
		default:
			names = append(names, "ONLY "+quoteTable(t.schema, t.name))
		}
	}
	if len(names) == 0 {
		return nil
	}
	l.w.rt.Log.Info().Int("tables", len(names)).Msg("emptying tables of the target for the copy")
	_, err := l.exec(ctx, "TRUNCATE "+strings.Join(names, ", "))
	return err
}

// beginCopy makes, checks or empties the tables to be copied, and records them, in the transaction that begins the
// copy.
func (l *lane) beginCopy(ctx context.Context, tables []*schema.Table) error {
	var full []*relationName
	var names []string
	filled := map[*schema.Table]bool{}
	for _, t := range tables {
		p, err := l.plan(ctx, t)
		if err != nil {
			return err
		}
		if err := l.drain(); err != nil {
			return err
		}
		if l.seen.made[t] {
			continue
		}
		rows, err := l.rows(ctx, "SELECT FROM "+p.only()+" LIMIT 1")
		if err != nil {
			return fmt.Errorf("looking whether %s is empty: %w", t, err)
		}
		if len(rows) > 0 {
			filled[t] = true
			names = append(names, t.String())
			full = append(full, &relationName{schema: t.Schema, name: t.Name, partitioned: p.partitioned})
		}
	}
	switch {
	case len(full) == 0:
	case l.w.cfg.Tables.Existing == "truncate":
		if err := l.empty(ctx, full); err != nil {
			return fmt.Errorf("emptying tables for the copy: %w", err)
		}
		clear(filled)
	case l.w.cfg.Tables.Existing != "append":
		return fault.Halt("target.not_empty", fmt.Errorf("tables to be copied hold rows: %s", strings.Join(names, ", ")),
			"empty them, or set tables.existing to truncate to have them emptied, or to append to copy beside the rows there")
	}
	for _, t := range tables {
		l.query(ctx, copyBeginSQL, none(wantAny), l.w.claim.Pipeline, t.Schema, t.Name, strconv.FormatBool(!filled[t]))
	}
	return nil
}

// copyGroup sends one batch of existing rows, with the note of how far the copy is.
func (l *lane) copyGroup(ctx context.Context, c *schema.Copy, batches []*schema.Batch) error {
	if err := l.begin(ctx, mark{}); err != nil {
		return err
	}
	p, err := l.plan(ctx, c.Table)
	if err != nil {
		return err
	}
	rows := c.Rows
	for _, b := range batches {
		if err := l.copyRaw(ctx, p, b); err != nil {
			return err
		}
	}
	if err := l.applier.Apply(ctx, l, batches); err != nil {
		return err
	}
	l.query(ctx, copyChunkSQL, none(wantAny), l.w.claim.Pipeline, c.Table.Schema, c.Table.Name,
		strconv.FormatInt(c.Chunk, 10), strconv.Itoa(rows), strconv.FormatBool(c.Done))
	return nil
}

// passes tells whether COPY text can go to the target as it is: the target takes values of each of its columns.
func passes(t *apply.Table, c *schema.Copy) bool {
	for _, i := range c.Columns {
		if !t.Writable(i) {
			return false
		}
	}
	return len(c.Columns) > 0
}

// copyRaw passes COPY text on as it is. Text that cannot pass, or that the server refuses, becomes changes of the
// batch, so that they are applied, or one of them named, like any other.
func (l *lane) copyRaw(ctx context.Context, p *plan, b *schema.Batch) error {
	if b.Copy == nil || len(b.Copy.Raw) == 0 {
		return nil
	}
	if passes(p.table, b.Copy) {
		if err := l.drain(); err != nil {
			return err
		}
		err := l.copyFrom(ctx, bytes.NewReader(b.Copy.Raw), copyRows(p, b.Copy.Columns), int64(b.Copy.Rows))
		if err == nil || !ofRows(err) {
			return err
		}
		if err := l.Rewind(ctx); err != nil {
			return err
		}
	}
	if err := schema.DecodeCopy(b); err != nil {
		return fault.Halt("target.value_refused", fmt.Errorf("reading copied rows: %w", err), remedyValue)
	}
	return nil
}
