//go:build !bug_kafka_apart

package kafka

// apart is a planted bug: the position has a transaction of its own, after that of the records. Building with the tag
// bug_kafka_apart switches it on, to show that the oracles of the end-to-end tests see it.
const apart = false
