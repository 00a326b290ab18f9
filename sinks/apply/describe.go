package apply

import (
	"fmt"
	"strings"

	"github.com/rowferry/rowferry/schema"
)

// shownKeyBytes is how much of each key value a message shows.
const shownKeyBytes = 100

// Describe names one row of a step: table, operation, key, and where it stands in the source's log. It shows no
// values but the key's. A number beyond the rows describes the step as a whole.
func Describe(step *Step, n int) string {
	text := step.Op.String()
	if step.Op == Truncate {
		names := make([]string, len(step.Tables))
		for i, t := range step.Tables {
			names[i] = t.Source.String()
		}
		text += " of " + strings.Join(names, ", ")
	} else {
		text += " of " + step.Table.Source.String()
	}
	if n >= len(step.Rows) {
		return text
	}
	row := &step.Rows[n]
	if step.Op != Truncate {
		text += keyText(step, row)
	}
	return text + " at " + place(row.From, row.Change)
}

// keyText shows the values that name a row. A row that only all of its values name shows none of them.
func keyText(step *Step, row *Row) string {
	t := step.Table
	if t.Whole || len(t.Match) == 0 {
		return " (a row without a key)"
	}
	values := row.Match()
	if step.Op == Insert {
		values = row.Values()
	}
	var b strings.Builder
	b.WriteString(" with key ")
	for n, i := range t.Match {
		if n > 0 {
			b.WriteString(", ")
		}
		b.WriteString(schema.QuoteName(t.Source.Columns[i].Name))
		b.WriteByte('=')
		switch v := values[i]; {
		case v.IsNull():
			b.WriteString("NULL")
		case v.Absent():
			b.WriteString("(not sent)")
		default:
			text := v.AppendText(nil, row.Batch.Arena)
			if len(text) > shownKeyBytes {
				text = append(text[:shownKeyBytes:shownKeyBytes], "…"...)
			}
			fmt.Fprintf(&b, "%q", strings.ToValidUTF8(string(text), "�"))
		}
	}
	return b.String()
}

// place says where a change stands in the source's log: its offset, in the notation Postgres uses for such
// numbers, and its transaction.
func place(b *schema.Batch, change int32) string {
	offset := b.Changes[change].Offset
	text := fmt.Sprintf("log offset %X/%X", offset>>32, uint32(offset))
	for i := range b.Transactions {
		if tx := &b.Transactions[i]; change >= tx.First && change < tx.First+tx.Count {
			return fmt.Sprintf("%s in transaction %d", text, tx.ID)
		}
	}
	return text
}
