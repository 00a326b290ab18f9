//go:build bug_ack_early

package replicator

// ackEarly is a planted bug: positions are acknowledged before their group is durable.
const ackEarly = true
