package main

import "github.com/rowferry/rowferry/schema/fault"

// programCodes documents the faults that belong to no connector.
var programCodes = []fault.Code{
	{
		Name: "state.unusable", Title: "the state folder cannot be used",
		Meaning:  "The daemon keeps spilled transactions and its last status in state.path, in a folder for its owner only. The folder cannot be made, entered or locked.",
		DataLost: "No. Positions are kept in the target; nothing was started.",
		Remedy:   "Give the user that runs rowferry a folder of its own, and name it in the configuration: state: { path: … }",
	},
	{
		Name: "source.locked", Title: "another process reads this source for the same pipeline",
		Meaning:  "One live reader per pipeline holds a lock at the source. Who does not get it stands by, and takes over when the holder is gone.",
		DataLost: "No. The holder goes on replicating.",
		Remedy:   "Do nothing if a standby is what you want.\nTake over from a holder that hangs: rowferry run --take-over",
	},
	{
		Name: "target.fenced", Title: "another daemon took this pipeline over at the target",
		Meaning:  "The target's ledger carries the epoch of its newest writer. This daemon's is older, so nothing it wrote since then was accepted.",
		DataLost: "No. The newer writer continued exactly where the ledger stood; nothing of ours was half applied.",
		Remedy:   "Stop one of the two daemons, then restart the one to keep.",
	},
	{
		Name: "target.outcome_unknown", Title: "a commit was sent and no answer came",
		Meaning:  "The connection broke between COMMIT and its answer. Only the target's ledger can tell whether the transaction is there.",
		DataLost: "No. The ledger is read and the pipeline continues from what it says; nothing is applied twice.",
		Remedy:   "Nothing: it settles itself. If it comes back, look at the network between rowferry and the target.",
	},
}
