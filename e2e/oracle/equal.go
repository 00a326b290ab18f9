package oracle

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// settings make equal values print equally on both sides.
const settings = `SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET IntervalStyle = 'postgres'; SET bytea_output = 'hex'; SET extra_float_digits = 1`

// Table is a table as the oracles see it: columns by name in alphabetical order, the key by position among them.
type Table struct {
	Name    string // of schema public
	Columns []string
	Key     []int // empty: every column
}

// Describe reads the definitions of tables of schema public.
func Describe(ctx context.Context, conn *pgx.Conn, names []string) ([]Table, error) {
	var tables []Table
	for _, name := range names {
		t := Table{Name: name}
		rows, err := conn.Query(ctx, `
SELECT a.attname, coalesce(a.attnum = ANY (i.indkey), false)
FROM pg_attribute a LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
WHERE a.attrelid = $1::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attname COLLATE "C"`,
			"public."+pgx.Identifier{name}.Sanitize())
		if err != nil {
			return nil, fmt.Errorf("describing %s: %w", name, err)
		}
		for rows.Next() {
			var column string
			var key bool
			if err := rows.Scan(&column, &key); err != nil {
				return nil, fmt.Errorf("describing %s: %w", name, err)
			}
			if key {
				t.Key = append(t.Key, len(t.Columns))
			}
			t.Columns = append(t.Columns, column)
		}
		if err := rows.Err(); err != nil {
			return nil, fmt.Errorf("describing %s: %w", name, err)
		}
		tables = append(tables, t)
	}
	return tables, nil
}

// list quotes the columns, cast to text.
func (t Table) list(cast string) string {
	quoted := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		quoted[i] = pgx.Identifier{c}.Sanitize() + cast
	}
	return strings.Join(quoted, ", ")
}

func (t Table) from() string { return "public." + pgx.Identifier{t.Name}.Sanitize() }

// Equal compares tables of two databases at rest: by count, sum and exclusive or of row hashes first, row by row
// where those differ. Both must have the same columns; their order does not matter.
func Equal(ctx context.Context, r *Report, source, target *pgx.Conn, names []string) error {
	for _, conn := range []*pgx.Conn{source, target} {
		if _, err := conn.PgConn().Exec(ctx, settings).ReadAll(); err != nil {
			return fmt.Errorf("setting up the comparison: %w", err)
		}
	}
	tables, err := Describe(ctx, source, names)
	if err != nil {
		return err
	}
	for _, t := range tables {
		want, err := summary(ctx, source, t)
		if err != nil {
			return err
		}
		got, err := summary(ctx, target, t)
		if err != nil {
			r.Add(Wrong, "%s cannot be read at the target: %v", t.Name, err)
			continue
		}
		r.Looked("equal", 1)
		if got == want {
			continue
		}
		a, err := read(ctx, source, t)
		if err != nil {
			return err
		}
		b, err := read(ctx, target, t)
		if err != nil {
			return err
		}
		differences(r, t.Name, a, b)
	}
	return nil
}

// summary is count, sum and exclusive or of the hashes of a table's rows.
func summary(ctx context.Context, conn *pgx.Conn, t Table) (string, error) {
	var s string
	err := conn.QueryRow(ctx, fmt.Sprintf(`
SELECT concat_ws('/', count(*), sum(h::numeric), bit_xor(h))
FROM (SELECT ('x' || substr(md5(ROW(%s)::text), 1, 16))::bit(64)::bigint AS h FROM %s) hashed`, t.list("::text"), t.from())).Scan(&s)
	if err != nil {
		return "", fmt.Errorf("summing up %s: %w", t.Name, err)
	}
	return s, nil
}

// Rows is a table's content: key to row, each as one text.
type Rows map[string]string

// read reads a whole table.
func read(ctx context.Context, conn *pgx.Conn, t Table) (Rows, error) {
	rows, err := conn.Query(ctx, fmt.Sprintf(`SELECT %s FROM %s`, t.list("::text"), t.from()))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", t.Name, err)
	}
	defer rows.Close()
	content := Rows{}
	values := make([]*string, len(t.Columns))
	into := make([]any, len(values))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return nil, fmt.Errorf("reading %s: %w", t.Name, err)
		}
		key := t.key(values)
		if len(t.Key) == 0 { // equal rows may come several times
			for n := 1; content[key] != ""; n++ {
				key = fmt.Sprintf("%s#%d", t.key(values), n)
			}
		}
		content[key] = text(t.Columns, values)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading %s: %w", t.Name, err)
	}
	return content, nil
}

// key is the row's key as text; of a table without one, the whole row.
func (t Table) key(values []*string) string {
	if len(t.Key) == 0 {
		return text(t.Columns, values)
	}
	if len(t.Key) == 1 {
		return show(values[t.Key[0]])
	}
	parts := make([]string, len(t.Key))
	for i, k := range t.Key {
		parts[i] = show(values[k])
	}
	return strings.Join(parts, ",")
}

// text writes a row as column=value, without columns that are NULL: a column added later is NULL in older rows.
func text(columns []string, values []*string) string {
	var b strings.Builder
	for i, v := range values {
		if v != nil {
			fmt.Fprintf(&b, "%s=%d:%s ", columns[i], len(*v), *v)
		}
	}
	return b.String()
}

func show(v *string) string {
	if v == nil {
		return "NULL"
	}
	return *v
}

// differences reports how got differs from want.
func differences(r *Report, table string, want, got Rows) {
	for key, row := range want {
		switch other, ok := got[key]; {
		case !ok:
			r.Add(Lost, "%s %s is not at the target", table, key)
		case other != row:
			r.Add(Wrong, "%s %s differs:\n    source %s\n    target %s", table, key, cut(row), cut(other))
		}
	}
	for key := range got {
		if _, ok := want[key]; !ok {
			r.Add(Doubled, "%s %s is at the target only", table, key)
		}
	}
}

func cut(s string) string {
	if len(s) > 300 {
		return s[:300] + "…"
	}
	return s
}
