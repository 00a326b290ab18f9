package debezium

import "github.com/rowferry/rowferry/schema"

// temporal is how dates, times and intervals are written.
func (c *Config) temporal(t typeName) (column, bool) {
	precision := t.modifier(6)
	switch t.name {
	case "date":
		return c.date(), true
	case "time without time zone":
		return c.clock(precision), true
	case "timestamp without time zone":
		return c.timestamp(precision), true
	case "time with time zone":
		return column{schema: named("string", "io.debezium.time.ZonedTime"), write: writeZonedClock, zeroJSON: `"00:00:00Z"`}, true
	case "timestamp with time zone":
		return column{
			schema: named("string", "io.debezium.time.ZonedTimestamp"), write: writeZoned, scale: precision,
			zeroJSON: `"1970-01-01T00:00:00Z"`,
		}, true
	}
	if len(t.name) >= len("interval") && t.name[:len("interval")] == "interval" {
		if c.Intervals == "string" {
			return column{schema: named("string", "io.debezium.time.Interval"), write: writeISOInterval, zero: "00:00:00"}, true
		}
		return column{schema: named("int64", "io.debezium.time.MicroDuration"), write: writeMicroDuration, zero: "00:00:00"}, true
	}
	return column{}, false
}

// date is a column of dates.
func (c *Config) date() column {
	const epoch = "1970-01-01"
	switch c.Times {
	case "isostring":
		return column{schema: named("string", "io.debezium.time.IsoDate"), write: writeISODay, zero: epoch}
	case "connect":
		return column{schema: named("int32", "org.apache.kafka.connect.data.Date"), write: writeDay, zero: epoch}
	}
	return column{schema: named("int32", "io.debezium.time.Date"), write: writeDay, zero: epoch}
}

// clock is a column of times of day.
func (c *Config) clock(precision int) column {
	const midnight = "00:00:00"
	micro := column{schema: named("int64", "io.debezium.time.MicroTime"), write: writeClock, scale: microsecond, zero: midnight}
	switch c.Times {
	case "isostring":
		return column{schema: named("string", "io.debezium.time.IsoTime"), write: writeISOClock, zero: midnight}
	case "connect":
		micro.schema, micro.scale = named("int32", "org.apache.kafka.connect.data.Time"), millisecond
	case "nanoseconds":
		micro.schema, micro.scale = named("int64", "io.debezium.time.NanoTime"), nanosecond
	case "adaptive":
		if precision <= 3 {
			micro.schema, micro.scale = named("int32", "io.debezium.time.Time"), millisecond
		}
	}
	return micro
}

// timestamp is a column of timestamps without a zone.
func (c *Config) timestamp(precision int) column {
	const epoch = "1970-01-01 00:00:00"
	micro := column{
		schema: named("int64", "io.debezium.time.MicroTimestamp"), write: writeTimestamp, scale: microsecond, zero: epoch,
	}
	switch c.Times {
	case "isostring":
		return column{schema: named("string", "io.debezium.time.IsoTimestamp"), write: writeISOTimestamp, zero: epoch}
	case "connect":
		micro.schema, micro.scale = named("int64", "org.apache.kafka.connect.data.Timestamp"), millisecond
	case "nanoseconds":
		micro.schema, micro.scale = named("int64", "io.debezium.time.NanoTimestamp"), nanosecond
	case "adaptive", "adaptive_time_microseconds":
		if precision <= 3 {
			micro.schema, micro.scale = named("int64", "io.debezium.time.Timestamp"), millisecond
		}
	}
	return micro
}

// neverArrays are the arrays that Debezium leaves out even when it writes types it does not know.
var neverArrays = map[string]bool{
	"money": true, "name": true, "interval": true, "bit varying": true, "xml": true, "point": true, "refcursor": true,
}

// array is how an array is written.
func (c *Config) array(from *schema.Column, t typeName) (column, bool) {
	out := column{write: writeArray, zeroJSON: "[]"}
	if !t.qualified && neverArrays[t.name] {
		return out, false
	}
	if t.name == "bit" && !t.qualified { // it has the schema of one, which its values do not fit
		out = bitColumn(t)
		out.write, out.zeroJSON = writeNothing, "null"
		return out, true
	}
	element, known := c.scalar(t, from.Elem, from.Labels)
	element.element = true
	element.optional = c.optionalElement(from, t)
	if !known || !element.optional && from.Elem != schema.KindEnum && !c.knownElement(t) {
		element = c.bytes()
		element.write, element.element = writeUnknown, true
		if !c.UnknownTypes {
			return out, false
		}
	}
	element.schema.optional = element.optional
	out.elem = &element
	out.schema = connectSchema{kind: "array", items: &element.schema}
	if !t.qualified {
		switch t.name {
		case "text", "character varying", "json", "jsonb":
			out.toast = toastTexts
		case "integer", "date", "bigint":
			out.toast = toastNumbers
		}
	}
	return out, true
}

// optionalElement tells whether elements may be null: those of the types whose arrays Debezium knows by themselves.
func (c *Config) optionalElement(from *schema.Column, t typeName) bool {
	if from.Elem == schema.KindEnum {
		return false
	}
	if t.qualified {
		switch t.name {
		case "citext", "ltree", "hstore", "geometry", "geography":
			return true
		}
		return false
	}
	return t.name != "tsvector" && c.knownElement(t)
}

// knownElement tells whether Debezium knows the type at all.
func (c *Config) knownElement(t typeName) bool {
	plain := *c
	plain.UnknownTypes = false
	_, ok := plain.scalar(t, schema.KindOpaque, nil)
	return ok
}
