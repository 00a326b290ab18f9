// Package schema is the vocabulary every part of Rowferry speaks: kinds, values, tables with versions,
// changes, batches and positions. It imports the standard library only, does no I/O and starts no goroutine.
//
// A source writes a [Batch]; the engine routes it; a sink reads it. Everything a batch refers to by offset
// lives in the batch's own arena, so a batch is one object to own, to hand over and to release.
package schema
