// Package kafka writes changes into Kafka topics, by default each exactly once.
//
// # What readers have to know
//
// A reader sees committed changes only with isolation.level=read_committed, which is not the default of Kafka's
// clients. One Kafka transaction carries whole source transactions, and the pipeline's position with them; without
// that setting a reader meets records of transactions that were aborted and came again.
//
// Order holds within a partition. A record's key is the row's primary key as a JSON object, and decides the partition
// as Java's default partitioner does (murmur2), so changes of one row stay in order. A table without a key has null
// keys and one partition. Between partitions there is no order, but every record names its transaction: txId in its
// source, and headers:
//
//	rowferry.end    offset just after the transaction's commit, the same for all its records
//	rowferry.lsn    offset of the change
//	rowferry.seq    its place in the transaction, from 0; in a transaction too big for memory, in its part
//	rowferry.newkey, rowferry.oldkey   the other half of a change of key
//
// A delete is followed by a tombstone, a null value with the same key, for compaction. An update that gives a row
// another key is a delete and a tombstone of the old one, then a create of the new one; columns the source did not
// send are listed in "unchanged" and stand in the last record of the old key. A TRUNCATE is a record of op t, without
// a key, in every partition of the table's topic, so that each reader meets it at its place. Logical messages go to
// a topic of their own.
//
// Existing rows have op r. source.snapshot is "first" in the first record of a copy, "first_in_data_collection" in the
// first of another table, "last_in_data_collection" and "last" likewise, else "true"; a table that ends without a row
// in its last batch has no last. A copy that was interrupted begins anew with a t record, with snapshot "true", for
// each table it had begun: readers forget the rows they have of it.
//
// # As Debezium writes it
//
// With format: debezium-json, which is the default, keys, values and headers are those of Debezium's Postgres connector
// (package debezium of schema/wire), and what is said above of keys, unchanged columns and the headers newkey and oldkey is
// as it is there. Order, transactions and the ledger are the same. A value kept elsewhere (oversize: claim_check) is the
// whole value of its record, which goes without what is large in it: the placeholder for values that were not sent stands
// there, and the header rowferry.claim refers to what is kept.
//
// # Exactly once
//
// The ledger is a compacted topic with one partition (package ledger). Opening takes the transactional id over, which
// ends or aborts what an older writer left open and fences it, and then reads the ledger; after an end of transaction
// without an answer the same is done. Nothing but the ledger says where the pipeline stands. The protocol is that of
// brokers before KIP-890, on every broker: package producer tells what that asks for.
//
// With delivery: at_least_once there are no transactions: records are idempotent while the writer lives, the ledger
// follows them, and after a crash what came since the last position comes again. Only the source's lock keeps two
// writers apart then.
//
// # Partitions
//
// The number of partitions keys were first spread over is in the ledger. When a topic has more now, a row's next change
// could overtake its last one, so the pipeline halts (added_partitions: halt), goes on with the number it knows (keep),
// or spreads keys anew from there on (use). A topic that is gone, or has fewer, has lost records: that halts.
package kafka
