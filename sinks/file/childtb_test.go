package file

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// childTB lets test helpers run in a child process that has no test.
type childTB struct{ testing.TB }

// Helper does nothing.
func (*childTB) Helper() {}

// Context never ends.
func (*childTB) Context() context.Context { return context.Background() }

// Fatal leaves the attempt.
func (*childTB) Fatal(args ...any) { panic(fmt.Errorf("fatal: %v", args)) }

// recover turns Fatal into an error.
func (*childTB) recover(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%v", p)
	}
}

// timeout bounds one call.
func (*childTB) timeout(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}
