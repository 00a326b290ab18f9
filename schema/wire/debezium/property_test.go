package debezium

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"math/bits"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/rowferry/rowferry/schema"
)

// node is a schema as a reader of Connect's JSON sees it.
type node struct {
	Type       string
	Optional   bool
	Name       string
	Parameters map[string]string
	Fields     []struct {
		node
		Field string
	}
	Items *node
}

// decode reads a value by its schema alone, and spells what it means: numbers as fractions, times as microseconds, bytes as
// hex. It knows nothing of how values are written.
func decode(s *node, v any) (string, error) {
	if v == nil {
		if !s.Optional {
			return "", fmt.Errorf("null where %s %s is required", s.Type, s.Name)
		}
		return "null", nil
	}
	if err := s.fits(v); err != nil {
		return "", err
	}
	text := fmt.Sprint(v)
	raw := func(text string) []byte {
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			panic(err)
		}
		return b
	}
	switch s.Name {
	case "org.apache.kafka.connect.data.Decimal":
		scale, err := strconv.Atoi(s.Parameters["scale"])
		return unscaled(raw(text), scale), err
	case "io.debezium.data.VariableScaleDecimal":
		o := v.(map[string]any)
		scale, err := strconv.Atoi(fmt.Sprint(o["scale"]))
		return unscaled(raw(o["value"].(string)), scale), err
	case "io.debezium.time.Date", "org.apache.kafka.connect.data.Date":
		return times(text, 24*time.Hour)
	case "io.debezium.time.Time", "org.apache.kafka.connect.data.Time", "io.debezium.time.Timestamp", "org.apache.kafka.connect.data.Timestamp":
		return times(text, time.Millisecond)
	case "io.debezium.time.MicroTime", "io.debezium.time.MicroTimestamp", "io.debezium.time.MicroDuration":
		return times(text, time.Microsecond)
	case "io.debezium.time.NanoTime", "io.debezium.time.NanoTimestamp":
		n, err := strconv.ParseInt(text, 10, 64)
		return strconv.FormatInt(n/1000, 10), err
	case "io.debezium.time.IsoDate":
		return parsed("2006-01-02Z", text)
	case "io.debezium.time.IsoTime", "io.debezium.time.ZonedTime":
		return parsed("2006-01-02 15:04:05.999999Z", "1970-01-01 "+text)
	case "io.debezium.time.IsoTimestamp", "io.debezium.time.ZonedTimestamp":
		return parsed("2006-01-02T15:04:05.999999Z", text)
	case "io.debezium.time.Interval":
		return isoInterval(text)
	case "io.debezium.data.Bits":
		return littleEndian(raw(text)), nil
	case "io.debezium.data.geometry.Point":
		o := v.(map[string]any)
		b := raw(o["wkb"].(string))
		for i, name := range []string{"x", "y"} { // both say the same
			f, err := o[name].(json.Number).Float64()
			if got := math.Float64frombits(binary.LittleEndian.Uint64(b[5+8*i:])); err != nil || got != f {
				return "", fmt.Errorf("%s is %v, and %v in wkb (%v)", name, f, got, err)
			}
		}
		return hex.EncodeToString(b[5:]), nil
	}
	switch s.Type {
	case "bytes":
		return hex.EncodeToString(raw(text)), nil
	case "array":
		var out []string
		for _, x := range v.([]any) {
			one, err := decode(s.Items, x)
			if err != nil {
				return "", err
			}
			if f, err := strconv.ParseFloat(one, 64); err == nil && s.Items.Type == "double" {
				one = fmt.Sprint("float ", f)
			}
			out = append(out, one)
		}
		return strings.Join(out, "|"), nil
	case "map":
		return pairs(v.(map[string]any)), nil
	}
	if s.Name == "io.debezium.data.Enum" && !slices.Contains(strings.Split(s.Parameters["allowed"], ","), text) {
		return "", fmt.Errorf("%q is not allowed", text)
	}
	return text, nil
}

// fits checks a value against the type it is said to have.
func (s *node) fits(v any) error {
	ok := false
	switch x := v.(type) {
	case bool:
		ok = s.Type == "boolean"
	case string:
		ok = s.Type == "string" || s.Type == "bytes" ||
			(s.Type == "float" || s.Type == "double") && slices.Contains([]string{"NaN", "Infinity", "-Infinity"}, x)
	case json.Number:
		bits, whole := map[string]int{"int16": 16, "int32": 32, "int64": 64}[s.Type]
		ok = s.Type == "float" || s.Type == "double"
		if whole {
			_, err := strconv.ParseInt(x.String(), 10, bits)
			ok = err == nil
		}
	case []any:
		ok = s.Type == "array"
	case map[string]any:
		ok = s.Type == "map" || s.Type == "struct" && len(x) == len(s.Fields)
		for _, f := range s.Fields {
			value, there := x[f.Field]
			ok = ok && there && (value != nil || f.Optional)
		}
	}
	if !ok {
		return fmt.Errorf("%v is no %s %s", v, s.Type, s.Name)
	}
	return nil
}

// unscaled is a decimal of which the digits come as two's complement.
func unscaled(b []byte, scale int) string {
	n := new(big.Int).SetBytes(b)
	if len(b) > 0 && b[0] >= 0x80 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	return new(big.Rat).SetFrac(n, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil)).RatString()
}

func times(text string, unit time.Duration) (string, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	return strconv.FormatInt(n*unit.Microseconds(), 10), err
}

func parsed(layout, text string) (string, error) {
	at, err := time.Parse(layout, text)
	return strconv.FormatInt(at.UnixMicro(), 10), err
}

var isoParts = regexp.MustCompile(`^P(-?\d+)Y(-?\d+)M(-?\d+)DT(-?\d+)H(-?\d+)M(-?[\d.]+)S$`)

// isoInterval is an interval without months in microseconds.
func isoInterval(text string) (string, error) {
	found := isoParts.FindStringSubmatch(text)
	if found == nil {
		return "", fmt.Errorf("%q is no interval", text)
	}
	total := new(big.Rat)
	for i, seconds := range []int64{0, 0, 86400, 3600, 60, 1} {
		n, _ := new(big.Rat).SetString(found[i+1])
		total.Add(total, n.Mul(n, big.NewRat(seconds*1_000_000, 1)))
	}
	return total.RatString(), nil
}

// littleEndian is bits without those at the front that are 0.
func littleEndian(b []byte) string {
	slices.Reverse(b)
	return new(big.Int).SetBytes(b).Text(2)
}

func pairs(m map[string]any) string {
	var out []string
	for k, v := range m {
		out = append(out, fmt.Sprintf("%q=%v", k, v))
	}
	slices.Sort(out)
	return strings.Join(out, ",")
}

// drawn is a value: as Postgres spells it, and what a reader has to find.
type drawn struct{ text, means string }

// drawable is a type of which values can be drawn. What they mean depends on how they are to be written.
type drawable struct {
	base string
	draw func(t *rapid.T, c *Config) drawn
}

func drawText(t *rapid.T) string {
	return strings.Map(func(r rune) rune {
		if r == 0 || r == utf8.RuneError {
			return 'x'
		}
		return r
	}, rapid.String().Draw(t, "text"))
}

func drawInt(bits int) func(*rapid.T, *Config) drawn {
	return func(t *rapid.T, _ *Config) drawn {
		n := rapid.Int64Range(-1<<(bits-1), 1<<(bits-1)-1).Draw(t, "integer")
		return drawn{strconv.FormatInt(n, 10), strconv.FormatInt(n, 10)}
	}
}

// drawDecimal draws numbers of up to 80 digits, scale of them behind the point; -1 for any.
func drawDecimal(scale int) func(*rapid.T, *Config) drawn {
	return func(t *rapid.T, c *Config) drawn {
		places := scale
		if scale < 0 {
			places = rapid.IntRange(0, 30).Draw(t, "scale")
		}
		digits := rapid.StringMatching(`[1-9]\d{0,49}|0`).Draw(t, "digits")
		text := rapid.SampledFrom([]string{"", "-"}).Draw(t, "sign") + digits
		if places > 0 {
			text += "." + rapid.StringMatching(fmt.Sprintf(`\d{%d}`, places)).Draw(t, "fraction")
		}
		exact, _ := new(big.Rat).SetString(text)
		switch c.Decimals {
		case "string":
			return drawn{text, text}
		case "double":
			f, _ := strconv.ParseFloat(text, 64)
			return drawn{text, fmt.Sprint("float ", f)}
		}
		return drawn{text, exact.RatString()}
	}
}

func drawFloat(bits int) func(*rapid.T, *Config) drawn {
	return func(t *rapid.T, _ *Config) drawn {
		f := math.Float64frombits(rapid.Uint64().Draw(t, "bits"))
		if bits == 32 {
			f = float64(math.Float32frombits(rapid.Uint32().Draw(t, "bits")))
		}
		switch {
		case math.IsNaN(f):
			return drawn{"NaN", "float NaN"}
		case math.IsInf(f, 0):
			return drawn{strings.TrimPrefix(fmt.Sprint(f), "+") + "inity", fmt.Sprint("float ", f)}
		}
		return drawn{strconv.FormatFloat(f, 'g', -1, bits), fmt.Sprint("float ", f)}
	}
}

// drawTime draws moments between the years 1 and 9999, in the precision given.
func drawTime(layout string, date, clock bool, precision int) func(*rapid.T, *Config) drawn {
	return func(t *rapid.T, c *Config) drawn {
		low, high := int64(-62135596800), int64(253402300799)
		if c.Times == "nanoseconds" {
			low, high = -9223372036, 9223372035
		}
		if !date {
			low, high = 0, 86399
		}
		at := time.Unix(rapid.Int64Range(low, high).Draw(t, "second"), 0).UTC()
		if clock {
			at = at.Add(time.Duration(rapid.IntRange(0, 999_999).Draw(t, "micros")) * time.Microsecond)
		} else {
			at = at.Truncate(24 * time.Hour)
		}
		unit := time.Duration(math.Pow10(6-precision)) * time.Microsecond
		at = at.Add(-time.Duration(at.Nanosecond()) % unit)
		text := at.Format(layout)
		if c.Times == "connect" && !strings.HasSuffix(layout, "-07") {
			at = at.Add(-time.Duration(at.Nanosecond()) % time.Millisecond)
		}
		return drawn{text, strconv.FormatInt(at.UnixMicro(), 10)}
	}
}

func drawBool(t *rapid.T, _ *Config) drawn {
	b := rapid.Bool().Draw(t, "bool")
	return drawn{strconv.FormatBool(b)[:1], strconv.FormatBool(b)}
}

// drawArray draws arrays of what needs no quotes as an element; some are NULL.
func drawArray(element func(*rapid.T, *Config) drawn) func(*rapid.T, *Config) drawn {
	return func(t *rapid.T, c *Config) drawn {
		var literal, means []string
		for range rapid.IntRange(0, 5).Draw(t, "elements") {
			d := drawn{"NULL", "null"}
			if rapid.IntRange(0, 5).Draw(t, "null") > 0 {
				d = element(t, c)
			}
			literal, means = append(literal, d.text), append(means, d.means)
		}
		return drawn{"{" + strings.Join(literal, ",") + "}", strings.Join(means, "|")}
	}
}

// unknown is what values mean of columns that are left out.
const unknown = "left out"

// drawUnknown draws values of types that Debezium does not know: the bytes of their text, if they are written.
func drawUnknown(t *rapid.T, c *Config) drawn {
	s := drawText(t)
	if !c.UnknownTypes {
		return drawn{s, unknown}
	}
	return drawn{s, hex.EncodeToString([]byte(s))}
}

func drawables() []drawable {
	text := func(t *rapid.T, _ *Config) drawn { s := drawText(t); return drawn{s, s} }
	return []drawable{
		{"boolean", drawBool},
		{"smallint", drawInt(16)}, {"integer", drawInt(32)}, {"bigint", drawInt(64)},
		{"real", drawFloat(32)}, {"double precision", drawFloat(64)},
		{"numeric(60,4)", drawDecimal(4)}, {"numeric(60,0)", drawDecimal(0)}, {"numeric", drawDecimal(-1)},
		{"text", text}, {"character varying(20)", text}, {"ext.citext", text}, {"json", text},
		{"jsonb", text}, {"xml", text}, {"inet", text}, {"macaddr", text}, {"int4range", text}, {"tsvector", text}, {"ext.ltree", text},
		{"oid", func(t *rapid.T, _ *Config) drawn {
			n := strconv.FormatUint(uint64(rapid.Uint32().Draw(t, "oid")), 10)
			return drawn{n, n}
		}},
		{"uuid", func(t *rapid.T, _ *Config) drawn {
			s := rapid.StringMatching(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`).Draw(t, "uuid")
			return drawn{s, s}
		}},
		{"money", func(t *rapid.T, c *Config) drawn {
			number := drawDecimal(2)(t, c)
			return drawn{strings.Replace("$"+number.text, "$-", "-$", 1), number.means}
		}},
		{"bit", func(t *rapid.T, _ *Config) drawn {
			b := rapid.Bool().Draw(t, "bit")
			return drawn{map[bool]string{true: "1", false: "0"}[b], strconv.FormatBool(b)}
		}},
		{"point", func(t *rapid.T, _ *Config) drawn {
			x, y := rapid.Float64Range(-1e6, 1e6).Draw(t, "x"), rapid.Float64Range(-1e6, 1e6).Draw(t, "y")
			return drawn{fmt.Sprintf("(%v,%v)", x, y), fmt.Sprintf("%016x%016x", bits.ReverseBytes64(math.Float64bits(x)), bits.ReverseBytes64(math.Float64bits(y)))}
		}},
		{"integer[]", drawArray(drawInt(32))}, {"bigint[]", drawArray(drawInt(64))}, {"boolean[]", drawArray(drawBool)},
		{"numeric(60,4)[]", drawArray(drawDecimal(4))}, {"date[]", drawArray(drawTime("2006-01-02", true, false, 0))},
		{"tsquery", drawUnknown}, {"public.pair", drawUnknown},
		{"bytea", func(t *rapid.T, _ *Config) drawn {
			b := hex.EncodeToString(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"))
			return drawn{`\x` + b, b}
		}},
		{"date", drawTime("2006-01-02", true, false, 0)},
		{"time without time zone", drawTime("15:04:05.999999", false, true, 6)},
		{"time(3) without time zone", drawTime("15:04:05.999999", false, true, 3)},
		{"timestamp without time zone", drawTime("2006-01-02 15:04:05.999999", true, true, 6)},
		{"timestamp(2) without time zone", drawTime("2006-01-02 15:04:05.999999", true, true, 2)},
		{"timestamp with time zone", drawTime("2006-01-02 15:04:05.999999-07", true, true, 6)},
		{"time with time zone", drawTime("15:04:05.999999-07", false, true, 6)},
		{"interval", func(t *rapid.T, c *Config) drawn {
			days, clock := rapid.IntRange(-1000, 1000).Draw(t, "days"), rapid.IntRange(0, 86_399_999).Draw(t, "clock")
			if c.Intervals == "numeric" { // which rounds fractions of a second
				clock -= clock % 1000
			}
			sign := rapid.SampledFrom([]int{1, -1}).Draw(t, "sign")
			at := time.UnixMilli(int64(clock)).UTC().Format("15:04:05.999")
			text := fmt.Sprintf("%d days %s", days, map[int]string{1: at, -1: "-" + at}[sign])
			return drawn{text, strconv.Itoa(days*86_400_000_000 + sign*clock*1000)}
		}},
		{"bit varying(70)", func(t *rapid.T, _ *Config) drawn {
			digits := rapid.StringMatching("[01]{0,70}").Draw(t, "bits")
			n, _ := new(big.Int).SetString("0"+digits, 2)
			return drawn{digits, n.Text(2)}
		}},
		{"public.mood", func(t *rapid.T, _ *Config) drawn {
			s := rapid.SampledFrom([]string{"sad", "ok"}).Draw(t, "label")
			return drawn{s, s}
		}},
		{"text[]", func(t *rapid.T, _ *Config) drawn {
			var literal, means []string
			for range rapid.IntRange(0, 5).Draw(t, "elements") {
				s := strings.ReplaceAll(drawText(t), "|", "")
				if s == "null" {
					literal, means = append(literal, "NULL"), append(means, s)
					continue
				}
				literal, means = append(literal, `"`+strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s)+`"`), append(means, s)
			}
			return drawn{"{" + strings.Join(literal, ",") + "}", strings.Join(means, "|")}
		}},
		{"ext.hstore", func(t *rapid.T, _ *Config) drawn {
			m, literal := map[string]any{}, []string{}
			quote := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
			for range rapid.IntRange(0, 40).Draw(t, "entries") {
				key, value := drawText(t), drawText(t)
				if _, twice := m[key]; !twice {
					m[key] = value
					literal = append(literal, `"`+quote.Replace(key)+`"=>"`+quote.Replace(value)+`"`)
				}
			}
			return drawn{strings.Join(literal, ", "), pairs(m)}
		}},
	}
}

// TestRowsSurvive encodes random rows of every type, in random modes, and reads them again by their schemas alone.
func TestRowsSurvive(t *testing.T) {
	types := drawables()
	rapid.Check(t, func(t *rapid.T) {
		cfg := configOf("")
		cfg.Schemas = true
		for _, w := range cfg.words() {
			*w.value = rapid.SampledFrom(w.words).Draw(t, w.path)
		}
		cfg.UnknownTypes, cfg.NullAsDefault = rapid.Bool().Draw(t, "unknown_types"), rapid.Bool().Draw(t, "null_as_default")
		cfg.MoneyDigits = rapid.IntRange(2, 6).Draw(t, "money_digits")
		table := &schema.Table{Schema: "public", Name: "t"}
		var values, want []string
		for i, one := range types {
			c := columnOf(one.base)
			c.Name, c.NotNull = fmt.Sprintf("c%d", i), rapid.Bool().Draw(t, "required")
			table.Columns = append(table.Columns, c)
			d := one.draw(t, &cfg)
			if !c.NotNull && d.means != unknown && rapid.IntRange(0, 9).Draw(t, "null") == 0 {
				d = drawn{"NULL", "null"}
			}
			values, want = append(values, d.text), append(want, one.base+" "+d.means)
		}
		b := schema.NewBatch(nil)
		image := row(b, values...)
		for i, text := range values { // the texts of row's own are values here
			if text == "~" || text == "-" || text == "NULL" && want[i] != types[i].base+" null" {
				b.Values[image.First+int32(i)] = schema.TextAt(len(b.Arena), len(text))
				b.Arena = append(b.Arena, text...)
			}
		}
		c := schema.Change{Op: schema.OpCreate, Table: table.WithVersion(), After: image}
		e, err := New(cfg, id)
		if err != nil {
			t.Fatal(err)
		}
		r := e.Records()
		r.Reset(b, now)
		r.Enter(nil, "false")
		value, err := r.AppendChange(nil, e.Table(table, "p.public.t", nil), &c, Place{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, read(t, value, &cfg, types)); diff != "" {
			t.Fatalf("drawn -, read +\n%s\n%s", diff, value)
		}
	})
}

// read decodes the image after of a record.
func read(t *rapid.T, value []byte, cfg *Config, types []drawable) []string {
	var event struct {
		Schema  node
		Payload map[string]any
	}
	from := json.NewDecoder(bytes.NewReader(value))
	from.UseNumber()
	if err := from.Decode(&event); err != nil {
		t.Fatalf("%v: %s", err, value)
	}
	var out []string
	for _, f := range event.Schema.Fields {
		if f.Field != "after" {
			continue
		}
		after := event.Payload["after"].(map[string]any)
		next := 0
		for i := range types {
			base := types[i].base
			if next == len(f.Fields) || f.Fields[next].Field != fmt.Sprintf("c%d", i) {
				out = append(out, base+" "+unknown)
				continue
			}
			column := f.Fields[next]
			next++
			means, err := decode(&column.node, after[column.Field])
			if err != nil {
				t.Fatalf("%s: %v: %s", base, err, value)
			}
			out = append(out, base+" "+settle(means, column.Type, base, cfg))
		}
	}
	return out
}

// ofBytes tells whether a type's values are bytes.
func ofBytes(base string) bool { return base == "bytea" || base == "tsquery" || base == "public.pair" }

// settle makes up for what a schema does not tell: the form of bytes that are texts, and that an hstore is in one.
func settle(means, kind, base string, cfg *Config) string {
	switch {
	case means == "null":
	case kind == "float" || kind == "double":
		bits := map[string]int{"float": 32, "double": 64}[kind]
		f, err := strconv.ParseFloat(means, bits)
		if err != nil && !math.IsInf(f, 0) {
			return err.Error()
		}
		return fmt.Sprint("float ", f)
	case ofBytes(base) && cfg.Binary == "base64":
		b, _ := base64.StdEncoding.DecodeString(means)
		return hex.EncodeToString(b)
	case ofBytes(base) && cfg.Binary == "base64_url_safe":
		b, _ := base64.URLEncoding.DecodeString(means)
		return hex.EncodeToString(b)
	case base == "ext.hstore" && cfg.Hstore == "json":
		var m map[string]any
		if err := json.Unmarshal([]byte(means), &m); err != nil {
			return err.Error()
		}
		return pairs(m)
	}
	return means
}
