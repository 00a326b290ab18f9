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
		Name: "target.adopt_begun", Title: "the pipeline to adopt a slot for has begun already",
		Meaning:  "`rowferry adopt` gives a new pipeline its first position. The target's ledger holds one for this pipeline. Nothing was changed.",
		DataLost: "No. The pipeline stands at its position and goes on from there.",
		Remedy:   "Run it, or, if its position counts for nothing, take it away first: rowferry teardown.",
	},
	{
		Name: "source.adopt_moved", Title: "the slot moved while it was adopted",
		Meaning: "Between the look that was shown and the moment of writing the position, somebody read the slot on: the reader before, " +
			"as a rule, which was started again. Nothing was written.",
		DataLost: "No. What that reader acknowledged it has to have written.",
		Remedy:   "Stop whatever reads the slot, and see that nothing starts it again; then adopt once more.",
	},
}
