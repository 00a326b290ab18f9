package kafka

import (
	"slices"

	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks/kafka/cluster"
	"github.com/rowferry/rowferry/sinks/kafka/producer"
)

const remedyOversize = "set oversize: claim_check on the target, with a place for large values\n" +
	"or raise max_message of the target, and max.message.bytes of the topic before it"

// Codes documents the faults of Kafka targets.
var Codes = append([]fault.Code{
	{
		Name: "target.config", Title: "The target's settings cannot be used",
		Meaning:  "A setting is wrong, or a file it names cannot be read.",
		DataLost: "No.", Remedy: "correct the target's settings",
	},
	{
		Name: "target.record_too_large", Title: "A record is larger than a batch may be",
		Meaning: "One change makes a record above max_message, or a batch above what the topic takes. Nothing is ever left out " +
			"or cut, so the pipeline stands before it.",
		DataLost: "No. The pipeline stands at the transaction the record belongs to.", Remedy: remedyOversize,
	},
	{
		Name: "target.topic_not_found", Title: "A topic does not exist and may not be made",
		Meaning:  "create_topics.enabled is false, so every topic has to exist before it is written to.",
		DataLost: "No.", Remedy: "make the topic with the command in the message\nor set create_topics.enabled",
	},
	{
		Name: "target.topic_refused", Title: "The brokers do not make or delete a topic as asked",
		Meaning:  "The number of partitions or replicas, a setting or the name is not allowed in this cluster.",
		DataLost: "No.", Remedy: "correct create_topics of the target, or make the topic by hand",
	},
	{
		Name: "target.topic_gone", Title: "A topic that was written to is gone",
		Meaning: "The ledger knows the topic, and it does not exist any more or has fewer partitions: somebody deleted it, and " +
			"perhaps made it again.",
		DataLost: "What the topic held is.", Remedy: "run `rowferry teardown` and copy again\nor make the topic again, to go on without what it held",
	},
	{
		Name: "target.topic_collision", Title: "Two tables would share a topic",
		Meaning:  "Characters a topic cannot have are replaced, and by that two tables get the same name.",
		DataLost: "No.", Remedy: "rename one of the two in transforms, or set another topic pattern",
	},
	{
		Name: "target.partitions_added", Title: "A topic has more partitions than keys were spread over",
		Meaning: "Somebody added partitions. With the new number the changes of a row go to another partition than before, and " +
			"readers could see them in the wrong order.",
		DataLost: "No.", Remedy: "set added_partitions: use once readers have finished what they have\nor set added_partitions: keep",
	},
	{
		Name: "target.key_column", Title: "A table lacks a column named in the settings",
		Meaning:  "keys or partition_columns name a column the table does not have, or no longer.",
		DataLost: "No.", Remedy: "correct keys or partition_columns of the target",
	},
	{
		Name: "target.key_missing", Title: "A change does not bring its key",
		Meaning: "The columns that make the record's key, or decide its partition, are not in what the source sends of the " +
			"change: they are not part of the replica identity.",
		DataLost: "No.",
		Remedy:   "ALTER TABLE … REPLICA IDENTITY FULL at the source\nor name other columns in keys or partition_columns",
	},
	{
		Name: "target.transaction_too_long", Title: "A transaction does not end within its timeout",
		Meaning: "The same source transaction was begun twice, and both times the brokers aborted it because it took longer than " +
			"transaction.timeout to be read and written.",
		DataLost: "No. Readers have seen nothing of it.",
		Remedy:   "raise transaction.timeout of the target, and transaction.max.timeout.ms of the brokers where it is above that",
	},
	{
		Name: "target.transaction_hanging", Title: "A transaction has no end, and nobody knows which",
		Meaning: "Brokers decided about a transaction, did not write its end into a partition, and several starts of the pipeline since have " +
			"covered the decision. Going on could show readers what was aborted, or the same changes twice.",
		DataLost: "No, but readers of that partition see nothing behind it.",
		Remedy:   producer.RemedyHanging,
	},
	{
		Name: "target.claim_check", Title: "A large value cannot be kept",
		Meaning:  "The folder of claim_check.path cannot be written to.",
		DataLost: "No. The pipeline tries again.", Remedy: "make the folder, with space and the right to write into it",
	},
	{
		Name: "target.ledger_topic", Title: "The ledger's topic is not fit to be one",
		Meaning:  "It has more than one partition, or a cleanup.policy other than compact, which would lose the position.",
		DataLost: "No.", Remedy: "correct the topic's settings, or name another topic in ledger.topic",
	},
	{
		Name: "target.ledger_topic_damaged", Title: "The ledger is not what it should be",
		Meaning:  "Records of the ledger were deleted or written by somebody else, so it cannot be told where the pipeline stands.",
		DataLost: "Not by Rowferry: it stopped.",
		Remedy:   "find who writes to the ledger's topic, or changed its settings\nor run `rowferry teardown` and copy again",
	},
	{
		Name: "target.ledger_version", Title: "The ledger was written by another release",
		Meaning:  "The ledger's format is newer than the one this program reads.",
		DataLost: "No.", Remedy: "run the release that wrote it",
	},
	{
		Name: "target.other_pipeline", Title: "The target belongs to another pipeline",
		Meaning:  "The ledger names another pipeline.",
		DataLost: "No. Nothing was changed.", Remedy: "give this pipeline a ledger topic of its own",
	},
	{
		Name: "target.other_source", Title: "The target was written from another source",
		Meaning:  "The ledger names another server, database or slot than the one the pipeline reads now.",
		DataLost: "No. Nothing was changed.",
		Remedy:   "point the pipeline at the source it came from\nor run `rowferry teardown PIPELINE`, give it topics of their own, and copy again",
	},
	{
		Name: "target.scope_changed", Title: "Tables, filters or renames have changed",
		Meaning:  "The pipeline is configured with another scope than the one its topics were written with.",
		DataLost: "No. Nothing was changed.",
		Remedy:   "undo the change in the configuration\nor run `rowferry teardown PIPELINE`, and copy again with the new scope",
	},
	{
		Name: "target.out_of_order", Title: "A commit came out of order",
		Meaning:  "A group of changes did not carry the number after the last one. This is a bug in Rowferry.",
		DataLost: "No. The group was not written.",
		Remedy:   "report it, with the log around it\nstart the pipeline again: it goes on from the ledger",
	},
	{
		Name: "target.fenced", Title: "Another writer took the target over",
		Meaning:  "A newer producer has the transactional id, so this one may not write any more.",
		DataLost: "No. Nothing was written after the other one began.",
		Remedy:   "stop one of the two daemons, then restart the one to keep",
	},
	{
		Name: "target.outcome_unknown", Title: "It is not known yet whether a commit is durable",
		Meaning:  "The end of the transaction got no answer. Taking the transactional id over and reading the ledger tells.",
		DataLost: "No.", Remedy: "nothing: the pipeline starts again by itself",
	},
}, own(cluster.Codes)...)

// own leaves out what is documented above for the whole target.
func own(codes []fault.Code) []fault.Code {
	return slices.DeleteFunc(slices.Clone(codes), func(c fault.Code) bool { return c.Name == "target.record_too_large" })
}
