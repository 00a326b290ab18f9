// Command rowferry copies and replicates databases: it is the one binary there is. This package holds the command
// line, signals, exit codes and the table of connectors; the work is done by the engine in package replicator.
package main

import "os"

//go:generate go run ./generate
//go:generate go run . reference ../../docs/reference

func main() {
	os.Exit(execute(os.Args[1:], standardConsole()))
}
