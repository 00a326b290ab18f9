// Package replicator is the engine: it moves batches from a source to a target and knows neither by name.
package replicator
