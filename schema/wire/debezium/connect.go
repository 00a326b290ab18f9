package debezium

import (
	"strconv"

	"github.com/rowferry/rowferry/schema/wire"
)

// connectSchema is a schema of Kafka Connect.
type connectSchema struct {
	kind       string // int32, string, struct, array, map and so on
	optional   bool
	name       string
	version    int // 0 for none
	doc        string
	parameters [][2]string
	fallback   []byte // the default, as JSON; nil for none
	fields     []connectField
	items      *connectSchema
	keys       *connectSchema
	values     *connectSchema
}

type connectField struct {
	name   string
	schema connectSchema
}

// named is a schema with a name, in version 1, as all but a few have it.
func named(kind, name string, parameters ...[2]string) connectSchema {
	return connectSchema{kind: kind, name: name, version: 1, parameters: parameters}
}

// plain is a schema that is no more than its type.
func plain(kind string) connectSchema { return connectSchema{kind: kind} }

// asOptional is the schema of something that may be null.
func (s connectSchema) asOptional() connectSchema {
	s.optional = true
	return s
}

// appendJSON appends the schema as Connect's JSON converter writes it. field is the name of the struct's field it is
// for, empty for none.
func (s *connectSchema) appendJSON(dst []byte, field string) []byte {
	dst = wire.AppendString(append(dst, `{"type":`...), []byte(s.kind))
	switch s.kind {
	case "struct":
		dst = append(dst, `,"fields":[`...)
		for i := range s.fields {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = s.fields[i].schema.appendJSON(dst, s.fields[i].name)
		}
		dst = append(dst, ']')
	case "array":
		dst = s.items.appendJSON(append(dst, `,"items":`...), "")
	case "map":
		dst = s.keys.appendJSON(append(dst, `,"keys":`...), "")
		dst = s.values.appendJSON(append(dst, `,"values":`...), "")
	}
	dst = strconv.AppendBool(append(dst, `,"optional":`...), s.optional)
	if s.name != "" {
		dst = wire.AppendString(append(dst, `,"name":`...), []byte(s.name))
	}
	if s.version > 0 {
		dst = strconv.AppendInt(append(dst, `,"version":`...), int64(s.version), 10)
	}
	if s.doc != "" {
		dst = wire.AppendString(append(dst, `,"doc":`...), []byte(s.doc))
	}
	if len(s.parameters) > 0 {
		for i, p := range s.parameters {
			dst = append(dst, [...]string{`,"parameters":{`, ","}[min(i, 1)]...)
			dst = wire.AppendString(dst, []byte(p[0]))
			dst = wire.AppendString(append(dst, ':'), []byte(p[1]))
		}
		dst = append(dst, '}')
	}
	if s.fallback != nil {
		dst = append(append(dst, `,"default":`...), s.fallback...)
	}
	if field != "" {
		dst = wire.AppendString(append(dst, `,"field":`...), []byte(field))
	}
	return append(dst, '}')
}

// The schemas that all tables share.
var (
	sourceSchema = connectSchema{
		kind: "struct", name: "io.debezium.connector.postgresql.Source", version: 1,
		fields: []connectField{
			{"version", plain("string")}, {"connector", plain("string")}, {"name", plain("string")}, {"ts_ms", plain("int64")},
			{"snapshot", connectSchema{
				kind: "string", optional: true, name: "io.debezium.data.Enum", version: 1, fallback: []byte(`"false"`),
				parameters: [][2]string{{"allowed", "true,first,first_in_data_collection,last_in_data_collection,last,false,incremental"}},
			}},
			{"db", plain("string")}, {"sequence", plain("string").asOptional()}, {"ts_us", plain("int64").asOptional()},
			{"ts_ns", plain("int64").asOptional()}, {"schema", plain("string")}, {"table", plain("string")},
			{"txId", plain("int64").asOptional()}, {"lsn", plain("int64").asOptional()}, {"xmin", plain("int64").asOptional()},
			{"origin", plain("string").asOptional()}, {"origin_lsn", plain("int64").asOptional()},
		},
	}
	blockSchema = connectSchema{
		kind: "struct", optional: true, name: "event.block", version: 1,
		fields: []connectField{
			{"id", plain("string")}, {"total_order", plain("int64")}, {"data_collection_order", plain("int64")},
		},
	}
	transactionKey = connectSchema{
		kind: "struct", name: "io.debezium.connector.common.TransactionMetadataKey", version: 1,
		fields: []connectField{{"id", plain("string")}},
	}
	transactionValue = connectSchema{
		kind: "struct", name: "io.debezium.connector.common.TransactionMetadataValue", version: 1,
		fields: []connectField{
			{"status", plain("string")}, {"id", plain("string")}, {"event_count", plain("int64").asOptional()},
			{"data_collections", connectSchema{kind: "array", optional: true, items: &connectSchema{
				kind: "struct", optional: true, name: "event.collection", version: 1,
				fields: []connectField{{"data_collection", plain("string")}, {"event_count", plain("int64")}},
			}}},
			{"ts_ms", plain("int64")},
		},
	}
	heartbeatKey = connectSchema{
		kind: "struct", name: "io.debezium.connector.common.ServerNameKey", version: 1,
		fields: []connectField{{"serverName", plain("string")}},
	}
	heartbeatValue = connectSchema{
		kind: "struct", name: "io.debezium.connector.common.Heartbeat", version: 1,
		fields: []connectField{{"ts_ms", plain("int64")}},
	}
	messageKey = connectSchema{
		kind: "struct", name: "io.debezium.connector.postgresql.MessageKey", version: 1,
		fields: []connectField{{"prefix", plain("string").asOptional()}},
	}
)

// messageValue is the schema of a logical message, whose content has the form of binary values.
func messageValue(content connectSchema) connectSchema {
	return connectSchema{
		kind: "struct", name: "io.debezium.connector.postgresql.MessageValue", version: 1,
		fields: []connectField{
			{"op", plain("string")}, {"ts_ms", plain("int64").asOptional()}, {"source", sourceSchema}, {"transaction", blockSchema},
			{"message", connectSchema{
				kind: "struct", name: "io.debezium.connector.postgresql.Message", version: 1,
				fields: []connectField{{"prefix", plain("string").asOptional()}, {"content", content.asOptional()}},
			}},
		},
	}
}

// envelope is the schema of a change of a table whose rows have the schema row.
func envelope(name string, row connectSchema) connectSchema {
	row = row.asOptional()
	return connectSchema{
		kind: "struct", name: name, version: 2,
		fields: []connectField{
			{"before", row}, {"after", row}, {"source", sourceSchema}, {"transaction", blockSchema}, {"op", plain("string")},
			{"ts_ms", plain("int64").asOptional()}, {"ts_us", plain("int64").asOptional()}, {"ts_ns", plain("int64").asOptional()},
		},
	}
}
