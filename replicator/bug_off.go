//go:build !bug_ack_early

package replicator

// ackEarly is a planted bug: positions are acknowledged before their group is durable. Building with the tag
// bug_ack_early switches it on, to show that the oracles of the end-to-end tests see it.
const ackEarly = false
