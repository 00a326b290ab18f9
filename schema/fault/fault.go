// Package fault classifies errors by what the engine has to do about them. The more dangerous the reaction, the
// more explicit the mark: an error nobody marked is retried, for a while; nothing is ever skipped by default.
package fault

import (
	"errors"
	"fmt"
)

// Class is the reaction an error asks for.
type Class uint8

// The classes.
const (
	// Retryable is the zero value: close, back off, start again from the ledger. Unknown errors are retried for
	// 15 minutes, then the pipeline halts; errors marked Endless are retried for ever.
	Retryable Class = iota
	// Terminal halts the pipeline. Its remedy says what the operator can do.
	Terminal
	// PerRecord is about one change, named by its table, key and position. It halts, until a policy says otherwise.
	PerRecord
	// Fenced: another writer took over at the target. The daemon halts the pipeline and stays halted.
	Fenced
	// OutcomeUnknown: a commit was sent and no answer came. Reopen and read the ledger.
	OutcomeUnknown
	// Busy: someone else holds the source's lock.
	Busy
)

var names = [...]string{"retryable", "terminal", "per_record", "fenced", "outcome_unknown", "busy"}

// String is the class as metrics and logs spell it.
func (c Class) String() string { return names[c] }

// Error is an error with a class and what an operator needs to know.
type Error struct {
	Class Class
	// Code is the stable name of the fault, "area.reason"; `rowferry explain CODE` tells more.
	Code string
	// Err is the cause. Its text holds no row values.
	Err error
	// Remedy is what the operator can do, one step a line. Mandatory for a halt.
	Remedy string
	// Endless marks retryable faults that may last: connection, capacity, failover.
	Endless bool
}

// Error is the cause's text with the code before it.
func (e *Error) Error() string {
	if e.Code == "" {
		return e.Err.Error()
	}
	return e.Code + ": " + e.Err.Error()
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// Halt marks an error that stops the pipeline until an operator acts.
func Halt(code string, err error, remedy string) error {
	return &Error{Class: Terminal, Code: code, Err: err, Remedy: remedy}
}

// Record marks an error about one change. err names table, key and position, never other values.
func Record(code string, err error, remedy string) error {
	return &Error{Class: PerRecord, Code: code, Err: err, Remedy: remedy}
}

// Wait marks an error that passes by itself, however long it takes: connection, capacity, failover.
func Wait(code string, err error) error {
	return &Error{Class: Retryable, Code: code, Err: err, Endless: true}
}

// Unknown marks a commit whose outcome only the ledger can tell.
func Unknown(err error) error {
	return &Error{Class: OutcomeUnknown, Code: "target.outcome_unknown", Err: err, Endless: true}
}

// Fence marks that another writer has taken over at the target.
func Fence(err error) error {
	return &Error{
		Class: Fenced, Code: "target.fenced", Err: err,
		Remedy: "another daemon took this pipeline over: stop one of the two, then restart the one to keep",
	}
}

// InUse marks that another reader holds the source.
func InUse(holder string) error {
	return &Error{Class: Busy, Code: "source.locked", Err: fmt.Errorf("held by %s", holder), Endless: true}
}

// Of finds the classified error in err's chain, or describes err as an unknown, retryable one.
func Of(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Err: err}
}

// ClassOf is the class of the first classified error in err's chain.
func ClassOf(err error) Class { return Of(err).Class }

// Code documents one fault for `rowferry explain` and the reference.
type Code struct {
	Name     string // "source.slot_lost"
	Title    string // one line: what it is
	Meaning  string // what happened and why it can
	DataLost string // the honest answer to "is data lost?"
	Remedy   string // what to do, one step a line
}
