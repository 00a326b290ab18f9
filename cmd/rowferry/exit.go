package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/rowferry/rowferry/replicator/config"
	"github.com/rowferry/rowferry/schema/fault"
)

// The exit codes, the same for every command.
const (
	exitDone        = 0   // done, or already so
	exitInternal    = 1   // an error of no known kind
	exitUsage       = 2   // wrong usage or configuration; a supervisor should not restart
	exitEnvironment = 3   // unreachable, refused, disk full
	exitFound       = 4   // ran fine and found something to look at
	exitRefused     = 5   // refused for safety
	exitInterrupt   = 130 // a second SIGINT cut the stop short
	exitTerminate   = 143 // a second SIGTERM did
)

// exitError is an error that knows its exit code. A nil err means that everything was said already.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// exitWith gives an error an exit code.
func exitWith(code int, err error) error { return &exitError{code, err} }

// usageError is a mistake in the command line.
func usageError(format string, args ...any) error {
	return exitWith(exitUsage, fmt.Errorf(format, args...))
}

// worse picks the exit code that counts when several things were found: environment before configuration before
// refusal before findings.
func worse(a, b int) int {
	rank := map[int]int{exitDone: 0, exitFound: 1, exitRefused: 2, exitUsage: 3, exitEnvironment: 4, exitInternal: 5}
	if rank[b] > rank[a] {
		return b
	}
	return a
}

// codeOf is the exit code an error leads to.
func codeOf(err error) int {
	var exit *exitError
	var problems config.Problems
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &exit):
		return exit.code
	case errors.As(err, &problems):
		return exitUsage
	}
	f := fault.Of(err)
	switch {
	case isConfigCode(f.Code):
		return exitUsage
	case f.Class == fault.Busy:
		return exitRefused
	case f.Endless:
		return exitEnvironment
	case f.Class == fault.Terminal:
		return exitFound
	}
	return exitInternal
}

// isConfigCode tells whether a code is about the configuration: of the file, or of what a connector makes of it.
func isConfigCode(code string) bool {
	return strings.HasPrefix(code, "config.") || strings.HasSuffix(code, ".config")
}

// failure is an error as --json prints it.
type failure struct {
	Error failureText `json:"error"`
}

type failureText struct {
	Code    string   `json:"code,omitempty"`
	Message string   `json:"message"`
	Remedy  []string `json:"remedy,omitempty"`
}

// describe takes an error apart for people and for scripts.
func describe(err error) failureText {
	f := fault.Of(err)
	text := failureText{Code: f.Code, Message: config.Redact(err.Error())}
	if f.Code != "" {
		text.Message = strings.Replace(text.Message, f.Code+": ", "", 1)
	}
	text.Remedy = steps(f.Remedy)
	return text
}

// steps splits a remedy into its lines.
func steps(remedy string) []string {
	var out []string
	for line := range strings.Lines(remedy) {
		if line = strings.TrimRight(line, " \n"); line != "" {
			out = append(out, line)
		}
	}
	return out
}
