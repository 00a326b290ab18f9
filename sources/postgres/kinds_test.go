package postgres

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/rowferry/rowferry/e2e/servers"
	"github.com/rowferry/rowferry/schema"
)

// typeCase is one column type and what it has to be read as.
type typeCase struct {
	declared  string
	kind      schema.Kind
	elem      schema.Kind
	native    string // declared when empty
	base      string // native when empty
	precision int32
	scale     int32
	labels    []string
}

// typeCases are the built-in types, and some of our own and of extensions.
var typeCases = []typeCase{
	{declared: "boolean", kind: schema.KindBool, precision: -1},
	{declared: "bytea", kind: schema.KindBytes, precision: -1},
	{declared: `"char"`, kind: schema.KindText, precision: -1},
	{declared: "name", kind: schema.KindText, precision: -1},
	{declared: "bigint", kind: schema.KindInt64, precision: -1},
	{declared: "smallint", kind: schema.KindInt16, precision: -1},
	{declared: "integer", kind: schema.KindInt32, precision: -1},
	{declared: "int2vector", kind: schema.KindOpaque, precision: -1},
	{declared: "oidvector", kind: schema.KindOpaque, precision: -1},
	{declared: "regproc", kind: schema.KindOpaque, precision: -1},
	{declared: "regclass", kind: schema.KindOpaque, precision: -1},
	{declared: "text", kind: schema.KindText, precision: -1},
	{declared: "oid", kind: schema.KindUint32, precision: -1},
	{declared: "xid", kind: schema.KindUint32, precision: -1},
	{declared: "cid", kind: schema.KindUint32, precision: -1},
	{declared: "xid8", kind: schema.KindUint64, precision: -1},
	{declared: "tid", kind: schema.KindOpaque, precision: -1},
	{declared: "json", kind: schema.KindJSON, precision: -1},
	{declared: "jsonb", kind: schema.KindJSON, precision: -1},
	{declared: "jsonpath", kind: schema.KindOpaque, precision: -1},
	{declared: "xml", kind: schema.KindXML, precision: -1},
	{declared: "point", kind: schema.KindGeometry, precision: -1},
	{declared: "lseg", kind: schema.KindGeometry, precision: -1},
	{declared: "path", kind: schema.KindGeometry, precision: -1},
	{declared: "box", kind: schema.KindGeometry, precision: -1},
	{declared: "polygon", kind: schema.KindGeometry, precision: -1},
	{declared: "line", kind: schema.KindGeometry, precision: -1},
	{declared: "circle", kind: schema.KindGeometry, precision: -1},
	{declared: "real", kind: schema.KindFloat32, precision: -1},
	{declared: "double precision", kind: schema.KindFloat64, precision: -1},
	{declared: "money", kind: schema.KindOpaque, precision: -1},
	{declared: "macaddr", kind: schema.KindNetwork, precision: -1},
	{declared: "macaddr8", kind: schema.KindNetwork, precision: -1},
	{declared: "inet", kind: schema.KindNetwork, precision: -1},
	{declared: "cidr", kind: schema.KindNetwork, precision: -1},
	{declared: "character(3)", kind: schema.KindText, precision: -1},
	{declared: "character varying", kind: schema.KindText, precision: -1},
	{declared: "character varying(20)", kind: schema.KindText, precision: -1},
	{declared: "date", kind: schema.KindDate, precision: -1},
	{declared: "time without time zone", kind: schema.KindTime, precision: 6},
	{declared: "time(3) without time zone", kind: schema.KindTime, precision: 3},
	{declared: "time with time zone", kind: schema.KindTimeTZ, precision: 6},
	{declared: "timestamp without time zone", kind: schema.KindTimestamp, precision: 6},
	{declared: "timestamp(0) without time zone", kind: schema.KindTimestamp, precision: 0},
	{declared: "timestamp with time zone", kind: schema.KindTimestampTZ, precision: 6},
	{declared: "timestamp(3) with time zone", kind: schema.KindTimestampTZ, precision: 3},
	{declared: "interval", kind: schema.KindInterval, precision: 6},
	{declared: "interval(2)", kind: schema.KindInterval, precision: 2},
	{declared: "interval day to second(1)", kind: schema.KindInterval, precision: 1},
	{declared: "bit(4)", kind: schema.KindBits, precision: -1},
	{declared: "bit varying(8)", kind: schema.KindBits, precision: -1},
	{declared: "numeric", kind: schema.KindDecimal, precision: -1},
	{declared: "numeric(10,2)", kind: schema.KindDecimal, precision: 10, scale: 2},
	{declared: "numeric(3,-2)", kind: schema.KindDecimal, precision: 3, scale: -2},
	{declared: "numeric(3,5)", kind: schema.KindDecimal, precision: 3, scale: 5},
	{declared: "uuid", kind: schema.KindUUID, precision: -1},
	{declared: "pg_lsn", kind: schema.KindOpaque, precision: -1},
	{declared: "tsvector", kind: schema.KindOpaque, precision: -1},
	{declared: "tsquery", kind: schema.KindOpaque, precision: -1},
	{declared: "txid_snapshot", kind: schema.KindOpaque, precision: -1},
	{declared: "pg_snapshot", kind: schema.KindOpaque, precision: -1},
	{declared: "refcursor", kind: schema.KindOpaque, precision: -1},
	{declared: "aclitem", kind: schema.KindOpaque, precision: -1},
	{declared: "int4range", kind: schema.KindRange, elem: schema.KindInt32, precision: -1},
	{declared: "numrange", kind: schema.KindRange, elem: schema.KindDecimal, precision: -1},
	{declared: "tstzrange", kind: schema.KindRange, elem: schema.KindTimestampTZ, precision: -1},
	{declared: "datemultirange", kind: schema.KindRange, elem: schema.KindDate, precision: -1},
	{declared: "integer[]", kind: schema.KindArray, elem: schema.KindInt32, precision: -1},
	{declared: "numeric(10,2)[]", kind: schema.KindArray, elem: schema.KindDecimal, precision: -1},
	{declared: "text[]", kind: schema.KindArray, elem: schema.KindText, precision: -1},
	{declared: "box[]", kind: schema.KindArray, elem: schema.KindGeometry, precision: -1},
	{declared: "public.mood", kind: schema.KindEnum, precision: -1, labels: []string{"sad", "it's \"ok\"", "happy"}},
	{declared: "public.mood[]", kind: schema.KindArray, elem: schema.KindEnum, precision: -1, labels: []string{"sad", "it's \"ok\"", "happy"}},
	{declared: "public.pair", kind: schema.KindComposite, precision: -1},
	{declared: "public.pair[]", kind: schema.KindArray, elem: schema.KindComposite, precision: -1},
	{declared: "public.positive", kind: schema.KindInt32, base: "integer", precision: -1},
	{declared: "public.price", kind: schema.KindDecimal, base: "numeric(8,3)", precision: 8, scale: 3},
	{declared: "public.nested", kind: schema.KindDecimal, base: "numeric(8,3)", precision: 8, scale: 3},
	{declared: "public.feeling", kind: schema.KindEnum, base: "public.mood", precision: -1, labels: []string{"sad", "it's \"ok\"", "happy"}},
	{declared: "public.numbers", kind: schema.KindArray, elem: schema.KindInt32, base: "integer[]", precision: -1},
	{declared: "public.positive[]", kind: schema.KindArray, elem: schema.KindInt32, precision: -1},
	{declared: "public.floats", kind: schema.KindRange, elem: schema.KindFloat64, precision: -1},
	{declared: `"odd ""schema"""."odd.type"`, kind: schema.KindEnum, precision: -1, labels: []string{"x"}},
	{declared: "public.citext", kind: schema.KindText, precision: -1},
	{declared: "public.hstore", kind: schema.KindOpaque, precision: -1},
	{declared: "public.ltree", kind: schema.KindOpaque, precision: -1},
}

func TestKinds(t *testing.T) {
	for _, major := range majors {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			url := servers.ForTest(t, major).NewDatabase(t)
			servers.Exec(t, url,
				`CREATE EXTENSION citext`, `CREATE EXTENSION hstore`, `CREATE EXTENSION ltree`,
				`CREATE TYPE mood AS ENUM ('sad', 'it''s "ok"', 'happy')`, `CREATE TYPE pair AS (a int, b text)`,
				`CREATE DOMAIN positive AS int CHECK (VALUE > 0)`, `CREATE DOMAIN price AS numeric(8,3)`,
				`CREATE DOMAIN nested AS price NOT NULL`, `CREATE DOMAIN feeling AS mood`, `CREATE DOMAIN numbers AS int[]`,
				`CREATE TYPE floats AS RANGE (subtype = float8)`, `CREATE SCHEMA "odd ""schema"""`,
				`CREATE TYPE "odd ""schema"""."odd.type" AS ENUM ('x')`)
			var columns []string
			for i, c := range typeCases {
				columns = append(columns, fmt.Sprintf("c%d %s", i, c.declared))
			}
			servers.Exec(t, url, "CREATE TABLE t ("+strings.Join(columns, ", ")+")")
			version := readOne(t, newSource(t, url, nil), "t")
			m := messageOf(version)
			for i, c := range typeCases {
				want := schema.Column{
					Name: fmt.Sprintf("c%d", i), Kind: c.kind, Elem: c.elem, Native: c.native, Base: c.base, Labels: c.labels,
					Precision: c.precision, Scale: c.scale, Initial: schema.Initial{Known: true},
				}
				if want.Native == "" {
					want.Native = c.declared
				}
				if want.Base == "" {
					want.Base = want.Native
				}
				got := version.table.Columns[i]
				if len(got.Labels) == 0 {
					got.Labels = nil
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", c.declared, diff)
				}
			}
			// The same definition must come out of the log alone, or versions would flap.
			s := newSource(t, url, nil)
			ctx := within(t, 10*time.Second)
			conn, err := s.open(ctx)
			if err != nil {
				t.Fatal(err)
			}
			defer closeConn(conn.PgConn())
			r := &resolver{source: s, version: major * 10000}
			built, err := r.fromMessage(ctx, conn, m, tableVersion{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(version.table, built.table, cmpopts.IgnoreFields(schema.Column{}, "Initial")); diff != "" {
				t.Errorf("from a message (-catalog +message):\n%s", diff)
			}
		})
	}
}

// readOne reads the present version of a table of schema public.
func readOne(t testing.TB, s *Source, name string) tableVersion {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	conn, err := s.open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer closeConn(conn.PgConn())
	relations, err := readRelations(ctx, conn, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range relations {
		if r.schema != "public" || r.name != name {
			continue
		}
		versions, err := readTables(ctx, conn, []definition{{relation: r}}, false)
		if err != nil {
			t.Fatal(err)
		}
		return versions[0]
	}
	t.Fatalf("there is no table %s", name)
	return tableVersion{}
}

// messageOf is the Relation message the server would send for a version.
func messageOf(v tableVersion) *relation {
	m := &relation{namespace: v.table.Schema, name: v.table.Name, identity: v.identity}
	for i := range v.columns {
		c := &v.columns[i]
		m.oid = c.table
		m.columns = append(m.columns, relationColumn{name: c.Name, typeOID: c.typ, typmod: c.typmod, key: c.Ident})
	}
	return m
}

func TestKeysAndIdentities(t *testing.T) {
	type column struct {
		Name             string
		Part             int16
		Ident, Null, Gen bool
	}
	tests := []struct {
		name     string
		ddl      []string
		identity schema.Identity
		columns  []column
	}{
		{
			name:     "key in another order",
			ddl:      []string{`CREATE TABLE t (a int, b int, c int, PRIMARY KEY (c, a))`},
			identity: schema.IdentityDefault,
			columns:  []column{{"a", 2, true, false, false}, {"b", 0, false, true, false}, {"c", 1, true, false, false}},
		},
		{
			name:     "no key",
			ddl:      []string{`CREATE TABLE t (a int)`},
			identity: schema.IdentityDefault, columns: []column{{"a", 0, false, true, false}},
		},
		{
			name:     "deferrable key",
			ddl:      []string{`CREATE TABLE t (a int PRIMARY KEY DEFERRABLE)`},
			identity: schema.IdentityDefault, columns: []column{{"a", 1, false, false, false}},
		},
		{
			name:     "full",
			ddl:      []string{`CREATE TABLE t (a int PRIMARY KEY, b int)`, `ALTER TABLE t REPLICA IDENTITY FULL`},
			identity: schema.IdentityFull, columns: []column{{"a", 1, true, false, false}, {"b", 0, true, true, false}},
		},
		{
			name: "index",
			ddl: []string{`CREATE TABLE t (a int PRIMARY KEY, b int NOT NULL)`, `CREATE UNIQUE INDEX i ON t (b)`,
				`ALTER TABLE t REPLICA IDENTITY USING INDEX i`},
			identity: schema.IdentityIndex, columns: []column{{"a", 1, false, false, false}, {"b", 0, true, false, false}},
		},
		{
			name:     "nothing",
			ddl:      []string{`CREATE TABLE t (a int PRIMARY KEY)`, `ALTER TABLE t REPLICA IDENTITY NOTHING`},
			identity: schema.IdentityNothing, columns: []column{{"a", 1, false, false, false}},
		},
		{
			name: "dropped and generated columns",
			ddl: []string{`CREATE TABLE t (x int, a int PRIMARY KEY, g int GENERATED ALWAYS AS (a + 1) STORED, z int)`,
				`ALTER TABLE t DROP COLUMN x`},
			identity: schema.IdentityDefault, columns: []column{{"a", 1, true, false, false}, {"z", 0, false, true, false}},
		},
	}
	url := servers.ForTest(t, 15).NewDatabase(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			servers.Exec(t, url, append([]string{`DROP TABLE IF EXISTS t`}, test.ddl...)...)
			v := readOne(t, newSource(t, url, nil), "t")
			if v.table.Identity != test.identity {
				t.Errorf("got identity %d, want %d", v.table.Identity, test.identity)
			}
			var got []column
			for _, c := range v.table.Columns {
				got = append(got, column{c.Name, c.KeyPart, c.Ident, !c.NotNull, c.Generated})
			}
			if diff := cmp.Diff(test.columns, got); diff != "" {
				t.Errorf("columns (-want +got):\n%s", diff)
			}
		})
	}
}

// TestUniqueKeys: a table without a primary key is told with the columns of one unique index, in its order.
func TestUniqueKeys(t *testing.T) {
	tests := []struct {
		name string
		ddl  []string
		want []string
	}{
		{"none", []string{`CREATE TABLE t (a int, b int)`, `CREATE INDEX x ON t (a)`}, nil},
		{"in its order", []string{`CREATE TABLE t (a int, b int, c int)`, `CREATE UNIQUE INDEX x ON t (c, a)`}, []string{"c", "a"}},
		{"the first by name", []string{`CREATE TABLE t (a int, b int)`, `CREATE UNIQUE INDEX y ON t (a)`, `CREATE UNIQUE INDEX x ON t (b)`}, []string{"b"}},
		{"a clustered one before", []string{
			`CREATE TABLE t (a int, b int)`, `CREATE UNIQUE INDEX y ON t (a)`, `CREATE UNIQUE INDEX x ON t (b)`, `ALTER TABLE t CLUSTER ON y`,
		}, []string{"a"}},
		{"no expression", []string{`CREATE TABLE t (a int, b int)`, `CREATE UNIQUE INDEX x ON t (abs(b))`, `CREATE UNIQUE INDEX y ON t (a)`}, []string{"a"}},
		{"a primary key says it all", []string{`CREATE TABLE t (a int PRIMARY KEY, b int UNIQUE)`}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			url := servers.ForTest(t, 15).NewDatabase(t)
			servers.Exec(t, url, tt.ddl...)
			table := readOne(t, newSource(t, url, nil), "t").table
			var got []string
			for _, i := range table.UniqueKey() {
				got = append(got, table.Columns[i].Name)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("want -, got +\n%s", diff)
			}
		})
	}
}
