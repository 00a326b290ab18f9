package config

import (
	"fmt"
	"slices"
	"strings"
)

// foreign is a word of another tool, and how the same is said here.
type foreign struct{ tool, ours string }

const (
	includeTables = `tables: { include: ["public.*"] }`
	excludeTables = `tables: { exclude: ["public.tmp_*"] }`
	urlForm       = `url: "postgres://user@host:5432/database"`
	passwordForm  = `password: "${env:NAME}"`
	renameForm    = `transforms: [ { rename: { table: "public.a", to: "public.b" } } ]`
	errorForm     = "nothing is skipped: a row that cannot be applied halts the pipeline and is named"
	batchForm     = "batch: { max_rows: 10000 }, under target"
	copyForm      = "every table is copied once, before its changes; `snapshot: { workers: 4 }` says how"
	wireForm      = "format: { value: debezium-json, debezium: { … } }, under a Kafka target; `rowferry config import debezium FILE` writes it"
	unwrapForm    = "format: { value: json }, under a Kafka target, whose records readers take apart"
	modeForm      = "format: { debezium: { decimals: string, times: connect } }, under target"
	pollForm      = "the log is followed as it grows; there is nothing to poll"
)

// foreignWords maps lower-case keys of other tools.
var foreignWords = map[string]foreign{
	"sink":                                   {"usual", "target:"},
	"sinks":                                  {"Sequin", "pipelines: { name: { target: … } }"},
	"destination":                            {"usual", "target:"},
	"destinations":                           {"usual", "pipelines: { name: { target: … } }"},
	"output":                                 {"Redpanda Connect", "target:"},
	"input":                                  {"Redpanda Connect", "source:"},
	"from":                                   {"usual", "source:"},
	"connectors":                             {"Conduit", "source: and target:, under the pipeline"},
	"databases":                              {"Sequin", "pipelines: { name: { source: { url: … } } }"},
	"mirrors":                                {"PeerDB", "pipelines:"},
	"peers":                                  {"PeerDB", "source: and target:, under the pipeline"},
	"pipeline":                               {"usual", "pipelines: { name: { source: …, target: … } }"},
	"connections":                            {"usual", "url:, under the pipeline's source and target"},
	"table.include.list":                     {"Debezium", includeTables},
	"table.exclude.list":                     {"Debezium", excludeTables},
	"schema.include.list":                    {"Debezium", includeTables},
	"schema.exclude.list":                    {"Debezium", `tables: { exclude: ["audit.*"] }`},
	"database.include.list":                  {"Debezium", "the database in url, one pipeline for each"},
	"column.exclude.list":                    {"Debezium", "a column list of the publication"},
	"column.include.list":                    {"Debezium", "a column list of the publication"},
	"table.whitelist":                        {"Debezium", includeTables},
	"table.blacklist":                        {"Debezium", excludeTables},
	"include_tables":                         {"Sequin", includeTables},
	"exclude_tables":                         {"Sequin", excludeTables},
	"include_schemas":                        {"Sequin", includeTables},
	"exclude_schemas":                        {"Sequin", `tables: { exclude: ["audit.*"] }`},
	"table_mapping":                          {"PeerDB", renameForm},
	"table_mappings":                         {"PeerDB", renameForm},
	"slot.name":                              {"Debezium", "slot: { name: … }"},
	"slot_name":                              {"Sequin", "slot: { name: … }"},
	"replication_slot":                       {"usual", "slot: { name: … }"},
	"replication_slot_name":                  {"PeerDB", "slot: { name: … }"},
	"slot.drop.on.stop":                      {"Debezium", "a slot is dropped by `rowferry teardown` only"},
	"plugin.name":                            {"Debezium", "pgoutput, always"},
	"publication.name":                       {"Debezium", "publication: { name: … }"},
	"publication_name":                       {"PeerDB", "publication: { name: … }"},
	"publication.autocreate.mode":            {"Debezium", "publication: { create: true }"},
	"database.hostname":                      {"Debezium", urlForm},
	"database.port":                          {"Debezium", urlForm},
	"database.user":                          {"Debezium", urlForm},
	"database.password":                      {"Debezium", passwordForm},
	"database.dbname":                        {"Debezium", urlForm},
	"database.server.id":                     {"Debezium", "nothing: Postgres has no server id"},
	"database.server.name":                   {"Debezium", "the pipeline's name"},
	"database.sslmode":                       {"Debezium", "url: with ?sslmode=verify-full"},
	"topic.prefix":                           {"Debezium", "the pipeline's name"},
	"hostname":                               {"usual", urlForm},
	"host":                                   {"usual", urlForm},
	"port":                                   {"usual", urlForm},
	"user":                                   {"usual", urlForm},
	"username":                               {"usual", urlForm},
	"database":                               {"usual", urlForm},
	"dbname":                                 {"usual", urlForm},
	"dsn":                                    {"usual", urlForm},
	"connection_string":                      {"usual", urlForm},
	"snapshot.mode":                          {"Debezium", copyForm},
	"snapshot.max.threads":                   {"Debezium", "snapshot: { workers: 4 }"},
	"snapshot.fetch.size":                    {"Debezium", "snapshot: { chunk_size: 64MiB }"},
	"do_initial_copy":                        {"PeerDB", copyForm},
	"do_initial_snapshot":                    {"PeerDB", copyForm},
	"initial_backfill":                       {"Sequin", copyForm},
	"stream_snapshot":                        {"Redpanda Connect", copyForm},
	"snapshot_num_tables_in_parallel":        {"PeerDB", "snapshot: { workers: 4 }"},
	"snapshot_max_parallel_workers":          {"PeerDB", "snapshot: { workers: 4 }"},
	"snapshot_num_rows_per_partition":        {"PeerDB", "snapshot: { chunk_size: 64MiB }"},
	"dead-letter-queue":                      {"Conduit", errorForm},
	"dead_letter_queue":                      {"usual", errorForm},
	"errors.tolerance":                       {"Kafka Connect", errorForm},
	"event.processing.failure.handling.mode": {"Debezium", errorForm},
	"batch_size":                             {"Sequin", batchForm},
	"max_batch_size":                         {"PeerDB", batchForm},
	"max.batch.size":                         {"Debezium", batchForm},
	"batching":                               {"Redpanda Connect", batchForm},
	"poll.interval.ms":                       {"Debezium", pollForm},
	"heartbeat.interval.ms":                  {"Debezium", "nothing: an idle slot is moved on without a heartbeat table"},
	"offset.storage":                         {"Debezium", "nothing: the position is kept in the target, with its rows"},
	"offset.storage.file.filename":           {"Debezium", "nothing: the position is kept in the target, with its rows"},
	"decimal.handling.mode":                  {"Debezium", modeForm},
	"time.precision.mode":                    {"Debezium", modeForm},
	"skipped.operations":                     {"Debezium", "format: { debezium: { skip: [truncate] } }, under target"},
	"key.converter":                          {"Kafka Connect", wireForm},
	"value.converter":                        {"Kafka Connect", wireForm},
	"processors":                             {"Redpanda Connect", "transforms:"},
	"functions":                              {"Sequin", "transforms:"},
	"transforms.unwrap.type":                 {"Debezium", unwrapForm},
	"telemetry":                              {"usual", "nothing: Rowferry sends none"},
}

// hint tells the user what to write instead.
func (f foreign) hint() string {
	tool := "the " + f.tool + " name"
	if f.tool == "usual" {
		tool = "another tool's name"
	}
	return "this is " + tool + "; here it is  " + f.ours
}

// suggestKey says how an unknown key is meant, as far as that can be known.
func suggestKey(key string, known []string) string {
	lower := strings.ToLower(key)
	if near := nearest(lower, known); near != "" {
		return fmt.Sprintf("did you mean %s?", near)
	}
	if word, ok := foreignWords[lower]; ok {
		return word.hint()
	}
	if len(known) == 0 {
		return ""
	}
	return "known here: " + strings.Join(known, ", ")
}

// nearest is the known word that differs from word by no more than a slip or two, or nothing.
func nearest(word string, known []string) string {
	plain := func(s string) string {
		return strings.NewReplacer("_", "", "-", "", ".", "").Replace(strings.ToLower(s))
	}
	best, distance := "", max(1, len(word)/4)+1
	for _, k := range known {
		if plain(k) == plain(word) {
			return k
		}
		if d := editDistance(word, k); d < distance {
			best, distance = k, d
		}
	}
	return best
}

// editDistance counts insertions, deletions, replacements and swaps of neighbours between two short texts.
func editDistance(a, b string) int {
	const longest = 64
	if len(a) > longest || len(b) > longest {
		return longest
	}
	before, last, row := []int(nil), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, make([]int, len(b)+1)
	}
	return last[len(b)]
}

// Nearest is the known word a user probably meant, or nothing. Known words are tried in order.
func Nearest(word string, known []string) string {
	sorted := slices.Sorted(slices.Values(known))
	return nearest(strings.ToLower(word), sorted)
}
