package postgres

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/rowferry/rowferry/schema"
)

// TestTextFormsReadBack: whatever a value holds, array literals and COPY text mean the same to the server.
func TestTextFormsReadBack(t *testing.T) {
	d := newDB(t, 15, `CREATE TABLE texts (n int, v text)`)
	s, err := d.sink(nil).cfg.connect(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeConn(s.conn) })
	alphabet := rapid.SampledFrom([]rune("ab,{}\"'\\\n\r\t\b\v\f. NULnul\u00e9\U0001F600"))
	rapid.Check(t, func(rt *rapid.T) {
		texts := rapid.SliceOfN(rapid.StringOf(alphabet), 1, 20).Draw(rt, "texts")
		array := []byte{'{'}
		lines := []byte{}
		for i, text := range texts {
			if i > 0 {
				array = append(array, ',')
			}
			v := schema.TextAt(0, len(text))
			array = appendElement(array, v, []byte(text))
			lines = appendCopyField(append(lines, fmt.Sprint(i, "\t")...), v, []byte(text))
			lines = append(lines, '\n')
		}
		rows, err := s.rows(testContext(t), `SELECT u FROM unnest($1::text[]) u`, string(append(array, '}')))
		if err != nil {
			rt.Fatal(err)
		}
		b := schema.NewBatch(nil)
		b.Copy = &schema.Copy{Table: tableOf("texts", "n integer", "v text"), Raw: lines, Columns: []int{0, 1}}
		if err := schema.DecodeCopy(b); err != nil {
			rt.Fatal(err)
		}
		for i, text := range texts {
			if diff := cmp.Diff(text, rows[i][0]); diff != "" {
				rt.Errorf("array element %d (-want +got):\n%s", i, diff)
			}
			copied := string(b.Row(b.Changes[i].After)[1].Bytes(b.Arena))
			if diff := cmp.Diff(text, copied); diff != "" {
				rt.Errorf("COPY field %d (-want +got):\n%s", i, diff)
			}
		}
	})
}

// TestBulkJoinsUseTheIndex: a table without statistics is not read whole for a run of updates or deletes.
func TestBulkJoinsUseTheIndex(t *testing.T) {
	d := newDB(t, 15, `CREATE TABLE accounts (id int PRIMARY KEY, owner text, email text)`,
		`CREATE TABLE pairs (a text, b int, v text, PRIMARY KEY (a, b))`)
	s := d.stream(nil)
	pairs := tableOf("pairs", "*a text", "*b integer", "v text")
	b := newBatch()
	for i := range 6 {
		b.insert(accounts, i, "x", nil).insert(pairs, "a", i, "v")
	}
	s.must(b)
	b = newBatch()
	for i := range 6 {
		b.update(accounts, i, "y", nil).update(pairs, "a", i, "w")
	}
	s.must(b)
	b = newBatch()
	for i := range 5 {
		b.delete(accounts, i, absent, absent).delete(pairs, "a", i, absent)
	}
	s.must(b)
	l, seen := s.w.lanes[0], 0
	for _, p := range l.plans {
		for key, st := range p.statements {
			if !key.bulk || key.shape != nil && len(key.shape.Columns) == 3 {
				continue
			}
			call := "EXPLAIN (COSTS OFF) EXECUTE " + st.name + "("
			for n := range st.order {
				if n > 0 {
					call += ", "
				}
				call += "'{}'"
			}
			rows, err := l.rows(testContext(t), call+")")
			if err != nil {
				t.Fatal(err)
			}
			text := fmt.Sprint(rows)
			if !containsAll(text, "Nested Loop", "Index Scan using") || containsAll(text, "Seq Scan") {
				t.Errorf("%s: got plan %s, want a nested loop with the index", st.sql, text)
			}
			seen++
		}
	}
	if seen < 4 {
		t.Errorf("looked at %d statements, want 4: updates and deletes of both tables", seen)
	}
}
