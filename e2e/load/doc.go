// Package load makes changes in a source database that a replicator can get wrong, and notes what it did.
//
// Deciding and doing are apart. A [Generator] is pure: a seed and a worker number give the same transactions every
// time, as SQL text that can be printed and read. A [Runner] plays several generators over connections of their own
// and keeps a [Log] of every commit with its transaction id, its number of changed rows and where the source's log
// stood just after it.
//
// The data has invariants that a reader of any consistent copy can check (package oracle does): the bank's total
// never changes; a list only grows at its end, and every element is a row of its own too; the rows of one ledger
// number are all there or none, over two tables; rows written inside what was rolled back never appear.
package load
