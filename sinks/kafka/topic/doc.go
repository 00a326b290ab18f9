// Package topic names topics, chooses partitions, and makes or checks topics at the brokers.
package topic
