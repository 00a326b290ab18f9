package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
)

// Servers before 18 never send generated columns. A stored one depends on nothing but columns of its own row, and its
// expression is immutable, so that the source can be asked for the value of any row image, however old: the question
// carries the row.

// derivedRows is how many row images one question carries.
const derivedRows = 1000

// derived says how the computed columns of a table version come about.
type derived struct {
	columns []derivedColumn
	inputs  []int // ordinals of all columns they are computed from
	sql     string
}

type derivedColumn struct {
	ordinal int
	inputs  []int
}

// computes tells whether generated columns are to be computed.
func (c *Config) computes() bool { return c.GeneratedColumns == "compute" }

// computable tells whether all that a generated column is computed from is sent.
func (c *columnInfo) computable(columns []columnInfo, sent func(*columnInfo) bool) bool {
	if c.expression == "" {
		return false
	}
	for i := range columns {
		if slices.Contains(c.inputs, columns[i].number) && !sent(&columns[i]) {
			return false
		}
	}
	return true
}

// carryComputed takes over computed columns from the version before, as far as what they are computed from is still
// there.
func (v *tableVersion) carryComputed(before tableVersion) {
	for _, c := range before.columns {
		if !c.computed {
			continue
		}
		whole := true
		for _, number := range c.inputs {
			whole = whole && slices.ContainsFunc(v.columns, func(k columnInfo) bool { return k.number == number })
		}
		if whole {
			v.columns = append(v.columns, c)
		}
	}
}

// note remembers how to compute the columns of a version.
func (r *resolver) note(v *tableVersion) {
	d := &derived{}
	var results []string
	for i := range v.columns {
		c := &v.columns[i]
		if !c.computed {
			continue
		}
		column := derivedColumn{ordinal: i}
		for k := range v.columns {
			if slices.Contains(c.inputs, v.columns[k].number) {
				column.inputs = append(column.inputs, k)
			}
		}
		d.columns = append(d.columns, column)
		d.inputs = append(d.inputs, column.inputs...)
		results = append(results, "("+c.expression+")::"+c.Native)
	}
	if len(d.columns) == 0 {
		delete(r.derived, v.table.Version)
		return
	}
	slices.Sort(d.inputs)
	d.inputs = slices.Compact(d.inputs)
	names, parameters, fields := []string{}, []string{}, []string{}
	for n, i := range d.inputs {
		field := "c" + strconv.Itoa(n)
		names = append(names, field)
		parameters = append(parameters, "$"+strconv.Itoa(n+1)+"::text[]")
		fields = append(fields, field+"::"+v.columns[i].Native+" AS "+quoteName(v.columns[i].Name))
	}
	d.sql = "SELECT " + strings.Join(results, ", ") + " FROM (SELECT n, " + strings.Join(fields, ", ") + " FROM unnest(" +
		strings.Join(parameters, ", ") + ") WITH ORDINALITY AS u(" + strings.Join(names, ", ") + ", n)) AS r ORDER BY r.n"
	r.derived[v.table.Version] = d
}

// complete fills in the computed columns of a batch. The source is asked once for each table and some rows.
func (r *resolver) complete(ctx context.Context, b *schema.Batch) error {
	if len(r.derived) == 0 {
		return nil
	}
	var waiting map[*schema.Table][]schema.Row
	for i := range b.Changes {
		c := &b.Changes[i]
		if c.Table == nil || c.Op == schema.OpTruncate || c.Op == schema.OpMessage || c.Op == schema.OpSchema {
			continue
		}
		d := r.derived[c.Table.Version]
		if d == nil {
			continue
		}
		for _, image := range []schema.Row{c.Before, c.After} {
			ask, err := d.prepare(c, b.Row(image), image == c.After)
			if err != nil {
				return err
			}
			if ask {
				if waiting == nil {
					waiting = map[*schema.Table][]schema.Row{}
				}
				waiting[c.Table] = append(waiting[c.Table], image)
			}
		}
	}
	for table, images := range waiting {
		for chunk := range slices.Chunk(images, derivedRows) {
			if err := r.compute(ctx, b, r.derived[table.Version], chunk); err != nil {
				return fmt.Errorf("computing generated columns of %s: %w", table, err)
			}
		}
	}
	return nil
}

// prepare tells whether the source has to be asked about an image. What a column is computed from may be left out
// altogether, and then so is the column; left out in part, it cannot be known.
func (d *derived) prepare(c *schema.Change, values []schema.Value, after bool) (ask bool, err error) {
	if len(values) == 0 {
		return false, nil
	}
	for _, column := range d.columns {
		absent := 0
		for _, i := range column.inputs {
			if values[i].Absent() {
				absent++
			}
		}
		switch {
		case absent == 0:
			ask = true
		case !after: // an old image that holds the key alone
		case absent == len(column.inputs):
			values[column.ordinal] = schema.UnchangedValue
		default:
			return false, fault.Halt("source.generated_incomplete",
				fmt.Errorf("%s: the update at %s left out a large value that the generated column %s is computed from",
					c.Table, LSN(c.Offset), schema.QuoteName(c.Table.Columns[column.ordinal].Name)),
				"ALTER TABLE "+quoteTable(c.Table.Schema, c.Table.Name)+" REPLICA IDENTITY FULL, and copy the table again,\n"+
					"or set source.generated_columns: omit")
		}
	}
	return ask, nil
}

// errComputed says that the source answered with something else than was asked for.
var errComputed = errors.New("the source gave another number of rows than it was asked about")

// compute asks the source for the columns of some images.
func (r *resolver) compute(ctx context.Context, b *schema.Batch, d *derived, images []schema.Row) error {
	conn, err := r.query(ctx)
	if err != nil {
		return err
	}
	parameters := make([][]byte, len(d.inputs))
	for n, i := range d.inputs {
		array := []byte{'{'}
		for k, image := range images {
			if k > 0 {
				array = append(array, ',')
			}
			array = appendElement(array, b.Row(image)[i], b.Arena)
		}
		parameters[n] = append(array, '}')
	}
	result := conn.PgConn().ExecParams(ctx, d.sql, parameters, nil, nil, nil).Read()
	if result.Err != nil {
		return classify(result.Err)
	}
	if len(result.Rows) != len(images) {
		return errComputed
	}
	for k, row := range result.Rows {
		values := b.Row(images[k])
		for n, column := range d.columns {
			if slices.ContainsFunc(column.inputs, func(i int) bool { return values[i].Absent() }) {
				continue
			}
			if row[n] == nil {
				values[column.ordinal] = schema.NullValue
				continue
			}
			values[column.ordinal] = schema.TextAt(len(b.Arena), len(row[n]))
			b.Arena = append(b.Arena, row[n]...)
		}
	}
	return nil
}

// appendElement appends one element of an array literal; what is absent is NULL.
func appendElement(dst []byte, v schema.Value, arena []byte) []byte {
	if v.IsNull() || v.Absent() {
		return append(dst, "NULL"...)
	}
	text := v.Bytes(arena)
	if v.Form() != schema.Text {
		text = v.AppendText(nil, arena)
	}
	dst = append(dst, '"')
	for _, c := range text {
		if c == '"' || c == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, c)
	}
	return append(dst, '"')
}
