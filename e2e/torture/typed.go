package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// typedTable has a column of each type that the JDBC sink can hold.
const typedTable = "typed"

// typedBefore is what has to be there, at both sides, before the table.
const typedBefore = `
CREATE EXTENSION hstore;
CREATE EXTENSION citext;
CREATE EXTENSION ltree;
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy, very')`

// typedColumn is a column and values that are written into it, as SQL has them. NULL is one more.
type typedColumn struct {
	kind   string // and what a definition has behind it
	values []string
}

// typed are the columns beside the key, c0 and so on.
var typed = []typedColumn{
	{"boolean", []string{"true", "false"}},
	{"smallint", []string{"-32768", "32767", "0"}},
	{"integer", []string{"-2147483648", "2147483647"}},
	{"integer DEFAULT 7", []string{"8"}},
	{"bigint", []string{"-9223372036854775808", "9223372036854775807"}},
	{"oid", []string{"4294967295", "0"}},
	{"real", []string{"'-3.4028235e38'", "'1e-45'", "0.1"}},
	{"double precision", []string{"'-1.7976931348623157e308'", "'5e-324'", "0.1", "1e21"}},
	{"numeric(12,2)", []string{"-9999999999.99", "0.01", "0"}},
	{"numeric(38,10)", []string{"1234567890123456789012345678.0123456789", "-1.5"}},
	{"numeric(5)", []string{"-99999", "0"}},
	{"text DEFAULT 'none'", []string{"'some'"}},
	{"text", []string{`E'a "quote", a \\ and a\ttab\nline'`, "''", "'žluťoučký 🐎'", "'null'"}},
	{"character varying(20)", []string{"'text'", "''"}},
	{"character(6)", []string{"'ab'", "'abcdef'"}},
	{"bytea", []string{`'\x00ff7f80'`, `'\x'`}},
	{"date", []string{"'2016-11-04'", "'1700-01-01'", "'9999-12-31'"}},
	{"time", []string{"'13:51:30.123456'", "'00:00:00'", "'23:59:59.999999'"}},
	{"time(3)", []string{"'13:51:30.123'", "'23:59:59.999'"}},
	{"timestamp", []string{"'2016-11-04 13:51:30.123456'", "'1969-12-31 23:59:59.999999'", "'1700-01-01'"}},
	{"timestamp(3)", []string{"'2016-11-04 13:51:30.123'", "'1969-12-31 23:59:59.999'"}},
	{"timestamptz", []string{"'2016-11-04 13:51:30.123456+02'", "'1900-01-01 00:00:00+00'", "'infinity'"}},
	{"timetz", []string{"'13:51:30.123456+00'"}},
	{"interval", []string{"'1 year 2 mons 3 days 04:05:06.789'", "'-1 day'", "'00:00:00'"}},
	{"uuid", []string{"'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"}},
	{"json", []string{`'{"a" : [1, "x"]}'`, "'[]'", "'null'"}},
	{"jsonb", []string{`'{"b": null, "a": 1.50}'`, `'"text"'`}},
	{"xml", []string{`'<a b="c">d</a>'`}},
	{"mood", []string{"'sad'", "'happy, very'"}},
	{"inet", []string{"'192.168.2.1/12'", "'::1'"}},
	{"cidr", []string{"'10.0.0.0/8'"}},
	{"macaddr", []string{"'08:00:2b:01:02:03'"}},
	{"macaddr8", []string{"'08:00:2b:01:02:03:04:05'"}},
	{"tsvector", []string{"'a:1A b:2'"}},
	{"ltree", []string{"'Top.Sub_1'"}},
	{"citext", []string{"'MiXed'"}},
	{"hstore", []string{`'"k 1"=>"v 1", k2=>""'`, "''"}},
	{"int4range", []string{"'[1,10)'", "'empty'"}},
	{"tstzrange", []string{"'[2020-01-01 00:00:00+00,)'"}},
	{"bit(1)", []string{"B'1'", "B'0'"}},
	{"bit(7)", []string{"B'0000001'"}},
	{"bit varying", []string{"B'1010'", "B''"}},
	{"integer[]", []string{"'{1,NULL,-3}'", "'{}'"}},
	{"text[]", []string{`ARRAY['a,b', 'c"d', '', 'NULL', 'ü']`, "'{}'"}},
	{"boolean[]", []string{"'{t,f}'"}},
	{"smallint[]", []string{"'{-1}'"}},
	{"bigint[]", []string{"'{9223372036854775807}'"}},
	{"real[]", []string{"'{0.5}'"}},
	{"double precision[]", []string{"'{0.1}'"}},
	{"uuid[]", []string{"'{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'"}},
	{"jsonb[]", []string{`ARRAY['{"a": 1}']::jsonb[]`}},
	{"mood[]", []string{`'{sad,"happy, very"}'`}},
	{"int4range[]", []string{"ARRAY['[1,2)']::int4range[]"}},
}

// typedDefinition makes the table.
func typedDefinition() string {
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE TABLE %s (id bigint PRIMARY KEY", typedTable)
	for i, c := range typed {
		fmt.Fprintf(&b, ", c%d %s", i, c.kind)
	}
	b.WriteString(")")
	return b.String()
}

// typedTransaction is the n-th transaction, from 1: a row is made, others change in some columns or in their keys, or go.
func typedTransaction(random *rand.Rand, n int) string {
	value := func(c typedColumn) string {
		if random.IntN(5) == 0 {
			return "NULL"
		}
		return c.values[random.IntN(len(c.values))]
	}
	var b strings.Builder
	fmt.Fprintf(&b, "INSERT INTO %s VALUES (%d", typedTable, n)
	for _, c := range typed {
		b.WriteString(", " + value(c))
	}
	b.WriteString(")")
	changed := random.IntN(len(typed))
	fmt.Fprintf(&b, "; UPDATE %s SET c%d = %s WHERE id = %d", typedTable, changed, value(typed[changed]), n-1-random.IntN(20))
	if n%3 == 0 {
		fmt.Fprintf(&b, "; UPDATE %s SET id = -id WHERE id = %d", typedTable, n-30)
	}
	if n%4 == 0 {
		fmt.Fprintf(&b, "; DELETE FROM %s WHERE abs(id) = %d", typedTable, n-40)
	}
	return b.String()
}
