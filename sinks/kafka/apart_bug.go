//go:build bug_kafka_apart

package kafka

// apart is a planted bug: the position has a transaction of its own, after that of the records.
const apart = true
