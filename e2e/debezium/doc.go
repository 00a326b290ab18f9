// Package debezium compares what Rowferry writes in the format debezium-json with what Debezium's connector wrote for the
// same SQL, field by field: live, beside a connector in Kafka Connect, or with a recording of one.
//
// A recording is two files of a folder, NAME.config.json, the connector's configuration beyond addresses, and NAME.jsonl.gz,
// every committed record as {"topic","offset","key","value","headers"} by topic and offset; and the SQL that was played. A
// name SCRIPT.MODE says that this is SCRIPT.sql, of which what stands before the line "-- stream" had run when the connector
// began. Other names share types_ddl.sql and ops_ddl.sql before, and types_changes.sql and ops_changes.sql.
//
// What has to differ is made equal: the prefix of topics, positions, times, and numbers of transactions, never in a key,
// before or after. Other differences are accepted only if docs/reference/debezium-differences.md lists them.
package debezium
