// Package oracle says whether a replicator did what it promises, from what a reader of its targets sees.
//
// Every oracle adds what it finds to a [Report]. Some look once, at rest: [Equal] compares databases, [File]
// judges a file of changes and folds it, [Kafka] judges what a [KafkaReader] reads of topics, [Leaks] and [Secrets]
// look for what was left behind. Others look again and again while changes flow: [Reader] reads a target in
// snapshots, [AckWatch] compares what the source was told with what the target holds. They know the invariants of
// package load.
//
// An oracle that never spoke proves little: each has a test in which it does.
package oracle
