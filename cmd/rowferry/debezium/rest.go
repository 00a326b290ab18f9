package debezium

import "strings"

// silent are settings that say what is so here anyway.
var silent = map[string]bool{
	"name": true, "connector.class": true, "tasks.max": true, "sink.type": true, "exactly.once.support": true, "transaction.boundary": true,
}

// reason is why a setting has no counterpart, and what to do. The setting may end in *.
type reason struct {
	setting  string
	unneeded bool // nothing has to be done
	text     string
}

// reasons are tried in order.
var reasons = []reason{
	{"snapshot.max.threads", true, "a copy has four workers; source's snapshot.workers says otherwise"},
	{"snapshot.select.statement.overrides*", false, "a copy takes every row that the publication sends: give the publication a row filter, ALTER PUBLICATION … SET TABLE t WHERE (…)"},
	{"snapshot.include.collection.list", false, "a copy takes every table in source.tables"},
	{"snapshot.*", true, "it is about how Debezium copies"},
	{"incremental.snapshot.*", true, "there are no incremental snapshots: a table is copied once"},
	{"signal.*", false, "there are no signals: whoever sends them has to know"},
	{"notification.*", false, "there are no notifications: look at /metrics and /api/v1/status instead"},
	{"heartbeat.action.query", true, "an idle slot is moved on without writing to the source"},
	{"slot.stream.params", false, "parameters of the slot's stream are not passed on"},
	{"slot.max.retries", true, "a connection that breaks is made again without end"},
	{"slot.retry.*", true, "a connection that breaks is made again without end"},
	{"slot.failover", false, "an adopted slot keeps its failover property; one that the pipeline makes has none"},
	{"slot.*", true, "it is about how Debezium reads its slot"},
	{"publication.refresh*", true, "tables that join the publication are found by themselves, and told of"},
	{"publish.via.partition.root", true, "the publication is used as it is"},
	{"replica.identity.autoset.values", false, "set the replica identity of each table under source.replica_identity"},
	{"database.history*", true, "tables are described by the log"},
	{"database.initial.statements", false, "no statements are run on new connections; ALTER ROLE … SET does that"},
	{"database.query.timeout.ms", true, "questions have limits of their own"},
	{"database.tcpKeepAlive", true, "connections are watched anyway"},
	{"driver.*", false, "it is for Java's driver; put parameters of Postgres into source.url"},
	{"database.*", false, "it is not known here; source.url may hold what Postgres itself takes"},
	{"schema.refresh.mode", true, "tables are described by the log"},
	{"include.schema.changes", true, "Postgres connectors write no schema changes"},
	{"xmin.fetch.interval.ms", false, "source.xmin is always null"},
	{"lsn.flush.mode", false, "the slot is always acknowledged, up to what is durable in Kafka"},
	{"flush.lsn.source", false, "the slot is always acknowledged, up to what is durable in Kafka"},
	{"offset.mismatch.strategy", true, "slot and position are compared at each start, and a gap halts"},
	{"status.update.interval.ms", true, "the slot is acknowledged by itself"},
	{"provide.ordering.metadata", false, "records have no such field"},
	{"extended.headers.enabled", false, "the headers __debezium.context.… are not written"},
	{"event.processing.failure.handling.mode", false, "nothing is skipped: what cannot be read or written halts the pipeline, and is named"},
	{"errors.*", false, "nothing is skipped: what cannot be read or written halts the pipeline, and is named"},
	{"converters", false, "columns are written as their types say: readers of those it converted have to be told"},
	{"custom.metric.tags", false, "metrics have the pipeline's name; add labels where they are scraped"},
	{"header.converter*", false, "records have no headers of Debezium's"},
	{"key.converter.*", true, "it belongs to the converter"},
	{"value.converter.*", true, "it belongs to the converter"},
	{"post.processors*", false, "there are none: readers have to do it"},
	{"transforms.*", true, "no transform of the list has this name"},
	{"predicates.*", true, "no predicate of the list has this name"},
	{"openlineage.*", false, "lineage is not reported"},
	{"topic.creation.*", false, "say how topics of some tables are made under target.create_topics.rules"},
	{"topic.*", false, "say with target.topic how topics are named"},
	{"sanitize.field.names", false, "it is field.name.adjustment.mode now: set target.format.debezium.field_names: avro if it was true"},
	{"offset.*", true, "the position is kept in Kafka, with the records"},
	{"schema.history.*", true, "tables are described by the log"},
	{"config.action.reload", true, "secrets are read at each start"},
	{"producer.ssl.*", false, "say under target.tls how connections are protected"},
	{"producer.sasl.*", false, "say under target.sasl how to log in"},
	{"producer.interceptor.classes", false, "nothing stands between the pipeline and Kafka"},
	{"producer.partitioner.*", false, "partitions are chosen by the key as Java's clients do; target.partition_by says otherwise"},
	{"producer.*", true, "producing is tuned by itself; target.batch says otherwise"},
	{"quarkus.*", true, "it is about Debezium Server; the log and the listener are set under log and server"},
	{"sink.*", false, "it is not known here; see the settings of target"},
	{"max.batch.size", true, "memory is bounded in bytes"},
	{"max.queue.*", true, "memory is bounded in bytes"},
	{"poll.interval.ms", true, "the log is followed as it grows"},
	{"retriable.restart.connector.wait.ms", true, "what passes by itself is tried again without end"},
	{"internal.*", true, "it is Debezium's own"},
}

// rest tells of every setting that nobody took.
func (im *importer) rest() {
	for _, key := range im.settings.keys() {
		if im.taken[key] || silent[key] {
			continue
		}
		r := reasonFor(key)
		switch {
		case r == nil:
			im.note(key, "it is not known here: see whether readers depend on it")
		case r.unneeded:
			im.unneeded(key, r.text)
		default:
			im.note(key, "%s", r.text)
		}
	}
}

// reasonFor finds the reason for a setting.
func reasonFor(key string) *reason {
	for i := range reasons {
		begin, several := strings.CutSuffix(reasons[i].setting, "*")
		if key == reasons[i].setting || several && strings.HasPrefix(key, begin) {
			return &reasons[i]
		}
	}
	return nil
}
