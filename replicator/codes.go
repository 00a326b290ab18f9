package replicator

import "github.com/rowferry/rowferry/schema/fault"

// Codes documents the faults the engine itself raises, or that any connector may.
var Codes = []fault.Code{
	{
		Name: "engine.panic", Title: "The program met a state it does not know",
		Meaning: "A defect in Rowferry or in a connector. The pipeline it happened in was stopped, the others go on. " +
			"The file named in the message holds the details; it may quote data.",
		DataLost: "On the target: no. Nothing after the position was committed.",
		Remedy:   "restart the daemon: the pipeline continues at its position\nreport the file named in the message",
	},
	{
		Name: "engine.unknown_error", Title: "An error of no known kind did not pass",
		Meaning:  "The same attempt failed for 15 minutes without progress, with an error Rowferry has no rule for.",
		DataLost: "On the target: no. Nothing after the position was committed.",
		Remedy:   "read the message, remove its cause, restart the daemon",
	},
	{
		Name: "engine.call_timeout", Title: "Source or target neither answered nor failed",
		Meaning:  "One call took longer than its limit. The pipeline begins again from the target's ledger.",
		DataLost: "No.",
		Remedy:   "look for locks and overload at the side the message names",
	},
	{
		Name: "engine.route_collision", Title: "Two tables of the source would be one at the target",
		Meaning:  "The rename rules give two tables the same name.",
		DataLost: "No. The pipeline stopped before the first change of the second table.",
		Remedy:   "give one of the two another name under transforms, or exclude it under source.tables\nrestart the daemon",
	},
	{
		Name: "target.transaction_too_large", Title: "A transaction does not fit into the target",
		Meaning:  "The target cannot take a transaction in parts, and this one is larger than a group may be.",
		DataLost: "No. The target stands right before the transaction.",
		Remedy:   "raise target.batch.max_bytes above the size of the transaction\nrestart the daemon",
	},
	{
		Name: "target.fenced", Title: "Another daemon took the pipeline over",
		Meaning:  "The target refused a commit, as a newer writer of the same pipeline was opened since.",
		DataLost: "No. The newer writer continues where this one stopped.",
		Remedy:   "stop one of the two daemons\nrestart the one to keep",
	},
	{
		Name: "target.outcome_unknown", Title: "A commit was sent and no answer came",
		Meaning:  "Only the target's ledger can tell whether it happened. The pipeline begins again by reading it.",
		DataLost: "No.",
		Remedy:   "nothing: it passes by itself",
	},
	{
		Name: "source.locked", Title: "Another process reads this source for the same pipeline",
		Meaning:  "This one stands by, and goes on when the other is gone.",
		DataLost: "No.",
		Remedy:   "nothing, if that is what you want\nelse stop the other process, or start this one with --take-over",
	},
	{
		Name: "source.lock_lost", Title: "The lock on the source was lost",
		Meaning:  "The connection that held it ended. The pipeline begins again.",
		DataLost: "No.",
		Remedy:   "nothing: it passes by itself",
	},
}
