package postgres

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks"
)

// copyTest is a pipeline from its first start on.
type copyTest struct {
	*db
	w   *Writer
	seq int64
}

func (c *copyTest) phase(p schema.Phase, tables ...*schema.Table) error {
	g := sinks.Group{Seq: c.seq + 1, Phase: p, Tables: tables}
	g.Upto = schema.Position{Format: "test/1", Token: fmt.Sprint(c.seq+1, p)}
	err := c.w.Commit(testContext(c), g)
	if err == nil {
		c.seq++
	}
	return err
}

// rows copies rows as COPY text on a lane.
func (c *copyTest) rows(lane int, t *schema.Table, text string, columns ...int) error {
	b := schema.NewBatch(nil)
	b.Copy = &schema.Copy{Table: t, Chunk: 1, Lane: lane, Rows: strings.Count(text, "\n"), Raw: []byte(text), Columns: columns}
	p, err := c.w.Encode(b)
	if err != nil {
		return err
	}
	return c.w.Commit(testContext(c), sinks.Group{Lane: lane, Payloads: []sinks.Payload{p}, Phase: schema.PhaseCopy, Copy: b.Copy})
}

func (d *db) copyTest(change func(*Config)) *copyTest {
	d.Helper()
	w, held := d.open(change)
	return &copyTest{db: d, w: w, seq: held.Seq}
}

// TestExistingRows: what a table holds when the copy begins, and what an interrupted copy may take back.
func TestExistingRows(t *testing.T) {
	tests := []struct {
		existing, code string
		rows           []string // after an interrupted copy of the row 1
		again          string   // the fault of taking it back
	}{
		{existing: "refuse", code: "target.not_empty", rows: []string{"7|old|<NULL>"}},
		{existing: "truncate", rows: []string{}},
		{existing: "append", rows: []string{"1|new|<NULL>", "7|old|<NULL>"}, again: "target.copy_interrupted"},
	}
	for _, tt := range tests {
		t.Run(tt.existing, func(t *testing.T) {
			other := tableOf("other", "*id integer")
			d := newDB(t, 15, accountsDDL, `INSERT INTO accounts VALUES (7, 'old')`, `CREATE TABLE other (id int PRIMARY KEY)`)
			c := d.copyTest(func(c *Config) { c.Tables.Existing = tt.existing })
			if err := c.phase(schema.PhaseCreating); err != nil {
				t.Fatal(err)
			}
			err := c.phase(schema.PhaseCopy, accounts, other)
			if fault.Of(err).Code != tt.code {
				t.Fatalf("got %v, want %q", err, tt.code)
			}
			if err == nil {
				if err := c.rows(1, accounts, "1\tnew\t\\N\n", 0, 1, 2); err != nil {
					t.Fatal(err)
				}
				if err := c.rows(0, other, "1\n2\n", 0); err != nil {
					t.Fatal(err)
				}
				_ = c.w.Close()
				c = d.copyTest(func(c *Config) { c.Tables.Existing = tt.existing })
				if err := c.phase(schema.PhaseCreating); fault.Of(err).Code != tt.again {
					t.Errorf("taking the copy back: got %v, want %q", err, tt.again)
				}
			}
			_ = c.w.Close()
			if diff := cmp.Diff(tt.rows, d.lines(`SELECT * FROM accounts ORDER BY id`)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestStreamIsNeverEmptied: rows are not taken back once the pipeline streams, whatever the source believes.
func TestStreamIsNeverEmptied(t *testing.T) {
	d := newDB(t, 15, accountsDDL)
	c := d.copyTest(nil)
	for _, err := range []error{
		c.phase(schema.PhaseCreating), c.phase(schema.PhaseCopy, accounts), c.rows(1, accounts, "1\ta\tb\n", 0, 1, 2), c.phase(schema.PhaseStream),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := c.phase(schema.PhaseCreating); fault.Of(err).Code != "target.phase" {
		t.Errorf("got %v, want target.phase", err)
	}
	_ = c.w.Close()
	want := map[string][]string{`SELECT * FROM accounts`: {"1|a|b"}, `SELECT * FROM rowferry.copy`: {}}
	for query, lines := range want {
		if diff := cmp.Diff(lines, d.lines(query)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", query, diff)
		}
	}
}

// TestRefusedCopiedRowsAreNamed: a row among COPY text that the target refuses is named without its values.
func TestRefusedCopiedRowsAreNamed(t *testing.T) {
	d := newDB(t, 15, accountsDDL)
	c := d.copyTest(nil)
	if err := c.phase(schema.PhaseCopy, accounts); err != nil {
		t.Fatal(err)
	}
	text := ""
	for i := range 600 {
		text += fmt.Sprintf("%d\t%s\t%s%d\n", i, canary, canary, i)
	}
	err := c.rows(1, accounts, text+"601\t"+canary+"\t"+strings.Repeat(canary, 8)+"\n", 0, 1, 2)
	if f := fault.Of(err); f.Code != "target.value_refused" || !strings.Contains(err.Error(), `insert of public.accounts with key id="601"`) {
		t.Errorf("got %v, want the row named", err)
	}
	if strings.Contains(fmt.Sprint(err), canary) {
		t.Errorf("got %v, which shows a value", err)
	}
}

// TestCopyOfWhatTheTargetComputes: COPY text with a column the target computes is taken apart.
func TestCopyOfWhatTheTargetComputes(t *testing.T) {
	table := tableOf("sums", "*id integer", "twice integer")
	d := newDB(t, 15, `CREATE TABLE sums (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED)`)
	c := d.copyTest(nil)
	if err := c.phase(schema.PhaseCopy, table); err != nil {
		t.Fatal(err)
	}
	if err := c.rows(0, table, "1\t9\n2\t9\n", 0, 1); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"1|2", "2|4"}, d.lines(`SELECT * FROM sums ORDER BY id`)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"-1|0|t|f", "1|2|<NULL>|f"}, d.lines(`SELECT chunk, rows, was_empty, done FROM rowferry.copy ORDER BY chunk`)); diff != "" {
		t.Errorf("progress (-want +got):\n%s", diff)
	}
}

// TestCreatedTables: types the target knows stay, others become text, and hostile names of types stay names.
func TestCreatedTables(t *testing.T) {
	table := tableOf("made", "*id integer", "a numeric(10,2)", "b public.hstore", "c timestamp(3) with time zone", "d integer[]",
		"e mood", "f int); DROP TABLE accounts; --", "g text NOT NULL DEFAULT now()", `h "we ird"."x y"`, "i bit varying(3)", "j domain",
		`k "char"`, "l mood[]")
	column := func(name string) *schema.Column {
		for i := range table.Columns {
			if table.Columns[i].Name == name {
				return &table.Columns[i]
			}
		}
		panic(name)
	}
	column("j").Base = "character varying(20)"
	column("l").Kind, column("l").Elem = schema.KindArray, schema.KindEnum
	table.Schema = "new schema"
	for _, major := range []int{15, 18} {
		d := newDB(t, major, accountsDDL)
		c := d.copyTest(func(c *Config) { c.Tables.Create = true })
		if err := c.phase(schema.PhaseCopy, table, accounts); err != nil {
			t.Fatal(err)
		}
		got := d.lines(`SELECT attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute
			WHERE attrelid = '"new schema".made'::regclass AND attnum > 0 ORDER BY attnum`)
		want := []string{"id|integer|t", "a|numeric(10,2)|f", "b|text|f", "c|timestamp(3) with time zone|f", "d|integer[]|f", "e|text|f",
			"f|text|f", "g|text|f", "h|text|f", "i|bit varying(3)|f", "j|character varying(20)|f", `k|"char"|f`, "l|text|f"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Postgres %d (-want +got):\n%s", major, diff)
		}
		if diff := cmp.Diff([]string{`{"schema:\"new schema\"","table:\"new schema\".made"}`}, d.lines(`SELECT made FROM rowferry.ledger WHERE lane = 0`)); diff != "" {
			t.Errorf("made (-want +got):\n%s", diff)
		}
		_ = c.w.Close()
	}
}
