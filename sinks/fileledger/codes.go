package fileledger

import "github.com/rowferry/rowferry/schema/fault"

// Codes documents the faults of file ledgers.
var Codes = []fault.Code{
	{
		Name:  "target.ledger_corrupt",
		Title: "The ledger is damaged",
		Meaning: "The file that holds the pipeline's position cannot be believed: it was cut, edited or removed, or its disk " +
			"lost what it had confirmed. Only an unfinished last entry is repaired by itself.",
		DataLost: "Not by Rowferry: it stopped. Where it was can no longer be told.",
		Remedy: "put the ledger back from a backup made together with the data\n" +
			"or run `rowferry teardown PIPELINE`, move the data away, and copy again",
	},
	{
		Name:     "target.ledger_version",
		Title:    "The ledger was written by another release",
		Meaning:  "The ledger's format is older or newer than the one this program reads.",
		DataLost: "No.",
		Remedy:   "run the release that wrote it\nor run `rowferry teardown PIPELINE`, move the data away, and copy again",
	},
	{
		Name:     "target.other_pipeline",
		Title:    "The target belongs to another pipeline",
		Meaning:  "The ledger names another pipeline. Two pipelines cannot share one file.",
		DataLost: "No. Nothing was changed.",
		Remedy:   "give this pipeline a target of its own",
	},
	{
		Name:     "target.other_source",
		Title:    "The target was written from another source",
		Meaning:  "The ledger names another server, database or slot than the one the pipeline reads now.",
		DataLost: "No. Nothing was changed.",
		Remedy: "point the pipeline at the source it came from\n" +
			"or run `rowferry teardown PIPELINE`, move the data away, and copy from the new source",
	},
	{
		Name:     "target.scope_changed",
		Title:    "Tables, filters or renames have changed",
		Meaning:  "The pipeline is configured with another scope than the one its target was written with.",
		DataLost: "No. Nothing was changed.",
		Remedy: "undo the change in the configuration\n" +
			"or run `rowferry teardown PIPELINE`, move the data away, and copy again with the new scope",
	},
	{
		Name:     "target.locked",
		Title:    "Another process writes the target",
		Meaning:  "A process that lives holds the lock beside the ledger. The pipeline waits until it is given back.",
		DataLost: "No.",
		Remedy:   "stop the process named, if it should not be there",
	},
	{
		Name:     "target.fenced",
		Title:    "Another writer took the target over",
		Meaning:  "A newer writer has opened the target, so this one may not write any more.",
		DataLost: "No. Nothing was written after the other one began.",
		Remedy:   "stop one of the two daemons, then restart the one to keep",
	},
	{
		Name:     "target.disk_full",
		Title:    "The disk is full",
		Meaning:  "The target's disk or quota has no space left. What was half written is cut off; the pipeline goes on when there is space.",
		DataLost: "No. The source keeps the changes meanwhile: watch its disk too.",
		Remedy:   "make space on the target's disk",
	},
	{
		Name:     "target.file_access",
		Title:    "The file cannot be opened or written",
		Meaning:  "The folder is missing, the disk is mounted read-only, or the right to write is.",
		DataLost: "No.",
		Remedy:   "make the folder and give the user Rowferry runs as the right to write into it",
	},
	{
		Name:     "target.outcome_unknown",
		Title:    "It is not known yet whether a commit is durable",
		Meaning:  "The commit was interrupted after its entry was written to the ledger. Opening the ledger again tells.",
		DataLost: "No.",
		Remedy:   "nothing: the pipeline starts again by itself",
	},
}
