// Package debezium turns the configuration of a Debezium connector for Postgres into one of Rowferry's, for Kafka in the
// format debezium-json, and names every setting that it could not carry over.
//
// What a file leaves out means Debezium's default there. Where ours differs, it is written out.
package debezium
