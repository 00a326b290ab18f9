// Package file writes changes as lines of JSON into a file, exactly once, or to standard output, at least once.
//
// What counts of the file is in the ledger beside it (events.jsonl.ledger): a commit appends lines, syncs them, and
// then appends a frame to the ledger that says how long the file is now and where in the source's log that is.
// Bytes beyond that length belong to no commit. They are cut off when the file is opened again, so a reader that
// follows the file while it is written should not go past the length the ledger names; package fileledger says how
// to find it.
//
// Rotation, when set, falls between commits: events.jsonl becomes events-000001.jsonl and so on, and a new
// events.jsonl begins. A file that has a number is whole and does not change, with one exception: a first copy that
// was interrupted begins again, and everything it wrote is taken back, files with numbers too.
//
// Standard output cannot be cut back. Its ledger is in the state folder and is written after the output, so lines
// may come twice after a crash, and it says so when it starts.
package file
