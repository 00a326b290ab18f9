package cluster

import "github.com/rowferry/rowferry/schema/fault"

// What operators can do.
const (
	remedyAuth = "correct sasl.mechanism, user and password (or the token) of the target, or the broker's user"
	remedyACL  = "give the user what the message names: Write and Describe on the topics, Write and Describe on the\n" +
		"transactional id, Read on the ledger topic, Create and DescribeConfigs if topics are to be made"
	remedySize = "raise max.message.bytes of the topic (and replica.fetch.max.bytes of brokers older than 0.10.1),\n" +
		"or lower batch.max_bytes of the target"
	remedyVersion = "upgrade the brokers to 2.5 or later, or this program, and choose a compression they know"
	remedyTimeout = "lower transaction.timeout of the target, or raise transaction.max.timeout.ms of the brokers"
	remedyRefused = "look into the broker's log: it refused a request for a reason that does not pass by itself"
)

// Codes documents the faults of talking to Kafka.
var Codes = []fault.Code{
	{
		Name: "target.connect", Title: "The target cannot be reached",
		Meaning:  "The connection failed, broke or was ended by the server. The pipeline tries again for as long as it takes.",
		DataLost: "No. The source keeps its log until the target has confirmed.",
		Remedy:   "Bring the target back, or correct the address.",
	},
	{
		Name: "target.tls", Title: "The target's certificate is not trusted",
		Meaning:  "The server's certificate has expired, names another host, or is signed by an authority that is not trusted.",
		DataLost: "No. Nothing is sent over a connection that is not trusted.",
		Remedy:   "Renew the certificate, or name its authority in tls.ca_file.",
	},
	{
		Name: "target.auth", Title: "The target refused the login",
		Meaning:  "User, password or token are wrong, or the broker does not have the SASL mechanism.",
		DataLost: "No.", Remedy: remedyAuth,
	},
	{
		Name: "target.acl", Title: "Kafka denies a right",
		Meaning:  "An access control list of the cluster does not let our user do what the message names.",
		DataLost: "No.", Remedy: remedyACL,
	},
	{
		Name: "target.record_too_large", Title: "A batch is larger than its topic takes",
		Meaning:  "A batch holds at least one record; one that is too large alone cannot be sent, and nothing is ever left out.",
		DataLost: "No. The pipeline stands at the transaction the record belongs to.", Remedy: remedySize,
	},
	{
		Name: "target.broker_version", Title: "Broker and program have no version of a request in common",
		Meaning: "The broker is too old for transactions of the kind used, has given up the versions this program speaks,\n" +
			"or does not know the compression.",
		DataLost: "No.", Remedy: remedyVersion,
	},
	{
		Name: "target.transaction_timeout_refused", Title: "The broker does not allow transactions that long",
		Meaning:  "transaction.timeout of the target is above the brokers' transaction.max.timeout.ms (15 minutes by default).",
		DataLost: "No.", Remedy: remedyTimeout,
	},
	{
		Name: "target.transaction_timeout", Title: "A transaction took longer than the broker allows",
		Meaning: "The broker aborted it: the target stood still, or the transaction is too large for the time it has.\n" +
			"Nothing of it is visible to readers with isolation.level=read_committed.",
		DataLost: "No. The transaction is begun again.",
		Remedy:   "raise transaction.timeout of the target if the same transaction meets this again and again",
	},
	{
		Name: "target.transaction_lost", Title: "A transaction cannot be finished",
		Meaning: "The broker has lost, or cannot vouch for, a part of it: a leader was elected that had not all records, the\n" +
			"producer was forgotten, or an answer was unclear. The transaction is aborted and begun again.",
		DataLost: "No, unless unclean leader election is allowed in the cluster.",
		Remedy:   "nothing, if it passes; else look into the broker's log",
	},
	{
		Name: "target.topic_missing", Title: "A topic does not exist",
		Meaning: "The cluster does not know a topic, or a partition of it, that is to be written to. It is looked for again,\n" +
			"because brokers say so of topics that were just made, too.",
		DataLost: "What the topic held, if it was deleted.", Remedy: "make the topic, or let the target make it",
	},
	{
		Name: "target.replicas", Title: "A partition has too few replicas",
		Meaning:  "Brokers are down: a partition has no leader, or fewer replicas in sync than min.insync.replicas asks for.",
		DataLost: "No. The pipeline waits.", Remedy: "bring the brokers back",
	},
	{
		Name: "target.quota", Title: "Kafka slows us down",
		Meaning:  "A quota of the cluster is used up.",
		DataLost: "No. The pipeline waits.", Remedy: "raise the quota of the user or client id",
	},
	{
		Name: "target.cluster_moving", Title: "The cluster is rearranging itself",
		Meaning:  "Leaders or coordinators are on the move or still loading, for longer than one attempt waits.",
		DataLost: "No. The pipeline waits.", Remedy: "nothing, if it passes; else look at the cluster's health",
	},
	{
		Name: "target.request_refused", Title: "A broker refused a request",
		Meaning:  "The answer names an error that neither waiting nor beginning anew would change.",
		DataLost: "No.", Remedy: remedyRefused,
	},
}
