package debezium

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rowferry/rowferry/schema"
)

// columnOf is a nullable column of a type as Postgres spells it.
func columnOf(base string) schema.Column {
	c := schema.Column{Name: "c", Native: base, Base: base, Kind: schema.KindOpaque}
	if strings.HasSuffix(base, "[]") {
		c.Kind, c.Elem = schema.KindArray, schema.KindOpaque
	}
	if strings.Contains(base, "mood") {
		c.Labels = []string{"sad", "ok", "happy, very"}
		if c.Kind, c.Elem = schema.KindEnum, 0; strings.HasSuffix(base, "[]") {
			c.Kind, c.Elem = schema.KindArray, schema.KindEnum
		}
	}
	return c
}

// TestValues holds what Debezium writes for values of each type in each mode: as it was recorded, or for modes that were
// not, as its sources say.
func TestValues(t *testing.T) {
	tests := []struct{ modes, base, text, want string }{
		{base: "boolean", text: "t", want: "true"},
		{base: "smallint", text: "-32768", want: "-32768"},
		{base: "oid", text: "4000000000", want: "4000000000"},
		{base: "real", text: "3", want: "3.0"},
		{base: "real", text: "1e-45", want: "1.4e-45"},
		{base: "double precision", text: "-5e-324", want: "-4.9e-324"},
		{base: "double precision", text: "1e+23", want: "1.0e+23"},
		{base: "double precision", text: "1.5e+300", want: "1.5e+300"},
		{base: "double precision", text: "-Infinity", want: `"-Infinity"`},
		{base: "numeric(12,2)", text: "12345678.90", want: `"SZYC0g=="`},
		{base: "numeric(12,2)", text: "-0.01", want: `"/w=="`},
		{base: "numeric(12,2)", text: "0.00", want: `"AA=="`},
		{base: "numeric(12,2)", text: "-1.28", want: `"gA=="`},
		{base: "numeric(12,2)", text: "1.28", want: `"AIA="`},
		{base: "numeric(12,2)", text: "NaN", want: "null"},
		{base: "numeric(38,10)", text: "1234567890123456789012345678.0123456789", want: `"CUmw9vACMxPESZBOzGdFFQ=="`},
		{base: "numeric(38,10)", text: "-184467440737.0955161600", want: `"nAAAAAAAAAAA"`},
		{base: "numeric", text: "10.1100", want: `{"scale":2,"value":"A/M="}`},
		{base: "numeric", text: "100", want: `{"scale":0,"value":"ZA=="}`},
		{modes: "decimals=string", base: "numeric", text: "Infinity", want: `"POSITIVE_INFINITY"`},
		{modes: "decimals=string", base: "numeric(3,-2)", text: "100", want: `"100.` + strings.Repeat("0", 2046) + `"`},
		{modes: "decimals=double", base: "numeric(12,2)", text: "1234.50", want: "1234.5"},
		{modes: "decimals=double", base: "numeric", text: "NaN", want: `"NaN"`},
		{modes: "decimals=double", base: "numeric", text: "12345678", want: "1.2345678E7"},
		{base: "money", text: "-$1,234.11", want: `"/h3t"`},
		{base: "money", text: "($0.01)", want: `"/w=="`},
		{base: "money", text: "$9.999", want: `"A+g="`},
		{modes: "decimals=string", base: "money", text: "-$1,234.11", want: `"-1234.11"`},
		{modes: "decimals=double", base: "money", text: "$20.00", want: "20.0"},
		{base: "text", text: "a\"b\n", want: `"a\"b\n"`},
		{base: `"char"`, text: "x", want: `"x"`},
		{base: "bytea", text: `\x00ff10`, want: `"AP8Q"`},
		{modes: "binary=base64", base: "bytea", text: `\xfbff`, want: `"+/8="`},
		{modes: "binary=base64_url_safe", base: "bytea", text: `\xfbff`, want: `"-_8="`},
		{modes: "binary=hex", base: "bytea", text: `\xfbff`, want: `"fbff"`},
		{base: "date", text: "4713-01-01 BC", want: "-2440550"},
		{base: "date", text: "5874897-12-31", want: "2145042905"},
		{base: "date", text: "-infinity", want: "-2147472691"},
		{modes: "times=isostring", base: "date", text: "2017-09-15", want: `"2017-09-15Z"`},
		{modes: "times=isostring", base: "date", text: "0044-03-15 BC", want: `"-0043-03-15Z"`},
		{modes: "times=isostring", base: "date", text: "infinity", want: `"-5877611-06-21Z"`},
		{modes: "times=nanoseconds", base: "date", text: "1970-01-02", want: "1"},
		{base: "time(3) without time zone", text: "13:51:30.123", want: "49890123"},
		{base: "time without time zone", text: "24:00:00", want: "86400000000"},
		{modes: "times=adaptive_time_microseconds", base: "time(3) without time zone", text: "13:51:30.123", want: "49890123000"},
		{modes: "times=microseconds", base: "time(0) without time zone", text: "00:00:01", want: "1000000"},
		{modes: "times=nanoseconds", base: "time without time zone", text: "00:00:00.000001", want: "1000"},
		{modes: "times=isostring", base: "time without time zone", text: "04:05:11.789", want: `"04:05:11.789Z"`},
		{modes: "times=isostring", base: "time without time zone", text: "24:00:00", want: `"00:00:00Z"`},
		{base: "timestamp without time zone", text: "294276-12-31 23:59:59.999999", want: "-9223372036853775810"},
		{base: "timestamp without time zone", text: "infinity", want: "9223372036825200000"},
		{base: "timestamp(3) without time zone", text: "1969-12-31 23:59:59.999", want: "-1"},
		{modes: "times=connect", base: "timestamp without time zone", text: "1969-12-31 23:59:59.999999", want: "-1"},
		{modes: "times=connect", base: "timestamp without time zone", text: "-infinity", want: "-9223372036832400"},
		{modes: "times=microseconds", base: "timestamp(0) without time zone", text: "1970-01-01 00:00:01", want: "1000000"},
		{modes: "times=nanoseconds", base: "timestamp without time zone", text: "1970-01-01 00:00:01.5", want: "1500000000"},
		{modes: "times=nanoseconds", base: "timestamp without time zone", text: "infinity", want: "9223372036854775807"},
		{modes: "times=nanoseconds", base: "timestamp without time zone", text: "2262-04-11 23:47:16.854775", want: "9223372036854775000"},
		{modes: "times=nanoseconds", base: "timestamp without time zone", text: "2262-04-11 23:47:16.854776", want: "null"},
		{modes: "times=nanoseconds", base: "timestamp without time zone", text: "1677-09-21 00:12:43.145225", want: "-9223372036854775000"},
		{modes: "times=nanoseconds", base: "timestamp without time zone", text: "21016-11-04 13:51:30", want: "null"},
		{modes: "times=nanoseconds", base: "timestamp without time zone", text: "4713-01-01 00:00:00 BC", want: "null"},
		{modes: "times=isostring", base: "timestamp without time zone", text: "21016-11-04 13:51:30.12", want: `"+21016-11-04T13:51:30.12Z"`},
		{modes: "times=isostring", base: "timestamp without time zone", text: "-infinity", want: `"-290308-12-21T19:59:27.6Z"`},
		{base: "timestamp with time zone", text: "2016-11-04 11:51:30+00", want: `"2016-11-04T11:51:30.000000Z"`},
		{base: "timestamp(0) with time zone", text: "1999-12-31 23:30:00-02:30", want: `"2000-01-01T02:00:00Z"`},
		{base: "time with time zone", text: "00:00:00+15:59", want: `"08:01:00Z"`},
		{base: "time with time zone", text: "12:00:00.1+00", want: `"12:00:00.1Z"`},
		{base: "interval", text: "1 year 2 mons 3 days 04:05:06.78", want: "37091106780000"},
		{base: "interval", text: "-178000000 years", want: "-9223372036854775808"},
		{modes: "intervals=string", base: "interval", text: "-1 mons +2 days -03:04:05.6", want: `"P0Y-1M2DT-3H-4M-5.6S"`},
		{modes: "intervals=string", base: "interval day to second(3)", text: "00:00:00", want: `"P0Y0M0DT0H0M0S"`},
		{base: "bit(1)", text: "1", want: "true"},
		{base: "bit varying(1)", text: "0", want: "false"},
		{base: "bit(24)", text: "000000110000001000000001", want: `"AQID"`},
		{base: "bit varying", text: "0000", want: `""`},
		{base: "point", text: "(1,-2.5)", want: `{"x":1.0,"y":-2.5,"wkb":"AQEAAAAAAAAAAADwPwAAAAAAAATA","srid":null}`},
		{base: "public.mood", text: "happy, very", want: `"happy, very"`},
		{base: "ext.hstore", text: `"key4"=>"v\"4", "key5"=>NULL`, want: `"{\"key5\":null,\"key4\":\"v\\\"4\"}"`},
		{modes: "hstore=map", base: "ext.hstore", text: `"key4"=>"v4", "key5"=>NULL`, want: `{"key5":null,"key4":"v4"}`},
		{base: "ext.vector(3)", text: "[1,2.5,-3]", want: "[1.0,2.5,-3.0]"},
		{base: "ext.geometry", text: "0101000020E6100000000000000000F03F0000000000000040", want: `{"wkb":"AQEAACDmEAAAAAAAAAAA8D8AAAAAAAAAQA==","srid":4326}`},
		{modes: "unknown_types", base: "tsquery", text: "'a'", want: `"J2En"`},
		{modes: "unknown_types binary=hex", base: "circle", text: "<(0,0),1e-05>", want: `"3c28302e302c302e30292c312e30452d353e"`},
		{base: "integer[]", text: "[0:1]={7,NULL}", want: "[7,null]"},
		{base: "integer[]", text: "{{1,2},{3,4}}", want: "[null,null]"},
		{base: "text[]", text: `{"a,b","c\"d",NULL,"NULL",{g}}`, want: `["a,b","c\"d",null,"NULL","{g}"]`},
		{base: "numeric[]", text: "{1.50,NaN}", want: "null"},
		{base: "numeric(10,2)[]", text: "{1.20}", want: `["eA=="]`},
		{base: "time with time zone[]", text: "{23:59:59.999999+00,NULL}", want: `["23:59:59Z",null]`},
		{base: "timestamp with time zone[]", text: `{"2020-04-01 11:51:02+00",-infinity}`, want: `["2020-04-01T11:51:02.000000Z","+292269055-12-02T23:00:00.000000Z"]`},
		{base: "date[]", text: "{2017-09-15,infinity,-infinity}", want: "[17424,-622191234,-625821272]"},
		{modes: "times=isostring", base: "date[]", text: "{infinity}", want: `["+292278994-08-16Z"]`},
		{base: "public.mood[]", text: `{sad,"happy, very"}`, want: `["sad","happy, very"]`},
		{base: "public.mood[]", text: "{sad,NULL}", want: "null"},
		{modes: "unknown_types binary=hex", base: "public.posint[]", text: "{1,2}", want: `["31","32"]`},
		{base: "bit(3)[]", text: "{101}", want: "null"},
	}
	for _, tt := range tests {
		t.Run(strings.TrimSpace(tt.modes+" "+tt.base+" "+tt.text[:min(40, len(tt.text))]), func(t *testing.T) {
			cfg := configOf(tt.modes)
			from := columnOf(tt.base)
			c, ok := cfg.compile(&from)
			if !ok {
				t.Fatal("got a column that is left out, want one that is written")
			}
			batch := schema.NewBatch(nil)
			batch.Arena = append(batch.Arena, tt.text...)
			r, at := &Records{batch: batch}, place(&c, 0, 0)
			got := string(r.appendColumns(nil, []placed{at}, []schema.Value{schema.TextAt(0, len(tt.text))}))
			if diff := cmp.Diff(`{"c":`+tt.want+"}", got); diff != "" {
				t.Errorf("want -, got +\n%s", diff)
			}
			if !json.Valid([]byte(got)) {
				t.Errorf("got %s, which is no JSON", got)
			}
		})
	}
}

// configOf reads modes: decimals=string unknown_types.
func configOf(modes string) Config {
	c := Config{NullAsDefault: true, MoneyDigits: 2}.WithDefaults("p")
	for word := range strings.FieldsSeq(modes) {
		name, value, _ := strings.Cut(word, "=")
		for _, w := range c.words() {
			if w.path == name {
				*w.value = value
			}
		}
		c.UnknownTypes = c.UnknownTypes || name == "unknown_types"
	}
	return c
}

// TestLeftOut names types that Debezium leaves out.
func TestLeftOut(t *testing.T) {
	unknown := configOf("unknown_types")
	for _, tt := range []struct {
		base  string
		never bool // even with unknown_types
	}{
		{base: "tsquery"}, {base: "box"}, {base: "public.pair"}, {base: "xid8"}, {base: "public.posint[]"}, {base: "box[]"},
		{base: "interval[]", never: true}, {base: "money[]", never: true},
	} {
		from := columnOf(tt.base)
		cfg := configOf("")
		if _, ok := cfg.compile(&from); ok {
			t.Errorf("%s: got a column that is written, want none", tt.base)
		}
		if _, ok := unknown.compile(&from); ok == tt.never {
			t.Errorf("%s with unknown_types: got written %t, want %t", tt.base, ok, !tt.never)
		}
	}
}

// TestAbsentValues tells what stands for NULL and for what was not sent, and the default in the schema.
func TestAbsentValues(t *testing.T) {
	const placeholder = `"__debezium_unavailable_value"`
	tests := []struct {
		name, modes, base, expression string
		required                      bool
		null, unchanged, fallback     string
	}{
		{name: "nullable", base: "text", null: "null", unchanged: placeholder},
		{name: "required", base: "text", required: true, null: `""`, unchanged: placeholder},
		{name: "required time", base: "timestamp with time zone", required: true, null: `"1970-01-01T00:00:00Z"`, unchanged: `"1970-01-01T00:00:00Z"`},
		{name: "required number", base: "numeric(5,1)", required: true, null: `"AA=="`, unchanged: `"AA=="`},
		{name: "text default", base: "text", expression: "'Doe'::text", null: `"Doe"`, unchanged: placeholder, fallback: `"Doe"`},
		{name: "a quote ends it", base: "text", expression: "'it''s'::text", null: `"it"`, unchanged: placeholder, fallback: `"it"`},
		{name: "sequence", base: "integer", expression: "nextval('s'::regclass)", required: true, null: "0", unchanged: "0", fallback: "0"},
		{name: "numeric default", base: "numeric(12,2)", expression: "0", null: `"AA=="`, unchanged: `"AA=="`, fallback: `"AA=="`},
		{name: "too many digits", base: "numeric(12,2)", expression: "0.125", null: "null", unchanged: "null"},
		{name: "as text", modes: "decimals=string", base: "numeric(12,2)", expression: "0", null: `"0.00"`, unchanged: placeholder, fallback: `"0.00"`},
		{name: "structures have none", base: "numeric", expression: "1", null: "null", unchanged: "null"},
		{name: "NULL", base: "character varying(9)", expression: "NULL::character varying", null: "null", unchanged: placeholder},
		{name: "an enum's", base: "public.mood", expression: "'ok'::public.mood", null: `"ok"`, unchanged: placeholder, fallback: `"ok"`},
		{name: "a time's", base: "timestamp with time zone", expression: "'2024-02-29 10:34:56.789012+00'::timestamp with time zone",
			null: `"2024-02-29T10:34:56.789012Z"`, unchanged: `"2024-02-29T10:34:56.789012Z"`, fallback: `"2024-02-29T10:34:56.789012Z"`},
		{name: "now()", base: "timestamp with time zone", expression: "now()",
			null: `"1970-01-01T00:00:00.000000Z"`, unchanged: `"1970-01-01T00:00:00.000000Z"`, fallback: `"1970-01-01T00:00:00.000000Z"`},
		{name: "today", base: "date", expression: "CURRENT_DATE", null: "0", unchanged: "0", fallback: "0"},
		{name: "a time of today", base: "time without time zone", expression: "LOCALTIME", null: "0", unchanged: "0", fallback: "0"},
		{name: "now as text", base: "text", expression: "CURRENT_TIMESTAMP", null: `""`, unchanged: placeholder, fallback: `""`},
		{name: "another word", base: "text", expression: "CURRENT_USER", null: `"CURRENT_USER"`, unchanged: placeholder, fallback: `"CURRENT_USER"`},
		{name: "a schema's function", base: "integer", expression: "shop.next_id('a'::text)", null: "0", unchanged: "0", fallback: "0"},
		{name: "no literal", base: "integer", expression: "(1 + 2)", null: "null", unchanged: "null"},
		{name: "bool", base: "boolean", expression: "true", null: "true", unchanged: "true", fallback: "true"},
		{name: "bytes", base: "bytea", null: "null", unchanged: `"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ=="`},
		{name: "bytes as hex", modes: "binary=hex", base: "bytea", null: "null", unchanged: placeholder},
		{name: "bytes as base64", modes: "binary=base64", base: "bytea", null: "null", unchanged: "null"},
		{name: "texts", base: "text[]", null: "null", unchanged: "[" + placeholder + "]"},
		{name: "hstore", base: "x.hstore", null: "null", unchanged: `"{\"__debezium_unavailable_value\":\"__debezium_unavailable_value\"}"`},
		{name: "hstore as map", modes: "hstore=map", base: "x.hstore", null: "null", unchanged: "{" + placeholder + ":" + placeholder + "}"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := configOf(tt.modes)
			from := columnOf(tt.base)
			from.NotNull, from.Default = tt.required, tt.expression
			c, _ := cfg.compile(&from)
			got := []string{string(c.null), string(c.unchanged), string(c.schema.fallback)}
			if diff := cmp.Diff([]string{tt.null, tt.unchanged, tt.fallback}, got); diff != "" {
				t.Errorf("want -, got +\n%s", diff)
			}
		})
	}
	cfg := configOf("")
	cfg.NullAsDefault = false
	from := columnOf("text")
	from.Default = "'Doe'::text"
	if c, _ := cfg.compile(&from); string(c.null) != "null" || string(c.schema.fallback) != `"Doe"` {
		t.Errorf("without null_as_default: got %s for NULL, want null", c.null)
	}
}

// TestPlaceholders gives other ones.
func TestPlaceholders(t *testing.T) {
	cfg := configOf("")
	cfg.Placeholder = "hex:41ff"
	for base, want := range map[string]string{"bytea": `"Qf8="`, "integer[]": "[65,-1]", "bigint[]": "[65,-1]"} {
		from := columnOf(base)
		if c, _ := cfg.compile(&from); string(c.unchanged) != want {
			t.Errorf("%s: got %s, want %s", base, c.unchanged, want)
		}
	}
}

// TestAdjustedNames holds names that Avro does not allow.
func TestAdjustedNames(t *testing.T) {
	for _, tt := range []struct {
		name, mode, want string
		dots             bool
	}{
		{"a b.ü_1", "none", "a b.ü_1", true},
		{"a b.ü_1", "avro", "a_b.__1", true},
		{"a b.c", "avro", "a_b_c", false},
		{"1st", "avro", "_1st", false},
		{"1st", "avro", "_st", true},
		{"a b.ü_1", "avro_unicode", "a_u0020b._u00fc_u005f1", true},
		{"🐎", "avro_unicode", "_ud83d_udc0e", false},
	} {
		if got := adjusted(tt.name, tt.mode, tt.dots); got != tt.want {
			t.Errorf("%q in %s: got %q, want %q", tt.name, tt.mode, got, tt.want)
		}
	}
}

// TestConfigIsChecked names settings that are wrong.
func TestConfigIsChecked(t *testing.T) {
	bad := Config{Decimals: "exact", Skip: []string{"truncate", "drop"}, MoneyDigits: 40, Placeholder: "hex:4"}
	var got []string
	for _, err := range bad.Validate() {
		path, _, _ := strings.Cut(err.Error(), ":")
		got = append(got, path)
	}
	if diff := cmp.Diff([]string{"decimals", "skip", "money_digits", "placeholder"}, got); diff != "" {
		t.Errorf("want -, got +\n%s", diff)
	}
	if errs := (Config{}).Validate(); len(errs) > 0 {
		t.Errorf("got %v for a zero Config, want none", errs)
	}
}
