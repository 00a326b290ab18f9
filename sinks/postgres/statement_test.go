package postgres

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/sinks/apply"
)

var update = flag.Bool("update", false, "rewrite golden files")

// statementCases are tables, each with the statements of every kind for it. Every statement is also prepared on a
// real server, with the types the writer gives its values.
var statementCases = []struct {
	name, ddl string
	table     *schema.Table
	columns   []int // written by updates
}{
	{
		name: "simple", ddl: `CREATE TABLE simple (id int PRIMARY KEY, v text, n numeric(10,2))`,
		table: tableOf("simple", "*id integer", "v text", "n numeric"), columns: []int{1, 2},
	},
	{
		name: "only_key", ddl: `CREATE TABLE only_key (id int PRIMARY KEY)`, table: tableOf("only_key", "*id integer"),
	},
	{
		name:  "composite_key_extra_column",
		ddl:   `CREATE TABLE composite_key_extra_column (a int, b text, v int, extra int DEFAULT 7, PRIMARY KEY (b, a))`,
		table: tableOf("composite_key_extra_column", "*a integer", "*b text", "v integer"), columns: []int{2},
	},
	{
		name: "odd_names", ddl: `CREATE TABLE "odd""; DROP TABLE x--" ("se""lect" int PRIMARY KEY, "a.b $1" text)`,
		table: tableOf(`odd"; DROP TABLE x--`, `*se"lect integer`, "a.b text"), columns: []int{1},
	},
	{
		name: "casts", ddl: `CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN short AS varchar(3);
			CREATE TABLE casts (id short PRIMARY KEY, tags int[], place box, m mood, c char(4), b bit(3))`,
		table:   tableOf("casts", "*id text", "tags integer[]", "place box", "m mood", "c character(4)", "b bit(3)"),
		columns: []int{1, 2, 3, 4, 5},
	},
	{
		name: "fixed_key", ddl: `CREATE TABLE fixed_key (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text)`,
		table: tableOf("fixed_key", "*id integer", "v text"), columns: []int{0, 1},
	},
	{
		name: "fixed_beside_key",
		ddl: `CREATE TABLE fixed_beside_key (id int PRIMARY KEY, n int GENERATED ALWAYS AS IDENTITY, v text,
			w text GENERATED ALWAYS AS (v || '!') STORED, extra int)`,
		table: tableOf("fixed_beside_key", "*id integer", "n integer", "v text"), columns: []int{1, 2},
	},
	{
		name: "no_key", ddl: `CREATE TABLE no_key (a int NOT NULL, b numeric, c json, d text)`,
		table: full(tableOf("no_key", "a integer", "b numeric", "c json", "d text")), columns: []int{0, 1, 2, 3},
	},
	{
		name:  "partitioned",
		ddl:   `CREATE TABLE partitioned (id int, v text) PARTITION BY LIST (id)`,
		table: full(tableOf("partitioned", "id integer", "v text")), columns: []int{0, 1},
	},
}

func TestStatements(t *testing.T) {
	for _, tt := range statementCases {
		t.Run(tt.name, func(t *testing.T) {
			if tt.name == "odd_names" {
				tt.table.Columns[1].Name = "a.b $1"
			}
			d := newDB(t, 15, tt.ddl)
			s := d.stream(nil)
			l := s.w.lanes[0]
			p, err := l.plan(testContext(t), tt.table)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, st := range allStatements(l, p, tt.columns) {
				got += st.sql + ";\n"
				if _, err := l.conn.Prepare(testContext(t), st.name, st.sql, st.oids); err != nil {
					t.Errorf("preparing %s: %v", st.sql, err)
				}
			}
			golden(t, filepath.Join("testdata", "statement", tt.name+".sql"), got)
		})
	}
}

// allStatements makes every kind of statement for a table.
func allStatements(l *lane, p *plan, columns []int) []*statement {
	var all []int
	for i := range p.table.Source.Columns {
		if p.table.Writable(i) {
			all = append(all, i)
		}
	}
	fixed := false
	for _, i := range columns {
		fixed = fixed || p.table.Fixed(i)
	}
	steps := []apply.Step{
		{Op: apply.Insert, Shape: &apply.Shape{Columns: all}},
		{Op: apply.Update, Shape: &apply.Shape{Columns: columns, Special: fixed}},
		{Op: apply.Delete},
	}
	var out []*statement
	for i := range steps {
		steps[i].Table = p.table
		out = append(out, l.statementFor(p, &steps[i], false))
		if i != 1 || !fixed && len(columns) > 0 {
			if !p.table.Whole || i == 0 {
				out = append(out, l.statementFor(p, &steps[i], true))
			}
		}
	}
	return out
}

// golden compares with a golden file, or rewrites it.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func TestCopyAndTruncateStatements(t *testing.T) {
	d := newDB(t, 15, `CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int) PARTITION BY LIST (id)`)
	l := d.stream(nil).w.lanes[0]
	var plans []*plan
	for _, name := range []string{"a", "b"} {
		p, err := l.plan(testContext(t), tableOf(name, "*id integer"))
		if err != nil {
			t.Fatal(err)
		}
		plans = append(plans, p)
	}
	got := []string{copyRows(plans[0], []int{0}), truncateTables(plans, false), truncateTables(plans[:1], true)}
	want := []string{
		`COPY "public"."a" ("id") FROM STDIN`,
		`TRUNCATE ONLY "public"."a", "public"."b"`,
		`TRUNCATE ONLY "public"."a" RESTART IDENTITY`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCreateTable(t *testing.T) {
	table := tableOf(`odd"name`, "*b integer", "*a text", "c numeric")
	table.Columns[0].KeyPart, table.Columns[1].KeyPart = 2, 1
	index := tableOf("by_index", "*a integer", "b text")
	index.Columns[0].KeyPart, index.Identity = 0, schema.IdentityIndex
	got := createTable(table, []string{"integer", "text", "numeric"}) + "\n" + createTable(index, []string{"integer", "text"})
	want := strings.Join([]string{
		`CREATE TABLE "public"."odd""name" ("b" integer NOT NULL, "a" text NOT NULL, "c" numeric, PRIMARY KEY ("a", "b"))`,
		`CREATE TABLE "public"."by_index" ("a" integer NOT NULL, "b" text, UNIQUE ("a"))`,
	}, "\n")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
