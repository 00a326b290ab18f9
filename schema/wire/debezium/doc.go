// Package debezium writes changes as Debezium's Postgres connector does by way of Kafka Connect's JSON converter, so that
// whoever reads its topics can read ours: the same fields in the same order, with the same types, names of schemas, and
// parameters.
//
// A value is an envelope of before, after, source, transaction, op and three times; beside it stands its schema, if
// [Config.Schemas] asks for it. All that a table version's records share is written once, by [Encoder.Table].
//
// Debezium's own ways are kept where readers would tell the difference: what a delete does not bring of its row is the
// column's default, or nothing that the type has for it; NULL becomes the default, too; NaN has no form among precise
// decimals. Where we differ on purpose, docs/reference/debezium-differences.md gives the reason.
package debezium
