//go:build !race

// The race detector makes other things allocate.
package debezium

import (
	"testing"

	"github.com/rowferry/rowferry/schema"
)

// TestRecordsAllocateNothing writes a value of every type in every mode of its type.
func TestRecordsAllocateNothing(t *testing.T) {
	samples := []struct{ base, text string }{
		{"boolean", "t"}, {"integer", "5"}, {"real", "1e-45"}, {"double precision", "2.5"}, {"text", "some text"},
		{"numeric(12,2)", "-12345678.90"}, {"numeric", "123456789012345678901234567890.125"}, {"money", "-$1,234.11"},
		{"bytea", `\x00ff10`}, {"date", "2017-09-15"}, {"time without time zone", "13:51:30.123"},
		{"timestamp without time zone", "2016-11-04 13:51:30.123456"}, {"timestamp with time zone", "2016-11-04 11:51:30+00"},
		{"time with time zone", "12:00:00.1+00"}, {"interval", "1 year 2 mons 3 days 04:05:06.78"}, {"bit(24)", "000000110000001000000001"},
		{"point", "(1,-2.5)"}, {"public.mood", "ok"}, {"x.hstore", `"key4"=>"v4", "key5"=>NULL`}, {"x.vector(3)", "[1,2.5,-3]"},
		{"box", "(1,1),(0,0)"}, {"integer[]", "{7,NULL}"}, {"text[]", `{"a,b",c}`}, {"numeric[]", "{1.50}"},
	}
	for _, modes := range []string{
		"unknown_types", "decimals=string binary=hex times=isostring intervals=string hstore=map", "decimals=double times=nanoseconds",
	} {
		e := encoder(t, configOf(modes))
		table := &schema.Table{Schema: "public", Name: "t"}
		b := schema.NewBatch(nil)
		var texts []string
		for _, s := range samples {
			table.Columns, texts = append(table.Columns, columnOf(s.base)), append(texts, s.text)
		}
		c := schema.Change{Op: schema.OpCreate, Table: table.WithVersion(), Offset: 70, After: row(b, texts...)}
		compiled := e.Table(table, "p.public.t", nil)
		r := e.Records()
		tx := schema.Transaction{ID: 9, End: 90, Origin: "elsewhere"}
		var dst []byte
		got := testing.AllocsPerRun(100, func() {
			r.Reset(b, now)
			r.Enter(&tx, "false")
			var err error
			if dst, err = r.AppendChange(dst[:0], compiled, &c, Place{Total: 1, OfTable: 1}); err != nil {
				t.Fatal(err)
			}
		})
		if got > 0 {
			t.Errorf("%s: got %v allocations, want 0", modes, got)
		}
	}
}
