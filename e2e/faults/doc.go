// Package faults holds a test for each fault that docs/faults.md lists: the real binary against real servers, with
// the fault made to happen. Tests are named after the fault's number. There is nothing here to import.
package faults
