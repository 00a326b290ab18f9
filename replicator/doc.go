// Package replicator is the engine. It moves batches from a source to a target and knows neither by name: only the
// contracts of packages sources and sinks.
//
// # One pipeline
//
// An attempt begins at the top: identify the source, take its lock, open the target (which shuts out older writers
// and says where it really stands), open the source's stream from there. Then batches flow until the first error or
// a stop:
//
//	Stream.Next ─► route ─► Encode ─► grouper ─► gate ─► Stage, Commit ─► window ─► Stream.Ack
//	└────── read ──────┘   encode    └── sequence ──┘    serve (lanes)   sequence   acknowledge
//
// The second line names the goroutine. Deciding is apart from doing: grouper, gate, window, policy and guard have no
// clock, no goroutine and no I/O. One goroutine, sequence, owns the first three, so that none of them has a lock.
//
// After an error everything is closed and awaited, in this order: goroutines, writer, batches, stream, lock. The
// error's class decides what follows: wait and begin at the top, stand by, or halt. Recovery is therefore the path
// every start takes. There is one retry loop in the program, in pipeline.attempts.
//
// A group goes to the target at once when nothing is on its way; while something is, the next group fills. So an idle
// pipeline adds no delay and a busy one makes large groups, with no timer in either.
//
// # Stopping
//
// A soft stop ends reading. Whole transactions that were read are committed, the last position is acknowledged,
// everything is closed. A hard stop cancels what is on its way: the ledger says at the next start how far it came.
//
// # Invariants
//
//  1. A position is acknowledged only when everything up to it is durable in the target's ledger.
//  2. Groups that move the position are numbered without gaps from the ledger's Seq, and hold batches in the order
//     they were read.
//  3. Each of them has a position.
//  4. A transaction is never torn: batches of whole transactions are not split, and between the parts of a huge one
//     there is nothing else. Parts run alone: earlier groups are durable before the first, later ones start after
//     the last.
//  5. A batch is released once, after the call that took its payload has returned, or after the writer was closed.
//  6. Memory is bounded: beyond the budget reading waits. One batch may exceed it.
//  7. A group that moves the position starts when all copied rows read before it are durable; copied rows start when
//     all such groups before them are.
//  8. An attempt leaves nothing behind: no goroutine, no writer, no stream, no lock. The next one trusts only the
//     ledger.
//  9. What ends one pipeline, a panic included, leaves the others alone.
//
// Code that upholds one says so; tests of one are named TestInvariantN, and TestInvariant1_everyFaultAtEveryCall plays 1 to 8
// under random faults. A broken invariant panics, which halts the pipeline it happened in.
package replicator
