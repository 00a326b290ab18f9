// Package fileledger keeps a pipeline's position in a file, for targets that have no database to keep it in.
//
// The file is text. Its first line names the format and its version; every further line is a frame: the length of
// a JSON object and its CRC-32C, both as eight hexadecimal digits, and the object. A frame says all that is small
// (position, phase, seq, epoch, how much of the data counts) and adds what may be large (source state, objects made,
// tallies). The last frame is the truth. So a reader of the data finds the length that counts by
//
//	tail -n 1 events.jsonl.ledger | cut -c 19- | jq .data.length
//
// Frames are appended and synced. Opening, and growing too long, rewrites the file as one frame beside the old one
// and renames it into place, so the old or the new one is there, whole, after any crash. A frame cut short at the
// end was never acknowledged and is dropped; any other damage stops the pipeline.
//
// A lock file beside the ledger keeps other writers out while this one lives. Should the lock fail to (a network
// file system, a lock file removed by hand), the newer writer's rename is what the older one notices before its
// next commit.
package fileledger
