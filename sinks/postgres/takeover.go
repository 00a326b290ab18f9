package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
)

// takeovers halts where rows of the target have values of columns whose names others have at the source now.
func (l *lane) takeovers(ctx context.Context, list []schema.Takeover) error {
	for _, t := range list {
		if err := l.drain(); err != nil {
			return err
		}
		if err := l.takeover(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

// takeover looks at one table. What the target computes follows by itself. One that is not there may have got another name
// already, under which nobody would look at it again.
func (l *lane) takeover(ctx context.Context, t schema.Takeover) error {
	r, err := l.look(ctx, t.Table.Schema, t.Table.Name)
	if errors.Is(err, errNoTable) {
		return fault.Halt("target.table_missing",
			fmt.Errorf("table %s is gone from the target, and other columns have the names %s at the source now", t.Table, strings.Join(t.Columns, ", ")),
			"if the table was renamed, give it its name back until the pipeline has told of these columns;\n"+
				"if the source has dropped it, start the pipeline again;\nor `rowferry teardown` the pipeline and copy again")
	}
	if err != nil {
		return fmt.Errorf("looking at table %s: %w", t.Table, err)
	}
	var held []string
	for i := range r.columns {
		if c := &r.columns[i]; !c.computed && slices.Contains(t.Columns, c.name) {
			held = append(held, schema.QuoteName(c.name))
		}
	}
	if len(held) == 0 {
		return nil
	}
	rows, err := l.oneRow(ctx, t.Table, r)
	if err != nil || len(rows) == 0 {
		return err
	}
	return fault.Halt("target.schema_mismatch",
		fmt.Errorf("table %s has other columns at the source now under the names %s: they were dropped and added again, or took the names of others, "+
			"which no change says; rows that were not written since have values of the columns before", t.Table, strings.Join(held, ", ")),
		"give these columns, in all rows of the target's table, the values that they have at the source now; if the table has no key, let nobody write to\n"+
			"it meanwhile; then set source.publication.changed: accept for one start;\n"+
			"or `rowferry teardown` the pipeline, empty its target tables, and copy again")
}
