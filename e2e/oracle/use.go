package oracle

import (
	"errors"
	"fmt"
)

// Use is what a running daemon holds of what a leak would eat up.
type Use struct{ Goroutines, Files int }

// String says it in words.
func (u Use) String() string {
	return fmt.Sprintf("%d goroutines and %d open files", u.Goroutines, u.Files)
}

var errNoUse = errors.New("the metrics lack go_goroutines or process_open_fds")

// ReadUse reads it from the daemon's page of metrics.
func ReadUse(page []byte) (Use, error) {
	goroutines, ok := Metric(page, "go_goroutines")
	files, okFiles := Metric(page, "process_open_fds")
	if !ok || !okFiles {
		return Use{}, errNoUse
	}
	return Use{Goroutines: int(goroutines), Files: int(files)}, nil
}

// Within tells whether a daemon at rest holds what it did before, after something happened to it so many times. What
// leaks at each of them has grown by as much.
func (u Use) Within(before Use, times int) bool {
	return u.Goroutines < before.Goroutines+times && u.Files < before.Files+times
}
