package file

import (
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks/fileledger"
)

// Codes documents the faults of file targets and of standard output.
var Codes = append([]fault.Code{
	{
		Name:  "target.file_not_empty",
		Title: "The file holds something, and no ledger says what",
		Meaning: "The pipeline is to begin with this file, but it is not empty and no ledger stands beside it. It may be " +
			"another program's, or the ledger was removed.",
		DataLost: "No. Nothing was written.",
		Remedy: "name another file, or move this one away\n" +
			"or set existing: append on the target to write behind what is there",
	},
	{
		Name:  "target.file_damaged",
		Title: "The file is not what the ledger says it is",
		Meaning: "The file is shorter than the ledger says, gone, or its last lines are not those that were written: it was " +
			"cut, edited, replaced, moved by another program, or its disk lost what it had confirmed.",
		DataLost: "Lines of the file may be. The source still has the rows, but not every change that led to them.",
		Remedy: "put the file and its ledger back from a backup of both\n" +
			"or run `rowferry teardown PIPELINE`, move the file away, and copy again\n" +
			"to rotate files use the rotate setting of the target, not another program",
	},
	{
		Name:     "target.file_exists",
		Title:    "A file with the next number exists",
		Meaning:  "Rotation would give the file a name that something else has by now.",
		DataLost: "No. The file was not renamed.",
		Remedy:   "move the file in the way somewhere else",
	},
	{
		Name:     "target.stdout_closed",
		Title:    "Nobody reads standard output",
		Meaning:  "The program that standard output was piped into has ended.",
		DataLost: "No. What it did not read comes again after the next start, perhaps with lines it has read.",
		Remedy:   "start Rowferry again with its output read by something",
	},
	{
		Name:     "target.out_of_order",
		Title:    "A commit came out of order",
		Meaning:  "A group of changes did not carry the number after the last one. This is a bug in Rowferry.",
		DataLost: "No. The group was not written.",
		Remedy:   "report it, with the log around it\nstart the pipeline again: it goes on from the ledger",
	},
}, fileledger.Codes...)
