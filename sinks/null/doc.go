// Package null is a target that keeps nothing but sums: it decodes every value it is given and adds up, for each
// table, how many rows came and a hash of what they held. It is for measuring how fast a source is read, and for
// proving that what was read is what the source holds: [HashCopyText] computes the same sum from the source's own
// COPY output.
//
// The hash of a row is the XXH64 of its columns in table order, each one byte that says what it is, followed by its
// canonical text:
//
//	0xff text   0xfe NULL   0xfd left as it was   0xfc not captured
//
// None of these bytes occurs in UTF-8, so no two rows share one sequence. Sums are of 64 bits and wrap; they do not
// depend on order. The new row counts, or the old one where there is no new one.
//
// The ledger is in the state folder. Frames reach the disk when the system writes them, and at the latest every ten
// seconds, with every change of phase and at the end: position and sums outlive the process, and not always the
// machine. The sums are also in null.json there, rewritten at most once a second.
package null
