// Package ledger keeps a pipeline's position, and what else has to be durable with it, as records of a compacted topic
// with one partition. They are written in the same Kafka transaction as the changes they stand for.
//
// The last record of a key counts, and a null value removes it. The keys:
//
//	claim               which pipeline, source and scope write here, and who did so last
//	position            number of the last group, position, phase
//	made/NAME           an object made for the pipeline at its source
//	state/KEY           the source's own bookkeeping, as it gave it
//	copy/SCHEMA.TABLE   a table whose existing rows are being copied, and its topic
//	topic/NAME          how many partitions a topic had when keys were first spread over them
//
// What a reader finds is true only after the producer of the pipeline's transactional id was initialised: before,
// the end of a transaction may still be on its way.
package ledger
