package apply

import (
	"fmt"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/rowferry/rowferry/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testTable is a source's table with columns id (the key), u and v.
func testTable(name string) *schema.Table {
	t := &schema.Table{Schema: "s", Name: name, Columns: []schema.Column{
		{Name: "id", Kind: schema.KindInt32, NotNull: true, Ident: true, KeyPart: 1},
		{Name: "u", Kind: schema.KindInt32}, {Name: "v", Kind: schema.KindText},
	}}
	return t.WithVersion()
}

// layoutOf is the target's table for it, with the given keys.
func layoutOf(keys ...LayoutKey) Layout {
	return Layout{Columns: []LayoutColumn{{Name: "id"}, {Name: "u"}, {Name: "v"}}, Keys: keys}
}

var primary = LayoutKey{Columns: []string{"id"}, NotNull: true}

// script reads changes, one a line: "T+ 1 a b" inserts, "T~ 1 a b" updates, "T> 1 2 a b" moves 1 to 2, "T- 1" deletes,
// "T! " truncates, with T the table's name. A value is - for unchanged, . for NULL.
func script(text string, tables map[string]*Table) *schema.Batch {
	b := schema.NewBatch(nil)
	image := func(words []string) schema.Row {
		first := len(b.Values)
		for _, w := range words {
			switch w {
			case "-":
				b.Values = append(b.Values, schema.UnchangedValue)
			case ".":
				b.Values = append(b.Values, schema.NullValue)
			case "?":
				b.Values = append(b.Values, schema.Value{})
			default:
				start := len(b.Arena)
				b.Arena = append(b.Arena, w...)
				b.Values = append(b.Values, schema.TextAt(start, len(w)))
			}
		}
		return schema.Row{First: int32(first), Count: int32(len(words))}
	}
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		name, sign := words[0][:len(words[0])-1], words[0][len(words[0])-1]
		c := schema.Change{Table: tables[name].Source}
		switch sign {
		case '+':
			c.Op, c.After = schema.OpCreate, image(words[1:])
		case '~':
			c.Op, c.After = schema.OpUpdate, image(words[1:])
		case '>':
			c.Op, c.Before, c.After = schema.OpUpdate, image([]string{words[1], "?", "?"}), image(words[2:])
		case '-':
			c.Op, c.Before = schema.OpDelete, image([]string{words[1], "?", "?"})
		case '!':
			c.Op, c.Truncate = schema.OpTruncate, &schema.Truncate{Tables: []*schema.Table{tables[name].Source}}
		}
		b.Changes = append(b.Changes, c)
	}
	return b
}

// render writes steps, one a line.
func render(steps []Step) string {
	var out strings.Builder
	for i := range steps {
		s := &steps[i]
		if s.Op == Truncate {
			fmt.Fprintf(&out, "truncate %s\n", s.Tables[0].Source.Name)
			continue
		}
		fmt.Fprintf(&out, "%s %s", s.Op, s.Table.Source.Name)
		if s.Bulk {
			out.WriteString(" bulk")
		}
		for n := range s.Rows {
			row := &s.Rows[n]
			out.WriteString(" (")
			if s.Op != Insert {
				out.WriteString(text(row, row.Match()[0]) + ":")
			}
			if s.Shape != nil {
				for k, i := range s.Shape.Columns {
					if k > 0 {
						out.WriteString(" ")
					}
					out.WriteString(s.Table.Source.Columns[i].Name + "=" + text(row, row.Values()[i]))
				}
			}
			out.WriteString(")")
		}
		out.WriteString("\n")
	}
	return out.String()
}

func text(row *Row, v schema.Value) string {
	if v.IsNull() {
		return "."
	}
	return string(v.AppendText(nil, row.Batch.Arena))
}
