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
}
