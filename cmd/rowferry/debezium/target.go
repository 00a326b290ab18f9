package debezium

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/rowferry/rowferry/schema/setting"
)

// target writes where records go.
func (im *importer) target() tree {
	t := newTree()
	t.set("url", "kafka://"+im.brokers())
	im.security(t)
	prefix := topicName(im.prefix)
	delimiter, ok := im.take("topic.delimiter")
	if !ok {
		delimiter = "."
	}
	t.set("topic", im.routed(prefix+delimiter+"{schema}"+delimiter+"{table}", delimiter))
	t.set("keys", im.keyColumns())
	im.topics(t, prefix, delimiter)
	t.set("format", im.format())
	t.set("create_topics", im.creation())
	if codec := im.word("producer.compression.type", map[string]string{
		"none": "none", "gzip": "gzip", "snappy": "snappy", "lz4": "lz4", "zstd": "zstd",
	}); codec != "" {
		t.set("compression", codec)
	}
	if size := im.number("producer.max.request.size", 1024); size != "" {
		n, _ := strconv.ParseInt(size, 10, 64)
		t.set("max_message", setting.Size(n).String())
	}
	return t
}

var notInTopics = regexp.MustCompile(`[^A-Za-z0-9._-]`)

// topicName makes a text one that a topic's name can have, as Debezium does.
func topicName(text string) string { return notInTopics.ReplaceAllString(text, "_") }

// topics writes the topics that are no table's.
func (im *importer) topics(t tree, prefix, delimiter string) {
	messages := newTree()
	messages.set("topic", prefix+delimiter+"message")
	t.set("messages", messages)
	name, ok := im.take("topic.transaction")
	if !ok {
		name = "transaction"
	}
	if im.flag("provide.transaction.metadata", false) {
		t.set("transaction_topic", prefix+delimiter+topicName(name))
	}
	beat, ok := im.take("topic.heartbeat.prefix")
	if !ok {
		if beat, ok = im.take("heartbeat.topics.prefix"); !ok {
			beat = "__debezium-heartbeat"
		}
	}
	if interval := im.number("heartbeat.interval.ms", 0); interval != "" && interval != "0" {
		t.set("heartbeat_topic", topicName(beat)+delimiter+prefix)
		im.unneeded("heartbeat.interval.ms", "an idle slot is moved on without heartbeats. The topic gets a record at most every 10 seconds, when the position moves without changes")
	}
	if strategy, ok := im.take("topic.naming.strategy"); ok && !strings.HasSuffix(strategy, ".SchemaTopicNamingStrategy") {
		im.note("topic.naming.strategy", "%s is not known here: say with target.topic how topics are named", shown(strategy))
	}
}

// brokers are where the target is.
func (im *importer) brokers() string {
	const key = "producer.bootstrap.servers"
	value, ok := im.text(key, "KAFKA_BROKERS")
	switch {
	case im.options.Brokers != "":
		return literal(im.options.Brokers)
	case ok:
		var out []string
		for one := range strings.SplitSeq(value, ",") {
			one = strings.TrimSpace(one)
			if at := strings.Index(one, "://"); at >= 0 {
				one = one[at+3:]
			}
			out = append(out, one)
		}
		return strings.Join(out, ",")
	}
	name := im.variable("KAFKA_BROKERS")
	im.note(key, "the brokers are those of the Connect worker: set the environment variable %s to them, or import with --brokers HOST:PORT,HOST:PORT", name)
	return "${env:" + name + "}"
}

// creation writes how topics are made.
func (im *importer) creation() tree {
	t, configs := newTree(), map[string]string{}
	const begin = "topic.creation.default."
	for _, key := range im.settings.keys() {
		rest, ok := strings.CutPrefix(key, begin)
		if !ok {
			continue
		}
		switch rest {
		case "partitions", "replication.factor":
		case "include", "exclude":
			im.note(key, "topics are made by tables: target.create_topics.rules")
			im.taken[key] = true
		default:
			configs[rest], _ = im.text(key, "TOPIC_SETTING")
		}
	}
	for _, number := range []struct{ theirs, ours string }{{"partitions", "partitions"}, {"replication.factor", "replication"}} {
		if value, _ := im.take(begin + number.theirs); value != "-1" { // the brokers' default, as ours is
			t.set(number.ours, plain(im.number(begin+number.theirs, 1)))
		}
	}
	section := newTree()
	for _, key := range slices.Sorted(maps.Keys(configs)) {
		section.set(key, configs[key])
	}
	t.set("configs", section)
	return t
}

// format writes what records look like.
func (im *importer) format() tree {
	t, d := newTree(), newTree()
	t.set("value", "debezium-json")
	t.set("tombstones", im.flag("tombstones.on.delete", true))
	t.set("headers", false)
	d.set("name", literal(im.prefix))
	schemas, nulls := im.converters()
	d.set("schemas", schemas)
	for _, w := range wordSettings {
		d.set(w.ours, im.word(w.theirs, w.words))
	}
	if _, ok := im.value("include.unknown.datatypes"); ok {
		d.set("unknown_types", im.flag("include.unknown.datatypes", false))
	}
	if digits := im.number("money.fraction.digits", 0); digits != "" {
		d.set("money_digits", plain(digits))
	}
	if placeholder, ok := im.text("unavailable.value.placeholder", "PLACEHOLDER"); ok {
		d.set("placeholder", placeholder)
	}
	d.set("skip", im.skipped())
	d.set("null_as_default", nulls)
	t.set("debezium", d)
	return t
}

// same gives words that are spelled alike, but for their dashes.
func same(words ...string) map[string]string {
	out := make(map[string]string, len(words))
	for _, w := range words {
		out[w] = strings.ReplaceAll(w, "-", "_")
	}
	return out
}

// wordSettings are the settings of the format that are one of some words.
var wordSettings = []struct {
	theirs, ours string
	words        map[string]string
}{
	{"decimal.handling.mode", "decimals", same("precise", "string", "double")},
	{"time.precision.mode", "times", same("adaptive", "adaptive_time_microseconds", "connect", "isostring", "microseconds", "nanoseconds")},
	{"binary.handling.mode", "binary", same("bytes", "base64", "base64-url-safe", "hex")},
	{"interval.handling.mode", "intervals", same("numeric", "string")},
	{"hstore.handling.mode", "hstore", same("json", "map")},
	{"schema.name.adjustment.mode", "schema_names", same("none", "avro", "avro_unicode")},
	{"field.name.adjustment.mode", "field_names", same("none", "avro", "avro_unicode")},
}

// skipped is the operations that are left out. Debezium leaves out truncates unless it is told otherwise.
func (im *importer) skipped() []string {
	const key = "skipped.operations"
	value, ok := im.take(key)
	if !ok {
		value = "t"
	}
	skip := []string{}
	for _, one := range strings.Split(value, ",") {
		switch one = strings.ToLower(strings.TrimSpace(one)); one {
		case "none", "":
		case "c", "u", "d", "t":
			skip = append(skip, map[string]string{"c": "create", "u": "update", "d": "delete", "t": "truncate"}[one])
		default:
			im.note(key, "%s is none of c, u, d, t: nothing is skipped for it", shown(one))
		}
	}
	return skip
}

// converters finds whether records have schemas, and whether defaults stand for NULL.
func (im *importer) converters() (schemas, nulls bool) {
	if im.server {
		im.serverFormats()
	}
	key, value := "key.converter", "value.converter"
	if _, ok := im.value(value); !ok && !im.server {
		im.note(value, "the converter is that of the Connect worker: taken for a JsonConverter with schemas; if the worker has value.converter.schemas.enable=false, set target.format.debezium.schemas: false")
	}
	im.converter(key)
	im.converter(value)
	schemas = im.flag(value+".schemas.enable", true)
	if ofKey := im.flag(key+".schemas.enable", schemas); ofKey != schemas {
		im.note(key+".schemas.enable", "keys and values have schemas together, or neither: values had %t, which was taken", schemas)
	}
	if format, ok := im.take(value + ".decimal.format"); ok && !strings.EqualFold(format, "BASE64") {
		im.note(value+".decimal.format", "%s is not written: set decimals to string or double under target.format.debezium, if readers can take that", shown(format))
	}
	nulls = im.flag(value+".replace.null.with.default", true)
	im.taken[key+".replace.null.with.default"], im.taken[key+".decimal.format"] = true, true
	return schemas, nulls
}

// converter tells of records that were no JSON.
func (im *importer) converter(key string) {
	class, ok := im.take(key)
	if ok && !strings.HasSuffix(class, ".JsonConverter") && !(im.server && class == "json") {
		im.note(key, "records were written by %s; here they are JSON, which their readers have to be told", shown(class))
	}
}

// serverFormats takes what Debezium Server calls formats for converters.
func (im *importer) serverFormats() {
	for _, side := range []string{"key", "value"} {
		if e, ok := im.known["format."+side]; ok {
			im.known[side+".converter"] = e
			im.taken["format."+side] = true
		}
		if _, ok := im.known[side+".converter.schemas.enable"]; !ok {
			if e, ok := im.known["format.schemas.enable"]; ok {
				im.known[side+".converter.schemas.enable"] = e
			}
		}
	}
	im.taken["format.schemas.enable"] = true
	if format, ok := im.take("format.header"); ok && format != "json" {
		im.note("format.header", "%s is not known: records have no headers of Debezium's", shown(format))
	}
}
